//! The operator's command against a real control socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::print::fixtures::capture;
use super::*;
use crate::control::fixtures::{self, TempDir};
use crate::control::{
    Answer, ClearView, DrainStatus, DrainView, Envelope, Overview, RadiusView, RedirectedView, ReloadView,
    ReportView, Response, SaPageView, SaView, StartView, VersionView,
};

#[test]
fn every_noun_is_shown_as_a_table() {
    let daemon = Daemon::start(8);

    for (noun, expected) in [
        ("sa", "7         10.50.0.11/4500       192.0.2.7/61234       none/none           READY\n"),
        ("standby", "eth0 - Group 1 (version 2)\n"),
        ("radius", "10.50.0.200:1812  auth  dead "),
        ("redirect", "Fast path       : armed\n"),
        ("cluster", "Cluster IP      : 10.50.0.5, fd50::5\n"),
        ("llg", "Generation      : 7\n"),
        ("events", "2026-01-31T23:59:01.000Z  info"),
        ("version", "redirectd       : 1.2.3\n"),
    ] {
        let (exit, out, err) = daemon.run(&["show", noun]);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{noun}");
        assert!(out.contains(expected), "{noun}: {out}");
        assert!(!out.contains('\u{1b}'), "{noun}: {out}");
        assert!(out.lines().all(|line| line.chars().count() <= DEFAULT_WIDTH), "{noun}: {out}");
    }
    daemon.finish();
}

#[test]
fn json_is_the_daemons_answer_as_it_came() {
    let daemon = Daemon::start(6);

    for (noun, expected) in [
        ("standby", serde_json::to_value(fixtures::standby()).unwrap()),
        ("radius", serde_json::to_value(RadiusView::from(&fixtures::figures().radius)).unwrap()),
        ("redirect", serde_json::to_value(fixtures::snapshot().redirect).unwrap()),
        ("cluster", serde_json::to_value(fixtures::snapshot().cluster).unwrap()),
        ("llg", serde_json::to_value(fixtures::snapshot().llg).unwrap()),
        ("events", json!([fixtures::event(1)])),
    ] {
        let (exit, out, _) = daemon.run(&["show", noun, "--json"]);
        assert_eq!(exit, Exit::Done);
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), expected);
    }
    daemon.finish();
}

#[test]
fn the_json_of_sas_is_their_list_and_what_is_left_out_is_a_complaint() {
    let daemon = Daemon::start(1);

    let (exit, out, err) = daemon.run(&["show", "sa", "--json"]);

    let expected: Vec<_> = fixtures::sas().iter().map(SaView::from).collect();
    assert_eq!((exit, err.as_str()), (Exit::Done, "redirectctl: 2 more IKE SAs are left out: --all\n"));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), serde_json::to_value(expected).unwrap());
    daemon.finish();
}

#[test]
fn all_sas_are_asked_for_page_by_page() {
    let daemon = Daemon::start(4);

    let (_, text, _) = daemon.run(&["show", "sa", "--all"]);
    let (_, json, complaint) = daemon.run(&["show", "sa", "profile", "hq", "--all", "--json"]);

    assert_eq!(text.matches(" IPv4 Crypto IKEv2  SA\n").count(), 1, "{text}");
    let mut numbers = text.lines().filter_map(|line| line.split(' ').next()?.parse::<u64>().ok());
    assert_eq!([numbers.next(), numbers.next(), numbers.next()], [Some(7), Some(9), Some(8)], "{text}");
    assert!(!text.contains("--all"), "{text}");
    assert_eq!((serde_json::from_str::<Vec<Value>>(&json).unwrap().len(), complaint.as_str()), (4, ""));
    let page = |select: SaSelector, after| Request::ShowSa { select, after, limit: None };
    let hq = SaSelector::Profile("hq".to_owned());
    assert_eq!(
        daemon.finish(),
        [
            page(SaSelector::All, None),
            page(SaSelector::All, Some(8)),
            page(hq.clone(), None),
            page(hq, Some(8))
        ]
    );
}

#[test]
fn sas_are_selected_in_words() {
    for (words, select) in [
        (&["all"][..], SaSelector::All),
        (&["id", "7"], SaSelector::Id(7)),
        (&["remote", "fd60::7"], SaSelector::Remote("fd60::7".parse().unwrap())),
        (&["identity", "CN=alice, O=Example"], SaSelector::Identity("CN=alice, O=Example".to_owned())),
        (&["profile", "hq"], SaSelector::Profile("hq".to_owned())),
    ] {
        let daemon = Daemon::start(3);

        let (_, detail, _) = daemon.run(&[&["show", "sa", "detail"], words].concat());
        daemon.run(&[&["show", "sa"], words].concat());
        let (exit, cleared, _) = daemon.run(&[&["clear", "sa"], words].concat());

        assert!(detail.contains("Remote id: alice@example.net\n"), "{detail}");
        assert_eq!((exit, cleared.as_str()), (Exit::Done, "3 IKE SAs are deleted.\n"));
        let show = Request::ShowSa { select: select.clone(), after: None, limit: None };
        assert_eq!(daemon.finish(), [show.clone(), show, Request::ClearSa { select }]);
    }
}

#[test]
fn clearing_nothing_fails_where_something_was_meant() {
    let daemon = Daemon::start(1);

    let (exit, out, err) = daemon.run(&["clear", "sa", "id", "404"]);

    daemon.finish();
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert_eq!(err, "redirectctl: there is no such IKE SA\n");
}

#[test]
fn sas_get_new_keys_and_connections_are_brought_up() {
    let daemon = Daemon::start(3);

    let (_, own, _) = daemon.run(&["rekey", "7"]);
    let (_, children, _) = daemon.run(&["rekey", "7", "--children"]);
    let (_, connected, _) = daemon.run(&["connect", "hq"]);

    assert_eq!(own, "IKE SA 7 gets new keys.\n");
    assert_eq!(children, "The Child SAs of IKE SA 7 get new keys.\n");
    assert_eq!(connected, "hq is being brought up: `show sa` tells.\n");
    assert_eq!(
        daemon.finish(),
        [
            Request::RekeySa { id: 7, children: false },
            Request::RekeySa { id: 7, children: true },
            Request::Connect { name: "hq".to_owned() }
        ]
    );
}

#[test]
fn since_is_passed_on() {
    let daemon = Daemon::start(1);

    daemon.run(&["show", "events", "--since", "41"]);

    assert_eq!(daemon.finish(), [Request::ShowEvents { since: Some(41) }]);
}

#[test]
fn a_reload_says_so() {
    let daemon = Daemon::start(1);

    let (exit, out, _) = daemon.run(&["reload"]);

    assert_eq!((exit, out.as_str()), (Exit::Done, "The new configuration is in force.\n"));
    assert_eq!(daemon.finish(), [Request::Reload]);
}

#[test]
fn forms_change_the_text_and_not_the_question() {
    let daemon = Daemon::start(4);

    let (_, brief, _) = daemon.run(&["show", "standby", "brief"]);
    let (_, detail, _) = daemon.run(&["show", "cluster", "detail"]);
    let (_, json, _) = daemon.run(&["show", "standby", "brief", "--json"]);
    let (_, more_json, _) = daemon.run(&["show", "cluster", "detail", "--json"]);

    assert!(brief.contains("Interface   Grp  Pri P State"), "{brief}");
    assert!(detail.contains("Overload action : spread\n"), "{detail}");
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        serde_json::to_value(fixtures::standby()).unwrap()
    );
    assert_eq!(
        serde_json::from_str::<Value>(&more_json).unwrap(),
        serde_json::to_value(fixtures::snapshot().cluster).unwrap()
    );
    assert_eq!(
        daemon.finish(),
        [Request::ShowStandby, Request::ShowCluster, Request::ShowStandby, Request::ShowCluster]
    );
}

#[test]
fn members_are_drained_by_name_and_this_node_without_one() {
    let daemon = Daemon::start(3);

    let (exit, out, _) = daemon.run(&["drain"]);
    assert_eq!((exit, out.as_str()), (Exit::Done, "gw1 gets no new clients.\n"));
    let (_, out, _) = daemon.run(&["drain", "gw2"]);
    assert_eq!(out, "gw2 gets no new clients.\n");
    let (_, out, _) = daemon.run(&["undrain", "gw2"]);
    assert_eq!(out, "gw2 gets clients again.\n");

    let gw2 = Some("gw2".to_owned());
    assert_eq!(
        daemon.finish(),
        [Request::Drain { name: None }, Request::Drain { name: gw2.clone() }, Request::Undrain { name: gw2 }]
    );
}

#[test]
fn whoever_waits_for_a_drain_is_told_how_it_goes_on() {
    let daemon = Daemon::start(4);

    let (exit, out, _) = daemon.run(&["drain", "--wait"]);
    assert_eq!((exit, out.as_str()), (Exit::Done, "gw1 gets no new clients.\nNobody is left.\n"));
    let (exit, _, err) = daemon.run(&["drain", "gw1", "--wait"]);
    assert_eq!(exit, Exit::Refused, "{err}");
    assert!(err.contains("called off"), "{err}");

    let gw1 = Some("gw1".to_owned());
    let wanted = [
        Request::Drain { name: None },
        Request::ShowDrain,
        Request::Drain { name: gw1 },
        Request::ShowCluster,
    ];
    assert_eq!(daemon.finish(), wanted);
}

#[test]
fn clients_are_chosen_and_sent_where_the_operator_says() {
    let daemon = Daemon::start(2);

    let (exit, out, _) = daemon.run(&["redirect", "all"]);
    assert_eq!((exit, out.as_str()), (Exit::Done, "4 of 4 clients are told to go.\n"));
    let words = ["redirect", "profile", "staff", "--percent", "50", "--to", "gw2", "--grace", "10s"];
    let (_, out, _) = daemon.run(&words);
    assert_eq!(out, "2 of 4 clients are told to go.\n");

    let redirect = |select, percent, to, grace_ms| Request::RedirectSa { select, percent, to, grace_ms };
    let staff = SaSelector::Profile("staff".to_owned());
    let wanted = [
        redirect(SaSelector::All, None, None, None),
        redirect(staff, Some(50), Some("gw2".to_owned()), Some(10_000)),
    ];
    assert_eq!(daemon.finish(), wanted);
}

#[test]
fn an_agent_reports_sessions_for_a_time() {
    let daemon = Daemon::start(2);

    let (exit, out, _) = daemon.run(&["report", "--ike-sas", "3", "--child-sas", "4"]);
    daemon.run(&["report", "--ike-sas", "0", "--child-sas", "0", "--valid", "1m"]);

    assert_eq!((exit, out.as_str()), (Exit::Done, "3 IKE SAs and 4 Child SAs count for 10s.\n"));
    assert_eq!(
        daemon.finish(),
        [
            Request::ReportSessions { ike_sas: 3, child_sas: 4, valid_ms: 10_000 },
            Request::ReportSessions { ike_sas: 0, child_sas: 0, valid_ms: 60_000 },
        ]
    );
}

#[test]
fn a_refusal_is_told_in_the_daemons_words() {
    let dir = TempDir::new();
    let path = dir.path().join("ctl.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"error\":\"redirectd.toml:3:1: unknown key\"}\n").unwrap();
    });

    let (exit, out, err) = run_at(&path, &["reload"]);

    daemon.join().unwrap();
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert_eq!(err, "redirectctl: redirectd.toml:3:1: unknown key\n");
}

#[test]
fn a_daemon_that_is_away_is_not_a_refusal() {
    let dir = TempDir::new();
    let path = dir.path().join("none.sock");

    for verb in [["show", "redirect"].as_slice(), &["reload"], &["top", "--count", "1"]] {
        let (exit, out, err) = run_at(&path, verb);
        assert_eq!((exit, out.as_str()), (Exit::Unreachable, ""), "{verb:?}");
        assert!(err.starts_with("redirectctl: no daemon answers on "), "{err}");
    }
}

#[test]
fn check_needs_no_daemon_and_lists_every_error() {
    let good: Check = |_| Ok(());
    let bad: Check =
        |file| Err(vec![format!("{}:1:1: bad", file.display()), format!("{}:2:1: worse", file.display())]);
    let args = parse(&["check", "a.toml"]).unwrap();

    assert_eq!(
        capture(|console| run(&args, good, console)),
        (Exit::Done, "a.toml: no errors\n".to_owned(), String::new())
    );
    assert_eq!(
        capture(|console| run(&args, bad, console)),
        (Exit::Refused, String::new(), "a.toml:1:1: bad\na.toml:2:1: worse\n".to_owned())
    );
}

#[test]
fn top_without_a_terminal_is_plain_text_in_blocks() {
    let daemon = Daemon::start(2);

    let (exit, out, err) = daemon.run(&["top", "--count", "2"]);

    daemon.finish();
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(!out.contains('\u{1b}'), "{out}");
    assert_eq!(out.matches("Redirects       : 2468\n").count(), 2, "{out}");
    assert_eq!(out.matches("Redirects/s     : -\n").count(), 1, "{out}");
    assert_eq!(out.matches("Redirects/s     : 0\n").count(), 1, "{out}");
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for line in [
        [].as_slice(),
        &["show"],
        &["show", "weather"],
        &["show", "standby", "long"],
        &["show", "cluster", "brief"],
        &["check"],
        &["top", "--count", "many"],
        &["drain", "gw 2"],
        &["drain", "gw2", "gw3"],
        &["redirect"],
        &["redirect", "all", "--percent", "0"],
        &["redirect", "all", "--percent", "101"],
        &["redirect", "all", "--to", "gw 2"],
        &["redirect", "all", "--grace", "10"],
        &["clear"],
        &["clear", "sa"],
        &["clear", "sa", "7"],
        &["clear", "sa", "remote", "vpn.example.net"],
        &["show", "sa", "id"],
        &["show", "sa", "7"],
        &["rekey"],
        &["connect"],
        &["report"],
        &["report", "--ike-sas", "1"],
        &["report", "--ike-sas", "-1", "--child-sas", "1"],
        &["report", "--ike-sas", "1", "--child-sas", "1", "--valid", "10"],
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
    }
}

#[test]
fn the_socket_may_be_given_anywhere() {
    let default = parse(&["show", "llg"]).unwrap();
    let before = parse(&["--socket", "/tmp/s", "show", "llg"]).unwrap();
    let after = parse(&["show", "llg", "--socket", "/tmp/s"]).unwrap();

    assert_eq!(default.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(before.socket, Path::new("/tmp/s"));
    assert_eq!(before, after);
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    for (exit, code) in [(Exit::Done, 0), (Exit::Refused, 1), (Exit::Unreachable, 2)] {
        assert_eq!(ExitCode::from(exit), ExitCode::from(code));
    }
}

fn parse(words: &[&str]) -> Result<CtlArgs, clap::Error> {
    CtlArgs::try_parse_from(["redirectctl"].iter().chain(words))
}

fn run_at(socket: &Path, words: &[&str]) -> (Exit, String, String) {
    let mut args = parse(words).unwrap();
    args.socket = socket.to_owned();
    capture(|console| run(&args, |_| Ok(()), console))
}

/// Answers a number of requests with the fixtures and remembers them.
struct Daemon {
    dir: TempDir,
    thread: JoinHandle<Vec<Request>>,
}

impl Daemon {
    fn start(requests: usize) -> Self {
        let dir = TempDir::new();
        let listener = UnixListener::bind(dir.path().join("ctl.sock")).unwrap();
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            for stream in listener.incoming().take(requests) {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                let Envelope { request, .. } = serde_json::from_str(&line).unwrap();
                let mut answer = serde_json::to_vec(&Response::Ok(answer(request.clone()))).unwrap();
                answer.push(b'\n');
                stream.write_all(&answer).unwrap();
                seen.push(request);
            }
            seen
        });
        Self { dir, thread }
    }

    fn run(&self, words: &[&str]) -> (Exit, String, String) {
        run_at(&self.dir.path().join("ctl.sock"), words)
    }

    fn finish(self) -> Vec<Request> {
        self.thread.join().unwrap()
    }
}

fn answer(request: Request) -> Answer {
    let snapshot = fixtures::snapshot();
    let drained = |name: Option<String>, draining| DrainView {
        name: name.unwrap_or_else(|| "gw1".to_owned()),
        draining,
    };
    match request {
        Request::ClearSa { select: SaSelector::Id(404) } => Answer::Clear(ClearView { cleared: 0 }),
        Request::ClearSa { .. } => Answer::Clear(ClearView { cleared: 3 }),
        Request::Connect { .. } | Request::RekeySa { .. } => Answer::Start(StartView { started: true }),
        Request::Drain { name } => Answer::Drain(drained(name, true)),
        Request::RedirectSa { percent, .. } => {
            let selected = 4;
            Answer::Redirected(RedirectedView {
                selected,
                redirected: selected * u64::from(percent.unwrap_or(100)) / 100,
            })
        }
        Request::Reload => Answer::Reload(ReloadView { reloaded: true }),
        Request::ReportSessions { .. } => Answer::Report(ReportView { reported: true }),
        Request::ShowCertificates => Answer::Certificates(snapshot.certificates.to_vec()),
        Request::ShowCluster => Answer::Cluster(snapshot.cluster),
        Request::ShowDrain => Answer::DrainStatus(DrainStatus { draining: true, ..DrainStatus::default() }),
        Request::ShowEvents { .. } => Answer::Events(vec![fixtures::event(1)]),
        Request::ShowLlg => Answer::Llg(snapshot.llg),
        Request::ShowOverview => Answer::Overview(Overview {
            redirect: snapshot.redirect,
            cluster: snapshot.cluster,
            standby: snapshot.standby,
        }),
        Request::ShowRadius => Answer::Radius(RadiusView::from(&fixtures::figures().radius)),
        Request::ShowRedirect => Answer::Redirect(snapshot.redirect),
        Request::ShowSa { after, .. } => {
            let mut sas: Vec<_> = fixtures::sas().iter().map(SaView::from).collect();
            // A second page, and no third.
            if after.is_some() {
                sas.iter_mut().for_each(|sa| sa.id += 2);
            }
            Answer::Sas(SaPageView { sas, more: if after.is_some() { 0 } else { 2 } })
        }
        Request::ShowStandby => Answer::Standby(snapshot.standby),
        Request::Undrain { name } => Answer::Drain(drained(name, false)),
        Request::Version => Answer::Version(VersionView { version: "1.2.3".to_owned(), protocol: 1 }),
    }
}

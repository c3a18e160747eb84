//! The server against clients good and bad, without a core or with one that is played.

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::control::fixtures::{self, TempDir};
use crate::control::{EventEntry, SaPage};
use crate::ike::Selection;

#[tokio::test]
async fn every_request_is_answered_from_the_newest_snapshot() {
    let daemon = Daemon::start(quick());

    assert_eq!(daemon.ask("show-redirect").await["ok"]["counters"]["redirected"], json!(2468));
    assert_eq!(daemon.ask("show-cluster").await["ok"]["status"], json!("static"));
    assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
    assert_eq!(daemon.ask("version").await, json!({"ok": {"version": "1.2.3", "protocol": 1}}));

    daemon.publish.send_modify(|snapshot| Arc::make_mut(snapshot).llg.generation = 8);
    assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(8));
}

#[tokio::test]
async fn events_are_those_after_the_one_asked_for() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    let all = client.say(r#"{"version":1,"request":"show-events"}"#).await;
    let newer = client.say(r#"{"version":1,"request":"show-events","since":1}"#).await;

    assert_eq!(all["ok"].as_array().unwrap().len(), 2);
    assert_eq!(newer["ok"].as_array().unwrap().len(), 1);
    assert_eq!(newer["ok"][0]["sequence"], json!(2));
}

#[tokio::test]
async fn a_reload_is_answered_by_the_core() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    client.send(r#"{"version":1,"request":"reload"}"#).await;
    daemon.reload().await.send(Ok(())).unwrap();
    assert_eq!(client.receive().await, json!({"ok": {"reloaded": true}}));

    client.send(r#"{"version":1,"request":"reload"}"#).await;
    daemon.reload().await.send(Err("3:1: unknown key".to_owned())).unwrap();
    assert_eq!(client.receive().await, json!({"error": "3:1: unknown key"}));
}

#[tokio::test]
async fn a_reload_that_hangs_or_has_no_core_left_is_an_error() {
    let mut daemon = Daemon::start(Limits { core: Duration::from_millis(20), ..quick() });
    let mut client = daemon.connect().await;

    let busy = client.say(r#"{"version":1,"request":"reload"}"#).await;
    daemon.core.close();
    let stopping = client.say(r#"{"version":1,"request":"reload"}"#).await;

    assert!(busy["error"].as_str().unwrap().contains("still busy"), "{busy}");
    assert!(stopping["error"].as_str().unwrap().contains("stopping"), "{stopping}");
}

#[tokio::test]
async fn standby_groups_and_the_overview_come_from_the_same_snapshot() {
    let daemon = Daemon::start(quick());

    let standby = daemon.ask("show-standby").await;
    let overview = daemon.ask("show-overview").await;

    assert_eq!(standby["ok"][0]["state"], json!("active"));
    assert_eq!(overview["ok"]["standby"], standby["ok"]);
    assert_eq!(overview["ok"]["cluster"], daemon.ask("show-cluster").await["ok"]);
    assert_eq!(overview["ok"]["redirect"], daemon.ask("show-redirect").await["ok"]);
}

#[tokio::test]
async fn members_are_drained_and_undrained_by_the_core() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;
    for (line, name, is_draining) in [
        (r#"{"version":1,"request":"drain"}"#, None, true),
        (r#"{"version":1,"request":"drain","name":"gw2"}"#, Some("gw2"), true),
        (r#"{"version":1,"request":"undrain","name":"gw2"}"#, Some("gw2"), false),
    ] {
        client.send(line).await;
        let Some(CoreRequest::SetDraining { gateway, draining, answer }) = daemon.core.recv().await else {
            panic!("{line}")
        };
        assert_eq!((gateway.as_ref().map(GatewayName::as_str), draining), (name, is_draining));
        answer.send(Ok(name.unwrap_or("gw1").parse().unwrap())).unwrap();

        let name = name.unwrap_or("gw1");
        assert_eq!(client.receive().await, json!({"ok": {"name": name, "draining": is_draining}}));
    }

    client.send(r#"{"version":1,"request":"drain","name":"gw7"}"#).await;
    let Some(CoreRequest::SetDraining { answer, .. }) = daemon.core.recv().await else { panic!() };
    answer.send(Err("no member has the name gw7".to_owned())).unwrap();
    assert_eq!(client.receive().await, json!({"error": "no member has the name gw7"}));
    let wrong = client.say(r#"{"version":1,"request":"drain","name":"gw 7"}"#).await;
    assert!(wrong["error"].as_str().unwrap().starts_with("\"gw 7\": a name has only"), "{wrong}");
}

#[tokio::test]
async fn reported_sessions_reach_the_core_with_their_time() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;
    let line = |valid: &str| {
        format!(r#"{{"version":1,"request":"report-sessions","ike-sas":3,"child-sas":4,"valid-ms":{valid}}}"#)
    };

    client.send(&line("10000")).await;
    let Some(CoreRequest::ReportSessions { ike_sas, child_sas, valid, answer }) = daemon.core.recv().await
    else {
        panic!()
    };
    answer.send(Ok(())).unwrap();

    assert_eq!((ike_sas, child_sas, valid), (3, 4, Duration::from_secs(10)));
    assert_eq!(client.receive().await, json!({"ok": {"reported": true}}));
    for valid in ["0", "3600001", "18446744073709551615"] {
        let refused = client.say(&line(valid)).await;
        assert_eq!(refused, json!({"error": format!("valid-ms is 1 to 3600000, not {valid}")}));
    }
    for nonsense in ["-1", "1.5", "\"1s\"", "null"] {
        let refused = client.say(&line(nonsense)).await;
        assert!(refused["error"].as_str().unwrap().starts_with("not a request: "), "{refused}");
    }
}

#[tokio::test]
async fn sas_are_asked_for_page_by_page() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;
    for (line, selection, after, limit) in [
        (r#"{"version":1,"request":"show-sa"}"#, Selection::All, None, MAX_PAGE),
        (
            r#"{"version":1,"request":"show-sa","select":{"id":7},"after":6,"limit":1000000}"#,
            Selection::Id(SaId(7)),
            Some(SaId(6)),
            MAX_PAGE,
        ),
        (
            r#"{"version":1,"request":"show-sa","select":{"profile":"hq"},"limit":1}"#,
            Selection::Profile(Name::new("hq").unwrap()),
            None,
            1,
        ),
    ] {
        client.send(line).await;
        let Some(CoreRequest::ShowSas { query, answer }) = daemon.core.recv().await else { panic!("{line}") };
        assert_eq!(query, SaQuery { selection, after, limit });
        let [sa, _] = fixtures::sas();
        answer.send(Ok(SaPage { reports: vec![sa], more: 2 })).unwrap();

        let answer = client.receive().await;
        assert_eq!((&answer["ok"]["sas"][0]["id"], &answer["ok"]["more"]), (&json!(7), &json!(2)));
    }
    for (rest, why) in [
        (r#""limit":0"#, "a page has at least one SA"),
        (r#""select":{"identity":""}"#, "\"\": not an identity"),
        (r#""select":{"profile":"a b"}"#, "\"a b\": not the name of a profile"),
    ] {
        let refused = client.say(&format!(r#"{{"version":1,"request":"show-sa",{rest}}}"#)).await;
        assert_eq!(refused, json!({"error": why}));
    }
}

#[tokio::test]
async fn sas_are_cleared_and_rekeyed_by_the_core() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    client.send(r#"{"version":1,"request":"clear-sa","select":{"remote":"192.0.2.7"}}"#).await;
    let Some(CoreRequest::ClearSas { selection, answer }) = daemon.core.recv().await else { panic!() };
    assert_eq!(selection, Selection::Remote([192, 0, 2, 7].into()));
    answer.send(Ok(3)).unwrap();
    assert_eq!(client.receive().await, json!({"ok": {"cleared": 3}}));

    client.send(r#"{"version":1,"request":"rekey-sa","id":7}"#).await;
    let Some(CoreRequest::RekeySa { sa, children, answer }) = daemon.core.recv().await else { panic!() };
    assert_eq!((sa, children), (SaId(7), false));
    answer.send(Err("there is no IKE SA 7".to_owned())).unwrap();
    assert_eq!(client.receive().await, json!({"error": "there is no IKE SA 7"}));

    client.send(r#"{"version":1,"request":"connect","name":"hq"}"#).await;
    let Some(CoreRequest::Connect { connection, answer }) = daemon.core.recv().await else { panic!() };
    assert_eq!(connection.as_str(), "hq");
    answer.send(Ok(())).unwrap();
    assert_eq!(client.receive().await, json!({"ok": {"started": true}}));

    // Nothing is cleared by mistake.
    let all = client.say(r#"{"version":1,"request":"clear-sa"}"#).await;
    assert!(all["error"].as_str().unwrap().starts_with("not a request: "), "{all}");
    let unnamed = client.say(r#"{"version":1,"request":"connect","name":""}"#).await;
    assert_eq!(unnamed, json!({"error": "\"\": not the name of a connection"}));
}

#[tokio::test]
async fn garbage_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    for line in [
        "",
        "hello",
        "{}",
        "\u{0}\u{1}\u{2}",
        "[1,2,3]",
        r#"{"version":1}"#,
        r#"{"version":1,"request":"open-pod-bay-doors"}"#,
        r#"{"version":-1,"request":"show-llg"}"#,
        r#"{"version":1,"request":"show-events","since":"yesterday"}"#,
    ] {
        let answer = client.say(line).await;
        assert!(answer["error"].as_str().unwrap().starts_with("not a request: "), "{line}: {answer}");
    }
    let newer = client.say(r#"{"version":2,"request":"drain"}"#).await;
    assert!(newer["error"].as_str().unwrap().contains("speaks version 1"), "{newer}");

    assert_eq!(client.say(r#"{"version":1,"request":"show-llg"}"#).await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn octets_that_are_not_text_are_refused() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    client.stream.get_mut().write_all(&[0xff, 0xfe, 0x80, b'\n']).await.unwrap();

    assert!(client.receive().await["error"].is_string());
}

#[tokio::test]
async fn an_oversized_request_is_refused_and_the_connection_closed() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    client.stream.get_mut().write_all(&vec![b'x'; MAX_REQUEST]).await.unwrap();

    let answer = client.receive().await;
    assert!(answer["error"].as_str().unwrap().contains("at most 65536 octets"), "{answer}");
    assert!(client.is_closed().await);
    assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn the_longest_request_is_still_read_whole() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;
    let request = r#"{"version":1,"request":"show-llg"}"#;

    let line = format!("{request:<width$}", width = MAX_REQUEST - 1);

    assert_eq!(client.say(&line).await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn a_request_without_a_line_end_counts_when_the_client_stops_writing() {
    let daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    let stream = client.stream.get_mut();
    stream.write_all(br#"{"version":1,"request":"show-llg"}"#).await.unwrap();
    stream.shutdown().await.unwrap();

    assert_eq!(client.receive().await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn a_slow_client_loses_its_connection_and_nobody_else_does() {
    let daemon = Daemon::start(Limits { connection: Duration::from_millis(50), ..quick() });
    let mut slow = daemon.connect().await;

    slow.stream.get_mut().write_all(br#"{"version":1,"#).await.unwrap();

    assert!(slow.is_closed().await);
    assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn a_question_is_answered_from_a_snapshot_made_after_it() {
    let daemon = Daemon::start(Limits { refresh: DEADLINE, ..quick() });
    let mut client = daemon.connect().await;
    client.send(r#"{"version":1,"request":"show-llg"}"#).await;
    // Whatever the core publishes before it has seen the question does not answer it; so it
    // goes on publishing until there is an answer.
    let mut generation = 100;
    let publish = async {
        loop {
            let mut next = fixtures::snapshot();
            next.llg.generation = generation;
            generation += 1;
            daemon.publish.send_replace(Arc::new(next));
            tokio::task::yield_now().await;
        }
    };

    let answer = tokio::select! {
        answer = client.receive() => answer,
        () = publish => Value::Null,
    };

    assert!(answer["ok"]["generation"].as_u64().unwrap() >= 100, "{answer}");
}

#[tokio::test]
async fn clients_that_vanish_free_their_places() {
    let daemon = Daemon::start(quick());

    for _ in 0..4 * MAX_CLIENTS {
        let mut client = daemon.connect().await;
        let half = b"{\"version\":1,\"request\":\"show-redirect\"}\n{";
        // One that comes while all places are taken is refused, which is as good.
        let _refused = client.stream.get_mut().write_all(half).await;
        drop(client);
    }

    let served = async {
        let mut line = String::new();
        while !line.contains("\"generation\":7") {
            line.clear();
            let mut client = daemon.connect().await;
            let question = b"{\"version\":1,\"request\":\"show-llg\"}\n";
            if client.stream.get_mut().write_all(question).await.is_ok() {
                let _broken_off = client.stream.read_line(&mut line).await;
            }
        }
    };
    assert!(timeout(DEADLINE, served).await.is_ok(), "the places stay taken");
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let daemon = Daemon::start(quick());
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = daemon.connect().await;
        client.say(r#"{"version":1,"request":"version"}"#).await;
        clients.push(client);
    }

    let mut refused = daemon.connect().await;
    assert!(refused.receive().await["error"].as_str().unwrap().starts_with("too many clients"));
    assert!(refused.is_closed().await);

    for client in &mut clients {
        assert_eq!(client.say(r#"{"version":1,"request":"show-llg"}"#).await["ok"]["generation"], json!(7));
    }
}

#[tokio::test]
async fn the_blocking_client_gets_its_answer() {
    let daemon = Daemon::start(quick());
    let path = daemon.path.clone();

    let answer = tokio::task::spawn_blocking(move || {
        crate::control::client::ask::<crate::control::RedirectView>(&path, Request::ShowRedirect)
    });

    assert_eq!(answer.await.unwrap().unwrap(), fixtures::snapshot().redirect);
}

#[tokio::test]
async fn the_directory_and_the_socket_have_the_promised_modes() {
    let dir = TempDir::new();
    let path = dir.path().join("run").join("redirectd").join("redirectd.sock");

    let _server = Server::bind(&path).unwrap();

    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
}

#[tokio::test]
async fn the_socket_is_removed_at_shutdown_and_can_be_bound_again() {
    let mut daemon = Daemon::start(quick());
    let mut client = daemon.connect().await;

    daemon.stop().await;

    assert!(!daemon.path.exists());
    assert!(client.is_closed().await);
    drop(Server::bind(&daemon.path).unwrap());
    assert!(!daemon.path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let dir = TempDir::new();
    let path = dir.path().join("redirectd.sock");
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists());

    let _server = Server::bind(&path).unwrap();

    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_live_socket_is_left_alone() {
    let daemon = Daemon::start(quick());

    let second = Server::bind(&daemon.path);

    let message = second.unwrap_err().to_string();
    assert_eq!(message, format!("another redirectd answers on {}", daemon.path.display()));
    assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_is_left_alone() {
    let dir = TempDir::new();
    let path = dir.path().join("precious");
    fs::write(&path, "data").unwrap();

    let refused = Server::bind(&path);

    assert!(matches!(refused, Err(BindError::NotASocket(_))), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[tokio::test]
async fn a_successors_socket_is_not_removed() {
    let dir = TempDir::new();
    let path = dir.path().join("redirectd.sock");
    let first = Server::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = Server::bind(&path).unwrap();

    drop(first);

    assert!(path.exists());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_an_error() {
    let dir = TempDir::new();

    let refused = Server::bind(&dir.path().join("x".repeat(200)));

    assert!(matches!(refused, Err(BindError::Io { .. })), "{refused:?}");
}

struct TwoEvents;

impl EventLog for TwoEvents {
    fn entries(&self, since: Option<u64>) -> Vec<EventEntry> {
        (1..=2).filter(|sequence| since.is_none_or(|since| *sequence > since)).map(fixtures::event).collect()
    }
}

struct Daemon {
    path: PathBuf,
    publish: watch::Sender<Arc<Snapshot>>,
    core: mpsc::Receiver<CoreRequest>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

/// No core publishes in most of these tests.
fn quick() -> Limits {
    Limits { refresh: Duration::ZERO, ..Limits::default() }
}

impl Daemon {
    fn start(limits: Limits) -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("redirectd.sock");
        let (publish, snapshots) = watch::channel(Arc::new(fixtures::snapshot()));
        let (sender, core) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let mut server = Server::bind(&path).unwrap();
        server.limits = limits;
        let sources = Sources { snapshots, events: Arc::new(TwoEvents), core: sender, version: "1.2.3" };
        let task = tokio::spawn(server.serve(sources, async {
            let _ = stopped.await;
        }));
        Self { path, publish, core, stop: Some(stop), task, _dir: dir }
    }

    /// The next request to the core, which must be a reload.
    async fn reload(&mut self) -> CoreAnswer<()> {
        let Some(CoreRequest::Reload { answer }) = self.core.recv().await else { panic!("not a reload") };
        answer
    }

    async fn connect(&self) -> Client {
        Client { stream: BufReader::new(UnixStream::connect(&self.path).await.unwrap()) }
    }

    async fn ask(&self, request: &str) -> Value {
        self.connect().await.say(&format!(r#"{{"version":1,"request":"{request}"}}"#)).await
    }

    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap();
    }
}

struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    async fn say(&mut self, line: &str) -> Value {
        self.send(line).await;
        self.receive().await
    }

    async fn send(&mut self, line: &str) {
        // A refused client is closed before it has said anything; the refusal is still there.
        drop(self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await);
    }

    async fn receive(&mut self) -> Value {
        let mut line = String::new();
        timeout(DEADLINE, self.stream.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await.unwrap();
        // Closing with unread octets resets the connection.
        read.is_err() || rest.is_empty()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

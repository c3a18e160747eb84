//! Users whom a server of RADIUS knows: FreeRADIUS behind our gateway, strongSwan's clients and ours in
//! front of it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::ensure;
use xtask::lab::gateway::windows::{ADDRESS, GATEWAY, PASSWORD, Windows};
use xtask::lab::gateway::{
    Connection, Gateway, Place, RadiusServer, RemoteProof, Scene, Settings, Visitor, addresses,
};
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::radius::{self, Radius, User};
use xtask::lab::strongswan::{ClientConfig, Proof, Sa};
use xtask::lab::wait::{self, Stopwatch};

use super::{carries_data, connect, rekeyed, vpn, wait_until_up};
use crate::PATIENCE;

/// Places of servers.
const SERVERS: [u8; 2] = [7, 8];
/// What our client wants to reach.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];
/// A client whose server has died is told within this time: packets of 300 ms, sent three times, twice as
/// long each time, and what everything else takes.
const BOUND: Duration = Duration::from_secs(5);

/// A gateway that asks these servers.
fn gateway(scene: &Scene, pki: &Pki, servers: Vec<RadiusServer>) -> Gateway {
    let mut settings = Settings::of_certificates(&vpn(pki), pki, GATEWAY);
    settings.profiles[0].remote = RemoteProof::Radius(servers);
    scene.start(settings).unwrap()
}

/// Places for two servers.
fn places(scene: &Scene) -> [Place; 2] {
    SERVERS.map(|number| scene.place(number).unwrap())
}

/// Servers that know alice.
fn of_alice() -> radius::Settings {
    radius::Settings::new(&[User::new("alice", PASSWORD)])
}

/// A client that says in IKE that it is its address, and in EAP that it is this user.
fn connection(visitor: &Visitor, pki: &Pki, name: &str, user: &str, password: &str) -> ClientConfig {
    visitor.charon.add_ca(&pki.ca()).unwrap();
    visitor.charon.add_password(user, password).unwrap();
    ClientConfig {
        identity: visitor.address4.to_string(),
        proof: Proof::Eap("eap-mschapv2".to_owned(), user.to_owned()),
        gateway_proof: Proof::AnySignature,
        gateway: GATEWAY.to_owned(),
        ..visitor.connection(name, addresses()[0])
    }
}

/// Begins, and waits until the client is told that it does not get in.
fn is_told_no(visitor: &Visitor, connection: &ClientConfig) {
    visitor.charon.add_client(connection).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();
    let prefix = format!("<{}|", connection.name);
    visitor.charon.wait_for_log(&[&prefix, "AUTHENTICATION_FAILED"], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_windows_client_comes_up_through_freeradius_with_its_own_address_and_is_accounted_for() {
    let scene = Scene::new(1).unwrap();
    let windows = Windows::start(&scene).unwrap();
    let visitor = &scene.visitors[0];
    let Windows { gateway, radius, .. } = &windows;

    let tunnel = connect(visitor, &windows.connection(visitor, "windows", PASSWORD).unwrap());

    assert_eq!(tunnel.remote_id, GATEWAY);
    assert!(tunnel.virtual_addresses.contains(&ADDRESS.parse().unwrap()), "{tunnel:?}");
    carries_data(visitor, &tunnel, &scene.site);
    let sas = gateway.sas().unwrap();
    let [sa] = &sas[..] else { panic!("{sas:?}") };
    assert_eq!(sa.remote_id, Windows::identity(), "{sa:?}");
    assert!(sa.suite.contains("MODP_2048") || sa.suite.contains("modp2048"), "{sa:?}");
    let user = Windows::identity().replace('\\', "\\\\");
    let start = [("Acct-Status-Type", "Start"), ("User-Name", &user), ("Framed-IP-Address", ADDRESS)];
    let start = radius.wait_for_record(&start, PATIENCE).unwrap();
    assert_eq!(start["Calling-Station-Id"], visitor.address4.to_string(), "{start:?}");

    // New keys are not a new session.
    for what in [Sa::Child, Sa::Ike] {
        let old = visitor.charon.wait_for_tunnel("windows", PATIENCE).unwrap();
        visitor.charon.rekey("windows", what).unwrap();
        let tunnel = rekeyed(visitor, gateway, &old, what);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }
    visitor.charon.terminate("windows", Sa::Ike).unwrap();
    let session = &*start["Acct-Session-Id"];
    let stop = [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", session)];
    let stop = radius.wait_for_record(&stop, PATIENCE).unwrap();
    assert_eq!(stop["Acct-Terminate-Cause"], "User-Request", "{stop:?}");
    for octets in ["Acct-Input-Octets", "Acct-Output-Octets"] {
        let count: u64 = stop[octets].parse().unwrap();
        assert!(count > 2 * 4 * 1024 * 1024, "{octets}: {stop:?}");
    }
    assert_eq!(radius.records().len(), 2, "{:?}", radius.records());

    has_counted(gateway, "recorded", 2);
    let shown = gateway.control().radius().unwrap();
    assert_eq!(shown.results["accepted"], 1, "{shown:?}");
    assert!(shown.servers.iter().all(|server| server.state == "up" && server.discarded == 0), "{shown:?}");
    assert!(shown.servers[0].rtt_ms.is_some(), "{shown:?}");
    assert!(gateway.metrics().unwrap().contains("redirectd_radius_requests_total{result=\"accepted\"} 1\n"));
    assert!(!gateway.log().contains(radius::SECRET));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_wrong_password_and_an_unknown_user_are_refused_by_the_server() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    let _radius = Radius::start(&place, &of_alice()).unwrap();
    let visitor = &scene.visitors[0];

    for (user, password) in [("alice", "wrong"), ("mallory", PASSWORD)] {
        // The events of one reason are told at intervals: each has a gateway of its own.
        let gateway = gateway(&scene, &pki, vec![RadiusServer::at(place.address4)]);
        let connection = connection(visitor, &pki, user, user, password);
        visitor.charon.add_client(&connection).unwrap();
        visitor.charon.initiate(user).unwrap();

        gateway.wait_for_event("sa-refused", &["eap-failed", user], PATIENCE).unwrap();
        gateway.wait_until_gone(user, PATIENCE).unwrap();
        has_counted(&gateway, "challenged", 2);
        assert_eq!(gateway.control().radius().unwrap().results["accepted"], 0);
    }
}

/// Waits until so many requests have come to this: workers tell of what they count a little later.
fn has_counted(gateway: &Gateway, result: &str, count: u64) {
    wait::until(&format!("{count} requests are {result}"), PATIENCE, || {
        let shown = gateway.control().radius()?;
        ensure!(shown.results.get(result) == Some(&count), "{shown:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_locked_account_is_refused_and_the_operator_reads_what_the_server_says() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    let users = [User::locked("carol", "account locked")];
    let radius = Radius::start(&place, &radius::Settings::new(&users)).unwrap();
    let gateway = gateway(&scene, &pki, vec![RadiusServer::at(place.address4)]);
    let visitor = &scene.visitors[0];

    let connection = connection(visitor, &pki, "carol", "carol", PASSWORD);
    visitor.charon.add_client(&connection).unwrap();
    visitor.charon.initiate("carol").unwrap();

    gateway.wait_for_event("sa-refused", &["eap-failed", "carol"], PATIENCE).unwrap();
    gateway.wait_for_event("radius-said", &["refused", "carol: account locked"], PATIENCE).unwrap();
    gateway.wait_until_gone("carol", PATIENCE).unwrap();
    has_counted(&gateway, "rejected", 1);
    assert_eq!(radius.records().len(), 0, "nobody was in");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_certificate_gets_in_by_tls_through_freeradius() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    // strongSwan's clients want to see the gateway's name in TLS too, unless they are told another one.
    let names = ["DNS:radius.example.net", &format!("DNS:{GATEWAY}")];
    let own = pki.issue("radius", Key::P256, &names, Validity::Current).unwrap();
    let settings = radius::Settings { tls: Some((own, pki.clone())), ..radius::Settings::new(&[]) };
    let radius = Radius::start(&place, &settings).unwrap();
    let gateway = gateway(&scene, &pki, vec![RadiusServer::at(place.address4)]);
    let visitor = &scene.visitors[0];
    let alice = pki.issue("alice", Key::P256, &["DNS:alice.example.net"], Validity::Current).unwrap();
    visitor.charon.add_ca(&pki.ca()).unwrap();
    visitor.charon.add_ca(&pki.issuer()).unwrap();
    visitor.charon.add_private_key(&alice.key).unwrap();

    // The server begins with MSCHAPv2, which this client has not: it says what it wants instead.
    let connection = ClientConfig {
        identity: "alice.example.net".to_owned(),
        proof: Proof::EapTls(alice.certificate.clone()),
        gateway_proof: Proof::AnySignature,
        ..visitor.connection("alice", addresses()[0])
    };
    let tunnel = connect(visitor, &connection);

    carries_data(visitor, &tunnel, &scene.site);
    gateway.wait_for_sa("alice.example.net", PATIENCE).unwrap();
    assert!(radius.questions().len() > 4, "{:?}", radius.questions());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_server_that_dies_in_mid_exchange_costs_its_client_one_attempt_and_the_next_server_lets_it_in() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let places = places(&scene);
    let dying = radius::Settings { falls_silent: true, ..of_alice() };
    let mut first = Radius::start(&places[0], &dying).unwrap();
    let second = Radius::start(&places[1], &of_alice()).unwrap();
    let servers = places.iter().map(|place| RadiusServer::at(place.address4)).collect();
    let gateway = gateway(&scene, &pki, servers);
    let visitor = &scene.visitors[0];
    let connection = connection(visitor, &pki, "alice", "alice", PASSWORD);
    visitor.charon.add_client(&connection).unwrap();
    visitor.charon.initiate("alice").unwrap();

    // It has answered the first question, and has the second.
    first.wait_for_questions(2, PATIENCE).unwrap();
    first.kill().unwrap();
    let watch = Stopwatch::start();
    gateway.wait_for_event("sa-refused", &["aaa-unreachable", "alice"], PATIENCE).unwrap();

    assert!(watch.elapsed() < BOUND, "{:?}", watch.elapsed());
    visitor.charon.wait_for_log(&["<alice|", "AUTHENTICATION_FAILED"], PATIENCE).unwrap();
    assert_eq!(second.questions().len(), 0, "what the first one has begun means nothing to the second");
    visitor.charon.initiate("alice").unwrap();
    let tunnel = visitor.charon.wait_for_tunnel("alice", PATIENCE).unwrap();
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    gateway.wait_for_sa("alice", PATIENCE).unwrap();
    second.wait_for_record(&[("Acct-Status-Type", "Start"), ("User-Name", "alice")], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_of_a_server_that_is_gone_get_in_at_the_next_one_without_knowing() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let places = places(&scene);
    // Nobody is at the first place: the kernel there says so. And nothing says anything at a third.
    let nowhere = RadiusServer::at(Ipv4Addr::new(10, 50, 0, 250));
    let second = Radius::start(&places[1], &of_alice()).unwrap();
    let servers = [nowhere, RadiusServer::at(places[0].address4), RadiusServer::at(places[1].address4)];
    let gateway = gateway(&scene, &pki, servers.to_vec());
    let visitor = &scene.visitors[0];

    let tunnel = connect(visitor, &connection(visitor, &pki, "alice", "alice", PASSWORD));

    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    gateway.wait_for_sa("alice", PATIENCE).unwrap();
    gateway.wait_for_event("radius-server-dead", &["10.50.0.250:1812"], PATIENCE).unwrap();
    has_counted(&gateway, "recorded", 1);
    let shown = gateway.control().radius().unwrap();
    let nowhere = &shown.servers[0];
    assert_eq!(nowhere.state, "dead", "{shown:?}");
    assert!(nowhere.dead_ms.is_some() && nowhere.answered == 0 && nowhere.timeouts > 0, "{shown:?}");
    // Accounting goes the same way.
    second.wait_for_record(&[("Acct-Status-Type", "Start"), ("User-Name", "alice")], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn with_a_wrong_secret_nobody_gets_in_and_both_sides_say_so() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    let radius = Radius::start(&place, &of_alice()).unwrap();
    let server = RadiusServer { secret: "another one".to_owned(), ..RadiusServer::at(place.address4) };
    let gateway = gateway(&scene, &pki, vec![server]);
    let visitor = &scene.visitors[0];

    is_told_no(visitor, &connection(visitor, &pki, "alice", "alice", PASSWORD));

    radius.wait_for_log(&["invalid Message-Authenticator"], PATIENCE).unwrap();
    gateway.wait_for_event("sa-refused", &["aaa-unreachable", "alice"], PATIENCE).unwrap();
    gateway.wait_for_event("radius-server-dead", &["authentication", "unanswered"], PATIENCE).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    assert_eq!(radius.questions().len(), 0, "what is not believed is not looked at");
}

/// Somebody in a server's place who says yes to everything, without the secret.
struct Forger {
    answers: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forger {
    fn start(place: &Place) -> Self {
        let socket: UdpSocket = place.namespace.udp((place.address4.into(), 1812)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (answers, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&answers), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut octets = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                match socket.recv_from(&mut octets) {
                    Ok((length, from)) => {
                        // Access-Accept with the same identifier and everything else of the question.
                        octets[0] = 2;
                        socket.send_to(&octets[..length], from).unwrap();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    // Who has counted on answers sees that there are none.
                    Err(_broken) => return,
                }
            }
        });
        Self { answers, ends, thread: Some(thread) }
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_acceptance_by_somebody_who_does_not_know_the_secret_lets_nobody_in() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    let forger = Forger::start(&place);
    let server = RadiusServer { accounting: None, ..RadiusServer::at(place.address4) };
    let gateway = gateway(&scene, &pki, vec![server]);
    let visitor = &scene.visitors[0];

    is_told_no(visitor, &connection(visitor, &pki, "alice", "alice", PASSWORD));

    assert!(forger.answers.load(Ordering::Relaxed) >= 3);
    gateway.wait_for_event("radius-discarded", &["wrong-authenticator"], PATIENCE).unwrap();
    gateway.wait_for_event("radius-server-dead", &["answers-not-authentic"], PATIENCE).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    has_counted(&gateway, "unanswered", 1);
    let shown = gateway.control().radius().unwrap();
    assert_eq!(shown.results["accepted"], 0, "{shown:?}");
    assert!(shown.discards["wrong-authenticator"] >= 3 && shown.servers[0].discarded >= 3, "{shown:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_gets_in_by_its_password_through_freeradius() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [place, _] = places(&scene);
    let radius = Radius::start(&place, &of_alice()).unwrap();
    let gateway = gateway(&scene, &pki, vec![RadiusServer::at(place.address4)]);

    let client = client(&scene, &pki);

    wait_until_up(&client);
    gateway.wait_for_sa("alice", PATIENCE).unwrap();
    // Its IDi is a name: the server has heard it without a question to the client.
    let questions = radius.questions();
    assert_eq!(questions[0]["User-Name"], "alice", "{questions:?}");
    radius.wait_for_record(&[("Acct-Status-Type", "Start"), ("User-Name", "alice")], PATIENCE).unwrap();
}

/// Our client, in a place of its own.
fn client(scene: &Scene, pki: &Pki) -> Gateway {
    let place = scene.place(9).unwrap();
    let connection = Connection {
        local_id: "alice".to_owned(),
        user: Some(("alice".to_owned(), PASSWORD.to_owned())),
        ca: Some(pki.ca()),
        ..Connection::new("hq", &addresses()[..1], &[GATEWAY], &INSIDE)
    };
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    Gateway::start(&place.namespace, settings).unwrap()
}

//! A worker's RADIUS over real sockets, with servers on the loopback that are made of a few lines.

use std::num::NonZeroU32;

use super::*;
use crate::ike::config::Name;
use crate::radius::config::Server;
use crate::radius::kit;
use crate::secret::Secret;

const SECRET: &[u8] = b"xyzzy5461";
/// EAP packets: a response, a request and Success.
const RESPONSE: &[u8] = &[2, 7, 0, 6, 1, b'a'];
const REQUEST: &[u8] = &[1, 8, 0, 5, 26];
const SUCCESS: &[u8] = &[3, 8, 0, 4];
/// How long a test waits for what comes at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Codes.
const ACCEPT: u8 = 2;
const ACCOUNTING_REQUEST: u8 = 4;
const ACCOUNTING_RESPONSE: u8 = 5;
const CHALLENGE: u8 = 11;

/// A server: its socket, and where the last question came from.
struct Far {
    socket: UdpSocket,
}

impl Far {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// As the file has it.
    fn config(&self) -> Server {
        Server {
            address: self.socket.local_addr().unwrap(),
            secret: Secret::from(SECRET),
            nas_identifier: "gw1".into(),
            // Nothing is repeated while a test runs.
            timeout: PATIENCE,
            retries: 0,
            dead_time: Duration::from_secs(60),
            is_probed: false,
        }
    }

    fn hear(&self) -> (Vec<u8>, SocketAddr) {
        let mut octets = [0; MAX_DATAGRAM];
        let (length, from) = self.socket.recv_from(&mut octets).unwrap();
        (octets[..length].to_vec(), from)
    }

    fn say(&self, code: u8, attributes: &[(u8, &[u8])], (request, to): &(Vec<u8>, SocketAddr)) {
        let octets = answer(code, attributes, request);
        self.socket.send_to(&octets, to).unwrap();
    }
}

fn answer(code: u8, attributes: &[(u8, &[u8])], request: &[u8]) -> Vec<u8> {
    let list = attributes
        .iter()
        .flat_map(|(kind, value)| [&[*kind, u8::try_from(value.len() + 2).unwrap()], *value].concat());
    kit::answer(code, request, &list.collect::<Vec<u8>>(), SECRET)
}

fn radius(authentication: &[&Far], accounting: &[&Far]) -> Radius {
    let servers = |fars: &[&Far]| fars.iter().map(|far| far.config()).collect();
    let settings =
        Settings { authentication: servers(authentication), accounting: servers(accounting), interim: None };
    Radius::new(Clock::start(), Arc::new(settings), Rng::from_number(5)).unwrap()
}

impl Radius {
    /// Waits until something has come, and takes it in, once.
    fn wait(&mut self) {
        self.receive(self.clock.now(), EpollTimeout::try_from(PATIENCE).unwrap());
    }
}

fn path() -> Path {
    Path { local: "192.0.2.1:4500".parse().unwrap(), remote: "198.51.100.7:31337".parse().unwrap() }
}

fn question(round: u32) -> AaaRequest {
    AaaRequest {
        conversation: Conversation::of(7),
        round,
        user: "alice".into(),
        packet: RESPONSE.to_vec(),
        path: path(),
        profile: Name::new("ra").unwrap(),
        session: "s1".into(),
    }
}

fn account(stage: AccountStage) -> Account {
    Account {
        session: "s1".into(),
        stage,
        user: "alice".into(),
        class: Arc::default(),
        addresses: vec![Ipv4Addr::new(10, 98, 1, 7).into()],
        path: path(),
        profile: Name::new("ra").unwrap(),
        time: Duration::from_secs(90),
    }
}

#[test]
fn a_conversation_goes_over_sockets_and_its_rounds_are_told_apart() {
    let far = Far::new();
    let mut radius = radius(&[&far], &[]);

    radius.ask(question(1));
    far.say(CHALLENGE, &[(79, REQUEST), (24, b"state")], &far.hear());
    radius.wait();
    let [first] = &radius.answers()[..] else { panic!("one answer") };
    assert!(matches!(&first.verdict, AaaVerdict::Challenge(packet) if packet == REQUEST));
    assert_eq!((first.conversation, first.round), (Conversation::of(7), 1));

    radius.ask(question(2));
    let heard = far.hear();
    assert_eq!(kit::attribute(&heard.0, 24).unwrap(), b"state");
    let grants: [(u8, &[u8]); 4] = [(8, &[10, 98, 1, 7]), (1, b"alice@x"), (25, b"class"), (79, SUCCESS)];
    far.say(ACCEPT, &grants, &heard);
    radius.wait();
    let answers = radius.answers();
    let [AaaAnswer { round: 2, verdict: AaaVerdict::Accept { packet, msk: None, grants }, .. }] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!((&packet[..], grants.ipv4), (SUCCESS, Some([10, 98, 1, 7].into())));
    assert_eq!((grants.user.as_deref(), &*grants.class), (Some("alice@x"), &[b"class"[..].into()][..]));
    assert!(radius.asked.is_empty(), "it is over");
}

#[test]
fn datagrams_of_anybody_but_the_server_are_dropped_by_the_kernel() {
    let (far, stranger) = (Far::new(), Far::new());
    let mut radius = radius(&[&far], &[]);
    radius.ask(question(1));
    let heard = far.hear();

    // Even if it were right.
    stranger.say(ACCEPT, &[(79, SUCCESS)], &heard);
    far.say(CHALLENGE, &[(79, REQUEST)], &heard);
    radius.wait();

    let answers = radius.answers();
    assert!(matches!(answers[..], [AaaAnswer { verdict: AaaVerdict::Challenge(_), .. }]), "{answers:?}");
    assert_eq!(*radius.counters(), Counters { outcomes: radius.counters().outcomes, ..Counters::default() });
}

#[test]
fn what_a_server_sends_that_is_no_answer_is_counted_and_the_next_is_heard() {
    let far = Far::new();
    let mut radius = radius(&[&far], &[]);
    radius.ask(question(1));
    let heard = far.hear();
    let good = answer(ACCEPT, &[(79, SUCCESS)], &heard.0);
    let long = [&good[..], &[0; MAX_DATAGRAM]].concat();

    for octets in [&[][..], &good[..30], &heard.0, &[0xff; 4_096]] {
        far.socket.send_to(octets, heard.1).unwrap();
    }
    // Twice, and with padding that is longer than a packet may be.
    for octets in [&long, &good] {
        far.socket.send_to(octets, heard.1).unwrap();
    }
    while radius.counters().discards.iter().sum::<u64>() < 5 {
        radius.wait();
    }

    let answers = radius.answers();
    assert!(matches!(answers[..], [AaaAnswer { verdict: AaaVerdict::Accept { .. }, .. }]), "{answers:?}");
    let [server] = &radius.snapshot(radius.clock.now())[..] else { panic!("one server") };
    assert_eq!((server.tally.answered, server.tally.discarded), (1, 5));
    assert!(radius.events().iter().any(|event| matches!(event, Event::Radius(_))));
}

#[test]
fn where_nobody_listens_the_next_server_is_asked_at_once() {
    let (gone, far) = (Far::new(), Far::new());
    let mut radius = radius(&[&gone, &far], &[]);
    // Nobody else gets the port meanwhile: it is one of those that the kernel gives away in turn.
    drop(gone);

    radius.ask(question(1));
    radius.wait();
    far.say(ACCEPT, &[(79, SUCCESS)], &far.hear());
    radius.wait();

    let answers = radius.answers();
    assert!(matches!(answers[..], [AaaAnswer { verdict: AaaVerdict::Accept { .. }, .. }]), "{answers:?}");
    assert_eq!(radius.counters().fail_overs, 1);
}

#[test]
fn an_answer_that_nobody_waits_for_any_longer_is_not_told() {
    let far = Far::new();
    let mut radius = radius(&[&far], &[]);
    radius.ask(question(1));
    let heard = far.hear();

    radius.abandon(Conversation::of(7));
    far.say(ACCEPT, &[(79, SUCCESS)], &heard);
    radius.wait();

    assert!(radius.answers().is_empty() && radius.asked.is_empty());
    assert_eq!(radius.deadline(), None);
}

#[test]
fn without_servers_a_client_is_told_at_once() {
    let mut radius = radius(&[], &[]);

    radius.ask(question(1));

    let answers = radius.answers();
    assert!(matches!(answers[..], [AaaAnswer { verdict: AaaVerdict::Unreachable, .. }]), "{answers:?}");
}

/// A Child SA's number, and what it has carried.
fn child(number: u32) -> ChildSpi {
    ChildSpi(NonZeroU32::new(number).unwrap())
}

fn carried(number: u64) -> Usage {
    Usage { bytes_in: number, bytes_out: 10 * number, packets_in: 1, packets_out: 2, idle: None }
}

fn number(request: &[u8], kind: u8) -> u32 {
    u32::from_be_bytes(kit::attribute(request, kind).unwrap().try_into().unwrap())
}

#[test]
fn a_session_is_told_of_with_all_that_its_child_sas_have_carried() {
    let far = Far::new();
    let mut radius = radius(&[], &[&far]);
    let session: Arc<str> = "s1".into();

    radius.carries(child(1), &session);
    radius.account(&account(AccountStage::Start), |_| carried(0));
    let start = far.hear();
    assert_eq!((start.0[0], number(&start.0, 40)), (ACCOUNTING_REQUEST, 1));
    far.say(ACCOUNTING_RESPONSE, &[], &start);
    radius.wait();

    // One is replaced by another; what other sessions carry is theirs.
    radius.carries(child(2), &session);
    radius.carries(child(3), &"s2".into());
    radius.carried(child(1), |_| carried(100));
    radius.account(&account(AccountStage::Interim), |_| carried(7));
    let interim = far.hear();
    assert_eq!([40, 42, 43, 47, 48].map(|kind| number(&interim.0, kind)), [3, 107, 1_070, 2, 4]);
    far.say(ACCOUNTING_RESPONSE, &[], &interim);
    radius.wait();

    radius.carried(child(2), |_| carried(20));
    radius.account(&account(AccountStage::Stop(CloseReason::PeerDead)), |_| carried(9_999));
    let stop = far.hear();
    assert_eq!([40, 42, 43, 46, 49].map(|kind| number(&stop.0, kind)), [2, 120, 1_200, 90, 2]);
    assert_eq!(kit::attribute(&stop.0, 8).unwrap(), [10, 98, 1, 7]);
    far.say(ACCOUNTING_RESPONSE, &[], &stop);
    radius.wait();
    assert_eq!((radius.sessions.len(), radius.children.len()), (1, 1), "that of the other session");
}

#[test]
fn the_end_waits_until_what_was_said_last_is_written_down() {
    let far = Far::new();
    let mut radius = radius(&[], &[&far]);
    radius.account(&account(AccountStage::Start), |_| carried(0));
    radius.account(&account(AccountStage::Stop(CloseReason::Shutdown)), |_| carried(0));

    // The second one goes when the first is written down.
    let server = std::thread::spawn(move || {
        [1, 2].map(|_| {
            let heard = far.hear();
            far.say(ACCOUNTING_RESPONSE, &[], &heard);
            number(&heard.0, 40)
        })
    });
    radius.finish();

    assert_eq!(server.join().unwrap(), [1, 2]);
    assert!(radius.client.has_told_all());
}

#[test]
fn with_other_servers_those_that_are_gone_have_no_socket() {
    let (old, new) = (Far::new(), Far::new());
    let mut radius = radius(&[&old], &[]);
    radius.ask(question(1));
    old.hear();
    assert_eq!(radius.sockets.len(), 1);

    let settings = Settings { authentication: vec![new.config()], ..Settings::default() };
    radius.configure(Arc::new(settings));

    // The question goes on there.
    far_accepts(&new);
    radius.wait();
    assert_eq!((radius.sockets.len(), radius.answers().len()), (1, 1));
}

fn far_accepts(far: &Far) {
    far.say(ACCEPT, &[(79, SUCCESS)], &far.hear());
}

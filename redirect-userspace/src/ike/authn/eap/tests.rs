//! Both sides against each other, and against packets that should not be.

use super::packet::{failure, request, response, success};
use super::*;
use crate::rng::Rng;
use crate::time::Now;

/// A method that has a number of rounds and ends as it is told.
#[derive(Clone, Debug)]
struct Toy {
    kind: EapType,
    rounds: u8,
    ends: Option<MethodError>,
    is_server: bool,
}

impl Maker for Toy {
    fn kind(&self) -> EapType {
        self.kind
    }

    fn may_stand_alone(&self) -> bool {
        false
    }

    fn begin(&self, _identity: &str) -> Box<dyn Method> {
        Box::new(self.clone())
    }
}

impl Method for Toy {
    fn kind(&self) -> EapType {
        self.kind
    }

    fn step(&mut self, _ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn {
        let last = (!self.is_server).then(|| data.to_vec());
        if self.rounds > 0 {
            self.rounds -= 1;
            return Turn::Send(vec![self.rounds]);
        }
        match &self.ends {
            None => Turn::Done { last, outcome: Outcome { keys: Msk::new(&[1; 64]), ..Outcome::default() } },
            Some(error) => Turn::Failed { last, error: error.clone() },
        }
    }
}

fn toy(kind: EapType, rounds: u8, is_server: bool) -> Toy {
    Toy { kind, rounds, ends: None, is_server }
}

fn offers(toys: impl IntoIterator<Item = Toy>) -> Vec<Arc<dyn Maker>> {
    toys.into_iter().map(|toy| Arc::new(toy) as Arc<dyn Maker>).collect()
}

fn client(toy: Toy) -> Client {
    let credentials = Credentials { identity: "alice".into(), maker: Arc::new(toy), stands_alone: false };
    Client::new(Arc::new(credentials))
}

/// What a method is given.
struct World {
    rng: Rng,
    guesses: Guesses,
}

impl World {
    fn new() -> Self {
        Self { rng: Rng::from_number(1), guesses: Guesses::default() }
    }

    fn ctx(&mut self) -> MethodContext<'_> {
        MethodContext { now: Now::default(), rng: &mut self.rng, guesses: &mut self.guesses }
    }

    fn server(&mut self, offers: Vec<Arc<dyn Maker>>, identity: Option<&str>) -> (Server, Reply) {
        Server::begin(&mut self.ctx(), offers, identity)
    }

    fn tell_server(&mut self, server: &mut Server, packet: &[u8]) -> Reply {
        server.take(&mut self.ctx(), &Eap::decode(packet).unwrap())
    }

    fn tell_client(&mut self, client: &mut Client, packet: &[u8]) -> Heard {
        client.take(&mut self.ctx(), &Eap::decode(packet).unwrap())
    }
}

fn asked(reply: Reply) -> Vec<u8> {
    let Reply::Request(packet) = reply else { panic!("{reply:?}") };
    packet
}

fn answered(heard: Heard) -> Vec<u8> {
    let Heard::Answer(packet) = heard else { panic!("{heard:?}") };
    packet
}

/// Lets both talk to the end; gives what each has made of it, and how many packets there were.
fn talk(server: (Server, Reply), mut client: Client) -> (Result<Outcome, EapError>, Heard, usize) {
    let mut world = World::new();
    let (mut server, mut reply) = server;
    for packets in 1..1_000 {
        match reply {
            Reply::Request(packet) => {
                let answer = answered(world.tell_client(&mut client, &packet));
                reply = world.tell_server(&mut server, &answer);
            }
            Reply::Success(packet, outcome) => {
                return (Ok(outcome), world.tell_client(&mut client, &packet), packets);
            }
            Reply::Failure(packet, error) => {
                return (Err(error), world.tell_client(&mut client, &packet), packets);
            }
        }
    }
    panic!("there is no end");
}

#[test]
fn both_sides_come_to_success_with_or_without_the_question_who_it_is() {
    for identity in [None, Some("alice")] {
        let server = World::new().server(offers([toy(EapType::MschapV2, 3, true)]), identity);

        let (ours, theirs, packets) = talk(server, client(toy(EapType::MschapV2, 2, false)));

        assert!(ours.is_ok_and(|outcome| outcome.keys.is_some()));
        assert!(matches!(theirs, Heard::Success(outcome) if outcome.keys.is_some()));
        assert_eq!(packets, if identity.is_none() { 5 } else { 4 });
    }
}

// test of RFC 3748 §5.3.1
#[test]
fn a_nak_leads_to_another_method_if_there_is_one() {
    let both = [toy(EapType::Tls, 1, true), toy(EapType::MschapV2, 1, true)];
    let server = World::new().server(offers(both), Some("alice"));
    let (ours, theirs, _) = talk(server, client(toy(EapType::MschapV2, 0, false)));
    assert!(ours.is_ok() && matches!(theirs, Heard::Success(_)));

    let server = World::new().server(offers([toy(EapType::Tls, 1, true)]), Some("alice"));
    let (ours, theirs, _) = talk(server, client(toy(EapType::MschapV2, 0, false)));
    assert_eq!(ours.unwrap_err(), EapError::NoMethod("EAP-MSCHAPv2".into()));
    assert!(matches!(theirs, Heard::Failure(EapError::Refused)));
}

#[test]
fn a_nak_that_wants_nothing_or_comes_late_or_again_ends_the_conversation() {
    let mut world = World::new();
    let both = || offers([toy(EapType::Tls, 3, true), toy(EapType::MschapV2, 3, true)]);
    for wants in [&[][..], &[0], &[EapType::Tls.into()], &[4, 21]] {
        let (mut server, reply) = world.server(both(), Some("alice"));
        let nak = response(asked(reply)[1], EapType::Nak, wants).unwrap();
        let reply = world.tell_server(&mut server, &nak);
        assert!(matches!(reply, Reply::Failure(_, EapError::NoMethod(_))), "{wants:?} {reply:?}");
    }

    let (mut server, reply) = world.server(both(), Some("alice"));
    let agrees = response(asked(reply)[1], EapType::Tls, b"x").unwrap();
    let reply = world.tell_server(&mut server, &agrees);
    let late = response(asked(reply)[1], EapType::Nak, &[26]).unwrap();
    assert!(matches!(world.tell_server(&mut server, &late), Reply::Failure(_, EapError::Type(EapType::Nak))));

    let (mut server, reply) = world.server(both(), Some("alice"));
    let nak = response(asked(reply)[1], EapType::Nak, &[26]).unwrap();
    let reply = world.tell_server(&mut server, &nak);
    let again = response(asked(reply)[1], EapType::Nak, &[13]).unwrap();
    assert!(matches!(world.tell_server(&mut server, &again), Reply::Failure(_, EapError::NoMethod(_))));
}

#[test]
fn a_server_takes_nothing_but_the_response_to_its_request() {
    let mut world = World::new();
    let wrong: [fn(u8) -> Vec<u8>; 7] = [
        |id| response(id.wrapping_add(1), EapType::MschapV2, b"x").unwrap(),
        |id| response(id.wrapping_sub(1), EapType::MschapV2, b"x").unwrap(),
        |id| request(id, EapType::MschapV2, b"x").unwrap(),
        |id| response(id, EapType::Tls, b"x").unwrap(),
        |id| response(id, EapType::Identity, b"bob").unwrap(),
        success,
        failure,
    ];
    for (number, packet) in wrong.iter().enumerate() {
        let (mut server, reply) = world.server(offers([toy(EapType::MschapV2, 3, true)]), Some("alice"));
        let packet = packet(asked(reply)[1]);

        assert!(matches!(world.tell_server(&mut server, &packet), Reply::Failure(..)), "{number}");
        let right = response(0, EapType::MschapV2, b"x").unwrap();
        assert!(matches!(world.tell_server(&mut server, &right), Reply::Failure(..)), "{number}, later");
    }
}

#[test]
fn an_identity_is_text_and_not_endless() {
    let mut world = World::new();
    let long = [b'a'; MAX_IDENTITY + 1];
    for wrong in [&b"\xff\xfe"[..], b"a\nb", &long] {
        let (mut server, reply) = world.server(offers([toy(EapType::MschapV2, 1, true)]), None);
        let packet = response(asked(reply)[1], EapType::Identity, wrong).unwrap();
        let reply = world.tell_server(&mut server, &packet);
        assert!(matches!(reply, Reply::Failure(_, EapError::Identity)), "{wrong:?}");
    }
    for (right, identity) in [(&b"alice\0networkid=x"[..], "alice"), (b"", ""), (b"\0nai=x", "")] {
        let (mut server, reply) = world.server(offers([toy(EapType::MschapV2, 1, true)]), None);
        let packet = response(asked(reply)[1], EapType::Identity, right).unwrap();
        asked(world.tell_server(&mut server, &packet));
        assert_eq!(server.identity(), identity);
    }
}

#[test]
fn a_conversation_ends_after_so_many_rounds_and_octets() {
    let endless = || offers([toy(EapType::MschapV2, u8::MAX, true)]);
    for (length, most) in [(1, usize::from(Budget::ROUNDS)), (40_000, 3)] {
        let mut world = World::new();
        let (mut server, mut reply) = world.server(endless(), Some("alice"));
        let mut rounds = 0;
        let error = loop {
            match reply {
                Reply::Request(packet) => {
                    let answer = response(packet[1], EapType::MschapV2, &vec![0; length]).unwrap();
                    reply = world.tell_server(&mut server, &answer);
                    rounds += 1;
                }
                Reply::Failure(_, error) => break error,
                Reply::Success(..) => panic!("it is endless"),
            }
        };
        assert_eq!((error, rounds), (EapError::Limit, most + 1));

        let mut client = client(toy(EapType::MschapV2, u8::MAX, false));
        let mut rounds = 0_usize;
        let error = loop {
            let id = u8::try_from(rounds % 256).unwrap();
            let packet = request(id, EapType::MschapV2, &vec![0; length]).unwrap();
            match world.tell_client(&mut client, &packet) {
                Heard::Answer(_) => rounds += 1,
                Heard::Failure(error) => break error,
                Heard::Success(_) => panic!("it is endless"),
            }
        };
        assert_eq!((error, rounds), (EapError::Limit, most));
    }
}

#[test]
fn a_failed_method_is_told_and_no_client_is_kept_waiting() {
    let wrong = Toy { ends: Some(MethodError::Credentials), ..toy(EapType::MschapV2, 1, true) };
    let server = World::new().server(offers([wrong]), Some("alice"));

    let (ours, theirs, _) = talk(server, client(toy(EapType::MschapV2, 5, false)));

    assert_eq!(ours.unwrap_err(), EapError::method(EapType::MschapV2, MethodError::Credentials));
    assert!(matches!(theirs, Heard::Failure(EapError::Refused)));
}

// test of RFC 3748 §4.2
#[test]
fn a_client_believes_no_success_before_its_method_is_done() {
    for rounds in 0..3 {
        let mut world = World::new();
        let mut client = client(toy(EapType::MschapV2, 3, false));
        for id in 0..rounds {
            answered(world.tell_client(&mut client, &request(id, EapType::MschapV2, b"x").unwrap()));
        }

        let heard = world.tell_client(&mut client, &success(rounds));

        assert!(matches!(heard, Heard::Failure(EapError::Premature)), "{rounds}");
        let heard = world.tell_client(&mut client, &request(9, EapType::MschapV2, b"x").unwrap());
        assert!(matches!(heard, Heard::Failure(_)), "{rounds}, later");
    }
}

#[test]
fn a_client_whose_method_has_failed_believes_no_success() {
    let mut world = World::new();
    let mut client = client(Toy { ends: Some(MethodError::Server), ..toy(EapType::MschapV2, 0, false) });
    answered(world.tell_client(&mut client, &request(1, EapType::MschapV2, b"x").unwrap()));

    let heard = world.tell_client(&mut client, &success(1));

    assert!(
        matches!(heard, Heard::Failure(EapError::Method { error: MethodError::Server, .. })),
        "{heard:?}"
    );
}

// test of RFC 3748 §4.1
#[test]
fn a_client_gives_the_same_answer_to_the_same_request_and_no_other_under_its_number() {
    let mut world = World::new();
    let mut client = client(toy(EapType::MschapV2, 3, false));
    let first = request(1, EapType::MschapV2, b"x").unwrap();

    let answer = answered(world.tell_client(&mut client, &first));
    assert_eq!(answered(world.tell_client(&mut client, &first)), answer);
    let other = request(1, EapType::MschapV2, b"y").unwrap();
    assert!(matches!(
        world.tell_client(&mut client, &other),
        Heard::Failure(EapError::Identifier { found: 1, expected: 2 })
    ));
}

#[test]
fn a_client_says_who_it_is_only_before_its_method_and_answers_notifications_with_nothing() {
    let mut world = World::new();
    let mut client = client(toy(EapType::MschapV2, 3, false));

    let who = answered(world.tell_client(&mut client, &request(1, EapType::Identity, b"").unwrap()));
    assert_eq!(who, response(1, EapType::Identity, b"alice").unwrap());
    let other = answered(world.tell_client(&mut client, &request(2, EapType::Md5Challenge, b"x").unwrap()));
    assert_eq!(other, response(2, EapType::Nak, &[26]).unwrap());
    answered(world.tell_client(&mut client, &request(3, EapType::MschapV2, b"x").unwrap()));
    let note = request(4, EapType::Notification, b"your password is old").unwrap();
    let note = answered(world.tell_client(&mut client, &note));
    assert_eq!(note, response(4, EapType::Notification, b"").unwrap());
    let heard = world.tell_client(&mut client, &request(5, EapType::Identity, b"").unwrap());
    assert!(matches!(heard, Heard::Failure(EapError::Type(EapType::Identity))));
}

#[test]
fn a_client_takes_no_responses_and_no_naks() {
    let mut world = World::new();
    let packets =
        [response(1, EapType::MschapV2, b"x").unwrap(), request(1, EapType::Nak, &[13]).unwrap(), failure(1)];
    for packet in packets {
        let mut client = client(toy(EapType::MschapV2, 3, false));
        assert!(matches!(world.tell_client(&mut client, &packet), Heard::Failure(_)), "{packet:?}");
    }
}

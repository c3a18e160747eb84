//! Clients against servers that are made of a few lines.

mod accounting;
mod client;
mod random;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Input, Output, SocketId, Verdict};
use super::config::{Server, Settings};
use super::digest::{hmac_md5, md5};
use super::event::Event;
use super::request::{Question, Station};
use super::wire::{Code, Kind, Packet};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Now;

const SECRET: &[u8] = b"xyzzy5461";
/// EAP packets: a response, a request, Success and Failure.
const RESPONSE: &[u8] = &[2, 7, 0, 6, 1, b'a'];
const REQUEST: &[u8] = &[1, 8, 0, 5, 26];
const SUCCESS: &[u8] = &[3, 8, 0, 4];
const FAILURE: &[u8] = &[4, 8, 0, 4];

fn server(number: u8) -> Server {
    Server {
        address: SocketAddr::from(([10, 0, 0, number], 1812)),
        secret: Secret::from(SECRET),
        nas_identifier: "gw1".into(),
        timeout: Duration::from_secs(1),
        retries: 2,
        dead_time: Duration::from_secs(60),
        is_probed: true,
    }
}

fn question(conversation: u64, packet: &[u8]) -> Box<Question> {
    Box::new(Question {
        conversation,
        user: b"alice".to_vec(),
        packet: packet.to_vec(),
        station: station(),
        session: "s1".into(),
    })
}

fn station() -> Station {
    Station {
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "198.51.100.7:31337".parse().unwrap(),
        profile: "remote-access".into(),
    }
}

/// A packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    socket: SocketId,
    server: SocketAddr,
    octets: Vec<u8>,
}

impl Sent {
    fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.octets).unwrap()
    }

    /// The value of the only attribute of a kind.
    fn value(&self, kind: Kind) -> Option<Vec<u8>> {
        let values: Vec<_> = self.packet().all(kind).collect();
        assert!(values.len() <= 1, "{kind:?} {values:?}");
        values.first().map(|value| value.to_vec())
    }
}

/// How an answer is made.
#[derive(Clone, Copy)]
struct Making {
    secret: &'static [u8],
    has_message_authenticator: bool,
    breaks_message_authenticator: bool,
}

const WELL: Making =
    Making { secret: SECRET, has_message_authenticator: true, breaks_message_authenticator: false };

/// An answer to a packet of ours, put together octet by octet.
fn answer(code: u8, to: &Sent, attributes: &[(u8, &[u8])], making: Making) -> Vec<u8> {
    let secret = Secret::from(making.secret);
    let mut list = Vec::new();
    for (kind, value) in attributes {
        list.extend([*kind, u8::try_from(value.len() + 2).unwrap()]);
        list.extend_from_slice(value);
    }
    if making.has_message_authenticator {
        list.extend([80, 18]);
        list.extend([0; 16]);
    }
    let length = u16::try_from(20 + list.len()).unwrap().to_be_bytes();
    let head = [code, to.octets[1], length[0], length[1]];
    let request = to.packet().authenticator;
    if making.has_message_authenticator {
        let mut sealed = hmac_md5(&secret, &[&head, &request, &list]);
        sealed[0] ^= u8::from(making.breaks_message_authenticator);
        let at = list.len() - 16;
        list[at..].copy_from_slice(&sealed);
    }
    let authenticator = md5(&[&head, &request, &list, making.secret]);
    [&head[..], &authenticator, &list].concat()
}

/// A client in virtual time.
struct Rig {
    now: Now,
    client: Client,
    /// Where each socket leads.
    sockets: Vec<SocketAddr>,
    events: Vec<Event>,
    closed: usize,
}

/// What comes of a step, sorted.
#[derive(Debug, Default)]
struct Came {
    sent: Vec<Sent>,
    verdicts: Vec<(u64, Verdict)>,
}

impl Came {
    fn only_sent(mut self) -> Sent {
        assert_eq!((self.sent.len(), &self.verdicts[..]), (1, &[][..]), "{:?}", self.sent);
        self.sent.remove(0)
    }

    fn only_verdict(mut self) -> Verdict {
        assert_eq!((self.sent.len(), self.verdicts.len()), (0, 1), "{self:?}");
        self.verdicts.remove(0).1
    }

    fn nothing(self) {
        assert_eq!((self.sent, self.verdicts), (Vec::new(), Vec::new()));
    }
}

impl Rig {
    fn new(servers: &[Server]) -> Self {
        Self::with(Settings { authentication: servers.to_vec(), accounting: Vec::new(), interim: None })
    }

    fn with(settings: Settings) -> Self {
        let now = Now::default().after(Duration::from_secs(1_000));
        let client = Client::new(now, Arc::new(settings), Rng::from_number(7));
        Self { now, client, sockets: Vec::new(), events: Vec::new(), closed: 0 }
    }

    fn step(&mut self, input: Input<'_>) -> Came {
        let mut out = Outbox::new();
        self.client.step(self.now, input, &mut out);
        let mut came = Came::default();
        for output in out.drain() {
            match output {
                Output::Open { socket, server } => {
                    assert_eq!(usize::try_from(socket.0).unwrap(), self.sockets.len());
                    self.sockets.push(server);
                }
                Output::Close { .. } => self.closed += 1,
                Output::Send { socket, octets } => {
                    let server = self.sockets[usize::try_from(socket.0).unwrap()];
                    came.sent.push(Sent { socket, server, octets });
                }
                Output::Answer { conversation, verdict } => came.verdicts.push((conversation, *verdict)),
                Output::Event(event) => self.events.push(event),
            }
        }
        came
    }

    fn ask(&mut self, conversation: u64) -> Came {
        self.step(Input::Ask(question(conversation, RESPONSE)))
    }

    fn hear(&mut self, socket: SocketId, octets: &[u8]) -> Came {
        self.step(Input::Datagram { socket, octets })
    }

    /// Lets time pass until the next deadline, and does what is due then.
    fn wait(&mut self) -> Came {
        let at = self.client.deadline().expect("something is to come").at;
        self.now = self.now.after(at.since(self.now.mono));
        let came = self.step(Input::Timeout);
        let after = self.client.deadline().map(|deadline| deadline.at);
        assert!(after.is_none_or(|after| after > self.now.mono), "no spinning");
        came
    }

    /// Waits until something is sent or said.
    fn wait_for_something(&mut self) -> Came {
        loop {
            let came = self.wait();
            if !came.sent.is_empty() || !came.verdicts.is_empty() {
                return came;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Server 1 is dead, as one conversation has found out; server 2 has its question.
    fn bury_first(&mut self) -> Sent {
        let first = self.ask(100).only_sent();
        for _ in 0..2 {
            assert_eq!(self.wait_for_something().only_sent(), first);
        }
        self.wait_for_something().only_sent()
    }
}

fn challenge(to: &Sent) -> Vec<u8> {
    answer(11, to, &[(24, b"state"), (79, REQUEST)], WELL)
}

fn accept(to: &Sent) -> Vec<u8> {
    answer(2, to, &[(79, SUCCESS)], WELL)
}

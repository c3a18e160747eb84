//! Bodies of the fuzz targets for RADIUS, which tests call as well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::{Machine as _, Outbox};
use crate::radius::config::{Server, Settings};
use crate::radius::{Client, Input, Output, Question, SocketId, Station, Verdict, kit};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Now;

const SECRET: &[u8] = b"a secret that is in no corpus";

/// Any octets as the answer of a server: they let nobody in, and what waits goes on to wait.
///
/// # Panics
///
/// A promise is broken.
pub fn packet(octets: &[u8]) {
    let (mut client, mut out, _) = asked();

    client.step(Now::default(), Input::Datagram { socket: SocketId(0), octets }, &mut out);

    assert!(out.drain().all(|output| matches!(output, Output::Event(_))), "octets of nobody change nothing");
    assert!(client.deadline().is_some(), "the question still waits");
}

/// Any octets as the attributes of an answer by a server that knows the secret; the first one says
/// which answer. What is read is an answer or a refusal, once, and what is let in has succeeded.
///
/// # Panics
///
/// A promise is broken.
pub fn attributes(octets: &[u8]) {
    let Some((choice, octets)) = octets.split_first() else { return };
    let code = [ACCEPT, REJECT, CHALLENGE].into_iter().cycle().nth((*choice).into()).unwrap_or(ACCEPT);
    let (mut client, mut out, request) = asked();
    let answer = kit::answer(code, &request, octets, SECRET);

    client.step(Now::default(), Input::Datagram { socket: SocketId(0), octets: &answer }, &mut out);

    let mut verdicts = out
        .drain()
        .filter_map(|output| if let Output::Answer { verdict, .. } = output { Some(*verdict) } else { None });
    match verdicts.next() {
        // It is no packet, so that the question still waits.
        None => assert!(client.deadline().is_some(), "the question is lost"),
        Some(Verdict::Accept { packet, .. }) => {
            assert!(code == ACCEPT && packet.first() == Some(&3), "{packet:?}");
        }
        Some(Verdict::Challenge(packet)) => {
            assert!(code == CHALLENGE && packet.first() == Some(&1), "{packet:?}");
        }
        Some(Verdict::Reject { packet }) => {
            assert!(packet.first().is_none_or(|code| *code == 4), "{packet:?}");
        }
        Some(verdict @ Verdict::Unreachable) => assert_ne!(verdict, Verdict::Unreachable, "it has answered"),
    }
    assert!(verdicts.next().is_none(), "answered twice");
}

/// A client that has asked something, and what was sent.
fn asked() -> (Client, Outbox<Output>, Vec<u8>) {
    let address = SocketAddr::from(([192, 0, 2, 9], 1812));
    let server = Server {
        address,
        secret: Secret::from(SECRET),
        nas_identifier: "gw1".into(),
        timeout: Duration::from_secs(1),
        retries: 2,
        dead_time: Duration::from_secs(60),
        is_probed: true,
    };
    let settings = Settings { authentication: vec![server], ..Settings::default() };
    let mut client = Client::new(Now::default(), Arc::new(settings), Rng::from_number(1));
    let mut out = Outbox::new();
    let station = Station { local: address, remote: address, profile: "p".into() };
    let question = Question {
        conversation: 1,
        user: Vec::new(),
        packet: vec![2, 0, 0, 4],
        station,
        session: "s".into(),
    };
    client.step(Now::default(), Input::Ask(Box::new(question)), &mut out);
    let sent = out
        .drain()
        .find_map(|output| if let Output::Send { octets, .. } = output { Some(octets) } else { None });
    (client, out, sent.unwrap_or_default())
}

/// Codes of answers.
const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const CHALLENGE: u8 = 11;

//! The body of the fuzz target for RADIUS, which tests call as well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::{Machine as _, Outbox};
use crate::radius::config::{Server, Settings};
use crate::radius::{Client, Input, Output, Question, SocketId, Station};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Now;

/// Any octets as the answer of a server: they let nobody in, and what waits goes on to wait.
///
/// # Panics
///
/// A promise is broken.
pub fn packet(octets: &[u8]) {
    let address = SocketAddr::from(([192, 0, 2, 9], 1812));
    let server = Server {
        address,
        secret: Secret::new(b"a secret that is in no corpus".to_vec()),
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
    let before = client.deadline();
    out.drain().for_each(drop);
    client.step(Now::default(), Input::Datagram { socket: SocketId(0), octets }, &mut out);
    assert!(out.drain().all(|output| matches!(output, Output::Event(_))), "octets of nobody change nothing");
    assert!(client.deadline().is_some() && before.is_some(), "the question still waits");
}

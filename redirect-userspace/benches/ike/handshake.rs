//! Processor time of the gateway's part of a handshake, beside the arithmetic in it.

use std::hint::black_box;
use std::time::Duration;

use redirect_userspace::crypto::kex::{Group, KeyExchange};
use redirect_userspace::rng::Rng;

use crate::rig::{Rig, processor_time};

/// Rounds in which everything has its turn.
const ROUNDS: usize = 15;
/// Handshakes in a round.
const HANDSHAKES: u32 = 200;
/// What strongSwan's charon needs of a processor for one, in nanoseconds.
const CHARON: f64 = 730_000.0;

pub(crate) fn run() {
    let names = ["X25519, both halves", "IKE_SA_INIT", "IKE_AUTH", "a handshake", "of it no X25519"];
    let mut samples = names.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let arithmetic = arithmetic();
        let mut rig = Rig::new(HANDSHAKES as usize);
        let (mut init, mut auth) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..HANDSHAKES {
            let cost = rig.handshake();
            init += cost.init;
            auth += cost.auth;
        }
        assert_eq!(rig.gateway.counts().established, HANDSHAKES as usize);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(HANDSHAKES);
        let (init, auth) = (each(init), each(auth));
        let figures = [arithmetic, init, auth, init + auth, init + auth - arithmetic];
        for (samples, figure) in samples.iter_mut().zip(figures) {
            samples.push(figure);
        }
    }
    println!("\n{:<40} {:>10} {:>10}", "the gateway's part of a handshake", "min ns", "median ns");
    for (name, mut samples) in names.into_iter().zip(samples) {
        samples.sort_by(f64::total_cmp);
        println!("  {name:<38} {:>10.0} {:>10.0}", samples[0], samples[ROUNDS / 2]);
        if name == "a handshake" {
            println!(
                "  {:<38} {:>9.1}x {:>9.1}x",
                "strongSwan's",
                CHARON / samples[0],
                CHARON / samples[ROUNDS / 2]
            );
        }
    }
}

/// Nanoseconds of one side of a key exchange.
fn arithmetic() -> f64 {
    let mut rng = Rng::from_number(1);
    let peer = KeyExchange::generate(Group::Curve25519, &mut rng).unwrap().public().to_vec();
    let start = processor_time();
    for _ in 0..HANDSHAKES {
        let ours = KeyExchange::generate(Group::Curve25519, &mut rng).unwrap();
        black_box(ours.agree(black_box(&peer)).unwrap());
    }
    processor_time().saturating_sub(start).as_nanos() as f64 / f64::from(HANDSHAKES)
}

//! The gate in the kernel, behind the redirect decision: verdicts and octets compared with the host's.

use common::decide::{Verdict as Redirect, decide};
use common::gate::{Asked, Verdict, gate};
use common::reason::Reason;
use redirect_userspace::testing::fixtures::{self, Fixture, GATEWAY_ALL, GATEWAY_LOCAL, World, v4, v6};
use redirect_userspace::testing::gate::GateWorld;

use crate::Random;
use crate::kernel::{Kernel, XDP_DROP, XDP_PASS, XDP_TX};

fn close(kernel: &mut Kernel, world: &GateWorld) {
    let count = kernel.maps.set_gated(&world.addresses).unwrap();
    assert_eq!(count, world.gate.control.vips);
    kernel.maps.set_gate(&world.gate).unwrap();
}

/// The reasons for which a frame comes to the gate: it may be for the gateway on this node.
fn comes_to_gate(reason: Reason) -> bool {
    const REASONS: [Reason; 10] = [
        Reason::NotVip,
        Reason::Disarmed,
        Reason::NoRedirectSupport,
        Reason::RedirectLoop,
        Reason::ClientNotAccepted,
        Reason::Cookie,
        Reason::NoGateway,
        Reason::LocalIsLlg,
        Reason::NoIdentity,
        Reason::ReplyNotShorter,
    ];
    REASONS.contains(&reason)
}

/// What the two decisions make of a frame, one behind the other.
fn expected(frame: &[u8], world: &World, gates: &GateWorld) -> (u32, Vec<u8>, Option<Asked>) {
    let mut answered = frame.to_vec();
    match decide(answered.as_mut_slice(), world) {
        Redirect::Redirect { length, .. } => return (XDP_TX, answered[..length].to_vec(), None),
        Redirect::Drop(_) => return (XDP_DROP, frame.to_vec(), None),
        Redirect::Pass(reason) if !comes_to_gate(reason) => return (XDP_PASS, frame.to_vec(), None),
        Redirect::Pass(_) => {}
    }
    match gate(answered.as_mut_slice(), gates) {
        Verdict::Pass => (XDP_PASS, frame.to_vec(), None),
        Verdict::Good => (XDP_PASS, frame.to_vec(), Some(Asked::Good)),
        Verdict::Ask { length } => (XDP_TX, answered[..length].to_vec(), Some(Asked::Cookie)),
    }
}

fn asked(kernel: &Kernel) -> [u64; 2] {
    [Asked::Cookie, Asked::Good].map(|asked| kernel.maps.asked(asked).unwrap())
}

fn assert_same(
    name: &str,
    kernel: &mut Kernel,
    frame: &[u8],
    world: &World,
    gates: &GateWorld,
) -> Option<Asked> {
    let (action, octets, counted) = expected(frame, world, gates);
    let before = asked(kernel);

    let (seen, output) = kernel.run(frame);

    assert_eq!(seen, action, "{name}");
    if action != XDP_DROP {
        assert_eq!(output, octets, "{name}");
    }
    let mut then = before;
    if let Some(counted) = counted {
        then[counted.index() as usize] += 1;
    }
    assert_eq!(asked(kernel), then, "{name}");
    counted
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn every_fixture_is_asked_for_a_cookie_as_on_the_host() {
    let mut kernel = Kernel::load();
    let gates = GateWorld::closed();
    close(&mut kernel, &gates);
    let mut count = 0;
    for Fixture { name, world, frame, .. } in fixtures::all() {
        if frame.len() < 14 {
            continue;
        }
        kernel.become_world(&world);
        count += u32::from(assert_same(name, &mut kernel, &frame, &world, &gates).is_some());
    }
    assert!(count > 5, "{count}");
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn a_request_that_this_node_keeps_passes_with_its_cookie_only() {
    let mut kernel = Kernel::load();
    let gates = GateWorld::closed();
    close(&mut kernel, &gates);
    let world = World::towards(GATEWAY_LOCAL);
    kernel.become_world(&world);
    for packet in [v4(), v6(), v4().nat_t(), v6().nat_t()] {
        let before = kernel.packets(Reason::LocalIsLlg);
        let outcome = assert_same("without", &mut kernel, &packet.build(), &world, &gates);
        assert_eq!(outcome, Some(Asked::Cookie));
        assert_eq!(kernel.packets(Reason::LocalIsLlg), before + 1, "it is counted as before");

        let cookie = GateWorld::cookie(gates.current(), &packet).unwrap();
        let frame = GateWorld::bringing(packet, &cookie).build();
        assert_eq!(assert_same("with", &mut kernel, &frame, &world, &gates), Some(Asked::Good));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn who_is_redirected_is_not_asked_and_an_open_gate_asks_nobody() {
    let mut kernel = Kernel::load();
    let mut gates = GateWorld::closed();
    close(&mut kernel, &gates);
    let world = World::towards(GATEWAY_ALL);
    kernel.become_world(&world);
    assert_eq!(assert_same("redirected", &mut kernel, &v4().build(), &world, &gates), None);

    gates.gate.control.armed = 0;
    close(&mut kernel, &gates);
    let world = World::towards(GATEWAY_LOCAL);
    kernel.become_world(&world);
    assert_eq!(assert_same("open", &mut kernel, &v4().build(), &world, &gates), None);
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn mutated_packets_are_judged_as_on_the_host() {
    let mut kernel = Kernel::load();
    let gates = GateWorld::closed();
    close(&mut kernel, &gates);
    let world = World::towards(GATEWAY_LOCAL);
    kernel.become_world(&world);
    let mut random = Random(0x5eed_0002);
    let mut seeds: Vec<Vec<u8>> =
        fixtures::all().into_iter().map(|fixture| fixture.frame).filter(|frame| frame.len() >= 14).collect();
    for packet in [v4(), v6().nat_t()] {
        let cookie = GateWorld::cookie(gates.current(), &packet).unwrap();
        for _ in 0..40 {
            seeds.push(GateWorld::bringing(packet.clone(), &cookie).build());
        }
    }
    let (mut cookies, mut good) = (0, 0);
    for round in 0..100_000 {
        let mut frame = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(4) {
            random.mutate(&mut frame);
        }
        match assert_same(&format!("round {round}"), &mut kernel, &frame, &world, &gates) {
            Some(Asked::Cookie) => cookies += 1,
            Some(Asked::Good) => good += 1,
            None => {}
        }
    }
    assert!(cookies > 10_000 && good > 1_000, "{cookies} {good}");
}

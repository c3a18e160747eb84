//! The laboratory's wires and its measure of an outage, without an election.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::gap::Generator;
use xtask::lab::nodes::{Nodes, Options};
use xtask::lab::topology::VIP4;
use xtask::lab::wait;

use crate::{PATIENCE, without_gateways};

/// Waits until the first node hears the second, or no longer; and the third.
fn hears(nodes: &Nodes, expected: [bool; 2]) {
    wait::until("the first node hears those that it should", PATIENCE, || {
        let first = &nodes.nodes[0];
        let hears = [1, 2].map(|other| {
            let to = nodes.nodes[other].address4.into();
            first.namespace().ping(first.address4.into(), to, Duration::ZERO).is_ok()
        });
        ensure!(hears == expected, "{hears:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn wires_are_pulled_parted_taken_away_and_put_back() {
    let mut nodes = Nodes::build(Options { clients: 0, ..Options::default() }).unwrap();
    hears(&nodes, [true, true]);

    nodes.unplug("gw2").unwrap();
    hears(&nodes, [false, true]);
    nodes.plug("gw2").unwrap();
    nodes.part(&["gw1", "gw2"]).unwrap();
    hears(&nodes, [true, false]);
    nodes.heal(&["gw1", "gw2"]).unwrap();
    hears(&nodes, [true, true]);
    nodes.remove_interface("gw3").unwrap();
    hears(&nodes, [true, false]);
    nodes.restore_interface("gw3").unwrap();
    hears(&nodes, [true, true]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_gap_is_as_long_as_the_outage() {
    let cluster = without_gateways();
    let _daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();
    let client = &cluster.clients[0];
    let local = IpAddr::from(client.address4);
    let generator = Generator::start(client.charon.namespace(), local, VIP4.into(), 1000, 7).unwrap();
    let run = |time: Duration| {
        let end = generator.elapsed() + time;
        wait::until("time has passed", PATIENCE, || -> Result<()> {
            ensure!(generator.elapsed() >= end, "{:?}", generator.elapsed());
            Ok(())
        })
        .unwrap();
    };

    run(Duration::from_millis(100));
    let start = generator.elapsed();
    cluster.switch.unplug(&cluster.balancer).unwrap();
    let (from, to) = (generator.elapsed(), generator.elapsed() + Duration::from_millis(200));
    run(Duration::from_millis(200));
    cluster.switch.plug(&cluster.balancer).unwrap();
    let end = generator.elapsed();
    run(Duration::from_millis(200));
    let record = generator.stop().unwrap();

    let gap = record.gap(start);
    assert_eq!(record.lost_before(start), 0);
    // The commands take a while themselves, before or after their effect. A sender that was late
    // catches up, and so shifts what is lost by as much.
    let slack = Duration::from_millis(50);
    assert!(gap.time + slack > to.saturating_sub(from), "{gap:?} from {from:?} to {to:?}");
    assert!(gap.time < end.saturating_sub(start) + slack, "{gap:?} from {start:?} to {end:?}");
    assert!(gap.silence > Duration::from_millis(100), "{gap:?}");
    assert!(record.asked.last().unwrap().gateway.is_some());
}

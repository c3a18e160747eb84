//! Members come and go while clients arrive.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::nodes::{self, Nodes, Pace};
use xtask::lab::topology::VIP4;
use xtask::lab::wait;

use crate::{PATIENCE, asker, without_gateways};

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_reload_under_load_loses_no_request_and_a_removed_member_gets_none() {
    const ROUNDS: u32 = 10;
    let cluster = without_gateways();
    let all = [1, 2, 3].map(|number| Member::imaginary(number, 1));
    let fewer = [all[0].clone(), all[2].clone()];
    let removed: IpAddr = all[1].addresses[0];
    let daemon = Redirectd::start(&cluster, &all).unwrap();
    let barrage = asker(&cluster, VIP4.into(), 500, 0).barrage();

    let mut without = Vec::new();
    for _ in 0..ROUNDS {
        daemon.reload(&fewer).unwrap();
        let from = barrage.elapsed();
        // Asking takes the daemon long enough for some hundred requests.
        daemon.show_cluster().unwrap();
        without.push(from..barrage.elapsed());
        daemon.reload(&all).unwrap();
    }
    let answers = barrage.stop().unwrap();

    let lost = answers.iter().filter(|answer| answer.gateway.is_none()).count();
    assert_eq!(lost, 0, "of {}", answers.len());
    let mut seen_without = 0;
    for pair in answers.windows(2) {
        // A request belongs to a span when the one before it was answered inside it.
        let (asked, answer) = (pair[0].at, pair[1]);
        if without.iter().any(|span| span.contains(&asked) && span.contains(&answer.at)) {
            assert_ne!(answer.gateway, Some(removed), "at {:?}", answer.at);
            seen_without += 1;
        }
    }
    assert!(seen_without > 100, "only {seen_without} requests fell into the spans");
    assert!(answers.iter().any(|answer| answer.gateway == Some(removed)), "it came back");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_refused_reload_changes_nothing() {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);
    let daemon = Redirectd::start(&cluster, std::slice::from_ref(&member)).unwrap();
    let twice = [Member::imaginary(2, 1), Member::imaginary(2, 1)];

    let refusal = format!("{:#}", daemon.reload(&twice).unwrap_err());

    assert!(refusal.contains("gw2"), "{refusal}");
    let mut asker = asker(&cluster, VIP4.into(), 500, 0);
    for _ in 0..20 {
        assert_eq!(asker.ask().unwrap(), Some(member.addresses[0]));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_hang_up_signal_reloads() {
    let cluster = without_gateways();
    let (before, after) = (Member::imaginary(1, 1), Member::imaginary(2, 1));
    let daemon = Redirectd::start(&cluster, &[before]).unwrap();

    daemon.hang_up(std::slice::from_ref(&after)).unwrap();

    let mut asker = asker(&cluster, VIP4.into(), 500, 0);
    wait::until("clients are sent to the new member", PATIENCE, || {
        let answer = asker.ask()?;
        ensure!(answer == Some(after.addresses[0]), "{answer:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn interfaces_come_and_go_while_the_daemon_runs() {
    let cluster = without_gateways();
    let members = [Member::imaginary(1, 1)];
    let daemon = Redirectd::start(&cluster, &members).unwrap();
    let second = "link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\n";
    let attached = |expected: &[&str]| {
        wait::until("the interfaces are attached", PATIENCE, || {
            let attached = daemon.show_redirect()?.attached;
            let names: Vec<_> = attached.iter().map(|attached| attached.interface.as_str()).collect();
            ensure!(names == expected, "{attached:?}");
            Ok(())
        })
        .unwrap();
    };

    cluster.balancer.ip(second).unwrap();
    daemon.reload_on(&["eth0", "x0"], &members).unwrap();
    attached(&["eth0", "x0"]);
    assert!(cluster.balancer.xdp_program("x0").unwrap().is_some());

    cluster.balancer.ip("link del x0\n").unwrap();
    attached(&["eth0"]);

    cluster.balancer.ip(second).unwrap();
    attached(&["eth0", "x0"]);

    daemon.reload(&members).unwrap();
    attached(&["eth0"]);
    assert_eq!(cluster.balancer.xdp_program("x0").unwrap(), None);
    assert_eq!(asker(&cluster, VIP4.into(), 500, 0).ask().unwrap(), Some(members[0].addresses[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_cluster_key_is_changed_node_by_node_without_losing_a_member() {
    let mut nodes = Nodes::start(nodes::Options { pace: Pace::BRISK, ..nodes::Options::default() }).unwrap();
    let old = nodes.nodes[0].settings.cluster_key.clone();
    let new = "another key, which protects nothing either".to_owned();
    let steps = [(&old, Some(&new)), (&new, Some(&old)), (&new, None)];
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.name.clone()).collect();

    for (key, accepted) in steps {
        for name in &names {
            let node = nodes.node(name).unwrap();
            node.settings.cluster_key = key.clone();
            node.settings.accept_key = accepted.cloned();
            node.reload().unwrap();
            nodes.wait_settled(PATIENCE).unwrap();
            // Its members have to prove anew who they are, to a master that is ahead or behind.
            let active = nodes.active().unwrap();
            nodes.node(&active).unwrap().kill().unwrap();
            nodes.wait_settled(PATIENCE).unwrap();
            nodes.node(&active).unwrap().start().unwrap();
            nodes.wait_settled(PATIENCE).unwrap();
        }
    }
}

//! What is answered, to whom, and how the replies look to an independent reader.

use std::collections::BTreeSet;
use std::net::IpAddr;

use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::capture::Capture;
use xtask::lab::load::{Asker, tally};
use xtask::lab::topology::{BALANCER4, VIP4};

use crate::{GOOD, VIPS, asker, without_gateways};

/// tshark's number for a REDIRECT.
const REDIRECT: &str = "16407";

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn shares_follow_the_weights() {
    const REQUESTS: u32 = 8_000;
    let cluster = without_gateways();
    let weights = [1, 2, 5];
    let members: Vec<_> =
        (1..).zip(weights).map(|(number, weight)| Member::imaginary(number, weight)).collect();
    let daemon = Redirectd::start(&cluster, &members).unwrap();
    let mut asker = asker(&cluster, VIP4.into(), 500, 0);

    let tally = tally((0..REQUESTS).map(|_| asker.ask().unwrap()));

    let shown = daemon.show_cluster().unwrap();
    for member in &members {
        let share = f64::from(member.weight) / 8.0;
        let expected = share * f64::from(REQUESTS);
        // Five standard deviations: the clients' SPIs fall on the slots by chance.
        let tolerance = 5.0 * (expected * (1.0 - share)).sqrt();
        let seen = tally.get(&Some(member.addresses[0])).copied().unwrap_or_default();
        assert!((f64::from(seen) - expected).abs() < tolerance, "{}: {seen} of {expected}", member.name);
        let shown = shown.gateways.iter().find(|shown| shown.name == member.name).unwrap();
        assert!((shown.share - share).abs() < 0.001, "{shown:?}");
    }
    assert_eq!(tally.values().sum::<u32>(), REQUESTS);
    assert_eq!(tally.len(), members.len(), "nothing unanswered and nobody else named: {tally:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_retransmission_gets_the_same_gateway() {
    let cluster = without_gateways();
    let members = [1, 2, 3].map(|number| Member::imaginary(number, 1));
    let _daemon = Redirectd::start(&cluster, &members).unwrap();
    let mut asker = asker(&cluster, VIP4.into(), 500, 0);

    let mut named = BTreeSet::new();
    for _ in 0..50 {
        let first = asker.ask().unwrap();
        assert!(first.is_some());
        assert_eq!(asker.repeat().unwrap(), first);
        assert_eq!(asker.repeat().unwrap(), first);
        named.insert(first);
    }

    assert_eq!(named.len(), 3, "different requests get different gateways");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn tshark_finds_nothing_wrong_with_any_reply() {
    const EACH: usize = 20;
    let cluster = without_gateways();
    let members = [1, 2, 3].map(|number| Member::imaginary(number, 1));
    let _daemon = Redirectd::start(&cluster, &members).unwrap();
    let capture = Capture::start(cluster.clients[0].charon.namespace()).unwrap();

    let mut expected = Vec::new();
    for (seed, (vip, port)) in (0..).zip(VIPS.map(|vip| [(vip, 500), (vip, 4500)]).into_iter().flatten()) {
        let mut asker = asker(&cluster, vip, port, seed << 32);
        for _ in 0..EACH {
            expected.push((vip.to_string(), asker.ask().unwrap().unwrap().to_string()));
        }
    }
    let frames = capture.finish(4 * EACH).unwrap();

    let replies: Vec<_> = frames.iter().filter(|frame| frame.is_response).collect();
    assert_eq!(replies.len(), frames.len() / 2, "one reply to each request");
    let seen: Vec<_> = replies
        .iter()
        .map(|reply| (reply.source.clone(), reply.gateway.clone().unwrap_or_default()))
        .collect();
    assert_eq!(seen, expected);
    for reply in replies {
        assert_eq!(reply.notifies, [REDIRECT], "{reply:?}");
        assert!(reply.complaints.is_empty(), "{reply:?}");
        let checksums = if reply.source.contains(':') { 1 } else { 2 };
        assert_eq!(reply.checksums, vec![GOOD; checksums], "{reply:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn only_the_vip_is_answered_for() {
    let cluster = without_gateways();
    let daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();
    let client = &cluster.clients[0];
    let own = IpAddr::V4(BALANCER4);
    let mut asker = Asker::new(client.charon.namespace(), client.address4.into(), own, 500, 0).unwrap();

    assert_eq!(asker.ask().unwrap(), None);

    let counters = daemon.show_redirect().unwrap().counters;
    assert_eq!(counters["redirected"], 0);
    assert!(counters["not-vip"] >= 1, "{counters:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_fast_path_is_in_the_driver_and_the_program_it_shows_is_the_one_attached() {
    let cluster = without_gateways();
    let daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();

    let attached = daemon.show_redirect().unwrap().attached;

    let program = cluster.balancer.xdp_program("eth0").unwrap();
    let shown: Vec<_> =
        attached.iter().map(|at| (at.interface.as_str(), at.mode.as_str(), at.program_id)).collect();
    assert!(program.is_some());
    assert_eq!(shown, [("eth0", "native", program)]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_veth_whose_far_end_has_no_program_is_served_above_the_driver() {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);

    let mut daemon = Redirectd::spawn(&cluster.balancer, "auto", std::slice::from_ref(&member)).unwrap();
    daemon.until_ready().unwrap();

    assert_eq!(daemon.show_redirect().unwrap().attached[0].mode, "generic");
    let mut asker = asker(&cluster, VIP4.into(), 500, 0);
    for _ in 0..20 {
        assert_eq!(asker.ask().unwrap(), Some(member.addresses[0]));
    }
}

//! What a fuzzer feeds to HSRP.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::hsrp::wire::{self, Datagram};
use crate::hsrp::{
    Authentication, Group, GroupNumber, Input, Interface, MacAddress, Md5Key, Md5Keys, Settings, State,
    Version,
};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{Instant, Now};

/// Reads `octets` as a datagram of each version, and gives it to a router in each state that
/// listens.
///
/// # Panics
///
/// When a promise is broken: what was read is not what writing and reading again gives, or a
/// datagram that nobody with the key has sent changes a state.
pub fn hsrp_packet(octets: &[u8]) {
    for version in [Version::V1, Version::V2] {
        if let Ok(datagram) = wire::decode(version, octets) {
            let again = wire::decode(version, &datagram.encode(version));
            assert_eq!(again.map(without_position), Ok(without_position(datagram)));
        }
        for state in [State::Listen, State::Speak, State::Active] {
            // Anybody can know the text, so it may change states. The key nobody here knows.
            step(version, state, Authentication::default(), octets);
            let keyed = step(version, state, unknown_key(), octets);
            assert_eq!(keyed, state, "by a datagram that is not authenticated");
        }
    }
}

/// Octets that mean nothing are not kept, so a digest may have moved.
fn without_position(mut datagram: Datagram) -> Datagram {
    if let Some(md5) = &mut datagram.md5 {
        md5.at = 0;
    }
    datagram
}

/// Gives `octets` to a router in `state`. The state after it.
fn step(version: Version, state: State, authentication: Authentication, octets: &[u8]) -> State {
    let Some(settings) = settings(version, authentication) else { return state };
    let mut group = Group::new(settings, Rng::from_number(1), Instant::START);
    let mut out = Outbox::new();
    let interface = Interface {
        mac: MacAddress([2, 0, 0, 0, 0, 2]),
        ipv4: Some((Ipv4Addr::new(10, 0, 0, 2), 24)),
        link_local: None,
    };
    group.step(Now::default(), Input::Interface(Some(interface)), &mut out);
    let mut now = Now::default();
    while group.state() != state {
        let Some(deadline) = group.deadline() else { return state };
        now = Now { mono: deadline.at, ..now };
        group.step(now, Input::Timeout, &mut out);
    }
    let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
    group.step(now.after(Duration::from_millis(1)), Input::Packet { source, payload: octets }, &mut out);
    group.state()
}

fn settings(version: Version, authentication: Authentication) -> Option<Settings> {
    Some(Settings {
        name: "group1".parse().ok()?,
        group: GroupNumber::new(1)?,
        version,
        vips: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))],
        priority: 100,
        preempt: Some(crate::hsrp::Preempt::default()),
        timers: None,
        authentication,
        track: Vec::new(),
        use_bia: false,
    })
}

fn unknown_key() -> Authentication {
    let key = Md5Key::new(Secret::new(b"nobody knows this".to_vec()));
    key.map_or_else(
        |_| Authentication::default(),
        |key| Authentication::Md5(Md5Keys { key, accept: None, timeout: Duration::ZERO }),
    )
}

//! Helpers of the tests: a router on a desk, whose outputs become words.

mod cells;
mod codec;
mod contract;
mod lan;
mod router;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::hsrp::wire::{self, Message, Opcode, SenderState};
use crate::hsrp::{
    Authentication, Event, Group, GroupNumber, Input, Interface, MacAddress, Md5Key, Md5Keys, Output,
    Settings, SourceMac, State, Timers, Version, auth,
};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{Instant, Now};

/// Version 2, group 1, VIP 10.0.0.100, priority 100, 3 s and 10 s, no preemption.
fn settings() -> Settings {
    Settings {
        name: "group1".parse().unwrap(),
        group: GroupNumber::new(1).unwrap(),
        version: Version::V2,
        vips: vec!["10.0.0.100".parse().unwrap()],
        priority: 100,
        preempt: None,
        timers: None,
        authentication: Authentication::default(),
        track: Vec::new(),
        use_bia: false,
    }
}

fn timers(hello: u64, hold: u64) -> Option<Timers> {
    Some(Timers::new(Duration::from_millis(hello), Duration::from_millis(hold)).unwrap())
}

fn md5_key(key: &str) -> Md5Key {
    Md5Key::new(Secret::from(key.as_bytes())).unwrap()
}

fn md5(key: &str, accept: Option<&str>, timeout: u64) -> Authentication {
    Authentication::Md5(Md5Keys {
        key: md5_key(key),
        accept: accept.map(md5_key),
        timeout: Duration::from_secs(timeout),
    })
}

/// The interface of router `last`: 10.0.0.`last` and fe80::`last`.
fn interface(last: u8) -> Interface {
    Interface {
        mac: MacAddress([2, 0, 0, 0, 0, last]),
        ipv4: Some((Ipv4Addr::new(10, 0, 0, last), 24)),
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())),
    }
}

fn address(last: u8, settings: &Settings) -> IpAddr {
    if settings.is_ipv6() {
        IpAddr::V6(interface(last).link_local.unwrap())
    } else {
        IpAddr::V4(interface(last).ipv4.unwrap().0)
    }
}

fn at(ms: u64) -> Now {
    Now::default().after(Duration::from_millis(ms))
}

/// A message of router `last`, as the group of `settings` expects it.
fn message(settings: &Settings, last: u8, opcode: Opcode, state: State) -> Message {
    let timers = settings.timers.unwrap_or(Timers::DEFAULT);
    Message {
        opcode,
        state: SenderState::Is(state),
        group: settings.group,
        priority: settings.priority,
        hello: timers.hello(),
        hold: timers.hold(),
        vip: settings.election_vip().unwrap_or(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))),
        identifier: if settings.version == Version::V1 { MacAddress::default() } else { interface(last).mac },
    }
}

fn sealed(settings: &Settings, last: u8, message: Message) -> Vec<u8> {
    auth::seal(settings.version, message, &settings.authentication, address(last, settings))
}

/// A router and what it said.
#[derive(Debug)]
struct Desk {
    group: Group,
    out: Outbox<Output>,
    /// Time of the last step.
    now: Instant,
}

impl Desk {
    fn new(settings: Settings, last: u8) -> Self {
        Self::of(Group::new(settings, Rng::from_number(last.into()), Instant::START))
    }

    fn of(group: Group) -> Self {
        Self { group, out: Outbox::new(), now: Instant::START }
    }

    /// One whose interface came up at 0 ms.
    fn up(settings: Settings, last: u8) -> Self {
        let mut desk = Self::new(settings, last);
        desk.give(0, Input::Interface(Some(interface(last))));
        desk
    }

    /// Gives an input at a time. What the router says, in words.
    fn give(&mut self, ms: u64, input: Input<'_>) -> Vec<String> {
        let outputs = self.outputs(at(ms), input);
        outputs.iter().map(|output| words(self.group.settings().version, output)).collect()
    }

    fn outputs(&mut self, now: Now, input: Input<'_>) -> Vec<Output> {
        self.now = now.mono;
        self.group.step(now, input, &mut self.out);
        self.out.drain().collect()
    }

    /// A message of another router with the same settings but for the priority.
    fn hear(&mut self, ms: u64, (last, priority): (u8, u8), opcode: Opcode, state: State) -> Vec<String> {
        let settings = self.group.settings().clone();
        let message = Message { priority, ..message(&settings, last, opcode, state) };
        self.hear_message(ms, last, message)
    }

    fn hear_message(&mut self, ms: u64, last: u8, message: Message) -> Vec<String> {
        let payload = sealed(self.group.settings(), last, message);
        let source = address(last, self.group.settings());
        self.give(ms, Input::Packet { source, payload: &payload })
    }

    /// Lets time pass, every timeout when it is due. What the router says, each with its time.
    fn wait(&mut self, until: u64) -> Vec<(u64, String)> {
        let mut said = Vec::new();
        while let Some(deadline) = self.group.deadline().filter(|due| due.is_due(at(until))) {
            let now = Now { mono: deadline.at.max(self.now), ..Now::default() };
            for output in self.outputs(now, Input::Timeout) {
                let ms = u64::try_from(now.mono.since_start().as_millis()).unwrap();
                said.push((ms, words(self.group.settings().version, &output)));
            }
        }
        said
    }

    /// Brings the router to `state` by 20 s, with 9.9 s to go on the Active timer in standby.
    fn in_state(settings: Settings, state: State) -> Self {
        if state == State::Initial {
            return Self::new(settings, 2);
        }
        let mut desk = Self::up(settings, 2);
        match state {
            State::Initial | State::Learn | State::Listen => {}
            State::Speak => {
                desk.wait(10_000);
            }
            State::Standby => {
                desk.wait(19_900);
                desk.hear(19_900, HIGH, Opcode::Hello, State::Active);
                desk.wait(20_000);
            }
            State::Active => {
                desk.wait(20_000);
            }
        }
        assert_eq!(desk.group.state(), state);
        desk
    }
}

/// Last octet and priority of a router above router 2 with priority 100, and of one below.
const HIGH: (u8, u8) = (3, 110);
const LOW: (u8, u8) = (1, 90);

/// An output in words.
fn words(version: Version, output: &Output) -> String {
    match output {
        Output::AcquireVip { vips } => {
            let vips: Vec<_> = vips.iter().map(ToString::to_string).collect();
            format!("acquire {}", vips.join(" "))
        }
        Output::AnnounceVip => "announce".to_owned(),
        Output::ReleaseVip => "release".to_owned(),
        Output::Send { source, payload } => {
            let message = wire::decode(version, payload).unwrap().message.unwrap();
            let opcode = match message.opcode {
                Opcode::Hello => "hello",
                Opcode::Coup => "coup",
                Opcode::Resign => "resign",
            };
            let SenderState::Is(state) = message.state else { panic!("{message:?}") };
            let source = match source {
                SourceMac::BurnedIn => "own MAC",
                SourceMac::Virtual => "virtual MAC",
            };
            format!("{opcode} {state} {} from {source}", message.priority)
        }
        Output::Event(Event::StateChanged { from, to, cause }) => {
            let (letter, _) = cause.as_str().split_once('/').unwrap();
            format!("{from} -{letter}-> {to}")
        }
        Output::Event(event) => format!("{event:?}"),
    }
}

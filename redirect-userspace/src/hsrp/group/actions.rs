//! The machine of one group: what the table makes it do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Group, Router};
use crate::hsrp::fsm::{Action, Trigger, transition};
use crate::hsrp::receive::Heard;
use crate::hsrp::wire::{Message, Opcode, SenderState};
use crate::hsrp::{Cause, Event, Output, SourceMac, State, Timers, auth};
use crate::machine::Outbox;
use crate::time::Instant;

impl Group {
    /// Does what the table says.
    pub(super) fn fire(
        &mut self,
        now: Instant,
        trigger: Trigger,
        heard: Option<&Heard>,
        out: &mut Outbox<Output>,
    ) {
        self.change(now, trigger, cause_of(trigger), heard, out);
        // The table has no event for an Active timer that ran out before the state was standby.
        if self.state == State::Standby && self.due.active.is_none() {
            let trigger = Trigger::ActiveTimerExpired;
            self.change(now, trigger, cause_of(trigger), None, out);
        }
    }

    pub(super) fn change(
        &mut self,
        now: Instant,
        trigger: Trigger,
        cause: Option<Cause>,
        heard: Option<&Heard>,
        out: &mut Outbox<Output>,
    ) {
        let from = self.state;
        let (actions, to) = transition(from, trigger);
        for action in actions.iter().filter(|action| !action.is_of_next_state()) {
            self.act(now, *action, to, heard, out);
        }
        if to != from {
            self.enter(now, to, out);
        }
        for action in actions.iter().filter(|action| action.is_of_next_state()) {
            self.act(now, *action, to, heard, out);
        }
        if let Some(cause) = cause.filter(|_| to != from) {
            out.push(Output::Event(Event::StateChanged { from, to, cause }));
        }
    }

    fn enter(&mut self, now: Instant, to: State, out: &mut Outbox<Output>) {
        if self.state == State::Active {
            self.due.announce = None;
            out.push(Output::ReleaseVip);
        }
        if to == State::Active {
            out.push(Output::AcquireVip { vips: self.virtual_addresses() });
        }
        self.gave_way_to = None;
        self.state = to;
        self.state_changes = self.state_changes.saturating_add(1);
        self.last_change = Some(now);
        if !self.sends_hellos() {
            self.due.hello = None;
        } else if self.due.hello.is_none() {
            self.due.hello = Some(now + self.hello_interval());
        }
        if to == State::Initial {
            self.learned_vip = None;
            self.learned_timers = None;
            self.due.preempt = None;
        }
    }

    /// Carries out an action of `RFC 2281 §5.6` on the way to state `to`.
    fn act(
        &mut self,
        now: Instant,
        action: Action,
        to: State,
        heard: Option<&Heard>,
        out: &mut Outbox<Output>,
    ) {
        match action {
            Action::StartActiveTimer => {
                // Whoever takes over by a coup is the active router before its first hello.
                let hello = heard.filter(|heard| heard.is_hello_in(State::Active));
                let router = hello.or_else(|| heard.filter(|heard| heard.message.opcode == Opcode::Coup));
                self.active = router.map(Router::from);
                self.due.active = Some(now + hello.map_or_else(|| self.timers().hold(), |hello| hello.hold));
                if self.standby.is_some_and(|standby| self.is_active_router(standby.address)) {
                    self.standby = None;
                }
            }
            Action::StartStandbyTimer => {
                let hello = heard.filter(|heard| heard.is_hello_in(State::Standby));
                self.standby = hello.map(Router::from);
                self.due.standby = Some(now + hello.map_or_else(|| self.timers().hold(), |hello| hello.hold));
            }
            Action::StopActiveTimer => {
                self.active = None;
                self.due.active = None;
            }
            Action::StopStandbyTimer => {
                self.standby = None;
                self.due.standby = None;
            }
            Action::Learn => self.learn(heard, out),
            Action::SendHello => self.send_hello(now, out),
            Action::SendCoup => self.send_coup(now, out),
            Action::SendResign => self.send(Opcode::Resign, to, out),
            Action::Announce => self.announce(now, out),
        }
    }

    /// Learns what is not configured (`RFC 2281 §5.1`). Times below a second are not learned: they
    /// are for routers that were all told so.
    fn learn(&mut self, heard: Option<&Heard>, out: &mut Outbox<Output>) {
        let Some(heard) = heard else { return };
        let Message { vip, hello, hold, .. } = heard.message;
        if self.settings.vips.is_empty() && self.learned_vip != Some(vip) && self.can_learn(vip) {
            self.learned_vip = Some(vip);
            out.push(Output::Event(Event::LearnedVip { vip }));
        }
        if self.settings.timers.is_none() {
            let timers = Timers::new(hello, hold).ok().filter(|timers| !timers.is_sub_second());
            self.learned_timers = timers.or(self.learned_timers);
        }
    }

    /// Sends a hello and starts the Hello timer. One that ran out goes on from when it was due, so
    /// that lateness does not add up.
    pub(super) fn send_hello(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.send(Opcode::Hello, self.state, out);
        let interval = self.hello_interval();
        let due = self.due.hello.filter(|due| *due <= now).map(|due| due + interval);
        self.due.hello = Some(due.filter(|due| *due > now).unwrap_or(now + interval));
    }

    /// Sends a coup. An active router repeats it for every hello of a lower one, but not for more
    /// hellos than such a router sends: whoever replays them must not have us flood the link.
    fn send_coup(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let pause = self.timers().hello() / 2;
        let is_soon = self.last_coup.is_some_and(|last| now.since(last) < pause);
        if self.state == State::Active && is_soon {
            return;
        }
        self.last_coup = Some(now);
        self.send(Opcode::Coup, self.state, out);
    }

    fn send(&self, opcode: Opcode, state: State, out: &mut Outbox<Output>) {
        let (Some(sender), Some(interface)) = (self.own_address(), &self.interface) else { return };
        let timers = self.timers();
        let message = Message {
            opcode,
            state: SenderState::Is(state),
            group: self.settings.group,
            priority: self.priority,
            hello: timers.hello(),
            hold: timers.hold(),
            vip: self.election_vip().unwrap_or(UNKNOWN_VIP),
            identifier: interface.mac,
        };
        // RFC 2281 §6.1: the virtual MAC if and only if the state is active.
        let is_virtual = state == State::Active && !self.settings.use_bia;
        out.push(Output::Send {
            source: if is_virtual { SourceMac::Virtual } else { SourceMac::BurnedIn },
            payload: auth::seal(self.settings.version, message, &self.settings.authentication, sender),
        });
    }

    pub(super) fn announce(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.announce_and_again(now, ANNOUNCE_AGAIN_TIMES, out);
    }

    /// Announces, and so many times again.
    pub(super) fn announce_and_again(&mut self, now: Instant, times: u8, out: &mut Outbox<Output>) {
        out.push(Output::AnnounceVip);
        self.due.announce = times.checked_sub(1).map(|left| (now + ANNOUNCE_AGAIN, left));
    }

    /// Time to the next hello: never longer than the hello time, and shorter at random
    /// (`RFC 2281 §5.4`). Times below a second leave no room for many more hellos.
    fn hello_interval(&mut self) -> Duration {
        let timers = self.timers();
        let least = if timers.is_sub_second() { timers.hello() * 9 / 10 } else { timers.hello() * 8 / 10 };
        self.rng.between(least, timers.hello())
    }
}

impl From<&Heard> for Router {
    fn from(heard: &Heard) -> Self {
        Self { address: heard.source, priority: heard.message.priority }
    }
}

/// Why a state changes; `None` for the event that never changes it.
const fn cause_of(trigger: Trigger) -> Option<Cause> {
    match trigger {
        Trigger::Enabled { .. } => Some(Cause::Enabled),
        Trigger::Disabled { .. } => Some(Cause::Disabled),
        Trigger::ActiveTimerExpired => Some(Cause::ActiveTimerExpired),
        Trigger::StandbyTimerExpired => Some(Cause::StandbyTimerExpired),
        Trigger::HelloTimerExpired => None,
        Trigger::HigherSpeaker => Some(Cause::HigherSpeaker),
        Trigger::HigherActive => Some(Cause::HigherActive),
        Trigger::LowerActive { .. } => Some(Cause::LowerActive),
        Trigger::ActiveResigned => Some(Cause::ActiveResigned),
        Trigger::Coup => Some(Cause::Coup),
        Trigger::HigherStandby => Some(Cause::HigherStandby),
        Trigger::LowerStandby => Some(Cause::LowerStandby),
    }
}

const UNKNOWN_VIP: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Cisco's routers announce again after this time, and once more.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(3);
const ANNOUNCE_AGAIN_TIMES: u8 = 2;

//! The machine of one group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::hsrp::fsm::{Action, Trigger, transition};
use crate::hsrp::notices::Notices;
use crate::hsrp::receive::Heard;
use crate::hsrp::wire::{Message, Opcode, SenderState};
use crate::hsrp::{
    Authentication, Cause, Event, Input, Interface, MacAddress, Md5Key, Output, Settings, SourceMac, State,
    Timers, auth,
};
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// A router's part in one group.
#[derive(Debug)]
pub struct Group {
    settings: Settings,
    rng: Rng,
    /// When the daemon started: `delay reload` counts from here.
    boot: Instant,
    /// Whether the operator wants the group to run.
    is_wanted: bool,
    interface: Option<Interface>,
    /// Since when the interface can be used: `delay minimum` counts from here.
    up_since: Instant,
    state: State,
    pub(super) state_changes: u64,
    pub(super) last_change: Option<Instant>,
    /// Only while the settings have no VIP.
    learned_vip: Option<IpAddr>,
    /// Only while the settings have no timers.
    learned_timers: Option<Timers>,
    pub(super) active: Option<Router>,
    pub(super) standby: Option<Router>,
    pub(super) due: Due,
    /// Whether each tracked interface is up, as far as that is known.
    pub(super) tracked: BTreeMap<Box<str>, bool>,
    /// The priority after tracking.
    priority: u8,
    /// The key of before a reload, until [`Due::retired_key`].
    retired_key: Option<Md5Key>,
    pub(super) notices: Notices,
    /// Time of the last step.
    seen: Instant,
}

/// Another router of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Router {
    /// Where its hellos come from.
    pub(super) address: IpAddr,
    /// Its priority.
    pub(super) priority: u8,
}

/// When what is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    /// The Active timer (`RFC 2281 §5.4`). `None` once it has run out.
    pub(super) active: Option<Instant>,
    /// The Standby timer.
    pub(super) standby: Option<Instant>,
    /// The Hello timer. Runs in states that send hellos.
    pub(super) hello: Option<Instant>,
    /// The next announcement, and how many there are still to be.
    announce: Option<(Instant, u8)>,
    /// The end of the delay of preemption.
    preempt: Option<Instant>,
    /// The end of the key of before a reload.
    retired_key: Option<Instant>,
}

impl Group {
    /// A group that is to run as soon as it has an interface. `boot` is when the daemon started.
    #[must_use]
    pub fn new(settings: Settings, rng: Rng, boot: Instant) -> Self {
        Self {
            priority: settings.priority,
            settings,
            rng,
            boot,
            is_wanted: true,
            interface: None,
            up_since: boot,
            state: State::Initial,
            state_changes: 0,
            last_change: None,
            learned_vip: None,
            learned_timers: None,
            active: None,
            standby: None,
            due: Due::default(),
            tracked: BTreeMap::new(),
            retired_key: None,
            notices: Notices::default(),
            seen: boot,
        }
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The priority in force, after tracking.
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.priority
    }

    /// The times in force: configured, learned or default. Never one of each (`RFC 2281 §5.1`).
    #[must_use]
    pub fn timers(&self) -> Timers {
        self.settings.timers.or(self.learned_timers).unwrap_or(Timers::DEFAULT)
    }

    /// The virtual addresses for clients: configured or learned, the first one decides the family
    /// of the election.
    #[must_use]
    pub fn vips(&self) -> Vec<IpAddr> {
        if self.settings.vips.is_empty() {
            self.learned_vip.into_iter().collect()
        } else {
            self.settings.vips.clone()
        }
    }

    /// Every virtual address: [`Self::vips`], then the one that an IPv6 election is about if it is
    /// not among them. This is what [`Output::AcquireVip`] says.
    #[must_use]
    pub fn virtual_addresses(&self) -> Vec<IpAddr> {
        let mut vips = self.vips();
        if let Some(vip) = self.election_vip().filter(|vip| !vips.contains(vip)) {
            vips.push(vip);
        }
        vips
    }

    /// The MAC address that the virtual addresses are reached at: the group's, or with `use-bia`
    /// the interface's own while that is known.
    #[must_use]
    pub fn virtual_mac(&self) -> MacAddress {
        match &self.interface {
            Some(interface) if self.settings.use_bia => interface.mac,
            Some(_) | None => self.settings.virtual_mac(),
        }
    }

    /// The address that hellos come from; `None` without a usable interface.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        address_of(self.interface.as_ref(), &self.settings)
    }

    pub(super) const fn interface(&self) -> Option<&Interface> {
        self.interface.as_ref()
    }

    pub(super) fn retired_key(&self, now: Instant) -> Option<&Md5Key> {
        self.retired_key.as_ref().filter(|_| self.due.retired_key.is_some_and(|end| now < end))
    }

    /// Whether this router is above another one: by priority, then by address.
    pub(super) fn is_above(&self, priority: u8, address: IpAddr) -> bool {
        self.own_address().is_some_and(|own| (self.priority, own) > (priority, address))
    }

    pub(super) fn is_active_router(&self, address: IpAddr) -> bool {
        self.active.is_some_and(|router| router.address == address)
    }

    pub(super) fn may_preempt(&self, now: Instant) -> bool {
        self.preempt_from().is_some_and(|from| from <= now)
    }

    /// From when on this router preempts; `None` if it does not.
    fn preempt_from(&self) -> Option<Instant> {
        let preempt = self.settings.preempt?;
        Some((self.up_since + preempt.delay_minimum).max(self.boot + preempt.delay_reload))
    }

    fn election_vip(&self) -> Option<IpAddr> {
        self.settings.election_vip().or(self.learned_vip)
    }

    const fn sends_hellos(&self) -> bool {
        matches!(self.state, State::Speak | State::Standby | State::Active)
    }
}

impl Machine for Group {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        debug_assert!(now.mono >= self.seen, "time goes backwards");
        let now = now.mono.max(self.seen);
        self.seen = now;
        self.notice_stall(now, out);
        match input {
            Input::Interface(interface) => self.set_interface(now, interface, out),
            Input::Packet { source, payload } => self.receive(now, source, payload, out),
            Input::Tracked { interface, is_up } => self.set_tracked(now, interface, is_up, out),
            Input::Reconfigure(settings) => self.reconfigure(now, settings, out),
            Input::Start => {
                self.is_wanted = true;
                self.enable(now, out);
            }
            Input::Stop => {
                self.is_wanted = false;
                self.fire(now, Trigger::Disabled { resigns: true }, None, out);
            }
            Input::Timeout => self.expire(now, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let deadline = |at: Option<Instant>, why| at.map(|at| Deadline { at, why });
        [
            deadline(self.due.active, "hsrp active timer"),
            deadline(self.due.standby, "hsrp standby timer"),
            deadline(self.due.hello, "hsrp hello timer"),
            deadline(self.due.announce.map(|(at, _)| at), "hsrp announcement"),
            deadline(self.due.preempt, "hsrp preempt delay"),
            deadline(self.due.retired_key, "hsrp key timeout"),
        ]
        .into_iter()
        .fold(None, Deadline::earlier)
    }
}

impl Group {
    /// Starts over when this router is active and its hello is late by more than the hold time:
    /// the others have given it up.
    fn notice_stall(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let hold = self.timers().hold();
        if self.state == State::Active && self.due.hello.is_some_and(|due| now > due + hold) {
            self.change(now, Trigger::Disabled { resigns: false }, Some(Cause::Stalled), None, out);
            self.up_since = now;
            self.enable(now, out);
        }
    }

    fn enable(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.is_wanted && self.state == State::Initial && self.own_address().is_some() {
            let has_vip = self.election_vip().is_some();
            self.fire(now, Trigger::Enabled { has_vip }, None, out);
            self.due.preempt = self.preempt_from().filter(|from| *from > now);
        }
    }

    fn set_interface(&mut self, now: Instant, interface: Option<Interface>, out: &mut Outbox<Output>) {
        if interface == self.interface {
            return;
        }
        let was_usable = self.own_address().is_some();
        let is_usable = address_of(interface.as_ref(), &self.settings).is_some();
        if !is_usable {
            self.fire(now, Trigger::Disabled { resigns: true }, None, out);
        }
        self.interface = interface;
        if is_usable && !was_usable {
            self.up_since = now;
            self.enable(now, out);
        } else if is_usable {
            self.speak_up(now, out);
            if self.state == State::Active {
                self.announce(now, out);
            }
        }
    }

    fn receive(&mut self, now: Instant, source: IpAddr, payload: &[u8], out: &mut Outbox<Output>) {
        if self.state == State::Initial {
            return;
        }
        let heard = match self.admit(now, source, payload) {
            Ok(heard) => heard,
            Err(discard) => {
                tell(self.notices.discard(now, source, discard), out);
                return;
            }
        };
        let theirs = heard.message.vip;
        let is_other = |ours: IpAddr| ours != theirs && !theirs.is_unspecified();
        let learns = self.settings.vips.is_empty() && self.state != State::Active;
        if !learns && self.election_vip().is_some_and(is_other) {
            tell(self.notices.different_vip(now, source, theirs), out);
        }
        if let Some(trigger) = self.trigger_of(now, &heard) {
            self.fire(now, trigger, Some(&heard), out);
        }
    }

    fn set_tracked(&mut self, now: Instant, interface: &str, is_up: bool, out: &mut Outbox<Output>) {
        if self.settings.track.iter().any(|track| *track.interface == *interface) {
            self.tracked.insert(interface.into(), is_up);
            if self.update_priority(out) {
                self.speak_up(now, out);
            }
        }
    }

    fn reconfigure(&mut self, now: Instant, settings: Settings, out: &mut Outbox<Output>) {
        // With another of these it is another group. Whoever is active gives the addresses back.
        let is_other = |one: &Settings, other: &Settings| {
            (one.version, one.group, &one.vips, one.use_bia)
                != (other.version, other.group, &other.vips, other.use_bia)
        };
        if is_other(&self.settings, &settings) {
            self.fire(now, Trigger::Disabled { resigns: true }, None, out);
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.retire_key(now, before.authentication);
        self.tracked.retain(|name, _| self.settings.track.iter().any(|track| track.interface == *name));
        if self.settings.timers.is_some() {
            self.learned_timers = None;
        }
        self.due.preempt = match self.state {
            State::Initial => None,
            State::Learn | State::Listen | State::Speak | State::Standby | State::Active => {
                self.preempt_from().filter(|from| *from > now)
            }
        };
        self.enable(now, out);
        let has_priority = self.update_priority(out);
        if has_priority || self.settings.timers != before.timers {
            self.speak_up(now, out);
        } else {
            self.reconsider(now, out);
        }
    }

    /// Goes on to accept the key of before a reload that brought another one.
    fn retire_key(&mut self, now: Instant, before: Authentication) {
        let (Authentication::Md5(keys), Authentication::Md5(before)) =
            (&self.settings.authentication, before)
        else {
            self.retired_key = None;
            self.due.retired_key = None;
            return;
        };
        if keys.key != before.key && !keys.timeout.is_zero() {
            self.due.retired_key = Some(now + keys.timeout);
            self.retired_key = Some(before.key);
        }
    }

    /// Computes the priority anew. Whether it is another one.
    fn update_priority(&mut self, out: &mut Outbox<Output>) -> bool {
        let is_down = |name: &str| self.tracked.get(name).is_some_and(|is_up| !is_up);
        let lost = self.settings.track.iter().filter(|track| is_down(&track.interface));
        let to = lost.fold(self.settings.priority, |left, track| left.saturating_sub(track.decrement));
        let from = std::mem::replace(&mut self.priority, to);
        if from != to {
            out.push(Output::Event(Event::PriorityChanged { from, to }));
        }
        from != to
    }

    /// Says at once what has changed about this router.
    fn speak_up(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if !self.reconsider(now, out) && self.sends_hellos() {
            self.send_hello(now, out);
        }
    }

    /// Takes over if this router is by now above the active one, without waiting for its next
    /// hello. Whether it did.
    fn reconsider(&mut self, now: Instant, out: &mut Outbox<Output>) -> bool {
        let is_other_active = matches!(self.state, State::Listen | State::Speak | State::Standby);
        let is_above = self.active.is_some_and(|router| self.is_above(router.priority, router.address));
        let takes_over = is_other_active && is_above && self.may_preempt(now);
        if takes_over {
            self.fire(now, Trigger::LowerActive { may_preempt: true }, None, out);
        }
        takes_over
    }

    fn expire(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if take_due(&mut self.due.active, now) {
            self.active = None;
            self.fire(now, Trigger::ActiveTimerExpired, None, out);
        }
        if take_due(&mut self.due.standby, now) {
            self.standby = None;
            self.fire(now, Trigger::StandbyTimerExpired, None, out);
        }
        if self.due.hello.is_some_and(|due| due <= now) {
            self.fire(now, Trigger::HelloTimerExpired, None, out);
        }
        if let Some((at, left)) = self.due.announce
            && at <= now
        {
            out.push(Output::AnnounceVip);
            self.due.announce = (left > 1).then(|| (now + ANNOUNCE_AGAIN, left - 1));
        }
        if take_due(&mut self.due.preempt, now) {
            self.reconsider(now, out);
        }
        if take_due(&mut self.due.retired_key, now) {
            self.retired_key = None;
        }
    }

    /// Does what the table says.
    fn fire(&mut self, now: Instant, trigger: Trigger, heard: Option<&Heard>, out: &mut Outbox<Output>) {
        self.change(now, trigger, cause_of(trigger), heard, out);
        // The table has no event for an Active timer that ran out before the state was standby.
        if self.state == State::Standby && self.due.active.is_none() {
            let trigger = Trigger::ActiveTimerExpired;
            self.change(now, trigger, cause_of(trigger), None, out);
        }
    }

    fn change(
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
            Action::SendCoup => self.send(Opcode::Coup, self.state, out),
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
    fn send_hello(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.send(Opcode::Hello, self.state, out);
        let interval = self.hello_interval();
        let due = self.due.hello.filter(|due| *due <= now).map(|due| due + interval);
        self.due.hello = Some(due.filter(|due| *due > now).unwrap_or(now + interval));
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

    fn announce(&mut self, now: Instant, out: &mut Outbox<Output>) {
        out.push(Output::AnnounceVip);
        self.due.announce = Some((now + ANNOUNCE_AGAIN, ANNOUNCE_TIMES));
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

/// The address that a group sends from on an interface.
fn address_of(interface: Option<&Interface>, settings: &Settings) -> Option<IpAddr> {
    let interface = interface?;
    if settings.is_ipv6() {
        interface.link_local.map(IpAddr::V6)
    } else {
        interface.ipv4.map(|(address, _)| IpAddr::V4(address))
    }
}

fn tell(event: Option<Event>, out: &mut Outbox<Output>) {
    if let Some(event) = event {
        out.push(Output::Event(event));
    }
}

/// Whether a time has come; if so, it is over.
fn take_due(due: &mut Option<Instant>, now: Instant) -> bool {
    due.take_if(|due| *due <= now).is_some()
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

const UNKNOWN_VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Cisco's routers announce again after this time, and once more.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(3);
const ANNOUNCE_TIMES: u8 = 2;

//! The thread's loop: facts to the machines, their outputs to the network.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};

use super::{News, Order, PATIENCE, Shown};
use crate::config::HsrpGroup;
use crate::hsrp::{
    Event, Group, Input, Interface, Output, Presence, PresenceInput, RouterSnapshot, Settings, SourceMac,
    State, Version,
};
use crate::machine::{Deadline, Machine as _, Outbox};
use crate::net::duplicate::{self, Duplicate};
use crate::net::ethernet::{self, Sender, Source};
use crate::net::hsrp::{Channel, Sockets};
use crate::net::monitor::{Change, InterfaceState, Monitor};
use crate::net::vip::{self, VirtualAddresses};
use crate::rng::Rng;
use crate::runtime::clock::Clock;
use crate::time::{Instant, Now};

/// How often the groups are shown even if nothing happens: their times run.
const SHOW: Duration = Duration::from_millis(200);
/// How long other hosts have to claim a virtual address.
const ASKING: Duration = Duration::from_secs(1);

/// Everything that the thread owns.
pub(super) struct Voice {
    clock: Clock,
    rng: Rng,
    boot: Instant,
    groups: Vec<Running>,
    /// What the groups of an interface say together.
    presences: BTreeMap<(String, Channel), Presence>,
    /// What the kernel says about the interfaces that matter.
    states: BTreeMap<String, InterfaceState>,
    outbox: Outbox<Output>,
    news: mpsc::UnboundedSender<News>,
    show: watch::Sender<Vec<Shown>>,
    shown_at: Instant,
    /// When the core was heard last.
    heard: Instant,
    /// Whether it has been silent for too long.
    is_muted: bool,
}

/// A group and its place in the network.
struct Running {
    interface: String,
    group: Group,
    place: Option<Place>,
    /// What the core was told last.
    standing: Option<(State, Option<IpAddr>, Vec<IpAddr>)>,
    /// Why there is no place, as the core was told.
    trouble: Option<String>,
}

/// An interface that a group can be heard on.
struct Place {
    index: u32,
    interface: Interface,
    sockets: Sockets,
    sender: Sender,
    addresses: VirtualAddresses,
}

impl Voice {
    pub(super) fn new(
        clock: Clock,
        rng: Rng,
        groups: Vec<HsrpGroup>,
        news: mpsc::UnboundedSender<News>,
        show: watch::Sender<Vec<Shown>>,
    ) -> Self {
        let now = clock.now().mono;
        let mut voice = Self {
            clock,
            rng,
            boot: now,
            groups: Vec::new(),
            presences: BTreeMap::new(),
            states: BTreeMap::new(),
            outbox: Outbox::new(),
            news,
            show,
            shown_at: now,
            heard: now,
            is_muted: false,
        };
        for group in groups {
            voice.add(group);
        }
        voice
    }

    /// Runs until the core has gone.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut monitor = match Monitor::new(self.names().iter().map(String::as_str)) {
            Ok(monitor) => monitor,
            Err(error) => {
                for running in &self.groups {
                    let group = running.group.settings().name.clone();
                    self.tell(News::Trouble { group, why: format!("{error:#}") });
                }
                return;
            }
        };
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, &mut monitor),
                    None => {
                        self.leave();
                        return self.vacate();
                    }
                },
                heard = receive(&mut self.groups) => self.hear(heard),
                fact = monitor.next() => self.learn(fact),
                () = self.clock.until(Some(deadline)) => self.wake(),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let groups = self.groups.iter().filter_map(|running| running.group.deadline());
        let presences = self.presences.values().filter_map(Presence::deadline);
        let first = groups.chain(presences).map(|Deadline { at, .. }| at).min();
        let own = (self.shown_at + SHOW).min(if self.is_muted {
            self.shown_at + SHOW
        } else {
            self.heard + PATIENCE
        });
        first.map_or(own, |first| first.min(own))
    }

    fn wake(&mut self) {
        let now = self.clock.now();
        for position in 0..self.groups.len() {
            let due = self.groups.get(position).and_then(|running| running.group.deadline());
            if due.is_some_and(|due| due.is_due(now)) {
                self.step(position, Input::Timeout);
            }
        }
        self.advertise_again(now);
        if !self.is_muted && now.mono.since(self.heard) >= PATIENCE {
            self.is_muted = true;
            self.each(&|| Input::Stop);
        }
        if now.mono.since(self.shown_at) >= SHOW {
            self.display();
        }
    }

    fn obey(&mut self, order: Order, monitor: &mut Monitor) {
        match order {
            Order::Beat => {
                self.heard = self.clock.now().mono;
                if std::mem::take(&mut self.is_muted) {
                    self.each(&|| Input::Start);
                }
            }
            Order::Groups(groups) => {
                self.reconfigure(groups);
                if let Err(error) = monitor.watch(self.names().iter().map(String::as_str)) {
                    tracing::warn!(error = format!("{error:#}"), "interfaces are not watched");
                }
            }
            Order::Restore => self.restore(),
            Order::Stop(answer) => {
                self.leave();
                self.vacate();
                // The core may have gone meanwhile.
                let _gone = answer.send(());
            }
        }
    }

    fn leave(&mut self) {
        self.each(&|| Input::Stop);
        self.display();
    }

    /// Leaves the interfaces as they were found.
    fn vacate(&mut self) {
        for running in std::mem::take(&mut self.groups) {
            if let Some(place) = running.place {
                place.vacate();
            }
        }
    }

    /// Interfaces that matter.
    fn names(&self) -> Vec<String> {
        let tracked = |running: &Running| {
            let tracks = running.group.settings().track.iter();
            tracks.map(|track| track.interface.to_string()).collect::<Vec<_>>()
        };
        let mut names: Vec<_> = self
            .groups
            .iter()
            .flat_map(|running| std::iter::once(running.interface.clone()).chain(tracked(running)))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn each(&mut self, input: &dyn Fn() -> Input<'static>) {
        for position in 0..self.groups.len() {
            self.step(position, input());
        }
    }

    /// What was taken away by the guard is taken again by whoever is active still.
    fn restore(&mut self) {
        for running in &mut self.groups {
            let vips = running.group.virtual_addresses();
            if let (State::Active, Some(place)) = (running.group.state(), &mut running.place)
                && let Err(error) = place.addresses.acquire(&vips)
            {
                let group = running.group.settings().name.clone();
                // A core that has gone needs no news.
                let _gone = self.news.send(News::Trouble { group, why: format!("{error:#}") });
            }
        }
    }

    fn add(&mut self, group: HsrpGroup) {
        let HsrpGroup { interface, settings, notify: _ } = group;
        let interface = interface.to_string();
        let group = Group::new(settings, self.rng.fork(), self.boot);
        self.groups.push(Running { interface, group, place: None, standing: None, trouble: None });
        let position = self.groups.len() - 1;
        self.tracks(position);
        self.settle(position);
    }

    fn reconfigure(&mut self, groups: Vec<HsrpGroup>) {
        // A group that is on another interface, or has another wire format, is another group.
        let is_same = |running: &Running, group: &HsrpGroup| {
            let before = running.group.settings();
            before.name == group.settings.name
                && running.interface == group.interface.as_str()
                && before.version == group.settings.version
                && before.group == group.settings.group
                && before.use_bia == group.settings.use_bia
                && before.is_ipv6() == group.settings.is_ipv6()
        };
        for position in (0..self.groups.len()).rev() {
            let Some(running) = self.groups.get(position) else { continue };
            if !groups.iter().any(|group| is_same(running, group)) {
                self.step(position, Input::Stop);
                if let Some(place) = self.groups.remove(position).place {
                    place.vacate();
                }
            }
        }
        for group in groups {
            match self.groups.iter().position(|running| is_same(running, &group)) {
                Some(position) => {
                    self.step(position, Input::Reconfigure(group.settings));
                    self.tracks(position);
                }
                None => self.add(group),
            }
        }
        let groups = &self.groups;
        self.presences.retain(|key, _| groups.iter().any(|running| running.key() == *key));
        self.display();
    }

    /// Takes in what the kernel says about an interface.
    fn learn(&mut self, fact: Result<Change>) {
        let (name, state) = match fact {
            Ok(Change { interface, state }) => (interface.to_string(), state),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "interfaces are not watched");
                return;
            }
        };
        match state {
            Some(state) => self.states.insert(name.clone(), state),
            None => self.states.remove(&name),
        };
        for position in 0..self.groups.len() {
            if self.groups.get(position).is_some_and(|running| running.interface == name) {
                self.settle(position);
            }
            let is_up = self.states.get(&name).is_some_and(|state| state.is_up);
            self.step(position, Input::Tracked { interface: &name, is_up });
        }
    }

    fn tracks(&mut self, position: usize) {
        let Some(running) = self.groups.get(position) else { return };
        let tracked: Vec<_> =
            running.group.settings().track.iter().map(|track| track.interface.clone()).collect();
        for interface in tracked {
            let is_up = self.states.get(&*interface).is_some_and(|state| state.is_up);
            self.step(position, Input::Tracked { interface: &interface, is_up });
        }
    }

    /// Brings a group to its interface as it is now, or takes it away from there.
    fn settle(&mut self, position: usize) {
        let Some(running) = self.groups.get(position) else { return };
        let state = self.states.get(&running.interface).filter(|state| state.is_up).cloned();
        let found = state.and_then(|state| Some((state.index, usable(&state)?)));
        let Some((index, interface)) = found else {
            // The machine leaves first, while there is a place to leave.
            self.step(position, Input::Interface(None));
            return self.unsettle(position);
        };
        if running.place.as_ref().is_some_and(|place| place.index != index) {
            self.step(position, Input::Interface(None));
            self.unsettle(position);
        }
        let is_alone =
            self.groups.iter().all(|other| other.place.as_ref().is_none_or(|at| at.index != index));
        let Some(running) = self.groups.get_mut(position) else { return };
        let is_new = running.place.is_none();
        match &mut running.place {
            Some(place) => place.interface = interface.clone(),
            None => match Place::open(&running.group, index, interface.clone(), is_alone) {
                Ok(place) => {
                    running.place = Some(place);
                    running.trouble = None;
                }
                Err(error) => return self.complain(position, &error),
            },
        }
        self.step(position, Input::Interface(Some(interface)));
        let uses_bia = self.groups.get(position).is_some_and(|running| running.group.settings().use_bia);
        if is_new && !uses_bia {
            self.look_for_others(position);
        }
    }

    /// Asks the link, beside everything else, whether a host that is not in the group has one of
    /// the virtual addresses.
    fn look_for_others(&self, position: usize) {
        let Some(running) = self.groups.get(position) else { return };
        let Some(place) = &running.place else { return };
        let group = running.group.settings().name.clone();
        let own = [place.interface.mac, running.group.virtual_mac()];
        let vips = running.group.vips();
        let (interface, news) = (place.index, self.news.clone());
        tokio::spawn(async move {
            // An interface that goes away meanwhile has nobody on it.
            let found = duplicate::find(interface, &own, &vips, ASKING).await.unwrap_or_default();
            for Duplicate { vip, mac } in found {
                // A core that has gone needs no news.
                let _gone = news.send(News::Conflict { group: group.clone(), vip, by: mac });
            }
        });
    }

    fn unsettle(&mut self, position: usize) {
        if let Some(place) = self.groups.get_mut(position).and_then(|running| running.place.take()) {
            place.vacate();
        }
    }

    /// Says why a group has no place, once.
    fn complain(&mut self, position: usize, error: &anyhow::Error) {
        let Some(running) = self.groups.get_mut(position) else { return };
        let why = format!("{error:#}");
        if running.trouble.as_ref() != Some(&why) {
            running.trouble = Some(why.clone());
            let group = running.group.settings().name.clone();
            self.tell(News::Trouble { group, why });
        }
    }

    fn hear(&mut self, heard: Result<Heard, std::io::Error>) {
        match heard {
            Ok(Heard { position, source, payload }) => {
                self.step(position, Input::Packet { source, payload: &payload });
            }
            // Such as a network that was down for a moment. What matters comes from the monitor.
            Err(error) => tracing::debug!(%error, "receiving hellos"),
        }
    }

    fn step(&mut self, position: usize, input: Input<'_>) {
        let now = self.clock.now();
        let Some(running) = self.groups.get_mut(position) else { return };
        let before = running.group.state();
        running.group.step(now, input, &mut self.outbox);
        if running.group.state() != before {
            self.advertise(now, position);
        }
        let Some(running) = self.groups.get_mut(position) else { return };
        let mut events = Vec::new();
        while let Some(output) = self.outbox.pop() {
            if let Err(error) = running.carry_out(output, &mut events) {
                let group = running.group.settings().name.clone();
                // A core that has gone needs no news.
                let _gone = self.news.send(News::Trouble { group, why: format!("{error:#}") });
            }
        }
        let group = running.group.settings().name.clone();
        let priority = running.group.priority();
        let standing = (running.group.state(), running.active(now), running.group.vips());
        let is_new = running.standing.as_ref() != Some(&standing);
        if is_new {
            running.standing = Some(standing.clone());
        }
        for event in events {
            self.tell(News::Event { group: group.clone(), event, priority });
        }
        if is_new && standing.0 == State::Active {
            self.look_for_others(position);
        }
        if is_new {
            let (state, active, vips) = standing;
            self.tell(News::Standing { group, state, active, vips, since: now.mono, priority });
            self.display();
        }
    }

    /// Says whether any group of the interface is active, when that has changed: before what the
    /// group itself says, as Cisco's routers do.
    fn advertise(&mut self, now: Now, position: usize) {
        let Some(running) = self.groups.get(position) else { return };
        let (key, version) = (running.key(), running.group.settings().version);
        let others = self.groups.iter().filter(|other| other.key() == key);
        let input = PresenceInput::of(others.map(|other| other.group.state()));
        let rng = &mut self.rng;
        let presence = self.presences.entry(key).or_insert_with(|| Presence::new(version, rng.fork()));
        let mut out = Outbox::new();
        presence.step(now, input, &mut out);
        running.advertise(&mut out);
    }

    fn advertise_again(&mut self, now: Now) {
        for (key, presence) in &mut self.presences {
            let mut out = Outbox::new();
            presence.step(now, PresenceInput::Timeout, &mut out);
            let mut places = self.groups.iter().filter(|running| running.place.is_some());
            if let Some(running) = places.find(|running| running.key() == *key) {
                running.advertise(&mut out);
            }
        }
    }

    fn display(&mut self) {
        let now = self.clock.now();
        self.shown_at = now.mono;
        let shown = self.groups.iter().map(|running| Shown {
            interface: running.interface.clone(),
            group: running.group.snapshot(now.mono),
        });
        self.show.send_replace(shown.collect());
    }

    fn tell(&self, news: News) {
        // A core that has gone needs no news.
        let _gone = self.news.send(news);
    }
}

/// What a group needs of an interface; `None` when it has no Ethernet address.
fn usable(state: &InterfaceState) -> Option<Interface> {
    Some(Interface { mac: state.mac?, ipv4: state.ipv4, link_local: state.link_local })
}

impl Place {
    /// `is_first` says that no other group of ours is on the interface: what is there was left by
    /// a daemon that was killed.
    fn open(group: &Group, index: u32, interface: Interface, is_first: bool) -> Result<Self> {
        let settings = group.settings();
        if is_first {
            vip::clean(index).context("removing what a former daemon has left")?;
        }
        let place = vip::Place {
            interface: index,
            group: settings.group.value(),
            virtual_mac: (!settings.use_bia).then(|| settings.virtual_mac()),
        };
        let sockets = Sockets::open(index, &[channel(settings)])?;
        let sender = Sender::open(index).context("opening a packet socket")?;
        Ok(Self { index, interface, sockets, sender, addresses: VirtualAddresses::prepare(place)? })
    }

    fn vacate(self) {
        if let Err(error) = self.addresses.remove() {
            tracing::warn!(error = format!("{error:#}"), "virtual addresses may be left behind");
        }
    }
}

const fn channel_of(version: Version, is_ipv6: bool) -> Channel {
    match (version, is_ipv6) {
        (_, true) => Channel::Ipv6,
        (Version::V1, false) => Channel::V1,
        (Version::V2, false) => Channel::V2,
    }
}

fn channel(settings: &Settings) -> Channel {
    channel_of(settings.version, settings.is_ipv6())
}

impl Running {
    /// Where it talks, and so with whom it shares a [`Presence`].
    fn key(&self) -> (String, Channel) {
        (self.interface.clone(), channel(self.group.settings()))
    }

    /// Sends what all groups of the interface say together.
    fn advertise(&self, payloads: &mut Outbox<Vec<u8>>) {
        for payload in payloads.drain() {
            if let Err(error) = self.send(SourceMac::BurnedIn, &payload) {
                // Nobody's election needs it.
                tracing::debug!(error = format!("{error:#}"), "the state of the interface is not told");
            }
        }
    }

    /// The active router, if that is another one.
    fn active(&self, now: Now) -> Option<IpAddr> {
        match self.group.snapshot(now.mono).active {
            Some(RouterSnapshot::Remote { address, .. }) => Some(address),
            Some(RouterSnapshot::Local) | None => None,
        }
    }

    fn carry_out(&mut self, output: Output, events: &mut Vec<Event>) -> Result<()> {
        match output {
            Output::AcquireVip { vips } => match &mut self.place {
                Some(place) => place.addresses.acquire(&vips).context("taking the VIP"),
                None => Ok(()),
            },
            Output::ReleaseVip => match &mut self.place {
                Some(place) => place.addresses.release().context("releasing the VIP"),
                None => Ok(()),
            },
            Output::AnnounceVip => self.announce(),
            Output::Send { source, payload } => self.send(source, &payload),
            Output::Event(event) => {
                events.push(event);
                Ok(())
            }
        }
    }

    fn announce(&self) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let frames = place.addresses.announcements();
        frames.iter().try_for_each(|frame| place.sender.send(frame)).context("announcing the VIP")
    }

    fn send(&self, source: SourceMac, payload: &[u8]) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let mac = match source {
            SourceMac::BurnedIn => place.interface.mac,
            SourceMac::Virtual => self.group.virtual_mac(),
        };
        let channel = channel(self.group.settings());
        let address = match channel {
            Channel::V1 | Channel::V2 => place.interface.ipv4.map(|(address, _)| IpAddr::V4(address)),
            Channel::Ipv6 => place.interface.link_local.map(IpAddr::V6),
        };
        let Some(address) = address else { return Ok(()) };
        let frame = ethernet::hsrp(Source { mac, address }, channel, payload).context("building a hello")?;
        place.sender.send(&frame).context("sending a hello")
    }
}

/// A datagram for one group or several.
struct Heard {
    /// The first group that it may be for.
    position: usize,
    source: IpAddr,
    payload: Vec<u8>,
}

/// Waits for a datagram on any interface.
async fn receive(groups: &mut [Running]) -> Result<Heard, std::io::Error> {
    poll_fn(|context| {
        for (position, running) in groups.iter_mut().enumerate() {
            let Some(place) = &mut running.place else { continue };
            if let Poll::Ready(received) = pin!(place.sockets.receive()).poll(context) {
                return Poll::Ready(received.map(|datagram| Heard {
                    position,
                    source: datagram.source,
                    payload: datagram.payload.to_vec(),
                }));
            }
        }
        Poll::Pending
    })
    .await
}

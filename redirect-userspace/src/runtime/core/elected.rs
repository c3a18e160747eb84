//! The elected cluster: standing of the HSRP groups, connections between the nodes, this node's
//! load, notify hooks.
//!
//! # Taking over, and leaving
//!
//! The speaker brings the addresses up and announces them. Then, here: the listener, the table,
//! the fast path, the notify hook. Leaving goes the other way round.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;

use crate::clb::{self, ClusterName, ConnectionId, Master, PeerId, Registration};
use crate::cluster::{Election, Input, Peer};
use crate::config::{Config, cluster_ip, vips_to_map};
use crate::control::{ClusterView, CoreRequest, StandbyView};
use crate::fastpath::FastPath as _;
use crate::hsrp::{GroupName, State};
use crate::ike::Command;
use crate::net::schedule::Scheduling;
use crate::net::tcp::{Closed, Connections, Limits, TcpEvent};
use crate::runtime::hooks::{Hooks, Outcome, Role};
use crate::runtime::sample::Sampler;
use crate::runtime::speaker::{News, Order, Speaker};
use crate::telemetry::{Elected, Event};
use crate::time::Instant;

use super::Core;
use super::drain::told;

/// Events of connections that wait for the core. A full channel slows the peers down.
const EVENTS: usize = 256;
/// How long a connection to the master may take to open. A lost SYN is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// What belongs to the elected cluster.
pub(super) struct Elections {
    pub(super) speaker: Option<Speaker>,
    /// Of every group, as the speaker has said last.
    standing: BTreeMap<GroupName, Standing>,
    hooks: BTreeMap<GroupName, Hooks>,
    pub(super) outcomes: mpsc::Receiver<Outcome>,
    outcome_sender: mpsc::Sender<Outcome>,
    listener: Option<Connections>,
    /// The connection to the master, under our number for it.
    dialled: Option<(ConnectionId, crate::net::tcp::ConnectionId, Connections)>,
    pub(super) events: mpsc::Receiver<TcpEvent>,
    event_sender: mpsc::Sender<TcpEvent>,
    /// Where to listen, while that has not worked yet.
    unheard: Option<SocketAddr>,
    pub(super) sampler: Sampler,
}

struct Standing {
    state: State,
    vips: Vec<IpAddr>,
}

impl Elections {
    pub(super) fn new() -> Self {
        let (outcome_sender, outcomes) = mpsc::channel(16);
        let (event_sender, events) = mpsc::channel(EVENTS);
        Self {
            speaker: None,
            standing: BTreeMap::new(),
            hooks: BTreeMap::new(),
            outcomes,
            outcome_sender,
            listener: None,
            dialled: None,
            events,
            event_sender,
            unheard: None,
            sampler: Sampler::new(),
        }
    }

    /// The virtual addresses that this node holds and answers for: those of the group that the
    /// cluster is bound to, or of all groups when it is bound to none.
    pub(super) fn vips(&self, config: &Config) -> Vec<IpAddr> {
        self.standing
            .iter()
            .filter(|(group, standing)| standing.state == State::Active && counts(config, group))
            .flat_map(|(_, standing)| standing.vips.iter().copied())
            .collect()
    }

    /// The virtual addresses that this node answers for once it holds them, whoever does now. What
    /// a group has learned belongs to them.
    pub(super) fn eligible(&self, config: &Config) -> Vec<IpAddr> {
        let groups = config.hsrp.iter().map(|group| &group.settings);
        groups
            .filter(|group| counts(config, &group.name))
            .flat_map(|group| match self.standing.get(&group.name) {
                Some(standing) if group.vips.is_empty() => standing.vips.clone(),
                Some(_) | None => group.vips.clone(),
            })
            .collect()
    }

    /// The virtual addresses that this node holds, of whatever group.
    pub(super) fn held(&self) -> Vec<IpAddr> {
        let active = self.standing.values().filter(|standing| standing.state == State::Active);
        active.flat_map(|standing| standing.vips.iter().copied()).collect()
    }

    /// The speaker has ended, and with it what it has said.
    pub(super) fn forget_standing(&mut self) {
        self.standing.clear();
    }

    /// The virtual addresses that this node may hold one day, of whatever group.
    pub(super) fn possible(&self, config: &Config) -> Vec<IpAddr> {
        let configured = config.hsrp.iter().flat_map(|group| group.settings.vips.iter().copied());
        configured.chain(self.standing.values().flat_map(|standing| standing.vips.iter().copied())).collect()
    }

    fn is_own(&self, id: crate::net::tcp::ConnectionId) -> Option<ConnectionId> {
        self.dialled.as_ref().filter(|(_, dialled, _)| *dialled == id).map(|(connection, ..)| *connection)
    }
}

/// Whether this node answers for the addresses of a group that it holds.
fn counts(config: &Config, group: &GroupName) -> bool {
    config.cluster.election.as_ref().is_none_or(|election| election.standby_group == *group)
}

impl Core {
    /// Begins the elections, or takes over other groups.
    pub(super) fn elect(&mut self) -> Result<()> {
        let groups = self.config.hsrp.clone();
        let is_gone = |group: &GroupName| !groups.iter().any(|other| other.settings.name == *group);
        let before = self.elections.held();
        self.elections.standing.retain(|group, _| !is_gone(group));
        self.hand_over(&before);
        self.elections.hooks.retain(|group, _| !is_gone(group));
        for group in &groups {
            let name = group.settings.name.clone();
            let hooks =
                || Hooks::new(name.clone(), group.notify.clone(), self.elections.outcome_sender.clone());
            if group.notify.is_empty() {
                self.elections.hooks.remove(&name);
            } else {
                self.elections.hooks.entry(name.clone()).or_insert_with(hooks);
            }
        }
        match &self.elections.speaker {
            Some(speaker) => speaker.order(Order::Groups(groups)),
            None if groups.is_empty() => {}
            None => self.elections.speaker = Some(Speaker::start(self.clock, groups)?),
        }
        let election = self.election();
        self.step(Input::Elect(election.map(Box::new)))
    }

    fn election(&self) -> Option<Election> {
        let election = self.config.cluster.election.as_ref()?;
        let configured = self.config.hsrp.iter().find(|group| group.settings.name == election.standby_group);
        let learned = self.elections.standing.get(&election.standby_group);
        let first = configured.and_then(|group| cluster_ip(&group.settings.vips));
        let vip = first.or_else(|| learned.and_then(|standing| cluster_ip(&standing.vips)))?;
        // Both are checked where they are configured.
        let name: ClusterName = election.standby_group.as_str().parse().ok()?;
        let addresses = self.config.node.addresses.clone()?;
        Some(Election {
            name,
            master_at: SocketAddr::new(vip, election.port),
            settings: clb::Settings { vips: self.cluster_vips(), ..election.clb.clone()? },
            slave: election.slave,
            node: Registration {
                name: self.config.node.name.clone(),
                addresses,
                priority: election.slave.priority,
                max_session: election.slave.max_session,
            },
            is_shut_down: false,
        })
    }

    /// Takes in what the speaker says.
    pub(super) fn heed(&mut self, news: News) -> Result<()> {
        match news {
            News::Conflict { group, vip, by } => {
                let by = by.to_string();
                self.record(&Event::Elected(Elected::VipConflict { group, vip, by }));
            }
            News::Event { group, event, priority } => {
                if let (crate::hsrp::Event::StateChanged { to, .. }, Some(hooks)) =
                    (&event, self.elections.hooks.get(&group))
                    && *to != State::Active
                {
                    hooks.notify(Role::of(*to), priority);
                }
                self.record(&Event::Standby { group, event });
            }
            News::Trouble { group, why } => self.record(&Event::Elected(Elected::VipFailed { group, why })),
            News::Scheduled(granted) => {
                if let Scheduling::Unchanged { error } = granted.scheduling {
                    let why = error.to_string();
                    self.record(&Event::Elected(Elected::RealTimeDenied { why }));
                }
            }
            News::Standing { group, state, active, vips, since, priority } => {
                self.stand(group, state, active, vips, since, priority)?;
            }
        }
        Ok(())
    }

    fn stand(
        &mut self,
        group: GroupName,
        state: State,
        active: Option<IpAddr>,
        vips: Vec<IpAddr>,
        since: Instant,
        priority: u8,
    ) -> Result<()> {
        let before = self.elections.standing.insert(group.clone(), Standing { state, vips: vips.clone() });
        let was_active = before.as_ref().is_some_and(|before| before.state == State::Active);
        let is_active = state == State::Active;
        // First of all: the addresses have gone, and clients speak to them.
        let held = before.as_ref().filter(|_| was_active).map(|before| before.vips.clone());
        self.hand_over(&held.unwrap_or_default());
        if before.as_ref().is_none_or(|before| before.vips != vips) {
            // Sockets for what was learned are opened now, not when it is taken over.
            self.listen_if_needed()?;
        }
        let is_bound =
            self.config.cluster.election.as_ref().is_some_and(|election| election.standby_group == group);
        if was_active && !is_active {
            // Nothing is answered for an address that is not ours any more.
            self.follow_vips()?;
            self.record(&Event::Elected(Elected::VipReleased { group: group.clone() }));
        }
        if is_bound {
            if before.as_ref().is_none_or(|before| before.vips != vips) {
                let election = self.election();
                self.step(Input::Elect(election.map(Box::new)))?;
            }
            self.step(Input::Standby { state, active })?;
        }
        if is_active && !was_active {
            self.record(&Event::Elected(Elected::VipAcquired { group: group.clone(), vips }));
            self.follow_vips()?;
            let took = self.clock.now().mono.since(since);
            self.record(&Event::Elected(Elected::TookOver { group: group.clone(), took }));
            if let Some(hooks) = self.elections.hooks.get(&group) {
                hooks.notify(Role::Master, priority);
            }
        } else if is_active && before.is_some_and(|before| before.vips != vips) {
            self.follow_vips()?;
        }
        Ok(())
    }

    /// Answers for the addresses that are held now, and for no others.
    fn follow_vips(&mut self) -> Result<()> {
        let vips = self.vips();
        if vips.is_empty() {
            // First of all: a map that is armed answers until the last VIP is out of it.
            self.arm()?;
        }
        self.paths.set_vips(&vips_to_map(&vips))?;
        self.listen_if_needed()?;
        self.arm()
    }

    /// Takes in what happened to a connection.
    pub(super) fn converse(&mut self, event: TcpEvent) -> Result<()> {
        match event {
            TcpEvent::Accepted { id, from } if self.is_own_address(from.ip()) => {
                // What we sent to the master before, and now are it.
                self.close(Peer::Slave(PeerId(id.value())));
                Ok(())
            }
            TcpEvent::Accepted { id, from } => self.step(Input::Accepted { peer: PeerId(id.value()), from }),
            TcpEvent::Connected { id, local: _ } => match self.elections.is_own(id) {
                Some(connection) => self.step(Input::Connected(connection)),
                None => Ok(()),
            },
            TcpEvent::Bytes { id, octets } => {
                let peer = self.peer(id);
                self.step(Input::Bytes { peer, octets: &octets })
            }
            TcpEvent::Closed { id, why } => {
                let peer = self.peer(id);
                match peer {
                    Peer::Master(_) => self.elections.dialled = None,
                    Peer::Slave(_) => {}
                }
                match why {
                    // The machine has said so itself.
                    Closed::Ours => Ok(()),
                    Closed::Peer | Closed::Slow | Closed::TimedOut | Closed::Failed(_) => {
                        self.step(Input::Closed { peer })
                    }
                }
            }
            TcpEvent::Refused { from, why } => {
                tracing::debug!(%from, ?why, "connection refused");
                Ok(())
            }
        }
    }

    fn is_own_address(&self, address: IpAddr) -> bool {
        let own = self.config.node.addresses.as_ref();
        own.is_some_and(|own| own.contains(address)) || self.vips().contains(&address)
    }

    fn peer(&self, id: crate::net::tcp::ConnectionId) -> Peer {
        match self.elections.is_own(id) {
            Some(connection) => Peer::Master(connection),
            None => Peer::Slave(PeerId(id.value())),
        }
    }

    /// Opens the master's port, or tries to: what holds it may let go of it.
    pub(super) fn listen(&mut self, at: SocketAddr) {
        // The cluster looks after members and their limits, the connections after octets.
        let limits =
            Limits { connections: 2_048, per_peer: 32, queue: Master::MAX_BACKLOG, ..Limits::default() };
        match Connections::listen(at, limits, self.elections.event_sender.clone()) {
            Ok(listener) => {
                self.elections.listener = Some(listener);
                self.elections.unheard = None;
            }
            Err(error) => {
                if self.elections.unheard != Some(at) {
                    let why = format!("{error:#}");
                    self.record(&Event::Elected(Elected::ListenFailed { address: at, why }));
                }
                self.elections.unheard = Some(at);
            }
        }
    }

    pub(super) fn unlisten(&mut self) {
        self.elections.listener = None;
        self.elections.unheard = None;
    }

    pub(super) fn dial(&mut self, connection: ConnectionId, to: SocketAddr) {
        let limits = Limits { queue: Master::MAX_BACKLOG, ..Limits::default() };
        let (connections, id) = Connections::dial(to, PATIENCE, limits, self.elections.event_sender.clone());
        self.elections.dialled = Some((connection, id, connections));
    }

    pub(super) fn write(&self, peer: Peer, octets: Vec<u8>) {
        match (peer, &self.elections.listener, &self.elections.dialled) {
            (Peer::Master(connection), _, Some((dialled, id, connections))) if *dialled == connection => {
                connections.write(*id, octets);
            }
            (Peer::Slave(peer), Some(listener), _) => listener.write(tcp_id(peer), octets),
            // It has just been closed.
            (Peer::Master(_) | Peer::Slave(_), ..) => {}
        }
    }

    pub(super) fn close(&self, peer: Peer) {
        match (peer, &self.elections.listener, &self.elections.dialled) {
            (Peer::Master(connection), _, Some((dialled, id, connections))) if *dialled == connection => {
                connections.close(*id);
            }
            (Peer::Slave(peer), Some(listener), _) => listener.close(tcp_id(peer)),
            (Peer::Master(_) | Peer::Slave(_), ..) => {}
        }
    }

    /// What is to be done now and then.
    pub(super) fn tend(&mut self) -> Result<()> {
        if let Some(at) = self.elections.unheard {
            self.listen(at);
        }
        if self.config.cluster.election.is_some() {
            let mut report = self.elections.sampler.sample(self.clock.now());
            if let Some(gateway) = &self.gateway {
                (report.ike_sas, report.child_sas) = gateway.sessions();
            }
            self.step(Input::Local(report))?;
        }
        self.follow_drain();
        Ok(())
    }

    /// The virtual IPs of the cluster, whoever has them.
    fn cluster_vips(&self) -> Vec<IpAddr> {
        let mut vips = self.config.redirect.vips.clone();
        if let Some(election) = &self.config.cluster.election {
            let configured = self.config.hsrp.iter().find(|it| it.settings.name == election.standby_group);
            let learned = self.elections.standing.get(&election.standby_group);
            match configured {
                Some(group) if !group.settings.vips.is_empty() => vips.extend(&group.settings.vips),
                _ => vips.extend(learned.iter().flat_map(|standing| &standing.vips)),
            }
        }
        vips
    }

    /// What `show cluster` tells.
    pub(super) fn cluster_view(&self, cluster: &crate::cluster::Snapshot) -> ClusterView {
        let election = self.config.cluster.election.as_ref();
        let view = ClusterView::new(cluster, &self.cluster_vips());
        match election.and_then(|election| Some((election.clb.as_ref()?, &election.slave))) {
            Some((clb, slave)) => view.with_times(clb, slave),
            None => view,
        }
    }

    /// What `show standby` tells.
    pub(super) fn standby_views(&self) -> Vec<StandbyView> {
        let shown = self.elections.speaker.as_ref().map(Speaker::shown).unwrap_or_default();
        shown.iter().map(|shown| StandbyView::new(&shown.interface, &shown.group)).collect()
    }

    pub(super) fn hooked(&self, outcome: Outcome) {
        let Outcome { group, script, result } = outcome;
        self.record(&Event::Elected(match result {
            Ok(()) => Elected::HookRan { group, script },
            Err(why) => Elected::HookFailed { group, script, why },
        }));
    }

    /// Carries out what a client of the control socket wants.
    pub(super) async fn answer(&mut self, request: CoreRequest) -> Result<()> {
        // The client may have gone: then nobody is told.
        match request {
            CoreRequest::ClearSas { selection, answer } => match &self.gateway {
                Some(gateway) => {
                    let count = gateway.count(&selection);
                    gateway.command(&Command::Clear(selection));
                    tokio::spawn(async move { answer.send(Ok(count.await)) });
                }
                None => drop(answer.send(Err(NO_GATEWAY.to_owned()))),
            },
            CoreRequest::Connect { connection, answer } => {
                let no_gateway = || Err(NO_GATEWAY.to_owned());
                let result = self.gateway.as_ref().map_or_else(no_gateway, |it| it.connect(&connection));
                let _gone = answer.send(result);
            }
            CoreRequest::RedirectSas { selection, percent, to, grace, answer } => {
                match self.redirect_sas(selection, percent, to.as_ref(), grace) {
                    Ok(count) => drop(tokio::spawn(async move { answer.send(told(count.await)) })),
                    Err(why) => drop(answer.send(Err(why))),
                }
            }
            CoreRequest::RekeySa { sa, children, answer } => match &self.gateway {
                Some(gateway) => {
                    let is_there = gateway.has(sa);
                    gateway.command(&if children {
                        Command::RekeyChildren(sa)
                    } else {
                        Command::RekeyIke(sa)
                    });
                    tokio::spawn(async move {
                        let found = is_there.await;
                        answer.send(if found { Ok(()) } else { Err(format!("there is no IKE SA {sa}")) })
                    });
                }
                None => drop(answer.send(Err(NO_GATEWAY.to_owned()))),
            },
            CoreRequest::ShowSas { query, answer } => match &self.gateway {
                Some(gateway) => {
                    // The workers answer; the core goes on.
                    let page = gateway.page(query);
                    tokio::spawn(async move { answer.send(Ok(page.await)) });
                }
                None => drop(answer.send(Err(NO_GATEWAY.to_owned()))),
            },
            CoreRequest::Reload { answer } => {
                let _gone = answer.send(self.reload().await);
            }
            CoreRequest::SetDraining { gateway, draining, answer } => {
                let _gone = answer.send(self.set_draining(gateway, draining)?);
            }
            CoreRequest::ReportSessions { ike_sas, child_sas, valid, answer } => {
                let result = if self.config.cluster.election.is_some() {
                    self.elections.sampler.set_sessions(self.clock.now(), ike_sas, child_sas, valid);
                    self.tend()?;
                    Ok(())
                } else {
                    Err("nobody is told: `standby-group` in [cluster] is not set".to_owned())
                };
                let _gone = answer.send(result);
            }
        }
        Ok(())
    }

    /// Leaves the cluster in order: the slaves are told, the groups resign, the hooks run.
    pub(super) async fn leave(&mut self) {
        // What is refused now is taken down all the same.
        let _refused = self.step(Input::Elect(None));
        if let Some(speaker) = self.elections.speaker.take() {
            speaker.stop().await;
        }
        let priority = |group: &GroupName| {
            let of = |groups: &[crate::config::HsrpGroup]| {
                groups.iter().find(|other| other.settings.name == *group).map(|group| group.settings.priority)
            };
            of(&self.config.hsrp).unwrap_or(0)
        };
        for (group, hooks) in std::mem::take(&mut self.elections.hooks) {
            hooks.notify(Role::Stop, priority(&group));
            hooks.finish().await;
        }
    }
}

/// What whoever asks for IKE SAs is told.
pub(super) const NO_GATEWAY: &str = "this node has no gateway of its own: there is no [ike]";

const fn tcp_id(peer: PeerId) -> crate::net::tcp::ConnectionId {
    crate::net::tcp::ConnectionId::from_value(peer.0)
}

/// News of the speaker, if there is one.
pub(super) async fn spoken(speaker: Option<&mut Speaker>) -> News {
    if let Some(speaker) = speaker
        && let Some(news) = speaker.news().await
    {
        return news;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Two groups, of which one learns its VIP; `[cluster]` is bound to the first if at all.
    fn config(cluster: &str) -> Config {
        let text = format!(
            r#"
            fast-path = {{ mode = "userspace" }}
            [node]
            name = "gw1"
            addresses = ["10.50.0.11"]
            [[hsrp]]
            name = "one"
            interface = "eth0"
            group = 1
            vip = ["10.50.0.5", "fd50::5"]
            version = 2
            [[hsrp]]
            name = "two"
            interface = "eth1"
            group = 2
            {cluster}
            "#
        );
        Config::parse(Path::new("redirectd.toml"), &text, crate::time::UnixTime::EPOCH).unwrap()
    }

    fn told(elections: &mut Elections, group: &str, state: State, vips: &[&str]) {
        let vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
        elections.standing.insert(group.parse().unwrap(), Standing { state, vips });
    }

    fn texts(vips: &[IpAddr]) -> Vec<String> {
        vips.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn what_may_be_held_one_day_is_known_before_it_is_held() {
        let mut elections = Elections::new();
        let config = config("");
        assert_eq!(texts(&elections.eligible(&config)), ["10.50.0.5", "fd50::5"]);

        told(&mut elections, "one", State::Standby, &["10.50.0.5", "fd50::5"]);
        told(&mut elections, "two", State::Listen, &["10.51.0.5"]);

        assert_eq!(texts(&elections.eligible(&config)), ["10.50.0.5", "fd50::5", "10.51.0.5"]);
        assert!(elections.vips(&config).is_empty());
        told(&mut elections, "two", State::Active, &["10.51.0.5"]);
        assert_eq!(texts(&elections.vips(&config)), ["10.51.0.5"]);
    }

    #[test]
    fn only_the_group_of_the_cluster_counts_where_there_is_one() {
        let mut elections = Elections::new();
        let config = config("[cluster]\nstandby-group = \"one\"\nshutdown = true\n");
        told(&mut elections, "two", State::Active, &["10.51.0.5"]);

        assert_eq!(texts(&elections.eligible(&config)), ["10.50.0.5", "fd50::5"]);
        assert!(elections.vips(&config).is_empty());
    }
}

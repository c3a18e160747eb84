//! Members that lose their clients: who may be drained, and how far this node has come.

use std::time::Duration;

use anyhow::Result;

use super::Core;
use super::elected::NO_GATEWAY;
use crate::cluster::{GatewaySnapshot, Input, Member, MemberState, Role, Snapshot};
use crate::config;
use crate::control::DrainStatus;
use crate::gateway::{GatewayAddresses, GatewayName};
use crate::ike::{Command, Drain, Redirect, RedirectExchange, Redirected, Selection};
use crate::telemetry::Event;
use crate::time::Instant;

/// How this node loses its clients.
#[derive(Debug)]
pub(super) struct Draining {
    began: Instant,
    deadline: Duration,
    /// IKE SAs at the beginning.
    total: u64,
    /// Redirects of SAs in use that were not part of it.
    told_before: u64,
    /// Whether it has been said that nobody is left.
    is_done: bool,
}

impl Core {
    /// Takes a member out of service or back into it.
    pub(super) fn set_draining(
        &mut self,
        gateway: Option<GatewayName>,
        draining: bool,
    ) -> Result<Result<GatewayName, String>> {
        let own = self.config.node.name.clone();
        let name = gateway.unwrap_or_else(|| own.clone());
        if let Err(why) = self.may_set_draining(&name, draining) {
            return Ok(Err(why));
        }
        if self.config.cluster.election.is_some() {
            self.step(Input::Drain { name: Some(name.clone()), is_drained: draining })?;
        } else {
            self.is_drained_alone = draining;
            self.step(Input::Members(self.members()))?;
        }
        self.follow_drain();
        Ok(Ok(name))
    }

    /// The configured members; this node takes no clients while it is drained.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members = self.config.members();
        if self.is_drained_alone {
            for own in members.iter_mut().filter(|member| member.is_self) {
                own.state = MemberState::Draining;
            }
        }
        members
    }

    fn may_set_draining(&self, name: &GatewayName, draining: bool) -> Result<(), String> {
        let is_own = *name == self.config.node.name;
        let cluster = self.cluster.snapshot(self.clock.now());
        let members = members(&cluster);
        let state = members.iter().find(|it| it.member.name == *name).map(|it| it.member.state);
        if self.config.cluster.election.is_none() && !is_own {
            return Err("members are configured here: set `weight = 0` and reload".to_owned());
        }
        if !is_own && !self.cluster.has_reporting(name) && (draining || !self.cluster.is_drained_away(name)) {
            return Err(match cluster.role {
                Role::Master => format!("no member \"{name}\" reports to this master"),
                Role::Slave | Role::None => {
                    format!("this node is not the master: ask it, or {name} itself")
                }
            });
        }
        let is_drained = if is_own { self.is_drained() } else { state == Some(MemberState::Draining) };
        let is_away = self.cluster.is_drained_away(name);
        match (draining, is_drained || is_away) {
            (true, true) => return Err(format!("{name} is being drained already")),
            (false, false) => return Err(format!("{name} is not being drained")),
            (false, true) => return Ok(()),
            (true, false) => {}
        }
        let serves = |state| matches!(state, MemberState::Up | MemberState::Overloaded);
        let is_other = members.iter().any(|it| it.member.name != *name && serves(it.member.state));
        if is_other {
            Ok(())
        } else {
            Err(format!("{name} is the last member that takes clients: there is nobody to send them to"))
        }
    }

    /// Whether this node is to lose its clients.
    pub(super) const fn is_drained(&self) -> bool {
        self.cluster.is_draining() || self.is_drained_alone
    }

    /// Has the gateway lose its clients, or keep them, when this has changed: by the operator here,
    /// or by an order of the master.
    pub(super) fn follow_drain(&mut self) {
        let left = self.gateway.as_ref().map_or(0, |gateway| u64::from(gateway.sessions().0));
        let now = self.clock.now().mono;
        match (self.is_drained(), &mut self.draining) {
            (true, None) => {
                let settings = self.config.redirect.drain;
                self.draining = Some(Draining {
                    began: now,
                    deadline: settings.deadline,
                    total: left,
                    told_before: self.told_live(),
                    is_done: false,
                });
                self.record(&Event::DrainBegan { sas: left });
                // Where clients go is decided without this node from now on.
                self.hand_over(&[]);
                let cluster = self.cluster.snapshot(self.clock.now());
                self.aim(&cluster);
                if let Some(gateway) = &self.gateway {
                    gateway.drain(|own, all| Drain {
                        pace: settings.pace(own, all),
                        grace: settings.grace,
                        deadline: Some(settings.deadline),
                    });
                }
            }
            (false, Some(_)) => {
                self.draining = None;
                if let Some(gateway) = &self.gateway {
                    gateway.command(&Command::Undrain);
                }
                self.record(&Event::DrainCancelled { left });
                self.hand_over(&[]);
            }
            (true, Some(draining)) if left == 0 && !draining.is_done => {
                draining.is_done = true;
                let took = now.since(draining.began);
                self.record(&Event::DrainDone { took });
            }
            (true, Some(draining)) => draining.is_done &= left == 0,
            (false, None) => {}
        }
    }

    /// Clients that were told to go while their SA was in use.
    fn told_live(&self) -> u64 {
        let counters = self.gateway.as_ref().map(|gateway| gateway.figures().counters);
        let at = RedirectExchange::Informational.position();
        counters.and_then(|counters| counters.redirects.get(at).copied()).unwrap_or(0)
    }

    /// Tells clients to go to a member, or wherever the table leads; how many, soon.
    pub(super) fn redirect_sas(
        &self,
        selection: Selection,
        percent: u8,
        to: Option<&GatewayName>,
        grace: Option<Duration>,
    ) -> Result<impl Future<Output = Redirected> + use<>, String> {
        let gateway = self.gateway.as_ref().ok_or_else(|| NO_GATEWAY.to_owned())?;
        let to = match to {
            Some(name) => Some(self.takes_clients(name)?),
            None if self.aim.leads_away() => None,
            None => return Err("there is no other member that takes clients".to_owned()),
        };
        let grace = grace.unwrap_or(self.config.redirect.drain.grace);
        if !config::Drain::GRACE.contains(&grace) {
            let [least, most] = [config::Drain::GRACE.start(), config::Drain::GRACE.end()];
            return Err(format!("the grace is {} s to {} s", least.as_secs(), most.as_secs()));
        }
        Ok(gateway.redirect(&Redirect { selection, percent, to, grace }))
    }

    /// Where clients of a member are sent.
    fn takes_clients(&self, name: &GatewayName) -> Result<GatewayAddresses, String> {
        let cluster = self.cluster.snapshot(self.clock.now());
        let found = members(&cluster).iter().find(|it| it.member.name == *name);
        let member = &found.ok_or_else(|| format!("there is no member \"{name}\""))?.member;
        match member.state {
            MemberState::Up | MemberState::Overloaded => Ok(member.addresses.clone()),
            MemberState::Draining | MemberState::Down => {
                Err(format!("{name} takes no clients: it is {}", member.state))
            }
        }
    }

    /// What `show drain` tells.
    pub(super) fn drain_status(&self) -> DrainStatus {
        let left = self.gateway.as_ref().map_or(0, |gateway| u64::from(gateway.sessions().0));
        let Some(draining) = &self.draining else {
            return DrainStatus { left, ..DrainStatus::default() };
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        DrainStatus {
            draining: true,
            sas: draining.total,
            left,
            redirected: self.told_live().saturating_sub(draining.told_before),
            since_ms: Some(millis(self.clock.now().mono.since(draining.began))),
            deadline_ms: Some(millis(draining.deadline)),
        }
    }

    /// Begins to drain this node before the daemon ends, if it is to and there are clients that have
    /// somewhere to go; says whether it does.
    pub(super) fn drain_before_stop(&mut self) -> Result<bool> {
        let sessions = self.gateway.as_ref().map_or(0, |gateway| gateway.sessions().0);
        if !self.config.redirect.drain.before_stop || sessions == 0 || !self.aim.leads_away() {
            return Ok(false);
        }
        if self.is_drained() {
            return Ok(true);
        }
        Ok(self.set_draining(None, true)?.is_ok())
    }

    /// Whether nobody is left, or whoever is has had his time.
    pub(super) fn has_drained(&self) -> bool {
        let left = self.gateway.as_ref().map_or(0, |gateway| gateway.sessions().0);
        let is_over = |draining: &Draining| {
            self.clock.now().mono.since(draining.began) > draining.deadline + LAST_WORDS
        };
        left == 0 || self.draining.as_ref().is_none_or(is_over)
    }
}

/// The members as this node knows them: what a slave knows it has been told.
fn members(cluster: &Snapshot) -> &[GatewaySnapshot] {
    match (&cluster.told, cluster.role) {
        (Some(told), Role::Slave) => &told.members,
        (Some(_) | None, _) => &cluster.gateways,
    }
}

/// What came of a redirect, for the operator: that nobody was told is a failure.
pub(super) fn told(redirected: Redirected) -> Result<Redirected, String> {
    match redirected {
        Redirected { selected: 0, told: _ } => Err("there is no such IKE SA".to_owned()),
        Redirected { selected, told: 0 } => Err(format!(
            "none of {selected} IKE SAs: a client does not follow redirects, was told already, or is there"
        )),
        Redirected { .. } => Ok(redirected),
    }
}

/// How long the answers to the last deletes are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

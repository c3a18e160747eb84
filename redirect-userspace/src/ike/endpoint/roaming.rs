//! This machine gets other addresses, or routes: SAs of ours, as a client, follow (`RFC 4555`).
//!
//! What has changed is not looked at: the world is asked how each gateway is reached now, once for
//! all changes of a moment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::ike::config::Settings;
use crate::ike::io::{Output, SaId, Way};
use crate::ike::sa::{Effects, IkeSa, State};
use crate::machine::Outbox;
use crate::time::Now;

impl Endpoint {
    /// Other settings are in force.
    pub(super) fn configure(&mut self, now: Now, settings: Arc<Settings>, out: &mut Outbox<Output>) {
        let has_others = self.settings.additional != settings.additional;
        self.settings = settings;
        self.set_traps(now, out);
        if has_others {
            for spi in self.table.spis() {
                self.with(now, spi, out, |sa, ctx| {
                    if let Some(state) = sa.established() {
                        state.readdress(ctx);
                    }
                    Effects::default()
                });
            }
        }
    }

    /// Something about addresses or routes has changed: more will, in this moment.
    pub(super) fn routes_changed(&mut self, now: Now) {
        self.ways_at.get_or_insert(now.mono + MOMENT);
    }

    /// Asks the world for the ways to all gateways, if it is time to.
    pub(super) fn find_ways(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.ways_at.is_none_or(|at| now.mono < at) {
            return;
        }
        self.ways_at = None;
        let remotes: BTreeSet<IpAddr> = self.table.iter().flat_map(remotes).collect();
        if !remotes.is_empty() {
            out.push(Output::FindWays { asker: None, remotes: remotes.into_iter().collect() });
        }
    }

    /// It is known how these gateways are reached now: the SA that has asked is told so, or all of them.
    pub(super) fn take_ways(
        &mut self,
        now: Now,
        asker: Option<SaId>,
        (asked, ways): (&[IpAddr], &[Way]),
        out: &mut Outbox<Output>,
    ) {
        let is_asked = |sa: &&IkeSa| remotes(sa).first().is_some_and(|remote| asked.contains(remote));
        let mut spis: Vec<u64> = match asker {
            Some(asker) => self.find(asker).into_iter().collect(),
            None => self.table.iter().filter(is_asked).map(|sa| sa.names.ours()).collect(),
        };
        spis.sort_unstable();
        for spi in spis {
            self.with(now, spi, out, |sa, ctx| {
                let mut effects = Effects::default();
                let names = sa.names;
                if let Some(state) = sa.established() {
                    state.take_ways(ctx, names, (asked, ways), &mut effects);
                }
                effects
            });
        }
    }
}

/// Where the gateway of an SA may be reached, the address in use first.
fn remotes(sa: &IkeSa) -> Vec<IpAddr> {
    match &sa.state {
        State::Established(state) => state.remotes(),
        State::Answered(_)
        | State::Refused(_)
        | State::AwaitInit(_)
        | State::AwaitResume(_)
        | State::AwaitFurther(_)
        | State::AwaitAuth(_)
        | State::AnsweredEap(_)
        | State::AwaitEap(_) => Vec::new(),
    }
}

/// How long changes are gathered: a new address comes with its routes.
const MOMENT: Duration = Duration::from_millis(20);

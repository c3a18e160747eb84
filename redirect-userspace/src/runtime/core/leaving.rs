//! Clients whose gateway, or whose address of it, goes away in order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Core;
use crate::ike::{Command, HandOver, Selection};
use crate::runtime::clock::Ticker;
use crate::runtime::gateway::GatewayNews;

/// What the gateway was told last of addresses that are another node's.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Those that this node has had or may have one day, and has not now.
    addresses: BTreeSet<IpAddr>,
    told: Option<HandOver>,
}

impl Core {
    /// Tells all clients to go to another node, before the VIP leaves; says whether there are any that
    /// have somewhere to go. Nothing is waited for: whoever takes over is not to wait.
    pub(super) fn evacuate(&self) -> bool {
        let Some(gateway) = &self.gateway else { return false };
        let (sessions, _) = gateway.sessions();
        if sessions == 0 || !self.aim.leads_away() {
            return false;
        }
        gateway.command(&Command::Evacuate { grace: LINGER });
        true
    }

    /// Gives clients that were told to go the time for it: they delete their SAs when they have new
    /// ones. Those who came to the VIP are not heard any more; they have as long as a request that was
    /// lost takes to be repeated.
    pub(super) async fn linger(&mut self) {
        let begin = self.clock.now().mono;
        let held = self.elections.held();
        self.elections.forget_standing();
        self.hand_over(&held);
        let mut ticker = Ticker::every(LOOK);
        loop {
            let Some(gateway) = &mut self.gateway else { return };
            tokio::select! {
                () = ticker.tick() => {
                    let took = self.clock.now().mono.since(begin);
                    if took >= LINGER || (took >= REPEAT && gateway.count(&Selection::Audible).await == 0) {
                        return;
                    }
                    if let Some(guard) = &mut self.guard {
                        guard.beat();
                    }
                }
                news = gateway.news() => match news {
                    // This node has left the cluster: there is nobody to tell of tickets.
                    GatewayNews::Heard(events, _) => {
                        events.iter().for_each(|event| self.record(event));
                    }
                    GatewayNews::Failed => return,
                },
            }
        }
    }

    /// Tells the gateway which addresses of the cluster are another node's now. `gone` were held until
    /// now, whatever the configuration says of them.
    pub(super) fn hand_over(&mut self, gone: &[IpAddr]) {
        let held = self.elections.held();
        let stays = !self.is_stopping && !self.is_drained();
        let elsewhere = &mut self.elsewhere;
        elsewhere.addresses.extend(gone);
        elsewhere.addresses.extend(self.elections.possible(&self.config));
        let is_here =
            |address: &IpAddr| held.contains(address) || self.config.redirect.vips.contains(address);
        elsewhere.addresses.retain(|address| !is_here(address));
        let Some(gateway) = &self.gateway else { return };
        let hand_over = HandOver {
            addresses: elsewhere.addresses.iter().copied().collect(),
            own: self.config.node.addresses.clone().filter(|_| stays),
            grace: self.config.redirect.drain.grace,
        };
        if elsewhere.told.as_ref() != Some(&hand_over) {
            elsewhere.told = Some(hand_over.clone());
            gateway.hand_over(hand_over);
        }
    }
}

/// How long clients have to go when the daemon ends: a handshake, with a request that was lost and
/// that they repeat after some seconds.
const LINGER: Duration = Duration::from_secs(6);
/// How long those have who are not heard.
const REPEAT: Duration = Duration::from_millis(1_200);
/// Time between two looks at who is left.
const LOOK: Duration = Duration::from_millis(50);

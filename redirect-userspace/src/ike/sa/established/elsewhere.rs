//! The client of an SA is sent to another gateway, and takes its Child SAs along.
//!
//! # References
//!
//! `RFC 5685 §5`, `§10`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::gateway::GatewayAddress;
use crate::ike::client::{self, News};
use crate::ike::event::RedirectRefusal;
use crate::ike::sa::child::{ChildStage, Wanted, host};
use crate::ike::sa::context::{Context, Misdirected};
use crate::ike::sa::established::tasks::{Doing, Task};
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::{Effects, Names};
use crate::ike::selector::is_subset;
use crate::ike::wire::{Chain, ExchangeType, NotifyType, TrafficSelector, TrafficSelectors};

/// What an SA's client would have again elsewhere.
#[derive(Debug)]
pub(crate) struct Belongings {
    /// Selectors of its Child SAs: here, and there.
    children: Vec<[Arc<[TrafficSelector]>; 2]>,
    /// Addresses that the gateway has given.
    addresses: Vec<IpAddr>,
}

impl Established {
    /// The gateway wants us elsewhere, if an INFORMATIONAL request says so. Whatever is wrong with
    /// that, the SA goes on as it is.
    pub(super) fn sent_elsewhere(&self, ctx: &mut Context<'_>, names: Names, chain: &Chain<'_>) {
        let Some(notify) = chain.notify(NotifyType::Redirect) else { return };
        let read = client::read(&notify, None);
        let to = read.as_ref().ok().cloned();
        let result = if !self.peer.are_we_client {
            // RFC 5685 §10: whoever has rekeyed it, the client is the one that began the first SA.
            Err(RedirectRefusal::WrongSide)
        } else if !ctx.settings.follows_redirects {
            Err(RedirectRefusal::Disabled)
        } else if matches!(self.stage, Stage::Closing { .. }) {
            Err(RedirectRefusal::WrongTime)
        } else {
            read
        };
        match result {
            Ok(to) => {
                let (exchange, from) = (ExchangeType::Informational, self.path.remote);
                ctx.tell(names.id, News::Sent { exchange, from, to });
            }
            Err(reason) => self.misdirected(ctx, reason, to),
        }
    }

    /// A redirect where there is none: in a rekey, or in a response.
    pub(super) fn stray_redirect(&self, ctx: &mut Context<'_>, chain: &Chain<'_>) {
        if chain.notify(NotifyType::Redirect).is_some() {
            self.misdirected(ctx, RedirectRefusal::WrongTime, None);
        }
    }

    fn misdirected(&self, ctx: &mut Context<'_>, reason: RedirectRefusal, to: Option<GatewayAddress>) {
        let connection = Some(self.peer.profile().name.clone());
        ctx.misdirected(reason, Misdirected { connection, from: self.path.remote, to });
    }

    /// What is to be had elsewhere as well.
    pub(crate) fn belongings(&self) -> Belongings {
        let active = self.children.iter().filter(|child| child.stage == ChildStage::Active);
        let children = active.map(|child| [Arc::clone(&child.local_ts), Arc::clone(&child.remote_ts)]);
        Belongings { children: children.collect(), addresses: self.given.clone() }
    }

    /// Wants Child SAs for everything that another SA has and this one has not.
    pub(crate) fn take_along(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        belongings: &Belongings,
        effects: &mut Effects,
    ) {
        let Belongings { children, addresses } = belongings;
        for [local_ts, remote_ts] in children {
            let local_ts = TrafficSelectors(self.readdressed(local_ts, addresses));
            let remote_ts = TrafficSelectors(remote_ts.to_vec());
            let is_there = self.children.iter().any(|child| {
                is_subset(&local_ts, &TrafficSelectors(child.local_ts.to_vec()))
                    && is_subset(&remote_ts, &TrafficSelectors(child.remote_ts.to_vec()))
            });
            if !is_there && !local_ts.0.is_empty() {
                self.want(Task::NewChild { local_ts, remote_ts, wanted: Wanted::First });
            }
        }
        self.next_task(ctx, names, effects);
    }

    /// Selectors with our addresses of this SA in the place of those of another one.
    fn readdressed(&self, selectors: &[TrafficSelector], others: &[IpAddr]) -> Vec<TrafficSelector> {
        let mut ours = Vec::new();
        for selector in selectors {
            let other = others.iter().find(|other| host(**other) == *selector);
            let selector = match other {
                Some(other) => {
                    let is_alike = |given: &&IpAddr| given.is_ipv4() == other.is_ipv4();
                    self.given.iter().find(is_alike).map(|given| host(*given))
                }
                None => Some(selector.clone()),
            };
            ours.extend(selector.filter(|selector| !ours.contains(selector)));
        }
        ours
    }

    /// Whether Child SAs are still to be made.
    pub(crate) fn is_making_children(&self) -> bool {
        let is_wish = |task: &Task| matches!(task, Task::NewChild { .. });
        self.tasks.iter().any(is_wish) || matches!(self.doing.as_deref(), Some(Doing::NewChild(_)))
    }

    /// Whether traffic can leave through it.
    pub(crate) const fn has_children(&self) -> bool {
        !self.children.is_empty()
    }
}

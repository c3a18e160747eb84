//! What time asks of an SA.

use crate::ike::event::CloseReason;
use crate::ike::io::Output;
use crate::ike::sa::child::{ChildStage, Wanted};
use crate::ike::sa::context::Context;
use crate::ike::sa::established::tasks::Task;
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::window::Due;
use crate::ike::sa::{Effects, Names, transmit};
use crate::ike::wire::ChildSpi;
use crate::machine::Deadline;
use crate::time::Instant;

impl Established {
    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let mut earliest: Option<Deadline> = None;
        let mut due = |at: Option<Instant>, why| {
            earliest = Deadline::earlier(earliest, at.map(|at| Deadline { at, why }));
        };
        due(self.channel.window.deadline(), "an IKE request is repeated");
        due(
            self.pending.as_deref().map(super::drafts::Pending::expires_at),
            "an SA is forgotten that the peer does not go on with",
        );
        if let Stage::Replaced { patience } = self.stage {
            due(Some(patience), "a replaced IKE SA is deleted");
        }
        if let Stage::Leaving { patience } = self.stage {
            due(Some(patience), "the IKE SA of a redirected client is deleted");
        }
        if self.stage == Stage::Active {
            due(self.rekey_at, "an IKE SA is rekeyed");
            due(self.expires_at, "an IKE SA expires");
            due(self.keepalive_at, "a NAT keepalive is sent");
            due(self.renew_at, "another ticket is asked for");
            due(self.announce_at(), "a client is told of other addresses");
            due(self.session_at(), "a session ends, or is told of");
            due(self.liveness_at(), "a silent peer is asked whether it lives");
            for child in &self.children {
                if child.stage == ChildStage::Active {
                    due(child.rekey_at, "a Child SA is rekeyed");
                }
                due(child.expires_at, "a Child SA expires");
            }
        }
        earliest
    }

    /// When the peer is asked whether it lives. A request that waits for its response asks already.
    fn liveness_at(&self) -> Option<Instant> {
        if self.channel.window.is_waiting() {
            return None;
        }
        self.peer.profile().dpd.map(|silence| self.heard_at + silence)
    }

    /// The deadline has come.
    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        let now = ctx.now.mono;
        let settings = std::sync::Arc::clone(ctx.settings);
        let is_cut_off = self.is_cut_off(now);
        match self.channel.window.due(ctx.now, &settings.retransmission) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                ctx.counters.retransmissions = ctx.counters.retransmissions.saturating_add(1);
                transmit(ctx, self.path, datagrams);
                self.repeat_elsewhere(ctx, names);
            }
            // Nobody is dead whom nothing can reach.
            Due::Dead if is_cut_off => self.channel.window.hold_out(ctx.now, &settings.retransmission),
            // Its answers may be heard by another node, while it has moved long ago.
            Due::Dead if self.is_adrift => self.give_up_request(ctx, effects),
            Due::Dead => {
                return self.shut(ctx, names, CloseReason::PeerDead, effects);
            }
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.pending.as_deref().map(super::drafts::Pending::expires_at)) {
            self.abandon_draft(ctx);
        }
        if let Stage::Replaced { patience } = self.stage
            && patience <= now
        {
            self.close_remnant(ctx, CloseReason::Rekeyed);
        }
        if let Stage::Leaving { patience } = self.stage
            && patience <= now
        {
            if self.is_adrift {
                self.farewell(ctx, names, CloseReason::Redirected, effects);
                return;
            }
            self.close(ctx, names, CloseReason::Redirected, effects);
            return;
        }
        if self.stage == Stage::Active {
            if is_due(self.expires_at) {
                self.close(ctx, names, CloseReason::Expired, effects);
                return;
            }
            if self.session_due(ctx, names, effects) {
                return;
            }
            if is_due(self.rekey_at) {
                self.rekey_at = None;
                self.want(Task::RekeyIke { method: None });
            }
            if is_due(self.keepalive_at) {
                ctx.out.push(Output::Keepalive { path: self.path });
                self.keepalive_at = Some(now + settings.nat_keepalive);
            }
            if is_due(self.renew_at) {
                self.renew_at = None;
                self.want(Task::Ticket);
            }
            if self.is_to_announce(now) {
                self.want(Task::Addresses);
            }
            if is_due(self.liveness_at()) {
                self.want(Task::Liveness);
            }
            self.children_due(ctx, names, now);
        }
        self.next_task(ctx, names, effects);
    }

    /// A Child SA has carried as much as it should, or all that it may. Said of one that is being
    /// replaced already, or was, it changes nothing.
    pub(crate) fn worn(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        inbound: ChildSpi,
        is_spent: bool,
        effects: &mut Effects,
    ) {
        let is_active = self.child(inbound).is_some_and(|child| child.stage == ChildStage::Active);
        if self.stage != Stage::Active || !is_active {
            return;
        }
        if is_spent {
            self.want(Task::DeleteChild { inbound, reason: CloseReason::Expired });
        } else {
            self.want(Task::RekeyChild { inbound, wanted: Wanted::First });
        }
        self.next_task(ctx, names, effects);
    }

    fn children_due(&mut self, ctx: &mut Context<'_>, names: Names, now: Instant) {
        let mut expired: Vec<ChildSpi> = Vec::new();
        let mut rekeyed: Vec<ChildSpi> = Vec::new();
        for child in &mut self.children {
            if child.expires_at.is_some_and(|at| at <= now) {
                child.expires_at = None;
                expired.push(child.inbound);
            } else if child.stage == ChildStage::Active && child.rekey_at.is_some_and(|at| at <= now) {
                child.rekey_at = None;
                rekeyed.push(child.inbound);
            }
        }
        for inbound in rekeyed {
            self.want(Task::RekeyChild { inbound, wanted: Wanted::First });
        }
        for inbound in expired {
            let stage = self.child(inbound).map(|child| child.stage);
            if stage == Some(ChildStage::Active) {
                self.want(Task::DeleteChild { inbound, reason: CloseReason::Expired });
            } else {
                // Whoever was to delete it has not done so.
                self.drop_child(ctx, names, inbound, CloseReason::Expired);
            }
        }
    }
}

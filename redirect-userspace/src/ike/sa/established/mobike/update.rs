//! The gateway: what becomes of a client's wish to move its SA.

use super::{COOKIE2, Mobile, Pending, announced, has_met_forbidden_nat};
use crate::codec::DecodeError;
use crate::gateway::unicast;
use crate::ike::event::{CloseReason, Event};
use crate::ike::io::{NAT_T_PORT, Path};
use crate::ike::message::SealError;
use crate::ike::sa::context::Context;
use crate::ike::sa::established::Established;
use crate::ike::sa::established::tasks::Doing;
use crate::ike::sa::natt::{Hashes, Nat};
use crate::ike::sa::{Effects, Names, transmit};
use crate::ike::wire::{Chain, ChainWriter, EncodeError, ExchangeType, NotifyContent, NotifyType};

/// What stands in the answer to a request of a peer with MOBIKE.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// Why its addresses are not used.
    refusal: Option<NotifyType>,
    hashes: Option<Hashes>,
    cookie: Option<Vec<u8>>,
}

impl Reply {
    /// Appends it.
    pub(crate) fn write(&self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        if let Some(refusal) = self.refusal {
            chain.plain(refusal)?;
        }
        if let Some(hashes) = &self.hashes {
            hashes.write(chain)?;
        }
        match &self.cookie {
            Some(cookie) => chain.notify(&NotifyContent::Cookie2(cookie)),
            None => Ok(()),
        }
    }
}

impl Established {
    /// What an INFORMATIONAL request that came on `path` says of addresses, and what is answered.
    ///
    /// # Errors
    ///
    /// A COOKIE2 that cannot be one.
    pub(in crate::ike::sa::established) fn addresses_asked(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
    ) -> Result<Reply, DecodeError> {
        if self.mobile.is_none() {
            return Ok(Reply::default());
        }
        // RFC 4555 §3.7: as it is, whatever comes of the rest.
        let cookie = match chain.notify(NotifyType::Cookie2).map(|notify| notify.content()).transpose()? {
            Some(NotifyContent::Cookie2(octets)) => Some(octets.to_vec()),
            Some(_) | None => None,
        };
        let has_hashes = chain.notify(NotifyType::NatDetectionDestination).is_some();
        let encapsulation = ctx.settings.encapsulation;
        // RFC 4555 §3.8: whoever sends them gets some.
        let hashes = has_hashes.then(|| Hashes::new(names.spi_i, names.spi_r, path, encapsulation, ctx.rng));
        let mut refusal = None;
        if has_met_forbidden_nat(chain, path) {
            refusal = Some(NotifyType::UnexpectedNatDetected);
        } else {
            if let Some(others) = announced(chain) {
                self.learn_addresses(ctx, names, path, others);
            }
            if chain.notify(NotifyType::UpdateSaAddresses).is_some() {
                refusal = self.update(ctx, names, path, chain).err();
            }
        }
        if refusal.is_some() {
            ctx.counters.updates_refused = ctx.counters.updates_refused.saturating_add(1);
        }
        Ok(Reply { refusal, hashes, cookie })
    }

    /// The peer wants the SA to be where its message came from.
    fn update(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
    ) -> Result<(), NotifyType> {
        // RFC 4555 §3.5: the client decides, whoever has rekeyed the SA.
        if self.peer.are_we_client || !self.is_acceptable(path) {
            return Err(NotifyType::UnacceptableAddresses);
        }
        let nat = match chain.notify(NotifyType::NatDetectionDestination) {
            Some(_) => Nat::detect(chain, names.spi_i, names.spi_r, path, ctx.settings.encapsulation),
            None => self.nat,
        };
        ctx.counters.updates = ctx.counters.updates.saturating_add(1);
        self.relocate(ctx, names, path, nat);
        Ok(())
    }

    /// Whether the peer can be there.
    fn is_acceptable(&self, path: Path) -> bool {
        let remote = path.remote.ip();
        let is_host = unicast(remote).is_ok() || remote == self.path.remote.ip();
        // Through the tunnel to its own end: a loop.
        let is_inside = self.leases.iter().any(|lease| lease.address == remote);
        // RFC 4555 §3.3: from port 4500 no SA goes back.
        let is_behind = self.path.local.port() == NAT_T_PORT && path.local.port() != NAT_T_PORT;
        is_host && !is_inside && !is_behind && path.remote.port() != 0
    }

    /// The client is there, and its Child SAs go there too, at once or when it has shown it.
    fn relocate(&mut self, ctx: &mut Context<'_>, names: Names, path: Path, nat: Nat) {
        let is_checked = self.mobility().is_checked;
        let (from, was) = (self.path, self.ground_path());
        let Some(mobile) = self.mobile.as_deref_mut() else { return };
        if path.local.ip() != from.local.ip() {
            // It has found an address of ours that it is heard at.
            self.is_adrift = false;
        }
        (self.path, self.nat) = (path, nat);
        if is_checked && path.remote.ip() != was.0.remote.ip() {
            mobile.held = Some(Box::new(was));
            if path != from {
                mobile.pending = Pending::Check;
            }
        } else {
            mobile.held = None;
            mobile.pending = Pending::Nothing;
        }
        let is_held = mobile.held.is_some();
        if path != from {
            mobile.left = Some(Box::new(from));
            mobile.changes = mobile.changes.wrapping_add(1);
            // What was sent to where it was may not have arrived.
            transmit(ctx, path, self.channel.window.outstanding());
        }
        self.keep_mapping(ctx);
        if !is_held && was != (path, nat) {
            self.settle_children(ctx);
        }
        if from.remote != path.remote {
            ctx.event(Event::Moved { sa: self.label(names), from: from.remote });
        }
    }

    /// An authentic ESP packet has come from elsewhere. Whoever is behind a NAT may be found by it
    /// (`RFC 4555 §3.8`).
    pub(in crate::ike::sa::established) fn esp_from_elsewhere(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
    ) {
        let left = self.mobile.as_deref().and_then(|mobile: &Mobile| mobile.left.as_deref());
        // What comes from where it was before is only late.
        if path == self.path || left == Some(&path) || !self.nat.before_peer || !self.is_acceptable(path) {
            return;
        }
        // A client goes where it decides, and its gateway's NAT is all that it follows.
        if !self.peer.are_we_client || path.local == self.path.local {
            self.relocate(ctx, names, path, self.nat);
        }
    }

    /// Asks the client whether it hears what is sent to where it is.
    pub(super) fn ask_check(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), SealError> {
        let cookie: [u8; COOKIE2] = ctx.rng.array();
        let change = self.mobile.as_deref().map_or(0, |mobile| mobile.changes);
        self.ask(ctx, names, ExchangeType::Informational, |chain| {
            chain.notify(&NotifyContent::Cookie2(&cookie))
        })?;
        self.doing = Some(Box::new(Doing::Check { change, cookie }));
        Ok(())
    }

    /// It has answered.
    pub(in crate::ike::sa::established) fn check_answered(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        (change, cookie): (u32, [u8; COOKIE2]),
        effects: &mut Effects,
    ) {
        if !has_cookie(chain, &cookie) {
            return self.close(ctx, names, CloseReason::ProtocolError, effects);
        }
        // RFC 4555 §3.7: a request that went to several addresses says of none that it is right.
        let is_last = self.mobile.as_deref().is_some_and(|mobile| mobile.changes == change);
        if is_last && self.mobile.as_deref().is_some_and(|mobile| mobile.held.is_some()) {
            ctx.counters.checks_passed = ctx.counters.checks_passed.saturating_add(1);
            self.settle_children(ctx);
        }
    }
}

/// Whether an answer has the COOKIE2 of its request.
pub(super) fn has_cookie(chain: &Chain<'_>, cookie: &[u8]) -> bool {
    chain.notify(NotifyType::Cookie2).is_some_and(|notify| notify.data == cookie)
}

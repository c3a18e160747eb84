//! Tickets that we, as a gateway, give to our clients.
//!
//! # References
//!
//! `RFC 5723 §4.1`, `§6.1`, `§6.2`.

use crate::ike::io::{Output, UsedTicket};
use crate::ike::sa::Names;
use crate::ike::sa::context::Context;
use crate::ike::sa::established::Established;
use crate::ike::ticket::{Address, MAX_ADDRESSES, Origin, Ticket, TicketId};
use crate::ike::wire::{Chain, ChainWriter, EncodeError, NotifyContent, NotifyType, Opaque};
use crate::time::UnixTime;

/// What is answered to the wish for a ticket.
#[derive(Debug)]
pub(crate) enum Grant {
    /// A ticket.
    Given {
        /// How long it is good, in seconds.
        lifetime: u32,
        /// The ticket.
        ticket: Vec<u8>,
    },
    /// One can be had later.
    Later,
    /// None.
    Refused,
}

impl Grant {
    /// Appends the answer.
    pub(crate) fn write(&self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Given { lifetime, ticket } => {
                chain.notify(&NotifyContent::TicketLtOpaque { lifetime: *lifetime, ticket: Opaque(ticket) })
            }
            Self::Later => chain.plain(NotifyType::TicketAck),
            Self::Refused => chain.plain(NotifyType::TicketNack),
        }
    }
}

/// Beside certificates there may be no room for a ticket in a datagram, if the client does not take
/// fragments: it can have it later (`RFC 5723 §4.1`).
pub(crate) fn beside(grant: Option<Grant>, has_certificates: bool, takes_fragments: bool) -> Option<Grant> {
    match grant {
        Some(Grant::Given { .. }) if has_certificates && !takes_fragments => Some(Grant::Later),
        grant => grant,
    }
}

/// A ticket that its client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    id: TicketId,
    expires_at: UnixTime,
}

impl Established {
    /// What the client gets that asks for a ticket in a message with these payloads; `None` for one
    /// that does not ask, or is no client of ours.
    pub(crate) fn grant(&mut self, ctx: &mut Context<'_>, names: Names, chain: &Chain<'_>) -> Option<Grant> {
        chain.notify(NotifyType::TicketRequest)?;
        // RFC 5723 §4.1: only who has begun the session asks.
        if self.peer().are_we_client {
            return None;
        }
        let granted = self.make_ticket(ctx, names);
        let count = match granted {
            Some(_) => &mut ctx.counters.tickets_granted,
            None => &mut ctx.counters.tickets_refused,
        };
        *count = count.saturating_add(1);
        Some(granted.unwrap_or(Grant::Refused))
    }

    fn make_ticket(&mut self, ctx: &mut Context<'_>, names: Names) -> Option<Grant> {
        let peer = std::sync::Arc::clone(self.peer());
        let sealer = ctx.settings.tickets.as_ref().filter(|_| peer.profile().resumes)?;
        let now = ctx.now.wall.since_epoch();
        // RFC 5723 §6.2: never longer than the SA, nor than what it rests upon.
        let mut lifetime = sealer.lifetime();
        if let Some(expires_at) = self.expires_at() {
            lifetime = lifetime.min(expires_at.since(ctx.now.mono));
        }
        if let Some(valid_until) = peer.basis.valid_until {
            lifetime = lifetime.min(valid_until.since_epoch().saturating_sub(now));
        }
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let expires_at = UnixTime::from_epoch(
            std::time::Duration::from_secs(now.as_secs()) + std::time::Duration::from_secs(lifetime.into()),
        );
        if lifetime == 0 {
            return None;
        }
        let addresses = self.leases().iter().take(MAX_ADDRESSES).map(|lease| Address {
            pool: lease.pool.clone(),
            address: lease.address,
            lease: lease.number(),
        });
        let spi_r = names.spi_r?;
        let ticket = Ticket {
            origin: Origin {
                issuer: std::sync::Arc::clone(sealer.node()),
                run: ctx.tickets.used.run(),
                spis: (names.spi_i, spi_r),
            },
            issued_at: ctx.now.wall,
            expires_at,
            profile: peer.profile().name.clone(),
            basis: peer.basis.clone(),
            initiator: peer.proof.identity().clone(),
            responder: peer.local_id.clone(),
            suite: self.suite(),
            key: self.derivation().octets().clone(),
            addresses: addresses.collect(),
        };
        let (id, ticket) = sealer.seal(ctx.rng, &ticket)?;
        // The one before stays good until its end: the client may not hear of this one.
        self.issued = Some(Issued { id, expires_at });
        Some(Grant::Given { lifetime, ticket })
    }

    /// The session has ended by somebody's will, or has other keys: its ticket is void.
    pub(crate) fn void_ticket(&mut self, ctx: &mut Context<'_>) {
        let Some(Issued { id, expires_at }) = self.issued.take() else { return };
        if ctx.tickets.used.use_up(ctx.now.wall, id, expires_at) {
            ctx.out.push(Output::TicketUsed(Box::new(UsedTicket { id, expires_at, origin: None })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RES-03
    #[test]
    fn a_ticket_that_may_not_fit_comes_later() {
        let given = || Some(Grant::Given { lifetime: 1, ticket: vec![1] });
        let is_later = |grant| matches!(grant, Some(Grant::Later));

        assert!(is_later(beside(given(), true, false)));
        for (has_certificates, takes_fragments) in [(true, true), (false, true), (false, false)] {
            let grant = beside(given(), has_certificates, takes_fragments);
            assert!(matches!(grant, Some(Grant::Given { .. })), "{has_certificates} {takes_fragments}");
        }
        assert!(matches!(beside(Some(Grant::Refused), true, false), Some(Grant::Refused)));
        assert!(beside(None, true, false).is_none());
    }
}

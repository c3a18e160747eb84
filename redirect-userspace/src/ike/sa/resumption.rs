//! Going on with a session: what the gateway has from a ticket, and what it makes of it in IKE_AUTH.
//!
//! # References
//!
//! `RFC 5723 §4.3.3`, `§5`.

use std::sync::Arc;

use crate::ike::authn::{PeerAuthenticated, Refusal as AuthnRefusal};
use crate::ike::config::Profile;
use crate::ike::event::Failure;
use crate::ike::identity::Shown;
use crate::ike::io::UsedTicket;
use crate::ike::lease::Former;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::proof::{self, Claimant, Exchange, Introduction};
use crate::ike::ticket::{Origin, Ticket, TicketId, Unusable};
use crate::ike::wire::OriginalRole;

/// A ticket that was opened and found good.
#[derive(Debug)]
pub(crate) struct Resumption {
    pub(crate) id: TicketId,
    pub(crate) ticket: Ticket,
    /// The profile that it names.
    pub(crate) profile: Arc<Profile>,
}

impl Resumption {
    /// Believes the client, or says why not. From then on its ticket is used.
    pub(crate) fn accept<'a>(
        &self,
        ctx: &mut Context<'_>,
        exchange: &Exchange<'_>,
        claimant: &Claimant<'_>,
    ) -> Result<(PeerAuthenticated, Introduction<'a>), Refusal> {
        let Self { id, ticket, profile } = self;
        let refused = |refusal: AuthnRefusal| Refusal::new(refusal.failure(), refusal.to_string());
        let (proof, reading) =
            proof::confirm_resumed(exchange, OriginalRole::Initiator, profile, claimant, &ticket.initiator)
                .map_err(refused)?;
        // RFC 5723 §4.3.3: it is who it was, under the name that it has proved then.
        let proof = match &ticket.basis.eap_identity {
            Some(name) => proof.known_as(name, ticket.basis.valid_until),
            None => proof,
        };
        if let Some(asked) = claimant.asked().filter(|asked| **asked != ticket.responder) {
            let detail = format!("asks for {}, its ticket is of {}", Shown(asked), Shown(&ticket.responder));
            return Err(Refusal::new(Failure::OtherIdentity, detail));
        }
        // RFC 5723 §4.3.1: it is used when the SA is made, and not before.
        if !ctx.tickets.used.use_up(ctx.now.wall, *id, ticket.expires_at) {
            return Err(Refusal::new(Unusable::Used.failure(), Unusable::Used.to_string()));
        }
        let side = OriginalRole::Responder;
        Ok((proof, Introduction::resumed(exchange, side, ticket.responder.clone(), reading)))
    }

    /// What others are to know of it.
    pub(crate) fn used(&self) -> UsedTicket {
        let Ticket { origin, expires_at, .. } = &self.ticket;
        UsedTicket { id: self.id, expires_at: *expires_at, origin: Some(origin.clone()) }
    }

    /// Addresses that the client had. Where, and in the run in which, it had them from us, their
    /// leases can be taken over.
    pub(crate) fn former(&self, ctx: &Context<'_>) -> Vec<Former> {
        let is_ours = is_ours(ctx, &self.ticket.origin);
        let all = self.ticket.addresses.iter();
        all.map(|had| Former { address: had.address, lease: is_ours.then_some(had.lease) }).collect()
    }
}

/// Whether a session was begun on this node, since its daemon was started.
pub(crate) fn is_ours(ctx: &Context<'_>, origin: &Origin) -> bool {
    let node = ctx.settings.tickets.as_ref().map(|sealer| sealer.node());
    node == Some(&origin.issuer) && ctx.tickets.used.run() == origin.run
}

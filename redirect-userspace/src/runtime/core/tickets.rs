//! Used tickets, between the gateway and the cluster: neither knows the other's words.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::clb::{self, TicketOrigin};
use crate::cluster::Input;
use crate::ike::UsedTicket;
use crate::ike::ticket::{Origin, TicketId};
use crate::ike::wire::{SpiI, SpiR};
use crate::time::UnixTime;

use super::Core;

impl Core {
    /// The other members are to know which tickets were used here.
    pub(super) fn share(&mut self, used: &[Arc<UsedTicket>]) -> Result<()> {
        used.iter().try_for_each(|ticket| self.step(Input::TicketUsed(to_clb(ticket))))
    }
}

fn to_clb(ticket: &UsedTicket) -> clb::UsedTicket {
    clb::UsedTicket {
        id: ticket.id.0,
        expires_at: whole_seconds(ticket.expires_at),
        // An issuer whose name is none is no member.
        origin: ticket.origin.as_ref().and_then(|origin| {
            let issuer = origin.issuer.parse().ok()?;
            let (initiator, responder) = origin.spis;
            Some(TicketOrigin { issuer, run: origin.run, spis: (initiator.0, responder.0) })
        }),
    }
}

/// What another member has said, for the gateway.
pub(super) fn to_ike(ticket: &clb::UsedTicket) -> UsedTicket {
    UsedTicket {
        id: TicketId(ticket.id),
        expires_at: ticket.expires_at,
        origin: ticket.origin.as_ref().map(|origin| Origin {
            issuer: origin.issuer.as_str().into(),
            run: origin.run,
            spis: (SpiI(origin.spis.0), SpiR(origin.spis.1)),
        }),
    }
}

/// Not before the ticket expires.
fn whole_seconds(time: UnixTime) -> UnixTime {
    let time = time.since_epoch();
    let more = u64::from(time.subsec_nanos() > 0);
    UnixTime::from_epoch(Duration::from_secs(time.as_secs().saturating_add(more)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn ticket(nanos: u32) -> UsedTicket {
        UsedTicket {
            id: TicketId([3; 16]),
            expires_at: UnixTime::from_epoch(Duration::new(1_000, nanos)),
            origin: Some(Origin {
                issuer: "gw1".into(),
                run: 7,
                spis: (SpiI(NonZeroU64::MIN), SpiR(NonZeroU64::MAX)),
            }),
        }
    }

    #[test]
    fn a_ticket_is_the_same_on_the_other_side_and_lives_no_shorter() {
        assert_eq!(to_ike(&to_clb(&ticket(0))), ticket(0));
        let later = UnixTime::from_epoch(Duration::from_secs(1_001));
        assert_eq!(to_ike(&to_clb(&ticket(1))), UsedTicket { expires_at: later, ..ticket(0) });
    }

    #[test]
    fn a_ticket_of_nobody_who_can_be_a_member_is_used_all_the_same() {
        let mut odd = ticket(0);
        odd.origin.as_mut().unwrap().issuer = "not a name".into();

        assert_eq!(to_clb(&odd).origin, None);
        assert_eq!(to_clb(&odd).id, [3; 16]);
    }
}

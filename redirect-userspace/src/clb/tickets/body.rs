//! How used tickets are written in a frame.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{Source, TicketLog, TicketOrigin, UsedTicket};
use crate::clb::wire::{read_text, write_text};
use crate::codec::{DecodeError, Reader, Writer};
use crate::time::UnixTime;

/// The flag of a ticket with an origin.
const HAS_ORIGIN: u8 = 1;
/// Octets of a ticket without one.
const LEAST: usize = 16 + 8 + 1;

/// Writes tickets. The caller sees to it that they fit.
pub(crate) fn write_tickets(body: &mut Writer, tickets: &[UsedTicket]) {
    body.u16(u16::try_from(tickets.len()).unwrap_or(u16::MAX));
    tickets.iter().for_each(|ticket| write(body, ticket));
}

fn write(body: &mut Writer, ticket: &UsedTicket) {
    body.octets(&ticket.id);
    body.u64(ticket.expires_at.since_epoch().as_secs());
    body.u8(if ticket.origin.is_some() { HAS_ORIGIN } else { 0 });
    if let Some(TicketOrigin { issuer, run, spis }) = &ticket.origin {
        write_text(body, issuer.as_str());
        body.u64(*run);
        body.u64(spis.0.get());
        body.u64(spis.1.get());
    }
}

fn length(ticket: &UsedTicket) -> usize {
    LEAST + ticket.origin.as_ref().map_or(0, |origin| 1 + origin.issuer.as_str().len() + 24)
}

/// Reads tickets.
///
/// # Errors
///
/// They are none.
pub(crate) fn read_tickets(reader: &mut Reader<'_>) -> Result<Vec<UsedTicket>, DecodeError> {
    let count = usize::from(reader.u16("tickets")?);
    let least = count * LEAST;
    if least > reader.remaining() {
        return Err(DecodeError::Truncated { what: "tickets", need: least, have: reader.remaining() });
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read(reader: &mut Reader<'_>) -> Result<UsedTicket, DecodeError> {
    let id = reader.array("ticket")?;
    let expires_at = UnixTime::from_epoch(Duration::from_secs(reader.u64("ticket's expiry")?));
    // Other flags are not looked at.
    let origin = if reader.u8("ticket's flags")? & HAS_ORIGIN == 0 {
        None
    } else {
        let issuer = read_text(reader, "ticket's issuer")?;
        let run = reader.u64("run of the issuer")?;
        Some(TicketOrigin { issuer, run, spis: (read_spi(reader)?, read_spi(reader)?) })
    };
    Ok(UsedTicket { id, expires_at, origin })
}

fn read_spi(reader: &mut Reader<'_>) -> Result<NonZeroU64, DecodeError> {
    let wrong = DecodeError::Value { what: "SPI", value: 0 };
    NonZeroU64::new(reader.u64("SPI")?).ok_or(wrong)
}

impl TicketLog {
    /// As many of those between two numbers as fit in so many octets, and the number after the last one
    /// that was looked at. `is_wanted` leaves some out.
    pub(super) fn batch(
        &self,
        (from, to): (u64, u64),
        octets: usize,
        is_wanted: impl Fn(Source) -> bool,
    ) -> (Vec<UsedTicket>, u64) {
        let (mut tickets, mut room, mut next) = (Vec::new(), octets.saturating_sub(2), from);
        for (number, ticket, source) in self.between(from, to).take(MOST_LOOKED_AT) {
            if is_wanted(source) {
                match room.checked_sub(length(ticket)) {
                    Some(left) => room = left,
                    None => return (tickets, number),
                }
                tickets.push(ticket.clone());
            }
            next = number + 1;
        }
        let is_over = self.between(next, to).next().is_none();
        (tickets, if is_over { to } else { next })
    }
}

/// Tickets that are looked at for one frame, of which a peer may want none.
const MOST_LOOKED_AT: usize = 1_024;

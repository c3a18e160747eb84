//! Two endpoints, message by message.
//!
//! Letters with numbers name cases of the conformance table (`COL-02`).

mod auth;
mod certificates;
mod child;
mod client;
mod collisions;
mod eap;
mod exchanges;
mod followup;
mod further;
mod global;
mod hostile;
mod init;
mod limits;
mod liveness;
mod loss;
mod mobike;
mod nat;
mod ppk;
mod redirect;
mod rekey;
mod resume;
mod told;
mod worn;

use crate::crypto::Provider;
use crate::ike::wire::{
    ChainWriter, Direction, EncodeError, ExchangeType, Header, MessageId, OriginalRole, Version,
};
use crate::ike::{Command, Event, Failure, SaSnapshot};
use crate::testing::pair::{End, Flying, Pair, Plan};
use crate::testing::plain::Plain;

/// Both ends.
const ENDS: [End; 2] = [End::Client, End::Gateway];

/// A client and a gateway whose messages can be read and made up.
fn open() -> Plan {
    Plan { provider: Provider::Null, ..Plan::shared_key() }
}

/// The same, with the SA up.
fn opened() -> Pair {
    let mut pair = open().build();
    pair.establish();
    pair
}

/// The one SA of one of them.
fn sole(pair: &Pair, end: End) -> SaSnapshot {
    let mut sas = pair.sas(end);
    assert_eq!(sas.len(), 1, "one SA: {sas:?}");
    sas.remove(0)
}

fn rekey_child(pair: &mut Pair, end: End) {
    let id = sole(pair, end).id;
    pair.command(end, Command::RekeyChildren(id));
}

fn rekey_ike(pair: &mut Pair, end: End) {
    let id = sole(pair, end).id;
    pair.command(end, Command::RekeyIke(id));
}

/// A message from one of them over their one SA, as only a test would have it.
fn made_up(
    pair: &Pair,
    from: End,
    exchange: ExchangeType,
    (direction, id): (Direction, u32),
    payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
) -> Flying {
    let sa = sole(pair, from.other());
    // Who began the SA in use is seen from whose messages have the flag.
    let sender = match from {
        End::Client => OriginalRole::Initiator,
        End::Gateway => OriginalRole::Responder,
    };
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange,
        sender,
        direction,
        message_id: MessageId(id),
    };
    let path = crate::ike::Path { local: sa.local, remote: sa.remote };
    Flying { to: from.other(), path, octets: Plain::new(header, payloads).seal() }
}

/// What one of them has refused to the other's Child SAs or to the other.
fn failures(events: &[Event]) -> Vec<Failure> {
    let failure = |event: &Event| {
        if let Event::Refused { failure, .. }
        | Event::ChildRefused { failure, .. }
        | Event::ConnectFailed { failure, .. } = event
        {
            Some(*failure)
        } else {
            None
        }
    };
    events.iter().filter_map(failure).collect()
}

/// Both agree, have one IKE SA and one Child SA, and go on to work.
fn assert_one_of_each(pair: &mut Pair, what: &str) {
    pair.assert_in_step();
    for end in ENDS {
        assert_eq!(sole(pair, end).children.len(), 1, "{what}: {end:?}");
        assert_eq!(pair.side(end).endpoint.counts().established, 1, "{what}: {end:?}");
    }
    assert_eq!(pair.gateway.plane.len(), 1, "{what}");
    assert!(pair.gateway.outbound.is_some(), "{what}");
    // Whatever has come of it is of use.
    for end in ENDS {
        rekey_child(pair, end);
        pair.settle();
        rekey_ike(pair, end);
        pair.settle();
        pair.assert_in_step();
    }
    assert_eq!(pair.gateway.plane.len(), 1, "{what}, later");
}

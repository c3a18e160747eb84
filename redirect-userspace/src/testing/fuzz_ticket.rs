//! The body of the fuzz target for tickets, which tests call as well.

use std::time::Duration;

use crate::ike::ticket::{Sealer, Ticket, TicketKey, Unusable, decode_content, encode_content};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::UnixTime;

/// Any octets as a ticket, and as the content of one that somebody with the cluster's keys has made.
///
/// # Panics
///
/// A promise is broken.
pub fn ticket(octets: &[u8]) {
    let now = UnixTime::from_epoch(Duration::from_secs(1_800_000_000));
    let Ok(key) = TicketKey::new(&Secret::new(vec![1; 32])) else { return };
    let sealer = Sealer::new("gw1", "group1", Some(key), Vec::new());
    assert!(sealer.open(now, octets).is_err(), "a ticket out of nothing");
    let Ok(content) = decode_content(octets) else { return };
    let mut written = Vec::new();
    if encode_content(&content, &mut written) {
        let again = decode_content(&written);
        assert_eq!(again.as_ref(), Ok(&content), "the content comes back");
    }
    whole(&sealer, now, &content);
}

/// What fits into a ticket comes back out of it, or its time is not now.
fn whole(sealer: &Sealer, now: UnixTime, content: &Ticket) {
    let Some((id, octets)) = sealer.seal(&mut Rng::from_number(1), content) else { return };
    match sealer.open(now, &octets) {
        Ok((opened, again)) => assert_eq!((opened, &again), (id, content)),
        Err(unusable) => {
            assert!(matches!(unusable, Unusable::Expired { .. } | Unusable::Early), "{unusable}");
        }
    }
}

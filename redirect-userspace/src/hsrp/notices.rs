//! What is told about packets that are not as they should be, without flooding the journal.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::hsrp::{Discard, Event};
use crate::time::Instant;

/// Counters of a group, and when each thing was said last.
#[derive(Debug, Default)]
pub(super) struct Notices {
    discards: BTreeMap<Discard, Count>,
    duplicate: Option<Instant>,
    different_vip: Option<Instant>,
}

#[derive(Debug, Default)]
struct Count {
    total: u64,
    unsaid: u64,
    said: Option<Instant>,
}

impl Notices {
    /// Counts a packet that is not used. Gives what is to be said about it.
    pub(super) fn discard(&mut self, now: Instant, source: IpAddr, discard: Discard) -> Option<Event> {
        let count = self.discards.entry(discard).or_default();
        count.total = count.total.saturating_add(1);
        count.unsaid = count.unsaid.saturating_add(1);
        match discard {
            // Other groups and Cisco's advertisements belong on a link.
            Discard::OtherGroup | Discard::Advertisement => None,
            Discard::Own => {
                is_time(&mut self.duplicate, now).then_some(Event::DuplicateAddress { address: source })
            }
            Discard::AuthenticationScheme
            | Discard::AuthenticationValue
            | Discard::Malformed
            | Discard::OffSubnet
            | Discard::OtherVersion
            | Discard::OtherFamily => is_time(&mut count.said, now).then(|| {
                let count = std::mem::take(&mut count.unsaid);
                Event::Discarded { source, discard, count }
            }),
        }
    }

    /// Somebody has another virtual IP. Gives what is to be said about it.
    pub(super) fn different_vip(&mut self, now: Instant, source: IpAddr, theirs: IpAddr) -> Option<Event> {
        is_time(&mut self.different_vip, now).then_some(Event::DifferentVip { source, theirs })
    }

    /// Packets that were not used, by reason.
    pub(super) fn discards(&self) -> BTreeMap<Discard, u64> {
        self.discards.iter().map(|(discard, count)| (*discard, count.total)).collect()
    }
}

/// Whether a thing that was said at `said` may be said again; if so, it is.
fn is_time(said: &mut Option<Instant>, now: Instant) -> bool {
    if said.is_some_and(|said| now.since(said) < SILENCE) {
        return false;
    }
    *said = Some(now);
    true
}

/// How long nothing is said about a thing again.
const SILENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_in_thirty_seconds_with_its_count() {
        let mut notices = Notices::default();
        let source: IpAddr = "10.0.0.7".parse().unwrap();
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        let said = |discard, count| Some(Event::Discarded { source, discard, count });

        assert_eq!(notices.discard(at(0), source, Discard::Malformed), said(Discard::Malformed, 1));
        assert_eq!(notices.discard(at(1), source, Discard::Malformed), None);
        assert_eq!(notices.discard(at(1), source, Discard::OffSubnet), said(Discard::OffSubnet, 1));
        assert_eq!(notices.discard(at(29), source, Discard::Malformed), None);
        assert_eq!(notices.discard(at(30), source, Discard::Malformed), said(Discard::Malformed, 3));
        assert_eq!(notices.discard(at(30), source, Discard::OtherGroup), None);
        assert_eq!(
            notices.discards(),
            BTreeMap::from([(Discard::Malformed, 4), (Discard::OffSubnet, 1), (Discard::OtherGroup, 1)])
        );
    }
}

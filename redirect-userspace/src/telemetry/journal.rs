//! A bounded ring of the latest events for `show events`.
//!
//! # Invariants
//!
//! - At most [`CAPACITY`] entries, whatever happens how often.
//! - A flood of one kind of event does not push out the others: the entry that gives way is the
//!   oldest of the kind that has most.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Event;
use crate::control::{EventEntry, EventLog};
use crate::time::UnixTime;

/// Most entries.
pub const CAPACITY: usize = 256;

/// The latest events.
#[derive(Debug, Default)]
pub struct Journal {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    recorded: u64,
    entries: VecDeque<Entry>,
    /// How many entries there are of each name.
    names: BTreeMap<&'static str, usize>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    at: UnixTime,
    count: u64,
    event: Event,
}

impl Journal {
    /// Enters an event. The same event several times in a row is one entry with a count, which
    /// moves on in time and sequence so that a follower sees it again.
    pub fn record(&self, at: UnixTime, event: &Event) {
        let mut ring = self.lock();
        ring.recorded += 1;
        let sequence = ring.recorded;
        if let Some(last) = ring.entries.back_mut().filter(|last| last.event == *event) {
            last.sequence = sequence;
            last.at = at;
            last.count += 1;
            return;
        }
        if ring.entries.len() >= CAPACITY {
            ring.make_room();
        }
        *ring.names.entry(event.name()).or_default() += 1;
        ring.entries.push_back(Entry { sequence, at, count: 1, event: event.clone() });
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // No invariant spans the steps of a writer, so what a panicking one left is still a journal.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn make_room(&mut self) {
        let commonest = self.names.iter().max_by_key(|(_, entries)| **entries).map(|(name, _)| *name);
        let oldest = self.entries.iter().position(|entry| Some(entry.event.name()) == commonest);
        if let Some(entry) = oldest.and_then(|oldest| self.entries.remove(oldest))
            && let Some(entries) = self.names.get_mut(entry.event.name())
        {
            *entries = entries.saturating_sub(1);
        }
    }
}

impl EventLog for Journal {
    fn entries(&self, since: Option<u64>) -> Vec<EventEntry> {
        self.lock()
            .entries
            .iter()
            .filter(|entry| since.is_none_or(|since| entry.sequence > since))
            .map(|entry| EventEntry {
                sequence: entry.sequence,
                time: entry.at.rfc3339(),
                severity: entry.event.severity().name().to_owned(),
                event: entry.event.name().to_owned(),
                text: entry.event.to_string(),
                fields: entry
                    .event
                    .fields()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
                count: entry.count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{DownReason, fixtures};

    #[test]
    fn entries_come_oldest_first_with_time_and_details() {
        let journal = Journal::default();

        journal.record(at(1_769_903_999_000), &Event::Started { version: "1.2.3" });
        journal.record(at(1_769_904_000_250), &Event::TablePublished { generation: 1, moved: 1024 });

        let entries = journal.entries(None);
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[1],
            EventEntry {
                sequence: 2,
                time: "2026-02-01T00:00:00.250Z".to_owned(),
                severity: "info".to_owned(),
                event: "table-published".to_owned(),
                text: "table 1 is in force, 1024 slots moved".to_owned(),
                fields: BTreeMap::from([
                    ("generation".to_owned(), "1".to_owned()),
                    ("moved".to_owned(), "1024".to_owned()),
                ]),
                count: 1,
            }
        );
        assert_eq!(entries[0].time, "2026-01-31T23:59:59.000Z");
    }

    #[test]
    fn since_leaves_out_what_was_seen() {
        let journal = Journal::default();
        for event in fixtures::events() {
            journal.record(UnixTime::EPOCH, &event);
        }
        let all = journal.entries(None);

        assert_eq!(journal.entries(Some(0)), all);
        assert_eq!(journal.entries(Some(3)), all[3..]);
        assert_eq!(journal.entries(Some(u64::MAX)), []);
    }

    #[test]
    fn the_same_event_in_a_row_is_one_entry_that_followers_see_again() {
        let journal = Journal::default();
        journal.record(at(1000), &Event::Armed);
        journal.record(at(2000), &Event::Reloaded);
        journal.record(at(3000), &Event::Reloaded);

        let entries = journal.entries(Some(2));

        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].sequence, entries[0].count), (3, 2));
        assert_eq!(entries[0].time, "1970-01-01T00:00:03.000Z");
    }

    #[test]
    fn a_flapping_member_does_not_push_out_the_rest() {
        let journal = Journal::default();
        journal.record(UnixTime::EPOCH, &Event::Started { version: "1.2.3" });
        journal.record(UnixTime::EPOCH, &Event::Armed);
        let gateway = fixtures::gateway("gw2");

        for _ in 0..10 * CAPACITY {
            journal.record(UnixTime::EPOCH, &Event::MemberUp { gateway: gateway.clone() });
            let down = Event::MemberDown { gateway: gateway.clone(), reason: DownReason::Silent };
            journal.record(UnixTime::EPOCH, &down);
        }

        let entries = journal.entries(None);
        assert_eq!(entries.len(), CAPACITY);
        assert_eq!(entries[0].event, "started");
        assert_eq!(entries[1].event, "armed");
        assert_eq!(entries[CAPACITY - 1].sequence, 2 + 20 * 256);
        assert!(entries.is_sorted_by_key(|entry| entry.sequence));
    }

    fn at(millis: u64) -> UnixTime {
        UnixTime::from_epoch(Duration::from_millis(millis))
    }
}

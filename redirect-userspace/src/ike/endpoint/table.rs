//! The SAs and where to find them: by our SPI, by their number, by what half-open ones were begun
//! with, by who the peer is, by when they have something to do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
#[cfg(any(test, feature = "testing"))]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::sources::Sources;
use crate::ike::io::SaId;
use crate::ike::sa::{IkeSa, State};
use crate::ike::wire::SpiI;
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// What a half-open SA was begun with.
pub(super) type Beginning = (SpiI, SocketAddr);

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<u64, Entry>,
    /// Those of a number: one, and what is left of those that it has been rekeyed from.
    numbers: BTreeSet<(SaId, u64)>,
    /// Half-open SAs with us as responder.
    beginnings: HashMap<Beginning, u64>,
    /// Where those come from.
    pub(super) sources: Sources,
    /// The SAs with a peer, in order: nearly always one.
    holders: BTreeMap<Arc<[u8]>, Vec<u64>>,
    deadlines: BTreeSet<(Instant, u64)>,
    half_open: usize,
    late: Late,
}

/// Requests whose senders have gone on to IKE_AUTH: what comes of them is late.
#[derive(Debug, Default)]
struct Late {
    digests: HashMap<Beginning, u64>,
    /// Until when they are remembered.
    until: VecDeque<(Instant, Beginning)>,
}

impl Late {
    fn forget(&mut self, now: Instant) {
        while let Some((until, beginning)) = self.until.front()
            && (*until <= now || self.until.len() > MAX_LATE)
        {
            self.digests.remove(beginning);
            self.until.pop_front();
        }
    }

    fn add(&mut self, now: Instant, beginning: Beginning, digest: u64) {
        self.digests.insert(beginning, digest);
        self.until.push_back((now + LATE, beginning));
        self.forget(now);
    }
}

/// How long a request may be under way after a repetition of it was answered.
const LATE: Duration = Duration::from_secs(10);
/// Most requests that are remembered.
const MAX_LATE: usize = 65_536;

#[derive(Debug, Default)]
struct Entry {
    /// Not there while the SA is stepped.
    sa: Option<Box<IkeSa>>,
    number: Option<SaId>,
    deadline: Option<Instant>,
    /// What it was begun with, and the digest of the request.
    beginning: Option<(Beginning, u64)>,
    holder: Option<Arc<[u8]>>,
    is_half_open: bool,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn half_open(&self) -> usize {
        self.half_open
    }

    pub(super) fn contains(&self, spi: u64) -> bool {
        self.entries.contains_key(&spi)
    }

    pub(super) fn get(&self, spi: u64) -> Option<&IkeSa> {
        self.entries.get(&spi)?.sa.as_deref()
    }

    /// The SA with this number; not what is left of one that it has been rekeyed from.
    pub(super) fn numbered(&self, number: SaId) -> Option<&IkeSa> {
        let mut all = self.numbers.range((number, 0)..=(number, u64::MAX));
        all.find_map(|(_, spi)| self.get(*spi).filter(|sa| !sa.is_remnant()))
    }

    /// The half-open SA that began with this.
    pub(super) fn begun(&self, beginning: &Beginning) -> Option<u64> {
        self.beginnings.get(beginning).copied()
    }

    /// Adds an SA; one of the same SPI, which chance does not make, would be overwritten.
    pub(super) fn insert(&mut self, now: Now, spi: u64, sa: Box<IkeSa>) {
        let entry = self.entries.entry(spi).or_default();
        if let Some(old) = entry.number.replace(sa.names.id) {
            self.numbers.remove(&(old, spi));
        }
        self.numbers.insert((sa.names.id, spi));
        if sa.is_half_open() && !entry.is_half_open {
            entry.is_half_open = true;
            self.half_open += 1;
        }
        self.put_back(now, spi, sa);
    }

    /// Whether a request is a late copy of one whose sender has gone on.
    pub(super) fn is_late(&mut self, now: Now, beginning: &Beginning, digest: u64) -> bool {
        self.late.forget(now.mono);
        self.late.digests.get(beginning) == Some(&digest)
    }

    /// Remembers what a half-open SA was begun with.
    pub(super) fn begin(&mut self, spi: u64, beginning: Beginning, digest: u64) {
        if let Some(entry) = self.entries.get_mut(&spi) {
            entry.beginning = Some((beginning, digest));
            self.beginnings.insert(beginning, spi);
            self.sources.begin(beginning.1.ip());
        }
    }

    /// Takes an SA out for a step.
    pub(super) fn take(&mut self, spi: u64) -> Option<Box<IkeSa>> {
        self.entries.get_mut(&spi)?.sa.take()
    }

    /// Puts it back after the step.
    pub(super) fn put_back(&mut self, now: Now, spi: u64, sa: Box<IkeSa>) {
        let Some(entry) = self.entries.get_mut(&spi) else { return };
        let deadline = sa.deadline().map(|deadline| deadline.at);
        if deadline != entry.deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, spi));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, spi));
            }
            entry.deadline = deadline;
        }
        let is_over = entry.is_half_open && !sa.is_half_open();
        let has_gone_on = !matches!(sa.state, State::Answered(_));
        let has_come_up = is_over && matches!(sa.state, State::Established(_));
        entry.sa = Some(sa);
        if let Some((beginning, digest)) = entry.beginning
            && has_gone_on
            && self.beginnings.get(&beginning) == Some(&spi)
        {
            self.beginnings.remove(&beginning);
            self.late.add(now.mono, beginning, digest);
        }
        if has_come_up && let Some(((_, source), _)) = entry.beginning {
            self.sources.prove(now, source.ip());
        }
        if is_over {
            self.opened(spi);
        }
    }

    /// An SA is not half-open any more.
    fn opened(&mut self, spi: u64) {
        let Some(entry) = self.entries.get_mut(&spi) else { return };
        if std::mem::replace(&mut entry.is_half_open, false) {
            self.half_open = self.half_open.saturating_sub(1);
        }
        let beginning = entry.beginning.take();
        self.forget_beginning(spi, beginning);
    }

    fn forget_beginning(&mut self, spi: u64, beginning: Option<(Beginning, u64)>) {
        let Some((beginning, _)) = beginning else { return };
        if self.beginnings.get(&beginning) == Some(&spi) {
            self.beginnings.remove(&beginning);
        }
        self.sources.end(beginning.1.ip());
    }

    /// An SA has ended.
    pub(super) fn remove(&mut self, spi: u64) {
        let Some(entry) = self.entries.remove(&spi) else { return };
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, spi));
        }
        if let Some(number) = entry.number {
            self.numbers.remove(&(number, spi));
        }
        if entry.is_half_open {
            self.half_open = self.half_open.saturating_sub(1);
        }
        self.forget_beginning(spi, entry.beginning);
        if let Some(holder) = entry.holder
            && let Some(spis) = self.holders.get_mut(&holder)
        {
            spis.retain(|other| *other != spi);
            if spis.is_empty() {
                self.holders.remove(&holder);
            }
        }
    }

    /// The peer of an SA is this one. The SA need not be there yet.
    pub(super) fn register(&mut self, spi: u64, holder: Arc<[u8]>) {
        let entry = self.entries.entry(spi).or_default();
        if entry.holder.is_none() {
            entry.holder = Some(Arc::clone(&holder));
            let spis = self.holders.entry(holder).or_default();
            if let Err(place) = spis.binary_search(&spi) {
                spis.reserve_exact(1);
                spis.insert(place, spi);
            }
        }
    }

    /// Who the peer of an SA is.
    pub(super) fn holder(&self, spi: u64) -> Option<Arc<[u8]>> {
        self.entries.get(&spi)?.holder.clone()
    }

    /// The SAs with a peer.
    pub(super) fn of_holder(&self, holder: &Arc<[u8]>) -> Vec<u64> {
        self.holders.get(holder).cloned().unwrap_or_default()
    }

    /// An SA that has something to do by now.
    pub(super) fn due(&self, now: Now) -> Option<u64> {
        let (at, spi) = self.deadlines.first()?;
        (*at <= now.mono).then_some(*spi)
    }

    /// When the next SA has something to do.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let (_, spi) = self.deadlines.first()?;
        self.get(*spi)?.deadline()
    }

    /// Checks that everything that is kept twice is the same.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn audit(&self) {
        let mut deadlines = BTreeSet::new();
        let mut sources: Vec<IpAddr> = Vec::new();
        let mut holders: BTreeMap<Arc<[u8]>, Vec<u64>> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        let mut half_open = 0;
        for (spi, entry) in &self.entries {
            let sa = entry.sa.as_deref();
            assert!(sa.is_some(), "an entry without an SA");
            assert_eq!(sa.map(|sa| sa.names.ours()), Some(*spi));
            assert_eq!(sa.map(|sa| sa.names.id), entry.number);
            numbers.extend(entry.number.map(|number| (number, *spi)));
            assert_eq!(sa.map(IkeSa::is_half_open), Some(entry.is_half_open));
            half_open += usize::from(entry.is_half_open);
            let deadline = sa.and_then(IkeSa::deadline).map(|deadline| deadline.at);
            assert_eq!(deadline, entry.deadline, "a deadline that the table does not know");
            deadlines.extend(deadline.map(|at| (at, *spi)));
            if let Some(((_, source), _)) = entry.beginning {
                assert!(entry.is_half_open);
                sources.push(source.ip());
            }
            if let Some(holder) = &entry.holder {
                holders.entry(Arc::clone(holder)).or_default().push(*spi);
            }
        }
        holders.values_mut().for_each(|spis| spis.sort_unstable());
        assert_eq!((half_open, &deadlines), (self.half_open, &self.deadlines));
        assert_eq!((holders, numbers), (self.holders.clone(), self.numbers.clone()));
        self.sources.audit(sources.into_iter());
        for (beginning, spi) in &self.beginnings {
            let entry = self.entries.get(spi).and_then(|entry| entry.beginning);
            assert_eq!(entry.map(|(beginning, _)| beginning), Some(*beginning));
        }
    }

    /// Every SPI of ours, in order.
    pub(super) fn spis(&self) -> Vec<u64> {
        let mut spis: Vec<u64> = self.entries.keys().copied().collect();
        spis.sort_unstable();
        spis
    }

    /// The SAs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &IkeSa> {
        self.entries.values().filter_map(|entry| entry.sa.as_deref())
    }
}

//! All connections on their way, and where each is found: by its number, by its name, by its SAs, by
//! when it has something to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Dial;
use crate::ike::config::{Connection, Name};
use crate::ike::io::{Request, SaId};
use crate::ike::trap::TrapId;
use crate::time::{Instant, Now};

/// The number of a dial. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialId(pub(crate) u64);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    dials: BTreeMap<DialId, Entry>,
    by_sa: HashMap<SaId, DialId>,
    by_name: BTreeSet<(Name, DialId)>,
    deadlines: BTreeSet<(Instant, DialId)>,
    /// Those whose Child SAs are being moved, by the SA that they are moved to.
    moving: BTreeMap<SaId, DialId>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    /// Not there while it is told something.
    dial: Option<Box<Dial>>,
    sas: Vec<SaId>,
    deadline: Option<Instant>,
    moves_to: Option<SaId>,
}

impl Dials {
    pub(crate) fn len(&self) -> usize {
        self.dials.len()
    }

    /// A new one.
    pub(crate) fn add(&mut self, now: Now, connection: Arc<Connection>) -> DialId {
        self.last += 1;
        let id = DialId(self.last);
        self.by_name.insert((connection.profile.name.clone(), id));
        let entry = Entry { dial: None, sas: Vec::new(), deadline: None, moves_to: None };
        self.dials.insert(id, entry);
        self.put_back(id, Box::new(Dial::new(id, now, connection)));
        id
    }

    fn of_name<'a>(&'a self, name: &Name) -> impl Iterator<Item = (DialId, &'a Entry)> {
        let first = (name.clone(), DialId(0));
        let last = (name.clone(), DialId(u64::MAX));
        let all = self.by_name.range(first..=last);
        all.filter_map(|(_, id)| Some((*id, self.dials.get(id)?)))
    }

    /// The one of this connection that waits for its next round.
    pub(crate) fn waiting(&self, name: &Name) -> Option<DialId> {
        let is_waiting = |entry: &Entry| entry.dial.as_deref().is_some_and(Dial::is_waiting);
        self.of_name(name).find(|(_, entry)| is_waiting(entry)).map(|(id, _)| id)
    }

    /// The one whose next round a packet in this trap begins, and its connection.
    pub(crate) fn watching(&self, trap: TrapId) -> Option<(DialId, Name)> {
        let id = DialId(trap.0);
        let dial = self.dials.get(&id)?.dial.as_deref().filter(|dial| dial.is_watching())?;
        Some((id, dial.connection().profile.name.clone()))
    }

    /// Whether there is one of this connection whose packets are watched for.
    pub(crate) fn has_trap(&self, name: &Name) -> bool {
        self.of_name(name).any(|(_, entry)| entry.dial.as_deref().is_some_and(Dial::has_trap))
    }

    /// Whether there is one of this connection.
    pub(crate) fn knows(&self, name: &Name) -> bool {
        self.of_name(name).next().is_some()
    }

    /// All of them, and their connections.
    pub(crate) fn all(&self) -> Vec<(DialId, Name)> {
        self.by_name.iter().map(|(name, id)| (*id, name.clone())).collect()
    }

    /// The SAs that were begun for this connection.
    pub(crate) fn sas_of(&self, name: &Name) -> impl Iterator<Item = SaId> {
        self.of_name(name).flat_map(|(_, entry)| entry.sas.iter().copied())
    }

    /// The one that an SA was begun for.
    pub(crate) fn of_sa(&self, sa: SaId) -> Option<DialId> {
        self.by_sa.get(&sa).copied()
    }

    /// The one that has asked, if the answer is to its last question.
    pub(crate) const fn of_request(request: Request) -> (DialId, u64) {
        (DialId(request.dial), request.turn)
    }

    /// Takes one out, to tell it something.
    pub(crate) fn take(&mut self, id: DialId) -> Option<Box<Dial>> {
        self.dials.get_mut(&id)?.dial.take()
    }

    /// Puts it back, unless it is over.
    pub(crate) fn put_back(&mut self, id: DialId, dial: Box<Dial>) {
        let Some(entry) = self.dials.get_mut(&id) else { return };
        for sa in entry.sas.drain(..) {
            self.by_sa.remove(&sa);
        }
        if let Some(at) = entry.deadline.take() {
            self.deadlines.remove(&(at, id));
        }
        if let Some(to) = entry.moves_to.take() {
            self.moving.remove(&to);
        }
        if dial.is_over() {
            self.by_name.remove(&(dial.connection().profile.name.clone(), id));
            self.dials.remove(&id);
            return;
        }
        entry.sas = dial.sas().collect();
        for sa in &entry.sas {
            self.by_sa.insert(*sa, id);
        }
        entry.deadline = dial.deadline();
        if let Some(at) = entry.deadline {
            self.deadlines.insert((at, id));
        }
        entry.moves_to = dial.moves_to();
        if let Some(to) = entry.moves_to {
            self.moving.insert(to, id);
        }
        entry.dial = Some(dial);
    }

    /// The one whose Child SAs are being moved to this SA.
    pub(crate) fn moving_to(&self, sa: SaId) -> Option<DialId> {
        self.moving.get(&sa).copied()
    }

    /// One that has something to do by now.
    pub(crate) fn due(&self, now: Now) -> Option<DialId> {
        let (at, id) = self.deadlines.first()?;
        (*at <= now.mono).then_some(*id)
    }

    /// When the next one has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Checks that everything that is kept twice is the same.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn audit(&self) {
        let mut others = Self { last: self.last, ..Self::default() };
        for (id, entry) in &self.dials {
            assert!(entry.dial.is_some(), "an entry without a dial");
            let Some(dial) = entry.dial.as_deref() else { continue };
            others.by_name.insert((dial.connection().profile.name.clone(), *id));
            others.by_sa.extend(dial.sas().map(|sa| (sa, *id)));
            others.deadlines.extend(dial.deadline().map(|at| (at, *id)));
            others.moving.extend(dial.moves_to().map(|to| (to, *id)));
        }
        assert_eq!((&others.by_name, &others.by_sa), (&self.by_name, &self.by_sa));
        assert_eq!((&others.deadlines, &others.moving), (&self.deadlines, &self.moving));
    }

    /// Nothing is done for any of them any more.
    pub(crate) fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }
}

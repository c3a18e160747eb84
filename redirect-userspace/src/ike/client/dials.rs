//! All connections on their way, and where each is found: by its number, by its SAs, by when it has
//! something to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Dial;
use crate::ike::config::{Connection, Name};
use crate::ike::io::{Request, SaId};
use crate::time::{Instant, Now};

/// The number of a dial. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialId(pub(crate) u64);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    dials: BTreeMap<DialId, Entry>,
    by_sa: HashMap<SaId, DialId>,
    deadlines: BTreeSet<(Instant, DialId)>,
    /// Those whose Child SAs are being moved.
    moving: BTreeSet<DialId>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    /// Not there while it is told something.
    dial: Option<Box<Dial>>,
    sas: Vec<SaId>,
    deadline: Option<Instant>,
}

impl Dials {
    pub(crate) fn len(&self) -> usize {
        self.dials.len()
    }

    /// A new one.
    pub(crate) fn add(&mut self, now: Now, connection: Arc<Connection>) -> DialId {
        self.last += 1;
        let id = DialId(self.last);
        let entry = Entry { dial: None, sas: Vec::new(), deadline: None };
        self.dials.insert(id, entry);
        self.put_back(id, Box::new(Dial::new(id, now, connection)));
        id
    }

    /// The one of this connection that waits for its next round.
    pub(crate) fn waiting(&self, name: &Name) -> Option<DialId> {
        let is_it = |dial: &Dial| dial.is_waiting() && dial.connection().profile.name == *name;
        let found = self.dials.iter().find(|(_, entry)| entry.dial.as_deref().is_some_and(is_it));
        found.map(|(id, _)| *id)
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
        self.moving.remove(&id);
        if dial.is_over() {
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
        if dial.moves_to().is_some() {
            self.moving.insert(id);
        }
        entry.dial = Some(dial);
    }

    /// Those whose Child SAs are being moved, and to which SA.
    pub(crate) fn moving(&self) -> Vec<(DialId, SaId)> {
        let to = |id: &DialId| Some((*id, self.dials.get(id)?.dial.as_deref()?.moves_to()?));
        self.moving.iter().filter_map(to).collect()
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

    /// Nothing is done for any of them any more.
    pub(crate) fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }
}

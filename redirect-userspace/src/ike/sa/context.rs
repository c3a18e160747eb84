//! What surrounds an IKE SA while it is stepped: all that it may use and change besides itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use crate::crypto::Provider;
use crate::gateway::GatewayAddress;
use crate::ike::authn::eap::{Guesses, MethodContext};
use crate::ike::client::News;
use crate::ike::config::{Name, Settings};
use crate::ike::event::{Counters, Event, Failure, RedirectRefusal, SaLabel};
use crate::ike::io::{Output, SaId, Shard};
use crate::ike::lease::Leases;
use crate::ike::redirect::Targets;
use crate::ike::sa::wallet::Tickets;
use crate::ike::wire::ChildSpi;
use crate::machine::Outbox;
use crate::rng::Rng;
use crate::throttle::Throttle;
use crate::time::Now;

/// What an SA may use and change besides itself.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) provider: Provider,
    pub(crate) settings: &'a Arc<Settings>,
    pub(crate) targets: &'a Arc<Targets>,
    pub(crate) rng: &'a mut Rng,
    pub(crate) leases: &'a mut dyn Leases,
    pub(crate) counters: &'a mut Counters,
    pub(crate) refusals: &'a mut Refusals,
    pub(crate) misdirections: &'a mut Misdirections,
    /// What has come of SAs that we have begun, for the client side.
    pub(crate) news: &'a mut Vec<(SaId, News)>,
    pub(crate) spis: &'a mut Spis,
    pub(crate) tickets: &'a mut Tickets,
    pub(crate) guesses: &'a mut Guesses,
    pub(crate) out: &'a mut Outbox<Output>,
}

impl Context<'_> {
    /// What an EAP method may use of it.
    pub(crate) const fn of_method(&mut self) -> MethodContext<'_> {
        MethodContext { now: self.now, rng: self.rng, guesses: self.guesses }
    }

    /// Says that somebody did not get an IKE SA, unless that was said a moment ago.
    pub(crate) fn refuse(&mut self, peer: SocketAddr, refusal: Refusal) {
        self.counters.failure(refusal.failure);
        let detail = Refused { peer, identity: refusal.identity, detail: refusal.detail };
        if let Some((failure, last, count)) = self.refusals.count(self.now.mono, refusal.failure, detail) {
            self.out.push(Output::Event(last.into_event(failure, count)));
        }
    }

    /// Says that an SA did not get a Child SA.
    pub(crate) fn refuse_child(&mut self, sa: SaLabel, refusal: Refusal) {
        self.counters.failure(refusal.failure);
        let Refusal { failure, detail, identity: _ } = refusal;
        self.out.push(Output::Event(Event::ChildRefused { sa, failure, detail }));
    }

    /// Says that a redirect is not followed, unless that was said a moment ago.
    pub(crate) fn misdirected(&mut self, reason: RedirectRefusal, misdirected: Misdirected) {
        self.counters.redirect_refused(reason);
        if let Some((reason, last, count)) = self.misdirections.count(self.now.mono, reason, misdirected) {
            self.out.push(Output::Event(last.into_event(reason, count)));
        }
    }

    /// Tells the client side what has come of an SA.
    pub(crate) fn tell(&mut self, sa: SaId, news: News) {
        self.news.push((sa, news));
    }

    /// Says that something happened.
    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }
}

/// What was said about whom, and what was held back since.
pub(crate) type Refusals = Throttle<Failure, Refused>;

/// Whom an SA was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    peer: SocketAddr,
    identity: Option<Arc<str>>,
    detail: Box<str>,
}

impl Refused {
    pub(crate) fn into_event(self, failure: Failure, count: u64) -> Event {
        let Self { peer, identity, detail } = self;
        Event::Refused { peer, identity, failure, detail, count }
    }
}

/// Which redirects were not followed was said when, and what was held back since.
pub(crate) type Misdirections = Throttle<RedirectRefusal, Misdirected>;

/// A redirect that is not followed.
#[derive(Debug)]
pub(crate) struct Misdirected {
    pub(crate) connection: Option<Name>,
    pub(crate) from: SocketAddr,
    pub(crate) to: Option<GatewayAddress>,
}

impl Misdirected {
    pub(crate) fn into_event(self, reason: RedirectRefusal, count: u64) -> Event {
        let Self { connection, from, to } = self;
        Event::RedirectRefused { connection, from, to, reason, count }
    }
}

/// Why an SA is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// In words: what would have been right, and what there was.
    pub(crate) detail: Box<str>,
    /// Who the peer says he is.
    pub(crate) identity: Option<Arc<str>>,
}

impl Refusal {
    pub(crate) fn new(failure: Failure, detail: impl Into<Box<str>>) -> Self {
        Self { failure, detail: detail.into(), identity: None }
    }

    pub(crate) fn of(self, identity: Arc<str>) -> Self {
        Self { identity: Some(identity), ..self }
    }
}

/// The SPIs that lead to this endpoint: who makes them, and which IKE SA each Child SA belongs to.
#[derive(Debug)]
pub(crate) struct Spis {
    shard: Shard,
    owners: HashMap<ChildSpi, u64>,
}

impl Spis {
    pub(crate) fn new(shard: Shard) -> Self {
        Self { shard, owners: HashMap::new() }
    }

    /// An SPI that nobody has, for an IKE SA with this SPI of ours. `None` in the unheard-of case
    /// that no free one is found.
    pub(crate) fn assign(&mut self, rng: &mut Rng, owner: u64) -> Option<ChildSpi> {
        for _ in 0..TRIES {
            let number = self.shard.own(u32::from_be_bytes(rng.array()));
            let Some(spi) = NonZeroU32::new(number).filter(|spi| spi.get() >= ChildSpi::LOWEST) else {
                continue;
            };
            let spi = ChildSpi(spi);
            if let std::collections::hash_map::Entry::Vacant(place) = self.owners.entry(spi) {
                place.insert(owner);
                return Some(spi);
            }
        }
        None
    }

    /// An SPI of an IKE SA: nobody can foresee it, and it names this worker.
    pub(crate) fn ike(&self, rng: &mut Rng) -> NonZeroU64 {
        let low = self.shard.own(u32::from_be_bytes(rng.array()));
        // The upper half makes it more than zero.
        let high = u32::from_be_bytes(rng.array()) | 1;
        NonZeroU64::new(u64::from(high) << 32 | u64::from(low)).unwrap_or(NonZeroU64::MIN)
    }

    /// The IKE SA that a Child SA belongs to.
    pub(crate) fn owner(&self, spi: ChildSpi) -> Option<u64> {
        self.owners.get(&spi).copied()
    }

    /// Another IKE SA has it now.
    pub(crate) fn transfer(&mut self, spi: ChildSpi, owner: u64) {
        if let Some(place) = self.owners.get_mut(&spi) {
            *place = owner;
        }
    }

    /// Nobody has it any more.
    pub(crate) fn release(&mut self, spi: ChildSpi) {
        self.owners.remove(&spi);
    }

    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }

    /// All of them with their owners.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChildSpi, u64)> {
        self.owners.iter().map(|(spi, owner)| (*spi, *owner))
    }
}

/// Most random numbers that are tried for a free SPI.
const TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spi_says_which_worker_it_belongs_to_and_is_nobody_elses() {
        let mut rng = Rng::from_number(1);
        let mut spis = Spis::new(Shard::new(1, 3).unwrap());
        let one = spis.assign(&mut rng, 7).unwrap();
        let other = spis.assign(&mut rng, 8).unwrap();

        assert_ne!(one, other);
        assert_eq!((one.0.get() % 3, other.0.get() % 3), (1, 1));
        assert_eq!((spis.owner(one), spis.owner(other)), (Some(7), Some(8)));
        spis.transfer(one, 9);
        assert_eq!(spis.owner(one), Some(9));
        spis.release(one);
        assert_eq!((spis.owner(one), spis.len()), (None, 1));
    }
}

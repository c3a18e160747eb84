//! The gateway's numbers, for metrics.

use std::time::Duration;

use crate::ike::{CountSnapshot, Counters, Usage};
use crate::radius::{Counters as RadiusCounters, ServerSnapshot, ServerState};

/// The numbers of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IkeFigures {
    /// SAs there are.
    pub counts: CountSnapshot,
    /// How often things have happened.
    pub counters: Counters,
    /// What all Child SAs have carried, those that have ended included.
    pub carried: Usage,
    /// How long it took until IKE SAs were up.
    pub durations: Durations,
    /// What its RADIUS servers have done.
    pub radius: RadiusFigures,
    /// Cookies that the fast path has asked for in the gateway's place.
    pub gate_asked: u64,
    /// Requests that have brought it a good one.
    pub gate_good: u64,
}

/// What RADIUS servers have done for all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RadiusFigures {
    /// How often things have happened.
    pub counters: RadiusCounters,
    /// The servers, in the order in which they are asked.
    pub servers: Vec<ServerSnapshot>,
}

impl RadiusFigures {
    /// Adds those of a worker. A server that one worker takes for dead is shown so.
    pub fn add(&mut self, counters: &RadiusCounters, servers: &[ServerSnapshot]) {
        self.counters.add(counters);
        for server in servers {
            let same =
                |known: &&mut ServerSnapshot| (known.address, known.role) == (server.address, server.role);
            let Some(known) = self.servers.iter_mut().find(same) else {
                self.servers.push(server.clone());
                continue;
            };
            known.outstanding += server.outstanding;
            known.waiting += server.waiting;
            known.tally.add(&server.tally);
            if known.state == ServerState::Up && server.state != ServerState::Up {
                known.state = server.state;
                known.since = server.since;
            }
        }
    }
}

impl IkeFigures {
    /// Adds those of a worker.
    pub fn add(&mut self, counts: &CountSnapshot, counters: &Counters) {
        self.counts.half_open += counts.half_open;
        self.counts.established += counts.established;
        self.counts.children += counts.children;
        // Everything by its name, so that none is forgotten when one is added.
        let Counters {
            discards,
            failures,
            init_requests,
            resume_requests,
            established_responder,
            established_initiator,
            resumed,
            tickets_granted,
            tickets_refused,
            cookies,
            retransmissions,
            redirects,
            redirects_followed,
            redirects_refused,
            unknown_answered,
            ike_rekeys,
            children,
            child_rekeys,
            updates,
            updates_refused,
            checks_passed,
            roamed,
        } = counters;
        let own = &mut self.counters;
        for (sum, count) in own.discards.iter_mut().zip(discards) {
            *sum = sum.saturating_add(*count);
        }
        for (sum, count) in own.failures.iter_mut().zip(failures) {
            *sum = sum.saturating_add(*count);
        }
        for (sum, count) in own.redirects_refused.iter_mut().zip(redirects_refused) {
            *sum = sum.saturating_add(*count);
        }
        for (sum, count) in own.redirects.iter_mut().zip(redirects) {
            *sum = sum.saturating_add(*count);
        }
        for (sum, count) in [
            (&mut own.init_requests, init_requests),
            (&mut own.resume_requests, resume_requests),
            (&mut own.established_responder, established_responder),
            (&mut own.established_initiator, established_initiator),
            (&mut own.resumed, resumed),
            (&mut own.tickets_granted, tickets_granted),
            (&mut own.tickets_refused, tickets_refused),
            (&mut own.cookies, cookies),
            (&mut own.retransmissions, retransmissions),
            (&mut own.redirects_followed, redirects_followed),
            (&mut own.unknown_answered, unknown_answered),
            (&mut own.ike_rekeys, ike_rekeys),
            (&mut own.children, children),
            (&mut own.child_rekeys, child_rekeys),
            (&mut own.updates, updates),
            (&mut own.updates_refused, updates_refused),
            (&mut own.checks_passed, checks_passed),
            (&mut own.roamed, roamed),
        ] {
            *sum = sum.saturating_add(*count);
        }
    }
}

/// How long things took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many were not longer than each of [`Self::BOUNDS`], and longer than the one before it;
    /// the last ones were longer than all.
    buckets: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    /// Milliseconds up to which a bucket reaches: from a LAN with fast algorithms to the last
    /// retransmission.
    pub const BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000];

    /// Notes one.
    pub fn note(&mut self, took: Duration) {
        let bound = Self::BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(bucket) = self.buckets.get_mut(bound.unwrap_or(Self::BOUNDS.len())) {
            *bucket = bucket.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// Buckets and their bounds, the shortest first; the last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = Self::BOUNDS.iter().map(|bound| Some(Duration::from_millis(*bound)));
        bounds.chain([None]).zip(self.buckets)
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::{Discard, Failure, RedirectRefusal};

    #[test]
    fn the_numbers_of_workers_add_up() {
        let counts = CountSnapshot { half_open: 1, established: 2, children: 3 };
        let mut counters = Counters { cookies: 4, child_rekeys: 5, init_requests: 6, ..Counters::default() };
        counters.discard(Discard::Integrity);
        counters.failure(Failure::NoProfile);
        counters.redirect_refused(RedirectRefusal::TooMany);
        let mut figures = IkeFigures::default();

        figures.add(&counts, &counters);
        figures.add(&counts, &counters);

        assert_eq!(figures.counts, CountSnapshot { half_open: 2, established: 4, children: 6 });
        assert_eq!(figures.counters.discards[Discard::Integrity.position()], 2);
        assert_eq!(figures.counters.failures[Failure::NoProfile.position()], 2);
        assert_eq!(figures.counters.redirects_refused[RedirectRefusal::TooMany.position()], 2);
        assert_eq!((figures.counters.cookies, figures.counters.child_rekeys), (8, 10));
        assert_eq!((figures.counters.init_requests, figures.counters.children), (12, 0));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_reaches_it() {
        let mut durations = Durations::default();
        for millis in [0, 1, 2, 3, 60_000, 60_001] {
            durations.note(Duration::from_millis(millis));
        }

        let filled: Vec<_> = durations.buckets().filter(|(_, count)| *count > 0).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(filled, [(millis(1), 2), (millis(2), 1), (millis(5), 1), (millis(60_000), 1), (None, 1)]);
        assert_eq!((durations.count(), durations.sum()), (6, Duration::from_millis(120_007)));
    }
}

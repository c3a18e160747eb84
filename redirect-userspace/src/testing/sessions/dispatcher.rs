//! The master: what it knows, and where it sends a client.

use common::maps::slot;

use crate::clb::llg;
use crate::clb::policy::{Balancer, Basis, Candidate, Decision, Reports};
use crate::clb::{MasterSettings, Report};
use crate::gateway::{GatewayAddresses, GatewayIndex, GatewayName, Weight};
use crate::time::Instant;

pub(super) struct Dispatcher {
    balancer: Balancer,
    members: Vec<Member>,
    slots: Box<[Option<GatewayIndex>]>,
    multiplier: u64,
}

struct Member {
    name: GatewayName,
    addresses: GatewayAddresses,
    is_available: bool,
    basis: Basis,
    /// Clients since the last table.
    clients: u64,
}

impl Dispatcher {
    /// One whose gateways report.
    pub(super) fn new(settings: MasterSettings, max_sessions: &[u32], multiplier: u64) -> Self {
        let reports = |max_session: &u32| {
            Basis::Reports(Reports {
                priority: 100,
                max_session: *max_session,
                report: Report::default(),
                reported_at: Instant::START,
                joined_at: Instant::START,
            })
        };
        Self::with(settings, max_sessions.iter().map(reports), multiplier)
    }

    /// One whose table never changes.
    pub(super) fn constant(weights: &[u32], multiplier: u64) -> Self {
        let weight = |weight: &u32| {
            let weight = u16::try_from(*weight).ok().and_then(Weight::new);
            Basis::Weight(weight.unwrap_or(Weight::ONE))
        };
        let mut constant = Self::with(MasterSettings::default(), weights.iter().map(weight), multiplier);
        constant.rewrite(Instant::START);
        constant
    }

    fn with(settings: MasterSettings, bases: impl Iterator<Item = Basis>, multiplier: u64) -> Self {
        let member = |(number, basis): (usize, Basis)| Member {
            name: format!("gw{number}").parse().expect("a name"),
            addresses: GatewayAddresses::new([format!("10.50.{}.{}", number / 250, number % 250 + 1)
                .parse()
                .expect("an address")])
            .expect("one address"),
            is_available: true,
            basis,
            clients: 0,
        };
        Self {
            balancer: Balancer::new(settings),
            members: bases.enumerate().map(member).collect(),
            slots: Box::new([]),
            multiplier: multiplier | 1,
        }
    }

    /// Where the client with this SPI goes.
    pub(super) fn choose(&mut self, spi: u64) -> Option<usize> {
        let index = self.slots.get(slot(spi, self.multiplier)).copied().flatten()?;
        self.members[index.position()].clients += 1;
        Some(index.position())
    }

    pub(super) fn report(&mut self, at: usize, report: Report, now: Instant) {
        if let Basis::Reports(reports) = &mut self.members[at].basis {
            reports.report = report;
            reports.reported_at = now;
        }
    }

    pub(super) fn join(&mut self, at: usize, now: Instant) {
        if let Basis::Reports(reports) = &mut self.members[at].basis {
            reports.joined_at = now;
        }
    }

    pub(super) fn set_available(&mut self, at: usize, is_available: bool) {
        self.members[at].is_available = is_available;
    }

    /// Reads the counters and writes the table; the number of slots that have changed.
    pub(super) fn rewrite(&mut self, now: Instant) -> usize {
        for member in &mut self.members {
            self.balancer.arrived(now, &member.name, std::mem::take(&mut member.clients));
        }
        let decision = self.decide(now);
        let shares: Vec<_> =
            decision.members.iter().enumerate().map(|(at, member)| (index(at), member.share)).collect();
        let slots = llg::fill(&self.slots, &shares);
        let moved = self.slots.iter().zip(&slots).filter(|(before, after)| before != after).count();
        self.slots = slots;
        moved
    }

    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let candidates: Vec<_> = self
            .members
            .iter()
            .map(|member| Candidate {
                name: &member.name,
                addresses: &member.addresses,
                is_available: member.is_available,
                basis: member.basis,
            })
            .collect();
        self.balancer.shares(now, &candidates)
    }

    /// The part of the table that each member has.
    pub(super) fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0_u32; self.members.len()];
        for index in self.slots.iter().flatten() {
            counts[index.position()] += 1;
        }
        counts.into_iter().map(|count| f64::from(count) / self.slots.len() as f64).collect()
    }
}

fn index(at: usize) -> GatewayIndex {
    u16::try_from(at).ok().and_then(GatewayIndex::new).expect("a small cluster")
}

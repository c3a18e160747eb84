//! All members, as the master tells its slaves.
//!
//! Any slave can become the master. It then knows the members from the last view of the old one,
//! and clients are redirected while the members find their way to it.
//!
//! # Invariants
//!
//! - A view is taken over as a whole or not at all.
//! - A view has at most [`MAX_MEMBERS`] members, and no two with the same name.
//! - Who is drained stays so while it is away, also when the master changes meanwhile.
//! - Ages only grow, unless the master vouches for the members.

use std::collections::BTreeSet;
use std::time::Duration;

use common::maps;

use super::auth::{SEAL, SharedBody};
use super::frame::{HEADER, MAX_FROM_MASTER};
use super::report::{Registration, Report};
use super::wire::{
    AgedReport, Vouched, kind, read_ms, read_registration, read_report, read_text, to_ms, write_registration,
    write_report, write_text,
};
use crate::codec::{DecodeError, Reader, Writer};
use crate::gateway::GatewayName;
use crate::time::Instant;

/// Most members of a cluster on the wire: as many as the fast path has room for.
pub const MAX_MEMBERS: usize = maps::MAX_GATEWAYS;
/// Most names that are kept drained while they are not members. The operator drains one at a time.
pub(crate) const MAX_DRAINED: usize = 1_024;
/// Octets before the members in the body of each part.
pub(crate) const PART_START: usize = 14;
/// Octets before the names in the body of a frame with drained names.
const NAMES_START: usize = 10;
/// Longest body of a part.
pub(crate) const MAX_PART: usize = MAX_FROM_MASTER - HEADER - SEAL;

/// The members of a cluster, as its master told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Who told it. It is one of the members.
    pub master: GatewayName,
    /// Every member, the slave that was told included.
    pub entries: Vec<ViewEntry>,
    /// Who is no member now, and is drained when it comes back.
    pub drained: BTreeSet<GatewayName>,
}

/// A member in a view. Ages are those of the moment at which the view is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewEntry {
    /// Who it is.
    pub registration: Registration,
    /// Its last report.
    pub report: Report,
    /// How long ago the report was taken.
    pub report_age: Duration,
    /// How long ago the master has heard it, at most.
    pub heard_age: Duration,
    /// How long ago it joined.
    pub joined_age: Duration,
    /// Whether the operator has drained it at the master.
    pub is_drained: bool,
}

const DRAINED: u8 = 1;

impl ViewEntry {
    /// Appends the member to the body of a part.
    pub(crate) fn write(&self, body: &mut Writer) {
        write_registration(body, &self.registration);
        write_report(body, &AgedReport { report: self.report, age: self.report_age });
        body.u32(to_ms(self.heard_age));
        body.u32(to_ms(self.joined_age));
        body.u8(if self.is_drained { DRAINED } else { 0 });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let registration = read_registration(reader)?;
        let AgedReport { report, age } = read_report(reader)?;
        let heard_age = read_ms(reader, "heard")?;
        let joined_age = read_ms(reader, "joined")?;
        // Further bits may say more one day.
        let is_drained = reader.u8("flags")? & DRAINED != 0;
        Ok(Self { registration, report, report_age: age, heard_age, joined_age, is_drained })
    }
}

/// A frame of a view that is not sealed yet.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its type.
    pub(crate) kind: u8,
    /// Its body.
    pub(crate) body: SharedBody,
}

/// Cuts a view into bodies that fit a frame.
#[derive(Debug)]
pub(crate) struct Parts {
    generation: u64,
    drained: Bodies,
    members: Bodies,
    scratch: Writer,
}

impl Parts {
    /// The parts of the view with this number.
    pub(crate) fn new(generation: u64) -> Self {
        let members = Bodies(vec![(zeros(PART_START), 0)]);
        Self { generation, drained: Bodies(Vec::new()), members, scratch: Writer::new() }
    }

    /// Adds a member.
    pub(crate) fn push(&mut self, entry: &ViewEntry) {
        let mut scratch = std::mem::take(&mut self.scratch).into_octets();
        scratch.clear();
        let mut member = Writer::after(scratch);
        entry.write(&mut member);
        self.members.push(PART_START, member.as_slice());
        self.scratch = member;
    }

    /// Adds the name of somebody who is drained and away.
    pub(crate) fn push_drained(&mut self, name: &GatewayName) {
        let mut text = Writer::new();
        write_text(&mut text, name.as_str());
        self.drained.push(NAMES_START, text.as_slice());
    }

    /// The frames, in the order in which they are sent.
    pub(crate) fn finish(self) -> Vec<Part> {
        let generation = self.generation;
        let drained = self.drained.0.into_iter().map(|(body, count)| {
            let mut start = Writer::new();
            start.u64(generation);
            start.u16(count);
            part(kind::DRAINED, body, &start)
        });
        let parts = u16::try_from(self.members.0.len()).unwrap_or(u16::MAX);
        let members = (0..).zip(self.members.0).map(|(number, (body, count)): (u16, _)| {
            let mut start = Writer::new();
            start.u64(generation);
            start.u16(number);
            start.u16(parts);
            start.u16(count);
            part(kind::VIEW, body, &start)
        });
        drained.chain(members).collect()
    }
}

/// Bodies and how many items each has, as many as fit a frame.
#[derive(Debug)]
struct Bodies(Vec<(Writer, u16)>);

impl Bodies {
    /// Adds an item, to a body of its own when the last one is full. Each begins with `start`
    /// octets that are written at the end.
    fn push(&mut self, start: usize, item: &[u8]) {
        if self.0.last().is_none_or(|(body, _)| body.len() + item.len() > MAX_PART) {
            self.0.push((zeros(start), 0));
        }
        if let Some((body, count)) = self.0.last_mut() {
            body.octets(item);
            *count = count.saturating_add(1);
        }
    }
}

fn zeros(count: usize) -> Writer {
    let mut body = Writer::new();
    body.zeros(count);
    body
}

fn part(kind: u8, mut body: Writer, start: &Writer) -> Part {
    body.patch(0, start.as_slice());
    Part { kind, body: SharedBody::new(body.into_octets()) }
}

/// Puts the parts of a view together.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    generation: u64,
    /// Which part comes next; 0 = the first one of a new view.
    next: u16,
    parts: u16,
    entries: Vec<ViewEntry>,
    /// The names that came before the first part, and with which view.
    drained: (u64, BTreeSet<GatewayName>),
}

/// A view that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its number.
    pub(crate) generation: u64,
    /// Its members.
    pub(crate) entries: Vec<ViewEntry>,
    /// Who is drained and away.
    pub(crate) drained: BTreeSet<GatewayName>,
}

impl Assembly {
    /// Takes the body of a frame with drained names, which belong to the view that follows.
    ///
    /// # Errors
    ///
    /// Not such a body, one in the middle of a view, or too many names.
    pub(crate) fn take_drained(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(body);
        let generation = read_generation(&mut reader)?;
        let count = reader.u16("names")?;
        let (of, names) = &mut self.drained;
        if *of != generation {
            (*of, *names) = (generation, BTreeSet::new());
        }
        for _ in 0..count {
            names.insert(read_text(&mut reader, "name")?);
        }
        reader.finish("drained names")?;
        if self.next != 0 || names.len() > MAX_DRAINED {
            return Err(value("names", u64::from(count)));
        }
        Ok(())
    }

    /// Takes the body of a part; gives the view with the last one.
    ///
    /// # Errors
    ///
    /// No part of a view, or not the one that comes next.
    pub(crate) fn take(&mut self, body: &[u8]) -> Result<Option<Whole>, DecodeError> {
        let mut reader = Reader::new(body);
        let generation = read_generation(&mut reader)?;
        let part = reader.u16("part")?;
        let parts = reader.u16("parts")?;
        let count = reader.u16("members")?;
        if self.next == 0 {
            self.entries.clear();
            self.generation = generation;
            self.parts = parts;
        }
        if generation != self.generation {
            return Err(value("generation", generation));
        }
        if part != self.next || part >= parts || parts != self.parts {
            return Err(value("part", u64::from(part)));
        }
        // Parts without members could go on for ever.
        if count == 0 && parts > 1 || self.entries.len() + usize::from(count) > MAX_MEMBERS {
            return Err(value("members", u64::from(count)));
        }
        for _ in 0..count {
            self.entries.push(ViewEntry::read(&mut reader)?);
        }
        reader.finish("view")?;
        self.next += 1;
        if self.next < self.parts {
            return Ok(None);
        }
        self.next = 0;
        let entries = std::mem::take(&mut self.entries);
        let names: BTreeSet<_> = entries.iter().map(|entry| &entry.registration.name).collect();
        if names.len() < entries.len() {
            return Err(value("members with the same name", (entries.len() - names.len()) as u64));
        }
        let (of, drained) = std::mem::take(&mut self.drained);
        let drained = if of == generation { drained } else { BTreeSet::new() };
        Ok(Some(Whole { generation, entries, drained }))
    }
}

/// The number of a view, which is never 0.
fn read_generation(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.u64("generation")? {
        0 => Err(value("generation", 0)),
        generation => Ok(generation),
    }
}

const fn value(what: &'static str, value: u64) -> DecodeError {
    DecodeError::Value { what, value }
}

/// A view that a slave keeps.
#[derive(Debug)]
pub(crate) struct Held {
    view: View,
    generation: u64,
    taken_at: Instant,
    /// When the master vouched for the members last, and how long ago it had heard each of them.
    vouched: Option<(Instant, Duration)>,
}

impl Held {
    /// Keeps a view that is complete now.
    pub(crate) fn new(master: GatewayName, whole: Whole, now: Instant) -> Self {
        let Whole { generation, entries, drained } = whole;
        Self { view: View { master, entries, drained }, generation, taken_at: now, vouched: None }
    }

    /// Takes the master's word that the members are still there, if it is about this view.
    pub(crate) fn vouch(&mut self, vouched: Vouched, now: Instant) {
        if vouched.generation == self.generation {
            self.vouched = Some((now, vouched.oldest));
        }
    }

    /// The view, with the ages that it has by now.
    pub(crate) fn at(&self, now: Instant) -> View {
        let elapsed = now.since(self.taken_at);
        let vouched = self.vouched.map(|(at, oldest)| oldest.saturating_add(now.since(at)));
        let mut view = self.view.clone();
        for entry in &mut view.entries {
            entry.report_age = entry.report_age.saturating_add(elapsed);
            entry.joined_age = entry.joined_age.saturating_add(elapsed);
            entry.heard_age = entry.heard_age.saturating_add(elapsed);
            entry.heard_age = vouched.map_or(entry.heard_age, |vouched| entry.heard_age.min(vouched));
        }
        view
    }

    /// How many members the cluster has.
    pub(crate) const fn members(&self) -> usize {
        self.view.entries.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A member with all it can have.
    pub(crate) fn entry(number: u32) -> ViewEntry {
        let address = |text: String| text.parse().unwrap();
        let list = [
            address(format!("10.{}.{}.1", number / 256, number % 256)),
            address(format!("fd50::{number:x}")),
            address(format!("gw{number}.{}.example", "x".repeat(60))),
        ];
        ViewEntry {
            registration: Registration {
                name: format!("gw{number}").parse().unwrap(),
                addresses: crate::gateway::GatewayAddresses::new(list).unwrap(),
                priority: 50,
                max_session: 10_000,
            },
            report: Report { ike_sas: number, ..Report::default() },
            report_age: Duration::from_millis(10),
            heard_age: Duration::from_millis(20),
            joined_age: Duration::from_secs(30),
            is_drained: number.is_multiple_of(2),
        }
    }

    fn parts(generation: u64, entries: &[ViewEntry]) -> Vec<SharedBody> {
        let mut parts = Parts::new(generation);
        for entry in entries {
            parts.push(entry);
        }
        parts.finish().into_iter().map(|part| part.body).collect()
    }

    fn whole(generation: u64, entries: Vec<ViewEntry>) -> Whole {
        Whole { generation, entries, drained: BTreeSet::new() }
    }

    fn names(numbers: std::ops::Range<usize>) -> BTreeSet<GatewayName> {
        numbers.map(|number| format!("{number}{}", "x".repeat(58)).parse().unwrap()).collect()
    }

    fn with_drained(generation: u64, names: &BTreeSet<GatewayName>) -> Vec<Part> {
        let mut parts = Parts::new(generation);
        names.iter().for_each(|name| parts.push_drained(name));
        parts.push(&entry(1));
        parts.finish()
    }

    fn take(assembly: &mut Assembly, part: &Part) -> Result<Option<Whole>, DecodeError> {
        match part.kind {
            kind::DRAINED => assembly.take_drained(part.body.octets()).map(|()| None),
            _ => assembly.take(part.body.octets()),
        }
    }

    #[test]
    fn drained_names_arrive_with_the_view_that_follows_them() {
        let mut assembly = Assembly::default();
        for count in [0, 1, 300, MAX_DRAINED] {
            let names = names(0..count);
            let sent = with_drained(7, &names);
            let (last, before) = sent.split_last().unwrap();

            for part in before {
                assert_eq!(take(&mut assembly, part), Ok(None));
            }
            let expected = Whole { drained: names, ..whole(7, vec![entry(1)]) };
            assert_eq!(take(&mut assembly, last), Ok(Some(expected)));
            assert!(sent.iter().all(|part| part.body.octets().len() <= MAX_PART));
            assert_eq!(before.len() > 1, count >= 300, "{count}: {}", before.len());
        }
    }

    #[test]
    fn drained_names_of_another_view_are_not_those_of_this_one() {
        let mut assembly = Assembly::default();
        let (old, new) = (with_drained(1, &names(0..3)), with_drained(2, &names(3..4)));

        assert_eq!(take(&mut assembly, &old[0]), Ok(None));
        assert_eq!(take(&mut assembly, &new[0]), Ok(None));
        let expected = Whole { drained: names(3..4), ..whole(2, vec![entry(1)]) };
        assert_eq!(take(&mut assembly, &new[1]), Ok(Some(expected)));
        assert_eq!(take(&mut assembly, &old[0]), Ok(None));
        assert_eq!(take(&mut assembly, &new[1]), Ok(Some(whole(2, vec![entry(1)]))));
    }

    #[test]
    fn too_many_drained_names_or_some_within_a_view_are_refused() {
        let too_many = with_drained(1, &names(0..MAX_DRAINED + 1));
        let mut assembly = Assembly::default();
        let last = too_many.iter().map(|part| take(&mut assembly, part)).find(Result::is_err);
        assert!(matches!(last, Some(Err(DecodeError::Value { what: "names", .. }))), "{last:?}");

        let entries: Vec<_> = (0..200).map(entry).collect();
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(parts(1, &entries)[0].octets()), Ok(None));
        let within = take(&mut assembly, &with_drained(1, &names(0..2))[0]);
        assert_eq!(within, Err(DecodeError::Value { what: "names", value: 2 }));
    }

    #[test]
    fn a_view_of_any_size_arrives_as_it_was() {
        for count in [0, 1, 2, 200, MAX_MEMBERS] {
            let entries: Vec<_> = (0..u32::try_from(count).unwrap()).map(entry).collect();
            let bodies = parts(7, &entries);
            let mut assembly = Assembly::default();

            let (last, before) = bodies.split_last().unwrap();
            for body in before {
                assert_eq!(assembly.take(body.octets()), Ok(None));
            }
            assert_eq!(assembly.take(last.octets()), Ok(Some(whole(7, entries))));
            assert!(bodies.iter().all(|body| body.octets().len() <= MAX_PART));
            assert_eq!(bodies.len() > 1, count >= 200, "{count}: {}", bodies.len());
        }
    }

    #[test]
    fn a_part_out_of_its_place_is_refused() {
        let entries: Vec<_> = (0..200).map(entry).collect();
        let (first, other) = (parts(1, &entries), parts(2, &entries));
        let value = |what, value| Err(DecodeError::Value { what, value });

        assert_eq!(Assembly::default().take(first[1].octets()), value("part", 1));
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(first[0].octets()), Ok(None));
        assert_eq!(assembly.take(other[1].octets()), value("generation", 2));
        assert_eq!(assembly.take(first[0].octets()), value("part", 0));
    }

    #[test]
    fn a_view_with_too_many_or_equal_members_is_refused() {
        let many: Vec<_> = (0..600).map(entry).collect();
        let mut assembly = Assembly::default();
        let last = parts(1, &many).iter().map(|body| assembly.take(body.octets())).find(Result::is_err);
        assert!(matches!(last, Some(Err(DecodeError::Value { what: "members", .. }))), "{last:?}");

        let twins = parts(1, &[entry(1), entry(1)]);
        assert_eq!(
            Assembly::default().take(twins[0].octets()),
            Err(DecodeError::Value { what: "members with the same name", value: 1 })
        );
    }

    #[test]
    fn ages_grow_until_the_master_vouches_for_the_members() {
        let at = |ms| Instant::START + Duration::from_millis(ms);
        let mut held = Held::new("gw1".parse().unwrap(), whole(3, vec![entry(1)]), at(0));
        let heard = |held: &Held, ms| held.at(at(ms)).entries[0].heard_age.as_millis();

        assert_eq!(heard(&held, 1_000), 1_020);
        held.vouch(Vouched { generation: 2, oldest: Duration::ZERO }, at(1_000));
        assert_eq!(heard(&held, 1_000), 1_020);
        held.vouch(Vouched { generation: 3, oldest: Duration::from_millis(500) }, at(1_000));
        assert_eq!(heard(&held, 1_000), 500);
        assert_eq!(heard(&held, 1_100), 600);
        let entry = &held.at(at(1_100)).entries[0];
        assert_eq!(
            (entry.report_age, entry.joined_age),
            (Duration::from_millis(1_110), Duration::from_millis(31_100))
        );
    }

    #[test]
    fn the_types_of_the_parts_are_those_of_the_messages() {
        assert_eq!(super::super::wire::FromMaster::View(&[]).kind(), kind::VIEW);
        assert_eq!(super::super::wire::FromMaster::Drained(&[]).kind(), kind::DRAINED);
    }
}

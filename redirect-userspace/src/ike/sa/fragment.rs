//! Messages in fragments: putting together what came, cutting what goes.
//!
//! # Invariants
//!
//! - Only fragments whose integrity was verified are kept.
//! - Of one message at a time, and never more than [`MAX_MESSAGE`] octets.
//!
//! # References
//!
//! `RFC 7383 §2.5`, `§2.6`.

use std::collections::BTreeMap;

use crate::ike::wire::{FragmentNumber, MessageId, PayloadType};

/// Octets of the longest message that is put together: chains of certificates have a few
/// thousand.
pub(crate) const MAX_MESSAGE: usize = 65_536;

/// Fragments of one message that came so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reassembly {
    id: MessageId,
    total: u16,
    parts: BTreeMap<u16, Box<[u8]>>,
    octets: usize,
    lead: Lead,
}

/// What the first fragment tells and no other one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The type of the first payload.
    pub(crate) first: Option<PayloadType>,
    /// All that stands before the fragment's content, payloads in clear as well (`RFC 7383 §2.5.3`).
    pub(crate) head: Box<[u8]>,
}

/// What a fragment has brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// Others are missing.
    Incomplete,
    /// The message is whole: what its first fragment has told, and its payloads.
    Whole(Lead, Vec<u8>),
    /// The fragment is of no use.
    Useless,
}

impl Reassembly {
    /// Adds a verified fragment to what there is of its message; begins anew with another message,
    /// or when the sender has cut it into more pieces (`RFC 7383 §2.6`).
    pub(crate) fn add(
        state: &mut Option<Box<Self>>,
        id: MessageId,
        number: FragmentNumber,
        lead: Lead,
        octets: &[u8],
    ) -> Collected {
        let total = number.total().get();
        match state {
            Some(current) if current.id == id && current.total > total => return Collected::Useless,
            Some(current) if current.id == id && current.total == total => {}
            Some(_) | None => {
                let empty = Self { id, total, parts: BTreeMap::new(), octets: 0, lead: Lead::default() };
                *state = Some(Box::new(empty));
            }
        }
        let Some(current) = state else { return Collected::Useless };
        let position = number.number().get();
        if current.parts.contains_key(&position) || current.octets + octets.len() > MAX_MESSAGE {
            return Collected::Useless;
        }
        if number.is_first() {
            current.lead = lead;
        }
        current.octets += octets.len();
        current.parts.insert(position, octets.into());
        if current.parts.len() < usize::from(total) {
            return Collected::Incomplete;
        }
        let lead = std::mem::take(&mut current.lead);
        let whole = current.parts.values().flat_map(|part| part.iter().copied()).collect();
        *state = None;
        Collected::Whole(lead, whole)
    }
}

/// How a message is cut: fragment by fragment, each with its number. `None` when that would be more
/// than numbers can tell.
pub(crate) fn cut(octets: &[u8], each: usize) -> Option<Vec<(FragmentNumber, &[u8])>> {
    let each = each.max(1);
    let total = u16::try_from(octets.len().div_ceil(each)).ok()?;
    octets
        .chunks(each)
        .zip(1_u16..)
        .map(|(part, number)| FragmentNumber::new(number, total).map(|number| (number, part)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead() -> Lead {
        Lead { first: Some(PayloadType::IdI), head: Box::from(*b"head") }
    }

    fn add(
        state: &mut Option<Box<Reassembly>>,
        id: u32,
        number: FragmentNumber,
        lead: Lead,
        octets: &[u8],
    ) -> Collected {
        Reassembly::add(state, MessageId(id), number, lead, octets)
    }

    fn number(number: u16, total: u16) -> FragmentNumber {
        FragmentNumber::new(number, total).unwrap()
    }

    #[test]
    fn fragments_come_together_in_any_order() {
        let octets: Vec<u8> = (0..=255).collect();
        let parts = cut(&octets, 100).unwrap();
        assert_eq!(parts.len(), 3);
        let mut state = None;

        for index in [2, 0] {
            let (number, part) = parts[index];
            let lead = if number.is_first() { lead() } else { Lead::default() };
            assert_eq!(add(&mut state, 1, number, lead.clone(), part), Collected::Incomplete);
            assert_eq!(add(&mut state, 1, number, lead, part), Collected::Useless, "twice");
        }
        assert_eq!(
            add(&mut state, 1, parts[1].0, Lead::default(), parts[1].1),
            Collected::Whole(lead(), octets)
        );
        assert_eq!(state, None);
    }

    #[test]
    fn a_message_in_more_pieces_takes_the_place_of_one_in_fewer() {
        let mut state = None;
        add(&mut state, 1, number(1, 2), Lead::default(), b"a");

        assert_eq!(add(&mut state, 1, number(1, 3), Lead::default(), b"a"), Collected::Incomplete);
        assert_eq!(add(&mut state, 1, number(2, 2), Lead::default(), b"b"), Collected::Useless);
        add(&mut state, 1, number(2, 3), Lead::default(), b"b");
        assert_eq!(
            add(&mut state, 1, number(3, 3), Lead::default(), b"c"),
            Collected::Whole(Lead::default(), b"abc".to_vec())
        );
    }

    #[test]
    fn another_message_begins_anew() {
        let mut state = None;
        add(&mut state, 1, number(1, 2), Lead::default(), b"a");
        add(&mut state, 2, number(2, 2), Lead::default(), b"d");

        assert_eq!(
            add(&mut state, 2, number(1, 2), Lead::default(), b"c"),
            Collected::Whole(Lead::default(), b"cd".to_vec())
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut state = None;
        let big = vec![0; MAX_MESSAGE];
        add(&mut state, 1, number(1, 3), Lead::default(), &big);

        assert_eq!(add(&mut state, 1, number(2, 3), Lead::default(), b"a"), Collected::Useless);
    }
}

//! Who wants which policy: SAs for the same packets stand in line, the newest in front, and the
//! kernel has the policy of that one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::wire::{Direction, Selector, Template};
use crate::ike::wire::{ChildSpi, TrafficSelector};

/// Packets, and which way they go.
pub(super) type Key = (Direction, Selector);

/// What has to become of the kernel's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It is to be this one.
    Update(Template),
    /// It is to be gone.
    Delete,
}

/// The policies of all workers.
#[derive(Debug, Default)]
pub(super) struct Claims {
    lines: HashMap<Key, Vec<(Owner, Template)>>,
    reqids: HashMap<(Selectors, Selectors), (u32, usize)>,
    taken: HashSet<u32>,
    last_reqid: u32,
}

/// Who stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A Child SA, by the SPI that leads to us.
    Sa(ChildSpi),
    /// A trap, by the number of its policies.
    Trap(u32),
}

type Selectors = Arc<[TrafficSelector]>;

/// Those of ours, and how many there are: other daemons count from 1.
const FIRST_REQID: u32 = 0x4000_0000;
const REQIDS: u32 = 1 << 24;

impl Claims {
    /// An SA is in front from now on, with this template.
    pub(super) fn claim(&mut self, key: Key, owner: Owner, template: Template) -> Change {
        let line = self.lines.entry(key).or_default();
        let before = line.last().map(|(_, template)| *template);
        line.retain(|(other, _)| *other != owner);
        line.push((owner, template));
        if before == Some(template) { Change::None } else { Change::Update(template) }
    }

    /// A trap stands behind everybody else from now on, with this template.
    pub(super) fn claim_last(&mut self, key: Key, owner: Owner, template: Template) -> Change {
        let line = self.lines.entry(key).or_default();
        line.insert(0, (owner, template));
        if line.len() == 1 { Change::Update(template) } else { Change::None }
    }

    /// An SA has another template, wherever it stands.
    pub(super) fn retarget(&mut self, key: Key, owner: Owner, template: Template) -> Change {
        let Some(line) = self.lines.get_mut(&key) else { return Change::None };
        let before = line.last().map(|(_, template)| *template);
        if let Some((_, own)) = line.iter_mut().find(|(other, _)| *other == owner) {
            *own = template;
        }
        match line.last() {
            Some((_, template)) if before != Some(*template) => Change::Update(*template),
            _ => Change::None,
        }
    }

    /// An SA does not want it any more.
    pub(super) fn release(&mut self, key: Key, owner: Owner) -> Change {
        let Some(line) = self.lines.get_mut(&key) else { return Change::None };
        let before = line.last().map(|(_, template)| *template);
        line.retain(|(other, _)| *other != owner);
        match line.last() {
            None => {
                self.lines.remove(&key);
                Change::Delete
            }
            Some((_, template)) if before != Some(*template) => Change::Update(*template),
            Some(_) => Change::None,
        }
    }

    /// The number by which SAs and policies belong together: SAs for the same packets share it, so
    /// that what comes through either of them passes.
    pub(super) fn take_reqid(&mut self, local: &Selectors, remote: &Selectors) -> u32 {
        let key = (Arc::clone(local), Arc::clone(remote));
        if let Some((reqid, count)) = self.reqids.get_mut(&key) {
            *count += 1;
            return *reqid;
        }
        let reqid = self.take_own_reqid();
        self.reqids.insert(key, (reqid, 1));
        reqid
    }

    /// A number that nobody else has.
    pub(super) fn take_own_reqid(&mut self) -> u32 {
        // There are far more of them than SAs.
        let taken = (0..REQIDS).find_map(|_| {
            self.last_reqid = (self.last_reqid + 1) % REQIDS;
            let reqid = FIRST_REQID + self.last_reqid;
            self.taken.insert(reqid).then_some(reqid)
        });
        taken.unwrap_or(FIRST_REQID)
    }

    /// It is free again.
    pub(super) fn release_own_reqid(&mut self, reqid: u32) {
        self.taken.remove(&reqid);
    }

    /// An SA that had it is gone.
    pub(super) fn release_reqid(&mut self, local: &Selectors, remote: &Selectors) {
        let key = (Arc::clone(local), Arc::clone(remote));
        if let Some((reqid, count)) = self.reqids.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.taken.remove(&*reqid);
                self.reqids.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::wire::{Network, PortMask};
    use super::*;
    use crate::ike::wire::{AddressRange, Ports, Span};

    fn key() -> Key {
        let network = |address: [u8; 4]| Network { address: address.into(), length: 32 };
        let selector = Selector {
            source: network([10, 0, 0, 1]),
            destination: network([10, 0, 0, 2]),
            protocol: 0,
            source_port: PortMask::default(),
            destination_port: PortMask::default(),
        };
        (Direction::Out, selector)
    }

    fn owner(spi: u32) -> Owner {
        Owner::Sa(ChildSpi(NonZeroU32::new(spi).unwrap()))
    }

    fn template(spi: u32) -> Template {
        Template { spi, source: [0; 4].into(), destination: [192, 0, 2, 1].into(), reqid: 1 }
    }

    #[test]
    fn the_newest_is_in_front_and_the_others_follow_when_it_goes() {
        let mut claims = Claims::default();
        assert_eq!(claims.claim(key(), owner(1), template(1)), Change::Update(template(1)));
        assert_eq!(claims.claim(key(), owner(2), template(2)), Change::Update(template(2)));

        assert_eq!(claims.retarget(key(), owner(1), template(11)), Change::None);
        assert_eq!(claims.release(key(), owner(2)), Change::Update(template(11)));
        assert_eq!(claims.retarget(key(), owner(1), template(12)), Change::Update(template(12)));
        assert_eq!(claims.release(key(), owner(1)), Change::Delete);
        assert_eq!(claims.release(key(), owner(1)), Change::None);
        assert!(claims.lines.is_empty());
    }

    #[test]
    fn a_trap_stands_behind_every_sa_and_is_there_again_when_they_are_gone() {
        let mut claims = Claims::default();
        let trap = Owner::Trap;
        assert_eq!(claims.claim_last(key(), trap(7), template(0)), Change::Update(template(0)));
        assert_eq!(claims.claim(key(), owner(1), template(1)), Change::Update(template(1)));

        let again = Template { reqid: 8, ..template(0) };
        assert_eq!(claims.claim_last(key(), trap(8), again), Change::None);
        assert_eq!(claims.release(key(), trap(7)), Change::None);

        assert_eq!(claims.release(key(), owner(1)), Change::Update(again));
        let other = Template { reqid: 9, ..template(0) };
        assert_eq!(claims.claim_last(key(), trap(9), other), Change::None);
        assert_eq!(claims.release(key(), trap(8)), Change::Update(other));
        assert_eq!(claims.release(key(), trap(9)), Change::Delete);
        assert!(claims.lines.is_empty());
    }

    #[test]
    fn nothing_changes_for_the_kernel_while_the_template_is_the_same() {
        let mut claims = Claims::default();
        let _first = claims.claim(key(), owner(1), template(0));

        assert_eq!(claims.claim(key(), owner(2), template(0)), Change::None);
        assert_eq!(claims.release(key(), owner(1)), Change::None);
    }

    #[test]
    fn sas_for_the_same_packets_share_a_number_and_others_have_their_own() {
        let mut claims = Claims::default();
        let selectors = |last: u8| -> Selectors {
            let span = Span::new([10, 0, 0, last].into(), [10, 0, 0, last].into()).unwrap();
            let addresses = AddressRange::V4(span);
            [TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses }].into()
        };

        let first = claims.take_reqid(&selectors(1), &selectors(2));
        assert_eq!(claims.take_reqid(&selectors(1), &selectors(2)), first);
        assert_ne!(claims.take_reqid(&selectors(1), &selectors(3)), first);

        claims.release_reqid(&selectors(1), &selectors(2));
        assert_eq!(claims.take_reqid(&selectors(1), &selectors(2)), first);
        for _ in 0..2 {
            claims.release_reqid(&selectors(1), &selectors(2));
        }
        claims.release_reqid(&selectors(1), &selectors(3));
        assert!(claims.reqids.is_empty() && claims.taken.is_empty());
    }
}

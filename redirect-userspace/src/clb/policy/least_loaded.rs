//! Everything to the least loaded member, as Cisco does it.
//!
//! Between two reports nothing is known, so every client of that time goes to the same member: it
//! is the policy for those who want exactly this.

use std::cmp::Reverse;

use super::Reporting;

/// The position of the least loaded: by load as last reported, then the higher priority, then the
/// lowest address.
pub(super) fn choose(members: &[Reporting<'_>]) -> Option<usize> {
    let least = members.iter().enumerate().min_by_key(|(_, member)| {
        (member.load.total, Reverse(member.basis.priority), member.addresses.iter().next(), member.name)
    })?;
    Some(least.0)
}

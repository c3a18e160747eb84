//! Body of the fuzz target for what the kernel tells of SAs and policies, which tests call as well. It
//! takes any octets and panics when a promise is broken.

use crate::dataplane::kernel;
use crate::net::xfrm::Frames;

/// Any octets as what a netlink socket gave: messages stay within them, and nothing is made of more
/// octets than there are.
///
/// # Panics
///
/// A promise is broken.
pub fn xfrm_messages(octets: &[u8]) {
    let bodies: usize = Frames(octets).map(|frame| frame.body.len() + HEADER).sum();
    assert!(bodies <= octets.len(), "messages do not overlap");
    let (count, words) = kernel::read_all(octets);
    assert!(count <= Frames(octets).count(), "each message is one thing");
    assert!(words * 4 <= octets.len(), "a bitmap is no longer than its message");
}

/// Octets of `nlmsghdr`.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message whose head is right.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend_from_slice(body);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn anything_can_come(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            xfrm_messages(&octets);
        }

        #[test]
        fn anything_can_be_in_messages(
            messages in proptest::collection::vec(
                (0x10_u16..0x28, proptest::collection::vec(any::<u8>(), 0..400)), 0..4,
            ),
        ) {
            let octets: Vec<u8> = messages.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
            xfrm_messages(&octets);
        }

        #[test]
        fn anything_can_be_in_attributes(
            kind in 0x10_u16..0x28, length in 0_usize..320, family in 0_u8..11,
            attributes in proptest::collection::vec((0_u16..64, 0_u16..40, any::<[u8; 32]>()), 0..6),
        ) {
            let mut body = vec![family; length];
            for (kind, length, value) in attributes {
                body.extend(length.to_ne_bytes());
                body.extend(kind.to_ne_bytes());
                body.extend(value);
            }
            xfrm_messages(&message(kind, &body));
        }
    }
}

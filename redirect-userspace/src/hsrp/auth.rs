//! Who may speak in a group.
//!
//! A text says no more than that two routers are meant for the same group: everybody on the link
//! can read it. Keyed MD5 keeps out whoever does not know the key.
//!
//! # Replay
//!
//! A datagram has neither number nor time, so an old one is as good as a new one. Whoever can read
//! the link can send yesterday's coup again, and keep a dead active router alive by its hellos.
//! What limits the harm: the destination is link-local and never routed; the digest covers the
//! sender's address, so a copy is worth nothing under another IPv4 address; a copy under an address
//! of ours is refused as our own; and the active router answers a coup by a resign and, once the
//! hellos it was promised do not come, is active again within two hold times and a hello. A key per
//! group and its change end the use of what was recorded. A link that strangers can write to needs
//! port security or MACsec.
//!
//! # Digest
//!
//! `MD5(key, 0x80, zeros to 56 octets, bits of key as 64-bit little endian | datagram | key)`, in
//! the form of `RFC 1828`. The datagram is taken as received, including octets that mean nothing,
//! with zeros in place of the digest.

use std::net::{IpAddr, Ipv4Addr};

use md5::{Digest as _, Md5 as Hash};

use crate::hsrp::wire::{Datagram, Md5, Message};
use crate::hsrp::{Authentication, Discard, Md5Key, Version};
use crate::secret;

/// The datagram that says `message`, authenticated.
pub(super) fn seal(
    version: Version,
    message: Message,
    authentication: &Authentication,
    sender: IpAddr,
) -> Vec<u8> {
    let mut datagram = Datagram { message: Some(message), ..Datagram::default() };
    match authentication {
        Authentication::Text(text) => {
            datagram.text = Some(text.octets());
            datagram.encode(version)
        }
        Authentication::Md5(keys) => {
            datagram.md5 = Some(Md5 {
                algorithm: Md5::ALGORITHM,
                address: address_field(sender),
                key: 0,
                digest: [0; Md5::DIGEST_LENGTH],
                at: 0,
            });
            let mut payload = datagram.encode(version);
            let at = payload.len().saturating_sub(Md5::DIGEST_LENGTH);
            let digest = digest(&keys.key, &payload, at);
            if let Some(place) = payload.last_chunk_mut() {
                *place = digest;
            }
            payload
        }
    }
}

/// Checks that a datagram is authenticated as the group demands. `retired` is the key of before a
/// reload, while it still counts.
pub(super) fn check(
    datagram: &Datagram,
    payload: &[u8],
    source: IpAddr,
    authentication: &Authentication,
    retired: Option<&Md5Key>,
) -> Result<(), Discard> {
    match (authentication, &datagram.text, &datagram.md5) {
        (Authentication::Text(ours), Some(theirs), None) => {
            if secret::is_same(&ours.octets(), theirs) {
                Ok(())
            } else {
                Err(Discard::AuthenticationValue)
            }
        }
        (Authentication::Md5(keys), None, Some(md5)) if md5.algorithm == Md5::ALGORITHM => {
            let accepted = [Some(&keys.key), keys.accept.as_ref(), retired];
            let is_ours = |key: &&Md5Key| secret::is_same(&digest(key, payload, md5.at), &md5.digest);
            // What a Cisco router writes there in an IPv6 group is not known.
            let is_sender = source.is_ipv6() || address_field(source) == md5.address;
            if is_sender && accepted.iter().flatten().any(is_ours) {
                Ok(())
            } else {
                Err(Discard::AuthenticationValue)
            }
        }
        (Authentication::Text(_) | Authentication::Md5(_), _, _) => Err(Discard::AuthenticationScheme),
    }
}

/// The digest of a datagram whose digest lies at octet `at`.
#[must_use]
pub fn digest(key: &Md5Key, payload: &[u8], at: usize) -> [u8; Md5::DIGEST_LENGTH] {
    let key = key.secret().expose();
    let (before, rest) = payload.split_at_checked(at).unwrap_or((payload, &[]));
    let after = rest.get(Md5::DIGEST_LENGTH..).unwrap_or_default();
    let bits = u64::try_from(key.len()).unwrap_or(0) * 8;
    let padding = [0; Md5Key::MAX_LENGTH];

    let mut hash = Hash::new();
    hash.update(key);
    hash.update([0x80]);
    hash.update(padding.get(key.len()..).unwrap_or_default());
    hash.update(bits.to_le_bytes());
    hash.update(before);
    hash.update([0; Md5::DIGEST_LENGTH]);
    hash.update(after);
    hash.update(key);
    hash.finalize().into()
}

/// The sender's address in the MD5 element: the IPv4 address, or the last four octets of the
/// link-local address.
const fn address_field(sender: IpAddr) -> Ipv4Addr {
    match sender {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, d)
        }
    }
}

//! NAT detection: who sees other addresses than the one that was sent from.
//!
//! # References
//!
//! `RFC 7296 §2.23`, `RFC 3948`.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::digest::sha1;
use crate::ike::config::Encapsulation;
use crate::ike::io::Path;
use crate::ike::wire::{Chain, ChainWriter, EncodeError, HASH_LENGTH, NotifyContent, NotifyType, SpiI, SpiR};
use crate::rng::Rng;

/// Where there are NATs on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// Before the peer: its address may change under way.
    pub(crate) before_peer: bool,
    /// Before us: we keep its mapping alive.
    pub(crate) before_us: bool,
    /// Whether ESP goes through UDP.
    pub(crate) is_encapsulated: bool,
    /// Whether the peer has sent hashes: without them there is no NAT traversal.
    pub(crate) is_supported: bool,
}

/// SHA-1 of SPIs, address and port.
fn hash(spi_i: SpiI, spi_r: Option<SpiR>, address: SocketAddr) -> [u8; HASH_LENGTH] {
    let spi_r = spi_r.map(SpiR::to_octets).unwrap_or_default();
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => sha1(&[&spi_i.to_octets(), &spi_r, &ip.octets(), &port]),
        IpAddr::V6(ip) => sha1(&[&spi_i.to_octets(), &spi_r, &ip.octets(), &port]),
    }
}

impl Nat {
    /// What the hashes of the peer's message say, which came on `path`. Without hashes there is no
    /// NAT traversal.
    pub(crate) fn detect(
        chain: &Chain<'_>,
        spi_i: SpiI,
        spi_r: Option<SpiR>,
        path: Path,
        encapsulation: Encapsulation,
    ) -> Self {
        let theirs = hash(spi_i, spi_r, path.remote);
        let ours = hash(spi_i, spi_r, path.local);
        let (mut sources, mut source_fits, mut destination) = (false, false, None);
        for notify in chain.notifies() {
            match (notify.kind, <[u8; HASH_LENGTH]>::try_from(notify.data)) {
                (NotifyType::NatDetectionSource, Ok(hash)) => {
                    // One for each address that the sender may have.
                    sources = true;
                    source_fits |= hash == theirs;
                }
                (NotifyType::NatDetectionDestination, Ok(hash)) => destination = Some(hash == ours),
                _ => {}
            }
        }
        let Some(destination_fits) = destination.filter(|_| sources) else { return Self::default() };
        let (before_peer, before_us) = (!source_fits, !destination_fits);
        let is_encapsulated = before_peer || before_us || encapsulation == Encapsulation::Always;
        Self { before_peer, before_us, is_encapsulated, is_supported: true }
    }
}

/// Appends the hashes of a message of ours. With [`Encapsulation::Always`] that of our own address
/// is made up, so that the peer sees a NAT before us.
pub(crate) fn announce(
    chain: &mut ChainWriter<'_>,
    spi_i: SpiI,
    spi_r: Option<SpiR>,
    path: Path,
    encapsulation: Encapsulation,
    rng: &mut Rng,
) -> Result<(), EncodeError> {
    Hashes::new(spi_i, spi_r, path, encapsulation, rng).write(chain)
}

/// The hashes of a message of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashes {
    source: [u8; HASH_LENGTH],
    destination: [u8; HASH_LENGTH],
}

impl Hashes {
    /// Those of a message on this path.
    pub(crate) fn new(
        spi_i: SpiI,
        spi_r: Option<SpiR>,
        path: Path,
        encapsulation: Encapsulation,
        rng: &mut Rng,
    ) -> Self {
        let source = match encapsulation {
            Encapsulation::BehindNat => hash(spi_i, spi_r, path.local),
            Encapsulation::Always => rng.array(),
        };
        Self { source, destination: hash(spi_i, spi_r, path.remote) }
    }

    /// Appends them.
    pub(crate) fn write(&self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        chain.notify(&NotifyContent::NatDetectionSource(self.source))?;
        chain.notify(&NotifyContent::NatDetectionDestination(self.destination))
    }
}

/// As what the sender of a message has seen us: the hash of our address, if there is one.
pub(crate) fn seen_as(chain: &Chain<'_>) -> Option<[u8; HASH_LENGTH]> {
    chain.notify(NotifyType::NatDetectionDestination)?.data.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::ike::wire::encode_chain;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn spi() -> SpiI {
        SpiI(NonZeroU64::new(0x1122_3344_5566_7788).unwrap())
    }

    /// What the receiver on `at` finds out of hashes that were sent on `path`.
    fn detected(path: Path, at: Path, encapsulation: Encapsulation) -> Nat {
        let mut rng = Rng::from_number(1);
        let (first, octets) =
            encode_chain(|chain| announce(chain, spi(), None, path, encapsulation, &mut rng)).unwrap();
        let chain = Chain::decode(first, &octets).unwrap();
        Nat::detect(&chain, spi(), None, at, Encapsulation::BehindNat)
    }

    // test of RFC 7296 §2.23
    #[test]
    fn the_hash_is_that_of_spis_address_and_port() {
        let expected = [
            0x18, 0xd8, 0x46, 0x25, 0xa2, 0xbe, 0x15, 0x97, 0x86, 0x49, 0x47, 0x13, 0xf7, 0x4c, 0x3b, 0xc2,
            0xd1, 0x1e, 0x80, 0x06,
        ];

        assert_eq!(hash(spi(), None, address("198.51.100.7:500")), expected);
    }

    #[test]
    fn each_side_finds_the_nat_before_it_and_before_the_other() {
        let sent = Path { local: address("10.0.0.2:500"), remote: address("192.0.2.1:500") };
        let seen = |local: &str, remote: &str| {
            let at = Path { local: address(local), remote: address(remote) };
            detected(sent, at, Encapsulation::BehindNat)
        };
        let nat = |before_peer, before_us| Nat {
            before_peer,
            before_us,
            is_encapsulated: before_peer || before_us,
            is_supported: true,
        };

        assert_eq!(seen("192.0.2.1:500", "10.0.0.2:500"), nat(false, false));
        assert_eq!(seen("192.0.2.1:500", "198.51.100.9:500"), nat(true, false));
        assert_eq!(seen("192.0.2.1:500", "10.0.0.2:1024"), nat(true, false));
        assert_eq!(seen("10.1.1.1:500", "10.0.0.2:500"), nat(false, true));
        assert_eq!(seen("10.1.1.1:500", "198.51.100.9:500"), nat(true, true));
    }

    #[test]
    fn a_made_up_hash_makes_the_peer_see_a_nat() {
        let sent = Path { local: address("10.0.0.2:500"), remote: address("192.0.2.1:500") };
        let at = Path { local: sent.remote, remote: sent.local };

        assert!(detected(sent, at, Encapsulation::Always).before_peer);
    }

    #[test]
    fn without_hashes_there_is_no_nat_traversal() {
        let at = Path { local: address("10.0.0.2:500"), remote: address("192.0.2.1:500") };

        assert_eq!(Nat::detect(&Chain::EMPTY, spi(), None, at, Encapsulation::Always), Nat::default());
    }
}

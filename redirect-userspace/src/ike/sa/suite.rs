//! From negotiated numbers to algorithms.

use crate::crypto::cipher::{Encr, Protection};
use crate::crypto::integ::Integ;
use crate::crypto::kex::Group;
use crate::crypto::prf::Prf;
use crate::crypto::{Legacy, Suite};
use crate::ike::proposal::{Cipher, EspSuite, IkeSuite};
use crate::ike::wire::{Integrity, KeyExchangeMethod};

/// The algorithms of an IKE SA; `None` for those that are not there. A configured proposal names
/// none of those, so that nothing like it is ever chosen.
pub(crate) fn ike(suite: IkeSuite, legacy: Option<Legacy>) -> Option<Suite> {
    Some(Suite {
        protection: protection(suite.cipher, suite.integrity, legacy)?,
        prf: Prf::from_transform(suite.prf.into(), legacy)?,
        group: group(suite.key_exchange)?,
    })
}

/// The algorithms of a Child SA.
pub(crate) fn esp(suite: EspSuite, legacy: Option<Legacy>) -> Option<Protection> {
    protection(suite.cipher, suite.integrity, legacy)
}

/// The group of a key exchange method.
pub(crate) fn group(method: KeyExchangeMethod) -> Option<Group> {
    Group::from_transform(method.into())
}

fn protection(cipher: Cipher, integrity: Option<Integrity>, legacy: Option<Legacy>) -> Option<Protection> {
    let encr = Encr::from_transform(cipher.algorithm.into(), cipher.key_bits)?;
    let integ = match integrity {
        Some(integrity) => Some(Integ::from_transform(integrity.into(), legacy)?),
        None => None,
    };
    Protection::new(encr, integ).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::proposal::{EspExchange, EspProposal, IkeProposal};
    use crate::ike::wire::ChildSpi;
    use std::num::NonZeroU32;

    #[test]
    fn every_algorithm_that_can_be_configured_is_there() {
        for encr in ["aes128", "aes256"] {
            for integ in ["sha256", "sha384", "sha512"] {
                for group in ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519"] {
                    check(&format!("{encr}-{integ}"), group);
                }
            }
        }
        for aead in ["aes128gcm16", "aes256gcm16", "chacha20poly1305"] {
            for prf in ["prfsha256", "prfsha384", "prfsha512"] {
                let proposal: IkeProposal = format!("{aead}-{prf}-x25519").parse().unwrap();
                let offer = IkeProposal::offer(std::slice::from_ref(&proposal), None).unwrap();
                let suite = IkeSuite::chosen(&offer, &offer).unwrap().suite;
                assert!(ike(suite, None).is_some(), "{suite}");
            }
            check(aead, "x25519");
        }
    }

    fn check(protection: &str, key_exchange: &str) {
        let proposal: EspProposal = format!("{protection}-{key_exchange}").parse().unwrap();
        let spi = ChildSpi(NonZeroU32::new(256).unwrap());
        let exchange = EspExchange::CreateChildSa(None);
        let offer = EspProposal::offer(std::slice::from_ref(&proposal), spi, exchange).unwrap();
        let suite = EspSuite::chosen(&offer, &offer).unwrap().suite;
        assert!(esp(suite, None).is_some(), "{suite}");
        assert!(group(suite.key_exchange.unwrap()).is_some(), "{suite}");
    }
}

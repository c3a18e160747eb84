//! Stateless cookies: proof that a source address is where somebody is.
//!
//! # Invariants
//!
//! - A cookie is good for one source address, one SPI and one nonce, and for [`LIFETIME`] to twice
//!   as long.
//!
//! # References
//!
//! `RFC 7296 §2.6`.

use std::net::IpAddr;
use std::time::Duration;

use crate::crypto::prf::{Prf, PrfKey};
use crate::ike::wire::{Cookie, SpiI};
use crate::rng::Rng;
use crate::secret::is_same;
use crate::time::{Instant, Now};

/// How long a secret makes cookies; for as long again it still knows them.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);

/// Octets of a cookie behind the number of its secret.
const LENGTH: usize = 16;

/// Makes cookies and knows them again.
#[derive(Debug)]
pub(crate) struct Jar {
    current: Secret,
    previous: Option<Secret>,
}

#[derive(Debug)]
struct Secret {
    number: u8,
    key: PrfKey,
    since: Instant,
}

impl Jar {
    pub(crate) fn new(now: Now, rng: &mut Rng) -> Self {
        Self { current: Secret::new(0, now, rng), previous: None }
    }

    /// Takes another secret when it is time.
    fn turn(&mut self, now: Now, rng: &mut Rng) {
        if now.mono < self.current.since + LIFETIME {
            return;
        }
        let next = Secret::new(self.current.number.wrapping_add(1), now, rng);
        let old = std::mem::replace(&mut self.current, next);
        // One that nobody has asked for a long time is no good any more.
        self.previous = (now.mono < old.since + 2 * LIFETIME).then_some(old);
    }

    /// A cookie for whoever sends such a request.
    pub(crate) fn bake(
        &mut self,
        now: Now,
        rng: &mut Rng,
        source: IpAddr,
        spi: SpiI,
        nonce: &[u8],
    ) -> Option<Cookie<'static>> {
        self.turn(now, rng);
        let mut octets = vec![self.current.number];
        octets.extend_from_slice(&self.current.code(source, spi, nonce));
        Cookie::new(octets).ok()
    }

    /// Whether a cookie is one of ours for such a request.
    pub(crate) fn is_good(
        &mut self,
        now: Now,
        rng: &mut Rng,
        source: IpAddr,
        spi: SpiI,
        nonce: &[u8],
        cookie: &[u8],
    ) -> bool {
        self.turn(now, rng);
        let [number, code @ ..] = cookie else { return false };
        let secrets = [Some(&self.current), self.previous.as_ref()];
        secrets
            .into_iter()
            .flatten()
            .any(|secret| secret.number == *number && is_same(&secret.code(source, spi, nonce), code))
    }
}

impl Secret {
    fn new(number: u8, now: Now, rng: &mut Rng) -> Self {
        let key: [u8; 32] = rng.array();
        Self { number, key: PrfKey::new(Prf::HmacSha256, &key), since: now.mono }
    }

    fn code(&self, source: IpAddr, spi: SpiI, nonce: &[u8]) -> [u8; LENGTH] {
        let spi = spi.to_octets();
        let code = match source {
            IpAddr::V4(source) => self.key.compute(&[&source.octets(), &spi, nonce]),
            IpAddr::V6(source) => self.key.compute(&[&source.octets(), &spi, nonce]),
        };
        code.expose().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn spi(number: u64) -> SpiI {
        SpiI(NonZeroU64::new(number).unwrap())
    }

    // test of RFC 7296 §2.6
    #[test]
    fn a_cookie_is_good_for_one_source_spi_and_nonce() {
        let (mut rng, now) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(now, &mut rng);
        let cookie = jar.bake(now, &mut rng, SOURCE, spi(1), b"nonce").unwrap();
        let mut is_good = |source: IpAddr, number, nonce: &[u8], cookie: &[u8]| {
            jar.is_good(now, &mut rng, source, spi(number), nonce, cookie)
        };

        assert!(is_good(SOURCE, 1, b"nonce", cookie.as_slice()));
        assert!(!is_good("10.0.0.2".parse().unwrap(), 1, b"nonce", cookie.as_slice()));
        assert!(!is_good(SOURCE, 2, b"nonce", cookie.as_slice()));
        assert!(!is_good(SOURCE, 1, b"other", cookie.as_slice()));
        assert!(!is_good(SOURCE, 1, b"nonce", &cookie.as_slice()[..16]));
        assert!(!is_good(SOURCE, 1, b"nonce", b""));
    }

    #[test]
    fn a_cookie_outlives_one_change_of_secrets_and_not_two() {
        let (mut rng, start) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(start, &mut rng);
        let cookie = jar.bake(start, &mut rng, SOURCE, spi(1), b"nonce").unwrap();
        let mut is_good = |after| {
            let now = start.after(after);
            jar.is_good(now, &mut rng, SOURCE, spi(1), b"nonce", cookie.as_slice())
        };

        assert!(is_good(LIFETIME - Duration::from_millis(1)));
        assert!(is_good(LIFETIME));
        assert!(is_good(2 * LIFETIME - Duration::from_millis(1)));
        assert!(!is_good(2 * LIFETIME));
    }

    #[test]
    fn a_cookie_that_slept_through_is_no_good() {
        let (mut rng, start) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(start, &mut rng);
        let cookie = jar.bake(start, &mut rng, SOURCE, spi(1), b"nonce").unwrap();
        let late = start.after(3 * LIFETIME);

        assert!(!jar.is_good(late, &mut rng, SOURCE, spi(1), b"nonce", cookie.as_slice()));
    }
}

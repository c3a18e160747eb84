//! Stateless cookies: proof that a source address is where somebody is.
//!
//! All workers have the same keys, and so has the fast path, which asks for cookies in their place: keys
//! follow from one secret and the time.
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

use common::cookie::{Key, NONCE, Sender};

use crate::crypto::prf::{Prf, PrfKey};
use crate::ike::wire::{Cookie, SpiI};
use crate::rng::Rng;
use crate::secret::is_same;
use crate::time::{Instant, Now};

/// How long a key makes cookies; for as long again it still knows them.
const LIFETIME: Duration = Duration::from_secs(30);

/// Makes the keys of cookies, one after the other. Clones make the same ones.
#[derive(Clone, Debug)]
pub struct CookieKeys {
    secret: PrfKey,
    since: Instant,
}

impl CookieKeys {
    /// Keys that nobody else has.
    #[must_use]
    pub fn new(now: Now, rng: &mut Rng) -> Self {
        let secret: [u8; 32] = rng.array();
        Self { secret: PrfKey::new(Prf::HmacSha256, &secret), since: now.mono }
    }

    /// The key that cookies are made with now, and the one before it.
    #[must_use]
    pub fn at(&self, now: Now) -> (Key, Option<Key>) {
        let number = now.mono.since(self.since).as_secs() / LIFETIME.as_secs();
        (self.key(number), number.checked_sub(1).map(|before| self.key(before)))
    }

    fn key(&self, number: u64) -> Key {
        let code = self.secret.compute(&[b"cookie", &number.to_be_bytes()]);
        let half = |at: usize| {
            let octets = code.expose().get(at..).and_then(<[u8]>::first_chunk).copied();
            u64::from_le_bytes(octets.unwrap_or_default())
        };
        Key { halves: [half(0), half(8)], number }
    }
}

/// Makes cookies and knows them again.
#[derive(Debug)]
pub(crate) struct Jar {
    keys: CookieKeys,
    current: Key,
    previous: Option<Key>,
    until: Instant,
}

impl Jar {
    pub(crate) fn new(now: Now, keys: CookieKeys) -> Self {
        let mut jar = Self { keys, current: Key::default(), previous: None, until: now.mono };
        jar.turn(now);
        jar
    }

    /// Takes another key when it is time.
    fn turn(&mut self, now: Now) {
        if now.mono < self.until {
            return;
        }
        (self.current, self.previous) = self.keys.at(now);
        let times = u32::try_from(self.current.number + 1).unwrap_or(u32::MAX);
        self.until = self.keys.since + LIFETIME.saturating_mul(times);
    }

    /// A cookie for whoever sends such a request.
    pub(crate) fn bake(
        &mut self,
        now: Now,
        source: IpAddr,
        spi: SpiI,
        nonce: &[u8],
    ) -> Option<Cookie<'static>> {
        self.turn(now);
        let sender = sender(source, spi, nonce)?;
        Cookie::new(self.current.cookie(&sender).to_vec()).ok()
    }

    /// Whether a cookie is one of ours for such a request.
    pub(crate) fn is_good(
        &mut self,
        now: Now,
        source: IpAddr,
        spi: SpiI,
        nonce: &[u8],
        cookie: &[u8],
    ) -> bool {
        self.turn(now);
        let Some(sender) = sender(source, spi, nonce) else { return false };
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| is_same(&key.cookie(&sender), cookie))
    }
}

/// `None` for a nonce that is too short to be one.
fn sender(source: IpAddr, spi: SpiI, nonce: &[u8]) -> Option<Sender> {
    let source = match source {
        IpAddr::V4(source) => {
            let [a, b, c, d] = source.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(source) => source.octets(),
    };
    let nonce: &[u8; NONCE] = nonce.first_chunk()?;
    Some(Sender { source, spi_i: spi.to_octets(), nonce: *nonce })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    const NI: &[u8] = b"a nonce of one client";
    const OTHER: &[u8] = b"the nonce of another one";

    fn spi(number: u64) -> SpiI {
        SpiI(NonZeroU64::new(number).unwrap())
    }

    // test of RFC 7296 §2.6
    #[test]
    fn a_cookie_is_good_for_one_source_spi_and_nonce() {
        let (mut rng, now) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(now, CookieKeys::new(now, &mut rng));
        let cookie = jar.bake(now, SOURCE, spi(1), NI).unwrap();
        let mut is_good = |source: IpAddr, number, nonce: &[u8], cookie: &[u8]| {
            jar.is_good(now, source, spi(number), nonce, cookie)
        };

        assert!(is_good(SOURCE, 1, NI, cookie.as_slice()));
        assert!(!is_good("10.0.0.2".parse().unwrap(), 1, NI, cookie.as_slice()));
        assert!(!is_good(SOURCE, 2, NI, cookie.as_slice()));
        assert!(!is_good(SOURCE, 1, OTHER, cookie.as_slice()));
        assert!(!is_good(SOURCE, 1, NI, &cookie.as_slice()[..9]));
        assert!(!is_good(SOURCE, 1, NI, b""));
    }

    #[test]
    fn a_cookie_outlives_one_change_of_secrets_and_not_two() {
        let (mut rng, start) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(start, CookieKeys::new(start, &mut rng));
        let cookie = jar.bake(start, SOURCE, spi(1), NI).unwrap();
        let mut is_good = |after| {
            let now = start.after(after);
            jar.is_good(now, SOURCE, spi(1), NI, cookie.as_slice())
        };

        assert!(is_good(LIFETIME - Duration::from_millis(1)));
        assert!(is_good(LIFETIME));
        assert!(is_good(2 * LIFETIME - Duration::from_millis(1)));
        assert!(!is_good(2 * LIFETIME));
    }

    #[test]
    fn a_cookie_that_slept_through_is_no_good() {
        let (mut rng, start) = (Rng::from_number(1), Now::default());
        let mut jar = Jar::new(start, CookieKeys::new(start, &mut rng));
        let cookie = jar.bake(start, SOURCE, spi(1), NI).unwrap();
        let late = start.after(3 * LIFETIME);

        assert!(!jar.is_good(late, SOURCE, spi(1), NI, cookie.as_slice()));
    }

    #[test]
    fn whoever_has_the_same_secret_has_the_same_cookies() {
        let (mut rng, start) = (Rng::from_number(1), Now::default());
        let keys = CookieKeys::new(start, &mut rng);
        let (mut one, mut other) = (Jar::new(start, keys.clone()), Jar::new(start, keys.clone()));
        let later = start.after(7 * LIFETIME);

        let cookie = one.bake(later, SOURCE, spi(1), NI).unwrap();

        assert!(other.is_good(later, SOURCE, spi(1), NI, cookie.as_slice()));
        let (current, previous) = keys.at(later);
        assert_eq!((current.number, previous.map(|key| key.number)), (7, Some(6)));
        assert_eq!(cookie.as_slice(), current.cookie(&sender(SOURCE, spi(1), NI).unwrap()));
        let mut stranger = Jar::new(start, CookieKeys::new(start, &mut rng));
        assert!(!stranger.is_good(later, SOURCE, spi(1), NI, cookie.as_slice()));
    }
}

//! Making and opening tickets with the cluster's reconnect keys.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use super::{MAX_LENGTH, Ticket, TicketId, Unusable, content};
use crate::codec::{Reader, Writer};
use crate::crypto::cipher::{Around, CipherError, Encr, Protection, TrafficKeys};
use crate::crypto::digest::sha256;
use crate::crypto::prf::{Prf, PrfKey};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::UnixTime;

/// A reconnect key of the cluster.
pub struct TicketKey {
    key: PrfKey,
    name: [u8; NAME],
}

impl TicketKey {
    /// Fewest octets of a key.
    // RFC 5723 §9.5: at least 128 bits. An operator's text has fewer of them than its length says.
    pub const MIN_LENGTH: usize = 16;

    /// Takes a key.
    ///
    /// # Errors
    ///
    /// It is too short.
    pub fn new(secret: &Secret) -> Result<Self, TicketKeyError> {
        if secret.len() < Self::MIN_LENGTH {
            return Err(TicketKeyError { length: secret.len() });
        }
        let key = PrfKey::new(Prf::HmacSha256, secret.expose());
        let mut name = [0; NAME];
        for (place, octet) in name.iter_mut().zip(key.compute(&[KEY_NAME]).expose()) {
            *place = *octet;
        }
        Ok(Self { key, name })
    }

    /// Whether another one is the same key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// The keys for one ticket.
    fn of(&self, header: &[u8], cluster: &str) -> Option<TrafficKeys> {
        let protection = protection()?;
        let seed: [&[u8]; 3] = [TICKET_KEY, header, cluster.as_bytes()];
        let keys = self.key.expand(&seed).secret(protection.encr_key_length()).ok()?;
        TrafficKeys::new(protection, keys.expose(), &[]).ok()
    }
}

impl Debug for TicketKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

/// Why a key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reconnect key has at least {} octets, not {length}", TicketKey::MIN_LENGTH)]
pub struct TicketKeyError {
    /// Octets there are.
    pub length: usize,
}

/// Makes tickets with the active key, and opens those of all keys.
pub struct Sealer {
    /// This node's name.
    node: Arc<str>,
    cluster: Box<str>,
    fingerprint: [u8; FINGERPRINT],
    active: Option<TicketKey>,
    others: Vec<TicketKey>,
    lifetime: Duration,
    not_before: UnixTime,
}

impl Debug for Sealer {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { node, cluster, lifetime, not_before, active, others, fingerprint: _ } = self;
        let count = others.len() + usize::from(active.is_some());
        write!(f, "Sealer({node} of {cluster:?}, {count} keys, {lifetime:?}, {not_before:?})")
    }
}

impl Sealer {
    /// For a node of a cluster. Without an `active` key tickets are opened only.
    #[must_use]
    pub fn new(node: &str, cluster: &str, active: Option<TicketKey>, others: Vec<TicketKey>) -> Self {
        let mut fingerprint = [0; FINGERPRINT];
        for (place, octet) in fingerprint.iter_mut().zip(sha256(&[CLUSTER, cluster.as_bytes()])) {
            *place = octet;
        }
        Self {
            node: node.into(),
            cluster: cluster.into(),
            fingerprint,
            active,
            others,
            lifetime: DEFAULT_LIFETIME,
            not_before: UnixTime::EPOCH,
        }
    }

    /// Tickets are good for so long.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: lifetime.min(MAX_LIFETIME), ..self }
    }

    /// Sessions are not resumed whose client authenticated itself with credentials before this time.
    #[must_use]
    pub fn with_not_before(self, not_before: UnixTime) -> Self {
        Self { not_before, ..self }
    }

    /// This node's name.
    #[must_use]
    pub const fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Whether it makes tickets.
    #[must_use]
    pub const fn makes_tickets(&self) -> bool {
        self.active.is_some()
    }

    /// How long its tickets are good, at most.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Makes a ticket. `None` without an active key, and when it would be longer than
    /// [`MAX_LENGTH`].
    #[must_use]
    pub fn seal(&self, rng: &mut Rng, ticket: &Ticket) -> Option<(TicketId, Vec<u8>)> {
        let key = self.active.as_ref()?;
        let id = TicketId(rng.array());
        let mut header = Writer::new();
        header.u8(VERSION);
        header.octets(&self.fingerprint);
        header.octets(&key.name);
        header.octets(&id.0);
        let header = header.into_octets();
        // All of its memory from the start: no copy of the content is left behind by growing.
        let mut content = Writer::after(Vec::with_capacity(content::MAX));
        let fits = content::encode(ticket, &mut content);
        let mut content = Secret::new(content.into_octets());
        if !fits || content.len() > MAX_LENGTH - HEADER - TAG {
            return None;
        }
        let sealer = key.of(&header, &self.cluster)?.sealer().ok()?;
        let mut tag = [0; TAG];
        sealer.seal(around(&header), content.expose_mut(), &mut tag).ok()?;
        Some((id, [&header, content.expose(), &tag].concat()))
    }

    /// Opens a ticket, and checks everything but whether it has been used.
    ///
    /// # Errors
    ///
    /// [`Unusable`], but for [`Unusable::NoKeys`] and [`Unusable::Used`].
    pub fn open(&self, now: UnixTime, octets: &[u8]) -> Result<(TicketId, Ticket), Unusable> {
        let malformed = Unusable::Malformed { length: octets.len() };
        if octets.len() > MAX_LENGTH {
            return Err(malformed);
        }
        let (header, sealed) = octets.split_at_checked(HEADER).ok_or(malformed)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(malformed)?;
        let mut reader = Reader::new(header);
        let mut read = || -> Result<_, crate::codec::DecodeError> {
            let what = "ticket";
            Ok((
                reader.u8(what)?,
                reader.array::<FINGERPRINT>(what)?,
                reader.array::<NAME>(what)?,
                TicketId(reader.array(what)?),
            ))
        };
        let (version, cluster, name, id) = read().map_err(|_short| malformed)?;
        if version != VERSION {
            return Err(Unusable::Version { version });
        }
        if cluster != self.fingerprint {
            return Err(Unusable::OtherCluster);
        }
        let key = self.active.iter().chain(&self.others).find(|key| key.name == name);
        let keys = key.ok_or(Unusable::UnknownKey)?.of(header, &self.cluster).ok_or(Unusable::UnknownKey)?;
        let opener = keys.opener().map_err(|_library| Unusable::UnknownKey)?;
        let mut content = Secret::from(sealed);
        let ticket = match opener.open(around(header), content.expose_mut(), tag) {
            // What has our seal and is no ticket was made by another program with our keys.
            Ok(()) => content::decode(content.expose()).map_err(|_unreadable| malformed)?,
            Err(CipherError::Mismatch) => return Err(Unusable::Forged),
            Err(_library) => return Err(malformed),
        };
        self.judge(now, &ticket)?;
        Ok((id, ticket))
    }

    /// Whether the time for it has come, and is not over.
    fn judge(&self, now: UnixTime, ticket: &Ticket) -> Result<(), Unusable> {
        if ticket.expires_at <= now {
            return Err(Unusable::Expired { expired_at: ticket.expires_at });
        }
        // Nobody's clock makes a ticket that is good for longer than tickets are.
        let latest = now.since_epoch().saturating_add(CLOCK_SKEW);
        let longest = ticket.issued_at.since_epoch().saturating_add(MAX_LIFETIME);
        if ticket.issued_at.since_epoch() > latest || ticket.expires_at.since_epoch() > longest {
            return Err(Unusable::Early);
        }
        if ticket.basis.authenticated_at < self.not_before {
            return Err(Unusable::Revoked);
        }
        Ok(())
    }
}

/// A key is used for one ticket: there is no second IV.
const fn around(header: &[u8]) -> Around<'_> {
    Around { head: header, iv: &[0; 8], tail: &[] }
}

fn protection() -> Option<Protection> {
    Protection::new(Encr::AesGcm256, None).ok()
}

/// Version 1 had no key exchanges beyond the first in its content.
const VERSION: u8 = 2;
const FINGERPRINT: usize = 4;
const NAME: usize = 4;
const TAG: usize = 16;
/// Octets before what is sealed.
const HEADER: usize = 1 + FINGERPRINT + NAME + TicketId::LENGTH;
/// How far the clocks of two members may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// How long tickets are good unless the operator says.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(8 * 3_600);
/// The longest time that a ticket can be good.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

const KEY_NAME: &[u8] = b"reconnect key name";
const TICKET_KEY: &[u8] = b"reconnect ticket";
const CLUSTER: &[u8] = b"reconnect cluster";

//! What is inside a ticket, as octets.
//!
//! # Picture
//!
//! ```text
//! issued at 8 │ expires at 8 │ authenticated at 8 │ valid until 8 (0 = for ever)
//! run 8 │ SPIi 8 │ SPIr 8
//! cipher 2 │ key bits 2 (0 = fixed) │ integrity 2 (0 = none) │ PRF 2 │ key exchange 2
//! count 1, of each further key exchange: method 2 (0 = none in this place)
//! means 1 │ length 1, issuer │ length 1, profile │ length 1, SK_d
//! length 2, IDi │ length 2, IDr │ length 2, EAP identity (empty = IDi)
//! count 1, of each address: length 1, pool │ family 1 (4, 6) │ address 4 or 16 │ lease 8
//! ```
//!
//! Times are seconds since 1970. Identities are the bodies of ID payloads.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, Basis, MAX_ADDRESSES, MAX_LENGTH, Origin, Ticket};
use crate::codec::{DecodeError, Reader, Writer};
use crate::ike::authn::Means;
use crate::ike::config::Name;
use crate::ike::proposal::{Additional, Cipher, IkeSuite};
use crate::ike::wire::{AdditionalIndex, Encryption, Id, Integrity, KeyExchangeMethod, Prf, SpiI, SpiR};
use crate::secret::Secret;
use crate::time::UnixTime;

/// Appends a ticket's content; says whether everything has fitted into its place.
#[must_use]
pub(super) fn encode(ticket: &Ticket, out: &mut Writer) -> bool {
    let Ticket {
        origin: Origin { issuer, run, spis: (spi_i, spi_r) },
        issued_at,
        expires_at,
        profile,
        basis: Basis { authenticated_at, means, valid_until, eap_identity },
        initiator,
        responder,
        suite: IkeSuite { cipher: Cipher { algorithm, key_bits }, integrity, prf, key_exchange, additional },
        key,
        addresses,
    } = ticket;
    let eap_identity = eap_identity.as_deref().unwrap_or_default();
    let (initiator, responder) = (body(initiator), body(responder));
    if initiator.len() + responder.len() + eap_identity.len() > MAX_LENGTH {
        return false;
    }
    for time in [*issued_at, *expires_at, *authenticated_at, valid_until.unwrap_or_default()] {
        out.octets(&time.since_epoch().as_secs().to_be_bytes());
    }
    for number in [*run, spi_i.0.get(), spi_r.0.get()] {
        out.octets(&number.to_be_bytes());
    }
    out.u16((*algorithm).into());
    out.u16(key_bits.unwrap_or(0));
    out.u16(integrity.map_or(0, u16::from));
    out.u16((*prf).into());
    out.u16((*key_exchange).into());
    let further: Vec<u16> = additional.places().map(|(_, method)| method.into()).collect();
    let count = further.iter().rposition(|method| *method != 0).map_or(0, |last| last + 1);
    out.u8(u8::try_from(count).unwrap_or(0));
    for method in further.into_iter().take(count) {
        out.u16(method);
    }
    out.u8(match means {
        Means::SharedKey => SHARED_KEY,
        Means::Signature => SIGNATURE,
        Means::Eap => EAP,
    });
    let mut fits = short(out, issuer.as_bytes()) & short(out, profile.as_str().as_bytes());
    fits &= short(out, key.expose());
    fits &= long(out, &initiator) & long(out, &responder) & long(out, eap_identity.as_bytes());
    let count = addresses.len().min(MAX_ADDRESSES);
    fits &= count == addresses.len();
    out.u8(u8::try_from(count).unwrap_or(0));
    for Address { pool, address, lease } in addresses.iter().take(count) {
        fits &= short(out, pool.as_str().as_bytes());
        match address {
            IpAddr::V4(address) => {
                out.u8(4);
                out.octets(&address.octets());
            }
            IpAddr::V6(address) => {
                out.u8(6);
                out.octets(&address.octets());
            }
        }
        out.octets(&lease.to_be_bytes());
    }
    fits
}

/// The body of an ID payload.
fn body(id: &Id<'_>) -> Vec<u8> {
    let mut body = Writer::new();
    id.encode(&mut body);
    body.into_octets()
}

/// Octets behind a length of one octet.
fn short(out: &mut Writer, octets: &[u8]) -> bool {
    let Ok(length) = u8::try_from(octets.len()) else { return false };
    out.u8(length);
    out.octets(octets);
    true
}

/// Octets behind a length of two octets.
fn long(out: &mut Writer, octets: &[u8]) -> bool {
    let Ok(length) = u16::try_from(octets.len()) else { return false };
    out.u16(length);
    out.octets(octets);
    true
}

/// Reads a ticket's content.
pub(super) fn decode(octets: &[u8]) -> Result<Ticket, DecodeError> {
    let mut reader = Reader::new(octets);
    let mut time = || -> Result<UnixTime, DecodeError> {
        Ok(UnixTime::from_epoch(Duration::from_secs(reader.u64("time in a ticket")?)))
    };
    let (issued_at, expires_at, authenticated_at, valid_until) = (time()?, time()?, time()?, time()?);
    let run = reader.u64("run in a ticket")?;
    let spis = (SpiI(spi(&mut reader)?), SpiR(spi(&mut reader)?));
    let suite = suite(&mut reader)?;
    let means = match reader.u8("means in a ticket")? {
        SHARED_KEY => Means::SharedKey,
        SIGNATURE => Means::Signature,
        EAP => Means::Eap,
        other => return Err(DecodeError::Value { what: "means in a ticket", value: other.into() }),
    };
    let issuer: Arc<str> = text(take_short(&mut reader)?, "issuer in a ticket")?.into();
    let profile = name(&mut reader)?;
    let key = Secret::from(take_short(&mut reader)?);
    let initiator = Id::decode(take_long(&mut reader)?)?.into_owned();
    let responder = Id::decode(take_long(&mut reader)?)?.into_owned();
    let eap_identity = match text(take_long(&mut reader)?, "EAP identity in a ticket")? {
        "" => None,
        identity => Some(identity.into()),
    };
    let count = reader.u8("addresses in a ticket")?;
    if usize::from(count) > MAX_ADDRESSES {
        return Err(DecodeError::Value { what: "addresses in a ticket", value: count.into() });
    }
    let addresses = (0..count).map(|_| address(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    reader.finish("ticket")?;
    let valid_until = (valid_until != UnixTime::EPOCH).then_some(valid_until);
    Ok(Ticket {
        origin: Origin { issuer, run, spis },
        issued_at,
        expires_at,
        profile,
        basis: Basis { authenticated_at, means, valid_until, eap_identity },
        initiator,
        responder,
        suite,
        key,
        addresses,
    })
}

fn spi(reader: &mut Reader<'_>) -> Result<NonZeroU64, DecodeError> {
    let what = "SPI in a ticket";
    NonZeroU64::new(reader.u64(what)?).ok_or(DecodeError::Value { what, value: 0 })
}

fn suite(reader: &mut Reader<'_>) -> Result<IkeSuite, DecodeError> {
    let what = "suite in a ticket";
    let mut number = || reader.u16(what);
    let algorithm = Encryption::from(number()?);
    let key_bits = Some(number()?).filter(|bits| *bits > 0);
    let integrity = Some(number()?).filter(|integrity| *integrity > 0).map(Integrity::from);
    let (prf, key_exchange) = (Prf::from(number()?), KeyExchangeMethod::from(number()?));
    let mut additional = Additional::NONE;
    let count = reader.u8(what)?;
    for place in 0..count {
        let value = u64::from(count);
        let index = AdditionalIndex::new(place).ok_or(DecodeError::Value { what, value })?;
        additional.set(index, KeyExchangeMethod::from(reader.u16(what)?));
    }
    Ok(IkeSuite { cipher: Cipher { algorithm, key_bits }, integrity, prf, key_exchange, additional })
}

fn address(reader: &mut Reader<'_>) -> Result<Address, DecodeError> {
    let what = "address in a ticket";
    let pool = name(reader)?;
    let address = match reader.u8(what)? {
        4 => IpAddr::from(reader.array::<4>(what)?),
        6 => IpAddr::from(reader.array::<16>(what)?),
        other => return Err(DecodeError::Value { what, value: other.into() }),
    };
    Ok(Address { pool, address, lease: reader.u64(what)? })
}

fn name(reader: &mut Reader<'_>) -> Result<Name, DecodeError> {
    let what = "name in a ticket";
    let octets = take_short(reader)?;
    Name::new(text(octets, what)?).ok_or(DecodeError::Length { what, value: octets.len() })
}

fn take_short<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = reader.u8("ticket")?;
    reader.take(length.into(), "ticket")
}

fn take_long<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = reader.u16("ticket")?;
    reader.take(length.into(), "ticket")
}

fn text<'a>(octets: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(octets).map_err(|wrong| DecodeError::Length { what, value: wrong.valid_up_to() })
}

/// The content of a ticket, without its seal.
///
/// # Errors
///
/// It is none.
#[cfg(any(test, feature = "testing"))]
pub fn decode_content(octets: &[u8]) -> Result<Ticket, DecodeError> {
    decode(octets)
}

/// Appends the content of a ticket, without a seal; says whether it fits.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn encode_content(ticket: &Ticket, out: &mut Vec<u8>) -> bool {
    let mut writer = Writer::after(std::mem::take(out));
    let fits = encode(ticket, &mut writer);
    *out = writer.into_octets();
    fits
}

/// Room for all that [`encode`] writes: identities, and everything else.
pub(super) const MAX: usize = MAX_LENGTH + 1_536;

const SHARED_KEY: u8 = 1;
const SIGNATURE: u8 = 2;
const EAP: u8 = 3;

//! What servers answer: whether it is theirs, and what is in it.
//!
//! # Invariants
//!
//! - Nothing of an answer is used before [`check`] has said that it belongs to the request, and that
//!   who made it knows the secret. What lets somebody in, or carries EAP, has a Message-Authenticator.
//! - Codes are compared in constant time. Keys are zeroed when they are dropped.
//! - An answer that is authentic and yet cannot be is a refusal, not silence: the server is there.
//!
//! # References
//!
//! `RFC 2865 §3` and `§5`, `RFC 3579 §2.6` and `§3`, `RFC 2548 §2.4`, `RFC 3162 §2`, `RFC 6911 §3.1`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::digest::{MD5_LENGTH, md5};
use super::event::Discard;
use super::wire::{Authenticator, HEADER, Kind, MAX_PACKET, Packet};
use crate::codec::{DecodeError, Reader};
use crate::secret::{Secret, is_same};

/// Octets of the key that EAP and the gateway share (`RFC 3748 §7.10`).
pub const MSK_LENGTH: usize = 64;
/// Most characters of what a server says to people.
const MAX_TEXT: usize = 200;
/// Microsoft's number among the vendors.
const MICROSOFT: u32 = 311;
/// The key for what the gateway sends.
const MPPE_SEND_KEY: u8 = 16;
/// The key for what the gateway receives.
const MPPE_RECV_KEY: u8 = 17;
/// What stands for an address that the gateway chooses.
const GATEWAY_CHOOSES: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 254);
/// What stands for an address that the client chooses.
const CLIENT_CHOOSES: Ipv4Addr = Ipv4Addr::BROADCAST;

/// What a client may do, as its server has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The address that it gets; none = one of the gateway's pool.
    pub ipv4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// How long the session may last.
    pub session_timeout: Option<Duration>,
    /// Whether it is to authenticate itself again when that time is over, instead of going away.
    pub reauthenticates: bool,
    /// How often the server wants to hear of the session.
    pub interim: Option<Duration>,
    /// What the server wants to see again in accounting.
    pub class: Vec<Vec<u8>>,
    /// The name that accounting is for, if it is not the one that the client has said.
    pub user: Option<Vec<u8>>,
}

/// What an Access-Accept says.
#[derive(Debug)]
pub(crate) struct Accept {
    /// The client's last EAP packet.
    pub(crate) eap: Vec<u8>,
    /// The key that the client has got as well; none when the method has none.
    pub(crate) msk: Option<Secret>,
    pub(crate) grants: Grants,
    pub(crate) text: Option<String>,
}

/// What an Access-Challenge says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) eap: Vec<u8>,
    pub(crate) state: Option<Vec<u8>>,
}

/// What an Access-Reject says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Empty when the server has sent none (`RFC 3579 §2.6.3`).
    pub(crate) eap: Vec<u8>,
    pub(crate) text: Option<String>,
}

/// Whether a packet answers a request and is made by who knows the secret.
///
/// # Errors
///
/// Why it is not believed.
pub(crate) fn check(
    packet: &Packet<'_>,
    request: &Authenticator,
    secret: &Secret,
    needs_message_authenticator: bool,
) -> Result<(), Discard> {
    let octets = packet.octets();
    let (head, attributes) = (octets.get(..4), octets.get(HEADER..));
    let (head, attributes) = (head.unwrap_or_default(), attributes.unwrap_or_default());
    // RFC 2865 §3: MD5(code | identifier | length | the request's authenticator | attributes | secret)
    let expected = md5(&[head, request, attributes, secret.expose()]);
    if !is_same(&expected, &packet.authenticator) {
        return Err(Discard::WrongAuthenticator);
    }
    let Some(at) = packet.message_authenticator().map_err(|_unlike| Discard::Malformed)? else {
        let allowed = if needs_message_authenticator { Err(Discard::NoMessageAuthenticator) } else { Ok(()) };
        return allowed;
    };
    // RFC 3579 §3.2: with the request's authenticator, and zeros in the place of the code.
    let end = at + MD5_LENGTH;
    let (before, code, after) = (octets.get(HEADER..at), octets.get(at..end), octets.get(end..));
    let (Some(before), Some(code), Some(after)) = (before, code, after) else {
        return Err(Discard::Malformed);
    };
    let expected = super::digest::hmac_md5(secret, &[head, request, before, &[0; MD5_LENGTH], after]);
    if is_same(&expected, code) { Ok(()) } else { Err(Discard::WrongMessageAuthenticator) }
}

/// Reads an Access-Accept that was checked.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn accept(
    packet: &Packet<'_>,
    request: &Authenticator,
    secret: &Secret,
) -> Result<Accept, DecodeError> {
    let eap = joined_eap(packet)?;
    // RFC 3579 §2.6.3: what is accepted has succeeded. A packet that says otherwise helps nobody.
    if eap.first() != Some(&EAP_SUCCESS) {
        let code = eap.first().copied().unwrap_or_default();
        return Err(DecodeError::Value { what: "EAP packet of an Access-Accept", value: code.into() });
    }
    Ok(Accept { msk: msk(packet, request, secret)?, grants: grants(packet)?, text: text(packet), eap })
}

/// Reads an Access-Challenge that was checked.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn challenge(packet: &Packet<'_>) -> Result<Challenge, DecodeError> {
    let eap = joined_eap(packet)?;
    if eap.first() != Some(&EAP_REQUEST) {
        let code = eap.first().copied().unwrap_or_default();
        return Err(DecodeError::Value { what: "EAP packet of an Access-Challenge", value: code.into() });
    }
    let mut states = packet.all(Kind::STATE);
    let state = states.next().map(<[u8]>::to_vec);
    if states.next().is_some() {
        return Err(DecodeError::Trailing { what: "State", extra: 1 });
    }
    Ok(Challenge { eap, state })
}

/// Reads an Access-Reject that was checked.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn rejection(packet: &Packet<'_>) -> Result<Rejection, DecodeError> {
    let eap = joined_eap(packet)?;
    let is_failure = eap.is_empty() || eap.first() == Some(&EAP_FAILURE);
    Ok(Rejection { eap: if is_failure { eap } else { Vec::new() }, text: text(packet) })
}

/// The EAP packet of all EAP-Message attributes; empty when there are none.
// RFC 3579 §3.1: they are in order and consecutive.
fn joined_eap(packet: &Packet<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut eap = Vec::new();
    let mut has_ended = false;
    for attribute in packet.attributes() {
        let is_eap = attribute.kind == Kind::EAP_MESSAGE;
        if is_eap && has_ended {
            return Err(DecodeError::Trailing { what: "EAP-Message", extra: attribute.value.len() });
        }
        if is_eap {
            eap.extend_from_slice(attribute.value);
        }
        has_ended |= !is_eap && !eap.is_empty();
    }
    if eap.is_empty() {
        return Ok(eap);
    }
    // RFC 3748 §4: code, identifier, and the length of all of it.
    let length = match *eap.as_slice() {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
        _ => return Err(DecodeError::Truncated { what: "EAP packet", need: 4, have: eap.len() }),
    };
    if length != eap.len() || length > MAX_PACKET {
        return Err(DecodeError::Length { what: "EAP packet", value: length });
    }
    Ok(eap)
}

fn grants(packet: &Packet<'_>) -> Result<Grants, DecodeError> {
    let mut grants = Grants::default();
    let mut prefix = None;
    let mut interface = None;
    for attribute in packet.attributes() {
        let mut value = Reader::new(attribute.value);
        match attribute.kind {
            Kind::FRAMED_IP_ADDRESS => {
                let address = Ipv4Addr::from(value.array::<4>("Framed-IP-Address")?);
                let is_own = address != GATEWAY_CHOOSES && address != CLIENT_CHOOSES;
                grants.ipv4 = is_own.then_some(address);
            }
            Kind::FRAMED_IPV6_ADDRESS => {
                grants.ipv6 = Some(value.array::<16>("Framed-IPv6-Address")?.into());
            }
            Kind::FRAMED_IPV6_PREFIX => prefix = Some(ipv6_prefix(&mut value)?),
            Kind::FRAMED_INTERFACE_ID => interface = Some(value.array::<8>("Framed-Interface-Id")?),
            Kind::SESSION_TIMEOUT => grants.session_timeout = seconds(&mut value, "Session-Timeout")?,
            Kind::TERMINATION_ACTION => {
                grants.reauthenticates = value.u32("Termination-Action")? == RADIUS_REQUEST;
            }
            Kind::ACCT_INTERIM_INTERVAL => grants.interim = seconds(&mut value, "Acct-Interim-Interval")?,
            Kind::CLASS => grants.class.push(value.rest().to_vec()),
            Kind::USER_NAME => grants.user = Some(value.rest().to_vec()).filter(|name| !name.is_empty()),
            // Everything else is for other services, or of vendors.
            _ => continue,
        }
        value.finish("attribute")?;
    }
    // An address that is said as a whole goes before one that is put together.
    grants.ipv6 = grants.ipv6.or_else(|| whole_address(prefix?, interface));
    Ok(grants)
}

/// A time of some seconds; none of none.
fn seconds(value: &mut Reader<'_>, what: &'static str) -> Result<Option<Duration>, DecodeError> {
    let seconds = value.u32(what)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

/// A prefix and how many of its bits count.
// RFC 3162 §2.3: reserved, bits, and as many octets as it takes, or more.
fn ipv6_prefix(value: &mut Reader<'_>) -> Result<([u8; 16], u8), DecodeError> {
    let what = "Framed-IPv6-Prefix";
    value.u8(what)?;
    let bits = value.u8(what)?;
    let octets = value.rest();
    if bits > 128 || octets.len() > 16 || octets.len() * 8 < usize::from(bits) {
        return Err(DecodeError::Length { what, value: bits.into() });
    }
    let mut prefix = [0; 16];
    prefix.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    Ok((prefix, bits))
}

/// The one address of a prefix that has one, or of a network together with an interface's number.
fn whole_address((prefix, bits): ([u8; 16], u8), interface: Option<[u8; 8]>) -> Option<Ipv6Addr> {
    match (bits, interface) {
        (128, _) => Some(prefix.into()),
        (64, Some(interface)) => {
            let mut address = prefix;
            address.iter_mut().skip(8).zip(interface).for_each(|(place, octet)| *place = octet);
            Some(address.into())
        }
        _ => None,
    }
}

/// The key that EAP has given to both ends: what the gateway receives with, then what it sends with.
// RFC 5216 §2.3 has them in this order, and fills them up with zeros.
fn msk(packet: &Packet<'_>, request: &Authenticator, secret: &Secret) -> Result<Option<Secret>, DecodeError> {
    let (mut receive, mut send) = (None, None);
    for value in packet.all(Kind::VENDOR_SPECIFIC) {
        let mut reader = Reader::new(value);
        if reader.u32("vendor")? != MICROSOFT {
            continue;
        }
        while !reader.is_empty() {
            let kind = reader.u8("type of Microsoft's attribute")?;
            let length = reader.u8("length of Microsoft's attribute")?;
            let Some(length) = usize::from(length).checked_sub(2) else {
                return Err(DecodeError::Length { what: "Microsoft's attribute", value: length.into() });
            };
            let value = reader.take(length, "Microsoft's attribute")?;
            let place = match kind {
                MPPE_RECV_KEY => &mut receive,
                MPPE_SEND_KEY => &mut send,
                _ => continue,
            };
            if place.is_some() {
                return Err(DecodeError::Trailing { what: "MPPE key", extra: value.len() });
            }
            *place = Some(mppe_key(value, request, secret)?);
        }
    }
    let (Some(receive), Some(send)) = (receive, send) else { return Ok(None) };
    let length = receive.len() + send.len();
    if length > MSK_LENGTH {
        return Err(DecodeError::Length { what: "MPPE keys", value: length });
    }
    let mut msk = Secret::new(vec![0; MSK_LENGTH]);
    let octets = receive.expose().iter().chain(send.expose());
    msk.expose_mut().iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    Ok(Some(msk))
}

/// Finds a key in the value that hides it.
///
/// The first bit of the salt is to be set, and no salt is to be used twice. Servers that forget it
/// harm nobody but themselves.
// RFC 2548 §2.4.2: b(1) = MD5(secret | authenticator | salt), b(i) = MD5(secret | c(i-1)); what is
// hidden is the length of the key, the key, and zeros up to a whole block.
fn mppe_key(value: &[u8], request: &Authenticator, secret: &Secret) -> Result<Secret, DecodeError> {
    let what = "MPPE key";
    let mut reader = Reader::new(value);
    let salt = reader.array::<2>(what)?;
    let hidden = reader.rest();
    if hidden.is_empty() || !hidden.len().is_multiple_of(MD5_LENGTH) {
        return Err(DecodeError::Length { what, value: hidden.len() });
    }
    let mut plain = Secret::from(hidden);
    let mut mask = Secret::from(&md5(&[secret.expose(), request, &salt])[..]);
    let blocks = plain.expose_mut().chunks_mut(MD5_LENGTH).zip(hidden.chunks(MD5_LENGTH));
    for (block, hidden) in blocks {
        block.iter_mut().zip(mask.expose()).for_each(|(octet, mask)| *octet ^= mask);
        mask = Secret::from(&md5(&[secret.expose(), hidden])[..]);
    }
    let [length, rest @ ..] = plain.expose() else { return Err(DecodeError::Length { what, value: 0 }) };
    let length = usize::from(*length);
    match rest.split_at_checked(length) {
        Some((key, zeros)) if length > 0 && zeros.iter().all(|it| *it == 0) => Ok(Secret::from(key)),
        // With another secret than the server's it is anything.
        Some(_) | None => Err(DecodeError::Length { what, value: length }),
    }
}

/// What the server says to people, without anything that could disturb a terminal or fill a log.
fn text(packet: &Packet<'_>) -> Option<String> {
    let whole: String = packet.all(Kind::REPLY_MESSAGE).map(String::from_utf8_lossy).collect();
    let shown = whole.trim().chars().take(MAX_TEXT);
    let text: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!text.is_empty()).then_some(text)
}

/// Codes of EAP packets (`RFC 3748 §4`).
pub(crate) const EAP_REQUEST: u8 = 1;
/// It has gone well.
pub(crate) const EAP_SUCCESS: u8 = 3;
/// It has not.
pub(crate) const EAP_FAILURE: u8 = 4;
/// Termination-Action: another Access-Request (`RFC 2865 §5.29`).
const RADIUS_REQUEST: u32 = 1;

//! The bodies of the frames.
//!
//! The layouts are drawn in [`protocol`](super::protocol).
//!
//! # Invariants
//!
//! - What is decoded is right: names are names, addresses can be reached, ratios are ratios.
//! - Octets that are left over are an error.
//! - A type that nobody knows is skipped when it may be, and an error otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::auth::{NONCE, PROOF};
use super::config::{ClusterName, Settings, SlaveSettings};
use super::frame::{HEADER, OPTIONAL, header};
use super::reason::{LeaveReason, Refusal};
use super::report::{Availability, BasisPoints, Registration, Report};
use super::tickets::{UsedTicket, read_tickets, write_tickets};
use crate::codec::{DecodeError, Reader, Writer};
use crate::gateway::{GatewayAddress, GatewayAddresses, GatewayName, unicast};

/// First octets of every connection: nothing else begins like this.
pub(crate) const MAGIC: [u8; 4] = *b"RCLB";
/// Least and greatest version that we speak.
pub(crate) const VERSIONS: (u8, u8) = (1, 2);
/// First version in which a slave proves that it knows the key that it accepts.
pub(crate) const TWO_PROOFS: u8 = 2;

/// Types of frames.
pub(crate) mod kind {
    /// Slave to master, first of all.
    pub(crate) const OFFER: u8 = 0x01;
    /// Master to slave, in answer.
    pub(crate) const CHALLENGE: u8 = 0x02;
    /// Slave to master.
    pub(crate) const SLAVE_PROOF: u8 = 0x03;
    /// Master to slave; everything after it is sealed.
    pub(crate) const MASTER_PROOF: u8 = 0x04;
    /// Master to slave, instead of a challenge or proof.
    pub(crate) const REJECTED: u8 = 0x05;

    /// Slave to master: who it is.
    pub(crate) const REGISTER: u8 = 0x10;
    /// Slave to master: its load.
    pub(crate) const UPDATE: u8 = 0x11;
    /// Slave to master: it is alive.
    pub(crate) const HELLO: u8 = 0x12;
    /// Slave to master: it goes.
    pub(crate) const LEAVE: u8 = 0x13;
    /// Slave to master: tickets that it has used. May be skipped.
    pub(crate) const USED: u8 = 0x94;

    /// Master to slave: it is a member.
    pub(crate) const ACCEPTED: u8 = 0x20;
    /// Master to slave: it is no member.
    pub(crate) const REFUSED: u8 = 0x21;
    /// Master to slave: a part of the members.
    pub(crate) const VIEW: u8 = 0x22;
    /// Master to slave: it is alive.
    pub(crate) const ALIVE: u8 = 0x23;
    /// Master to slave: something to do.
    pub(crate) const ORDER: u8 = 0x24;
    /// Master to slave: who is drained and away. May be skipped.
    pub(crate) const DRAINED: u8 = 0xa2;
    /// Master to slave: tickets that were used. May be skipped.
    pub(crate) const TICKETS: u8 = 0xa5;
}

/// Why a body is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// It is not what its type says.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A type that nobody knows.
    #[error("a frame of type {0:#04x} has no place here")]
    Unknown(u8),
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Least and greatest version that the slave speaks.
    pub(crate) versions: (u8, u8),
    /// What the slave adds to what makes the connection unique.
    pub(crate) nonce: [u8; NONCE],
    /// Which cluster it belongs to.
    pub(crate) cluster: ClusterName,
}

impl Offer {
    /// The whole frame.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        handshake_frame(kind::OFFER, |body| {
            body.octets(&MAGIC);
            body.u8(self.versions.0);
            body.u8(self.versions.1);
            body.octets(&self.nonce);
            write_text(body, self.cluster.as_str());
        })
    }

    /// The versions, whatever the rest looks like: in another version it may look different.
    ///
    /// # Errors
    ///
    /// Not the beginning of an offer.
    pub(crate) fn versions(body: &[u8]) -> Result<(u8, u8), DecodeError> {
        read_versions(&mut Reader::new(body))
    }

    /// Decodes the body.
    ///
    /// # Errors
    ///
    /// Not an offer.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let versions = read_versions(&mut reader)?;
        let nonce = reader.array("nonce")?;
        let cluster = read_text(&mut reader, "cluster name")?;
        reader.finish("offer")?;
        Ok(Self { versions, nonce, cluster })
    }
}

fn read_versions(reader: &mut Reader<'_>) -> Result<(u8, u8), DecodeError> {
    let magic: [u8; 4] = reader.array("magic")?;
    if magic != MAGIC {
        return Err(DecodeError::Value { what: "magic", value: u64::from(u32::from_be_bytes(magic)) });
    }
    Ok((reader.u8("least version")?, reader.u8("greatest version")?))
}

/// The greatest version that both sides speak.
pub(crate) fn common_version(theirs: (u8, u8)) -> Option<u8> {
    let version = theirs.1.min(VERSIONS.1);
    (version >= theirs.0.max(VERSIONS.0)).then_some(version)
}

/// The master's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The version that both speak from now on.
    pub(crate) version: u8,
    /// What the master adds to what makes the connection unique.
    pub(crate) nonce: [u8; NONCE],
}

impl Challenge {
    /// The whole frame.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        handshake_frame(kind::CHALLENGE, |body| {
            body.u8(self.version);
            body.octets(&self.nonce);
        })
    }

    /// Decodes the body.
    ///
    /// # Errors
    ///
    /// Not a challenge.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let challenge = Self { version: reader.u8("version")?, nonce: reader.array("nonce")? };
        reader.finish("challenge")?;
        Ok(challenge)
    }
}

/// What a slave proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlaveProof {
    /// That it knows its key.
    pub(crate) first: [u8; PROOF],
    /// That it knows the key that it accepts, if it has one.
    pub(crate) second: Option<[u8; PROOF]>,
}

impl SlaveProof {
    /// The whole frame.
    pub(crate) fn to_frame(self) -> Vec<u8> {
        handshake_frame(kind::SLAVE_PROOF, |body| {
            body.octets(&self.first);
            body.octets(self.second.as_ref().map_or(&[], |second| &second[..]));
        })
    }

    /// Decodes the body.
    ///
    /// # Errors
    ///
    /// Not what a slave proves in this version.
    pub(crate) fn decode(body: &[u8], version: u8) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let first = reader.array("proof")?;
        let has_second = version >= TWO_PROOFS && reader.remaining() > 0;
        let second = if has_second { Some(reader.array("second proof")?) } else { None };
        reader.finish("proof")?;
        Ok(Self { first, second })
    }
}

/// A proof: the whole frame.
pub(crate) fn proof_frame(kind: u8, proof: &[u8; PROOF]) -> Vec<u8> {
    handshake_frame(kind, |body| body.octets(proof))
}

/// Decodes the body of a proof.
///
/// # Errors
///
/// Not a proof.
pub(crate) fn decode_proof(body: &[u8]) -> Result<[u8; PROOF], DecodeError> {
    let mut reader = Reader::new(body);
    let proof = reader.array("proof")?;
    reader.finish("proof")?;
    Ok(proof)
}

/// The master's refusal before anybody has proven anything: the whole frame.
pub(crate) fn rejected_frame(refusal: Refusal) -> Vec<u8> {
    handshake_frame(kind::REJECTED, |body| {
        body.u8(refusal.code());
        body.u8(VERSIONS.0);
        body.u8(VERSIONS.1);
    })
}

/// Decodes the body of a refusal before the proofs. What else the master says about versions is
/// for people with a packet capture.
///
/// # Errors
///
/// Not a refusal.
pub(crate) fn decode_rejected(body: &[u8]) -> Result<Refusal, DecodeError> {
    let mut reader = Reader::new(body);
    let refusal = Refusal::from_code(reader.u8("reason")?);
    reader.take(2, "versions")?;
    reader.finish("refusal")?;
    Ok(refusal)
}

fn handshake_frame(kind: u8, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.zeros(HEADER);
    write(&mut writer);
    writer.patch(0, &header(kind, writer.len()));
    writer.into_octets()
}

/// A report, and how long ago it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgedReport {
    /// The report.
    pub(crate) report: Report,
    /// Its age, in whole milliseconds on the wire.
    pub(crate) age: Duration,
}

/// What a slave says once both have proven who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromSlave {
    /// It is alive.
    Hello,
    /// It goes.
    Leave(LeaveReason),
    /// Who it is; also when that has changed.
    Register(Registration, AgedReport),
    /// Its load.
    Update(AgedReport),
    /// Tickets that were used.
    Used(Vec<UsedTicket>),
}

impl FromSlave {
    /// The type of the frame.
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Hello => kind::HELLO,
            Self::Leave(_) => kind::LEAVE,
            Self::Register(..) => kind::REGISTER,
            Self::Update(_) => kind::UPDATE,
            Self::Used(_) => kind::USED,
        }
    }

    /// The body of the frame.
    pub(crate) fn to_body(&self) -> Vec<u8> {
        let mut body = Writer::new();
        match self {
            Self::Hello => {}
            Self::Leave(reason) => body.u8(reason.code()),
            Self::Register(registration, report) => {
                write_registration(&mut body, registration);
                write_report(&mut body, report);
            }
            Self::Update(report) => write_report(&mut body, report),
            Self::Used(tickets) => write_tickets(&mut body, tickets),
        }
        body.into_octets()
    }

    /// Decodes a body; `None` for one that may be skipped.
    ///
    /// # Errors
    ///
    /// Nothing that a slave says.
    pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, WireError> {
        let mut reader = Reader::new(body);
        let message = match kind {
            kind::HELLO => Self::Hello,
            kind::LEAVE => Self::Leave(LeaveReason::from_code(reader.u8("reason")?)),
            kind::REGISTER => Self::Register(read_registration(&mut reader)?, read_report(&mut reader)?),
            kind::UPDATE => Self::Update(read_report(&mut reader)?),
            kind::USED => Self::Used(read_tickets(&mut reader)?),
            other => return unknown(other),
        };
        reader.finish("frame")?;
        Ok(Some(message))
    }
}

/// Something the master wants a slave to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take no new clients: the operator has said so at the master.
    Drain,
    /// Take clients again.
    Undrain,
}

impl Order {
    const fn code(self) -> u8 {
        match self {
            Self::Drain => 1,
            Self::Undrain => 2,
        }
    }
}

/// What the master says once both have proven who they are. Its members come in parts: see
/// [`view`](super::view).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromMaster<'a> {
    /// The slave is a member.
    Accepted {
        /// Who the master is.
        master: GatewayName,
        /// How long it lets a slave be silent.
        holdtime: Duration,
    },
    /// It is alive.
    Alive(Option<Vouched>),
    /// Names that are drained and away, of the view that follows.
    Drained(&'a [u8]),
    /// Something to do.
    Order(Order),
    /// The slave is no member.
    Refused(Refusal),
    /// Tickets that were used.
    Tickets(Vec<UsedTicket>),
    /// A part of the members.
    View(&'a [u8]),
}

/// The master's word that the members of a view are still its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    /// Which view, at least 1.
    pub(crate) generation: u64,
    /// It has heard each of them within this time.
    pub(crate) oldest: Duration,
}

impl<'a> FromMaster<'a> {
    /// The type of the frame.
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Accepted { .. } => kind::ACCEPTED,
            Self::Alive(_) => kind::ALIVE,
            Self::Drained(_) => kind::DRAINED,
            Self::Order(_) => kind::ORDER,
            Self::Refused(_) => kind::REFUSED,
            Self::Tickets(_) => kind::TICKETS,
            Self::View(_) => kind::VIEW,
        }
    }

    /// The body of the frame.
    pub(crate) fn to_body(&self) -> Vec<u8> {
        let mut body = Writer::new();
        match self {
            Self::Accepted { master, holdtime } => {
                write_text(&mut body, master.as_str());
                body.u32(to_ms(*holdtime));
            }
            Self::Alive(vouched) => {
                body.u64(vouched.map_or(0, |vouched| vouched.generation));
                body.u32(vouched.map_or(0, |vouched| to_ms(vouched.oldest)));
            }
            Self::Order(order) => body.u8(order.code()),
            Self::Refused(refusal) => body.u8(refusal.code()),
            Self::Tickets(tickets) => write_tickets(&mut body, tickets),
            Self::Drained(part) | Self::View(part) => body.octets(part),
        }
        body.into_octets()
    }

    /// Decodes a body; `None` for one that may be skipped.
    ///
    /// # Errors
    ///
    /// Nothing that a master says.
    pub(crate) fn decode(kind: u8, body: &'a [u8]) -> Result<Option<Self>, WireError> {
        let mut reader = Reader::new(body);
        let message = match kind {
            kind::ACCEPTED => {
                let master = read_text(&mut reader, "master's name")?;
                let ms = reader.u32("holdtime")?;
                let holdtime = Duration::from_millis(u64::from(ms));
                let (least, most) = Settings::HOLDTIME;
                if !(least..=most).contains(&holdtime) {
                    return Err(value("holdtime", u64::from(ms)).into());
                }
                Self::Accepted { master, holdtime }
            }
            kind::ALIVE => {
                let generation = reader.u64("generation")?;
                let oldest = read_ms(&mut reader, "age")?;
                Self::Alive((generation > 0).then_some(Vouched { generation, oldest }))
            }
            kind::ORDER => match reader.u8("order")? {
                1 => Self::Order(Order::Drain),
                2 => Self::Order(Order::Undrain),
                // Orders may carry more than their code; one that is not known is not obeyed.
                _ => return Ok(None),
            },
            kind::REFUSED => Self::Refused(Refusal::from_code(reader.u8("reason")?)),
            kind::TICKETS => Self::Tickets(read_tickets(&mut reader)?),
            kind::VIEW => Self::View(reader.rest()),
            kind::DRAINED => Self::Drained(reader.rest()),
            other => return unknown(other),
        };
        reader.finish("frame")?;
        Ok(Some(message))
    }
}

const fn unknown<T>(kind: u8) -> Result<Option<T>, WireError> {
    if kind & OPTIONAL == 0 { Err(WireError::Unknown(kind)) } else { Ok(None) }
}

/// Whole milliseconds; a time that is too long for them is as long as they can say.
pub(crate) fn to_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn read_ms(reader: &mut Reader<'_>, what: &'static str) -> Result<Duration, DecodeError> {
    Ok(Duration::from_millis(u64::from(reader.u32(what)?)))
}

const IPV4: u8 = 1;
const IPV6: u8 = 2;
const FQDN: u8 = 4;

pub(crate) fn write_registration(body: &mut Writer, registration: &Registration) {
    write_text(body, registration.name.as_str());
    let addresses = &registration.addresses;
    let mask = addresses.iter().fold(0, |mask, address| {
        mask | match address {
            GatewayAddress::Ipv4(_) => IPV4,
            GatewayAddress::Ipv6(_) => IPV6,
            GatewayAddress::Fqdn(_) => FQDN,
        }
    });
    body.u8(mask);
    for address in addresses.iter() {
        match address {
            GatewayAddress::Ipv4(address) => body.octets(&address.octets()),
            GatewayAddress::Ipv6(address) => body.octets(&address.octets()),
            GatewayAddress::Fqdn(name) => write_text(body, name.as_str()),
        }
    }
    body.u8(registration.priority);
    body.u32(registration.max_session);
}

pub(crate) fn read_registration(reader: &mut Reader<'_>) -> Result<Registration, DecodeError> {
    let name = read_text(reader, "name")?;
    let mask = reader.u8("kinds of addresses")?;
    if mask == 0 || mask & !(IPV4 | IPV6 | FQDN) != 0 {
        return Err(value("kinds of addresses", u64::from(mask)));
    }
    let mut list = Vec::with_capacity(3);
    if mask & IPV4 != 0 {
        let octets: [u8; 4] = reader.array("IPv4 address")?;
        let address = Ipv4Addr::from(octets);
        unicast(IpAddr::V4(address)).map_err(|_why| value("IPv4 address", u64::from(address.to_bits())))?;
        list.push(GatewayAddress::Ipv4(address));
    }
    if mask & IPV6 != 0 {
        let octets: [u8; 16] = reader.array("IPv6 address")?;
        let address = Ipv6Addr::from(octets);
        let start = u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX);
        unicast(IpAddr::V6(address)).map_err(|_why| value("first half of an IPv6 address", start))?;
        list.push(GatewayAddress::Ipv6(address));
    }
    if mask & FQDN != 0 {
        list.push(GatewayAddress::Fqdn(read_text(reader, "domain name")?));
    }
    let addresses =
        GatewayAddresses::new(list).map_err(|_why| value("kinds of addresses", u64::from(mask)))?;
    let priority = reader.u8("priority")?;
    if !(1..=SlaveSettings::MAX_PRIORITY).contains(&priority) {
        return Err(value("priority", u64::from(priority)));
    }
    let max_session = reader.u32("max-session")?;
    if !(1..=SlaveSettings::MAX_MAX_SESSION).contains(&max_session) {
        return Err(value("max-session", u64::from(max_session)));
    }
    Ok(Registration { name, addresses, priority, max_session })
}

pub(crate) fn write_report(body: &mut Writer, AgedReport { report, age }: &AgedReport) {
    body.u32(report.ike_sas);
    body.u32(report.child_sas);
    body.u16(report.cpu.value());
    body.u16(report.memory.value());
    body.u8(match report.availability {
        Availability::Up => 0,
        Availability::Draining => 1,
    });
    body.zeros(3);
    body.u32(to_ms(*age));
}

pub(crate) fn read_report(reader: &mut Reader<'_>) -> Result<AgedReport, DecodeError> {
    let ike_sas = reader.u32("IKE SAs")?;
    let child_sas = reader.u32("Child SAs")?;
    let cpu = read_ratio(reader, "cpu")?;
    let memory = read_ratio(reader, "memory")?;
    let availability = match reader.u8("availability")? {
        0 => Availability::Up,
        1 => Availability::Draining,
        other => return Err(value("availability", u64::from(other))),
    };
    // Room for what a report may have to say one day; until then it says nothing.
    reader.take(3, "padding")?;
    let age = read_ms(reader, "age")?;
    Ok(AgedReport { report: Report { ike_sas, child_sas, cpu, memory, availability }, age })
}

fn read_ratio(reader: &mut Reader<'_>, what: &'static str) -> Result<BasisPoints, DecodeError> {
    let points = reader.u16(what)?;
    if points > BasisPoints::ALL.value() {
        return Err(value(what, u64::from(points)));
    }
    Ok(BasisPoints::saturating(points))
}

/// An octet with the length, then the text. Our texts have at most 255 octets.
pub(crate) fn write_text(body: &mut Writer, text: &str) {
    body.u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    body.octets(text.as_bytes());
}

pub(crate) fn read_text<T: std::str::FromStr>(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<T, DecodeError> {
    let length = usize::from(reader.u8(what)?);
    let octets = reader.take(length, what)?;
    let is_usual = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.".contains(octet);
    if let Some(odd) = octets.iter().find(|octet| !is_usual(octet)) {
        return Err(value(what, u64::from(*odd)));
    }
    let wrong = DecodeError::Length { what, value: length };
    std::str::from_utf8(octets).map_err(|_why| wrong)?.parse().map_err(|_why| wrong)
}

const fn value(what: &'static str, value: u64) -> DecodeError {
    DecodeError::Value { what, value }
}

#[cfg(test)]
mod tests;

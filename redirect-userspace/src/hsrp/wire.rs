//! Datagrams of both versions: octets and values.
//!
//! # Invariants
//!
//! - Decoding is total: octets that are not HSRP are an error that says what is wrong with them.
//! - Version 2 is a list of type, length and value; what is not known is skipped by its length.
//! - Lengths of what is known are exact.
//! - Octets that mean nothing are sent as zeros and not looked at.
//!
//! # References
//!
//! Version 1: `RFC 2281 §5.1`. Its advertisements, version 2 and the MD5 element are Cisco's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::codec::{DecodeError, Reader, Writer};
use crate::hsrp::{GroupNumber, MacAddress, State, Version};

/// What one datagram holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// What the sender says about a group.
    pub message: Option<Message>,
    /// What the sender says about all its groups.
    pub interface: Option<InterfaceState>,
    /// The authentication text, padded with zeros.
    pub text: Option<[u8; 8]>,
    /// The keyed digest.
    pub md5: Option<Md5>,
}

/// What a router says about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What for.
    pub opcode: Opcode,
    /// The sender's state.
    pub state: SenderState,
    /// The group.
    pub group: GroupNumber,
    /// The sender's priority.
    pub priority: u8,
    /// Time between two of its hellos. Version 1 has whole seconds only and rounds up.
    pub hello: Duration,
    /// How long this hello counts. Version 1 has whole seconds only and rounds up.
    pub hold: Duration,
    /// The virtual address that the election is about; unspecified while it is not known.
    pub vip: IpAddr,
    /// The sender's burned-in address; zeros in version 1, which does not carry it.
    pub identifier: MacAddress,
}

/// What a message is sent for (`RFC 2281 §5.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The sender runs.
    Hello,
    /// The sender wants to become active.
    Coup,
    /// The sender no longer wants to be active.
    Resign,
}

/// The state that a sender gives for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderState {
    /// One of the six.
    Is(State),
    /// Only in version 2: the group is shut down.
    Disabled,
    /// A number that nobody has given a meaning.
    Unknown(u8),
}

/// How many groups of an interface are active, and how many are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// 1 dormant, 2 passive, 3 active; version 2 does not carry it.
    pub state: u8,
    /// Active groups.
    pub active: u16,
    /// Passive groups.
    pub passive: u16,
}

impl InterfaceState {
    /// No group runs.
    pub const DORMANT: u8 = 1;
    /// No group is active.
    pub const PASSIVE: u8 = 2;
    /// A group is active.
    pub const ACTIVE: u8 = 3;

    /// The state that follows from the numbers of groups.
    #[must_use]
    pub const fn new(active: u16, passive: u16) -> Self {
        let state = match (active, passive) {
            (0, 0) => Self::DORMANT,
            (0, _) => Self::PASSIVE,
            (_, _) => Self::ACTIVE,
        };
        Self { state, active, passive }
    }
}

/// The MD5 element, without its digest's check: see [`crate::hsrp::auth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Md5 {
    /// 1 is keyed MD5.
    pub algorithm: u8,
    /// The sender's IPv4 address.
    pub address: Ipv4Addr,
    /// Which key of a chain; 0 for a key string.
    pub key: u32,
    /// The digest.
    pub digest: [u8; Self::DIGEST_LENGTH],
    /// Where in the datagram the digest lies.
    pub at: usize,
}

impl Md5 {
    /// Keyed MD5.
    pub const ALGORITHM: u8 = 1;
    /// Octets of a digest.
    pub const DIGEST_LENGTH: usize = 16;
}

/// Why octets are not a datagram of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They are of the other version.
    #[error("of another version of HSRP")]
    OtherVersion,
    /// They are of no version.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// Reads a datagram of `version`.
///
/// # Errors
///
/// What is wrong with the octets.
pub fn decode(version: Version, payload: &[u8]) -> Result<Datagram, WireError> {
    // Version 1 starts with its version, 0. Version 2 starts with the type of an element, which
    // is never 0: the versions were made to take each other for a version they do not know.
    let is_version_1 = Reader::new(payload).u8("first octet")? == 0;
    match version {
        Version::V1 if is_version_1 => Ok(decode_v1(payload)?),
        Version::V2 if !is_version_1 => Ok(decode_v2(payload)?),
        Version::V1 | Version::V2 => Err(WireError::OtherVersion),
    }
}

impl Datagram {
    /// The octets in `version`. A digest is written as it is: [`crate::hsrp::auth`] fills it in.
    ///
    /// Version 1 has room for 256 groups and for IPv4; settings that need more do not pass
    /// [`crate::hsrp::Settings::check`].
    #[must_use]
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut writer = Writer::new();
        match version {
            Version::V1 => self.encode_v1(&mut writer),
            Version::V2 => self.encode_v2(&mut writer),
        }
        writer.into_octets()
    }
}

// Version 1, `RFC 2281 §5.1`:
//
//  0        1        2        3        4
// +--------+--------+--------+--------+
// | 0      | opcode | state  | hello s|
// | hold s | prio   | group  | 0      |
// | authentication text, 8 octets     |
// | virtual IPv4 address              |
// +--------+--------+--------+--------+
// | MD5 element, 30 octets, or nothing|
fn decode_v1(payload: &[u8]) -> Result<Datagram, DecodeError> {
    let mut reader = Reader::new(payload);
    reader.u8("version")?;
    let opcode = reader.u8("opcode")?;
    if opcode == ADVERTISE {
        return decode_advertisement(reader);
    }
    let opcode = opcode_from(opcode)?;
    let state = match reader.u8("state")? {
        0 => SenderState::Is(State::Initial),
        1 => SenderState::Is(State::Learn),
        2 => SenderState::Is(State::Listen),
        4 => SenderState::Is(State::Speak),
        8 => SenderState::Is(State::Standby),
        16 => SenderState::Is(State::Active),
        unknown => SenderState::Unknown(unknown),
    };
    let hello = Duration::from_secs(reader.u8("hello time")?.into());
    let hold = Duration::from_secs(reader.u8("hold time")?.into());
    let priority = reader.u8("priority")?;
    let group = group_from(reader.u8("group")?.into())?;
    reader.u8("reserved octet")?;
    let text = reader.array("authentication text")?;
    let vip = IpAddr::V4(reader.array("virtual IP")?.into());
    let identifier = MacAddress::default();
    let message = Message { opcode, state, group, priority, hello, hold, vip, identifier };

    let mut datagram = Datagram { message: Some(message), ..Datagram::default() };
    while let Some(element) = Element::read(&mut reader, payload.len())? {
        if element.kind == ELEMENT_MD5 {
            once(&mut datagram.md5, decode_md5(element)?, "MD5 element")?;
        }
    }
    if datagram.md5.is_none() || text != [0; 8] {
        datagram.text = Some(text);
    }
    Ok(datagram)
}

//  0        1        2        3        4
// +--------+--------+--------+--------+
// | 0      | 3      | type = 1        |
// | length = 14     | state  | 0      |
// | active groups   | passive groups  |
// | means nothing, 4 octets           |
fn decode_advertisement(mut reader: Reader<'_>) -> Result<Datagram, DecodeError> {
    let kind = reader.u16("type of advertisement")?;
    if kind != ADVERTISE_INTERFACE {
        return Err(DecodeError::Value { what: "type of advertisement", value: kind.into() });
    }
    let length = usize::from(reader.u16("length of advertisement")?);
    if length != ADVERTISE_LENGTH {
        return Err(DecodeError::Length { what: "advertisement", value: length });
    }
    let state = reader.u8("state of the interface")?;
    reader.u8("reserved octet")?;
    let active = reader.u16("active groups")?;
    let passive = reader.u16("passive groups")?;
    reader.take(4, "reserved octets")?;
    reader.finish("advertisement")?;
    Ok(Datagram { interface: Some(InterfaceState { state, active, passive }), ..Datagram::default() })
}

fn decode_v2(payload: &[u8]) -> Result<Datagram, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut datagram = Datagram::default();
    while let Some(element) = Element::read(&mut reader, payload.len())? {
        match element.kind {
            ELEMENT_GROUP => once(&mut datagram.message, decode_group(element)?, "group state")?,
            ELEMENT_INTERFACE => {
                once(&mut datagram.interface, decode_interface(element)?, "interface state")?;
            }
            ELEMENT_TEXT => {
                let mut value = element.exactly(TEXT_LENGTH, "text element")?;
                once(&mut datagram.text, value.array("authentication text")?, "text element")?;
            }
            ELEMENT_MD5 => once(&mut datagram.md5, decode_md5(element)?, "MD5 element")?,
            _ => {}
        }
    }
    if datagram.message.is_none() && datagram.interface.is_none() {
        return Err(DecodeError::Truncated { what: "datagram", need: GROUP_LENGTH, have: payload.len() });
    }
    Ok(datagram)
}

// Element 1 of version 2:
//
//  0        1        2        3        4
// +--------+--------+--------+--------+
// | 1      | 40     | 2      | opcode |
// | state  | 4 or 6 | group           |
// | burned-in address, 6 octets       |
// |                 | priority ...    |
// | ... priority    | hello ms ...    |
// | ... hello ms    | hold ms ...     |
// | ... hold ms     | virtual address,|
// | 16 octets, IPv4 in the first four |
fn decode_group(element: Element<'_>) -> Result<Message, DecodeError> {
    let mut value = element.exactly(GROUP_LENGTH, "group state")?;
    let version = value.u8("version")?;
    if version != 2 {
        return Err(DecodeError::Value { what: "version", value: version.into() });
    }
    let opcode = opcode_from(value.u8("opcode")?)?;
    let state = match value.u8("state")? {
        0 => SenderState::Disabled,
        1 => SenderState::Is(State::Initial),
        2 => SenderState::Is(State::Learn),
        3 => SenderState::Is(State::Listen),
        4 => SenderState::Is(State::Speak),
        5 => SenderState::Is(State::Standby),
        6 => SenderState::Is(State::Active),
        unknown => SenderState::Unknown(unknown),
    };
    let family = value.u8("IP version")?;
    let group = group_from(value.u16("group")?)?;
    let identifier = MacAddress(value.array("identifier")?);
    // The field has four octets, the setting that fills it goes up to 255.
    let priority = value.u32("priority")?;
    let Ok(priority) = u8::try_from(priority) else {
        return Err(DecodeError::Value { what: "priority", value: priority.into() });
    };
    let hello = Duration::from_millis(value.u32("hello time")?.into());
    let hold = Duration::from_millis(value.u32("hold time")?.into());
    let vip = match family {
        4 => {
            let address = Ipv4Addr::from(value.array::<4>("virtual IP")?);
            // Cisco leaves octets of earlier packets behind an IPv4 address.
            value.take(12, "virtual IP")?;
            IpAddr::V4(address)
        }
        6 => IpAddr::V6(Ipv6Addr::from(value.array::<16>("virtual IP")?)),
        _ => return Err(DecodeError::Value { what: "IP version", value: family.into() }),
    };
    value.finish("group state")?;
    Ok(Message { opcode, state, group, priority, hello, hold, vip, identifier })
}

fn decode_interface(element: Element<'_>) -> Result<InterfaceState, DecodeError> {
    let mut value = element.exactly(INTERFACE_LENGTH, "interface state")?;
    let active = value.u16("active groups")?;
    let passive = value.u16("passive groups")?;
    Ok(InterfaceState::new(active, passive))
}

// Element 4, in both versions:
//
//  0        1        2        3        4
// +--------+--------+--------+--------+
// | 4      | 28     | 1: MD5 | 0      |
// | flags = 0       | IPv4 address ...|
// | ... of sender   | key ...         |
// | ... number      | digest,         |
// | 16 octets                         |
fn decode_md5(element: Element<'_>) -> Result<Md5, DecodeError> {
    let mut value = element.exactly(MD5_LENGTH, "MD5 element")?;
    let algorithm = value.u8("algorithm")?;
    value.take(3, "flags")?;
    let address = Ipv4Addr::from(value.array::<4>("address")?);
    let key = value.u32("key number")?;
    let digest = value.array("digest")?;
    let at = element.at + MD5_LENGTH - Md5::DIGEST_LENGTH;
    Ok(Md5 { algorithm, address, key, digest, at })
}

/// Type, length and value.
#[derive(Clone, Copy)]
struct Element<'a> {
    kind: u8,
    value: Reader<'a>,
    /// Where in the datagram the value starts.
    at: usize,
}

impl<'a> Element<'a> {
    /// The next element of a datagram of `total` octets; `None` at its end.
    fn read(reader: &mut Reader<'a>, total: usize) -> Result<Option<Self>, DecodeError> {
        if reader.is_empty() {
            return Ok(None);
        }
        let kind = reader.u8("type of element")?;
        let length = usize::from(reader.u8("length of element")?);
        let at = total.saturating_sub(reader.remaining());
        let value = reader.inner(length, "element")?;
        Ok(Some(Self { kind, value, at }))
    }

    /// The value, which has `length` octets.
    const fn exactly(self, length: usize, what: &'static str) -> Result<Reader<'a>, DecodeError> {
        match self.value.remaining() {
            value if value == length => Ok(self.value),
            value => Err(DecodeError::Length { what, value }),
        }
    }
}

/// Fills `place`, which nothing has filled before: whoever says a thing twice may mean two things.
fn once<T>(place: &mut Option<T>, value: T, what: &'static str) -> Result<(), DecodeError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Value { what, value: 2 }),
    }
}

fn opcode_from(opcode: u8) -> Result<Opcode, DecodeError> {
    match opcode {
        0 => Ok(Opcode::Hello),
        1 => Ok(Opcode::Coup),
        2 => Ok(Opcode::Resign),
        _ => Err(DecodeError::Value { what: "opcode", value: opcode.into() }),
    }
}

fn group_from(group: u16) -> Result<GroupNumber, DecodeError> {
    GroupNumber::new(group).ok_or_else(|| DecodeError::Value { what: "group", value: group.into() })
}

impl Datagram {
    fn encode_v1(&self, writer: &mut Writer) {
        if let Some(message) = &self.message {
            let state = match message.state {
                SenderState::Is(State::Initial) | SenderState::Disabled => 0,
                SenderState::Is(State::Learn) => 1,
                SenderState::Is(State::Listen) => 2,
                SenderState::Is(State::Speak) => 4,
                SenderState::Is(State::Standby) => 8,
                SenderState::Is(State::Active) => 16,
                SenderState::Unknown(unknown) => unknown,
            };
            let (hello, hold) = (whole_seconds(message.hello), whole_seconds(message.hold));
            // RFC 2281 §5.1: the hold time MUST be greater, also after rounding up.
            let hold = if message.hold > message.hello { hold.max(hello.saturating_add(1)) } else { hold };
            let [_, group] = message.group.value().to_be_bytes();
            let vip = match message.vip {
                IpAddr::V4(address) => address,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            };
            let opcode = message.opcode.number();
            writer.octets(&[0, opcode, state, hello, hold, message.priority, group, 0]);
            writer.octets(&self.text.unwrap_or_default());
            writer.octets(&vip.octets());
            if let Some(md5) = &self.md5 {
                md5.encode(writer);
            }
        } else if let Some(interface) = &self.interface {
            writer.octets(&[0, ADVERTISE]);
            writer.u16(ADVERTISE_INTERFACE);
            writer.octets(&[0, 14, interface.state, 0]);
            writer.u16(interface.active);
            writer.u16(interface.passive);
            writer.zeros(4);
        }
    }

    fn encode_v2(&self, writer: &mut Writer) {
        if let Some(message) = &self.message {
            message.encode(writer);
        }
        if let Some(interface) = &self.interface {
            writer.octets(&[ELEMENT_INTERFACE, 4]);
            writer.u16(interface.active);
            writer.u16(interface.passive);
        }
        if let Some(text) = &self.text {
            writer.octets(&[ELEMENT_TEXT, 8]);
            writer.octets(text);
        }
        if let Some(md5) = &self.md5 {
            md5.encode(writer);
        }
    }
}

impl Message {
    fn encode(&self, writer: &mut Writer) {
        let state = match self.state {
            SenderState::Disabled => 0,
            SenderState::Is(State::Initial) => 1,
            SenderState::Is(State::Learn) => 2,
            SenderState::Is(State::Listen) => 3,
            SenderState::Is(State::Speak) => 4,
            SenderState::Is(State::Standby) => 5,
            SenderState::Is(State::Active) => 6,
            SenderState::Unknown(unknown) => unknown,
        };
        let family = if self.vip.is_ipv4() { 4 } else { 6 };
        writer.octets(&[ELEMENT_GROUP, 40, 2, self.opcode.number(), state, family]);
        writer.u16(self.group.value());
        writer.octets(&self.identifier.0);
        writer.u32(self.priority.into());
        writer.u32(milliseconds(self.hello));
        writer.u32(milliseconds(self.hold));
        match self.vip {
            IpAddr::V4(address) => {
                writer.octets(&address.octets());
                writer.zeros(12);
            }
            IpAddr::V6(address) => writer.octets(&address.octets()),
        }
    }
}

impl Md5 {
    fn encode(&self, writer: &mut Writer) {
        writer.octets(&[ELEMENT_MD5, 28, self.algorithm, 0, 0, 0]);
        writer.octets(&self.address.octets());
        writer.u32(self.key);
        writer.octets(&self.digest);
    }
}

impl Opcode {
    const fn number(self) -> u8 {
        match self {
            Self::Hello => 0,
            Self::Coup => 1,
            Self::Resign => 2,
        }
    }
}

fn whole_seconds(time: Duration) -> u8 {
    u8::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u8::MAX)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

const ADVERTISE: u8 = 3;
const ADVERTISE_INTERFACE: u16 = 1;
/// Counts from the third octet.
const ADVERTISE_LENGTH: usize = 14;

const ELEMENT_GROUP: u8 = 1;
const ELEMENT_INTERFACE: u8 = 2;
const ELEMENT_TEXT: u8 = 3;
const ELEMENT_MD5: u8 = 4;

const GROUP_LENGTH: usize = 40;
const INTERFACE_LENGTH: usize = 4;
const TEXT_LENGTH: usize = 8;
const MD5_LENGTH: usize = 28;

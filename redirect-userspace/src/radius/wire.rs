//! Packets of RADIUS as octets.
//!
//! # Invariants
//!
//! - A packet that was decoded is whole: every attribute lies within it, and has the length that it
//!   says. Octets behind the end that the header names are padding and are not looked at.
//! - A packet that was written is no longer than a packet may be, and Message-Authenticator is the
//!   first of its attributes.
//!
//! # Picture
//!
//! ```text
//!  0       1            2        4                20
//! +------+------------+--------+----------------+---- - - ---+
//! | code | identifier | length | authenticator  | attributes |
//! +------+------------+--------+----------------+---- - - ---+
//!
//! +------+--------+---- - - ----+
//! | type | length | value       |   the length counts all three: 2 to 255
//! +------+--------+---- - - ----+
//! ```
//!
//! # References
//!
//! `RFC 2865 §3` and `§5`, `RFC 2866 §3`, `RFC 2869 §5`, `RFC 3579 §3`, `RFC 5997 §3`.

use super::digest::{MD5_LENGTH, hmac_md5, md5};
use crate::codec::{DecodeError, Reader, Writer};
use crate::secret::Secret;

/// Octets in front of the attributes.
pub(crate) const HEADER: usize = 20;
/// Octets of the longest packet.
pub(crate) const MAX_PACKET: usize = 4_096;
/// Octets of the longest value of an attribute.
pub(crate) const MAX_VALUE: usize = 253;
/// Octets of a packet of ours without other attributes than Message-Authenticator.
const UNSIGNED: usize = HEADER + 2 + MD5_LENGTH;
/// Where the attributes of a packet of ours begin with its Message-Authenticator's value.
const OUR_MESSAGE_AUTHENTICATOR: usize = HEADER + 2;

/// What sixteen octets of a packet say about who has made it.
pub(crate) type Authenticator = [u8; MD5_LENGTH];

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// May somebody in?
    AccessRequest,
    /// Yes.
    AccessAccept,
    /// No.
    AccessReject,
    /// What somebody uses.
    AccountingRequest,
    /// It is written down.
    AccountingResponse,
    /// Not yet: there is more to say.
    AccessChallenge,
    /// Is the server there?
    StatusServer,
    /// Something else.
    Other(u8),
}

impl Code {
    const fn from_wire(octet: u8) -> Self {
        match octet {
            1 => Self::AccessRequest,
            2 => Self::AccessAccept,
            3 => Self::AccessReject,
            4 => Self::AccountingRequest,
            5 => Self::AccountingResponse,
            11 => Self::AccessChallenge,
            12 => Self::StatusServer,
            other => Self::Other(other),
        }
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::AccessRequest => 1,
            Self::AccessAccept => 2,
            Self::AccessReject => 3,
            Self::AccountingRequest => 4,
            Self::AccountingResponse => 5,
            Self::AccessChallenge => 11,
            Self::StatusServer => 12,
            Self::Other(other) => other,
        }
    }
}

/// What an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind(pub(crate) u8);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        impl Kind {
            $($(#[$doc])* pub(crate) const $name: Self = Self($number);)+
        }
    };
}

kinds! {
    /// Who asks.
    USER_NAME = 1,
    /// The address of the gateway.
    NAS_IP_ADDRESS = 4,
    /// What service is wanted.
    SERVICE_TYPE = 6,
    /// The address that the client gets.
    FRAMED_IP_ADDRESS = 8,
    /// How long a packet may be, and so a fragment of EAP.
    FRAMED_MTU = 12,
    /// What is to be shown to people.
    REPLY_MESSAGE = 18,
    /// What the server wants to see again with the next request.
    STATE = 24,
    /// What the server wants to see again in accounting.
    CLASS = 25,
    /// Attributes of somebody's own.
    VENDOR_SPECIFIC = 26,
    /// How long the session may last.
    SESSION_TIMEOUT = 27,
    /// What is to be done when its time is over.
    TERMINATION_ACTION = 29,
    /// Where the client came to.
    CALLED_STATION_ID = 30,
    /// Where the client is.
    CALLING_STATION_ID = 31,
    /// The name of the gateway.
    NAS_IDENTIFIER = 32,
    /// What a record of accounting is.
    ACCT_STATUS_TYPE = 40,
    /// How old a record is.
    ACCT_DELAY_TIME = 41,
    /// Octets that came from the client, modulo 2^32.
    ACCT_INPUT_OCTETS = 42,
    /// Octets that went to the client, modulo 2^32.
    ACCT_OUTPUT_OCTETS = 43,
    /// Which session.
    ACCT_SESSION_ID = 44,
    /// Who has let the client in.
    ACCT_AUTHENTIC = 45,
    /// How long the session has lasted.
    ACCT_SESSION_TIME = 46,
    /// Packets that came from the client.
    ACCT_INPUT_PACKETS = 47,
    /// Packets that went to the client.
    ACCT_OUTPUT_PACKETS = 48,
    /// Why the session is over.
    ACCT_TERMINATE_CAUSE = 49,
    /// How often the octets that came have gone beyond 2^32.
    ACCT_INPUT_GIGAWORDS = 52,
    /// How often the octets that went have.
    ACCT_OUTPUT_GIGAWORDS = 53,
    /// When it was.
    EVENT_TIMESTAMP = 55,
    /// What kind of port.
    NAS_PORT_TYPE = 61,
    /// A part of an EAP packet.
    EAP_MESSAGE = 79,
    /// The code over the whole packet.
    MESSAGE_AUTHENTICATOR = 80,
    /// How often the server wants to hear about the session.
    ACCT_INTERIM_INTERVAL = 85,
    /// Which port, in words: the profile.
    NAS_PORT_ID = 87,
    /// The IPv6 address of the gateway.
    NAS_IPV6_ADDRESS = 95,
    /// The last half of the client's address.
    FRAMED_INTERFACE_ID = 96,
    /// The first part of the client's address.
    FRAMED_IPV6_PREFIX = 97,
    /// The IPv6 address that the client gets.
    FRAMED_IPV6_ADDRESS = 168,
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// What it says: 0 to [`MAX_VALUE`] octets.
    pub(crate) value: &'a [u8],
}

/// Attributes one after the other, up to the first that is not whole.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a>(Reader<'a>);

impl<'a> Attributes<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Attribute<'a>, DecodeError> {
        let kind = Kind(reader.u8("type of an attribute")?);
        let length = reader.u8("length of an attribute")?;
        let Some(length) = usize::from(length).checked_sub(2) else {
            return Err(DecodeError::Length { what: "attribute", value: length.into() });
        };
        Ok(Attribute { kind, value: reader.take(length, "attribute")? })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        if self.0.is_empty() { None } else { Self::read(&mut self.0).ok() }
    }
}

/// A packet that was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// What it is.
    pub(crate) code: Code,
    /// Which request it belongs to.
    pub(crate) identifier: u8,
    /// Whether it is made by who knows the secret.
    pub(crate) authenticator: Authenticator,
    octets: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// It is no packet.
    pub(crate) fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let code = Code::from_wire(reader.u8("code")?);
        let identifier = reader.u8("identifier")?;
        let length = usize::from(reader.u16("length")?);
        if !(HEADER..=MAX_PACKET).contains(&length) {
            return Err(DecodeError::Length { what: "packet", value: length });
        }
        // RFC 2865 §3: what lies beyond is padding, and a packet that is shorter is no packet.
        let Some(octets) = datagram.get(..length) else {
            return Err(DecodeError::Truncated { what: "packet", need: length, have: datagram.len() });
        };
        let authenticator = reader.array("authenticator")?;
        let mut attributes = Reader::new(octets.get(HEADER..).unwrap_or_default());
        while !attributes.is_empty() {
            Attributes::read(&mut attributes)?;
        }
        Ok(Self { code, identifier, authenticator, octets })
    }

    /// Everything, without padding.
    pub(crate) const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Its attributes.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(Reader::new(self.octets.get(HEADER..).unwrap_or_default()))
    }

    /// The values of all attributes of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes().filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Where in the packet the value of the only Message-Authenticator lies.
    ///
    /// # Errors
    ///
    /// It has another length than it can have, or there are several.
    pub(crate) fn message_authenticator(&self) -> Result<Option<usize>, DecodeError> {
        let mut found = None;
        let mut at = HEADER;
        for Attribute { kind, value } in self.attributes() {
            if kind == Kind::MESSAGE_AUTHENTICATOR {
                if value.len() != MD5_LENGTH || found.is_some() {
                    return Err(DecodeError::Length { what: "Message-Authenticator", value: value.len() });
                }
                found = Some(at + 2);
            }
            at += 2 + value.len();
        }
        Ok(found)
    }
}

/// A packet does not fit: it would be longer than [`MAX_PACKET`], or one of its values longer than
/// [`MAX_VALUE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of RADIUS has no room for it")]
pub(crate) struct TooLong;

/// Attributes that are being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttributeList {
    octets: Vec<u8>,
    is_too_long: bool,
}

impl AttributeList {
    /// Appends an attribute. One without octets says nothing and may not be sent.
    pub(crate) fn push(&mut self, kind: Kind, value: &[u8]) {
        match u8::try_from(value.len() + 2) {
            Ok(2) => {}
            Ok(length) => {
                self.octets.extend([kind.0, length]);
                self.octets.extend_from_slice(value);
            }
            Err(_) => self.is_too_long = true,
        }
    }

    /// Appends an attribute that is a number.
    pub(crate) fn push_number(&mut self, kind: Kind, value: u32) {
        self.push(kind, &value.to_be_bytes());
    }

    /// Appends octets in as many attributes as they need.
    // RFC 3579 §3.1: in order, and one directly after the other.
    pub(crate) fn push_split(&mut self, kind: Kind, octets: &[u8]) {
        octets.chunks(MAX_VALUE).for_each(|part| self.push(kind, part));
    }

    /// Whether they fit into a packet together with so many octets of others.
    pub(crate) const fn fits(&self, others: usize) -> bool {
        !self.is_too_long && UNSIGNED + self.octets.len() + others <= MAX_PACKET
    }

    /// Appends what is in another list.
    pub(crate) fn append(&mut self, other: &Self) {
        self.octets.extend_from_slice(&other.octets);
        self.is_too_long |= other.is_too_long;
    }
}

/// The octets of a request to which any answer must be given with `authenticator`, which is random.
///
/// # Errors
///
/// It does not fit.
pub(crate) fn write_request(
    (code, identifier): (Code, u8),
    authenticator: &Authenticator,
    attributes: &AttributeList,
    secret: &Secret,
) -> Result<Vec<u8>, TooLong> {
    let mut octets = unsigned((code, identifier), authenticator, attributes)?;
    sign(&mut octets, secret);
    Ok(octets)
}

/// The octets of a record of accounting, and what its answer must be given with.
///
/// # Errors
///
/// It does not fit.
// RFC 2866 §3: MD5(code | identifier | length | 16 zeros | attributes | secret), whose attributes
// have a Message-Authenticator that was made with those zeros as well.
pub(crate) fn write_accounting(
    identifier: u8,
    attributes: &AttributeList,
    secret: &Secret,
) -> Result<(Vec<u8>, Authenticator), TooLong> {
    let mut octets = unsigned((Code::AccountingRequest, identifier), &[0; MD5_LENGTH], attributes)?;
    sign(&mut octets, secret);
    let authenticator = md5(&[&octets, secret.expose()]);
    let mut writer = Writer::after(octets);
    writer.patch(HEADER - MD5_LENGTH, &authenticator);
    Ok((writer.into_octets(), authenticator))
}

/// A packet with zeros for its Message-Authenticator, which is the first attribute: nobody who
/// chooses what comes after it can choose a collision (BlastRADIUS).
fn unsigned(
    (code, identifier): (Code, u8),
    authenticator: &Authenticator,
    attributes: &AttributeList,
) -> Result<Vec<u8>, TooLong> {
    let length = UNSIGNED + attributes.octets.len();
    let number = u16::try_from(length).ok().filter(|_| length <= MAX_PACKET).ok_or(TooLong)?;
    if attributes.is_too_long {
        return Err(TooLong);
    }
    let mut writer = Writer::after(Vec::with_capacity(length));
    writer.octets(&[code.to_wire(), identifier]);
    writer.u16(number);
    writer.octets(authenticator);
    writer.octets(&[Kind::MESSAGE_AUTHENTICATOR.0, 18]);
    writer.zeros(MD5_LENGTH);
    writer.octets(&attributes.octets);
    Ok(writer.into_octets())
}

// RFC 3579 §3.2: HMAC-MD5 over the packet with zeros in the place of the code.
fn sign(octets: &mut [u8], secret: &Secret) {
    let code = hmac_md5(secret, &[octets]);
    let place = octets.get_mut(OUR_MESSAGE_AUTHENTICATOR..OUR_MESSAGE_AUTHENTICATOR + MD5_LENGTH);
    if let Some(place) = place {
        place.copy_from_slice(&code);
    }
}

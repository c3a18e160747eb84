//! The type data of EAP-MSCHAPv2.
//!
//! ```text
//! ┌───────────────────────────────────────────────────────────────┐
//! │    OpCode     │ MS-CHAPv2-ID  │           MS-Length           │
//! │     Data                                                      │
//! └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! MS-Length is that of all of it. The answers to Success and Failure are their OpCode alone.

use std::borrow::Cow;
use std::fmt::{Debug, Formatter};

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::mschap::{AUTHENTICATOR_LENGTH, CHALLENGE_LENGTH, RESPONSE_LENGTH};
use crate::ike::authn::eap::MAX_IDENTITY;

/// What is said.
#[derive(Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The server's challenge, and its name.
    Challenge {
        /// Its number.
        id: u8,
        /// What is to be answered.
        challenge: [u8; CHALLENGE_LENGTH],
        /// Who asks. Nothing is proved of it.
        name: Cow<'a, [u8]>,
    },
    /// The client's response.
    Response {
        /// That of the challenge.
        id: u8,
        /// Its own challenge.
        challenge: [u8; CHALLENGE_LENGTH],
        /// The proof.
        response: [u8; RESPONSE_LENGTH],
        /// Whose password it is.
        name: Cow<'a, str>,
    },
    /// The password was right, and this proves that the server knows it.
    Success {
        /// That of the challenge.
        id: u8,
        /// The proof.
        authenticator: [u8; AUTHENTICATOR_LENGTH],
    },
    /// It was not.
    Failure {
        /// That of the challenge.
        id: u8,
        /// Why (`RFC 2759 §6`).
        error: u32,
    },
    /// The client has seen Success.
    SuccessSeen,
    /// The client has seen Failure, or does not believe Success.
    FailureSeen,
}

impl<'a> Packet<'a> {
    /// Reads what a server says.
    ///
    /// # Errors
    ///
    /// It is malformed, or nothing that a server says.
    pub fn of_server(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let (code, id) = (reader.u8(WHAT)?, reader.u8(WHAT)?);
        length(&mut reader, data)?;
        match code {
            CHALLENGE => {
                size(&mut reader, CHALLENGE_LENGTH)?;
                let challenge = reader.array("MSCHAPv2 challenge")?;
                Ok(Self::Challenge { id, challenge, name: reader.rest().into() })
            }
            SUCCESS => Ok(Self::Success { id, authenticator: authenticator(reader.rest())? }),
            FAILURE => Ok(Self::Failure { id, error: error(reader.rest())? }),
            other => Err(DecodeError::Value { what: WHAT, value: other.into() }),
        }
    }

    /// Reads what a client says.
    ///
    /// # Errors
    ///
    /// It is malformed, or nothing that a client says.
    pub fn of_client(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        match reader.u8(WHAT)? {
            // What may follow is not looked at: some clients repeat the header.
            SUCCESS => Ok(Self::SuccessSeen),
            FAILURE => Ok(Self::FailureSeen),
            RESPONSE => {
                let id = reader.u8(WHAT)?;
                length(&mut reader, data)?;
                size(&mut reader, VALUE_LENGTH)?;
                let challenge = reader.array("MSCHAPv2 response")?;
                reader.take(RESERVED, "MSCHAPv2 response")?;
                let response = reader.array("MSCHAPv2 response")?;
                // Flags, which are reserved.
                reader.u8("MSCHAPv2 response")?;
                let name = reader.rest();
                let what = "MSCHAPv2 name";
                let text = std::str::from_utf8(name)
                    .map_err(|wrong| DecodeError::Length { what, value: wrong.valid_up_to() })?;
                if text.is_empty() || text.len() > MAX_IDENTITY || text.contains(char::is_control) {
                    return Err(DecodeError::Length { what, value: text.len() });
                }
                Ok(Self::Response { id, challenge, response, name: text.into() })
            }
            other => Err(DecodeError::Value { what: WHAT, value: other.into() }),
        }
    }

    /// The type data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Challenge { id, challenge, name } => {
                begin(&mut out, CHALLENGE, *id);
                out.u8(u8::try_from(CHALLENGE_LENGTH).unwrap_or(u8::MAX));
                out.octets(challenge);
                out.octets(name);
            }
            Self::Response { id, challenge, response, name } => {
                begin(&mut out, RESPONSE, *id);
                out.u8(u8::try_from(VALUE_LENGTH).unwrap_or(u8::MAX));
                out.octets(challenge);
                out.zeros(RESERVED);
                out.octets(response);
                out.u8(0);
                out.octets(name.as_bytes());
            }
            Self::Success { id, authenticator } => {
                begin(&mut out, SUCCESS, *id);
                out.octets(b"S=");
                for octet in authenticator {
                    out.octets(format!("{octet:02X}").as_bytes());
                }
                out.octets(b" M=OK");
            }
            Self::Failure { id, error } => {
                begin(&mut out, FAILURE, *id);
                // RFC 2759 §6: R=0, there is no second try in this conversation. The challenge would be
                // for it.
                out.octets(format!("E={error} R=0 C={:032} V=3 M=No", 0).as_bytes());
            }
            Self::SuccessSeen => {
                out.u8(SUCCESS);
                return out.into_octets();
            }
            Self::FailureSeen => {
                out.u8(FAILURE);
                return out.into_octets();
            }
        }
        let length = u16::try_from(out.len()).unwrap_or(u16::MAX);
        out.patch(LENGTH_AT, &length.to_be_bytes());
        out.into_octets()
    }
}

/// Without what whoever listens could try passwords with.
impl Debug for Packet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Challenge { id, .. } => write!(f, "Challenge({id})"),
            Self::Response { id, name, .. } => write!(f, "Response({id}, {name:?})"),
            Self::Success { id, .. } => write!(f, "Success({id})"),
            Self::Failure { id, error } => write!(f, "Failure({id}, {error})"),
            Self::SuccessSeen => f.write_str("SuccessSeen"),
            Self::FailureSeen => f.write_str("FailureSeen"),
        }
    }
}

fn begin(out: &mut Writer, code: u8, id: u8) {
    out.u8(code);
    out.u8(id);
    out.u16(0);
}

fn length(reader: &mut Reader<'_>, data: &[u8]) -> Result<(), DecodeError> {
    let length = usize::from(reader.u16("MSCHAPv2 length")?);
    if length == data.len() {
        return Ok(());
    }
    Err(DecodeError::Length { what: "MSCHAPv2 packet", value: length })
}

fn size(reader: &mut Reader<'_>, expected: usize) -> Result<(), DecodeError> {
    let size = usize::from(reader.u8("MSCHAPv2 value size")?);
    if size == expected { Ok(()) } else { Err(DecodeError::Length { what: "MSCHAPv2 value", value: size }) }
}

/// `S=` and forty hexadecimal digits; a message may follow.
fn authenticator(text: &[u8]) -> Result<[u8; AUTHENTICATOR_LENGTH], DecodeError> {
    let what = "MSCHAPv2 authenticator";
    let mut reader = Reader::new(text);
    if reader.array::<2>(what)? != *b"S=" {
        return Err(DecodeError::Value { what, value: 0 });
    }
    let mut octets = [0; AUTHENTICATOR_LENGTH];
    for place in &mut octets {
        let digits = reader.array::<2>(what)?;
        let octet = digits.map(|digit| char::from(digit).to_digit(16));
        let [Some(high), Some(low)] = octet else { return Err(DecodeError::Value { what, value: 0 }) };
        *place = u8::try_from(high << 4 | low).unwrap_or(0);
    }
    Ok(octets)
}

/// `E=` and a number, wherever they are among the words.
fn error(text: &[u8]) -> Result<u32, DecodeError> {
    let what = "MSCHAPv2 error";
    let words = text.split(|octet| *octet == b' ');
    let number = words.filter_map(|word| word.strip_prefix(b"E=")).next();
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.ok_or(DecodeError::Value { what, value: 0 })
}

const WHAT: &str = "MSCHAPv2 packet";
const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;
const RESERVED: usize = 8;
/// Octets of a response: both challenges' answers, what is reserved, and flags.
const VALUE_LENGTH: usize = CHALLENGE_LENGTH + RESERVED + RESPONSE_LENGTH + 1;
const LENGTH_AT: usize = 2;

//! IKEv2 messages: octets to values and back. No keys, no state.
//!
//! A datagram becomes a [`Message`]: its [`Header`] and the [`Chain`] of its payloads, each a
//! [`RawPayload`] that borrows from the datagram. [`Payload::decode`] looks into one of them.
//! What state keeps longer than the datagram lives becomes its own by `into_owned`.
//!
//! # Invariants
//!
//! - Decoding neither panics nor loops, and reads nothing beyond the end; it takes no more memory
//!   than a small multiple of what came in.
//! - A decoded value is right: lengths, bounds and counts have been checked. Octets that are left
//!   over are an error.
//! - A number that is not known is kept as it came ([`Unlisted`]), and is written as it came.
//! - Reserved fields are written as zero and ignored when read (`RFC 7296 §3.1`).
//! - Decoding what was encoded gives the same value.
//! - `Debug` does not show proofs, tickets, tokens and EAP packets, nor payloads that nobody has
//!   looked into.
//!
//! # References
//!
//! `RFC 7296 §3`; the numbers are those of IANA's "Internet Key Exchange Version 2 (IKEv2)
//! Parameters".

mod auth;
mod cert;
mod chain;
mod cp;
mod delete;
mod eap;
mod header;
mod id;
mod kex;
mod nonce;
mod notify;
mod payload;
mod protected;
mod sa;
mod transform;
mod ts;
mod vendor;

#[cfg(test)]
mod tests;

use std::fmt::{Debug, Display, Formatter};

pub use auth::{Auth, AuthMethod, Signature};
pub use cert::{AUTHORITY_LENGTH, Cert, CertEncoding, CertRequest};
pub use chain::{Chain, ChainWriter, MAX_PAYLOADS, PayloadType, Payloads, RawPayload, encode_chain};
pub use cp::{
    Attribute, AttributeType, Configuration, ConfigurationType, Ipv4Prefix, Ipv6Prefix, MaskLength,
    OtherAttribute,
};
pub use delete::Delete;
pub use eap::{Eap, EapCode, EapType};
pub use header::{
    ChildProtocol, ChildSpi, Direction, ExchangeType, Header, Message, MessageId, OriginalRole, SpiI, SpiR,
    Version, encode_message,
};
pub use id::{Id, IdType};
pub use kex::KeyExchange;
pub use nonce::Nonce;
pub use notify::{
    Cookie, HASH_LENGTH, HashAlgorithm, HashAlgorithms, Notify, NotifyContent, NotifyType, PpkIdType,
};
pub use payload::Payload;
pub use protected::{Encrypted, EncryptedFragment, FragmentNumber, begin_encrypted, begin_fragment};
pub use sa::{Proposal, ProposalSpi, Sa};
pub use transform::{
    AdditionalIndex, Encryption, Integrity, KeyExchangeMethod, Prf, SequenceNumbers, Transform, TransformType,
};
pub use ts::{AddressRange, PortRange, Ports, Span, TrafficSelector, TrafficSelectors, TsType};
pub use vendor::VendorId;

/// A number that its registry or this implementation has no name for.
///
/// Only decoding makes one, so that a number with a name is never found here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unlisted<T>(T);

impl<T: Copy> Unlisted<T> {
    /// The number.
    #[must_use]
    pub const fn value(self) -> T {
        self.0
    }
}

impl<T: Display> Display for Unlisted<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// Octets that may give something away, such as proofs that a password can be guessed from. `Debug`
/// shows how many they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opaque<'a>(pub &'a [u8]);

impl Debug for Opaque<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

/// Why a value does not fit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than a length or count field can say.
    #[error("{what}: {count} is more than fits")]
    TooMuch {
        /// What was being written.
        what: &'static str,
        /// Its octets or elements.
        count: usize,
    },
}

/// A length or count for a field that may be too small for it.
fn fit<T: TryFrom<usize>>(count: usize, what: &'static str) -> Result<T, EncodeError> {
    T::try_from(count).ok().ok_or(EncodeError::TooMuch { what, count })
}

/// An enumeration of the numbers of a registry. What has no name is kept in `Unknown`.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident: $number:ty {
            $($(#[$variant_meta:meta])* $variant:ident = $value:expr => $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant,)+
            /// A number without a name here.
            Unknown($crate::ike::wire::Unlisted<$number>),
        }

        impl $name {
            /// All that have a name.
            #[cfg(test)]
            pub(crate) const NAMED: &[Self] = &[$(Self::$variant),+];
        }

        #[expect(non_upper_case_globals, reason = "constants named after their variants")]
        impl From<$number> for $name {
            fn from(number: $number) -> Self {
                $(const $variant: $number = $value;)+
                match number {
                    $($variant => Self::$variant,)+
                    other => Self::Unknown($crate::ike::wire::Unlisted(other)),
                }
            }
        }

        impl From<$name> for $number {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $value,)+
                    $name::Unknown(other) => other.value(),
                }
            }
        }

        impl $name {
            /// The registry's name; for a number without one, what the number is.
            #[must_use]
            pub const fn label(&self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(_) => stringify!($name),
                }
            }
        }

        /// The registry's name, or the number.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant => f.pad($text),)+
                    Self::Unknown(other) => std::fmt::Display::fmt(other, f),
                }
            }
        }
    };
}
use wire_enum;

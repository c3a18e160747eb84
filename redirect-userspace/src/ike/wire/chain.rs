//! Payloads one after the other, each naming the type of the next (`RFC 7296 §3.2`).

use std::fmt::{Debug, Formatter};

use common::ike::{
    CRITICAL, PAYLOAD_KE, PAYLOAD_LENGTH, PAYLOAD_NONCE, PAYLOAD_NONE, PAYLOAD_NOTIFY, PAYLOAD_SA,
    PAYLOAD_VENDOR,
};

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, Notify, NotifyContent, NotifyType, Opaque, Payload, fit, wire_enum};

/// Most payloads a message has.
pub const MAX_PAYLOADS: usize = 64;

wire_enum! {
    /// What a payload is. Those without a name here are not understood: they are skipped, unless
    /// they are critical (`RFC 7296 §2.5`).
    pub enum PayloadType: u8 {
        /// Security Association.
        Sa = PAYLOAD_SA => "SA",
        /// Key Exchange.
        KeyExchange = PAYLOAD_KE => "KE",
        /// Identification of the initiator.
        IdI = 35 => "IDi",
        /// Identification of the responder.
        IdR = 36 => "IDr",
        /// Certificate.
        Cert = 37 => "CERT",
        /// Certificate Request.
        CertRequest = 38 => "CERTREQ",
        /// Authentication.
        Auth = 39 => "AUTH",
        /// Nonce.
        Nonce = PAYLOAD_NONCE => "Nonce",
        /// Notify.
        Notify = PAYLOAD_NOTIFY => "N",
        /// Delete.
        Delete = 42 => "D",
        /// Vendor ID.
        Vendor = PAYLOAD_VENDOR => "V",
        /// Traffic selectors of the initiator.
        TsI = 44 => "TSi",
        /// Traffic selectors of the responder.
        TsR = 45 => "TSr",
        /// Encrypted and Authenticated.
        Encrypted = 46 => "SK",
        /// Configuration.
        Configuration = 47 => "CP",
        /// Extensible Authentication.
        Eap = 48 => "EAP",
        /// Encrypted and Authenticated Fragment (`RFC 7383`).
        EncryptedFragment = 53 => "SKF",
    }
}

impl PayloadType {
    /// From a field that names the next payload.
    #[must_use]
    pub fn from_next(next: u8) -> Option<Self> {
        (next != PAYLOAD_NONE).then(|| Self::from(next))
    }

    /// For a field that names the next payload.
    #[must_use]
    pub fn to_next(next: Option<Self>) -> u8 {
        next.map_or(PAYLOAD_NONE, u8::from)
    }

    /// Whether payloads are hidden in it: it ends its message, and its "next payload" is the first
    /// of those inside (`RFC 7296 §3.14`).
    #[must_use]
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Encrypted | Self::EncryptedFragment)
    }
}

/// A payload that nobody has looked into.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Next payload  │C│  Reserved   │        Payload length         │
/// │                             Body                              │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawPayload<'a> {
    /// Its type, from what stands before it.
    pub kind: PayloadType,
    /// Whether a receiver that does not understand it must refuse the message. Says nothing about
    /// a payload that is understood.
    pub is_critical: bool,
    /// What it names as next.
    pub next: Option<PayloadType>,
    /// Octets after the generic header.
    pub body: &'a [u8],
}

impl<'a> RawPayload<'a> {
    fn read(kind: PayloadType, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let next = PayloadType::from_next(reader.u8("next payload")?);
        let flags = reader.u8("payload flags")?;
        let length = usize::from(reader.u16("payload length")?);
        let body = length
            .checked_sub(PAYLOAD_LENGTH)
            .ok_or(DecodeError::Length { what: "payload", value: length })?;
        let body = reader.take(body, "payload")?;
        Ok(Self { kind, is_critical: flags & CRITICAL != 0, next, body })
    }
}

impl Debug for RawPayload<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { kind, is_critical, next, body } = self;
        let critical = if *is_critical { ", critical" } else { "" };
        write!(f, "RawPayload({kind:?}{critical}, next {next:?}, {:?})", Opaque(body))
    }
}

/// Payloads that follow each other exactly to the end of their octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    first: Option<PayloadType>,
    octets: &'a [u8],
}

impl<'a> Chain<'a> {
    /// No payload.
    pub const EMPTY: Self = Self { first: None, octets: &[] };

    /// Walks over `octets`, the first of which is that of a payload of type `first`.
    ///
    /// # Errors
    ///
    /// A payload ends beyond the end, something is left over after the last one, or there are
    /// more than [`MAX_PAYLOADS`].
    pub fn decode(first: Option<PayloadType>, octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut walk = Payloads { next: first, reader: Reader::new(octets) };
        for _ in 0..MAX_PAYLOADS {
            if walk.step()?.is_none() {
                return Ok(Self { first, octets });
            }
        }
        match walk.step()? {
            None => Ok(Self { first, octets }),
            Some(_) => Err(DecodeError::Length { what: "chain of payloads", value: MAX_PAYLOADS + 1 }),
        }
    }

    /// Type of the first payload.
    #[must_use]
    pub const fn first(&self) -> Option<PayloadType> {
        self.first
    }

    /// All octets.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The payloads in their order.
    #[must_use]
    pub const fn iter(&self) -> Payloads<'a> {
        Payloads { next: self.first, reader: Reader::new(self.octets) }
    }

    /// The first payload of a type.
    #[must_use]
    pub fn find(&self, kind: PayloadType) -> Option<RawPayload<'a>> {
        self.iter().find(|payload| payload.kind == kind)
    }

    /// The notifies. Those too short to have a type are left out: the rules refuse their message.
    pub fn notifies(&self) -> impl Iterator<Item = Notify<'a>> + use<'a> {
        let notifies = self.iter().filter(|payload| payload.kind == PayloadType::Notify);
        notifies.filter_map(|payload| Notify::decode(payload.body).ok())
    }

    /// The first notify of a type.
    #[must_use]
    pub fn notify(&self, kind: NotifyType) -> Option<Notify<'a>> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// How many payloads of a type there are.
    #[must_use]
    pub fn count(&self, kind: PayloadType) -> usize {
        self.iter().filter(|payload| payload.kind == kind).count()
    }
}

impl Debug for Chain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for Chain<'a> {
    type Item = RawPayload<'a>;
    type IntoIter = Payloads<'a>;

    fn into_iter(self) -> Payloads<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Chain<'a> {
    type Item = RawPayload<'a>;
    type IntoIter = Payloads<'a>;

    fn into_iter(self) -> Payloads<'a> {
        self.iter()
    }
}

/// The payloads of a [`Chain`].
#[derive(Clone)]
pub struct Payloads<'a> {
    next: Option<PayloadType>,
    reader: Reader<'a>,
}

impl<'a> Payloads<'a> {
    fn step(&mut self) -> Result<Option<RawPayload<'a>>, DecodeError> {
        let Some(kind) = self.next else {
            return self.reader.finish("chain of payloads").map(|()| None);
        };
        let payload = RawPayload::read(kind, &mut self.reader)?;
        self.next = payload.next.filter(|_| !kind.is_envelope());
        Ok(Some(payload))
    }
}

impl Debug for Payloads<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = RawPayload<'a>;

    fn next(&mut self) -> Option<RawPayload<'a>> {
        // The chain has been walked once: there is no error to come.
        self.step().ok().flatten()
    }
}

/// Writes payloads one after the other.
#[derive(Debug)]
pub struct ChainWriter<'w> {
    out: &'w mut Writer,
    first: Option<PayloadType>,
    last: Option<Last>,
}

/// What the next payload is to be written after.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// A payload that begins there.
    At(usize),
    /// A payload that ends its message.
    Envelope,
}

impl<'w> ChainWriter<'w> {
    /// Appends to `out`.
    pub const fn new(out: &'w mut Writer) -> Self {
        Self { out, first: None, last: None }
    }

    /// Appends a payload.
    ///
    /// # Errors
    ///
    /// When a length or count does not fit, or an encrypted payload stands before it. What has
    /// been written then is of no use.
    pub fn push(&mut self, payload: &Payload<'_>) -> Result<(), EncodeError> {
        let (is_critical, inside) = match payload {
            Payload::Unknown(raw) => (raw.is_critical, None),
            Payload::Encrypted(encrypted) => (false, encrypted.first),
            Payload::EncryptedFragment(fragment) => (false, fragment.first),
            Payload::Sa(_)
            | Payload::KeyExchange(_)
            | Payload::IdI(_)
            | Payload::IdR(_)
            | Payload::Cert(_)
            | Payload::CertRequest(_)
            | Payload::Auth(_)
            | Payload::Nonce(_)
            | Payload::Notify(_)
            | Payload::Delete(_)
            | Payload::Vendor(_)
            | Payload::TsI(_)
            | Payload::TsR(_)
            | Payload::Configuration(_)
            | Payload::Eap(_) => (false, None),
        };
        self.append(payload.kind(), is_critical, inside, |out| payload.encode(out))
    }

    /// Appends a notify.
    ///
    /// # Errors
    ///
    /// Those of [`Self::push`].
    pub fn notify(&mut self, content: &NotifyContent<'_>) -> Result<(), EncodeError> {
        self.append(PayloadType::Notify, false, None, |out| content.encode(out))
    }

    /// Appends a notify whose type says all.
    ///
    /// # Errors
    ///
    /// Those of [`Self::push`].
    pub fn plain(&mut self, kind: NotifyType) -> Result<(), EncodeError> {
        self.append(PayloadType::Notify, false, None, |out| Notify::plain(kind).encode(out))
    }

    fn append(
        &mut self,
        kind: PayloadType,
        is_critical: bool,
        inside: Option<PayloadType>,
        encode: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let at = self.out.len();
        match self.last {
            None => self.first = Some(kind),
            Some(Last::At(previous)) => self.out.patch(previous, &[kind.into()]),
            Some(Last::Envelope) => {
                return Err(EncodeError::TooMuch { what: "payloads after the encrypted one", count: 1 });
            }
        }
        self.out.u8(PayloadType::to_next(inside));
        self.out.u8(if is_critical { CRITICAL } else { 0 });
        self.out.u16(0);
        encode(self.out)?;
        let length: u16 = fit(self.out.len() - at, "payload")?;
        self.out.patch(at + 2, &length.to_be_bytes());
        self.last = Some(if kind.is_envelope() { Last::Envelope } else { Last::At(at) });
        Ok(())
    }

    /// Ends the chain: the type of its first payload is for whatever stands before it.
    #[must_use]
    pub const fn finish(self) -> Option<PayloadType> {
        self.first
    }
}

/// Writes payloads on their own, as they stand inside an encrypted payload: the type of the first
/// one, and the octets.
///
/// # Errors
///
/// When a length or count does not fit.
pub fn encode_chain(
    payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(Option<PayloadType>, Vec<u8>), EncodeError> {
    let mut out = Writer::new();
    let mut chain = ChainWriter::new(&mut out);
    payloads(&mut chain)?;
    let first = chain.finish();
    Ok((first, out.into_octets()))
}

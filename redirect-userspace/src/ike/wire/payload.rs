//! Any payload.

use crate::codec::{DecodeError, Writer};

use super::{
    Auth, Cert, CertRequest, Configuration, Delete, Eap, EncodeError, Encrypted, EncryptedFragment, Id,
    KeyExchange, Nonce, Notify, PayloadType, RawPayload, Sa, TrafficSelectors, VendorId,
};

/// A payload that has been looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Security Association.
    Sa(Sa),
    /// Key Exchange.
    KeyExchange(KeyExchange<'a>),
    /// Identification of the initiator.
    IdI(Id<'a>),
    /// Identification of the responder.
    IdR(Id<'a>),
    /// Certificate.
    Cert(Cert<'a>),
    /// Certificate Request.
    CertRequest(CertRequest<'a>),
    /// Authentication.
    Auth(Auth<'a>),
    /// Nonce.
    Nonce(Nonce<'a>),
    /// Notify, as it came.
    Notify(Notify<'a>),
    /// Delete.
    Delete(Delete),
    /// Vendor ID.
    Vendor(VendorId<'a>),
    /// Traffic selectors of the initiator.
    TsI(TrafficSelectors),
    /// Traffic selectors of the responder.
    TsR(TrafficSelectors),
    /// Encrypted payloads.
    Encrypted(Encrypted<'a>),
    /// A part of encrypted payloads.
    EncryptedFragment(EncryptedFragment<'a>),
    /// Configuration.
    Configuration(Configuration<'a>),
    /// EAP.
    Eap(Eap<'a>),
    /// One that is not understood.
    Unknown(RawPayload<'a>),
}

impl<'a> Payload<'a> {
    /// Looks into a payload.
    ///
    /// # Errors
    ///
    /// What is wrong with its body.
    pub fn decode(payload: &RawPayload<'a>) -> Result<Self, DecodeError> {
        let body = payload.body;
        match payload.kind {
            PayloadType::Sa => Sa::decode(body).map(Self::Sa),
            PayloadType::KeyExchange => KeyExchange::decode(body).map(Self::KeyExchange),
            PayloadType::IdI => Id::decode(body).map(Self::IdI),
            PayloadType::IdR => Id::decode(body).map(Self::IdR),
            PayloadType::Cert => Cert::decode(body).map(Self::Cert),
            PayloadType::CertRequest => CertRequest::decode(body).map(Self::CertRequest),
            PayloadType::Auth => Auth::decode(body).map(Self::Auth),
            PayloadType::Nonce => Nonce::decode(body).map(Self::Nonce),
            PayloadType::Notify => Notify::decode(body).map(Self::Notify),
            PayloadType::Delete => Delete::decode(body).map(Self::Delete),
            PayloadType::Vendor => Ok(Self::Vendor(VendorId(body.into()))),
            PayloadType::TsI => TrafficSelectors::decode(body).map(Self::TsI),
            PayloadType::TsR => TrafficSelectors::decode(body).map(Self::TsR),
            PayloadType::Encrypted => Ok(Self::Encrypted(Encrypted::from_raw(payload))),
            PayloadType::EncryptedFragment => {
                EncryptedFragment::from_raw(payload).map(Self::EncryptedFragment)
            }
            PayloadType::Configuration => Configuration::decode(body).map(Self::Configuration),
            PayloadType::Eap => Eap::decode(body).map(Self::Eap),
            PayloadType::Unknown(_) => Ok(Self::Unknown(*payload)),
        }
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::Sa,
            Self::KeyExchange(_) => PayloadType::KeyExchange,
            Self::IdI(_) => PayloadType::IdI,
            Self::IdR(_) => PayloadType::IdR,
            Self::Cert(_) => PayloadType::Cert,
            Self::CertRequest(_) => PayloadType::CertRequest,
            Self::Auth(_) => PayloadType::Auth,
            Self::Nonce(_) => PayloadType::Nonce,
            Self::Notify(_) => PayloadType::Notify,
            Self::Delete(_) => PayloadType::Delete,
            Self::Vendor(_) => PayloadType::Vendor,
            Self::TsI(_) => PayloadType::TsI,
            Self::TsR(_) => PayloadType::TsR,
            Self::Encrypted(_) => PayloadType::Encrypted,
            Self::EncryptedFragment(_) => PayloadType::EncryptedFragment,
            Self::Configuration(_) => PayloadType::Configuration,
            Self::Eap(_) => PayloadType::Eap,
            Self::Unknown(payload) => payload.kind,
        }
    }

    /// Appends the body.
    ///
    /// # Errors
    ///
    /// When a length or count does not fit.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        match self {
            Self::Sa(sa) => return sa.encode(out),
            Self::KeyExchange(key_exchange) => key_exchange.encode(out),
            Self::IdI(id) | Self::IdR(id) => id.encode(out),
            Self::Cert(cert) => cert.encode(out),
            Self::CertRequest(request) => request.encode(out),
            Self::Auth(auth) => auth.encode(out),
            Self::Nonce(nonce) => nonce.encode(out),
            Self::Notify(notify) => return notify.encode(out),
            Self::Delete(delete) => return delete.encode(out),
            Self::Vendor(vendor) => vendor.encode(out),
            Self::TsI(selectors) | Self::TsR(selectors) => return selectors.encode(out),
            Self::Encrypted(encrypted) => out.octets(encrypted.content),
            Self::EncryptedFragment(fragment) => {
                out.u16(fragment.number.number().get());
                out.u16(fragment.number.total().get());
                out.octets(fragment.content);
            }
            Self::Configuration(configuration) => return configuration.encode(out),
            Self::Eap(eap) => eap.encode(out),
            Self::Unknown(payload) => out.octets(payload.body),
        }
        Ok(())
    }
}

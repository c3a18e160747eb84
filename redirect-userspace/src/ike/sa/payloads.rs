//! Looking for payloads in a chain that the rules have found in order.

use crate::codec::DecodeError;
use crate::crypto::sign::HashAlgorithm;
use crate::ike::event::Failure;
use crate::ike::sa::context::Refusal;
use crate::ike::wire::{
    Chain, Delete, KeyExchange, Nonce, NotifyContent, NotifyType, PayloadType, RawPayload, Sa,
    TrafficSelectors,
};

/// Looks into the first payload of a type, if there is one.
pub(crate) fn optional<'a, T>(
    chain: &Chain<'a>,
    kind: PayloadType,
    decode: impl FnOnce(&'a [u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    chain.find(kind).map(|payload| decode(payload.body)).transpose()
}

/// Looks into the first payload of a type. The rules have seen to it that there is one.
pub(crate) fn required<'a, T>(
    chain: &Chain<'a>,
    kind: PayloadType,
    decode: impl FnOnce(&'a [u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    optional(chain, kind, decode)?.ok_or_else(|| DecodeError::Truncated {
        what: kind.label(),
        need: 1,
        have: 0,
    })
}

/// SA and both traffic selectors, which are there together or not at all.
#[derive(Debug)]
pub(crate) struct ChildPayloads {
    pub(crate) sa: Sa,
    pub(crate) ts_i: TrafficSelectors,
    pub(crate) ts_r: TrafficSelectors,
}

impl ChildPayloads {
    pub(crate) fn read(chain: &Chain<'_>) -> Result<Option<Self>, DecodeError> {
        let sa = optional(chain, PayloadType::Sa, Sa::decode)?;
        let ts_i = optional(chain, PayloadType::TsI, TrafficSelectors::decode)?;
        let ts_r = optional(chain, PayloadType::TsR, TrafficSelectors::decode)?;
        let (Some(sa), Some(ts_i), Some(ts_r)) = (sa, ts_i, ts_r) else { return Ok(None) };
        Ok(Some(Self { sa, ts_i, ts_r }))
    }
}

/// Nonce and public value.
pub(crate) fn nonce<'a>(chain: &Chain<'a>) -> Result<Nonce<'a>, DecodeError> {
    required(chain, PayloadType::Nonce, Nonce::decode)
}

pub(crate) fn public<'a>(chain: &Chain<'a>) -> Result<Option<KeyExchange<'a>>, DecodeError> {
    optional(chain, PayloadType::KeyExchange, KeyExchange::decode)
}

/// What has been deleted.
pub(crate) fn deletes(chain: &Chain<'_>) -> Result<Vec<Delete>, DecodeError> {
    let is_delete = |payload: &RawPayload<'_>| payload.kind == PayloadType::Delete;
    chain.iter().filter(is_delete).map(|payload| Delete::decode(payload.body)).collect()
}

/// Hash functions that the peer has announced for signatures; `None` if it has not announced any.
pub(crate) fn hashes(chain: &Chain<'_>) -> Option<Box<[HashAlgorithm]>> {
    match chain.notify(NotifyType::SignatureHashAlgorithms)?.content() {
        Ok(NotifyContent::SignatureHashAlgorithms(hashes)) => {
            Some(hashes.iter().filter_map(|hash| HashAlgorithm::from_number(hash.into())).collect())
        }
        Ok(_) | Err(_) => None,
    }
}

/// The first error of a response. Any error that is not known means that the request has failed
/// (`RFC 7296 §3.10.1`).
pub(crate) fn error(chain: &Chain<'_>) -> Option<NotifyType> {
    chain.notifies().map(|notify| notify.kind).find(|kind| kind.is_error())
}

/// A message that cannot be read.
pub(crate) fn unreadable(error: DecodeError) -> Refusal {
    Refusal::new(Failure::Syntax, error.to_string())
}

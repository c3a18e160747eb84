//! A server of a few lines, for tests and the fuzz target.

use super::digest::{MD5_LENGTH, hmac_md5, md5};
use super::wire::{HEADER, Kind};
use crate::secret::Secret;

/// An answer with these attributes to a request, signed as a server does that knows the secret. Those
/// that do not fit are left out.
#[must_use]
pub fn answer(code: u8, request: &[u8], attributes: &[u8], secret: &[u8]) -> Vec<u8> {
    let room = MAX_ATTRIBUTES.min(attributes.len());
    let mut list = attributes.get(..room).unwrap_or_default().to_vec();
    list.extend([Kind::MESSAGE_AUTHENTICATOR.0, 18]);
    let signed = list.len();
    list.extend([0; MD5_LENGTH]);
    let length = u16::try_from(HEADER + list.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = [code, request.get(1).copied().unwrap_or_default(), length[0], length[1]];
    let asked = request.get(HEADER - MD5_LENGTH..HEADER).unwrap_or_default();
    let code = hmac_md5(&Secret::from(secret), &[&head, asked, &list]);
    list.truncate(signed);
    list.extend(code);
    let authenticator = md5(&[&head, asked, &list, secret]);
    [&head[..], &authenticator, &list].concat()
}

/// An attribute of a request.
#[must_use]
pub fn attribute(request: &[u8], kind: u8) -> Option<Vec<u8>> {
    let packet = super::wire::Packet::decode(request).ok()?;
    packet.all(Kind(kind)).next().map(<[u8]>::to_vec)
}

/// Octets of attributes of a test, so that the packet is never longer than one may be.
const MAX_ATTRIBUTES: usize = 4_000;

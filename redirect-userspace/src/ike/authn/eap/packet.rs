//! EAP packets of our own. Those of others are read by [`Eap`].
//!
//! # References
//!
//! `RFC 3748 §4`, `§5.3.1`.

use crate::codec::Writer;
use crate::ike::wire::{Eap, EapCode, EapType};

/// A packet: a request or response with a type, or another one without. `None` when it is longer than
/// its length field can say.
fn packet(code: EapCode, identifier: u8, kind: Option<EapType>, data: &[u8]) -> Option<Vec<u8>> {
    let length = HEADER_LENGTH + usize::from(kind.is_some()) + data.len();
    let mut out = Writer::new();
    out.u8(code.into());
    out.u8(identifier);
    out.u16(u16::try_from(length).ok()?);
    if let Some(kind) = kind {
        out.u8(kind.into());
    }
    out.octets(data);
    Some(out.into_octets())
}

/// A request; `None` when the data is too long for one.
#[must_use]
pub fn request(identifier: u8, kind: EapType, data: &[u8]) -> Option<Vec<u8>> {
    packet(EapCode::Request, identifier, Some(kind), data)
}

/// A response; `None` when the data is too long for one.
#[must_use]
pub fn response(identifier: u8, kind: EapType, data: &[u8]) -> Option<Vec<u8>> {
    packet(EapCode::Response, identifier, Some(kind), data)
}

/// The end of a conversation that the client has passed.
#[must_use]
pub fn success(identifier: u8) -> Vec<u8> {
    packet(EapCode::Success, identifier, None, &[]).unwrap_or_default()
}

/// The end of one that it has not.
#[must_use]
pub fn failure(identifier: u8) -> Vec<u8> {
    packet(EapCode::Failure, identifier, None, &[]).unwrap_or_default()
}

/// The methods that a Nak asks for, the preferred one first. Zero asks for none.
pub fn wanted<'a>(nak: &'a Eap<'_>) -> impl Iterator<Item = EapType> + 'a {
    nak.data().iter().filter(|kind| **kind != 0).map(|kind| EapType::from(*kind))
}

/// Octets before the type, or of a packet without one.
const HEADER_LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    // test of RFC 3748 §4
    #[test]
    fn packets_are_as_the_rfc_draws_them() {
        assert_eq!(request(7, EapType::Identity, b"").unwrap(), [1, 7, 0, 5, 1]);
        assert_eq!(response(7, EapType::Nak, &[13, 26]).unwrap(), [2, 7, 0, 7, 3, 13, 26]);
        assert_eq!(success(9), [3, 9, 0, 4]);
        assert_eq!(failure(9), [4, 9, 0, 4]);
        assert_eq!(request(1, EapType::Tls, &vec![0; 65_530]).unwrap().len(), 65_535);
        assert_eq!(request(1, EapType::Tls, &vec![0; 65_531]), None);
    }

    #[test]
    fn a_nak_names_what_is_wanted() {
        let read = |data: &[u8]| {
            let packet = response(1, EapType::Nak, data).unwrap();
            wanted(&Eap::decode(&packet).unwrap()).collect::<Vec<_>>()
        };

        assert_eq!(read(&[26, 13]), [EapType::MschapV2, EapType::Tls]);
        assert_eq!(read(&[0]), []);
        assert_eq!(read(&[]), []);
    }
}

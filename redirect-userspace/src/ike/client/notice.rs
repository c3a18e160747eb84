//! What a REDIRECT says, and what is wrong with one that says nothing.
//!
//! # References
//!
//! `RFC 5685 §3`, `§9.2`, `§12`.

use common::ike::{IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6};

use crate::gateway::{Fqdn, GatewayAddress};
use crate::ike::event::RedirectRefusal;
use crate::ike::wire::{Notify, NotifyContent};

/// Reads where a REDIRECT leads. `ni` is our nonce, which it must have in an IKE_SA_INIT response;
/// everywhere else, with `None`, it must have none.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn read(notify: &Notify<'_>, ni: Option<&[u8]>) -> Result<GatewayAddress, RedirectRefusal> {
    let Ok(NotifyContent::Redirect { gateway, nonce }) = notify.content() else {
        return Err(fault(notify));
    };
    // RFC 5685 §3: the nonce is all that tells the answer from one that somebody has made up.
    if nonce.as_ref().map(|nonce| nonce.as_slice()) == ni {
        Ok(gateway)
    } else {
        Err(RedirectRefusal::BadNonce)
    }
}

/// Why it could not be read.
fn fault(notify: &Notify<'_>) -> RedirectRefusal {
    let [kind, length, rest @ ..] = notify.data else { return RedirectRefusal::BadLength };
    let length = usize::from(*length);
    let wanted = match *kind {
        IDENTITY_IPV4 => 4,
        IDENTITY_IPV6 => 16,
        IDENTITY_FQDN => length.max(1),
        _ => return RedirectRefusal::BadType,
    };
    let identity = rest.get(..length).filter(|_| length == wanted && notify.spi.is_empty());
    let Some(identity) = identity else { return RedirectRefusal::BadLength };
    if *kind == IDENTITY_FQDN {
        let name = std::str::from_utf8(identity).ok().and_then(|name| name.parse::<Fqdn>().ok());
        return if name.is_none() { RedirectRefusal::BadName } else { RedirectRefusal::BadNonce };
    }
    let is_nonce = rest.len() == length || (16..=256).contains(&(rest.len() - length));
    // Lengths are right, and so is the nonce: the address leads nowhere.
    if is_nonce { RedirectRefusal::BadAddress } else { RedirectRefusal::BadNonce }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::wire::NotifyType;

    const NONCE: [u8; 32] = [7; 32];

    fn judge(data: &[&[u8]], ni: Option<&[u8]>) -> Result<String, RedirectRefusal> {
        let data = data.concat();
        let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data: &data };
        read(&notify, ni).map(|to| to.to_string())
    }

    #[test]
    fn each_kind_of_identity_is_read_with_the_nonce_and_without() {
        let v4: &[u8] = &[1, 4, 192, 0, 2, 3];
        let v6: &[u8] = &[&[2, 16, 0xfd, 0x50][..], &[0; 13], &[9]].concat();
        let name: &[u8] = &[&[3, 15][..], b"gw1.example.net"].concat();
        for (identity, to) in [(v4, "192.0.2.3"), (v6, "fd50::9"), (name, "gw1.example.net")] {
            assert_eq!(judge(&[identity, &NONCE], Some(&NONCE)), Ok(to.to_owned()));
            assert_eq!(judge(&[identity], None), Ok(to.to_owned()));
            assert_eq!(judge(&[identity], Some(&NONCE)), Err(RedirectRefusal::BadNonce), "{to}");
            assert_eq!(judge(&[identity, &NONCE], None), Err(RedirectRefusal::BadNonce), "{to}");
        }
    }

    // RDC-07, RDC-08, RDC-09
    #[test]
    fn a_nonce_that_differs_in_anything_is_no_nonce() {
        let v4: &[u8] = &[1, 4, 192, 0, 2, 3];
        let mut flipped = NONCE;
        flipped[31] ^= 1;
        let longer = [7; 33];
        for nonce in [&flipped[..], &NONCE[..31], &longer, &NONCE[..15], &[7; 257], &[]] {
            assert_eq!(judge(&[v4, nonce], Some(&NONCE)), Err(RedirectRefusal::BadNonce), "{nonce:?}");
        }
    }

    // RDC-11, RDC-12, RDC-13
    #[test]
    fn what_cannot_be_read_is_named() {
        use RedirectRefusal::{BadAddress, BadLength, BadName, BadType};
        let cases: [(&[u8], RedirectRefusal); 17] = [
            (&[], BadLength),
            (&[1], BadLength),
            (&[0, 4, 192, 0, 2, 3], BadType),
            (&[4, 4, 192, 0, 2, 3], BadType),
            (&[255, 4, 192, 0, 2, 3], BadType),
            (&[1, 3, 192, 0, 2], BadLength),
            (&[1, 5, 192, 0, 2, 3, 4], BadLength),
            (&[1, 200, 192, 0, 2, 3], BadLength),
            (&[2, 15, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], BadLength),
            (&[3, 0], BadLength),
            (&[3, 9, b'g', b'w'], BadLength),
            (&[3, 3, b'g', 0, b'w'], BadName),
            (&[3, 3, b'g', b'w', b'.'], BadName),
            (&[3, 2, 0xff, 0xfe], BadName),
            (&[1, 4, 127, 0, 0, 1], BadAddress),
            (&[1, 4, 224, 0, 0, 1], BadAddress),
            (&[1, 4, 0, 0, 0, 0], BadAddress),
        ];
        for (data, reason) in cases {
            assert_eq!(judge(&[data], None), Err(reason), "{data:?}");
        }
        let loopback = [&[2, 16][..], &[0; 15], &[1]].concat();
        assert_eq!(judge(&[&loopback, &NONCE], Some(&NONCE)), Err(BadAddress));
        let notify =
            Notify { kind: NotifyType::Redirect, protocol: 1, spi: &[9; 8], data: &[1, 4, 192, 0, 2, 3] };
        assert_eq!(read(&notify, None), Err(BadLength));
    }
}

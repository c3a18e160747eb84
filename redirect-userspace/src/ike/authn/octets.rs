//! What each side signs, or computes a code of.
//!
//! # References
//!
//! `RFC 7296 §2.15`, `RFC 9242 §3.3.2`.

use std::fmt::{Debug, Formatter};

use crate::codec::DecodeError;
use crate::crypto::prf::{Prf, PrfKey, PrfOutput};
use crate::ike::wire::{Id, Opaque};

/// The octets by which one side binds its identity to the key exchange.
///
/// ```text
/// InitiatorSignedOctets = IKE_SA_INIT request  | Nr | prf(SK_pi, IDi body)
/// ResponderSignedOctets = IKE_SA_INIT response | Ni | prf(SK_pr, IDr body)
/// ```
///
/// and behind it, if there were exchanges in between, what stands for those ([`Self::and_between`]).
///
/// They know the identity that they bind, so that no other one can be taken for it.
#[derive(Clone)]
pub struct SignedOctets<'a> {
    message: &'a [u8],
    nonce: &'a [u8],
    id_body: &'a [u8],
    id_code: PrfOutput,
    prf: Prf,
    between: &'a [u8],
}

impl<'a> SignedOctets<'a> {
    /// Those of the side that sent `message`: its IKE_SA_INIT message, the last one if there were
    /// several, from the first SPI on; the nonce of the other side; its SK_p; and the body of its
    /// ID payload as it was sent, reserved octets included.
    #[must_use]
    pub fn new(message: &'a [u8], nonce: &'a [u8], key: &PrfKey, id_body: &'a [u8]) -> Self {
        Self { message, nonce, id_body, id_code: key.compute(&[id_body]), prf: key.prf(), between: &[] }
    }

    /// With what stands for the IKE_INTERMEDIATE exchanges: IntAuth (`RFC 9242 §3.3.2`).
    #[must_use]
    pub fn and_between(self, between: &'a [u8]) -> Self {
        Self { between, ..self }
    }

    /// Whose they are.
    ///
    /// # Errors
    ///
    /// The body is not one of an ID payload.
    pub fn identity(&self) -> Result<Id<'a>, DecodeError> {
        Id::decode(self.id_body)
    }

    /// The PRF of the IKE SA.
    pub(super) const fn prf(&self) -> Prf {
        self.prf
    }

    /// The octets, in parts.
    pub(super) fn parts(&self) -> [&[u8]; 4] {
        [self.message, self.nonce, self.id_code.expose(), self.between]
    }

    /// The message that they begin with.
    pub(super) const fn message(&self) -> &[u8] {
        self.message
    }

    /// The octets, in one piece.
    pub(super) fn concat(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

impl Debug for SignedOctets<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedOctets({:?} of {:?}, …)", self.prf, Opaque(self.message))
    }
}

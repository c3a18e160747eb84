//! The master session key of EAP-TLS.
//!
//! # References
//!
//! `RFC 5216 §2.3` (TLS 1.2), `RFC 9190 §2.3` (TLS 1.3).

use super::Done;
use crate::crypto::tls::{Session, TlsError};
use crate::ike::wire::EapType;
use crate::secret::Secret;

/// What a session that is open amounts to.
pub(super) fn done(session: &Session, last: Option<Vec<u8>>) -> Result<Done, TlsError> {
    // What an exporter gives depends on how much is asked for, so the EMSK, which nobody needs here,
    // is asked for as well.
    let octets = if session.is_13() {
        let kind = [u8::from(EapType::Tls)];
        session.export::<{ MSK_LENGTH + EMSK_LENGTH }>(b"EXPORTER_EAP_TLS_Key_Material", Some(&kind))?
    } else {
        session.export(b"client EAP encryption", None)?
    };
    let (msk, _emsk) = octets.split_at(MSK_LENGTH);
    // Both sides show a certificate, or the session does not open.
    let certificate = session.certificate().ok_or(TlsError::NoCertificate)?;
    Ok(Done { last, msk: Secret::from(msk), certificate: Box::new(certificate) })
}

const MSK_LENGTH: usize = 64;
const EMSK_LENGTH: usize = 64;

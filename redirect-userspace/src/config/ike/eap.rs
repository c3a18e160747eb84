//! How clients prove who they are by EAP, and how we do as a client.

use std::sync::Arc;

use super::Reading;
use super::authentication::Side;
use crate::config::reader::Section;
use crate::crypto::x509::TrustStore;
use crate::ike::authn::eap::{Credentials, Gate};
use crate::ike::config::Credential;

/// The methods of the interface contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EapKind {
    /// EAP-MSCHAPv2 with `[[ike.user]]`.
    MschapV2,
    /// EAP-TLS with `ca`.
    Tls,
    /// Whatever the RADIUS servers of `[[ike.radius]]` want.
    Radius,
}

impl EapKind {
    /// As it is configured.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::MschapV2 => "eap-mschapv2",
            Self::Tls => "eap-tls",
            Self::Radius => "eap-radius",
        }
    }
}

/// `remote-auth` of a profile: who lets clients in. `trust` is there for EAP-TLS only.
pub(super) fn gate(
    section: &mut Section<'_>,
    kind: EapKind,
    _trust: Option<Arc<TrustStore>>,
    reading: &mut Reading<'_>,
) -> Option<Arc<Gate>> {
    unsupported(section, "remote-auth", kind, reading)
}

/// `local-auth` of a connection: who we are. `credential` is there for EAP-TLS only.
pub(super) fn credentials(
    section: &mut Section<'_>,
    kind: EapKind,
    _credential: Option<Arc<Credential>>,
    reading: &mut Reading<'_>,
) -> Option<Arc<Credentials>> {
    unsupported(section, "local-auth", kind, reading)
}

/// Refuses the keys of EAP where there is none; not where it is not known whether there is.
pub(super) fn refuse(
    section: &mut Section<'_>,
    side: Side,
    [local, remote]: [bool; 2],
    reading: &mut Reading<'_>,
) {
    match side {
        Side::Initiator if local => known(section, &OF_CONNECTIONS),
        Side::Initiator => section.refuse(&OF_CONNECTIONS, "needs `local-auth` by EAP", reading.problems),
        Side::Responder if remote => known(section, &OF_PROFILES),
        Side::Responder => section.refuse(&OF_PROFILES, "needs `remote-auth` by EAP", reading.problems),
    }
}

/// Keeps keys from being called unknown.
fn known(section: &mut Section<'_>, keys: &[&'static str]) {
    for key in keys {
        section.value(key);
    }
}

const OF_CONNECTIONS: [&str; 4] = ["eap-identity", "eap-only", "password", "password-file"];
const OF_PROFILES: [&str; 1] = ["eap-identity"];

fn unsupported<T>(
    section: &mut Section<'_>,
    key: &'static str,
    kind: EapKind,
    reading: &mut Reading<'_>,
) -> Option<T> {
    if let Some(value) = section.value(key) {
        reading.problems.add(&value.span(), format!("{:?} is not supported yet", kind.as_str()));
    }
    None
}

//! Who is believed after EAP: the profile of a client, and AUTH payloads made with what the method
//! has left behind.
//!
//! # References
//!
//! `RFC 7296 §2.15`, `§2.16`; `RFC 5998`.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Gate, Msk};
use crate::crypto::Provider;
use crate::crypto::prf::{PrfKey, PrfOutput};
use crate::ike::authn::refusal::MAX_NAMED;
use crate::ike::authn::{Means, Miss, PeerAuthenticated, Refusal, SignedOctets, own, psk};
use crate::ike::config::{Name, Profile, RemoteProof};
use crate::ike::identity::{Pattern, Shown, parse};
use crate::ike::wire::{Auth, AuthMethod, Id};
use crate::time::UnixTime;

/// A client that wants to prove by EAP who it is: how it is dealt with.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Who lets it in.
    pub gate: Arc<Gate>,
    /// Who it is to the method; `None` = it is to be asked.
    pub user: Option<Arc<str>>,
}

/// Finds the profile of a client: the first one with EAP that is for whom it `asked`, and for its
/// identity, or for one that it will be asked for.
///
/// # Errors
///
/// [`Refusal::NoProfile`]
pub fn admit(
    profiles: &[Arc<Profile>],
    id: &Id<'_>,
    asked: Option<&Id<'_>>,
    local: IpAddr,
) -> Result<Admission, Refusal> {
    let mut near: Vec<(Name, Miss)> = Vec::new();
    for profile in profiles {
        let authentication = &profile.authentication;
        let RemoteProof::Eap(gate) = &authentication.remote else {
            if is_one_of(profile, id) && near.len() <= MAX_NAMED {
                near.push((profile.name.clone(), Miss::Means(Means::expected(&authentication.remote))));
            }
            continue;
        };
        let user = user(gate, id);
        if user.is_some() && !is_one_of(profile, id) {
            continue;
        }
        if asked.is_none_or(|asked| own::is_own(authentication, asked, local)) {
            return Ok(Admission { profile: Arc::clone(profile), gate: Arc::clone(gate), user });
        }
        if near.len() <= MAX_NAMED {
            near.push((profile.name.clone(), Miss::OwnIdentity));
        }
    }
    let (identity, asked) =
        (Shown(id).to_string().into(), asked.map(|asked| Shown(asked).to_string().into()));
    Err(Refusal::NoProfile { identity, means: Means::Eap, asked, near })
}

/// Who a client is to the method, as far as its IDi says so. RFC 7296 §3.16 wants it not to be asked
/// then. Windows always says its address, and Apple's and Android's clients do so if nothing else is
/// configured.
fn user(gate: &Gate, id: &Id<'_>) -> Option<Arc<str>> {
    if gate.asks_identity { None } else { named_by(id) }
}

/// The name of a user that an IDi gives.
#[must_use]
pub fn named_by(id: &Id<'_>) -> Option<Arc<str>> {
    let text = match id {
        Id::Fqdn(name) | Id::Email(name) => name,
        Id::KeyId(data) => std::str::from_utf8(data).ok()?,
        Id::Ipv4(_) | Id::Ipv6(_) | Id::Dn(_) | Id::Gn(_) | Id::Null | Id::Unknown { .. } => return None,
    };
    let is_wrong = text.is_empty() || text.len() > super::MAX_IDENTITY || text.contains(char::is_control);
    (!is_wrong).then(|| text.into())
}

/// Whether a profile is for a user. The IDi has been a claim, by which it was found: what counts is the
/// name that was proved.
#[must_use]
pub fn is_for(profile: &Profile, user: &str) -> bool {
    let is_any = profile.authentication.remote_ids.contains(&Pattern::Anyone);
    is_any || parse(user).is_some_and(|name| is_one_of(profile, &name))
}

fn is_one_of(profile: &Profile, id: &Id<'_>) -> bool {
    profile.authentication.remote_ids.iter().any(|pattern| pattern.is_match(id))
}

/// The authentication data of either side.
// RFC 7296 §2.16: with the key of the method in the place of the shared secret, and with SK_p where
// the method has none.
fn code(provider: Provider, keys: Option<&Msk>, own: &PrfKey, octets: &SignedOctets<'_>) -> PrfOutput {
    match keys {
        Some(keys) => psk::code(provider, keys.secret(), octets),
        None => psk::code_by(provider, own, octets),
    }
}

/// Our AUTH. `own` is the SK_p of our side.
#[must_use]
pub fn prove(
    provider: Provider,
    keys: Option<&Msk>,
    own: &PrfKey,
    octets: &SignedOctets<'_>,
) -> Auth<'static> {
    let code = code(provider, keys, own, octets);
    Auth { method: AuthMethod::SharedKey, data: code.expose().to_vec().into() }
}

/// What comes with an AUTH payload after EAP.
#[derive(Clone, Copy, Debug)]
pub struct EapEvidence<'a> {
    /// Where primitives come from.
    pub provider: Provider,
    /// The key of the method, if it has made one.
    pub keys: Option<&'a Msk>,
    /// SK_p of the side whose AUTH it is.
    pub own: &'a PrfKey,
    /// What that side binds by it, its identity among it.
    pub octets: &'a SignedOctets<'a>,
    /// The payload.
    pub auth: &'a Auth<'a>,
}

impl EapEvidence<'_> {
    /// Whether it is right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let Self { provider, keys, own, octets, auth } = self;
        auth.method == AuthMethod::SharedKey && code(*provider, *keys, own, octets).is_same(&auth.data)
    }
}

/// Who has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its name, as the method or the server knows it.
    pub name: Arc<str>,
    /// Until when that is good.
    pub valid_until: Option<UnixTime>,
}

/// Believes a client whose method is done.
///
/// # Errors
///
/// [`Refusal::Identity`], [`Refusal::EapKey`], [`Refusal::OtherIdentity`]
pub fn client(
    profile: &Arc<Profile>,
    passed: Passed,
    evidence: &EapEvidence<'_>,
) -> Result<PeerAuthenticated, Refusal> {
    let id = evidence.octets.identity().map_err(Refusal::Identity)?;
    let identity = Arc::clone(&passed.name);
    if !evidence.is_right() {
        return Err(Refusal::EapKey { identity });
    }
    if !is_for(profile, &passed.name) {
        return Err(Refusal::OtherIdentity { identity, expected: wanted(profile) });
    }
    Ok(PeerAuthenticated::by_eap(profile, id.into_owned(), passed))
}

/// Believes a gateway that has proved who it is by EAP alone (`RFC 5998`): the method has seen to it
/// that it is one of ours, and `AUTH` binds its identity to that.
///
/// # Errors
///
/// [`Refusal::Identity`], [`Refusal::EapKey`], [`Refusal::OtherIdentity`]
pub fn gateway(profile: &Arc<Profile>, evidence: &EapEvidence<'_>) -> Result<PeerAuthenticated, Refusal> {
    let id = evidence.octets.identity().map_err(Refusal::Identity)?;
    let identity: Arc<str> = Shown(&id).to_string().into();
    if !evidence.is_right() {
        return Err(Refusal::EapKey { identity });
    }
    if !is_one_of(profile, &id) {
        return Err(Refusal::OtherIdentity { identity, expected: wanted(profile) });
    }
    Ok(PeerAuthenticated::of(profile, id.into_owned()))
}

fn wanted(profile: &Profile) -> Box<str> {
    let patterns = profile.authentication.remote_ids.iter().take(MAX_NAMED);
    patterns.map(ToString::to_string).collect::<Vec<_>>().join(" or ").into()
}

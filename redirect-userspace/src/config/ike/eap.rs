//! How clients prove who they are by EAP, and how we do as a client.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use super::Reading;
use super::authentication::Side;
use super::peer::is_first;
use crate::config::error::place;
use crate::config::key::secret;
use crate::config::reader::{At, Section};
use crate::crypto::mschap::{MAX_PASSWORD, NtHash};
use crate::crypto::x509::TrustStore;
use crate::ike::authn::eap::mschapv2::{Password, Passwords, Users};
use crate::ike::authn::eap::tls::{self, Agreement, owner};
use crate::ike::authn::eap::{By, Credentials, Gate, MAX_IDENTITY, Maker};
use crate::ike::config::Credential;
use crate::ike::identity::{Pattern, Shown};

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

/// `remote-auth` of a profile: who lets clients in. What we show and whom we believe is there for
/// EAP-TLS only.
pub(super) fn gate(
    section: &mut Section<'_>,
    kind: EapKind,
    (credential, trust): (Option<Arc<Credential>>, Option<Arc<TrustStore>>),
    reading: &mut Reading<'_>,
) -> Option<Arc<Gate>> {
    let asks = section.word("eap-identity", &[("ask", ())], reading.problems);
    let words = [("certificate", Agreement::Certified), ("any", Agreement::Any)];
    let agreement = section.word("eap-tls-identity", &words, reading.problems);
    if let Some(At { span, .. }) = &agreement
        && kind != EapKind::Tls
    {
        reading.problems.add(span, "needs `remote-auth = \"eap-tls\"`");
    }
    let by = match kind {
        EapKind::MschapV2 => By::Us(vec![passwords(section, reading)?]),
        EapKind::Tls => {
            if section.value("local-auth").is_some_and(|value| value.get_ref().as_str() == Some("psk")) {
                refuse_value(section, "local-auth", "\"eap-tls\" needs `local-auth = \"pubkey\"`", reading);
            }
            let agreement = agreement.map(|word| word.value).unwrap_or_default();
            By::Us(vec![Arc::new(tls::Gateway::new(credential?, trust?, agreement))])
        }
        EapKind::Radius => by_radius(section, reading)?,
    };
    let alone = section.flag("eap-only", reading.problems);
    if let Some(At { value: true, span }) = &alone
        && kind != EapKind::Tls
    {
        reading.problems.add(span, "`eap-only` needs a method that proves who the gateway is: \"eap-tls\"");
    }
    Some(Arc::new(Gate {
        by,
        asks_identity: asks.is_some(),
        redirects_first: is_first(section),
        stands_alone: alone.is_some_and(|alone| alone.value),
    }))
}

fn by_radius(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<By> {
    if !reading.radius.1
        && let Some(value) = section.value("remote-auth")
    {
        let message = "\"eap-radius\" needs [[ike.radius]] with `server`: nobody could get in";
        reading.problems.add(&value.span(), message);
        return None;
    }
    Some(By::Aaa)
}

fn passwords(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Arc<dyn Maker>> {
    if reading.users.is_empty()
        && let Some(value) = section.value("remote-auth")
    {
        reading.problems.add(&value.span(), "\"eap-mschapv2\" needs [[ike.user]]: nobody could get in");
        return None;
    }
    // Clients do not care, and nothing is proved by it.
    let name = "gateway".into();
    Some(Arc::new(Passwords { users: Arc::clone(&reading.users), name }))
}

/// `local-auth` of a connection: who we are. What we show, whom we believe and whom we want is there
/// for EAP-TLS only.
pub(super) fn credentials(
    section: &mut Section<'_>,
    kind: EapKind,
    (credential, trust, servers): (Option<Arc<Credential>>, Option<Arc<TrustStore>>, &[Pattern]),
    reading: &mut Reading<'_>,
) -> Option<Arc<Credentials>> {
    let mut identity = section.parsed::<UserName>("eap-identity", reading.problems);
    let alone = section.flag("eap-only", reading.problems);
    let maker: Arc<dyn Maker> = match kind {
        EapKind::MschapV2 => {
            let password = password(section, reading);
            let password = password.map(|password| Arc::new(Password(password)));
            let identity = section.required("eap-identity", identity.as_ref(), reading.problems);
            if let Some(At { value: true, span }) = &alone {
                let message = "`eap-only` needs a method that proves who the gateway is: \"eap-tls\"";
                reading.problems.add(span, message);
            }
            identity?;
            password?
        }
        EapKind::Tls => {
            let needs = "needs `local-auth = \"eap-mschapv2\"`";
            section.refuse(&["password", "password-file"], needs, reading.problems);
            if section.value("remote-auth").is_some_and(|value| value.get_ref().as_str() == Some("psk")) {
                refuse_value(section, "remote-auth", "\"eap-tls\" needs `remote-auth = \"pubkey\"`", reading);
            }
            let credential = credential?;
            if identity.is_none() && !section.has("eap-identity") {
                let own = credential.chain.first().and_then(|certificate| owner(b"", certificate));
                let name = own.map(|id| Shown(&id).to_string().into())?;
                identity = Some(At { value: UserName(name), span: section.span().clone() });
            }
            Arc::new(tls::Client::new(credential, trust?, servers))
        }
        EapKind::Radius => {
            known(section, &OF_CONNECTIONS);
            return unsupported(section, "local-auth", kind, reading);
        }
    };
    let stands_alone = alone.is_some_and(|alone| alone.value);
    Some(Arc::new(Credentials { identity: identity?.value.0, maker, stands_alone }))
}

/// `[[ike.user]]`
pub(super) fn users(ike: &mut Section<'_>, reading: &mut Reading<'_>) -> Arc<Users> {
    let mut users: BTreeMap<Box<str>, (NtHash, usize)> = BTreeMap::new();
    for mut section in ike.sections("user", reading.problems) {
        let name = section.parsed::<UserName>("name", reading.problems);
        let name = section.required("name", name, reading.problems);
        let password = password(&mut section, reading);
        section.finish(reading.problems);
        let Some(At { value: UserName(name), span }) = name else { continue };
        let line = place(reading.text, span.start).0;
        if let Some((_, line)) = users.get(&name) {
            let message = format!("{name:?} is the name of a user in line {line} already");
            reading.problems.add(&span, message);
        } else if let Some(password) = password {
            users.insert(name, (password, line));
        }
    }
    // A user is found with the domain in front of the name or without: both must not be two users.
    for (name, (_, line)) in &users {
        let short = name.rsplit('\\').next().unwrap_or_default();
        if short != &**name && users.contains_key(short) {
            let message = format!("line {line}: {name:?} and {short:?} are the same user to Windows");
            reading.problems.add(ike.span(), message);
        }
    }
    Arc::new(Users::new(users.into_iter().map(|(name, (password, _))| (name, password))))
}

/// `password` or `password-file`, as what is kept of it.
fn password(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<NtHash> {
    let [key, file] = ["password", "password-file"];
    let password = secret(section, key, file, reading.problems);
    if password.is_none() && !section.has(key) && !section.has(file) {
        let message = format!("`{key}` or {} is missing", section.describe(file));
        reading.problems.add(section.span(), message);
    }
    let password = password?;
    let text = std::str::from_utf8(password.value.expose()).ok().filter(|text| !text.is_empty());
    let Some(hash) = text.and_then(NtHash::new) else {
        let message = format!("a password is text of 1 to {MAX_PASSWORD} characters");
        reading.problems.add(&password.span, message);
        return None;
    };
    reading.fingerprint.add(hash.expose());
    Some(hash)
}

/// The name of a user.
#[derive(Clone, Debug)]
struct UserName(Box<str>);

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let is_wrong = text.is_empty() || text.len() > MAX_IDENTITY || text.contains(char::is_control);
        if is_wrong { Err(UserNameError) } else { Ok(Self(text.into())) }
    }
}

/// Why a [`UserName`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user has a name of 1 to {MAX_IDENTITY} octets without control characters")]
struct UserNameError;

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
const OF_PROFILES: [&str; 3] = ["eap-identity", "eap-only", "eap-tls-identity"];

/// Refuses what a key says.
fn refuse_value(section: &mut Section<'_>, key: &'static str, why: &str, reading: &mut Reading<'_>) {
    if let Some(value) = section.value(key) {
        reading.problems.add(&value.span(), why);
    }
}

/// What this version does not have.
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

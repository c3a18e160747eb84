//! `[[ike.radius]]`: servers that know the users.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::Reading;
use crate::config::key::secret;
use crate::config::reader::{At, Section};
use crate::radius::config::{Server, Settings};

/// `timeout`: before a packet is repeated.
pub const RADIUS_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
/// `retries`: repetitions before the next server is asked.
pub const RADIUS_RETRIES: RangeInclusive<u32> = 0..=10;
/// `dead-time`: how long a server is left alone.
pub const RADIUS_DEAD_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// `interim-interval`: how often sessions are told of (`RFC 2869 §2.1`).
pub const RADIUS_INTERIM: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
/// Most octets of a secret.
pub const MAX_RADIUS_SECRET: usize = 128;
/// Most servers.
pub const MAX_RADIUS_SERVERS: usize = 16;
/// Most octets of a name of the gateway.
const MAX_NAS_IDENTIFIER: usize = 253;

/// Reads all servers; says whether one of them, right or wrong, is to let clients in. `name` is that of
/// this node.
pub(super) fn radius(ike: &mut Section<'_>, name: &str, reading: &mut Reading<'_>) -> (Arc<Settings>, bool) {
    let mut settings = Settings::default();
    let mut lets_in = false;
    for (number, mut section) in ike.sections("radius", reading.problems).into_iter().enumerate() {
        if number == MAX_RADIUS_SERVERS {
            let message = format!("there are at most {MAX_RADIUS_SERVERS} [[ike.radius]]");
            reading.problems.add(section.span(), message);
        }
        lets_in |= section.has("server");
        server(&mut section, name, &mut settings, reading);
        section.finish(reading.problems);
    }
    (Arc::new(settings), lets_in)
}

fn server(section: &mut Section<'_>, name: &str, settings: &mut Settings, reading: &mut Reading<'_>) {
    let address = section.parsed::<Place<1812>>("server", reading.problems);
    let accounting = section.parsed::<Place<1813>>("accounting", reading.problems);
    if !section.has("server") && !section.has("accounting") {
        section.required::<()>("server", None, reading.problems);
    }
    let shared = shared_secret(section, reading);
    let timeout = section.duration_in("timeout", RADIUS_TIMEOUT, reading.problems);
    let retries = section.number("retries", RADIUS_RETRIES, reading.problems);
    let dead_time = section.duration_in("dead-time", RADIUS_DEAD_TIME, reading.problems);
    let is_probed = section.flag("status-server", reading.problems);
    let interim = section.duration_in("interim-interval", RADIUS_INTERIM, reading.problems);
    if let Some(At { span, .. }) = &interim
        && !section.has("accounting")
    {
        reading.problems.add(span, "`interim-interval` needs `accounting`");
    }
    let identifier = section.string("nas-identifier", reading.problems);
    if let Some(At { value, span }) = &identifier
        && (value.is_empty() || value.len() > MAX_NAS_IDENTIFIER || value.contains(char::is_control))
    {
        let message = format!("`nas-identifier` is text of 1 to {MAX_NAS_IDENTIFIER} octets");
        reading.problems.add(span, message);
    }
    for (known, place) in [
        (&settings.authentication, address.as_ref().map(|at| (at.value.0, &at.span))),
        (&settings.accounting, accounting.as_ref().map(|at| (at.value.0, &at.span))),
    ] {
        if let Some((address, span)) = place
            && known.iter().any(|server| server.address == address)
        {
            reading.problems.add(span, format!("{address} is listed twice"));
        }
    }
    let Some(shared) = shared else { return };
    let make = |address| Server {
        address,
        secret: shared.clone(),
        nas_identifier: identifier.as_ref().map_or(name, |text| text.value).into(),
        timeout: timeout.as_ref().map_or(Server::DEFAULT_TIMEOUT, |at| at.value),
        retries: retries.as_ref().map_or(Server::DEFAULT_RETRIES, |at| at.value),
        dead_time: dead_time.as_ref().map_or(Server::DEFAULT_DEAD_TIME, |at| at.value),
        is_probed: is_probed.as_ref().is_none_or(|flag| flag.value),
    };
    settings.authentication.extend(address.map(|at| make(at.value.0)));
    settings.accounting.extend(accounting.map(|at| make(at.value.0)));
    // The server that wants to hear of sessions most often is the one to please.
    settings.interim = [settings.interim, interim.map(|at| at.value)].into_iter().flatten().min();
}

/// `secret` or `secret-file`
fn shared_secret(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<crate::secret::Secret> {
    let [key, file] = ["secret", "secret-file"];
    let shared = secret(section, key, file, reading.problems);
    if shared.is_none() && !section.has(key) && !section.has(file) {
        let message = format!("`{key}` or {} is missing", section.describe(file));
        reading.problems.add(section.span(), message);
    }
    let shared = shared?;
    if shared.value.is_empty() || shared.value.len() > MAX_RADIUS_SECRET {
        let length = shared.value.len();
        let message = format!("a secret of RADIUS has 1 to {MAX_RADIUS_SECRET} octets, not {length}");
        reading.problems.add(&shared.span, message);
        return None;
    }
    reading.fingerprint.add(shared.value.expose());
    Some(shared.value)
}

/// Where a server is: an address, with a port or without.
struct Place<const PORT: u16>(SocketAddr);

impl<const PORT: u16> FromStr for Place<PORT> {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
        let place = text.parse::<SocketAddr>().or(alone).map_err(|_unlike| PlaceError::Address)?;
        if place.port() == 0 {
            return Err(PlaceError::Port);
        }
        if place.ip().is_unspecified() || place.ip().is_multicast() {
            return Err(PlaceError::Nobody);
        }
        Ok(Self(place))
    }
}

/// Why a [`Place`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PlaceError {
    #[error("not an IP address with a port")]
    Address,
    #[error("no server is at port 0")]
    Port,
    #[error("not the address of a single host")]
    Nobody,
}

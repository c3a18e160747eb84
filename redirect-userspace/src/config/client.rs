//! `[redirect.client]`: which redirects our connections follow.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::config::error::Problems;
use crate::config::reader::Section;
use crate::config::{ClientPrefix, PrefixError, RedirectClient};
use crate::gateway::{Fqdn, FqdnError};
use crate::ike::following::{Allowed, Following};

/// `period`: within which time redirects are counted.
pub const PERIOD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// Most places of `allow`.
pub const MAX_ALLOWED: usize = 256;

/// Reads the section; what is wrong in it is left to its default.
pub(super) fn client(redirect: &mut Section<'_>, problems: &mut Problems) -> RedirectClient {
    let mut section = redirect.section("client", problems);
    let is_enabled = section.flag("enabled", problems);
    let most = section.number("max-redirects", 1..=u8::MAX, problems);
    let period = section.duration_in("period", PERIOD, problems);
    let allow = allow(&mut section, problems);
    section.finish(problems);
    let default = Following::default();
    RedirectClient {
        is_enabled: is_enabled.is_none_or(|flag| flag.value),
        following: Following {
            most: most.map_or(default.most, |most| most.value),
            period: period.map_or(default.period, |period| period.value),
            allow,
        },
    }
}

fn allow(section: &mut Section<'_>, problems: &mut Problems) -> Vec<Allowed> {
    let Some(list) = section.strings("allow", problems) else { return Vec::new() };
    if list.value.is_empty() {
        // It would allow everything, which is not what it says.
        problems.add(
            &list.span,
            "`allow` needs at least one place: to follow no redirects, say `enabled = false`",
        );
    }
    if let Some(surplus) = list.value.get(MAX_ALLOWED) {
        let count = list.value.len();
        problems.add(&surplus.span, format!("`allow` has at most {MAX_ALLOWED} places, not {count}"));
    }
    let mut places: Vec<Allowed> = Vec::new();
    for text in list.value {
        let Some(Place(place)) = text.parse(problems).map(|at| at.value) else { continue };
        if places.contains(&place) {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        places.push(place);
    }
    places
}

/// A place, or places, where a client may be sent.
struct Place(Allowed);

impl FromStr for Place {
    type Err = PlaceError;

    /// `ADDRESS/LENGTH`, an address, a domain name, or `*.DOMAIN` for every name below one.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Some(domain) = text.strip_prefix("*.") {
            return Ok(Self(Allowed::Below(domain.parse()?)));
        }
        match text.parse::<ClientPrefix>() {
            Ok(prefix) => Ok(Self(Allowed::Prefix { network: prefix.network(), length: prefix.length() })),
            // No name has one of these.
            Err(error) if text.contains(['/', ':']) => Err(error.into()),
            Err(_) => Ok(Self(Allowed::Name(text.parse::<Fqdn>()?))),
        }
    }
}

/// Why a [`Place`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PlaceError {
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error(transparent)]
    Name(#[from] FqdnError),
}

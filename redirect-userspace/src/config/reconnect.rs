//! `[reconnect]`: the keys that tickets are sealed with.
//!
//! # Invariants
//!
//! - At most one key is active: with it tickets are made. The others only open those that there are.

use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::Cluster;
use super::error::{Problems, place};
use super::file::PlacedNode;
use super::key::secret;
use super::reader::{Section, article};
use crate::crypto::digest::{SHA256_LENGTH, sha256};
use crate::ike::config::Name;
use crate::ike::ticket::{Sealer, TicketKey};
use crate::time::UnixTime;

/// `lifetime`
pub const LIFETIME: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);
/// Most keys: that of today, and that of yesterday or tomorrow.
pub const MAX_KEYS: u8 = 2;

/// What came of the section.
pub(super) struct Reconnect {
    pub(super) sealer: Arc<Sealer>,
    /// Stands for the keys, when two configurations are compared.
    pub(super) digest: [u8; SHA256_LENGTH],
    pub(super) span: Range<usize>,
}

/// Reads the section; `None` when it is absent or wrong.
pub(super) fn reconnect(
    root: &mut Section<'_>,
    node: &PlacedNode,
    cluster: &Cluster,
    (text, now): (&str, UnixTime),
    problems: &mut Problems,
) -> Option<Reconnect> {
    let mut section = root.section("reconnect", problems);
    if !section.is_there() {
        return None;
    }
    let span = section.span().clone();
    let keys = keys(&mut section, text, problems);
    let lifetime = section.duration_in("lifetime", LIFETIME, problems);
    let not_before = not_before(&mut section, now, problems);
    let name = section.parsed::<ClusterName>("cluster", problems);
    section.finish(problems);
    let Keys { active, others, digest } = keys?;
    let group = cluster.election.as_ref().map(|election| election.standby_group.to_string());
    let cluster = name.map(|name| name.value.0.as_str().to_owned()).or(group).unwrap_or_default();
    let mut sealer = Sealer::new(node.node.as_ref()?.name.as_str(), &cluster, active, others);
    if let Some(lifetime) = lifetime {
        sealer = sealer.with_lifetime(lifetime.value);
    }
    sealer = sealer.with_not_before(not_before?);
    Some(Reconnect { sealer: Arc::new(sealer), digest, span })
}

struct Keys {
    active: Option<TicketKey>,
    others: Vec<TicketKey>,
    digest: [u8; SHA256_LENGTH],
}

/// `key`: one or two of them.
fn keys(section: &mut Section<'_>, text: &str, problems: &mut Problems) -> Option<Keys> {
    if !section.has("key") {
        section.value("key");
        let message =
            "[reconnect] needs a `key`: `key = [{ index = 1, active = true, secret-file = \"…\" }]`";
        problems.add(section.span(), message);
        return None;
    }
    let is_list = section.value("key").is_some_and(|value| value.get_ref().as_array().is_some());
    let entries = section.sections("key", problems);
    if entries.is_empty() {
        if is_list {
            problems.add(section.span(), "`key` in [reconnect] needs at least one key");
        }
        return None;
    }
    let count = entries.len();
    let mut all = Keys { active: None, others: Vec::new(), digest: [0; SHA256_LENGTH] };
    let mut lines: Vec<(u8, usize)> = Vec::new();
    let mut read: usize = 0;
    for mut entry in entries {
        let span = entry.span().clone();
        let index = entry.number("index", 1..=MAX_KEYS, problems);
        let index = entry.required("index", index, problems);
        let is_active = entry.flag("active", problems).is_some_and(|flag| flag.value);
        let written = secret(&mut entry, "secret", "secret-file", problems);
        if !entry.has("secret") && !entry.has("secret-file") {
            problems.add(&span, "a key in [reconnect] needs `secret` or `secret-file`");
        }
        entry.finish(problems);
        if let Some(index) = &index {
            if let Some((_, line)) = lines.iter().find(|(other, _)| *other == index.value) {
                let message = format!("a key with index {} is in line {line} already", index.value);
                problems.add(&index.span, message);
                continue;
            }
            lines.push((index.value, place(text, index.span.start).0));
        }
        let (Some(index), Some(written)) = (index, written) else { continue };
        let key = match TicketKey::new(&written.value) {
            Ok(key) => key,
            Err(error) => {
                problems.add(&written.span, error.to_string());
                continue;
            }
        };
        if all.active.iter().chain(&all.others).any(|other| other.is_same(&key)) {
            problems.add(&written.span, "both keys in [reconnect] are the same");
            continue;
        }
        let state = [index.value, is_active.into()];
        all.digest = sha256(&[&all.digest, &state, written.value.expose()]);
        if !is_active {
            all.others.push(key);
        } else if all.active.is_some() {
            problems.add(&span, "one key in [reconnect] is active at a time: tickets are made with it");
            continue;
        } else {
            all.active = Some(key);
        }
        read += 1;
    }
    (read == count).then_some(all)
}

/// `not-before`: the beginning of time without one, nothing if it is wrong.
fn not_before(section: &mut Section<'_>, now: UnixTime, problems: &mut Problems) -> Option<UnixTime> {
    let Some(value) = section.value("not-before") else { return Some(UnixTime::EPOCH) };
    let span = value.span();
    let DeValue::Datetime(moment) = value.get_ref() else {
        let kind = article(value.get_ref().type_str());
        let message = format!("`not-before` is a time like 2026-11-28T09:30:00Z, without quotes, not {kind}");
        problems.add(&span, message);
        return None;
    };
    let Some(time) = unix_time(moment) else {
        problems.add(&span, "`not-before` is a date, a time and an offset, like 2026-11-28T09:30:00Z");
        return None;
    };
    if time > now {
        problems.add(&span, "`not-before` has not come yet: nobody could come back by ticket until then");
        return None;
    }
    Some(time)
}

/// Seconds since 1970; `None` for a time that is not the same everywhere, and for one before 1970.
fn unix_time(moment: &Datetime) -> Option<UnixTime> {
    let (date, time, offset) = (moment.date?, moment.time?, moment.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Years begin in March here: the day that a leap year has more is their last one.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leaps = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leaps + (153 * month + 2) / 5 + i64::from(date.day) - 1 - DAYS_TO_1970;
    let clock = 3_600 * i64::from(time.hour) + 60 * i64::from(time.minute);
    let seconds = 86_400 * days + clock + i64::from(time.second.unwrap_or(0)) - 60 * minutes;
    u64::try_from(seconds).ok().map(|seconds| UnixTime::from_epoch(Duration::from_secs(seconds)))
}

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// The name of the cluster.
struct ClusterName(Name);

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        Name::new(text).map(Self).ok_or(ClusterNameError)
    }
}

/// Why a [`ClusterName`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a cluster has 1 to {} octets and no white space", Name::MAX_LENGTH)]
struct ClusterNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_file_is_a_time_of_the_clock() {
        let seconds = |text: &str| {
            let moment: Datetime = text.parse().unwrap();
            unix_time(&moment).map(|time| time.since_epoch().as_secs())
        };

        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(seconds("2027-01-15T08:00:00Z"), Some(1_800_000_000));
        assert_eq!(seconds("2027-01-15T10:00:00+02:00"), Some(1_800_000_000));
        assert_eq!(seconds("2027-01-15T08:00:00"), None, "nobody knows where");
        assert_eq!(seconds("1969-12-31T23:59:59Z"), None);
    }
}

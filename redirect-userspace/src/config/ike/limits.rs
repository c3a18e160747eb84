//! `[ike]`: how much is taken on, and how long is waited.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Tun;
use crate::config::DurationText;
use crate::config::error::Problems;
use crate::config::reader::Section;
use crate::ike::config::{FragmentSize, Limits, Retransmission, Settings};

/// `cookie-threshold`: half-open SAs from which on cookies are asked for.
pub const COOKIE_THRESHOLD: RangeInclusive<usize> = 0..=100_000;
/// `half-open`: half-open SAs.
pub const HALF_OPEN: RangeInclusive<usize> = 1..=100_000;
/// `half-open-per-source`: half-open SAs of one address.
pub const HALF_OPEN_PER_SOURCE: RangeInclusive<usize> = 1..=100_000;
/// `half-open-per-prefix`: half-open SAs of one network.
pub const HALF_OPEN_PER_PREFIX: RangeInclusive<usize> = 1..=100_000;
/// `max-sas`: IKE SAs.
pub const SAS: RangeInclusive<usize> = 1..=1_000_000;
/// `max-children`: Child SAs of one IKE SA.
pub const CHILDREN: RangeInclusive<usize> = 1..=1_000;
/// `fragment-size`: octets of a packet before a message is fragmented.
pub const FRAGMENT_SIZE: RangeInclusive<u16> = FragmentSize::LEAST.octets()..=1_500;
/// `half-open-timeout`
pub const HALF_OPEN_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// `nat-keepalive`
pub const NAT_KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3_600);
/// `first` and `longest` of `[ike.retransmission]`
pub const RETRANSMISSION: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// `patience` of `[ike.retransmission]`
pub const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// `mtu` of `[ike.tun]`: from what every IPv6 link takes (`RFC 8200 §5`).
pub const TUN_MTU: RangeInclusive<u16> = 1_280..=9_000;

/// `[ike.limits]`
pub(super) fn limits(ike: &mut Section<'_>, problems: &mut Problems) -> Limits {
    let mut section = ike.section("limits", problems);
    let default = Limits::default();
    let mut limit = |key, range, default| {
        let limit = section.number::<usize>(key, range, problems);
        limit.map_or(default, |limit| limit.value)
    };
    let limits = Limits {
        cookie_threshold: limit("cookie-threshold", COOKIE_THRESHOLD, default.cookie_threshold),
        half_open: limit("half-open", HALF_OPEN, default.half_open),
        half_open_per_source: limit(
            "half-open-per-source",
            HALF_OPEN_PER_SOURCE,
            default.half_open_per_source,
        ),
        half_open_per_prefix: limit(
            "half-open-per-prefix",
            HALF_OPEN_PER_PREFIX,
            default.half_open_per_prefix,
        ),
        sas: limit("max-sas", SAS, default.sas),
        children: limit("max-children", CHILDREN, default.children),
    };
    section.finish(problems);
    limits
}

/// `[ike.retransmission]`
pub(super) fn retransmission(ike: &mut Section<'_>, problems: &mut Problems) -> Retransmission {
    let mut section = ike.section("retransmission", problems);
    let default = Retransmission::default();
    let first = section.duration_in("first", RETRANSMISSION, problems);
    let first = section.or("first", first, default.first);
    let longest = section.duration_in("longest", RETRANSMISSION, problems);
    let longest = section.or("longest", longest, default.longest);
    let patience = section.duration_in("patience", PATIENCE, problems);
    let patience = section.or("patience", patience, default.patience);
    for (key, shorter, other) in [("longest", &first, &longest), ("patience", &first, &patience)] {
        if let (Some(first), Some(other)) = (shorter, other)
            && other.value < first.value
        {
            let span = if section.has(key) { &other.span } else { &first.span };
            let [other, first] = [other.value, first.value].map(DurationText);
            problems.add(span, format!("`{key}`, {other}, is shorter than `first`, {first}"));
        }
    }
    section.finish(problems);
    Retransmission {
        first: first.map_or(default.first, |first| first.value),
        longest: longest.map_or(default.longest, |longest| longest.value),
        patience: patience.map_or(default.patience, |patience| patience.value),
    }
}

/// Keys of `[ike]` itself.
pub(super) struct Times {
    pub(super) fragment_size: FragmentSize,
    pub(super) half_open_timeout: Duration,
    pub(super) nat_keepalive: Duration,
}

/// `fragment-size`, `half-open-timeout` and `nat-keepalive`
pub(super) fn times(ike: &mut Section<'_>, problems: &mut Problems) -> Times {
    let Settings { half_open_timeout, nat_keepalive, .. } = Settings::default();
    let fragment_size = ike.number("fragment-size", FRAGMENT_SIZE, problems);
    let timeout = ike.duration_in("half-open-timeout", HALF_OPEN_TIMEOUT, problems);
    let keepalive = ike.duration_in("nat-keepalive", NAT_KEEPALIVE, problems);
    Times {
        fragment_size: fragment_size.and_then(|size| FragmentSize::new(size.value)).unwrap_or_default(),
        half_open_timeout: timeout.map_or(half_open_timeout, |timeout| timeout.value),
        nat_keepalive: keepalive.map_or(nat_keepalive, |keepalive| keepalive.value),
    }
}

/// `[ike.tun]`
pub(super) fn tun(ike: &mut Section<'_>, problems: &mut Problems) -> Option<Tun> {
    let mut section = ike.section("tun", problems);
    let name = match section.parsed("name", problems) {
        Some(name) => Some(name.value),
        None if section.has("name") => None,
        None => Tun::DEFAULT_NAME.parse().ok(),
    };
    let mtu = section.number("mtu", TUN_MTU, problems);
    section.finish(problems);
    Some(Tun { name: name?, mtu: mtu.map_or(Tun::DEFAULT_MTU, |mtu| mtu.value) })
}

impl Tun {
    /// Its name unless the file says.
    pub const DEFAULT_NAME: &str = "ike0";
    /// Octets of the largest packet unless the file says: what is left of 1500 by any outer header
    /// with UDP, and by any algorithm.
    pub const DEFAULT_MTU: u16 = 1_400;
}

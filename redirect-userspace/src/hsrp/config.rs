//! Settings of an HSRP group: Cisco's `standby` commands, with their ranges and defaults.

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use crate::hsrp::MacAddress;
use crate::secret::Secret;

/// A group, as the operator has configured it. Valid by construction of its parts and by
/// [`Settings::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The standby name, by which the cluster refers to the group.
    pub name: GroupName,
    /// The group's number on the wire.
    pub group: GroupNumber,
    /// Version of the protocol.
    pub version: Version,
    /// Virtual addresses. The election runs in the family of the first; the others follow it.
    /// Without any, the IPv4 address of the active router is learned.
    pub vips: Vec<IpAddr>,
    /// 0 to 255: the router with the highest one becomes active.
    pub priority: u8,
    /// Whether and when a router with a higher priority takes over from a live active router.
    pub preempt: Option<Preempt>,
    /// The two times; `None` means [`Timers::DEFAULT`] until the active router's are learned.
    pub timers: Option<Timers>,
    /// How packets are authenticated.
    pub authentication: Authentication,
    /// Interfaces without which this router is worth less.
    pub track: Vec<Track>,
    /// Whether the VIP is answered with the interface's own address instead of a virtual MAC.
    pub use_bia: bool,
}

impl Settings {
    /// Checks what depends on more than one setting.
    ///
    /// # Errors
    ///
    /// What does not go together.
    pub fn check(&self) -> Result<(), SettingsError> {
        let most = self.version.last_group();
        if self.group.0 > most {
            return Err(SettingsError::Group { version: self.version, most });
        }
        if self.version == Version::V1 && self.vips.first().is_some_and(IpAddr::is_ipv6) {
            return Err(SettingsError::Ipv6NeedsVersion2);
        }
        Ok(())
    }

    /// Whether the election runs in IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.vips.first().is_some_and(IpAddr::is_ipv6)
    }

    /// The virtual address that hellos carry; `None` when it is to be learned.
    ///
    /// An IPv6 election is about a link-local address: that of the first VIP if it is one, else
    /// the one that Cisco's `autoconfig` makes of the virtual MAC. It leaves the bit alone that
    /// `RFC 4291 §2.5.1` flips: group 1 has `fe80::5:73ff:fea0:1`.
    #[must_use]
    pub fn election_vip(&self) -> Option<IpAddr> {
        let vip = *self.vips.first()?;
        let is_routable = matches!(vip, IpAddr::V6(vip) if !vip.is_unicast_link_local());
        let group = self.group.value();
        let derived = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0005, 0x73ff, 0xfea0, group);
        Some(if is_routable { IpAddr::V6(derived) } else { vip })
    }

    /// The group's virtual MAC (`RFC 2281 §6.1` for version 1), `use-bia` or not.
    #[must_use]
    pub fn virtual_mac(&self) -> MacAddress {
        let [high, low] = self.group.value().to_be_bytes();
        MacAddress(match self.version {
            Version::V1 => [0x00, 0x00, 0x0c, 0x07, 0xac, low],
            Version::V2 if self.is_ipv6() => [0x00, 0x05, 0x73, 0xa0, high, low],
            Version::V2 => [0x00, 0x00, 0x0c, 0x9f, 0xf0 | high, low],
        })
    }
}

/// Settings that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The group's number is beyond the version's range.
    #[error("groups of HSRP version {version} are 0 to {most}")]
    Group {
        /// The version.
        version: Version,
        /// Its last group.
        most: u16,
    },
    /// Version 1 has no room for an IPv6 address.
    #[error("an election among IPv6 addresses needs version 2")]
    Ipv6NeedsVersion2,
}

/// The standby name: 1 to 63 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Box<str>);

impl GroupName {
    /// Longest name.
    pub const MAX_LENGTH: usize = 63;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = GroupNameError;

    fn from_str(text: &str) -> Result<Self, GroupNameError> {
        let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > Self::MAX_LENGTH || !text.chars().all(is_right) {
            return Err(GroupNameError);
        }
        Ok(Self(text.into()))
    }
}

impl Display for GroupName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Not a standby name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a standby name has 1 to {} letters, digits, `-`, `_` and `.`", GroupName::MAX_LENGTH)]
pub struct GroupNameError;

/// The number of a group: 0 to 255 in version 1, 0 to 4095 in version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNumber(u16);

impl GroupNumber {
    /// Last number of any version.
    pub const MAX: u16 = 4095;

    /// The number `value`; `None` above [`Self::MAX`].
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

impl Display for GroupNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of the protocol. The two do not talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `RFC 2281`.
    V1,
    /// Cisco's TLVs: IPv6, more groups, timers in milliseconds.
    V2,
}

impl Version {
    /// The number, as operators write it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The greatest group number.
    #[must_use]
    pub const fn last_group(self) -> u16 {
        match self {
            Self::V1 => 255,
            Self::V2 => GroupNumber::MAX,
        }
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.number().fmt(f)
    }
}

/// When to take over from a live active router of lower priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preempt {
    /// Not before the interface has been up for this long.
    pub delay_minimum: Duration,
    /// Not before the daemon has been running for this long.
    pub delay_reload: Duration,
}

impl Preempt {
    /// Longest delay.
    pub const MAX_DELAY: Duration = Duration::from_secs(3_600);
}

/// How often hellos are sent, and how long one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    hello: Duration,
    hold: Duration,
}

impl Timers {
    /// 3 s and 10 s (`RFC 2281 §5`).
    pub const DEFAULT: Self = Self { hello: Duration::from_secs(3), hold: Duration::from_secs(10) };

    /// Checks the two times against each other and against Cisco's ranges: 15 to 999 ms or 1 to
    /// 254 whole seconds for `hello`; 50 to 3000 ms or up to 255 whole seconds for `hold`.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn new(hello: Duration, hold: Duration) -> Result<Self, TimersError> {
        let (hello_ms, hold_ms) = (hello.as_millis(), hold.as_millis());
        let is_whole = |ms: u128, most: u128| ms.is_multiple_of(1_000) && (1_000..=most).contains(&ms);
        if !(15..=999).contains(&hello_ms) && !is_whole(hello_ms, 254_000) {
            return Err(TimersError::Hello);
        }
        if !(50..=3_000).contains(&hold_ms) && !is_whole(hold_ms, 255_000) {
            return Err(TimersError::Hold);
        }
        if hold_ms <= hello_ms {
            return Err(TimersError::HoldNotAboveHello);
        }
        let is_sub_second = hello_ms < 1_000 || !hold_ms.is_multiple_of(1_000);
        if is_sub_second && hold_ms < 3 * hello_ms {
            return Err(TimersError::HoldBelowThreeHellos);
        }
        Ok(Self { hello, hold })
    }

    /// Time between two hellos.
    #[must_use]
    pub const fn hello(self) -> Duration {
        self.hello
    }

    /// How long a hello counts.
    #[must_use]
    pub const fn hold(self) -> Duration {
        self.hold
    }

    /// Whether the times are not whole seconds. Such times are never learned.
    #[must_use]
    pub const fn is_sub_second(self) -> bool {
        !self.hello.as_millis().is_multiple_of(1_000) || !self.hold.as_millis().is_multiple_of(1_000)
    }
}

/// Timers that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimersError {
    /// Out of range.
    #[error("`hello` is 15 ms to 999 ms, or 1 s to 254 s in whole seconds")]
    Hello,
    /// Out of range.
    #[error("`hold` is 50 ms to 3000 ms, or up to 255 s in whole seconds")]
    Hold,
    /// One lost hello would be a failover.
    #[error("with times below a second, `hold` is at least three times `hello`")]
    HoldBelowThreeHellos,
    /// Every hello would come too late.
    #[error("`hold` is longer than `hello`")]
    HoldNotAboveHello,
}

/// How packets are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a word that everybody on the link can read (`RFC 2281 §5.1`): guards against mistakes.
    Text(AuthenticationText),
    /// By keyed MD5, Cisco's: guards against whoever does not know the key, not against replay.
    Md5(Md5Keys),
}

impl Default for Authentication {
    fn default() -> Self {
        Self::Text(AuthenticationText::default())
    }
}

/// A word of 1 to 8 octets, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticationText([u8; 8]);

impl AuthenticationText {
    /// The octets on the wire.
    #[must_use]
    pub const fn octets(self) -> [u8; 8] {
        self.0
    }
}

impl Default for AuthenticationText {
    /// `cisco` (`RFC 2281 §5.1`).
    fn default() -> Self {
        Self(*b"cisco\0\0\0")
    }
}

impl FromStr for AuthenticationText {
    type Err = AuthenticationTextError;

    fn from_str(text: &str) -> Result<Self, AuthenticationTextError> {
        let octets = text.as_bytes();
        let mut padded = [0; 8];
        let is_right = |octet: &u8| octet.is_ascii_graphic();
        let Some(place) = padded.get_mut(..octets.len()) else { return Err(AuthenticationTextError) };
        if octets.is_empty() || !octets.iter().all(is_right) {
            return Err(AuthenticationTextError);
        }
        place.copy_from_slice(octets);
        Ok(Self(padded))
    }
}

/// Not an authentication text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an authentication text has 1 to 8 printable ASCII characters")]
pub struct AuthenticationTextError;

/// Keys of keyed MD5. Two are accepted while a key is being changed on all routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Md5Keys {
    /// Sent, and accepted.
    pub key: Md5Key,
    /// Accepted only.
    pub accept: Option<Md5Key>,
    /// After a reload that changed the key: how long the one before is accepted.
    pub timeout: Duration,
}

impl Md5Keys {
    /// Longest [`Self::timeout`].
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(32_767);
}

/// A key string of 1 to 55 octets: it fills one block of MD5 with the padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Md5Key(Secret);

impl Md5Key {
    /// Longest key.
    pub const MAX_LENGTH: usize = 55;

    /// Takes a key over.
    ///
    /// # Errors
    ///
    /// It is empty or too long.
    pub fn new(key: Secret) -> Result<Self, Md5KeyError> {
        if key.is_empty() || key.len() > Self::MAX_LENGTH {
            return Err(Md5KeyError { length: key.len() });
        }
        Ok(Self(key))
    }

    /// The key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Not a key for HSRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an HSRP key has 1 to {} octets, not {length}", Md5Key::MAX_LENGTH)]
pub struct Md5KeyError {
    /// Octets of the key.
    pub length: usize,
}

/// An interface whose loss costs priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The interface.
    pub interface: Box<str>,
    /// How much the priority sinks while it is down, 1 to 255; not below 0.
    pub decrement: u8,
}

impl Track {
    /// Cisco's default decrement.
    pub const DEFAULT_DECREMENT: u8 = 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(hello: u64, hold: u64) -> Result<Timers, TimersError> {
        Timers::new(Duration::from_millis(hello), Duration::from_millis(hold))
    }

    #[test]
    fn timers_keep_to_the_ranges_of_the_standby_command() {
        for (hello, hold) in
            [(3_000, 10_000), (15, 50), (250, 800), (999, 3_000), (1_000, 2_000), (254_000, 255_000)]
        {
            assert!(ms(hello, hold).is_ok(), "{hello} {hold}");
        }
        let cases = [
            (14, 50, TimersError::Hello),
            (1_500, 10_000, TimersError::Hello),
            (255_000, 256_000, TimersError::Hello),
            (15, 49, TimersError::Hold),
            (1_000, 3_500, TimersError::Hold),
            (3_000, 256_000, TimersError::Hold),
            (3_000, 3_000, TimersError::HoldNotAboveHello),
            (20, 50, TimersError::HoldBelowThreeHellos),
            (999, 2_000, TimersError::HoldBelowThreeHellos),
        ];
        for (hello, hold, error) in cases {
            assert_eq!(ms(hello, hold), Err(error), "{hello} {hold}");
        }
    }

    #[test]
    fn times_that_are_not_whole_seconds_are_told_apart() {
        assert!(!Timers::DEFAULT.is_sub_second());
        assert!(ms(250, 1_000).unwrap().is_sub_second());
        assert!(ms(999, 3_000).unwrap().is_sub_second());
        assert_eq!(ms(1_000, 2_500), Err(TimersError::HoldBelowThreeHellos));
    }

    #[test]
    fn an_authentication_text_is_padded_with_zeros() {
        assert_eq!("secret".parse::<AuthenticationText>().unwrap().octets(), *b"secret\0\0");
        assert_eq!(AuthenticationText::default().octets(), *b"cisco\0\0\0");
        for text in ["", "ninechars", "a b", "ü"] {
            assert_eq!(text.parse::<AuthenticationText>(), Err(AuthenticationTextError), "{text:?}");
        }
    }

    #[test]
    fn a_key_fills_at_most_one_block_with_its_padding() {
        assert!(Md5Key::new(Secret::new(vec![7; 55])).is_ok());
        assert_eq!(Md5Key::new(Secret::new(vec![7; 56])), Err(Md5KeyError { length: 56 }));
        assert_eq!(Md5Key::new(Secret::new(vec![])), Err(Md5KeyError { length: 0 }));
    }

    fn settings(version: Version, group: u16, vip: &str) -> Settings {
        Settings {
            name: "group1".parse().unwrap(),
            group: GroupNumber::new(group).unwrap(),
            version,
            vips: vec![vip.parse().unwrap()],
            priority: 100,
            preempt: None,
            timers: None,
            authentication: Authentication::default(),
            track: Vec::new(),
            use_bia: false,
        }
    }

    #[test]
    fn the_virtual_mac_tells_version_family_and_group() {
        let mac = |version, group, vip| settings(version, group, vip).virtual_mac().to_string();

        assert_eq!(mac(Version::V1, 10, "10.0.0.5"), "0000.0c07.ac0a");
        assert_eq!(mac(Version::V2, 1, "10.0.0.5"), "0000.0c9f.f001");
        assert_eq!(mac(Version::V2, 4_095, "10.0.0.5"), "0000.0c9f.ffff");
        assert_eq!(mac(Version::V2, 16, "fd50::5"), "0005.73a0.0010");
    }

    #[test]
    fn an_ipv6_election_is_about_a_link_local_address() {
        let vip = |group, vip| settings(Version::V2, group, vip).election_vip().unwrap().to_string();

        assert_eq!(vip(1, "fd50::5"), "fe80::5:73ff:fea0:1");
        assert_eq!(vip(0xabc, "fd50::5"), "fe80::5:73ff:fea0:abc");
        assert_eq!(vip(1, "fe80::77"), "fe80::77");
        assert_eq!(vip(1, "10.0.0.5"), "10.0.0.5");
    }

    #[test]
    fn version_1_has_256_groups_and_no_ipv6() {
        let mut settings = settings(Version::V1, 256, "10.0.0.5");
        assert_eq!(settings.check(), Err(SettingsError::Group { version: Version::V1, most: 255 }));

        settings.version = Version::V2;
        assert_eq!(settings.check(), Ok(()));

        settings.version = Version::V1;
        settings.group = GroupNumber::new(1).unwrap();
        settings.vips = vec!["fd50::5".parse().unwrap()];
        assert_eq!(settings.check(), Err(SettingsError::Ipv6NeedsVersion2));
        assert_eq!(GroupNumber::new(4096), None);
    }

    #[test]
    fn a_standby_name_is_safe_in_a_shell() {
        assert!("hsrp-eth0-1".parse::<GroupName>().is_ok());
        for name in ["", "a b", "a;b", "é", &"x".repeat(64)] {
            assert_eq!(name.parse::<GroupName>(), Err(GroupNameError), "{name:?}");
        }
    }
}

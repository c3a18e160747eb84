//! Words shared by CLB, the fast path and the operator's command.
//!
//! # Invariants
//!
//! A value of one of these types is right: names are in their character set, addresses are such
//! that a client can be sent there, indexes fit the maps. Only parsing can fail.
//!
//! # References
//!
//! `RFC 5685 §9.2` (gateway identities), `RFC 1035 §2.3.1` with `RFC 1123 §2.1` (names).

#![forbid(unsafe_code)]

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use common::maps;

/// The name of a cluster member: 1 to 63 letters, digits, `-`, `_` and `.`, beginning with a
/// letter or digit. Safe in a log line, a metric label and a shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayName(Box<str>);

impl GatewayName {
    /// Longest name.
    pub const MAX_LENGTH: usize = 63;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GatewayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(wrong) =
            text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
        {
            return Err(NameError::Character(wrong));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(NameError::TooLong { length: text.len() });
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(NameError::Start);
        }
        Ok(Self(text.into()))
    }
}

impl AsRef<str> for GatewayName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Display for GatewayName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a [`GatewayName`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character outside the set.
    #[error("a name has only letters, digits, '-', '_' and '.', not {0:?}")]
    Character(char),
    /// Nothing there.
    #[error("a name is not empty")]
    Empty,
    /// Begins with a punctuation mark.
    #[error("a name begins with a letter or digit")]
    Start,
    /// Longer than [`GatewayName::MAX_LENGTH`].
    #[error("a name has at most {} characters, not {length}", GatewayName::MAX_LENGTH)]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// A fully qualified domain name, without the trailing dot: what a client resolves itself when
/// it is redirected there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(Box<str>);

impl Fqdn {
    /// Longest name: the identity's length is one octet (`RFC 5685 §9.2`).
    pub const MAX_LENGTH: usize = maps::MAX_NAME;
    /// Longest label (`RFC 1035 §2.3.4`).
    pub const MAX_LABEL: usize = 63;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fqdn {
    type Err = FqdnError;

    /// Host names do not depend on case (`RFC 4343`): they are kept in lower case, so that equal
    /// names are equal.
    fn from_str(text: &str) -> Result<Self, FqdnError> {
        if text.is_empty() {
            return Err(FqdnError::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(FqdnError::TooLong { length: text.len() });
        }
        if text.ends_with('.') {
            return Err(FqdnError::TrailingDot);
        }
        let mut last = "";
        for label in text.split('.') {
            check_label(label)?;
            last = label;
        }
        // `10.0.0` or `10.0.0.256` is a mistyped address; no top-level domain is a number.
        if last.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(FqdnError::Numeric);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

fn check_label(label: &str) -> Result<(), FqdnError> {
    if label.is_empty() {
        return Err(FqdnError::EmptyLabel);
    }
    if let Some(wrong) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(FqdnError::Character(wrong));
    }
    if label.len() > Fqdn::MAX_LABEL {
        return Err(FqdnError::LabelTooLong { length: label.len() });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(FqdnError::Hyphen);
    }
    Ok(())
}

impl AsRef<str> for Fqdn {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Display for Fqdn {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Why an [`Fqdn`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FqdnError {
    /// A character outside the set.
    #[error("a domain name has only letters, digits, '-' and '.', not {0:?}")]
    Character(char),
    /// Nothing there.
    #[error("a domain name is not empty")]
    Empty,
    /// Two dots in a row, or one at the start.
    #[error("a label of a domain name is not empty")]
    EmptyLabel,
    /// A hyphen where none may be.
    #[error("a label of a domain name neither begins nor ends with '-'")]
    Hyphen,
    /// Longer than [`Fqdn::MAX_LABEL`].
    #[error("a label of a domain name has at most {} characters, not {length}", Fqdn::MAX_LABEL)]
    LabelTooLong {
        /// Its length.
        length: usize,
    },
    /// Looks like half an address.
    #[error("neither an IP address nor a domain name")]
    Numeric,
    /// Longer than [`Fqdn::MAX_LENGTH`].
    #[error("a domain name has at most {} characters here, not {length}", Fqdn::MAX_LENGTH)]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The root is implied.
    #[error("a domain name is written without the trailing dot")]
    TrailingDot,
}

/// One way to name a gateway to a client (`RFC 5685 §9.2`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayAddress {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A name.
    Fqdn(Fqdn),
}

impl GatewayAddress {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Ipv4(_) => "IPv4 address",
            Self::Ipv6(_) => "IPv6 address",
            Self::Fqdn(_) => "domain name",
        }
    }
}

impl FromStr for GatewayAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.parse() {
            Ok(address) => {
                unicast(address)?;
                Ok(match address {
                    IpAddr::V4(address) => Self::Ipv4(address),
                    IpAddr::V6(address) => Self::Ipv6(address),
                })
            }
            // No domain name has a colon: whoever wrote one meant IPv6.
            Err(_) if text.contains(':') => Err(AddressError::Ipv6),
            Err(_) => Ok(Self::Fqdn(text.parse()?)),
        }
    }
}

impl Display for GatewayAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Fqdn(name) => name.fmt(f),
        }
    }
}

/// Checks that a client elsewhere can talk to `address`, be it a gateway's or a VIP.
///
/// # Errors
///
/// What kind of address it is instead.
pub const fn unicast(address: IpAddr) -> Result<(), AddressError> {
    if address.is_unspecified() {
        return Err(AddressError::Unspecified);
    }
    if address.is_loopback() {
        return Err(AddressError::Loopback);
    }
    if address.is_multicast() {
        return Err(AddressError::Multicast);
    }
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Err(AddressError::Broadcast),
        // 0/8 is "this network" (RFC 1122 §3.2.1.3), 240/4 is reserved (RFC 1112 §4).
        IpAddr::V4(address) if matches!(address.octets(), [0 | 240.., ..]) => Err(AddressError::Reserved),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err(AddressError::Ipv4Mapped),
        // The client does not know on which of its links the address would be.
        IpAddr::V6(address) if address.is_unicast_link_local() => Err(AddressError::LinkLocal),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(()),
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// 255.255.255.255.
    #[error("the broadcast address belongs to no host")]
    Broadcast,
    /// Not an address, and no name either.
    #[error(transparent)]
    Fqdn(#[from] FqdnError),
    /// `::ffff:a.b.c.d`.
    #[error("an IPv4-mapped IPv6 address never appears in packets: write the IPv4 address")]
    Ipv4Mapped,
    /// Has colons, but does not parse.
    #[error("not a valid IPv6 address (write no port, zone or brackets)")]
    Ipv6,
    /// `fe80::/10`.
    #[error("a link-local address means nothing to a client on another link")]
    LinkLocal,
    /// `127.0.0.0/8`, `::1`.
    #[error("a loopback address leads every client to itself")]
    Loopback,
    /// `224.0.0.0/4`, `ff00::/8`.
    #[error("a multicast address belongs to no single host")]
    Multicast,
    /// `0.0.0.0/8`, `240.0.0.0/4`.
    #[error("a reserved address belongs to no host")]
    Reserved,
    /// `0.0.0.0`, `::`.
    #[error("the unspecified address belongs to no host")]
    Unspecified,
}

/// Where clients are sent for a gateway: at most one address of each kind, and at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayAddresses {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    fqdn: Option<Fqdn>,
}

impl GatewayAddresses {
    /// Collects addresses, in any order.
    ///
    /// # Errors
    ///
    /// When there is none, or two of one kind.
    pub fn new(addresses: impl IntoIterator<Item = GatewayAddress>) -> Result<Self, AddressesError> {
        let mut all = Self { ipv4: None, ipv6: None, fqdn: None };
        for (position, address) in addresses.into_iter().enumerate() {
            let kind = address.kind();
            let is_second = match address {
                GatewayAddress::Ipv4(address) => all.ipv4.replace(address).is_some(),
                GatewayAddress::Ipv6(address) => all.ipv6.replace(address).is_some(),
                GatewayAddress::Fqdn(name) => all.fqdn.replace(name).is_some(),
            };
            if is_second {
                return Err(AddressesError::Second { position, kind });
            }
        }
        if all.iter().next().is_none() {
            return Err(AddressesError::None);
        }
        Ok(all)
    }

    /// The IPv4 address.
    #[must_use]
    pub const fn ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4
    }

    /// The IPv6 address.
    #[must_use]
    pub const fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }

    /// The name.
    #[must_use]
    pub const fn fqdn(&self) -> Option<&Fqdn> {
        self.fqdn.as_ref()
    }

    /// All of them: IPv4, IPv6, name.
    pub fn iter(&self) -> impl Iterator<Item = GatewayAddress> {
        let ipv4 = self.ipv4.map(GatewayAddress::Ipv4);
        let ipv6 = self.ipv6.map(GatewayAddress::Ipv6);
        let fqdn = self.fqdn.clone().map(GatewayAddress::Fqdn);
        [ipv4, ipv6, fqdn].into_iter().flatten()
    }

    /// The address for a client that speaks to an address like `seen`: one of the same family, or the
    /// name.
    #[must_use]
    pub fn for_peer_of(&self, seen: IpAddr) -> Option<GatewayAddress> {
        let same = match seen {
            IpAddr::V4(_) => self.ipv4().map(GatewayAddress::Ipv4),
            IpAddr::V6(_) => self.ipv6().map(GatewayAddress::Ipv6),
        };
        same.or_else(|| self.fqdn().cloned().map(GatewayAddress::Fqdn))
    }

    /// Whether this is one of the addresses.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4 == Some(address),
            IpAddr::V6(address) => self.ipv6 == Some(address),
        }
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.iter().any(|address| other.iter().any(|theirs| address == theirs))
    }

    /// The map entry that sends clients here; `is_local` when "here" is this node.
    #[must_use]
    pub fn to_map(&self, is_local: bool) -> maps::Gateway {
        maps::Gateway::new(
            self.ipv4.map(|address| address.octets()),
            self.ipv6.map(|address| address.octets()),
            self.fqdn.as_ref().map(|name| name.as_str().as_bytes()),
            is_local,
        )
        // Refuses only lengths that no `Fqdn` has. Should the two ever disagree, an empty entry
        // keeps the client here.
        .unwrap_or(maps::Gateway::EMPTY)
    }
}

impl Display for GatewayAddresses {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (position, address) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}

/// Why a list of addresses is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressesError {
    /// An empty list.
    #[error("a gateway needs at least one address")]
    None,
    /// A client is offered one address, so a second of its kind would never be used.
    #[error("a second {kind}: a gateway has at most one address of each kind")]
    Second {
        /// Position in the list, from 0.
        position: usize,
        /// Of which kind there are two.
        kind: &'static str,
    },
}

/// Position of a gateway in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayIndex(u16);

impl GatewayIndex {
    /// The index `value`; `None` at [`maps::MAX_GATEWAYS`] and above.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if (value as usize) < maps::MAX_GATEWAYS { Some(Self(value)) } else { None }
    }

    /// The number, as the LLG map has it.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// The number, as a position.
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }

    /// Every index, in ascending order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map_while(Self::new)
    }
}

impl Display for GatewayIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How many clients a gateway takes, in relation to the others. Never 0: a gateway that takes
/// none has no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU16);

impl Weight {
    /// The weight of a gateway for which none was given.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// The weight `value`; `None` for 0.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0.get()
    }
}

impl Display for Weight {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The table of least loaded gateways: which gateway each slot leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlgTable {
    /// Counts the tables.
    pub generation: u32,
    /// [`maps::SLOTS`] slots; `None` leads nowhere.
    pub slots: Box<[Option<GatewayIndex>]>,
    /// What becomes of clients whose slot leads nowhere.
    pub empty: EmptySlot,
}

/// What becomes of a client that would be redirected if there were a gateway for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptySlot {
    /// This node serves it.
    #[default]
    Keep,
    /// It gets no answer, and tries again later.
    Refuse,
}

impl LlgTable {
    /// The map value. Slots that are missing lead nowhere, surplus ones are not reached.
    #[must_use]
    pub fn to_map(&self) -> maps::LlgTable {
        let mut gateway = match self.empty {
            EmptySlot::Keep => [maps::NO_GATEWAY; maps::SLOTS],
            EmptySlot::Refuse => [maps::REFUSE; maps::SLOTS],
        };
        for (entry, slot) in gateway.iter_mut().zip(&self.slots) {
            if let Some(index) = slot {
                *entry = index.value();
            }
        }
        maps::LlgTable { generation: self.generation, slots: SLOTS_U32, gateway }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a constant that fits, see the assertion")]
const SLOTS_U32: u32 = maps::SLOTS as u32;
const _: () = assert!(maps::SLOTS <= u32::MAX as usize);

#[cfg(test)]
mod tests {
    use common::inet::Family;
    use common::maps::Identity;

    use super::*;

    fn addresses(list: &[&str]) -> Result<GatewayAddresses, AddressesError> {
        GatewayAddresses::new(list.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn a_gateway_name_is_short_and_plain() {
        for name in ["a", "gw1", "7.rack-2_b", &"x".repeat(63)] {
            assert_eq!(name.parse::<GatewayName>().unwrap().as_str(), name);
        }
        let cases = [
            ("", NameError::Empty),
            ("gw 1", NameError::Character(' ')),
            ("gw\n", NameError::Character('\n')),
            ("gwé", NameError::Character('é')),
            ("gw\"", NameError::Character('"')),
            ("-gw", NameError::Start),
            (&"x".repeat(64), NameError::TooLong { length: 64 }),
        ];
        for (name, error) in cases {
            assert_eq!(name.parse::<GatewayName>(), Err(error), "{name:?}");
        }
    }

    // RDI-15: what is no address is a name, and a name that is none is refused where it is configured.
    #[test]
    fn a_domain_name_keeps_to_the_rules_for_labels() {
        let label = "a".repeat(63);
        let longest = [label.as_str(); 4].join(".");
        for name in ["gw1", "gw1.vpn.example.net", "1and1.example", "xn--bcher-kva.example", &longest] {
            assert_eq!(name.parse::<Fqdn>().unwrap().as_str(), name);
        }
        let cases = [
            ("", FqdnError::Empty),
            ("gw1.example.", FqdnError::TrailingDot),
            ("gw1..example", FqdnError::EmptyLabel),
            (".example", FqdnError::EmptyLabel),
            ("gw_1.example", FqdnError::Character('_')),
            ("bücher.example", FqdnError::Character('ü')),
            ("-gw.example", FqdnError::Hyphen),
            ("gw-.example", FqdnError::Hyphen),
            (&format!("{}.example", "a".repeat(64)), FqdnError::LabelTooLong { length: 64 }),
            (&format!("{longest}a"), FqdnError::TooLong { length: 256 }),
            ("10.0.0", FqdnError::Numeric),
        ];
        for (name, error) in cases {
            assert_eq!(name.parse::<Fqdn>(), Err(error), "{name:?}");
        }
    }

    #[test]
    fn domain_names_that_differ_in_case_are_equal() {
        assert_eq!("GW1.Example.Net".parse::<Fqdn>(), "gw1.example.net".parse());
    }

    #[test]
    fn an_address_that_no_client_can_reach_is_refused() {
        let cases = [
            ("0.0.0.0", AddressError::Unspecified),
            ("::", AddressError::Unspecified),
            ("127.0.0.1", AddressError::Loopback),
            ("::1", AddressError::Loopback),
            ("224.0.0.2", AddressError::Multicast),
            ("ff02::2", AddressError::Multicast),
            ("255.255.255.255", AddressError::Broadcast),
            ("0.1.2.3", AddressError::Reserved),
            ("240.0.0.1", AddressError::Reserved),
            ("::ffff:10.0.0.1", AddressError::Ipv4Mapped),
            ("fe80::1", AddressError::LinkLocal),
            ("fd50::g", AddressError::Ipv6),
            ("[fd50::1]", AddressError::Ipv6),
            ("10.0.0.256", AddressError::Fqdn(FqdnError::Numeric)),
            ("10.0.0.1/24", AddressError::Fqdn(FqdnError::Character('/'))),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<GatewayAddress>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn addresses_of_every_kind_are_told_apart() {
        let all = addresses(&["gw1.example.net", "fd50::11", "10.50.0.11"]).unwrap();

        assert_eq!(all.ipv4(), Some(Ipv4Addr::new(10, 50, 0, 11)));
        assert_eq!(all.ipv6(), Some("fd50::11".parse().unwrap()));
        assert_eq!(all.fqdn().map(Fqdn::as_str), Some("gw1.example.net"));
        assert_eq!(all.to_string(), "10.50.0.11, fd50::11, gw1.example.net");
    }

    #[test]
    fn a_gateway_has_one_address_of_a_kind_and_at_least_one() {
        assert_eq!(addresses(&[]), Err(AddressesError::None));
        assert_eq!(
            addresses(&["10.0.0.1", "fd50::1", "10.0.0.2"]),
            Err(AddressesError::Second { position: 2, kind: "IPv4 address" })
        );
    }

    #[test]
    fn gateways_overlap_when_one_address_is_the_same() {
        let first = addresses(&["10.0.0.1", "gw1.example"]).unwrap();
        let second = addresses(&["10.0.0.2", "GW1.example"]).unwrap();
        let third = addresses(&["10.0.0.3", "fd50::3"]).unwrap();

        assert!(first.overlaps(&second));
        assert!(!first.overlaps(&third));
    }

    #[test]
    fn the_map_entry_carries_every_address() {
        let entry = addresses(&["10.50.0.11", "gw1.example.net"]).unwrap().to_map(false);

        assert_eq!(entry.identity(Family::V4), Some(Identity::Ipv4));
        assert_eq!(entry.identity(Family::V6), Some(Identity::Fqdn));
        assert_eq!(entry.ipv4, [10, 50, 0, 11]);
        assert_eq!(entry.fqdn_length, 15);
        assert!(!entry.is_local());
        assert!(addresses(&["10.50.0.11"]).unwrap().to_map(true).is_local());
    }

    #[test]
    fn an_index_fits_the_map() {
        assert_eq!(GatewayIndex::all().count(), maps::MAX_GATEWAYS);
        assert_eq!(GatewayIndex::new(543).map(GatewayIndex::value), Some(543));
        assert_eq!(GatewayIndex::new(544), None);
    }

    #[test]
    fn a_slot_without_gateway_leads_nowhere_in_the_map_or_refuses() {
        let slots =
            (0..maps::SLOTS).map(|slot| if slot == 1 { GatewayIndex::new(7) } else { None }).collect();

        let mut table = LlgTable { generation: 3, slots, empty: EmptySlot::Keep };
        let kept = table.to_map();
        table.empty = EmptySlot::Refuse;
        let refused = table.to_map();

        assert_eq!((kept.generation, kept.slots), (3, 1024));
        assert_eq!(kept.gateway[..3], [maps::NO_GATEWAY, 7, maps::NO_GATEWAY]);
        assert_eq!(refused.gateway[..3], [maps::REFUSE, 7, maps::REFUSE]);
    }
}

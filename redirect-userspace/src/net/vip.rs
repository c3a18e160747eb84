//! Virtual addresses: taken, announced and let go of by the active router.
//!
//! # Picture
//!
//! ```text
//!  prepare()  eth0 ── rd4-2-1   macvlan with the virtual MAC, switched off, without addresses
//!  acquire()                    switched on, VIPs added: the kernel answers ARP and neighbour
//!                               solicitations for them with the virtual MAC
//!  release()                    VIPs removed, switched off
//!  remove()   eth0              as it was
//! ```
//!
//! With `use-bia` there is no macvlan: the VIPs go to the interface itself.
//!
//! # Invariants
//!
//! - A standby router has the macvlan and no address: an address would be local, and the standby
//!   would talk to itself instead of the active router.
//! - The macvlan is in bridge mode. In private mode, which VRRP daemons use, it takes away every
//!   multicast frame that comes from its own MAC, and the hellos of another active router do.
//! - What is left of a daemon that was killed can be found by its looks alone and be undone:
//!   macvlans by kind, parent and name; addresses on the interface itself by their protocol
//!   number; how ARP was set up on the interface before us, by the alias of a macvlan.
//! - The kernel carries out every order before the call returns. There is nothing to wait for.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use rtnetlink::packet_core::{
    DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    CacheInfo,
};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tracing::warn;

use super::ethernet::announcement;
use super::netlink::{ArpConduct, Link, Netlink, Order, Which};
use crate::hsrp::MacAddress;

/// Marks the addresses that we have added (`IFA_PROTO`, from Linux 5.18).
pub const ADDRESS_PROTOCOL: u8 = 82;

/// Where the virtual addresses of a group go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the interface.
    pub interface: u32,
    /// Number of the group.
    pub group: u16,
    /// The virtual MAC, which also tells the family of the group's election; `None` for
    /// `use-bia`.
    pub virtual_mac: Option<MacAddress>,
}

/// The virtual addresses of one group on one interface.
///
/// Dropping it changes nothing: see [`Self::remove`] and [`clean`].
pub struct VirtualAddresses {
    netlink: Netlink,
    place: Place,
    /// What carries the addresses: the macvlan, or the interface itself.
    device: Device,
    held: Vec<IpAddr>,
}

#[derive(Clone, Debug)]
struct Device {
    index: u32,
    mac: MacAddress,
    is_router: bool,
}

impl VirtualAddresses {
    /// Makes ready what can be made ready before the addresses are taken: the macvlan, and the
    /// interface's conduct in ARP. What is left of a former one in the same place is replaced.
    ///
    /// # Errors
    ///
    /// There is no such interface; it is no Ethernet; it cannot carry a macvlan because it is part
    /// of a bridge or a bond, for instance; we may not.
    pub fn prepare(place: Place) -> Result<Self> {
        let mut netlink = Netlink::open().context("opening a netlink socket")?;
        let device = make_ready(&mut netlink, place)
            .with_context(|| format!("preparing group {} on interface {}", place.group, place.interface))?;
        Ok(Self { netlink, place, device, held: Vec::new() })
    }

    /// Takes `vips`, and lets go of those that were held and are not among them. Nothing happens
    /// to those that are held already.
    ///
    /// A macvlan that has vanished, at the hands of the guard after the daemon had hung for
    /// instance, is made again.
    ///
    /// # Errors
    ///
    /// The kernel refuses an address, all of which are then named; the others are held.
    pub fn acquire(&mut self, vips: &[IpAddr]) -> Result<()> {
        let stale: Vec<IpAddr> = self.held.iter().filter(|held| !vips.contains(held)).copied().collect();
        let refused = match self.take(&stale, vips)? {
            Taken::All(refused) => refused,
            Taken::NoDevice => {
                self.device = make_ready(&mut self.netlink, self.place).context("preparing it again")?;
                match self.take(&[], vips)? {
                    Taken::All(refused) => refused,
                    Taken::NoDevice => bail!("interface {} is gone", self.place.interface),
                }
            }
        };
        self.held = vips.iter().filter(|vip| refused.iter().all(|(no, _)| no != *vip)).copied().collect();
        ensure!(refused.is_empty(), "taking {}", Refusals(&refused));
        Ok(())
    }

    /// The frames that tell the link where the addresses are now, one for each that is held. To
    /// be sent on the interface, not on the macvlan.
    #[must_use]
    pub fn announcements(&self) -> Vec<Vec<u8>> {
        let Device { mac, is_router, .. } = self.device;
        self.held.iter().map(|vip| announcement(mac, *vip, is_router)).collect()
    }

    /// Lets go of the addresses. What is not there does not matter.
    ///
    /// # Errors
    ///
    /// The kernel refuses to remove an address: it may still be ours.
    pub fn release(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let mut orders: Vec<Order> = held.iter().map(|vip| self.without(*vip)).collect();
        if self.place.virtual_mac.is_some() {
            orders.push(switched(self.device.index, false));
        }
        let results = self.netlink.carry_out(orders).context("asking the kernel")?;
        let refused: Vec<_> = held
            .iter()
            .zip(results)
            .filter_map(|(vip, result)| result.err().filter(|error| !is_absence(error)).map(|e| (*vip, e)))
            .collect();
        ensure!(refused.is_empty(), "removing {}", Refusals(&refused));
        Ok(())
    }

    /// Lets go of everything and leaves the interface as it was before [`Self::prepare`].
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn remove(mut self) -> Result<()> {
        let released = self.release();
        if self.place.virtual_mac.is_some() {
            let ours = macvlans(&mut self.netlink, self.place.interface).context("listing interfaces")?;
            let (mine, others): (Vec<_>, Vec<_>) =
                ours.into_iter().partition(|link| link.index == self.device.index);
            dismantle(&mut self.netlink, self.place.interface, &mine, others.is_empty())?;
        }
        released
    }

    /// Number of what carries the addresses: the macvlan, or the interface itself.
    #[must_use]
    pub const fn device(&self) -> u32 {
        self.device.index
    }

    /// The MAC address that the virtual addresses are at.
    #[must_use]
    pub const fn mac(&self) -> MacAddress {
        self.device.mac
    }

    /// The addresses that are held.
    #[must_use]
    pub fn held(&self) -> &[IpAddr] {
        &self.held
    }

    fn take(&mut self, stale: &[IpAddr], vips: &[IpAddr]) -> Result<Taken> {
        let mut orders: Vec<Order> = stale.iter().map(|vip| self.without(*vip)).collect();
        let leading = orders.len() + usize::from(self.place.virtual_mac.is_some());
        if self.place.virtual_mac.is_some() {
            // Up first: an IPv6 address on an interface that is down joins no group and would not
            // be found.
            orders.push(switched(self.device.index, true));
        }
        orders.extend(vips.iter().map(|vip| self.with(*vip)));
        let mut results = self.netlink.carry_out(orders).context("asking the kernel")?;
        let for_vips = results.split_off(leading.min(results.len()));
        if self.place.virtual_mac.is_some()
            && let Some(Err(error)) = results.pop()
        {
            if is_missing(&error) {
                return Ok(Taken::NoDevice);
            }
            return Err(error).context("switching the macvlan on");
        }
        if for_vips.iter().flat_map(|result| result.as_ref().err()).any(is_missing) {
            return Ok(Taken::NoDevice);
        }
        let refused = vips.iter().zip(for_vips).filter_map(|(vip, it)| it.err().map(|error| (*vip, error)));
        Ok(Taken::All(refused.collect()))
    }

    fn with(&self, vip: IpAddr) -> Order {
        // Taken twice is taken once.
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        Order { message: RouteNetlinkMessage::NewAddress(address(self.device.index, vip)), flags }
    }

    fn without(&self, vip: IpAddr) -> Order {
        Order::new(RouteNetlinkMessage::DelAddress(address(self.device.index, vip)))
    }
}

/// What became of an attempt.
enum Taken {
    /// Every address is held except these.
    All(Vec<(IpAddr, io::Error)>),
    /// What carries the addresses is not there.
    NoDevice,
}

/// Removes from an interface what a daemon has left there that did not come to its end: macvlans,
/// and addresses on the interface itself. Tells what it was.
///
/// For the start of a daemon, and for the guard when the daemon is gone. There is one daemon for an
/// interface: what another one has there would be removed as well.
///
/// # Errors
///
/// The kernel cannot be asked, or refuses.
pub fn clean(interface: u32) -> Result<Vec<String>> {
    let mut netlink = Netlink::open().context("opening a netlink socket")?;
    let leftovers = macvlans(&mut netlink, interface).context("listing interfaces")?;
    let mut removed: Vec<String> = leftovers.iter().map(|link| format!("interface {}", link.name)).collect();
    dismantle(&mut netlink, interface, &leftovers, true)?;

    let addresses = netlink.addresses(Some(interface)).context("listing addresses")?;
    for found in addresses.iter().filter(|address| address.protocol == ADDRESS_PROTOCOL) {
        let mut message = address(interface, found.address);
        message.header.prefix_len = found.prefix;
        match netlink.do_one(Order::new(RouteNetlinkMessage::DelAddress(message))) {
            Ok(()) => removed.push(format!("address {}", found.address)),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("removing {}", found.address)),
        }
    }
    Ok(removed)
}

/// Whether an address is configured on this machine.
///
/// # Errors
///
/// The kernel cannot be asked.
pub fn is_local(vip: IpAddr) -> Result<bool> {
    let mut netlink = Netlink::open().context("opening a netlink socket")?;
    let addresses = netlink.addresses(None).context("listing addresses")?;
    Ok(addresses.iter().any(|address| address.address == vip))
}

fn make_ready(netlink: &mut Netlink, place: Place) -> Result<Device> {
    let parent = netlink.link(Which::Index(place.interface))?.context("there is no such interface")?;
    ensure!(parent.is_ethernet, "{} is not an Ethernet interface", parent.name);
    let Some(mac) = place.virtual_mac else {
        let mac = parent.mac.with_context(|| format!("{} has no MAC address", parent.name))?;
        return Ok(Device { index: parent.index, mac, is_router: parent.is_router });
    };

    let name = device_name(place, mac)?;
    let mut before = parent.arp;
    for other in macvlans(netlink, place.interface)? {
        // The first one has seen the interface as it was.
        before = other.recorded().unwrap_or(before);
        if other.name == name {
            delete(netlink, &other)?;
        }
    }
    create(netlink, place, mac, &name).with_context(|| {
        format!("giving {} the MAC address {mac} on a macvlan (`use-bia` does without)", parent.name)
    })?;
    let link = netlink.link(Which::Name(&name))?.with_context(|| format!("{name} has vanished"))?;
    if let Err(error) = set_up(netlink, &parent, &link, place, before) {
        // Not half of it.
        let _why_matters_more = delete(netlink, &link);
        return Err(error);
    }
    Ok(Device { index: link.index, mac, is_router: link.is_router })
}

fn create(netlink: &mut Netlink, place: Place, mac: MacAddress, name: &str) -> Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(place.interface),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
        ]),
    ];
    netlink
        .do_one(Order { message: RouteNetlinkMessage::NewLink(message), flags: NLM_F_CREATE | NLM_F_EXCL })?;
    Ok(())
}

/// Settles who answers for what. On the macvlan and on the interface, ARP is answered for the
/// addresses of that one only (`arp_ignore`): otherwise the interface would give its own MAC for
/// the VIP, and the macvlan the virtual one for everything else. The interface does not name the
/// VIP when it asks others (`arp_announce`): they would learn its own MAC for it.
fn set_up(netlink: &mut Netlink, parent: &Link, link: &Link, place: Place, before: ArpConduct) -> Result<()> {
    // First, so that what is changed next can be undone whatever happens.
    let alias = format!("redirectd group {} on {}, before: {}", place.group, parent.name, Conduct(before));
    set(netlink, link.index, LinkAttribute::IfAlias(alias)).context("noting how ARP was set up")?;

    // Answers to clients leave by the interface, not by the macvlan, which the strict filter for
    // reverse paths would hold against their requests.
    let own = [(ARP_IGNORE, 1), (ARP_ANNOUNCE, 2), (RP_FILTER, RP_FILTER_LOOSE)];
    set(netlink, link.index, conduct(&own)).context("setting up ARP on the macvlan")?;
    let now = ArpConduct { ignore: before.ignore.max(1), announce: before.announce.max(2) };
    if parent.arp != now {
        set_arp(netlink, parent.index, now).with_context(|| format!("setting up ARP on {}", parent.name))?;
    }

    // No address of its own: its only ones are the virtual ones.
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let mode = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
    match set(netlink, link.index, mode) {
        Ok(()) => no_autoconfiguration(&link.name),
        // The kernel has no IPv6. If there is an IPv6 VIP, taking it will say so.
        Err(error) if is(&error, Errno::EAFNOSUPPORT) => {}
        Err(error) => return Err(error).context("switching off the link-local address"),
    }
    Ok(())
}

/// Keeps router advertisements from giving the macvlan addresses and routes. There is no netlink
/// attribute for that.
fn no_autoconfiguration(name: &str) {
    for setting in ["accept_ra", "autoconf"] {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        if let Err(error) = fs::write(&path, "0") {
            warn!(%path, %error, "router advertisements may give the macvlan addresses of its own");
        }
    }
}

/// Removes macvlans, and gives the interface its conduct in ARP back when none is left.
fn dismantle(netlink: &mut Netlink, parent: u32, links: &[Link], none_is_left: bool) -> Result<()> {
    if none_is_left && let Some(before) = links.iter().find_map(Link::recorded) {
        // While the macvlan that bears the record is still there.
        match set_arp(netlink, parent, before) {
            Ok(()) => {}
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error).context("restoring the interface's conduct in ARP"),
        }
    }
    links.iter().try_for_each(|link| delete(netlink, link))
}

fn delete(netlink: &mut Netlink, link: &Link) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    match netlink.do_one(Order::new(RouteNetlinkMessage::DelLink(message))) {
        Ok(()) => Ok(()),
        Err(error) if is_absence(&error) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("deleting {}", link.name)),
    }
}

/// Our macvlans on an interface.
fn macvlans(netlink: &mut Netlink, parent: u32) -> io::Result<Vec<Link>> {
    let mut links = netlink.links()?;
    links.retain(|link| link.macvlan_parent == Some(parent) && is_our_name(&link.name, parent));
    Ok(links)
}

fn device_name(place: Place, mac: MacAddress) -> Result<String> {
    let family = if is_ipv6_mac(mac) { IPV6_PREFIX } else { IPV4_PREFIX };
    let name = format!("{family}{:x}-{}", place.interface, place.group);
    if name.len() > LONGEST_NAME {
        return Err(anyhow!("no name for the macvlan: {name} has more than {LONGEST_NAME} characters"));
    }
    Ok(name)
}

fn is_our_name(name: &str, parent: u32) -> bool {
    let rest = name.strip_prefix(IPV4_PREFIX).or_else(|| name.strip_prefix(IPV6_PREFIX));
    let group = rest.and_then(|rest| rest.strip_prefix(&format!("{parent:x}-")));
    group.is_some_and(|group| group.parse::<u16>().is_ok())
}

/// Cisco's range for IPv6 groups.
const fn is_ipv6_mac(mac: MacAddress) -> bool {
    matches!(mac.0, [0x00, 0x05, 0x73, 0xa0, ..])
}

fn switched(index: u32, on: bool) -> Order {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if on {
        message.header.flags = LinkFlags::Up;
    }
    Order::new(RouteNetlinkMessage::SetLink(message))
}

fn set(netlink: &mut Netlink, index: u32, attribute: LinkAttribute) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(attribute);
    netlink.do_one(Order::new(RouteNetlinkMessage::SetLink(message)))
}

fn set_arp(netlink: &mut Netlink, index: u32, to: ArpConduct) -> io::Result<()> {
    set(netlink, index, conduct(&[(ARP_IGNORE, to.ignore), (ARP_ANNOUNCE, to.announce)]))
}

/// The settings under `net.ipv4.conf`, by their numbers. Netlink can write them where `/proc/sys`
/// is read-only, as it is in most containers.
fn conduct(settings: &[(u16, i32)]) -> LinkAttribute {
    let settings: Vec<DefaultNla> = settings
        .iter()
        .map(|(setting, value)| DefaultNla::new(*setting, value.to_ne_bytes().to_vec()))
        .collect();
    let mut octets = vec![0; settings.as_slice().buffer_len()];
    settings.as_slice().emit(&mut octets);
    let settings = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, octets));
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])])
}

fn address(index: u32, vip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    // No network comes with it: the way there is the interface's business.
    let mut flags = AddressFlags::Noprefixroute;
    match vip {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.prefix_len = 32;
        }
        IpAddr::V6(vip) => {
            message.header.family = AddressFamily::Inet6;
            message.header.flags = AddressHeaderFlags::Nodad;
            // The election has found out whose it is; a test would cost a second.
            flags |= AddressFlags::Nodad;
            message.header.prefix_len = 128;
            if vip.is_unicast_link_local() {
                // There is a link on each interface. Without its route, nothing could be answered.
                message.header.prefix_len = 64;
                message.header.scope = AddressScope::Link;
                flags.remove(AddressFlags::Noprefixroute);
            }
            // Not preferred: nothing that this machine begins itself comes from it.
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = u32::MAX;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
    }
    message.attributes.extend([
        AddressAttribute::Local(vip),
        AddressAttribute::Address(vip),
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL)),
    ]);
    message
}

impl Link {
    /// How ARP was set up on the interface before us.
    fn recorded(&self) -> Option<ArpConduct> {
        let (_, record) = self.alias.as_deref()?.split_once("before: ")?;
        record.parse().ok().map(|Conduct(before)| before)
    }
}

/// [`ArpConduct`] as text, in an alias.
struct Conduct(ArpConduct);

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arp_ignore={} arp_announce={}", self.0.ignore, self.0.announce)
    }
}

impl FromStr for Conduct {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ignore, announce) = text.split_once(' ').ok_or(())?;
        let number = |word: &str, name: &str| word.strip_prefix(name).and_then(|value| value.parse().ok());
        let ignore = number(ignore, "arp_ignore=").ok_or(())?;
        let announce = number(announce, "arp_announce=").ok_or(())?;
        Ok(Self(ArpConduct { ignore, announce }))
    }
}

/// Addresses and what the kernel says about them.
struct Refusals<'a>(&'a [(IpAddr, io::Error)]);

impl fmt::Display for Refusals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (vip, error)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{vip}: {error}")?;
        }
        Ok(())
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error().map(Errno::from_raw) == Some(errno)
}

/// The interface is not there.
fn is_missing(error: &io::Error) -> bool {
    is(error, Errno::ENODEV) || is(error, Errno::ENXIO)
}

/// What was to be removed is not there.
fn is_absence(error: &io::Error) -> bool {
    is_missing(error) || is(error, Errno::EADDRNOTAVAIL)
}

const IPV4_PREFIX: &str = "rd4-";
const IPV6_PREFIX: &str = "rd6-";
/// `IFNAMSIZ` without the zero at the end.
const LONGEST_NAME: usize = 15;
/// `IFLA_INET_CONF`
const INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_RP_FILTER`
const RP_FILTER: u16 = 8;
/// The source must be reachable by any interface. The greater of this and the setting for all
/// interfaces holds, so that 0 would not do where the setting for all is strict.
const RP_FILTER_LOOSE: i32 = 2;
/// `IPV4_DEVCONF_ARP_ANNOUNCE`
const ARP_ANNOUNCE: u16 = 18;
/// `IPV4_DEVCONF_ARP_IGNORE`
const ARP_IGNORE: u16 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC4: MacAddress = MacAddress([0, 0, 0x0c, 0x9f, 0xf0, 1]);
    const MAC6: MacAddress = MacAddress([0, 5, 0x73, 0xa0, 0, 1]);

    fn place(interface: u32, group: u16) -> Place {
        Place { interface, group, virtual_mac: None }
    }

    #[test]
    fn names_tell_family_interface_and_group_and_are_recognised() {
        assert_eq!(device_name(place(2, 1), MAC4).unwrap(), "rd4-2-1");
        assert_eq!(device_name(place(31, 4095), MAC6).unwrap(), "rd6-1f-4095");
        assert_eq!(device_name(place(0xff_ffff, 4095), MAC4).unwrap().len(), LONGEST_NAME);
        assert!(device_name(place(0x100_0000, 4095), MAC4).is_err());

        assert!(is_our_name("rd4-2-1", 2));
        assert!(is_our_name("rd6-1f-4095", 31));
        for name in ["rd4-2-1", "rd4-1f-", "rd4-1f-x", "rd5-1f-1", "rd4-1f", "eth0", "xrd4-1f-1"] {
            assert!(!is_our_name(name, 31), "{name}");
        }
    }

    #[test]
    fn an_alias_brings_back_what_was_recorded() {
        let before = ArpConduct { ignore: 0, announce: -1 };
        let alias = format!("redirectd group 1 on eth0, before: {}", Conduct(before));
        let mut link = Link::read(&LinkMessage::default());
        assert_eq!(link.recorded(), None);

        link.alias = Some(alias);
        assert_eq!(link.recorded(), Some(before));

        for alias in ["", "before: ", "before: arp_ignore=1", "before: arp_ignore=x arp_announce=0"] {
            link.alias = Some(alias.to_owned());
            assert_eq!(link.recorded(), None, "{alias}");
        }
    }

    #[test]
    fn addresses_bring_no_network_except_link_local_ones() {
        for (vip, prefix, brings_network) in
            [("10.50.0.5", 32, false), ("fd50::5", 128, false), ("fe80::5:73ff:fea0:1", 64, true)]
        {
            let message = address(7, vip.parse().unwrap());
            let flags = message.attributes.iter().find_map(|attribute| {
                if let AddressAttribute::Flags(flags) = attribute { Some(*flags) } else { None }
            });

            assert_eq!(message.header.prefix_len, prefix, "{vip}");
            assert_eq!(flags.unwrap().contains(AddressFlags::Noprefixroute), !brings_network, "{vip}");
        }
    }

    #[test]
    fn refusals_name_each_address() {
        let refused = [
            ("10.50.0.5".parse().unwrap(), io::Error::from_raw_os_error(13)),
            ("fd50::5".parse().unwrap(), io::Error::from_raw_os_error(95)),
        ];

        let text = Refusals(&refused).to_string();

        assert!(text.starts_with("10.50.0.5: Permission denied (os error 13), fd50::5: "), "{text}");
    }
}

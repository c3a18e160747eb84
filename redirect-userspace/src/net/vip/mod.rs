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
//! - The kernel carries out every order before the call returns. There is nothing to wait for,
//!   except for the macvlan to be switched off, which takes 15 ms and is left to a thread.

mod orders;

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use tracing::warn;

use super::ethernet::announcements;
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
    /// Whether the macvlan is on, or may be.
    is_on: bool,
    switch: OffSwitch,
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
        let switch = OffSwitch::Idle(Netlink::open().context("opening a netlink socket")?);
        let device = make_ready(&mut netlink, place)
            .with_context(|| format!("preparing group {} on interface {}", place.group, place.interface))?;
        Ok(Self { netlink, place, device, held: Vec::new(), is_on: false, switch })
    }

    /// Takes `vips`, and lets go of those that were held and are not among them. Nothing happens
    /// to those that are held already.
    ///
    /// A macvlan that has vanished, at the hands of the guard after the daemon had hung for
    /// instance, is made again.
    ///
    /// # Errors
    ///
    /// The kernel refuses addresses, all of which are then named; the others are held.
    pub fn acquire(&mut self, vips: &[IpAddr]) -> Result<()> {
        self.switch.wait();
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

    /// The frames that tell the link where the addresses are now. To be sent on the interface, not
    /// on the macvlan.
    #[must_use]
    pub fn announcements(&self) -> Vec<Vec<u8>> {
        let Device { mac, is_router, .. } = self.device;
        self.held.iter().flat_map(|vip| announcements(mac, *vip, is_router)).collect()
    }

    /// Lets go of the addresses. What is not there does not matter.
    ///
    /// # Errors
    ///
    /// The kernel refuses to remove addresses, which are then named: they may still be ours.
    pub fn release(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let orders = held.iter().map(|vip| orders::remove(self.device.index, *vip)).collect();
        let results = self.netlink.carry_out(orders).context("asking the kernel")?;
        if std::mem::take(&mut self.is_on) {
            self.switch.press(self.device.index);
        }
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
        self.switch.wait();
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

    /// The MAC address that the virtual addresses are at. With `use-bia`, the one that the
    /// interface had when this was prepared.
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
        let index = self.device.index;
        let mut all: Vec<Order> = stale.iter().map(|vip| orders::remove(index, *vip)).collect();
        let has_macvlan = self.place.virtual_mac.is_some();
        if has_macvlan {
            // On first: an IPv6 address on an interface that is off joins no group and would not
            // be found.
            all.push(orders::switched(index, true));
            self.is_on = true;
        }
        let leading = all.len();
        all.extend(vips.iter().map(|vip| orders::add(index, *vip)));
        let mut results = self.netlink.carry_out(all).context("asking the kernel")?;
        let for_vips = results.split_off(leading.min(results.len()));
        if has_macvlan && let Some(Err(error)) = results.pop() {
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
}

/// Switches the macvlan off without making anybody wait. The kernel waits meanwhile until no
/// processor uses the macvlan any more.
enum OffSwitch {
    Idle(Netlink),
    Busy(JoinHandle<Netlink>),
    /// Its thread could not be started, or has ended in disorder.
    Broken,
}

impl OffSwitch {
    fn press(&mut self, index: u32) {
        self.wait();
        let Self::Idle(mut netlink) = std::mem::replace(self, Self::Broken) else { return };
        let work = move || {
            match netlink.do_one(orders::switched(index, false)) {
                Ok(()) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => warn!(%error, "the macvlan of a virtual MAC stays on"),
            }
            netlink
        };
        match thread::Builder::new().name("vip-off".to_owned()).spawn(work) {
            Ok(thread) => *self = Self::Busy(thread),
            Err(error) => warn!(%error, "the macvlan of a virtual MAC stays on"),
        }
    }

    /// Waits until the macvlan is off.
    fn wait(&mut self) {
        *self = match std::mem::replace(self, Self::Broken) {
            Self::Busy(thread) => thread.join().map_or(Self::Broken, Self::Idle),
            Self::Broken => Netlink::open().map_or(Self::Broken, Self::Idle),
            idle @ Self::Idle(_) => idle,
        };
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
        match netlink.do_one(orders::remove_prefix(interface, found.address, found.prefix)) {
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
    netlink.do_one(orders::create(place.interface, mac, &name)).with_context(|| {
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

/// Settles who answers for what. On the macvlan and on the interface, ARP is answered for the
/// addresses of that one only (`arp_ignore`): otherwise the interface would give its own MAC for
/// the VIP, and the macvlan the virtual one for everything else. The interface does not name the
/// VIP when it asks others (`arp_announce`): they would learn its own MAC for it.
fn set_up(netlink: &mut Netlink, parent: &Link, link: &Link, place: Place, before: ArpConduct) -> Result<()> {
    // First, so that what is changed next can be undone whatever happens.
    let alias = format!("redirectd group {} on {}, before: {}", place.group, parent.name, Conduct(before));
    netlink.do_one(orders::alias(link.index, alias)).context("noting how ARP was set up")?;

    netlink.do_one(orders::secluded(link.index)).context("setting up ARP on the macvlan")?;
    let now = ArpConduct { ignore: before.ignore.max(1), announce: before.announce.max(2) };
    if parent.arp != now {
        let done = netlink.do_one(orders::arp(parent.index, now));
        done.with_context(|| format!("setting up ARP on {}", parent.name))?;
    }

    // Its only addresses are the virtual ones.
    match netlink.do_one(orders::without_link_local(link.index)) {
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
        match netlink.do_one(orders::arp(parent, before)) {
            Ok(()) => {}
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error).context("restoring the interface's conduct in ARP"),
        }
    }
    links.iter().try_for_each(|link| delete(netlink, link))
}

fn delete(netlink: &mut Netlink, link: &Link) -> Result<()> {
    match netlink.do_one(orders::delete(link.index)) {
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
#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::LinkMessage;

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
    fn refusals_name_each_address() {
        let refused = [
            ("10.50.0.5".parse().unwrap(), io::Error::from_raw_os_error(13)),
            ("fd50::5".parse().unwrap(), io::Error::from_raw_os_error(95)),
        ];

        let text = Refusals(&refused).to_string();

        assert!(text.starts_with("10.50.0.5: Permission denied (os error 13), fd50::5: "), "{text}");
    }
}

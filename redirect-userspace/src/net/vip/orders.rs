//! The orders to the kernel that virtual addresses are made of.

use std::net::IpAddr;

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

use super::ADDRESS_PROTOCOL;
use crate::hsrp::MacAddress;
use crate::net::netlink::{ArpConduct, Order};

/// Makes a macvlan with the MAC address `mac` on `parent`, switched off.
pub(super) fn create(parent: u32, mac: MacAddress, name: &str) -> Order {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(parent),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
        ]),
    ];
    Order { message: RouteNetlinkMessage::NewLink(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Deletes an interface.
pub(super) fn delete(index: u32) -> Order {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Order::new(RouteNetlinkMessage::DelLink(message))
}

/// Switches an interface on or off.
pub(super) fn switched(index: u32, on: bool) -> Order {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if on {
        message.header.flags = LinkFlags::Up;
    }
    Order::new(RouteNetlinkMessage::SetLink(message))
}

/// Notes something on an interface, for whoever finds it.
pub(super) fn alias(index: u32, text: String) -> Order {
    set(index, LinkAttribute::IfAlias(text))
}

/// Makes a macvlan answer ARP for its own addresses only, and take in requests whose answers leave
/// by its parent, as the strict filter for reverse paths would not.
pub(super) fn secluded(index: u32) -> Order {
    conduct(index, &[(ARP_IGNORE, 1), (ARP_ANNOUNCE, 2), (RP_FILTER, RP_FILTER_LOOSE)])
}

/// Sets an interface's conduct in ARP.
pub(super) fn arp(index: u32, to: ArpConduct) -> Order {
    conduct(index, &[(ARP_IGNORE, to.ignore), (ARP_ANNOUNCE, to.announce)])
}

/// Keeps an interface from giving itself a link-local address.
pub(super) fn without_link_local(index: u32) -> Order {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    set(index, LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]))
}

/// Adds a virtual address. Twice is once.
pub(super) fn add(index: u32, vip: IpAddr) -> Order {
    Order {
        message: RouteNetlinkMessage::NewAddress(address(index, vip)),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// Removes a virtual address.
pub(super) fn remove(index: u32, vip: IpAddr) -> Order {
    Order::new(RouteNetlinkMessage::DelAddress(address(index, vip)))
}

/// Removes an address that has this prefix, whatever a virtual one would have.
pub(super) fn remove_prefix(index: u32, vip: IpAddr, prefix: u8) -> Order {
    let mut message = address(index, vip);
    message.header.prefix_len = prefix;
    Order::new(RouteNetlinkMessage::DelAddress(message))
}

fn set(index: u32, attribute: LinkAttribute) -> Order {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(attribute);
    Order::new(RouteNetlinkMessage::SetLink(message))
}

/// Writes settings under `net.ipv4.conf`, by their numbers. Netlink can do so where `/proc/sys` is
/// read-only, as it is in most containers.
fn conduct(index: u32, settings: &[(u16, i32)]) -> Order {
    let settings: Vec<DefaultNla> = settings
        .iter()
        .map(|(setting, value)| DefaultNla::new(*setting, value.to_ne_bytes().to_vec()))
        .collect();
    let mut octets = vec![0; settings.as_slice().buffer_len()];
    settings.as_slice().emit(&mut octets);
    let settings = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, octets));
    set(index, LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])]))
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
}

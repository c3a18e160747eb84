//! Routes into a tunnel that its own packets do not take.
//!
//! A network that the tunnel's gateway is in itself is led into the tunnel by a table of its own. Packets
//! of sockets with our mark never look there, whatever becomes of addresses and routes; all others look
//! there after those routes of the main table that lead to fewer addresses.
//!
//! # Invariants
//!
//! - Rules that a daemon has left behind, which the kernel keeps, lead to an empty table. The next
//!   one removes them.
//!
//! # Picture
//!
//! ```text
//! 14500  our mark            ─▶ main
//! 14501… to the network      ─▶ main, if its route leads to fewer addresses
//!        to the network      ─▶ 4500: the tunnel
//! 32766  everything          ─▶ main
//! ```

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::{RouteHeader, RouteProtocol};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, Order};
use super::tun::{Prefix, ROUTE_PROTOCOL};

/// Marks what the tunnels' own sockets send.
pub const MARK: u32 = 0x1194;
/// The table of routes that those do not take.
pub(super) const TABLE: u32 = 4_500;

/// Has the table looked at for a network.
///
/// # Errors
///
/// The kernel's: it may know one table only.
pub(super) fn add(netlink: &mut Netlink, prefix: Prefix) -> io::Result<()> {
    let rules = [marked(prefix), before(prefix), into(prefix)];
    let order =
        |rule| Order { message: RouteNetlinkMessage::NewRule(rule), flags: NLM_F_CREATE | NLM_F_EXCL };
    for result in netlink.carry_out(rules.map(order).into())? {
        match result {
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
            other => other?,
        }
    }
    Ok(())
}

/// No longer.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(super) fn remove(netlink: &mut Netlink, prefix: Prefix) -> io::Result<()> {
    let order = |rule| Order::new(RouteNetlinkMessage::DelRule(rule));
    // What is not there need not be removed. The mark leads to where everything is led anyway.
    netlink.carry_out([before(prefix), into(prefix)].map(order).into()).map(drop)
}

/// Removes every rule of ours.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(super) fn clear(netlink: &mut Netlink) -> io::Result<()> {
    let is_ours = |rule: &RuleMessage| {
        rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)))
    };
    let ours = netlink.rules()?.into_iter().filter(is_ours);
    let orders = ours.map(|rule| Order::new(RouteNetlinkMessage::DelRule(rule))).collect();
    netlink.carry_out(orders).map(drop)
}

fn marked(prefix: Prefix) -> RuleMessage {
    let main = RuleAttribute::Table(RouteHeader::RT_TABLE_MAIN.into());
    let everything = Prefix { length: 0, ..prefix };
    rule(everything, FIRST, vec![main, RuleAttribute::FwMark(MARK), RuleAttribute::FwMask(u32::MAX)])
}

fn before(prefix: Prefix) -> RuleMessage {
    let main = RuleAttribute::Table(RouteHeader::RT_TABLE_MAIN.into());
    rule(prefix, place(prefix), vec![main, RuleAttribute::SuppressPrefixLen(prefix.length.into())])
}

fn into(prefix: Prefix) -> RuleMessage {
    rule(prefix, place(prefix) + 1, vec![RuleAttribute::Table(TABLE)])
}

/// Where the rules of a network stand: those of fewer addresses first.
fn place(prefix: Prefix) -> u32 {
    FIRST + 1 + 2 * u32::from(u8::MAX.saturating_sub(prefix.length))
}

fn rule(prefix: Prefix, priority: u32, mut attributes: Vec<RuleAttribute>) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = match prefix.network {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    rule.header.action = RuleAction::ToTable;
    rule.header.dst_len = prefix.length;
    if prefix.length > 0 {
        attributes.push(RuleAttribute::Destination(prefix.network));
    }
    attributes.push(RuleAttribute::Priority(priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)));
    rule.attributes = attributes;
    rule
}

/// Before those that every machine has, and after that of its own addresses.
const FIRST: u32 = 14_500;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(network: &str, length: u8) -> Prefix {
        Prefix { network: network.parse().unwrap(), length }
    }

    #[test]
    fn the_rules_of_fewer_addresses_stand_first() {
        let (host, net, all) = (prefix("10.1.1.1", 32), prefix("10.0.0.0", 8), prefix("0.0.0.0", 0));

        assert!(FIRST < place(host) && place(host) + 1 < place(net) && place(net) + 1 < place(all));
        assert!(place(all) + 1 < 32_766, "before the main table");
        assert!(place(prefix("fd00::1", 128)) > FIRST);
    }

    #[test]
    fn everything_has_no_destination() {
        for all in [prefix("0.0.0.0", 0), prefix("::", 0)] {
            let has = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Destination(_));
            assert!(!into(all).attributes.iter().any(has));
            assert!(into(all).attributes.contains(&RuleAttribute::Table(TABLE)));
        }
    }
}

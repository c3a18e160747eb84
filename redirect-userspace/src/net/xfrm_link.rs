//! The interface through which packets reach the SAs of the kernel data plane, and leave them: an
//! xfrm interface, to which SAs and policies belong by a number. Addresses and routes are its like a
//! TUN interface's.

use std::io;

use anyhow::Context as _;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoXfrm, LinkAttribute, LinkInfo, LinkMessage};

use super::netlink::{Netlink, Order, Which};
use super::tun::Tun;

/// Makes an xfrm interface with this number and switches it on.
///
/// # Errors
///
/// The name or the number is taken, the kernel has no such interfaces, or it takes rights that this
/// process does not have.
pub fn create(name: &str, mtu: u16, if_id: u32) -> anyhow::Result<Tun> {
    let mut netlink = Netlink::open().context("asking the kernel for interfaces")?;
    // Kernels before 6.1.9 refuse one without a device below it: the loopback device carries nothing.
    let below = netlink.link(Which::Name("lo"))?.map_or(1, |link| link.index);
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Xfrm),
            LinkInfo::Data(InfoData::Xfrm(vec![InfoXfrm::Link(below), InfoXfrm::IfId(if_id)])),
        ]),
    ];
    netlink
        .do_one(Order { message: RouteNetlinkMessage::NewLink(message), flags: NLM_F_CREATE | NLM_F_EXCL })
        .map_err(|error| match error.raw_os_error() {
            Some(nix::libc::EOPNOTSUPP) => {
                anyhow::anyhow!("the kernel has no xfrm interfaces (module xfrm_interface)")
            }
            Some(nix::libc::EEXIST) => {
                anyhow::anyhow!(
                    "there is an interface of this name, or an xfrm interface with if_id {if_id:#x}"
                )
            }
            _ => error.into(),
        })
        .with_context(|| format!("making the xfrm interface {name}"))?;
    Tun::switched_on(name, mtu, &mut netlink)
}

/// Removes an xfrm interface of this name and number; says whether there was one.
///
/// # Errors
///
/// The kernel refuses.
pub fn remove(name: &str, if_id: u32) -> anyhow::Result<bool> {
    let mut netlink = Netlink::open().context("asking the kernel for interfaces")?;
    let Some(link) = netlink.link(Which::Name(name))?.filter(|link| link.xfrm == Some(if_id)) else {
        // One of this name is another's.
        return Ok(false);
    };
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    let removed = netlink.do_one(Order::new(RouteNetlinkMessage::DelLink(message)));
    removed.map(|()| true).with_context(|| format!("removing the xfrm interface {name}"))
}

/// What has come in through the interface, and what has gone out.
///
/// # Errors
///
/// The kernel's.
pub fn usage(name: &str) -> io::Result<Usage> {
    let counts = Netlink::open()?.counts(Which::Name(name))?;
    let [packets_in, packets_out, bytes_in, bytes_out] = counts.unwrap_or_default();
    Ok(Usage { bytes_in, bytes_out, packets_in, packets_out })
}

/// Packets and octets of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Octets that came in.
    pub bytes_in: u64,
    /// Octets that went out.
    pub bytes_out: u64,
    /// Packets that came in.
    pub packets_in: u64,
    /// Packets that went out.
    pub packets_out: u64,
}

//! What the kernel says about an interface, by rtnetlink.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has a hundred attributes; we read four")]

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp};

/// What decides how the fast path can be brought to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface number.
    pub index: u32,
    /// Frames start with an Ethernet header.
    pub is_ethernet: bool,
    /// Number of the XDP program that the interface carries.
    pub xdp_program: Option<u32>,
    /// For a veth: whether its far end is known to carry an XDP program. `None` for other kinds.
    pub far_end_has_xdp: Option<bool>,
}

/// Looks at an interface of this network namespace.
///
/// # Errors
///
/// There is no such interface, or the kernel refuses the question.
pub async fn inspect(name: &str) -> Result<Link> {
    let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
    let driver = tokio::spawn(connection);
    let link = with_handle(&handle, name).await;
    driver.abort();
    link
}

async fn with_handle(handle: &Handle, name: &str) -> Result<Link> {
    let message = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    let Some(message) = message.with_context(|| format!("there is no interface {name}"))? else {
        bail!("there is no interface {name}")
    };
    let far_end_has_xdp =
        if is_veth(&message) { Some(far_end_has_xdp(handle, &message).await) } else { None };
    Ok(Link {
        index: message.header.index,
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        xdp_program: xdp_program(&message),
        far_end_has_xdp,
    })
}

/// The far end is in this namespace, or in one that the kernel has a number for; in any other
/// case nothing is known about it, which counts as no.
async fn far_end_has_xdp(handle: &Handle, near: &LinkMessage) -> bool {
    let mut request = handle.link().get();
    let mut has_far_end = false;
    for attribute in &near.attributes {
        match attribute {
            LinkAttribute::Link(index) => {
                request = request.match_index(*index);
                has_far_end = true;
            }
            LinkAttribute::LinkNetNsId(id) => {
                request.message_mut().attributes.push(LinkAttribute::IfNetnsId(*id));
            }
            _ => {}
        }
    }
    if !has_far_end {
        return false;
    }
    match request.execute().try_next().await {
        Ok(Some(far)) => xdp_program(&far).is_some(),
        Ok(None) | Err(_) => false,
    }
}

fn is_veth(message: &LinkMessage) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)))
        }
        _ => false,
    })
}

fn xdp_program(message: &LinkMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().find_map(|part| match part {
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id)
                if *id != 0 =>
            {
                Some(*id)
            }
            _ => None,
        }),
        _ => None,
    })
}

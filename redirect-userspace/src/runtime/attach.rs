//! Bringing the fast path to the interfaces, and keeping it there.

use anyhow::{Context as _, Result, bail};
use nix::net::if_::if_nametoindex;

use crate::config::{InterfaceName, Mode};
use crate::control::{AttachMode, Attachment};
use crate::fastpath::guard::{Order, XdpMode};
use crate::fastpath::xdp::program_name;
use crate::net::link::inspect;

use super::guard::Guard;
use super::plan::plan;

/// One interface of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: InterfaceName,
    /// Number and mode while the XDP program is attached.
    pub(super) xdp: Option<(u32, XdpMode)>,
    /// Why it is as it is.
    pub(super) why: String,
}

impl Interface {
    /// For `show redirect`.
    pub(super) fn view(&self, program_id: Option<u32>, is_listening: bool) -> Option<Attachment> {
        let (mode, program_id) = match self.xdp {
            Some((_, XdpMode::Native)) => (AttachMode::Native, program_id),
            Some((_, XdpMode::Generic)) => (AttachMode::Generic, program_id),
            None if is_listening => (AttachMode::Userspace, None),
            None => return None,
        };
        Some(Attachment { interface: self.name.to_string(), mode, program_id, why: self.why.clone() })
    }

    /// Whether the interface has gone, or another one has taken its name.
    pub(super) fn is_gone(&self) -> bool {
        self.xdp.is_some_and(|(index, _)| if_nametoindex(self.name.as_str()) != Ok(index))
    }
}

/// Attaches to one interface in the best way there is. The result's `xdp` is `None` when sockets
/// have to serve it.
///
/// # Errors
///
/// The interface does not exist, carries another program, or takes the program in no mode that
/// the configuration allows.
pub(super) async fn attach(
    name: &InterfaceName,
    mode: Mode,
    guard: Option<&mut Guard>,
    no_xdp: Option<&str>,
) -> Result<Interface> {
    let link = inspect(name.as_str()).await.context("fast-path.interfaces")?;
    let plan = plan(mode, &link);
    let interface = |xdp, why: String| Interface { name: name.clone(), xdp, why };
    let mut refusals = Vec::new();
    match guard {
        Some(guard) => {
            if let Some(id) = link.xdp_program.filter(|_| !plan.attempts.is_empty()) {
                let program = program_name(id).unwrap_or_else(|| "unknown".to_owned());
                bail!(
                    "fast-path.interfaces: {name} already carries the XDP program {program} (id {id}), \
                     which is left alone: detach it or take {name} off the list"
                );
            }
            for (mode, why) in plan.attempts {
                match guard.order(Order::Attach { interface: link.index, mode }).await {
                    Ok(()) => {
                        let why = match refusals.last() {
                            Some(refusal) => format!("{why}: {refusal}"),
                            None => why.to_owned(),
                        };
                        return Ok(interface(Some((link.index, mode)), why));
                    }
                    Err(error) => refusals.push(format!("{mode}: {error:#}")),
                }
            }
        }
        None => refusals.extend(no_xdp.map(ToOwned::to_owned)),
    }
    match plan.userspace {
        Some(why) if refusals.is_empty() => Ok(interface(None, why.to_owned())),
        Some(why) => Ok(interface(None, format!("{why}: {}", refusals.join("; ")))),
        None => bail!("fast-path.interfaces: {name} does not take the XDP program: {}", refusals.join("; ")),
    }
}

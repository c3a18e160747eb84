//! The fast paths in use: the XDP program's maps, and the tables of the userspace fallback.
//!
//! Both hold the same; every change goes to both.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use common::gate::Asked;
use common::maps::{Gate, Gateway, LlgTable, Prefix, Vip};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::config::{Config, Mode};
use crate::fastpath::memory::{MemoryTables, SharedTables};
use crate::fastpath::userspace::{Discard, Keep, Options, Userspace};
use crate::fastpath::xdp::{XdpMaps, embedded_object, unpin};
use crate::fastpath::{Counters, FastPath};

/// How often the gate has done something, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GateCounts {
    /// Cookies that it has asked for.
    pub(super) asked: u64,
    /// Requests that have brought a good one.
    pub(super) good: u64,
}

/// See the module.
pub(super) struct Paths {
    xdp: Option<XdpMaps>,
    tables: SharedTables,
    sockets: Option<Userspace>,
    /// Who gets what is not redirected by the sockets.
    keep: Arc<dyn Keep>,
    /// Why there is no XDP although it was wanted.
    pub(super) no_xdp: Option<String>,
}

impl Paths {
    /// Loads what the configuration needs, empty and disarmed.
    ///
    /// # Errors
    ///
    /// XDP was asked for by name and cannot be had.
    pub(super) fn load(config: &Config, multiplier: u64) -> Result<Self> {
        let tables = SharedTables::new(MemoryTables::new(multiplier));
        let mut paths = Self { xdp: None, tables, sockets: None, keep: Arc::new(Discard), no_xdp: None };
        let wanted = config.fast_path.mode.needs_interfaces() || !config.fast_path.interfaces.is_empty();
        match config.fast_path.mode {
            Mode::Off | Mode::Userspace => {}
            Mode::Auto | Mode::Native | Mode::Generic if !wanted => {}
            Mode::Native | Mode::Generic => paths.xdp = Some(load_xdp(config, multiplier)?),
            Mode::Auto => match load_xdp(config, multiplier) {
                Ok(xdp) => paths.xdp = Some(xdp),
                Err(error) => paths.no_xdp = Some(format!("{error:#}")),
            },
        }
        Ok(paths)
    }

    /// Whether the XDP program is loaded.
    pub(super) const fn has_xdp(&self) -> bool {
        self.xdp.is_some()
    }

    /// The kernel's number of the XDP program.
    pub(super) fn program_id(&mut self) -> Option<u32> {
        self.xdp.as_mut().and_then(|xdp| xdp.program_id().ok())
    }

    /// From now on sockets that are opened hand over what they do not redirect.
    pub(super) fn set_keep(&mut self, keep: Arc<dyn Keep>) {
        self.keep = keep;
    }

    /// Opens sockets for the VIPs, or moves the open ones to them.
    ///
    /// # Errors
    ///
    /// A VIP cannot be bound.
    pub(super) fn listen(&mut self, vips: &[IpAddr]) -> Result<()> {
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Userspace::start(&self.tables, Arc::clone(&self.keep), Options::default())?,
        };
        self.sockets.insert(sockets).set_vips(vips)
    }

    /// Moves open sockets to the VIPs.
    ///
    /// # Errors
    ///
    /// A VIP cannot be bound.
    pub(super) fn relisten(&mut self, vips: &[IpAddr]) -> Result<()> {
        if self.sockets.is_some() { self.listen(vips) } else { Ok(()) }
    }

    /// Writes out what the XDP program has logged.
    pub(super) fn flush_log(&mut self) {
        if let Some(xdp) = &mut self.xdp {
            xdp.flush_log();
        }
    }

    /// Tells the sockets' threads that the core is alive.
    pub(super) fn beat(&self) {
        if let Some(sockets) = &self.sockets {
            sockets.beat();
        }
    }

    /// See [`XdpMaps::set_gated`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn set_gated(&mut self, addresses: &[Vip]) -> Result<u32> {
        self.xdp.as_mut().map_or(Ok(0), |xdp| xdp.set_gated(addresses))
    }

    /// See [`XdpMaps::set_gate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn set_gate(&mut self, gate: &Gate) -> Result<()> {
        self.xdp.as_mut().map_or(Ok(()), |xdp| xdp.set_gate(gate))
    }

    /// How often the gate has done something.
    ///
    /// # Errors
    ///
    /// The kernel refuses the read.
    pub(super) fn gate_counts(&self) -> Result<GateCounts> {
        let Some(xdp) = &self.xdp else { return Ok(GateCounts::default()) };
        Ok(GateCounts { asked: xdp.asked(Asked::Cookie)?, good: xdp.asked(Asked::Good)? })
    }

    /// Closes the sockets.
    pub(super) fn stop_listening(&mut self) {
        self.sockets = None;
    }

    /// Whether sockets are open.
    pub(super) const fn is_listening(&self) -> bool {
        self.sockets.is_some()
    }

    fn each(&mut self, mut change: impl FnMut(&mut dyn FastPath) -> Result<()>) -> Result<()> {
        if let Some(xdp) = &mut self.xdp {
            change(xdp)?;
        }
        change(&mut self.tables)
    }
}

impl FastPath for Paths {
    fn set_vips(&mut self, vips: &[Vip]) -> Result<()> {
        self.each(|path| path.set_vips(vips))
    }

    fn set_clients(&mut self, clients: &[Prefix]) -> Result<()> {
        self.each(|path| path.set_clients(clients))
    }

    fn set_gateway(&mut self, index: u32, gateway: &Gateway) -> Result<()> {
        self.each(|path| path.set_gateway(index, gateway))
    }

    fn publish(&mut self, table: &LlgTable) -> Result<()> {
        self.each(|path| path.publish(table))
    }

    fn arm(&mut self, armed: bool) -> Result<()> {
        self.each(|path| path.arm(armed))
    }

    fn counters(&self) -> Result<Counters> {
        let mut sum = FastPath::counters(&self.tables)?;
        if let Some(xdp) = &self.xdp {
            sum.add(&xdp.counters()?);
        }
        Ok(sum)
    }
}

fn load_xdp(config: &Config, multiplier: u64) -> Result<XdpMaps> {
    let pins = config.runtime.bpf_pin.as_path();
    let Some(object) = embedded_object() else {
        bail!("this redirectd was built without its eBPF program: build it with `cargo xtask build`")
    };
    if !is_on_bpf_file_system(pins) {
        bail!(
            "runtime.bpf-pin: {} is not on a BPF file system: `mount -t bpf bpf /sys/fs/bpf`",
            pins.display()
        )
    }
    // The control socket has shown that no other daemon lives, so these are a dead one's.
    unpin(pins);
    let with_log = config.fast_path.program_log;
    XdpMaps::load_with_log(object, multiplier, Some(pins), with_log).context("the XDP program")
}

/// Looks at the nearest directory that exists.
fn is_on_bpf_file_system(path: &Path) -> bool {
    path.ancestors()
        .find_map(|ancestor| statfs(ancestor).ok())
        .is_some_and(|statistics| statistics.filesystem_type() == BPF_FS_MAGIC)
}

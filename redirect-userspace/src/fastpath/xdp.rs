//! The XDP program and its maps, by aya.
//!
//! Maps are opened as octet arrays and converted with zerocopy, so that the layouts of
//! [`common::maps`] need no unsafe code here.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::maps::{Array, MapData, PerCpuArray, ProgramArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use common::gate::Asked;
use common::maps::{self, Control, Gate, Gateway, LlgTable, MAX_CLIENTS, MAX_VIPS, Prefix, Vip};
use common::reason::Reason;
use zerocopy::{FromBytes as _, Immutable, IntoBytes};

use super::{Counters, FastPath, rearrange};

/// Name of the program, as `bpftool prog` and `ip link` show it.
pub const PROGRAM: &str = "ikev2_redirect";
/// Name of the program that asks for cookies.
pub const GATE_PROGRAM: &str = "ikev2_cookie";
/// Name under which the program is pinned beside its maps.
pub const PROGRAM_PIN: &str = "program";

/// The eBPF object this binary was built with, if it was.
#[must_use]
pub const fn embedded_object() -> Option<&'static [u8]> {
    #[cfg(ebpf_object)]
    {
        Some(aya::include_bytes_aligned!(env!("REDIRECT_EBPF_OBJECT_PATH")))
    }
    #[cfg(not(ebpf_object))]
    {
        None
    }
}

/// The loaded program and its maps. Attaching it is [`super::guard`]'s business.
pub struct XdpMaps {
    ebpf: Ebpf,
    control: Control,
    llg: Array<MapData, [u8; size_of::<LlgTable>()]>,
    gateways: Array<MapData, [u8; size_of::<Gateway>()]>,
    vips: Array<MapData, [u8; size_of::<Vip>()]>,
    clients: Array<MapData, [u8; size_of::<Prefix>()]>,
    controls: Array<MapData, [u8; size_of::<Control>()]>,
    /// What `VIPS` and `CLIENTS` hold.
    vip_places: Vec<Vip>,
    client_places: Vec<Prefix>,
    gates: Array<MapData, [u8; size_of::<Gate>()]>,
    gated: Array<MapData, [u8; size_of::<Vip>()]>,
    /// What `GATED` holds.
    gated_places: Vec<Vip>,
    cookies: PerCpuArray<MapData, u64>,
    /// The way to the gate's program: the kernel forgets it with the last descriptor of the map.
    _programs: ProgramArray<MapData>,
    counters: PerCpuArray<MapData, u64>,
    redirects: PerCpuArray<MapData, u64>,
    /// Entries of `REDIRECTS` that can be other than zero: reading all of them costs a system
    /// call each.
    gateways_used: u32,
    /// What was counted when [`FastPath::counters`] was asked last.
    last: Mutex<Counters>,
    lines: Option<EbpfLogger<Lines>>,
}

impl XdpMaps {
    /// Loads the program into the kernel, disarmed. `multiplier` seeds the slot hash. With `pins`,
    /// program and maps are pinned in that directory, which must be on a BPF file system.
    ///
    /// # Errors
    ///
    /// No rights, an unreadable object, the kernel's verifier says no, or a pin exists already.
    pub fn load(object: &[u8], multiplier: u64, pins: Option<&Path>) -> Result<Self> {
        Self::load_with_log(object, multiplier, pins, false)
    }

    /// Like [`Self::load`], with the program's own log lines if wanted: [`Self::flush_log`].
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_with_log(
        object: &[u8],
        multiplier: u64,
        pins: Option<&Path>,
        with_log: bool,
    ) -> Result<Self> {
        // A constant for the verifier, which takes the code of lines below the level out.
        let level = if with_log { u8::MAX } else { 0 };
        let mut ebpf = EbpfLoader::new()
            .override_global(aya_log::LEVEL, &level, false)
            .load(object)
            .context("reading the eBPF object")?;
        program(&mut ebpf)?.load().context("loading the XDP program")?;
        if let Some(directory) = pins {
            pin(&mut ebpf, directory)?;
        }
        let programs = with_gate(&mut ebpf)?;
        let lines = with_log.then(|| EbpfLogger::init_with_logger(&mut ebpf, Lines)).transpose();
        let lines = lines.context("reading the program's log lines")?;
        let mut maps = Self {
            control: Control::new(multiplier),
            llg: open(&mut ebpf, maps::LLG)?,
            gateways: open(&mut ebpf, maps::GATEWAYS)?,
            vips: open(&mut ebpf, maps::VIPS)?,
            clients: open(&mut ebpf, maps::CLIENTS)?,
            controls: open(&mut ebpf, maps::CONTROL)?,
            gates: open(&mut ebpf, maps::GATE)?,
            gated: open(&mut ebpf, maps::GATED)?,
            gated_places: Vec::new(),
            cookies: open_per_cpu(&mut ebpf, maps::COOKIES)?,
            _programs: programs,
            counters: open_per_cpu(&mut ebpf, maps::COUNTERS)?,
            redirects: open_per_cpu(&mut ebpf, maps::REDIRECTS)?,
            last: Mutex::default(),
            vip_places: Vec::new(),
            client_places: Vec::new(),
            gateways_used: 0,
            lines,
            ebpf,
        };
        maps.write_control()?;
        Ok(maps)
    }

    /// The program, for a test run or for pinning.
    ///
    /// # Errors
    ///
    /// The object holds no such program.
    pub fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf)
    }

    /// Writes the lines that the program has logged since the last time to the log.
    pub fn flush_log(&mut self) {
        if let Some(lines) = &mut self.lines {
            lines.flush();
        }
    }

    /// The kernel's number of the program.
    ///
    /// # Errors
    ///
    /// The kernel refuses the question.
    pub fn program_id(&mut self) -> Result<u32> {
        Ok(self.program()?.info().context("asking for the program's number")?.id())
    }

    /// Reads one counter.
    ///
    /// # Errors
    ///
    /// The kernel refuses the read.
    pub fn packets(&self, reason: Reason) -> Result<u64> {
        Ok(self.counters.get(&reason.index(), 0).context("reading COUNTERS")?.iter().sum())
    }

    /// Replaces the addresses for which cookies are asked for, when they are; those beyond the room for
    /// them are left to the gateway.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update.
    pub fn set_gated(&mut self, addresses: &[Vip]) -> Result<u32> {
        let addresses = addresses.get(..MAX_VIPS).unwrap_or(addresses);
        for index in rearrange(&mut self.gated_places, addresses, Vip::EMPTY) {
            let address = self.gated_places.get(index).unwrap_or(&Vip::EMPTY);
            set(&mut self.gated, u32::try_from(index)?, address).context("writing GATED")?;
        }
        Ok(u32::try_from(self.gated_places.len())?)
    }

    /// Begins or ends asking for cookies, or changes their keys.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update.
    pub fn set_gate(&mut self, gate: &Gate) -> Result<()> {
        set(&mut self.gates, 0, gate).context("writing GATE")
    }

    /// How often the gate did so.
    ///
    /// # Errors
    ///
    /// The kernel refuses the read.
    pub fn asked(&self, asked: Asked) -> Result<u64> {
        Ok(self.cookies.get(&asked.index(), 0).context("reading COOKIES")?.iter().sum())
    }

    fn write_control(&mut self) -> Result<()> {
        set(&mut self.controls, 0, &self.control).context("writing CONTROL")
    }
}

/// Names of the pinned maps.
const MAPS: [&str; 11] = [
    maps::LLG,
    maps::GATEWAYS,
    maps::VIPS,
    maps::CLIENTS,
    maps::CONTROL,
    maps::COUNTERS,
    maps::REDIRECTS,
    maps::GATE,
    maps::GATED,
    maps::COOKIES,
    maps::PROGRAMS,
];

fn pin(ebpf: &mut Ebpf, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let failed = |name: &str| format!("pinning {}", directory.join(name).display());
    program(ebpf)?.pin(directory.join(PROGRAM_PIN)).with_context(|| failed(PROGRAM_PIN))?;
    for name in MAPS {
        let map = ebpf.map(name).ok_or_else(|| anyhow!("the object holds no map {name}"))?;
        map.pin(directory.join(name)).with_context(|| failed(name))?;
    }
    Ok(())
}

/// Removes the pins of [`XdpMaps::load`], and the directory if nothing else is in it.
pub fn unpin(directory: &Path) {
    for name in MAPS.into_iter().chain([PROGRAM_PIN]) {
        // A pin that is already gone is what we want.
        let _gone = std::fs::remove_file(directory.join(name));
    }
    let _kept_if_used = std::fs::remove_dir(directory);
}

impl FastPath for XdpMaps {
    fn set_vips(&mut self, vips: &[Vip]) -> Result<()> {
        ensure!(vips.len() <= MAX_VIPS, "{} VIPs, at most {MAX_VIPS} are possible", vips.len());
        for index in rearrange(&mut self.vip_places, vips, Vip::EMPTY) {
            let vip = self.vip_places.get(index).unwrap_or(&Vip::EMPTY);
            set(&mut self.vips, u32::try_from(index)?, vip).context("writing VIPS")?;
        }
        self.control.vips = u32::try_from(self.vip_places.len())?;
        self.write_control()
    }

    fn set_clients(&mut self, clients: &[Prefix]) -> Result<()> {
        let most = MAX_CLIENTS;
        ensure!(clients.len() <= most, "{} client prefixes, at most {most} are possible", clients.len());
        for index in rearrange(&mut self.client_places, clients, Prefix::EMPTY) {
            let prefix = self.client_places.get(index).unwrap_or(&Prefix::EMPTY);
            set(&mut self.clients, u32::try_from(index)?, prefix).context("writing CLIENTS")?;
        }
        self.control.clients = u32::try_from(self.client_places.len())?;
        self.write_control()
    }

    fn set_gateway(&mut self, index: u32, gateway: &Gateway) -> Result<()> {
        set(&mut self.gateways, index, gateway).with_context(|| format!("writing GATEWAYS[{index}]"))?;
        self.gateways_used = self.gateways_used.max(index.saturating_add(1));
        Ok(())
    }

    fn publish(&mut self, table: &LlgTable) -> Result<()> {
        set(&mut self.llg, table.generation & 1, table).context("writing LLG")?;
        self.control.generation = table.generation;
        self.write_control()
    }

    fn arm(&mut self, armed: bool) -> Result<()> {
        self.control.armed = u32::from(armed);
        self.write_control()
    }

    fn counters(&self) -> Result<Counters> {
        let mut counters = Counters::default();
        for (reason, packets) in Reason::ALL.iter().zip(&mut counters.packets) {
            *packets = self.packets(*reason)?;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let total = |counters: &Counters| counters.packets.get(Reason::Redirected.index() as usize).copied();
        // It was read before them: one that comes in between is found the next time.
        if total(&last) == total(&counters) && last.redirects.len() == self.gateways_used as usize {
            counters.redirects.clone_from(&last.redirects);
        } else {
            for index in 0..self.gateways_used {
                let redirects = self.redirects.get(&index, 0).context("reading REDIRECTS")?.iter().sum();
                counters.redirects.push(redirects);
            }
        }
        last.clone_from(&counters);
        Ok(counters)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    named(ebpf, PROGRAM)
}

fn named<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("the object holds no program {name}"))?;
    program.try_into().context("the program is not an XDP program")
}

/// Loads the gate's program, and shows the other one the way to it.
fn with_gate(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>> {
    let gate = named(ebpf, GATE_PROGRAM)?;
    gate.load().context("loading the XDP program that asks for cookies")?;
    let gate = gate.fd()?.try_clone()?;
    let Some(map) = ebpf.take_map(maps::PROGRAMS) else {
        bail!("the object holds no map {}", maps::PROGRAMS)
    };
    let mut programs =
        ProgramArray::try_from(map).with_context(|| format!("opening map {}", maps::PROGRAMS))?;
    programs.set(0, &gate, 0).context("writing PROGRAMS")?;
    Ok(programs)
}

fn open<const N: usize>(ebpf: &mut Ebpf, name: &str) -> Result<Array<MapData, [u8; N]>> {
    let Some(map) = ebpf.take_map(name) else { bail!("the object holds no map {name}") };
    Array::try_from(map).with_context(|| format!("opening map {name}"))
}

fn open_per_cpu(ebpf: &mut Ebpf, name: &str) -> Result<PerCpuArray<MapData, u64>> {
    let Some(map) = ebpf.take_map(name) else { bail!("the object holds no map {name}") };
    PerCpuArray::try_from(map).with_context(|| format!("opening map {name}"))
}

fn set<T, const N: usize>(map: &mut Array<MapData, [u8; N]>, index: u32, value: &T) -> Result<()>
where
    T: IntoBytes + Immutable,
{
    let octets = <[u8; N]>::read_from_bytes(value.as_bytes()).map_err(|_size| anyhow!("value size"))?;
    map.set(index, octets, 0)?;
    Ok(())
}

/// The name of a program in the kernel.
#[must_use]
pub fn program_name(id: u32) -> Option<String> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(ToOwned::to_owned))
}

/// Hands the program's log lines to the daemon's log.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, line: &log::Record<'_>) {
        tracing::warn!(target: "redirectd::xdp", "{}", line.args());
    }

    fn flush(&self) {}
}

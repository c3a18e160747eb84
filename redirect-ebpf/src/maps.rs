//! The maps, by the names and layouts of [`common::maps`].

use aya_ebpf::btf_maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use common::gate::{Asked, Gated};
use common::maps::{
    Control, Gate, Gateway, LlgTable, MAX_CLIENTS, MAX_GATEWAYS, MAX_VIPS, Prefix, Tables, Vip,
};
use common::reason::Reason;

#[btf_map]
static LLG: Array<LlgTable, 2> = Array::new();
#[btf_map]
static GATEWAYS: Array<Gateway, MAX_GATEWAYS> = Array::new();
#[btf_map]
static VIPS: Array<Vip, MAX_VIPS> = Array::new();
#[btf_map]
static CLIENTS: Array<Prefix, MAX_CLIENTS> = Array::new();
#[btf_map]
static CONTROL: Array<Control, 1> = Array::new();
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
pub(crate) static REDIRECTS: PerCpuArray<u64, MAX_GATEWAYS> = PerCpuArray::new();

#[btf_map]
static GATE: Array<Gate, 1> = Array::new();
#[btf_map]
static GATED: Array<Vip, MAX_VIPS> = Array::new();
#[btf_map]
pub(crate) static COOKIES: PerCpuArray<u64, { Asked::COUNT }> = PerCpuArray::new();
/// Where the gate's program is, once the daemon has put it there.
#[btf_map]
pub(crate) static PROGRAMS: ProgramArray<1> = ProgramArray::new();

/// The maps as the gate reads them.
pub(crate) struct Gates;

impl Gated for Gates {
    #[inline(always)]
    fn gate(&self) -> Option<&Gate> {
        GATE.get(0)
    }

    #[inline(always)]
    fn address(&self, index: u32) -> Option<&Vip> {
        GATED.get(index)
    }
}

/// Whether cookies are asked for.
#[inline(always)]
pub(crate) fn is_gated() -> bool {
    GATE.get(0).is_some_and(|gate| gate.control.armed != 0)
}

/// The maps as the decision reads them.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        CONTROL.get(0)
    }

    #[inline(always)]
    fn vip(&self, index: u32) -> Option<&Vip> {
        VIPS.get(index)
    }

    #[inline(always)]
    fn client(&self, index: u32) -> Option<&Prefix> {
        CLIENTS.get(index)
    }

    #[inline(always)]
    fn llg(&self, generation: u32) -> Option<&LlgTable> {
        LLG.get(generation & 1)
    }

    #[inline(always)]
    fn gateway(&self, index: u32) -> Option<&Gateway> {
        GATEWAYS.get(index)
    }
}

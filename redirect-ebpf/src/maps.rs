//! The maps, by the names and layouts of [`common::maps`].

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use common::maps::{Control, Gateway, LlgTable, MAX_CLIENTS, MAX_GATEWAYS, MAX_VIPS, Prefix, Tables, Vip};
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

//! Live frames: requests made in the kernel, sent over a veth pair, answered at its far end.
//!
//! # Picture
//!
//! ```text
//! BPF_PROG_TEST_RUN ─ generate ─ XDP_TX ─▶ near ══ veth ══▶ far: the program under test
//!                                count ◀── near ══ veth ══◀ XDP_TX
//! ```
//!
//! No socket and no `sk_buff` is involved, and all of it happens in the context of one thread:
//! one core. Frames that come back are counted, since a frame that a veth loses is lost silently
//! and would look like speed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use common::decide::{Verdict, decide};
use nix::net::if_::if_nametoindex;
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::fastpath::xdp::XdpMaps;
use redirect_userspace::testing::fixtures::World;

use crate::Objects;
use crate::cpu::{Cost, Meter};
use crate::program::{REQUEST_SIZE, become_world, value};

/// Frames per batch: what keeps the generator and the veth ends in step on one core.
const BATCH: u32 = 64;
/// Octets the kernel is given beyond the request: see `generate`.
const SURPLUS: usize = 8;

/// What the far end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Far {
    /// Redirects.
    Redirect,
    /// Swaps the MAC addresses and sends the frame back.
    MacSwap,
    /// Counts the frame and drops it.
    Drop,
}

/// Both ends of the veth pair, which must be in the calling thread's namespace.
pub(crate) struct Live {
    /// The program under test.
    pub(crate) maps: XdpMaps,
    /// What makes the frames.
    pub(crate) source: Source,
    far: Option<(Far, XdpLink)>,
    request: Array<MapData, [u8; REQUEST_SIZE]>,
}

/// The near end: makes frames and counts what arrives.
pub(crate) struct Source {
    programs: Ebpf,
    returned: PerCpuArray<MapData, u64>,
    frame: Vec<u8>,
    context: Vec<u8>,
    _near: XdpLink,
}

/// One run.
pub(crate) struct Run {
    /// CPU time per frame.
    pub(crate) cost: Cost,
    /// Frames that came back, or arrived, over frames sent.
    pub(crate) fraction: f64,
}

impl Live {
    /// Loads all programs and attaches the counting one to `near`.
    pub(crate) fn new(objects: &Objects, world: &World) -> Result<Self> {
        let mut maps = XdpMaps::load(&objects.redirect, world.control.multiplier, None)?;
        become_world(&mut maps, world)?;
        let mut programs = EbpfLoader::new().load(&objects.testing)?;
        for name in ["generate", "count", "mac_swap_only"] {
            program(&mut programs, name)?.load()?;
        }
        let request = programs.take_map("REQUEST").ok_or_else(|| anyhow!("no map REQUEST"))?;
        let returned = programs.take_map("RETURNED").ok_or_else(|| anyhow!("no map RETURNED"))?;
        let near = attach(program(&mut programs, "count")?, "near")?;
        let source = Source {
            returned: PerCpuArray::try_from(returned)?,
            programs,
            frame: Vec::new(),
            context: Vec::new(),
            _near: near,
        };
        Ok(Self { maps, source, far: None, request: Array::try_from(request)? })
    }

    /// From now on sends this request.
    pub(crate) fn send(&mut self, request: &[u8], world: &World) -> Result<()> {
        let mut frame = request.to_vec();
        frame.resize(frame.len().next_multiple_of(8), 0);
        let mut reply = frame.clone();
        let Verdict::Redirect { length, .. } = decide(reply.as_mut_slice(), world) else {
            return Err(anyhow!("the request is not redirected"));
        };
        self.request.set(0, value(&frame, length)?, 0)?;
        frame.resize(frame.len() + SURPLUS, 0);
        self.source.context = context(u32::try_from(frame.len())?, if_nametoindex("near")?);
        self.source.frame = frame;
        Ok(())
    }

    /// From now on the far end does this.
    pub(crate) fn answer(&mut self, far: Far) -> Result<()> {
        if self.far.as_ref().is_some_and(|(now, _)| *now == far) {
            return Ok(());
        }
        self.far = None;
        let programs = &mut self.source.programs;
        let link = match far {
            Far::Redirect => attach(self.maps.program()?, "far")?,
            Far::MacSwap => attach(program(programs, "mac_swap_only")?, "far")?,
            Far::Drop => attach(program(programs, "count")?, "far")?,
        };
        self.far = Some((far, link));
        Ok(())
    }

    /// Sends `frames` frames and waits until all have come back, but not long.
    pub(crate) fn run(&mut self, far: Far, frames: u32) -> Result<Run> {
        self.answer(far)?;
        let answered = self.answered()?;
        let returned = self.source.returned()?;
        let meter = Meter::new(&[])?;
        let start = meter.read()?;
        self.source.run(frames)?;
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.source.returned()? - returned < u64::from(frames) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let cost = meter.cost(start, u64::from(frames))?;
        if far == Far::Redirect {
            let answered = self.answered()? - answered;
            ensure!(answered == u64::from(frames), "{answered} of {frames} frames were redirected");
        }
        Ok(Run { cost, fraction: (self.source.returned()? - returned) as f64 / f64::from(frames) })
    }

    fn answered(&self) -> Result<u64> {
        Ok(self.maps.counters()?.redirects.iter().sum())
    }
}

impl Source {
    /// Sends `frames` frames.
    pub(crate) fn run(&self, frames: u32) -> Result<()> {
        let generate: &Xdp =
            self.programs.program("generate").ok_or_else(|| anyhow!("no program generate"))?.try_into()?;
        generate
            .test_run(TestRunOptions {
                data_in: Some(&self.frame),
                ctx_in: Some(&self.context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("sending live frames")?;
        Ok(())
    }

    /// Frames that `count` has seen since it was loaded.
    fn returned(&self) -> Result<u64> {
        Ok(self.returned.get(&0, 0)?.iter().sum())
    }
}

/// Attaches a program natively.
pub(crate) fn attach(program: &mut Xdp, interface: &str) -> Result<XdpLink> {
    let link =
        program.attach(interface, XdpMode::Driver).with_context(|| format!("attaching to {interface}"))?;
    Ok(program.take_link(link)?)
}

/// A program of an object.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).ok_or_else(|| anyhow!("no program {name}"))?.try_into()?)
}

/// `struct xdp_md`: the frame's extent, and the interface it seems to come from.
fn context(length: u32, interface: u32) -> Vec<u8> {
    [0, length, 0, interface, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}

//! How soon a new table counts, and whether an old one ever counts again.
//!
//! One core sends requests without pause and redirects them; the other writes tables, all slots to
//! one gateway and then all to another, and watches the counters that the program keeps. The time
//! runs from before the first system call of `FastPath::publish` until a system call has read
//! that the new gateway has got a redirect, so all three system calls are in it.
//!
//! The old gateway is a member that was removed. A request may be half way through the program
//! when `publish` returns: decided on the old table, not yet counted. That is one for each core
//! with traffic, so one here. After the first redirect of the new table that core has nothing old
//! left, and from then until [`SETTLED`] redirects later not one may go to the old gateway.
//!
//! A swap during which one of the threads, or the kernel's for soft interrupts, had to wait for a
//! core tells about the machine's other programs. It is left out of the times, not of the counts,
//! and reported.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::maps::{Map, MapData, MapInfo, PerCpuArray};
use common::maps::{self, SLOTS};
use nix::unistd::{Pid, gettid};
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::fastpath::xdp::XdpMaps;
use redirect_userspace::testing::fixtures::{self, GATEWAY_ALL, GATEWAY_V4, World};

use crate::Objects;
use crate::cpu;
use crate::lab::{self, Namespace};
use crate::live::{Far, Live};
use crate::report::{Report, Samples};

/// Frames of the run: some seconds.
const FRAMES: u32 = 16 << 20;
/// Redirects between two swaps.
const SETTLED: u64 = 10_000;
/// Fewer swaps than this say nothing about the slowest of a hundred.
const LEAST: usize = 200;

pub(crate) fn run(report: &mut Report, objects: &Objects) -> Result<()> {
    let namespace = Namespace::new()?;
    lab::veth(&namespace, &namespace)?;
    namespace.enter(|| {
        lab::pin(crate::CLIENT_CORE)?;
        let world = World::towards(GATEWAY_ALL);
        let mut live = Live::new(objects, &world)?;
        live.send(&fixtures::v4().build(), &world)?;
        live.answer(Far::Redirect)?;
        let redirects = Redirects::of(&mut live.maps)?;
        let Live { maps, source, .. } = &mut live;
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let traffic = scope.spawn(move || {
                lab::pin(crate::RESPONDER_CORE)?;
                sender.send(gettid())?;
                source.run(FRAMES)
            });
            let mut threads = cpu::soft_interrupt_threads()?;
            threads.extend([gettid(), receiver.recv()?]);
            let mut swapping = Swapping { maps, world, redirects, threads };
            let swaps = swapping.until(|| traffic.is_finished());
            traffic.join().map_err(|_panic| anyhow!("the traffic's thread panicked"))??;
            swaps?.print(report)
        })
    })
}

#[derive(Default)]
struct Swaps {
    /// Times of the undisturbed swaps.
    microseconds: Samples,
    /// Times of all of them.
    every: Samples,
    /// Most that were under way during one swap.
    under_way: u64,
    stale: u64,
    redirects: u64,
}

impl Swaps {
    fn print(self, report: &mut Report) -> Result<()> {
        let what = "new table to first redirect";
        ensure!(self.microseconds.len() >= LEAST, "only {} undisturbed swaps", self.microseconds.len());
        report.tail(what, "p50", "us", &self.microseconds, 0.50, 1000.0, 50.0);
        report.tail(what, "p99", "us", &self.microseconds, 0.99, 1000.0, 50.0);
        report.info(what, "p99 of all", "us", &Samples::one(self.every.quantile(0.99)));
        let counts = [
            ("swaps", self.every.len()),
            ("swaps disturbed", self.every.len() - self.microseconds.len()),
            ("redirects", usize::try_from(self.redirects)?),
        ];
        for (case, count) in counts {
            report.info(what, case, "", &Samples::one(count as f64));
        }
        let what = "redirects to a removed gateway";
        report.figure(what, "under way", "most", &Samples::one(self.under_way as f64), 1.0, 1.0);
        report.exact(what, "afterwards", "in all", &Samples::one(self.stale as f64), 0.0);
        Ok(())
    }
}

struct Swapping<'a> {
    maps: &'a mut XdpMaps,
    world: World,
    redirects: Redirects,
    /// By whom a redirect can be held up.
    threads: Vec<Pid>,
}

impl Swapping<'_> {
    /// Swaps until the traffic ends.
    fn until(&mut self, has_ended: impl Fn() -> bool) -> Result<Swaps> {
        let mut swaps = Swaps::default();
        let (mut old, mut new) = (GATEWAY_ALL, GATEWAY_V4);
        if self.wait(old, SETTLED, &has_ended)?.is_none() {
            return Ok(swaps);
        }
        loop {
            let before = self.redirects.to(new)?;
            self.world.table.generation = self.world.table.generation.wrapping_add(1);
            self.world.table.gateway = [new; SLOTS];
            let waited = self.waited()?;
            let start = Instant::now();
            self.maps.publish(&self.world.table)?;
            let written = self.redirects.to(old)?;
            let Some(first) = self.wait(new, before, &has_ended)? else { return Ok(swaps) };
            let removed = self.redirects.to(old)?;
            let is_disturbed = self.waited()? != waited;
            let settled = self.wait(new, before + SETTLED, &has_ended)?;
            swaps.under_way = swaps.under_way.max(removed - written);
            swaps.stale += self.redirects.to(old)? - removed;
            swaps.redirects += self.redirects.to(new)? - before;
            let microseconds = (first - start).as_secs_f64() * 1e6;
            swaps.every.push(microseconds);
            if !is_disturbed {
                swaps.microseconds.push(microseconds);
            }
            if settled.is_none() {
                return Ok(swaps);
            }
            (old, new) = (new, old);
        }
    }

    /// When a gateway has more redirects than that; `None` when the traffic ended before.
    fn wait(&self, gateway: u16, redirects: u64, has_ended: impl Fn() -> bool) -> Result<Option<Instant>> {
        loop {
            if self.redirects.to(gateway)? > redirects {
                return Ok(Some(Instant::now()));
            }
            if has_ended() {
                return Ok(None);
            }
        }
    }

    /// How long the threads have waited for a core.
    fn waited(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in &self.threads {
            // The traffic's thread may have ended.
            let statistics = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
            sum += statistics.split_whitespace().nth(1).map_or(Ok(0), str::parse::<u64>)?;
        }
        Ok(sum)
    }
}

/// The program's counters of redirects, one gateway at a time.
struct Redirects(PerCpuArray<MapData, u64>);

impl Redirects {
    fn of(maps: &mut XdpMaps) -> Result<Self> {
        let ids = maps.program()?.info()?.map_ids()?.context("the kernel does not tell a program's maps")?;
        for id in ids {
            if MapInfo::from_id(id)?.name_as_str() == Some(maps::REDIRECTS) {
                return Ok(Self(PerCpuArray::try_from(Map::PerCpuArray(MapData::from_id(id)?))?));
            }
        }
        Err(anyhow!("the program has no map {}", maps::REDIRECTS))
    }

    fn to(&self, gateway: u16) -> Result<u64> {
        Ok(self.0.get(&u32::from(gateway), 0)?.iter().sum())
    }
}

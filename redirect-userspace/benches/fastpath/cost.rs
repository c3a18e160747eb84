//! Redirects per CPU-second: ours over a responder with sockets.
//!
//! # Accounting
//!
//! CPU time is that of everything that takes part: the bench with its client, the responder, the
//! kernel on behalf of either (see [`crate::cpu`]). A client costs far more than our answer does,
//! so it has to be taken off, and how that is done decides the ratio. Both ways are printed and
//! both have to meet the bar.
//!
//! | row | ours, per redirect | theirs, per redirect |
//! |---|---|---|
//! | `net` | live frames answered and returned, less the same frames dropped at the far end | closed loop, less the same client's requests dropped at the far end |
//! | `strict` | live frames answered and returned: nothing taken off, neither the generator nor the way there and back | closed loop, less the same closed loop answered by our XDP program: what remains is only what the responder costs beyond XDP |
//!
//! Where something is taken off, ours is reduced by the least that was measured and theirs by the
//! median. The closed loop leaves theirs with what is taken off and never with more: its client
//! sends in batches, which favours responders that read in batches.
//!
//! The same by the machine's idle time is printed without a bar: it counts the neighbours' work.

use anyhow::Result;
use nix::unistd::Pid;
use redirect_userspace::testing::fixtures::{self, GATEWAY_ALL, World};

use crate::Objects;
use crate::cpu::Cost;
use crate::lab::{self, Namespace};
use crate::live::{self, Live};
use crate::report::{Report, Samples};
use crate::sockets::{self, Sockets};

const ROUNDS: usize = 9;
const FRAMES: u32 = 1 << 20;
const REQUESTS: u64 = 30_000;

/// The world in which everybody answers.
pub(crate) fn world() -> World {
    World::towards(GATEWAY_ALL)
}

/// Costs by either clock.
#[derive(Default)]
struct Costs {
    own: Samples,
    machine: Samples,
}

impl Costs {
    fn push(&mut self, cost: Cost) {
        self.own.push(cost.own);
        self.machine.push(cost.machine);
    }
}

/// Measures a responder that already listens in `sockets.far`, and its `processes`.
pub(crate) fn compare(
    report: &mut Report,
    objects: &Objects,
    sockets: &mut Sockets,
    processes: &[Pid],
    case: &str,
    must: f64,
    aim: f64,
) -> Result<()> {
    let [mut answered, mut dropped, mut closed, mut redirected, mut thrown] =
        [const { Costs { own: Samples::new(), machine: Samples::new() } }; 5];
    let namespace = Namespace::new()?;
    lab::veth(&namespace, &namespace)?;
    namespace.enter(|| {
        lab::pin(crate::RESPONDER_CORE)?;
        let world = world();
        let mut live = Live::new(objects, &world)?;
        live.send(&fixtures::v4().build(), &world)?;
        for _ in 0..ROUNDS {
            answered.push(live.run(live::Far::Redirect, FRAMES)?.cost);
            closed.push(sockets.run(sockets::Far::Stack, REQUESTS, processes)?);
            dropped.push(live.run(live::Far::Drop, FRAMES)?.cost);
            redirected.push(sockets.run(sockets::Far::Redirect, REQUESTS, processes)?);
            thrown.push(sockets.run(sockets::Far::Drop, REQUESTS, processes)?);
        }
        Ok(())
    })?;

    let what = format!("redirects/CPU-s over {case}");
    let net = (rates(&answered.own, dropped.own.min()), rates(&closed.own, thrown.own.median()));
    report.rate(&what, "net", "/s", &net.0, &net.1, must, aim);
    let strict = (rates(&answered.own, 0.0), rates(&closed.own, redirected.own.median()));
    report.rate(&what, "strict", "/s", &strict.0, &strict.1, must, aim);
    for (row, costs) in [
        ("live, answered", answered),
        ("live, dropped", dropped),
        ("loop, responder", closed),
        ("loop, XDP", redirected),
        ("sent, dropped", thrown),
    ] {
        report.info(&what, row, "ns of CPU", &costs.own);
        report.info(&what, row, "ns of machine", &costs.machine);
    }
    Ok(())
}

/// Units per second of CPU, after something is taken off each.
fn rates(costs: &Samples, off: f64) -> Samples {
    let mut rates = Samples::new();
    for cost in costs.iter() {
        // A difference below the clocks' grain says nothing; one nanosecond keeps the sign.
        rates.push(1e9 / (cost - off).max(1.0));
    }
    rates
}

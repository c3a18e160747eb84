//! Rate on one core: our redirect over a bare MAC swap, live frames over a veth pair.
//!
//! The rate is frames per second of CPU time, generator and both veth crossings included in both
//! candidates. `floor` is the same without an answer: the far end drops.

use anyhow::Result;
use redirect_userspace::testing::fixtures::{self, GATEWAY_ALL, World};

use crate::Objects;
use crate::lab::{self, Namespace};
use crate::live::{Far, Live};
use crate::report::{Report, Samples};

const ROUNDS: usize = 11;
const FRAMES: u32 = 1 << 20;

pub(crate) fn run(report: &mut Report, objects: &Objects) -> Result<()> {
    let namespace = Namespace::new()?;
    lab::veth(&namespace, &namespace)?;
    namespace.enter(|| {
        lab::pin(crate::RESPONDER_CORE)?;
        let world = World::towards(GATEWAY_ALL);
        let mut live = Live::new(objects, &world)?;
        for (case, request, must, aim) in
            [("ipv4", fixtures::v4(), 0.75, 0.90), ("ipv6 with checksum", fixtures::v6(), 0.65, 0.80)]
        {
            live.send(&request.build(), &world)?;
            compare(report, &mut live, case, must, aim)?;
        }
        Ok(())
    })
}

fn compare(report: &mut Report, live: &mut Live, case: &str, must: f64, aim: f64) -> Result<()> {
    let [mut ours, mut theirs, mut floor, mut returned] = [const { Samples::new() }; 4];
    for _ in 0..ROUNDS {
        for (far, samples) in
            [(Far::MacSwap, &mut theirs), (Far::Redirect, &mut ours), (Far::Drop, &mut floor)]
        {
            let run = live.run(far, FRAMES)?;
            samples.push(1e9 / run.cost.own);
            returned.push(run.fraction);
        }
    }
    report.rate("frames per core over MAC swap", case, "/s", &ours, &theirs, must, aim);
    report.exact("frames that came back", case, "of all", &returned, 1.0);
    report.info("generator and drop alone", case, "/s", &floor);
    Ok(())
}

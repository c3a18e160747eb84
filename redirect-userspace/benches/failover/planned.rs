//! The one that answers leaves in order: its gap over that of a crash.

use std::time::Duration;

use anyhow::Result;

use crate::Effort;
use crate::ours::{Leaving, Ours};
use crate::report::{Report, Samples};
use crate::turn::{Contender, turn};
use crate::vrrp::{self, Vrrp};

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let mut crash = Ours::start(Leaving::Crash)?;
    let mut stop = Ours::start(Leaving::Stop)?;
    let mut lower = Ours::start(Leaving::Lower)?;
    let mut vrrp = Vrrp::start(Duration::from_millis(10), vrrp::Leaving::Resign)?;
    let [mut crashes, mut stops, mut lowers, mut resigns] = [const { Samples::new() }; 4];
    for number in 0..effort.of(30, 5) {
        let contenders: [(&mut dyn Contender, &mut Samples); 4] = [
            (&mut crash, &mut crashes),
            (&mut stop, &mut stops),
            (&mut lower, &mut lowers),
            (&mut vrrp, &mut resigns),
        ];
        for (contender, samples) in contenders {
            samples.push(turn(contender, number)?.time.as_secs_f64() * 1e6);
        }
    }
    report.info("planned: gap of a crash", crash.name(), "us", &crashes);
    for (contender, samples) in [(&stop, &stops), (&lower, &lowers)] {
        report.info("planned: gap", contender.name(), "us", samples);
        let (case, ratios) = (contender.name(), [0.5, 0.99]);
        for share in ratios {
            let ratio = Samples::one(samples.quantile(share) / crashes.quantile(share));
            let what = format!("planned: p{:.0} gap over a crash's", share * 100.0);
            report.tail(&what, case, "", &ratio, share, 0.2, 0.04);
        }
    }
    report.info("planned: gap", "VRRPv3, SIGTERM", "us", &resigns);
    Ok(())
}

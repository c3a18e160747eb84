//! The one that answers is killed, or its node falls silent: the gap over the hold time, beside
//! keepalived's.
//!
//! Where only the daemon is killed, the kernel answers on until the guard takes the program away,
//! which shortens the gap; a silent node answers nobody from the first moment.

use std::time::Duration;

use anyhow::Result;

use crate::Effort;
use crate::ours::{self, Ours};
use crate::report::{Report, Samples};
use crate::turn::{Contender, turn};
use crate::vrrp::{self, Vrrp};

/// keepalived's intervals: its fastest, and ours.
const ADVERTS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(15)];

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    compare(report, effort, "crash", ours::Leaving::Crash, vrrp::Leaving::Crash)?;
    compare(report, effort, "silence", ours::Leaving::Silence, vrrp::Leaving::Silence)
}

fn compare(
    report: &mut Report,
    effort: Effort,
    event: &str,
    ours: ours::Leaving,
    theirs: vrrp::Leaving,
) -> Result<()> {
    let mut ours = Ours::start(ours)?;
    let mut others = Vec::new();
    for advert in ADVERTS {
        others.push((Vrrp::start(advert, theirs)?, Samples::new(), Samples::new()));
    }
    let [mut gaps, mut silences] = [const { Samples::new() }; 2];
    for number in 0..effort.of(50, 5) {
        measure(&mut ours, number, &mut gaps, &mut silences)?;
        for (contender, gaps, silences) in &mut others {
            measure(contender, number, gaps, silences)?;
        }
    }

    let hold = Ours::hold().as_secs_f64() * 1e6;
    let over_hold = scaled(&gaps, 1.0 / hold);
    let what = |figure: &str| format!("{event}: {figure}");
    report.tail(&what("gap over hold time"), "p99", "", &over_hold, 0.99, 1.3, 1.1);
    report.info(&what("gap"), ours.name(), "us", &gaps);
    report.info(&what("longest silence"), ours.name(), "us", &silences);
    for (contender, theirs, silences) in &others {
        let down = contender.master_down().as_secs_f64() * 1e6;
        report.info(&what("gap"), contender.name(), "us", theirs);
        report.info(&what("longest silence"), contender.name(), "us", silences);
        let over_down = scaled(theirs, 100.0 / down);
        report.info(&what("its gap over its down time"), contender.name(), "%", &over_down);
        let ratio = Samples::one(gaps.quantile(0.99) / theirs.quantile(0.99));
        let case = contender.name().to_owned();
        report.tail(&what("our p99 gap over its"), &case, "", &ratio, 0.99, 1.5, 1.5);
    }
    Ok(())
}

fn measure(
    contender: &mut dyn Contender,
    number: u32,
    gaps: &mut Samples,
    silences: &mut Samples,
) -> Result<()> {
    let gap = turn(contender, number)?;
    gaps.push(gap.time.as_secs_f64() * 1e6);
    silences.push(gap.silence.as_secs_f64() * 1e6);
    Ok(())
}

pub(crate) fn scaled(samples: &Samples, factor: f64) -> Samples {
    let mut scaled = Samples::new();
    samples.iter().for_each(|sample| scaled.push(sample * factor));
    scaled
}

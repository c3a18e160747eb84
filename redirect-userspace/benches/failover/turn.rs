//! One turn of a contender: the generator runs, the one that answers goes, another one answers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::gap::{Gap, Generator};
use xtask::lab::netns::Namespace;
use xtask::lab::topology::VIP4;

/// Requests per second: a lost one stands for a quarter of a millisecond.
const RATE: u32 = 4000;
/// The generator's time before the event, in which nothing may be lost.
const BEFORE: Duration = Duration::from_millis(150);
/// Its time after the event: several times the longest gap that is expected.
const AFTER: Duration = Duration::from_millis(600);

/// Who keeps the VIP answered.
pub(crate) trait Contender {
    /// What it is called in the table.
    fn name(&self) -> &str;

    /// Where requests come from.
    fn client(&self) -> (&Namespace, Ipv4Addr);

    /// Time between two signs of life of the one that answers.
    fn interval(&self) -> Duration;

    /// Finds out who answers.
    fn prepare(&mut self) -> Result<()>;

    /// Takes away the one that answers, in the manner that is measured.
    fn event(&mut self) -> Result<()>;

    /// What it knows about itself, for error messages.
    fn describe(&self) -> String;

    /// Brings back what the event has taken, and waits until the next one can come.
    fn restore(&mut self) -> Result<()>;
}

/// One turn of `number`: the gap.
pub(crate) fn turn(contender: &mut dyn Contender, number: u32) -> Result<Gap> {
    contender.prepare()?;
    let (namespace, local) = contender.client();
    let vip = IpAddr::V4(VIP4);
    let generator = Generator::start(namespace, local.into(), vip, RATE, u64::from(number) << 32)?;
    let due = BEFORE + phase(contender.interval(), number);
    until(&generator, due);
    let at = generator.elapsed();
    contender.event()?;
    until(&generator, at + AFTER);
    let record = generator.stop()?;
    let lost: Vec<_> = record
        .asked
        .iter()
        .filter(|asked| asked.at < at && asked.gateway.is_none())
        .map(|asked| asked.at)
        .collect();
    // Else the gap would contain what the event has not caused.
    ensure!(lost.is_empty(), "{}: lost before the event at {at:?}: {lost:?}", contender.name());
    let is_over = record.asked.last().is_some_and(|last| last.gateway.is_some());
    ensure!(
        is_over,
        "{}: nobody answers {AFTER:?} after the event in turn {number}: {:?}\n{}",
        contender.name(),
        record.gap(at),
        contender.describe()
    );
    contender.restore()?;
    Ok(record.gap(at))
}

/// A part of the interval that, over many turns, is spread evenly over all of it.
fn phase(interval: Duration, number: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    interval.mul_f64((f64::from(number) * GOLDEN).fract())
}

fn until(generator: &Generator, due: Duration) {
    let left = due.saturating_sub(generator.elapsed());
    std::thread::sleep(left);
}

//! What changes with the number of SAs: the time of a handshake, and memory.
//!
//! A gateway is filled once, and looked at on the way. charon needs several times as long to be
//! filled, and gets fewer SAs. Clients of the load generator send no packets, and our SAs prepare
//! their keys for the first one: what that takes is measured apart, in this process, and added.

use anyhow::{Context as _, Result};
use nix::unistd::Pid;
use redirect_userspace::crypto::cipher::{Encr, Protection, TrafficKeys};
use redirect_userspace::dataplane::esp::{HEADROOM, Inbound, Outbound, SequenceNumbers, TAILROOM};
use redirect_userspace::rng::Rng;

use crate::Effort;
use crate::meter::{memory, processor_time};
use crate::report::{Report, Samples};
use crate::responder::{Kind, Stage, Suite};

/// SAs at which the handshakes that are few are measured.
const FEW: u64 = 100;
/// SAs from which on memory grows evenly.
const SOME: u64 = 1_000;
/// Handshakes whose time is taken together.
const HANDSHAKES: u64 = 500;

/// What filling a gateway has shown.
struct Growth {
    /// Handshakes per second of processor time, with few SAs and with many.
    rates: [f64; 2],
    /// Octets for each SA, between some and many.
    octets: f64,
}

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let stage = Stage::new()?;
    let many = effort.of(20_000, 4_000);
    let cases = [
        (Kind::Idle, "no data plane", many),
        (Kind::Ours, "userspace ESP", many),
        (Kind::Charon, "charon", effort.of(4_000, 2_000)),
    ];
    let mut rates = cases.map(|_| [const { Samples::new() }; 2]);
    let mut octets = cases.map(|_| Samples::new());
    for _ in 0..effort.of(5, 1) {
        for (number, (kind, _, many)) in cases.into_iter().enumerate() {
            let growth = fill(&stage, kind, many)?;
            for (rates, rate) in rates[number].iter_mut().zip(growth.rates) {
                rates.push(rate);
            }
            octets[number].push(growth.octets);
        }
    }
    for ((kind, case, many), [few, full]) in cases.into_iter().zip(&rates) {
        let what = format!("handshakes with {many} SAs over 100");
        if kind == Kind::Charon {
            let ratio = Samples::one(full.median() / few.median() * 100.0);
            report.info(&what, case, "%", &ratio);
        } else {
            report.rate(&what, case, "/CPU-s", full, few, 0.8, 0.95);
        }
    }
    for ((kind, case, _), octets) in cases.into_iter().zip(&octets) {
        if kind == Kind::Charon {
            report.info("memory of an SA", case, "octets", octets);
        } else {
            report.figure("memory of an SA", case, "octets", octets, 5_000.0, 1_500.0);
        }
        if kind == Kind::Ours {
            let more = keys_in_use()?;
            let mut whole = Samples::new();
            octets.iter().for_each(|octets| whole.push(octets + more));
            report.figure("memory of an SA with traffic", case, "octets", &whole, 5_000.0, 1_500.0);
        }
    }
    Ok(())
}

fn fill(stage: &Stage, kind: Kind, many: u64) -> Result<Growth> {
    let suite = Suite::PSK;
    let responder = stage.start(kind, suite)?;
    let process = responder.id()?;
    let mut clients = Clients { stage, suite, process, next: 1 };
    clients.until(FEW)?;
    let few = clients.measured()?;
    clients.until(SOME)?;
    let before = memory(process)?;
    clients.until(many)?;
    #[expect(clippy::cast_precision_loss, reason = "a number of SAs")]
    let octets = (memory(process)? - before) / (many - SOME) as f64;
    let full = clients.measured()?;
    Ok(Growth { rates: [few, full], octets })
}

/// Clients that come one after the other and stay.
struct Clients<'a> {
    stage: &'a Stage,
    suite: Suite,
    process: Pid,
    next: u64,
}

impl Clients<'_> {
    /// Brings clients until there are so many.
    fn until(&mut self, count: u64) -> Result<()> {
        let missing = (count + 1).saturating_sub(self.next);
        self.stage.clients(self.suite, self.next, missing)?;
        self.next += missing;
        Ok(())
    }

    /// Brings more; handshakes per second of processor time.
    fn measured(&mut self) -> Result<f64> {
        let before = processor_time(self.process)?;
        self.stage.clients(self.suite, self.next, HANDSHAKES)?;
        self.next += HANDSHAKES;
        let used = processor_time(self.process)?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "a number of handshakes")]
        Ok(HANDSHAKES as f64 / used.as_secs_f64())
    }
}

/// Octets by which the two ends of an SA grow with their first packets.
fn keys_in_use() -> Result<f64> {
    const PAIRS: usize = 20_000;
    let protection = Protection::new(Encr::AesGcm128, None).context("a protection")?;
    let keys = TrafficKeys::new(protection, &[3; 20], &[]).context("keys")?;
    let numbers = SequenceNumbers::Extended;
    let mut pairs: Vec<_> = (0..PAIRS)
        .map(|_| (Outbound::new([1, 2, 3, 4], keys.clone(), numbers), Inbound::new(keys.clone(), numbers)))
        .collect();
    let mut rng = Rng::from_number(1);
    let mut before = 0.0;
    for (number, (outbound, inbound)) in pairs.iter_mut().enumerate() {
        if number == PAIRS / 2 {
            // The first half takes what this process had freed before, and would seem to need little.
            before = memory(Pid::this())?;
        }
        let mut buffer = [0x45; HEADROOM + 100 + TAILROOM];
        let sealed = outbound.seal(&mut rng, &mut buffer, HEADROOM..HEADROOM + 100).context("sealing")?;
        inbound.open(&mut buffer[sealed]).context("opening")?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of SAs")]
    Ok((memory(Pid::this())? - before) / (PAIRS / 2) as f64)
}

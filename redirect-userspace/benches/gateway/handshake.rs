//! Whole handshakes: IKE_SA_INIT, IKE_AUTH and the first Child SA, per second of processor time.

use std::hint::black_box;

use anyhow::{Result, ensure};
use redirect_userspace::crypto::Provider;
use redirect_userspace::crypto::kex::Group;
use redirect_userspace::rng::Rng;

use crate::Effort;
use crate::meter::{own_time, processor_time};
use crate::report::{Report, Samples};
use crate::responder::{Kind, Means, Stage, Suite};

/// What is compared, and the ratios that it must reach and should.
const SUITES: [(Suite, f64, f64); 3] = [
    (Suite::PSK, 2.0, 6.0),
    (Suite::ECDSA, 1.5, 3.0),
    (
        Suite {
            name: "PSK, MODP-2048",
            means: Means::SharedKey,
            ike: "aes128gcm16-prfsha256-modp2048",
            esp: "aes128gcm16",
        },
        1.5,
        3.0,
    ),
];

impl Suite {
    /// The cheapest: a shared key.
    pub(crate) const PSK: Self = Self {
        name: "PSK, X25519",
        means: Means::SharedKey,
        ike: "aes128gcm16-prfsha256-x25519",
        esp: "aes128gcm16",
    };
    /// As the certificates of most networks are.
    const ECDSA: Self = Self { name: "ECDSA P-256", means: Means::Certificates, ..Self::PSK };
    /// What a gateway would like best unless its file says.
    const DEFAULT: Self = Self { name: "PSK, P-384", ike: "aes256gcm16-prfsha384-ecp384", ..Self::PSK };
}

/// Handshakes, and their proposals with ML-KEM-768 after the classic key exchange.
const HYBRIDS: [(Suite, &str); 3] = [
    (Suite::ECDSA, "aes128gcm16-prfsha256-x25519-ke1_mlkem768"),
    (Suite::DEFAULT, "aes256gcm16-prfsha384-ecp384-ke1_mlkem768"),
    (Suite::PSK, "aes128gcm16-prfsha256-x25519-ke1_mlkem768"),
];

/// What a handshake may cost with a further key exchange, over one without, and should.
const HYBRID_COST: (f64, f64) = (1.4, 1.3);

/// Handshakes before those that count: caches are filled, and memory is there.
const WARM_UP: u64 = 100;

/// The same by EAP: more messages, and the certificate of the gateway with all of them.
const EAP: [(Suite, f64, f64); 2] = [
    (
        Suite {
            name: "EAP-MSCHAPv2",
            means: Means::Password,
            ike: "aes128gcm16-prfsha256-x25519",
            esp: "aes128gcm16",
        },
        2.0,
        4.0,
    ),
    (
        Suite { name: "EAP-TLS", means: Means::Tls, ike: "aes128gcm16-prfsha256-x25519", esp: "aes128gcm16" },
        2.0,
        4.0,
    ),
];

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    compare(report, effort, &SUITES)
}

/// Handshakes by EAP.
pub(crate) fn eap(report: &mut Report, effort: Effort) -> Result<()> {
    compare(report, effort, &EAP)
}

fn compare(report: &mut Report, effort: Effort, suites: &[(Suite, f64, f64)]) -> Result<()> {
    let stage = Stage::new()?;
    let kinds = [Kind::Idle, Kind::Ours, Kind::Charon];
    for (suite, must, aim) in suites.iter().copied() {
        let mut rates = kinds.map(|_| Samples::new());
        let mut costs = kinds.map(|_| Samples::new());
        for _ in 0..effort.of(9, 2) {
            for ((kind, rates), costs) in kinds.into_iter().zip(&mut rates).zip(&mut costs) {
                let seconds = turn(&stage, kind, suite, effort.of(500, 100))?;
                rates.push(1.0 / seconds);
                costs.push(seconds * 1e6);
            }
        }
        let [idle, ours, charon] = &rates;
        let unit = "/CPU-s";
        report.rate("handshakes, no data plane", suite.name, unit, idle, charon, must, aim);
        report.rate("handshakes, userspace ESP", suite.name, unit, ours, charon, must, aim);
        let names = ["ours, no data plane", "ours, userspace ESP", "charon, kernel-libipsec"];
        for (name, costs) in names.into_iter().zip(&costs) {
            report.info(&format!("  one of {name}"), suite.name, "us", costs);
        }
    }
    Ok(())
}

/// What one more key exchange, in a round trip of its own, adds to our own handshakes; and how much of
/// that is the library's.
pub(crate) fn hybrid(report: &mut Report, effort: Effort) -> Result<()> {
    let stage = Stage::new()?;
    report.info("encapsulation, in the library", "ML-KEM-768", "us", &encapsulations(effort.of(9, 2))?);
    for (suite, ike) in HYBRIDS {
        let mut costs = [Samples::new(), Samples::new()];
        for _ in 0..effort.of(9, 2) {
            for (suite, costs) in [Suite { ike, ..suite }, suite].into_iter().zip(&mut costs) {
                costs.push(turn(&stage, Kind::Idle, suite, effort.of(500, 100))? * 1e6);
            }
        }
        let [with, without] = &costs;
        let ((must, aim), nothing) = (HYBRID_COST, Samples::one(0.0));
        report.ratio("hybrid over classic", suite.name, "us", with, without, &nothing, must, aim);
    }
    Ok(())
}

/// Microseconds that a responder's half of ML-KEM-768 takes by itself.
fn encapsulations(rounds: u32) -> Result<Samples> {
    let (mut samples, mut rng) = (Samples::new(), Rng::from_number(1));
    let peer = Provider::Real.key_exchange(Group::MlKem768, &mut rng)?;
    for _ in 0..rounds {
        let before = own_time()?;
        for _ in 0..ENCAPSULATIONS {
            black_box(Provider::Real.answer(Group::MlKem768, peer.public(), &mut rng)?);
        }
        samples.push(own_time()?.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(ENCAPSULATIONS));
    }
    Ok(samples)
}

const ENCAPSULATIONS: u32 = 2_000;

/// Seconds of processor time for a handshake of a gateway that has just been started.
fn turn(stage: &Stage, kind: Kind, suite: Suite, count: u64) -> Result<f64> {
    let responder = stage.start(kind, suite)?;
    stage.clients(suite, 1, WARM_UP)?;
    let process = responder.id()?;
    let before = processor_time(process)?;
    stage.clients(suite, 1 + WARM_UP, count)?;
    let used = processor_time(process)?.saturating_sub(before);
    let sas = responder.sas()?;
    ensure!(sas >= 1, "{kind:?} has {sas} SAs");
    #[expect(clippy::cast_precision_loss, reason = "a count of handshakes")]
    Ok(used.as_secs_f64() / count as f64)
}

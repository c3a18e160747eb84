//! `redirectctl bench`: our initiator as a load generator.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::print::{Console, Exit};
use crate::config::DurationText;
use crate::runtime::load::{Client, Outcome, Proof, run_client};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BenchNoun {
    /// Whole handshakes: IKE_SA_INIT, IKE_AUTH and the first Child SA.
    Handshake(Handshake),
}

/// Handshakes against a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Handshake {
    /// The gateway.
    pub gateway: IpAddr,
    /// Our address; ports 500 and 4500 of it must be free.
    #[arg(long, value_name = "ADDR")]
    pub local: IpAddr,
    /// File with the shared key.
    #[arg(long, value_name = "FILE", required_unless_present = "certificate")]
    pub psk_file: Option<PathBuf>,
    /// Our certificate, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["private_key", "ca"])]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// The CA of the gateway.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// What IKE SAs are protected with.
    #[arg(long, value_name = "PROPOSAL", default_value = "aes128gcm16-prfsha256-x25519")]
    pub ike: String,
    /// What Child SAs are protected with.
    #[arg(long, value_name = "PROPOSAL", default_value = "aes128gcm16")]
    pub esp: String,
    /// Network behind the gateway that is asked for.
    #[arg(long, value_name = "PREFIX", default_value = "0.0.0.0/0")]
    pub network: String,
    /// Handshakes in all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub count: u64,
    /// Handshakes at the same time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub in_flight: usize,
    /// Number of the first client: each has an identity of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first: u64,
    /// Deletes each SA once it is up.
    #[arg(long)]
    pub delete: bool,
    /// Longest that all of it may take.
    #[arg(long, value_name = "DURATION", default_value = "120s")]
    pub patience: DurationText,
    /// Prints JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// The result for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct View {
    done: u64,
    failed: u64,
    reasons: Vec<String>,
    seconds: f64,
    per_second: f64,
    latency_ms: Latencies,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Latencies {
    median: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl View {
    fn new(outcome: &Outcome) -> Self {
        let seconds = outcome.took.as_secs_f64();
        let millis = |part| outcome.quantile(part).as_secs_f64() * 1e3;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let per_second = if seconds > 0.0 { outcome.done as f64 / seconds } else { 0.0 };
        Self {
            done: outcome.done,
            failed: outcome.failed,
            reasons: outcome.reasons.clone(),
            seconds,
            per_second,
            latency_ms: Latencies {
                median: millis(0.5),
                p90: millis(0.9),
                p99: millis(0.99),
                max: millis(1.0),
            },
        }
    }
}

/// Runs the verb.
pub(super) fn bench(noun: &BenchNoun, console: &mut Console<'_>) -> Result<(), Exit> {
    let BenchNoun::Handshake(wanted) = noun;
    let view = handshake(wanted).map_err(|error| console.fail(&format!("{error:#}"), Exit::Refused))?;
    if wanted.json {
        let text = serde_json::to_string_pretty(&view).unwrap_or_default();
        console.print(&format!("{text}\n"))?;
    } else {
        let View { done, failed, reasons, seconds, per_second, latency_ms } = &view;
        let Latencies { median, p90, p99, max } = latency_ms;
        console.print(&format!(
            "{done} handshakes in {seconds:.2} s: {per_second:.0}/s, {failed} failed\n\
             latency: median {median:.2} ms, p90 {p90:.2}, p99 {p99:.2}, max {max:.2}\n"
        ))?;
        for reason in reasons {
            console.complain(reason);
        }
    }
    if view.failed == 0 { Ok(()) } else { Err(Exit::Refused) }
}

fn handshake(wanted: &Handshake) -> Result<View> {
    ensure!(
        wanted.gateway.is_ipv4() == wanted.local.is_ipv4(),
        "the two addresses are of different families"
    );
    ensure!(wanted.in_flight > 0 && wanted.count > 0, "nothing to do");
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
    let proof = match (&wanted.psk_file, &wanted.certificate, &wanted.private_key, &wanted.ca) {
        (_, Some(certificate), Some(key), Some(ca)) => {
            Proof::Certificate { chain: read(certificate)?, key: read(key)?, ca: read(ca)? }
        }
        (Some(psk), ..) => Proof::SharedKey(read(psk)?),
        (None, ..) => bail!("--psk-file, or --certificate with --private-key and --ca"),
    };
    let client = Client {
        gateway: SocketAddr::new(wanted.gateway, 500),
        local: wanted.local,
        proof,
        ike: wanted.ike.clone(),
        esp: wanted.esp.clone(),
        network: wanted.network.clone(),
        in_flight: wanted.in_flight,
        count: wanted.count,
        first: wanted.first,
        deletes: wanted.delete,
        patience: wanted.patience.0,
    };
    Ok(View::new(&run_client(client)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        noun: BenchNoun,
    }

    fn parse(words: &str) -> Result<Handshake, clap::Error> {
        let line = format!("bench handshake 192.0.2.1 --local 192.0.2.2 {words}");
        let Line { noun: BenchNoun::Handshake(wanted) } = Line::try_parse_from(line.split_whitespace())?;
        Ok(wanted)
    }

    #[test]
    fn a_key_or_a_certificate_with_all_that_belongs_to_it_is_wanted() {
        let wanted = parse("--psk-file key").unwrap();
        assert_eq!((wanted.count, wanted.in_flight, wanted.first, wanted.delete), (1000, 32, 1, false));
        assert_eq!(wanted.ike, "aes128gcm16-prfsha256-x25519");
        assert!(parse("--certificate c --private-key k --ca a --ike aes256gcm16-prfsha384-ecp384").is_ok());

        assert!(parse("").is_err());
        assert!(parse("--certificate c --private-key k").is_err());
        assert!(parse("--certificate c --ca a").is_err());
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_is_sent() {
        let refusal = |wanted: Handshake| format!("{:#}", handshake(&wanted).unwrap_err());
        let wanted = || parse("--psk-file /nonexistent/key").unwrap();

        assert!(refusal(Handshake { local: "::1".parse().unwrap(), ..wanted() }).contains("families"));
        assert!(refusal(Handshake { count: 0, ..wanted() }).contains("nothing to do"));
        assert!(refusal(Handshake { in_flight: 0, ..wanted() }).contains("nothing to do"));
        assert!(refusal(wanted()).contains("/nonexistent/key"));
    }

    #[test]
    fn the_figures_are_those_of_the_outcome() {
        let millis = |millis: u64| std::time::Duration::from_millis(millis);
        let view = View::new(&Outcome {
            done: 4,
            failed: 1,
            reasons: vec!["timeout".to_owned()],
            took: millis(2_000),
            latencies: [1, 2, 3, 10].map(millis).to_vec(),
        });

        let json = serde_json::to_value(&view).unwrap();

        assert_eq!(json["done"], 4);
        assert_eq!(json["failed"], 1);
        assert_eq!(json["per-second"], 2.0);
        assert_eq!(json["latency-ms"]["max"], 10.0);
    }
}

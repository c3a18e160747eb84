//! `redirectctl bench`: our initiator as a load generator.
//!
//! Exit code 1 when nothing has succeeded, or when there was nothing to run.

mod view;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::print::{Console, Exit};
use crate::config::DurationText;
use crate::runtime::load::{Client, Extent, InitLoad, Pace, Proof, run_client, run_init};

use self::view::{HandshakeView, InitView};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BenchNoun {
    /// IKE_SA_INIT requests, and what is answered to them.
    Init(Init),
    /// Whole handshakes: IKE_SA_INIT, IKE_AUTH and the first Child SA; or sessions resumed by ticket.
    Handshake(Box<Handshake>),
}

/// How much, and how one follows the other.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Amount {
    /// So many a second, whatever comes back (open loop). Latencies count from when each was meant to
    /// be sent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// So many at the same time, one after the other (closed loop).
    #[arg(
        long,
        visible_alias = "in-flight",
        value_name = "N",
        conflicts_with = "rate",
        default_value_t = 32
    )]
    pub parallel: usize,
    /// How many in all.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// How long new ones are begun.
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<DurationText>,
}

impl Amount {
    /// Without any limit there are `usual`.
    fn extent(&self, usual: u64) -> Extent {
        let count = if self.duration.is_none() { Some(self.count.unwrap_or(usual)) } else { self.count };
        Extent { count, duration: self.duration.map(|duration| duration.0) }
    }

    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Closed { parallel: self.parallel }, |rate| Pace::Open { rate })
    }

    fn check(&self) -> Result<()> {
        let is_nothing = self.count == Some(0) || self.duration.is_some_and(|duration| duration.0.is_zero());
        ensure!((self.parallel > 0 || self.rate.is_some()) && !is_nothing, "nothing to do");
        Ok(())
    }
}

/// Requests to a gateway or VIP.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Init {
    /// The gateway, or the virtual IP of a cluster.
    pub gateway: IpAddr,
    /// Our address.
    #[arg(long, value_name = "ADDR")]
    pub local: Option<IpAddr>,
    /// Where the gateway listens; with 4500 requests have the non-ESP marker.
    #[arg(long, value_name = "PORT", default_value_t = 500)]
    pub port: u16,
    /// What is offered.
    #[arg(long, value_name = "PROPOSAL", default_value = "aes128gcm16-prfsha256-x25519")]
    pub ike: String,
    /// How much.
    #[command(flatten)]
    pub amount: Amount,
    /// How long an answer is waited for.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub timeout: DurationText,
    /// Prints JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// Handshakes with a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Handshake {
    /// The gateway.
    pub gateway: IpAddr,
    /// Our address; ports 500 and 4500 of it must be free.
    #[arg(long, value_name = "ADDR")]
    pub local: IpAddr,
    /// Clients prove by EAP who they are: all are the same user, and the gateway has a certificate.
    #[arg(long, value_name = "METHOD", requires = "ca")]
    pub eap: Option<Eap>,
    /// The user of EAP-MSCHAPv2.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// File with its password.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with the shared key.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["certificate", "eap"])]
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
    /// How much.
    #[command(flatten)]
    pub amount: Amount,
    /// Number of the first client: each has an identity of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first: u64,
    /// Deletes each SA once it is up.
    #[arg(long, conflicts_with = "resumed")]
    pub delete: bool,
    /// Resumes sessions by ticket: clients come first, which is not measured, and then come back again
    /// and again as if they had lost their gateway.
    #[arg(long)]
    pub resumed: bool,
    /// How many clients take turns with that; enough for all that are under way if absent.
    #[arg(long, value_name = "N", requires = "resumed", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: Option<u32>,
    /// Follows redirects: the time to the tunnel is that of both gateways.
    #[arg(long)]
    pub follow: bool,
    /// How long a handshake may take.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub timeout: DurationText,
    /// Longest that all of it may take, beyond its duration.
    #[arg(long, value_name = "DURATION", default_value = "120s")]
    pub patience: DurationText,
    /// Prints JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// Methods of EAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Eap {
    /// EAP-MSCHAPv2.
    Mschapv2,
    /// EAP-TLS, with our certificate.
    Tls,
}

/// Runs the verb.
pub(super) fn bench(noun: &BenchNoun, console: &mut Console<'_>) -> Result<(), Exit> {
    let refused = |error: anyhow::Error| format!("{error:#}");
    match noun {
        BenchNoun::Init(wanted) => {
            let view = init(wanted).map_err(|error| console.fail(&refused(error), Exit::Refused))?;
            tell(console, wanted.json, &view, &view.text())?;
            succeeded(view.done)
        }
        BenchNoun::Handshake(wanted) => {
            let view = handshake(wanted).map_err(|error| console.fail(&refused(error), Exit::Refused))?;
            tell(console, wanted.json, &view, &view.text())?;
            if !wanted.json {
                view.reasons.iter().for_each(|reason| console.complain(reason));
            }
            succeeded(view.done)
        }
    }
}

fn tell(console: &mut Console<'_>, is_json: bool, view: &impl Serialize, text: &str) -> Result<(), Exit> {
    if is_json {
        let json = serde_json::to_string_pretty(view).unwrap_or_default();
        console.print(&format!("{json}\n"))
    } else {
        console.print(text)
    }
}

const fn succeeded(done: u64) -> Result<(), Exit> {
    if done > 0 { Ok(()) } else { Err(Exit::Refused) }
}

fn init(wanted: &Init) -> Result<InitView> {
    wanted.amount.check()?;
    let load = InitLoad {
        gateway: SocketAddr::new(wanted.gateway, wanted.port),
        local: wanted.local,
        ike: wanted.ike.clone(),
        pace: wanted.amount.pace(),
        extent: wanted.amount.extent(10_000),
        timeout: wanted.timeout.0,
    };
    Ok(InitView::new(load.pace, run_init(&load)?))
}

fn handshake(wanted: &Handshake) -> Result<HandshakeView> {
    ensure!(
        wanted.gateway.is_ipv4() == wanted.local.is_ipv4(),
        "the two addresses are of different families"
    );
    wanted.amount.check()?;
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
    let proof = match (wanted.eap, &wanted.certificate, &wanted.private_key, &wanted.ca) {
        (Some(Eap::Mschapv2), _, _, Some(ca)) => {
            let (Some(user), Some(password)) = (&wanted.user, &wanted.password_file) else {
                bail!("--eap mschapv2 needs --user and --password-file")
            };
            Proof::Password { user: user.clone(), password: read(password)?, ca: read(ca)? }
        }
        (Some(Eap::Tls), Some(certificate), Some(key), Some(ca)) => {
            Proof::Tls { chain: read(certificate)?, key: read(key)?, ca: read(ca)? }
        }
        (Some(Eap::Tls), ..) => bail!("--eap tls needs --certificate, --private-key and --ca"),
        (None, Some(certificate), Some(key), Some(ca)) => {
            Proof::Certificate { chain: read(certificate)?, key: read(key)?, ca: read(ca)? }
        }
        _ => match &wanted.psk_file {
            Some(psk) => Proof::SharedKey(read(psk)?),
            None => bail!("--psk-file, or --certificate with --private-key and --ca"),
        },
    };
    let pace = wanted.amount.pace();
    let usual = match pace {
        Pace::Open { rate } => rate.clamp(32, 10_000),
        Pace::Closed { parallel } => u32::try_from(parallel).unwrap_or(u32::MAX),
    };
    let clients = usize::try_from(wanted.clients.unwrap_or(usual)).unwrap_or(usize::MAX);
    let client = Client {
        gateway: SocketAddr::new(wanted.gateway, 500),
        local: wanted.local,
        proof,
        ike: wanted.ike.clone(),
        esp: wanted.esp.clone(),
        network: wanted.network.clone(),
        pace,
        extent: wanted.amount.extent(1_000),
        first: wanted.first,
        deletes: wanted.delete,
        follows: wanted.follow,
        resumed: wanted.resumed.then_some(clients),
        timeout: wanted.timeout.0,
        patience: wanted.patience.0,
    };
    Ok(HandshakeView::new(pace, wanted.resumed, run_client(client)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        noun: BenchNoun,
    }

    fn parse(words: &str) -> Result<Handshake, clap::Error> {
        let line = format!("bench handshake 192.0.2.1 --local 192.0.2.2 {words}");
        let Line { noun } = Line::try_parse_from(line.split_whitespace())?;
        let BenchNoun::Handshake(wanted) = noun else { panic!("{noun:?}") };
        Ok(*wanted)
    }

    fn parse_init(words: &str) -> Result<Init, clap::Error> {
        let line = format!("bench init {words}");
        let Line { noun } = Line::try_parse_from(line.split_whitespace())?;
        let BenchNoun::Init(wanted) = noun else { panic!("{noun:?}") };
        Ok(wanted)
    }

    #[test]
    fn a_key_or_a_certificate_with_all_that_belongs_to_it_is_wanted() {
        let wanted = parse("--psk-file key").unwrap();
        let extent = wanted.amount.extent(1_000);
        assert_eq!((extent.count, wanted.first, wanted.delete), (Some(1_000), 1, false));
        assert_eq!(wanted.amount.pace(), Pace::Closed { parallel: 32 });
        assert_eq!(wanted.ike, "aes128gcm16-prfsha256-x25519");
        assert!(parse("--certificate c --private-key k --ca a --ike aes256gcm16-prfsha384-ecp384").is_ok());

        let eap = parse("--eap mschapv2 --user alice --password-file p --ca a").unwrap();
        assert_eq!((eap.eap, eap.user.as_deref()), (Some(Eap::Mschapv2), Some("alice")));
        assert!(parse("--eap tls --certificate c --private-key k --ca a").is_ok());

        assert!(parse("--eap tls").is_err());
        assert!(parse("--user alice --psk-file k").is_err());
        assert!(parse("").is_err());
        assert!(parse("--certificate c --private-key k").is_err());
        assert!(parse("--certificate c --ca a").is_err());
    }

    #[test]
    fn a_loop_is_open_or_closed_and_ends_at_a_number_or_a_time() {
        let open = parse_init("192.0.2.1 --rate 5000 --duration 3s").unwrap().amount;
        assert_eq!(open.pace(), Pace::Open { rate: 5_000 });
        let duration = Some(Duration::from_secs(3));
        assert_eq!(open.extent(7), Extent { count: None, duration });
        let closed = parse_init("fd50::5 --parallel 4").unwrap().amount;
        assert_eq!(closed.pace(), Pace::Closed { parallel: 4 });
        assert_eq!(closed.extent(7), Extent { count: Some(7), duration: None });
        assert_eq!(parse("--psk-file k --in-flight 4").unwrap().amount, closed, "as it was called before");

        assert!(parse_init("192.0.2.1 --rate 5 --parallel 4").is_err());
        assert!(parse_init("192.0.2.1 --rate 0").is_err());
        assert!(parse("--psk-file k --resumed --delete").is_err());
        assert!(parse("--psk-file k --clients 5").is_err());
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_is_sent() {
        let refusal = |words: &str| format!("{:#}", handshake(&parse(words).unwrap()).unwrap_err());
        let key = "--psk-file /nonexistent/key";

        let other = Handshake { local: "::1".parse().unwrap(), ..parse(key).unwrap() };
        assert!(format!("{:#}", handshake(&other).unwrap_err()).contains("families"));
        for nothing in ["--count 0", "--parallel 0", "--duration 0s"] {
            assert!(refusal(&format!("{key} {nothing}")).contains("nothing to do"), "{nothing}");
        }
        assert!(refusal(key).contains("/nonexistent/key"));
        assert!(refusal("--eap mschapv2 --ca /nonexistent/ca").contains("needs --user"));
        assert!(refusal("--eap tls --ca /nonexistent/ca").contains("needs --certificate"));

        let refusal = |words: &str| format!("{:#}", init(&parse_init(words).unwrap()).unwrap_err());
        assert!(refusal("192.0.2.1 --local ::1").contains("families"));
        assert!(refusal("192.0.2.1 --count 0").contains("nothing to do"));
        assert!(refusal("192.0.2.1 --ike nonsense").contains("IKE proposal"));
    }
}

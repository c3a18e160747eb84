//! The daemon's command line.

use std::ffi::OsStr;
use std::fmt::Display;
use std::net::IpAddr;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{ArgGroup, Parser};
use thiserror::Error;

use crate::config::{Config, ConfigErrors, InterfaceName};
use crate::gateway::{
    AddressError, AddressesError, GatewayAddress, GatewayAddresses, GatewayName, NameError, unicast,
};
use crate::runtime::{GUARD_ARGUMENT, guard, run};
use crate::telemetry::log::{DEFAULT_FILTER, LogFormat, init};
use crate::time::UnixTime;

/// Answers IKE_SA_INIT at a virtual IP with a redirect to the least loaded gateway.
///
/// Either a configuration file is given, or interfaces, VIPs and gateways are, to try it out. With
/// a file, interfaces on the command line take the place of the file's.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "redirectd", version)]
#[command(group(ArgGroup::new("source").required(true).multiple(true).args(["config", "interface"])))]
pub struct DaemonArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this node; the machine's name if absent.
    #[arg(long, value_name = "NAME", requires = "interface", conflicts_with = "config")]
    pub node: Option<GatewayName>,
    /// Interface to attach to; may be repeated.
    #[arg(long, value_name = "IF", num_args = 1..)]
    pub interface: Vec<InterfaceName>,
    /// Virtual IP to answer for; may be repeated.
    #[arg(long, value_name = "ADDR", num_args = 1.., value_parser = vip)]
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub vip: Vec<IpAddr>,
    /// Gateway to redirect to, with its addresses and its weight (1 if absent); may be repeated.
    #[arg(long, value_name = "NAME=ADDR[,ADDR][*WEIGHT]", num_args = 1..)]
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub gateway: Vec<GatewayArg>,
    /// Checks the configuration and ends: 0 without errors, 1 with.
    #[arg(long)]
    pub check: bool,
    /// How log lines look.
    #[arg(long, default_value_t, value_parser = PossibleValuesParser::new(LogFormat::NAMES)
        .try_map(|name| name.parse::<LogFormat>()))]
    pub log_format: LogFormat,
    /// What is logged: a level, or a list like `warn,redirectd=debug`.
    #[arg(long, value_name = "FILTER", default_value = DEFAULT_FILTER)]
    pub log_filter: String,
}

/// `NAME=ADDR[,ADDR][*WEIGHT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayArg {
    /// The gateway's name.
    pub name: GatewayName,
    /// Where clients are sent.
    pub addresses: GatewayAddresses,
    /// Its weight; 0 takes no clients.
    pub weight: u16,
}

/// Why a [`GatewayArg`] is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum GatewayArgError {
    /// There is no `=`.
    #[error("a gateway is NAME=ADDR[,ADDR][*WEIGHT]")]
    Form,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// One of the addresses is none.
    #[error("{text}: {source}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// The addresses do not go together.
    #[error(transparent)]
    Addresses(#[from] AddressesError),
    /// The weight is no number from 0 to 65535.
    #[error("a weight is a number from 0 to 65535: {0}")]
    Weight(#[from] ParseIntError),
}

impl DaemonArgs {
    /// The configuration: the file's, or the one that the flags stand for.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it. Flags are checked as the file that would say the same,
    /// so that there is one way to validate a configuration, not two.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        match &self.config {
            Some(file) => {
                let mut config = Config::load(file, now())?;
                if !self.interface.is_empty() {
                    config.fast_path.interfaces.clone_from(&self.interface);
                }
                Ok(config)
            }
            None => Config::parse(Path::new(FLAGS), &self.flags_as_file(), now()),
        }
    }

    fn flags_as_file(&self) -> String {
        let mut lines = vec!["[node]".to_owned()];
        lines.push(format!(
            "name = {}",
            quoted(self.node.as_ref().map_or_else(host_name, GatewayName::to_string))
        ));
        lines.push("[fast-path]".to_owned());
        lines.push(format!("interfaces = [{}]", list(&self.interface)));
        lines.push("[redirect]".to_owned());
        lines.push(format!("vip = [{}]", list(&self.vip)));
        for GatewayArg { name, addresses, weight } in &self.gateway {
            lines.push("[[cluster.static]]".to_owned());
            lines.push(format!("name = {}", quoted(name)));
            lines.push(format!("addresses = [{}]", list(addresses.iter())));
            lines.push(format!("weight = {weight}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// The daemon from its arguments to its exit code: 0 told to stop or nothing wrong, 1 otherwise.
#[must_use]
pub fn run_daemon() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let result = match (arguments.next(), arguments.next()) {
        (Some(word), Some(pins)) if word == OsStr::new(GUARD_ARGUMENT) => guard(Path::new(&pins)),
        _ => daemon(DaemonArgs::parse()),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    #[expect(clippy::print_stderr, reason = "there may be no log yet")]
    // A configuration's errors stand alone, so that editors can follow FILE:LINE:COLUMN.
    match error.downcast_ref::<ConfigErrors>() {
        Some(errors) => eprintln!("{errors}"),
        None => eprintln!("redirectd: {error:#}"),
    }
    ExitCode::FAILURE
}

fn daemon(args: DaemonArgs) -> anyhow::Result<()> {
    let config = args.load()?;
    if args.check {
        return Ok(());
    }
    init(args.log_format, &args.log_filter)?;
    run(config, Box::new(move || args.load()))
}

/// What certificates are judged by.
#[expect(clippy::disallowed_methods, reason = "a configuration is read before there is a core")]
pub(super) fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_epoch(since_epoch.unwrap_or_default())
}

/// What errors in flags are said to be in.
const FLAGS: &str = "command line";

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// A TOML string. None of the values here has control characters.
fn quoted(value: impl Display) -> String {
    format!("\"{}\"", value.to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// A gateway that has this name is this node. A machine without a usable name is none of them.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().parse::<GatewayName>().map_or_else(|_| "localhost".to_owned(), |name| name.to_string())
}

impl FromStr for GatewayArg {
    type Err = GatewayArgError;

    fn from_str(text: &str) -> Result<Self, GatewayArgError> {
        let (name, rest) = text.split_once('=').ok_or(GatewayArgError::Form)?;
        let (addresses, weight) = match rest.split_once('*') {
            Some((addresses, weight)) => (addresses, weight.parse()?),
            None => (rest, 1),
        };
        let addresses = addresses.split(',').map(|text| {
            text.parse::<GatewayAddress>()
                .map_err(|source| GatewayArgError::Address { text: text.to_owned(), source })
        });
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name: name.parse()?, addresses: GatewayAddresses::new(addresses)?, weight })
    }
}

fn vip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|error| format!("{error}"))?;
    unicast(address).map_err(|error| error.to_string())?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;
    use crate::control::fixtures::TempDir;

    #[test]
    fn a_file_or_flags_are_needed_but_not_both() {
        assert_eq!(refused("redirectd"), ErrorKind::MissingRequiredArgument);
        assert_eq!(
            refused("redirectd --config f --interface eth0 --vip 192.0.2.1 --gateway a=192.0.2.2"),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(refused("redirectd --config f --vip 192.0.2.1"), ErrorKind::ArgumentConflict);
        assert_eq!(refused("redirectd --interface eth0 --vip 192.0.2.1"), ErrorKind::MissingRequiredArgument);
        assert_eq!(
            refused("redirectd --interface eth0 --gateway a=192.0.2.2"),
            ErrorKind::MissingRequiredArgument
        );

        let file = parse("redirectd --config /etc/redirectd/redirectd.toml --check").unwrap();

        assert_eq!(file.config.as_deref(), Some("/etc/redirectd/redirectd.toml".as_ref()));
        assert!(file.check);
        assert_eq!((file.log_format, file.log_filter.as_str()), (LogFormat::Text, "info"));
    }

    #[test]
    fn an_interface_takes_the_place_of_the_files() {
        let dir = TempDir::new();
        let file = dir.path().join("redirectd.toml");
        let text = "[node]\nname = \"gw1\"\n[fast-path]\ninterfaces = [\"eth0\"]\n";
        std::fs::write(&file, text).unwrap();
        let args = parse(&format!("redirectd --interface eth1 eth2 --config {}", file.display())).unwrap();

        let config = args.load().unwrap();

        let interfaces: Vec<_> = config.fast_path.interfaces.iter().map(InterfaceName::as_str).collect();
        assert_eq!(interfaces, ["eth1", "eth2"]);
    }

    #[test]
    fn flags_become_a_configuration() {
        let args = parse(
            "redirectd --node gw1 --interface eth0 --interface e\\\"1 --vip 10.50.0.5 fd50::5 \
             --gateway gw1=10.50.0.11 --gateway gw2=10.50.0.12,fd50::12,gw2.vpn.example.net*3 \
             --gateway gw3=10.50.0.13*0 --log-format json",
        )
        .unwrap();

        let config = args.load().unwrap();

        let interfaces: Vec<_> = config.fast_path.interfaces.iter().map(InterfaceName::as_str).collect();
        assert_eq!(interfaces, ["eth0", "e\\\"1"]);
        assert_eq!(
            config.redirect.vips.iter().map(IpAddr::to_string).collect::<Vec<_>>(),
            ["10.50.0.5", "fd50::5"]
        );
        let members: Vec<_> = config
            .members()
            .iter()
            .map(|member| {
                let weight = member.weight.map_or(0, crate::gateway::Weight::value);
                (member.name.to_string(), member.addresses.iter().count(), weight, member.is_self)
            })
            .collect();
        assert_eq!(
            members,
            [
                ("gw1".to_owned(), 1, 1, true),
                ("gw2".to_owned(), 3, 3, false),
                ("gw3".to_owned(), 1, 0, false)
            ]
        );
        assert_eq!(args.log_format, LogFormat::Json);
    }

    #[test]
    fn flags_are_validated_like_a_file() {
        let args =
            parse("redirectd --node n --interface eth0 --vip 10.50.0.5 --gateway a=10.50.0.11 a=10.50.0.12")
                .unwrap();

        let errors = args.load().unwrap_err().to_string();

        assert!(errors.starts_with("command line:"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }

    #[test]
    fn a_file_is_read_and_its_errors_have_their_place() {
        let dir = TempDir::new();
        let file = dir.path().join("redirectd.toml");
        std::fs::write(&file, "[node]\nname = \"gw1\"\nnmae = 1\n").unwrap();
        let args = parse(&format!("redirectd --config {}", file.display())).unwrap();

        let errors = args.load().unwrap_err().to_string();

        assert!(errors.contains("redirectd.toml:3:1: "), "{errors}");
    }

    #[test]
    fn the_machines_name_is_the_nodes_unless_another_is_given() {
        let args = parse("redirectd --interface eth0 --vip 10.50.0.5 --gateway gw2=10.50.0.12").unwrap();

        let config = args.load().unwrap();

        assert_eq!(config.node.name.to_string(), host_name());
    }

    #[test]
    fn a_gateway_is_name_addresses_and_weight() {
        let gateway: GatewayArg = "gw1=10.50.0.11*0".parse().unwrap();
        assert_eq!((gateway.name.as_str(), gateway.weight), ("gw1", 0));

        assert_eq!("gw1".parse::<GatewayArg>(), Err(GatewayArgError::Form));
        assert!(matches!("gw1=10.50.0.11*".parse::<GatewayArg>(), Err(GatewayArgError::Weight(_))));
        assert!(matches!("gw1=10.50.0.11*65536".parse::<GatewayArg>(), Err(GatewayArgError::Weight(_))));
        assert!(matches!("=10.50.0.11".parse::<GatewayArg>(), Err(GatewayArgError::Name(_))));
        assert!(matches!("gw1=".parse::<GatewayArg>(), Err(GatewayArgError::Address { .. })));
        assert!(matches!("gw1=127.0.0.1".parse::<GatewayArg>(), Err(GatewayArgError::Address { .. })));
        assert!(matches!(
            "gw1=192.0.2.1,192.0.2.2".parse::<GatewayArg>(),
            Err(GatewayArgError::Addresses(_))
        ));
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_the_reason() {
        let rest = "--gateway gw1=10.50.0.11";
        for (line, reason) in [
            (format!("redirectd --interface eth0 --vip 224.0.0.2 {rest}"), "multicast"),
            (format!("redirectd --interface eth0 --vip vpn.example.net {rest}"), "invalid IP address"),
            (format!("redirectd --interface a-name-too-long-for-linux --vip 10.50.0.5 {rest}"), "1 to 15"),
            (format!("redirectd --interface eth/0 --vip 10.50.0.5 {rest}"), "no interface has such a name"),
            ("redirectd --config f --log-format xml".to_owned(), "possible values: text, json"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.to_string().contains(reason), "{line}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    fn parse(line: &str) -> Result<DaemonArgs, clap::Error> {
        DaemonArgs::try_parse_from(line.split_whitespace())
    }

    fn refused(line: &str) -> ErrorKind {
        parse(line).unwrap_err().kind()
    }
}

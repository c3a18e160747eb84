//! The daemon's command line.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{ArgGroup, Parser};
use thiserror::Error;

use crate::gateway::{
    AddressError, AddressesError, GatewayAddress, GatewayAddresses, GatewayName, NameError, unicast,
};
use crate::telemetry::log::{DEFAULT_FILTER, LogFormat};

/// Answers IKE_SA_INIT at a virtual IP with a redirect to the least loaded gateway.
///
/// Either a configuration file is given, or interfaces, VIPs and gateways are, to try it out.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "redirectd", version)]
#[command(group(ArgGroup::new("source").required(true).args(["config", "interface"])))]
pub struct DaemonArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Interface to attach to; may be repeated.
    #[arg(long, value_name = "IF", num_args = 1.., requires_all = ["vip", "gateway"])]
    pub interface: Vec<InterfaceArg>,
    /// Virtual IP to answer for; may be repeated.
    #[arg(long, value_name = "ADDR", num_args = 1.., requires = "interface", value_parser = vip)]
    pub vip: Vec<IpAddr>,
    /// Gateway to redirect to, with its addresses and its weight (1 if absent); may be repeated.
    #[arg(long, value_name = "NAME=ADDR[,ADDR][*WEIGHT]", num_args = 1.., requires = "interface")]
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

/// The name of an interface, as the kernel would accept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceArg(String);

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

/// Why an [`InterfaceArg`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InterfaceArgError {
    /// A character that the kernel refuses or nobody uses.
    #[error("an interface name has no spaces, quotes, slashes, colons or control characters")]
    Character,
    /// Too long or too short.
    #[error("an interface name has 1 to 15 characters")]
    Length,
}

impl DaemonArgs {
    /// The configuration that the flags stand for, as the file that would say the same for a node
    /// of this name. `None` when a file is given. So there is one way to validate a configuration,
    /// not two.
    #[must_use]
    pub fn inline_config(&self, node: &GatewayName) -> Option<String> {
        if self.config.is_some() {
            return None;
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _written = self.write_config(&mut text, node);
        Some(text)
    }

    fn write_config(&self, text: &mut String, node: &GatewayName) -> std::fmt::Result {
        let interfaces = quoted(self.interface.iter().map(InterfaceArg::as_str));
        writeln!(text, "[node]\nname = \"{node}\"")?;
        writeln!(text, "[fast-path]\ninterfaces = [{interfaces}]")?;
        writeln!(text, "[redirect]\nvip = [{}]", quoted(&self.vip))?;
        for GatewayArg { name, addresses, weight } in &self.gateway {
            let addresses = quoted(addresses.iter());
            writeln!(
                text,
                "[[cluster.static]]\nname = \"{name}\"\naddresses = [{addresses}]\nweight = {weight}"
            )?;
        }
        Ok(())
    }
}

/// None of the types written here lets a quote or a backslash through.
fn quoted<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
}

impl InterfaceArg {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceArg {
    type Err = InterfaceArgError;

    fn from_str(text: &str) -> Result<Self, InterfaceArgError> {
        /// `IFNAMSIZ`, without the terminating zero.
        const LONGEST: usize = 15;

        if text.is_empty() || text.len() > LONGEST || matches!(text, "." | "..") {
            return Err(InterfaceArgError::Length);
        }
        let is_bad =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '"' | '\'' | '\\');
        if text.contains(is_bad) {
            return Err(InterfaceArgError::Character);
        }
        Ok(Self(text.to_owned()))
    }
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

    #[test]
    fn a_file_or_flags_are_needed_but_not_both() {
        assert_eq!(refused("redirectd"), ErrorKind::MissingRequiredArgument);
        assert_eq!(
            refused("redirectd --config f --interface eth0 --vip 192.0.2.1 --gateway a=192.0.2.2"),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(refused("redirectd --config f --vip 192.0.2.1"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("redirectd --interface eth0 --vip 192.0.2.1"), ErrorKind::MissingRequiredArgument);
        assert_eq!(
            refused("redirectd --interface eth0 --gateway a=192.0.2.2"),
            ErrorKind::MissingRequiredArgument
        );

        let file = parse("redirectd --config /etc/redirectd/redirectd.toml --check").unwrap();

        assert_eq!(file.config.as_deref(), Some("/etc/redirectd/redirectd.toml".as_ref()));
        assert!(file.check);
        assert_eq!((file.log_format, file.log_filter.as_str()), (LogFormat::Text, "info"));
        assert_eq!(file.inline_config(&"gw1".parse().unwrap()), None);
    }

    #[test]
    fn flags_become_a_configuration() {
        let args = parse(
            "redirectd --interface eth0 --interface eth1.7 --vip 10.50.0.5 fd50::5 --gateway gw1=10.50.0.11 \
             --gateway gw2=10.50.0.12,fd50::12,gw2.vpn.example.net*3 --log-format json",
        )
        .unwrap();

        let text = args.inline_config(&"gw1".parse().unwrap()).unwrap();

        assert_eq!(
            text,
            r#"[node]
name = "gw1"
[fast-path]
interfaces = ["eth0", "eth1.7"]
[redirect]
vip = ["10.50.0.5", "fd50::5"]
[[cluster.static]]
name = "gw1"
addresses = ["10.50.0.11"]
weight = 1
[[cluster.static]]
name = "gw2"
addresses = ["10.50.0.12", "fd50::12", "gw2.vpn.example.net"]
weight = 3
"#
        );
        assert!(text.parse::<toml::Table>().is_ok());
        assert_eq!(args.log_format, LogFormat::Json);
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
            (format!("redirectd --interface eth/0 --vip 10.50.0.5 {rest}"), "no spaces"),
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

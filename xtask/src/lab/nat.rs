//! A NAT box: hosts behind it have private addresses of both families, and share one outside.
//!
//! Source ports change on the way as well, so that nobody can rely on 500 and 4500.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::Lab;
use super::netns::{Namespace, Switch};
use super::process::feed;

/// What is done to what leaves.
const RULES: &str = "
table inet lab {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname \"eth0\" meta l4proto udp masquerade to :20000-29999
        oifname \"eth0\" masquerade
    }
}
";

/// A box between private networks and the wire.
#[derive(Debug)]
pub struct Nat {
    namespace: Namespace,
    outside: u8,
}

impl Nat {
    /// Builds the box.
    ///
    /// # Errors
    ///
    /// When a link or the rules cannot be made.
    pub fn new(lab: &Lab, switch: &Switch) -> Result<Self> {
        let nat = Self { namespace: lab.namespace("nat")?, outside: FIRST };
        switch.wire(&nat.namespace, &networks(FIRST))?;
        let forward =
            ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"].map(str::to_owned);
        let [sysctl, arguments @ ..] = forward;
        super::process::output(nat.namespace.command(sysctl).args(arguments))?;
        feed(nat.namespace.command("nft").args(["-f", "-"]), RULES)?;
        Ok(nat)
    }

    /// Puts a host behind it; returns the host's addresses.
    ///
    /// # Errors
    ///
    /// When a link cannot be made or an address is refused.
    pub fn wire(&self, to: &Namespace, number: u8) -> Result<(Ipv4Addr, Ipv6Addr)> {
        let port = format!("in{number}");
        let peer = to.name();
        self.namespace.ip(&format!(
            "link add name {port} type veth peer name eth0 netns {peer}\n\
             link set {port} up\n\
             address add 192.168.{number}.1/24 dev {port}\n\
             address add fd92:{number}::1/64 dev {port} nodad"
        ))?;
        self.namespace.without_offloads(&port)?;
        to.without_offloads("eth0")?;
        to.ip(&format!(
            "link set eth0 up\n\
             address add 192.168.{number}.2/24 dev eth0\n\
             address add fd92:{number}::2/64 dev eth0 nodad\n\
             route add default via 192.168.{number}.1\n\
             route add default via fd92:{number}::1"
        ))?;
        Ok((
            Ipv4Addr::new(192, 168, number, 2),
            Ipv6Addr::new(0xfd92, u16::from_str_radix(&number.to_string(), 16)?, 0, 0, 0, 0, 0, 2),
        ))
    }

    /// The box gets other addresses outside, as from a provider: every mapping is void.
    ///
    /// # Errors
    ///
    /// When an address is refused.
    pub fn renumber(&mut self) -> Result<()> {
        let change = |verb: &str, host: u8| {
            let [v4, v6] = networks(host);
            format!("address {verb} {v4} dev eth0\naddress {verb} {v6} dev eth0\n")
        };
        // The kernel forgets mappings to an address that goes away.
        self.namespace.ip(&change("delete", self.outside))?;
        self.outside += 1;
        self.namespace.ip(&change("add", self.outside).replace("/64 dev eth0", "/64 dev eth0 nodad"))
    }

    /// Whether an address is the box's outside.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        networks(self.outside)
            .iter()
            .any(|network| network.split('/').next().and_then(|host| host.parse().ok()) == Some(address))
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

/// Its first host number outside.
const FIRST: u8 = 60;

fn networks(host: u8) -> [String; 2] {
    [format!("10.50.0.{host}/24"), format!("fd50::{host}/64")]
}

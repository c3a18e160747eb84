//! Which redirects a client of ours follows: `[redirect.client]`.
//!
//! # References
//!
//! `RFC 5685 §3`, `§7`, `§10`.

use std::net::IpAddr;
use std::time::Duration;

use crate::gateway::{Fqdn, GatewayAddress};

/// How far a client is led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Most redirects of a connection within [`Self::period`]: `MAX_REDIRECTS` of `RFC 5685 §7`.
    pub most: u8,
    /// `REDIRECT_LOOP_DETECT_PERIOD` of `RFC 5685 §7`.
    pub period: Duration,
    /// Where it may be sent; empty = anywhere.
    pub allow: Vec<Allowed>,
}

impl Default for Following {
    fn default() -> Self {
        Self { most: 5, period: Duration::from_secs(300), allow: Vec::new() }
    }
}

impl Following {
    /// Whether a client may be sent there. A name is allowed by its name alone: what it resolves to
    /// is said by whoever answers for it.
    #[must_use]
    pub fn allows(&self, to: &GatewayAddress) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|allowed| allowed.covers(to))
    }
}

/// A place, or places, where a client may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses that share their first bits.
    Prefix {
        /// The first of them.
        network: IpAddr,
        /// How many bits they share.
        length: u8,
    },
    /// A name.
    Name(Fqdn),
    /// Every name below a domain, at whatever depth, but not the domain's own.
    Below(Fqdn),
}

impl Allowed {
    fn covers(&self, to: &GatewayAddress) -> bool {
        match (self, to) {
            (Self::Prefix { network: IpAddr::V4(network), length }, GatewayAddress::Ipv4(address)) => {
                let other = network.to_bits() ^ address.to_bits();
                other.leading_zeros() >= u32::from(*length)
            }
            (Self::Prefix { network: IpAddr::V6(network), length }, GatewayAddress::Ipv6(address)) => {
                let other = network.to_bits() ^ address.to_bits();
                other.leading_zeros() >= u32::from(*length)
            }
            (Self::Name(name), GatewayAddress::Fqdn(target)) => name == target,
            (Self::Below(domain), GatewayAddress::Fqdn(target)) => {
                let host = target.as_str().strip_suffix(domain.as_str());
                host.is_some_and(|host| host.len() > 1 && host.ends_with('.'))
            }
            (Self::Prefix { .. }, _) | (Self::Name(_) | Self::Below(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(network: &str, length: u8) -> Allowed {
        Allowed::Prefix { network: network.parse().unwrap(), length }
    }

    fn allows(allow: Vec<Allowed>, to: &str) -> bool {
        Following { allow, ..Following::default() }.allows(&to.parse().unwrap())
    }

    #[test]
    fn an_address_is_allowed_by_a_prefix_of_its_family() {
        for (network, length, to, is_allowed) in [
            ("10.50.0.0", 24, "10.50.0.255", true),
            ("10.50.0.0", 24, "10.50.1.0", false),
            ("10.50.0.7", 32, "10.50.0.7", true),
            ("10.50.0.7", 32, "10.50.0.6", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("fd50::", 64, "fd50::1:2", true),
            ("fd50::", 64, "fd50:0:0:1::", false),
            ("::", 0, "10.50.0.7", false),
            ("0.0.0.0", 0, "fd50::1", false),
            ("0.0.0.0", 0, "gw1.example.net", false),
        ] {
            assert_eq!(allows(vec![prefix(network, length)], to), is_allowed, "{to} in {network}/{length}");
        }
    }

    #[test]
    fn a_name_is_allowed_by_itself_or_by_a_domain_above_it() {
        let below = || Allowed::Below("vpn.example.net".parse().unwrap());
        for (to, is_allowed) in [
            ("gw1.vpn.example.net", true),
            ("a.b.vpn.example.net", true),
            ("GW1.VPN.Example.Net", true),
            ("vpn.example.net", false),
            ("evilvpn.example.net", false),
            ("vpn.example.net.evil.example", false),
        ] {
            assert_eq!(allows(vec![below()], to), is_allowed, "{to}");
        }
        assert!(allows(vec![below(), Allowed::Name("gw.example.org".parse().unwrap())], "gw.example.org"));
        assert!(!allows(vec![Allowed::Name("gw.example.org".parse().unwrap())], "x.gw.example.org"));
    }

    #[test]
    fn without_a_list_every_place_is_allowed() {
        assert!(allows(Vec::new(), "203.0.113.9") && allows(Vec::new(), "gw1.example.net"));
    }
}

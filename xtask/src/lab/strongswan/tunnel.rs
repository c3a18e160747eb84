//! What strongSwan tells about its SAs and about redirects.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use crate::lab::vici::Section;

/// An IKE SA with its Child SA, as strongSwan lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of the connection.
    pub name: String,
    /// State of the IKE SA: `ESTABLISHED` when it is up.
    pub state: String,
    /// State of the Child SA: `INSTALLED` when it is up.
    pub child_state: String,
    /// The peer's address.
    pub remote: IpAddr,
    /// The peer's identity.
    pub remote_id: String,
    /// Virtual addresses, of a client.
    pub virtual_addresses: Vec<IpAddr>,
    /// The peer's side of the Child SA, as networks in CIDR notation.
    pub remote_networks: Vec<String>,
    /// SPIs of the IKE SA, the original initiator's first: 16 hexadecimal digits each.
    pub spis: [String; 2],
    /// SPIs of the Child SA, that which leads here first: 8 hexadecimal digits each.
    pub child_spis: [String; 2],
}

impl Tunnel {
    /// Whether data can flow.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == "ESTABLISHED" && self.child_state == "INSTALLED"
    }

    /// The virtual address of a family.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn virtual_address(&self, is_ipv6: bool) -> Result<IpAddr> {
        let mut addresses = self.virtual_addresses.iter().copied();
        let found = addresses.find(|address| address.is_ipv6() == is_ipv6);
        found.with_context(|| format!("no such virtual address in {self:?}"))
    }

    pub(super) fn read(name: &str, sa: &Section) -> Result<Self> {
        let text = |key: &str| sa.text_of(key).unwrap_or_default().to_owned();
        let remote = text("remote-host");
        // The last one: one that is being replaced still stands before it.
        let child = sa.section_of("child-sas").and_then(|children| children.sections().last());
        let of_child =
            |key: &str| child.and_then(|(_, child)| child.text_of(key)).unwrap_or_default().to_owned();
        let child_state = if child.is_some() { of_child("state") } else { String::from("none") };
        let remote_networks = child.map(|(_, child)| child.list_of("remote-ts").to_vec()).unwrap_or_default();
        let virtual_addresses = sa
            .list_of("local-vips")
            .iter()
            .map(|address| address.parse().with_context(|| format!("reading the virtual address {address}")))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: name.to_owned(),
            state: text("state"),
            child_state,
            remote: remote.parse().with_context(|| format!("reading the peer's address {remote:?}"))?,
            remote_id: text("remote-id"),
            virtual_addresses,
            remote_networks,
            spis: [text("initiator-spi"), text("responder-spi")],
            child_spis: [of_child("spi-in"), of_child("spi-out")],
        })
    }
}

/// A client obeyed a REDIRECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Name of the connection.
    pub client: String,
    /// Where it was sent.
    pub gateway: IpAddr,
}

impl Redirect {
    /// Reads a line of strongSwan's log:
    /// `07[IKE] <alice|1> redirected to 10.50.0.11`.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (head, gateway) = line.split_once("> redirected to ")?;
        let (_, name) = head.split_once('<')?;
        let (client, _) = name.split_once('|')?;
        let gateway = gateway.parse().ok()?;
        Some(Self { client: client.to_owned(), gateway })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_from_strongswans_log() {
        let line = "07[IKE] <alice|1> redirected to fd50::11";

        let redirect = Redirect::read(line).unwrap();

        assert_eq!((redirect.client.as_str(), redirect.gateway), ("alice", "fd50::11".parse().unwrap()));
        assert_eq!(Redirect::read("07[IKE] <alice|1> initiating IKE_SA alice[1] to fd50::11"), None);
    }

    #[test]
    fn a_tunnel_is_read_from_what_strongswan_lists() {
        let old = Section::new().text("state", "DELETING").text("spi-in", "c0000001");
        let child = Section::new()
            .text("state", "INSTALLED")
            .text("spi-in", "c0000002")
            .text("spi-out", "c0000003")
            .list("remote-ts", ["10.99.2.0/24"]);
        let sa = Section::new()
            .text("state", "ESTABLISHED")
            .text("remote-host", "10.50.0.12")
            .text("remote-id", "gw2")
            .text("initiator-spi", "0102030405060708")
            .list("local-vips", ["10.98.2.1"])
            .section("child-sas", Section::new().section("net-1", old).section("net-2", child));

        let tunnel = Tunnel::read("c1", &sa).unwrap();

        assert!(tunnel.is_up());
        assert_eq!(tunnel.remote, "10.50.0.12".parse::<IpAddr>().unwrap());
        assert_eq!(tunnel.virtual_addresses, ["10.98.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(tunnel.remote_networks, ["10.99.2.0/24"]);
        assert_eq!(tunnel.spis[0], "0102030405060708");
        assert_eq!(tunnel.child_spis, ["c0000002", "c0000003"]);
        assert!(tunnel.virtual_address(true).is_err());
    }
}

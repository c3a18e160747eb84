//! Our own IKEv2 gateway with strongSwan and libreswan as its clients.
//!
//! Scenarios that do not look at the gateway's own words also run with strongSwan in its place
//! (`foreign`): if those fail, it is the laboratory.

mod algorithms;
mod certificates;
mod decoder;
mod eap;
mod ends;
mod foreign;
mod fragments;
mod gate;
mod hostile;
mod libreswan;
mod load;
mod mobike;
mod nat;
mod quantum;
mod radius;
mod refusal;
mod rekey;
mod reload;
mod trap;
mod up;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{bail, ensure};
use xtask::lab::gateway::windows::GATEWAY;
use xtask::lab::gateway::{Gateway, Scene, Settings, Visitor};
use xtask::lab::netns::Namespace;
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::strongswan::{ClientConfig, Sa, Tunnel};
use xtask::lab::{traffic, wait};

use crate::PATIENCE;

/// Octets of a bulk transfer, in each direction.
const BULK: usize = 4 << 20;

/// The certificate of [`GATEWAY`].
fn vpn(pki: &Pki) -> Credential {
    pki.issue("vpn", Key::P256, &[&format!("DNS:{GATEWAY}")], Validity::Current).unwrap()
}

/// Waits until our client has its tunnel to [`GATEWAY`].
fn wait_until_up(client: &Gateway) {
    client
        .wait_for("our client is up", PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            ensure!(sa.state == "established" && sa.children.len() == 1 && sa.remote_id == GATEWAY, "{sa:?}");
            Ok(())
        })
        .unwrap();
}

/// Brings a client's connection up.
fn connect(visitor: &Visitor, connection: &ClientConfig) -> Tunnel {
    visitor.charon.add_client(connection).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();
    visitor.charon.wait_for_tunnel(&connection.name, PATIENCE).unwrap()
}

/// Data of both families goes through a tunnel, in both directions, in small and large packets.
fn carries_data(visitor: &Visitor, tunnel: &Tunnel, gateway: &Namespace) {
    visitor.charon.ping_through(tunnel, PATIENCE).unwrap();
    for address in &tunnel.virtual_addresses {
        let inside = Scene::inside(address.is_ipv6()).unwrap();
        let client = visitor.charon.namespace();
        client.ping_of_size(*address, inside, MTU, PATIENCE).unwrap();
        gateway.ping_of_size(inside, *address, MTU, PATIENCE).unwrap();
        traffic::transfer((client, *address), (gateway, inside), BULK).unwrap();
    }
}

/// Waits until a tunnel has new keys at both ends, and nothing of the old ones is left.
fn rekeyed(visitor: &Visitor, gateway: &Gateway, old: &Tunnel, what: Sa) -> Tunnel {
    wait::until(&format!("{what:?} of {} is rekeyed", old.name), PATIENCE, || {
        let tunnels = visitor.charon.tunnels()?;
        let [tunnel] = &tunnels[..] else { bail!("{tunnels:?}") };
        let is_new = match what {
            Sa::Ike => tunnel.spis != old.spis,
            Sa::Child => tunnel.child_spis != old.child_spis,
        };
        ensure!(is_new && tunnel.is_up(), "{tunnel:?}");
        let sas = gateway.sas()?;
        let [sa] = &sas[..] else { bail!("{sas:?}") };
        let [child] = &sa.children[..] else { bail!("{sa:?}") };
        ensure!(sa.state == "established", "{sa:?}");
        ensure!(
            [Some(&sa.spi_i), sa.spi_r.as_ref()] == tunnel.spis.each_ref().map(Some),
            "{sa:?} {tunnel:?}"
        );
        ensure!([&child.spi_out, &child.spi_in] == tunnel.child_spis.each_ref(), "{sa:?} {tunnel:?}");
        Ok(tunnel.clone())
    })
    .unwrap()
}

/// A gateway that soon notices that a client is gone.
fn watchful(scene: &Scene) -> Gateway {
    let mut settings = Settings::of_shared_key();
    settings.profiles[0].dpd = Some(Duration::from_secs(1));
    settings.retransmission = Some((Duration::from_millis(200), Duration::from_secs(1)));
    scene.start(settings).unwrap()
}

/// Octets of the largest packet on the TUN devices of both sides.
const MTU: usize = 1400;

/// Short form of an address's family, for the names of connections.
fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "over6" } else { "over4" }
}

//! The gateway with the kernel's ESP, in the virtual machine: `cargo xtask test vm` makes the release
//! build, boots the machine and runs all of it there. Its kernel has what those of other machines may
//! lack.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod client;
mod left;
mod moves;
mod rekey;
mod trap;
mod up;
mod windows;

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::gateway::{Gateway, Scene, Settings, Visitor};
use xtask::lab::netns::Namespace;
use xtask::lab::strongswan::{self, ClientConfig, Tunnel};
use xtask::lab::wait;

/// For what takes a second on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(60);

/// strongSwan, with the kernel's ESP as well.
fn charon() -> strongswan::Settings {
    strongswan::Settings { has_kernel_esp: true, ..strongswan::Settings::default() }
}

/// A gateway with the laboratory's key whose packets the kernel carries.
fn settings() -> Settings {
    Settings { dataplane: Some("kernel".to_owned()), ..Settings::of_shared_key() }
}

/// Brings a client's connection up.
fn connect(visitor: &Visitor, connection: &ClientConfig) -> Tunnel {
    visitor.charon.add_client(connection).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();
    visitor.charon.wait_for_tunnel(&connection.name, PATIENCE).unwrap()
}

/// What `ip xfrm` lists, one SA or policy each.
fn listed(namespace: &Namespace, what: &str) -> Result<Vec<String>> {
    let output = namespace.command("ip").args(["-d", "xfrm", what]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        match entries.last_mut() {
            Some(entry) if line.starts_with(char::is_whitespace) => {
                entry.push(' ');
                entry.push_str(line.trim());
            }
            _ => entries.push(line.to_owned()),
        }
    }
    // The kernel gives some to each socket that a policy of another kind is for.
    entries.retain(|entry| !entry.contains("socket in") && !entry.contains("socket out"));
    Ok(entries)
}

/// Waits until nothing of SAs is left in a kernel.
fn is_clean(namespace: &Namespace) {
    wait::until("nothing is left in the kernel", PATIENCE, || {
        for what in ["state", "policy"] {
            let entries = listed(namespace, what)?;
            ensure!(entries.is_empty(), "{what}: {entries:?}");
        }
        Ok(())
    })
    .unwrap();
}

/// Whether there is an interface.
fn has_interface(namespace: &Namespace, name: &str) -> bool {
    namespace.command("ip").args(["link", "show", name]).output().unwrap().status.success()
}

/// Waits until the gateway's SA with a peer has a Child SA of other keys than before, and no other one.
fn wait_for_new_keys(gateway: &Gateway, identity: &str, old: &str) -> String {
    gateway
        .wait_for("the Child SA has new keys", PATIENCE, |sas| {
            let sa = sas.iter().find(|sa| sa.remote_id == identity);
            let children = sa.map(|sa| sa.children.as_slice()).unwrap_or_default();
            let [child] = children else { anyhow::bail!("{children:?}") };
            ensure!(child.spi_in != old, "{child:?}");
            Ok(child.spi_in.clone())
        })
        .unwrap()
}

/// The SPI that leads to the gateway, of the one Child SA with a peer.
fn inbound(gateway: &Gateway, identity: &str) -> String {
    wait_for_new_keys(gateway, identity, "")
}

/// The gateway's inside.
fn inside(is_ipv6: bool) -> std::net::IpAddr {
    Scene::inside(is_ipv6).unwrap()
}

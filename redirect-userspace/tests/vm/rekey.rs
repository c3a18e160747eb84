//! New keys under traffic: no packet is lost, whoever asks for them and why.

use std::time::Duration;

use anyhow::Context as _;
use xtask::lab::gateway::{Gateway, Scene, Settings, Visitor, addresses};
use xtask::lab::strongswan::{Sa, Tunnel};
use xtask::lab::traffic::{self, Echoed, Progress};

use crate::{PATIENCE, charon, connect, inbound, inside, settings, wait_for_new_keys};

/// Datagrams that come back between two changes.
const SOME: u64 = 200;

/// Who takes part.
struct Parts<'a> {
    gateway: &'a Gateway,
    visitor: &'a Visitor,
    tunnel: &'a Tunnel,
}

/// Runs `act` while datagrams go to and fro; none may be lost.
fn under_traffic(settings: Settings, act: impl FnOnce(&Parts<'_>, &Progress<'_>) -> anyhow::Result<()>) {
    let scene = Scene::with(1, charon()).unwrap();
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let own = tunnel.virtual_address(false).unwrap();
    let parts = Parts { gateway: &gateway, visitor, tunnel: &tunnel };
    let ends = ((visitor.charon.namespace(), own), (&scene.site, inside(false)));

    let ((), echoed) = traffic::echo(ends.0, ends.1, |progress| {
        progress.wait_for(SOME, PATIENCE)?;
        act(&parts, progress)?;
        progress.wait_for(SOME, PATIENCE)
    })
    .unwrap();

    let Echoed { sent, lost } = echoed;
    assert!(lost == 0 && sent > 0, "{lost} of {sent} were lost");
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_client_replaces_its_child_sa_and_no_packet_is_lost() {
    under_traffic(settings(), |parts, progress| {
        let mut spi = inbound(parts.gateway, "alice");
        for _ in 0..5 {
            parts.visitor.charon.rekey(&parts.tunnel.name, Sa::Child)?;
            spi = wait_for_new_keys(parts.gateway, "alice", &spi);
            progress.wait_for(SOME, PATIENCE)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn the_gateway_replaces_a_child_sa_and_no_packet_is_lost() {
    under_traffic(settings(), |parts, progress| {
        let mut spi = inbound(parts.gateway, "alice");
        for _ in 0..5 {
            let sa = parts.gateway.wait_for_sa("alice", PATIENCE)?;
            parts.gateway.control().rekey(sa.id, true)?;
            spi = wait_for_new_keys(parts.gateway, "alice", &spi);
            progress.wait_for(SOME, PATIENCE)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn either_side_replaces_the_ike_sa_and_no_packet_is_lost() {
    under_traffic(settings(), |parts, progress| {
        let old = parts.gateway.wait_for_sa("alice", PATIENCE)?;
        parts.visitor.charon.rekey(&parts.tunnel.name, Sa::Ike)?;
        let new = parts.gateway.wait_for("another IKE SA", PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            anyhow::ensure!(sa.spi_i != old.spi_i && sa.state == "established", "{sa:?}");
            Ok(sa.clone())
        })?;
        progress.wait_for(SOME, PATIENCE)?;
        parts.gateway.control().rekey(new.id, false)?;
        parts.gateway.wait_for("a third IKE SA", PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            anyhow::ensure!(sa.spi_i != new.spi_i && sa.state == "established", "{sa:?}");
            Ok(())
        })?;
        // A Child SA that has another parent is replaced like any other.
        let spi = inbound(parts.gateway, "alice");
        parts.visitor.charon.rekey(&parts.tunnel.name, Sa::Child)?;
        wait_for_new_keys(parts.gateway, "alice", &spi);
        Ok(())
    });
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn an_sa_that_has_carried_its_share_is_replaced_and_no_packet_is_lost() {
    // The last section is the profile's.
    let settings = Settings { extra: "rekey-bytes = 100000\n".to_owned(), ..settings() };
    under_traffic(settings, |parts, _progress| {
        let mut spi = inbound(parts.gateway, "alice");
        for _ in 0..3 {
            spi = wait_for_new_keys(parts.gateway, "alice", &spi);
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn an_sa_that_somebody_took_out_of_the_kernel_is_replaced() {
    let scene = Scene::with(1, charon()).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let visitor = &scene.visitors[0];
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let spi = inbound(&gateway, "alice");

    let flushed = scene.site.command("ip").args(["xfrm", "state", "flush"]).status().unwrap();

    assert!(flushed.success());
    let own = tunnel.virtual_address(false).unwrap();
    // The first packet that has no SA asks for one.
    let asks = scene.site.ping(inside(false), own, Duration::from_secs(30));
    wait_for_new_keys(&gateway, "alice", &spi);
    asks.context("through the new one").unwrap();
}

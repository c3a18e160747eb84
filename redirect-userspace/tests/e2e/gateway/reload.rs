//! New settings while tunnels are up.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::control::Sa;
use xtask::lab::gateway::{LocalProof, Profile, RemoteProof, Scene, Settings, addresses};
use xtask::lab::wait;

use super::{carries_data, connect, family};
use crate::PATIENCE;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn tunnels_stay_while_settings_change() {
    let scene = Scene::new(1).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    visitor.charon.add_shared_key("the key of branch7", &["branch7", "hq"]).unwrap();
    let tunnels: Vec<_> = addresses()
        .map(|address| connect(visitor, &visitor.connection(family(address), address)))
        .into_iter()
        .collect();
    let sas = gateway.sas().unwrap();

    // Another profile comes first, and a pool is added.
    let key = "the key of branch7".to_owned();
    let mut branch = Profile {
        remote_ids: vec!["branch7".to_owned()],
        local: LocalProof::SharedKey(key.clone()),
        remote: RemoteProof::SharedKey(key),
        ..Profile::of_shared_key("branches", "hq")
    };
    branch.pools = vec!["branches".to_owned()];
    branch.local_ts = vec!["10.99.1.0/24".to_owned()];
    gateway.settings.profiles[0].pools = vec!["ra4".to_owned(), "ra6".to_owned()];
    gateway.settings.profiles.insert(0, branch);
    gateway.settings.pools.push(("branches".to_owned(), "10.97.1.0/24".to_owned()));
    gateway.hang_up().unwrap();

    gateway.wait_for_event("reloaded", &[], PATIENCE).unwrap();
    for tunnel in &tunnels {
        carries_data(visitor, tunnel, &scene.site);
    }
    let spis = |sas: Vec<Sa>| sas.into_iter().map(|sa| sa.spi_i).collect::<Vec<_>>();
    assert_eq!(spis(gateway.sas().unwrap()), spis(sas));
    let mut connection = visitor.connection("branch7", addresses()[0]);
    connection.gateway = "hq".to_owned();
    connection.virtual_addresses = vec!["0.0.0.0".to_owned()];
    let new = connect(visitor, &connection);
    assert_eq!(new.virtual_addresses, ["10.97.1.1".parse::<IpAddr>().unwrap()]);
    visitor.charon.ping_through(&new, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn settings_that_are_wrong_are_refused_and_tunnels_stay() {
    let scene = Scene::new(1).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));

    gateway.settings.ike_proposals = vec!["3des-md5-modp768".to_owned()];
    let refused = gateway.reload().unwrap_err();

    assert!(format!("{refused:#}").contains("3des"), "{refused:#}");
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    connect(visitor, &visitor.connection("bob", addresses()[1]));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_whose_profile_is_gone_stays_until_it_is_cleared() {
    let scene = Scene::new(1).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection("alice", addresses()[0]);
    connection.is_watchful = true;
    let tunnel = connect(visitor, &connection);

    gateway.settings.profiles[0].remote_ids = vec!["bob".to_owned()];
    gateway.reload().unwrap();

    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    gateway.control().clear("alice").unwrap();
    wait::until("alice is out", PATIENCE, || {
        let tunnels = visitor.charon.tunnels()?;
        ensure!(tunnels.iter().all(|tunnel| !tunnel.is_up()), "{tunnels:?}");
        Ok(())
    })
    .unwrap();
    connect(visitor, &visitor.connection("bob", addresses()[0]));
}

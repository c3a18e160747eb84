//! The laboratory itself, without a balancer: if these fail, no other test here means anything.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;
use xtask::lab::Lab;
use xtask::lab::topology::{Cluster, Options};
use xtask::lab::wait;

use crate::PATIENCE;

/// Makes a run of this test binary the owner of a laboratory.
const OWNER: &str = "REDIRECT_E2E_LAB_OWNER";
/// Comes before the prefix that the owner prints.
const ANNOUNCE: &str = "laboratory ";

fn a_client_reaches_a_gateway_directly(gateway: impl Fn(&Cluster) -> IpAddr) {
    let cluster = Cluster::build(Options { gateways: 1, ..Options::default() }).unwrap();
    let client = &cluster.clients[0];
    let remote = gateway(&cluster);
    client.charon.add_client(&client.connection("alice", remote, 500)).unwrap();

    client.charon.initiate("alice").unwrap();
    let tunnel = client.charon.wait_for_tunnel("alice", PATIENCE).unwrap();

    assert_eq!(tunnel.remote, remote);
    assert_eq!(tunnel.remote_id, "gw1");
    assert_eq!(tunnel.virtual_addresses.len(), 2);
    client.charon.ping_through(&tunnel, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_builds_a_tunnel_over_ipv4_and_pings_through_it() {
    a_client_reaches_a_gateway_directly(|cluster| cluster.gateways[0].address4.into());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_builds_a_tunnel_over_ipv6_and_pings_through_it() {
    a_client_reaches_a_gateway_directly(|cluster| cluster.gateways[0].address6.into());
}

/// Whether a text names this laboratory, not one whose number only begins alike.
fn mentions(text: &str, prefix: &str) -> bool {
    text.match_indices(prefix)
        .filter_map(|(at, _)| text.get(at + prefix.len()..))
        .any(|after| !after.starts_with(|next: char| next.is_ascii_digit()))
}

/// What is left of a laboratory: namespaces, its directory, and processes that name it.
fn remains(prefix: &str) -> Vec<String> {
    let names = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let mut remains: Vec<_> = [Path::new("/run/netns"), &env::temp_dir()]
        .into_iter()
        .flat_map(names)
        .filter(|name| mentions(name, prefix))
        .collect();
    for process in names(Path::new("/proc")) {
        let about = |file: &str| fs::read(Path::new("/proc").join(&process).join(file)).unwrap_or_default();
        // Daemons of the laboratory have its directory in their arguments or their environment.
        let text = [about("cmdline"), about("environ")].concat();
        if mentions(&String::from_utf8_lossy(&text), prefix) {
            remains.push(format!("process {process}"));
        }
    }
    remains
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_owner_that_is_killed_leaves_nothing() {
    #[expect(clippy::disallowed_methods, reason = "says which of its two parts this process plays")]
    let is_owner = env::var_os(OWNER).is_some();
    if is_owner {
        let cluster = Cluster::build(Options { gateways: 1, ..Options::default() }).unwrap();
        writeln!(std::io::stdout(), "{ANNOUNCE}{}", cluster.lab.prefix()).unwrap();
        // Nothing is ever written to this pipe: the owner waits here for its end.
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let name = "lab::an_owner_that_is_killed_leaves_nothing";
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--include-ignored", "--nocapture"])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let prefix = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once(ANNOUNCE).map(|(_, prefix)| prefix.to_owned()))
        .unwrap();
    assert!(remains(&prefix).len() > 4, "the owner has built something: {:?}", remains(&prefix));

    owner.kill().unwrap();
    owner.wait().unwrap();

    wait::until("nothing remains", PATIENCE, || {
        let remains = remains(&prefix);
        ensure!(remains.is_empty(), "{remains:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_owner_that_panics_leaves_nothing() {
    let mut prefix = String::new();

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let cluster = Cluster::build(Options { gateways: 1, ..Options::default() }).unwrap();
        prefix = cluster.lab.prefix().to_owned();
        panic!("on purpose");
    }));

    assert!(panicked.is_err());
    assert_eq!(remains(&prefix), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn what_a_dead_owner_left_is_swept() {
    // Process ids end at 2^22.
    let prefix = "ikelab-99999999-0";
    let directory = env::temp_dir().join(prefix);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("charon.log"), "left").unwrap();
    let added = Command::new("ip").args(["netns", "add", &format!("{prefix}-lb")]).status().unwrap();
    assert!(added.success());
    assert_eq!(remains(prefix).len(), 2);

    Lab::new().unwrap();

    assert_eq!(remains(prefix), Vec::<String>::new());
}

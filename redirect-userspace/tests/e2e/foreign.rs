//! Other people's clients, which our gateways send on: in IKE_SA_INIT, in IKE_AUTH, and while the SA is
//! up. (strongSwan in IKE_SA_INIT: `redirect`, `strongswan`.)

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::gateway::{Gateway, Place, Settings};
use xtask::lab::libreswan::Pluto;
use xtask::lab::netns::Namespace;
use xtask::lab::strongswan::{Charon, ClientConfig, SHARED_KEY, Settings as CharonSettings};
use xtask::lab::topology::{Cluster, Options, VIP4};
use xtask::lab::wait;

use crate::PATIENCE;

/// Whom both gateways say they are.
const IDENTITY: &str = "vpn.example.net";

/// Where gateway `number` is.
fn at(number: u8) -> IpAddr {
    [10, 50, 0, 10 + number].into()
}

/// When clients are sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Init,
    Auth,
    Live,
}

/// Two gateways of ours, of which clients come to the second one in the end.
struct Pair {
    cluster: Cluster,
    first: Gateway,
    second: Gateway,
    /// In front of both, for IKE_SA_INIT.
    _balancer: Option<Redirectd>,
    _sites: [Namespace; 2],
    /// Where clients come first.
    entrance: IpAddr,
}

impl Pair {
    fn new(when: When) -> Self {
        let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() }).unwrap();
        let sites = [1, 2].map(|number| cluster.site(number).unwrap());
        let extra = match when {
            When::Init => String::new(),
            When::Auth | When::Live => {
                let exchanges = if when == When::Auth { "\"auth\"" } else { "" };
                let member = format!("name = \"gw2\"\naddresses = [\"{}\"]\n", at(2));
                format!("\n[redirect]\ngateway = [{exchanges}]\n\n[[cluster.static]]\n{member}")
            }
        };
        let first = Gateway::start(&sites[0], Settings { extra, ..Settings::of_node(1, IDENTITY) }).unwrap();
        let second = Gateway::start(&sites[1], Settings::of_node(2, IDENTITY)).unwrap();
        let member = Member { name: String::from("gw2"), addresses: vec![at(2)], weight: 1 };
        let (balancer, entrance) = if when == When::Init {
            (Some(Redirectd::start_in_mode(&cluster, "auto", &[member]).unwrap()), VIP4.into())
        } else {
            (None, at(1))
        };
        Self { cluster, first, second, _balancer: balancer, _sites: sites, entrance }
    }

    /// The client is with the second gateway, which knows who has sent it, and not with the first one.
    fn has_moved(&self) {
        self.second
            .wait_for("the client has gone on", PATIENCE, |sas| {
                let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
                let is_up = sa.state == "established" && sa.children.len() == 1;
                ensure!(is_up && sa.redirected_from == Some(self.entrance.to_string()), "{sa:?}");
                Ok(())
            })
            .unwrap();
        self.first.wait_until_gone("alice", PATIENCE).unwrap();
    }

    /// Sends the client on that has come up with the first gateway.
    fn send_on(&self) {
        self.first.wait_for_sa("alice", PATIENCE).unwrap();
        let told = self.first.control().run(&["redirect", "all", "--to", "gw2"]).unwrap();
        assert_eq!(told, "The client is told to go.\n");
    }
}

/// libreswan, which has begun to connect to the first gateway.
fn pluto(pair: &Pair) -> (Place, Pluto) {
    let place = pair.cluster.place(1).unwrap();
    let pluto = Pluto::start(&place.namespace).unwrap();
    pluto.add_shared_key(["alice", IDENTITY], SHARED_KEY).unwrap();
    pluto.ignores_child_sas().unwrap();
    let base = Pluto::client(place.address4.into(), pair.entrance);
    let remote_id = format!("@{IDENTITY}");
    let mut settings: Vec<_> = base.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.extend([("leftid", "@alice"), ("rightid", &remote_id), ("authby", "secret")]);
    settings.push(("accept-redirect", "yes"));
    pluto.add("clients", &settings).unwrap();
    pluto.initiate("clients").unwrap();
    (place, pluto)
}

/// strongSwan, which has begun to connect to the first gateway.
fn charon(pair: &Pair) -> (Place, Charon) {
    let place = pair.cluster.place(1).unwrap();
    let charon = Charon::start(&place.namespace, CharonSettings::default()).unwrap();
    let inside = ["10.99.0.0/16", "fd99::/16"].map(str::to_owned).to_vec();
    let connection =
        ClientConfig { inside, ..ClientConfig::new("alice", place.address4.into(), pair.entrance) };
    charon.add_client(&connection).unwrap();
    charon.initiate("alice").unwrap();
    (place, charon)
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_is_sent_on_in_ike_sa_init() {
    let pair = Pair::new(When::Init);

    let (_place, pluto) = pluto(&pair);

    pair.has_moved();
    pluto.wait_for_log(&["redirect", &at(2).to_string()], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_is_sent_on_in_ike_auth() {
    let pair = Pair::new(When::Auth);

    let (_place, pluto) = pluto(&pair);

    pair.has_moved();
    pluto.wait_for_log(&["redirect", &at(2).to_string()], PATIENCE).unwrap();
    pair.first.wait_for_event("sa-redirected", &["alice", "profile"], PATIENCE).unwrap();
}

// RDX-06, DIV-4: it breaks before it makes, so that the gateway must let go of the SA when it is told to.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_is_sent_on_while_its_sa_is_up() {
    let pair = Pair::new(When::Live);
    let (_place, pluto) = pluto(&pair);

    pair.send_on();

    pair.first.wait_for_event("sa-closed", &["alice"], PATIENCE).unwrap();
    pair.has_moved();
    pluto.wait_for_log(&["redirect", &at(2).to_string()], PATIENCE).unwrap();
}

// In IKE_AUTH charon 5.9.8 dies of a redirect, by a double free of its own (README says so).
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_is_sent_on_while_its_sa_is_up() {
    let pair = Pair::new(When::Live);
    let (_place, charon) = charon(&pair);

    pair.send_on();

    pair.has_moved();
    let at_second = || {
        let tunnel = charon.wait_for_tunnel("alice", PATIENCE)?;
        ensure!(tunnel.remote == at(2), "{tunnel:?}");
        charon.ping_through(&tunnel, PATIENCE).map(drop)
    };
    wait::until("its tunnel works", PATIENCE, at_second).unwrap();
}

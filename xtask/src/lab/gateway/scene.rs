//! One gateway's place, and places for its clients: on one wire, or behind a NAT box.
//!
//! # Picture
//!
//! ```text
//!   10.99.1.1 ─ gw1 ──┬── wire ──┬─────────┬── …      visitors on the wire
//!                     │          c1        c2
//!                     └── nat ───┬─────────┐          or behind a box
//!                                c1        c2
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::Gateway;
use super::settings::{Profile, Settings};
use crate::lab::Lab;
use crate::lab::nat::Nat;
use crate::lab::netns::{Namespace, Switch};
use crate::lab::pki::{Credential, Pki};
use crate::lab::strongswan::{self, Charon, ClientConfig, GatewayConfig, Proof};
use crate::lab::topology::{Site, first_inside, furnish, inside, pools};

/// Number of the gateway.
const NUMBER: u8 = 1;
/// Its identity, unless a test gives it another one.
const IDENTITY: &str = "gw1";

/// The places.
///
/// Fields are dropped in order: clients before the switch, and the laboratory last.
#[derive(Debug)]
pub struct Scene {
    /// The clients.
    pub visitors: Vec<Visitor>,
    /// Where the gateway goes.
    pub site: Namespace,
    /// What the clients are behind, if they are.
    pub nat: Option<Nat>,
    /// The wire.
    pub switch: Switch,
    /// The owner of it all.
    pub lab: Lab,
}

/// A place for clients.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its IPv4 address.
    pub address4: Ipv4Addr,
    /// Its IPv6 address.
    pub address6: Ipv6Addr,
    /// Its namespace.
    pub namespace: Namespace,
}

/// A place for clients, with a strongSwan daemon.
#[derive(Debug)]
pub struct Visitor {
    /// Its IPv4 address.
    pub address4: Ipv4Addr,
    /// Its IPv6 address.
    pub address6: Ipv6Addr,
    /// Its daemon.
    pub charon: Charon,
}

/// The gateway's addresses, IPv4 first.
#[must_use]
pub fn addresses() -> [IpAddr; 2] {
    [Ipv4Addr::new(10, 50, 0, 11).into(), Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 0x11).into()]
}

impl Scene {
    /// Builds the gateway's place and this many clients on its wire.
    ///
    /// # Errors
    ///
    /// When a step fails; what was built is removed.
    pub fn new(visitors: u8) -> Result<Self> {
        Self::build(visitors, false, strongswan::Settings::default())
    }

    /// As [`Scene::new`], with settings for the clients' daemons.
    ///
    /// # Errors
    ///
    /// As [`Scene::new`].
    pub fn with(visitors: u8, settings: strongswan::Settings) -> Result<Self> {
        Self::build(visitors, false, settings)
    }

    /// Builds the gateway's place and this many clients behind a NAT box.
    ///
    /// # Errors
    ///
    /// As [`Scene::new`].
    pub fn behind_nat(visitors: u8) -> Result<Self> {
        Self::build(visitors, true, strongswan::Settings::default())
    }

    /// As [`Scene::behind_nat`], with settings for the clients' daemons.
    ///
    /// # Errors
    ///
    /// As [`Scene::new`].
    pub fn behind_nat_with(visitors: u8, settings: strongswan::Settings) -> Result<Self> {
        Self::build(visitors, true, settings)
    }

    fn build(visitors: u8, is_behind_nat: bool, settings: strongswan::Settings) -> Result<Self> {
        let lab = Lab::new()?;
        let switch = Switch::new(&lab)?;
        let site = Site::build(&lab, &switch, NUMBER)?.namespace;
        furnish(&site, NUMBER)?;
        let nat = is_behind_nat.then(|| Nat::new(&lab, &switch)).transpose()?;
        let mut scene = Self { visitors: Vec::new(), site, nat, switch, lab };
        for number in 1..=visitors {
            let Place { address4, address6, namespace } = scene.place(number)?;
            let charon = Charon::start(&namespace, settings)
                .with_context(|| format!("strongSwan of client {number}"))?;
            scene.visitors.push(Visitor { address4, address6, charon });
        }
        Ok(scene)
    }

    /// Makes another place for a client, without a daemon. Its number is not that of a visitor.
    ///
    /// # Errors
    ///
    /// When a link cannot be made.
    pub fn place(&self, number: u8) -> Result<Place> {
        let namespace = self.lab.namespace(&format!("c{number}"))?;
        let (address4, address6) = match &self.nat {
            Some(nat) => nat.wire(&namespace, number)?,
            None => {
                let addresses = on_the_wire(number);
                let networks = [format!("{}/24", addresses.0), format!("{}/64", addresses.1)];
                self.switch.wire(&namespace, &networks)?;
                addresses
            }
        };
        Ok(Place { address4, address6, namespace })
    }

    /// Starts our gateway.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(&self, settings: Settings) -> Result<Gateway> {
        Gateway::start(&self.site, settings)
    }

    /// Starts strongSwan in our gateway's place.
    ///
    /// # Errors
    ///
    /// When it does not start, or refuses the configuration.
    pub fn start_strongswan(&self, config: &GatewayConfig) -> Result<Charon> {
        self.start_strongswan_with(config, strongswan::Settings::default())
    }

    /// As [`Scene::start_strongswan`], with settings.
    ///
    /// # Errors
    ///
    /// As [`Scene::start_strongswan`].
    pub fn start_strongswan_with(
        &self,
        config: &GatewayConfig,
        settings: strongswan::Settings,
    ) -> Result<Charon> {
        let charon = Charon::start(&self.site, settings)?;
        charon.serve(config)?;
        Ok(charon)
    }

    /// An address that answers behind the gateway.
    ///
    /// # Errors
    ///
    /// Never, as long as the networks behind it are well-formed.
    pub fn inside(is_ipv6: bool) -> Result<IpAddr> {
        first_inside(NUMBER, is_ipv6)
    }
}

/// Addresses of a client on the wire.
pub(in crate::lab) fn on_the_wire(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(10, 50, 0, 100 + number), Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 1, number.into()))
}

impl Visitor {
    /// A connection to the gateway over one family, with the laboratory's key.
    #[must_use]
    pub fn connection(&self, name: &str, gateway: IpAddr) -> ClientConfig {
        let local = match gateway {
            IpAddr::V4(_) => self.address4.into(),
            IpAddr::V6(_) => self.address6.into(),
        };
        ClientConfig { inside: inside(NUMBER).to_vec(), ..ClientConfig::new(name, local, gateway) }
    }

    /// As [`Visitor::connection`], by certificates: the client's own, and one of the same CAs for
    /// the gateway. Its daemon gets what it needs for that.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses a key or certificate.
    pub fn connection_by(
        &self,
        credential: &Credential,
        pki: &Pki,
        identity: &str,
        gateway: IpAddr,
    ) -> Result<ClientConfig> {
        self.charon.add_ca(&pki.ca())?;
        self.charon.add_ca(&pki.issuer())?;
        self.charon.add_private_key(&credential.key)?;
        Ok(ClientConfig {
            proof: Proof::Signature(String::from("pubkey"), credential.certificate.clone()),
            gateway_proof: Proof::AnySignature,
            ..self.connection(identity, gateway)
        })
    }
}

impl Settings {
    /// One profile for whoever knows the laboratory's key, with addresses of both families.
    #[must_use]
    pub fn of_shared_key() -> Self {
        Self::of_node(NUMBER, IDENTITY)
    }

    /// As [`Settings::of_shared_key`], for gateway `number`, with that identity.
    #[must_use]
    pub fn of_node(number: u8, identity: &str) -> Self {
        Self::with_profile(number, Profile::of_shared_key("clients", identity))
    }

    /// One profile for whoever has a certificate, with addresses of both families.
    #[must_use]
    pub fn of_certificates(own: &Credential, pki: &Pki, identity: &str) -> Self {
        Self::with_profile(NUMBER, Profile::of_certificates("clients", identity, own, pki))
    }

    fn with_profile(number: u8, profile: Profile) -> Self {
        let names = ["ra4", "ra6"].map(str::to_owned);
        let profile = Profile { local_ts: inside(number).to_vec(), ..profile };
        Self {
            pools: names.into_iter().zip(pools(number)).collect(),
            profiles: vec![profile],
            ..Self::default()
        }
    }
}

impl GatewayConfig {
    /// What strongSwan is told in our gateway's place: as [`Settings::of_shared_key`].
    #[must_use]
    pub fn of_shared_key() -> Self {
        Self {
            identity: IDENTITY.to_owned(),
            pools: pools(NUMBER).to_vec(),
            inside: inside(NUMBER).to_vec(),
            ..Self::default()
        }
    }
}

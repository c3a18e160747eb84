//! A gateway for the clients that Windows has built in, with FreeRADIUS behind it, by one file: who tests
//! another data plane starts the same.

use anyhow::Result;

use super::{Gateway, Scene, Settings, Visitor, addresses};
use crate::lab::pki::{Key, Pki, Validity};
use crate::lab::radius::{self, Radius, User};
use crate::lab::strongswan::{ClientConfig, Proof};

/// The gateway's configuration file, with the laboratory's places left open.
pub const FILE: &str = include_str!("windows.toml");
/// The gateway's name.
pub const GATEWAY: &str = "vpn.example.net";
/// A user, and how the server knows it.
pub const USER: &str = "alice";
/// Its password.
pub const PASSWORD: &str = "corréct horse";
/// The address that the server has for it.
pub const ADDRESS: &str = "10.98.1.77";
/// What Windows says in front of a user's name.
const DOMAIN: &str = "EXAMPLE";
/// Place of the server: the file has its address.
const SERVER: u8 = 7;

/// The gateway and its server.
#[derive(Debug)]
pub struct Windows {
    /// Our gateway.
    pub gateway: Gateway,
    /// The server that knows the users.
    pub radius: Radius,
    pki: Pki,
}

impl Windows {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// When one of them does not start.
    pub fn start(scene: &Scene) -> Result<Self> {
        let pki = Pki::new(&scene.lab)?;
        // The file names its certificate.
        pki.issue("vpn", Key::P256, &[&format!("DNS:{GATEWAY}")], Validity::Current)?;
        let user = User::new(&Self::identity(), PASSWORD).with("Framed-IP-Address", ADDRESS);
        let radius = Radius::start(&scene.place(SERVER)?, &radius::Settings::new(&[user]))?;
        let gateway = scene.start(Settings { file: Some(FILE), ..Settings::default() })?;
        Ok(Self { gateway, radius, pki })
    }

    /// Who the client is to the gateway.
    #[must_use]
    pub fn identity() -> String {
        format!("{DOMAIN}\\{USER}")
    }

    /// strongSwan as Windows does it: its address is all that it says of itself in IKE, it wants nobody in
    /// particular, and says in EAP who it is, with its domain.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses a password or certificate.
    pub fn connection(&self, visitor: &Visitor, name: &str, password: &str) -> Result<ClientConfig> {
        let [gateway, _] = addresses();
        visitor.charon.add_ca(&self.pki.ca())?;
        visitor.charon.add_password(&Self::identity(), password)?;
        Ok(ClientConfig {
            identity: visitor.address4.to_string(),
            proof: Proof::Eap("eap-mschapv2".to_owned(), Self::identity()),
            gateway_proof: Proof::AnySignature,
            ike_proposals: vec!["aes256-sha256-modp2048".to_owned()],
            esp_proposals: vec!["aes256-sha256".to_owned()],
            ..visitor.connection(name, gateway)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::{inside, pools};

    #[test]
    fn the_file_has_the_places_of_the_laboratory() {
        let [pool, _] = pools(1);
        assert!(FILE.contains(&format!("\"{pool}\"")), "{pool}");
        for network in inside(1) {
            assert!(FILE.contains(&format!("\"{network}\"")), "{network}");
        }
        let (address, _) = super::super::on_the_wire(SERVER);
        assert!(FILE.contains(&format!("server = \"{}\"", radius::server(address))));
        assert!(FILE.contains(radius::SECRET) && FILE.contains(GATEWAY));
    }
}

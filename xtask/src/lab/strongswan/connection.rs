//! What strongSwan is told about a tunnel, as client and as gateway.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::vici::Section;

/// Key of every connection of the laboratory that has no other.
pub const SHARED_KEY: &str = "the laboratory's shared key, which protects nothing";
/// One cheap suite on both sides: the laboratory measures redirects, not arithmetic.
const IKE_PROPOSAL: &str = "aes128gcm16-prfsha256-x25519";
const ESP_PROPOSAL: &str = "aes128gcm16";
/// The next number of a tunnel.
static REQID: AtomicU32 = AtomicU32::new(1);
/// The one Child SA of every connection.
pub(super) const CHILD: &str = "net";

/// How one side proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// With the key that is loaded for its identity, the laboratory's where there is no other.
    SharedKey,
    /// With a signature: strongSwan's word for the method (`pubkey`, `rsa/pss-sha256`), and the
    /// certificate, in PEM.
    Signature(String, PathBuf),
    /// With a signature, by somebody of whom only the CA is known.
    AnySignature,
    /// By EAP: strongSwan's word for the method (`eap-mschapv2`), and who the client is to it. A
    /// gateway asks for that if it is `%any`.
    Eap(String, String),
    /// By EAP-TLS, with this certificate, in PEM.
    EapTls(PathBuf),
}

impl Proof {
    fn add_to(&self, section: Section) -> Result<Section> {
        Ok(match self {
            Self::SharedKey => section.text("auth", "psk"),
            Self::Signature(method, certificate) => {
                section.text("auth", method).list("certs", [read(certificate)?])
            }
            Self::AnySignature => section.text("auth", "pubkey"),
            Self::EapTls(certificate) => section.text("auth", "eap-tls").list("certs", [read(certificate)?]),
            Self::Eap(method, identity) => section.text("auth", method).text("eap_id", identity),
        })
    }
}

/// A gateway's side of the laboratory's tunnels.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Its identity.
    pub identity: String,
    /// Address pools for clients, in CIDR notation.
    pub pools: Vec<String>,
    /// Networks behind it, in CIDR notation.
    pub inside: Vec<String>,
    /// How it proves who it is.
    pub proof: Proof,
    /// How its clients do.
    pub client_proof: Proof,
    /// Proposals for the IKE SA.
    pub ike_proposals: Vec<String>,
    /// Proposals for the Child SA.
    pub esp_proposals: Vec<String>,
    /// Whether its clients may move to other addresses (MOBIKE).
    pub is_mobile: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            identity: String::new(),
            pools: Vec::new(),
            inside: Vec::new(),
            proof: Proof::SharedKey,
            client_proof: Proof::SharedKey,
            ike_proposals: vec![IKE_PROPOSAL.to_owned()],
            esp_proposals: vec![ESP_PROPOSAL.to_owned()],
            is_mobile: false,
        }
    }
}

impl GatewayConfig {
    /// The connection, with these pools.
    pub(super) fn section(&self, pools: &[String]) -> Result<Section> {
        let child = Section::new()
            .list("local_ts", &self.inside)
            .list("esp_proposals", &self.esp_proposals)
            .text("mode", "tunnel");
        Ok(Section::new()
            .text("version", 2)
            .text("mobike", if self.is_mobile { "yes" } else { "no" })
            .text("unique", "never")
            .list("proposals", &self.ike_proposals)
            .section("local", self.proof.add_to(Section::new().text("id", &self.identity))?)
            .section("remote", self.client_proof.add_to(Section::new())?)
            .list("pools", pools)
            .section("children", Section::new().section(CHILD, child)))
    }
}

/// A client's side of one tunnel.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Name of the connection.
    pub name: String,
    /// Its identity; a pool gives each identity one lease.
    pub identity: String,
    /// Where it sends its first request from.
    pub local: IpAddr,
    /// Where it sends its first request to.
    pub remote: IpAddr,
    /// 500, or 4500 (which strongSwan then uses at both ends, with the non-ESP marker).
    pub port: u16,
    /// Networks it wants to reach, in CIDR notation; gateways narrow them to their own.
    pub inside: Vec<String>,
    /// Whether it notices that its gateway is gone, or hears that it goes, and asks `remote` again.
    pub is_watchful: bool,
    /// How it proves who it is.
    pub proof: Proof,
    /// How it wants the gateway to do so.
    pub gateway_proof: Proof,
    /// Whom it wants to meet: an identity, or `%any`.
    pub gateway: String,
    /// Addresses that it asks for.
    pub virtual_addresses: Vec<String>,
    /// Proposals for the IKE SA.
    pub ike_proposals: Vec<String>,
    /// Proposals for the Child SA.
    pub esp_proposals: Vec<String>,
    /// Whether it says that it has no other SA (INITIAL_CONTACT).
    pub is_sole: bool,
    /// Whether it would move to another address (MOBIKE).
    pub is_mobile: bool,
    /// When it asks for a new IKE SA, and for a new Child SA.
    pub rekey: Option<(Duration, Duration)>,
    /// By which the daemon finds the SA of a packet. Left to itself it gives the number of a tunnel
    /// that has moved to another gateway to the next tunnel as well, and sends one's packets through
    /// the other.
    pub reqid: u32,
}

impl ClientConfig {
    /// A connection like those of the demonstration: name and identity are one.
    #[must_use]
    pub fn new(name: &str, local: IpAddr, remote: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            identity: name.to_owned(),
            local,
            remote,
            port: 500,
            inside: Vec::new(),
            is_watchful: false,
            proof: Proof::SharedKey,
            gateway_proof: Proof::SharedKey,
            gateway: String::from("%any"),
            virtual_addresses: vec![String::from("0.0.0.0"), String::from("::")],
            ike_proposals: vec![IKE_PROPOSAL.to_owned()],
            esp_proposals: vec![ESP_PROPOSAL.to_owned()],
            is_sole: false,
            is_mobile: false,
            rekey: None,
            reqid: REQID.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn section(&self) -> Result<Section> {
        let yes = |is_so: bool| if is_so { "yes" } else { "no" };
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        let mut child = Section::new()
            .list("remote_ts", &self.inside)
            .list("esp_proposals", &self.esp_proposals)
            .text("mode", "tunnel")
            .text("reqid", self.reqid)
            .text("dpd_action", if self.is_watchful { "start" } else { "none" })
            .text("close_action", if self.is_watchful { "start" } else { "none" });
        let mut connection = Section::new();
        if let Some((ike, esp)) = self.rekey {
            connection = connection.text("rekey_time", seconds(ike)).text("rand_time", "0s");
            child = child.text("rekey_time", seconds(esp)).text("rand_time", "0s");
        }
        Ok(connection
            .text("version", 2)
            .text("mobike", yes(self.is_mobile))
            .text("unique", if self.is_sole { "no" } else { "never" })
            .list("proposals", &self.ike_proposals)
            .text("dpd_delay", if self.is_watchful { "2s" } else { "0s" })
            .list("local_addrs", [self.local])
            .list("remote_addrs", [self.remote])
            .text("local_port", self.port)
            .text("remote_port", self.port)
            .text("keyingtries", 0)
            .list("vips", &self.virtual_addresses)
            .section("local", self.proof.add_to(Section::new().text("id", &self.identity))?)
            .section("remote", self.gateway_proof.add_to(Section::new().text("id", &self.gateway))?)
            .section("children", Section::new().section(CHILD, child)))
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

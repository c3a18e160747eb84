//! IKE SAs in the words of the control socket.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Method, SaPage, SaReport};
use crate::ike::wire::TrafficSelector;
use crate::ike::{ChildSnapshot, Usage};

/// A page of SAs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SaPageView {
    /// The SAs, by their numbers.
    pub sas: Vec<SaView>,
    /// How many more are meant that come after them.
    pub more: u64,
}

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SaView {
    /// Its number.
    pub id: u64,
    /// What we are in it.
    pub role: SaRole,
    /// `half-open`, `established`, `rekeying`, `redirected` or `closing`.
    pub state: String,
    /// Our address and port.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// Who we are.
    pub local_id: String,
    /// Who the peer is.
    pub remote_id: String,
    /// Its profile or connection.
    #[serde(default)]
    pub profile: Option<String>,
    /// How we prove who we are.
    #[serde(default)]
    pub local_auth: Option<Method>,
    /// How the peer does.
    #[serde(default)]
    pub remote_auth: Option<Method>,
    /// The original initiator's SPI: 16 hexadecimal digits.
    pub spi_i: String,
    /// The original responder's SPI, once there is one.
    pub spi_r: Option<String>,
    /// Algorithms, as they would be configured.
    pub suite: String,
    /// Seconds since it was made.
    pub age_s: u64,
    /// Seconds until we rekey it.
    #[serde(default)]
    pub rekey_in_s: Option<u64>,
    /// The gateway that sent the client here.
    pub redirected_from: Option<String>,
    /// Whether the client follows redirects.
    #[serde(default)]
    pub follows_redirects: bool,
    /// Whether it was resumed by a ticket.
    pub resumed: bool,
    /// Whether there is a NAT before us.
    #[serde(default)]
    pub local_behind_nat: bool,
    /// Whether there is a NAT before the peer.
    #[serde(default)]
    pub remote_behind_nat: bool,
    /// Whether it may move to other addresses (MOBIKE).
    #[serde(default)]
    pub mobike: bool,
    /// Addresses that the client was given.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its Child SAs.
    pub children: Vec<ChildView>,
}

/// What we are in an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaRole {
    /// We began it.
    Initiator,
    /// The peer did.
    Responder,
}

/// A Child SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChildView {
    /// The SPI that leads to us: 8 hexadecimal digits.
    pub spi_in: String,
    /// The SPI that leads to the peer.
    pub spi_out: String,
    /// `tunnel`.
    pub mode: String,
    /// Algorithms, as they would be configured.
    #[serde(default)]
    pub suite: String,
    /// Whether ESP goes through UDP.
    #[serde(default)]
    pub udp_encapsulated: bool,
    /// What is here.
    pub local_ts: Vec<String>,
    /// What is there.
    pub remote_ts: Vec<String>,
    /// Octets of inner packets that came in.
    pub bytes_in: u64,
    /// Octets of inner packets that went out.
    pub bytes_out: u64,
    /// Packets that came in.
    #[serde(default)]
    pub packets_in: u64,
    /// Packets that went out.
    #[serde(default)]
    pub packets_out: u64,
    /// Seconds since the last packet came in, if one did.
    #[serde(default)]
    pub idle_s: Option<u64>,
    /// Seconds since it was made.
    #[serde(default)]
    pub age_s: u64,
    /// Seconds until we rekey it.
    #[serde(default)]
    pub rekey_in_s: Option<u64>,
}

/// SAs are being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClearView {
    /// How many.
    pub cleared: u64,
}

/// What was asked for has begun; how it goes, events tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StartView {
    /// Always true; a refusal is an error response.
    pub started: bool,
}

impl From<&SaPage> for SaPageView {
    fn from(page: &SaPage) -> Self {
        Self { sas: page.reports.iter().map(SaView::from).collect(), more: page.more }
    }
}

impl From<&SaReport> for SaView {
    fn from(SaReport { sa, usage, methods }: &SaReport) -> Self {
        let usages = usage.iter().copied().chain(std::iter::repeat(Usage::default()));
        Self {
            id: sa.id.0,
            role: if sa.is_initiator { SaRole::Initiator } else { SaRole::Responder },
            state: sa.state.as_str().to_owned(),
            local: sa.local.to_string(),
            remote: sa.remote.to_string(),
            local_id: sa.local_id.to_string(),
            remote_id: sa.remote_id.to_string(),
            profile: sa.profile.as_ref().map(ToString::to_string),
            local_auth: methods.map(|[local, _]| local),
            remote_auth: methods.map(|[_, remote]| remote),
            spi_i: sa.spi_i.to_string(),
            spi_r: sa.spi_r.as_ref().map(ToString::to_string),
            suite: sa.suite.to_string(),
            age_s: sa.age.as_secs(),
            rekey_in_s: sa.rekey_in.as_ref().map(Duration::as_secs),
            redirected_from: sa.redirected_from.as_ref().map(IpAddr::to_string),
            follows_redirects: sa.follows_redirects,
            resumed: sa.is_resumed,
            local_behind_nat: sa.are_we_behind_nat,
            remote_behind_nat: sa.is_peer_behind_nat,
            mobike: sa.is_mobile,
            addresses: sa.addresses.iter().map(IpAddr::to_string).collect(),
            children: sa.children.iter().zip(usages).map(|(child, usage)| view(child, &usage)).collect(),
        }
    }
}

fn view(child: &ChildSnapshot, usage: &Usage) -> ChildView {
    let texts = |selectors: &[TrafficSelector]| selectors.iter().map(ToString::to_string).collect();
    ChildView {
        spi_in: child.inbound.to_string(),
        spi_out: child.outbound.to_string(),
        mode: "tunnel".to_owned(),
        suite: child.suite.to_string(),
        udp_encapsulated: child.is_encapsulated,
        local_ts: texts(&child.local_ts),
        remote_ts: texts(&child.remote_ts),
        bytes_in: usage.bytes_in,
        bytes_out: usage.bytes_out,
        packets_in: usage.packets_in,
        packets_out: usage.packets_out,
        idle_s: usage.idle.as_ref().map(Duration::as_secs),
        age_s: child.age.as_secs(),
        rekey_in_s: child.rekey_in.as_ref().map(Duration::as_secs),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::control::fixtures;

    #[test]
    fn show_sa_has_every_field_of_the_contract() {
        let [sa, _] = fixtures::sas();
        let page = SaPage { reports: vec![sa], more: 3 };

        let json = serde_json::to_value(SaPageView::from(&page)).unwrap();

        let child = json!({
            "spi-in": "c2320001",
            "spi-out": "3076c002",
            "mode": "tunnel",
            "suite": "aes256gcm16-noesn",
            "udp-encapsulated": true,
            "local-ts": ["10.99.0.0/16", "10.97.0.1/32[6/443]"],
            "remote-ts": ["10.98.0.1/32"],
            "bytes-in": 123_456,
            "bytes-out": 7_890,
            "packets-in": 120,
            "packets-out": 78,
            "idle-s": 4,
            "age-s": 700,
            "rekey-in-s": 2_800,
        });
        assert_eq!(
            json,
            json!({
                "sas": [{
                    "id": 7,
                    "role": "responder",
                    "state": "established",
                    "local": "10.50.0.11:4500",
                    "remote": "192.0.2.7:61234",
                    "local-id": "vpn.example.net",
                    "remote-id": "alice@example.net",
                    "profile": "remote-access",
                    "local-auth": "pubkey",
                    "remote-auth": "psk",
                    "spi-i": "1122334455667788",
                    "spi-r": "99aabbccddeeff00",
                    "suite": "aes256gcm16-prfsha384-ecp384",
                    "age-s": 735,
                    "rekey-in-s": 13_665,
                    "redirected-from": "10.50.0.5",
                    "follows-redirects": true,
                    "resumed": false,
                    "local-behind-nat": false,
                    "remote-behind-nat": true,
                    "addresses": ["10.98.0.1", "fd98::1"],
                    "mobike": true,
                    "children": [child],
                }],
                "more": 3,
            })
        );
        assert_eq!(serde_json::from_value::<SaPageView>(json).unwrap(), SaPageView::from(&page));
    }

    #[test]
    fn what_is_not_known_yet_is_null() {
        let [_, sa] = fixtures::sas();

        let json = serde_json::to_value(SaView::from(&sa)).unwrap();

        assert_eq!((&json["role"], &json["state"]), (&json!("initiator"), &json!("half-open")));
        for field in ["spi-r", "redirected-from", "local-auth", "rekey-in-s"] {
            assert_eq!(json[field], Value::Null, "{field}");
        }
        assert_eq!(json["children"], json!([]));
    }

    #[test]
    fn a_child_without_usage_has_carried_nothing() {
        let [mut sa, _] = fixtures::sas();
        sa.usage.clear();

        assert_eq!(SaView::from(&sa).children[0].bytes_in, 0);
    }
}

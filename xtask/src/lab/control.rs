//! A daemon's control socket, asked through `redirectctl`, and its answers.
//!
//! The answers have the fields of the interface contract that the laboratory looks at; others may
//! come and go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::process::output;
use super::topology::installed;

/// An answer to `show redirect`.
#[derive(Clone, Debug, Deserialize)]
pub struct ShowRedirect {
    /// Interfaces the fast path is on.
    pub attached: Vec<Attachment>,
    /// Whether it answers.
    pub armed: bool,
    /// Packets by reason.
    pub counters: BTreeMap<String, u64>,
    /// Redirects by gateway.
    pub gateways: Vec<Redirects>,
    /// Who carries packets, if the node is a gateway.
    pub dataplane: Option<Carrier>,
}

/// Who carries packets of Child SAs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Carrier {
    /// `kernel`, `userspace` or `none`.
    pub name: String,
    /// Why nobody better does.
    pub reason: Option<String>,
}

/// An interface the fast path is on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// `native`, `generic` or `userspace`.
    pub mode: String,
    /// Id of the program, where there is one.
    pub program_id: Option<u64>,
}

/// Redirects to one gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct Redirects {
    /// The gateway.
    pub name: String,
    /// Redirects to it since the daemon started.
    pub redirects: u64,
}

/// An answer to `show cluster`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShowCluster {
    /// `master`, `slave` or `none`.
    pub role: String,
    /// The node's state in one word.
    pub status: String,
    /// The HSRP group that decides the role.
    pub standby_group: Option<String>,
    /// The members, as far as the node knows them.
    pub gateways: Vec<Share>,
}

impl ShowCluster {
    /// The member of a name.
    #[must_use]
    pub fn gateway(&self, name: &str) -> Option<&Share> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// Names of the members that are offered to clients, in order.
    #[must_use]
    pub fn up(&self) -> Vec<&str> {
        let up = self.gateways.iter().filter(|gateway| gateway.state == "up");
        let mut names: Vec<_> = up.map(|gateway| gateway.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A member, and what it is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Share {
    /// The member.
    pub name: String,
    /// Whether it is the node that was asked.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// `up`, `overloaded`, `draining` or `down`.
    pub state: String,
    /// Percent of its capacity in use, as reported.
    pub load: Option<f64>,
    /// IKE SAs, as reported.
    pub sessions: Option<u64>,
    /// Part of the slots that lead to it, 0 to 1.
    pub share: f64,
    /// Clients sent there.
    pub redirects: u64,
}

/// One HSRP group of an answer to `show standby`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standby {
    /// The group's name.
    pub name: String,
    /// `initial`, `learn`, `listen`, `speak`, `standby` or `active`.
    pub state: String,
    /// The virtual addresses.
    pub vip: Vec<IpAddr>,
    /// The priority in force.
    pub priority: u8,
    /// Address of the Active router, if one is known; `local` where the node is it.
    pub active_router: Option<String>,
    /// Address of the Standby router, if one is known.
    pub standby_router: Option<String>,
    /// How often the state has changed.
    pub state_changes: u64,
}

/// An answer to `show llg`.
#[derive(Clone, Debug, Deserialize)]
pub struct ShowLlg {
    /// Counts published tables.
    pub generation: u64,
    /// Slots in the table.
    pub slots: u64,
    /// Who has how many.
    pub gateways: Vec<Slots>,
}

/// One gateway's part of the table.
#[derive(Clone, Debug, Deserialize)]
pub struct Slots {
    /// The gateway.
    pub name: String,
    /// Slots that lead to it.
    pub slots: u64,
}

/// One entry of an answer to `show events`.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// Grows with every event.
    pub sequence: u64,
    /// `info`, `warn` or `error`.
    pub severity: String,
    /// The event's name.
    pub event: String,
    /// The same in words.
    pub text: String,
    /// Its details by name.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// How often it happened in a row.
    #[serde(default)]
    pub count: u64,
}

/// An answer to `show radius`.
#[derive(Clone, Debug, Deserialize)]
pub struct ShowRadius {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<RadiusServer>,
    /// Requests by what became of them.
    pub results: BTreeMap<String, u64>,
    /// Datagrams that were not used by why.
    pub discards: BTreeMap<String, u64>,
}

/// One server of RADIUS in one role.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RadiusServer {
    /// Where it is.
    pub server: SocketAddr,
    /// `authentication` or `accounting`.
    pub role: String,
    /// `up`, `dead` or `probed`.
    pub state: String,
    /// Milliseconds for which it is not up.
    pub dead_ms: Option<u64>,
    /// Milliseconds it takes to answer.
    pub rtt_ms: Option<f64>,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Those that it has answered.
    pub answered: u64,
    /// Packets that were sent to it again.
    pub retransmissions: u64,
    /// Packets that were not answered in time.
    pub timeouts: u64,
    /// Datagrams of it that were not used.
    pub discarded: u64,
}

/// One IKE SA of an answer to `show sa`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct Sa {
    /// Its number.
    pub id: u64,
    /// `half-open`, `established`, `rekeying`, `redirected` or `closing`.
    pub state: String,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Who the peer is.
    pub remote_id: String,
    /// The profile that it belongs to.
    pub profile: Option<String>,
    /// The original initiator's SPI: 16 hexadecimal digits.
    pub spi_i: String,
    /// The original responder's SPI.
    pub spi_r: Option<String>,
    /// Algorithms.
    pub suite: String,
    /// The gateway that sent the client here.
    pub redirected_from: Option<String>,
    /// Whether it goes on with an earlier session, by a ticket.
    pub resumed: bool,
    /// Whether there is a NAT before the peer.
    pub remote_behind_nat: bool,
    /// Whether it may move to other addresses.
    pub mobike: bool,
    /// Addresses that the client was given.
    pub addresses: Vec<IpAddr>,
    /// Its Child SAs.
    pub children: Vec<ChildSa>,
}

/// One Child SA.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct ChildSa {
    /// The SPI that leads to the gateway: 8 hexadecimal digits.
    pub spi_in: String,
    /// The SPI that leads to the peer.
    pub spi_out: String,
    /// Algorithms.
    pub suite: String,
    /// What is behind the gateway.
    pub local_ts: Vec<String>,
    /// What is behind the peer.
    pub remote_ts: Vec<String>,
    /// Octets that came in.
    pub bytes_in: u64,
    /// Octets that went out.
    pub bytes_out: u64,
}

/// The socket of one daemon. It is a file: asking needs no namespace.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// The socket at a path, whether a daemon listens there or not.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Its path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for `show redirect`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn redirect(&self) -> Result<ShowRedirect> {
        self.show("redirect")
    }

    /// Asks for `show cluster`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn cluster(&self) -> Result<ShowCluster> {
        self.show("cluster")
    }

    /// Asks for `show standby`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn standby(&self) -> Result<Vec<Standby>> {
        self.show("standby")
    }

    /// Asks for `show llg`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn llg(&self) -> Result<ShowLlg> {
        self.show("llg")
    }

    /// Asks for `show radius`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn radius(&self) -> Result<ShowRadius> {
        self.show("radius")
    }

    /// Asks for `show events`, oldest first.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn events(&self) -> Result<Vec<Event>> {
        self.show("events")
    }

    /// Asks for `show sa`: every IKE SA.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn sas(&self) -> Result<Vec<Sa>> {
        let text = self.run(&["show", "sa", "--all", "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("reading `redirectctl show sa --json`: {text}"))
    }

    /// Deletes the IKE SAs with a peer of this identity.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn clear(&self, identity: &str) -> Result<()> {
        self.run(&["clear", "sa", "identity", identity])?;
        Ok(())
    }

    /// Gives an IKE SA new keys, or its Child SAs.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn rekey(&self, id: u64, children: bool) -> Result<()> {
        let id = id.to_string();
        let mut arguments = vec!["rekey", &id];
        arguments.extend(children.then_some("--children"));
        self.run(&arguments)?;
        Ok(())
    }

    /// Has the daemon read its configuration again.
    ///
    /// # Errors
    ///
    /// When the daemon refuses: with its reason.
    pub fn reload(&self) -> Result<()> {
        self.run(&["reload"])?;
        Ok(())
    }

    /// Tells the daemon how many SAs the IKE daemon beside it has, and for how many seconds that
    /// may be believed.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn report(&self, ike_sas: usize, child_sas: usize, valid: u64) -> Result<()> {
        let (ike_sas, child_sas, valid) = (ike_sas.to_string(), child_sas.to_string(), format!("{valid}s"));
        self.run(&["report", "--ike-sas", &ike_sas, "--child-sas", &child_sas, "--valid", &valid])?;
        Ok(())
    }

    /// Runs `redirectctl` with these arguments and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it fails: with what it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(installed("redirectctl")?);
        output(command.arg("--socket").arg(&self.socket).args(arguments))
    }

    fn show<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let text = self.run(&["show", what, "--json"])?;
        serde_json::from_str(&text)
            .with_context(|| format!("reading `redirectctl show {what} --json`: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_contract_about_the_fast_path_are_read() {
        let text = r#"{"attached":[{"interface":"eth0","mode":"native","program-id":7,"why":"…"}],
            "armed":true,"counters":{"redirected":3},
            "gateways":[{"name":"gw1","addresses":["10.50.0.11"],"redirects":3}]}"#;

        let read: ShowRedirect = serde_json::from_str(text).unwrap();

        assert_eq!(read.attached[0].program_id, Some(7));
        assert_eq!(read.counters["redirected"], 3);
        assert_eq!(read.gateways[0].redirects, 3);
    }

    #[test]
    fn answers_of_the_contract_about_the_cluster_are_read() {
        let text = r#"{"role":"master","status":"up","standby-group":"group1","vip":["10.50.0.5"],
            "policy":"balanced","overload-limit":99,"gateways":[
            {"name":"gw2","addresses":["10.50.0.12"],"self":false,"state":"down","priority":100,
             "crypto-load":null,"system-load":null,"load":null,"sessions":null,"max-session":null,
             "share":0.0,"redirects":4,"last-seen-ms":null},
            {"name":"gw1","addresses":["10.50.0.11"],"self":true,"state":"up","priority":100,
             "crypto-load":1,"system-load":7,"load":4,"sessions":12,"max-session":1000,
             "share":1.0,"redirects":9,"last-seen-ms":120}]}"#;

        let read: ShowCluster = serde_json::from_str(text).unwrap();

        assert_eq!(
            (read.role.as_str(), read.status.as_str(), read.standby_group.as_deref()),
            ("master", "up", Some("group1"))
        );
        assert_eq!(read.up(), ["gw1"]);
        let gateway = read.gateway("gw1").unwrap();
        assert!(gateway.is_self);
        assert_eq!((gateway.sessions, gateway.redirects), (Some(12), 9));
        assert_eq!(read.gateway("gw2").unwrap().load, None);
    }

    #[test]
    fn answers_of_the_contract_about_the_election_are_read() {
        let text = r#"[{"name":"group1","group":1,"version":2,"interface":"eth0","state":"standby",
            "vip":["10.50.0.5","fd50::5"],"virtual-mac":"0000.0c9f.f001","priority":110,"preempt":true,
            "active-router":"10.50.0.12","standby-router":"local","hello-ms":250,"hold-ms":800,
            "state-changes":3}]"#;

        let read: Vec<Standby> = serde_json::from_str(text).unwrap();

        assert_eq!((read[0].state.as_str(), read[0].state_changes), ("standby", 3));
        assert_eq!(read[0].active_router.as_deref(), Some("10.50.0.12"));
    }

    #[test]
    fn answers_of_the_contract_about_sas_are_read() {
        let text = r#"[{"id":7,"role":"responder","state":"established","local":"10.50.0.11:4500",
            "remote":"[fd50::1:1]:4500","local-id":"gw1","remote-id":"alice","profile":"clients",
            "spi-i":"1122334455667788","spi-r":"99aabbccddeeff00","suite":"aes128gcm16-prfsha256-x25519",
            "age-s":3,"redirected-from":null,"resumed":false,"mobike":true,"remote-behind-nat":true,
            "addresses":["10.98.1.1"],"children":[{"spi-in":"c2320001","spi-out":"3076c002",
            "mode":"tunnel","suite":"aes128gcm16-noesn","local-ts":["10.99.1.0/24"],
            "remote-ts":["10.98.1.1/32"],"bytes-in":84,"bytes-out":0}]}]"#;

        let read: Vec<Sa> = serde_json::from_str(text).unwrap();

        assert_eq!((read[0].id, read[0].remote.port(), read[0].remote_behind_nat), (7, 4500, true));
        assert_eq!(read[0].children[0].bytes_in, 84);
    }
}

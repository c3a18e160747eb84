//! Network namespaces, their links, and the pass program at the far end of a link.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use serde::Deserialize;

use super::process::{command, feed, output};
use super::{Lab, wait};

/// A network namespace of a [`Lab`].
#[derive(Clone, Debug)]
pub struct Namespace {
    lab: Lab,
    name: String,
    role: String,
}

impl Namespace {
    pub(super) fn create(lab: Lab, name: String, role: &str) -> Result<Self> {
        output(command("ip").args(["netns", "add", &name]))?;
        let namespace = Self { lab, name, role: role.to_owned() };
        // Duplicate address detection would keep an IPv6 address unusable for a second.
        output(namespace.command("sysctl").args([
            "-qw",
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv4.ping_group_range=0 0",
        ]))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name `ip netns` knows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its part in the laboratory: `lb`, `gw1`, `c1`.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The laboratory it belongs to.
    #[must_use]
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Runs lines of `ip -batch` in the namespace.
    ///
    /// # Errors
    ///
    /// When one of them fails.
    pub fn ip(&self, batch: &str) -> Result<()> {
        feed(command("ip").args(["-n", &self.name, "-batch", "-"]), batch)
    }

    /// A command that will run in the namespace.
    ///
    /// `ip netns exec` mounts a fresh `/sys`, in which the BPF file system is missing.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut inside = command("ip");
        inside
            .args(["netns", "exec", &self.name, "sh", "-c"])
            .args([r#"mount -t bpf bpf /sys/fs/bpf && exec "$@""#, "sh"])
            .arg(program.as_ref());
        inside
    }

    /// Runs `work` on a thread that is in the namespace and ends with it.
    ///
    /// A socket belongs to the namespace it was made in for all its life, so whatever `work`
    /// returns can be used from any thread.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered, or `work` fails.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(&self.name);
        let enter = || -> Result<T> {
            let file = std::fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", self.name))?;
            Ok(work()?)
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_panic| anyhow!("work in {} panicked", self.name))?
    }

    /// A UDP socket in the namespace.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn udp(&self, local: (IpAddr, u16)) -> Result<UdpSocket> {
        self.enter(|| UdpSocket::bind(local)).with_context(|| format!("binding {local:?} in {}", self.role))
    }

    /// Pings until an answer comes, and tells how long that one took.
    ///
    /// # Errors
    ///
    /// When nothing answered within `within`.
    pub fn ping(&self, from: IpAddr, to: IpAddr, within: Duration) -> Result<Duration> {
        self.ping_with(from, to, &[], within)
    }

    /// As [`Namespace::ping`], with IP packets of this size that may not be fragmented.
    ///
    /// # Errors
    ///
    /// As [`Namespace::ping`].
    pub fn ping_of_size(&self, from: IpAddr, to: IpAddr, size: usize, within: Duration) -> Result<Duration> {
        let headers = if from.is_ipv4() { 20 + 8 } else { 40 + 8 };
        let payload = size.checked_sub(headers).with_context(|| format!("{size} octets are too few"))?;
        self.ping_with(from, to, &["-M", "do", "-s", &payload.to_string()], within)
    }

    /// Sends one packet there, whether or not anybody answers.
    ///
    /// # Errors
    ///
    /// When `ping` cannot be started.
    pub fn knock(&self, at: IpAddr) -> Result<()> {
        let mut ping = self.command("ping");
        ping.args(["-n", "-c", "1", "-W", "1", &at.to_string()]).output().context("starting ping")?;
        Ok(())
    }

    fn ping_with(&self, from: IpAddr, to: IpAddr, options: &[&str], within: Duration) -> Result<Duration> {
        let what = format!("{to} answers {from} in {}", self.role);
        wait::until(&what, within, || {
            let said = output(
                command("ip")
                    .args(["netns", "exec", &self.name, "ping", "-n", "-c", "1", "-W", "1"])
                    .args(options)
                    .args(["-I", &from.to_string(), &to.to_string()]),
            )?;
            let (_, after) = said.split_once("time=").with_context(|| format!("no time in: {said}"))?;
            let (number, _) = after.split_once(' ').context("no unit after the time")?;
            let milliseconds: f64 = number.parse().with_context(|| format!("reading {number}"))?;
            Ok(Duration::from_secs_f64(milliseconds / 1000.0))
        })
    }

    /// What `ip -json` shows of an interface.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn link(&self, interface: &str) -> Result<serde_json::Value> {
        let text = output(
            command("ip")
                .args(["-n", &self.name, "-json", "-stats", "link"])
                .args(["show", "dev", interface]),
        )?;
        let links: serde_json::Value = serde_json::from_str(&text).context("reading `ip -json link`")?;
        links.get(0).cloned().with_context(|| format!("no {interface} in {}", self.role))
    }

    /// Addresses on all interfaces but the loopback, with the interface they are on.
    ///
    /// # Errors
    ///
    /// When `ip` fails.
    pub fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        let text = output(command("ip").args(["-n", &self.name, "-json", "address"]))?;
        let links: Vec<LinkAddresses> = serde_json::from_str(&text).context("reading `ip -json address`")?;
        let mut found = Vec::new();
        for link in links.into_iter().filter(|link| link.name != "lo") {
            found.extend(link.addresses.into_iter().map(|at| (link.name.clone(), at.local)));
        }
        Ok(found)
    }

    /// Id of the XDP program on an interface, if there is one.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn xdp_program(&self, interface: &str) -> Result<Option<u64>> {
        let link = self.link(interface)?;
        Ok(link.pointer("/xdp/prog/id").and_then(serde_json::Value::as_u64))
    }

    /// Attaches the XDP program in `object` natively to an interface.
    ///
    /// # Errors
    ///
    /// When it does not load, or the interface has a program.
    pub fn attach_xdp(&self, interface: &str, object: &Path) -> Result<()> {
        ensure!(object.exists(), "{} is missing: `cargo xtask build` makes it", object.display());
        // The interface holds the program; the pin goes with the private mount of this command.
        let script = r#"bpftool prog load "$0" /sys/fs/bpf/pass type xdp &&
            bpftool net attach xdpdrv pinned /sys/fs/bpf/pass dev "$1""#;
        output(self.command("sh").args(["-c", script]).arg(object).arg(interface))?;
        Ok(())
    }

    /// Drops IP fragments that arrive, as careless firewalls do.
    ///
    /// # Errors
    ///
    /// When the rules are refused.
    pub fn drop_fragments(&self) -> Result<()> {
        // Before connection tracking, which would put them together.
        let rules = "table inet fragments {
            chain in {
                type filter hook prerouting priority -450
                ip frag-off & 0x3fff != 0 drop
                exthdr frag exists drop
            }
        }
        ";
        feed(self.command("nft").args(["-f", "-"]), rules)
    }

    /// Switches off what leaves checksums and VLAN tags to a network card that is not there.
    pub(super) fn without_offloads(&self, interface: &str) -> Result<()> {
        let mut ethtool = self.command("ethtool");
        ethtool.args(["-K", interface]);
        for feature in ["tx", "gso", "tso", "gro", "txvlan", "rxvlan", "tx-vlan-stag-hw-insert"] {
            ethtool.args([feature, "off"]);
        }
        output(&mut ethtool)?;
        Ok(())
    }
}

/// A hardware address that nobody else on the bridge has: locally administered, from a hash of the
/// role (FNV-1a).
fn hardware_address(role: &str) -> String {
    let hash = role.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// One interface of `ip -json address`.
#[derive(Deserialize)]
struct LinkAddresses {
    #[serde(rename = "ifname", default)]
    name: String,
    #[serde(rename = "addr_info", default)]
    addresses: Vec<LinkAddress>,
}

#[derive(Deserialize)]
struct LinkAddress {
    local: IpAddr,
}

/// The bridge everybody is on.
const BRIDGE: &str = "wire";
/// The bridge of those who are parted from them.
const OTHER_BRIDGE: &str = "apart";
/// States of a bridge's port, as the kernel numbers them.
const LISTENING: u8 = 1;
const FORWARDING: u8 = 3;

/// A bridge in a namespace of its own, to which the others are wired.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
}

impl Switch {
    /// Creates the bridge.
    ///
    /// # Errors
    ///
    /// When the namespace or the bridge cannot be made.
    pub fn new(lab: &Lab) -> Result<Self> {
        let switch = Self { namespace: lab.namespace("switch")? };
        switch.bridge(BRIDGE)?;
        Ok(switch)
    }

    /// Gives a namespace an interface `eth0` on the bridge, with addresses in CIDR notation.
    ///
    /// Its hardware address follows from the namespace's role, so that a wire that is taken away
    /// and put back is the same to its neighbours.
    ///
    /// Native XDP wants no fewer receive queues at one end than transmit queues at the other, so
    /// both ends get one of each.
    ///
    /// # Errors
    ///
    /// When a link cannot be made or an address is refused.
    pub fn wire(&self, to: &Namespace, addresses: &[String]) -> Result<()> {
        let queues = "numrxqueues 1 numtxqueues 1";
        let (port, peer, address) = (to.role(), to.name(), hardware_address(to.role()));
        self.namespace.ip(&format!(
            "link add name {port} {queues} type veth \
                peer name eth0 address {address} netns {peer} {queues}\n\
             link set {port} master {BRIDGE} up"
        ))?;
        self.namespace.without_offloads(port)?;
        to.without_offloads("eth0")?;
        let mut batch = String::from("link set eth0 up\n");
        for address in addresses {
            let flags = if address.contains(':') { "nodad" } else { "" };
            batch.push_str(&format!("address add {address} dev eth0 {flags}\n"));
        }
        to.ip(&batch)
    }

    /// Puts the pass program on the switch's end of a wire.
    ///
    /// Frames that an XDP program transmits over veth are left in the far end's ring unless that
    /// end has an XDP program as well.
    ///
    /// # Errors
    ///
    /// When the program does not load.
    pub fn attach_pass(&self, to: &Namespace, object: &Path) -> Result<()> {
        self.namespace.attach_xdp(to.role(), object)
    }

    /// Takes a wire away with both its ends; [`Switch::wire`] makes another.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn unwire(&self, from: &Namespace) -> Result<()> {
        self.namespace.ip(&format!("link delete dev {}", from.role()))
    }

    /// Pulls a cable: both ends of the wire lose their carrier.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn unplug(&self, from: &Namespace) -> Result<()> {
        self.namespace.ip(&format!("link set {} down", from.role()))
    }

    /// Puts the cable back.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn plug(&self, to: &Namespace) -> Result<()> {
        self.namespace.ip(&format!("link set {} up", to.role()))
    }

    /// Drops everything to and from a node. Its link stays up, and the bridge goes on believing
    /// that its addresses are there: so does a machine behave whose kernel has died.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn mute(&self, node: &Namespace) -> Result<()> {
        self.namespace.ip(&format!("link set {} type bridge_slave state {LISTENING}", node.role()))
    }

    /// Ends what [`Switch::mute`] began.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn unmute(&self, node: &Namespace) -> Result<()> {
        self.namespace.ip(&format!("link set {} type bridge_slave state {FORWARDING}", node.role()))
    }

    /// Moves wires to a second bridge: whoever is on it no longer hears the others.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn part<'a>(&self, away: impl IntoIterator<Item = &'a Namespace>) -> Result<()> {
        if self.namespace.link(OTHER_BRIDGE).is_err() {
            self.bridge(OTHER_BRIDGE)?;
        }
        self.rewire(away, OTHER_BRIDGE)
    }

    /// Moves wires back to the first bridge.
    ///
    /// # Errors
    ///
    /// When there is no such wire.
    pub fn join<'a>(&self, back: impl IntoIterator<Item = &'a Namespace>) -> Result<()> {
        self.rewire(back, BRIDGE)
    }

    fn rewire<'a>(&self, wires: impl IntoIterator<Item = &'a Namespace>, bridge: &str) -> Result<()> {
        // One batch, so that nobody is alone for longer than the kernel needs.
        let lines = wires.into_iter().map(|wire| format!("link set {} master {bridge}\n", wire.role()));
        self.namespace.ip(&lines.collect::<String>())
    }

    fn bridge(&self, name: &str) -> Result<()> {
        // Snooping would hold neighbour discovery back until a querier has shown itself.
        self.namespace
            .ip(&format!("link add {name} type bridge mcast_snooping 0 stp_state 0\nlink set {name} up"))
    }

    /// The namespace of the bridge.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_a_hardware_address_of_its_own() {
        let roles = (1..=20).flat_map(|number| [format!("gw{number}"), format!("c{number}")]);

        let addresses: std::collections::BTreeSet<_> = roles.map(|role| hardware_address(&role)).collect();

        assert_eq!(addresses.len(), 40);
        assert_eq!(hardware_address("gw1"), hardware_address("gw1"));
        assert!(addresses.iter().all(|address| address.len() == 17), "{addresses:?}");
    }
}

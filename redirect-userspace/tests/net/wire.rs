//! Two routers and a host on one switch, and what can be asked about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::net::if_::if_nametoindex;
use nix::sys::signal::Signal;
use redirect_userspace::hsrp::MacAddress;
use redirect_userspace::net::vip::{Place, VirtualAddresses};
use tokio::runtime::{Builder, Runtime};
use xtask::lab::Lab;
use xtask::lab::netns::{Namespace, Switch};
use xtask::lab::process::{Process, command, output};
use xtask::lab::wait;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 5));
pub(crate) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 5));
/// What an IPv6 group of number 1 has without configuration.
pub(crate) const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 5, 0x73ff, 0xfea0, 1));

/// Version 2, group 1.
pub(crate) const VIRTUAL4: MacAddress = MacAddress([0, 0, 0x0c, 0x9f, 0xf0, 1]);
/// Version 2 among IPv6 addresses, group 1.
pub(crate) const VIRTUAL6: MacAddress = MacAddress([0, 5, 0x73, 0xa0, 0, 1]);

/// Fields are dropped in order, the laboratory last.
pub(crate) struct Wire {
    /// 10.50.0.1
    pub(crate) first: Namespace,
    /// 10.50.0.2
    pub(crate) second: Namespace,
    /// 10.50.0.9
    pub(crate) host: Namespace,
    pub(crate) switch: Switch,
    pub(crate) runtime: Runtime,
    _lab: Lab,
}

pub(crate) const HOST4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 9));
pub(crate) const HOST6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 9));

impl Wire {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let switch = Switch::new(&lab).unwrap();
        let [first, second, host] = [("r1", 1), ("r2", 2), ("host", 9)].map(|(role, number)| {
            let namespace = lab.namespace(role).unwrap();
            let addresses = [format!("10.50.0.{number}/24"), format!("fd50::{number}/64")];
            switch.wire(&namespace, &addresses).unwrap();
            namespace
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { first, second, host, switch, runtime, _lab: lab }
    }

    /// Runs `work` in a namespace, with the test's runtime at hand.
    pub(crate) fn within<T: Send>(&self, namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
        let handle = self.runtime.handle();
        let work = || {
            let _runtime = handle.enter();
            Ok(work())
        };
        namespace.enter(work).unwrap()
    }

    /// Runs something that waits, with a deadline.
    pub(crate) fn wait<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(within).unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for {what}"))
    }

    pub(crate) fn prepare(&self, namespace: &Namespace, virtual_mac: Option<MacAddress>) -> VirtualAddresses {
        let interface = self.eth0(namespace);
        let place = Place { interface, group: 1, virtual_mac };
        self.within(namespace, || VirtualAddresses::prepare(place)).unwrap()
    }

    pub(crate) fn eth0(&self, namespace: &Namespace) -> u32 {
        self.within(namespace, || if_nametoindex("eth0")).unwrap()
    }
}

/// The MAC address of an interface.
pub(crate) fn mac(namespace: &Namespace, interface: &str) -> MacAddress {
    let link = namespace.link(interface).unwrap();
    let text = link.get("address").unwrap().as_str().unwrap();
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    MacAddress(octets.try_into().unwrap())
}

/// As `ip` and tshark write it.
pub(crate) fn colons(mac: MacAddress) -> String {
    mac.0.map(|octet| format!("{octet:02x}")).join(":")
}

/// A setting under `net` of `sysctl`.
pub(crate) fn sysctl(namespace: &Namespace, name: &str) -> String {
    let value = output(namespace.command("sysctl").args(["-n", name])).unwrap();
    value.trim().to_owned()
}

/// Every interface and address of a namespace, as `ip` shows them.
pub(crate) fn addresses(namespace: &Namespace) -> String {
    output(command("ip").args(["-n", namespace.name(), "-brief", "address"])).unwrap()
}

/// Pings from an address, in the namespace as it is.
pub(crate) fn ping(from: &Namespace, source: IpAddr, to: IpAddr) -> Result<()> {
    from.ping(source, to, PATIENCE).map(drop)
}

/// The MAC address that a host has learned for an address.
pub(crate) fn neighbour(namespace: &Namespace, address: IpAddr) -> Result<String> {
    let mut ip = command("ip");
    ip.args(["-n", namespace.name(), "neigh", "show", &address.to_string()]);
    let shown = output(&mut ip)?;
    let (_, after) = shown.split_once("lladdr ").with_context(|| format!("no MAC address: {shown}"))?;
    Ok(after.split_whitespace().next().unwrap_or_default().to_owned())
}

/// A capture of `eth0` that tshark reads afterwards.
pub(crate) struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(namespace: &Namespace, filter: &str) -> Self {
        let directory = namespace.lab().directory();
        let file = directory.join("net.pcap");
        let mut tcpdump = namespace.command("tcpdump");
        tcpdump.args(["-i", "eth0", "--immediate-mode", "-U", "-Z", "root", "-w"]).arg(&file).arg(filter);
        let log = directory.join("tcpdump.log");
        let mut process = Process::spawn("tcpdump", &mut tcpdump, &log).unwrap();
        process
            .until("the capture runs", PATIENCE, || {
                let length = std::fs::metadata(&file).context("its file")?.len();
                ensure!(length >= 24, "{length} octets");
                Ok(())
            })
            .unwrap();
        Self { process, file }
    }

    /// Waits until the capture has this many packets and gives these fields of each.
    pub(crate) fn finish(mut self, packets: usize, fields: &[&str]) -> Vec<Vec<String>> {
        let read = || -> Result<Vec<Vec<String>>> {
            let mut tshark = command("tshark");
            tshark.arg("-n").arg("-r").arg(&self.file).args(["-T", "fields", "-E", "separator=|"]);
            tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
            for field in fields {
                tshark.args(["-e", field]);
            }
            let lines = output(&mut tshark)?;
            Ok(lines.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
        };
        wait::until("all packets are in the capture", PATIENCE, || {
            let seen = read()?;
            ensure!(seen.len() >= packets, "{} of {packets}: {seen:?}", seen.len());
            Ok(())
        })
        .unwrap();
        self.process.signal(Signal::SIGINT).unwrap();
        self.process.wait(PATIENCE).unwrap();
        read().unwrap()
    }
}

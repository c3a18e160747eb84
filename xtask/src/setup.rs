//! Finds what a step needs, installs what is missing, or says exactly what to install.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{apt, ebpf, paths};

/// What a step may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Group {
    /// Compiler and linker for the XDP program.
    Ebpf,
    /// The demonstration cluster: namespaces, and strongSwan as client.
    Lab,
    /// Tests: the demonstration cluster's needs, and tshark as an independent reader of packets.
    Test,
    /// Benchmarks: what the cluster is compared with.
    Bench,
    /// The test in a virtual machine with an older kernel.
    Vm,
}

impl Group {
    /// Every group, in the order in which they are set up.
    pub(crate) const ALL: [Self; 5] = [Self::Ebpf, Self::Lab, Self::Test, Self::Bench, Self::Vm];

    fn packages(self) -> &'static [Package] {
        match self {
            // The compiler's packages depend on what the machine has: see `ebpf`.
            Self::Ebpf => &[],
            Self::Lab => LAB,
            Self::Test => TEST,
            Self::Bench => BENCH,
            Self::Vm => VM,
        }
    }
}

/// A Debian package, and how to see that what we want of it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    /// Debian's name.
    pub(crate) name: &'static str,
    /// What it is wanted for.
    pub(crate) why: &'static str,
    probe: Probe,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    /// A program in `PATH` or an `sbin` folder.
    Program(&'static str),
    /// A file.
    File(&'static str),
}

impl Package {
    fn is_present(&self) -> bool {
        match self.probe {
            Probe::Program(name) => paths::find_program(name).is_some(),
            Probe::File(path) => Path::new(path).exists(),
        }
    }
}

/// Makes sure that everything in `groups` is there.
///
/// # Errors
///
/// Something is missing and may not be installed: the error says what to install.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let packages = install_packages(groups);
    let toolchain =
        if groups.contains(&Group::Ebpf) { ebpf::Toolchain::find_or_install().map(|_| ()) } else { Ok(()) };
    match (packages, toolchain) {
        // Both at once, so that nobody has to come back twice.
        (Err(packages), Err(toolchain)) => bail!("{packages:#}\nand: {toolchain:#}"),
        (packages, toolchain) => packages.and(toolchain),
    }
}

fn install_packages(groups: &[Group]) -> Result<()> {
    let mut missing: Vec<Package> = Vec::new();
    for package in groups.iter().flat_map(|group| group.packages()) {
        let is_known = missing.iter().any(|other| other.name == package.name);
        if !is_known && !package.is_present() {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("Missing on this machine:");
    for package in &missing {
        eprintln!("  {:<32} {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    apt::install(&names)
}

/// The verb `setup`.
pub(crate) fn run(groups: &[Group]) -> Result<()> {
    let groups = if groups.is_empty() { &Group::ALL } else { groups };
    ensure(groups)?;
    if groups.contains(&Group::Ebpf)
        && let Some(toolchain) = ebpf::Toolchain::find()
    {
        eprintln!("{toolchain}");
    }
    let names: Vec<String> = groups.iter().map(|group| format!("{group:?}").to_lowercase()).collect();
    eprintln!("Everything is there for: {}.", names.join(", "));
    Ok(())
}

const fn program(name: &'static str, program: &'static str, why: &'static str) -> Package {
    Package { name, why, probe: Probe::Program(program) }
}

const fn file(name: &'static str, path: &'static str, why: &'static str) -> Package {
    Package { name, why, probe: Probe::File(path) }
}

const LAB: &[Package] = &[
    program("iproute2", "ip", "network namespaces"),
    program("ethtool", "ethtool", "offloads of veth links"),
    program("bpftool", "bpftool", "a look at programs and maps"),
    program("iputils-ping", "ping", "traffic through tunnels"),
    program("procps", "sysctl", "settings of namespaces"),
    program("util-linux", "setsid", "a process that cleans up after the laboratory"),
    program("charon-systemd", "charon-systemd", "strongSwan, the foreign IKEv2 peer"),
    program("strongswan-swanctl", "swanctl", "strongSwan's command"),
    file(
        "libcharon-extra-plugins",
        "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so",
        "ESP in userspace for strongSwan",
    ),
    file(
        "libcharon-extauth-plugins",
        "/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so",
        "passwords for strongSwan",
    ),
    file(
        "libstrongswan-standard-plugins",
        "/usr/lib/ipsec/plugins/libstrongswan-openssl.so",
        "cryptography for strongSwan",
    ),
];

const TEST: &[Package] = &[
    program("iproute2", "ip", "network namespaces"),
    program("tshark", "tshark", "an independent decoder of what we send"),
    program("tcpdump", "tcpdump", "captures in namespaces"),
    program("nftables", "nft", "a NAT box in front of clients"),
    program("freeradius", "freeradius", "a server of RADIUS that is not ours"),
    program("openssl", "openssl", "certificates of every kind, the bad ones included"),
    file(
        "python3-scapy",
        "/usr/lib/python3/dist-packages/scapy/__init__.py",
        "packets that were not made by us",
    ),
];

const BENCH: &[Package] = &[program("keepalived", "keepalived", "VRRP, beside which a failover is measured")];

const VM: &[Package] = &[
    program("qemu-system-x86", "qemu-system-x86_64", "runs Debian's own kernel beside this one"),
    file("busybox-static", "/bin/busybox", "first process of the virtual machine"),
    program("kmod", "depmod", "module index of the virtual machine's kernel"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_and_a_made_up_one_is_not() {
        assert!(program("bash", "sh", "").is_present());
        assert!(!program("nothing", "no-such-program-anywhere", "").is_present());
        assert!(file("base-files", "/proc/self/status", "").is_present());
        assert!(!file("nothing", "/no/such/file", "").is_present());
    }
}

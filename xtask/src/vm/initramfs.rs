//! The machine's first file system, and the way from it into the host's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::kernel::Kernel;

/// The first file system: a busybox, the modules that lead to the host's file system, and what
/// to do then.
pub(super) fn image(kernel: &Kernel, busybox: &Path, job: &[u8]) -> anyhow::Result<Vec<u8>> {
    let modules = kernel.modules();
    let index = fs::read_to_string(modules.join("modules.dep")).context("reading modules.dep")?;

    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "modules", "host", "memory", "new"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", 0o755, &fs::read(busybox).context("reading busybox")?);
    let mut order = String::new();
    for path in load_order(&index, BOOT_MODULES)? {
        let name = path.rsplit('/').next().unwrap_or(path);
        let octets = fs::read(modules.join(path)).with_context(|| format!("reading module {path}"))?;
        archive.file(&format!("modules/{name}"), 0o644, &octets);
        order.push_str(name);
        order.push('\n');
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    archive.file("job", 0o755, job);
    archive.file("stage2", 0o755, STAGE2.as_bytes());

    let mut init = STAGE1_HEAD.as_bytes().to_vec();
    init.extend_from_slice(b"modules=");
    init.extend(quoted(modules.as_os_str()));
    init.extend_from_slice(STAGE1.as_bytes());
    archive.file("init", 0o755, &init);
    Ok(archive.finish())
}

/// Files of `names` and of everything they need, in the order in which they load.
fn load_order<'a>(index: &'a str, names: &[&str]) -> anyhow::Result<Vec<&'a str>> {
    let mut order = Vec::new();
    for name in names {
        let file = format!("/{name}.ko");
        let (path, needs) = index
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| path.ends_with(&file))
            .with_context(|| format!("the kernel has no module {name}"))?;
        // depmod lists what a module needs from the nearest to the farthest.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

/// What the machine runs in the end: the job with its environment.
pub(super) fn job_script(directory: &Path, command: &[OsString], env: &[(OsString, OsString)]) -> Vec<u8> {
    let mut script = b"#!/bin/sh\n".to_vec();
    for (name, value) in env {
        script.extend_from_slice(b"export ");
        script.extend_from_slice(name.as_bytes());
        script.push(b'=');
        script.extend(quoted(value));
        script.push(b'\n');
    }
    script.extend_from_slice(b"cd ");
    script.extend(quoted(directory.as_os_str()));
    script.extend_from_slice(b" || exit 126\nexec");
    for word in command {
        script.push(b' ');
        script.extend(quoted(word));
    }
    script.push(b'\n');
    script
}

/// One shell word, whatever it holds.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for octet in word.as_bytes() {
        match octet {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            octet => quoted.push(*octet),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// A cpio archive in the one format the kernel unpacks ("newc",
/// `Documentation/driver-api/early-userspace/buffer-format.rst`).
#[derive(Default)]
struct Archive {
    octets: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, permissions: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | permissions, content);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.octets
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, owner, group, links, time, size, four device numbers, name size, no sum.
        let (inode, size, name_size) = (self.entries, content.len(), name.len() + 1);
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0, 1
        );
        self.octets.extend_from_slice(header.as_bytes());
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.push(0);
        self.align();
        self.octets.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

/// What it takes to reach the host's file system and the two ports. Everything else is loaded
/// from there when it is first used.
const BOOT_MODULES: &[&str] = &["virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console"];

/// First process, in the initramfs: assembles the root file system and moves into it.
const STAGE1_HEAD: &str = "#!/bin/busybox sh\n";

/// Goes after the line that sets `modules` to the folder of the kernel's modules.
const STAGE1: &str = r#"
b=/bin/busybox
die() { echo "vm: $1 failed"; $b sleep 1; $b reboot -f; }
$b mount -t devtmpfs dev /dev || die "mounting /dev"
exec </dev/console >/dev/console 2>&1
$b mount -t proc proc /proc || die "mounting /proc"
for module in $($b cat /modules/order); do
    $b insmod /modules/$module || die "loading $module"
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro host /host || die "mounting the host's root"
$b mount -t tmpfs memory /memory || die "mounting memory"
$b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new || die "mounting the overlay"
$b umount /proc
$b mount -t proc proc /new/proc || die "mounting /proc"
$b mount -t sysfs sysfs /new/sys || die "mounting /sys"
$b mount -t bpf bpf /new/sys/fs/bpf || die "mounting /sys/fs/bpf"
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup || die "mounting /sys/fs/cgroup"
$b mount -t tmpfs -o mode=755 run /new/run || die "mounting /run"
version=$($b uname -r)
$b mkdir -p "/new/lib/modules/$version" /new/run/vm /new/run/lock
$b mount -o bind "/host$modules" "/new/lib/modules/$version" || die "mounting the modules"
$b cp /bin/busybox /job /stage2 /new/run/vm/ || die "copying the job"
$b mount --move /dev /new/dev || die "moving /dev"
$b mkdir -p /new/dev/pts /new/dev/shm /new/dev/net
# Whoever opens it has the module loaded.
[ -e /new/dev/net/tun ] || $b mknod /new/dev/net/tun c 10 200
$b mount -t devpts devpts /new/dev/pts || die "mounting /dev/pts"
$b mount -t tmpfs shm /new/dev/shm || die "mounting /dev/shm"
exec $b switch_root /new /run/vm/busybox sh /run/vm/stage2
"#;

/// First process, in the host's file system: runs the job, reports, stops the machine.
const STAGE2: &str = r#"
b=/run/vm/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
$b hostname vm
$b ip link set lo up
# Devices are numbered in the order in which they were found; names are ours.
port() {
    while :; do
        for port in /sys/class/virtio-ports/*; do
            [ "$($b cat "$port/name")" = "$1" ] && echo "/dev/${port##*/}" && return
        done
    done
}
/run/vm/job </dev/null >"$(port job)" 2>&1
echo $? >"$(port status)"
$b reboot -f
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::vm::text;

    #[test]
    fn modules_load_after_what_they_need() {
        let index = "\
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache/fscache.ko kernel/fs/netfs/netfs.ko
kernel/net/9p/9pnet.ko:
kernel/fs/fscache/fscache.ko: kernel/fs/netfs/netfs.ko
kernel/fs/netfs/netfs.ko:
";

        let order = load_order(index, &["9pnet", "9p"]).unwrap();

        assert_eq!(
            order,
            [
                "kernel/net/9p/9pnet.ko",
                "kernel/fs/netfs/netfs.ko",
                "kernel/fs/fscache/fscache.ko",
                "kernel/fs/9p/9p.ko"
            ]
        );
        assert!(load_order(index, &["veth"]).is_err());
    }

    #[test]
    fn a_job_keeps_its_words_whatever_they_hold() {
        let output = scripted(&["printf", "%s|", "a b", "it's", "$HOME", "\\n"], &[("NAME", "x 'y'")]);

        assert_eq!(output, "a b|it's|$HOME|\\n|");
        assert_eq!(scripted(&["sh", "-c", "echo \"$NAME\""], &[("NAME", "x 'y'")]), "x 'y'\n");
    }

    /// Runs a job's script on the host.
    fn scripted(command: &[&str], env: &[(&str, &str)]) -> String {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let script = job_script(Path::new("/"), &command, &env);
        text(Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script))).unwrap()
    }

    #[test]
    fn archive_entries_start_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.file("abc", 0o644, b"12345");

        let octets = archive.finish();

        let second = octets.windows(6).skip(1).position(|six| six == b"070701").unwrap() + 1;
        assert_eq!(
            &octets[..30],
            b"0707010000000100008".iter().chain(b"1a400000000").copied().collect::<Vec<_>>()
        );
        assert_eq!(&octets[54..62], b"00000005");
        assert_eq!(&octets[94..102], b"00000004");
        assert_eq!(&octets[110..114], b"abc\0");
        assert_eq!(&octets[116..121], b"12345");
        assert_eq!(second, 124);
        assert_eq!(octets.len() % 4, 0);
    }
}

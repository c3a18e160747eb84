//! A small virtual machine with Debian's generic kernel.
//!
//! The oldest kernel the XDP program must load on is 6.1, and its verifier is stricter than that
//! of the kernels most people develop on. [`run`] boots it under emulation round one command. The
//! command sees the host's own file system, so that whatever was built here can be run there
//! without being copied; what it writes goes to memory and is gone when the machine stops.
//!
//! # Picture
//!
//! ```text
//! host /  ──9p, read-only──▶ lower ┐
//!                  tmpfs ──▶ upper ┴ overlay = the machine's root
//! job's output ◀── virtio port ── job ── virtio port ──▶ its exit code
//! kernel log   ◀── serial port, shown only when the machine fails
//! ```
//!
//! # Invariants
//!
//! - The emulator never outlives the call, nor the thread that made it.
//! - A result is what the job itself reported: a machine that stops without one is an error.

mod initramfs;
mod kernel;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use self::kernel::Kernel;
use crate::{exec, paths};

/// How long a job may take when nothing else is said, start-up included.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Debian packages whose programs the machine needs.
pub(crate) const PACKAGES: &[&str] = &["qemu-system-x86", "busybox-static", "kmod"];

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; 128 and the signal's number when a signal ended it, as shells have it.
    pub(crate) code: i32,
    /// What it wrote to standard output and standard error, in the order written.
    pub(crate) output: String,
}

/// Runs an executable that was built on the host, as a test binary is.
///
/// `root` is the workspace and the working directory.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_binary(
    root: &Path,
    path: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    deadline: Duration,
) -> anyhow::Result<Outcome> {
    let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
    let mut command = vec![path.into_os_string()];
    command.extend_from_slice(args);
    boot(root, &command, env, deadline)
}

/// Runs `command` as root inside a fresh machine and shows its output as it comes.
///
/// `root` is the workspace and the working directory. The kernel is fetched and prepared the
/// first time.
///
/// # Errors
///
/// When a program is missing, the kernel cannot be had, the machine does not come up, or the
/// deadline passes. A job that merely fails is no error: see [`Outcome::code`].
pub(crate) fn run<S: AsRef<OsStr>>(
    root: &Path,
    command: &[S],
    deadline: Duration,
) -> anyhow::Result<Outcome> {
    let command: Vec<OsString> = command.iter().map(|word| word.as_ref().to_owned()).collect();
    boot(root, &command, &[], deadline)
}

fn boot(
    root: &Path,
    command: &[OsString],
    env: &[(OsString, OsString)],
    deadline: Duration,
) -> anyhow::Result<Outcome> {
    ensure!(!command.is_empty(), "the virtual machine was given nothing to run");
    let busybox = programs()?;
    let root = root.canonicalize().with_context(|| format!("finding {}", root.display()))?;
    let home = root.join(".tools/vm");
    let kernel = Kernel::prepared(&home)?;

    let scratch = Scratch::new(&home)?;
    let initramfs = scratch.path.join("initramfs");
    let job = initramfs::job_script(&root, command, env);
    fs::write(&initramfs, initramfs::image(&kernel, &busybox, &job)?).context("writing the initramfs")?;

    let (console, status) = (scratch.path.join("console"), scratch.path.join("status"));
    let emulator = Emulator::start(&kernel, &initramfs, &console, &status)?;
    let output = emulator.finish(deadline).map_err(|error| error.context(console_tail(&console)))?;

    let reported = fs::read_to_string(&status).unwrap_or_default();
    match reported.trim().parse() {
        Ok(code) => Ok(Outcome { code, output }),
        Err(_) => bail!("the virtual machine stopped before its job had ended\n{}", console_tail(&console)),
    }
}

/// The last lines of the kernel log, for an error message.
fn console_tail(console: &Path) -> String {
    let log = fs::read(console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(40);
    let tail = lines.get(first..).unwrap_or_default().join("\n");
    format!("the last lines of the virtual machine's console:\n{tail}")
}

/// A folder for the files of one machine, removed with it.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(home: &Path) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = home.join(format!("run-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind costs a few megabytes and is not worth failing for.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A running emulator, killed when dropped.
struct Emulator {
    child: Child,
    started: Instant,
}

impl Emulator {
    fn start(kernel: &Kernel, initramfs: &Path, console: &Path, status: &Path) -> anyhow::Result<Self> {
        // setpriv becomes the emulator, and the kernel ends it should this thread ever vanish.
        let mut command = tool("setpriv");
        command
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"])
            .args(["-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(initramfs)
            .args(["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"])
            .args(["-serial", "chardev:console", "-device", "virtio-serial"])
            .args(["-device", "virtserialport,chardev=job,name=job"])
            .args(["-device", "virtserialport,chardev=status,name=status"]);
        // Not qemu's own "stdio": that counts as closed, and a job would wait for ever to write,
        // as soon as standard input has ended.
        for (id, path) in [("console", console), ("status", status), ("job", Path::new("/dev/stdout"))] {
            command.arg("-chardev").arg(chardev(id, path));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().context("starting qemu-system-x86_64")?;
        Ok(Self { child, started: exec::now() })
    }

    /// Shows and collects the job's output until the machine stops by itself.
    fn finish(mut self, deadline: Duration) -> anyhow::Result<String> {
        let mut pipe = self.child.stdout.take().context("the emulator has no output")?;
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let octets = chunk.get(..length).unwrap_or_default().to_vec();
                if sender.send(octets).is_err() {
                    break;
                }
            }
        });

        let mut output = Vec::new();
        loop {
            let left = deadline.saturating_sub(self.started.elapsed());
            match receiver.recv_timeout(left) {
                Ok(octets) => {
                    let mut stdout = std::io::stdout().lock();
                    stdout.write_all(&octets).and_then(|()| stdout.flush()).context("showing the output")?;
                    output.extend_from_slice(&octets);
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the job did not end within {} s and was killed", deadline.as_secs());
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().context("waiting for the emulator")?;
        drop(reader.join());
        ensure!(status.success(), "the emulator failed: {status}");
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Both fail only when the emulator has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file as qemu's end of a port. Commas separate qemu's options and are doubled in values.
fn chardev(id: &str, path: &Path) -> OsString {
    let mut option = format!("file,id={id},path=").into_bytes();
    for octet in path.as_os_str().as_bytes() {
        option.extend(std::iter::repeat_n(*octet, if *octet == b',' { 2 } else { 1 }));
    }
    OsStr::from_bytes(&option).to_owned()
}

/// Checks that the programs are there; returns the busybox to take along.
fn programs() -> anyhow::Result<PathBuf> {
    let path = search_path();
    let find =
        |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let needed = ["qemu-system-x86_64", "busybox", "depmod", "setpriv", "dpkg-deb", "tar", "apt-get"];
    let missing: Vec<_> = needed.into_iter().filter(|name| find(name).is_none()).collect();
    ensure!(
        missing.is_empty(),
        "the virtual machine needs {}: apt-get install --no-install-recommends {}",
        missing.join(", "),
        PACKAGES.join(" ")
    );
    let busybox = find("busybox").context("busybox is missing")?;
    // In the initramfs there is no library to load: `ldd` succeeds on dynamic executables only.
    let linked = tool("ldd").arg(&busybox).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        !linked.context("starting ldd")?.success(),
        "{} is not static: apt-get install --no-install-recommends busybox-static",
        busybox.display()
    );
    Ok(busybox)
}

/// A command that also finds what Debian keeps from users' search paths, such as depmod.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", search_path());
    command
}

fn search_path() -> OsString {
    let mut path = paths::variable("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// Runs a command of the preparation, after showing it.
fn show(command: &mut Command) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "$ {}", line(command)).context("showing a command")?;
    drop(stdout);
    let status = command.status().with_context(|| format!("starting {}", line(command)))?;
    ensure!(status.success(), "{} failed: {status}", line(command));
    Ok(())
}

/// The output of a command that has to succeed.
fn text(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {}", line(command)))?;
    ensure!(output.status.success(), "{} failed: {}", line(command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of {}", line(command)))
}

fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_does_not_end_it() {
        assert_eq!(chardev("a", Path::new("/x,y")), "file,id=a,path=/x,,y");
    }

    #[test]
    #[ignore = "boots a virtual machine: cargo xtask test vm"]
    fn a_job_runs_on_the_other_kernel_with_bpf_and_modules() {
        let job = "uname -r; bpftool prog list && ip link add left type veth peer name right && ip -br link show dev left \
                   && touch /root/written && test -d /sys/fs/bpf && ping -c1 -q 127.0.0.1 >/dev/null";

        let outcome = run(workspace(), &["sh", "-ec", job], DEADLINE).unwrap();

        assert!(outcome.code == 0, "{outcome:?}");
        assert!(outcome.output.starts_with("6.1.0-"), "{outcome:?}");
        assert!(outcome.output.contains("left@right"), "{outcome:?}");
        assert!(!Path::new("/root/written").exists());
    }

    #[test]
    #[ignore = "boots a virtual machine: cargo xtask test vm"]
    fn a_failing_binary_gives_its_own_exit_code() {
        let path = Path::new("/bin/sh");
        let args = ["-c", "pwd; echo \"to $TO\" >&2; exit 23"].map(OsString::from);

        let outcome =
            run_binary(workspace(), path, &args, &[("TO".into(), "stderr".into())], DEADLINE).unwrap();

        assert_eq!(outcome.code, 23);
        assert_eq!(outcome.output, format!("{}\nto stderr\n", workspace().display()));
    }

    #[test]
    #[ignore = "boots a virtual machine: cargo xtask test vm"]
    fn a_job_that_does_not_end_is_killed_at_its_deadline() {
        let started = exec::now();

        let error = run(workspace(), &["tail", "-f", "/dev/null"], Duration::from_secs(15)).unwrap_err();

        assert!(format!("{error:#}").contains("did not end within 15 s"), "{error:#}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    fn workspace() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }
}

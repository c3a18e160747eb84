//! The guard: a small process that owns the XDP links and lets go of them when the daemon dies
//! or hangs.
//!
//! The kernel detaches a program when the last descriptor of its link is closed. If the daemon
//! held the links, a daemon that is stopped or deadlocked would leave the fast path redirecting to
//! gateways it no longer watches. The guard holds them instead, and the daemon has to say every
//! [`BEAT`] that it is alive. No packet ever reads a clock for that.
//!
//! # Picture
//!
//! ```text
//! redirectd ──"attach 3 native"──▶ guard ── opens the pinned program, attaches, keeps the link
//!           ──"beat" every 100 ms▶
//!    (hangs)                        silent for 600 ms: closes every link, says "lapsed"
//!    (dies)                         end of file: closes every link, removes the pins, ends
//! ```
//!
//! The two ends talk in lines over the guard's standard input and output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode as AyaMode};
use aya::util::KernelVersion;
use aya_obj::programs::XdpAttachType;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::xdp::{PROGRAM_PIN, unpin};
use crate::net::vip::clean;

/// How often the daemon says that it is alive.
pub const BEAT: Duration = Duration::from_millis(100);
/// How long the guard waits for it.
///
/// Together with the guard's own reaction this stays well under the second that is promised, and it
/// is six beats, so that a loaded machine does not lose its fast path to one late wake-up.
pub const PATIENCE: Duration = Duration::from_millis(600);

/// Where a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack's receive path, after the kernel has allocated a buffer.
    Generic,
}

impl XdpMode {
    /// The name operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the daemon asks of the guard, one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Attach the pinned program.
    Attach {
        /// Interface number.
        interface: u32,
        /// Where.
        mode: XdpMode,
    },
    /// Let go of one interface.
    Detach {
        /// Interface number.
        interface: u32,
    },
    /// Virtual addresses may be on this interface: remove them with the links.
    Own {
        /// Interface number.
        interface: u32,
    },
    /// The daemon is alive.
    Beat,
}

/// What the guard says, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The order was carried out.
    Done,
    /// It was not.
    Refused(String),
    /// The daemon was silent for too long and every link is closed.
    Lapsed,
}

impl Order {
    /// The line for it.
    #[must_use]
    pub fn line(self) -> String {
        match self {
            Self::Attach { interface, mode } => format!("attach {interface} {mode}\n"),
            Self::Detach { interface } => format!("detach {interface}\n"),
            Self::Own { interface } => format!("own {interface}\n"),
            Self::Beat => "beat\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let order = match words.next()? {
            "attach" => Self::Attach {
                interface: words.next()?.parse().ok()?,
                mode: match words.next()? {
                    "native" => XdpMode::Native,
                    "generic" => XdpMode::Generic,
                    _ => return None,
                },
            },
            "detach" => Self::Detach { interface: words.next()?.parse().ok()? },
            "own" => Self::Own { interface: words.next()?.parse().ok()? },
            "beat" => Self::Beat,
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

impl Report {
    fn line(&self) -> String {
        match self {
            Self::Done => "done\n".to_owned(),
            Self::Refused(why) => format!("refused {}\n", why.replace('\n', " ")),
            Self::Lapsed => "lapsed\n".to_owned(),
        }
    }

    /// Reads a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.trim_end() {
            "done" => Some(Self::Done),
            "lapsed" => Some(Self::Lapsed),
            other => other.strip_prefix("refused ").map(|why| Self::Refused(why.to_owned())),
        }
    }
}

/// The guard's whole life. `pins` is the directory the daemon pinned program and maps in.
///
/// # Errors
///
/// The daemon sent something that is no order.
pub fn run(pins: &Path) -> Result<()> {
    take_precedence();
    let mut links = Links::new(pins);
    let result = serve(&mut links);
    links.close();
    // The daemon is gone, however it went.
    unpin(pins);
    result
}

/// Puts this thread before the others of the machine. A daemon or a guard that gets no processor
/// under load would let go of a fast path that works, just when it is needed.
pub fn take_precedence() {
    // Without the right to do so they work as well as anything else on the machine.
    let _unprivileged = rustix::process::nice(-PRECEDENCE);
}

/// Undoes [`take_precedence`] in a thread that its caller has started: threads inherit it.
pub fn give_way() {
    if let Ok(precedence @ ..0) = rustix::process::getpriority_process(None) {
        let _never_refused = rustix::process::nice(-precedence);
    }
}

const PRECEDENCE: i32 = 15;

fn serve(links: &mut Links) -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let mut output = std::io::stdout();
    let mut line = String::new();
    let mut has_lapsed = false;
    loop {
        // While there is nothing to let go of, or everything was let go of, nothing is urgent.
        let patience = if links.is_empty() || has_lapsed { None } else { Some(PATIENCE) };
        if input.buffer().is_empty() && !is_readable(patience)? {
            links.close();
            has_lapsed = true;
            say(&mut output, &Report::Lapsed)?;
            continue;
        }
        has_lapsed = false;
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_line(&mut line).context("reading orders")?;
        if read == 0 {
            return Ok(());
        }
        match Order::parse(&line) {
            Some(Order::Beat) => {}
            Some(Order::Attach { interface, mode }) => {
                let report = match links.attach(interface, mode) {
                    Ok(()) => Report::Done,
                    Err(error) => Report::Refused(format!("{error:#}")),
                };
                say(&mut output, &report)?;
            }
            Some(Order::Detach { interface }) => {
                links.detach(interface);
                say(&mut output, &Report::Done)?;
            }
            Some(Order::Own { interface }) => {
                links.owned.insert(interface);
                say(&mut output, &Report::Done)?;
            }
            None => bail!("not an order: {}", line.trim_end()),
        }
    }
}

const MAX_LINE: u64 = 256;

/// Waits for input; `false` when it did not come in time. Standard input is polled directly, which
/// is right only while the buffer in front of it is empty.
fn is_readable(patience: Option<Duration>) -> Result<bool> {
    let stdin = std::io::stdin();
    let timeout = patience
        .map_or(PollTimeout::NONE, |patience| PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX));
    loop {
        let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("waiting for orders"),
        }
    }
}

/// A daemon that is gone or stuck does not read; the guard goes on without it.
fn say(output: &mut std::io::Stdout, report: &Report) -> Result<()> {
    match output.write_all(report.line().as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error).context("reporting"),
    }
}

/// The links, by interface number. Dropping one detaches.
struct Links {
    pins: PathBuf,
    /// Opened when it is attached for the first time: a daemon whose sockets answer has none.
    program: Option<Xdp>,
    open: BTreeMap<u32, FdLink>,
    /// Interfaces that may have virtual addresses.
    owned: BTreeSet<u32>,
}

impl Links {
    fn new(pins: &Path) -> Self {
        Self { pins: pins.to_owned(), program: None, open: BTreeMap::new(), owned: BTreeSet::new() }
    }

    fn program(&mut self) -> Result<&mut Xdp> {
        if self.program.is_none() {
            // Without BPF links aya attaches by netlink, and such an attachment would outlive us.
            let kernel = KernelVersion::current().context("asking for the kernel's version")?;
            ensure!(kernel >= KernelVersion::new(5, 9, 0), "BPF links for XDP need Linux 5.9 or later");
            let program = Xdp::from_pin(self.pins.join(PROGRAM_PIN), XdpAttachType::Interface)
                .context("opening the pinned program")?;
            self.program = Some(program);
        }
        self.program.as_mut().context("the program")
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.owned.is_empty()
    }

    fn attach(&mut self, interface: u32, mode: XdpMode) -> Result<()> {
        ensure!(!self.open.contains_key(&interface), "already attached");
        let aya_mode = match mode {
            XdpMode::Native => AyaMode::Driver,
            XdpMode::Generic => AyaMode::Skb,
        };
        let program = self.program()?;
        let id = program.attach_to_if_index(interface, aya_mode)?;
        let link = program.take_link(id)?;
        let link = FdLink::try_from(link).map_err(|_no_link| anyhow!("the kernel gives no BPF link"))?;
        self.open.insert(interface, link);
        Ok(())
    }

    fn detach(&mut self, interface: u32) {
        self.open.remove(&interface);
    }

    /// Closes every link, and removes the virtual addresses: another node has them by now, or
    /// soon. Which interfaces may have some is remembered, for a daemon that comes back.
    fn close(&mut self) {
        self.open.clear();
        for interface in &self.owned {
            // An interface that is gone has taken its addresses along; and nobody would hear it.
            let _gone = clean(*interface);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_line() {
        for order in [
            Order::Attach { interface: 7, mode: XdpMode::Native },
            Order::Attach { interface: u32::MAX, mode: XdpMode::Generic },
            Order::Detach { interface: 1 },
            Order::Own { interface: 3 },
            Order::Beat,
        ] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
    }

    #[test]
    fn what_is_no_order_is_none() {
        for line in
            ["", "attach", "attach x native", "attach 1 fast", "beat 1", "detach -1", "attach 1 native 2"]
        {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }

    #[test]
    fn reports_survive_the_line() {
        for report in [Report::Done, Report::Lapsed, Report::Refused("device busy".into())] {
            assert_eq!(Report::parse(&report.line()), Some(report));
        }
        assert_eq!(
            Report::parse(&Report::Refused("two\nlines".into()).line()),
            Some(Report::Refused("two lines".into()))
        );
    }

    #[test]
    fn the_guard_lets_go_within_the_promised_second() {
        assert!(PATIENCE + BEAT < Duration::from_millis(800));
    }
}

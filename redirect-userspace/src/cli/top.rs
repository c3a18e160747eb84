//! `top`: roles, loads, and redirects and packets per second, refreshed every second.
//!
//! On a terminal the view stays in place and ends with `q` or Ctrl-C; everywhere else every
//! refresh is a block of plain text.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::read;

use super::ops;
use super::print::{Console, Exit, Screen};
use super::show::cluster::{capitalised, role};
use super::show::redirect::state;
use super::table::{Align, Table, label, or_dash, percentage, ratio};
use crate::control::client::{self, AskError};
use crate::control::{Overview, RedirectView, Request};

/// Milliseconds between refreshes.
const PERIOD: u16 = 1000;

/// Shows refreshes until told to stop, `count` of them at most.
pub(super) fn run(socket: &Path, count: Option<u64>, console: &mut Console<'_>) -> Result<(), Exit> {
    let io_failed = |errno: Errno, console: &mut Console<'_>| console.fail(&errno.to_string(), Exit::Refused);
    let mut terminal = Terminal::open(console.screen.is_some()).map_err(|errno| io_failed(errno, console))?;
    let mut before = None;
    let mut shown = 0;
    while count.is_none_or(|count| shown < count) {
        if shown > 0 && terminal.wait().map_err(|errno| io_failed(errno, console))? == Next::Stop {
            return Ok(());
        }
        // It may have been resized.
        console.screen = console.screen.and_then(|_| Screen::of_stdout());
        let answer = client::ask(socket, Request::ShowOverview);
        let text = match answer {
            Ok(view) => {
                let now = Sample { view, at: now() };
                let text = frame(before.as_ref(), &now, socket, console.width());
                before = Some(now);
                text
            }
            // On a terminal somebody watches the daemon come back; a script needs to know.
            Err(error)
                if terminal.has_screen && terminal.is_used && !matches!(error, AskError::Refused(_)) =>
            {
                before = None;
                format!("{error}\n")
            }
            Err(error) => {
                drop(terminal);
                return Err(ops::failed(&error, console));
            }
        };
        terminal.show(&text, console)?;
        shown += 1;
    }
    Ok(())
}

/// What was seen, and when.
struct Sample {
    view: Overview,
    at: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the operator's command has no core to be given the time by")]
fn now() -> Instant {
    Instant::now()
}

fn frame(before: Option<&Sample>, now: &Sample, socket: &Path, width: usize) -> String {
    let Overview { redirect, cluster, standby } = &now.view;
    let mut text = String::new();
    let redirects = |view: &RedirectView| view.gateways.iter().map(|gateway| gateway.redirects).sum::<u64>();
    let rate = |count: &dyn Fn(&RedirectView) -> u64| {
        before.map_or_else(|| "-".to_owned(), |before| per_second(before, now, count))
    };

    label(&mut text, "Socket", &socket.display().to_string());
    label(&mut text, "Role", &format!("{} ({})", role(cluster.role), capitalised(&cluster.status)));
    let states: Vec<_> =
        standby.iter().map(|group| format!("{} {}", group.name, group.state.name())).collect();
    if !states.is_empty() {
        label(&mut text, "Standby", &states.join(", "));
    }
    label(&mut text, "Fast path", &state(redirect));
    label(&mut text, "Redirects", &redirects(redirect).to_string());
    label(&mut text, "Redirects/s", &rate(&redirects));
    text.push('\n');

    let mut gateways = Table::new([
        ("Gateway", Align::Left),
        ("State", Align::Left),
        ("Load", Align::Right),
        ("SAs", Align::Right),
        ("Slots", Align::Right),
        ("Redirects", Align::Right),
        ("Share", Align::Right),
        ("Per second", Align::Right),
    ]);
    for gateway in &redirect.gateways {
        let of_gateway = |view: &RedirectView| {
            let found = view.gateways.iter().find(|other| other.name == gateway.name);
            found.map_or(0, |other| other.redirects)
        };
        let member = cluster.gateways.iter().find(|member| member.name == gateway.name);
        gateways.row([
            gateway.name.clone(),
            or_dash(member.map(|member| member.state.name())),
            or_dash(member.and_then(|member| member.load).map(|load| format!("{load:.1}%"))),
            or_dash(member.and_then(|member| member.sessions)),
            or_dash(member.map(|member| ratio(member.share))),
            gateway.redirects.to_string(),
            percentage(gateway.redirects, redirects(redirect)),
            rate(&of_gateway),
        ]);
    }
    text.push_str(&gateways.render(width));
    text.push('\n');

    let mut reasons =
        Table::new([("Reason", Align::Left), ("Packets", Align::Right), ("Per second", Align::Right)]);
    let mut counters: Vec<_> = redirect.counters.iter().filter(|(_, packets)| **packets > 0).collect();
    counters.sort_by(|(_, a), (_, b)| b.cmp(a));
    for (name, packets) in counters {
        let of_reason = |view: &RedirectView| view.counters.get(name).copied().unwrap_or(0);
        reasons.row([name.clone(), packets.to_string(), rate(&of_reason)]);
    }
    text.push_str(&reasons.render(width));
    text
}

/// A counter that went down was started again, and counted up from zero since.
#[expect(clippy::cast_precision_loss, reason = "whole numbers are shown")]
fn per_second(before: &Sample, now: &Sample, count: &dyn Fn(&RedirectView) -> u64) -> String {
    let (earlier, later) = (count(&before.view.redirect), count(&now.view.redirect));
    let grown = later.checked_sub(earlier).unwrap_or(later);
    let elapsed = now.at.saturating_duration_since(before.at).as_secs_f64();
    if elapsed > 0.0 { format!("{:.0}", grown as f64 / elapsed) } else { "-".to_owned() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Refresh,
    Stop,
}

/// The screen and the keyboard, as far as there are any. Dropping it restores both.
struct Terminal {
    signals: SignalFd,
    /// Keys are read one by one while this is there.
    keyboard: Option<Keyboard>,
    has_screen: bool,
    /// Something was shown.
    is_used: bool,
}

impl Terminal {
    fn open(has_screen: bool) -> Result<Self, Errno> {
        let stops: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        // Taken from a descriptor, a signal ends the loop and the terminal is restored.
        stops.thread_block()?;
        let signals = SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let keyboard = if has_screen && io::stdin().is_terminal() { Some(Keyboard::open()?) } else { None };
        Ok(Self { signals, keyboard, has_screen, is_used: false })
    }

    fn show(&mut self, text: &str, console: &mut Console<'_>) -> Result<(), Exit> {
        let Some(size) = console.screen else {
            let separator = if self.is_used { "\n" } else { "" };
            self.is_used = true;
            return console.print(&format!("{separator}{text}"));
        };
        if !self.is_used {
            self.is_used = true;
            console.print(ENTER)?;
        }
        console.print(&screen(text, size))
    }

    /// Waits for the next refresh, or for a reason to stop.
    fn wait(&self) -> Result<Next, Errno> {
        let stdin = io::stdin();
        loop {
            let mut waiting = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if self.keyboard.is_some() {
                waiting.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut waiting, PollTimeout::from(PERIOD)) {
                Ok(0) => return Ok(Next::Refresh),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            }
            if waiting.first().is_some_and(|signals| signals.any() == Some(true)) {
                return Ok(Next::Stop);
            }
            // A key that means nothing refreshes early, as people expect of the space bar.
            return key(stdin.as_fd());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.has_screen && self.is_used {
            let (mut out, mut err) = (io::stdout(), io::stderr());
            // Nothing is left to do for a terminal that is gone.
            let _restored = Console::new(&mut out, &mut err, None).print(LEAVE);
        }
    }
}

/// Reads what was typed, without the buffer of standard input: it would hide keys from `poll`.
fn key(stdin: BorrowedFd<'_>) -> Result<Next, Errno> {
    const END_OF_TRANSMISSION: u8 = 4;

    let mut typed = [0; 16];
    let length = read(stdin, &mut typed)?;
    let typed = typed.get(..length).unwrap_or_default();
    let stops = typed.is_empty() || typed.iter().any(|key| matches!(*key, b'q' | b'Q' | END_OF_TRANSMISSION));
    Ok(if stops { Next::Stop } else { Next::Refresh })
}

/// A keyboard that gives every key at once and does not show it.
struct Keyboard {
    settings: Termios,
}

impl Keyboard {
    fn open() -> Result<Self, Errno> {
        let settings = tcgetattr(io::stdin())?;
        let mut raw = settings.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Self { settings })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _restored = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.settings);
    }
}

/// Alternate screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// And back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Draws over what is there, so that nothing flickers, and clips to the screen, so that nothing
/// scrolls.
fn screen(text: &str, size: Screen) -> String {
    let mut drawn = "\x1b[H".to_owned();
    for (number, line) in text.lines().take(size.rows).enumerate() {
        let clipped: String = line.chars().take(size.columns).collect();
        let between = if number == 0 { "" } else { "\n" };
        // Writing to a string does not fail.
        let _written = write!(drawn, "{between}{clipped}\x1b[K");
    }
    drawn.push_str("\x1b[J");
    drawn
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn the_first_frame_has_totals_and_the_second_has_rates() {
        let start = now();
        let first = Sample { view: overview(), at: start };
        let mut view = first.view.clone();
        view.redirect.gateways[1].redirects += 500;
        *view.redirect.counters.get_mut("redirected").unwrap() += 500;
        let second = Sample { view, at: start + Duration::from_millis(500) };
        let socket = Path::new("/run/redirectd/redirectd.sock");

        let totals = frame(None, &first, socket, DEFAULT_WIDTH);
        let rates = frame(Some(&first), &second, socket, DEFAULT_WIDTH);

        assert!(totals.contains("Redirects/s     : -\n"), "{totals}");
        assert_eq!(
            rates,
            "\
Socket          : /run/redirectd/redirectd.sock
Role            : CLB Master (Up)
Standby         : group1 active, hsrp-eth0-10 standby
Fast path       : armed
Redirects       : 2968
Redirects/s     : 1000

Gateway  State        Load  SAs  Slots  Redirects  Share  Per second
-------  ----------  -----  ---  -----  ---------  -----  ----------
gw1      up          24.3%  812  25.0%        617  20.8%           0
gw2      up          12.3%  812  62.5%       1734  58.4%        1000
gw3      overloaded  80.0%  812   0.0%        617  20.8%           0

Reason               Packets  Per second
-------------------  -------  ----------
not-ike-port          999999           0
redirected              2968        1000
local-is-llg               3           0
no-redirect-support        3           0
"
        );
    }

    #[test]
    fn a_node_without_groups_shows_none() {
        let view = Overview { redirect: fixtures::snapshot().redirect, ..Overview::default() };

        let text = frame(None, &Sample { view, at: now() }, Path::new("/s"), DEFAULT_WIDTH);

        assert!(
            text.starts_with("Socket          : /s\nRole            : None (-)\nFast path       : armed\n")
        );
        assert!(text.contains("gw1      -         -    -      -        617  25.0%           -\n"), "{text}");
    }

    #[test]
    fn a_restarted_daemon_counts_from_zero_again() {
        let start = now();
        let before = Sample { view: overview(), at: start };
        let mut view = before.view.clone();
        view.redirect.gateways[1].redirects = 7;
        let after = Sample { view, at: start + Duration::from_secs(1) };

        assert_eq!(per_second(&before, &after, &|view| view.gateways[1].redirects), "7");
        assert_eq!(per_second(&before, &before, &|view| view.gateways[1].redirects), "-");
    }

    fn overview() -> Overview {
        Overview {
            redirect: fixtures::snapshot().redirect,
            cluster: fixtures::elected(),
            standby: fixtures::standby(),
        }
    }

    #[test]
    fn a_screen_is_clipped_and_never_scrolls() {
        let drawn = screen("first line\nsecond\nthird\n", Screen { columns: 5, rows: 2 });

        assert_eq!(drawn, "\x1b[Hfirst\x1b[K\nsecon\x1b[K\x1b[J");
        assert!(!drawn.ends_with('\n'));
    }
}

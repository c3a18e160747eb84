//! The daemon's end of the guard: starts it, gives it orders, hears what it says.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::FutureExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::fastpath::guard::{Order, Report};

/// First argument that makes `redirectd` the guard.
pub const GUARD_ARGUMENT: &str = "guard";

/// How long an order may take. A driver that has to reset its card for XDP needs seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the guard says without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// We were silent for too long; every link is closed.
    Lapsed,
    /// It has ended; every link is closed.
    Gone,
}

/// A running guard.
pub(super) struct Guard {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    has_lapsed: bool,
}

impl Guard {
    /// Starts one for the program that is pinned in `pins`.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub(super) fn start(pins: &Path) -> Result<Self> {
        // A process group of its own: whatever is sent to the daemon's group, a terminal's Ctrl-C
        // or a stop, must not reach the one that watches the daemon.
        let mut child = Command::new("/proc/self/exe")
            .arg0("redirectd")
            .arg(GUARD_ARGUMENT)
            .arg(pins)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the guard")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the guard has no pipes")
        };
        Ok(Self { child, input, output: BufReader::new(output).lines(), has_lapsed: false })
    }

    /// Gives an order and waits for the answer.
    ///
    /// # Errors
    ///
    /// The guard refuses, in the kernel's words, does not answer, or is gone.
    pub(super) async fn order(&mut self, order: Order) -> Result<()> {
        timeout(PATIENCE, self.carry_out(order)).await.context("the guard does not answer")?
    }

    async fn carry_out(&mut self, order: Order) -> Result<()> {
        self.input.write_all(order.line().as_bytes()).await.context("the guard is gone")?;
        loop {
            let line = self.output.next_line().await.context("the guard is gone")?;
            match line.as_deref().map(Report::parse) {
                Some(Some(Report::Done)) => return Ok(()),
                Some(Some(Report::Refused(why))) => bail!(why),
                Some(Some(Report::Lapsed)) => self.has_lapsed = true,
                Some(None) => bail!("the guard talks nonsense"),
                None => bail!("the guard is gone"),
            }
        }
    }

    /// Says that the daemon is alive. Never waits: a guard that does not read is not worth a core
    /// that stands still.
    pub(super) fn beat(&mut self) {
        let line = Order::Beat.line();
        // A guard that is gone says so through `news`.
        let _full_or_gone = self.input.write_all(line.as_bytes()).now_or_never();
    }

    /// Waits for something the guard says by itself.
    pub(super) async fn news(&mut self) -> News {
        if std::mem::take(&mut self.has_lapsed) {
            return News::Lapsed;
        }
        loop {
            match self.output.next_line().await {
                Ok(Some(line)) if Report::parse(&line) == Some(Report::Lapsed) => return News::Lapsed,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return News::Gone,
            }
        }
    }

    /// Lets it go: it closes every link, removes the pins and ends.
    pub(super) async fn stop(self) {
        let Self { mut child, input, output, has_lapsed: _ } = self;
        drop(input);
        // Its exit status says nothing that the log does not.
        let _status = child.wait().await;
        drop(output);
    }
}

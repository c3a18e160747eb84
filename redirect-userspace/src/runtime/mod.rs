//! The daemon: owns the machines and all I/O.
//!
//! # Start-up
//!
//! Configuration, log, control socket (which proves that no other daemon is alive), maps, guard,
//! tables, interfaces, and only then the fast path is armed. Shut-down is the reverse.
//!
//! # Picture
//!
//! ```text
//!            signals   client's requests beat   guard's reports
//!                └────────┬──────────────┴──────────┘
//!                      core ── step ──▶ cluster machine
//!                         │ outputs in order
//!          ┌──────────────┼──────────────┐
//!        XDP maps     tables in memory   events, snapshot ──▶ control socket, /metrics
//! ```

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, ConfigErrors};
use crate::control::server::{Server, Sources};
use crate::control::{CoreRequest, Snapshot};
use crate::fastpath::guard::take_precedence;
use crate::telemetry::export::Exporter;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Event, StopReason, Telemetry};

mod attach;
mod clock;
mod core;
mod gateway;
mod guard;
mod hooks;
pub mod load;
mod papers;
mod paths;
mod plan;
mod sample;
mod signals;
mod speaker;

pub use self::guard::GUARD_ARGUMENT;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reads the configuration: at the start and at every reload.
pub type Load = Box<dyn Fn() -> Result<Config, ConfigErrors>>;

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// Whatever keeps it from starting or from running on, with the setting it is about.
pub fn run(config: Config, load: Load) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    runtime.block_on(serve(config, load))
}

/// Runs the guard that a daemon has started with [`GUARD_ARGUMENT`], for as long as that daemon
/// lives. `pins` is where the daemon has pinned its program.
///
/// # Errors
///
/// The pinned program cannot be opened, or the daemon talks nonsense.
pub fn guard(pins: &Path) -> Result<()> {
    crate::fastpath::guard::run(pins)
}

async fn serve(config: Config, load: Load) -> Result<()> {
    take_precedence();
    allow_descriptors();
    let clock = clock::Clock::start();
    let telemetry = Telemetry::new();
    let signals = signals::Signals::new()?;
    let server = Server::bind(&config.runtime.socket)?;
    let exporter = Exporter::bind(config.runtime.metrics)
        .await
        .with_context(|| format!("runtime.metrics: listening on {}", config.runtime.metrics))?;
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let (core_requests, requests) = mpsc::channel::<CoreRequest>(4);
    telemetry.record(clock.now().wall, &Event::Started { version: VERSION });

    let journal = telemetry.journal();
    let core = core::Core::start(config, load, clock, telemetry, publish).await;
    let mut core = match core {
        Ok(core) => core,
        Err((error, telemetry)) => {
            telemetry.record(clock.now().wall, &Event::Stopped { reason: StopReason::Error });
            return Err(error);
        }
    };

    let (stop_server, stopped_server) = oneshot::channel::<()>();
    let (stop_exporter, stopped_exporter) = oneshot::channel::<()>();
    let metrics = Arc::new(Metrics::new(snapshots.clone(), VERSION));
    let sources = Sources { snapshots, events: journal, core: core_requests, version: VERSION };
    let serving = tokio::spawn(server.serve(sources, ended(stopped_server)));
    let exporting = tokio::spawn(exporter.serve(metrics, ended(stopped_exporter)));

    let result = core.run(signals, requests).await;

    core.stop(if result.is_ok() { StopReason::Signal } else { StopReason::Error }).await;
    for stop in [stop_server, stop_exporter] {
        // A server that has ended already needs no telling.
        let _ended = stop.send(());
    }
    serving.await.context("the control server")?;
    exporting.await.context("the metrics server")?;
    result
}

/// Hundreds of slaves are hundreds of connections, more than the usual limit leaves room for.
fn allow_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Up to the hard limit nobody is asked.
        let _never_refused = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Completes when the other end says so or is gone.
async fn ended(stop: oneshot::Receiver<()>) {
    let _told_or_gone = stop.await;
}

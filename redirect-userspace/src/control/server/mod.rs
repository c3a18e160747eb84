//! The daemon's end of the control socket: answers from snapshots, never blocks the core.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::client::connect_within;
use super::{
    Answer, ClearView, CoreAnswer, CoreRequest, CoreRequests, DEADLINE, DrainView, Envelope, EventLog,
    MAX_CLIENTS, MAX_PAGE, MAX_REQUEST, MAX_VALID, Overview, PROTOCOL, RadiusView, RedirectedView,
    ReloadView, ReportView, Request, Response, SaPageView, SaQuery, SaSelector, Snapshot, Snapshots,
    StartView, VersionView,
};
use crate::gateway::GatewayName;
use crate::ike::config::Name;
use crate::ike::{Redirected, SaId};

/// Why the control socket cannot be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// A daemon is alive behind it.
    #[error("another redirectd answers on {}", .0.display())]
    InUse(PathBuf),
    /// Something else than a socket has the name.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused a step.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// Which step.
        step: &'static str,
        /// The socket or its directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What the server answers from.
#[derive(Clone)]
pub struct Sources {
    /// The core's newest snapshot.
    pub snapshots: Snapshots,
    /// The journal.
    pub events: Arc<dyn EventLog>,
    /// The way to the core.
    pub core: CoreRequests,
    /// The daemon's version.
    pub version: &'static str,
}

/// The bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    // Dropped before the listener: as long as we answer, no successor takes the name for a stale
    // one, so what is removed is ours.
    _file: SocketFile,
    listener: UnixListener,
    limits: Limits,
}

impl Server {
    /// Binds `path`, mode 0660, creating its directory if need be. A socket that a dead daemon
    /// left behind is replaced.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            Some(_) | None => Path::new("."),
        };
        create(directory)?;
        let _lock = lock(directory, path)?;
        remove_stale(path)?;
        let (listener, file) = open(path)?;
        let listener = UnixListener::from_std(listener).map_err(failed("listen on", path))?;
        Ok(Self { _file: file, listener, limits: Limits::default() })
    }

    /// Answers until `shutdown` completes; then every connection is closed and the socket
    /// removed.
    pub async fn serve(self, sources: Sources, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        let mut clients = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let (sources, limits) = (sources.clone(), self.limits);
                        clients.spawn(async move {
                            let served = converse(stream, &sources, limits);
                            match timeout(limits.connection, served).await {
                                Ok(Ok(())) => {}
                                Ok(Err(error)) => debug!(%error, "control client broke off"),
                                Err(_) => debug!("control client was too slow"),
                            }
                            drop(place);
                        });
                    }
                    Err(_) => refuse(&stream),
                },
                Err(error) => {
                    // Out of descriptors, most likely: it passes, and trying again at once would
                    // only take the processor from those who could free some.
                    debug!(%error, "control connection lost before it was accepted");
                    if timeout(ACCEPT_PAUSE, &mut shutdown).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }
}

/// How long clients and the core may take. Shorter in tests.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connection: Duration,
    /// To wait for the core's answer.
    core: Duration,
    /// To wait for a fresh snapshot.
    refresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // The client learns that the core is slow before it gives up itself.
        Self {
            connection: DEADLINE,
            core: DEADLINE - Duration::from_secs(1),
            refresh: Duration::from_millis(400),
        }
    }
}

/// How long to wait when connections cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn create(directory: &Path) -> Result<(), BindError> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(failed("create directory", directory))?;
    // Whatever the umask: the socket has its own permissions, and operators must get there.
    fs::set_permissions(directory, Permissions::from_mode(0o755))
        .map_err(failed("set permissions of", directory))
}

/// Keeps two daemons that start at the same instant from each taking the other's new socket for
/// a stale one.
fn lock(directory: &Path, path: &Path) -> Result<Flock<File>, BindError> {
    let file = File::open(directory).map_err(failed("open directory", directory))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            BindError::InUse(path.to_owned())
        } else {
            failed("lock directory", directory)(errno.into())
        }
    })
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect_within(path, PROBE) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed("remove stale socket", path)),
        Err(Errno::ENOENT) => Ok(()),
        // Hanging is not dead: whoever has the socket may still have the fast path.
        Ok(_) | Err(Errno::EAGAIN) => Err(BindError::InUse(path.to_owned())),
        Err(errno) => Err(failed("probe", path)(errno.into())),
    }
}

/// How long a daemon that takes no connections is waited for.
const PROBE: Duration = Duration::from_millis(200);

fn open(path: &Path) -> Result<(StdListener, SocketFile), BindError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let name = UnixAddr::new(path).map_err(|errno| failed("bind", path)(errno.into()))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| failed("create", path)(errno.into()))?;
    bind(socket.as_raw_fd(), &name).map_err(|errno| failed("bind", path)(errno.into()))?;
    let file = SocketFile::new(path)?;
    // Before anybody can connect.
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("set permissions of", path))?;
    listen(&socket, Backlog::MAXCONN).map_err(|errno| failed("listen on", path)(errno.into()))?;
    Ok((StdListener::from(socket), file))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io { step, path, source }
}

/// Our name in the file system, as long as it is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> Result<Self, BindError> {
        let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
        Ok(Self { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "control socket not removed");
        }
    }
}

/// Tells a client that there is no place for it. Best effort: the few octets fit into the socket
/// of anyone who is still there.
fn refuse(stream: &UnixStream) {
    if let Err(error) = stream.try_write(&encode(&failure("too many clients, try again"))) {
        debug!(%error, "control client left before it was refused");
    }
}

async fn converse(mut stream: UnixStream, sources: &Sources, limits: Limits) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_REQUEST).unwrap_or(u64::MAX);
        (&mut read).take(limit).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() >= MAX_REQUEST && !line.ends_with(b"\n") {
            let response = failure(&format!("a request has at most {MAX_REQUEST} octets"));
            return write.write_all(&encode(&response)).await;
        }
        let response = answer(&line, sources, limits).await;
        write.write_all(&encode(&response)).await?;
    }
}

async fn answer(line: &[u8], sources: &Sources, limits: Limits) -> Response<Answer> {
    let answer = match parse(line) {
        Ok(request) => fulfil(request, sources, limits).await,
        Err(why) => Err(why),
    };
    match answer {
        Ok(answer) => Response::Ok(answer),
        Err(why) => Response::Error(why),
    }
}

async fn fulfil(request: Request, sources: &Sources, limits: Limits) -> Result<Answer, String> {
    // The reference is not kept: while it lives, the core cannot publish.
    let newest = || newest(&sources.snapshots, limits.refresh);
    Ok(match request {
        Request::ClearSa { select } => {
            let selection = select.to_selection()?;
            let clear = |answer| CoreRequest::ClearSas { selection, answer };
            Answer::Clear(ClearView { cleared: ask(sources, limits, clear).await? })
        }
        Request::Connect { name } => {
            let connection =
                Name::new(&name).ok_or_else(|| format!("{name:?}: not the name of a connection"))?;
            ask(sources, limits, |answer| CoreRequest::Connect { connection, answer }).await?;
            Answer::Start(StartView { started: true })
        }
        Request::Drain { name } => set_draining(name, true, sources, limits).await?,
        Request::RedirectSa { select, percent, to, grace_ms } => {
            let selection = select.to_selection()?;
            let percent = percent.unwrap_or(100);
            if !(1..=100).contains(&percent) {
                return Err(format!("percent is 1 to 100, not {percent}"));
            }
            let to = to.map(|to| member_name(&to)).transpose()?;
            let grace = grace_ms.map(Duration::from_millis);
            let redirect = |answer| CoreRequest::RedirectSas { selection, percent, to, grace, answer };
            let Redirected { selected, told } = ask(sources, limits, redirect).await?;
            Answer::Redirected(RedirectedView { selected, redirected: told })
        }
        Request::RekeySa { id, children } => {
            let rekey = |answer| CoreRequest::RekeySa { sa: SaId(id), children, answer };
            ask(sources, limits, rekey).await?;
            Answer::Start(StartView { started: true })
        }
        Request::Reload => {
            ask(sources, limits, |answer| CoreRequest::Reload { answer }).await?;
            Answer::Reload(ReloadView { reloaded: true })
        }
        Request::ReportSessions { ike_sas, child_sas, valid_ms } => {
            let valid = valid(valid_ms)?;
            let report = |answer| CoreRequest::ReportSessions { ike_sas, child_sas, valid, answer };
            ask(sources, limits, report).await?;
            Answer::Report(ReportView { reported: true })
        }
        Request::ShowCertificates => Answer::Certificates(newest().await.certificates.to_vec()),
        Request::ShowCluster => Answer::Cluster(newest().await.cluster.clone()),
        Request::ShowDrain => Answer::DrainStatus(newest().await.drain.clone()),
        Request::ShowEvents { since } => Answer::Events(sources.events.entries(since)),
        Request::ShowLlg => Answer::Llg(newest().await.llg.clone()),
        Request::ShowOverview => {
            let newest = newest().await;
            let Snapshot { redirect, cluster, standby, .. } = &*newest;
            Answer::Overview(Overview {
                redirect: redirect.clone(),
                cluster: cluster.clone(),
                standby: standby.clone(),
            })
        }
        Request::ShowRadius => {
            let snapshot = newest().await;
            Answer::Radius(snapshot.ike.as_ref().map(|ike| RadiusView::from(&ike.radius)).unwrap_or_default())
        }
        Request::ShowRedirect => Answer::Redirect(newest().await.redirect.clone()),
        Request::ShowSa { select, after, limit } => {
            let query = query(&select, after, limit)?;
            let page = ask(sources, limits, |answer| CoreRequest::ShowSas { query, answer }).await?;
            Answer::Sas(SaPageView::from(&page))
        }
        Request::ShowStandby => Answer::Standby(newest().await.standby.clone()),
        Request::Undrain { name } => set_draining(name, false, sources, limits).await?,
        Request::Version => {
            Answer::Version(VersionView { version: sources.version.to_owned(), protocol: PROTOCOL })
        }
    })
}

async fn set_draining(
    name: Option<String>,
    draining: bool,
    sources: &Sources,
    limits: Limits,
) -> Result<Answer, String> {
    let gateway = name.map(|name| member_name(&name)).transpose()?;
    let request = |answer| CoreRequest::SetDraining { gateway, draining, answer };
    let name = ask(sources, limits, request).await?.to_string();
    Ok(Answer::Drain(DrainView { name, draining }))
}

fn member_name(name: &str) -> Result<GatewayName, String> {
    name.parse().map_err(|error| format!("{name:?}: {error}"))
}

/// Which page of SAs a client asks for.
fn query(select: &SaSelector, after: Option<u64>, limit: Option<usize>) -> Result<SaQuery, String> {
    let limit = limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    if limit == 0 {
        return Err("a page has at least one SA".to_owned());
    }
    Ok(SaQuery { selection: select.to_selection()?, after: after.map(SaId), limit })
}

/// How long reported sessions stand.
fn valid(millis: u64) -> Result<Duration, String> {
    let valid = Duration::from_millis(millis);
    if valid.is_zero() || valid > MAX_VALID {
        return Err(format!("valid-ms is 1 to {}, not {millis}", MAX_VALID.as_millis()));
    }
    Ok(valid)
}

/// A snapshot that was made after the question came: an operator who has just done something asks
/// what came of it. The core publishes several times a second; one that does not answers with what
/// there is.
async fn newest(snapshots: &Snapshots, within: Duration) -> Arc<Snapshot> {
    let mut next = snapshots.clone();
    next.mark_unchanged();
    let _late_or_stopping = timeout(within, next.changed()).await;
    Arc::clone(&next.borrow())
}

fn parse(line: &[u8]) -> Result<Request, String> {
    /// Read first, so that a newer client learns what is wrong.
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }

    let header: Header = serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
    if header.version != PROTOCOL {
        return Err(format!(
            "this daemon speaks version {PROTOCOL} of the control protocol, not {}",
            header.version
        ));
    }
    let envelope: Envelope =
        serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
    Ok(envelope.request)
}

/// Asks the core, and waits for what it says.
async fn ask<T>(
    sources: &Sources,
    limits: Limits,
    request: impl FnOnce(CoreAnswer<T>) -> CoreRequest,
) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    let forwarded = async {
        sources.core.send(request(answer)).await.ok()?;
        answered.await.ok()
    };
    match timeout(limits.core, forwarded).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Err("the daemon is stopping".to_owned()),
        Err(_) => Err("the daemon is still busy; `show events` will tell how it went".to_owned()),
    }
}

fn failure(why: &str) -> Response<Answer> {
    Response::Error(why.to_owned())
}

fn encode(response: &Response<Answer>) -> Vec<u8> {
    // Only a map with keys that are not strings could fail, and no answer has one.
    let mut line = serde_json::to_vec(response)
        .unwrap_or_else(|_| br#"{"error":"the answer could not be written as JSON"}"#.to_vec());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;

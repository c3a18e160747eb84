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
    Answer, CoreAnswer, CoreRequest, CoreRequests, DEADLINE, DrainView, Envelope, EventLog, MAX_CLIENTS,
    MAX_REQUEST, MAX_VALID, Overview, PROTOCOL, ReloadView, ReportView, Request, Response, Snapshot,
    Snapshots, VersionView,
};
use crate::gateway::GatewayName;

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
        Request::Drain { name } => set_draining(name, true, sources, limits).await?,
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
        Request::ShowCluster => Answer::Cluster(newest().await.cluster.clone()),
        Request::ShowEvents { since } => Answer::Events(sources.events.entries(since)),
        Request::ShowLlg => Answer::Llg(newest().await.llg.clone()),
        Request::ShowOverview => {
            let Snapshot { at: _, redirect, cluster, llg: _, standby } = &*newest().await;
            Answer::Overview(Overview {
                redirect: redirect.clone(),
                cluster: cluster.clone(),
                standby: standby.clone(),
            })
        }
        Request::ShowRedirect => Answer::Redirect(newest().await.redirect.clone()),
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
    let gateway = match name {
        Some(name) => Some(name.parse::<GatewayName>().map_err(|error| format!("{name:?}: {error}"))?),
        None => None,
    };
    let request = |answer| CoreRequest::SetDraining { gateway, draining, answer };
    let name = ask(sources, limits, request).await?.to_string();
    Ok(Answer::Drain(DrainView { name, draining }))
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
mod tests {
    use serde_json::{Value, json};
    use tokio::sync::{mpsc, watch};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::control::EventEntry;
    use crate::control::fixtures::{self, TempDir};

    #[tokio::test]
    async fn every_request_is_answered_from_the_newest_snapshot() {
        let daemon = Daemon::start(quick());

        assert_eq!(daemon.ask("show-redirect").await["ok"]["counters"]["redirected"], json!(2468));
        assert_eq!(daemon.ask("show-cluster").await["ok"]["status"], json!("static"));
        assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
        assert_eq!(daemon.ask("version").await, json!({"ok": {"version": "1.2.3", "protocol": 1}}));

        daemon.publish.send_modify(|snapshot| Arc::make_mut(snapshot).llg.generation = 8);
        assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(8));
    }

    #[tokio::test]
    async fn events_are_those_after_the_one_asked_for() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        let all = client.say(r#"{"version":1,"request":"show-events"}"#).await;
        let newer = client.say(r#"{"version":1,"request":"show-events","since":1}"#).await;

        assert_eq!(all["ok"].as_array().unwrap().len(), 2);
        assert_eq!(newer["ok"].as_array().unwrap().len(), 1);
        assert_eq!(newer["ok"][0]["sequence"], json!(2));
    }

    #[tokio::test]
    async fn a_reload_is_answered_by_the_core() {
        let mut daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        client.send(r#"{"version":1,"request":"reload"}"#).await;
        daemon.reload().await.send(Ok(())).unwrap();
        assert_eq!(client.receive().await, json!({"ok": {"reloaded": true}}));

        client.send(r#"{"version":1,"request":"reload"}"#).await;
        daemon.reload().await.send(Err("3:1: unknown key".to_owned())).unwrap();
        assert_eq!(client.receive().await, json!({"error": "3:1: unknown key"}));
    }

    #[tokio::test]
    async fn a_reload_that_hangs_or_has_no_core_left_is_an_error() {
        let mut daemon = Daemon::start(Limits { core: Duration::from_millis(20), ..quick() });
        let mut client = daemon.connect().await;

        let busy = client.say(r#"{"version":1,"request":"reload"}"#).await;
        daemon.core.close();
        let stopping = client.say(r#"{"version":1,"request":"reload"}"#).await;

        assert!(busy["error"].as_str().unwrap().contains("still busy"), "{busy}");
        assert!(stopping["error"].as_str().unwrap().contains("stopping"), "{stopping}");
    }

    #[tokio::test]
    async fn standby_groups_and_the_overview_come_from_the_same_snapshot() {
        let daemon = Daemon::start(quick());

        let standby = daemon.ask("show-standby").await;
        let overview = daemon.ask("show-overview").await;

        assert_eq!(standby["ok"][0]["state"], json!("active"));
        assert_eq!(overview["ok"]["standby"], standby["ok"]);
        assert_eq!(overview["ok"]["cluster"], daemon.ask("show-cluster").await["ok"]);
        assert_eq!(overview["ok"]["redirect"], daemon.ask("show-redirect").await["ok"]);
    }

    #[tokio::test]
    async fn members_are_drained_and_undrained_by_the_core() {
        let mut daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;
        for (line, name, is_draining) in [
            (r#"{"version":1,"request":"drain"}"#, None, true),
            (r#"{"version":1,"request":"drain","name":"gw2"}"#, Some("gw2"), true),
            (r#"{"version":1,"request":"undrain","name":"gw2"}"#, Some("gw2"), false),
        ] {
            client.send(line).await;
            let Some(CoreRequest::SetDraining { gateway, draining, answer }) = daemon.core.recv().await
            else {
                panic!("{line}")
            };
            assert_eq!((gateway.as_ref().map(GatewayName::as_str), draining), (name, is_draining));
            answer.send(Ok(name.unwrap_or("gw1").parse().unwrap())).unwrap();

            let name = name.unwrap_or("gw1");
            assert_eq!(client.receive().await, json!({"ok": {"name": name, "draining": is_draining}}));
        }

        client.send(r#"{"version":1,"request":"drain","name":"gw7"}"#).await;
        let Some(CoreRequest::SetDraining { answer, .. }) = daemon.core.recv().await else { panic!() };
        answer.send(Err("no member has the name gw7".to_owned())).unwrap();
        assert_eq!(client.receive().await, json!({"error": "no member has the name gw7"}));
        let wrong = client.say(r#"{"version":1,"request":"drain","name":"gw 7"}"#).await;
        assert!(wrong["error"].as_str().unwrap().starts_with("\"gw 7\": a name has only"), "{wrong}");
    }

    #[tokio::test]
    async fn reported_sessions_reach_the_core_with_their_time() {
        let mut daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;
        let line = |valid: &str| {
            format!(
                r#"{{"version":1,"request":"report-sessions","ike-sas":3,"child-sas":4,"valid-ms":{valid}}}"#
            )
        };

        client.send(&line("10000")).await;
        let Some(CoreRequest::ReportSessions { ike_sas, child_sas, valid, answer }) =
            daemon.core.recv().await
        else {
            panic!()
        };
        answer.send(Ok(())).unwrap();

        assert_eq!((ike_sas, child_sas, valid), (3, 4, Duration::from_secs(10)));
        assert_eq!(client.receive().await, json!({"ok": {"reported": true}}));
        for valid in ["0", "3600001", "18446744073709551615"] {
            let refused = client.say(&line(valid)).await;
            assert_eq!(refused, json!({"error": format!("valid-ms is 1 to 3600000, not {valid}")}));
        }
        for nonsense in ["-1", "1.5", "\"1s\"", "null"] {
            let refused = client.say(&line(nonsense)).await;
            assert!(refused["error"].as_str().unwrap().starts_with("not a request: "), "{refused}");
        }
    }

    #[tokio::test]
    async fn garbage_is_refused_and_the_connection_goes_on() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        for line in [
            "",
            "hello",
            "{}",
            "\u{0}\u{1}\u{2}",
            "[1,2,3]",
            r#"{"version":1}"#,
            r#"{"version":1,"request":"open-pod-bay-doors"}"#,
            r#"{"version":-1,"request":"show-llg"}"#,
            r#"{"version":1,"request":"show-events","since":"yesterday"}"#,
        ] {
            let answer = client.say(line).await;
            assert!(answer["error"].as_str().unwrap().starts_with("not a request: "), "{line}: {answer}");
        }
        let newer = client.say(r#"{"version":2,"request":"drain"}"#).await;
        assert!(newer["error"].as_str().unwrap().contains("speaks version 1"), "{newer}");

        assert_eq!(client.say(r#"{"version":1,"request":"show-llg"}"#).await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn octets_that_are_not_text_are_refused() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        client.stream.get_mut().write_all(&[0xff, 0xfe, 0x80, b'\n']).await.unwrap();

        assert!(client.receive().await["error"].is_string());
    }

    #[tokio::test]
    async fn an_oversized_request_is_refused_and_the_connection_closed() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        client.stream.get_mut().write_all(&vec![b'x'; MAX_REQUEST]).await.unwrap();

        let answer = client.receive().await;
        assert!(answer["error"].as_str().unwrap().contains("at most 65536 octets"), "{answer}");
        assert!(client.is_closed().await);
        assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn the_longest_request_is_still_read_whole() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;
        let request = r#"{"version":1,"request":"show-llg"}"#;

        let line = format!("{request:<width$}", width = MAX_REQUEST - 1);

        assert_eq!(client.say(&line).await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn a_request_without_a_line_end_counts_when_the_client_stops_writing() {
        let daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        let stream = client.stream.get_mut();
        stream.write_all(br#"{"version":1,"request":"show-llg"}"#).await.unwrap();
        stream.shutdown().await.unwrap();

        assert_eq!(client.receive().await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn a_slow_client_loses_its_connection_and_nobody_else_does() {
        let daemon = Daemon::start(Limits { connection: Duration::from_millis(50), ..quick() });
        let mut slow = daemon.connect().await;

        slow.stream.get_mut().write_all(br#"{"version":1,"#).await.unwrap();

        assert!(slow.is_closed().await);
        assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn a_question_is_answered_from_a_snapshot_made_after_it() {
        let daemon = Daemon::start(Limits { refresh: DEADLINE, ..quick() });
        let mut client = daemon.connect().await;
        client.send(r#"{"version":1,"request":"show-llg"}"#).await;
        // Whatever the core publishes before it has seen the question does not answer it; so it
        // goes on publishing until there is an answer.
        let mut generation = 100;
        let publish = async {
            loop {
                let mut next = fixtures::snapshot();
                next.llg.generation = generation;
                generation += 1;
                daemon.publish.send_replace(Arc::new(next));
                tokio::task::yield_now().await;
            }
        };

        let answer = tokio::select! {
            answer = client.receive() => answer,
            () = publish => Value::Null,
        };

        assert!(answer["ok"]["generation"].as_u64().unwrap() >= 100, "{answer}");
    }

    #[tokio::test]
    async fn clients_that_vanish_free_their_places() {
        let daemon = Daemon::start(quick());

        for _ in 0..4 * MAX_CLIENTS {
            let mut client = daemon.connect().await;
            let half = b"{\"version\":1,\"request\":\"show-redirect\"}\n{";
            // One that comes while all places are taken is refused, which is as good.
            let _refused = client.stream.get_mut().write_all(half).await;
            drop(client);
        }

        let served = async {
            let mut line = String::new();
            while !line.contains("\"generation\":7") {
                line.clear();
                let mut client = daemon.connect().await;
                let question = b"{\"version\":1,\"request\":\"show-llg\"}\n";
                if client.stream.get_mut().write_all(question).await.is_ok() {
                    let _broken_off = client.stream.read_line(&mut line).await;
                }
            }
        };
        assert!(timeout(DEADLINE, served).await.is_ok(), "the places stay taken");
    }

    #[tokio::test]
    async fn one_client_too_many_is_told_so() {
        let daemon = Daemon::start(quick());
        let mut clients = Vec::new();
        for _ in 0..MAX_CLIENTS {
            let mut client = daemon.connect().await;
            client.say(r#"{"version":1,"request":"version"}"#).await;
            clients.push(client);
        }

        let mut refused = daemon.connect().await;
        assert!(refused.receive().await["error"].as_str().unwrap().starts_with("too many clients"));
        assert!(refused.is_closed().await);

        for client in &mut clients {
            assert_eq!(
                client.say(r#"{"version":1,"request":"show-llg"}"#).await["ok"]["generation"],
                json!(7)
            );
        }
    }

    #[tokio::test]
    async fn the_blocking_client_gets_its_answer() {
        let daemon = Daemon::start(quick());
        let path = daemon.path.clone();

        let answer = tokio::task::spawn_blocking(move || {
            crate::control::client::ask::<crate::control::RedirectView>(&path, Request::ShowRedirect)
        });

        assert_eq!(answer.await.unwrap().unwrap(), fixtures::snapshot().redirect);
    }

    #[tokio::test]
    async fn the_directory_and_the_socket_have_the_promised_modes() {
        let dir = TempDir::new();
        let path = dir.path().join("run").join("redirectd").join("redirectd.sock");

        let _server = Server::bind(&path).unwrap();

        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
    }

    #[tokio::test]
    async fn the_socket_is_removed_at_shutdown_and_can_be_bound_again() {
        let mut daemon = Daemon::start(quick());
        let mut client = daemon.connect().await;

        daemon.stop().await;

        assert!(!daemon.path.exists());
        assert!(client.is_closed().await);
        drop(Server::bind(&daemon.path).unwrap());
        assert!(!daemon.path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let dir = TempDir::new();
        let path = dir.path().join("redirectd.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());

        let _server = Server::bind(&path).unwrap();

        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone() {
        let daemon = Daemon::start(quick());

        let second = Server::bind(&daemon.path);

        let message = second.unwrap_err().to_string();
        assert_eq!(message, format!("another redirectd answers on {}", daemon.path.display()));
        assert_eq!(daemon.ask("show-llg").await["ok"]["generation"], json!(7));
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_left_alone() {
        let dir = TempDir::new();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();

        let refused = Server::bind(&path);

        assert!(matches!(refused, Err(BindError::NotASocket(_))), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let dir = TempDir::new();
        let path = dir.path().join("redirectd.sock");
        let first = Server::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Server::bind(&path).unwrap();

        drop(first);

        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_an_error() {
        let dir = TempDir::new();

        let refused = Server::bind(&dir.path().join("x".repeat(200)));

        assert!(matches!(refused, Err(BindError::Io { .. })), "{refused:?}");
    }

    struct TwoEvents;

    impl EventLog for TwoEvents {
        fn entries(&self, since: Option<u64>) -> Vec<EventEntry> {
            (1..=2)
                .filter(|sequence| since.is_none_or(|since| *sequence > since))
                .map(fixtures::event)
                .collect()
        }
    }

    struct Daemon {
        path: PathBuf,
        publish: watch::Sender<Arc<Snapshot>>,
        core: mpsc::Receiver<CoreRequest>,
        stop: Option<oneshot::Sender<()>>,
        task: JoinHandle<()>,
        _dir: TempDir,
    }

    /// No core publishes in most of these tests.
    fn quick() -> Limits {
        Limits { refresh: Duration::ZERO, ..Limits::default() }
    }

    impl Daemon {
        fn start(limits: Limits) -> Self {
            let dir = TempDir::new();
            let path = dir.path().join("redirectd.sock");
            let (publish, snapshots) = watch::channel(Arc::new(fixtures::snapshot()));
            let (sender, core) = mpsc::channel(1);
            let (stop, stopped) = oneshot::channel();
            let mut server = Server::bind(&path).unwrap();
            server.limits = limits;
            let sources = Sources { snapshots, events: Arc::new(TwoEvents), core: sender, version: "1.2.3" };
            let task = tokio::spawn(server.serve(sources, async {
                let _ = stopped.await;
            }));
            Self { path, publish, core, stop: Some(stop), task, _dir: dir }
        }

        /// The next request to the core, which must be a reload.
        async fn reload(&mut self) -> CoreAnswer<()> {
            match self.core.recv().await.unwrap() {
                CoreRequest::Reload { answer } => answer,
                other @ (CoreRequest::SetDraining { .. } | CoreRequest::ReportSessions { .. }) => {
                    panic!("{other:?}")
                }
            }
        }

        async fn connect(&self) -> Client {
            Client { stream: BufReader::new(UnixStream::connect(&self.path).await.unwrap()) }
        }

        async fn ask(&self, request: &str) -> Value {
            self.connect().await.say(&format!(r#"{{"version":1,"request":"{request}"}}"#)).await
        }

        async fn stop(&mut self) {
            self.stop.take().unwrap().send(()).unwrap();
            (&mut self.task).await.unwrap();
        }
    }

    struct Client {
        stream: BufReader<UnixStream>,
    }

    impl Client {
        async fn say(&mut self, line: &str) -> Value {
            self.send(line).await;
            self.receive().await
        }

        async fn send(&mut self, line: &str) {
            // A refused client is closed before it has said anything; the refusal is still there.
            drop(self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await);
        }

        async fn receive(&mut self) -> Value {
            let mut line = String::new();
            timeout(DEADLINE, self.stream.read_line(&mut line)).await.unwrap().unwrap();
            serde_json::from_str(&line).unwrap()
        }

        async fn is_closed(&mut self) -> bool {
            let mut rest = Vec::new();
            let read = timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await.unwrap();
            // Closing with unread octets resets the connection.
            read.is_err() || rest.is_empty()
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }
}

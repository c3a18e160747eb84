//! One request, one answer, with a deadline.
//!
//! Blocking, so that `redirectctl` needs no runtime.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{DEADLINE, Envelope, Request, Response};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no daemon answers on {}: {}", path.display(), source.desc())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: Errno,
    },
    /// The daemon was reached but did not answer in time.
    #[error("the daemon on {} did not answer within {} s", path.display(), DEADLINE.as_secs())]
    Deadline {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke before the answer was complete.
    #[error("the daemon on {} broke off: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// What came back is not an answer to this request.
    #[error("the answer on {} makes no sense: {source}", path.display())]
    Malformed {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The daemon refused, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon behind the socket at `path`.
///
/// `T` is the answer's type: the view that belongs to the request, or [`serde_json::Value`] to
/// keep fields that this program does not know.
///
/// # Errors
///
/// See [`AskError`].
pub fn ask<T: DeserializeOwned>(path: &Path, request: Request) -> Result<T, AskError> {
    ask_within(path, request, DEADLINE)
}

fn ask_within<T: DeserializeOwned>(path: &Path, request: Request, within: Duration) -> Result<T, AskError> {
    let deadline = now() + within;
    let malformed = |source| AskError::Malformed { path: path.to_owned(), source };

    let mut line = serde_json::to_vec(&Envelope::new(request)).map_err(malformed)?;
    line.push(b'\n');
    let mut stream = connect_within(path, within).map_err(|source| {
        if source == Errno::EAGAIN {
            AskError::Deadline { path: path.to_owned() }
        } else {
            AskError::Unreachable { path: path.to_owned(), source }
        }
    })?;
    let answer = exchange(&mut stream, &line, deadline).map_err(|source| {
        if matches!(source.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            AskError::Deadline { path: path.to_owned() }
        } else {
            AskError::Broken { path: path.to_owned(), source }
        }
    })?;

    match serde_json::from_slice(&answer).map_err(malformed)? {
        Response::Ok(answer) => Ok(answer),
        Response::Error(why) => Err(AskError::Refused(why)),
    }
}

/// Connects, giving up after `within` with [`Errno::EAGAIN`]. A daemon that hangs stops taking
/// connections, and a plain `connect` would then wait for ever.
pub(super) fn connect_within(path: &Path, within: Duration) -> Result<UnixStream, Errno> {
    let address = UnixAddr::new(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A timeout of zero would mean none at all.
    let millis = i64::try_from(within.as_millis()).unwrap_or(i64::MAX).max(1);
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(millis))?;
    connect(socket.as_raw_fd(), &address)?;
    Ok(UnixStream::from(socket))
}

fn exchange(stream: &mut UnixStream, line: &[u8], deadline: Instant) -> std::io::Result<Vec<u8>> {
    match stream.write_all(line) {
        // A daemon that refuses the connection says so and closes without reading.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }

    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let remaining = deadline.saturating_duration_since(now());
        if remaining.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(remaining))?;
        let taken = match stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let taken = chunk.get(..taken).unwrap_or_default();
        if let Some(end) = taken.iter().position(|octet| *octet == b'\n') {
            answer.extend_from_slice(taken.get(..end).unwrap_or_default());
            return Ok(answer);
        }
        answer.extend_from_slice(taken);
        if answer.len() > MAX_ANSWER {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the operator's command has no core to be given the time by")]
fn now() -> Instant {
    Instant::now()
}

/// Longest answer. The largest cluster's is below 1 MiB.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::control::VersionView;
    use crate::control::fixtures::TempDir;

    #[test]
    fn an_answer_arrives_whole_even_in_pieces() {
        let dir = TempDir::new();
        let path = dir.path().join("ctl.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            for piece in [r#"{"ok":{"ver"#, r#"sion":"1.2.3","protocol":1}"#, "}\n"] {
                stream.write_all(piece.as_bytes()).unwrap();
            }
            line
        });

        let version: VersionView = ask(&path, Request::Version).unwrap();

        assert_eq!(version, VersionView { version: "1.2.3".to_owned(), protocol: 1 });
        assert_eq!(daemon.join().unwrap(), "{\"version\":1,\"request\":\"version\"}\n");
    }

    #[test]
    fn an_error_answer_is_a_refusal_in_the_daemons_words() {
        let dir = TempDir::new();
        let path = dir.path().join("ctl.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"error\":\"too many clients\"}\n").unwrap();
        });

        let answer = ask::<VersionView>(&path, Request::Version);

        daemon.join().unwrap();
        assert!(matches!(answer, Err(AskError::Refused(why)) if why == "too many clients"));
    }

    #[test]
    fn a_missing_socket_is_unreachable() {
        let dir = TempDir::new();

        let answer = ask::<VersionView>(&dir.path().join("none.sock"), Request::Version);

        assert!(matches!(answer, Err(AskError::Unreachable { source: Errno::ENOENT, .. })), "{answer:?}");
    }

    #[test]
    fn a_silent_daemon_runs_into_the_deadline() {
        let dir = TempDir::new();
        let path = dir.path().join("ctl.sock");
        let _listener = UnixListener::bind(&path).unwrap();

        let answer = ask_within::<VersionView>(&path, Request::Version, Duration::from_millis(50));

        assert!(matches!(answer, Err(AskError::Deadline { .. })), "{answer:?}");
    }

    #[test]
    fn a_daemon_that_takes_no_connections_runs_into_the_deadline() {
        let dir = TempDir::new();
        let path = dir.path().join("ctl.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // A backlog of zero has room for one.
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();

        let answer = ask_within::<VersionView>(&path, Request::Version, Duration::from_millis(50));

        assert!(matches!(answer, Err(AskError::Deadline { .. })), "{answer:?}");
    }

    #[test]
    fn an_answer_that_is_not_json_is_malformed() {
        let dir = TempDir::new();
        let path = dir.path().join("ctl.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"220 smtp ready\n").unwrap();
        });

        let answer = ask::<VersionView>(&path, Request::Version);

        daemon.join().unwrap();
        assert!(matches!(answer, Err(AskError::Malformed { .. })), "{answer:?}");
    }
}

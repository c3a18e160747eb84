//! The metrics endpoint: `GET /metrics` and `GET /healthz` over HTTP/1.
//!
//! # Invariants
//!
//! - A client holds one of [`MAX_CONNECTIONS`] places for at most [`CONNECTION_LIMIT`], and none
//!   that does not finish its header within [`HEADER_LIMIT`] keeps it longer than that.
//! - Nothing a client sends is read beyond the header.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::metrics::Metrics;

/// Most connections at a time; more are closed at once.
pub const MAX_CONNECTIONS: usize = 16;
/// How long a request's header may take.
pub const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may last. Scrapers that keep theirs open open another.
pub const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// The bound endpoint.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
    limits: Limits,
}

/// Shorter in tests.
#[derive(Clone, Copy, Debug)]
struct Limits {
    header: Duration,
    connection: Duration,
}

impl Exporter {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let limits = Limits { header: HEADER_LIMIT, connection: CONNECTION_LIMIT };
        Ok(Self { listener: TcpListener::bind(address).await?, limits })
    }

    /// The address in use; its port is known even if port 0 was asked for.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown` completes; then every connection is closed.
    pub async fn serve(self, metrics: Arc<Metrics>, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        debug!("metrics connection refused: too many");
                        continue;
                    };
                    let (metrics, limits) = (Arc::clone(&metrics), self.limits);
                    connections.spawn(async move {
                        converse(stream, &metrics, limits).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: it passes, and trying again at once would
                    // only take the processor from those who could free some.
                    debug!(%error, "metrics connection lost before it was accepted");
                    if timeout(ACCEPT_PAUSE, &mut shutdown).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }
}

/// How long to wait when connections cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn converse(stream: TcpStream, metrics: &Metrics, limits: Limits) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), metrics);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "metrics client broke off"),
        Err(_) => debug!("metrics connection closed: open for too long"),
    }
}

/// Longest header, and the size of hyper's buffer for it.
const MAX_HEADER: usize = 16 * 1024;

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(path, "/metrics" | "/healthz") {
        return response(StatusCode::NOT_FOUND, PLAIN, "there is /metrics and /healthz\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "read only\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match (path, metrics.is_alive()) {
        ("/healthz", true) => response(StatusCode::OK, PLAIN, "ok\n"),
        ("/healthz", false) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the core has stopped\n"),
        (_, _) => match metrics.encode() {
            Ok(page) => response(StatusCode::OK, OPEN_METRICS, page),
            Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "metrics cannot be written\n"),
        },
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::{oneshot, watch};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::control::{Snapshot, fixtures};

    const DEADLINE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let endpoint = Endpoint::start().await;

        let page = endpoint.request("GET /metrics HTTP/1.1").await;

        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(
            page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
            "{page}"
        );
        assert!(page.contains("\nredirectd_redirects_total{gateway=\"gw2\"} 1234\n"), "{page}");
        assert!(page.ends_with("\n# EOF\n"), "{page}");
    }

    #[tokio::test]
    async fn a_query_and_head_are_understood() {
        let endpoint = Endpoint::start().await;

        let query = endpoint.request("GET /metrics?name=up HTTP/1.1").await;
        let head = endpoint.request("HEAD /metrics HTTP/1.1").await;

        assert!(query.starts_with("HTTP/1.1 200 OK\r\n"), "{query}");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let endpoint = Endpoint::start().await;

        let path = endpoint.request("GET /etc/passwd HTTP/1.1").await;
        let method = endpoint.request("DELETE /metrics HTTP/1.1").await;

        assert!(path.starts_with("HTTP/1.1 404 "), "{path}");
        assert!(method.starts_with("HTTP/1.1 405 "), "{method}");
        assert!(method.contains("allow: GET, HEAD\r\n"), "{method}");
    }

    #[tokio::test]
    async fn health_follows_the_core() {
        let mut endpoint = Endpoint::start().await;

        let alive = endpoint.request("GET /healthz HTTP/1.1").await;
        endpoint.core = None;
        let dead = endpoint.request("GET /healthz HTTP/1.1").await;

        assert!(alive.starts_with("HTTP/1.1 200 ") && alive.ends_with("\r\n\r\nok\n"), "{alive}");
        assert!(dead.starts_with("HTTP/1.1 503 "), "{dead}");
    }

    #[tokio::test]
    async fn garbage_is_refused_and_others_are_served() {
        let endpoint = Endpoint::start().await;

        for garbage in [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice(), b"hello\r\n\r\n"]
        {
            let mut stream = endpoint.connect().await;
            stream.write_all(garbage).await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }

        assert!(endpoint.request("GET /healthz HTTP/1.1").await.ends_with("ok\n"));
    }

    #[tokio::test]
    async fn a_header_that_never_ends_is_refused() {
        let endpoint = Endpoint::start().await;
        let mut stream = endpoint.connect().await;

        stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await.unwrap();
        // The answer may come, and the connection end, before all of it is written.
        drop(stream.write_all(&vec![b'x'; 4 * MAX_HEADER]).await);

        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(endpoint.request("GET /healthz HTTP/1.1").await.ends_with("ok\n"));
    }

    #[tokio::test]
    async fn a_slow_header_loses_its_connection() {
        let limits = Limits { header: Duration::from_millis(50), connection: DEADLINE };
        let endpoint = Endpoint::start_with(limits).await;
        let mut stream = endpoint.connect().await;

        stream.write_all(b"GET /metr").await.unwrap();

        assert!(!rest(&mut stream).await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_connection_does_not_last_for_ever() {
        let limits = Limits { header: DEADLINE, connection: Duration::from_millis(50) };
        let endpoint = Endpoint::start_with(limits).await;
        let mut stream = endpoint.connect().await;

        assert_eq!(rest(&mut stream).await, "");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_until_a_place_is_free() {
        let endpoint = Endpoint::start().await;
        let mut open = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = endpoint.connect().await;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            open.push(stream);
        }

        let mut refused = endpoint.connect().await;
        assert_eq!(rest(&mut refused).await, "");

        drop(open);
        let served = async {
            while !endpoint.request("GET /healthz HTTP/1.1").await.ends_with("ok\n") {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(DEADLINE, served).await.is_ok(), "the places stay taken");
    }

    #[tokio::test]
    async fn shutdown_closes_the_endpoint() {
        let mut endpoint = Endpoint::start().await;
        let mut open = endpoint.connect().await;

        endpoint.stop.take().unwrap().send(()).unwrap();
        (&mut endpoint.task).await.unwrap();

        assert_eq!(rest(&mut open).await, "");
        assert!(TcpStream::connect(endpoint.address).await.is_err());
    }

    struct Endpoint {
        address: SocketAddr,
        core: Option<watch::Sender<Arc<Snapshot>>>,
        stop: Option<oneshot::Sender<()>>,
        task: JoinHandle<()>,
    }

    impl Endpoint {
        async fn start() -> Self {
            Self::start_with(Limits { header: HEADER_LIMIT, connection: CONNECTION_LIMIT }).await
        }

        async fn start_with(limits: Limits) -> Self {
            let (core, snapshots) = watch::channel(Arc::new(fixtures::snapshot()));
            let (stop, stopped) = oneshot::channel::<()>();
            let mut exporter = Exporter::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            exporter.limits = limits;
            let address = exporter.local_addr().unwrap();
            let metrics = Arc::new(Metrics::new(snapshots, "1.2.3"));
            let task = tokio::spawn(exporter.serve(metrics, async move { drop(stopped.await) }));
            Self { address, core: Some(core), stop: Some(stop), task }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn request(&self, line: &str) -> String {
            let mut stream = self.connect().await;
            let request = format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n");
            drop(stream.write_all(request.as_bytes()).await);
            rest(&mut stream).await
        }
    }

    /// What still comes until the connection ends, by whatever means.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut octets = Vec::new();
        drop(timeout(DEADLINE, stream.read_to_end(&mut octets)).await.expect("the connection stays open"));
        String::from_utf8(octets).unwrap()
    }
}

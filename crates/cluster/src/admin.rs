//! The HTTP server of both binaries: `/metrics` (OpenMetrics 1.0), `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// As OpenMetrics names itself; Prometheus misreads counters that come as anything else.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Named conditions that must all hold.
#[derive(Debug, Clone, Default)]
pub struct Checks(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Checks {
    /// Checks of these names, none of which holds yet.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let waiting = names.into_iter().map(|name| (name, Err("not yet".into())));
        Self(Arc::new(Mutex::new(waiting.collect())))
    }

    /// This one holds.
    pub fn pass(&self, name: &'static str) {
        self.set(name, Ok(()));
    }

    /// This one does not, for this reason.
    pub fn fail(&self, name: &'static str, why: impl Into<String>) {
        self.set(name, Err(why.into()));
    }

    /// Whether all hold.
    pub fn all_pass(&self) -> bool {
        self.failing().is_empty()
    }

    fn set(&self, name: &'static str, outcome: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, outcome);
    }

    fn failing(&self) -> Vec<String> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = checks.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?)));
        failing.map(|(name, why)| format!("{name}: {why}")).collect()
    }

    fn answer(&self) -> Response {
        let failing = self.failing();
        if failing.is_empty() {
            "ok\n".into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, failing.join("\n") + "\n").into_response()
        }
    }
}

/// What the server tells.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// What `/healthz` asks: whether the process still works. A failure has it restarted.
    pub healthy: Checks,
    /// What `/readyz` asks: whether every kind was listed once.
    pub ready: Checks,
}

/// Reads an address such as `:7472`, `127.0.0.1:7472` or `[::1]:7472`. Without a host it is every address of
/// both families.
///
/// # Errors
/// Anything else, a host name among it.
pub fn parse_address(text: &str) -> Result<SocketAddr, AddrParseError> {
    match text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        Some(port) => Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        None => text.parse(),
    }
}

/// Opens the server's socket, so that a port in use is known at the start.
///
/// # Errors
/// The address cannot be bound. Where the machine has no IPv6, `[::]` becomes `0.0.0.0`.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && lacks_ipv6(&error) => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    }
}

fn lacks_ipv6(error: &std::io::Error) -> bool {
    // EAFNOSUPPORT, in this crate's only use of an errno.
    error.raw_os_error() == Some(97) || error.kind() == std::io::ErrorKind::AddrNotAvailable
}

/// Answers until `stop` is done, and then to what was asked before.
///
/// # Errors
/// The socket does not work any more.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(admin)).with_graceful_shutdown(stop).await
}

fn router(admin: Admin) -> Router {
    let Admin { registry, healthy, ready } = admin;
    Router::new()
        .route("/metrics", get(move || async move { metrics(&registry) }))
        .route("/healthz", get(move || async move { healthy.answer() }))
        .route("/readyz", get(move || async move { ready.answer() }))
}

fn metrics(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_serves_metrics_and_says_what_is_not_ready() {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("things", "Things", counter);
        let ready = Checks::new(["services", "nodes"]);
        let admin = Admin { registry: Arc::new(registry), healthy: Checks::default(), ready: ready.clone() };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, admin, async { drop(stopped.await) }));

        let metrics = ask(address, "/metrics").await;
        assert!(metrics.contains("things_total 1") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(metrics.contains("application/openmetrics-text; version=1.0.0"), "{metrics}");
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        ready.pass("services");
        let unready = ask(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("nodes: not yet"), "{unready}");
        assert!(!unready.contains("services"), "{unready}");
        ready.pass("nodes");
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }

    #[test]
    fn an_address_may_be_a_port_alone() {
        assert_eq!(parse_address(":7472"), Ok("[::]:7472".parse().unwrap()));
        assert_eq!(parse_address("127.0.0.1:80"), Ok("127.0.0.1:80".parse().unwrap()));
        assert!(parse_address(":x").is_err());
        assert!(parse_address("localhost:80").is_err());
    }
}

//! What both binaries are as processes: the same flags, the same log, the same end.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{Level, info};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::admin;

/// The flags of each binary.
#[derive(Debug, Args)]
pub struct Flags {
    /// How to reach the API server; without it the pod's service account, or what kubectl would use
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The namespace that FerriteLB runs in
    #[arg(long, default_value = "ferritelb-system", value_name = "NAME")]
    pub namespace: String,

    /// Where /metrics, /healthz and /readyz are served; `:PORT` is every address
    #[arg(long, default_value = ":7472", value_name = "ADDRESS", value_parser = admin::parse_address)]
    pub metrics_address: SocketAddr,

    /// Serve only Services of this spec.loadBalancerClass; without it only Services that have none
    #[arg(long, value_name = "CLASS")]
    pub lb_class: Option<String>,

    /// How log lines look
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// The least severe level that is logged: error, warn, info, debug, trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: Level,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// One line of text
    Text,
    /// One JSON object a line
    Json,
}

impl Flags {
    /// Logs to standard error from now on; with colours only on a terminal. A thread of its own writes the lines: nobody
    /// who logs ever waits for whoever reads them, and lines that nobody reads are lost after the first ten thousand.
    pub fn start_log(&self) -> Log {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(BUFFERED_LINES)
            .thread_name("log")
            .finish(io::stderr());
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(writer);
        let lines = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(levels(self.log_level))).init();
        Log { _guard: guard }
    }
}

/// Lines that wait to be written.
const BUFFERED_LINES: usize = 10_000;

/// The log. When it is dropped, what was logged is written.
#[derive(Debug)]
#[must_use]
pub struct Log {
    _guard: WorkerGuard,
}

const OURS: [&str; 4] = ["ferrite_controller", "ferrite_speaker", "cluster", "netio"];

/// What is logged. Libraries are heard from when something is wrong, or details are wanted. The client library
/// reports each failed attempt of its own; an outage is worth one line, which the watches log.
fn levels(level: Level) -> Targets {
    let (libraries, client) = if level <= Level::INFO {
        (LevelFilter::WARN, LevelFilter::OFF)
    } else {
        (LevelFilter::from_level(level), LevelFilter::from_level(level))
    };
    Targets::new()
        .with_default(libraries)
        .with_targets(["kube_client", "kube_runtime"].map(|library| (library, client)))
        .with_targets(OURS.map(|ours| (ours, level)))
}

/// SIGTERM and SIGINT, waited for from the moment that this is made. That should be the first thing of all: as
/// the first process of a container, a program does not end by a signal that it does not wait for.
#[derive(Debug)]
pub struct Termination {
    terminate: Signal,
    interrupt: Signal,
}

impl Termination {
    /// Begins to wait.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when the process is told to end.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM: ends"),
            _ = self.interrupt.recv() => info!("SIGINT: ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_details_are_wanted() {
        let logs = |level, target: &str, line| levels(level).would_enable(target, &line);
        assert!(logs(Level::INFO, "ferrite_speaker::engine", Level::INFO));
        assert!(logs(Level::INFO, "cluster::watch", Level::INFO));
        assert!(!logs(Level::INFO, "hyper", Level::INFO) && logs(Level::INFO, "hyper", Level::WARN));
        assert!(!logs(Level::INFO, "kube_client::client", Level::ERROR));
        assert!(logs(Level::DEBUG, "kube_client::client", Level::ERROR));
        assert!(!logs(Level::ERROR, "ferrite_controller", Level::WARN));
    }
}

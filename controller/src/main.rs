//! The controller: gives Services of type LoadBalancer addresses from pools and writes them into their status.
//!
//! `seen` projects objects to what is of interest in them, `world` knows and decides, `shell` connects it to the
//! API server. It writes the status of Services and of custom resources, and Events; it never touches a Service of
//! another load balancer class. It watches Services of every type, not by the field selector: a Service that
//! stops being a LoadBalancer would only look deleted, and has to be freed of what was written to it.

mod args;
mod metrics;
mod seen;
mod shell;
mod world;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing::{Level, error};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Args, LogFormat};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    log(&args);
    match shell::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = with_sources(&*error), "ended by an error");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &Args) {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(levels(args.log_level))).init();
}

/// What is logged. The client library reports each failed attempt of its own; an outage is worth one line, which
/// the watches log.
fn levels(level: Level) -> Targets {
    let quiet = if level <= Level::INFO { LevelFilter::OFF } else { LevelFilter::from_level(level) };
    let libraries = ["kube_client", "kube_runtime"].map(|library| (library, quiet));
    Targets::new().with_default(level).with_targets(libraries)
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_library_is_quiet_unless_details_are_wanted() {
        let logs = |level, target: &str| levels(level).would_enable(target, &Level::ERROR);
        assert!(logs(Level::INFO, "ferrite_controller") && logs(Level::INFO, "cluster::watch"));
        assert!(!logs(Level::INFO, "kube_client::client"));
        assert!(logs(Level::DEBUG, "kube_client::client"));
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}

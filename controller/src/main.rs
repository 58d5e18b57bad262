//! The controller: gives Services of type LoadBalancer addresses from pools and writes them into their status.
//!
//! `seen` projects objects to what is of interest in them, `world` knows and decides, `shell` connects it to the
//! API server. It writes the status of Services and of custom resources, and Events; it never touches a Service of
//! another load balancer class. It watches Services of every type, not by the field selector: a Service that
//! stops being a LoadBalancer would only look deleted, and has to be freed of what was written to it.

mod args;
mod keys;
mod leading;
mod metrics;
mod seen;
mod shell;
mod watches;
mod world;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use tracing::error;

use crate::args::Args;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let _log = args.process.start_log();
    match shell::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = with_sources(&*error), "ended by an error");
            ExitCode::FAILURE
        }
    }
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }
}

//! Announces on one node what the plan says.

mod args;
mod changes;
mod engine;
mod latest;
mod metrics;
mod settings;
mod shell;
mod status;
mod world;

use std::error::Error;
use std::io::IsTerminal;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

/// The engines take little; a second thread keeps one from waiting for another's large object.
const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = Args::parse();
    // The libraries are heard from when something is wrong.
    let filter = EnvFilter::new(format!(
        "warn,kube_client=off,kube_runtime=off,ferrite_speaker={0},cluster={0}",
        args.log_level
    ));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let ended = runtime.block_on(shell::run(args));
    runtime.shutdown_background();
    ended
}

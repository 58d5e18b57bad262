//! Announces on one node what the plan says.

mod args;
mod changes;
mod data_path;
mod engine;
mod keys;
mod latest;
mod metrics;
mod owners;
mod removal;
mod settings;
mod shell;
mod status;
mod wall_time;
mod world;

use std::error::Error;

use clap::Parser;

use crate::args::Args;

/// The engines take little; a second thread keeps one from waiting for another's large object.
const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = Args::parse();
    let _log = args.process.start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let ended = runtime.block_on(shell::run(args));
    runtime.shutdown_background();
    ended
}

//! Raises, looks after and removes labs.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Removes the labs that were left standing, and those whose harness died
    Down,
    /// Removes a lab when its harness, at the other end of standard input, is gone
    #[command(hide = true)]
    Reap {
        /// The lab
        lab: String,
    },
}

fn main() {
    match Arguments::parse().task {
        Task::Down => {
            lab::sweep();
            for name in lab::take_down() {
                println!("removed {name}");
            }
        }
        Task::Reap { lab } => lab::reap(&lab),
    }
}

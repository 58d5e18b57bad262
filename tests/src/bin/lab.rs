//! Raises, looks after and removes labs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lab::kube::programs::{Group, Programs};
use lab::kube::{forward, machine, packages};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs and builds what the lab needs: Debian packages, the programs of Kubernetes
    Setup,
    /// Removes the labs that were left standing, and those whose harness died
    Down,
    /// Removes a lab when its harness, at the other end of standard input, is gone
    #[command(hide = true)]
    Reap {
        /// The lab
        lab: String,
    },
    /// Is a node: the first process of its PID namespace
    #[command(hide = true)]
    Machine {
        /// What the node is made of
        file: PathBuf,
    },
    /// Carries connections from a loopback port of one namespace to an address in this one
    #[command(hide = true)]
    Forward {
        /// The namespace's file
        outside: PathBuf,
        /// The address here
        target: SocketAddr,
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
        Task::Setup => {
            packages::ensure();
            for group in [Group::ControlPlane, Group::Nodes] {
                println!("{}", Programs::of(group).folder().display());
            }
        }
        Task::Machine { file } => machine::run(&file),
        Task::Forward { outside, target } => forward::forward_for_ever(&outside, target),
    }
}

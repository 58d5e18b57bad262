//! Raises, looks after and removes labs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lab::bench::{self, Form};
use lab::kube::product::programs;
use lab::kube::programs::{Group, Programs};
use lab::kube::{forward, machine, packages, whole};
use lab::{fuzz, image, mutants, story, workspace};

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
    /// Tells the product's story on a real cluster: every way to a Service, and a node that fails
    Demo,
    /// Leaves the demo's cluster standing and says what can be done with it
    Up,
    /// Writes the product's container image as an OCI archive
    Image {
        /// Where to
        #[arg(default_value = "target/ferritelb-image.tar")]
        file: PathBuf,
    },
    /// Runs every fuzz target for a while
    Fuzz {
        /// How long each of them runs
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Breaks each rule of the election in turn and sees a test fail
    Mutants {
        /// Only those whose name contains this
        #[arg(default_value = "")]
        only: String,
    },
    /// Measures, prints tables and writes raw samples under target/bench
    Bench {
        /// Only these; all when none is named
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<bench::Group>,
        /// Takes all samples: hours instead of minutes
        #[arg(long)]
        full: bool,
    },
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
    // A step that fails says the command and its output; where in the harness that was helps nobody.
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or("something went wrong");
        eprintln!("failed: {said}");
    }));
    match Arguments::parse().task {
        Task::Down => {
            lab::sweep();
            for name in lab::take_down() {
                println!("removed {name}");
            }
            whole::remove_empty_groups();
        }
        Task::Demo => story::demo(),
        Task::Up => story::stand(),
        Task::Image { file } => {
            image::ferritelb(&programs()).write(&file);
            println!("{}", file.display());
        }
        Task::Fuzz { seconds } => fuzz::run(workspace(), seconds),
        Task::Mutants { only } => mutants::run(workspace(), &only),
        Task::Bench { only, full } => bench::run(&only, if full { Form::Full } else { Form::Short }),
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

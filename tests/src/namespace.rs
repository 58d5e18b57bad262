//! Network namespaces, and threads inside them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

use crate::run;

pub(crate) const NAMED: &str = "/run/netns";

/// A named network namespace.
///
/// A namespace belongs to a thread, not to a process: servers, probes and captures are threads of the harness
/// whose sockets were opened inside. A thread stays where it entered.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
}

impl Namespace {
    pub(crate) fn create(name: &str) -> Self {
        run::run(Command::new("ip").args(["netns", "add", name]));
        Self::named(name)
    }

    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// As `ip netns list` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that keeps the namespace, for `nsenter --net=…`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NAMED).join(&*self.name)
    }

    /// Moves the calling thread into the namespace, for good (for a runtime's hook at thread start).
    pub fn enter_thread(&self) {
        let file = File::open(self.path()).unwrap_or_else(|error| panic!("namespace {}: {error}", self.name));
        setns(file, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|error| panic!("entering namespace {}: {error}", self.name));
    }

    /// Runs `work` inside, on a thread of its own, and waits for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter_thread();
            work()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts a thread inside. The thread, and each socket it opened, keeps the namespace alive.
    pub fn thread<T: Send + 'static>(
        &self,
        purpose: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let inside = self.clone();
        let body = move || {
            inside.enter_thread();
            work()
        };
        thread::Builder::new().name(purpose.to_owned()).spawn(body).expect("a thread starts")
    }

    /// A command that runs `program` inside, by `nsenter`: /sys and its cgroups stay as they are outside.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(["--", program]);
        command
    }

    /// A command that runs `program` inside, by `ip netns exec`: /sys shows the devices of the namespace
    /// (and hides the cgroups).
    #[must_use]
    pub fn command_with_own_sys(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs lines of `ip -batch` inside.
    #[track_caller]
    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        run::run_with_input(&mut command, lines);
    }
}

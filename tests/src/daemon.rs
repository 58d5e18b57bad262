//! Long-lived programs inside a namespace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::{run, spawner, wait};

/// Whether a program ends with the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// It is killed when its handle is dropped or the harness dies.
    Harness,
    /// It goes on: the lab will be left standing.
    Lab,
}

/// A running program, with its output in a log file. Killed when dropped (unless the lab stays).
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    lifetime: Lifetime,
    pid: Pid,
    child: Mutex<Child>,
}

impl Daemon {
    pub(crate) fn start(
        inside: &Namespace,
        name: &str,
        command: &Command,
        log: PathBuf,
        lifetime: Lifetime,
    ) -> Self {
        let log_file = File::create(&log).expect("a log file is made");
        let mut wrapped = wrap(inside, command, lifetime);
        let log_clone = log_file.try_clone().expect("a file is shared");
        wrapped.stdin(Stdio::null()).stdout(log_clone).stderr(log_file);
        let line = run::line(command);
        let child = spawner::spawn(wrapped).unwrap_or_else(|error| panic!("`{line}`: {error}"));
        Self {
            name: name.to_owned(),
            log,
            lifetime,
            pid: Pid::from_raw(child.id().cast_signed()),
            child: Mutex::new(child),
        }
    }

    /// The name it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process: the program itself, no wrapper is left.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has printed `words`.
    #[track_caller]
    pub fn wait_log(&self, words: &str, within: Duration) {
        let what = format!("{} prints {words:?}", self.name);
        wait::eventually(&what, within, || {
            let ended = self.ended();
            let log = self.log();
            if log.contains(words) {
                return Ok(());
            }
            if let Some(status) = ended {
                panic!("{} ended ({status}) before it printed {words:?}:\n{log}", self.name);
            }
            Err(log)
        });
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.lock().try_wait().expect("a child can be waited for")
    }

    /// Stops its clock (SIGSTOP): it holds its sockets and says nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// A crash (SIGKILL); returns when it is gone.
    pub fn kill(&self) -> ExitStatus {
        let mut child = self.lock();
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for")
    }

    /// A polite end (SIGTERM); returns when it is gone.
    #[track_caller]
    pub fn terminate(&self, within: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let what = format!("{} ends after SIGTERM", self.name);
        wait::eventually(&what, within, || self.ended().ok_or_else(|| self.log()))
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        // While the lock is held nobody reaps, so the number cannot have passed on to another process.
        let mut child = self.lock();
        if matches!(child.try_wait(), Ok(None)) {
            kill(self.pid, signal).expect("a living child takes signals");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Harness {
            let mut child = self.lock();
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// `command` inside the namespace, in a session of its own so that Ctrl-C reaches the harness alone.
/// Each wrapper executes the next, so the process that is left is the program.
fn wrap(inside: &Namespace, command: &Command, lifetime: Lifetime) -> Command {
    let mut wrapped = inside.command("setsid");
    if lifetime == Lifetime::Harness {
        wrapped.args(["setpriv", "--pdeathsig", "KILL", "--"]);
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

//! The product's programs as plain processes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::clock_getcpuclockid;

use crate::{Daemon, Host, wait, workspace};

/// Metrics and health, of both programs; further replicas of the controller have the ports behind it.
pub const HTTP: u16 = 7472;

const READY_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(2);

/// The folder of the release programs: `FERRITE_BIN`, or where `cargo build --release` for musl puts them.
#[must_use]
pub fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("FERRITE_BIN") {
        return folder.into();
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join(format!("{}-unknown-linux-musl", std::env::consts::ARCH)).join("release")
}

/// One of the product's programs, and the process that runs it now.
#[derive(Debug)]
pub(crate) struct Slot {
    name: &'static str,
    arguments: Vec<String>,
    port: u16,
    daemon: Mutex<Option<Daemon>>,
}

impl Slot {
    /// It serves its metrics on that port.
    pub(crate) fn new(name: &'static str, mut arguments: Vec<String>, port: u16) -> Self {
        arguments.extend(["--metrics-address".to_owned(), format!(":{port}")]);
        Self { name, arguments, port, daemon: Mutex::new(None) }
    }

    pub(crate) fn on<'a>(&'a self, host: &'a Host) -> Program<'a> {
        Program { host, slot: self }
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    /// A failed test shows what its programs said last.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(daemon) = &*self.daemon()
        {
            let lines: Vec<_> = daemon.log().lines().map(str::to_owned).collect();
            let last = lines.len().saturating_sub(40);
            eprintln!("--- {}:\n{}", daemon.log_path().display(), lines[last..].join("\n"));
        }
    }
}

/// A program of the product on its host.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    host: &'a Host,
    slot: &'a Slot,
}

impl Program<'_> {
    /// Starts it; it must not be running.
    #[track_caller]
    pub fn start(&self) {
        let file = programs().join(self.slot.name);
        assert!(file.is_file(), "{} is not there: cargo build --release --target …-musl", file.display());
        let mut daemon = self.slot.daemon();
        let running = daemon.as_ref().is_some_and(|daemon| daemon.ended().is_none());
        assert!(!running, "{} runs already", self.slot.name);
        let mut command = Command::new(file);
        command.args(&self.slot.arguments);
        *daemon = Some(self.host.spawn(self.slot.name, &command));
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn wait_ready(&self) {
        let what = format!("{} on {} is ready", self.slot.name, self.host.name());
        wait::eventually(&what, READY_WITHIN, || match self.http("/readyz") {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
            Ok(answer) => Err(format!("{answer}\n{}", self.log())),
            Err(error) => {
                if let Some(status) = self.with(Daemon::ended) {
                    panic!("{} ended with {status}:\n{}", self.slot.name, self.log());
                }
                Err(format!("{error}\n{}", self.log()))
            }
        });
    }

    /// A crash and a new start.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        self.start();
    }

    /// A polite end (SIGTERM).
    #[track_caller]
    pub fn terminate(&self) -> ExitStatus {
        self.with(|daemon| daemon.terminate(ENDS_WITHIN))
    }

    /// Tells it to end (SIGTERM), without waiting for it; see [`Self::terminate`].
    #[track_caller]
    pub fn tell_to_end(&self) {
        self.with(|daemon| daemon.signal(Signal::SIGTERM));
    }

    /// Whether it says that of all replicas of the controller it is the one that decides.
    #[must_use]
    pub fn leads(&self) -> bool {
        let says = |metrics: String| metrics.lines().any(|line| line == "ferritelb_controller_leader 1");
        self.http("/metrics").is_ok_and(says)
    }

    /// A crash (SIGKILL).
    pub fn kill(&self) {
        self.with(Daemon::kill);
    }

    /// Stops its clock (SIGSTOP).
    pub fn freeze(&self) {
        self.with(Daemon::freeze);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.with(Daemon::thaw);
    }

    /// What it has printed since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.with(Daemon::log)
    }

    /// Its memory: resident, in bytes (proc_pid_status(5), `VmRSS`).
    #[must_use]
    #[track_caller]
    pub fn resident(&self) -> u64 {
        let pid = self.with(Daemon::pid);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("the kernel writes a number");
        kibibytes * 1024
    }

    /// The processor time that all its threads have spent so far.
    #[must_use]
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        let clock = clock_getcpuclockid(self.with(Daemon::pid)).expect("a process has a clock");
        clock.now().expect("the process lives").into()
    }

    /// Its metrics as it serves them.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.http("/metrics").unwrap_or_else(|error| panic!("{}: {error}", self.slot.name))
    }

    /// A page of its HTTP server, head and body.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn http(&self, path: &str) -> io::Result<String> {
        self.host.enter(|| get((Ipv4Addr::LOCALHOST, self.slot.port).into(), path))
    }

    #[track_caller]
    fn with<T>(&self, act: impl FnOnce(&Daemon) -> T) -> T {
        act(self.slot.daemon().as_ref().unwrap_or_else(|| panic!("{} was never started", self.slot.name)))
    }
}

/// The whole answer to a `GET`, head and body, from inside the thread's namespace.
pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

//! A node of the whole cluster from the inside: the first process of its PID namespace, in a mount namespace of
//! its own. To kill it is a power failure: everything that runs on the node goes at once.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How soon a program that ended is started again.
const RESTART: Duration = Duration::from_millis(100);

/// What a node is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The lab's folder; it stays visible although it lies under `/run`.
    pub(crate) lab: PathBuf,
    /// The node's own folder: its disk.
    pub(crate) disk: PathBuf,
    /// Where its programs find other programs.
    pub(crate) path: String,
    /// What runs on it, each with its log file.
    pub(crate) services: Vec<Service>,
}

/// A program of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
}

/// The command that starts a node as `file` describes it, to be run in the node's network namespace.
pub(crate) fn command(lab_program: &Path, file: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation=private",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    command.arg(lab_program).arg("machine").arg(file);
    command
}

/// The first process of the node that [`command`] started, as the machine outside numbers it.
pub(crate) fn first_process(started: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{started}/task/{started}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// Whether a process is gone, or waits to be reaped.
pub(crate) fn has_ended(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// Is the node, until it is killed.
///
/// # Panics
/// When this is not the first process of a PID namespace, or the node cannot be set up.
pub fn run(file: &Path) {
    assert_eq!(Pid::this(), Pid::from_raw(1), "a machine is the first process of a PID namespace");
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let machine: Machine = serde_json::from_slice(&text).expect("the harness wrote it");
    machine.mount().expect("the node's file systems are mounted");
    let running = machine.services.iter().map(|service| (machine.start(service), service));
    machine.look_after(running.collect());
}

impl Machine {
    /// An empty `/run`; `/var/lib` and `/var/log` that are the node's own; mounts that containers may see.
    fn mount(&self) -> io::Result<()> {
        let lab = File::open(&self.lab)?;
        tmpfs("/run")?;
        fs::create_dir_all(&self.lab)?;
        bind(Path::new(&format!("/proc/self/fd/{}", lab.as_raw_fd())), &self.lab)?;
        overlay(Path::new("/var/lib"), &self.folder("lib")?, &self.folder("lib-work")?)?;
        fs::create_dir_all("/var/lib/kubelet")?;
        bind(&self.folder("kubelet")?, Path::new("/var/lib/kubelet"))?;
        bind(&self.folder("log")?, Path::new("/var/log"))?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)?;
        Ok(())
    }

    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.disk.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn start(&self, service: &Service) -> Child {
        let log = self.disk.join(format!("{}.log", service.name));
        let log =
            File::options().create(true).append(true).open(log).expect("the node's disk can be written");
        let (program, arguments) = service.words.split_first().expect("a command has a first word");
        Command::new(program)
            .args(arguments)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file is shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Starts again what ends (a kubelet that finds no containerd yet gives up), and takes in orphans, as the
    /// first process must: the shims of containers are such.
    fn look_after(&self, mut running: Vec<(Child, &Service)>) {
        loop {
            let ended = waitpid(None, None).ok().and_then(|status| Some((status.pid()?, status)));
            let Some((ended, status)) = ended else { continue };
            let of = |child: &Child| Pid::from_raw(child.id().cast_signed()) == ended;
            if let Some((child, service)) = running.iter_mut().find(|(child, _)| of(child)) {
                eprintln!("{} ended: {status:?}", service.name);
                thread::sleep(RESTART);
                *child = self.start(service);
            }
        }
    }
}

fn tmpfs(at: &str) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none = None::<&str>;
    Ok(mount(Some(from), to, none, MsFlags::MS_BIND, none)?)
}

/// What is there stays readable, and what is written goes to `upper`.
fn overlay(at: &Path, upper: &Path, work: &Path) -> io::Result<()> {
    let (lower, upper, work) = (at.display(), upper.display(), work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    Ok(mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
}

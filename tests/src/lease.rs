//! Who owns which lab, and how everything of a lab is removed.
//!
//! The owner of `flb<N>` holds a file lock for as long as it lives; the kernel lets go of it however the owner
//! ends. Whoever gets the lock of a lab that was not left standing on purpose may remove it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::{NAMED, Namespace};
use crate::{run, wait};

const STATE: &str = "/run/flb";
const LABS: u16 = 200;
const KILLED_WITHIN: Duration = Duration::from_secs(20);

/// The right to a lab's name, until dropped.
pub(crate) struct Lease {
    name: String,
    lock: File,
}

impl Lease {
    /// Takes the first free name, after removing what owners that are gone have left.
    pub(crate) fn take() -> Self {
        sweep();
        let lease = (0..LABS)
            .find_map(|number| Self::take_named(&format!("flb{number}")))
            .expect("a lab's name is free");
        fs::create_dir_all(lease.dir()).expect("the lab's folder is made");
        lease
    }

    /// Takes that name; none when it is owned, or left standing.
    fn take_named(name: &str) -> Option<Self> {
        Self::lock(name).filter(|_| !standing_mark(name).exists())
    }

    pub(crate) fn lock(name: &str) -> Option<Self> {
        assert!(is_lab(name), "{name} is no lab's name");
        fs::create_dir_all(STATE).expect("the labs' folder is made");
        let path = lock_path(name);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        lock.try_lock().ok()?;
        // Its last owner may have removed the file between our opening and our locking.
        let ours = lock.metadata().ok()?.ino();
        let there = fs::metadata(&path).ok()?.ino();
        (ours == there).then(|| Self { name: name.to_owned(), lock })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn dir(&self) -> PathBuf {
        dir(&self.name)
    }

    pub(crate) fn is_standing(&self) -> bool {
        standing_mark(&self.name).exists()
    }

    /// From now on the lab outlives its owner.
    pub(crate) fn leave_standing(self) {
        File::create(standing_mark(&self.name)).expect("the mark is written");
    }

    /// Removes everything of the lab, and its name.
    pub(crate) fn clear(self) {
        clear_namespaces(&self.name);
        fs::remove_dir_all(self.dir()).ok();
        fs::remove_file(lock_path(&self.name)).ok();
        self.lock.unlock().ok();
    }
}

fn dir(name: &str) -> PathBuf {
    Path::new(STATE).join(name)
}

fn lock_path(name: &str) -> PathBuf {
    Path::new(STATE).join(format!("{name}.lock"))
}

fn standing_mark(name: &str) -> PathBuf {
    dir(name).join("standing")
}

/// Removes the labs whose owner is gone; those left standing stay.
pub fn sweep() {
    for name in known() {
        if let Some(lease) = Lease::take_named(&name) {
            lease.clear();
        }
    }
}

/// Removes every lab that was left standing, and says which.
pub fn take_down() -> Vec<String> {
    let mut names: Vec<String> = known().into_iter().collect();
    names.retain(|name| take_down_one(name));
    names
}

/// Removes that lab if it was left standing, and says whether it did.
///
/// # Panics
/// When it is no lab's name.
#[must_use]
pub fn take_down_one(name: &str) -> bool {
    let standing = Lease::lock(name).filter(Lease::is_standing);
    standing.map(Lease::clear).is_some()
}

/// The labs that have left a trace: a lock, a folder. Nothing under another name is ours to touch.
fn known() -> BTreeSet<String> {
    let entries = fs::read_dir(STATE).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| name.trim_end_matches(".lock").to_owned())
        .filter(|name| is_lab(name))
        .collect()
}

fn is_lab(name: &str) -> bool {
    let number = name.strip_prefix("flb");
    number.is_some_and(|number| number.parse::<u16>().is_ok())
}

fn clear_namespaces(lab: &str) {
    let namespaces = namespaces_of(lab);
    kill_inside(&namespaces);
    for namespace in &namespaces {
        remove_links(namespace);
    }
    for namespace in &namespaces {
        let mut delete = Command::new("ip");
        if let Err(failed) = run::attempt(delete.args(["netns", "del", namespace.name()])) {
            eprintln!("{failed}");
        }
    }
}

fn namespaces_of(lab: &str) -> Vec<Namespace> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let prefix = format!("{lab}-");
    let ours = names.filter(|name| name.starts_with(&prefix));
    ours.map(|name| Namespace::named(&name)).collect()
}

/// A thread of the harness or a forgotten socket may keep a namespace; its links go all the same.
fn remove_links(namespace: &Namespace) {
    let listed = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let listed = listed.unwrap_or_default();
    let names = listed.lines().skip(2).filter_map(|line| line.split_once(':'));
    let delete: Vec<String> = names
        .map(|(name, _)| name.trim())
        .filter(|name| *name != "lo")
        .map(|name| format!("link del {name}\n"))
        .collect();
    let mut batch = Command::new("ip");
    batch.args(["-n", namespace.name(), "-force", "-batch", "-"]);
    // A pair goes by either end, so some of them are gone already.
    run::attempt_with_input(&mut batch, &delete.concat()).ok();
}

fn kill_inside(namespaces: &[Namespace]) {
    let killed = wait::attempt(KILLED_WITHIN, || {
        let alive = processes_in(namespaces);
        for pid in alive.keys() {
            kill(*pid, Signal::SIGKILL).ok();
        }
        if alive.is_empty() { Ok(()) } else { Err(alive) }
    });
    if let Err(alive) = killed {
        eprintln!("still alive after SIGKILL: {alive:?}");
    }
}

/// The processes inside, with the name of their namespace; this process never.
pub(crate) fn processes_in(namespaces: &[Namespace]) -> BTreeMap<Pid, String> {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let inside: BTreeMap<_, _> = namespaces
        .iter()
        .filter_map(|namespace| Some((identity(&namespace.path()).ok()?, namespace.name())))
        .collect();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = pids.map(Pid::from_raw).filter(|pid| *pid != Pid::this());
    others
        .filter_map(|pid| {
            let there = identity(Path::new(&format!("/proc/{pid}/ns/net")));
            let name = inside.get(&there.ok()?)?;
            Some((pid, (*name).to_owned()))
        })
        .collect()
}

/// Writes why the lab was raised where a person looks.
pub(crate) fn note_purpose(lease: &Lease, purpose: &str) -> io::Result<()> {
    fs::write(lease.dir().join("purpose"), purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_labs_are_ours_to_remove() {
        let names = ["flb0", "flb17", "flb", "flbx", "flb1x", "other", "flb-1", "flb1-n1"];
        let ours: Vec<_> = names.into_iter().filter(|name| is_lab(name)).collect();
        assert_eq!(ours, ["flb0", "flb17"]);
    }
}

//! A network namespace for a test, with a veth pair `near` and `far` in it. It needs root: without, the test fails.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::LinkIndex;

/// Runs the test on a thread of its own in a namespace of its own, for a minute at most.
pub(crate) fn inside<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made by root only");
        ip("link set lo up");
        ip("link add near address 02:00:00:00:00:0a type veth peer name far address 02:00:00:00:00:0b");
        ip("link set near up");
        ip("link set far up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test()).await.expect("the test hangs");
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A further namespace, for the station at the other end of a wire.
pub(crate) struct Elsewhere {
    here: File,
    there: File,
}

impl Elsewhere {
    /// Moves an interface there, and sets it up.
    pub(crate) fn with(interface: &str) -> Self {
        let current = || File::open("/proc/thread-self/ns/net").unwrap();
        let here = current();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let there = current();
        setns(&here, CloneFlags::CLONE_NEWNET).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        ip(&format!("link set {interface} netns {path}"));
        let elsewhere = Self { here, there };
        elsewhere.run(|| ip(&format!("link set {interface} up")));
        elsewhere
    }

    /// Does something there: what it opens stays there.
    pub(crate) fn run<T>(&self, action: impl FnOnce() -> T) -> T {
        setns(&self.there, CloneFlags::CLONE_NEWNET).unwrap();
        let result = action();
        setns(&self.here, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    run("ip", words);
}

/// What a command prints; it must succeed. It runs in the namespace of the calling thread.
pub(crate) fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn index(name: &str) -> LinkIndex {
    LinkIndex::new(nix::net::if_::if_nametoindex(name).unwrap())
}

#[test]
fn namespaces_are_apart() {
    inside(async || {
        ip("addr add 192.0.2.1/24 dev near");
        std::thread::spawn(|| inside(async || assert!(!run("ip", "addr show").contains("192.0.2.1"))))
            .join()
            .unwrap();
    });
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::Client;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use self::gate::{Gate, Term};
pub use self::object::Object;
use self::pending::{Outcome, Pending};
use self::request::Patches;
use crate::backoff::seed;
use crate::clock::now;
use crate::lease::Leadership;
use crate::rate::Rate;

mod gate;
mod object;
mod pending;
mod request;

/// Attempts at a time. One that hangs holds up none of the others but through this.
const CONCURRENT: usize = 64;
/// An attempt that takes longer has failed.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A large cluster is written in one go, so that what limits it is the API server; beyond this, 500 writes a second.
const BURST: u32 = 20_000;
const INTERVAL: Duration = Duration::from_millis(2);

/// What is written. Bodies say `metadata.uid` where another object of that name must not be written to.
///
/// One that says `metadata.resourceVersion` is dropped when the object has another one.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A strategic merge patch of the status subresource, for kinds of Kubernetes' own.
    MergeStatus(Value),
    /// Server-side apply of the status subresource.
    ApplyStatus(Value),
    /// Server-side apply of an object, which it creates, and then of its status.
    Apply {
        /// The object.
        object: Value,
        /// Its status.
        status: Value,
    },
    /// A new object. It is dropped where one of that name is there already.
    Create(Value),
    /// A merge patch of an object.
    Merge(Value),
    /// The object with this uid is to be gone.
    Delete {
        /// Another one of that name stays.
        uid: String,
    },
}

/// How writing has gone so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects that are not yet as they should be.
    pub pending: u64,
    /// Writes that were accepted.
    pub written: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Writes that were dropped, because what they are about is gone.
    pub gone: u64,
}

#[derive(Debug)]
struct Shared {
    gate: Gate,
    pending: Mutex<Pending<Object, Patches>>,
    news: Notify,
    load: watch::Sender<Load>,
    written: AtomicU64,
    failed: AtomicU64,
    gone: AtomicU64,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    pending: usize,
    running: usize,
}

/// Brings the newest wanted state of each object to the API server.
///
/// Of each object it keeps one value: a newer one replaces it. It tries until the object says so, or is gone, or
/// is another object of that name. An object that cannot be written holds up no other.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Shared>);

impl Writer {
    /// A writer with nothing to do. Nothing is written while [`Writer::run`] does not run.
    pub fn new() -> Self {
        Self::behind(Gate::always_open())
    }

    /// The same, which writes only while this process leads. What is under way when that ends is dropped, and may
    /// have been written or not.
    pub fn led_by(leadership: watch::Receiver<Leadership>) -> Self {
        Self::behind(Gate::led_by(leadership))
    }

    fn behind(gate: Gate) -> Self {
        let rate = Rate::new(INTERVAL, BURST);
        Self(Arc::new(Shared {
            gate,
            pending: Mutex::new(Pending::new(CONCURRENT, rate, seed())),
            news: Notify::new(),
            load: watch::Sender::default(),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            gone: AtomicU64::new(0),
        }))
    }

    /// Wants an object to say this from now on. Never blocks.
    pub fn put(&self, object: Object, write: Write) {
        let patches = Patches::new(&object, write);
        self.change(|pending| pending.put(now(), object, patches));
    }

    /// Wants nothing of this object any more. An attempt under way is not taken back.
    pub fn forget(&self, object: &Object) {
        self.change(|pending| pending.forget(object));
    }

    /// Wants nothing of any object any more, until it is put again: for when others decide.
    pub fn clear(&self) {
        self.change(Pending::clear);
    }

    /// Returns when everything that was put is written, or its object gone.
    pub async fn idle(&self) {
        self.until(|load| load.pending == 0).await;
    }

    /// Attempts nothing more, ever, and returns when what is under way has ended, or this much later. Needs
    /// [`Writer::run`] to run on.
    pub async fn drain(&self, limit: Duration) {
        self.change(Pending::stop);
        // What has not ended by then is dropped when the lease is given back.
        drop(timeout(limit, self.until(|load| load.running == 0)).await);
    }

    async fn until(&self, reached: impl Fn(&Load) -> bool) {
        // The sender lives in `self`, so waiting cannot fail.
        drop(self.0.load.subscribe().wait_for(reached).await);
    }

    /// How writing has gone so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            pending: u64::try_from(self.pending().len()).unwrap_or(u64::MAX),
            written: read(&self.0.written),
            failed: read(&self.0.failed),
            gone: read(&self.0.gone),
        }
    }

    /// Writes, for ever, as this field manager.
    pub async fn run(self, client: Client, manager: &'static str) {
        let mut gate = self.0.gate.clone();
        let mut attempts = FuturesUnordered::new();
        loop {
            while let Some((object, patches, term)) = self.take() {
                attempts.push(self.attempt(&client, manager, object, patches, term));
            }
            let wake = gate.open(now()).and_then(|_term| self.pending().wake(now()));
            let wake = wake
                .map_or(futures::future::pending().left_future(), |at| sleep_until(at.into()).right_future());
            tokio::select! {
                Some((object, patches, outcome)) = attempts.next() => self.end(object, patches, outcome),
                () = self.0.news.notified() => {}
                () = gate.changed() => {}
                () = wake => {}
            }
        }
    }

    fn take(&self) -> Option<(Object, Patches, Term)> {
        let now = now();
        let term = self.0.gate.open(now)?;
        let mut pending = self.pending();
        let (object, patches) = pending.take(now)?;
        self.tell(&pending);
        Some((object, patches, term))
    }

    async fn attempt(
        &self,
        client: &Client,
        manager: &'static str,
        object: Object,
        patches: Patches,
        term: Term,
    ) -> (Object, Patches, Outcome) {
        let gate = &self.0.gate;
        let may_send = || gate.open(now()) == Some(term);
        let outcome = tokio::select! {
            // First, so that nothing goes out of a process that wakes up too late.
            biased;
            () = gate.clone().closed(term) => Outcome::Failed,
            sent = timeout(ATTEMPT, patches.send(client, manager, &object, may_send)) => {
                sent.unwrap_or(Outcome::Failed)
            }
        };
        (object, patches, outcome)
    }

    fn end(&self, object: Object, patches: Patches, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Written => &self.0.written,
            Outcome::Gone => &self.0.gone,
            Outcome::Failed | Outcome::Busy(_) | Outcome::Refused => &self.0.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.change(|pending| pending.end(now(), object, patches, outcome));
    }

    /// After this there may be something else to do.
    fn change(&self, change: impl FnOnce(&mut Pending<Object, Patches>)) {
        let mut pending = self.pending();
        change(&mut pending);
        self.tell(&pending);
        drop(pending);
        self.0.news.notify_one();
    }

    fn tell(&self, pending: &Pending<Object, Patches>) {
        let load = Load { pending: pending.len(), running: pending.running() };
        self.0.load.send_replace(load);
    }

    fn pending(&self) -> MutexGuard<'_, Pending<Object, Patches>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

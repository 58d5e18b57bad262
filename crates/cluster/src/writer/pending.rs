use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::backoff::Jitter;
use crate::rate::Rate;

/// The longest wait before an object is tried again after a failure that may pass.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The wait after a refusal, which passes only if somebody changes a role, a policy or the object.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// How an attempt to write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stands there.
    Written,
    /// There is nothing to write to any more.
    Gone,
    /// It may work next time.
    Failed,
    /// The API server does not want it.
    Refused,
}

/// What waits to be written: of each object the newest value only, and one attempt at a time.
#[derive(Debug)]
pub(crate) struct Pending<I, W> {
    slots: BTreeMap<I, Slot<W>>,
    due: BTreeSet<(Instant, I)>,
    running: usize,
    limit: usize,
    rate: Rate,
    jitter: Jitter,
}

#[derive(Debug)]
struct Slot<W> {
    value: Value<W>,
    failures: u32,
}

#[derive(Debug)]
enum Value<W> {
    /// To be written when it is due.
    Waiting(W, Instant),
    /// Being written.
    Running,
    /// Being written, and to be replaced by this.
    Replaced(W),
    /// Being written, and no longer wanted.
    Forgotten,
}

impl<I: Ord + Clone, W> Pending<I, W> {
    /// At most `limit` attempts at a time.
    pub(crate) fn new(limit: usize, rate: Rate, seed: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            due: BTreeSet::new(),
            running: 0,
            limit,
            rate,
            jitter: Jitter::new(seed),
        }
    }

    /// How many objects are not yet as they should be.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Wants an object to say this. An attempt that failed is made again at once, with the new value.
    pub(crate) fn put(&mut self, now: Instant, id: I, value: W) {
        let failures = match self.slots.remove(&id) {
            None => 0,
            Some(Slot { value: Value::Waiting(_, at), failures }) => {
                self.due.remove(&(at, id.clone()));
                failures
            }
            Some(Slot { value: Value::Running | Value::Replaced(_) | Value::Forgotten, failures }) => {
                self.slots.insert(id, Slot { value: Value::Replaced(value), failures });
                return;
            }
        };
        self.wait(id, value, now, failures);
    }

    /// No longer wants anything of an object that is gone.
    pub(crate) fn forget(&mut self, id: &I) {
        match self.slots.remove(id) {
            Some(Slot { value: Value::Waiting(_, at), .. }) => {
                self.due.remove(&(at, id.clone()));
            }
            Some(Slot { value: Value::Running | Value::Replaced(_) | Value::Forgotten, failures }) => {
                self.slots.insert(id.clone(), Slot { value: Value::Forgotten, failures });
            }
            None => {}
        }
    }

    /// Takes what is to be attempted now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(I, W)> {
        if self.running >= self.limit
            || self.due.first().is_none_or(|(at, _)| *at > now)
            || !self.rate.take(now)
        {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let slot = self.slots.get_mut(&id)?;
        match std::mem::replace(&mut slot.value, Value::Running) {
            Value::Waiting(value, _) => {
                self.running += 1;
                Some((id, value))
            }
            Value::Running | Value::Replaced(_) | Value::Forgotten => None,
        }
    }

    /// When to take again, unless an attempt ends or something is put before.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        let (at, _) = self.due.first()?;
        (self.running < self.limit).then(|| self.rate.next(now).max(*at))
    }

    /// An attempt has ended. What failed waits for its next one, unless there is a newer value.
    pub(crate) fn end(&mut self, now: Instant, id: I, value: W, outcome: Outcome) {
        self.running = self.running.saturating_sub(1);
        let Some(Slot { value: slot, failures }) = self.slots.remove(&id) else { return };
        let (newer, failures) = match (slot, outcome) {
            (Value::Forgotten, _) | (Value::Running | Value::Waiting(..), Outcome::Gone) => return,
            // The newer value may be about a new object of that name.
            (Value::Replaced(newer), Outcome::Written | Outcome::Gone) => (Some(newer), 0),
            (Value::Replaced(newer), Outcome::Failed | Outcome::Refused) => (Some(newer), failures),
            (Value::Running | Value::Waiting(..), Outcome::Written) => return,
            (Value::Running | Value::Waiting(..), Outcome::Failed | Outcome::Refused) => {
                (None, failures.saturating_add(1))
            }
        };
        match newer {
            Some(newer) => self.wait(id, newer, now, failures),
            None => {
                let wait = match outcome {
                    Outcome::Refused => REFUSED_WAIT,
                    Outcome::Failed | Outcome::Written | Outcome::Gone => {
                        self.jitter.wait(failures, LONGEST_WAIT)
                    }
                };
                self.wait(id, value, now + wait, failures);
            }
        }
    }

    fn wait(&mut self, id: I, value: W, at: Instant, failures: u32) {
        self.due.insert((at, id.clone()));
        self.slots.insert(id, Slot { value: Value::Waiting(value, at), failures });
    }
}

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
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
    /// What it is about is not there any more.
    Gone,
    /// It may work next time.
    Failed,
    /// It may work when the API server was left alone for this long.
    Busy(Duration),
    /// The API server does not want it.
    Refused,
}

/// When a value is due; of those that are due at once, the one that came first.
type Turn = (Instant, u64);

/// What waits to be written: of each object the newest value only, and one attempt at a time.
#[derive(Debug)]
pub(crate) struct Pending<I, W> {
    slots: BTreeMap<I, Slot<W>>,
    due: BTreeMap<Turn, I>,
    turns: u64,
    running: usize,
    limit: usize,
    rate: Rate,
    jitter: Jitter,
    /// The API server is left alone until then.
    busy: Option<Instant>,
}

#[derive(Debug)]
struct Slot<W> {
    value: Value<W>,
    failures: u32,
}

#[derive(Debug)]
enum Value<W> {
    /// To be written when it is due.
    Waiting(W, Turn),
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
            due: BTreeMap::new(),
            turns: 0,
            running: 0,
            limit,
            rate,
            jitter: Jitter::new(seed),
            busy: None,
        }
    }

    /// How many objects are not yet as they should be.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many attempts are under way.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Wants an object to say this. An attempt that failed is made again at once, with the new value.
    pub(crate) fn put(&mut self, now: Instant, id: I, value: W) {
        let failures = match self.slots.remove(&id) {
            None => 0,
            Some(Slot { value: Value::Waiting(_, turn), failures }) => {
                self.due.remove(&turn);
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
            Some(Slot { value: Value::Waiting(_, turn), .. }) => {
                self.due.remove(&turn);
            }
            Some(Slot { value: Value::Running | Value::Replaced(_) | Value::Forgotten, failures }) => {
                self.slots.insert(id.clone(), Slot { value: Value::Forgotten, failures });
            }
            None => {}
        }
    }

    /// No longer wants anything of any object.
    pub(crate) fn clear(&mut self) {
        self.due.clear();
        self.slots.retain(|_, slot| !matches!(slot.value, Value::Waiting(..)));
        self.slots.values_mut().for_each(|slot| slot.value = Value::Forgotten);
    }

    /// Attempts nothing from now on.
    pub(crate) fn stop(&mut self) {
        self.limit = 0;
    }

    /// Takes what is to be attempted now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(I, W)> {
        let due = self.wake(now).is_some_and(|at| at <= now);
        if !due || !self.rate.take(now) {
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
        let ((due, _), _) = self.due.first_key_value()?;
        let at = self.rate.next(now).max(*due);
        (self.running < self.limit).then(|| self.busy.map_or(at, |busy| busy.max(at)))
    }

    /// An attempt has ended. What failed waits for its next one, unless there is a newer value.
    pub(crate) fn end(&mut self, now: Instant, id: I, value: W, outcome: Outcome) {
        self.running = self.running.saturating_sub(1);
        if let Outcome::Busy(breath) = outcome {
            self.busy = self.busy.max(Some(now + breath));
        }
        let Some(Slot { value: slot, failures }) = self.slots.remove(&id) else { return };
        let (newer, failures) = match (slot, outcome) {
            (Value::Forgotten, _) | (Value::Running | Value::Waiting(..), Outcome::Gone) => return,
            // The newer value may be about a new object of that name.
            (Value::Replaced(newer), Outcome::Written | Outcome::Gone) => (Some(newer), 0),
            (Value::Replaced(newer), Outcome::Failed | Outcome::Busy(_) | Outcome::Refused) => {
                (Some(newer), failures)
            }
            (Value::Running | Value::Waiting(..), Outcome::Written) => return,
            (Value::Running | Value::Waiting(..), Outcome::Failed | Outcome::Busy(_) | Outcome::Refused) => {
                (None, failures.saturating_add(1))
            }
        };
        match newer {
            Some(newer) => self.wait(id, newer, now, failures),
            None => {
                let wait = match outcome {
                    Outcome::Refused => REFUSED_WAIT,
                    Outcome::Failed | Outcome::Busy(_) | Outcome::Written | Outcome::Gone => {
                        self.jitter.wait(failures, LONGEST_WAIT)
                    }
                };
                self.wait(id, value, now + wait, failures);
            }
        }
    }

    fn wait(&mut self, id: I, value: W, at: Instant, failures: u32) {
        let turn = (at, self.turns);
        self.turns += 1;
        self.due.insert(turn, id.clone());
        self.slots.insert(id, Slot { value: Value::Waiting(value, turn), failures });
    }
}

#[cfg(test)]
mod tests;

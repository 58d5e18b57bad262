//! When what follows from many changes is done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use names::{PoolName, QuotaName, ReservationName};

/// What is done, at most so often, for many changes together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The ledger learns which addresses are blocked.
    Network,
    /// The status of a pool.
    Pool(PoolName),
    /// The status of a quota.
    Quota(QuotaName),
    /// The status of a reservation.
    Reservation(ReservationName),
}

/// What is to be done when.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    due: BTreeMap<Subject, Instant>,
    /// When it was done last.
    done: BTreeMap<Subject, Instant>,
}

/// What follows is done within this, so that the Services' own statuses go first.
const SETTLE: Duration = Duration::from_millis(100);
/// The same is done at most so often.
const PACE: Duration = Duration::from_secs(1);
/// Or so often, while somebody waits for it.
const MOMENT: Duration = Duration::from_millis(200);

impl Pacing {
    /// Has something done in this step, however short ago it was done.
    pub(super) fn at_once(&mut self, subject: Subject, now: Instant) {
        self.due.insert(subject, now);
    }

    /// Has something done in this step, or if it was done a moment ago, in the next one.
    pub(super) fn presently(&mut self, subject: Subject, now: Instant) {
        let at = self.done.get(&subject).map_or(now, |done| now.max(*done + MOMENT));
        let due = self.due.entry(subject).or_insert(at);
        *due = at.min(*due);
    }

    /// Has something done before long.
    pub(super) fn soon(&mut self, subject: Subject, now: Instant) {
        let rested = self.done.get(&subject).map(|done| *done + PACE);
        let at = rested.map_or(now + SETTLE, |rested| rested.max(now + SETTLE));
        let due = self.due.entry(subject).or_insert(at);
        *due = at.min(*due);
    }

    /// What is to be done now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Subject> {
        self.due.extract_if(.., |_, at| *at <= now).map(|(subject, _)| subject).collect()
    }

    /// Notes that it was.
    pub(super) fn did(&mut self, subject: Subject, now: Instant) {
        self.done.insert(subject, now);
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        self.due.remove(subject);
        self.done.remove(subject);
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().copied().min()
    }
}

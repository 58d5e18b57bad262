use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

use super::Leadership;
use crate::backoff::Jitter;

/// The longest wait of a standby between two looks at the lease.
const LOOK: Duration = Duration::from_millis(250);
/// Requests that may fail while the lease is given back.
const FAREWELL: u32 = 3;

/// What is asked of the API server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    Read,
    Create(Lease),
    /// Carries the resourceVersion that it is about.
    Replace(Lease),
}

/// How that ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// To [`Request::Read`].
    Found(Option<Lease>),
    /// To the others.
    Stored(Lease),
    /// The lease is no longer as it was read.
    Conflict,
    /// Nobody knows: a write may have happened or may yet happen.
    Failed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Take,
    Renew,
    Release,
    Done,
}

/// A lease as it was last seen.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    /// Since when it has been seen like this.
    since: Instant,
}

/// One that strives for the lease, or holds it.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    jitter: Jitter,
    seen: Option<Seen>,
    /// Until when it leads.
    until: Option<Instant>,
    term: u64,
    /// Nobody else can have held the lease since this term began.
    is_term_open: bool,
    /// A write may have happened that was not answered.
    is_unsure: bool,
    resigning: bool,
    failures: u32,
    step: Step,
    at: Instant,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration, seed: u64, now: Instant) -> Self {
        Self {
            identity,
            duration: Duration::from_secs(duration.as_secs().max(1)),
            jitter: Jitter::new(seed),
            seen: None,
            until: None,
            term: 0,
            is_term_open: false,
            is_unsure: false,
            resigning: false,
            failures: 0,
            step: Step::Look,
            at: now,
        }
    }

    /// Whether it leads, as of the last call that was given the time.
    pub(super) fn leadership(&self) -> Leadership {
        self.until.map_or(Leadership::Standby, |until| Leadership::Leads { until, term: self.term })
    }

    /// Whether the lease was given back.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.until.map_or(self.at, |until| until.min(self.at))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.until = self.until.filter(|until| now < *until);
    }

    /// Leads no longer, and gives the lease back if it may hold it.
    pub(super) fn resign(&mut self, now: Instant) {
        self.resigning = true;
        self.until = None;
        self.failures = 0;
        let step = if self.is_unsure {
            Step::Look
        } else if self.holds() {
            Step::Release
        } else {
            Step::Done
        };
        self.next(step, now);
    }

    /// How long a request that is sent now may take. A leader has time for three attempts to renew.
    pub(super) fn limit(&self, now: Instant) -> Duration {
        let quarter = self.duration / 4;
        self.until.map_or(quarter, |until| quarter.min(until.saturating_duration_since(now)))
    }

    /// What is to be asked now. The wall clock is only told to others.
    pub(super) fn poll_request(&self, now: Instant, wall: Timestamp) -> Option<Request> {
        if now < self.at {
            return None;
        }
        match self.step {
            Step::Look => Some(Request::Read),
            Step::Take | Step::Renew | Step::Release => Some(self.write(wall)),
            Step::Done => None,
        }
    }

    /// An answer has come to what was sent at `sent`.
    pub(super) fn handle_answer(&mut self, sent: Instant, now: Instant, answer: Answer) {
        match answer {
            Answer::Found(lease) => {
                self.observe(now, lease);
                self.decide(now);
            }
            Answer::Stored(lease) => self.stored(sent, now, lease),
            Answer::Conflict => self.failed(now, Step::Look),
            Answer::Failed => {
                self.is_unsure |= self.step != Step::Look;
                self.failed(now, self.step);
            }
        }
        self.handle_timeout(now);
    }

    fn stored(&mut self, sent: Instant, now: Instant, lease: Lease) {
        self.failures = 0;
        self.is_unsure = false;
        self.seen = Some(Seen { lease, since: now });
        if self.step == Step::Release {
            return self.next(Step::Done, now);
        }
        if !self.is_term_open {
            self.is_term_open = true;
            self.term += 1;
        }
        // Others count from when they see this, which is after it was sent. The fifth is for clocks that do not
        // run alike, and for what is written at the last moment.
        self.until = Some(sent + self.duration - self.duration / 5);
        self.next(Step::Renew, sent + self.duration / 4);
    }

    fn failed(&mut self, now: Instant, step: Step) {
        self.failures = self.failures.saturating_add(1);
        if self.resigning && self.failures >= FAREWELL {
            return self.next(Step::Done, now);
        }
        let wait = match (step, self.failures) {
            (Step::Look, 1) => Duration::ZERO,
            (_, failures) => self.jitter.wait(failures, LOOK),
        };
        self.next(step, now + wait);
    }

    fn observe(&mut self, now: Instant, lease: Option<Lease>) {
        self.is_unsure = false;
        match (&self.seen, lease) {
            (Some(seen), Some(lease)) if is_unchanged(&seen.lease, &lease) => {}
            (_, Some(lease)) => self.seen = Some(Seen { lease, since: now }),
            // A lease that is deleted under its holder is free for others when the holder's time is over.
            (Some(seen), None) if now < seen.over() && !self.holds() => {}
            (_, None) => self.seen = None,
        }
        if !self.holds() {
            self.is_term_open = false;
            self.until = None;
        }
    }

    fn decide(&mut self, now: Instant) {
        let free = self.seen.as_ref().map(Seen::over).filter(|over| now < *over);
        match (self.resigning, self.holds(), free) {
            (true, true, _) => self.next(Step::Release, now),
            (true, false, _) => self.next(Step::Done, now),
            (false, true, _) => self.next(Step::Renew, now),
            (false, false, None) => self.next(Step::Take, now),
            (false, false, Some(free)) => {
                self.failures = 0;
                let look = now + self.jitter.wait(u32::MAX, LOOK);
                self.next(Step::Look, look.min(free));
            }
        }
    }

    fn next(&mut self, step: Step, at: Instant) {
        (self.step, self.at) = (step, at);
    }

    /// Whether the lease as it was last seen is this process's.
    fn holds(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.holder() == self.identity)
    }

    /// The lease as it is to be from now on.
    fn write(&self, wall: Timestamp) -> Request {
        let renewed = Some(MicroTime(wall));
        let before = self.seen.as_ref().map(|seen| &seen.lease);
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0).max(0);
        let (holder, seconds) = match self.step {
            Step::Release => ("", 1),
            Step::Look | Step::Take | Step::Renew | Step::Done => {
                (self.identity.as_str(), i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX))
            }
        };
        let (acquired, transitions) = match self.step {
            Step::Take if before.is_some() => (renewed.clone(), transitions.saturating_add(1)),
            Step::Take => (renewed.clone(), transitions),
            Step::Look | Step::Renew | Step::Release | Step::Done => (spec.acquire_time.clone(), transitions),
        };
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(seconds),
            acquire_time: acquired,
            renew_time: renewed,
            lease_transitions: Some(transitions),
            ..spec
        };
        match before {
            Some(before) => {
                let mut metadata = before.metadata.clone();
                metadata.managed_fields = None;
                Request::Replace(Lease { metadata, spec: Some(spec) })
            }
            None => Request::Create(Lease { spec: Some(spec), ..Lease::default() }),
        }
    }
}

impl Seen {
    fn holder(&self) -> &str {
        holder(&self.lease)
    }

    /// When another may take it: at once if nobody holds it.
    fn over(&self) -> Instant {
        if self.holder().is_empty() {
            return self.since;
        }
        let seconds = self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        self.since + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn is_unchanged(before: &Lease, now: &Lease) -> bool {
    let renewed = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
    before.metadata.resource_version == now.metadata.resource_version
        && holder(before) == holder(now)
        && renewed(before) == renewed(now)
}

#[cfg(test)]
mod tests;

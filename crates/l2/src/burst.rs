//! When which address is announced unasked: a burst when it is taken over, then a refresh for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::jitter::Jitter;

/// The pauses before each step of a burst: the first form of the takeover, its second form, and both forms again 20,
/// 100, 500, 1100 and 2000 ms after it. Linux ignores some forms for a second after an entry's last change, and
/// switches lose frames while they relearn, so the last ones come well after a second.
const PAUSES: [Duration; 7] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(900),
];
const FIRST: Step = 0;
const SECOND: Step = 1;
const REFRESH: Step = PAUSES.len();

/// A queue for each step of the burst, and one for refreshes.
const QUEUES: usize = PAUSES.len() + 1;

/// Below half of the 300 s after which a switch forgets a silent station: our MAC stays known in the segment.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// A refresh comes up to this part of its interval earlier or later, so that nodes and addresses drift apart.
const REFRESH_JITTER: u32 = 10;

/// The first word of a takeover: 20,000 frames a second, so that a thousand addresses are told of in 50 ms; 200 at
/// once where nothing went before, which is also what a timer of a few milliseconds' grain lets pass at a time.
const FIRST_PACE: Pace = Pace { interval: Duration::from_micros(50), burst: 200 };
/// Everything else: 2000 frames a second.
const PACE: Pace = Pace { interval: Duration::from_micros(500), burst: 200 };

/// The announcements to come. A step is sent for every address before the next one is sent for any, as long as the
/// token buckets make them wait: with thousands of addresses, hearing of each once matters more than repeats.
#[derive(Debug)]
pub(crate) struct Schedule {
    queues: [BTreeSet<(Instant, IpAddr)>; QUEUES],
    places: BTreeMap<IpAddr, (Step, Instant)>,
    /// Those whose burst is over while refreshes are off.
    resting: BTreeSet<IpAddr>,
    refresh: Option<Duration>,
    first: Bucket,
    rest: Bucket,
    jitter: Jitter,
}

/// Index of a queue.
type Step = usize;

/// Which of the two forms of an announcement are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forms {
    First,
    Second,
    Both,
}

impl Forms {
    const fn of(step: Step) -> Self {
        match step {
            FIRST => Self::First,
            SECOND => Self::Second,
            _ => Self::Both,
        }
    }

    const fn frames(self) -> u32 {
        match self {
            Self::First | Self::Second => 1,
            Self::Both => 2,
        }
    }
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            queues: Default::default(),
            places: BTreeMap::new(),
            resting: BTreeSet::new(),
            refresh: Some(REFRESH_INTERVAL),
            first: Bucket::new(FIRST_PACE),
            rest: Bucket::new(PACE),
            jitter: Jitter::new(seed),
        }
    }

    /// Begins a burst, in place of what was planned for the address.
    pub(crate) fn start(&mut self, now: Instant, address: IpAddr) {
        self.put(FIRST, now, address);
    }

    pub(crate) fn cancel(&mut self, address: IpAddr) {
        self.resting.remove(&address);
        if let Some((step, due)) = self.places.remove(&address)
            && let Some(queue) = self.queues.get_mut(step)
        {
            queue.remove(&(due, address));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.resting.clear();
        self.queues.iter_mut().for_each(BTreeSet::clear);
    }

    /// How often an address is announced after its burst, if at all; bursts go on.
    pub(crate) fn set_refresh(&mut self, now: Instant, refresh: Option<Duration>) {
        if self.refresh == refresh {
            return;
        }
        self.refresh = refresh;
        let [.., refreshes] = &mut self.queues;
        let waiting = std::mem::take(refreshes).into_iter().map(|(_, address)| address);
        let all: Vec<_> = waiting.chain(std::mem::take(&mut self.resting)).collect();
        for address in all {
            self.places.remove(&address);
            self.plan_refresh(now, address);
        }
    }

    /// What to announce now, if something is due and a bucket has a token; the next announcement is planned.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(IpAddr, Forms)> {
        let due = self.queues.iter().enumerate().find_map(|(step, queue)| {
            let (due, address) = queue.first()?;
            (*due <= now).then_some((step, *address))
        });
        let (step, address) = due?;
        let forms = Forms::of(step);
        let bucket = if step == FIRST { &mut self.first } else { &mut self.rest };
        if !bucket.take(now, forms.frames()) {
            return None;
        }
        match PAUSES.get(step + 1) {
            Some(pause) => self.put(step + 1, now + *pause, address),
            None => {
                self.cancel(address);
                self.plan_refresh(now, address);
            }
        }
        Some((address, forms))
    }

    /// When there is something to announce next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let [first, rest @ ..] = &self.queues;
        let due = |queue: &BTreeSet<(Instant, IpAddr)>| queue.first().map(|(due, _)| *due);
        let rest = rest.iter().filter_map(due).min().map(|due| self.rest.ready_at(due));
        match due(first) {
            // A first word makes the rest wait, even where it waits for a token itself.
            Some(due) => Some(self.first.ready_at(due)),
            None => rest,
        }
    }

    fn plan_refresh(&mut self, now: Instant, address: IpAddr) {
        match self.refresh {
            Some(interval) => {
                let pause = self.jitter.around(interval, interval / REFRESH_JITTER);
                self.put(REFRESH, now + pause, address);
            }
            None => {
                self.resting.insert(address);
            }
        }
    }

    fn put(&mut self, step: Step, due: Instant, address: IpAddr) {
        self.cancel(address);
        self.places.insert(address, (step, due));
        if let Some(queue) = self.queues.get_mut(step) {
            queue.insert((due, address));
        }
    }
}

/// One frame an interval on average, and so many at once after a silence.
#[derive(Debug, Clone, Copy)]
struct Pace {
    interval: Duration,
    burst: u32,
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug)]
struct Bucket {
    pace: Pace,
    full_at: Option<Instant>,
}

impl Bucket {
    const fn new(pace: Pace) -> Self {
        Self { pace, full_at: None }
    }

    /// The first time, not before that one, at which there is a token. One that is missing besides is borrowed.
    fn ready_at(&self, not_before: Instant) -> Instant {
        let allowance = self.pace.interval * self.pace.burst.saturating_sub(1);
        let ready = self.full_at.and_then(|full_at| full_at.checked_sub(allowance));
        ready.map_or(not_before, |ready| ready.max(not_before))
    }

    fn take(&mut self, now: Instant, tokens: u32) -> bool {
        let ready = self.ready_at(now) <= now;
        if ready {
            let full_at = self.full_at.map_or(now, |at| at.max(now));
            self.full_at = Some(full_at + self.pace.interval * tokens);
        }
        ready
    }
}

#[cfg(test)]
mod tests;

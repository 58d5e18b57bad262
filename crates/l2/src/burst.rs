//! When which address is announced unasked: a burst when it is taken over, then a refresh for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The pauses before each announcement of a burst: at 0, 20, 100, 500, 1100 and 2000 ms after the takeover. Linux
/// ignores some forms for a second after an entry's last change, and switches lose frames while they relearn, so
/// the last ones come well after a second.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(900),
];

/// Below half of the 300 s after which a switch forgets a silent station: our MAC stays known in the segment.
const REFRESH: Duration = Duration::from_secs(60);
/// A refresh comes up to this much earlier or later, so that nodes and addresses drift apart.
const REFRESH_JITTER: Duration = Duration::from_secs(6);

/// One announcement (two frames) each millisecond on average: 2000 frames a second.
const INTERVAL: Duration = Duration::from_millis(1);
/// How far ahead of that average a quiet interface may run: 100 announcements at once.
const ALLOWANCE: Duration = Duration::from_millis(99);

/// A queue for each step of the burst, and one for refreshes.
const QUEUES: usize = PAUSES.len() + 1;

/// The announcements to come. A step is sent for every address before the next one is sent for any, as long as the
/// token bucket makes them wait: with thousands of addresses, hearing of each once matters more than repeats.
#[derive(Debug)]
pub(crate) struct Schedule {
    queues: [BTreeSet<(Instant, IpAddr)>; QUEUES],
    places: BTreeMap<IpAddr, (Step, Instant)>,
    bucket: Bucket,
    jitter: Jitter,
}

/// Index of a queue: 0 is the takeover itself, the last one is the refresh.
type Step = usize;

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            queues: Default::default(),
            places: BTreeMap::new(),
            bucket: Bucket::default(),
            jitter: Jitter(seed),
        }
    }

    /// Begins a burst, in place of what was planned for the address.
    pub(crate) fn start(&mut self, now: Instant, address: IpAddr) {
        self.put(0, now, address);
    }

    pub(crate) fn cancel(&mut self, address: IpAddr) {
        if let Some((step, due)) = self.places.remove(&address)
            && let Some(queue) = self.queues.get_mut(step)
        {
            queue.remove(&(due, address));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.queues.iter_mut().for_each(BTreeSet::clear);
    }

    /// The address to announce now, if one is due and the bucket has a token; its next announcement is planned.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<IpAddr> {
        if self.bucket.ready_at().is_some_and(|at| at > now) {
            return None;
        }
        let due = self.queues.iter().enumerate().find_map(|(step, queue)| {
            let (due, address) = queue.first()?;
            (*due <= now).then_some((step, *address))
        });
        let (step, address) = due?;
        self.bucket.take(now);
        let (step, pause) = self.after(step);
        self.put(step, now + pause, address);
        Some(address)
    }

    /// When there is something to announce next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = self.queues.iter().filter_map(|queue| queue.first()).map(|(due, _)| *due).min()?;
        Some(self.bucket.ready_at().map_or(due, |ready| due.max(ready)))
    }

    fn after(&mut self, step: Step) -> (Step, Duration) {
        match PAUSES.get(step + 1) {
            Some(pause) => (step + 1, *pause),
            None => (PAUSES.len(), self.jitter.around(REFRESH, REFRESH_JITTER)),
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

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// When there is a token; `None` is now.
    fn ready_at(&self) -> Option<Instant> {
        self.full_at?.checked_sub(ALLOWANCE)
    }

    fn take(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + INTERVAL);
    }
}

/// SplitMix64: equal seeds give equal times.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `middle ± spread`, to the microsecond.
    fn around(&mut self, middle: Duration, spread: Duration) -> Duration {
        let width = u64::try_from(2 * spread.as_micros()).unwrap_or(u64::MAX);
        middle.saturating_sub(spread) + Duration::from_micros(self.next() % width.max(1))
    }
}

#[cfg(test)]
mod tests;

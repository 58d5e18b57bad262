//! The ledger alone, in this process: one call, beside few and many Services, in a pool that is full of holes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ipam::{Families, Family, Ledger, Pool, Request};
use names::{PoolName, ServiceKey};

use super::Form;
use super::report::Report;
use super::series::Series;
use crate::clock;

/// 65,536 addresses.
const SPACE: &str = "198.18.0.0/16";
const FEW: usize = 100;
const MANY: usize = 10_000;
const MOST: usize = 50_000;
const WARM_UP: usize = 1_000;
/// Longer than a freed address rests.
const RESTED: Duration = Duration::from_secs(3600);
/// Between two samples; some addresses rest all the time.
const STEP: Duration = Duration::from_secs(1);

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    let samples = form.of(20_000, 200_000);
    let [few, many, most] = [FEW, MANY, MOST].map(|services| calls(services, samples));
    let ratio = |percent: usize| {
        let [most, few] = [&most, &few].map(|calls| calls.allocate.percentile(percent));
        Series::ratio(format!("allocate, p{percent}: {MOST} Services to {FEW}"), most, few).aim("≤ 2")
    };
    let ratios = [ratio(50), ratio(99)];
    let mut series: Vec<_> =
        [few, many, most].into_iter().flat_map(|calls| [calls.allocate, calls.release]).collect();
    series.extend(ratios);
    let mut report = Report::new("ledger", "One call of the ledger", series);
    report.notes.push(format!(
        "Pool {SPACE}, IPv4 Services; a quarter more was given out and went again, chosen by chance."
    ));
    report
}

/// What was measured beside so many Services.
struct Calls {
    allocate: Series,
    release: Series,
}

#[track_caller]
fn calls(services: usize, samples: usize) -> Calls {
    eprintln!("  ledger: {services} Services");
    let mut bench = Bench::with_holes(services);
    let what = |call| Series::new(format!("{call}, {services} Services"), "µs").aim("p99 ≤ 10");
    let mut calls = Calls { allocate: what("allocate"), release: what("release") };
    for _ in 0..WARM_UP {
        bench.sample();
    }
    for _ in 0..samples {
        let (allocate, release) = bench.sample();
        calls.allocate.samples.push(allocate.as_secs_f64() * 1e6);
        calls.release.samples.push(release.as_secs_f64() * 1e6);
    }
    calls
}

struct Bench {
    ledger: Ledger,
    now: Instant,
    held: Vec<ServiceKey>,
    made: usize,
    dice: u64,
}

impl Bench {
    fn with_holes(services: usize) -> Self {
        let (mut ledger, now) = (Ledger::default(), clock::now());
        ledger.set_pool(now, &PoolName::new("all"), Some(pool()));
        let mut bench = Self { ledger, now, held: Vec::new(), made: 0, dice: 1 };
        for _ in 0..services + services / 4 {
            bench.allocate();
        }
        while bench.held.len() > services {
            bench.release();
        }
        bench.pass(RESTED);
        bench
    }

    /// How long it took to serve one more, and to let another go.
    fn sample(&mut self) -> (Duration, Duration) {
        self.pass(STEP);
        (self.allocate(), self.release())
    }

    fn allocate(&mut self) -> Duration {
        let key = ServiceKey::new("default", format!("service-{}", self.made));
        self.made += 1;
        let request = Request::of(Families::One(Family::V4));
        let start = clock::now();
        black_box(self.ledger.allocate(self.now, &key, request));
        let took = start.elapsed();
        let decision = self.ledger.decision(&key);
        assert!(decision.is_some_and(|decision| decision.grant.is_some()), "{key}: {decision:?}");
        self.held.push(key);
        took
    }

    fn release(&mut self) -> Duration {
        let chosen = self.chance(self.held.len());
        let key = self.held.swap_remove(chosen);
        let start = clock::now();
        black_box(self.ledger.release(self.now, &key));
        start.elapsed()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ledger.handle_timeout(self.now);
    }

    /// A number below `bound`, the same ones in each run (Knuth's linear congruence).
    fn chance(&mut self, bound: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.dice >> 33).expect("31 bits fit") % bound
    }
}

fn pool() -> Pool {
    Pool { prefixes: vec![SPACE.parse().expect("a prefix")], ..Pool::default() }
}

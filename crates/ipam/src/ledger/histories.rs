//! Laws of the ledger over random histories.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

use super::*;
use crate::{Blocked, Moves, Moving, Pool, Quota, Reservation};

mod calm;
mod domain;
mod laws;
mod model;
mod steps;

use self::steps::{Step, some_history};

/// How many histories there are at least, and one more than the most steps of each.
const HISTORIES: u32 = 2_200;
const LONGEST: usize = 100;
/// How many steps there are to be in all.
const STEPS: usize = 100_000;

/// What a Service's status and annotations show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    addresses: Vec<IpAddr>,
    pool: Option<PoolName>,
    moving: Option<Moving>,
    allocated: bool,
}

/// A Service as the API server has it.
#[derive(Debug, Clone)]
struct Service {
    /// What it asks for, or why that cannot be understood.
    asks: Result<Request, Refusal>,
    /// On which terms it shares, if that much of a request can be understood that cannot else.
    terms: Option<Sharing>,
    shown: Shown,
}

/// All that outlives a restart, the ledger that knows it, and what the laws remember.
#[derive(Debug, Clone)]
struct Cluster {
    ledger: Ledger,
    now: Instant,
    pools: BTreeMap<PoolName, Pool>,
    namespaces: BTreeMap<String, Labels>,
    quotas: BTreeMap<QuotaName, Quota>,
    reservations: BTreeMap<ReservationName, Reservation>,
    blocked: BTreeMap<IpAddr, Blocked>,
    moves: Moves,
    services: BTreeMap<ServiceKey, Service>,
    /// Whose terms changed while it held an address: it is at fault where it clashes with others there.
    at_fault: BTreeSet<(ServiceKey, IpAddr)>,
    /// Pools that stopped being for a Service by a change of its labels or its namespace's.
    misfits: BTreeMap<ServiceKey, PoolName>,
    /// The same, when the last step was decided.
    judged: BTreeMap<ServiceKey, PoolName>,
    /// What was to become of what is held from pools that are gone.
    gone: BTreeMap<PoolName, crate::OnRemove>,
    /// What rests, and how long.
    rests: BTreeMap<IpAddr, Instant>,
}

impl Shown {
    fn of(decision: &Decision) -> Self {
        let grant = decision.grant.as_ref();
        Self {
            addresses: decision.held().collect(),
            pool: grant.map(|grant| grant.pool.clone()),
            moving: decision.moving.clone(),
            allocated: grant.is_some() && decision.refusal.is_none(),
        }
    }
}

impl Cluster {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
        let now = Instant::now();
        let mut ledger = Ledger::default();
        ledger.start(now);
        Self {
            ledger,
            now,
            pools: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            quotas: BTreeMap::new(),
            reservations: BTreeMap::new(),
            blocked: BTreeMap::new(),
            moves: Moves::default(),
            services: BTreeMap::new(),
            at_fault: BTreeSet::new(),
            misfits: BTreeMap::new(),
            judged: BTreeMap::new(),
            gone: BTreeMap::new(),
            rests: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) -> Changed {
        let now = self.now;
        match step {
            Step::SetPool(name, pool) => {
                set(&mut self.pools, name, pool.as_ref());
                self.ledger.set_pool(now, name, pool.clone())
            }
            Step::SetNamespace(namespace, labels) => {
                set(&mut self.namespaces, namespace, labels.as_ref());
                self.ledger.set_namespace(now, namespace, labels.clone())
            }
            Step::SetQuota(name, quota) => {
                set(&mut self.quotas, name, quota.as_ref());
                self.ledger.set_quota(now, name, quota.clone())
            }
            Step::SetReservation(name, planned) => {
                let reservation = planned.as_ref().map(|planned| planned.at(now));
                set(&mut self.reservations, name, reservation.as_ref());
                self.ledger.set_reservation(now, name, reservation)
            }
            Step::SetBlocked(blocked) => {
                self.blocked.clone_from(blocked);
                self.ledger.set_blocked(now, blocked.clone())
            }
            Step::SetMoves(moves) => {
                self.moves = *moves;
                self.ledger.set_moves(now, *moves)
            }
            Step::Allocate(key, request) => self.ask(key, Ok(request.clone()), None),
            Step::Refuse(key, terms) => {
                let refusal = Refusal::Invalid { field: "a".into(), why: "b".into() };
                self.ask(key, Err(refusal), terms.clone())
            }
            Step::Release(key) => {
                self.services.remove(key);
                self.ledger.release(now, key)
            }
            Step::Show(key) => self.show(key),
            Step::ShowAll => self.show_all(),
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.ledger.handle_timeout(self.now)
            }
            Step::Restart => {
                self.restart();
                Vec::new()
            }
        }
    }

    fn ask(&mut self, key: &ServiceKey, asks: Result<Request, Refusal>, terms: Option<Sharing>) -> Changed {
        let shown = self.services.get(key).map(|service| service.shown.clone()).unwrap_or_default();
        self.services.insert(key.clone(), Service { asks: asks.clone(), terms: terms.clone(), shown });
        match asks {
            Ok(request) => self.ledger.allocate(self.now, key, request),
            Err(refusal) => self.ledger.refuse(self.now, key, refusal, terms),
        }
    }

    /// Writes a Service's status, and sees what was written.
    fn show(&mut self, key: &ServiceKey) -> Changed {
        let (Some(service), Some(decision)) = (self.services.get_mut(key), self.ledger.decision(key)) else {
            return Vec::new();
        };
        service.shown = Shown::of(decision);
        self.ledger.settle(self.now, key)
    }

    fn show_all(&mut self) -> Changed {
        let mut changed = Vec::new();
        loop {
            let Some(key) = self.stale().next() else { return changed };
            changed.extend(self.show(&key));
        }
    }

    /// Services whose status does not show what was decided, or of which the ledger does not know that.
    fn stale(&self) -> impl Iterator<Item = ServiceKey> {
        let stale = |(key, service): &(&ServiceKey, &Service)| {
            let entry = self.ledger.entries.get(key).expect("it asked");
            Shown::of(&entry.decision) != service.shown || !entry.parting.is_empty()
        };
        self.services.iter().filter(stale).map(|(key, _)| key.clone())
    }

    /// A new process knows only what can be read: objects, statuses and requests.
    fn restart(&mut self) {
        let (old, now) = (std::mem::take(&mut self.ledger), self.now);
        let new = &mut self.ledger;
        for (name, pool) in &self.pools {
            new.set_pool(now, name, Some(pool.clone()));
        }
        for (namespace, labels) in &self.namespaces {
            new.set_namespace(now, namespace, Some(labels.clone()));
        }
        for (name, quota) in &self.quotas {
            new.set_quota(now, name, Some(quota.clone()));
        }
        new.set_blocked(now, self.blocked.clone());
        for (name, reservation) in &self.reservations {
            let state = old.reservation_state(name).expect("it is there");
            let (chosen, released) = (state.chosen, state.released);
            new.set_reservation(now, name, Some(Reservation { chosen, released, ..reservation.clone() }));
        }
        new.set_moves(now, self.moves);
        let mut keys: Vec<_> = self.services.keys().cloned().collect();
        // Whose status says Allocated comes first, the elder before.
        let showing = |address: IpAddr| {
            let services = self.services.iter();
            services.filter(move |(_, one)| one.shown.addresses.contains(&address)).map(|(key, _)| key)
        };
        let guilty = |key: &ServiceKey| {
            let mut faults = self.at_fault.iter().filter(|(other, _)| other == key);
            let agree = |other: &ServiceKey| other == key || agree(&old, key, other);
            faults.any(|(_, address)| !showing(*address).all(agree))
        };
        keys.sort_by_key(|key| {
            (guilty(key), !self.services[key].shown.allocated, old.entries.get(key).unwrap().place)
        });
        let mut lost_at_start = Vec::new();
        for key in &keys {
            let Service { asks, shown, .. } = &self.services[key];
            let Shown { addresses, pool, moving, .. } = shown.clone();
            let refused = new.adopt(key, Adopted { addresses, pool, moving, request: asks.clone().ok() });
            let excused = guilty(key) || asks.is_err();
            assert!(refused.is_empty() || excused, "{key} loses what its status shows: {refused:?}");
            let lost = |one: &IpAddr| {
                refused
                    .iter()
                    .any(|why| matches!(why, Refusal::AddressInUse { address, .. } if address == one))
            };
            lost_at_start.extend(shown.addresses.iter().copied().filter(lost).map(|one| (key.clone(), one)));
        }
        for rest in self.pools.keys().flat_map(|pool| old.quarantined(pool)) {
            new.rest(now, rest);
        }
        new.start(now);
        for key in &keys {
            match self.services[key].asks.clone() {
                Ok(request) => new.allocate(now, key, request),
                Err(refusal) => new.refuse(now, key, refusal, self.services[key].terms.clone()),
            };
        }
        for (key, address) in lost_at_start {
            let shown = self.services.get_mut(&key).map(|service| &mut service.shown.addresses);
            shown.into_iter().for_each(|shown| shown.retain(|one| *one != address));
        }
    }
}

/// Whether two share, on terms that agree.
fn agree(ledger: &Ledger, one: &ServiceKey, other: &ServiceKey) -> bool {
    match (ledger.sharers.get(one), ledger.sharers.get(other)) {
        (Some(one), Some(other)) => one.clash(other).is_none(),
        _ => false,
    }
}

fn set<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => drop(map.insert(key.clone(), value.clone())),
        None => drop(map.remove(key)),
    }
}

fn walk(history: &[Step]) {
    let mut cluster = Cluster::new();
    for step in history {
        let before = cluster.clone();
        let changed = cluster.take(step);
        cluster.remember(&before, step);
        cluster.check(&before, step, &changed);
    }
}

#[test]
fn the_laws_hold_after_every_step() {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    config.cases = config.cases.max(HISTORIES);
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().build_hasher().finish());
    }
    let seed = config.rng_seed;
    println!("PROPTEST_RNG_SEED={seed}: {} histories", config.cases);
    let steps = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&some_history(), |history| {
        walk(&history);
        steps.set(steps.get() + history.len());
        Ok(())
    });
    match outcome {
        Ok(()) => assert!(steps.get() >= STEPS, "only {} steps", steps.get()),
        Err(TestError::Fail(why, history)) => {
            let steps: Vec<_> = history.iter().map(|step| format!("  {step:?}\n")).collect();
            panic!("{why}\nPROPTEST_RNG_SEED={seed}, shrunk to:\n{}", steps.concat());
        }
        Err(abort) => panic!("{abort}"),
    }
}

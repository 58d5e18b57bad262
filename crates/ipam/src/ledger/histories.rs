//! Laws of the ledger over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Assignment, BuggyAddresses};

const PREFIXES: [&str; 8] = [
    "10.0.0.0/30",
    "10.0.0.2/31",
    "10.0.0.4/32",
    "10.0.0.254/31",
    "fd00::/127",
    "fd00::2/128",
    "fd00::/126",
    "10.0.0.0/31",
];
const ADDRESSES: [&str; 6] = ["10.0.0.0", "10.0.0.3", "10.0.0.4", "fd00::", "fd00::2", "10.9.9.9"];
const POOLS: [&str; 3] = ["a", "b", "c"];
const SERVICES: u8 = 8;

#[derive(Debug, Clone)]
enum Step {
    SetPool(usize, Option<Pool>),
    Allocate(u8, Request),
    Refuse(u8),
    Release(u8),
    Wait(u64),
    Restart,
}

fn some_pool() -> impl Strategy<Value = Pool> {
    let prefixes = prop::collection::vec(prop::sample::select(&PREFIXES[..]), 1..4);
    (prefixes, any::<bool>(), any::<bool>()).prop_map(|(prefixes, automatic, avoids)| Pool {
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        assignment: if automatic { Assignment::Automatic } else { Assignment::OnRequest },
        buggy_addresses: if avoids { BuggyAddresses::Avoided } else { BuggyAddresses::GivenOut },
        ..Pool::default()
    })
}

fn some_request() -> impl Strategy<Value = Request> {
    let addresses = prop::collection::btree_set(prop::sample::select(&ADDRESSES[..]), 0..3);
    let addresses = prop_oneof![2 => Just(BTreeSet::new()), 1 => addresses];
    let pools = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::sample::subsequence(&POOLS[..], 1..3),
    ];
    (prop::sample::select(&Families::ALL[..]), addresses, pools).prop_map(|(families, addresses, pools)| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Request { addresses, pools: pools.into_iter().map(PoolName::new).collect(), ..Request::of(families) }
    })
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..POOLS.len(), prop::option::weighted(0.8, some_pool())).prop_map(|(n, pool)| Step::SetPool(n, pool)),
        8 => (0..SERVICES, some_request()).prop_map(|(n, request)| Step::Allocate(n, request)),
        1 => (0..SERVICES).prop_map(Step::Refuse),
        4 => (0..SERVICES).prop_map(Step::Release),
        1 => (0u64..900).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn service(number: u8) -> ServiceKey {
    ServiceKey::new("default", format!("s{number}"))
}

fn held(decision: Option<&Decision>) -> BTreeSet<IpAddr> {
    let grant = decision.and_then(|decision| decision.grant.as_ref());
    grant.into_iter().flat_map(|grant| grant.addresses.iter().copied()).collect()
}

/// A new ledger that knows only what a restarted process can read: pools, statuses and requests.
fn restarted(old: &Ledger, now: Instant) -> Ledger {
    let mut new = Ledger::default();
    for (name, stock) in old.addresses.stocks() {
        new.set_pool(now, name, Some(stock.pool.clone()));
    }
    let mut entries: Vec<_> = old.entries.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.place);
    for (key, Entry { decision: Decision { grant, .. }, .. }) in &entries {
        let addresses = grant.as_ref().map(|grant| grant.addresses.clone()).unwrap_or_default();
        assert_eq!(new.adopt(key, &addresses, grant.as_ref().map(|grant| &grant.pool)), []);
    }
    for (key, entry) in entries {
        match (&entry.request, &entry.decision.refusal) {
            (Some(request), _) => drop(new.allocate(now, key, request.clone())),
            (None, refusal) => drop(new.refuse(key, refusal.clone().expect("the reason"))),
        }
    }
    new
}

fn take(ledger: &mut Ledger, now: &mut Instant, step: &Step) -> Changed {
    match step {
        Step::SetPool(number, pool) => ledger.set_pool(*now, &PoolName::new(POOLS[*number]), pool.clone()),
        Step::Allocate(number, request) => ledger.allocate(*now, &service(*number), request.clone()),
        Step::Refuse(number) => {
            let garbage = Refusal::Invalid { field: "a".into(), why: "b".into() };
            ledger.refuse(&service(*number), garbage)
        }
        Step::Release(number) => ledger.release(*now, &service(*number)),
        Step::Wait(seconds) => {
            *now += Duration::from_secs(*seconds);
            ledger.handle_timeout(*now);
            Vec::new()
        }
        Step::Restart => {
            *ledger = restarted(ledger, *now);
            Vec::new()
        }
    }
}

/// The ledger is the union of the grants, and no address has two holders.
fn check_union(ledger: &Ledger) {
    let mut union = BTreeMap::new();
    for (key, entry) in &ledger.entries {
        for address in held(Some(&entry.decision)) {
            assert_eq!(union.insert(address, key), None, "{address} is held twice");
            assert_eq!(ledger.holder(address), Some(key));
        }
    }
    let domain =
        ["10.0.0.0/24", "10.9.9.9/32", "fd00::/120"].map(|prefix| prefix.parse::<ipnetwork::IpNetwork>());
    let known = domain.into_iter().flat_map(|prefix| prefix.unwrap().iter().collect::<Vec<_>>());
    assert_eq!(known.filter(|address| ledger.holder(*address).is_some()).count(), union.len());
}

/// What a pool has is held or left, counted one by one.
fn check_usage(ledger: &Ledger) {
    for (name, stock) in ledger.addresses.stocks() {
        for family in [Family::V4, Family::V6] {
            let of_family = stock.pool.prefixes.iter().filter(|prefix| Family::of(prefix.ip()) == family);
            let mut all: BTreeSet<IpAddr> = of_family.flat_map(|prefix| prefix.iter()).collect();
            let avoided =
                |address: &IpAddr| matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
            if stock.pool.buggy_addresses == BuggyAddresses::Avoided {
                all.retain(|address| !avoided(address));
            }
            let assigned = all.iter().filter(|address| ledger.holder(**address).is_some()).count();
            let usage = ledger.usage(name, family).unwrap();
            let counted = [usage.total, usage.assigned, usage.available].map(crate::Count::as_i64);
            let expected =
                [all.len(), assigned, all.len() - assigned].map(|count| i64::try_from(count).unwrap());
            assert_eq!(counted, expected, "{name} {family}");
        }
    }
}

/// Nobody could have more than it has: what would be decided now is what was decided.
fn check_settled(ledger: &Ledger) {
    for (key, entry) in &ledger.entries {
        let Some(request) = &entry.request else { continue };
        let Decision { grant, refusal } = &entry.decision;
        match (choose(&ledger.addresses, key, request, grant.as_ref()), refusal) {
            (Ok(chosen), None) => assert_eq!(Some(&chosen), grant.as_ref(), "{key}"),
            (Err(chosen), Some(refusal)) => assert_eq!(chosen.reason(), refusal.reason(), "{key}"),
            (chosen, _) => panic!("{key} has {:?} and could have {chosen:?}", entry.decision),
        }
        if let Some(Refusal::AddressInUse { address, by }) = refusal {
            assert_eq!(ledger.holder(*address), Some(by));
        }
        let queued: Vec<_> =
            entry.wants.iter().filter(|wanted| ledger.waiters.all(wanted).any(|(_, k)| k == *key)).collect();
        assert_eq!(queued.len(), entry.wants.len(), "{key} stands in its queues");
    }
}

/// Only the Service that a step is about, and those that waited, have other addresses than before.
fn check_calm(before: &Ledger, after: &Ledger, step: &Step, changed: &Changed) {
    for (key, entry) in &before.entries {
        let (had, has) = (held(Some(&entry.decision)), held(after.decision(key)));
        let own =
            matches!(step, Step::Allocate(number, _) | Step::Release(number) if service(*number) == *key);
        let waited = entry.decision.refusal.is_some();
        assert!(had == has || own || waited || has.is_superset(&had), "{key} had {had:?} and has {has:?}");
        let gone = after.decision(key).is_none();
        let told = changed.contains(key) || gone || matches!(step, Step::Restart);
        assert!(told || after.decision(key) == Some(&entry.decision), "{key} changed without a word");
    }
}

/// A restart changes no address, and turns nobody down for another reason.
fn check_restart(before: &Ledger, after: &Ledger) {
    for (key, entry) in &before.entries {
        let now = after.decision(key).unwrap();
        assert_eq!(now.grant, entry.decision.grant, "{key}");
        let reasons = [&entry.decision, now].map(|decision| decision.refusal.as_ref().map(Refusal::reason));
        assert_eq!(reasons[0], reasons[1], "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_after_every_step(steps in prop::collection::vec(some_step(), 1..60)) {
        let mut ledger = Ledger::default();
        #[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
        let mut now = Instant::now();
        for step in &steps {
            let before = ledger.clone();
            let changed = take(&mut ledger, &mut now, step);
            check_union(&ledger);
            check_usage(&ledger);
            check_settled(&ledger);
            check_calm(&before, &ledger, step, &changed);
            if matches!(step, Step::Restart) {
                check_restart(&before, &ledger);
            }
        }
    }
}

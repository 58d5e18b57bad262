use std::collections::VecDeque;
use std::time::Duration;

use names::{Operator, Requirement, Selector};

use super::*;
use crate::pool::REUSE_AFTER;
use crate::{
    Assignment, Audience, Backend, Blocked, BuggyAddresses, Count, Counts, Created, Families, Holder, Moves,
    Note, Per, Pool, Protocol, Quota, Reclaim, Reservation, Span, State,
};

mod moves;
mod probing;
mod sharing;
mod tenancy;
mod territory;

#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
fn start() -> Instant {
    Instant::now()
}

fn prefixes(prefixes: &[&str]) -> Vec<ipnetwork::IpNetwork> {
    prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect()
}

fn pool(all: &[&str]) -> Pool {
    Pool { prefixes: prefixes(all), ..Pool::default() }
}

fn named(name: &str) -> PoolName {
    PoolName::new(name)
}

/// A Service by name, or by namespace and name.
fn key(name: &str) -> ServiceKey {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    ServiceKey::new(namespace, name)
}

fn selector(key: &str, value: &str) -> Selector {
    let operator = Operator::In(BTreeSet::from([value.to_owned()]));
    Selector::new([Requirement { key: key.into(), operator }])
}

fn of_namespace(namespace: &str) -> Audience {
    Audience { namespaces: BTreeSet::from([namespace.to_owned()]), ..Audience::default() }
}

fn labelled(request: Request, value: &str) -> Request {
    Request { labels: Labels::from([("l".to_owned(), value.to_owned())]), ..request }
}

fn shares(request: Request, key: &str, port: u16) -> Request {
    let ports = BTreeSet::from([(Protocol::Tcp, port)]);
    Request { sharing: Some(Sharing { key: key.to_owned(), ports, backend: Backend::Cluster }), ..request }
}

fn any(families: Families) -> Request {
    Request::of(families)
}

fn v4() -> Request {
    any(Families::One(Family::V4))
}

fn from(pools: &[&str]) -> Request {
    Request { pools: pools.iter().map(|pool| named(pool)).collect(), ..v4() }
}

fn exactly(families: Families, addresses: &[&str]) -> Request {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Request { addresses, ..any(families) }
}

/// A ledger with names for what the tests do, and what came out of it.
struct Desk {
    ledger: Ledger,
    now: Instant,
}

impl Desk {
    fn with(pools: &[(&str, Pool)]) -> Self {
        let mut desk = Self { ledger: Ledger::default(), now: start() };
        for (name, pool) in pools {
            desk.ledger.set_pool(desk.now, &named(name), Some(pool.clone()));
        }
        desk
    }

    fn ask(&mut self, name: &str, request: Request) -> String {
        let changed = self.ledger.allocate(self.now, &key(name), request);
        self.show(changed);
        self.told(name)
    }

    fn set(&mut self, name: &str, pool: Option<Pool>) -> Vec<String> {
        let changed = self.ledger.set_pool(self.now, &named(name), pool);
        self.show(changed)
    }

    fn namespace(&mut self, name: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let changed = self.ledger.set_namespace(self.now, name, Some(labels));
        self.show(changed)
    }

    fn block(&mut self, blocked: &[(&str, Blocked)]) -> Vec<String> {
        let blocked = blocked.iter().map(|(address, by)| (address.parse().unwrap(), by.clone())).collect();
        let changed = self.ledger.set_blocked(self.now, blocked);
        self.show(changed)
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let changed = self.ledger.handle_timeout(self.now);
        self.show(changed)
    }

    fn release(&mut self, name: &str) -> Vec<String> {
        let changed = self.ledger.release(self.now, &key(name));
        self.show(changed)
    }

    fn adopt(&mut self, name: &str, addresses: &[IpAddr], pool: Option<&PoolName>) -> Vec<Refusal> {
        let adopted = Adopted { addresses: addresses.into(), pool: pool.cloned(), ..Adopted::default() };
        self.ledger.adopt(&key(name), adopted)
    }

    /// Has every status show what was decided; gives back whose decision changed.
    fn show(&mut self, changed: Changed) -> Vec<String> {
        let mut changed = VecDeque::from(changed);
        let mut names = Vec::new();
        while let Some(key) = changed.pop_front() {
            changed.extend(self.ledger.settle(self.now, &key));
            let name = key.name.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn is_held(&self, address: &str) -> bool {
        self.ledger.holders(address.parse().unwrap()).next().is_some()
    }

    /// Addresses, pool, what it is moved from and reason, as far as there are any.
    fn told(&self, name: &str) -> String {
        let Some(decision) = self.ledger.decision(&key(name)) else { return "unknown".into() };
        let grant = decision.grant.iter().flat_map(|grant| {
            grant.addresses.iter().map(ToString::to_string).chain([format!("from {}", grant.pool)])
        });
        let from = decision.moving.iter().flat_map(|moving| {
            ["moving from".to_owned()].into_iter().chain(moving.from.iter().map(ToString::to_string))
        });
        let refusal = decision.refusal.iter().map(|refusal| refusal.reason().to_owned());
        grant.chain(from).chain(refusal).collect::<Vec<_>>().join(" ")
    }

    fn usage(&self, pool: &str, family: Family) -> [i64; 3] {
        let usage = self.ledger.usage(&named(pool), family).unwrap();
        [usage.total, usage.assigned, usage.available].map(Count::as_i64)
    }
}

#[test]
fn the_lowest_free_address_is_given_first() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.8/30"]))]);
    assert_eq!(desk.ask("x", v4()), "10.0.0.8 from a");
    assert_eq!(desk.ask("y", v4()), "10.0.0.9 from a");
    assert_eq!(desk.usage("a", Family::V4), [4, 2, 2]);
}

#[test]
fn a_freed_address_rests_while_others_are_free_and_goes_out_early_when_none_is() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.ask("x", v4());
    desk.release("x");
    assert_eq!(desk.ask("y", v4()), "10.0.0.1 from a");
    assert_eq!(desk.ask("z", v4()), "10.0.0.0 from a", "it is the last one");
}

#[test]
fn a_rest_ends_at_its_deadline_and_not_before() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    assert_eq!(desk.ledger.poll_timeout(), None);
    desk.release("x");
    let end = desk.now + REUSE_AFTER;
    assert_eq!(desk.ledger.poll_timeout(), Some(end));
    desk.ledger.handle_timeout(end - Duration::from_nanos(1));
    assert_eq!(desk.ask("y", v4()), "10.0.0.1 from a");
    desk.ledger.handle_timeout(end);
    assert_eq!(desk.ledger.poll_timeout(), None);
    assert_eq!(desk.ask("z", v4()), "10.0.0.0 from a");
}

#[test]
fn a_resting_address_may_be_named_and_rests_again_afterwards() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    desk.release("x");
    assert_eq!(desk.ask("y", exactly(Families::One(Family::V4), &["10.0.0.0"])), "10.0.0.0 from a");
    assert_eq!(desk.ledger.poll_timeout(), None);
    desk.now += Duration::from_secs(5);
    desk.release("y");
    assert_eq!(desk.ledger.poll_timeout(), Some(desk.now + REUSE_AFTER));
}

#[test]
fn a_pool_that_is_not_automatic_serves_only_those_that_name_it_or_its_address() {
    let closed = Pool { assignment: Assignment::OnRequest, ..pool(&["10.0.0.0/30"]) };
    let mut desk = Desk::with(&[("a", closed)]);
    assert_eq!(desk.ask("x", v4()), "NoPool");
    assert_eq!(desk.ask("y", from(&["a"])), "10.0.0.0 from a");
    assert_eq!(desk.ask("z", exactly(Families::One(Family::V4), &["10.0.0.3"])), "10.0.0.3 from a");
}

#[test]
fn named_pools_are_tried_in_their_order() {
    let pools = [("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/32"]))];
    let mut desk = Desk::with(&pools);
    assert_eq!(desk.ask("x", from(&["b", "a"])), "10.0.1.0 from b");
    assert_eq!(desk.ask("y", from(&["b", "a"])), "10.0.0.0 from a");
    assert_eq!(desk.ask("z", from(&["b", "a"])), "PoolExhausted");
    assert_eq!(desk.ask("w", from(&["nowhere"])), "PoolNotFound");
}

#[test]
fn avoided_addresses_are_never_given_out_and_not_counted() {
    let avoids = Pool { buggy_addresses: BuggyAddresses::Avoided, ..pool(&["10.0.0.0/24", "10.0.1.0/31"]) };
    let mut desk = Desk::with(&[("a", avoids)]);
    assert_eq!(desk.usage("a", Family::V4), [255, 0, 255]);
    assert_eq!(desk.ask("x", v4()), "10.0.0.1 from a");
    assert_eq!(desk.ask("y", exactly(Families::One(Family::V4), &["10.0.0.255"])), "AddressAvoided");
}

#[test]
fn a_dual_stack_service_gets_both_from_one_pool_its_first_family_first() {
    let pools = [
        ("a", pool(&["10.0.0.0/24"])),
        ("b", pool(&["10.0.1.0/24", "fd00::/64"])),
        ("c", pool(&["fd01::/64"])),
    ];
    let mut desk = Desk::with(&pools);
    assert_eq!(desk.ask("x", any(Families::Both(Family::V4))), "10.0.1.0 fd00:: from b");
    assert_eq!(desk.ask("y", any(Families::Prefer(Family::V6))), "fd00::1 10.0.1.1 from b");
    desk.set("b", None);
    assert_eq!(desk.ask("z", any(Families::Both(Family::V4))), "FamilyNotInPool");
    assert_eq!(desk.ask("w", any(Families::Prefer(Family::V6))), "fd01:: from c");
}

#[test]
fn a_service_that_prefers_two_gets_the_second_when_its_own_pool_has_one() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    assert_eq!(desk.ask("x", any(Families::Prefer(Family::V4))), "10.0.0.0 from a");
    assert!(desk.set("b", Some(pool(&["10.0.1.0/24", "fd00::/64"]))).is_empty(), "another pool moves nobody");
    assert_eq!(desk.set("a", Some(pool(&["10.0.0.0/31", "fd00:1::/128"]))), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 fd00:1:: from a");
}

#[test]
fn every_change_of_the_family_policy_keeps_what_is_still_wanted() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24", "fd00::/64"]))]);
    desk.ask("other", any(Families::Both(Family::V4)));
    let expected = [
        (Families::One(Family::V6), "fd00::1 from a"),
        (Families::Prefer(Family::V6), "fd00::1 10.0.0.1 from a"),
        (Families::Both(Family::V6), "fd00::1 10.0.0.1 from a"),
        (Families::One(Family::V6), "fd00::1 from a"),
        (Families::Both(Family::V6), "fd00::1 10.0.0.1 from a"),
    ];
    for (families, told) in expected {
        assert_eq!(desk.ask("x", any(families)), told, "{families:?}");
        assert!(desk.ledger.allocate(desk.now, &key("x"), any(families)).is_empty(), "looking again");
    }
}

#[test]
fn named_addresses_must_fit_the_families_and_one_pool() {
    let pools = [("a", pool(&["10.0.0.0/24"])), ("b", pool(&["fd00::/64"]))];
    let mut desk = Desk::with(&pools);
    let (one, both) = (Families::One(Family::V4), Families::Both(Family::V4));
    let table = [
        (exactly(one, &["fd00::1"]), "FamilyMismatch"),
        (exactly(both, &["10.0.0.1"]), "FamilyMismatch"),
        (exactly(Families::Prefer(Family::V4), &["10.0.0.1"]), "FamilyMismatch"),
        (exactly(one, &["10.0.0.1", "10.0.0.2"]), "SameFamily"),
        (exactly(both, &["10.0.0.1", "fd00::1"]), "DifferentPools"),
        (exactly(one, &["10.9.0.1"]), "AddressNotInPool"),
        (Request { pools: vec![named("b")], ..exactly(one, &["10.0.0.1"]) }, "AddressNotInPool"),
        (exactly(one, &["10.0.0.1"]), "10.0.0.1 from a"),
    ];
    for (request, told) in table {
        let mut desk = Desk { ledger: desk.ledger.clone(), now: desk.now };
        assert_eq!(desk.ask("x", request.clone()), told, "{request:?}");
    }
    desk.ask("x", exactly(one, &["10.0.0.1"]));
    assert_eq!(desk.ask("y", exactly(one, &["10.0.0.1"])), "AddressInUse");
}

#[test]
fn a_changed_request_keeps_the_old_address_until_the_new_one_is_granted() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    let one = Families::One(Family::V4);
    desk.ask("x", v4());
    desk.ask("y", v4());
    assert_eq!(desk.ask("y", exactly(one, &["10.0.0.0"])), "10.0.0.1 from a AddressInUse");
    assert_eq!(desk.ask("y", exactly(one, &["10.9.0.0"])), "10.0.0.1 from a AddressNotInPool");
    assert_eq!(desk.ask("y", from(&["b"])), "10.0.0.1 from a PoolNotFound");
    assert_eq!(desk.ask("y", exactly(one, &["10.0.0.0"])), "10.0.0.1 from a AddressInUse");
    assert_eq!(desk.release("x"), ["y"]);
    assert_eq!(desk.told("y"), "10.0.0.0 from a");
    assert!(!desk.is_held("10.0.0.1"));
}

#[test]
fn a_request_that_cannot_be_understood_keeps_what_is_held_and_waits_for_nothing() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    let garbage = Refusal::Invalid { field: "metadata.annotations".into(), why: "1.2.3".into() };
    assert_eq!(desk.ledger.refuse(desk.now, &key("x"), garbage.clone(), None), [key("x")]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a Invalid");
    assert!(desk.ledger.refuse(desk.now, &key("x"), garbage, None).is_empty(), "said once");
    assert!(desk.set("b", Some(pool(&["10.0.1.0/30"]))).is_empty());
    assert_eq!(desk.ask("x", v4()), "10.0.0.0 from a");
}

#[test]
fn who_waits_longest_is_served_first_and_only_as_many_as_there_are_addresses() {
    let mut desk = Desk::with(&[]);
    for name in ["c", "a", "b"] {
        assert_eq!(desk.ask(name, v4()), "NoPool");
    }
    assert_eq!(desk.set("p", Some(pool(&["10.0.0.0/32"]))), ["c", "a", "b"], "two get another reason");
    assert_eq!(
        ["c", "a", "b"].map(|name| desk.told(name)),
        ["10.0.0.0 from p", "PoolExhausted", "PoolExhausted"]
    );
    assert_eq!(desk.release("c"), ["a"], "b is not even asked");
    assert_eq!(desk.set("p", Some(pool(&["10.0.0.0/31"]))), ["b"]);
    assert_eq!(desk.told("b"), "10.0.0.1 from p");
}

#[test]
fn one_that_lacks_a_second_address_comes_after_those_that_lack_everything() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32", "fd00::/127"]))]);
    desk.ask("holder", v4());
    assert_eq!(desk.ask("early", any(Families::Prefer(Family::V6))), "fd00:: from a");
    assert_eq!(desk.ask("late", v4()), "PoolExhausted");
    assert_eq!(desk.release("holder"), ["late"]);
    assert_eq!(desk.release("late"), ["early"]);
    assert_eq!(desk.told("early"), "fd00:: 10.0.0.0 from a");
}

#[test]
fn an_address_freed_by_a_move_goes_to_the_next_in_the_same_step() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/32"]))]);
    desk.ask("x", from(&["a"]));
    desk.ask("y", from(&["b"]));
    desk.ask("z", from(&["b"]));
    desk.ask("y", from(&["a"]));
    assert_eq!(desk.release("x"), ["y", "z"]);
    assert_eq!((desk.told("y").as_str(), desk.told("z").as_str()), ("10.0.0.0 from a", "10.0.1.0 from b"));
}

#[test]
fn a_pool_that_shrinks_or_goes_takes_nothing_from_anybody() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    let notes = |desk: &Desk| desk.ledger.decision(&key("x")).unwrap().notes.clone();
    assert_eq!(desk.set("a", Some(pool(&["10.0.0.2/31"]))), ["x"]);
    assert_eq!(notes(&desk), [Note::Outside { pool: named("a") }]);
    assert_eq!(desk.usage("a", Family::V4), [2, 0, 2]);
    assert!(desk.set("a", None).is_empty());
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
    assert_eq!(desk.set("a", Some(pool(&["10.0.0.0/30"]))), ["x"]);
    assert_eq!(notes(&desk), []);
    assert_eq!(desk.usage("a", Family::V4), [4, 1, 3]);
    assert_eq!(desk.ask("y", v4()), "10.0.0.1 from a", "the held one is not given again");
}

#[test]
fn a_renamed_pool_gives_its_name_to_what_it_holds() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    desk.ask("y", from(&["a"]));
    desk.set("a", None);
    assert_eq!(desk.set("b", Some(pool(&["10.0.0.0/30"]))), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from b");
    assert_eq!(desk.told("y"), "10.0.0.1 from a", "it asks for that name");
}

#[test]
fn of_overlapping_pools_the_elder_has_the_addresses() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"])), ("b", pool(&["10.0.0.0/30"]))]);
    let told: Vec<_> = ["w", "x", "y", "z"].map(|name| desk.ask(name, v4())).into();
    assert_eq!(told, ["10.0.0.0 from a", "10.0.0.1 from a", "10.0.0.2 from b", "10.0.0.3 from b"]);
    assert_eq!(desk.usage("b", Family::V4), [2, 2, 0]);
    let [first, last] = ["10.0.0.0", "10.0.0.1"].map(|address| address.parse().unwrap());
    let overlaps = |name: &str| desk.ledger.standing(&named(name)).unwrap().overlaps;
    assert_eq!(overlaps("b"), [(Span { first, last }, named("a"))]);
    assert_eq!(overlaps("a"), []);
}

#[test]
fn adoption_keeps_the_first_and_refuses_the_second_holder() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30", "fd00::/64"]))]);
    let held: Vec<IpAddr> = ["10.0.0.2", "fd00::2"].map(|address| address.parse().unwrap()).into();
    let a = named("a");
    assert_eq!(desk.adopt("old", &held, Some(&a)), []);
    let refused = desk.adopt("new", &held[..1], Some(&a));
    assert_eq!(refused, [Refusal::AddressInUse { address: held[0], by: key("old") }]);
    let both = any(Families::Both(Family::V4));
    assert_eq!(desk.ask("old", both.clone()), "10.0.0.2 fd00::2 from a");
    assert_eq!(desk.ask("new", both), "10.0.0.0 fd00:: from a");
}

#[test]
fn adoption_takes_an_address_without_a_pool_only_on_record() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    let foreign: IpAddr = "192.0.2.1".parse().unwrap();
    let refused = desk.adopt("foreign", &[foreign], None);
    assert_eq!(refused, [Refusal::AddressNotInPool { address: foreign, pools: Vec::new() }]);
    assert_eq!(desk.ask("foreign", v4()), "10.0.0.0 from a");
    assert_eq!(desk.adopt("recorded", &[foreign], Some(&named("gone"))), []);
    assert_eq!(desk.ask("recorded", v4()), "192.0.2.1 from gone");
}

#[test]
fn of_three_adopted_addresses_one_a_family_is_kept() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/29"]))]);
    let three: Vec<IpAddr> = ["10.0.0.5", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap()).into();
    desk.adopt("x", &three, None);
    assert_eq!(desk.ask("x", v4()), "10.0.0.5 from a");
    assert_eq!(desk.usage("a", Family::V4), [8, 1, 7]);
}

#[test]
fn a_pool_as_large_as_a_64_saturates_its_counts() {
    let mut desk = Desk::with(&[("a", pool(&["fd00::/64"])), ("all", pool(&["fd01::/16"]))]);
    desk.ask("x", any(Families::One(Family::V6)));
    let usage = desk.ledger.usage(&named("a"), Family::V6).unwrap();
    assert_eq!(
        (usage.total, usage.assigned, usage.available),
        (Count::Saturated, Count::Exactly(1), Count::Saturated)
    );
    assert_eq!(desk.usage("all", Family::V6), [i64::MAX, 0, i64::MAX]);
    assert_eq!(Count::Saturated.to_string(), "more than 2^63 - 1");
}

#[test]
fn pools_whose_use_changed_are_told_once() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"])), ("b", pool(&["10.0.1.0/30"]))]);
    assert_eq!(desk.ledger.take_touched().pools.len(), 2);
    desk.ask("x", v4());
    assert_eq!(desk.ledger.take_touched().pools, BTreeSet::from([named("a")]));
    desk.ask("x", v4());
    assert_eq!(desk.ledger.take_touched(), Touched::default());
}

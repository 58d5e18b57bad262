//! Quotas, reservations and what rests.

use super::*;

fn quota(ipv4: u32) -> Quota {
    Quota {
        audience: Audience::default(),
        pools: BTreeSet::new(),
        ipv4: Some(ipv4),
        ipv6: None,
        per: Per::Quota,
    }
}

fn reservation(holder: Holder, addresses: &[&str]) -> Reservation {
    Reservation {
        holder,
        prefixes: prefixes(addresses),
        counts: None,
        chosen: BTreeSet::new(),
        released: BTreeSet::new(),
        reclaim: Reclaim::Retain,
        expires: None,
        created: Created(0),
    }
}

fn for_one(name: &str, addresses: &[&str]) -> Reservation {
    reservation(Holder::Service(key(name)), addresses)
}

fn counted(name: &str, ipv4: u32) -> Reservation {
    Reservation { counts: Some(Counts { pool: named("a"), ipv4, ipv6: 0 }), ..for_one(name, &[]) }
}

impl Desk {
    fn limit(&mut self, name: &str, quota: Option<Quota>) -> Vec<String> {
        let changed = self.ledger.set_quota(self.now, &QuotaName::new(name), quota);
        self.show(changed)
    }

    fn reserve(&mut self, name: &str, reservation: Option<Reservation>) -> Vec<String> {
        let changed = self.ledger.set_reservation(self.now, &ReservationName::new(name), reservation);
        self.show(changed)
    }

    fn state(&self, name: &str) -> crate::ReservationState {
        self.ledger.reservation_state(&ReservationName::new(name)).unwrap()
    }

    fn chosen(&self, name: &str) -> Vec<String> {
        self.state(name).chosen.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_quota_refuses_what_is_too_much_and_serves_who_waits_when_there_is_room() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24"]))]);
    desk.limit("q", Some(quota(2)));
    let told = ["x", "y", "z"].map(|name| desk.ask(name, v4()));
    assert_eq!(told, ["10.0.0.0 from a", "10.0.0.1 from a", "QuotaExceeded"]);
    assert_eq!(desk.release("x"), ["z"]);
    desk.ask("w", v4());
    assert_eq!(desk.limit("q", Some(quota(3))), ["w"]);
    desk.ask("v", v4());
    assert_eq!(desk.limit("q", None), ["v"]);
}

#[test]
fn a_quota_for_each_namespace_counts_them_apart() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24"]))]);
    desk.limit("q", Some(Quota { per: Per::Namespace, ..quota(1) }));
    let told = ["n/x", "n/y", "m/x"].map(|name| desk.ask(name, v4()));
    assert_eq!(told, ["10.0.0.0 from a", "QuotaExceeded", "10.0.0.1 from a"]);
    let uses = desk.ledger.quota_use(&QuotaName::new("q"));
    let uses: Vec<_> = uses.iter().map(|one| (one.namespace.as_deref(), one.ipv4)).collect();
    assert_eq!(uses, [(Some("m"), 1), (Some("n"), 1)]);
}

#[test]
fn a_quota_of_some_pools_leaves_the_others_alone() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24"])), ("b", pool(&["10.0.1.0/32"]))]);
    desk.limit("q", Some(Quota { pools: BTreeSet::from([named("a")]), ..quota(0) }));
    assert_eq!(desk.ask("x", v4()), "10.0.1.0 from b");
    assert_eq!(desk.ask("y", v4()), "QuotaExceeded");
    assert_eq!(desk.release("x"), ["y"], "it waits for what the quota does not count, too");
    assert_eq!(desk.told("y"), "10.0.1.0 from b");
}

#[test]
fn no_request_gets_around_a_quota() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24", "fd00::/126"]))]);
    desk.ask("other/s", shares(v4(), "k", 80));
    desk.limit("q", Some(Quota { audience: of_namespace("n"), ..quota(0) }));
    let one = Families::One(Family::V4);
    let requests = [
        v4(),
        from(&["a"]),
        exactly(one, &["10.0.0.9"]),
        shares(v4(), "k", 81),
        any(Families::Both(Family::V4)),
    ];
    for (n, request) in requests.into_iter().enumerate() {
        assert_eq!(desk.ask(&format!("n/{n}"), request.clone()), "QuotaExceeded", "{request:?}");
    }
    assert_eq!(desk.ask("n/p", any(Families::Prefer(Family::V4))), "fd00:: from a", "that is not IPv4");
}

#[test]
fn an_address_that_is_shared_counts_once() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24"]))]);
    desk.limit("q", Some(quota(1)));
    assert_eq!(desk.ask("x", shares(v4(), "k", 80)), "10.0.0.0 from a");
    assert_eq!(desk.ask("y", shares(v4(), "k", 81)), "10.0.0.0 from a");
    assert_eq!(desk.ask("z", shares(v4(), "k", 81)), "QuotaExceeded");
    assert_eq!(desk.release("y"), ["z"]);
}

#[test]
fn who_has_no_room_in_a_quota_joins_what_counts_already() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    let audience = Audience { namespace_selectors: vec![selector("team", "blue")], ..of_namespace("n") };
    desk.namespace("n", &[]);
    desk.namespace("m", &[]);
    desk.limit("q", Some(Quota { audience, ..quota(0) }));
    assert_eq!(desk.ask("m/x", shares(v4(), "k", 80)), "10.0.0.0 from a");
    assert_eq!(desk.ask("n/y", shares(v4(), "k", 81)), "QuotaExceeded");
    assert_eq!(desk.namespace("m", &[("team", "blue")]), ["y"]);
    assert_eq!(desk.told("n/y"), "10.0.0.0 from a");
}

#[test]
fn an_address_that_others_are_only_leaving_counts_as_new() {
    let a = Pool { on_remove: OnRemove::Move, ..pool(&["10.0.0.0/30"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", shares(from(&["a"]), "k", 80));
    desk.limit("q", Some(quota(1)));
    desk.set("b", Some(pool(&["10.0.0.0/32"])));
    desk.set("a", Some(Pool { exclude: prefixes(&["10.0.0.0/32"]), ..a }));
    assert_eq!(desk.told("x"), "10.0.0.1 from a moving from 10.0.0.0");
    let joins = exactly(Families::One(Family::V4), &["10.0.0.0"]);
    assert_eq!(desk.ask("y", shares(joins, "k", 81)), "QuotaExceeded");
}

#[test]
fn a_tightened_quota_takes_nothing_away_and_lets_one_be_replaced_by_another() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"])), ("b", pool(&["10.0.1.0/30"]))]);
    desk.ask("x", from(&["a"]));
    desk.ask("y", from(&["a"]));
    assert_eq!(desk.limit("q", Some(quota(1))), [""; 0]);
    assert_eq!(desk.ask("z", v4()), "QuotaExceeded");
    assert_eq!(desk.ask("x", from(&["b"])), "10.0.1.0 from b");
    desk.release("x");
    assert_eq!(desk.told("z"), "QuotaExceeded");
    assert_eq!(desk.release("y"), ["z"]);
}

#[test]
fn a_quota_by_labels_lets_nothing_new_out_while_these_are_unknown() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    let audience = Audience { namespace_selectors: vec![selector("team", "blue")], ..Audience::default() };
    assert_eq!(desk.limit("q", Some(Quota { audience, ..quota(1) })), [""; 0], "x has what it asks for");
    assert_eq!(desk.ask("y", v4()), "NamespaceUnknown");
    assert_eq!(desk.namespace("default", &[("team", "blue")]), ["y"]);
    assert_eq!(desk.told("y"), "QuotaExceeded");
    assert_eq!(desk.namespace("default", &[]), ["y"]);
    assert_eq!(desk.told("y"), "10.0.0.1 from a");
}

#[test]
fn a_namespace_that_leaves_a_quota_makes_room_for_others() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    let audience = Audience { namespace_selectors: vec![selector("team", "blue")], ..Audience::default() };
    desk.namespace("n", &[("team", "blue")]);
    desk.namespace("m", &[("team", "blue")]);
    desk.limit("q", Some(Quota { audience, ..quota(1) }));
    assert_eq!([desk.ask("n/x", v4()), desk.ask("m/x", v4())], ["10.0.0.0 from a", "QuotaExceeded"]);
    assert_eq!(desk.namespace("n", &[]), ["x"]);
    assert_eq!(desk.told("m/x"), "10.0.0.1 from a");
}

#[test]
fn a_second_address_comes_when_its_quota_has_room() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30", "fd00::/126"]))]);
    desk.limit("q", Some(Quota { ipv4: None, ipv6: Some(1), ..quota(0) }));
    assert_eq!(desk.ask("x", any(Families::One(Family::V6))), "fd00:: from a");
    assert_eq!(desk.ask("y", any(Families::Prefer(Family::V4))), "10.0.0.0 from a");
    assert_eq!(desk.release("x"), ["y"]);
    assert_eq!(desk.told("y"), "10.0.0.0 fd00::1 from a");
}

#[test]
fn a_reserved_address_waits_for_its_service_and_is_given_to_nobody_else() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.reserve("r", Some(for_one("x", &["10.0.0.0/32"])));
    let named = exactly(Families::One(Family::V4), &["10.0.0.0"]);
    assert_eq!([desk.ask("y", v4()), desk.ask("z", v4())], ["10.0.0.1 from a", "PoolExhausted"]);
    assert_eq!(desk.ask("w", named), "AddressReserved");
    assert_eq!(desk.ask("x", v4()), "10.0.0.0 from a");
    assert_eq!((desk.told("w").as_str(), desk.release("x")), ("AddressInUse", vec!["w".to_owned()]));
    assert_eq!([desk.told("w"), desk.told("z")], ["AddressReserved", "PoolExhausted"], "it stays reserved");
    assert_eq!(desk.ask("x", v4()), "10.0.0.0 from a");
}

#[test]
fn a_reserved_address_is_not_shared_with_others() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.reserve("r", Some(for_one("x", &["10.0.0.0/32"])));
    assert_eq!(desk.ask("x", shares(v4(), "k", 80)), "10.0.0.0 from a");
    assert_eq!(desk.ask("y", shares(v4(), "k", 81)), "10.0.0.1 from a");
}

#[test]
fn a_reservation_for_many_is_theirs_by_namespace_and_labels() {
    let audience = Audience { service_selectors: vec![selector("l", "x")], ..of_namespace("n") };
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.reserve("r", Some(reservation(Holder::Audience(audience), &["10.0.0.2/31"])));
    let told =
        [("n/x", "x"), ("n/y", "y"), ("m/x", "x")].map(|(name, label)| desk.ask(name, labelled(v4(), label)));
    assert_eq!(told, ["10.0.0.2 from a", "10.0.0.0 from a", "10.0.0.1 from a"]);
}

#[test]
fn a_reservation_of_what_another_holds_takes_effect_when_that_gives_it_back() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("y", v4());
    assert_eq!(desk.reserve("r", Some(for_one("x", &["10.0.0.0/32"]))), [""; 0]);
    assert_eq!(desk.state("r").pending, [("10.0.0.0".parse().unwrap(), key("y"))]);
    desk.ask("z", v4());
    desk.ask("x", v4());
    assert_eq!(desk.release("y"), ["x"]);
    assert_eq!(desk.state("r").used, [("10.0.0.0".parse().unwrap(), key("x"))]);
}

#[test]
fn counts_are_chosen_lowest_first_and_stay_chosen() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/29"]))]);
    desk.ledger.start(desk.now);
    desk.ask("y", v4());
    desk.reserve("r", Some(counted("x", 2)));
    assert_eq!(desk.chosen("r"), ["10.0.0.1", "10.0.0.2"]);
    desk.release("y");
    assert_eq!(desk.ask("x", v4()), "10.0.0.1 from a");
    // Its status may lag behind: the object still says that nothing was chosen.
    desk.reserve("r", Some(counted("x", 3)));
    assert_eq!(desk.chosen("r"), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    desk.reserve("r", Some(counted("x", 1)));
    assert_eq!(desk.chosen("r"), ["10.0.0.1"], "rather what is held");
    let other = Counts { pool: named("b"), ipv4: 1, ipv6: 0 };
    desk.reserve("r", Some(Reservation { counts: Some(other), ..counted("x", 1) }));
    assert_eq!((desk.chosen("r").len(), desk.state("r").missing.ipv4), (0, 1));
}

#[test]
fn what_a_reservation_lacks_it_gets_before_those_that_wait() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.ask("y", v4());
    desk.ask("z", v4());
    desk.reserve("r", Some(counted("x", 1)));
    assert_eq!(desk.state("r").missing.ipv4, 1);
    assert_eq!(desk.ask("w", v4()), "PoolExhausted");
    assert_eq!(desk.release("y"), [""; 0]);
    assert_eq!(desk.chosen("r"), ["10.0.0.0"]);
    assert_eq!(desk.release("z"), ["w"]);
}

#[test]
fn what_a_reservation_chose_and_its_pool_lost_is_chosen_anew() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ledger.start(desk.now);
    desk.reserve("r", Some(counted("x", 1)));
    desk.set("a", Some(pool(&["10.0.0.2/31"])));
    assert_eq!(desk.chosen("r"), ["10.0.0.2"]);
    desk.set("a", None);
    assert_eq!(desk.chosen("r"), ["10.0.0.2"], "the pool may come back");
    desk.set("a", Some(pool(&["10.0.0.0/30"])));
    assert_eq!(desk.chosen("r"), ["10.0.0.2"]);
}

#[test]
fn nothing_is_chosen_before_all_that_was_is_taken_over() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.reserve("new", Some(counted("x", 1)));
    let chosen = BTreeSet::from(["10.0.0.0".parse().unwrap()]);
    desk.reserve("old", Some(Reservation { chosen, ..counted("y", 1) }));
    desk.adopt("z", &["10.0.0.1".parse().unwrap()], Some(&named("a")));
    assert_eq!(desk.chosen("new"), [""; 0]);
    desk.ledger.start(desk.now);
    assert_eq!([desk.chosen("new"), desk.chosen("old")], [["10.0.0.2"], ["10.0.0.0"]]);
}

#[test]
fn of_two_reservations_of_one_address_the_elder_has_it() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.reserve("a", Some(Reservation { created: Created(2), ..for_one("x", &["10.0.0.0/32"]) }));
    desk.reserve("b", Some(Reservation { created: Created(1), ..for_one("y", &["10.0.0.0/32"]) }));
    assert_eq!([desk.ask("x", v4()), desk.ask("y", v4())], ["PoolExhausted", "10.0.0.0 from a"]);
    let overlaps = desk.state("a").overlaps;
    assert_eq!(overlaps.iter().map(|(span, by)| format!("{span} {by}")).collect::<Vec<_>>(), ["10.0.0.0 b"]);
}

#[test]
fn a_reservation_ends_when_its_time_is_up_and_those_that_wait_are_served() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    let expires = Some(desk.now + Duration::from_secs(60));
    desk.reserve("r", Some(Reservation { expires, ..for_one("x", &["10.0.0.0/32"]) }));
    assert_eq!(desk.ask("y", v4()), "PoolExhausted");
    assert_eq!(desk.ledger.poll_timeout(), expires);
    assert_eq!(desk.pass(59), [""; 0]);
    assert_eq!(desk.pass(1), ["y"]);
    assert_eq!(desk.state("r").phase, crate::Phase::Expired);
}

#[test]
fn what_is_given_back_leaves_a_reservation_that_releases_it() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.reserve("r", Some(Reservation { reclaim: Reclaim::Release, ..for_one("x", &["10.0.0.0/32"]) }));
    desk.ask("x", v4());
    assert_eq!(desk.ask("y", v4()), "PoolExhausted");
    assert_eq!(desk.release("x"), ["y"]);
    assert_eq!(desk.state("r").released.len(), 1);
}

#[test]
fn a_counted_address_that_was_released_is_used_up() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ledger.start(desk.now);
    desk.reserve("r", Some(Reservation { reclaim: Reclaim::Release, ..counted("x", 1) }));
    assert_eq!(desk.ask("x", v4()), "10.0.0.0 from a");
    desk.release("x");
    assert_eq!((desk.chosen("r").len(), desk.state("r").missing.ipv4), (0, 0));
    assert_eq!(desk.usage("a", Family::V4), [4, 0, 4]);
}

#[test]
fn a_reservation_tells_what_no_pool_has() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.reserve("r", Some(for_one("x", &["10.0.0.0/31"])));
    assert_eq!(desk.state("r").outside.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1"]);
}

#[test]
fn who_had_an_address_gets_it_back_before_a_free_one() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    for name in ["x", "y", "z"] {
        desk.ask(name, v4());
    }
    desk.release("x");
    desk.release("y");
    assert_eq!(desk.ask("w", v4()), "10.0.0.3 from a", "fresh");
    assert_eq!(desk.ask("y", v4()), "10.0.0.1 from a", "its own");
    assert_eq!(desk.ask("v", v4()), "10.0.0.0 from a", "nothing else is left");
    desk.release("v");
    assert_eq!(desk.ask("x", v4()), "10.0.0.0 from a");
}

#[test]
fn what_has_rested_longest_goes_first_when_nothing_else_is_left() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.ask("x", v4());
    desk.ask("y", v4());
    desk.release("y");
    desk.pass(5);
    desk.release("x");
    assert_eq!(desk.ask("z", v4()), "10.0.0.1 from a");
}

#[test]
fn of_several_that_rest_for_it_a_service_gets_the_one_it_had_last() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/29"]))]);
    for address in ["10.0.0.1", "10.0.0.3", "10.0.0.2"] {
        desk.ask("x", exactly(Families::One(Family::V4), &[address]));
        desk.pass(5);
    }
    desk.release("x");
    assert_eq!(desk.ask("x", v4()), "10.0.0.2 from a");
}

#[test]
fn what_rests_in_one_pool_waits_until_the_others_are_empty() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/32"]))]);
    desk.ask("x", v4());
    desk.release("x");
    assert_eq!([desk.ask("y", v4()), desk.ask("z", v4())], ["10.0.1.0 from b", "10.0.0.0 from a"]);
}

#[test]
fn without_a_rest_a_freed_address_is_the_next_one() {
    let mut desk = Desk::with(&[("a", Pool { reuse_after: Duration::ZERO, ..pool(&["10.0.0.0/30"]) })]);
    desk.ask("x", v4());
    desk.release("x");
    assert_eq!((desk.ledger.poll_timeout(), desk.ask("y", v4()).as_str()), (None, "10.0.0.0 from a"));
}

#[test]
fn what_rests_is_told_and_taken_over() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    desk.release("x");
    desk.block(&[("10.0.0.0", Blocked::Gateway(names::NodeName::new("n1")))]);
    let told = desk.ledger.quarantined(&named("a"));
    let until = desk.now + REUSE_AFTER;
    assert_eq!(told, [Rest { address: "10.0.0.0".parse().unwrap(), former: key("x"), until }]);
    let mut new = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    new.now = desk.now;
    for rest in told {
        new.ledger.rest(new.now, rest);
    }
    assert_eq!(new.ledger.poll_timeout(), Some(until));
    assert_eq!([new.ask("y", v4()), new.ask("x", v4())], ["10.0.0.1 from a", "10.0.0.0 from a"]);
}

#[test]
fn one_that_asks_faster_than_its_status_is_written_gathers_no_addresses() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/24"]))]);
    let ask = |desk: &mut Desk, n: u8| {
        let request = exactly(Families::One(Family::V4), &[&format!("10.0.0.{n}")]);
        desk.ledger.allocate(desk.now, &key("x"), request);
    };
    (0..200).for_each(|n| ask(&mut desk, n));
    let held = |desk: &Desk| (0..200).filter(|n| desk.is_held(&format!("10.0.0.{n}"))).collect::<Vec<_>>();
    assert_eq!(held(&desk), [0, 1], "{}", desk.told("x"));
    assert_eq!(desk.told("x"), "10.0.0.1 from a");
    assert_eq!(desk.ledger.settle(desk.now, &key("x")), [key("x")]);
    assert_eq!((desk.told("x").as_str(), held(&desk)), ("10.0.0.199 from a", vec![1, 199]));
    assert_eq!(desk.ledger.settle(desk.now, &key("x")), []);
    assert_eq!(held(&desk), [199]);
}

#[test]
fn one_that_parts_with_all_it_had_has_nothing_new_before_its_status_says_so() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/32"]))]);
    desk.ask("x", shares(from(&["a"]), "k", 80));
    desk.ask("y", shares(from(&["a"]), "k", 81));
    desk.ledger.allocate(desk.now, &key("x"), shares(from(&["a"]), "k", 81));
    assert_eq!(desk.told("x"), "PoolExhausted", "y listens there");
    desk.ledger.allocate(desk.now, &key("x"), shares(from(&["b"]), "k", 81));
    assert!(!desk.is_held("10.0.1.0"));
    assert_eq!(desk.ledger.settle(desk.now, &key("x")), [key("x")]);
    assert_eq!(desk.told("x"), "10.0.1.0 from b");
}

#[test]
fn what_had_to_wait_comes_after_those_that_waited_for_what_is_free_then() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/31"]))]);
    desk.ask("x", from(&["a"]));
    assert_eq!(desk.ask("y", from(&["a"])), "PoolExhausted");
    desk.ledger.allocate(desk.now, &key("x"), from(&["b"]));
    desk.ledger.allocate(desk.now, &key("x"), exactly(Families::One(Family::V4), &["10.0.1.1"]));
    assert_eq!(desk.told("x"), "10.0.1.0 from b");
    assert_eq!(desk.ledger.settle(desk.now, &key("x")), [key("y"), key("x")]);
    assert_eq!([desk.told("x"), desk.told("y")], ["10.0.1.1 from b", "10.0.0.0 from a"]);
}

#[test]
fn what_is_no_longer_blocked_is_chosen_for_a_reservation_that_lacks_it() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    desk.ledger.start(desk.now);
    let gateway = || Blocked::Gateway(names::NodeName::new("n1"));
    desk.block(&[("10.0.0.0", gateway()), ("10.0.0.1", gateway())]);
    desk.reserve("r", Some(counted("x", 1)));
    assert_eq!(desk.ask("y", v4()), "PoolExhausted");
    assert_eq!((desk.block(&[("10.0.0.1", gateway())]), desk.chosen("r")), (vec![], vec!["10.0.0.0".into()]));
    assert_eq!(desk.block(&[("10.0.0.0", gateway())]), ["y"]);
    assert_eq!((desk.told("y").as_str(), desk.chosen("r")), ("10.0.0.1 from a", vec!["10.0.0.0".into()]));
}

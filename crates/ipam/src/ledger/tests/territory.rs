//! What a pool has, for whom it is, and in which order pools are tried.

use super::*;

#[test]
fn an_excluded_address_is_not_the_pools_own() {
    let mut desk =
        Desk::with(&[("a", Pool { exclude: prefixes(&["10.0.0.0/31"]), ..pool(&["10.0.0.0/30"]) })]);
    assert_eq!(desk.usage("a", Family::V4), [2, 0, 2]);
    assert_eq!(desk.ask("x", v4()), "10.0.0.2 from a");
    assert_eq!(desk.ask("y", exactly(Families::One(Family::V4), &["10.0.0.1"])), "AddressExcluded");
}

#[test]
fn when_the_elder_pool_goes_the_younger_has_its_part() {
    let younger = Pool { created: Created(2), ..pool(&["10.0.0.0/31"]) };
    let elder = Pool { created: Created(1), ..pool(&["10.0.0.0/32"]) };
    let mut desk = Desk::with(&[("a", younger), ("b", elder)]);
    assert_eq!([desk.usage("a", Family::V4), desk.usage("b", Family::V4)], [[1, 0, 1], [1, 0, 1]]);
    assert_eq!(desk.ask("x", exactly(Families::One(Family::V4), &["10.0.0.0"])), "10.0.0.0 from b");
    assert_eq!(desk.set("b", None), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
    assert_eq!(desk.usage("a", Family::V4), [2, 1, 1]);
}

#[test]
fn a_pool_serves_only_the_namespaces_it_names_whatever_is_asked() {
    let theirs = Audience { namespaces: BTreeSet::from(["blue".to_owned()]), ..Audience::default() };
    let mut desk = Desk::with(&[("a", Pool { audience: theirs, ..pool(&["10.0.0.0/30"]) })]);
    assert_eq!(desk.ask("blue/x", v4()), "10.0.0.0 from a");
    assert_eq!(desk.ask("red/x", v4()), "NoPoolForService");
    assert_eq!(desk.ask("red/y", from(&["a"])), "PoolClosed");
    assert_eq!(desk.ask("red/z", exactly(Families::One(Family::V4), &["10.0.0.3"])), "PoolClosed");
    assert_eq!(desk.ask("blue/s", shares(v4(), "k", 80)), "10.0.0.1 from a");
    assert_eq!(desk.ask("red/s", shares(v4(), "k", 81)), "NoPoolForService", "sharing is no way in");
}

#[test]
fn a_namespace_selector_that_matches_nothing_closes_the_pool() {
    let audience = Audience { namespace_selectors: vec![selector("team", "blue")], ..Audience::default() };
    let mut desk = Desk::with(&[("a", Pool { audience, ..pool(&["10.0.0.0/30"]) })]);
    assert_eq!(desk.ask("x", v4()), "NoPoolForService");
    assert_eq!(desk.namespace("default", &[("team", "red")]), [""; 0]);
    assert_eq!(desk.namespace("default", &[("team", "blue")]), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
}

#[test]
fn names_and_selectors_of_namespaces_are_alternatives() {
    let namespaces = BTreeSet::from(["named".to_owned()]);
    let namespace_selectors = vec![selector("team", "blue")];
    let audience = Audience { namespaces, namespace_selectors, ..Audience::default() };
    let mut desk = Desk::with(&[("a", Pool { audience, ..pool(&["10.0.0.0/30"]) })]);
    desk.namespace("labelled", &[("team", "blue")]);
    let told = ["named/x", "labelled/x", "other/x"].map(|name| desk.ask(name, v4()));
    assert_eq!(told, ["10.0.0.0 from a", "10.0.0.1 from a", "NoPoolForService"]);
}

#[test]
fn any_of_several_service_selectors_is_enough() {
    let service_selectors = vec![selector("l", "x"), selector("l", "y")];
    let audience = Audience { service_selectors, ..Audience::default() };
    let mut desk = Desk::with(&[("a", Pool { audience, ..pool(&["10.0.0.0/30"]) })]);
    let told = ["x", "y", "z"].map(|value| desk.ask(value, labelled(v4(), value)));
    assert_eq!(told, ["10.0.0.0 from a", "10.0.0.1 from a", "NoPoolForService"]);
}

#[test]
fn the_lower_priority_number_comes_first_and_none_last() {
    let of = |priority, prefix: &str| Pool { priority, ..pool(&[prefix]) };
    let pools = [
        ("a", of(0, "10.0.0.0/32")),
        ("b", of(2, "10.0.1.0/32")),
        ("c", of(1, "10.0.2.0/32")),
        ("d", of(1, "10.0.3.0/32")),
    ];
    let mut desk = Desk::with(&pools);
    let told = ["1", "2", "3", "4"].map(|name| desk.ask(name, v4()));
    assert_eq!(told, ["10.0.2.0 from c", "10.0.3.0 from d", "10.0.1.0 from b", "10.0.0.0 from a"]);
}

#[test]
fn a_pool_for_certain_services_comes_before_one_for_all() {
    let audience = Audience { namespaces: BTreeSet::from(["default".to_owned()]), ..Audience::default() };
    let pools = [
        ("a", Pool { priority: 1, ..pool(&["10.0.0.0/31"]) }),
        ("b", Pool { audience, ..pool(&["10.0.1.0/32"]) }),
    ];
    let mut desk = Desk::with(&pools);
    assert_eq!([desk.ask("x", v4()), desk.ask("y", v4())], ["10.0.1.0 from b", "10.0.0.0 from a"]);
}

#[test]
fn a_disabled_pool_keeps_what_is_given_and_gives_nothing_new() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    assert_eq!(desk.set("a", Some(Pool { state: State::Disabled, ..pool(&["10.0.0.0/30"]) })), [""; 0]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
    assert_eq!([desk.ask("y", v4()), desk.ask("z", from(&["a"]))], ["NoPool", "PoolDisabled"]);
    assert_eq!(
        desk.ask("x", exactly(Families::One(Family::V4), &["10.0.0.0"])),
        "10.0.0.0 from a",
        "it has that"
    );
    assert_eq!(desk.set("a", Some(pool(&["10.0.0.0/30"]))), ["y", "z"]);
}

#[test]
fn a_tightened_audience_takes_nothing_away_and_binds_the_next_grant() {
    let open = Pool { on_remove: OnRemove::Release, ..pool(&["10.0.0.0/30", "fd00::/126"]) };
    let mut desk = Desk::with(&[("a", open.clone())]);
    desk.ask("x", v4());
    let audience = Audience { service_selectors: vec![selector("l", "x")], ..Audience::default() };
    assert_eq!(desk.set("a", Some(Pool { audience, ..open })), [""; 0]);
    assert_eq!(
        desk.ask("x", labelled(v4(), "z")),
        "10.0.0.0 from a",
        "its labels are not what made it unfit"
    );
    assert_eq!(desk.ask("x", any(Families::Prefer(Family::V4))), "10.0.0.0 from a", "but no second address");
    assert_eq!(desk.ask("y", v4()), "NoPoolForService");
}

#[test]
fn a_blocked_address_is_given_only_by_name_and_then_it_is_said_what_it_is() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/31"]))]);
    let by = Blocked::Gateway(names::NodeName::new("n1"));
    assert_eq!(desk.block(&[("10.0.0.0", by.clone())]), [""; 0]);
    assert_eq!([desk.ask("x", v4()), desk.ask("y", v4())], ["10.0.0.1 from a", "PoolExhausted"]);
    assert_eq!(desk.ask("z", exactly(Families::One(Family::V4), &["10.0.0.0"])), "10.0.0.0 from a");
    let notes = &desk.ledger.decision(&key("z")).unwrap().notes;
    assert_eq!(
        notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0 is a gateway of node n1"]
    );
    assert_eq!(desk.block(&[]), ["z"], "there is nothing to be said any more");
}

#[test]
fn an_address_that_is_not_blocked_any_more_goes_to_who_waits() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.block(&[("10.0.0.0", Blocked::Network("10.0.0.0/24".parse().unwrap()))]);
    assert_eq!(desk.ask("x", v4()), "PoolExhausted");
    assert_eq!(desk.block(&[]), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
}

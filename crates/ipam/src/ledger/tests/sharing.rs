//! Who shares an address with whom.

use super::*;

fn backed(backend: Backend, port: u16) -> Request {
    let mut request = shares(v4(), "k", port);
    request.sharing = request.sharing.map(|sharing| Sharing { backend, ..sharing });
    request
}

fn local(app: &str) -> Backend {
    Backend::Local(BTreeMap::from([("app".to_owned(), app.to_owned())]))
}

fn one(address: &str, request: Request) -> Request {
    Request { addresses: BTreeSet::from([address.parse().unwrap()]), ..request }
}

#[test]
fn services_of_one_key_and_different_ports_share_an_address_before_a_free_one() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("w", v4());
    let told = [("x", "k", 80), ("y", "k", 81), ("z", "k", 80), ("v", "h", 82)]
        .map(|(name, group, port)| desk.ask(name, shares(v4(), group, port)));
    assert_eq!(told, ["10.0.0.1 from a", "10.0.0.1 from a", "10.0.0.2 from a", "10.0.0.3 from a"]);
    let holders: Vec<_> = desk.ledger.holders("10.0.0.1".parse().unwrap()).cloned().collect();
    assert_eq!(holders, [key("x"), key("y")]);
}

#[test]
fn backends_have_to_agree() {
    let cluster = || Backend::Cluster;
    let table = [
        (cluster(), cluster(), true),
        (local("a"), local("a"), true),
        (local("a"), local("b"), false),
        (cluster(), local("a"), false),
        (Backend::Unselected, Backend::Unselected, false),
        (Backend::LocalToAny, Backend::LocalToAny, true),
        (Backend::LocalToAll, Backend::LocalToAll, true),
        (Backend::LocalToAny, Backend::LocalToAll, false),
        (Backend::LocalToAny, local("a"), false),
    ];
    for (ours, theirs, agree) in table {
        let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
        desk.ask("x", backed(ours.clone(), 80));
        let told = desk.ask("y", one("10.0.0.0", backed(theirs.clone(), 81)));
        assert_eq!(told == "10.0.0.0 from a", agree, "{ours:?} {theirs:?}");
        assert_eq!(told == "SharingConflict", !agree, "{ours:?} {theirs:?}");
        let told = desk.ask("z", backed(theirs.clone(), 82));
        assert_eq!(told == "10.0.0.0 from a", agree, "{ours:?} {theirs:?}");
    }
}

#[test]
fn every_clash_has_its_reason() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("w", v4());
    let mut why = |name: &str, request: Request| {
        desk.ask(name, request);
        desk.ledger.decision(&key(name)).unwrap().refusal.as_ref().unwrap().to_string()
    };
    assert_eq!(
        why("a", one("10.0.0.0", shares(v4(), "k", 80))),
        "10.0.0.0 cannot be shared with Service default/x: both listen on TCP port 80"
    );
    assert_eq!(
        why("b", one("10.0.0.0", shares(v4(), "h", 81))),
        "10.0.0.0 cannot be shared with Service default/x: the annotations allow-shared-ip differ"
    );
    assert_eq!(why("c", one("10.0.0.0", v4())), "10.0.0.0 is held by Service default/x");
    assert_eq!(why("d", one("10.0.0.1", shares(v4(), "k", 81))), "10.0.0.1 is held by Service default/w");
}

#[test]
fn one_that_alone_has_an_address_changes_its_terms_freely() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    for request in [shares(v4(), "k", 80), shares(v4(), "h", 81), v4(), backed(local("a"), 80)] {
        assert_eq!(desk.ask("x", request), "10.0.0.0 from a");
    }
}

#[test]
fn one_that_changes_to_terms_that_do_not_agree_gets_another_address_and_the_others_stay() {
    let table = [shares(v4(), "k", 81), shares(v4(), "h", 80), backed(local("a"), 80), v4()];
    for request in table {
        let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
        desk.ask("x", shares(v4(), "k", 80));
        desk.ask("y", shares(v4(), "k", 81));
        let changed = desk.ledger.allocate(desk.now, &key("x"), request.clone());
        assert_eq!(changed, [key("x")], "{request:?}");
        assert_eq!([desk.told("x"), desk.told("y")], ["10.0.0.1 from a", "10.0.0.0 from a"], "{request:?}");
        assert_eq!(desk.ask("y", labelled(shares(v4(), "k", 81), "z")), "10.0.0.0 from a", "{request:?}");
    }
}

#[test]
fn one_that_no_longer_may_share_keeps_the_address_until_there_is_another() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    assert_eq!(desk.ask("x", shares(v4(), "h", 80)), "10.0.0.0 from a SharingConflict");
    assert_eq!(
        desk.ask("y", labelled(shares(v4(), "k", 81), "z")),
        "10.0.0.0 from a",
        "it did nothing wrong"
    );
    assert_eq!(desk.ask("z", shares(v4(), "k", 82)), "PoolExhausted", "nobody joins the two");
    assert_eq!(desk.set("b", Some(pool(&["10.0.1.0/32"]))), ["x", "z"]);
    assert_eq!([desk.told("x"), desk.told("z")], ["10.0.1.0 from b", "10.0.0.0 from a"]);
}

#[test]
fn one_that_no_longer_may_share_is_content_when_the_others_have_gone() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    desk.ask("x", v4());
    assert_eq!(desk.release("y"), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
}

#[test]
fn one_that_changes_to_the_port_of_another_loses_the_address_at_once() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    let changed = desk.ledger.allocate(desk.now, &key("x"), shares(v4(), "k", 81));
    assert_eq!([desk.told("x"), desk.told("y")], ["PoolExhausted", "10.0.0.0 from a"]);
    assert_eq!(desk.ledger.holders("10.0.0.0".parse().unwrap()).count(), 2, "its status still shows it");
    desk.show(changed);
    assert_eq!(desk.ledger.holders("10.0.0.0".parse().unwrap()).count(), 1);
    assert_eq!(desk.ask("x", shares(v4(), "k", 80)), "10.0.0.0 from a");
}

#[test]
fn one_that_cannot_be_understood_loses_the_address_where_it_listens_on_the_port_of_another() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    let garbage = Refusal::Invalid { field: "metadata.annotations".into(), why: "1.2.3".into() };
    let mut refuse = |port| {
        let terms = shares(v4(), "k", port).sharing;
        let changed = desk.ledger.refuse(desk.now, &key("x"), garbage.clone(), terms);
        desk.show(changed);
        [desk.told("x"), desk.told("y")]
    };
    assert_eq!(refuse(82), ["10.0.0.0 from a Invalid", "10.0.0.0 from a"], "it listens nowhere else");
    assert_eq!(refuse(81), ["Invalid", "10.0.0.0 from a"]);
    assert_eq!(desk.ask("x", shares(v4(), "k", 80)), "10.0.0.0 from a");
}

#[test]
fn a_guest_leaves_when_its_host_takes_its_port() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    desk.ask("x", shares(v4(), "h", 80));
    assert_eq!(desk.ask("y", shares(v4(), "k", 80)), "10.0.0.0 from a");
    assert_eq!(desk.told("x"), "PoolExhausted");
}

#[test]
fn who_waits_joins_when_a_port_is_free() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", shares(v4(), "k", 81));
    assert_eq!(desk.ask("z", shares(v4(), "k", 80)), "PoolExhausted");
    assert_eq!(desk.release("x"), ["z"], "although y still holds it");
    assert_eq!(desk.ask("w", shares(v4(), "k", 81)), "PoolExhausted");
    desk.ask("y", shares(v4(), "k", 82));
    assert_eq!(desk.told("w"), "10.0.0.0 from a", "y listens elsewhere");
}

#[test]
fn who_waits_for_two_families_is_asked_when_the_one_it_cannot_share_is_free() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32", "fd00::/128"]))]);
    desk.ask("x", shares(v4(), "k", 80));
    desk.ask("y", any(Families::One(Family::V6)));
    assert_eq!(desk.ask("z", shares(any(Families::Both(Family::V4)), "k", 81)), "PoolExhausted");
    assert_eq!(desk.release("y"), ["z"]);
    assert_eq!(desk.told("z"), "10.0.0.0 fd00:: from a");
}

#[test]
fn ten_thousand_that_share_an_address_are_served_without_recursion() {
    let mut desk = Desk::with(&[]);
    for port in 0..10_000 {
        desk.ledger.allocate(desk.now, &key(&port.to_string()), shares(v4(), "k", port));
    }
    let changed = desk.ledger.set_pool(desk.now, &named("a"), Some(pool(&["10.0.0.0/32"])));
    assert_eq!(changed.len(), 10_000);
    assert_eq!(desk.ledger.holders("10.0.0.0".parse().unwrap()).count(), 10_000);
}

#[test]
fn a_shared_address_stays_shared_over_a_restart() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let adopted =
        |request| Adopted { addresses: vec![address], pool: Some(named("a")), moving: None, request };
    let [x, y] = [80, 81].map(|port| shares(v4(), "k", port));
    assert_eq!(desk.ledger.adopt(&key("x"), adopted(Some(x.clone()))), []);
    assert_eq!(desk.ledger.adopt(&key("y"), adopted(Some(y.clone()))), []);
    assert_eq!(desk.ledger.adopt(&key("garbled"), adopted(None)), [], "its terms cannot be read");
    let refused = desk.ledger.adopt(&key("z"), adopted(Some(v4())));
    assert_eq!(refused, [Refusal::AddressInUse { address, by: key("garbled") }]);
    assert_eq!([desk.ask("x", x), desk.ask("y", y)], ["10.0.0.1 from a", "10.0.0.1 from a"]);
    assert_eq!(desk.ask("z", v4()), "10.0.0.0 from a");
}

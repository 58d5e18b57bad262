//! What an edit does to addresses in use.

use super::*;

fn moves(concurrent: usize) -> Moves {
    Moves { overlap: Duration::from_secs(30), concurrent }
}

/// Pool a with one address, held by x, and pool b with room.
fn renumbered(on_remove: OnRemove) -> Desk {
    let a = Pool { on_remove, ..pool(&["10.0.0.0/32"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", v4());
    desk.set("b", Some(pool(&["10.0.1.0/30"])));
    desk.set("a", Some(Pool { prefixes: prefixes(&["10.0.2.0/32"]), state: State::Disabled, ..a }));
    desk
}

#[test]
fn kept_is_what_a_pool_lost_unless_it_says_otherwise_and_it_is_said() {
    let desk = renumbered(OnRemove::Keep);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
    let notes = &desk.ledger.decision(&key("x")).unwrap().notes;
    let said = "IPAddressPool a would no longer give it out and lets it stay";
    assert_eq!(notes.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
    assert_eq!(desk.ledger.standing(&named("a")).unwrap().outside, 1);
}

#[test]
fn released_is_cleared_and_asks_again_like_a_new_one() {
    let desk = renumbered(OnRemove::Release);
    assert_eq!(desk.told("x"), "10.0.1.0 from b");
    assert!(!desk.is_held("10.0.0.0"));
}

#[test]
fn moved_has_both_addresses_for_the_overlap_and_then_the_new_one() {
    let mut desk = renumbered(OnRemove::Move);
    assert_eq!(desk.told("x"), "10.0.1.0 from b moving from 10.0.0.0");
    assert_eq!(desk.pass(29), [""; 0]);
    assert!(desk.is_held("10.0.0.0"));
    assert_eq!(desk.pass(1), ["x"]);
    assert_eq!(desk.told("x"), "10.0.1.0 from b");
    assert!(!desk.is_held("10.0.0.0"));
}

#[test]
fn a_move_goes_on_after_a_restart_with_its_old_deadline() {
    let before = renumbered(OnRemove::Move);
    let moving = before.ledger.decision(&key("x")).unwrap().moving.clone();
    let a = Pool { state: State::Disabled, on_remove: OnRemove::Move, ..pool(&["10.0.2.0/32"]) };
    let mut desk = Desk::with(&[("a", a), ("b", pool(&["10.0.1.0/30"]))]);
    desk.now = before.now + Duration::from_secs(20);
    let addresses = ["10.0.1.0", "10.0.0.0"].map(|address| address.parse().unwrap()).into();
    let adopted = Adopted { addresses, pool: Some(named("b")), moving: moving.clone(), request: Some(v4()) };
    assert_eq!(desk.ledger.adopt(&key("x"), adopted), []);
    assert_eq!(desk.ask("x", v4()), "10.0.1.0 from b moving from 10.0.0.0");
    assert_eq!(desk.ledger.poll_timeout(), moving.map(|moving| moving.until));
    assert_eq!(desk.pass(10), ["x"]);
    assert_eq!(desk.told("x"), "10.0.1.0 from b");
}

#[test]
fn without_overlap_the_old_address_is_free_when_the_status_shows_the_new_one() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/32"])), ("b", pool(&["10.0.1.0/32"]))]);
    desk.ledger.set_moves(desk.now, Moves { overlap: Duration::ZERO, concurrent: 1 });
    desk.ask("x", v4());
    let drained = Pool { state: State::Drained, ..pool(&["10.0.0.0/32"]) };
    let changed = desk.ledger.set_pool(desk.now, &named("a"), Some(drained));
    assert_eq!((desk.told("x").as_str(), desk.is_held("10.0.0.0")), ("10.0.1.0 from b", true));
    desk.show(changed);
    assert!(!desk.is_held("10.0.0.0"));
}

#[test]
fn a_drained_pool_gives_everything_to_others_but_only_so_many_at_a_time() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    for name in ["x", "y", "z"] {
        desk.ask(name, v4());
    }
    desk.set("b", Some(pool(&["10.0.1.0/30"])));
    desk.ledger.set_moves(desk.now, moves(2));
    let drained = Pool { state: State::Drained, ..pool(&["10.0.0.0/30"]) };
    assert_eq!(desk.set("a", Some(drained)), ["x", "y"]);
    let standing = desk.ledger.standing(&named("a")).unwrap();
    assert_eq!((standing.moving, standing.queued, standing.stuck), (2, 1, 0));
    assert_eq!(desk.pass(30), ["x", "y", "z"]);
    assert_eq!(desk.told("z"), "10.0.1.2 from b moving from 10.0.0.2");
    desk.pass(30);
    assert_eq!(desk.usage("a", Family::V4)[1], 0);
}

#[test]
fn what_fits_nowhere_keeps_what_it_has_says_why_and_moves_when_it_can() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    assert_eq!(desk.set("a", Some(Pool { state: State::Drained, ..pool(&["10.0.0.0/30"]) })), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a CannotMove");
    let standing = desk.ledger.standing(&named("a")).unwrap();
    assert_eq!((standing.stuck, standing.stuck_why), (1, Some((key("x"), Refusal::NoPool))));
    assert_eq!(desk.set("b", Some(pool(&["10.0.1.0/30"]))), ["x"]);
    assert_eq!(desk.told("x"), "10.0.1.0 from b moving from 10.0.0.0");
}

#[test]
fn what_cannot_move_is_content_again_when_its_pool_is_open_again() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"]))]);
    desk.ask("x", v4());
    desk.set("a", Some(Pool { state: State::Drained, ..pool(&["10.0.0.0/30"]) }));
    assert_eq!(desk.set("a", Some(pool(&["10.0.0.0/30"]))), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
}

#[test]
fn a_service_that_names_its_address_is_not_moved_and_is_told_so() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"])), ("b", pool(&["10.0.1.0/30"]))]);
    desk.ask("x", exactly(Families::One(Family::V4), &["10.0.0.1"]));
    desk.set("a", Some(Pool { state: State::Drained, ..pool(&["10.0.0.0/30"]) }));
    assert_eq!(desk.told("x"), "10.0.0.1 from a CannotMove");
    let why = desk.ledger.decision(&key("x")).unwrap().refusal.as_ref().unwrap().to_string();
    assert_eq!(
        why,
        "IPAddressPool a takes the address away, but there is no other: the Service itself asks for 10.0.0.1"
    );
}

#[test]
fn a_service_that_names_pools_is_moved_only_to_these() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30"])), ("b", pool(&["10.0.1.0/30"]))]);
    desk.ask("x", from(&["a", "c"]));
    desk.set("a", Some(Pool { state: State::Drained, ..pool(&["10.0.0.0/30"]) }));
    assert_eq!(desk.told("x"), "10.0.0.0 from a CannotMove");
    desk.set("c", Some(pool(&["10.0.2.0/30"])));
    assert_eq!(desk.told("x"), "10.0.2.0 from c moving from 10.0.0.0");
}

#[test]
fn a_dual_stack_service_is_moved_with_both_addresses_or_not_at_all() {
    let mut desk = Desk::with(&[("a", pool(&["10.0.0.0/30", "fd00::/126"])), ("b", pool(&["10.0.1.0/30"]))]);
    desk.ask("x", any(Families::Prefer(Family::V4)));
    let drained = Pool { state: State::Drained, ..pool(&["10.0.0.0/30", "fd00::/126"]) };
    desk.set("a", Some(drained));
    assert_eq!(desk.told("x"), "10.0.0.0 fd00:: from a CannotMove");
    desk.set("b", Some(pool(&["10.0.1.0/30", "fd01::/126"])));
    assert_eq!(desk.told("x"), "10.0.1.0 fd01:: from b moving from 10.0.0.0 fd00::");
}

#[test]
fn only_the_family_that_the_pool_lost_is_replaced_where_the_pool_can() {
    let a = Pool { on_remove: OnRemove::Move, ..pool(&["10.0.0.0/30", "fd00::/126"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", any(Families::Both(Family::V4)));
    desk.set("a", Some(Pool { exclude: prefixes(&["10.0.0.0/32"]), ..a }));
    assert_eq!(desk.told("x"), "10.0.0.1 fd00:: from a moving from 10.0.0.0");
}

#[test]
fn only_the_family_that_the_pool_lost_is_released_where_the_pool_can_replace_it() {
    let a = Pool { on_remove: OnRemove::Release, ..pool(&["10.0.0.0/30", "fd00::/126"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", any(Families::Both(Family::V4)));
    desk.set("a", Some(Pool { exclude: prefixes(&["10.0.0.0/32"]), ..a }));
    assert_eq!(desk.told("x"), "10.0.0.1 fd00:: from a");
}

/// A partial replacement comes from the pool that has the rest, also where that gives out nothing by itself.
#[test]
fn one_that_waits_to_be_moved_within_its_pool_is_asked_when_that_has_an_address() {
    let a = Pool { on_remove: OnRemove::Move, ..pool(&["10.0.0.0/31", "fd00::/126"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", any(Families::Prefer(Family::V4)));
    desk.ask("y", v4());
    let exclude = prefixes(&["10.0.0.0/32"]);
    desk.set("a", Some(Pool { exclude, assignment: Assignment::OnRequest, ..a }));
    assert_eq!(desk.told("x"), "10.0.0.0 fd00:: from a CannotMove");
    assert_eq!(desk.release("y"), ["x"]);
    assert_eq!(desk.told("x"), "10.0.0.1 fd00:: from a moving from 10.0.0.0");
}

#[test]
fn a_service_whose_labels_no_longer_fit_its_pool_is_treated_as_the_pool_says() {
    let audience = Audience { service_selectors: vec![selector("l", "x")], ..Audience::default() };
    let table = [
        (OnRemove::Keep, "10.0.0.0 from a"),
        (OnRemove::Move, "10.0.1.0 from b moving from 10.0.0.0"),
        (OnRemove::Release, "10.0.1.0 from b"),
    ];
    for (on_remove, told) in table {
        let a = Pool { audience: audience.clone(), on_remove, ..pool(&["10.0.0.0/30"]) };
        let mut desk = Desk::with(&[("a", a), ("b", pool(&["10.0.1.0/30"]))]);
        assert_eq!(desk.ask("x", labelled(v4(), "x")), "10.0.0.0 from a");
        assert_eq!(desk.ask("x", labelled(v4(), "y")), told, "{on_remove:?}");
    }
}

#[test]
fn a_released_service_does_not_get_its_address_back_by_naming_it() {
    let audience = Audience { service_selectors: vec![selector("l", "x")], ..Audience::default() };
    let a = Pool { audience, on_remove: OnRemove::Release, ..pool(&["10.0.0.0/30"]) };
    let mut desk = Desk::with(&[("a", a)]);
    let named = exactly(Families::One(Family::V4), &["10.0.0.0"]);
    assert_eq!(desk.ask("x", labelled(named.clone(), "x")), "10.0.0.0 from a");
    assert_eq!(desk.ask("x", labelled(named, "y")), "PoolClosed");
}

#[test]
fn a_namespace_whose_labels_nobody_knows_any_more_moves_nobody() {
    let audience = Audience { namespace_selectors: vec![selector("team", "blue")], ..Audience::default() };
    let a = Pool { audience, on_remove: OnRemove::Release, ..pool(&["10.0.0.0/30"]) };
    let mut desk = Desk::with(&[("a", a)]);
    desk.namespace("default", &[("team", "blue")]);
    desk.ask("x", v4());
    assert!(desk.ledger.set_namespace(desk.now, "default", None).is_empty());
    desk.namespace("default", &[("team", "blue")]);
    assert_eq!(desk.namespace("default", &[("team", "red")]), ["x"]);
    assert_eq!(desk.told("x"), "NoPoolForService");
}

#[test]
fn what_is_held_from_a_deleted_pool_is_treated_as_its_last_version_said() {
    let table = [
        (OnRemove::Keep, "10.0.0.0 from a"),
        (OnRemove::Move, "10.0.1.0 from b moving from 10.0.0.0"),
        (OnRemove::Release, "10.0.1.0 from b"),
    ];
    for (on_remove, told) in table {
        let a = Pool { on_remove, ..pool(&["10.0.0.0/30"]) };
        let mut desk = Desk::with(&[("a", a), ("b", pool(&["10.0.1.0/30"]))]);
        desk.ask("x", v4());
        desk.set("a", None);
        assert_eq!(desk.told("x"), told, "{on_remove:?}");
    }
}

#[test]
fn a_move_of_one_whose_request_became_unintelligible_ends_in_time() {
    let mut desk = renumbered(OnRemove::Move);
    let garbage = Refusal::Invalid { field: "metadata.annotations".into(), why: "1.2.3".into() };
    desk.ledger.refuse(desk.now, &key("x"), garbage, None);
    assert_eq!(desk.told("x"), "10.0.1.0 from b moving from 10.0.0.0 Invalid");
    assert_eq!(desk.pass(30), ["x"]);
    assert_eq!(desk.told("x"), "10.0.1.0 from b Invalid");
    assert_eq!(desk.ledger.poll_timeout(), Some(desk.now + REUSE_AFTER), "only the old address rests");
}

#[test]
fn what_was_never_held_is_not_moved_from() {
    let a = Pool { created: Created(2), on_remove: OnRemove::Move, ..pool(&["10.0.0.0/32"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    desk.ask("x", any(Families::Prefer(Family::V4)));
    let b = pool(&["10.0.0.0/31", "fd01::/126"]);
    desk.ledger.set_pool(
        desk.now,
        &named("a"),
        Some(Pool { prefixes: prefixes(&["10.0.0.0/32", "fd00::/128"]), ..a }),
    );
    desk.set("b", Some(b));
    let moving = desk.ledger.decision(&key("x")).unwrap().moving.clone().unwrap();
    assert!(moving.from.iter().all(|address| desk.is_held(&address.to_string())), "{moving:?}");
}

#[test]
fn a_preview_tells_what_an_edit_would_do_and_does_nothing() {
    let a = Pool { on_remove: OnRemove::Move, ..pool(&["10.0.0.0/30"]) };
    let mut desk = Desk::with(&[("a", a.clone())]);
    for name in ["x", "y", "z"] {
        desk.ask(name, v4());
    }
    desk.ask("n", exactly(Families::One(Family::V4), &["10.0.0.3"]));
    desk.set("b", Some(pool(&["10.0.1.0/31"])));
    let edit = |on_remove| Pool {
        on_remove,
        prefixes: prefixes(&["10.0.2.0/31"]),
        state: State::Disabled,
        ..a.clone()
    };
    let preview = |on_remove| desk.ledger.preview(desk.now, &named("a"), &edit(on_remove));
    let of = |preview: Preview| [preview.kept, preview.moved, preview.stuck, preview.released];
    assert_eq!(preview(OnRemove::Keep).ipv4, Count::Exactly(2));
    assert_eq!(of(preview(OnRemove::Keep)), [4, 0, 0, 0]);
    assert_eq!(of(preview(OnRemove::Move)), [0, 2, 2, 0], "two fit, one does not, one names its address");
    assert_eq!(of(preview(OnRemove::Release)), [0, 0, 0, 4]);
    assert_eq!(desk.told("x"), "10.0.0.0 from a");
}

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::wire::tests::{Learned, dialect, messages};
use crate::wire::{AsNumbers, MessageType};

const END: LocalEnd = LocalEnd {
    v4: Some(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    v6_link_local: None,
};

fn asn(number: u32) -> Asn {
    Asn::parse(number).unwrap()
}

fn external() -> Dialect {
    dialect(AsNumbers::FourOctets, Neighbour::External)
}

fn internal() -> Dialect {
    dialect(AsNumbers::FourOctets, Neighbour::Internal)
}

fn opened(dialect: &Dialect) -> RibOut {
    let mut rib = RibOut::new(asn(65001), dialect.neighbour);
    rib.open(dialect.clone(), END);
    rib
}

fn prefix(index: u8) -> IpNetwork {
    let text = if index.is_multiple_of(2) {
        format!("192.0.2.{index}/32")
    } else {
        format!("2001:db8::{index:x}/128")
    };
    text.parse().unwrap()
}

fn preferring(local_pref: u32) -> Route {
    Route { local_pref: Some(local_pref) }
}

/// Delivers everything that is to be said; gives the number of messages.
fn drain(rib: &mut RibOut, learned: &mut Learned, dialect: &Dialect) -> usize {
    let mut count = 0;
    while let Some(batch) = rib.batch() {
        count += deliver(&batch, learned, dialect);
        assert!(count < 1000, "it never ends");
    }
    count
}

fn deliver(batch: &Batch, learned: &mut Learned, dialect: &Dialect) -> usize {
    assert!(batch.octets.len() <= MAX_BATCH);
    let updates = messages(&batch.octets);
    assert_eq!(u64::try_from(updates.len()), Ok(batch.messages));
    for (kind, update) in &updates {
        assert_eq!(*kind, MessageType::Update);
        learned.hear(update, dialect);
    }
    updates.len()
}

fn learned_preferences(learned: &Learned) -> BTreeMap<IpNetwork, Option<u32>> {
    learned.routes.iter().map(|(prefix, (_, local_pref))| (*prefix, *local_pref)).collect()
}

#[test]
fn routes_with_the_same_attributes_share_messages() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    for index in 0..=255 {
        rib.announce(prefix(index), preferring(u32::from(index % 4 / 2)));
    }
    assert_eq!(drain(&mut rib, &mut learned, &dialect), 4, "two families with two preferences each");
    assert_eq!(learned.routes.len(), 256);
    for index in 0..=255 {
        rib.withdraw(prefix(index));
    }
    assert_eq!(drain(&mut rib, &mut learned, &dialect), 2, "one message a family");
    assert!(learned.routes.is_empty());
}

#[test]
fn withdrawals_go_before_announcements() {
    let (dialect, mut learned) = (external(), Learned::default());
    let mut rib = opened(&dialect);
    rib.announce(prefix(1), Route::default());
    drain(&mut rib, &mut learned, &dialect);
    rib.announce(prefix(2), Route::default());
    rib.withdraw(prefix(1));
    let batch = rib.batch().unwrap();
    let updates = messages(&batch.octets);
    assert_eq!(learned.hear(&updates[0].1, &dialect), (vec![prefix(1)], vec![]));
    assert_eq!(learned.hear(&updates[1].1, &dialect), (vec![], vec![prefix(2)]));
}

#[test]
fn a_changed_route_replaces_the_old_one_without_a_withdrawal() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    rib.announce(prefix(1), preferring(1));
    drain(&mut rib, &mut learned, &dialect);
    rib.withdraw(prefix(1));
    rib.announce(prefix(1), preferring(2));
    let updates = messages(&rib.batch().unwrap().octets);
    assert_eq!(updates.len(), 1);
    assert_eq!(learned.hear(&updates[0].1, &dialect), (vec![], vec![prefix(1)]));
    assert_eq!(learned_preferences(&learned), BTreeMap::from([(prefix(1), Some(2))]));
}

#[test]
fn what_the_peer_already_knows_is_not_said_again() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    rib.announce(prefix(1), preferring(1));
    drain(&mut rib, &mut learned, &dialect);
    rib.announce(prefix(1), preferring(1));
    rib.withdraw(prefix(3));
    rib.announce(prefix(1), preferring(2));
    rib.announce(prefix(1), preferring(1));
    rib.announce(prefix(5), preferring(1));
    rib.withdraw(prefix(5));
    assert_eq!(rib.batch(), None);
}

#[test]
fn host_bits_and_a_preference_that_is_not_sent_make_no_other_route() {
    let (dialect, mut learned) = (external(), Learned::default());
    let mut rib = opened(&dialect);
    rib.announce("10.1.2.3/8".parse().unwrap(), preferring(1));
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!(learned_preferences(&learned), BTreeMap::from([("10.0.0.0/8".parse().unwrap(), None)]));
    rib.announce("10.0.0.0/8".parse().unwrap(), preferring(2));
    assert_eq!(rib.batch(), None);
}

#[test]
fn internal_peers_get_the_usual_preference_where_none_is_set() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    rib.announce(prefix(2), Route::default());
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!(learned_preferences(&learned), BTreeMap::from([(prefix(2), Some(100))]));
}

#[test]
fn the_end_of_a_table_is_told_once_after_all_of_it_and_only_when_the_plan_is_complete() {
    let (dialect, mut learned) = (external(), Learned::default());
    let mut rib = opened(&dialect);
    (0..4).for_each(|index| rib.announce(prefix(index), Route::default()));
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!(learned.complete, []);
    rib.complete();
    rib.announce(prefix(4), Route::default());
    let updates = messages(&rib.batch().unwrap().octets);
    assert_eq!(updates.len(), 3, "the new route, then both ends");
    updates.iter().for_each(|(_, update)| {
        learned.hear(update, &dialect);
    });
    assert_eq!((learned.complete.as_slice(), learned.routes.len()), (&Family::ALL[..], 5));
    rib.announce(prefix(6), Route::default());
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!(learned.complete, Family::ALL);
    let mut learned = Learned::default();
    rib.open(dialect.clone(), END);
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!((learned.complete.as_slice(), learned.routes.len()), (&Family::ALL[..], 6));
}

#[test]
fn a_family_that_was_not_agreed_or_has_no_next_hop_is_withheld() {
    let v4_only = Dialect { families: [Family::Ipv4Unicast].into(), ..external() };
    let no_v6_hop = LocalEnd { v6: None, ..END };
    for (dialect, end, ends) in [(v4_only, END, 1), (external(), no_v6_hop, 2)] {
        let (mut learned, mut rib) = (Learned::default(), RibOut::new(asn(65001), dialect.neighbour));
        rib.open(dialect.clone(), end);
        (0..4).for_each(|index| rib.announce(prefix(index), Route::default()));
        rib.complete();
        drain(&mut rib, &mut learned, &dialect);
        let learned_prefixes: Vec<_> = learned.routes.keys().copied().collect();
        assert_eq!((learned_prefixes, learned.complete.len()), (vec![prefix(0), prefix(2)], ends));
        let routes = rib.routes(Family::Ipv6Unicast);
        assert_eq!((routes.wanted, routes.sent, routes.withheld), (2, 0, 2));
    }
}

#[test]
fn a_refresh_resends_one_family_once_with_what_is_wanted_now() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    (0..8).for_each(|index| rib.announce(prefix(index), preferring(1)));
    drain(&mut rib, &mut learned, &dialect);
    rib.announce(prefix(2), preferring(2));
    rib.withdraw(prefix(4));
    rib.refresh(Family::Ipv4Unicast);
    rib.refresh(Family::Ipv4Unicast);
    let mut again = Vec::new();
    for (_, update) in messages(&rib.batch().unwrap().octets) {
        again.extend(learned.hear(&update, &dialect).1);
    }
    again.sort();
    assert_eq!(again, [0, 2, 6].map(prefix));
    assert_eq!(rib.batch(), None);
    assert_eq!((learned.routes.get(&prefix(2)).unwrap().1, learned.routes.len()), (Some(2), 7));
}

#[test]
fn a_peer_that_does_not_read_costs_no_memory_and_then_learns_the_last_word() {
    let (dialect, mut learned) = (internal(), Learned::default());
    let mut rib = opened(&dialect);
    for round in 0..100_000u32 {
        rib.announce(prefix(1), preferring(round));
        if round.is_multiple_of(3) {
            rib.withdraw(prefix(1));
        }
    }
    assert_eq!(
        rib.routes(Family::Ipv6Unicast).pending,
        0,
        "round 99999 is a withdrawal of what was never said"
    );
    rib.announce(prefix(1), preferring(7));
    assert_eq!(drain(&mut rib, &mut learned, &dialect), 1);
    assert_eq!(learned_preferences(&learned), BTreeMap::from([(prefix(1), Some(7))]));
}

#[test]
fn a_large_table_goes_out_in_bounded_batches() {
    let (dialect, mut learned) = (external(), Learned::default());
    let mut rib = opened(&dialect);
    for index in 0..20_000u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + index);
        rib.announce(IpNetwork::new(address.into(), 32).unwrap(), Route::default());
    }
    let first = rib.batch().unwrap();
    assert!(first.octets.len() > MAX_BATCH - 2 * MAX_MESSAGE, "{} octets", first.octets.len());
    deliver(&first, &mut learned, &dialect);
    assert!(learned.routes.len() < 20_000);
    drain(&mut rib, &mut learned, &dialect);
    assert_eq!(learned.routes.len(), 20_000);
}

#[derive(Debug, Clone)]
enum Step {
    Announce(u8, u32),
    Withdraw(u8),
    Unblocked,
    Refresh(Family),
    Reconnected,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..12, 0u32..3).prop_map(|(index, preference)| Step::Announce(index, preference)),
        4 => (0u8..12).prop_map(Step::Withdraw),
        3 => Just(Step::Unblocked),
        1 => prop::sample::select(Family::ALL.to_vec()).prop_map(Step::Refresh),
        1 => Just(Step::Reconnected),
    ]
}

proptest! {
    #[test]
    fn the_peer_ends_with_exactly_what_is_wanted(steps in prop::collection::vec(step(), 0..60)) {
        let dialect = internal();
        let (mut rib, mut learned, mut want) = (opened(&dialect), Learned::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Announce(index, preference) => {
                    rib.announce(prefix(index), preferring(preference));
                    want.insert(prefix(index), Some(preference));
                }
                Step::Withdraw(index) => {
                    rib.withdraw(prefix(index));
                    want.remove(&prefix(index));
                }
                Step::Unblocked => if let Some(batch) = rib.batch() {
                    for (_, update) in messages(&batch.octets) {
                        let (withdrawn, _) = learned.hear(&update, &dialect);
                        prop_assert!(withdrawn.iter().all(|prefix| !want.contains_key(prefix)), "a wanted route was withdrawn");
                    }
                },
                Step::Refresh(family) => rib.refresh(family),
                Step::Reconnected => {
                    rib.close();
                    rib.open(dialect.clone(), END);
                    learned = Learned::default();
                }
            }
        }
        drain(&mut rib, &mut learned, &dialect);
        prop_assert_eq!(learned_preferences(&learned), want.clone());
        let [v4, v6] = Family::ALL.map(|family| rib.routes(family));
        prop_assert_eq!((v4.sent + v6.sent, v4.pending + v6.pending), (want.len(), 0));
    }
}

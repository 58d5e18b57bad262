use names::{Mac, NodeName};

use super::*;
use crate::{Finding, Grant, Probe, Probes, Taken};

const PATIENCE: Duration = Duration::from_secs(2);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn taken() -> Finding {
    Finding::Taken(Taken { mac: Mac::new([2, 0, 0, 0, 0, 9]), node: NodeName::new("node-b") })
}

fn probes(free: &[&str], others: &[&str]) -> Probes {
    let free = free.iter().map(|text| (address(text), Finding::Free));
    let others = others.iter().map(|text| (address(text), taken()));
    Probes {
        pools: [named("a"), named("b")].into(),
        segments: prefixes(&["10.0.0.0/24", "fd00::/64"]).into_iter().collect(),
        findings: free.chain(others).collect(),
    }
}

/// A pool on a segment whose speakers have found this.
fn on_segment(pool: Pool, free: &[&str], others: &[&str]) -> Desk {
    let mut desk = Desk::with(&[("a", pool)]);
    desk.find(free, others);
    desk
}

impl Desk {
    fn find(&mut self, free: &[&str], others: &[&str]) -> Changed {
        self.ledger.set_probes(self.now, probes(free, others))
    }

    fn asks(&mut self, name: &str, request: Request) -> String {
        self.ledger.allocate(self.now, &key(name), request);
        self.stands(name)
    }

    /// What it has, or why not.
    fn stands(&self, name: &str) -> String {
        let decision = self.ledger.decision(&key(name)).unwrap();
        let addresses = decision.grant.iter().flat_map(|grant: &Grant| &grant.addresses);
        let has: Vec<_> = addresses.map(ToString::to_string).collect();
        match &decision.refusal {
            None => has.join(" "),
            Some(refusal) => refusal.reason().to_owned(),
        }
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
        self.ledger.handle_timeout(self.now);
    }

    fn candidates(&self) -> Vec<String> {
        self.ledger.candidates(&named("a")).iter().map(ToString::to_string).collect()
    }
}

#[test]
fn an_address_that_was_probed_is_given_out_before_others_and_at_once() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &["10.0.0.3", "10.0.0.5"], &["10.0.0.0"]);
    assert_eq!(desk.asks("one", v4()), "10.0.0.3");
    assert_eq!(desk.asks("two", v4()), "10.0.0.5");
    assert_eq!(desk.asks("three", v4()), "AddressUnprobed");
}

#[test]
fn who_finds_nothing_probed_is_served_as_soon_as_something_is_and_in_turn() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &[], &[]);
    assert_eq!(desk.asks("one", v4()), "AddressUnprobed");
    assert_eq!(desk.asks("two", v4()), "AddressUnprobed");
    assert_eq!(desk.find(&["10.0.0.1"], &["10.0.0.0"]), [key("one")]);
    assert_eq!((desk.stands("one"), desk.stands("two")), ("10.0.0.1".into(), "AddressUnprobed".into()));
    desk.find(&["10.0.0.2"], &["10.0.0.0"]);
    assert_eq!(desk.stands("two"), "10.0.0.2");
    assert_eq!(desk.ledger.poll_timeout(), None);
}

#[test]
fn nobody_waits_longer_than_probing_takes_and_then_nobody_waits_at_all() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &[], &[]);
    desk.asks("one", v4());
    assert_eq!(desk.ledger.poll_timeout(), Some(desk.now + PATIENCE));
    desk.waits(PATIENCE - Duration::from_millis(1));
    assert_eq!(desk.stands("one"), "AddressUnprobed");
    desk.waits(Duration::from_millis(1));
    assert_eq!(desk.stands("one"), "10.0.0.0");
    assert_eq!(desk.asks("two", v4()), "10.0.0.1", "no speaker says anything");
    assert_eq!(desk.asks("named", exactly(Families::One(Family::V4), &["10.0.0.9"])), "AddressUnprobed");
    desk.find(&["10.0.0.7"], &[]);
    assert_eq!(desk.asks("three", v4()), "10.0.0.7");
    assert_eq!(desk.asks("four", v4()), "AddressUnprobed", "one says something again");
}

#[test]
fn full_probing_is_waited_for_longer() {
    let mut desk = on_segment(Pool { probe: Probe::Full, ..pool(&["10.0.0.0/24"]) }, &[], &[]);
    desk.asks("one", v4());
    desk.waits(Duration::from_secs(9));
    assert_eq!(desk.stands("one"), "AddressUnprobed");
    desk.waits(Duration::from_secs(1));
    assert_eq!(desk.stands("one"), "10.0.0.0");
}

#[test]
fn nothing_is_waited_for_that_nobody_probes() {
    let off = Pool { probe: Probe::Off, ..pool(&["10.0.0.0/24"]) };
    let mut desk = on_segment(off, &[], &["10.0.0.0"]);
    assert_eq!(
        desk.asks("one", v4()),
        "10.0.0.0",
        "what was found of a pool that is not probed does not count"
    );
    assert_eq!(desk.candidates(), Vec::<String>::new());

    let mut desk = on_segment(pool(&["10.0.9.0/24"]), &[], &[]);
    assert_eq!(desk.asks("one", v4()), "10.0.9.0", "no speaker is on the segment");

    let mut desk = Desk::with(&[("c", pool(&["10.0.0.0/24"]))]);
    desk.find(&[], &["10.0.0.0"]);
    assert_eq!(desk.asks("one", v4()), "10.0.0.0", "the pool is not announced on a segment");
}

#[test]
fn a_named_address_is_probed_and_one_that_others_answer_for_is_refused_until_they_are_gone() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &[], &[]);
    let (four, nine) = (Families::One(Family::V4), &["10.0.0.9"]);
    assert_eq!(desk.asks("web", exactly(four, nine)), "AddressUnprobed");
    assert!(desk.candidates().contains(&"10.0.0.9".to_owned()));
    assert_eq!(desk.find(&[], nine), [key("web")]);
    let refusal = desk.ledger.decision(&key("web")).unwrap().refusal.clone().unwrap();
    let told = "address 10.0.0.9 is answered for by 02:00:00:00:00:09, as the speaker on node-b hears";
    assert_eq!((refusal.reason(), refusal.to_string().as_str()), ("AddressTaken", told));
    assert!(desk.candidates().contains(&"10.0.0.9".to_owned()), "it goes on being probed");
    assert_eq!(desk.asks("auto", v4()), "AddressUnprobed");
    desk.find(nine, &[]);
    assert_eq!(desk.stands("web"), "10.0.0.9");
}

#[test]
fn what_a_service_has_is_its_own_whoever_answers_for_it() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &["10.0.0.0"], &[]);
    desk.asks("web", v4());
    assert_eq!(desk.find(&[], &["10.0.0.0"]), []);
    assert_eq!(desk.asks("web", labelled(v4(), "x")), "10.0.0.0");
    assert_eq!(desk.asks("web", exactly(Families::One(Family::V4), &["10.0.0.0"])), "10.0.0.0");
}

#[test]
fn a_service_keeps_what_it_has_while_what_it_asks_for_instead_is_probed() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &["10.0.0.0"], &[]);
    desk.asks("web", v4());
    desk.asks("web", exactly(Families::One(Family::V4), &["10.0.0.7"]));
    let decision = desk.ledger.decision(&key("web")).unwrap();
    assert!(decision.holds(address("10.0.0.0")) && decision.refusal.is_some());
    desk.waits(PATIENCE);
    assert_eq!(desk.stands("web"), "10.0.0.7");
}

#[test]
fn a_new_request_is_waited_for_anew_and_a_service_that_is_gone_not_at_all() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &[], &[]);
    let four = Families::One(Family::V4);
    desk.asks("web", exactly(four, &["10.0.0.7"]));
    desk.waits(Duration::from_secs(1));
    desk.asks("web", exactly(four, &["10.0.0.8"]));
    assert_eq!(desk.ledger.poll_timeout(), Some(desk.now + PATIENCE));
    desk.ledger.release(desk.now, &key("web"));
    assert_eq!(desk.ledger.poll_timeout(), None);
}

#[test]
fn candidates_are_what_is_given_out_next_and_more_where_many_wait() {
    let mut desk = on_segment(pool(&["10.0.0.0/24", "fd00::/64"]), &[], &[]);
    let candidates = desk.candidates();
    assert_eq!(candidates.len(), 32);
    assert_eq!((&*candidates[0], &*candidates[15], &*candidates[31]), ("10.0.0.0", "10.0.0.15", "fd00::f"));
    for index in 0..10 {
        desk.asks(&format!("s{index}"), v4());
    }
    assert_eq!(desk.candidates().len(), 2 * 26);
    for index in 0..500 {
        desk.asks(&format!("s{index}"), v4());
    }
    assert_eq!(desk.candidates().len(), 2 * 256);
}

#[test]
fn candidates_leave_out_what_is_held_and_go_on_with_what_is_taken_and_what_was_freed_last() {
    let mut desk = on_segment(pool(&["10.0.0.0/24"]), &["10.0.0.1"], &["10.0.0.0"]);
    desk.asks("web", v4());
    let candidates = desk.candidates();
    assert!(!candidates.contains(&"10.0.0.1".to_owned()), "{candidates:?}");
    assert_eq!((&*candidates[0], &*candidates[1], candidates.len()), ("10.0.0.0", "10.0.0.2", 17));
    desk.ledger.release(desk.now, &key("web"));
    assert_eq!((&*desk.candidates()[1], desk.candidates().len()), ("10.0.0.1", 18));
}

#[test]
fn a_former_holder_gets_its_address_back_unless_others_answer_for_it_by_now() {
    for (others, expected) in [(&[][..], "10.0.0.0"), (&["10.0.0.0"][..], "10.0.0.1")] {
        let mut desk = on_segment(pool(&["10.0.0.0/24"]), &["10.0.0.0", "10.0.0.1"], &[]);
        desk.asks("web", v4());
        desk.ledger.release(desk.now, &key("web"));
        let free: Vec<_> = ["10.0.0.0", "10.0.0.1"].into_iter().filter(|one| !others.contains(one)).collect();
        desk.find(&free, others);
        assert_eq!(desk.asks("web", v4()), expected);
    }
}

#[test]
fn what_was_found_counts_from_the_moment_the_pool_is_probed() {
    let mut desk = on_segment(Pool { probe: Probe::Off, ..pool(&["10.0.0.0/24"]) }, &[], &["10.0.0.0"]);
    desk.ledger.set_pool(desk.now, &named("a"), Some(pool(&["10.0.0.0/24"])));
    desk.find(&["10.0.0.1"], &["10.0.0.0"]);
    assert_eq!(desk.asks("one", v4()), "10.0.0.1");
    desk.ledger.set_pool(desk.now, &named("a"), Some(Pool { probe: Probe::Off, ..pool(&["10.0.0.0/24"]) }));
    assert_eq!(desk.asks("two", v4()), "10.0.0.0");
}

#[test]
fn taken_addresses_do_not_count_as_available() {
    let desk = on_segment(pool(&["10.0.0.0/30"]), &["10.0.0.1"], &["10.0.0.0"]);
    let usage = desk.ledger.usage(&named("a"), Family::V4).unwrap();
    assert_eq!((usage.total, usage.available), (Count::Exactly(4), Count::Exactly(3)));
}

use super::*;

const OWNER: Mac = Mac::new([2, 0, 0, 0, 0, 5]);

fn answers(responder: &mut Responder, now: Instant) -> Vec<Option<Mac>> {
    responder.handle_frame(now, &request(V4));
    sent(&drain(responder)).iter().map(Sent::place).collect()
}

#[test]
fn owning_a_covered_address_announces_it_and_answers_with_our_mac() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.cover(start, ip(V4), OWNER);
    assert_eq!(answers(&mut responder, start), [Some(OWNER)]);
    assert_eq!(responder.owned().count(), 0);
    responder.own(start, ip(V4));
    assert_eq!(run(&mut responder, start, Duration::from_secs(3)).len(), 12);
    assert_eq!(answers(&mut responder, start), [Some(MAC)]);
    assert_eq!(responder.owned().collect::<Vec<_>>(), [ip(V4)]);
}

#[test]
fn covering_an_owned_address_ends_its_burst_and_its_refreshes() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.cover(start, ip(V4), OWNER);
    assert_eq!(run(&mut responder, start, Duration::from_secs(200)), []);
    assert_eq!(answers(&mut responder, start), [Some(OWNER)]);
}

#[test]
fn what_was_not_sent_yet_never_tells_the_place_of_before() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.cover(start, ip(V4), OWNER);
    responder.handle_frame(start, &request(V4));
    let next = Mac::new([2, 0, 0, 0, 0, 6]);
    responder.cover(start, ip(V4), next);
    assert_eq!(drain(&mut responder), []);
    responder.handle_frame(start, &request(V4));
    responder.own(start, ip(V4));
    assert_eq!(sent(&drain(&mut responder)), gratuitous_arp(MAC, V4));
    responder.handle_frame(start, &request(V4));
    responder.cover(start, ip(V4), next);
    assert_eq!(drain(&mut responder), []);
}

#[test]
fn covering_again_at_the_same_place_changes_nothing() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.cover(start, ip(V4), OWNER);
    responder.handle_frame(start, &request(V4));
    responder.cover(start, ip(V4), OWNER);
    assert_eq!(sent(&drain(&mut responder)).len(), 1);
}

#[test]
fn the_group_of_an_ipv6_address_is_joined_once_and_left_at_the_end() {
    let start = Instant::now();
    let mut responder = responder(start);
    let group = "ff02::1:ff00:10".parse().unwrap();
    responder.cover(start, ip(V6), OWNER);
    assert_eq!(drain(&mut responder), [Output::Join(group)]);
    responder.own(start, ip(V6));
    responder.cover(start, ip(V6), OWNER);
    assert_eq!(drain(&mut responder), []);
    responder.disown(start, ip(V6));
    assert_eq!(drain(&mut responder), [Output::Leave(group)]);
}

#[test]
fn a_link_that_comes_back_announces_what_is_owned_and_not_what_is_covered() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.cover(start, ip("192.0.2.11"), OWNER);
    drain(&mut responder);
    responder.handle_interface(start, Interface { carrier: Carrier::Down, ..interface() });
    responder.handle_interface(start, interface());
    let told = run(&mut responder, start, Duration::from_secs(3));
    assert_eq!(told.len(), 12);
    assert!(told.iter().all(|(_, sent)| sent.about() == ip(V4)));
}

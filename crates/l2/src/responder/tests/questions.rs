use super::*;

const ASKED: &str = "192.0.2.77";

#[test]
fn what_is_asked_for_is_watched_for_a_second() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    run(&mut responder, start, Duration::from_secs(3));
    let asked = start + Duration::from_secs(3);
    responder.ask(asked, ip(ASKED), Question::Reach);
    assert_eq!(responder.watched().collect::<Vec<_>>(), [ip(V4), ip(ASKED)]);
    let closes = asked + Duration::from_secs(1);
    assert_eq!(responder.poll_timeout(), Some(closes));
    responder.handle_timeout(closes);
    assert_eq!(responder.watched().collect::<Vec<_>>(), [ip(V4)]);
    assert!(responder.poll_timeout() > Some(closes + Duration::from_secs(40)));
}

#[test]
fn an_answer_that_comes_too_late_is_none_even_before_the_deadline_was_kept() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.ask(start, ip(ASKED), Question::Reach);
    drain(&mut responder);
    let answer = arp::announcement(Mac::new([2, 0, 0, 0, 0, 0x77]), ASKED.parse().unwrap());
    responder.handle_frame(start + Duration::from_secs(1), &answer);
    assert_eq!(drain(&mut responder), []);
}

#[test]
fn asking_again_leaves_one_deadline() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.ask(start, ip(ASKED), Question::Reach);
    let again = start + Duration::from_millis(700);
    responder.ask(again, ip(ASKED), Question::Reach);
    let closes = again + Duration::from_secs(1);
    assert_eq!(responder.poll_timeout(), Some(closes));
    responder.handle_timeout(closes);
    assert_eq!((responder.poll_timeout(), responder.watched().count()), (None, 0));
}

#[test]
fn giving_up_an_address_does_not_withdraw_the_question_about_it() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.ask(start, ip(V4), Question::Duplicate);
    responder.disown(start, ip(V4));
    let outputs = sent(&drain(&mut responder));
    assert_eq!(outputs.len(), 1);
    assert!(outputs[0].asks());
}

#[test]
fn without_carrier_nobody_is_asked() {
    let start = Instant::now();
    let down = Interface { carrier: Carrier::Down, ..interface() };
    let mut responder = Responder::new(down, 1, start);
    responder.ask(start, ip(ASKED), Question::Reach);
    assert_eq!(drain(&mut responder), []);
    assert_eq!(responder.poll_timeout(), None);
    assert_eq!(responder.stats().questions, 0);
}

/// How the interface asks for an IPv6 address: from which address, and whether it says where it is.
fn solicitation(interface: Interface, target: &str, question: Question) -> (IpAddr, Option<Mac>) {
    let start = Instant::now();
    let mut responder = Responder::new(interface, 1, start);
    responder.ask(start, ip(target), question);
    match &sent(&drain(&mut responder))[..] {
        [Sent::Solicitation { source, mac, .. }] => (*source, *mac),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interface_without_link_local_address_asks_from_an_address_of_the_same_prefix() {
    let without = || Interface { link_local: None, ..interface() };
    let reach = Question::Reach;
    assert_eq!(solicitation(without(), "2001:db8::77", reach), (ip("2001:db8::1"), Some(MAC)));
    assert_eq!(solicitation(without(), "2001:db8:1::77", reach), (ip("::"), None));
    assert_eq!(solicitation(without(), "2001:db8::1", reach), (ip("::"), None));
    let to_one = Question::ReachAt(Mac::new([2, 0, 0, 0, 0, 0x77]));
    assert_eq!(solicitation(without(), "2001:db8:1::77", to_one), (ip("::"), None));
}

#[test]
fn nobody_is_asked_in_the_name_of_what_is_asked_for() {
    assert_eq!(solicitation(interface(), "fe80::1", Question::Reach), (ip("::"), None));
}

#[test]
fn questions_and_answers_are_counted() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.ask(start, ip(ASKED), Question::Duplicate);
    let station = Mac::new([2, 0, 0, 0, 0, 0x77]);
    let answer = arp::announcement(station, ASKED.parse().unwrap());
    responder.handle_frame(start, &answer);
    responder.handle_frame(start, &answer);
    let stats = responder.stats();
    assert_eq!((stats.questions, stats.answers, stats.not_ours), (1, 2, 0));
}

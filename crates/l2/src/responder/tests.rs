#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

mod cover;
mod laws;
mod oracle;
mod questions;
mod speakers;
mod vectors;

use super::*;
use oracle::{Sent, read};

const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn interface() -> Interface {
    let addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(|text| text.parse().unwrap()).into();
    Interface { mac: MAC, link_local: Some(LINK_LOCAL), addresses, carrier: Carrier::Up }
}

fn responder(now: Instant) -> Responder {
    Responder::new(interface(), 1, now)
}

fn drain(responder: &mut Responder) -> Vec<Output> {
    std::iter::from_fn(|| responder.poll_output()).collect()
}

/// What the frames among the outputs say.
fn sent(outputs: &[Output]) -> Vec<Sent> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send(frame) => Some(read(frame)),
        Output::Join(_) | Output::Leave(_) | Output::Foreign { .. } | Output::Answered { .. } => None,
    });
    frames.collect()
}

fn gratuitous_arp(mac: Mac, address: &str) -> Vec<Sent> {
    let form = |operation, target_mac| Sent::Arp {
        to: Mac::BROADCAST,
        operation,
        sender: (mac, ip(address)),
        target: (target_mac, ip(address)),
    };
    vec![form(1, Mac::ZERO), form(2, mac)]
}

fn unsolicited(mac: Mac, source: &str, address: &str) -> Vec<Sent> {
    let to = |to: &str, destination| Sent::Advertisement {
        to: to.parse().unwrap(),
        source: ip(source),
        destination: ip(destination),
        flags: 0x20,
        target: ip(address),
        mac: Some(mac),
    };
    vec![to("33:33:00:00:00:01", "ff02::1"), to("33:33:00:00:00:02", "ff02::2")]
}

/// All frames until then, with their times in milliseconds; deadlines are kept.
fn run(responder: &mut Responder, start: Instant, until: Duration) -> Vec<(u128, Sent)> {
    let mut all: Vec<_> = sent(&drain(responder)).into_iter().map(|sent| (0, sent)).collect();
    while let Some(now) = responder.poll_timeout().filter(|at| *at <= start + until) {
        responder.handle_timeout(now);
        all.extend(sent(&drain(responder)).into_iter().map(|sent| ((now - start).as_millis(), sent)));
    }
    all
}

fn request(target: &str) -> Frame {
    let client = Mac::new([2, 0, 0, 0, 0, 0x64]);
    let packet = arp::Packet {
        operation: arp::Operation::Request,
        sender_mac: client,
        sender: "192.0.2.100".parse().unwrap(),
        target_mac: Mac::ZERO,
        target: target.parse().unwrap(),
    };
    arp::emit(Header { destination: Mac::BROADCAST, source: client }, &packet)
}

#[test]
fn a_takeover_of_an_ipv4_address_is_told_at_once_and_five_times_more() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    let burst = run(&mut responder, start, Duration::from_secs(3));
    let expected = [0, 20, 100, 500, 1100, 2000]
        .map(|at| gratuitous_arp(MAC, V4).into_iter().map(move |sent| (at, sent)));
    assert_eq!(burst, expected.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn a_takeover_of_an_ipv6_address_joins_first_and_then_tells_hosts_and_routers() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V6));
    let first = drain(&mut responder);
    assert_eq!(first[0], Output::Join("ff02::1:ff00:10".parse().unwrap()));
    assert_eq!(sent(&first), unsolicited(MAC, "fe80::1", V6));
    let rest = run(&mut responder, start, Duration::from_secs(3));
    let expected = [20, 100, 500, 1100, 2000]
        .map(|at| unsolicited(MAC, "fe80::1", V6).into_iter().map(move |sent| (at, sent)));
    assert_eq!(rest, expected.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn an_interface_without_link_local_address_advertises_from_the_address_itself() {
    let start = Instant::now();
    let mut responder = Responder::new(Interface { link_local: None, ..interface() }, 1, start);
    responder.own(start, ip(V6));
    assert_eq!(sent(&drain(&mut responder)), unsolicited(MAC, V6, V6));
}

#[test]
fn owning_twice_announces_once() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V6));
    drain(&mut responder);
    responder.own(start, ip(V6));
    assert_eq!(drain(&mut responder), []);
    responder.disown(start, ip(V6));
    assert_eq!(drain(&mut responder), [Output::Leave("ff02::1:ff00:10".parse().unwrap())]);
}

#[test]
fn a_disowned_address_is_silent_at_once_even_in_what_was_not_sent_yet() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.own(start, ip("192.0.2.11"));
    responder.handle_frame(start, &request(V4));
    responder.disown(start, ip(V4));
    assert_eq!(sent(&drain(&mut responder)), gratuitous_arp(MAC, "192.0.2.11"));
    responder.handle_frame(start, &request(V4));
    assert_eq!(drain(&mut responder), []);
    assert!(
        run(&mut responder, start, Duration::from_secs(70))
            .iter()
            .all(|(_, sent)| sent.about() == ip("192.0.2.11"))
    );
}

#[test]
fn addresses_with_the_same_last_octets_share_one_membership() {
    let start = Instant::now();
    let mut responder = responder(start);
    let groups = |responder: &mut Responder| {
        let outputs = drain(responder);
        outputs.into_iter().filter(|output| !matches!(output, Output::Send(_))).collect::<Vec<_>>()
    };
    let group = "ff02::1:ff00:10".parse().unwrap();
    responder.own(start, ip("2001:db8::10"));
    responder.own(start, ip("2001:db8:1::10"));
    assert_eq!(groups(&mut responder), [Output::Join(group)]);
    responder.disown(start, ip("2001:db8::10"));
    assert_eq!(groups(&mut responder), []);
    responder.disown(start, ip("2001:db8:1::10"));
    assert_eq!(groups(&mut responder), [Output::Leave(group)]);
}

#[test]
fn a_new_mac_is_told_like_a_takeover_and_answers_carry_it() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    run(&mut responder, start, Duration::from_secs(3));
    let mac = Mac::new([2, 0, 0, 0, 0, 9]);
    let later = start + Duration::from_secs(5);
    responder.handle_interface(later, Interface { mac, ..interface() });
    let told = run(&mut responder, later, Duration::from_secs(3));
    assert_eq!(told.len(), 12);
    assert_eq!(told[..2], gratuitous_arp(mac, V4).into_iter().map(|sent| (0, sent)).collect::<Vec<_>>());
    responder.handle_frame(later, &request(V4));
    assert!(matches!(sent(&drain(&mut responder))[..], [Sent::Arp { sender: (from, _), .. }] if from == mac));
}

#[test]
fn a_new_link_local_address_tells_nothing() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V6));
    run(&mut responder, start, Duration::from_secs(3));
    let later = start + Duration::from_secs(5);
    responder.handle_interface(later, Interface { link_local: None, ..interface() });
    assert_eq!(run(&mut responder, later, Duration::from_secs(3)), []);
}

#[test]
fn without_carrier_nothing_is_sent_and_with_it_everything_is_told_again() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.handle_interface(start, Interface { carrier: Carrier::Down, ..interface() });
    responder.own(start, ip("192.0.2.11"));
    responder.handle_frame(start, &request(V4));
    assert_eq!(drain(&mut responder), []);
    assert_eq!(responder.poll_timeout(), None);
    let later = start + Duration::from_secs(5);
    responder.handle_interface(later, interface());
    let told = run(&mut responder, later, Duration::from_secs(3));
    assert_eq!(told.iter().filter(|(_, sent)| sent.about() == ip(V4)).count(), 12);
    assert_eq!(told.iter().filter(|(_, sent)| sent.about() == ip("192.0.2.11")).count(), 12);
}

#[test]
fn answers_do_not_wait_for_a_burst_of_thousands() {
    let start = Instant::now();
    let mut responder = responder(start);
    (0..3000u32).for_each(|low| responder.own(start, IpAddr::from((0x0a00_0000 + low).to_be_bytes())));
    drain(&mut responder);
    responder.handle_frame(start, &request("10.0.11.183"));
    assert_eq!(sent(&drain(&mut responder)).len(), 1);
}

#[test]
fn conflicts_of_one_address_do_not_use_up_the_defence_of_another() {
    let start = Instant::now();
    let mut responder = responder(start);
    for address in [V4, "192.0.2.11"] {
        responder.own(start, ip(address));
        drain(&mut responder);
        let foreign = arp::announcement(Mac::new([2, 0, 0, 0, 0, 0x66]), address.parse().unwrap());
        responder.handle_frame(start, &foreign);
        assert_eq!(sent(&drain(&mut responder)), gratuitous_arp(MAC, address)[..1]);
    }
    assert_eq!((responder.stats().foreign, responder.stats().defences), (2, 2));
}

#[test]
fn everything_is_counted() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.handle_frame(start, &request(V4));
    responder.handle_frame(start, &request("192.0.2.11"));
    responder.handle_frame(start, &request(V4)[..20]);
    let stats = responder.stats();
    assert_eq!((stats.gratuitous, stats.arp_replies, stats.not_ours), (2, 1, 1));
    assert_eq!(stats.malformed[&Malformed::Truncated], 1);
    assert_eq!(stats.malformed.values().sum::<u64>(), 1);
}

#[test]
fn one_station_gets_two_thousand_answers_a_second_and_others_theirs() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    drain(&mut responder);
    let mut answers = |client: u8| {
        let mac = Mac::new([2, 0, 0, 0, 0, client]);
        let frame = arp::request(mac, "192.0.2.100".parse().unwrap(), V4.parse().unwrap(), None);
        (0..5000).for_each(|_| responder.handle_frame(start, &frame));
        drain(&mut responder).len()
    };
    assert_eq!((answers(0x64), answers(0x65)), (2000, 2000));
    assert_eq!((responder.stats().arp_replies, responder.stats().excess), (4000, 6000));
}

#[test]
fn a_storm_of_solicitations_is_answered_within_the_same_allowance() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V6));
    drain(&mut responder);
    let (source, target) = ("2001:db8::64".parse().unwrap(), V6.parse().unwrap());
    let client = Mac::new([2, 0, 0, 0, 0, 0x64]);
    let frame =
        ndp::emit_solicitation(client, None, &Solicitation { source, target, link_layer: Some(client) });
    (0..5000).for_each(|_| responder.handle_frame(start, &frame));
    assert_eq!(drain(&mut responder).len(), 2000);
    assert_eq!((responder.stats().advertisements, responder.stats().excess), (2000, 3000));
}

#[test]
fn a_flood_of_echo_requests_is_answered_a_thousand_times_a_second() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.own(start, ip(V4));
    responder.set_echo(start, Echo::Answer);
    drain(&mut responder);
    let vectors = include_str!("../../vectors/echo.hex");
    let frame = vectors::octets(vectors.lines().find_map(|line| line.strip_prefix("in ")).unwrap());
    (0..1500).for_each(|_| responder.handle_frame(start, &frame));
    assert_eq!(drain(&mut responder).len(), 1000);
    responder.handle_frame(start + Duration::from_secs(1), &frame);
    assert_eq!((responder.stats().echoes, responder.stats().echo_excess), (1001, 500));
}

#[test]
fn refreshes_can_be_switched_off() {
    let start = Instant::now();
    let mut responder = responder(start);
    responder.set_refresh(start, None);
    responder.own(start, ip(V4));
    assert_eq!(run(&mut responder, start, Duration::from_secs(3600)).len(), 12);
}

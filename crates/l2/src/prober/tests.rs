#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use super::*;
use crate::ethernet::Header;
use crate::ndp::{Advertisement, Cause, Solicitation};

const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 9]);
const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";
const MS: Duration = Duration::from_millis(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn interface(carrier: Carrier) -> Interface {
    let addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(|text| text.parse().unwrap()).into();
    Interface { mac: MAC, link_local: Some("fe80::1".parse().unwrap()), addresses, carrier }
}

/// A prober whose time is told.
struct Bench {
    prober: Prober,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn with(candidates: &[(&str, Thoroughness)]) -> Self {
        let now = Instant::now();
        let mut bench = Self { prober: Prober::new(interface(Carrier::Up), 7, now), start: now, now };
        bench.wants(candidates);
        bench
    }

    fn wants(&mut self, candidates: &[(&str, Thoroughness)]) {
        let wanted = candidates.iter().map(|(address, how)| (ip(address), *how)).collect();
        self.prober.set_candidates(self.now, &wanted);
    }

    /// What happens until then, as lines with milliseconds since the start.
    fn run(&mut self, millis: u64) -> Vec<String> {
        let until = self.start + Duration::from_millis(millis);
        let mut lines = self.drain();
        while let Some(at) = self.prober.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.prober.handle_timeout(at);
            lines.extend(self.drain());
        }
        self.now = until;
        lines
    }

    fn drain(&mut self) -> Vec<String> {
        let at = (self.now - self.start).as_millis();
        let outputs = std::iter::from_fn(|| self.prober.poll_output());
        let line = |output| match output {
            Output::Send(frame) => format!("{at} probe {}", target(&frame)),
            Output::Join(group) => format!("{at} join {group}"),
            Output::Leave(group) => format!("{at} leave {group}"),
            Output::Found { address, finding: None } => format!("{at} {address} unknown"),
            Output::Found { address, finding: Some(Finding::Free) } => format!("{at} {address} free"),
            Output::Found { address, finding: Some(Finding::Taken(mac)) } => {
                format!("{at} {address} at {mac}")
            }
        };
        outputs.map(line).collect()
    }

    fn hears(&mut self, frame: &Frame) -> Vec<String> {
        self.prober.handle_frame(self.now, frame).unwrap();
        self.drain()
    }
}

/// What a probe asks for; anything that is not one ends the test.
fn target(frame: &Frame) -> IpAddr {
    let (header, payload) = ethernet::parse(frame).unwrap();
    assert_eq!(header.source, MAC);
    match payload {
        Payload::Arp(octets) => {
            let packet = arp::parse(octets).unwrap().unwrap();
            assert!(packet.sender.is_unspecified() && header.destination == Mac::BROADCAST);
            packet.target.into()
        }
        Payload::Ipv6(octets) => match ndp::parse(octets).unwrap() {
            Some(Message::Solicitation(seen)) => {
                assert!(seen.source.is_unspecified() && seen.link_layer.is_none());
                assert_eq!(header.destination, Mac::of_group(ndp::solicited_node(seen.target)));
                seen.target.into()
            }
            other => panic!("{other:?}"),
        },
        other @ (Payload::Ipv4(_) | Payload::Other) => panic!("{other:?}"),
    }
}

fn reply(mac: Mac) -> Frame {
    let (sender, target) = (V4.parse().unwrap(), std::net::Ipv4Addr::UNSPECIFIED);
    let operation = arp::Operation::Reply;
    let packet = arp::Packet { operation, sender_mac: mac, sender, target_mac: MAC, target };
    arp::emit(Header { destination: MAC, source: mac }, &packet)
}

fn advertisement(mac: Mac) -> Frame {
    let target = V6.parse().unwrap();
    let (cause, link_layer) = (Cause::Unsolicited, Some(mac));
    let seen = Advertisement { source: target, destination: ndp::ALL_NODES, cause, target, link_layer };
    ndp::emit(Header { destination: Mac::of_group(ndp::ALL_NODES), source: mac }, &seen)
}

fn probe(mac: Mac, address: &str) -> Frame {
    match ip(address) {
        IpAddr::V4(target) => arp::request(mac, std::net::Ipv4Addr::UNSPECIFIED, target, None),
        IpAddr::V6(target) => {
            let source = Ipv6Addr::UNSPECIFIED;
            ndp::emit_solicitation(mac, None, &Solicitation { source, target, link_layer: None })
        }
    }
}

const QUICK: Thoroughness = Thoroughness::Quick;
const FULL: Thoroughness = Thoroughness::Full;

#[test]
fn an_address_that_nobody_answers_for_is_free_after_two_probes_and_probed_again_each_minute() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    assert_eq!(bench.run(50_000), ["0 probe 192.0.2.10", "100 probe 192.0.2.10", "200 192.0.2.10 free"]);
    let again = bench.run(60_500);
    assert_eq!(again.len(), 2, "a finding that is the same is not told: {again:?}");
}

#[test]
fn an_ipv6_address_is_probed_in_its_group() {
    let mut bench = Bench::with(&[(V6, QUICK)]);
    let expected =
        ["0 join ff02::1:ff00:10", "0 probe 2001:db8::10", "100 probe 2001:db8::10", "200 2001:db8::10 free"];
    assert_eq!(bench.run(1000), expected);
    bench.wants(&[]);
    assert_eq!(bench.drain(), ["1000 2001:db8::10 unknown", "1000 leave ff02::1:ff00:10"]);
    assert_eq!(bench.prober.poll_timeout(), None);
}

#[test]
fn addresses_that_share_a_group_join_and_leave_it_once() {
    let mut bench = Bench::with(&[(V6, QUICK), ("2001:db8:1::10", QUICK)]);
    let joins = |lines: Vec<String>| lines.iter().filter(|line| line.contains("ff02")).count();
    assert_eq!(joins(bench.run(300)), 1);
    bench.wants(&[(V6, QUICK)]);
    assert_eq!(joins(bench.drain()), 0);
    bench.wants(&[]);
    assert_eq!(joins(bench.drain()), 1);
}

#[test]
fn who_answers_has_it_at_once_until_a_later_round_finds_nobody() {
    for (address, answer) in [(V4, reply(OTHER)), (V6, advertisement(OTHER))] {
        let mut bench = Bench::with(&[(address, QUICK)]);
        bench.run(50);
        assert_eq!(bench.hears(&answer), [format!("50 {address} at 02:00:00:00:00:09")]);
        let mut told = Vec::new();
        for _ in 0..3 {
            let next = bench.prober.poll_timeout().unwrap();
            assert!((9_000..=10_000).contains(&(next - bench.now).as_millis()), "{:?}", next - bench.now);
            bench.run(u64::try_from((next - bench.start).as_millis()).unwrap() + 1);
            told.extend(bench.hears(&answer));
            bench.run(u64::try_from((bench.now + 250 * MS - bench.start).as_millis()).unwrap());
        }
        assert_eq!(told, Vec::<String>::new(), "it still answers");
        let rest = bench.run(60_000);
        assert!(rest.iter().any(|line| line.ends_with("free")), "{rest:?}");
    }
}

#[test]
fn an_answer_from_before_a_round_does_not_count_in_it() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    bench.run(50);
    bench.hears(&reply(OTHER));
    bench.run(5_000);
    bench.hears(&reply(OTHER));
    let rest = bench.run(10_500);
    assert!(rest.last().unwrap().ends_with("free"), "{rest:?}");
}

#[test]
fn a_station_that_probes_the_address_too_is_about_to_take_it() {
    for address in [V4, V6] {
        let mut bench = Bench::with(&[(address, QUICK)]);
        bench.run(300);
        assert_eq!(bench.hears(&probe(OTHER, address)), [format!("300 {address} at 02:00:00:00:00:09")]);
    }
}

#[test]
fn a_station_that_only_looks_for_the_address_does_not_have_it() {
    let mut bench = Bench::with(&[(V4, QUICK), (V6, QUICK)]);
    bench.run(300);
    let asks = arp::request(OTHER, "192.0.2.77".parse().unwrap(), V4.parse().unwrap(), None);
    assert_eq!(bench.hears(&asks), Vec::<String>::new());
    let (source, target) = ("fe80::9".parse().unwrap(), V6.parse().unwrap());
    let asks = ndp::emit_solicitation(OTHER, None, &Solicitation { source, target, link_layer: Some(OTHER) });
    assert_eq!(bench.hears(&asks), Vec::<String>::new());
}

#[test]
fn speakers_do_not_count_nor_do_own_frames_that_come_back() {
    let mut bench = Bench::with(&[(V4, QUICK), (V6, QUICK)]);
    bench.prober.set_speakers(bench.now, [OTHER].into());
    bench.run(50);
    for mac in [OTHER, MAC] {
        for frame in [reply(mac), advertisement(mac), probe(mac, V4), probe(mac, V6)] {
            assert_eq!(bench.hears(&frame), Vec::<String>::new());
        }
    }
}

#[test]
fn what_turns_out_to_be_a_speaker_is_forgotten_and_the_address_probed_anew() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    bench.run(50);
    bench.hears(&reply(OTHER));
    bench.prober.set_speakers(bench.now, [OTHER].into());
    let expected =
        ["50 192.0.2.10 unknown", "50 probe 192.0.2.10", "150 probe 192.0.2.10", "250 192.0.2.10 free"];
    assert_eq!(bench.run(1000), expected);
}

#[test]
fn without_a_link_nothing_is_known_and_with_one_everything_is_probed_again() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    bench.run(300);
    bench.prober.handle_interface(bench.now, interface(Carrier::Down));
    assert_eq!(bench.drain(), ["300 192.0.2.10 unknown"]);
    assert_eq!(bench.hears(&reply(OTHER)), Vec::<String>::new());
    assert_eq!(bench.prober.poll_timeout(), None);
    bench.wants(&[(V4, QUICK), (V6, QUICK)]);
    bench.prober.handle_interface(bench.now, interface(Carrier::Up));
    let free = bench.run(600).iter().filter(|line| line.ends_with("free")).count();
    assert_eq!(free, 2);
    let before = bench.prober.poll_timeout();
    bench.prober.handle_interface(bench.now, interface(Carrier::Up));
    assert_eq!((bench.drain(), bench.prober.poll_timeout()), (vec![], before), "nothing has changed");
}

#[test]
fn a_full_probe_takes_the_times_of_the_rfc() {
    for seed in 0..50 {
        let now = Instant::now();
        let mut bench = Bench { prober: Prober::new(interface(Carrier::Up), seed, now), start: now, now };
        bench.wants(&[(V4, FULL)]);
        let lines = bench.run(9_000);
        let times: Vec<u64> =
            lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        let [first, second, third, end] = times[..] else { panic!("{lines:?}") };
        assert!(first <= 1000 && (1000..=2000).contains(&(second - first)), "{lines:?}");
        assert!(
            (1000..=2000).contains(&(third - second)) && (2000..=2001).contains(&(end - third)),
            "{lines:?}"
        );
        assert!(lines[3].ends_with("free"), "{lines:?}");
    }
}

#[test]
fn new_candidates_are_spread_and_known_ones_not_probed_again() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    bench.run(300);
    let more: Vec<_> = (0..200).map(|low| format!("192.0.3.{low}")).collect();
    let mut wanted: Vec<_> = more.iter().map(|address| (address.as_str(), QUICK)).collect();
    wanted.push((V4, QUICK));
    bench.wants(&wanted);
    let lines = bench.run(1000);
    assert!(!lines.iter().any(|line| line.contains(V4)), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.ends_with("free")).count(), 200);
    let at_first = lines.iter().filter(|line| line.starts_with("300 ")).count();
    assert!(at_first < 5, "{lines:?}");
    bench.wants(&[(V4, QUICK)]);
    assert_eq!(bench.drain().len(), 200);
}

#[test]
fn a_frame_that_is_none_is_an_error_and_changes_nothing() {
    let mut bench = Bench::with(&[(V4, QUICK)]);
    bench.run(300);
    let whole = reply(OTHER);
    for length in 0..whole.len() {
        assert!(bench.prober.handle_frame(bench.now, &whole[..length]).is_err());
    }
    assert_eq!(bench.drain(), Vec::<String>::new());
}

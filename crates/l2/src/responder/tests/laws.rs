use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use std::net::Ipv4Addr;

use super::*;
use crate::ndp::solicited_node;

/// What can happen to a responder. Addresses are few, so that things meet.
#[derive(Debug, Clone)]
enum Event {
    Own(IpAddr),
    Cover(IpAddr, Mac),
    Disown(IpAddr),
    Ask(IpAddr, Question),
    Speakers(BTreeSet<Mac>),
    Echo(Echo),
    Refresh(Option<Duration>),
    Frame(Vec<u8>),
    Wait(u64),
    Interface(Interface),
    Poll,
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    let texts = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:1::1", "2001:db8::2"];
    prop::sample::select(texts.map(ip).to_vec())
}

fn macs() -> impl Strategy<Value = Mac> {
    (0u8..4).prop_map(|last| if last == 3 { Mac::BROADCAST } else { Mac::new([2, 0, 0, 0, 0, last]) })
}

fn arp_frame() -> impl Strategy<Value = Vec<u8>> {
    let operations = prop::sample::select(vec![arp::Operation::Request, arp::Operation::Reply]);
    let v4 = || prop::sample::select(vec![1u8, 2]).prop_map(|last| Ipv4Addr::new(192, 0, 2, last));
    (operations, macs(), macs(), macs(), v4(), v4()).prop_map(
        |(operation, source, sender_mac, destination, sender, target)| {
            let packet = arp::Packet { operation, sender_mac, sender, target_mac: Mac::ZERO, target };
            arp::emit(Header { destination, source }, &packet).to_vec()
        },
    )
}

fn advertisement_frame() -> impl Strategy<Value = Vec<u8>> {
    let causes = prop::sample::select(vec![Cause::Solicited, Cause::Unsolicited]);
    let v6 = || (1u16..3).prop_map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    (causes, macs(), macs(), prop::option::of(macs()), v6(), v6(), v6()).prop_map(
        |(cause, from, to, link_layer, source, destination, target)| {
            let advertisement = Advertisement { source, destination, cause, target, link_layer };
            ndp::emit(Header { destination: to, source: from }, &advertisement).to_vec()
        },
    )
}

/// Frames of the vectors, which cover what we never send, some with an octet changed.
fn vector_frame() -> impl Strategy<Value = Vec<u8>> {
    let files = [
        include_str!("../../../vectors/arp.hex"),
        include_str!("../../../vectors/ndp.hex"),
        include_str!("../../../vectors/questions.hex"),
        include_str!("../../../vectors/cover.hex"),
        include_str!("../../../vectors/echo.hex"),
    ];
    let inputs = files.iter().flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("in "));
    let frames: Vec<_> = inputs.map(vectors::octets).collect();
    let change = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (prop::sample::select(frames), change).prop_map(|(mut frame, change)| {
        if let Some((at, octet)) = change {
            *at.get_mut(&mut frame) = octet;
        }
        frame
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        arp_frame(),
        advertisement_frame(),
        vector_frame(),
        prop::collection::vec(any::<u8>(), 0..120)
    ]
}

fn interfaces() -> impl Strategy<Value = Interface> {
    let carriers = prop::sample::select(vec![Carrier::Up, Carrier::Up, Carrier::Down]);
    let link_locals = prop::option::of(Just(LINK_LOCAL));
    (1u8..3, link_locals, carriers).prop_map(|(last, link_local, carrier)| Interface {
        mac: Mac::new([2, 0, 0, 0, 0, last]),
        link_local,
        carrier,
        ..interface()
    })
}

/// Not one that the interface ever has.
fn stations() -> impl Strategy<Value = Mac> {
    (0x70u8..0x73).prop_map(|last| Mac::new([2, 0, 0, 0, 0, last]))
}

fn questions() -> impl Strategy<Value = Question> {
    prop_oneof![Just(Question::Reach), stations().prop_map(Question::ReachAt), Just(Question::Duplicate)]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let owned = || prop_oneof![addresses(), Just(ip(V4)), Just(ip(V6))];
    let event = prop_oneof![
        3 => owned().prop_map(Event::Own),
        2 => (owned(), stations()).prop_map(|(address, mac)| Event::Cover(address, mac)),
        2 => owned().prop_map(Event::Disown),
        2 => (owned(), questions()).prop_map(|(address, question)| Event::Ask(address, question)),
        1 => prop::collection::btree_set(macs(), 0..3).prop_map(Event::Speakers),
        1 => prop::sample::select(vec![Echo::Answer, Echo::Silent]).prop_map(Event::Echo),
        1 => prop::option::of((0u64..100).prop_map(Duration::from_secs)).prop_map(Event::Refresh),
        6 => frames().prop_map(Event::Frame),
        2 => (0u64..70_000).prop_map(Event::Wait),
        1 => interfaces().prop_map(Event::Interface),
        4 => Just(Event::Poll),
    ];
    prop::collection::vec(event, 0..80)
}

/// A responder with a naive idea of what it answers for, where it says that this is, and what it is a member of.
struct Model {
    responder: Responder,
    now: Instant,
    mac: Mac,
    places: BTreeMap<IpAddr, Option<Mac>>,
    asked: BTreeMap<IpAddr, Instant>,
    joined: BTreeSet<Ipv6Addr>,
}

impl Model {
    fn new(now: Instant) -> Self {
        Self {
            responder: responder(now),
            now,
            mac: MAC,
            places: BTreeMap::new(),
            asked: BTreeMap::new(),
            joined: BTreeSet::new(),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Own(address) => {
                self.places.insert(address, None);
                self.responder.own(self.now, address);
            }
            Event::Cover(address, mac) => {
                self.places.insert(address, Some(mac));
                self.responder.cover(self.now, address, mac);
            }
            Event::Disown(address) => {
                self.places.remove(&address);
                self.responder.disown(self.now, address);
            }
            Event::Ask(address, question) => {
                self.asked.insert(address, self.now);
                self.responder.ask(self.now, address, question);
            }
            Event::Speakers(speakers) => self.responder.set_speakers(self.now, speakers),
            Event::Echo(echo) => self.responder.set_echo(self.now, echo),
            Event::Refresh(refresh) => self.responder.set_refresh(self.now, refresh),
            Event::Frame(frame) => self.responder.handle_frame(self.now, &frame),
            Event::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                self.responder.handle_timeout(self.now);
            }
            Event::Interface(interface) => {
                self.mac = interface.mac;
                self.responder.handle_interface(self.now, interface);
            }
            Event::Poll => self.poll(),
        }
    }

    fn poll(&mut self) {
        for output in drain(&mut self.responder) {
            match output {
                Output::Send(frame) => self.check_sent(&frame),
                Output::Join(group) => assert!(self.joined.insert(group), "{group} is joined twice"),
                Output::Leave(group) => assert!(self.joined.remove(&group), "{group} was not joined"),
                Output::Foreign { address, .. } => {
                    assert!(self.places.contains_key(&address), "{address} is not ours")
                }
                Output::Answered { address, .. } => {
                    assert!(self.asked.contains_key(&address), "{address} was not asked for")
                }
            }
        }
        let groups = self.places.keys().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(solicited_node(*address)),
        });
        assert_eq!(self.joined, groups.collect());
        let watched: BTreeSet<_> = self.responder.watched().collect();
        assert!(self.places.keys().all(|address| watched.contains(address)));
    }

    fn check_sent(&self, frame: &Frame) {
        assert_eq!(oracle::source(frame), self.mac);
        let sent = read(frame);
        let about = sent.about();
        if sent.asks() {
            assert!(self.asked.contains_key(&about), "{about} was not asked for");
        } else {
            let place = self.places.get(&about).unwrap_or_else(|| panic!("{about} is not ours"));
            match sent {
                Sent::EchoReply { .. } => assert_eq!(*place, None),
                Sent::Arp { .. } | Sent::Advertisement { .. } | Sent::Solicitation { .. } => {
                    assert_eq!(sent.place(), Some(place.unwrap_or(self.mac)));
                }
            }
        }
    }
}

fn counted(stats: &Stats) -> u64 {
    let answered = stats.arp_replies + stats.advertisements + stats.foreign + stats.answers;
    let answered = answered + stats.excess + stats.echoes + stats.echo_excess;
    answered + stats.not_ours + stats.own + stats.malformed.values().sum::<u64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_what_is_held_is_spoken_for_with_the_right_place_and_memberships_follow(events in events()) {
        let now = Instant::now();
        let mut model = Model::new(now);
        events.into_iter().for_each(|event| model.handle(event));
        model.poll();
    }

    #[test]
    fn every_frame_is_counted_and_makes_at_most_a_report_a_defence_and_an_answer(
        frames in prop::collection::vec(frames(), 1..20),
    ) {
        let now = Instant::now();
        let mut responder = responder(now);
        [V4, V6, "192.0.2.1", "2001:db8::1"].iter().for_each(|address| responder.own(now, ip(address)));
        drain(&mut responder);
        for frame in frames {
            let before = counted(responder.stats());
            responder.handle_frame(now, &frame);
            // Two for an ARP request that asks for one owned address in the name of another.
            prop_assert!((1..=2).contains(&(counted(responder.stats()) - before)));
            prop_assert!(drain(&mut responder).len() <= 3);
        }
    }
}

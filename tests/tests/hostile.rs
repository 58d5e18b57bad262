//! Strangers on the segment who send what they should not, or too much of it: it is counted, and nothing else comes
//! of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use lab::capture::{Capture, Frame, Message, Operation};
use lab::kube::light::Lab;
use lab::kube::service::PORT;
use lab::meter::{Continuity, Probe};
use lab::stranger::{Sent, seal};
use lab::witness::{Testimony, Witness};
use lab::{Mac, Request, Solicitation, Stranger, wait};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// For what the test waits for before it begins.
const SOON: Duration = Duration::from_secs(30);
/// Answers come within a millisecond.
const LISTEN: Duration = Duration::from_millis(300);
/// As long as a flood lasts.
const FLOOD: Duration = Duration::from_secs(5);
/// Ten times what a takeover may take.
const TAKEN_OVER: Duration = Duration::from_millis(2500);
/// Ten times what two owners may take to find each other.
const ONE_LEFT: Duration = Duration::from_millis(2000);
/// Longer than others answer for a speaker that is away.
const COVERED: Duration = Duration::from_secs(12);

/// A speaker may have grown by so much when all is over.
const GROWTH: u64 = 8 << 20;
/// So many lines of log more are few.
const LINES: usize = 40;

/// Where things are in a frame.
const SOURCE: usize = 6;
const ARP: usize = 14;
const IPV6: usize = 14;
const HOP_LIMIT: usize = IPV6 + 7;
const ICMPV6: usize = IPV6 + 40;
const OPTION: usize = ICMPV6 + 24;

/// A dual-stack Service with a pod on each node, and how the speakers are before anything happens.
struct Scene {
    lab: Lab,
    addresses: Vec<IpAddr>,
    owners: BTreeMap<IpAddr, usize>,
    before: Vec<Health>,
}

struct Health {
    resident: u64,
    lines: usize,
    verdicts: u64,
}

impl Scene {
    fn raise(purpose: &str) -> Self {
        let lab = Lab::up(purpose);
        lab.plane().apply_samples();
        // Whatever is said about an address is an answer then, or its owner's defence.
        lab.apply(
            "apiVersion: ferritelb.io/v1beta1\nkind: FerriteConfig\nmetadata: {name: default}\nspec: {layer2: \
             {refresh: 0s}}\n",
        );
        let addresses = lab.expose("web", &[1, 2, 3]).wait_addresses(2);
        let owners = lab.wait_owners(&addresses, SOON);
        thread::sleep(5 * SECOND);
        let mut scene = Self { lab, addresses, owners, before: Vec::new() };
        scene.remember();
        scene
    }

    /// From here on nothing may happen to the speakers.
    fn remember(&mut self) {
        self.before = (1..=3)
            .map(|node| Health {
                resident: self.lab.speaker(node).resident(),
                lines: self.lab.speaker(node).log().lines().count(),
                verdicts: self.verdicts(node),
            })
            .collect();
    }

    /// Of others that they are dead or gone.
    fn verdicts(&self, node: usize) -> u64 {
        let kinds = ["node_dead", "speaker_gone"];
        kinds.map(|kind| self.counted(node, "liveness_verdicts_total", kind)).iter().sum()
    }

    /// A counter of one kind as a speaker has it on the segment.
    fn counted(&self, node: usize, series: &str, kind: &str) -> u64 {
        let metrics = self.lab.speaker(node).metrics();
        let labels = format!("ferritelb_speaker_{series}{{interface=\"eth0\",kind=\"{kind}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&labels));
        value.map_or(0, |value| value.parse().expect("a counter is a number"))
    }

    fn owner(&self, address: IpAddr) -> &lab::Host {
        self.lab.node(self.owners[&address])
    }

    /// Every speaker is the one that it was, and none thinks that another is gone.
    #[track_caller]
    fn unharmed(&self) {
        assert_eq!(self.lab.wait_owners(&self.addresses, SOON), self.owners, "nothing moved");
        for (node, before) in (1..).zip(&self.before) {
            let speaker = self.lab.speaker(node);
            let grown = speaker.resident().saturating_sub(before.resident);
            assert!(grown < GROWTH, "the speaker of n{node} has grown by {} KiB", grown >> 10);
            assert_eq!(self.verdicts(node), before.verdicts, "n{node} gave nobody up");
            let log = speaker.log();
            let new: Vec<_> = log.lines().skip(before.lines).collect();
            let wrong = |line: &&&str| line.contains("ERROR") || line.contains("panicked");
            assert_eq!(new.iter().find(wrong), None);
            assert!(new.len() <= LINES, "n{node} wrote {} lines: {:?}", new.len(), &new[..LINES]);
        }
    }

    /// What a witness of each address and its clients see meanwhile.
    fn watched<T>(&self, meanwhile: impl FnOnce() -> T) -> (T, Vec<(Testimony, Continuity)>) {
        let start = |address: &IpAddr| {
            let client = self.lab.client();
            (client.witness(*address), client.probe(SocketAddr::new(*address, PORT)))
        };
        let watching: Vec<(Witness, Probe)> = self.addresses.iter().map(start).collect();
        thread::sleep(LISTEN);
        let given = meanwhile();
        let seen = watching.into_iter().map(|(witness, probe)| (witness.stop(), probe.stop()));
        (given, seen.collect())
    }

    /// One node answered for each address all the time, and clients were served.
    #[track_caller]
    fn served(&self, seen: &[(Testimony, Continuity)]) {
        for (address, (testimony, continuity)) in self.addresses.iter().zip(seen) {
            let owner = BTreeSet::from([self.owner(*address).mac()]);
            assert_eq!(testimony.answers().into_keys().collect::<BTreeSet<_>>(), owner, "{testimony}");
            let dark = testimony.dark().map_or(Duration::ZERO, |span| span.lasted);
            assert!(dark < SECOND, "{testimony}");
            assert!(continuity.lost * 100 <= continuity.sent, "{continuity:?}");
            assert!(continuity.longest_gap < SECOND, "{continuity:?}");
        }
    }

    /// Who answers for the address what is sent to its owner.
    #[track_caller]
    fn answers(&self, address: IpAddr, frames: &[Vec<u8>]) -> Vec<Mac> {
        let owner = self.owner(address);
        let wanted = move |frame: &Frame| !frame.outgoing && answered(frame, address).is_some();
        let capture = Capture::of_neighbours_in(self.lab.switch(), owner.name(), wanted);
        for some in frames.chunks(64) {
            owner.stranger_at_its_port().send(some);
            thread::sleep(5 * MS);
        }
        thread::sleep(LISTEN);
        capture.stop().iter().filter_map(|frame| answered(frame, address)).collect()
    }
}

fn answered(frame: &Frame, ip: IpAddr) -> Option<Mac> {
    match ip {
        IpAddr::V4(ip) => {
            let reply = frame.arp().filter(|arp| arp.operation == Operation::Reply && arp.sender == ip)?;
            Some(reply.sender_mac)
        }
        IpAddr::V6(ip) => match frame.ndp().filter(|ndp| ndp.target == ip)?.message {
            Message::Advertisement { target_mac, .. } => Some(target_mac.unwrap_or(frame.source())),
            Message::Solicitation { .. } => None,
        },
    }
}

/// The frame with other octets from there on.
fn with(frame: &[u8], at: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + octets.len()].copy_from_slice(octets);
    frame
}

/// As [`with`], with a checksum that is right.
fn sealed(frame: &[u8], at: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = with(frame, at, octets);
    seal(&mut frame);
    frame
}

/// The frame with another end, of which its headers know.
fn ending(frame: &[u8], from: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..from], octets].concat();
    let length = u16::try_from(frame.len() - ICMPV6).expect("a frame is short");
    frame[IPV6 + 4..IPV6 + 6].copy_from_slice(&length.to_be_bytes());
    seal(&mut frame);
    frame
}

/// In a VLAN, by an ordinary tag or by a provider's.
fn tagged(frame: &[u8], kind: u16, tag: u16) -> Vec<u8> {
    [&frame[..12], &kind.to_be_bytes(), &tag.to_be_bytes(), &frame[12..]].concat()
}

const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// None of these is a question, though each was one.
fn malformed(question: &[u8]) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = (ARP..question.len()).map(|length| question[..length].to_vec()).collect();
    frames.extend([GROUP, [0xff; 6], [0; 6]].map(|source| with(question, SOURCE, &source)));
    frames.extend([5, 0x0fff, 0xe005].map(|tag| tagged(question, 0x8100, tag)));
    frames.extend([tagged(question, 0x88a8, 5), tagged(&tagged(question, 0x8100, 6), 0x88a8, 5)]);
    frames
}

fn malformed_arp(question: &[u8], owner: Mac) -> Vec<Vec<u8>> {
    let mut frames = malformed(question);
    frames.extend((ARP..ARP + 6).map(|at| with(question, at, &[question[at] ^ 0x11])));
    frames.extend([0, 3, 8, 9, 0x0100, 0xffff].map(|code: u16| with(question, ARP + 6, &code.to_be_bytes())));
    frames.extend([GROUP, [0xff; 6], [0; 6], owner.0].map(|sender| with(question, ARP + 8, &sender)));
    frames
}

fn malformed_solicitations(question: &[u8], advertisement: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = malformed(question);
    frames.extend([0, 1, 64, 254].map(|hops| with(question, HOP_LIMIT, &[hops])));
    frames.extend([0x00, 0x45, 0x7f].map(|version| with(question, IPV6, &[version])));
    frames.push(with(question, ICMPV6 + 2, &[0xbe, 0xef]));
    frames.push(sealed(question, ICMPV6 + 1, &[1]));
    // Its own length does not reach its target, or ends in an option.
    frames.extend((ICMPV6 + 4..OPTION).map(|end| ending(question, end, &[])));
    frames.extend((OPTION + 1..question.len()).map(|end| ending(question, end, &[])));
    for option in [[1, 0], [1, 2], [1, 255], [2, 0], [14, 0], [253, 255]] {
        frames.push(sealed(question, OPTION, &option));
    }
    frames.push(ending(question, OPTION, &[&[1, 2][..], &[0; 14]].concat()));
    frames.push(ending(question, OPTION, &[&[14, 1, 0, 0, 0, 0, 0, 0, 1, 0][..], &[0; 6]].concat()));
    frames.extend([GROUP, [0xff; 6], [0; 6]].map(|mac| sealed(question, OPTION + 2, &mac)));
    let all_nodes: Ipv6Addr = "ff02::1".parse().expect("an address");
    frames.push(sealed(question, IPV6 + 8, &all_nodes.octets()));
    // Duplicate address detection with a source link-layer address, or to all nodes.
    frames.push(sealed(question, IPV6 + 8, &[0; 16]));
    let bare = ending(&sealed(question, IPV6 + 8, &[0; 16]), OPTION, &[]);
    frames.push(sealed(&bare, IPV6 + 24, &all_nodes.octets()));
    frames.push(sealed(question, ICMPV6 + 8, &[0xff]));
    // Advertisements that are none: to all with the solicited flag, from nobody, with half an option.
    frames.push(sealed(advertisement, ICMPV6 + 4, &[0x60]));
    frames.push(sealed(advertisement, IPV6 + 8, &[0; 16]));
    frames.push(sealed(advertisement, OPTION, &[2, 0]));
    frames.push(with(advertisement, HOP_LIMIT, &[64]));
    frames
}

/// What looks odd and is a question all the same.
fn odd(question: &[u8], is_v6: bool) -> Vec<Vec<u8>> {
    let mut frames = vec![[question, &[0xa5; 1000][..]].concat(), tagged(question, 0x8100, 0xe000)];
    if is_v6 {
        let option = &question[OPTION..];
        frames.push(ending(question, OPTION, &[]));
        frames.push(ending(question, OPTION, &[&[253, 1, 0, 0, 0, 0, 0, 0][..], option].concat()));
        let nonces = [14, 1, 7, 7, 7, 7, 7, 7].repeat(100);
        frames.push(ending(question, OPTION, &[&nonces[..], option].concat()));
    }
    frames
}

/// Numbers without a pattern, the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).expect("it is small")
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// With some octets that are other ones, and perhaps without its end.
    fn spoil(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        for _ in 0..=self.below(4) {
            let at = ARP + self.below(frame.len() - ARP);
            frame[at] = self.next().to_be_bytes()[0];
        }
        if self.below(4) == 0 {
            frame.truncate(ARP + self.below(frame.len() - ARP));
        }
        frame
    }
}

/// What is spoilt by chance may be a question by chance: it only must do no harm.
fn spoilt(questions: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let mut chance = Chance(7);
    let mut one = |number: usize| {
        let question = &questions[number % questions.len()];
        match number % 3 {
            0 => {
                let length = chance.below(1400);
                [&question[..ARP], &chance.octets(length)].concat()
            }
            1 => chance.spoil(question),
            _ => {
                let mut frame = chance.spoil(question);
                if frame.len() > OPTION {
                    seal(&mut frame);
                }
                frame
            }
        }
    };
    (0..count).map(&mut one).collect()
}

const EVERY_WAY: [&str; 14] = [
    "Truncated",
    "EthernetSource",
    "ArpFormat",
    "SenderHardwareAddress",
    "IpVersion",
    "SourceAddress",
    "HopLimit",
    "Checksum",
    "Code",
    "Target",
    "OptionLength",
    "LinkLayerAddress",
    "DuplicateDetection",
    "SolicitedMulticast",
];

#[test]
fn what_is_malformed_is_counted_and_not_answered() {
    let scene = Scene::raise("hostile: malformed");
    let stranger = scene.lab.client().stranger();
    let questions: Vec<_> = scene.addresses.iter().map(|address| stranger.question(*address)).collect();
    for (address, question) in scene.addresses.iter().zip(&questions) {
        let owner = scene.owner(*address).mac();
        assert_eq!(scene.answers(*address, std::slice::from_ref(question)), [owner], "it is a question");
        let frames = match address {
            IpAddr::V4(_) => malformed_arp(question, owner),
            IpAddr::V6(_) => malformed_solicitations(question, &stranger.claim(*address)),
        };
        for frame in &frames {
            scene.lab.nodes().iter().for_each(|node| {
                node.stranger_at_its_port().send(std::slice::from_ref(frame));
            });
        }
        if !scene.answers(*address, &frames).is_empty() {
            let is_answered =
                |frame: &&Vec<u8>| !scene.answers(*address, std::slice::from_ref(frame)).is_empty();
            panic!("these are no questions: {:02x?}", frames.iter().filter(is_answered).collect::<Vec<_>>());
        }
        for frame in odd(question, address.is_ipv6()) {
            assert_eq!(scene.answers(*address, std::slice::from_ref(&frame)), [owner], "{frame:02x?}");
        }
    }
    let owners: BTreeSet<_> = scene.owners.values().copied().collect();
    wait::eventually("each way to be malformed is counted", SOON, || {
        let counted =
            |way: &&str| owners.iter().any(|node| scene.counted(*node, "l2_malformed_total", way) > 0);
        let missing: Vec<_> = EVERY_WAY.iter().filter(|way| !counted(way)).collect();
        missing.is_empty().then_some(()).ok_or(format!("{missing:?}"))
    });
    let frames = spoilt(&questions, 6000);
    for node in scene.lab.nodes() {
        for some in frames.chunks(64) {
            node.stranger_at_its_port().send(some);
            thread::sleep(2 * MS);
        }
    }
    thread::sleep(2 * SECOND);
    scene.unharmed();
    answer_rightly(&scene);
}

/// In every form that a question has.
#[track_caller]
fn answer_rightly(scene: &Scene) {
    let client = scene.lab.client();
    for address in &scene.addresses {
        let mac = scene.owner(*address).mac();
        let answers: Vec<_> = match *address {
            IpAddr::V4(ip) => [Request::Broadcast, Request::Unicast(mac), Request::Probe]
                .map(|request| client.arp_as(ip, request))
                .into(),
            IpAddr::V6(ip) => [
                Solicitation::Multicast,
                Solicitation::MulticastWithoutOption,
                Solicitation::Unicast(mac),
                Solicitation::Probe,
            ]
            .map(|solicitation| client.ndp_as(ip, solicitation))
            .into(),
        };
        assert!(answers.iter().all(|macs| *macs == BTreeSet::from([mac])), "{answers:?}");
        wait::eventually("a client is served", SOON, || client.http(*address, PORT));
    }
}

const A_SECOND: u32 = 50_000;

/// Broadcasts of every kind that concern nobody here.
fn broadcasts(stranger: &Stranger) -> Vec<Vec<u8>> {
    let to_all = |kind: u16, payload: &[u8]| {
        [&Mac::BROADCAST.0[..], &Stranger::MAC.0, &kind.to_be_bytes(), payload].concat()
    };
    let one = |number: u16| {
        let [high, low] = number.to_be_bytes();
        match number % 8 {
            0 => stranger.question(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 1, 0xfff0, number).into()),
            1 => to_all(0x88b5, &[low; 60]),
            2 => to_all(0x8100, &stranger.question(Ipv4Addr::new(10, 77, 0, 200).into())[12..]),
            3 => stranger.claim(Ipv4Addr::new(10, 88, high, low).into()),
            _ => stranger.question(Ipv4Addr::new(10, 88, high, low).into()),
        }
    };
    (0..4096).map(one).collect()
}

/// What speakers have spent in the time of a flood, with what else they do.
fn spent<T>(scene: &Scene, meanwhile: impl FnOnce() -> T) -> ([Duration; 3], T) {
    let all = || [1, 2, 3].map(|node| scene.lab.speaker(node).processor_time());
    let before = all();
    let given = meanwhile();
    let after = all();
    ([0, 1, 2].map(|at| after[at].saturating_sub(before[at])), given)
}

/// Microseconds of a processor for each frame.
fn for_each(spent: Duration, sent: &Sent) -> f64 {
    spent.as_secs_f64() * 1e6 / sent.frames as f64
}

#[test]
fn a_storm_of_broadcasts_for_others_costs_a_speaker_nothing() {
    let scene = Scene::raise("hostile: broadcasts");
    let stranger = scene.lab.client().stranger();
    let frames = broadcasts(&stranger);
    let read = || {
        [1, 2, 3].map(|node| {
            ["not_ours", "own", "foreign"].map(|kind| scene.counted(node, "l2_frames_total", kind))
        })
    };
    let before = read();
    let (idle, ()) = spent(&scene, || thread::sleep(FLOOD));
    let (busy, sent) = spent(&scene, || {
        let flood = stranger.flood(A_SECOND, frames.clone());
        thread::sleep(FLOOD);
        flood.stop()
    });
    let more = |at: usize| {
        let otherwise = idle[at].mul_f64(sent.lasted.as_secs_f64() / FLOOD.as_secs_f64());
        for_each(busy[at].saturating_sub(otherwise), &sent)
    };
    let each = [0, 1, 2].map(more);
    println!("  … {sent}; µs of each speaker for a frame: {each:.2?}, idle {idle:.1?}, busy {busy:.1?}");
    thread::sleep(2 * SECOND);
    let after = read();
    for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
        assert!(after - before < sent.frames / 1000, "{before} frames were read before, and {after} after");
    }
    assert!(each.iter().all(|each| *each < 1.0), "{each:.2?} µs, {sent}");
    assert!(sent.frames > u64::from(A_SECOND), "{sent}");
    let (_, seen) = scene.watched(|| {
        let flood = stranger.flood(A_SECOND, frames);
        thread::sleep(FLOOD);
        flood.stop()
    });
    scene.served(&seen);
    scene.unharmed();
}

#[test]
fn a_storm_of_questions_for_a_held_address_moves_nothing_and_takes_no_memory() {
    let scene = Scene::raise("hostile: questions");
    let stranger = scene.lab.client().stranger();
    let mut chance = Chance(11);
    let mut frames = Vec::new();
    for number in 0..8192 {
        let address = scene.addresses[number % scene.addresses.len()];
        let [_, _, a, b, c, d, e, f] = chance.next().to_be_bytes();
        let mac = [0x02, 0x67, a, b, c, d];
        let mut frame = with(&stranger.question(address), SOURCE, &mac);
        match address {
            IpAddr::V4(_) => frame = with(&with(&frame, ARP + 8, &mac), ARP + 14, &[10, 77, e | 1, f]),
            IpAddr::V6(_) => {
                let source =
                    Ipv6Addr::new(0xfd77, 0, 0, 0, u16::from(a), u16::from(b), u16::from(e), u16::from(f));
                frame = sealed(&with(&frame, OPTION + 2, &mac), IPV6 + 8, &source.octets());
            }
        }
        frames.push(frame);
    }
    let (busy, (sent, seen)) = spent(&scene, || {
        scene.watched(|| {
            let flood = stranger.flood(A_SECOND / 2, frames);
            thread::sleep(FLOOD);
            flood.stop()
        })
    });
    println!(
        "  … {sent}; {busy:.1?} of the speakers; {}",
        seen.iter().map(|seen| seen.0.to_string()).collect::<String>()
    );
    scene.served(&seen);
    scene.unharmed();
    let answered = [1, 2, 3].map(|node| scene.counted(node, "l2_frames_total", "arp_reply"));
    assert!(answered.iter().sum::<u64>() > sent.frames / 20, "some were answered: {answered:?}, {sent}");
    answer_rightly(&scene);
}

const HEARTBEATS: u16 = 7973;
const REFUSED: [&str; 5] = ["malformed", "stranger", "forged", "replayed", "unechoed"];

/// The sender and the content of a heartbeat.
fn heartbeat(frame: &Frame) -> Option<(Ipv4Addr, Vec<u8>)> {
    let bytes = &frame.bytes;
    let is_udp = frame.ether_type() == 0x0800 && bytes.get(IPV4 + 9) == Some(&17);
    if !is_udp || bytes.get(IPV4 + 22..IPV4 + 24)? != HEARTBEATS.to_be_bytes() {
        return None;
    }
    let from = <[u8; 4]>::try_from(bytes.get(IPV4 + 12..IPV4 + 16)?).ok()?;
    Some((from.into(), bytes.get(IPV4 + 28..)?.to_vec()))
}

const IPV4: usize = 14;

/// Whom a captured heartbeat was for, from whom it came, and what it was.
type Captured = Vec<(usize, Ipv4Addr, Vec<u8>)>;

/// All heartbeats of two seconds.
fn overhear(scene: &Scene) -> Captured {
    let captures: Vec<_> = scene
        .lab
        .nodes()
        .iter()
        .map(|node| Capture::start(node, "eth0", |frame| !frame.outgoing && heartbeat(frame).is_some()))
        .collect();
    thread::sleep(2 * SECOND);
    let mut all = Vec::new();
    for (node, capture) in (1..).zip(captures) {
        let heard = capture.stop();
        all.extend(heard.iter().filter_map(heartbeat).map(|(from, octets)| (node, from, octets)));
    }
    assert!(all.len() > 200, "{} heartbeats in two seconds", all.len());
    all
}

/// In the name of those that sent them.
fn as_frames(scene: &Scene, datagrams: &Captured) -> Vec<Vec<u8>> {
    let stranger = scene.lab.client().stranger();
    let frame = |(node, from, octets): &(usize, Ipv4Addr, Vec<u8>)| {
        stranger.datagram(*from, scene.lab.node(*node), HEARTBEATS, octets)
    };
    datagrams.iter().map(frame).collect()
}

/// Sends these to every speaker, ten thousand a second, in the name of others; every speaker refuses them, for one of
/// these reasons, and believes nothing.
#[track_caller]
fn refused(scene: &Scene, what: &str, datagrams: &Captured, reasons: &[&str]) {
    let frames = as_frames(scene, datagrams);
    let counted =
        || [1, 2, 3].map(|node| REFUSED.map(|kind| scene.counted(node, "liveness_datagrams_total", kind)));
    let before = counted();
    let (busy, (sent, seen)) = spent(scene, || {
        scene.watched(|| {
            let flood = scene.lab.client().stranger().flood(10_000, frames);
            thread::sleep(3 * SECOND);
            flood.stop()
        })
    });
    // Counters are told once a second.
    thread::sleep(2 * SECOND);
    let after = counted();
    let rose = |node: usize, kind: usize| after[node][kind] - before[node][kind];
    let all: Vec<Vec<u64>> =
        (0..3).map(|node| (0..REFUSED.len()).map(|kind| rose(node, kind)).collect()).collect();
    println!("  … {what}: {sent}; refused {REFUSED:?} {all:?}; {busy:.1?} of the speakers");
    for node in BTreeSet::from_iter(datagrams.iter().map(|(node, ..)| *node)) {
        let refused: u64 = all[node - 1].iter().sum();
        assert!(refused > 1000, "{what}: n{node} refused {refused} of {sent}");
        for (kind, rose) in REFUSED.iter().zip(&all[node - 1]) {
            let expected = reasons.contains(kind);
            // A heartbeat may be overtaken on its way, and a few are heard before lives know each other.
            assert!(
                if expected { *rose > 0 } else { *rose < 50 },
                "{what}: n{node} refused {rose} as {kind}"
            );
        }
    }
    scene.served(&seen);
    scene.unharmed();
}

#[test]
fn forged_and_replayed_heartbeats_are_counted_and_nothing_else_comes_of_them() {
    let mut scene = Scene::raise("hostile: heartbeats");
    let captured = overhear(&scene);
    let mut chance = Chance(13);
    let random: Captured = captured
        .iter()
        .map(|(node, from, _)| {
            let length = chance.below(1400);
            (*node, *from, chance.octets(length))
        })
        .collect();
    refused(&scene, "random octets", &random, &["malformed"]);
    refused(&scene, "replayed", &captured, &["replayed"]);

    let mut changed = Captured::new();
    for (node, from, octets) in captured.iter().step_by(captured.len() / 30) {
        changed.extend((0..octets.len()).map(|at| (*node, *from, with(octets, at, &[octets[at] ^ 1]))));
    }
    refused(&scene, "changed", &changed, &["malformed", "stranger", "forged", "replayed"]);

    // A speaker that begins anew, and hears nothing but what others said to its former life.
    let owners: BTreeSet<_> = scene.owners.values().collect();
    let reborn = (1..=3).find(|node| !owners.contains(node)).expect("of three nodes one owns nothing");
    let told: Captured = captured.iter().filter(|(node, ..)| *node == reborn).cloned().collect();
    let genuine = format!("ether saddr != {} udp dport {HEARTBEATS}", Stranger::MAC);
    let deaf = scene.lab.node(reborn).lose(&genuine);
    let flood = scene.lab.client().stranger().flood(10_000, as_frames(&scene, &told));
    scene.lab.speaker(reborn).terminate();
    scene.lab.speaker(reborn).start();
    scene.lab.speaker(reborn).wait_ready();
    let ((), seen) = scene.watched(|| thread::sleep(4 * SECOND));
    scene.served(&seen);
    let sent = flood.stop();
    let unechoed = scene.counted(reborn, "liveness_datagrams_total", "unechoed");
    println!("  … said to a former life, and nothing else: {sent}; {unechoed} unechoed");
    assert!(unechoed > 1000, "{unechoed} of {sent}");
    let nobody = r#"ferritelb_speaker_liveness_speakers{interface="eth0",standing="alive"} 0"#;
    let metrics = scene.lab.speaker(reborn).metrics();
    assert!(metrics.lines().any(|line| line == nobody), "{metrics}");
    deaf.heal();
    thread::sleep(5 * SECOND);
    assert_eq!(scene.lab.wait_owners(&scene.addresses, SOON), scene.owners, "nothing moved");
    scene.remember();
    refused(&scene, "said to a former life", &told, &["replayed"]);
    let mine = scene.lab.node(reborn).v4();
    let said: Captured = captured.iter().filter(|(_, from, _)| *from == mine).cloned().collect();
    refused(&scene, "said by a former life", &said, &["replayed"]);
}

impl Scene {
    /// One node answers a client, and it is this one.
    #[track_caller]
    fn only(&self, address: IpAddr, node: usize, meanwhile: impl FnOnce()) {
        let witness = self.lab.client().witness(address);
        thread::sleep(LISTEN);
        meanwhile();
        let seen = witness.stop();
        assert_eq!(seen.macs(), BTreeSet::from([self.lab.node(node).mac()]), "{seen}");
        let dark = seen.dark().map_or(Duration::ZERO, |span| span.lasted);
        assert!(dark < SECOND, "{seen}");
    }

    /// Waits until another node, and nobody else, answers a client.
    #[track_caller]
    fn wait_heir(&self, address: IpAddr, former: usize) -> usize {
        wait::eventually(&format!("another node than {former} answers for {address}"), TAKEN_OVER, || {
            match self.lab.client().resolve_all(&[address]).remove(&address) {
                Some(macs) if macs.len() == 1 && !macs.contains(&self.lab.node(former).mac()) => Ok(()),
                macs => Err(format!("{macs:?}")),
            }
        });
        self.lab.wait_owner(address, SOON)
    }

    /// The addresses of the routers, which speakers take for witnesses.
    fn gateways(&self) -> Vec<IpAddr> {
        let routers = [self.lab.frr(), self.lab.bird()];
        routers.iter().flat_map(|router| [IpAddr::from(router.v4()), router.v6().into()]).collect()
    }
}

#[test]
fn who_answers_for_the_gateway_makes_no_second_owner() {
    let scene = Scene::raise("hostile: gateway");
    let _impostor = scene.lab.client().stranger().answer_for(&scene.gateways());
    for address in &scene.addresses {
        let first = scene.owners[address];
        scene.only(*address, first, || thread::sleep(2 * SECOND));
        let alone = scene.lab.node(first).unbridge();
        let heir = scene.wait_heir(*address, first);
        wait::eventually("the one that is alone is silent", TAKEN_OVER, || {
            let macs = scene.lab.node(first).asked_at_its_port(*address);
            macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
        });
        alone.heal();
        thread::sleep(ONE_LEFT);
        scene.only(*address, heir, || thread::sleep(2 * SECOND));
    }
}

/// It cannot know that it is the one that is cut off: that is a part of the segment like any other.
#[test]
fn who_answers_for_the_gateway_to_a_node_that_is_cut_off_makes_it_a_part_and_one_owner_is_left() {
    let scene = Scene::raise("hostile: gateway of one");
    for address in &scene.addresses {
        let first = scene.lab.wait_owner(*address, SOON);
        let node = scene.lab.node(first);
        let impostor = node.stranger_at_its_port().answer_for(&scene.gateways());
        let alone = node.unbridge();
        let heir = scene.wait_heir(*address, first);
        scene.only(*address, heir, || thread::sleep(2 * SECOND));
        assert_eq!(node.asked_at_its_port(*address), BTreeSet::from([node.mac()]), "its part has an owner");
        alone.heal();
        thread::sleep(ONE_LEFT);
        scene.only(*address, heir, || thread::sleep(2 * SECOND));
        drop(impostor);
    }
}

#[test]
fn who_answers_for_a_node_that_is_dead_does_not_keep_its_addresses_from_others() {
    let scene = Scene::raise("hostile: dead node");
    for address in &scene.addresses {
        let first = scene.lab.wait_owner(*address, SOON);
        let node = scene.lab.node(first);
        let _impostor = scene.lab.client().stranger().answer_for(&[node.v4().into(), node.v6().into()]);
        let faults = scene.lab.lose_power(first);
        let heir = scene.wait_heir(*address, first);
        scene.only(*address, heir, || thread::sleep(2 * SECOND));
        faults.into_iter().for_each(lab::fault::Fault::heal);
        scene.lab.speaker(first).start();
        scene.lab.speaker(first).wait_ready();
        thread::sleep(ONE_LEFT);
        scene.only(*address, heir, || thread::sleep(2 * SECOND));
    }
}

/// Heartbeats go astray, as where their port is closed.
#[test]
fn who_claims_the_addresses_of_all_nodes_makes_no_second_owner() {
    let scene = Scene::raise("hostile: nodes");
    let stranger = scene.lab.client().stranger();
    let nodes = scene.lab.nodes().iter().flat_map(|node| [IpAddr::from(node.v4()), node.v6().into()]);
    let claims = nodes.map(|address| stranger.claim(address)).collect();
    let (sent, seen) = scene.watched(|| {
        let flood = stranger.flood(600, claims);
        thread::sleep(COVERED + 3 * SECOND);
        flood.stop()
    });
    let heard = [1, 2, 3].map(|node| scene.counted(node, "liveness_datagrams_total", "heard"));
    println!("  … {sent}; heartbeats heard {heard:?}");
    for (address, (testimony, _)) in scene.addresses.iter().zip(&seen) {
        println!("  … {address}: {testimony}");
        assert_eq!(testimony.doubled().len(), 0, "{testimony}");
        let owner = scene.owner(*address).mac();
        assert_eq!(testimony.answers().into_keys().collect::<Vec<_>>(), [owner], "{testimony}");
    }
    thread::sleep(10 * SECOND);
    assert_eq!(scene.lab.wait_owners(&scene.addresses, SOON), scene.owners);
}

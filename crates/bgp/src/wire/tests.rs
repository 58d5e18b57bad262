use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use proptest::prelude::*;

use super::*;
use crate::ids::{Asn, HoldTime, RouterId, masked};

mod vectors;

pub(crate) fn dialect(as_numbers: AsNumbers, neighbour: Neighbour) -> Dialect {
    Dialect { as_numbers, neighbour, families: BTreeSet::from(Family::ALL) }
}

fn modern() -> Dialect {
    dialect(AsNumbers::FourOctets, Neighbour::External)
}

fn whole(octets: &[u8]) -> Frame<'_> {
    Frame::split(octets).unwrap().unwrap()
}

fn update<'a>(octets: &'a [u8], dialect: &Dialect) -> Update<'a> {
    let frame = whole(octets);
    assert_eq!(frame.kind, MessageType::Update);
    Update::parse(frame.body, dialect).unwrap()
}

/// An UPDATE with these attributes and one IPv4 route.
fn with_attributes(attributes: &[u8]) -> Vec<u8> {
    let body = [&[0, 0], &length(attributes.len())[..], attributes, &[24, 192, 0, 2]].concat();
    frame(MessageType::Update, &body)
}

const ORIGIN_AND_NEXT_HOP: [u8; 11] = [0x40, 1, 1, 0, 0x40, 3, 4, 10, 0, 0, 1];
const PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];

/// The flaw, if any, and how many attributes are discarded; or why the session is reset.
type Judged = Result<(Option<Flaw>, usize), ErrorCode>;

fn verdict(attribute: &[u8], dialect: &Dialect) -> Judged {
    let message = with_attributes(&[&ORIGIN_AND_NEXT_HOP[..], &PATH[..], attribute].concat());
    match Update::parse(whole(&message).body, dialect) {
        Ok(update) => Ok((update.treat_as_withdraw, update.discarded)),
        Err(DecodeError(notification)) => Err(notification.error),
    }
}

#[test]
fn a_header_is_judged_before_its_body_has_come() {
    let mut message = keepalive();
    message[16] = 5;
    assert!(Frame::split(&message[..18]).unwrap().is_none());
    let DecodeError(told) = Frame::split(&message).unwrap_err();
    assert_eq!(told, Notification::about(ErrorCode::BAD_MESSAGE_LENGTH, &[5, 19]));
    let update = frame(MessageType::Update, &[0; 4]);
    assert_eq!(Frame::split(&update[..22]), Ok(None));
    assert_eq!(whole(&update).body, [0; 4]);
}

#[test]
fn each_message_has_its_lengths() {
    let least = [(1, 29), (2, 23), (3, 19), (4, 19), (5, 19)];
    let most = [(1, 4096), (2, 4096), (3, 4096), (4, 19), (5, 4096)];
    for ((kind, least), (_, most)) in least.into_iter().zip(most) {
        for length in 0..=5000u16 {
            let mut header = [0xff; 19];
            header[16..18].copy_from_slice(&length.to_be_bytes());
            header[18] = kind;
            let allowed = Frame::split(&header).is_ok();
            assert_eq!(allowed, (least..=most).contains(&length), "type {kind} length {length}");
        }
    }
}

#[test]
fn only_five_types_of_message_exist() {
    for kind in (0..=u8::MAX).filter(|kind| !(1..=5).contains(kind)) {
        let mut header = [0xff; 19];
        header[16..].copy_from_slice(&[0, 19, kind]);
        let DecodeError(told) = Frame::split(&header).unwrap_err();
        assert_eq!(told, Notification::about(ErrorCode::BAD_MESSAGE_TYPE, &[kind]));
    }
}

#[test]
fn a_refresh_of_another_length_is_returned_whole() {
    for (body, bad) in [(&[0, 1, 0, 1][..], false), (&[0, 1, 0], true), (&[0, 1, 0, 1, 1], true), (&[], true)]
    {
        let message = frame(MessageType::RouteRefresh, body);
        match RouteRefresh::parse(&whole(&message)) {
            Ok(refresh) => assert_eq!((refresh.is_some(), bad), (true, false)),
            Err(DecodeError(told)) => {
                assert_eq!(told, Notification::about(ErrorCode::INVALID_REFRESH_LENGTH, &message));
                assert!(bad);
            }
        }
    }
}

#[test]
fn a_refresh_that_means_nothing_to_us_is_ignored() {
    for body in [[0, 1, 3, 1], [0, 3, 0, 1], [0, 1, 0, 128]] {
        let message = frame(MessageType::RouteRefresh, &body);
        assert_eq!(RouteRefresh::parse(&whole(&message)), Ok(None));
    }
}

/// RFC 7606 §7: attribute by attribute, from an external peer that knows four octets.
#[test]
fn malformed_attributes_cost_no_more_than_rfc_7606_says() {
    use Flaw::Malformed;
    let withdraw = |kind| Ok((Some(Malformed(kind)), 0));
    let (sound, discard) = (Ok((None, 0)), Ok((None, 1)));
    let cases: &[(&[u8], Judged)] = &[
        (&[0x80, 4, 4, 0, 0, 0, 1], sound),
        (&[0x80, 4, 3, 0, 0, 1], withdraw(4)),
        (&[0x40, 4, 4, 0, 0, 0, 1], withdraw(4)),
        (&[0x40, 5, 4, 0, 0, 0, 1], discard),
        (&[0x40, 5, 1, 0], discard),
        (&[0x40, 6, 0], sound),
        (&[0x40, 6, 1, 0], discard),
        (&[0xc0, 7, 8, 0, 0, 0xfd, 0xe9, 10, 0, 0, 1], sound),
        (&[0xc0, 7, 6, 0xfd, 0xe9, 10, 0, 0, 1], discard),
        (&[0xc0, 7, 8, 0, 0, 0, 0, 10, 0, 0, 1], discard),
        (&[0xc0, 8, 4, 0, 0, 0, 1], sound),
        (&[0xe0, 8, 4, 0, 0, 0, 1], sound),
        (&[0xc0, 8, 0], withdraw(8)),
        (&[0xc0, 8, 5, 0, 0, 0, 0, 1], withdraw(8)),
        (&[0x80, 9, 1, 0], discard),
        (&[0x80, 10, 0], discard),
        (&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0], withdraw(16)),
        (&[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], discard),
        (&[0xc0, 18, 8, 0, 0, 0, 1, 0, 0, 0, 0], discard),
        (&[0xc0, 22, 4, 0, 0, 0, 0], withdraw(22)),
        (&[0xc0, 23, 4, 0, 8, 0, 1], withdraw(23)),
        (&[0xc0, 25, 8, 0, 0, 0, 0, 0, 0, 0, 0], withdraw(25)),
        (&[0x80, 26, 3, 1, 0, 11], discard),
        (&[0x80, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1], sound),
        (&[0xc0, 32, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], withdraw(32)),
        (&[0xc0, 35, 3, 0, 0, 1], withdraw(35)),
        (&[0xc0, 40, 2, 1, 0], discard),
        (&[0xc0, 128, 3, 0, 0, 1], withdraw(128)),
        (&[0xc0, 99, 1, 7], sound),
        (&[0x80, 99, 1, 7], sound),
        (&[0x40, 99, 1, 7], Err(ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE)),
        (&[0xc0, 8, 9, 0, 0], Ok((Some(Flaw::Overrun), 0))),
        (&[0xc0], Ok((Some(Flaw::Overrun), 0))),
        (&[0x40, 1, 1, 9], Ok((None, 1))),
        (&[0x80, 14, 3, 0, 2, 1], Err(ErrorCode::OPTIONAL_ATTRIBUTE)),
        (&[0x80, 14, 5, 0, 25, 70, 0, 0], discard),
        (&[0x80, 15, 4, 0, 2, 1, 129], Err(ErrorCode::OPTIONAL_ATTRIBUTE)),
        (&[0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1], Err(ErrorCode::MALFORMED_ATTRIBUTE_LIST)),
    ];
    for (attribute, expected) in cases {
        assert_eq!(verdict(attribute, &modern()), *expected, "{attribute:02x?}");
    }
}

#[test]
fn attributes_for_internal_peers_are_judged_there() {
    let internal = dialect(AsNumbers::FourOctets, Neighbour::Internal);
    let withdraw = |kind| Ok((Some(Flaw::Malformed(kind)), 0));
    assert_eq!(verdict(&[0x40, 5, 4, 0, 0, 0, 100], &internal), Ok((None, 0)));
    assert_eq!(verdict(&[0x40, 5, 1, 0], &internal), withdraw(5));
    assert_eq!(verdict(&[0x80, 9, 3, 0, 0, 0], &internal), withdraw(9));
    assert_eq!(verdict(&[0x80, 10, 3, 0, 0, 0], &internal), withdraw(10));
}

#[test]
fn a_path_is_sound_only_in_the_width_that_was_agreed() {
    let path = |octets: &[u8], numbers| {
        let attribute = [&[0x40, 2, u8::try_from(octets.len()).unwrap()], octets].concat();
        let message = with_attributes(&[&ORIGIN_AND_NEXT_HOP[..], &attribute].concat());
        update(&message, &dialect(numbers, Neighbour::External)).treat_as_withdraw.is_none()
    };
    use AsNumbers::{FourOctets, TwoOctets};
    assert!(path(&[], TwoOctets) && path(&[], FourOctets));
    assert!(path(&[2, 1, 0xfd, 0xe9], TwoOctets) && !path(&[2, 1, 0xfd, 0xe9], FourOctets));
    assert!(path(&[1, 1, 0, 0, 0, 1, 2, 1, 0, 0, 0, 2], FourOctets));
    for (name, octets) in [
        ("no numbers", &[2, 0][..]),
        ("confederation", &[3, 1, 0, 0, 0, 1]),
        ("unknown segment", &[5, 1, 0, 0, 0, 1]),
        ("cut short", &[2, 2, 0, 0, 0, 1]),
        ("half a header", &[2, 1, 0, 0, 0, 1, 2]),
        ("number zero", &[2, 1, 0, 0, 0, 0]),
    ] {
        assert!(!path(octets, FourOctets), "{name}");
    }
}

#[test]
fn a_route_without_origin_path_or_next_hop_counts_as_withdrawn() {
    let (origin, next_hop) = ORIGIN_AND_NEXT_HOP.split_at(4);
    for (missing, attributes) in
        [(1, [next_hop, &PATH].concat()), (3, [origin, &PATH].concat()), (2, [origin, next_hop].concat())]
    {
        let message = with_attributes(&attributes);
        assert_eq!(update(&message, &modern()).treat_as_withdraw, Some(Flaw::Missing(missing)));
    }
    assert_eq!(update(&end_of_rib(Family::Ipv6Unicast), &modern()).treat_as_withdraw, None);
}

/// VU#347067: whatever one optional transitive attribute says, the session stays.
#[test]
fn no_optional_attribute_resets_the_session_but_the_two_of_rfc_4760() {
    for kind in 0..=u8::MAX {
        for flags in [0x80, 0x90, 0xc0, 0xd0, 0xe0, 0xf0u8] {
            for length in [0usize, 1, 2, 3, 4, 5, 8, 9, 12, 20, 255, 1024] {
                let header = match u8::try_from(length) {
                    Ok(length) if flags & 0x10 == 0 => vec![flags, kind, length],
                    _ => [&[flags | 0x10, kind], &super::length(length)[..]].concat(),
                };
                let attribute = [header, vec![0xa5; length]].concat();
                match verdict(&attribute, &modern()) {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(kind == 14 || kind == 15, "attribute {kind}: {error}");
                        assert_eq!(error, ErrorCode::OPTIONAL_ATTRIBUTE);
                    }
                }
            }
        }
    }
}

#[test]
fn a_full_message_is_full_and_not_fuller() {
    let path =
        |next_hop| PathAttributes { as_path: vec![Asn::parse(65001).unwrap()], next_hop, local_pref: None };
    let v4 = NextHop::V4(Ipv4Addr::new(10, 0, 0, 1));
    let v6 = NextHop::V6 { global: Ipv6Addr::LOCALHOST, link_local: None };
    let drafts = [
        (Draft::announce(&modern(), &path(v4)), 4096, "10.0.0.0/32"),
        (Draft::announce(&modern(), &path(v6)), 4096, "2001:db8::/128"),
        (Draft::withdraw(Family::Ipv4Unicast), 4096, "10.0.0.0/32"),
        (Draft::withdraw(Family::Ipv6Unicast), 4096, "2001:db8::/128"),
    ];
    for (mut draft, most, prefix) in drafts {
        let prefix: IpNetwork = prefix.parse().unwrap();
        let mut count = 0;
        while draft.push(prefix).is_ok() {
            count += 1;
        }
        let length = draft.emit().len();
        let one = 1 + usize::from(prefix.prefix()) / 8;
        assert!(length <= most && length + one > most, "{count} prefixes make {length} octets");
    }
}

fn asn() -> impl Strategy<Value = Asn> {
    let any = prop_oneof![1u32..70_000, any::<u32>()];
    any.prop_filter_map("reserved", |number| Asn::parse(number).ok())
}

fn v4() -> impl Strategy<Value = IpNetwork> {
    (any::<u32>(), 0u8..=32)
        .prop_map(|(bits, length)| masked(IpNetwork::new(Ipv4Addr::from(bits).into(), length).unwrap()))
}

fn v6() -> impl Strategy<Value = IpNetwork> {
    (any::<u128>(), 0u8..=128)
        .prop_map(|(bits, length)| masked(IpNetwork::new(Ipv6Addr::from(bits).into(), length).unwrap()))
}

fn open() -> impl Strategy<Value = Open> {
    let families = prop::option::of(prop::sample::subsequence(Family::ALL.to_vec(), 1..=2));
    let asn = prop::option::of(1u32..);
    let hold = (0u16..).prop_filter_map("refused", |seconds| HoldTime::parse(seconds).ok());
    (1u16.., hold, 1u32.., families, any::<bool>(), asn).prop_map(
        |(my_as, hold_time, id, families, route_refresh, asn)| Open {
            my_as,
            hold_time,
            router_id: RouterId::parse(id.into()).unwrap(),
            capabilities: Capabilities { families: families.map(BTreeSet::from_iter), route_refresh, asn },
        },
    )
}

fn numbers() -> impl Strategy<Value = AsNumbers> {
    prop_oneof![Just(AsNumbers::TwoOctets), Just(AsNumbers::FourOctets)]
}

fn announcement() -> impl Strategy<Value = (PathAttributes, Vec<IpNetwork>)> {
    let v4_hop = any::<u32>().prop_map(|bits| NextHop::V4(bits.into()));
    let v6_hop = (any::<u128>(), prop::option::of(any::<u128>())).prop_map(|(global, link_local)| {
        NextHop::V6 { global: global.into(), link_local: link_local.map(Ipv6Addr::from) }
    });
    let routes = prop_oneof![
        (v4_hop, prop::collection::vec(v4(), 1..200)),
        (v6_hop, prop::collection::vec(v6(), 1..200)),
    ];
    (prop::collection::vec(asn(), 0..5), prop::option::of(any::<u32>()), routes).prop_map(
        |(as_path, local_pref, (next_hop, prefixes))| {
            (PathAttributes { as_path, next_hop, local_pref }, prefixes)
        },
    )
}

/// The path as the receiver puts it together (RFC 6793 §4.2.3).
fn received_path(update: &Update<'_>, numbers: AsNumbers) -> Vec<u32> {
    let (kind, width) = match (update.attribute(attribute::AS4_PATH), numbers) {
        (Some(_), _) => (attribute::AS4_PATH, 4),
        (None, AsNumbers::FourOctets) => (attribute::AS_PATH, 4),
        (None, AsNumbers::TwoOctets) => (attribute::AS_PATH, 2),
    };
    let segment = update.attribute(kind).unwrap();
    let numbers = segment.get(2..).unwrap_or_default().chunks(width);
    numbers.map(|number| number.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet))).collect()
}

proptest! {
    #[test]
    fn an_open_is_read_as_it_was_written(open in open()) {
        let message = open.emit();
        let frame = whole(&message);
        prop_assert_eq!(frame.kind, MessageType::Open);
        prop_assert_eq!(Open::parse(frame.body), Ok(open));
    }

    #[test]
    fn a_notification_is_read_as_it_was_written(code: u8, subcode: u8, data in prop::collection::vec(any::<u8>(), 0..200)) {
        let notification = Notification::about(ErrorCode { code, subcode }, &data);
        let message = notification.emit();
        prop_assert_eq!(Notification::parse(whole(&message).body), Ok(notification.clone()));
        prop_assert!(!notification.to_string().contains(char::is_control));
    }

    #[test]
    fn an_announcement_is_read_as_it_was_written((path, prefixes) in announcement(), numbers in numbers()) {
        let dialect = dialect(numbers, Neighbour::Internal);
        let mut draft = Draft::announce(&dialect, &path);
        let prefixes: Vec<_> = prefixes.into_iter().take_while(|prefix| draft.push(*prefix).is_ok()).collect();
        let message = draft.emit();
        prop_assert!(message.len() <= MAX_MESSAGE);
        let update = update(&message, &dialect);
        prop_assert_eq!((update.treat_as_withdraw, update.discarded), (None, 0));
        let (next_hop, nlri) = match update.mp_reach {
            Some(reach) => (reach.next_hop.to_vec(), reach.nlri.collect()),
            None => (update.attribute(attribute::NEXT_HOP).unwrap().to_vec(), update.nlri.collect::<Vec<_>>()),
        };
        prop_assert_eq!(nlri, prefixes);
        let expected = match path.next_hop {
            NextHop::V4(address) => address.octets().to_vec(),
            NextHop::V6 { global, link_local } => [Some(global), link_local].iter().flatten().flat_map(|address| address.octets()).collect(),
        };
        prop_assert_eq!(next_hop, expected);
        let local_pref = update.attribute(attribute::LOCAL_PREF).map(|value| u32::from_be_bytes(value.try_into().unwrap()));
        prop_assert_eq!(local_pref, path.local_pref);
        let as_path: Vec<_> = path.as_path.iter().map(|asn| asn.get()).collect();
        prop_assert_eq!(received_path(&update, numbers), as_path);
        // RFC 7606 §5.1
        let body = whole(&message).body;
        prop_assert!(update.mp_reach.is_none() || body[5] == attribute::MP_REACH_NLRI);
    }

    #[test]
    fn a_withdrawal_is_read_as_it_was_written(v4 in prop::collection::vec(v4(), 1..500), v6 in prop::collection::vec(v6(), 1..500)) {
        for (family, prefixes) in [(Family::Ipv4Unicast, v4), (Family::Ipv6Unicast, v6)] {
            let mut draft = Draft::withdraw(family);
            let prefixes: Vec<_> = prefixes.into_iter().take_while(|prefix| draft.push(*prefix).is_ok()).collect();
            let message = draft.emit();
            prop_assert!(message.len() <= MAX_MESSAGE);
            let update = update(&message, &modern());
            let unreach = update.mp_unreach.into_iter().flat_map(|unreach| unreach.withdrawn);
            prop_assert_eq!(update.withdrawn.chain(unreach).collect::<Vec<_>>(), prefixes);
            prop_assert_eq!(update.nlri.count(), 0);
        }
    }

    #[test]
    fn no_octets_make_the_parsers_panic(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let forms = [AsNumbers::TwoOctets, AsNumbers::FourOctets].map(|numbers| dialect(numbers, Neighbour::Internal));
        let framed = frame(MessageType::RouteRefresh, &octets);
        let _ignored = (Frame::split(&octets), Open::parse(&octets), Notification::parse(&octets), RouteRefresh::parse(&whole(&framed)));
        for dialect in forms {
            if let Ok(update) = Update::parse(&octets, &dialect) {
                let reach = update.mp_reach.map_or(0, |reach| reach.nlri.count());
                let unreach = update.mp_unreach.map_or(0, |unreach| unreach.withdrawn.count());
                // a prefix takes an octet at least, and what was parsed can be read
                prop_assert!(update.nlri.count() + update.withdrawn.count() + reach + unreach <= octets.len());
            }
        }
    }

    #[test]
    fn a_mutated_message_never_panics_and_never_grows(
        (path, prefixes) in announcement(), at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>(),
    ) {
        let mut draft = Draft::announce(&modern(), &path);
        let _fits = prefixes.iter().all(|prefix| draft.push(*prefix).is_ok());
        let mut body = draft.emit().split_off(HEADER);
        let place = at.index(body.len());
        body[place] = to;
        body.truncate(cut.index(body.len()) + 1);
        if let Ok(update) = Update::parse(&body, &modern()) {
            prop_assert!(update.nlri.chain(update.withdrawn).count() <= body.len());
        }
    }
}

/// What every message of a stream is, for tests.
pub(crate) fn messages(octets: &[u8]) -> Vec<(MessageType, Vec<u8>)> {
    let mut rest = octets;
    let mut messages = Vec::new();
    while let Some(frame) = Frame::split(rest).unwrap() {
        messages.push((frame.kind, frame.octets.to_vec()));
        rest = rest.get(frame.octets.len()..).unwrap();
    }
    assert!(rest.is_empty(), "half a message was emitted");
    messages
}

/// A router's table: what remains of routes after these UPDATEs, with next hop and LOCAL_PREF.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) routes: BTreeMap<IpNetwork, (Vec<u8>, Option<u32>)>,
    pub(crate) complete: Vec<Family>,
}

impl Learned {
    /// Gives the prefixes that this message withdrew and those that it announced.
    pub(crate) fn hear(&mut self, message: &[u8], dialect: &Dialect) -> (Vec<IpNetwork>, Vec<IpNetwork>) {
        let update = update(message, dialect);
        assert_eq!((update.treat_as_withdraw, update.discarded), (None, 0));
        self.complete.extend(update.end_of_rib());
        let unreach = update.mp_unreach.into_iter().flat_map(|unreach| unreach.withdrawn);
        let withdrawn: Vec<_> = update.withdrawn.chain(unreach).collect();
        withdrawn
            .iter()
            .for_each(|prefix| assert!(self.routes.remove(prefix).is_some(), "{prefix} was not there"));
        let reach = update.mp_reach.into_iter().flat_map(|reach| reach.nlri);
        let announced: Vec<_> = update.nlri.chain(reach).collect();
        let next_hop = update.mp_reach.map(|reach| reach.next_hop).or(update.attribute(attribute::NEXT_HOP));
        let local_pref = update
            .attribute(attribute::LOCAL_PREF)
            .map(|value| u32::from_be_bytes(value.try_into().unwrap()));
        for prefix in &announced {
            self.routes.insert(*prefix, (next_hop.unwrap().to_vec(), local_pref));
        }
        (withdrawn, announced)
    }
}

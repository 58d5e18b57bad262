use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::keys::Keyring;
use crate::{ClusterKey, Keys};

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn networks() -> impl Strategy<Value = IpNetwork> {
    (addresses(), 0u8..=32).prop_map(|(address, prefix)| IpNetwork::new(address, prefix).unwrap())
}

fn entries() -> impl Strategy<Value = Entry> {
    let state = prop_oneof![Just(ClaimState::Held), Just(ClaimState::Released)];
    (addresses(), any::<[u64; 3]>(), state).prop_map(|(address, [generation, epoch, node], state)| Entry {
        address,
        claim: Claim { generation, epoch, node: PeerId(node) },
        state,
    })
}

fn claims() -> impl Strategy<Value = Claims> {
    prop_oneof![
        vec(entries(), 0..MOST_CLAIMS).prop_map(Claims::Some),
        (any::<(u32, u16, u16)>(), vec(entries(), 0..MOST_CLAIMS))
            .prop_map(|((list, part, parts), entries)| Claims::All { list, part, parts, entries }),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    let reports =
        prop_oneof![Just(Report::Heard), Just(Report::Silent), Just(Report::Gone), Just(Report::Dead)];
    let wishes = prop_oneof![Just(Wish::Nothing), Just(Wish::Answer), Just(Wish::Claims)];
    let how = (1u32.., 1u8.., 0..=Condition::ALL, wishes);
    let who = (any::<[u8; 6]>(), prop::option::of(any::<[u8; 16]>()), any::<u64>());
    let lists =
        (vec(networks(), 0..=MOST_NETWORKS), vec((any::<u64>(), reports), 0..=MOST_REPORTS), claims());
    (how, who, lists).prop_map(|(how, (mac, echo, digest), (networks, reports, claims))| Message {
        interval: Duration::from_micros(how.0.into()),
        multiplier: how.1,
        condition: Condition(how.2),
        wish: how.3,
        mac: Mac::new(mac),
        echo: echo.map(Incarnation).filter(|echo| *echo != NOBODY),
        digest,
        concern: digest.rotate_left(1),
        networks,
        reports: reports.into_iter().map(|(peer, report)| (PeerId(peer), report)).collect(),
        claims,
    })
}

fn key(name: &NodeName, life: Incarnation) -> SenderKey {
    Keyring::new(&Keys { primary: ClusterKey::new([1; 32]), secondary: None }).own(name, life).unwrap()
}

proptest! {
    #[test]
    fn what_is_emitted_is_read_back(message in messages(), sequence: u64, life: [u8; 16], name in "[a-z0-9.-]{1,253}") {
        let (life, name) = (Incarnation(life), NodeName::new(&name));
        let key = key(&name, life);
        let mut datagram = emit(&key, life, sequence, &name, &message).unwrap();
        let header = header(&datagram).unwrap();
        prop_assert_eq!((header.incarnation, header.sequence, &header.name), (life, sequence, &name));
        let (clear, body) = datagram.split_at_mut(header.length);
        let body = key.open(sequence, clear, body).unwrap();
        prop_assert_eq!(Message::parse(body), Ok(message));
    }

    #[test]
    fn no_octets_are_read_in_vain_or_without_bound(octets in vec(any::<u8>(), 0..200)) {
        let read = header(&octets).map_or(0, |header| header.length);
        prop_assert!(read <= octets.len());
        if let Ok(message) = Message::parse(&octets) {
            let mut out = Vec::new();
            message.emit(&mut out).unwrap();
            prop_assert_eq!(Message::parse(&out), Ok(message));
        }
    }

    #[test]
    fn a_cut_message_is_malformed(message in messages(), cut in 1usize..40) {
        let mut out = Vec::new();
        message.emit(&mut out).unwrap();
        out.truncate(out.len().saturating_sub(cut));
        prop_assert!(Message::parse(&out).is_err());
    }
}

/// The longest name, and as many of everything as there may be.
#[test]
fn the_longest_datagram_passes_every_link_and_has_room_for_claims() {
    let name = NodeName::new("n".repeat(253));
    let network = IpNetwork::new("2001:db8::1".parse().unwrap(), 64).unwrap();
    let entry = Entry {
        address: "2001:db8::1".parse().unwrap(),
        claim: Claim { generation: 1, epoch: 1, node: PeerId(1) },
        state: ClaimState::Held,
    };
    let mut message = Message {
        interval: Duration::from_millis(40),
        multiplier: 3,
        condition: Condition::default(),
        wish: Wish::Nothing,
        mac: Mac::ZERO,
        echo: None,
        digest: 0,
        concern: 0,
        networks: vec![network; MOST_NETWORKS],
        reports: vec![(PeerId(1), Report::Heard); MOST_REPORTS],
        claims: Claims::Some(Vec::new()),
    };
    let fit = room(&name, &message) / entry.length();
    assert!(fit >= 8, "{fit}");
    message.claims = Claims::All { list: 1, part: 1, parts: 1, entries: vec![entry; fit] };
    let life = Incarnation([1; 16]);
    let datagram = emit(&key(&name, life), life, 1, &name, &message).unwrap();
    assert!(datagram.len() <= LONGEST && datagram.len() + entry.length() > LONGEST, "{}", datagram.len());
    let short = NodeName::new("node-1");
    let room = room(&short, &Message { networks: Vec::new(), reports: Vec::new(), ..message });
    assert!(room / entry.length() <= MOST_CLAIMS);
}

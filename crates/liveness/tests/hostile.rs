//! What others send: it is counted, and nothing else comes of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use liveness::{
    Carrier, ClusterKey, Counters, Incarnation, Keys, Link, Member, Node, Output, Pace, Standing,
};
use names::{Mac, NodeName};

const MS: Duration = Duration::from_millis(1);
const PACE: Pace =
    Pace { interval: Duration::from_millis(40), multiplier: 3, cover: Duration::from_secs(10) };

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn keys(octet: u8) -> Keys {
    Keys { primary: ClusterKey::new([octet; 32]), secondary: None }
}

/// The speaker of node 1 or 2, which knows the other.
fn speaker(number: u8, life: u8, key: u8, now: Instant) -> Node {
    let name = |number: u8| NodeName::new(format!("n{number}"));
    let mut node = Node::new(name(number), Incarnation([life; 16]), PACE, u64::from(life), now);
    let other = 3 - number;
    node.set_keys(now, &keys(key));
    let member = Member { address: address(other), mac: None };
    node.set_members(now, BTreeMap::from([(name(other), member)]));
    node
}

fn sent(node: &mut Node, now: Instant) -> Vec<Vec<u8>> {
    node.handle_timeout(now);
    let mut datagrams = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Send { datagram, .. } = output {
            datagrams.push(datagram);
        }
    }
    datagrams
}

fn hand(node: &mut Node, now: Instant, datagrams: &[Vec<u8>]) {
    datagrams.iter().for_each(|datagram| node.handle_datagram(now, &mut datagram.clone()));
}

/// Time passes for both, and everything arrives; what the second sent to the first.
fn talk(one: &mut Node, other: &mut Node, now: &mut Instant, beats: u32) -> Vec<Vec<u8>> {
    let mut of_other = Vec::new();
    for _ in 0..beats {
        *now += 20 * MS;
        let (from_one, from_other) = (sent(one, *now), sent(other, *now));
        hand(other, *now, &from_one);
        hand(one, *now, &from_other);
        of_other.extend(from_other);
    }
    of_other
}

fn standing(node: &Node) -> Standing {
    node.peers().next().map_or(Standing::Unheard, |peer| peer.standing)
}

#[expect(clippy::disallowed_methods, reason = "time has to begin somewhere")]
fn begin() -> Instant {
    Instant::now()
}

/// Two that hear each other, and all that the second sent to the first.
fn acquainted() -> (Node, Node, Instant, Vec<Vec<u8>>) {
    let mut now = begin();
    let (mut one, mut other) = (speaker(1, 1, 7, now), speaker(2, 2, 7, now));
    let of_other = talk(&mut one, &mut other, &mut now, 20);
    assert_eq!(standing(&one), Standing::Alive);
    (one, other, now, of_other)
}

/// What was counted of one kind, and that nothing else was, nor believed.
fn refused(node: &mut Node, now: Instant, datagrams: &[Vec<u8>], kind: impl Fn(&Counters) -> u64) -> u64 {
    let (before, was) = (node.counters().clone(), standing(node));
    hand(node, now, datagrams);
    assert_eq!(node.counters().heard, before.heard);
    assert_eq!(standing(node), was);
    kind(node.counters()) - kind(&before)
}

#[test]
fn a_heartbeat_that_is_replayed_in_the_same_life_is_counted_and_no_more() {
    let (mut one, _, now, of_other) = acquainted();
    let count = u64::try_from(of_other.len()).expect("they are few");
    // The first were said to nobody: to a life that was not known yet.
    let replayed = refused(&mut one, now, &of_other, |c| c.replayed + c.unechoed);
    assert_eq!(replayed, count);
}

#[test]
fn what_was_said_to_an_earlier_life_means_nothing_to_the_next_one() {
    let (_, _, now, of_other) = acquainted();
    let mut reborn = speaker(1, 3, 7, now);
    let unechoed = refused(&mut reborn, now, &of_other, |c| c.unechoed);
    assert_eq!(unechoed, u64::try_from(of_other.len()).expect("they are few"));
    assert_eq!(standing(&reborn), Standing::Unheard);
}

#[test]
fn a_life_that_has_ended_says_nothing_any_more() {
    let (mut one, mut other, mut now, _) = acquainted();
    let late: Vec<_> = (0..5)
        .flat_map(|_| {
            now += 40 * MS;
            sent(&mut other, now)
        })
        .collect();
    let mut reborn = speaker(2, 4, 7, now);
    talk(&mut one, &mut reborn, &mut now, 20);
    assert_eq!(standing(&one), Standing::Alive);
    assert_eq!(refused(&mut one, now, &late, |c| c.replayed), 5);
}

#[test]
fn what_is_sealed_with_another_key_is_forged() {
    let (mut one, _, mut now, _) = acquainted();
    let mut foreign = speaker(2, 5, 8, now);
    let mut forged = Vec::new();
    for _ in 0..5 {
        now += 40 * MS;
        forged.extend(sent(&mut foreign, now));
    }
    let count = forged.len();
    assert!(count > 0);
    assert_eq!(refused(&mut one, now, &forged, |c| c.forged), u64::try_from(count).expect("they are few"));
}

#[test]
fn what_was_changed_on_the_way_is_not_believed_whatever_was_changed() {
    let (mut one, mut other, now, _) = acquainted();
    let now = now + 40 * MS;
    let whole = sent(&mut other, now).remove(0);
    for octet in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[octet] ^= 1 << bit;
            let kinds = |c: &Counters| c.forged + c.malformed + c.strangers + c.replayed + c.unechoed;
            assert_eq!(refused(&mut one, now, &[changed], kinds), 1, "octet {octet}, bit {bit}");
        }
    }
    let heard = one.counters().heard;
    hand(&mut one, now, &[whole]);
    assert_eq!(one.counters().heard, heard + 1, "and what was not changed is");
}

#[test]
fn what_is_cut_short_or_too_long_is_not_believed() {
    let (mut one, mut other, now, _) = acquainted();
    let now = now + 40 * MS;
    let whole = sent(&mut other, now).remove(0);
    let kinds = |c: &Counters| c.forged + c.malformed;
    for length in 0..whole.len() {
        assert_eq!(refused(&mut one, now, &[whole[..length].to_vec()], kinds), 1, "{length} octets");
    }
    let long = [whole.as_slice(), &[0; 40]].concat();
    assert_eq!(refused(&mut one, now, &[long], kinds), 1);
}

#[test]
fn whoever_is_no_member_is_a_stranger_even_with_the_key() {
    let (mut one, _, mut now, _) = acquainted();
    let mut stranger = Node::new(NodeName::new("n9"), Incarnation([9; 16]), PACE, 9, now);
    stranger.set_keys(now, &keys(7));
    stranger
        .set_members(now, BTreeMap::from([(NodeName::new("n1"), Member { address: address(1), mac: None })]));
    let mut words = Vec::new();
    for _ in 0..5 {
        now += 40 * MS;
        words.extend(sent(&mut stranger, now));
    }
    let count = words.len();
    assert!(count > 0);
    assert_eq!(refused(&mut one, now, &words, |c| c.strangers), u64::try_from(count).expect("they are few"));
}

/// How the second speaker stands with the first some time after its last heartbeat, if this station answers for it.
fn found(station: Mac) -> Standing {
    let mut now = begin();
    let (mut one, mut other) = (speaker(1, 1, 7, now), speaker(2, 2, 7, now));
    other.set_link(
        now,
        Link { mac: Mac::new([2, 0, 0, 0, 0, 2]), carrier: Carrier::Up, networks: Vec::new() },
    );
    talk(&mut one, &mut other, &mut now, 20);
    for _ in 0..100 {
        now += 10 * MS;
        one.handle_timeout(now);
        let outputs: Vec<_> = std::iter::from_fn(|| one.poll_output()).collect();
        if outputs.contains(&Output::Ask(address(2))) {
            one.handle_answer(now + MS, address(2), station);
        }
    }
    standing(&one)
}

#[test]
fn a_stranger_who_answers_for_a_node_that_is_dead_does_not_make_it_live() {
    assert_eq!(found(Mac::new([2, 0, 0, 0, 0, 2])), Standing::Gone);
    assert_eq!(found(Mac::new([2, 0, 0, 0, 0, 9])), Standing::Dead);
}

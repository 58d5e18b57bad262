//! Everything that can come to a speaker: datagrams of strangers, and whatever the speakers of two other nodes may say
//! once they are believed, with time, answers and elections in between.
//!
//! The input is a sequence of events: one octet says what it is, one how long its data is, and the data follows. No
//! answer may be given for an address that no election was about, and nothing may be asked for or sent without end.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use liveness::{Answer, Ballot, ClusterKey, Incarnation, Keys, Member, Node, Output, Pace, Recorded};
use names::{Mac, NodeName};

const LIFE: Incarnation = Incarnation([9; 16]);
const PEERS: [&str; 2] = ["n2", "n3"];
const ADDRESSES: [[u8; 4]; 3] = [[10, 0, 0, 100], [10, 0, 0, 101], [10, 0, 0, 102]];
/// Where a heartbeat names the life of its receiver.
const ECHO: std::ops::Range<usize> = 13..29;
/// Far more than one event can be a reason for.
const MOST_OUTPUTS: usize = 2000;

fn keys() -> Keys {
    Keys { primary: ClusterKey::new([1; 32]), secondary: None }
}

fn node(now: Instant) -> Node {
    let pace = Pace { interval: Duration::from_millis(40), multiplier: 3, cover: Duration::from_secs(10) };
    let mut node = Node::new(NodeName::new("n1"), LIFE, pace, 1, now);
    node.set_keys(now, &keys());
    let member = |(last, name): (u8, &str)| {
        (NodeName::new(name), Member { address: IpAddr::from([10, 0, 0, last]), mac: None })
    };
    node.set_members(now, (2..).zip(PEERS).map(member).collect::<BTreeMap<_, _>>());
    node.set_witnesses(now, &BTreeSet::from([IpAddr::from([10, 0, 0, 254])]));
    node
}

fn address(choice: u8) -> IpAddr {
    let place = usize::from(choice) % (ADDRESSES.len() + 2);
    let peers_own = [10, 0, 0, choice % 4];
    IpAddr::from(ADDRESSES.get(place).copied().unwrap_or(peers_own))
}

/// Elected by these nodes, in an order that the octet gives.
fn ballot(choice: u8) -> Ballot {
    let all = ["n1", "n2", "n3"];
    let ranked = (0..3).map(|place| NodeName::new(all[(usize::from(choice) + place) % 3]));
    let recorded = (choice & 8 != 0).then_some(Recorded { generation: u64::MAX, epoch: u64::MAX });
    let displaces = choice & 4 != 0;
    Ballot {
        generation: u64::from(choice >> 4),
        displaces,
        ranked: ranked.take(usize::from(choice & 3)).collect(),
        recorded,
    }
}

struct Run {
    node: Node,
    now: Instant,
    sequence: u64,
    elected: BTreeSet<IpAddr>,
    answers: BTreeMap<IpAddr, Answer>,
}

impl Run {
    fn event(&mut self, kind: u8, data: &[u8]) {
        let first = data.first().copied().unwrap_or_default();
        let mac = Mac::new([2, 0, 0, 0, 0, data.get(1).copied().unwrap_or_default()]);
        self.node.handle_wake(self.now);
        match kind % 6 {
            0 => self.node.handle_datagram(self.now, &mut data.to_vec()),
            1 => self.heartbeat(first, data.get(1..).unwrap_or_default()),
            2 => self.now += Duration::from_millis(u64::from(first)),
            3 => self.node.handle_answer(self.now, address(first), mac),
            4 => self.node.handle_foreign(self.now, address(first), mac),
            _ => {
                let ballot = ballot(data.get(1).copied().unwrap_or_default());
                let taken = data.len() > 2;
                let address = address(first);
                if taken {
                    self.elected.remove(&address);
                } else {
                    self.elected.insert(address);
                }
                self.node.set_ballot(self.now, address, (!taken).then_some(&ballot));
            }
        }
        self.node.handle_timeout(self.now);
        self.take_outputs();
    }

    /// A peer says this, and is believed: it names this life, and seals with the cluster's key.
    fn heartbeat(&mut self, choice: u8, body: &[u8]) {
        let mut body = body.to_vec();
        if let Some(echo) = body.get_mut(ECHO) {
            echo.copy_from_slice(&LIFE.0);
        }
        let peer = NodeName::new(PEERS[usize::from(choice & 1)]);
        let life = Incarnation([choice >> 1; 16]);
        self.sequence += 1;
        let sealed = liveness::fuzzing::seal(&peer, life, &keys(), self.sequence, &body);
        self.node.handle_datagram(self.now, &mut sealed.expect("it can be sealed"));
    }

    fn take_outputs(&mut self) {
        let mut count = 0;
        while let Some(output) = self.node.poll_output() {
            count += 1;
            assert!(count < MOST_OUTPUTS, "it goes on and on");
            if let Output::Answer { address, answer } = output {
                self.answers.insert(address, answer);
            }
        }
        for (address, answer) in &self.answers {
            assert!(*answer == Answer::Silent || self.elected.contains(address), "{address}: {answer:?}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mut run =
        Run { node: node(now), now, sequence: 0, elected: BTreeSet::new(), answers: BTreeMap::new() };
    let mut rest = input;
    while let [kind, length, data @ ..] = rest {
        let (data, next) = data.split_at(data.len().min(usize::from(*length)));
        run.event(*kind, data);
        rest = next;
    }
    liveness::fuzzing::round_trip(input);
});

//! One speaker on one interface.

mod claims;
mod election;
mod hearing;
mod isolation;
mod sending;
mod standing;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use names::{Mac, NodeName};

use crate::ids::{Claim, PeerId, Recorded};
use crate::keys::{Keyring, SenderKey};
use crate::peer::Peer;
use crate::{Incarnation, Keys};
use isolation::Isolation;
pub use status::{Counters, Direct, Ownership, PeerStatus};

/// How fast silence is noticed, and for how long a lost speaker is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one heartbeat to the next, at most; they come after 75 to 100 % of it.
    pub interval: Duration,
    /// So many intervals of silence mean that a speaker is gone.
    pub multiplier: u8,
    /// For how long the addresses of a speaker that is gone from a living node stay with that node.
    pub cover: Duration,
}

impl Pace {
    /// After so long a silence a speaker is gone.
    pub fn detection(&self) -> Duration {
        self.interval * u32::from(self.multiplier)
    }
}

/// Who may answer for an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Of the placement; 0 where there is none.
    pub generation: u64,
    /// Whether an owner under an older placement has to give way to the first in rank: not where the placement only
    /// says where the address had gone by then.
    pub displaces: bool,
    /// In this order; empty: nobody.
    pub ranked: Vec<NodeName>,
    /// The greatest claim that is on record outside of the segment: a new one is greater, also if everybody has
    /// forgotten it.
    pub recorded: Option<Recorded>,
}

/// Another speaker on the segment, as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached.
    pub address: IpAddr,
    /// The MAC of that, if it is known.
    pub mac: Option<Mac>,
}

/// The interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its MAC.
    pub mac: Mac,
    /// Whether frames can pass.
    pub carrier: Carrier,
    /// Its addresses, with the networks that they are in.
    pub networks: Vec<IpNetwork>,
}

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// They can.
    Up,
    /// They cannot: nothing is answered or claimed.
    Down,
}

/// Whether the node forwards what comes to a Service's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataPath {
    /// As far as it is known.
    #[default]
    Ready,
    /// It does not; it answers only for what no other node can.
    Broken,
}

/// How the speaker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It will be back on the same node soon: its addresses are to be covered.
    Restart,
    /// The node leaves: its addresses are to be taken over.
    Leave,
}

/// What an address is answered with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answer {
    /// This node's own MAC: it owns the address and announces it.
    Owned,
    /// The MAC of the owner, whose speaker is away.
    Cover(Mac),
    /// Nothing.
    #[default]
    Silent,
}

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram to UDP port 7973 of this address.
    Send {
        /// Where to.
        to: IpAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// Ask by ARP or NDP who has this address, and hand in what answers to [`Node::handle_answer`].
    Ask(IpAddr),
    /// From now on an address is answered with this.
    Answer {
        /// The address.
        address: IpAddr,
        /// With what.
        answer: Answer,
    },
    /// Announce an owned address again: somebody else did.
    Announce(IpAddr),
    /// This node claims an address from now on, or claims it anew; [`Node::ownership`] tells how.
    Claimed(IpAddr),
}

/// Why this node owns an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nobody did.
    New,
    /// It was placed here.
    Placed,
    /// The owner's node is gone.
    NodeDead(NodeName),
    /// The owner's speaker is gone, and was for as long as it was covered.
    SpeakerDead(NodeName),
    /// The owner gave it away: it leaves, or may not answer any more.
    Parted(NodeName),
    /// The owner is cut off, by its own word.
    Isolated(NodeName),
    /// It did before this speaker was restarted, or was cut off.
    Resumed,
    /// Another owned it too, and this claim is greater.
    Contested(NodeName),
}

/// What is known about one address.
#[derive(Debug, Default)]
struct Address {
    ballot: Option<Ranked>,
    /// The claims of others, one of each.
    others: Vec<Claim>,
    mine: Option<Mine>,
    /// This node's claim from an earlier life, or from before it was cut off.
    recalled: Option<Claim>,
    /// The greatest claim that was ever heard of.
    highest: Option<Claim>,
    answer: Answer,
    /// The claim of an owner that is gone, and why it is.
    lost: Option<(Claim, Cause)>,
    /// Since when there is no owner that stands.
    vacant: Option<Instant>,
    /// When to look again.
    wait: Option<Instant>,
    /// The question whether anybody answers, asked before or with a claim.
    asked: Option<Instant>,
    /// A speaker whose heartbeats are lost was seen to answer.
    seen: Option<(PeerId, Instant)>,
    /// This node may answer no longer, since then, and nobody has taken over yet.
    parting: Option<Instant>,
}

#[derive(Debug)]
struct Ranked {
    generation: u64,
    displaces: bool,
    nodes: Vec<PeerId>,
    recorded: Option<Recorded>,
}

#[derive(Debug, Clone)]
struct Mine {
    claim: Claim,
    since: Instant,
    cause: Cause,
    /// Those that may claim the address too, and are told.
    concerned: Vec<PeerId>,
}

/// Whether this speaker may claim yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has started or thawed, and learns who claims what.
    Listening {
        until: Instant,
        at_most: Instant,
    },
    Active,
}

/// This speaker on one interface.
#[derive(Debug)]
pub struct Node {
    name: NodeName,
    id: PeerId,
    pace: Pace,
    incarnation: Incarnation,
    keyring: Option<Keyring>,
    key: Option<SenderKey>,
    sequence: u64,
    link: Link,
    data_path: DataPath,
    departure: Option<Departure>,
    phase: Phase,
    isolation: Isolation,
    peers: BTreeMap<PeerId, Peer>,
    /// The speakers that watch, this one too, in the order of their numbers: each is watched by those behind it.
    ring: Vec<PeerId>,
    ring_changed: bool,
    /// Who was greeted last, of all that are known.
    greeted: PeerId,
    /// Those that this speaker watches.
    watched: BTreeSet<PeerId>,
    /// Those that are covered, and since when.
    covered: BTreeSet<(Instant, PeerId)>,
    /// When any speaker was last heard.
    heard_any: Option<Instant>,
    addresses: BTreeMap<IpAddr, Address>,
    waiting: BTreeSet<(Instant, IpAddr)>,
    /// What has to be decided again.
    dirty: BTreeSet<IpAddr>,
    all_dirty: bool,
    /// Owned here, and held by another too by a lesser claim: it may not know.
    rivalled: BTreeSet<IpAddr>,
    /// Whom to send what beside the next heartbeat.
    mail: sending::Mail,
    /// On whom a verdict is told to everybody just now.
    spreading: BTreeSet<PeerId>,
    digest: u64,
    /// The same over what concerns each of the others.
    concerns: BTreeMap<PeerId, u64>,
    /// How many heartbeats were due, and how many lists of claims sent.
    beats: u64,
    lists: u32,
    tick_at: Instant,
    /// When time was last known to pass.
    seen_at: Instant,
    /// No verdicts before this: the speaker itself was held up.
    hold_until: Option<Instant>,
    /// How much the speaker slows down, because it is held up.
    slow: standing::Slow,
    jitter: u64,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Node {
    /// A speaker that knows nothing yet. `incarnation` is 128 random bits that no life had before.
    pub fn new(name: NodeName, incarnation: Incarnation, pace: Pace, seed: u64, now: Instant) -> Self {
        let id = PeerId::of(&name);
        Self {
            name,
            id,
            pace,
            incarnation,
            keyring: None,
            key: None,
            sequence: 0,
            link: Link { mac: Mac::ZERO, carrier: Carrier::Up, networks: Vec::new() },
            data_path: DataPath::default(),
            departure: None,
            phase: Phase::Listening { until: now + pace.detection(), at_most: now + LISTEN_AT_MOST },
            isolation: Isolation::default(),
            peers: BTreeMap::new(),
            ring: vec![id],
            ring_changed: false,
            greeted: id,
            watched: BTreeSet::new(),
            covered: BTreeSet::new(),
            heard_any: None,
            addresses: BTreeMap::new(),
            waiting: BTreeSet::new(),
            dirty: BTreeSet::new(),
            all_dirty: false,
            rivalled: BTreeSet::new(),
            mail: sending::Mail::default(),
            spreading: BTreeSet::new(),
            digest: 0,
            concerns: BTreeMap::new(),
            beats: 0,
            lists: 0,
            tick_at: now,
            seen_at: now,
            hold_until: None,
            slow: standing::Slow::default(),
            jitter: seed,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The keys of the cluster. Without them it neither sends nor understands heartbeats.
    pub fn set_keys(&mut self, now: Instant, keys: &Keys) {
        self.pass(now);
        let keyring = Keyring::new(keys);
        self.key = keyring.own(&self.name, self.incarnation);
        self.keyring = Some(keyring);
        self.tick_at = now;
        self.settle(now);
    }

    /// How fast it is from now on.
    pub fn set_pace(&mut self, now: Instant, pace: Pace) {
        self.pass(now);
        self.pace = pace;
        self.settle(now);
    }

    /// The other speakers of the segment, heard or not.
    pub fn set_members(&mut self, now: Instant, members: BTreeMap<NodeName, Member>) {
        self.pass(now);
        let members: BTreeMap<_, _> = members
            .into_iter()
            .map(|(name, member)| (PeerId::of(&name), (name, member)))
            .filter(|(id, _)| *id != self.id)
            .collect();
        let gone: Vec<_> = self.peers.keys().copied().filter(|id| !members.contains_key(id)).collect();
        if self.peers.is_empty() {
            self.tick_at = now;
        }
        for id in gone {
            self.forget(id);
        }
        let detection = self.pace.detection();
        for (id, (name, member)) in members {
            let peer = self.peers.entry(id).or_insert_with(|| Peer::new(name, detection, now));
            peer.address = member.address;
            peer.known_mac = member.mac;
        }
        self.renew_ring(now);
        self.all_dirty = true;
        self.settle(now);
    }

    /// The interface as it is now.
    pub fn set_link(&mut self, now: Instant, link: Link) {
        self.pass(now);
        if self.link != link {
            match (std::mem::replace(&mut self.link, link).carrier, self.link.carrier) {
                (Carrier::Down, Carrier::Up) => self.listen(now),
                (Carrier::Up, Carrier::Down) => self.recall_all(),
                (Carrier::Up, Carrier::Up) | (Carrier::Down, Carrier::Down) => {}
            }
            self.all_dirty = true;
        }
        self.settle(now);
    }

    /// Whether the node forwards.
    pub fn set_data_path(&mut self, now: Instant, data_path: DataPath) {
        self.pass(now);
        if self.data_path != data_path {
            self.data_path = data_path;
            self.all_dirty = true;
            self.mail.urgent_to_all();
        }
        self.settle(now);
    }

    /// Who may answer for an address; `None` where it is not to be answered for on this interface at all.
    pub fn set_ballot(&mut self, now: Instant, address: IpAddr, ballot: Option<&Ballot>) {
        self.set_ballots(now, [(address, ballot)]);
    }

    /// The same for many.
    pub fn set_ballots<'a>(
        &mut self,
        now: Instant,
        ballots: impl IntoIterator<Item = (IpAddr, Option<&'a Ballot>)>,
    ) {
        self.pass(now);
        for (address, ballot) in ballots {
            let entry = self.addresses.entry(address).or_default();
            entry.ballot = ballot.map(|ballot| Ranked {
                generation: ballot.generation,
                displaces: ballot.displaces,
                nodes: ballot.ranked.iter().map(PeerId::of).collect(),
                recorded: ballot.recorded,
            });
            self.concern_others(address);
            self.dirty.insert(address);
        }
        self.settle(now);
    }

    /// Says that the speaker ends, and how. It goes on until it is dropped.
    pub fn depart(&mut self, now: Instant, departure: Departure) {
        self.pass(now);
        self.departure = Some(departure);
        self.mail.urgent_to_all();
        self.all_dirty = true;
        self.settle(now);
    }

    /// A datagram that came from somewhere. Call [`Self::handle_wake`] before the first of several.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        self.pass(now);
        self.hear(now, datagram);
        self.settle(now);
    }

    /// A station said by ARP or NDP that it has an address that was asked for.
    pub fn handle_answer(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        self.pass(now);
        self.answered(now, address, mac);
        self.settle(now);
    }

    /// A station said, unasked, that it has an address that this node owns.
    pub fn handle_foreign(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        self.pass(now);
        self.contested(now, address, mac);
        self.settle(now);
    }

    /// Time has passed. To be called first after every wait, before anything that came meanwhile is looked at: after a
    /// freeze nothing old is answered.
    pub fn handle_wake(&mut self, now: Instant) {
        self.pass(now);
        self.settle(now);
    }

    /// Does what is due. Call it after everything that came was handed in.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
        self.judge_all(now);
        self.judge_isolation(now);
        self.end_listening(now);
        self.waits_over(now);
        self.tick(now);
        self.settle(now);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.peers.is_empty() && self.waiting.is_empty() && self.phase == Phase::Active {
            return None;
        }
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let listening = match self.phase {
            Phase::Listening { until, .. } => Some(until).filter(|until| *until > self.seen_at),
            Phase::Active => None,
        };
        [Some(self.tick_at), waiting, listening, self.next_verdict()].into_iter().flatten().min()
    }

    /// Every change ends here: what it touched is decided, and told.
    fn settle(&mut self, now: Instant) {
        if self.ring_changed {
            self.renew_ring(now);
        }
        self.decide_dirty(now);
        self.flush(now);
    }

    fn listen(&mut self, now: Instant) {
        self.phase = Phase::Listening { until: now + self.pace.detection(), at_most: now + LISTEN_AT_MOST };
    }
}

/// A speaker that started listens for no longer than this, even if those that it hears tell it nothing.
const LISTEN_AT_MOST: Duration = Duration::from_secs(1);

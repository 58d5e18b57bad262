use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use names::{Mac, NodeName};

use super::standing::PATIENCE;
use super::{Cause, Node};
use crate::Standing;
use crate::peer::Peer;

/// What was counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u64,
    /// Heartbeats that counted.
    pub heard: u64,
    /// Datagrams that are none of ours, by form.
    pub malformed: u64,
    /// From a name that is not a member.
    pub strangers: u64,
    /// Not sealed with a key of the cluster, or changed on the way.
    pub forged: u64,
    /// Of a life that has ended, or seen before.
    pub replayed: u64,
    /// From a speaker that does not know this life yet.
    pub unechoed: u64,
    /// How often the speaker itself was held up.
    pub stalls: u64,
    /// How often a node was found dead.
    pub nodes_dead: u64,
    /// How often a speaker was found gone from a living node.
    pub speakers_gone: u64,
    /// Claims that were withdrawn because another answered.
    pub cancelled: u64,
    /// Claims that were lost to a greater one.
    pub yielded: u64,
}

/// An address that this node owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Of the placement.
    pub generation: u64,
    /// How often the address changed hands under it.
    pub epoch: u64,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
}

/// How another speaker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its node.
    pub node: NodeName,
    /// Where it is reached.
    pub address: IpAddr,
    /// What is held of it.
    pub standing: Standing,
    /// Since when.
    pub since: Instant,
    /// Whether its heartbeats come here themselves.
    pub direct: Direct,
}

/// Whether heartbeats come, and whether those that are sent arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// They do.
    Heard,
    /// They do not, although the node answers by ARP or NDP: UDP port 7973 is closed in between, or its speaker is gone.
    Closed,
    /// They do not, nor does the node answer.
    Cut,
    /// They do not, and the node was not asked.
    Unheard,
}

impl Cause {
    /// The same in a word, whichever node it is about.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Placed => "placed",
            Self::NodeDead(_) => "node_dead",
            Self::SpeakerDead(_) => "speaker_dead",
            Self::Parted(_) => "parted",
            Self::Isolated(_) => "isolated",
            Self::Resumed => "resumed",
            Self::Contested(_) => "contested",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => out.write_str("nobody answered for it"),
            Self::Placed => out.write_str("it was placed here"),
            Self::NodeDead(node) => write!(out, "node {node} is gone"),
            Self::SpeakerDead(node) => write!(out, "the speaker of node {node} was gone for too long"),
            Self::Parted(node) => write!(out, "node {node} gave it away"),
            Self::Isolated(node) => write!(out, "node {node} is cut off"),
            Self::Resumed => out.write_str("it answered before, and nobody took over"),
            Self::Contested(node) => write!(out, "node {node} answered too"),
        }
    }
}

impl Node {
    /// Counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What this node owns, if it owns that address.
    pub fn ownership(&self, address: IpAddr) -> Option<Ownership> {
        let mine = self.addresses.get(&address)?.mine.as_ref()?;
        let (generation, epoch) = (mine.claim.generation, mine.claim.epoch);
        Some(Ownership { generation, epoch, since: mine.since, cause: mine.cause.clone() })
    }

    /// Who else is there.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.values().map(|peer| PeerStatus {
            node: peer.name.clone(),
            address: peer.address,
            standing: peer.standing,
            since: peer.standing_since,
            direct: if peer.is_heard(self.seen_at) {
                Direct::Heard
            } else if peer.reach.is_unanswered(PATIENCE, self.seen_at) {
                Direct::Cut
            } else if peer.reach.answered.is_some_and(|at| peer.heard.is_none_or(|heard| at > heard)) {
                Direct::Closed
            } else {
                Direct::Unheard
            },
        })
    }

    /// The MACs of the other speakers.
    pub fn macs(&self) -> BTreeSet<Mac> {
        self.peers.values().filter_map(Peer::mac).collect()
    }

    /// The speaker whose MAC it is.
    pub fn name_of_mac(&self, mac: Mac) -> Option<&NodeName> {
        self.peers.values().find(|peer| peer.mac() == Some(mac)).map(|peer| &peer.name)
    }

    /// Whether this node hears nobody, nor does any witness answer.
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// Whether it still listens and claims nothing.
    pub fn is_listening(&self) -> bool {
        self.phase != super::Phase::Active
    }
}

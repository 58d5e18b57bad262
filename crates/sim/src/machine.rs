use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnetwork::IpNetwork;
use liveness::{Answer, Ballot, Carrier, Link, Node};
use names::{Mac, NodeName};

/// Whether a machine's kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// It answers for the machine's own address.
    Running,
    /// The machine has no power.
    Off,
}

/// A machine on the segment.
#[derive(Debug)]
pub struct Machine {
    /// Its node's name.
    pub name: NodeName,
    /// Its own address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// Whether it has power.
    pub kernel: Kernel,
    /// Whether its interface has a link.
    pub carrier: Carrier,
    /// What runs there, if anything does.
    pub speaker: Option<Speaker>,
    /// What the cluster's API told it last, address by address.
    pub ballots: BTreeMap<IpAddr, Ballot>,
}

/// A speaker that runs.
#[derive(Debug)]
pub struct Speaker {
    /// The core.
    pub node: Node,
    /// What it answers with.
    pub answers: BTreeMap<IpAddr, Answer>,
    /// It does not run until then.
    pub frozen_until: Option<Instant>,
    /// What came meanwhile.
    pub(crate) inbox: Vec<Arrival>,
    /// It ends when it is covered, or then.
    pub(crate) ending: Option<Instant>,
    pub(crate) wake: Option<Instant>,
}

/// What a speaker is handed.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    Datagram(Vec<u8>),
    Answer(IpAddr, Mac),
    Foreign(IpAddr, Mac),
    Ballot(IpAddr, Option<Ballot>),
    Link(Link),
}

impl Machine {
    pub(crate) fn new(index: usize) -> Self {
        let number = u8::try_from(index % 200 + 1).unwrap_or(u8::MAX);
        let high = u8::try_from(index / 200).unwrap_or(u8::MAX);
        Self {
            name: NodeName::new(format!("n{}", index + 1)),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, high, number)),
            mac: Mac::new([2, 0, 0, 0, high, number]),
            kernel: Kernel::Running,
            carrier: Carrier::Up,
            speaker: None,
            ballots: BTreeMap::new(),
        }
    }

    pub(crate) fn link(&self) -> Link {
        let network = IpNetwork::new(self.address, 8).ok();
        Link { mac: self.mac, carrier: self.carrier, networks: network.into_iter().collect() }
    }

    /// Whether its speaker runs and is not frozen.
    pub fn is_awake(&self) -> bool {
        let awake = |speaker: &Speaker| speaker.frozen_until.is_none();
        self.kernel == Kernel::Running && self.speaker.as_ref().is_some_and(awake)
    }

    /// The MAC that it answers with for an address, at this moment.
    pub fn answers_with(&self, address: IpAddr) -> Option<Mac> {
        if !self.is_awake() || self.carrier == Carrier::Down {
            return None;
        }
        match self.speaker.as_ref()?.answers.get(&address)? {
            Answer::Owned => Some(self.mac),
            Answer::Cover(mac) => Some(*mac),
            Answer::Silent => None,
        }
    }

    /// Whether it owns an address.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.answers_with(address) == Some(self.mac)
    }
}

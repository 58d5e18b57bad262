//! What is known of addresses that nobody holds: whether somebody else on their segment answers for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use names::{Mac, NodeName, PoolName};

/// How the addresses of a pool are probed before they are given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probe {
    /// They are not.
    Off,
    /// Two questions, a tenth of a second apart.
    #[default]
    Quick,
    /// As RFC 5227 §2.1.1 has it.
    Full,
}

/// What probing an address has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nobody answers for it.
    Free,
    /// Somebody does.
    Taken(Taken),
}

/// Who answers for an address that no Service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The MAC that it is at.
    pub mac: Mac,
    /// The node whose speaker heard that.
    pub node: NodeName,
}

/// All that is known of probing. It counts for pools with a [`Probe`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// The pools whose addresses are announced on a segment.
    pub pools: BTreeSet<PoolName>,
    /// The subnets that some speaker is connected to.
    pub segments: BTreeSet<IpNetwork>,
    /// What was found.
    pub findings: BTreeMap<IpAddr, Finding>,
}

impl Probe {
    /// How long an address is waited for of which nothing is known yet.
    pub(crate) const fn patience(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Quick => Some(Duration::from_secs(2)),
            Self::Full => Some(Duration::from_secs(10)),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "answered for by {}, as the speaker on {} hears", self.mac, self.node)
    }
}

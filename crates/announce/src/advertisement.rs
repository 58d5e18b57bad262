use std::collections::BTreeSet;

use names::{Labels, NodeName, PeerName, PoolName, Selector};

use crate::pools::Origin;
use crate::view::{Node, Service};

/// Which pools an advertisement is for: by name or by label. Neither given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pools {
    /// `spec.ipAddressPools`
    pub names: BTreeSet<PoolName>,
    /// `spec.ipAddressPoolSelectors`
    pub selectors: Vec<Selector>,
}

impl Pools {
    /// No selector takes a pool whose labels nobody knows: it could be the very one that `NotIn` is to keep out.
    pub(crate) fn include(&self, pool: Origin<'_>) -> bool {
        let unrestricted = self.names.is_empty() && self.selectors.is_empty();
        let selected = |labels| self.selectors.iter().any(|selector: &Selector| selector.matches(labels));
        unrestricted || self.names.contains(pool.name) || pool.labels.is_some_and(selected)
    }
}

/// Says that addresses are announced by ARP and NDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Advertisement {
    /// For addresses of these pools.
    pub pools: Pools,
    /// From these nodes; none given means all.
    pub node_selectors: Vec<Selector>,
    /// For these Services; none given means all.
    pub service_selectors: Vec<Selector>,
    /// On these interfaces.
    pub interfaces: Interfaces,
    /// Rather from some of these nodes than from others.
    pub preferences: Vec<Preference>,
    /// Whether an address goes to a node that is preferred to the one that it is on.
    pub preempt: Preempt,
    /// Whether addresses go from nodes that have many to nodes that have few.
    pub rebalance: Rebalance,
}

/// Whether an address goes to a node that is preferred to the one that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preempt {
    /// It stays.
    No,
    /// It goes.
    Yes,
}

/// Whether addresses go from nodes that have many to nodes that have few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebalance {
    /// When somebody asks for it.
    Explicit,
    /// A few at a time, as soon as one has two more than another.
    Auto,
}

/// Speaks for nodes; what speaks for one adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// How much.
    pub weight: u32,
    /// For these nodes.
    pub nodes: Selector,
}

/// Where an address is answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// On every interface that is not excluded by its kind.
    All,
    /// On these only.
    Named(BTreeSet<String>),
}

impl L2Advertisement {
    /// How much speaks for a node with these labels.
    pub(crate) fn weight_of(&self, labels: &Labels) -> u64 {
        let preferences = self.preferences.iter().filter(|preference| preference.nodes.matches(labels));
        preferences.map(|preference| u64::from(preference.weight)).sum()
    }
}

impl Interfaces {
    /// What two advertisements together ask for.
    pub(crate) fn union(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Named(mut ours), Self::Named(theirs)) => {
                ours.extend(theirs.iter().cloned());
                Self::Named(ours)
            }
            (Self::All, Self::All | Self::Named(_)) | (Self::Named(_), Self::All) => Self::All,
        }
    }
}

/// Says that addresses are announced by BGP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpAdvertisement {
    /// For addresses of these pools.
    pub pools: Pools,
    /// From these nodes; none given means all.
    pub node_selectors: Vec<Selector>,
    /// For these Services; none given means all.
    pub service_selectors: Vec<Selector>,
    /// To these peers; none given means all.
    pub peers: BTreeSet<PeerName>,
    /// LOCAL_PREF toward internal peers (RFC 4271 §5.1.5).
    pub local_pref: Option<u32>,
}

/// What both kinds of advertisement have in common: for what, and from where.
pub(crate) trait Advertisement {
    fn pools(&self) -> &Pools;
    fn node_selectors(&self) -> &[Selector];
    fn service_selectors(&self) -> &[Selector];

    fn is_for(&self, pool: Origin<'_>, service: &Service) -> bool {
        self.pools().include(pool) && Selector::any_matches(self.service_selectors(), &service.labels)
    }

    fn is_from(&self, (_, node): (&NodeName, &Node)) -> bool {
        Selector::any_matches(self.node_selectors(), &node.labels)
    }
}

impl Advertisement for L2Advertisement {
    fn pools(&self) -> &Pools {
        &self.pools
    }
    fn node_selectors(&self) -> &[Selector] {
        &self.node_selectors
    }
    fn service_selectors(&self) -> &[Selector] {
        &self.service_selectors
    }
}

impl Advertisement for BgpAdvertisement {
    fn pools(&self) -> &Pools {
        &self.pools
    }
    fn node_selectors(&self) -> &[Selector] {
        &self.node_selectors
    }
    fn service_selectors(&self) -> &[Selector] {
        &self.service_selectors
    }
}

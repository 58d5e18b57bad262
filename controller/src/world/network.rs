//! The part of the world that is the network: which addresses are somebody's already.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::speaker_status::merged;
use ipam::{Blocked, Pool};
use ipnetwork::IpNetwork;
use names::NodeName;

use super::pacing::Subject;
use super::{Now, World};
use crate::seen::{SeenAddresses, SeenNode, SeenSpeaker};

/// Addresses that the cluster itself uses.
#[derive(Debug, Default)]
pub(super) struct Network {
    nodes: BTreeMap<NodeName, SeenAddresses>,
    /// What each speaker sees.
    speakers: BTreeMap<NodeName, BTreeMap<IpAddr, Blocked>>,
    services: BTreeMap<String, BTreeSet<IpNetwork>>,
}

/// The most ranges that a pool's condition names.
const TOLD: usize = 8;

impl World {
    pub(super) fn apply_node(&mut self, name: NodeName, seen: Option<SeenNode>, now: Now) {
        let (seen, announced) = seen.map(|seen| (seen.addresses, seen.announced)).unzip();
        let was_ready = self.placements.is_ready(&name);
        self.placements.set_node(name.clone(), announced, now);
        if self.found.contains_key(&name) && self.placements.is_ready(&name) != was_ready {
            self.regard_probes(now);
        }
        let pods = |seen: Option<&SeenAddresses>| seen.map(|seen| seen.pods.clone()).unwrap_or_default();
        let before = self.network.nodes.get(&name);
        if before == seen.as_ref() {
            return;
        }
        let same_pods = pods(before) == pods(seen.as_ref());
        put(&mut self.network.nodes, name, seen);
        self.note_network(now);
        if !same_pods {
            self.note_ranges(now);
        }
    }

    pub(super) fn apply_speaker(&mut self, name: NodeName, seen: Option<SeenSpeaker>, now: Now) {
        let found = seen.as_ref().map(|seen| seen.probed.clone());
        let (seen, subnets) = seen.map(|seen| (seen.blocked, seen.subnets)).unzip();
        let is_elsewhere = self.placements.set_subnets(name.clone(), subnets, now);
        if self.found.get(&name) != found.as_ref() || is_elsewhere {
            put(&mut self.found, name.clone(), found);
            self.regard_probes(now);
        }
        if self.network.speakers.get(&name) != seen.as_ref() {
            put(&mut self.network.speakers, name, seen);
            self.note_network(now);
        }
    }

    pub(super) fn apply_service_cidr(&mut self, name: String, seen: Option<BTreeSet<IpNetwork>>, now: Now) {
        if self.network.services.get(&name) != seen.as_ref() {
            put(&mut self.network.services, name, seen);
            self.note_ranges(now);
        }
    }

    fn note_network(&mut self, now: Now) {
        if self.decides() {
            self.pacing.soon(Subject::Network, now.instant);
        }
    }

    fn note_ranges(&mut self, now: Now) {
        if self.decides() {
            for name in self.pools.keys() {
                self.pacing.soon(Subject::Pool(name.clone()), now.instant);
            }
        }
    }

    /// Has the ledger know which addresses are never given out by themselves.
    pub(super) fn block(&mut self, now: Now) {
        let changed = self.ledger.set_blocked(now.instant, self.network.blocked());
        self.show_all(changed, now);
        self.pacing.did(Subject::Network, now.instant);
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl Network {
    fn blocked(&self) -> BTreeMap<IpAddr, Blocked> {
        let own = self
            .nodes
            .iter()
            .flat_map(|(name, node)| node.own.iter().map(|address| (*address, Blocked::Node(name.clone()))));
        let own = own.collect();
        merged([&own].into_iter().chain(self.speakers.values()))
    }

    /// The cluster's own ranges that some of a pool's addresses are in, as people are told; the first few.
    pub(super) fn conflicts(&self, pool: &Pool) -> Vec<String> {
        let hits = |ranges: &BTreeSet<IpNetwork>| {
            ranges.iter().copied().filter(|range| has_some_of(pool, *range)).collect::<Vec<_>>()
        };
        let services = self.services.iter().flat_map(|(name, ranges)| {
            hits(ranges).into_iter().map(move |range| format!("{range} of ServiceCIDR {name}"))
        });
        let pods = self.nodes.iter().flat_map(|(name, node)| {
            hits(&node.pods).into_iter().map(move |range| format!("{range} of the pods of node {name}"))
        });
        services.chain(pods).take(TOLD).collect()
    }
}

/// Whether some of a range is the pool's.
fn has_some_of(pool: &Pool, range: IpNetwork) -> bool {
    let common = pool.prefixes.iter().filter_map(|prefix| common(*prefix, range));
    let mut left = common.filter(|common| !pool.exclude.iter().any(|other| contains(*other, *common)));
    left.next().is_some()
}

/// What two prefixes have in common: the smaller of them, or nothing.
fn common(one: IpNetwork, other: IpNetwork) -> Option<IpNetwork> {
    match (contains(one, other), contains(other, one)) {
        (true, _) => Some(other),
        (_, true) => Some(one),
        (false, false) => None,
    }
}

fn contains(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) && one.prefix() <= other.prefix()
}

//! The part of the world that is what speakers have found out of addresses that no Service has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{Finding, Probes, Taken};
use names::{Mac, NodeName};

use super::pacing::Subject;
use super::{Now, World};

/// What each speaker has found: where an address is, or that nobody answers for it.
pub(super) type Found = BTreeMap<NodeName, BTreeMap<IpAddr, Option<Mac>>>;

impl World {
    /// Has the ledger know what was probed, and where that is possible at all.
    pub(super) fn regard_probes(&mut self, now: Now) {
        if !self.decides() {
            return;
        }
        let probes = self.probes();
        if self.probed != (probes.pools.clone(), probes.segments.clone()) {
            self.probed = (probes.pools.clone(), probes.segments.clone());
            for name in self.pools.keys() {
                self.pacing.soon(Subject::Pool(name.clone()), now.instant);
            }
        }
        let changed = self.ledger.set_probes(now.instant, probes);
        self.show_all(changed, now);
    }

    /// Of a node that is not ready nobody knows whether its speaker still says what is so.
    fn probes(&self) -> Probes {
        let pools = self.pools.keys().filter(|pool| self.placements.has_segment(pool)).cloned().collect();
        let mut findings: BTreeMap<IpAddr, Finding> = BTreeMap::new();
        for (node, found) in self.found.iter().filter(|(node, _)| self.placements.is_ready(node)) {
            for (address, mac) in found {
                let taken = mac.map(|mac| Finding::Taken(Taken { mac, node: node.clone() }));
                match (findings.get(address), taken) {
                    (None, taken) => drop(findings.insert(*address, taken.unwrap_or(Finding::Free))),
                    (Some(Finding::Free), Some(taken)) => drop(findings.insert(*address, taken)),
                    (Some(_), _) => {}
                }
            }
        }
        let segments: BTreeSet<_> = self.placements.segments().collect();
        Probes { pools, segments, findings }
    }
}

//! The part of the world that is what this node finds out of addresses that no Service has.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use announce::{Interfaces, Touched, View, probers};
use api::{Candidates, Interface, Probe};
use l2::prober::Thoroughness;
use names::{NodeName, PoolName};

use crate::engine::is_wanted_on;
use crate::engine::probing::Probes;

/// How a speaker's node is connected, as it says.
pub(crate) type Connected = Vec<Interface>;

fn is_on_segment(node: &Connected, address: IpAddr, interfaces: &Interfaces) -> bool {
    let mut here = node.iter().filter(|interface| is_wanted_on(interfaces, &interface.name));
    here.any(|interface| interface.networks.iter().any(|network| network.contains(address)))
}

/// What is to be probed, and what that is decided from besides the view.
#[derive(Debug, Default)]
pub(super) struct Probing {
    pools: BTreeMap<PoolName, Candidates>,
    changed: bool,
    told: Arc<Probes>,
}

impl Probing {
    pub(super) fn set_pool(&mut self, name: PoolName, candidates: Option<Candidates>) {
        self.changed |= self.pools.get(&name) != candidates.as_ref();
        match candidates {
            Some(candidates) => drop(self.pools.insert(name, candidates)),
            None => drop(self.pools.remove(&name)),
        }
    }

    /// Some node is connected otherwise.
    pub(super) fn reconnected(&mut self) {
        self.changed = true;
    }

    /// What this node probes from now on, if that is something else.
    pub(super) fn decide(
        &mut self,
        me: &NodeName,
        view: &View,
        connected: &BTreeMap<NodeName, Connected>,
        touched: &Touched,
    ) -> Option<Arc<Probes>> {
        let changed = std::mem::take(&mut self.changed);
        if !changed && *touched != Touched::All {
            return None;
        }
        let now = self.probes(me, view, connected);
        (now != *self.told).then(|| {
            self.told = Arc::new(now);
            Arc::clone(&self.told)
        })
    }

    fn probes(&self, me: &NodeName, view: &View, connected: &BTreeMap<NodeName, Connected>) -> Probes {
        let mut candidates = BTreeMap::new();
        for (pool, wanted) in &self.pools {
            let Some(thoroughness) = thoroughness(wanted.probe) else { continue };
            for address in &wanted.addresses {
                let is_connected = |node: &NodeName, interfaces: &Interfaces| {
                    connected.get(node).is_some_and(|node| is_on_segment(node, *address, interfaces))
                };
                let mine = probers(view, pool, *address, is_connected).into_iter();
                let mine = mine.filter(|(node, _)| node == me).map(|(_, interfaces)| interfaces);
                candidates.extend(mine.map(|interfaces| (*address, (interfaces, thoroughness))));
            }
        }
        let others = connected.iter().filter(|(node, _)| *node != me);
        let macs = others.flat_map(|(_, node)| node).filter_map(|interface| interface.mac);
        Probes { candidates, speakers: macs.collect() }
    }
}

const fn thoroughness(probe: Probe) -> Option<Thoroughness> {
    match probe {
        Probe::Off => None,
        Probe::Quick => Some(Thoroughness::Quick),
        Probe::Full => Some(Thoroughness::Full),
    }
}

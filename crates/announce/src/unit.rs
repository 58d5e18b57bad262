use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{AdvertisementName, NodeName};

use crate::Silence;
use crate::advertisement::{Advertisement, Interfaces, L2Advertisement};
use crate::eligibility::{Holder, endpoints_allow, foremost, node_allows};
use crate::sharing::Backend;
use crate::view::{Family, Node, TrafficPolicy, View};

/// Whether a Service has to have a usable endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// It has to.
    Counted,
    /// Not where any node would do: then it makes no difference between nodes, and comes and goes.
    Assumed,
}

/// The Services that share an address, which is announced for all of them or for none.
pub(crate) struct Unit<'a, A> {
    endpoints: Endpoints,
    pub(crate) family: Family,
    members: Vec<Holder<'a>>,
    pub(crate) selected: Vec<Selected<'a, A>>,
}

/// One of them that advertisements select.
pub(crate) struct Selected<'a, A> {
    pub(crate) holder: Holder<'a>,
    pub(crate) by: Vec<(&'a AdvertisementName, &'a A)>,
}

impl<'a, A: Advertisement> Unit<'a, A> {
    pub(crate) fn of(
        view: &'a View,
        address: IpAddr,
        advertisements: &'a BTreeMap<AdvertisementName, A>,
        endpoints: Endpoints,
    ) -> Result<Self, Silence> {
        let members = view.unit(address);
        let mut silence = Silence::NoService;
        let mut selected = Vec::new();
        for holder in members.iter().copied() {
            let Some(pool) = view.origin(holder.1, address) else {
                silence = silence.max(Silence::NoPool);
                continue;
            };
            let by: Vec<_> = advertisements.iter().filter(|(_, one)| one.is_for(pool, holder.1)).collect();
            if by.is_empty() {
                silence = silence.max(Silence::NoAdvertisement);
            } else {
                selected.push(Selected { holder, by });
            }
        }
        if selected.is_empty() {
            Err(silence)
        } else {
            Ok(Self { endpoints, family: Family::of(address), members, selected })
        }
    }

    /// Whether a node may announce the address: for at least one of those that share it, and where they ask for
    /// that, only with endpoints of each.
    pub(crate) fn allows(&self, view: &View, name: &NodeName, node: &Node) -> Result<(), Silence> {
        let mut silence = Silence::NodeNotSelected;
        for one in &self.selected {
            if !one.by.iter().any(|(_, advertisement)| advertisement.is_from((name, node))) {
                continue;
            }
            let allowed = node_allows(view, node).and_then(|()| self.endpoints_allow(view, one.holder, name));
            match allowed {
                Ok(()) => return self.each_allows(view, name),
                Err(reason) => silence = silence.max(reason),
            }
        }
        Err(silence)
    }

    fn each_allows(&self, view: &View, name: &NodeName) -> Result<(), Silence> {
        let needs_each = |holder: &&Holder<'_>| {
            holder.1.sharing.as_ref().is_some_and(|sharing| sharing.backend == Backend::LocalToAll)
        };
        let mut each = self.members.iter().filter(needs_each);
        each.try_for_each(|holder| self.endpoints_allow(view, *holder, name))
    }

    fn endpoints_allow(&self, view: &View, holder: Holder<'_>, name: &NodeName) -> Result<(), Silence> {
        match (self.endpoints, holder.1.policy) {
            (Endpoints::Assumed, TrafficPolicy::Cluster) => Ok(()),
            (Endpoints::Counted, _) | (_, TrafficPolicy::Local) => {
                endpoints_allow(view, holder, self.family, name)
            }
        }
    }
    /// The nodes that may announce the address, of those that the others stand back for.
    pub(crate) fn candidates<'v>(&self, view: &'v View) -> BTreeSet<&'v NodeName> {
        let qualified = view.nodes.iter().filter(|(name, node)| self.allows(view, name, node).is_ok());
        foremost(view, qualified.map(|(name, _)| name).collect())
    }
}

impl Unit<'_, L2Advertisement> {
    /// Where a node answers for the address.
    pub(crate) fn interfaces(&self, node: (&NodeName, &Node)) -> Option<Interfaces> {
        let mine = self.advertisements().filter(|(_, one)| one.is_from(node));
        mine.map(|(_, one)| one.interfaces.clone()).reduce(|one, other| one.union(&other))
    }

    /// How much speaks for a node, of the advertisements that are from it.
    pub(crate) fn weight_of(&self, view: &View, name: &NodeName) -> u64 {
        let Some(node) = view.nodes.get(name) else { return 0 };
        let mine = self.advertisements().filter(|(_, one)| one.is_from((name, node)));
        mine.map(|(_, one)| one.weight_of(&node.labels)).sum()
    }

    /// Each once, however many of the Services it selects.
    pub(crate) fn advertisements(&self) -> impl Iterator<Item = (&AdvertisementName, &L2Advertisement)> {
        let all = self.selected.iter().flat_map(|selected| &selected.by);
        all.copied().collect::<BTreeMap<_, _>>().into_iter()
    }
}

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{AdvertisementName, NodeName, PeerName, Selector};

use crate::Silence;
use crate::advertisement::{Advertisement, BgpAdvertisement, Interfaces};
use crate::election::ranking;
use crate::eligibility::{Holder, endpoints_allow, node_allows, without_reserve};
use crate::sharing::Backend;
use crate::view::{Family, Node, Readiness, View};

/// What this node does for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPlan {
    /// Where it answers ARP and NDP, or why it does not.
    pub l2: Result<Interfaces, Silence>,
    /// To whom it announces a route, or why to nobody.
    pub bgp: Result<BTreeMap<PeerName, Route>, Silence>,
}

/// What a route says beside its prefix and next hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// LOCAL_PREF toward internal peers.
    pub local_pref: Option<u32>,
}

/// Decides what node `me` does for `address`.
pub fn plan(view: &View, me: &NodeName, address: IpAddr) -> AddressPlan {
    AddressPlan { l2: l2(view, me, address), bgp: bgp(view, me, address) }
}

fn l2(view: &View, me: &NodeName, address: IpAddr) -> Result<Interfaces, Silence> {
    let unit = Unit::of(view, address, &view.l2)?;
    let qualifies = |name: &NodeName, node: &Node| unit.allows(view, name, node);
    let candidates = while_ready(view, me, candidates(view, me, qualifies)?)?;
    match ranking(address, candidates).first() {
        Some(owner) if *owner == me => {}
        Some(owner) => return Err(Silence::NotOwner((*owner).clone())),
        None => return Err(Silence::NodeUnknown),
    }
    let node = view.nodes.get_key_value(me).ok_or(Silence::NodeUnknown)?;
    let mine = unit.selected.iter().flat_map(|selected| &selected.by).filter(|(_, one)| one.is_from(node));
    let interfaces = mine.map(|(_, one)| one.interfaces.clone()).reduce(|one, other| one.union(&other));
    interfaces.ok_or(Silence::NodeNotSelected)
}

fn bgp(view: &View, me: &NodeName, address: IpAddr) -> Result<BTreeMap<PeerName, Route>, Silence> {
    let unit = Unit::of(view, address, &view.bgp)?;
    let candidates = candidates(view, me, |name, node| unit.allows(view, name, node))?;
    if !candidates.contains(me) {
        return Err(Silence::NodeExcluded);
    }
    let node = view.nodes.get_key_value(me).ok_or(Silence::NodeUnknown)?;
    let mine = unit
        .selected
        .iter()
        .filter(|one| endpoints_allow(view, one.holder, unit.family, me).is_ok())
        .flat_map(|one| &one.by)
        .filter(|(_, one)| one.is_from(node));
    let routes = routes(view, node.1, unit.family, mine)?;
    if routes.is_empty() { Err(Silence::NoPeer) } else { Ok(routes) }
}

fn routes<'a>(
    view: &View,
    node: &Node,
    family: Family,
    advertisements: impl Iterator<Item = &'a (&'a AdvertisementName, &'a BgpAdvertisement)>,
) -> Result<BTreeMap<PeerName, Route>, Silence> {
    let mut routes: BTreeMap<PeerName, (&AdvertisementName, Route)> = BTreeMap::new();
    let here = view.peers.iter().filter(|(_, peer)| {
        peer.families.contains(&family) && Selector::any_matches(&peer.node_selectors, &node.labels)
    });
    let here: Vec<_> = here.map(|(name, _)| name).collect();
    for (name, advertisement) in advertisements {
        let wanted =
            |peer: &&&PeerName| advertisement.peers.is_empty() || advertisement.peers.contains(**peer);
        let route = Route { local_pref: advertisement.local_pref };
        for peer in here.iter().filter(wanted) {
            let (first, agreed) = routes.entry((*peer).clone()).or_insert((*name, route.clone()));
            if *agreed != route {
                return Err(Silence::ConflictingAdvertisements((*first).clone(), (*name).clone()));
            }
        }
    }
    Ok(routes.into_iter().map(|(peer, (_, route))| (peer, route)).collect())
}

/// The Services that share an address, which is announced for all of them or for none.
struct Unit<'a, A> {
    family: Family,
    members: Vec<Holder<'a>>,
    selected: Vec<Selected<'a, A>>,
}

/// One of them that advertisements select.
struct Selected<'a, A> {
    holder: Holder<'a>,
    by: Vec<(&'a AdvertisementName, &'a A)>,
}

impl<'a, A: Advertisement> Unit<'a, A> {
    fn of(
        view: &'a View,
        address: IpAddr,
        advertisements: &'a BTreeMap<AdvertisementName, A>,
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
            Ok(Self { family: Family::of(address), members, selected })
        }
    }

    /// Whether a node may announce the address: for at least one of those that share it, and where they ask for
    /// that, only with endpoints of each.
    fn allows(&self, view: &View, name: &NodeName, node: &Node) -> Result<(), Silence> {
        let mut silence = Silence::NodeNotSelected;
        for one in &self.selected {
            if !one.by.iter().any(|(_, advertisement)| advertisement.is_from((name, node))) {
                continue;
            }
            let allowed =
                node_allows(node).and_then(|()| endpoints_allow(view, one.holder, self.family, name));
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
        each.try_for_each(|holder| endpoints_allow(view, *holder, self.family, name))
    }
}

/// The nodes that may announce. Where `me` is not among those that qualify, its own reason is the answer.
fn candidates<'a>(
    view: &'a View,
    me: &NodeName,
    qualifies: impl Fn(&NodeName, &Node) -> Result<(), Silence>,
) -> Result<BTreeSet<&'a NodeName>, Silence> {
    qualifies(me, view.nodes.get(me).ok_or(Silence::NodeUnknown)?)?;
    let all = view.nodes.iter().filter(|(name, node)| qualifies(name, node).is_ok());
    Ok(without_reserve(view, all.map(|(name, _)| name).collect()))
}

/// Those that the node list calls ready. Where it calls none ready, it knows too little to silence all of them:
/// an API server that was away is back before its nodes are.
fn while_ready<'a>(
    view: &View,
    me: &NodeName,
    candidates: BTreeSet<&'a NodeName>,
) -> Result<BTreeSet<&'a NodeName>, Silence> {
    let is_ready =
        |name: &NodeName| view.nodes.get(name).is_some_and(|node| node.readiness == Readiness::Ready);
    let ready: BTreeSet<_> = candidates.iter().copied().filter(|name| is_ready(name)).collect();
    match (ready.is_empty(), is_ready(me)) {
        (true, _) => Ok(candidates),
        (false, true) => Ok(ready),
        (false, false) => Err(Silence::NodeNotReady),
    }
}

#[cfg(test)]
mod tests;

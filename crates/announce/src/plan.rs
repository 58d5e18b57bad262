use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{AdvertisementName, NodeName, PeerName, Selector, ServiceKey};

use crate::Silence;
use crate::advertisement::{Advertisement, BgpAdvertisement, Interfaces};
use crate::election::ranking;
use crate::eligibility::{endpoints_allow, node_allows, without_reserve};
use crate::view::{Family, Node, Readiness, Service, View};

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
    let selected = selecting(view, address, &view.l2)?;
    let qualifies =
        |name: &NodeName, node: &Node| qualifies(view, &selected, Family::of(address), name, node);
    let candidates = while_ready(view, me, candidates(view, me, qualifies)?)?;
    match ranking(address, candidates).first() {
        Some(owner) if *owner == me => {}
        Some(owner) => return Err(Silence::NotOwner((*owner).clone())),
        None => return Err(Silence::NodeUnknown),
    }
    let node = view.nodes.get_key_value(me).ok_or(Silence::NodeUnknown)?;
    let mine = selected.iter().flat_map(|selected| &selected.by).filter(|(_, one)| one.is_from(node));
    let interfaces = mine.map(|(_, one)| one.interfaces.clone()).reduce(|one, other| one.union(&other));
    interfaces.ok_or(Silence::NodeNotSelected)
}

fn bgp(view: &View, me: &NodeName, address: IpAddr) -> Result<BTreeMap<PeerName, Route>, Silence> {
    let selected = selecting(view, address, &view.bgp)?;
    let family = Family::of(address);
    let candidates = candidates(view, me, |name, node| qualifies(view, &selected, family, name, node))?;
    if !candidates.contains(me) {
        return Err(Silence::NodeExcluded);
    }
    let node = view.nodes.get_key_value(me).ok_or(Silence::NodeUnknown)?;
    let mine = selected
        .iter()
        .filter(|one| endpoints_allow(view, one.key, one.service, family, me).is_ok())
        .flat_map(|one| &one.by)
        .filter(|(_, one)| one.is_from(node));
    let routes = routes(view, node.1, family, mine)?;
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

/// A Service that holds the address, and the advertisements that select it.
struct Selected<'a, A> {
    key: &'a ServiceKey,
    service: &'a Service,
    by: Vec<(&'a AdvertisementName, &'a A)>,
}

fn selecting<'a, A: Advertisement>(
    view: &'a View,
    address: IpAddr,
    advertisements: &'a BTreeMap<AdvertisementName, A>,
) -> Result<Vec<Selected<'a, A>>, Silence> {
    let mut silence = Silence::NoService;
    let mut selected = Vec::new();
    for (key, service) in view.holders(address) {
        let Some(pool) = view.pool_of(service, address) else {
            silence = silence.max(Silence::NoPool);
            continue;
        };
        let by: Vec<_> = advertisements.iter().filter(|(_, one)| one.is_for(pool, service)).collect();
        if by.is_empty() {
            silence = silence.max(Silence::NoAdvertisement);
        } else {
            selected.push(Selected { key, service, by });
        }
    }
    if selected.is_empty() { Err(silence) } else { Ok(selected) }
}

/// Whether a node may announce the address for at least one of the Services that hold it.
fn qualifies<A: Advertisement>(
    view: &View,
    selected: &[Selected<'_, A>],
    family: Family,
    name: &NodeName,
    node: &Node,
) -> Result<(), Silence> {
    let mut silence = Silence::NodeNotSelected;
    for one in selected {
        if !one.by.iter().any(|(_, advertisement)| advertisement.is_from((name, node))) {
            continue;
        }
        let allowed =
            node_allows(node).and_then(|()| endpoints_allow(view, one.key, one.service, family, name));
        match allowed {
            Ok(()) => return Ok(()),
            Err(reason) => silence = silence.max(reason),
        }
    }
    Err(silence)
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

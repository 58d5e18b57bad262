use std::collections::BTreeMap;
use std::net::IpAddr;

use names::{AdvertisementName, NodeName, PeerName, Selector};

use crate::Silence;
use crate::advertisement::{Advertisement, BgpAdvertisement, Interfaces, L2Advertisement};
use crate::ballot::Ballot;
use crate::eligibility::{endpoints_allow, stands_back};
use crate::unit::{Endpoints, Unit};
use crate::view::{Family, Node, View};

/// What this node does for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPlan {
    /// Who may answer ARP and NDP for it.
    pub ballot: Ballot,
    /// Where this node answers if it is its turn, or why it may not.
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
    let (ballot, l2) = match Unit::of(view, address, &view.l2, Endpoints::Counted) {
        Ok(unit) => {
            let ballot = Ballot::of(view, address, &unit);
            let l2 = l2(view, me, &unit, &ballot);
            (ballot, l2)
        }
        Err(silence) => (Ballot::empty(view, address), Err(silence)),
    };
    AddressPlan { ballot, l2, bgp: bgp(view, me, address) }
}

fn l2(
    view: &View,
    me: &NodeName,
    unit: &Unit<'_, L2Advertisement>,
    ballot: &Ballot,
) -> Result<Interfaces, Silence> {
    let node = view.nodes.get(me).ok_or(Silence::NodeUnknown)?;
    unit.allows(view, me, node)?;
    ballot.admits(view, me)?;
    unit.interfaces((me, node)).ok_or(Silence::NodeNotSelected)
}

fn bgp(view: &View, me: &NodeName, address: IpAddr) -> Result<BTreeMap<PeerName, Route>, Silence> {
    let unit = Unit::of(view, address, &view.bgp, Endpoints::Counted)?;
    let node = view.nodes.get_key_value(me).ok_or(Silence::NodeUnknown)?;
    unit.allows(view, me, node.1)?;
    if !unit.candidates(view).contains(me) {
        return Err(stands_back(node.1));
    }
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

#[cfg(test)]
mod tests;

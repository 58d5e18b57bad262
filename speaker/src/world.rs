//! What this speaker knows, and what follows from it. One task owns it; there is no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use announce::{
    AddressPlan, Ballot, BgpAdvertisement, Interfaces, L2Advertisement, Node, Placement, Pool, Readiness,
    Route, Silence, Touched, View, plan,
};
use api::{Peer, Settings, SliceEndpoints, SliceName, Slices};
use bgp::RouterId;
use ipnetwork::IpNetwork;
use names::{AdvertisementName, Labels, NodeName, PeerName, PoolName, Selector, ServiceKey};

use crate::engine::PeerSettings;
use crate::settings::{own_router_id, settings};

/// The kinds that are watched. Nothing is decided until each of them was listed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    EndpointSlice,
    Node,
    IPAddressPool,
    L2Advertisement,
    BGPAdvertisement,
    BGPPeer,
    AddressOwner,
    FerriteConfig,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::IPAddressPool,
        Self::L2Advertisement,
        Self::BGPAdvertisement,
        Self::BGPPeer,
        Self::AddressOwner,
        Self::FerriteConfig,
    ];
}

/// One thing that is now so. `None`: it is gone.
#[derive(Debug)]
pub(crate) enum Update {
    Service(ServiceKey, Option<announce::Service>),
    EndpointSlice(SliceName, Option<SliceEndpoints>),
    Node(NodeName, Option<SeenNode>),
    Pool(PoolName, Option<Pool>),
    /// A pool that cannot be understood. One that is known stays as it is.
    UnreadablePool(PoolName, Labels),
    L2Advertisement(AdvertisementName, Option<L2Advertisement>),
    BgpAdvertisement(AdvertisementName, Option<BgpAdvertisement>),
    Peer(PeerName, Option<Peer>),
    /// Where the controller has placed an address.
    Placement(IpAddr, Option<Placement>),
    Settings(Settings),
    Synced(Kind),
}

/// A node, and what only its own speaker needs of it.
#[derive(Debug)]
pub(crate) struct SeenNode {
    pub(crate) node: Node,
    pub(crate) uid: String,
    /// Its InternalIP of that family.
    pub(crate) address: Option<Ipv4Addr>,
}

/// What has to be done so that the world's plan is so: want minus have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    /// Where an address is answered for from now on; `None`: nowhere.
    pub(crate) l2: BTreeMap<IpAddr, Option<Interfaces>>,
    /// The peers of this node. `None`: no longer one.
    pub(crate) peers: BTreeMap<PeerName, Option<PeerSettings>>,
    /// Routes toward a peer. `None`: withdrawn.
    pub(crate) routes: BTreeMap<(PeerName, IpNetwork), Option<Route>>,
}

pub(crate) struct World {
    me: NodeName,
    view: View,
    slices: Slices,
    configured: BTreeMap<PeerName, Peer>,
    address: Option<Ipv4Addr>,
    /// This node's BGP Identifier: the first that was used, for as long as the speaker runs.
    router_id: Option<RouterId>,
    uid: Option<String>,
    unsynced: BTreeSet<Kind>,
    touched: Touched,
    plans: BTreeMap<IpAddr, AddressPlan>,
    peers: BTreeMap<PeerName, PeerSettings>,
}

impl World {
    pub(crate) fn new(me: NodeName) -> Self {
        Self {
            me,
            view: View::default(),
            slices: Slices::default(),
            configured: BTreeMap::new(),
            address: None,
            router_id: None,
            uid: None,
            unsynced: Kind::ALL.into(),
            touched: Touched::All,
            plans: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Whether every kind was listed once.
    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// The uid of this node's object, once it is known.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Why each address that this node does not announce is silent here, by layer 2 and by BGP.
    pub(crate) fn silences(&self) -> impl Iterator<Item = (Option<&Silence>, Option<&Silence>)> {
        self.plans.values().map(|plan| (plan.l2.as_ref().err(), plan.bgp.as_ref().err()))
    }

    /// Takes in what is now so.
    pub(crate) fn apply(&mut self, update: Update) {
        let touched = match update {
            Update::Service(key, service) => self.view.set_service(key, service),
            Update::EndpointSlice(name, slice) => self.set_slice(name, slice),
            Update::Node(name, node) => self.set_node(name, node),
            Update::Pool(name, pool) => self.view.set_pool(name, pool),
            Update::UnreadablePool(name, labels) => self.set_unreadable_pool(name, labels),
            Update::L2Advertisement(name, one) => self.view.set_l2_advertisement(name, one),
            Update::BgpAdvertisement(name, one) => self.view.set_bgp_advertisement(name, one),
            Update::Peer(name, peer) => self.set_peer(name, peer),
            Update::Settings(settings) => self.view.set_control_plane(settings.layer2.control_plane),
            Update::Placement(address, placement) => self.view.set_placement(address, placement),
            Update::Synced(kind) => {
                self.unsynced.remove(&kind);
                Touched::Addresses(BTreeSet::new())
            }
        };
        self.touch(touched);
    }

    fn touch(&mut self, touched: Touched) {
        match (&mut self.touched, touched) {
            (Touched::All, _) => {}
            (Touched::Addresses(so_far), Touched::Addresses(more)) => so_far.extend(more),
            (Touched::Addresses(_), Touched::All) => self.touched = Touched::All,
        }
    }

    fn set_node(&mut self, name: NodeName, seen: Option<SeenNode>) -> Touched {
        if name == self.me {
            self.address = seen.as_ref().and_then(|seen| seen.address);
            self.uid = seen.as_ref().map(|seen| seen.uid.clone());
        }
        self.view.set_node(name, seen.map(|seen| seen.node))
    }

    /// Services that name an unknown pool go on being announced: for them its labels are all that counts.
    fn set_unreadable_pool(&mut self, name: PoolName, labels: Labels) -> Touched {
        if self.view.has_pool(&name) {
            return Touched::Addresses(BTreeSet::new());
        }
        self.view.set_pool(name, Some(Pool { labels, prefixes: Vec::new() }))
    }

    fn set_peer(&mut self, name: PeerName, peer: Option<Peer>) -> Touched {
        if self.configured.get(&name) == peer.as_ref() {
            return Touched::Addresses(BTreeSet::new());
        }
        self.view.set_peer(name.clone(), peer.as_ref().map(|peer| peer.announced.clone()));
        match peer {
            Some(peer) => self.configured.insert(name, peer),
            None => self.configured.remove(&name),
        };
        Touched::All
    }

    fn set_slice(&mut self, name: SliceName, slice: Option<SliceEndpoints>) -> Touched {
        let mut touched = Touched::Addresses(BTreeSet::new());
        for (service, endpoints) in self.slices.set(name, slice) {
            self.touch(touched);
            touched = self.view.set_endpoints(service, endpoints);
        }
        touched
    }

    /// What has to change. The work is proportional to what the updates since the last call touched.
    pub(crate) fn decide(&mut self) -> Commands {
        let mut commands = Commands::default();
        if !self.is_synced() {
            return commands;
        }
        let touched = std::mem::replace(&mut self.touched, Touched::Addresses(BTreeSet::new()));
        let addresses: BTreeSet<_> = match touched {
            Touched::Addresses(addresses) => addresses,
            Touched::All => {
                commands.peers = self.decide_peers();
                self.view.addresses().chain(self.plans.keys().copied()).collect()
            }
        };
        for address in addresses {
            self.decide_address(address, &mut commands);
        }
        self.view.planned();
        commands
    }

    fn decide_peers(&mut self) -> BTreeMap<PeerName, Option<PeerSettings>> {
        let wanted = self.peers_here();
        let gone =
            self.peers.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name.clone(), None));
        let changed = wanted.iter().filter(|(name, settings)| self.peers.get(*name) != Some(settings));
        let changed = changed.map(|(name, settings)| (name.clone(), Some(settings.clone())));
        let commands = gone.chain(changed).collect();
        self.peers = wanted;
        commands
    }

    /// The peers whose node selectors take this node.
    fn peers_here(&mut self) -> BTreeMap<PeerName, PeerSettings> {
        let Some(node) = self.view.node(&self.me) else { return BTreeMap::new() };
        let own_id = *self.router_id.get_or_insert_with(|| own_router_id(&self.me, self.address));
        let selected = self
            .configured
            .iter()
            .filter(|(_, peer)| Selector::any_matches(&peer.announced.node_selectors, &node.labels));
        selected.map(|(name, peer)| (name.clone(), settings(peer, own_id))).collect()
    }

    /// Of those that may answer, the first does that the node list calls ready. Where it calls none ready, it knows
    /// too little to silence all of them: an API server that was away is back before its nodes are.
    fn while_first(&self, plan: AddressPlan) -> AddressPlan {
        let AddressPlan { ballot, l2, bgp } = plan;
        let is_ready =
            |name: &NodeName| self.view.node(name).is_some_and(|node| node.readiness == Readiness::Ready);
        let Ballot { ranked, .. } = &ballot;
        let first = ranked.iter().find(|name| is_ready(name)).or(ranked.first());
        let l2 = l2.and_then(|interfaces| match first {
            Some(first) if *first == self.me => Ok(interfaces),
            Some(first) if is_ready(first) && !is_ready(&self.me) => Err(Silence::NodeNotReady),
            Some(first) => Err(Silence::NotOwner(first.clone())),
            None => Err(Silence::NodeUnknown),
        });
        AddressPlan { ballot, l2, bgp }
    }

    fn decide_address(&mut self, address: IpAddr, commands: &mut Commands) {
        let before = self.plans.remove(&address);
        let after = self.view.is_held(address).then(|| self.while_first(plan(&self.view, &self.me, address)));
        let l2 = |plan: &Option<AddressPlan>| plan.as_ref().and_then(|plan| plan.l2.clone().ok());
        if l2(&before) != l2(&after) {
            commands.l2.insert(address, l2(&after));
        }
        let routes = |plan: &Option<AddressPlan>| {
            plan.as_ref().and_then(|plan| plan.bgp.clone().ok()).unwrap_or_default()
        };
        let (had, wants) = (routes(&before), routes(&after));
        let prefix = IpNetwork::from(address);
        for peer in had.keys().filter(|peer| !wants.contains_key(*peer)) {
            commands.routes.insert((peer.clone(), prefix), None);
        }
        for (peer, route) in wants {
            if had.get(&peer) != Some(&route) {
                commands.routes.insert((peer, prefix), Some(route));
            }
        }
        if let Some(after) = after {
            self.plans.insert(address, after);
        }
    }
}

#[cfg(test)]
mod tests;

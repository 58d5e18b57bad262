//! What this speaker knows, and what follows from it. One task owns it; there is no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use announce::{
    AddressPlan, BgpAdvertisement, Endpoints, Interfaces, L2Advertisement, Node, Pool, Route, Silence, Touched,
    View, plan,
};
use api::SliceEndpoints;
use ipnetwork::IpNetwork;
use names::{AdvertisementName, NodeName, PeerName, PoolName, Selector, ServiceKey};

use crate::engine::PeerSettings;

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
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::IPAddressPool,
        Self::L2Advertisement,
        Self::BGPAdvertisement,
        Self::BGPPeer,
    ];
}

/// One thing that is now so. `None`: it is gone.
#[derive(Debug)]
pub(crate) enum Update {
    Service(ServiceKey, Option<announce::Service>),
    EndpointSlice(SliceName, Option<SliceEndpoints>),
    Node(NodeName, Option<Node>),
    Pool(PoolName, Option<Pool>),
    L2Advertisement(AdvertisementName, Option<L2Advertisement>),
    BgpAdvertisement(AdvertisementName, Option<BgpAdvertisement>),
    Peer(PeerName, Option<PeerSettings>),
    Synced(Kind),
}

/// An EndpointSlice, by namespace and name.
pub(crate) type SliceName = (String, String);

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
    slices: BTreeMap<SliceName, SliceEndpoints>,
    slices_of: BTreeMap<ServiceKey, BTreeSet<SliceName>>,
    settings: BTreeMap<PeerName, PeerSettings>,
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
            slices: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            settings: BTreeMap::new(),
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

    /// Why each address that this node does not announce is silent here, by layer 2 and by BGP.
    pub(crate) fn silences(&self) -> impl Iterator<Item = (Option<&Silence>, Option<&Silence>)> {
        self.plans.values().map(|plan| (plan.l2.as_ref().err(), plan.bgp.as_ref().err()))
    }

    /// Takes in what is now so.
    pub(crate) fn apply(&mut self, update: Update) {
        let touched = match update {
            Update::Service(key, service) => self.view.set_service(key, service),
            Update::EndpointSlice(name, slice) => self.set_slice(name, slice),
            Update::Node(name, node) => self.view.set_node(name, node),
            Update::Pool(name, pool) => self.view.set_pool(name, pool),
            Update::L2Advertisement(name, one) => self.view.set_l2_advertisement(name, one),
            Update::BgpAdvertisement(name, one) => self.view.set_bgp_advertisement(name, one),
            Update::Peer(name, settings) => self.set_peer(name, settings),
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

    fn set_peer(&mut self, name: PeerName, settings: Option<PeerSettings>) -> Touched {
        if self.settings.get(&name) == settings.as_ref() {
            return Touched::Addresses(BTreeSet::new());
        }
        self.view.set_peer(name.clone(), settings.as_ref().map(|settings| settings.peer.clone()));
        match settings {
            Some(settings) => self.settings.insert(name, settings),
            None => self.settings.remove(&name),
        };
        Touched::All
    }

    fn set_slice(&mut self, name: SliceName, slice: Option<SliceEndpoints>) -> Touched {
        let service = slice.as_ref().map(|slice| slice.service.clone());
        let before = match slice {
            Some(slice) => self.slices.insert(name.clone(), slice),
            None => self.slices.remove(&name),
        };
        let mut touched = Touched::Addresses(BTreeSet::new());
        if let Some(before) = before.map(|before| before.service).filter(|before| Some(before) != service.as_ref()) {
            self.slices_of.entry(before.clone()).or_default().remove(&name);
            touched = self.sum_endpoints(before);
        }
        if let Some(service) = service {
            self.slices_of.entry(service.clone()).or_default().insert(name);
            self.touch(touched);
            touched = self.sum_endpoints(service);
        }
        touched
    }

    /// A Service's endpoints are those of all its slices.
    fn sum_endpoints(&mut self, service: ServiceKey) -> Touched {
        let names = self.slices_of.get(&service);
        let mut sum = Endpoints::default();
        for slice in names.into_iter().flatten().filter_map(|name| self.slices.get(name)) {
            slice.add_to(&mut sum);
        }
        if names.is_none_or(BTreeSet::is_empty) {
            self.slices_of.remove(&service);
            return self.view.set_endpoints(service, None);
        }
        self.view.set_endpoints(service, Some(sum))
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
        commands
    }

    fn decide_peers(&mut self) -> BTreeMap<PeerName, Option<PeerSettings>> {
        let here = |settings: &&PeerSettings| {
            let labels = self.view.node(&self.me).map(|node| &node.labels);
            labels.is_some_and(|labels| Selector::any_matches(&settings.peer.node_selectors, labels))
        };
        let wanted = self.settings.iter().filter(|(_, settings)| here(settings));
        let wanted: BTreeMap<_, _> = wanted.map(|(name, settings)| (name.clone(), settings.clone())).collect();
        let gone = self.peers.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name.clone(), None));
        let changed = wanted.iter().filter(|(name, settings)| self.peers.get(*name) != Some(settings));
        let changed = changed.map(|(name, settings)| (name.clone(), Some(settings.clone())));
        let commands = gone.chain(changed).collect();
        self.peers = wanted;
        commands
    }

    fn decide_address(&mut self, address: IpAddr, commands: &mut Commands) {
        let before = self.plans.remove(&address);
        let after = self.view.is_held(address).then(|| plan(&self.view, &self.me, address));
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

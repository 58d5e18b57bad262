//! What this speaker knows, and what follows from it. One task owns it; there is no lock.

mod probing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use announce::{
    AddressPlan, BgpAdvertisement, L2Advertisement, Node, Placement, Pool, Route, Silence, Touched, View,
    plan,
};
use api::{Candidates, DataPath, Interface, Layer2, Peer, Settings, SliceEndpoints, SliceName, Slices};
use bgp::RouterId;
use ipnetwork::IpNetwork;
use names::{AdvertisementName, Labels, NodeName, PeerName, PoolName, Selector, ServiceKey};

use crate::engine::PeerSettings;
use crate::engine::l2::Elected;
use crate::engine::probing::Probes;
use crate::engine::surroundings::Neighbours;
use crate::owners::Recorded;
use crate::settings::{own_router_id, settings};
pub(crate) use probing::Connected;
use probing::Probing;

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
    SpeakerStatus,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::IPAddressPool,
        Self::L2Advertisement,
        Self::BGPAdvertisement,
        Self::BGPPeer,
        Self::AddressOwner,
        Self::FerriteConfig,
        Self::SpeakerStatus,
    ];
}

/// One thing that is now so. `None`: it is gone.
#[derive(Debug)]
pub(crate) enum Update {
    Service(ServiceKey, Option<announce::Service>),
    EndpointSlice(SliceName, Option<SliceEndpoints>),
    Node(NodeName, Option<SeenNode>),
    Pool(PoolName, Option<Pool>),
    /// What is to be probed of a pool.
    Candidates(PoolName, Option<Candidates>),
    /// A pool that cannot be understood. One that is known stays as it is.
    UnreadablePool(PoolName, Labels),
    L2Advertisement(AdvertisementName, Option<L2Advertisement>),
    BgpAdvertisement(AdvertisementName, Option<BgpAdvertisement>),
    Peer(PeerName, Option<Peer>),
    /// Where the controller has placed an address, and who answers for it as far as is recorded.
    Owner(IpAddr, Option<(Placement, Recorded)>),
    /// A speaker, by the node that it runs on.
    Speaker(NodeName, Option<SeenSpeaker>),
    Settings(Settings),
    Synced(Kind),
}

/// What a speaker says of its node.
#[derive(Debug, Default)]
pub(crate) struct SeenSpeaker {
    /// How it is connected.
    pub(crate) connected: Connected,
    /// The boot of it in which its data path was ready.
    pub(crate) ready_in: Option<String>,
}

/// A node, and what only its own speaker needs of it.
#[derive(Debug)]
pub(crate) struct SeenNode {
    pub(crate) node: Node,
    pub(crate) uid: String,
    /// Its InternalIPs.
    pub(crate) addresses: Vec<IpAddr>,
}

impl SeenNode {
    /// Its first IPv4 address.
    fn router_id(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }
}

/// What has to be done so that the world's plan is so: want minus have.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Commands {
    /// Who may answer for an address from now on; `None`: nobody, because no Service has it.
    pub(crate) l2: BTreeMap<IpAddr, Option<Elected>>,
    /// The other speakers, where they changed.
    pub(crate) neighbours: Option<Arc<Neighbours>>,
    /// The nodes that run a speaker, or did, where they changed.
    pub(crate) speakers: Option<BTreeSet<NodeName>>,
    /// What this node probes, where that changed.
    pub(crate) probes: Option<Arc<Probes>>,
    /// The peers of this node. `None`: no longer one.
    pub(crate) peers: BTreeMap<PeerName, Option<PeerSettings>>,
    /// What the records say of who answers, where that changed.
    pub(crate) recorded: BTreeMap<IpAddr, Option<Recorded>>,
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
    /// Each node's addresses, and the networks that its speaker says it is in.
    addresses: BTreeMap<NodeName, Vec<IpAddr>>,
    connected: BTreeMap<NodeName, Connected>,
    probing: Probing,
    layer2: Layer2,
    data_path: DataPath,
    /// The boot in which this node's data path was ready, as is recorded.
    ready_in: Option<String>,
    neighbours: Arc<Neighbours>,
    neighbours_changed: bool,
    speakers_changed: bool,
    /// What has changed in the records of who answers.
    recorded: BTreeMap<IpAddr, Option<Recorded>>,
    /// The claims that are on record.
    claims: BTreeMap<IpAddr, liveness::Recorded>,
}

/// Of a thousand nodes that may answer these do. Nothing is kept that grows with nodes times addresses.
const MOST_RANKED: usize = 16;

/// What an election about an address begins with.
fn elected(plan: &AddressPlan) -> Elected {
    let announce::Ballot { generation, displaces, mut ranked } = plan.ballot.clone();
    ranked.truncate(MOST_RANKED);
    let ballot = liveness::Ballot { generation, displaces, ranked, recorded: None };
    Elected { interfaces: plan.l2.clone().ok(), ballot }
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
            addresses: BTreeMap::new(),
            connected: BTreeMap::new(),
            probing: Probing::default(),
            layer2: Layer2::default(),
            data_path: DataPath::default(),
            ready_in: None,
            neighbours: Arc::default(),
            neighbours_changed: true,
            speakers_changed: true,
            recorded: BTreeMap::new(),
            claims: BTreeMap::new(),
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
            Update::Candidates(name, candidates) => {
                self.probing.set_pool(name, candidates);
                Touched::Addresses(BTreeSet::new())
            }
            Update::UnreadablePool(name, labels) => self.set_unreadable_pool(name, labels),
            Update::L2Advertisement(name, one) => self.view.set_l2_advertisement(name, one),
            Update::BgpAdvertisement(name, one) => self.view.set_bgp_advertisement(name, one),
            Update::Peer(name, peer) => self.set_peer(name, peer),
            Update::Owner(address, owner) => {
                let (placement, recorded) = owner.unzip();
                match recorded.as_ref().and_then(Recorded::claim) {
                    Some(claim) => self.claims.insert(address, claim),
                    None => self.claims.remove(&address),
                };
                self.recorded.insert(address, recorded);
                self.view.set_placement(address, placement)
            }
            Update::Speaker(node, speaker) => self.set_speaker(node, speaker),
            Update::Settings(settings) => {
                self.layer2 = settings.layer2;
                self.data_path = settings.data_path;
                self.view.set_control_plane(settings.layer2.control_plane)
            }
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
            self.address = seen.as_ref().and_then(SeenNode::router_id);
            self.uid = seen.as_ref().map(|seen| seen.uid.clone());
        }
        match &seen {
            Some(seen) => self.addresses.insert(name.clone(), seen.addresses.clone()),
            None => self.addresses.remove(&name),
        };
        self.set_neighbour(name.clone());
        self.view.set_node(name, seen.map(|seen| seen.node))
    }

    /// Services that name an unknown pool go on being announced: for them its labels are all that counts.
    fn set_unreadable_pool(&mut self, name: PoolName, labels: Labels) -> Touched {
        if self.view.has_pool(&name) {
            return Touched::Addresses(BTreeSet::new());
        }
        self.view.set_pool(name, Some(Pool { labels, prefixes: Vec::new() }))
    }

    fn set_speaker(&mut self, node: NodeName, speaker: Option<SeenSpeaker>) -> Touched {
        let (connected, ready_in) = speaker.map(|speaker| (speaker.connected, speaker.ready_in)).unzip();
        if node == self.me {
            self.ready_in = ready_in.flatten();
        }
        if self.connected.get(&node) == connected.as_ref() {
            return Touched::Addresses(BTreeSet::new());
        }
        let is_there = connected.is_some();
        let before = match connected {
            Some(connected) => self.connected.insert(node.clone(), connected),
            None => self.connected.remove(&node),
        };
        self.speakers_changed |= before.is_some() != is_there;
        self.probing.reconnected();
        self.set_neighbour(node);
        Touched::Addresses(BTreeSet::new())
    }

    /// Every other node may run a speaker, whether it has been heard of or not. Until its speaker says which networks
    /// it is in, its addresses are what the node list says.
    fn set_neighbour(&mut self, node: NodeName) {
        let addresses = self.addresses.get(&node).filter(|_| node != self.me);
        let interfaces = addresses.map(|addresses| {
            let networks = || addresses.iter().copied().map(IpNetwork::from).collect();
            let known = self.connected.get(&node).filter(|interfaces| !interfaces.is_empty());
            known.cloned().unwrap_or_else(|| vec![Interface { networks: networks(), ..Interface::default() }])
        });
        if self.neighbours.get(&node) != interfaces.as_ref() {
            let neighbours = Arc::make_mut(&mut self.neighbours);
            match interfaces {
                Some(interfaces) => neighbours.insert(node, interfaces),
                None => neighbours.remove(&node),
            };
            self.neighbours_changed = true;
        }
    }

    /// How addresses are answered for.
    pub(crate) fn layer2(&self) -> Layer2 {
        self.layer2
    }

    /// How this node is asked whether it forwards, and the boot in which it did, as is recorded.
    pub(crate) fn data_path(&self) -> (&DataPath, Option<&str>) {
        (&self.data_path, self.ready_in.as_deref())
    }

    /// How a speaker of this node ends that is told to.
    pub(crate) fn departure(&self) -> liveness::Departure {
        match self.view.node(&self.me).map(|node| node.departure) {
            Some(announce::Departure::Leaving) => liveness::Departure::Leave,
            Some(announce::Departure::Staying) | None => liveness::Departure::Restart,
        }
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
        if std::mem::take(&mut self.neighbours_changed) {
            commands.neighbours = Some(Arc::clone(&self.neighbours));
        }
        if std::mem::take(&mut self.speakers_changed) {
            commands.speakers = Some(self.connected.keys().cloned().collect());
        }
        commands.recorded = std::mem::take(&mut self.recorded);
        let touched = std::mem::replace(&mut self.touched, Touched::Addresses(BTreeSet::new()));
        commands.probes = self.probing.decide(&self.me, &self.view, &self.connected, &touched);
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

    fn decide_address(&mut self, address: IpAddr, commands: &mut Commands) {
        let before = self.plans.remove(&address);
        let after = self.view.is_held(address).then(|| plan(&self.view, &self.me, address));
        let [had, mut wants] = [&before, &after].map(|plan| plan.as_ref().map(elected));
        if had != wants {
            // Who answers is on record often, and changes nothing for those who heard of it. Who has just started did
            // not.
            if let Some(wants) = &mut wants {
                wants.ballot.recorded = self.claims.get(&address).copied();
            }
            commands.l2.insert(address, wants);
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

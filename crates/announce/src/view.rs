use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use names::{AdvertisementName, Labels, NodeName, PeerName, PoolName, Selector, ServiceKey};

use crate::holders::Holders;
use crate::pools::{KnownPools, Origin};
use crate::{BgpAdvertisement, L2Advertisement, Placement, Sharing};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The families that a BGP session carries.
pub type Families = BTreeSet<Family>;

/// What a decision may know of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `metadata.labels`
    pub labels: Labels,
    /// The Ready condition.
    pub readiness: Readiness,
    /// The NetworkUnavailable condition.
    pub network: Reach,
    /// Whether it carries `node.kubernetes.io/exclude-from-external-load-balancers`.
    pub exclusion: Exclusion,
    /// Whether it is about to go.
    pub departure: Departure,
}

/// Whether a node is about to go: by the will of somebody, and for longer than a restart takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Departure {
    /// It is not, as far as anybody says.
    Staying,
    /// It is being drained, shut down or deleted: it announces while no other node can.
    Leaving,
}

/// Whether the node list calls a node ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Ready is True.
    Ready,
    /// Ready is False or Unknown.
    NotReady,
}

/// Whether the node's pod network works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// NetworkUnavailable is not True.
    Available,
    /// NetworkUnavailable is True.
    Unavailable,
}

/// How strongly a node is kept from announcing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// Not at all.
    None,
    /// It is a control-plane node, which installers label by habit: it announces while no other node can.
    Reserve,
    /// It never announces.
    Never,
}

/// What the label means on a control-plane node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ControlPlane {
    /// It announces while no other node can ([`Exclusion::Reserve`]).
    #[default]
    Reserve,
    /// The same as on any other.
    Exclude,
}

/// What a decision may know of an IPAddressPool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// `metadata.labels`
    pub labels: Labels,
    /// Its addresses, as prefixes.
    pub prefixes: Vec<IpNetwork>,
}

/// What a decision may know of a BGPPeer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Which nodes peer with it; none given means all.
    pub node_selectors: Vec<Selector>,
    /// What its session carries.
    pub families: Families,
}

/// What a decision may know of a Service of type LoadBalancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: Labels,
    /// `status.loadBalancer.ingress[].ip`, each with the pool that the controller says it came from.
    pub addresses: BTreeMap<IpAddr, Option<PoolName>>,
    /// Since when it has them, in seconds since 1970; `None` while nothing says that it has.
    pub allocated_since: Option<i64>,
    /// `spec.externalTrafficPolicy`
    pub policy: TrafficPolicy,
    /// With whom it shares its addresses; `None`: with nobody.
    pub sharing: Option<Sharing>,
}

/// Which nodes may take a Service's traffic in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any node.
    Cluster,
    /// Only nodes with an endpoint of their own.
    Local,
}

/// A Service's usable endpoints, by family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Behind its IPv4 addresses.
    pub v4: Usable,
    /// Behind its IPv6 addresses.
    pub v6: Usable,
}

impl Endpoints {
    /// Those behind an address of this family.
    pub fn of(&self, family: Family) -> &Usable {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Where usable endpoints are: those that are ready, or serving while they terminate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usable {
    /// Usable endpoints that name no node.
    pub elsewhere: usize,
    /// Nodes with at least one.
    pub nodes: BTreeSet<NodeName>,
}

impl Usable {
    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.elsewhere == 0 && self.nodes.is_empty()
    }
}

/// Which addresses have to be decided again after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These.
    Addresses(BTreeSet<IpAddr>),
    /// Every one.
    All,
}

/// One snapshot of the cluster: all that a decision may see.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) pools: KnownPools,
    pub(crate) peers: BTreeMap<PeerName, Peer>,
    pub(crate) l2: BTreeMap<AdvertisementName, L2Advertisement>,
    pub(crate) bgp: BTreeMap<AdvertisementName, BgpAdvertisement>,
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    pub(crate) endpoints: BTreeMap<ServiceKey, Endpoints>,
    pub(crate) holders: Holders,
    pub(crate) placements: BTreeMap<IpAddr, Placement>,
    pub(crate) control_plane: ControlPlane,
}

/// Puts the value there, or takes it away; says whether that changed anything.
fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> bool {
    match value {
        Some(value) if map.get(&key) == Some(&value) => false,
        Some(value) => {
            map.insert(key, value);
            true
        }
        None => map.remove(&key).is_some(),
    }
}

fn all_if(changed: bool) -> Touched {
    if changed { Touched::All } else { Touched::Addresses(BTreeSet::new()) }
}

impl View {
    /// A node as it is now; `None` when it is gone. The same for the other kinds below.
    pub fn set_node(&mut self, name: NodeName, node: Option<Node>) -> Touched {
        all_if(replace(&mut self.nodes, name, node))
    }

    /// A pool as it is now. The labels of one that is gone are remembered for as long as a Service has an address
    /// that came from it.
    pub fn set_pool(&mut self, name: PoolName, pool: Option<Pool>) -> Touched {
        all_if(self.pools.set(name, pool))
    }

    /// A BGP peer as it is now.
    pub fn set_peer(&mut self, name: PeerName, peer: Option<Peer>) -> Touched {
        all_if(replace(&mut self.peers, name, peer))
    }

    /// An L2Advertisement as it is now.
    pub fn set_l2_advertisement(
        &mut self,
        name: AdvertisementName,
        advertisement: Option<L2Advertisement>,
    ) -> Touched {
        all_if(replace(&mut self.l2, name, advertisement))
    }

    /// A BGPAdvertisement as it is now.
    pub fn set_bgp_advertisement(
        &mut self,
        name: AdvertisementName,
        advertisement: Option<BgpAdvertisement>,
    ) -> Touched {
        all_if(replace(&mut self.bgp, name, advertisement))
    }

    /// A Service as it is now. Touches the addresses that it had and those that it has.
    pub fn set_service(&mut self, key: ServiceKey, service: Option<Service>) -> Touched {
        if self.services.get(&key) == service.as_ref() {
            return Touched::Addresses(BTreeSet::new());
        }
        let before = match service {
            Some(service) => self.services.insert(key.clone(), service),
            None => self.services.remove(&key),
        };
        let after = self.services.get(&key);
        self.pools.name(before.as_ref(), after);
        let mut touched = BTreeSet::new();
        if let Some(before) = &before {
            for address in before.addresses.keys() {
                if !after.is_some_and(|after| after.continues(before, *address)) {
                    self.holders.remove(*address, &key);
                }
                touched.insert(*address);
            }
        }
        for address in after.into_iter().flat_map(|after| after.addresses.keys()) {
            self.holders.insert(*address, &key, &self.services);
            touched.insert(*address);
        }
        Touched::Addresses(touched)
    }

    /// A Service's usable endpoints as they are now. Touches the Service's addresses.
    pub fn set_endpoints(&mut self, key: ServiceKey, endpoints: Option<Endpoints>) -> Touched {
        let addresses = self.services.get(&key).map(|service| service.addresses.keys().copied().collect());
        if replace(&mut self.endpoints, key, endpoints) {
            Touched::Addresses(addresses.unwrap_or_default())
        } else {
            Touched::Addresses(BTreeSet::new())
        }
    }

    /// Where the controller has placed an address, as it is now. Touches the address.
    pub fn set_placement(&mut self, address: IpAddr, placement: Option<Placement>) -> Touched {
        let changed = replace(&mut self.placements, address, placement);
        Touched::Addresses(changed.then_some(address).into_iter().collect())
    }

    /// What keeps control-plane nodes from announcing, from now on.
    pub fn set_control_plane(&mut self, control_plane: ControlPlane) -> Touched {
        all_if(std::mem::replace(&mut self.control_plane, control_plane) != control_plane)
    }

    /// How strongly a node is kept from announcing here.
    pub(crate) fn exclusion(&self, node: &Node) -> Exclusion {
        match (node.exclusion, self.control_plane) {
            (Exclusion::Reserve, ControlPlane::Exclude) => Exclusion::Never,
            (exclusion, ControlPlane::Reserve | ControlPlane::Exclude) => exclusion,
        }
    }

    /// A plan was made of all this. Where Services that may not share show one address, those that are known now
    /// go before those that become known later.
    pub fn planned(&mut self) {
        self.holders.planned();
    }

    /// Every address that some Service holds.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.holders.addresses()
    }

    /// Whether some Service holds the address.
    pub fn is_held(&self, address: IpAddr) -> bool {
        self.holders.has(address)
    }

    /// Whether a pool of this name is known.
    pub fn has_pool(&self, name: &PoolName) -> bool {
        self.pools.has(name)
    }

    /// A node as it is known.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// A Service as it is known.
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }

    /// The Services that show an address in their status, those first that were known first.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        self.holders.of(address).filter_map(|key| Some((key, self.services.get(key)?)))
    }

    /// The Services that the address is announced for, as one: the first, and those that may share with it.
    pub fn unit(&self, address: IpAddr) -> Vec<(&ServiceKey, &Service)> {
        let mut holders = self.holders(address);
        let Some((key, first)) = holders.next() else { return Vec::new() };
        let mut unit = vec![(key, first)];
        let Some(sharing) = &first.sharing else { return unit };
        let mut ports = sharing.ports.clone();
        for (key, service) in holders {
            let Some(other) = service.sharing.as_ref().filter(|other| sharing.agrees(other)) else {
                continue;
            };
            if ports.is_disjoint(&other.ports) {
                ports.extend(&other.ports);
                unit.push((key, service));
            }
        }
        unit
    }

    /// The pool that a Service's address is announced under.
    pub(crate) fn origin<'a>(&'a self, service: &'a Service, address: IpAddr) -> Option<Origin<'a>> {
        self.pools.origin(service.addresses.get(&address)?.as_ref(), address)
    }
}

impl Service {
    /// Whether it has the address for as long as the one before it: not if it was made anew under its name.
    fn continues(&self, before: &Self, address: IpAddr) -> bool {
        self.uid == before.uid && self.addresses.contains_key(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(addresses: &[&str]) -> Service {
        Service {
            uid: "u".to_owned(),
            labels: Labels::new(),
            addresses: addresses.iter().map(|address| (address.parse().unwrap(), None)).collect(),
            allocated_since: None,
            policy: TrafficPolicy::Cluster,
            sharing: None,
        }
    }

    fn touched(addresses: &[&str]) -> Touched {
        Touched::Addresses(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn a_changed_service_touches_its_old_and_new_addresses_only() {
        let mut view = View::default();
        let (a, b) = (ServiceKey::new("d", "a"), ServiceKey::new("d", "b"));
        assert_eq!(view.set_service(a.clone(), Some(service(&["10.0.0.1"]))), touched(&["10.0.0.1"]));
        assert_eq!(view.set_service(b, Some(service(&["10.0.0.2"]))), touched(&["10.0.0.2"]));
        assert_eq!(
            view.set_service(a.clone(), Some(service(&["10.0.0.3"]))),
            touched(&["10.0.0.1", "10.0.0.3"])
        );
        assert_eq!(view.set_service(a.clone(), Some(service(&["10.0.0.3"]))), touched(&[]));
        assert_eq!(view.set_service(a, None), touched(&["10.0.0.3"]));
        assert_eq!(view.addresses().collect::<Vec<_>>(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_placement_touches_its_address_and_only_if_it_changes() {
        let mut view = View::default();
        let address = "10.0.0.1".parse().unwrap();
        let placement =
            |generation| Some(Placement { node: NodeName::new("n1"), generation, displaces: true });
        assert_eq!(view.set_placement(address, None), touched(&[]));
        assert_eq!(view.set_placement(address, placement(1)), touched(&["10.0.0.1"]));
        assert_eq!(view.set_placement(address, placement(1)), touched(&[]));
        assert_eq!(view.set_placement(address, placement(2)), touched(&["10.0.0.1"]));
        assert_eq!(view.set_placement(address, None), touched(&["10.0.0.1"]));
    }

    #[test]
    fn endpoints_may_arrive_before_their_service() {
        let mut view = View::default();
        let key = ServiceKey::new("d", "a");
        let endpoints = Endpoints { v4: Usable { elsewhere: 1, ..Usable::default() }, v6: Usable::default() };
        assert_eq!(view.set_endpoints(key.clone(), Some(endpoints.clone())), touched(&[]));
        view.set_service(key.clone(), Some(service(&["10.0.0.1"])));
        assert_eq!(view.set_endpoints(key.clone(), Some(endpoints)), touched(&[]), "nothing changed");
        assert_eq!(view.set_endpoints(key, None), touched(&["10.0.0.1"]));
    }
}

use std::collections::BTreeSet;

use names::{NodeName, ServiceKey};

use crate::Silence;
use crate::view::{Departure, Exclusion, Family, Node, Reach, Service, TrafficPolicy, View};

/// A Service that an address is announced for.
pub(crate) type Holder<'a> = (&'a ServiceKey, &'a Service);

/// Whether the endpoints behind a Service allow this node to take its traffic in.
pub(crate) fn endpoints_allow(
    view: &View,
    (key, service): Holder<'_>,
    family: Family,
    node: &NodeName,
) -> Result<(), Silence> {
    let usable = view.endpoints.get(key).map(|endpoints| endpoints.of(family));
    let usable = usable.filter(|usable| !usable.is_empty()).ok_or(Silence::NoUsableEndpoint)?;
    match service.policy {
        TrafficPolicy::Cluster => Ok(()),
        TrafficPolicy::Local if usable.nodes.contains(node) => Ok(()),
        TrafficPolicy::Local => Err(Silence::NoLocalEndpoint),
    }
}

/// Whether the node's own state allows it to announce at all.
pub(crate) fn node_allows(view: &View, node: &Node) -> Result<(), Silence> {
    match (view.exclusion(node), node.network) {
        (Exclusion::Never, _) => Err(Silence::NodeExcluded),
        (Exclusion::None | Exclusion::Reserve, Reach::Unavailable) => Err(Silence::NodeNetworkUnavailable),
        (Exclusion::None | Exclusion::Reserve, Reach::Available) => Ok(()),
    }
}

/// Takes those out that are about to leave while others are not, and the reserve while another node qualifies.
pub(crate) fn foremost<'a>(view: &View, mut qualified: BTreeSet<&'a NodeName>) -> BTreeSet<&'a NodeName> {
    let standing = |name: &NodeName| view.nodes.get(name).map(|node| (node.departure, view.exclusion(node)));
    let first = qualified.iter().filter_map(|name| standing(name)).min();
    qualified.retain(|name| standing(name) == first);
    qualified
}

/// Why a node that qualifies is not among the foremost.
pub(crate) fn stands_back(node: &Node) -> Silence {
    match node.departure {
        Departure::Leaving => Silence::NodeLeaving,
        Departure::Staying => Silence::NodeExcluded,
    }
}

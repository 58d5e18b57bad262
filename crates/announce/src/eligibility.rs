use std::collections::BTreeSet;

use names::{NodeName, ServiceKey};

use crate::Silence;
use crate::view::{Exclusion, Family, Node, Reach, Service, TrafficPolicy, View};

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
pub(crate) fn node_allows(node: &Node) -> Result<(), Silence> {
    match (node.exclusion, node.network) {
        (Exclusion::Never, _) => Err(Silence::NodeExcluded),
        (Exclusion::None | Exclusion::Reserve, Reach::Unavailable) => Err(Silence::NodeNetworkUnavailable),
        (Exclusion::None | Exclusion::Reserve, Reach::Available) => Ok(()),
    }
}

/// Takes the reserve out while another node qualifies.
pub(crate) fn without_reserve<'a>(view: &View, qualified: BTreeSet<&'a NodeName>) -> BTreeSet<&'a NodeName> {
    let first: BTreeSet<_> = qualified.iter().copied().filter(|name| !in_reserve(view, name)).collect();
    if first.is_empty() { qualified } else { first }
}

fn in_reserve(view: &View, name: &NodeName) -> bool {
    view.nodes.get(name).is_some_and(|node| node.exclusion == Exclusion::Reserve)
}

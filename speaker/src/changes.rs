//! From the API server's objects to the world's updates, one watch a kind.
//!
//! An object that cannot be understood changes nothing: what it said last goes on, and the controller writes the
//! reason into its conditions.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use announce::Pool;
use api::address_owner::address_of;
use api::{
    AddressOwner, BgpAdvertisement, BgpPeer, Candidates, FerriteConfig, Invalid, IpAddressPool,
    L2Advertisement, SliceEndpoints, SpeakerStatus,
};
use cluster::{Change, Key, Scope, watch};
use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll, select_all};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Client, ResourceExt};
use names::{AdvertisementName, NodeName, PeerName, PoolName, ServiceKey};
use tracing::warn;

use crate::owners::Recorded;
use crate::world::{Kind, SeenNode, SeenSpeaker, Update};

pub(crate) type Updates = SelectAll<BoxStream<'static, Update>>;

/// Watches everything that a speaker needs.
pub(crate) fn watch_all(client: &Client, lb_class: Option<String>) -> Updates {
    let class: Arc<Option<String>> = Arc::new(lb_class);
    let load_balancers =
        Scope { field_selector: Some("spec.type=LoadBalancer".to_owned()), ..Scope::default() };
    let services = watch(client.clone(), load_balancers, move |service: Service| {
        api::service::announced(&service, class.as_deref())
    });
    let slices =
        watch(client.clone(), Scope::default(), |slice: EndpointSlice| SliceEndpoints::parse(&slice));
    let nodes = watch(client.clone(), Scope::default(), seen);
    let pools = watch(client.clone(), Scope::default(), |pool: IpAddressPool| {
        (pool.labels().clone(), pool.announced(), pool.candidates())
    });
    let l2 = watch(client.clone(), Scope::default(), |one: L2Advertisement| one.spec.parse());
    let bgp = watch(client.clone(), Scope::default(), |one: BgpAdvertisement| one.spec.parse());
    let peers = watch(client.clone(), Scope::default(), |peer: BgpPeer| peer.spec.parse());
    let owners = watch(client.clone(), Scope::default(), |owner: AddressOwner| {
        let recorded = Recorded::of(&owner);
        owner.parse().map(|(_, placed)| (placed.placement, recorded))
    });
    let speakers = watch(client.clone(), Scope::default(), |speaker: SpeakerStatus| seen_speaker(&speaker));
    let configs = watch(client.clone(), Scope::default(), |config: FerriteConfig| config.parse());
    select_all([
        updates(services, Kind::Service, |key, service| {
            Some(Update::Service(service_key(key), service.flatten()))
        }),
        updates(slices, Kind::EndpointSlice, |key, slice| {
            Some(Update::EndpointSlice((key.namespace.unwrap_or_default(), key.name), slice.flatten()))
        }),
        updates(nodes, Kind::Node, |key, node| Some(Update::Node(NodeName::new(key.name), node))),
        updates(pools, Kind::IPAddressPool, of_pool),
        updates(l2, Kind::L2Advertisement, |key, one| {
            let name = AdvertisementName::new(&key.name);
            Some(Update::L2Advertisement(name, understood("L2Advertisement", &key, one)?))
        }),
        updates(bgp, Kind::BGPAdvertisement, |key, one| {
            let name = AdvertisementName::new(&key.name);
            Some(Update::BgpAdvertisement(name, understood("BGPAdvertisement", &key, one)?))
        }),
        updates(peers, Kind::BGPPeer, |key, peer| {
            Some(Update::Peer(PeerName::new(&key.name), understood("BGPPeer", &key, peer)?))
        }),
        updates(configs, Kind::FerriteConfig, |key, config| {
            Some(Update::Settings(understood("FerriteConfig", &key, config)?.unwrap_or_default()))
        }),
        updates(owners, Kind::AddressOwner, |key, owner| {
            let owner = understood("AddressOwner", &key, owner)?;
            Some(Update::Owner(address_of(&key.name)?, owner))
        }),
        updates(speakers, Kind::SpeakerStatus, |key, speaker| {
            Some(Update::Speaker(NodeName::new(key.name), speaker))
        }),
    ])
}

fn updates<V: Send + 'static, U: IntoIterator<Item = Update>>(
    changes: impl futures::Stream<Item = Change<V>> + Send + 'static,
    kind: Kind,
    update: impl Fn(Key, Option<V>) -> U + Send + Sync + 'static,
) -> BoxStream<'static, Update> {
    let update = move |change| {
        let updates: Vec<_> = match change {
            Change::Upsert(key, value) => update(key, Some(value)).into_iter().collect(),
            Change::Remove(key) => update(key, None).into_iter().collect(),
            Change::Garbage(key, garbage) => {
                refuse(&format!("{kind:?}"), &key, &garbage.why);
                Vec::new()
            }
            Change::Synced => vec![Update::Synced(kind)],
        };
        stream::iter(updates)
    };
    changes.flat_map(update).boxed()
}

/// The outer `None`: nothing changes.
#[expect(clippy::option_option, reason = "whether something changes, and whether it is there")]
fn understood<V>(kind: &str, key: &Key, parsed: Option<Result<V, Invalid>>) -> Option<Option<V>> {
    match parsed.transpose() {
        Ok(value) => Some(value),
        Err(invalid) => {
            refuse(kind, key, &invalid);
            None
        }
    }
}

fn refuse(kind: &str, key: &Key, why: &dyn Display) {
    warn!(kind, name = key.name, %why, "refused; what it said before goes on");
}

/// A pool: its labels, what it is announced as, and what is to be probed of it.
type SeenPool = (BTreeMap<String, String>, Result<Pool, Invalid>, Candidates);

fn of_pool(key: Key, pool: Option<SeenPool>) -> [Update; 2] {
    let name = PoolName::new(&key.name);
    let Some((labels, parsed, candidates)) = pool else {
        return [Update::Pool(name.clone(), None), Update::Candidates(name, None)];
    };
    let update = match understood("IPAddressPool", &key, Some(parsed)) {
        Some(pool) => Update::Pool(name.clone(), pool),
        None => Update::UnreadablePool(name.clone(), labels.into_iter().collect()),
    };
    [update, Update::Candidates(name, Some(candidates))]
}

/// The networks that a speaker's node is in count whatever they are for.
fn seen_speaker(speaker: &SpeakerStatus) -> SeenSpeaker {
    let ready_in = speaker.status.as_ref().and_then(|status| status.data_path_ready_in.clone());
    let interfaces = speaker.status.iter().flat_map(|status| status.interfaces());
    SeenSpeaker { connected: interfaces.collect(), ready_in }
}

fn service_key(key: Key) -> ServiceKey {
    ServiceKey::new(key.namespace.unwrap_or_default(), key.name)
}

fn seen(node: Node) -> SeenNode {
    let addresses = node.status.iter().filter_map(|status| status.addresses.as_ref()).flatten();
    let internal = addresses.filter(|address| address.type_ == "InternalIP");
    let addresses = internal.filter_map(|address| address.address.parse().ok()).collect();
    SeenNode { uid: node.uid().unwrap_or_default(), addresses, node: api::node::parse(&node) }
}

//! Everything that is watched, as one stream.

use std::fmt::Debug;

use api::SliceEndpoints;
use api::address_owner::address_of;
use cluster::{Change, Key, Scope, Undecodable, UnknownKind};
use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::{Client, Resource};
use names::{NodeName, PoolName, QuotaName, ReservationName};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::seen::{self, Asking, Kind, SeenObject, SeenOwner, SeenService, SeenVerdict};
use crate::world::Update;

/// What happens in the cluster, for a controller of this `--lb-class`.
pub(crate) fn updates(client: &Client, class: Option<String>) -> BoxStream<'static, Update> {
    let watches = Watches { client: client.clone() };
    let everything =
        watches.services(class).into_iter().chain(watches.surroundings()).chain(watches.resources());
    select_all(everything).boxed()
}

/// An object as it is now, what is wrong with it if it cannot be decoded, or that it is gone.
enum Now<V> {
    Is(V),
    Garbage(String),
    Gone,
}

impl<V> Now<Asking<V>> {
    fn asking(self) -> Option<Asking<V>> {
        match self {
            Self::Is(seen) => Some(seen),
            Self::Garbage(why) => Some(Asking::garbage(why)),
            Self::Gone => None,
        }
    }
}

impl<V, S> Now<SeenObject<V, S>> {
    /// What cannot be decoded is an object of which that is said.
    fn told(self) -> Option<SeenObject<V, S>> {
        match self {
            Self::Is(seen) => Some(seen),
            Self::Garbage(why) => Some(SeenObject::garbage(why)),
            Self::Gone => None,
        }
    }
}

fn about_service(change: Change<SeenService>) -> Update {
    match change {
        Change::Upsert(key, seen) => Update::Service(key.into_service(), Some(seen)),
        Change::Remove(key) => Update::Service(key.into_service(), None),
        Change::Synced => Update::Synced(Kind::Service),
        Change::Garbage(key, Undecodable { version, why }) => {
            warn!(service = %key, why, "a Service cannot be decoded; it keeps what it is known to have");
            Update::Unreadable(key.into_service(), version)
        }
    }
}

/// A slice that cannot be decoded stays what it was.
fn about_slice(change: Change<Option<SliceEndpoints>>) -> Option<Update> {
    let name = |key: Key| (key.namespace.unwrap_or_default(), key.name);
    match change {
        Change::Upsert(key, seen) => Some(Update::Slice(name(key), seen)),
        Change::Remove(key) => Some(Update::Slice(name(key), None)),
        Change::Synced => Some(Update::Synced(Kind::EndpointSlice)),
        Change::Garbage(key, Undecodable { why, .. }) => {
            warn!(slice = %key, why, "an EndpointSlice cannot be decoded; what was known of it goes on");
            None
        }
    }
}

/// One whose name is no address is none of ours.
fn about_owner(name: String, now: Now<SeenOwner>) -> Option<Update> {
    let Some(address) = address_of(&name) else {
        warn!(name, "an AddressOwner is of no address; nothing is done about it");
        return None;
    };
    match now {
        Now::Is(seen) => Some(Update::Owner(address, Some(Box::new(seen)))),
        Now::Gone => Some(Update::Owner(address, None)),
        Now::Garbage(why) => {
            warn!(name, why, "an AddressOwner cannot be decoded; what was known of it goes on");
            None
        }
    }
}

struct Watches {
    client: Client,
}

impl Watches {
    fn services(&self, class: Option<String>) -> [BoxStream<'static, Update>; 2] {
        let project = move |service: &_| SeenService::project(service, class.as_deref());
        let services = cluster::watch(self.client.clone(), Scope::default(), move |object| project(&object));
        let slices = cluster::watch(self.client.clone(), Scope::default(), |slice| seen::slice(&slice));
        [services.map(about_service).boxed(), slices.filter_map(async |change| about_slice(change)).boxed()]
    }

    /// What Services live among. An object that cannot be decoded stays what it was.
    fn surroundings(&self) -> [BoxStream<'static, Update>; 4] {
        let lacking = Scope { unknown_kind: UnknownKind::Empty, ..Scope::default() };
        let scope = Scope::default;
        [
            self.known(Kind::Namespace, scope(), seen::namespace, Update::Namespace),
            self.known(Kind::Node, scope(), seen::node, |name, seen| Update::Node(NodeName::new(name), seen)),
            // An older API server has no such kind.
            self.known(Kind::ServiceCidr, lacking, seen::service_cidr, Update::ServiceCidr),
            self.known(Kind::SpeakerStatus, scope(), seen::speaker, |name, seen| {
                Update::Speaker(NodeName::new(name), seen)
            }),
        ]
    }

    /// Our own kinds.
    fn resources(&self) -> [BoxStream<'static, Update>; 8] {
        [
            self.all(Kind::Pool, Scope::default(), seen::pool, |name, now| {
                Some(Update::Pool(PoolName::new(name), now.told().map(Box::new)))
            }),
            self.all(Kind::Quota, Scope::default(), seen::quota, |name, now| {
                Some(Update::Quota(QuotaName::new(name), now.told()))
            }),
            self.all(Kind::Reservation, Scope::default(), seen::reservation, |name, now| {
                Some(Update::Reservation(ReservationName::new(name), now.told().map(Box::new)))
            }),
            self.all(Kind::Config, Scope::default(), seen::config, |name, now| {
                Some(Update::Config(name, now.asking()))
            }),
            self.all(Kind::L2Advertisement, Scope::default(), seen::l2_advertisement, |name, now| {
                Some(Update::L2Advertisement(name, now.asking().map(Box::new)))
            }),
            self.verdicts(Kind::BgpAdvertisement, seen::bgp_advertisement),
            self.verdicts(Kind::BgpPeer, seen::bgp_peer),
            self.all(Kind::AddressOwner, Scope::default(), seen::owner, about_owner),
        ]
    }

    fn verdicts<K>(&self, kind: Kind, project: fn(&K) -> SeenVerdict) -> BoxStream<'static, Update>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        self.all(kind, Scope::default(), project, move |name, now| {
            Some(Update::Verdict(kind, name, now.told()))
        })
    }

    fn known<K, V>(
        &self,
        kind: Kind,
        scope: Scope,
        project: fn(&K) -> V,
        update: fn(String, Option<V>) -> Update,
    ) -> BoxStream<'static, Update>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
        V: Send + 'static,
    {
        self.all(kind, scope, project, move |name, now| match now {
            Now::Is(seen) => Some(update(name, Some(seen))),
            Now::Gone => Some(update(name, None)),
            Now::Garbage(why) => {
                warn!(%kind, name, why, "an object cannot be decoded; what was known of it goes on");
                None
            }
        })
    }

    fn all<K, V>(
        &self,
        kind: Kind,
        scope: Scope,
        project: fn(&K) -> V,
        update: impl Fn(String, Now<V>) -> Option<Update> + Send + 'static,
    ) -> BoxStream<'static, Update>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
        V: Send + 'static,
    {
        let changes = cluster::watch(self.client.clone(), scope, move |object: K| project(&object));
        let updates = changes.map(move |change| match change {
            Change::Upsert(key, seen) => update(key.name, Now::Is(seen)),
            Change::Garbage(key, garbage) => update(key.name, Now::Garbage(garbage.why)),
            Change::Remove(key) => update(key.name, Now::Gone),
            Change::Synced => Some(Update::Synced(kind)),
        });
        updates.filter_map(async |update| update).boxed()
    }
}

#[cfg(test)]
mod tests {
    use names::ServiceKey;

    use super::*;

    #[test]
    fn a_service_that_cannot_be_decoded_is_told_by_its_version() {
        let garbage = Undecodable { version: 7, why: "invalid type".into() };
        let told = about_service(Change::Garbage(Key::namespaced("d", "web"), garbage));
        assert_eq!(told, Update::Unreadable(ServiceKey::new("d", "web"), 7));
    }
}

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde::{Deserialize, Serialize};

use crate::annotation::{self, IP_ALLOCATED_FROM_POOL};
use crate::condition::{Condition, ORIGIN, Status};
use crate::timestamp;

/// What a Service was given, and from which pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// All of it, in the order in which it is shown.
    pub(super) held: Vec<IpAddr>,
    /// The pool; without those that the Service is being moved from.
    pub(super) pool: Option<PoolName>,
    pub(super) moving: Option<Moving>,
}

/// A Service's way from old addresses to those that it was granted; it holds both until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The old addresses.
    pub from: Vec<IpAddr>,
    /// The pool that they came from.
    pub pool: PoolName,
    /// When they are given up.
    pub until: Timestamp,
}

/// The message of the condition [`ORIGIN`].
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<Way>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Way {
    from: Vec<IpAddr>,
    pool: String,
    until: Timestamp,
}

impl Origin {
    /// Reads the record in a Service's status. Who has rights on Services alone can write none there; who has more
    /// and shows an address that is not on record has not given it.
    ///
    /// Without a record, as MetalLB leaves a Service, all that is shown counts.
    pub(super) fn read(service: &Service) -> Self {
        let shown = ingress(service);
        let shown = shown.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok());
        let Some(Record { addresses, pool, moving }) = record(service) else {
            return Self { held: shown.collect(), pool: annotated(service), moving: None };
        };
        let old = moving.iter().flat_map(|way| &way.from);
        let given: Vec<_> = addresses.iter().chain(old).copied().collect();
        let held: Vec<IpAddr> = shown.filter(|address| given.contains(address)).collect();
        let is_held = |all: &[IpAddr]| !all.is_empty() && all.iter().all(|one| held.contains(one));
        let moving = moving.filter(|way| is_held(&way.from) && is_held(&addresses));
        let moving =
            moving.map(|Way { from, pool, until }| Moving { from, pool: PoolName::new(pool), until });
        Self { held, pool: pool.map(PoolName::new), moving }
    }

    /// The pool that an address came from.
    pub(super) fn pool_of(&self, address: IpAddr) -> Option<PoolName> {
        match &self.moving {
            Some(moving) if moving.from.contains(&address) => Some(moving.pool.clone()),
            Some(_) | None => self.pool.clone(),
        }
    }
}

/// The record of a Service that has these addresses from this pool, and those that it is moved from; none if it has
/// nothing. A time is in whole seconds, and one that differs by no more than clocks do stays as it was before.
pub(super) fn recorded(
    addresses: &[IpAddr],
    pool: Option<&PoolName>,
    moving: Option<&Moving>,
    before: Option<&Moving>,
) -> Option<Condition> {
    if addresses.is_empty() && moving.is_none() {
        return None;
    }
    let record = Record {
        addresses: addresses.to_vec(),
        pool: pool.map(ToString::to_string),
        moving: moving.map(|moving| moving.written(before)),
    };
    let text = serde_json::to_string(&record).unwrap_or_default();
    Some(Condition::new(ORIGIN, Status::True, "Recorded", text))
}

impl Moving {
    fn written(&self, before: Option<&Self>) -> Way {
        let Self { from, pool, until } = self;
        let stands = before.filter(|before| before.from == *from && before.pool == *pool);
        let stands = stands.map(|before| before.until).filter(|before| timestamp::is_about(*before, *until));
        Way {
            from: from.clone(),
            pool: pool.to_string(),
            until: stands.unwrap_or_else(|| timestamp::written(*until).0),
        }
    }
}

pub(super) fn ingress(service: &Service) -> Vec<LoadBalancerIngress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.clone()).unwrap_or_default()
}

pub(super) fn conditions(service: &Service) -> impl Iterator<Item = &Written> {
    service.status.iter().filter_map(|status| status.conditions.as_ref()).flatten()
}

fn record(service: &Service) -> Option<Record> {
    let condition = conditions(service).find(|one| one.type_ == ORIGIN)?;
    serde_json::from_str(&condition.message).ok()
}

fn annotated(service: &Service) -> Option<PoolName> {
    let annotations = service.metadata.annotations.as_ref()?;
    annotation::find_first(annotations, IP_ALLOCATED_FROM_POOL).map(|found| PoolName::new(found.value))
}

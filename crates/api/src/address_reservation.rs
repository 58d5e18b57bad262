use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::{Counts, Holder, Phase, Reclaim, Reservation, ReservationState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use names::{PoolName, ServiceKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ip_address_pool::created;
use crate::{Invalid, addresses, schema, selector, tolerant};

/// Keeps addresses for certain Services, before these exist and after they are gone.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "AddressReservation",
    plural = "addressreservations",
    shortname = "ar",
    category = "ferritelb",
    status = "AddressReservationStatus",
    derive = "PartialEq",
    doc = "AddressReservation keeps addresses for certain Services, before these exist and after they are gone.",
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Chosen", type_ = "string", json_path = ".status.addresses"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.service) != has(self.selector)",
        "message": "exactly one of service and selector must be set",
    },
    {
        "rule": "(has(self.addresses) && size(self.addresses) > 0) || has(self.pool)",
        "message": "addresses, or a pool with ipv4 or ipv6, must be set",
    },
    {
        "rule": "!has(self.pool) || self.ipv4 > 0 || self.ipv6 > 0",
        "message": "how many addresses of the pool must be set, and above 0: ipv4 or ipv6",
        "fieldPath": ".pool",
    },
    {
        "rule": "has(self.pool) || (self.ipv4 == 0 && self.ipv6 == 0)",
        "message": "the pool that ipv4 and ipv6 are counts of must be set",
    },
]))]
pub struct AddressReservationSpec {
    /// These addresses: CIDRs, ranges and single ones. A Service that has one of them already keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::any_addresses")]
    pub addresses: Vec<String>,
    /// Besides, `ipv4` and `ipv6` addresses of this pool, which are chosen once and recorded in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub pool: Option<String>,
    /// How many IPv4 addresses of `pool`.
    #[serde(default)]
    #[schemars(schema_with = "schema::reserved_count")]
    pub ipv4: u32,
    /// How many IPv6 addresses of `pool`.
    #[serde(default)]
    #[schemars(schema_with = "schema::reserved_count")]
    pub ipv6: u32,
    /// For this Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::not_null::<ReservedFor>")]
    pub service: Option<ReservedFor>,
    /// For any of these Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::not_null::<ServiceSelector>")]
    pub selector: Option<ServiceSelector>,
    /// From then on the reservation has no effect; unset for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub expires: Option<Time>,
    /// What becomes of an address that a Service had and gives back. Retain: it stays reserved. Release: it leaves
    /// the reservation.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

/// A Service by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReservedFor {
    /// Its namespace.
    #[schemars(schema_with = "schema::name")]
    pub namespace: String,
    /// Its name.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
}

/// Services by namespace and labels; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.namespaces) || has(self.namespaceSelectors) || has(self.serviceSelectors)",
        "message": "at least one of namespaces, namespaceSelectors and serviceSelectors must be set",
    },
]))]
pub struct ServiceSelector {
    /// Services in these namespaces. With no namespace selector either: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub namespaces: Vec<String>,
    /// Services in namespaces with these labels; one selector that matches is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services with these labels; one selector that matches is enough, none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

/// What becomes of a reserved address that its Service gives back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// It stays reserved.
    #[default]
    Retain,
    /// It leaves the reservation.
    Release,
}

/// What became of the reservation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressReservationStatus {
    /// What was chosen of `spec.pool`.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<String, MOST_CHOSEN>")]
    pub addresses: Vec<String>,
    /// What has left the reservation.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<String, MOST_RELEASED>")]
    pub released: Vec<String>,
    /// Which of its addresses are in use by Services that it is for.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<HeldAddress, MOST_HELD>")]
    pub used: Vec<HeldAddress>,
    /// Which of its addresses other Services still have. They are kept when these give them back.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<HeldAddress, MOST_HELD>")]
    pub pending: Vec<HeldAddress>,
    /// Active or Expired.
    #[serde(default)]
    pub phase: String,
    /// Ready: whether the reservation is in use as it is written. And where they apply: Overlap (an older
    /// reservation has some of its addresses), Pending (some are still held by others, or could not be chosen yet),
    /// Outside (no pool has some of them), Expired.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// An address and a Service that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldAddress {
    /// The address.
    pub address: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
}

/// As many as both counts of a spec together.
const MOST_CHOSEN: usize = 2048;
/// How many entries a status keeps.
const MOST_RELEASED: usize = 4096;
const MOST_HELD: usize = 256;
/// The most addresses of a family that a spec may count.
const MOST_COUNTED: u32 = 1024;

/// What a reservation's manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationMeaning {
    /// The reservation, with what its status records, and as if it had no end.
    pub reservation: Reservation,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

impl AddressReservation {
    /// What the manifest asks for.
    ///
    /// # Errors
    /// An entry that is neither address nor range, a selector that is none, fields that do not go together.
    pub fn parse(&self) -> Result<ReservationMeaning, Invalid> {
        let recorded = |field: fn(&AddressReservationStatus) -> &Vec<String>| -> BTreeSet<IpAddr> {
            let texts = self.status.iter().flat_map(&field);
            texts.filter_map(|text| text.parse().ok()).collect()
        };
        let ReservationMeaning { reservation, expires } = self.spec.parse()?;
        let reservation = Reservation {
            chosen: recorded(|status| &status.addresses),
            released: recorded(|status| &status.released),
            created: created(self),
            ..reservation
        };
        Ok(ReservationMeaning { reservation, expires })
    }
}

impl AddressReservationSpec {
    fn parse(&self) -> Result<ReservationMeaning, Invalid> {
        let Self { addresses, pool, ipv4, ipv6, service, selector, expires, reclaim_policy } = self;
        let counts = counts(pool.as_deref(), *ipv4, *ipv6)?;
        if addresses.is_empty() && counts.is_none() {
            return Err(Invalid::new("spec", "addresses, or a pool with ipv4 or ipv6, must be set"));
        }
        let reservation = Reservation {
            holder: holder(service.as_ref(), selector.as_ref())?,
            prefixes: addresses::parse_any("spec.addresses", addresses)?,
            counts,
            chosen: BTreeSet::new(),
            released: BTreeSet::new(),
            reclaim: match reclaim_policy {
                ReclaimPolicy::Retain => Reclaim::Retain,
                ReclaimPolicy::Release => Reclaim::Release,
            },
            expires: None,
            created: ipam::Created::default(),
        };
        Ok(ReservationMeaning { reservation, expires: expires.as_ref().map(|time| time.0) })
    }
}

fn counts(pool: Option<&str>, ipv4: u32, ipv6: u32) -> Result<Option<Counts>, Invalid> {
    for (field, count) in [("spec.ipv4", ipv4), ("spec.ipv6", ipv6)] {
        match pool {
            None if count > 0 => return Err(Invalid::new(field, "needs spec.pool, which it is a count of")),
            Some(_) if count > MOST_COUNTED => {
                return Err(Invalid::new(field, format!("{count} is more than {MOST_COUNTED}")));
            }
            Some(_) | None => {}
        }
    }
    match pool {
        Some(_) if ipv4 == 0 && ipv6 == 0 => {
            Err(Invalid::new("spec.pool", "needs a count of its addresses: spec.ipv4 or spec.ipv6"))
        }
        Some(pool) => Ok(Some(Counts { pool: PoolName::new(pool), ipv4, ipv6 })),
        None => Ok(None),
    }
}

fn holder(service: Option<&ReservedFor>, selector: Option<&ServiceSelector>) -> Result<Holder, Invalid> {
    match (service, selector) {
        (Some(ReservedFor { namespace, name }), None) => {
            Ok(Holder::Service(ServiceKey::new(namespace, name)))
        }
        (None, Some(selector)) => audience(selector),
        (Some(_), Some(_)) => Err(Invalid::new("spec.selector", "must not be set beside spec.service")),
        (None, None) => Err(Invalid::new("spec.service", "or spec.selector must be set")),
    }
}

fn audience(selector: &ServiceSelector) -> Result<Holder, Invalid> {
    const FIELD: &str = "spec.selector";
    let ServiceSelector { namespaces, namespace_selectors, service_selectors } = selector;
    if namespaces.is_empty() && namespace_selectors.is_empty() && service_selectors.is_empty() {
        let why = "at least one of namespaces, namespaceSelectors and serviceSelectors must be set";
        return Err(Invalid::new(FIELD, why));
    }
    selector::audience(FIELD, namespaces, namespace_selectors, service_selectors).map(Holder::Audience)
}

impl AddressReservationStatus {
    /// The status of a reservation that is in this state.
    pub fn new(state: &ReservationState, conditions: Vec<Condition>) -> Self {
        Self {
            addresses: state.chosen.iter().take(MOST_CHOSEN).map(ToString::to_string).collect(),
            released: state.released.iter().take(MOST_RELEASED).map(ToString::to_string).collect(),
            used: state.used.iter().take(MOST_HELD).map(held).collect(),
            pending: state.pending.iter().take(MOST_HELD).map(held).collect(),
            phase: match state.phase {
                Phase::Active => "Active",
                Phase::Expired => "Expired",
            }
            .into(),
            conditions,
        }
    }
}

fn held((address, key): &(IpAddr, ServiceKey)) -> HeldAddress {
    let ServiceKey { namespace, name } = key.clone();
    HeldAddress { address: address.to_string(), namespace: namespace.to_string(), name: name.to_string() }
}

#[cfg(test)]
mod tests;

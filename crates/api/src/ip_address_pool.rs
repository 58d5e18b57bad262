use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipam::{Assignment, BuggyAddresses, Created, State};
use ipnetwork::IpNetwork;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, addresses, duration, schema, selector};

mod status;

pub use status::{IpAddressPoolStatus, NamespaceHolds, Quarantined};

/// Addresses that Services of type LoadBalancer may get.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    root = "IpAddressPool",
    plural = "ipaddresspools",
    shortname = "ipp",
    category = "ferritelb",
    status = "IpAddressPoolStatus",
    derive = "PartialEq",
    doc = "IPAddressPool holds addresses that Services of type LoadBalancer may get.",
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.used"),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free"),
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
pub struct IpAddressPoolSpec {
    /// CIDRs (192.0.2.0/24; host bits are ignored) and ranges (192.0.2.10-192.0.2.20), IPv4 and IPv6 in any mix.
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<String>,
    /// CIDRs, ranges and single addresses that are not the pool's although `addresses` contains them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::any_addresses")]
    pub exclude: Vec<String>,
    /// Whether Services get addresses from here that do not name the pool or one of its addresses.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Keeps IPv4 addresses that end in .0 or .255 from being given out, which some old equipment drops.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// For which Services the pool is, whatever these ask for; unset means all. A change of it takes no address
    /// away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::not_null::<ServiceAllocation>")]
    pub service_allocation: Option<ServiceAllocation>,
    /// Gives out nothing new; Services keep what they have.
    #[serde(default)]
    pub disabled: bool,
    /// Gives out nothing new, and moves the Services that have an address from here to other pools. Goes beyond
    /// `disabled`.
    #[serde(default)]
    pub drain: bool,
    /// While true, this spec is not used: the condition Paused says what it would do, and the spec in
    /// `status.inEffect` goes on. A pool that was created with it gives out nothing.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of an address that a Service has when it stops being the pool's, by an edit, an older pool
    /// that has it too, changed labels of the Service or its namespace, or the pool's deletion. Keep: it stays.
    /// Move: its Service gets one of another pool beside it, and then loses it. Release: it is taken away.
    #[serde(default)]
    pub on_remove: OnRemove,
    /// How long a freed address is given to no other Service while others are free; 0s for not at all.
    #[serde(default = "reuse_after")]
    #[schemars(schema_with = "schema::reuse_after")]
    pub reuse_after: String,
    /// How addresses that an L2Advertisement announces are probed on their segment before a Service gets them. Quick:
    /// two questions, a tenth of a second apart. Full: as RFC 5227 has it, which takes up to 7s. Off: not at all.
    #[serde(default)]
    pub probe: Probe,
}

/// How addresses are probed before a Service gets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Probe {
    /// Two questions, a tenth of a second apart.
    #[default]
    Quick,
    /// As RFC 5227 has it.
    Full,
    /// Not at all.
    Off,
}

/// For which Services a pool is, and when it is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Of the pools that could serve a Service, the one with the lowest priority is tried first; 0 comes last.
    #[serde(default)]
    #[schemars(schema_with = "schema::uint32")]
    pub priority: u32,
    /// Services in these namespaces. With no namespace selector either: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub namespaces: Vec<String>,
    /// Services in namespaces with these labels; one selector that matches is enough. A selector that matches no
    /// namespace lets none in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services with these labels; one selector that matches is enough, none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

/// What becomes of an address that a Service has when it stops being its pool's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRemove {
    /// It stays.
    #[default]
    Keep,
    /// Its Service is moved to another pool.
    Move,
    /// It is taken away.
    Release,
}

const fn yes() -> bool {
    true
}

fn reuse_after() -> String {
    "10m".into()
}

/// What a pool's manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMeaning {
    /// The pool as its spec says.
    pub pool: ipam::Pool,
    /// Whether that is used now.
    pub hold: Hold,
}

/// Whether a pool's spec is used as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is.
    None,
    /// It waits, and what was in effect before goes on (`paused`).
    Paused,
}

const REUSE_AFTER: &str = "spec.reuseAfter";
const LONGEST_REUSE_AFTER: Duration = Duration::from_hours(30 * 24);

impl IpAddressPoolSpec {
    /// What the pool gives out, and to whom, if it was created then.
    ///
    /// # Errors
    /// An entry that is no address range, cannot be given to a Service, or overlaps another; a selector that is
    /// none; a duration that is none, or too long.
    pub fn parse(&self, created: Created) -> Result<PoolMeaning, Invalid> {
        let Self {
            addresses,
            exclude,
            auto_assign,
            avoid_buggy_ips,
            service_allocation,
            disabled,
            drain,
            paused,
            on_remove,
            reuse_after,
            probe,
        } = self;
        let anyone = ServiceAllocation::default();
        let ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors } =
            service_allocation.as_ref().unwrap_or(&anyone);
        let pool = ipam::Pool {
            prefixes: addresses::parse_all("spec.addresses", addresses)?,
            exclude: addresses::parse_any("spec.exclude", exclude)?,
            assignment: if *auto_assign { Assignment::Automatic } else { Assignment::OnRequest },
            buggy_addresses: buggy_addresses(*avoid_buggy_ips),
            audience: selector::audience(
                "spec.serviceAllocation",
                namespaces,
                namespace_selectors,
                service_selectors,
            )?,
            priority: *priority,
            state: state(*disabled, *drain),
            on_remove: (*on_remove).into(),
            reuse_after: duration::parse_within(REUSE_AFTER, reuse_after, LONGEST_REUSE_AFTER)?,
            probe: (*probe).into(),
            created,
        };
        Ok(PoolMeaning { pool, hold: if *paused { Hold::Paused } else { Hold::None } })
    }
}

const fn buggy_addresses(avoid: bool) -> BuggyAddresses {
    if avoid { BuggyAddresses::Avoided } else { BuggyAddresses::GivenOut }
}

const fn state(disabled: bool, drain: bool) -> State {
    match (drain, disabled) {
        (true, _) => State::Drained,
        (false, true) => State::Disabled,
        (false, false) => State::Open,
    }
}

impl From<Probe> for ipam::Probe {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Quick => Self::Quick,
            Probe::Full => Self::Full,
            Probe::Off => Self::Off,
        }
    }
}

/// Which of a pool's addresses are to be probed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// These.
    pub addresses: BTreeSet<IpAddr>,
    /// In this way.
    pub probe: Probe,
}

impl From<OnRemove> for ipam::OnRemove {
    fn from(on_remove: OnRemove) -> Self {
        match on_remove {
            OnRemove::Keep => Self::Keep,
            OnRemove::Move => Self::Move,
            OnRemove::Release => Self::Release,
        }
    }
}

/// When an object was created; one that the API server has not stored yet is the eldest.
pub(crate) fn created(object: &impl Resource) -> Created {
    object
        .meta()
        .creation_timestamp
        .as_ref()
        .map_or_else(Created::default, |time| Created(time.0.as_second()))
}

impl IpAddressPool {
    /// What the manifest asks for.
    ///
    /// # Errors
    /// As [`IpAddressPoolSpec::parse`].
    pub fn parse(&self) -> Result<PoolMeaning, Invalid> {
        self.spec.parse(created(self))
    }

    /// The pool that goes on while the manifest is paused or means nothing, as the status records it. A record that
    /// means nothing is none.
    pub fn in_effect(&self) -> Option<ipam::Pool> {
        let spec = self.status.as_ref()?.in_effect.as_ref()?;
        spec.parse(created(self)).ok().map(|meaning| meaning.pool)
    }

    /// What is to be probed of it, as its status says. What cannot be understood is left out: a status is a record.
    pub fn candidates(&self) -> Candidates {
        let probe = match self.parse() {
            Ok(PoolMeaning { hold: Hold::None, .. }) => Some(self.spec.probe),
            Ok(PoolMeaning { hold: Hold::Paused, .. }) | Err(_) => {
                let in_effect = self.status.as_ref().and_then(|status| status.in_effect.as_ref());
                in_effect.map(|spec| spec.probe)
            }
        };
        let texts = self.status.iter().flat_map(|status| &status.candidates);
        Candidates {
            addresses: texts.filter_map(|text| text.parse().ok()).collect(),
            probe: probe.unwrap_or(Probe::Off),
        }
    }

    /// What an announcing node has to know of it.
    ///
    /// # Errors
    /// As [`IpAddressPoolSpec::parse`], if the status does not say what goes on instead.
    pub fn announced(&self) -> Result<announce::Pool, Invalid> {
        let in_effect = self.in_effect().map(|pool| pool.prefixes);
        let prefixes: Vec<IpNetwork> = match self.parse() {
            Ok(PoolMeaning { pool, hold: Hold::None }) => pool.prefixes,
            Ok(PoolMeaning { hold: Hold::Paused, .. }) => in_effect.unwrap_or_default(),
            Err(invalid) => in_effect.ok_or(invalid)?,
        };
        Ok(announce::Pool { labels: self.labels().clone(), prefixes })
    }
}

#[cfg(test)]
mod tests;

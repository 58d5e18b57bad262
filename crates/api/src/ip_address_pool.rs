use ipam::{Assignment, BuggyAddresses};
use ipnetwork::IpNetwork;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, addresses, schema};

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
    /// Whether Services get addresses from here that do not name the pool or one of its addresses.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Keeps IPv4 addresses that end in .0 or .255 from being given out, which some old equipment drops.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
}

const fn yes() -> bool {
    true
}

/// What became of the pool. The counts stop at 2^63-1; `used` and `free` are for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpAddressPoolStatus {
    /// IPv4 addresses that Services have.
    #[serde(default, rename = "assignedIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that Services have.
    #[serde(default, rename = "assignedIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are free.
    #[serde(default, rename = "availableIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are free.
    #[serde(default, rename = "availableIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub available_ipv6: i64,
    /// Addresses that Services have, by family.
    #[serde(default)]
    pub used: String,
    /// Addresses that are free, by family.
    #[serde(default)]
    pub free: String,
    /// Ready: whether the pool is in use as it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many addresses of one family are used and free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Those that Services have, as a status field holds it.
    pub used: ipam::Count,
    /// The rest.
    pub free: ipam::Count,
}

impl IpAddressPoolStatus {
    /// The status of a pool with these counts; a family that the pool does not have is `None`.
    pub fn new(v4: Option<&Tally>, v6: Option<&Tally>, conditions: Vec<Condition>) -> Self {
        let number = |tally: Option<&Tally>, of: fn(&Tally) -> ipam::Count| {
            tally.map_or(0, |tally| of(tally).as_i64())
        };
        Self {
            assigned_ipv4: number(v4, |tally| tally.used),
            assigned_ipv6: number(v6, |tally| tally.used),
            available_ipv4: number(v4, |tally| tally.free),
            available_ipv6: number(v6, |tally| tally.free),
            used: by_family(v4.map(|tally| tally.used), v6.map(|tally| tally.used)),
            free: by_family(v4.map(|tally| tally.free), v6.map(|tally| tally.free)),
            conditions,
        }
    }
}

fn by_family(v4: Option<ipam::Count>, v6: Option<ipam::Count>) -> String {
    let parts = [v4.map(|count| format!("{count} IPv4")), v6.map(|count| format!("{count} IPv6"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl IpAddressPoolSpec {
    /// What the pool gives out, and to whom.
    ///
    /// # Errors
    /// An entry that is no address range, cannot be given to a Service, or overlaps another.
    pub fn parse(&self) -> Result<ipam::Pool, Invalid> {
        let Self { addresses, auto_assign, avoid_buggy_ips } = self;
        Ok(ipam::Pool {
            prefixes: addresses::parse_all("spec.addresses", addresses)?,
            assignment: if *auto_assign { Assignment::Automatic } else { Assignment::OnRequest },
            buggy_addresses: if *avoid_buggy_ips {
                BuggyAddresses::Avoided
            } else {
                BuggyAddresses::GivenOut
            },
            ..ipam::Pool::default()
        })
    }
}

impl IpAddressPool {
    /// What an announcing node has to know of it.
    ///
    /// # Errors
    /// As [`IpAddressPoolSpec::parse`].
    pub fn announced(&self) -> Result<announce::Pool, Invalid> {
        let prefixes: Vec<IpNetwork> = self.spec.parse()?.prefixes;
        Ok(announce::Pool { labels: self.labels().clone(), prefixes })
    }
}

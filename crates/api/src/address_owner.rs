//! Who answers for an address on its segment, one object an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use announce::{Placement, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, ResourceExt};
use names::NodeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::annotation::{find_ours, quoted};
use crate::{Invalid, schema};

/// Which node an address is placed on, and which answers for it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "AddressOwner",
    plural = "addressowners",
    shortname = "owner",
    category = "ferritelb",
    status = "AddressOwnerStatus",
    derive = "PartialEq",
    doc = "AddressOwner says which node an address is placed on and which answers ARP and NDP for it. The controller writes the spec, the speaker that answers the status; a move is asked for by annotation ferritelb.io/move-to.",
    validation = ("self.spec.address == oldSelf.spec.address", "an AddressOwner is of one address for ever"),
    validation = (
        "self.spec.generation > oldSelf.spec.generation || (self.spec.generation == oldSelf.spec.generation && self.spec.node == oldSelf.spec.node)",
        "another placement has a higher generation"
    ),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Placed", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Why", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Answers", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".status.interface"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.since"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.reason"),
    printcolumn(
        name = "Conflict",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Conflict")].status"#
    ),
    printcolumn(name = "MAC", type_ = "string", priority = 1, json_path = ".status.mac"),
    printcolumn(
        name = "Other",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Conflict")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AddressOwnerSpec {
    /// The address.
    #[schemars(schema_with = "schema::ip_address")]
    pub address: String,
    /// The node that it is placed on: the first that answers for it while it can.
    #[schemars(schema_with = "schema::name")]
    pub node: String,
    /// Of two placements, the one with the higher generation is the later. It only grows, also when the object is
    /// deleted and made again.
    #[schemars(schema_with = "schema::generation")]
    pub generation: i64,
    /// Why it was placed there: New, Found, Failover, Ineligible, Leaving, Requested, Preferred or Rebalanced.
    #[serde(default)]
    #[schemars(schema_with = "schema::text")]
    pub reason: String,
    /// The requests to move it that were looked at. One counts once, until it says something else.
    #[serde(default)]
    pub answered: Answered,
}

/// What annotations `ferritelb.io/move-to` say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// That of the AddressOwner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub address_owner: Option<String>,
    /// That of a Service that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub service: Option<String>,
}

/// Who answers for an address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressOwnerStatus {
    /// The node that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub node: Option<String>,
    /// On this interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub interface: Option<String>,
    /// With this Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub mac: Option<String>,
    /// The generation of the placement that it claims the address under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub generation: Option<i64>,
    /// Of two claims under one placement, the one with the higher epoch is the later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub epoch: Option<i64>,
    /// Since when it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub since: Option<Time>,
    /// Why it does and no other node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub reason: Option<String>,
    /// Moved: whether it was moved where it was last asked to be, and if not, why. Conflict: whether another station
    /// on the segment answers for it too.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// An address's place, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where.
    pub placement: Placement,
    /// Why, in one word.
    pub reason: String,
    /// What was asked for so far.
    pub answered: Answered,
}

/// Names the node that an address is to move to; on an AddressOwner or a Service.
const MOVE_TO: &str = "move-to";
/// Says when somebody asked for a rebalance.
const REBALANCE: &str = "rebalance";

/// The name of the object of an address: an IPv6 address is written out, with hyphens.
pub fn name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:04x}")).join("-"),
    }
}

/// The address whose object has this name.
pub fn address_of(object: &str) -> Option<IpAddr> {
    let address: IpAddr = object.replace('-', ":").parse().ok()?;
    (name(address) == object).then_some(address)
}

/// When somebody asked, in these annotations of an L2Advertisement or of the FerriteConfig, that addresses go from
/// nodes with many to nodes with few.
///
/// # Errors
/// That is no time.
pub fn rebalance_asked(annotations: &BTreeMap<String, String>) -> Result<Option<Timestamp>, Invalid> {
    let Some(found) = find_ours(annotations, REBALANCE) else { return Ok(None) };
    let why = || format!("{} is not a time such as 2026-11-21T12:00:00Z", quoted(found.value));
    found.value.parse().map(Some).map_err(|_| Invalid::new(found.field(), why()))
}

/// The node that these annotations, of an AddressOwner or a Service, ask an address to be moved to.
pub fn move_to(annotations: &BTreeMap<String, String>) -> Option<String> {
    find_ours(annotations, MOVE_TO).map(|found| found.value.to_owned())
}

impl AddressOwnerSpec {
    /// The address, and where it is placed.
    ///
    /// # Errors
    /// It is of no address, or placed on no node.
    pub fn parse(&self) -> Result<(IpAddr, Placed), Invalid> {
        let Self { address, node, generation, reason, answered } = self;
        let parsed = address.parse();
        let address = parsed.map_err(|_| Invalid::new("spec.address", "is no IP address"))?;
        if node.is_empty() {
            return Err(Invalid::new("spec.node", "must not be empty"));
        }
        let generation = u64::try_from(*generation).ok().filter(|generation| *generation > 0);
        let generation = generation.ok_or_else(|| Invalid::new("spec.generation", "is less than 1"))?;
        Ok((address, Placed::new(NodeName::new(node), generation, reason.clone(), answered.clone())))
    }
}

impl AddressOwner {
    /// The address, and where it is placed.
    ///
    /// # Errors
    /// As [`AddressOwnerSpec::parse`], and where the name is not the address's.
    pub fn parse(&self) -> Result<(IpAddr, Placed), Invalid> {
        let (address, placed) = self.spec.parse()?;
        if self.name_any() == name(address) {
            Ok((address, placed))
        } else {
            Err(Invalid::new("metadata.name", format!("is not {}", name(address))))
        }
    }
}

impl Placed {
    /// A place, for this reason: it says whether an owner elsewhere has to give way.
    pub fn new(node: NodeName, generation: u64, reason: String, answered: Answered) -> Self {
        let displaces = Reason::displaces(&reason);
        Self { placement: Placement { node, generation, displaces }, reason, answered }
    }

    /// The spec that says so of this address, as a merge patch: whatever stood there, this is what stands then.
    pub fn patch(&self, address: IpAddr) -> Value {
        let mut spec = self.spec(address);
        let Answered { address_owner, service } = &self.answered;
        if let Value::Object(fields) = &mut spec {
            fields.insert("answered".into(), json!({ "addressOwner": address_owner, "service": service }));
        }
        spec
    }

    /// The spec that says so of this address.
    pub fn spec(&self, address: IpAddr) -> Value {
        let Self { placement: Placement { node, generation, displaces: _ }, reason, answered } = self;
        json!(AddressOwnerSpec {
            address: address.to_string(),
            node: node.to_string(),
            generation: i64::try_from(*generation).unwrap_or(i64::MAX),
            reason: reason.clone(),
            answered: answered.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_object_is_its_address_and_a_name_in_kubernetes() {
        let cases = [
            ("192.0.2.10", "192.0.2.10"),
            ("2001:db8::1", "2001-0db8-0000-0000-0000-0000-0000-0001"),
            ("::", "0000-0000-0000-0000-0000-0000-0000-0000"),
            ("::ffff:192.0.2.1", "0000-0000-0000-0000-0000-ffff-c000-0201"),
        ];
        for (address, expected) in cases {
            assert_eq!(name(address.parse().unwrap()), expected);
            assert_eq!(address_of(expected), Some(address.parse().unwrap()));
        }
        for other in ["web", "2001-db8--1", "192.0.2.010", "2001-0DB8-0000-0000-0000-0000-0000-0001"] {
            assert_eq!(address_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let address = "2001:db8::1".parse().unwrap();
        let answered = Answered { address_owner: Some("n1".into()), service: None };
        let placed = Placed::new(NodeName::new("n1"), 7, Reason::Requested.as_str().into(), answered);
        let object = json!({ "metadata": { "name": name(address) }, "spec": placed.spec(address) });
        let read: AddressOwner = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(read.parse(), Ok((address, placed)));
        let blamed = |path: &str, value: Value| {
            let mut object = object.clone();
            *object.pointer_mut(path).unwrap() = value;
            serde_json::from_value::<AddressOwner>(object).unwrap().parse().unwrap_err().field
        };
        assert_eq!(blamed("/metadata/name", json!("web")), "metadata.name");
        assert_eq!(blamed("/spec/address", json!("192.0.2.1")), "metadata.name");
        assert_eq!(blamed("/spec/address", json!("here")), "spec.address");
        assert_eq!(blamed("/spec/node", json!("")), "spec.node");
        assert_eq!(blamed("/spec/generation", json!(0)), "spec.generation");
    }

    #[test]
    fn a_patch_takes_away_what_is_no_longer_asked_for() {
        let answered = Answered { address_owner: None, service: Some("n1".into()) };
        let patch = Placed::new(NodeName::new("n1"), 7, Reason::New.as_str().into(), answered)
            .patch("192.0.2.1".parse().unwrap());
        assert_eq!(patch["answered"], json!({ "addressOwner": null, "service": "n1" }));
        assert_eq!(patch["generation"], 7);
    }

    #[test]
    fn a_rebalance_is_asked_for_at_a_time() {
        let asked = |value: &str| rebalance_asked(&[("ferritelb.io/rebalance".into(), value.into())].into());
        assert_eq!(rebalance_asked(&BTreeMap::new()), Ok(None));
        assert_eq!(asked("1970-01-01T00:00:07Z").unwrap().unwrap().as_second(), 7);
        assert_eq!(asked("now").unwrap_err().field, "metadata.annotations[ferritelb.io/rebalance]");
    }

    #[test]
    fn a_request_is_an_annotation_of_ours() {
        let asks = |key: &str, value: &str| move_to(&[(key.to_owned(), value.to_owned())].into());
        assert_eq!(asks("ferritelb.io/move-to", " n2 "), Some("n2".into()));
        assert_eq!(asks("ferritelb.io/move-to", ""), None);
        assert_eq!(asks("metallb.io/move-to", "n2"), None);
    }
}

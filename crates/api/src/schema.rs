//! Pieces of the structural schemas that several kinds have in common.
//!
//! They are written out where the derived ones would not do: `format: uint32` is unknown to the API server
//! and makes kubectl warn, and an `Option` would make the field nullable.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// As `metav1.Duration` is written.
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$";

pub(crate) fn asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": 4_294_967_295_u32,
        "x-kubernetes-validations": [
            { "rule": "self != 23456", "message": "23456 stands for four-octet AS numbers and is nobody's (RFC 6793)" },
        ],
    })
}

pub(crate) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
}

pub(crate) fn uint32(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": 4_294_967_295_u32 })
}

pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0 })
}

pub(crate) fn generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 1 })
}

pub(crate) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

pub(crate) fn ip_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 45,
        "x-kubernetes-validations": [{ "rule": "isIP(self)", "message": "must be an IP address" }],
    })
}

fn duration(rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": DURATION,
        "x-kubernetes-validations": [{ "rule": rule, "message": message }],
    })
}

pub(crate) fn hold_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) == duration('0s') || (duration(self) >= duration('3s') && \
         duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0)",
        "holdTime must be 0 or 3 to 65535 whole seconds (RFC 4271 §4.2)",
    )
}

pub(crate) fn keepalive_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0",
        "keepaliveTime must be 0 to 65535 whole seconds",
    )
}

pub(crate) fn connect_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) >= duration('1s') && duration(self) <= duration('65535s') && \
         duration(self).getMilliseconds() % 1000 == 0",
        "connectTime must be 1 to 65535 whole seconds",
    )
}

/// Names of objects, each once.
pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 1024,
        "items": { "type": "string", "minLength": 1, "maxLength": 253 },
        "x-kubernetes-list-type": "set",
    })
}

/// Label selectors, so strict that each of them means something.
pub(crate) fn selectors(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": selector(),
    })
}

fn selector() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that must be there, with these values.",
                "type": "object",
                "additionalProperties": { "type": "string", "maxLength": 63 },
            },
            "matchExpressions": {
                "description": "What else must hold; all of it.",
                "type": "array",
                "maxItems": 64,
                "items": requirement(),
            },
        },
    })
}

/// Label selectors of nodes, each with a weight.
pub(crate) fn preferred_nodes(_: &mut SchemaGenerator) -> Schema {
    let mut preference = selector();
    preference
        .insert("description".into(), "The nodes with these labels; an empty selector means all.".into());
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "weight": {
                    "description": "How much they are preferred.",
                    "type": "integer",
                    "format": "int32",
                    "minimum": 1,
                    "maximum": 100,
                },
                "preference": preference,
            },
            "required": ["weight", "preference"],
        },
    })
}

fn requirement() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "key": { "description": "The label's key.", "type": "string", "minLength": 1, "maxLength": 317 },
            "operator": {
                "description": "What must hold for the label.",
                "type": "string",
                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
            },
            "values": {
                "description": "The values that In and NotIn are about.",
                "type": "array",
                "maxItems": 256,
                "items": { "type": "string", "maxLength": 63 },
            },
        },
        "required": ["key", "operator"],
        "x-kubernetes-validations": [{
            "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "message": "In and NotIn need values, Exists and DoesNotExist take none",
            "fieldPath": ".values",
        }],
    })
}

/// Interface names, each once; Linux allows 15 octets.
pub(crate) fn interfaces(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "minLength": 1, "maxLength": 15 },
        "x-kubernetes-list-type": "set",
    })
}

/// A type's own schema, for a field that may be left out but is never null.
pub(crate) fn not_null<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A list that has one writer, which writes it as a whole.
pub(crate) fn bounded<T: JsonSchema, const MOST: usize>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST,
        "items": generator.subschema_for::<T>(),
        "x-kubernetes-list-type": "atomic",
    })
}

pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

pub(crate) fn reuse_after(_: &mut SchemaGenerator) -> Schema {
    duration("duration(self) <= duration('720h')", "reuseAfter must be 0s to 720h, which is 30 days")
}

pub(crate) fn overlap(_: &mut SchemaGenerator) -> Schema {
    duration("duration(self) <= duration('1h')", "overlap must be 0s to 1h")
}

pub(crate) fn heartbeat_interval(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) >= duration('10ms') && duration(self) <= duration('10s')",
        "interval must be 10ms to 10s",
    )
}

pub(crate) fn heartbeat_multiplier(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 2, "maximum": 10 })
}

pub(crate) fn cover(_: &mut SchemaGenerator) -> Schema {
    duration("duration(self) <= duration('10m')", "cover must be 0s to 10m")
}

pub(crate) fn refresh(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) == duration('0s') || (duration(self) >= duration('1s') && duration(self) <= duration('1h'))",
        "refresh must be 0s or 1s to 1h",
    )
}

pub(crate) fn healthz(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 256,
        "x-kubernetes-validations": [{
            "rule": "self == '' || (isURL(self) && url(self).getScheme() == 'http' && url(self).getHostname() != '')",
            "message": "healthz must be an http URL such as http://127.0.0.1:10256/healthz, or empty",
        }],
    })
}

pub(crate) fn max_concurrent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 1000 })
}

/// How many addresses a reservation may choose.
pub(crate) fn reserved_count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 1024 })
}

/// The name of an object.
pub(crate) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 253 })
}

/// CIDRs, ranges and single addresses.
pub(crate) fn any_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 512,
        "items": {
            "type": "string",
            "maxLength": 96,
            "x-kubernetes-validations": [{
                "rule": "isIP(self) || isCIDR(self) || (self.split('-').size() == 2 && \
                         isIP(self.split('-')[0].trim()) && isIP(self.split('-')[1].trim()))",
                "message": "must be a CIDR such as 192.0.2.0/24, a range such as 192.0.2.10-192.0.2.20 or an address",
            }],
        },
        "x-kubernetes-list-type": "atomic",
    })
}

/// Addresses that are to be probed.
pub(crate) fn candidates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 1024,
        "items": { "type": "string", "maxLength": 45 },
        "x-kubernetes-list-type": "set",
    })
}

/// What a pool gives out: CIDRs and ranges.
pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 512,
        "items": {
            "type": "string",
            "maxLength": 96,
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self) || (self.split('-').size() == 2 && isIP(self.split('-')[0].trim()) && \
                         isIP(self.split('-')[1].trim()))",
                "message": "addresses must be CIDRs such as 192.0.2.0/24 or ranges such as 192.0.2.10-192.0.2.20; one address is 192.0.2.10/32",
            }],
        },
        "x-kubernetes-list-type": "atomic",
    })
}

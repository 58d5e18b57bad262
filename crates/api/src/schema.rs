//! Pieces of the structural schemas that several kinds have in common.
//!
//! They are written out where the derived ones would not do: `format: uint32` is unknown to the API server
//! and makes kubectl warn, and an `Option` would make the field nullable.

use schemars::{Schema, SchemaGenerator, json_schema};

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

/// Interface names, each once; Linux allows 15 octets.
pub(crate) fn interfaces(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "minLength": 1, "maxLength": 15 },
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
                "message": "addresses must be CIDRs such as 192.0.2.0/24 or ranges such as 192.0.2.10-192.0.2.20",
            }],
        },
        "x-kubernetes-list-type": "atomic",
    })
}

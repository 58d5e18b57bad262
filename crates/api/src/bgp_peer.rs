use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use announce::Family;
use bgp::{Asn, HoldTime, RouterId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, duration, schema, selector};

/// A router that the nodes announce to.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    root = "BgpPeer",
    plural = "bgppeers",
    shortname = "bgpp",
    category = "ferritelb",
    status = "BgpPeerStatus",
    derive = "PartialEq",
    doc = "BGPPeer is a router that the nodes have BGP sessions with.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.peerASN"),
    printcolumn(name = "My ASN", type_ = "integer", json_path = ".spec.myASN"),
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
        "rule": "!isIP(self.peerAddress) || !(ip(self.peerAddress).isUnspecified() || \
                 ip(self.peerAddress).isLinkLocalUnicast() || ip(self.peerAddress).isLinkLocalMulticast())",
        "message": "peerAddress must be the address of one router, and not link-local",
        "fieldPath": ".peerAddress",
    },
    {
        "rule": "!has(self.sourceAddress) || !isIP(self.sourceAddress) || !isIP(self.peerAddress) || \
                 ip(self.sourceAddress).family() == ip(self.peerAddress).family()",
        "message": "sourceAddress must be of the family of peerAddress",
        "fieldPath": ".sourceAddress",
    },
    {
        "rule": "!has(self.routerID) || !isIP(self.routerID) || (ip(self.routerID).family() == 4 && \
                 !ip(self.routerID).isUnspecified())",
        "message": "routerID must be an IPv4 address, not 0.0.0.0 (RFC 6286)",
        "fieldPath": ".routerID",
    },
    {
        "rule": "!has(self.keepaliveTime) || !has(self.holdTime) || \
                 duration(self.keepaliveTime) <= duration(self.holdTime)",
        "message": "keepaliveTime must not exceed holdTime",
        "fieldPath": ".keepaliveTime",
    },
    {
        "rule": "!has(self.keepaliveTime) || !has(self.holdTime) || \
                 duration(self.keepaliveTime) > duration('0s') || duration(self.holdTime) == duration('0s')",
        "message": "keepaliveTime may be 0 only where holdTime is 0",
        "fieldPath": ".keepaliveTime",
    },
    {
        "rule": "!has(self.keepaliveTime) || has(self.holdTime) || \
                 duration(self.keepaliveTime) <= duration('21845s')",
        "message": "keepaliveTime without holdTime must not exceed a third of 65535 s",
        "fieldPath": ".keepaliveTime",
    },
    {
        "rule": "!has(self.ebgpMultiHop) || !self.ebgpMultiHop || self.myASN != self.peerASN",
        "message": "ebgpMultiHop must be false where peerASN is myASN: internal sessions always may take several hops",
        "fieldPath": ".ebgpMultiHop",
    },
]))]
pub struct BgpPeerSpec {
    /// The nodes' AS number.
    #[serde(rename = "myASN")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: u32,
    /// The router's AS number; equal to myASN for an internal session.
    #[serde(rename = "peerASN")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: u32,
    /// The router's IP address. The session carries the routes of its family.
    #[schemars(schema_with = "schema::ip_address")]
    pub peer_address: String,
    /// The router's TCP port.
    #[serde(default = "bgp_port")]
    #[schemars(schema_with = "schema::port")]
    pub peer_port: u16,
    /// The node's address to dial from. It must exist on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ip_address")]
    pub source_address: Option<String>,
    /// After this long without a word from the router, the session is lost: 0 (never) or 3 to 65535 whole seconds.
    /// Unset: three times keepaliveTime, or 90s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::hold_time")]
    pub hold_time: Option<String>,
    /// How often the router hears from us. Unset: a third of the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::keepalive_time")]
    pub keepalive_time: Option<String>,
    /// The longest wait between two attempts to connect. Unset: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::connect_time")]
    pub connect_time: Option<String>,
    /// The nodes' BGP Identifier, in the form of an IPv4 address. Each node needs its own, so set it for peers of
    /// one node only. Unset: made from the node's address.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ip_address")]
    pub router_id: Option<String>,
    /// Which nodes have a session with the router, by their labels; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Whether an external router may be more than one hop away.
    #[serde(default, rename = "ebgpMultiHop")]
    pub ebgp_multi_hop: bool,
    /// Whether the session carries both families, not only that of peerAddress.
    #[serde(default)]
    pub dual_stack_address_family: bool,
}

const fn bgp_port() -> u16 {
    179
}

/// What became of the peer; the sessions are in the SpeakerStatus of each node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeerStatus {
    /// Ready: whether the peer is in use as it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A BGPPeer in full: for whom it is, and how the session with it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What the announcing decisions have to know.
    pub announced: announce::Peer,
    /// Where the router listens.
    pub remote: SocketAddr,
    /// The address to dial from.
    pub source: Option<IpAddr>,
    /// How far away the router may be.
    pub distance: Distance,
    /// The BGP Identifier, where it is not the node's own.
    pub router_id: Option<RouterId>,
    my_asn: Asn,
    peer_asn: Asn,
    hold_time: Option<HoldTime>,
    keepalive_time: Option<Duration>,
    connect_time: Duration,
}

impl Peer {
    /// The session of a node that has this BGP Identifier of its own.
    pub fn config(&self, node: RouterId) -> bgp::PeerConfig {
        let families = self.announced.families.iter().map(|family| match family {
            Family::V4 => bgp::Family::Ipv4Unicast,
            Family::V6 => bgp::Family::Ipv6Unicast,
        });
        bgp::PeerConfig {
            local_asn: self.my_asn,
            peer_asn: self.peer_asn,
            router_id: self.router_id.unwrap_or(node),
            hold_time: self.hold_time,
            keepalive_time: self.keepalive_time,
            connect_retry_time: self.connect_time,
            families: families.collect(),
        }
    }
}

/// How far away a router may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// On a network of the node's own.
    OneHop,
    /// Anywhere.
    ManyHops,
}

impl BgpPeerSpec {
    /// The peer.
    ///
    /// # Errors
    /// A field, or two together, that BGP does not allow.
    pub fn parse(&self) -> Result<Peer, Invalid> {
        let Self {
            my_asn,
            peer_asn,
            peer_address,
            peer_port,
            source_address,
            hold_time,
            keepalive_time,
            connect_time,
            router_id,
            node_selectors,
            ebgp_multi_hop,
            dual_stack_address_family,
        } = self;
        let address = peer_address_of(peer_address)?;
        let (hold_time, keepalive_time) = timers(hold_time.as_deref(), keepalive_time.as_deref())?;
        if *peer_port == 0 {
            return Err(Invalid::new("spec.peerPort", "must be 1 to 65535"));
        }
        Ok(Peer {
            announced: announce::Peer {
                node_selectors: selector::parse_all("spec.nodeSelectors", node_selectors)?,
                families: families(address, *dual_stack_address_family),
            },
            my_asn: asn("spec.myASN", *my_asn)?,
            peer_asn: asn("spec.peerASN", *peer_asn)?,
            remote: SocketAddr::new(address, *peer_port),
            source: source_address.as_deref().map(|text| source(text, address)).transpose()?,
            router_id: router_id.as_deref().map(parse_router_id).transpose()?,
            hold_time,
            keepalive_time,
            connect_time: connect_time.as_deref().map_or(Ok(CONNECT_TIME), parse_connect_time)?,
            distance: distance(my_asn == peer_asn, *ebgp_multi_hop)?,
        })
    }
}

const HOLD_TIME: &str = "spec.holdTime";
const KEEPALIVE_TIME: &str = "spec.keepaliveTime";
/// Used where `connectTime` is unset.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Seconds, used where neither `holdTime` nor `keepaliveTime` is set (RFC 4271 §10 suggests it).
const DEFAULT_HOLD_TIME: u64 = 90;

fn asn(field: &str, number: u32) -> Result<Asn, Invalid> {
    Asn::parse(number).map_err(|reserved| Invalid::new(field, reserved))
}

fn ip(field: &str, text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("{text:?} is not an IP address")))
}

fn peer_address_of(text: &str) -> Result<IpAddr, Invalid> {
    const FIELD: &str = "spec.peerAddress";
    let address = ip(FIELD, text)?;
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_unspecified() || address.is_multicast() {
        Err(Invalid::new(FIELD, format!("{address} is not the address of one router")))
    } else if link_local {
        Err(Invalid::new(FIELD, format!("{address} is link-local, which does not say on which interface")))
    } else {
        Ok(address)
    }
}

fn source(text: &str, peer: IpAddr) -> Result<IpAddr, Invalid> {
    const FIELD: &str = "spec.sourceAddress";
    let address = ip(FIELD, text)?;
    if Family::of(address) == Family::of(peer) {
        Ok(address)
    } else {
        Err(Invalid::new(FIELD, format!("{address} and peerAddress {peer} are of different families")))
    }
}

fn parse_router_id(text: &str) -> Result<RouterId, Invalid> {
    const FIELD: &str = "spec.routerID";
    let id: Ipv4Addr = text
        .parse()
        .map_err(|_| Invalid::new(FIELD, format!("{text:?} is not of the form of an IPv4 address")))?;
    RouterId::parse(id).map_err(|zero| Invalid::new(FIELD, zero))
}

fn parse_connect_time(text: &str) -> Result<Duration, Invalid> {
    const FIELD: &str = "spec.connectTime";
    match duration::parse_seconds(FIELD, text)? {
        seconds @ 1..=65535 => Ok(Duration::from_secs(seconds)),
        _ => Err(Invalid::new(FIELD, format!("{text} is not within 1s and 65535s"))),
    }
}

/// The hold time, and the keepalive time where it is set.
fn timers(
    hold: Option<&str>,
    keepalive: Option<&str>,
) -> Result<(Option<HoldTime>, Option<Duration>), Invalid> {
    let keepalive = keepalive.map(|text| duration::parse_seconds(KEEPALIVE_TIME, text)).transpose()?;
    let (field, hold) = match (hold, keepalive) {
        (Some(text), _) => (HOLD_TIME, duration::parse_seconds(HOLD_TIME, text)?),
        (None, Some(keepalive)) => (KEEPALIVE_TIME, keepalive.saturating_mul(3)),
        (None, None) => (HOLD_TIME, DEFAULT_HOLD_TIME),
    };
    match keepalive {
        Some(keepalive) if keepalive > hold => {
            return Err(Invalid::new(
                KEEPALIVE_TIME,
                format!("{keepalive}s exceeds the hold time of {hold}s"),
            ));
        }
        Some(0) if hold > 0 => {
            return Err(Invalid::new(
                KEEPALIVE_TIME,
                format!("0 would let the hold time of {hold}s run out"),
            ));
        }
        Some(_) | None => {}
    }
    let keepalive = keepalive.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Ok((hold_time(field, hold)?, keepalive))
}

fn hold_time(field: &str, seconds: u64) -> Result<Option<HoldTime>, Invalid> {
    let seconds = u16::try_from(seconds)
        .map_err(|_| Invalid::new(field, format!("a hold time of {seconds}s exceeds 65535s")))?;
    HoldTime::parse(seconds).map_err(|unacceptable| Invalid::new(field, unacceptable))
}

fn families(address: IpAddr, dual_stack: bool) -> BTreeSet<Family> {
    if dual_stack { [Family::V4, Family::V6].into() } else { [Family::of(address)].into() }
}

fn distance(internal: bool, multi_hop: bool) -> Result<Distance, Invalid> {
    match (internal, multi_hop) {
        (true, true) => {
            Err(Invalid::new("spec.ebgpMultiHop", "the session is internal, as peerASN is myASN"))
        }
        (true, false) | (false, true) => Ok(Distance::ManyHops),
        (false, false) => Ok(Distance::OneHop),
    }
}

#[cfg(test)]
mod tests;

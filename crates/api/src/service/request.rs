use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{Backend, Families, Family, Protocol, Request, Sharing};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use names::PoolName;

use crate::Invalid;
use crate::annotation::{self, ADDRESS_POOL, ALLOW_SHARED_IP, Found, LOAD_BALANCER_IPS, SHARE_LOCAL, quoted};

/// How many pools a Service may name.
const MOST_POOLS: usize = 64;
/// The longest name that an object may have.
const LONGEST_NAME: usize = 253;

/// What a Service asks for.
///
/// # Errors
/// A field that means nothing, or that contradicts another.
pub(super) fn parse(service: &Service, spec: &ServiceSpec) -> Result<Request, Invalid> {
    let none = BTreeMap::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
    Ok(Request {
        families: families(spec)?,
        addresses: addresses(spec, annotations)?,
        pools: pools(annotations)?,
        labels: service.metadata.labels.clone().unwrap_or_default(),
        sharing: sharing(spec, annotations)?,
        ports: ports(spec).unwrap_or_default(),
    })
}

/// The pools of a list, each once, in their order. A Service's owner may write more than anyone can mean.
fn pools(annotations: &BTreeMap<String, String>) -> Result<Vec<PoolName>, Invalid> {
    let Some(found) = annotation::find(annotations, ADDRESS_POOL)? else { return Ok(Vec::new()) };
    let names = || found.value.split(',').map(str::trim);
    let refuse = |why: String| Err(Invalid::new(found.field(), why));
    let count = names().count();
    if count > MOST_POOLS {
        return refuse(format!("names {count} IPAddressPools; {MOST_POOLS} are possible"));
    }
    let mut pools = Vec::new();
    for name in names() {
        if name.is_empty() {
            return refuse(format!("{} has an empty name in it", quoted(found.value)));
        }
        if name.len() > LONGEST_NAME {
            return refuse(format!("{} is longer than a name can be", quoted(name)));
        }
        let name = PoolName::new(name);
        if !pools.contains(&name) {
            pools.push(name);
        }
    }
    Ok(pools)
}

/// With whom it would share its addresses.
///
/// # Errors
/// As [`parse`].
pub(super) fn sharing(
    spec: &ServiceSpec,
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Sharing>, Invalid> {
    let local = annotation::find_ours(annotations, SHARE_LOCAL);
    match (annotation::find(annotations, ALLOW_SHARED_IP)?, local) {
        (Some(found), local) => Ok(Some(Sharing {
            key: found.value.into(),
            ports: ports(spec)?,
            backend: backend(spec, local.as_ref())?,
        })),
        (None, Some(local)) => {
            let why = format!("means nothing without {}", annotation::ours(ALLOW_SHARED_IP));
            Err(Invalid::new(local.field(), why))
        }
        (None, None) => Ok(None),
    }
}

/// The same of a Service that cannot be understood: where it listens is known all the same, and it agrees with
/// nobody about what is not. A key is never empty that was understood.
pub(super) fn terms(spec: &ServiceSpec, annotations: &BTreeMap<String, String>) -> Option<Sharing> {
    let known = sharing(spec, annotations).ok().flatten();
    known.or_else(|| {
        let found = annotation::find(annotations, ALLOW_SHARED_IP).ok().flatten();
        let key = found.map_or_else(String::new, |found| found.value.into());
        Some(Sharing { key, ports: ports(spec).ok()?, backend: Backend::Unselected })
    })
}

fn ports(spec: &ServiceSpec) -> Result<BTreeSet<(Protocol, u16)>, Invalid> {
    let ports = spec.ports.iter().flatten().enumerate();
    ports.map(|(index, port)| parse_port(&format!("spec.ports[{index}]"), port)).collect()
}

fn parse_port(field: &str, port: &ServicePort) -> Result<(Protocol, u16), Invalid> {
    let protocol = match port.protocol.as_deref() {
        Some("TCP") | None => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(other) => {
            let why = format!("{other:?} is not one of TCP, UDP, SCTP");
            return Err(Invalid::new(format!("{field}.protocol"), why));
        }
    };
    let number = u16::try_from(port.port)
        .map_err(|_| Invalid::new(format!("{field}.port"), format!("{} is not a port", port.port)))?;
    Ok((protocol, number))
}

fn backend(spec: &ServiceSpec, local: Option<&Found<'_>>) -> Result<Backend, Invalid> {
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    match local.map(|found| (found, found.value)) {
        Some((_, "any")) => Ok(Backend::LocalToAny),
        Some((_, "all")) => Ok(Backend::LocalToAll),
        Some((found, other)) => {
            let why = format!("{} is neither \"any\" nor \"all\"", quoted(other));
            Err(Invalid::new(found.field(), why))
        }
        None if spec.external_traffic_policy.as_deref() != Some("Local") => Ok(Backend::Cluster),
        None => Ok(selector.cloned().map_or(Backend::Unselected, Backend::Local)),
    }
}

/// The families of the Service's cluster addresses, the first one first; the API server has settled them.
fn families(spec: &ServiceSpec) -> Result<Families, Invalid> {
    let named: Vec<_> = match spec.ip_families.as_deref() {
        Some(names @ [_, ..]) => names.iter().filter_map(|name| family_named(name)).collect(),
        Some([]) | None => {
            let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
            addresses.filter_map(|text| text.parse().ok().map(Family::of)).collect()
        }
    };
    let Some(first) = named.first().copied() else {
        return Err(Invalid::new(
            "spec.clusterIPs",
            "the Service has no cluster IP, so its family is unknown",
        ));
    };
    let both = named.iter().any(|family| *family != first);
    Ok(match (spec.ip_family_policy.as_deref(), both) {
        (Some("RequireDualStack"), _) => Families::Both(first),
        (_, true) => Families::Prefer(first),
        (_, false) => Families::One(first),
    })
}

fn family_named(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

/// The very addresses that are asked for. The field can name one; the annotation one a family. If both are set,
/// the annotation has to contain what the field says.
fn addresses(
    spec: &ServiceSpec,
    annotations: &BTreeMap<String, String>,
) -> Result<BTreeSet<IpAddr>, Invalid> {
    const FIELD: &str = "spec.loadBalancerIP";
    let field = spec.load_balancer_ip.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let field = field.map(|text| parse_address(FIELD, text)).transpose()?;
    let Some(found) = annotation::find(annotations, LOAD_BALANCER_IPS)? else {
        return Ok(field.into_iter().collect());
    };
    let listed = parse_list(&found.field(), found.value)?;
    match field {
        Some(one) if !listed.contains(&one) => {
            let why = format!("{one} contradicts {}: {}", found.field(), quoted(found.value));
            Err(Invalid::new(FIELD, why))
        }
        Some(_) | None => Ok(listed),
    }
}

fn parse_list(field: &str, text: &str) -> Result<BTreeSet<IpAddr>, Invalid> {
    let too_many =
        || Err(Invalid::new(field, format!("{} names more than one address of a family", quoted(text))));
    // There are two families.
    if text.split(',').nth(2).is_some() {
        return too_many();
    }
    let listed: Vec<_> =
        text.split(',').map(|one| parse_address(field, one.trim())).collect::<Result<_, _>>()?;
    let families: BTreeSet<_> = listed.iter().map(|address| Family::of(*address)).collect();
    if families.len() == listed.len() { Ok(listed.into_iter().collect()) } else { too_many() }
}

fn parse_address(field: &str, text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("{} is not an IP address", quoted(text))))
}

//! The kernel's routes, as `ip -json` shows them.
//!
//! A BGP router forwards IPv6 to the link-local address of a next hop that tells it; here such a next hop is
//! given by its global address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::Table;
use crate::address::{Family, Network};
use crate::host::Host;

/// Names of `/etc/iproute2/rt_protos` under which the two routers install what they learned.
const LEARNED: [&str; 2] = ["bgp", "bird"];

#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    protocol: String,
    #[serde(flatten)]
    hop: Hop,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

/// A next hop; of the other family it is under `via`.
#[derive(Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
    via: Option<Via>,
}

#[derive(Deserialize)]
struct Via {
    host: IpAddr,
}

impl Hop {
    fn address(&self) -> Option<IpAddr> {
        self.gateway.or(self.via.as_ref().map(|via| via.host))
    }
}

#[track_caller]
pub(super) fn kernel(host: &Host) -> Table {
    let mut table = Table::new();
    for family in Family::BOTH {
        let listed = host.sh(&["ip", "-json", family.flag(), "route", "show"]);
        table.extend(parse(&listed));
    }
    table
}

fn parse(listed: &str) -> Table {
    // Without any route `ip` prints nothing at all.
    let routes: Vec<Route> = match listed.trim() {
        "" => Vec::new(),
        json => serde_json::from_str(json).expect("ip prints JSON"),
    };
    let mut table = Table::new();
    for route in routes {
        if LEARNED.contains(&route.protocol.as_str())
            && let Ok(prefix) = route.dst.parse::<IpNetwork>()
        {
            // IPv6 lists each next hop as a route of its own in some releases: gather them.
            table.entry(prefix).or_default().extend(hops(&route));
        }
    }
    table
}

fn hops(route: &Route) -> BTreeSet<IpAddr> {
    let all = route.nexthops.iter().chain([&route.hop]);
    all.filter_map(Hop::address).map(global).collect()
}

fn global(hop: IpAddr) -> IpAddr {
    match hop {
        IpAddr::V4(_) => hop,
        IpAddr::V6(v6) => Network::SEGMENT.by_link_local(v6).map_or(hop, IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_of_both_shapes_are_read_and_other_protocols_left_out() {
        let listed = r#"[
            {"dst":"default","gateway":"10.77.0.1","dev":"eth0","flags":[]},
            {"dst":"203.0.113.1","gateway":"10.77.0.11","dev":"eth0","protocol":"bgp","flags":[]},
            {"dst":"203.0.113.2","protocol":"bird","nexthops":[
                {"gateway":"10.77.0.11","dev":"eth0","weight":1},
                {"via":{"family":"inet6","host":"fd77::12"},"dev":"eth0","weight":1}]},
            {"dst":"10.77.0.0/24","dev":"eth0","protocol":"kernel"}]"#;
        let table = parse(listed);
        let hops = |prefix: &str| table[&prefix.parse().unwrap()].clone();
        assert_eq!(table.len(), 2);
        assert_eq!(hops("203.0.113.1/32"), ["10.77.0.11".parse().unwrap()].into());
        assert_eq!(
            hops("203.0.113.2/32"),
            ["10.77.0.11".parse().unwrap(), "fd77::12".parse().unwrap()].into()
        );
    }
}

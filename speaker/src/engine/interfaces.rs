//! On which of the node's interfaces an address is answered for.

use announce::Interfaces;
use names::Mac;
use netio::Link;

/// Names of interfaces that carry pods, tunnels or virtual machines, not the segment: what they begin with. An
/// L2Advertisement that names an interface overrules this.
const NOT_THE_SEGMENT: [&str; 13] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "nodelocaldns",
    "lxc",
];

/// Whether ARP and NDP can be answered on a link at all: it is up, speaks ARP, and is no member of a bridge or
/// bond (the bridge or bond answers then).
pub(crate) fn can_answer(link: &Link) -> bool {
    link.up && !link.loopback && !link.no_arp && link.master.is_none() && link.mac.is_some()
}

/// Whether an address that is wanted on these interfaces is answered for on this one.
pub(crate) fn is_wanted_on(interfaces: &Interfaces, name: &str) -> bool {
    match interfaces {
        Interfaces::All => !NOT_THE_SEGMENT.iter().any(|prefix| name.starts_with(prefix)),
        Interfaces::Named(names) => names.contains(name),
    }
}

/// What a responder or a prober on it knows of it; `None` without a MAC.
pub(crate) fn interface_of(link: &Link) -> Option<l2::Interface> {
    Some(l2::Interface {
        mac: Mac::new(link.mac?),
        link_local: link.link_local(),
        addresses: link.addresses.iter().map(|address| address.network).collect(),
        carrier: if link.carrier { l2::Carrier::Up } else { l2::Carrier::Down },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_the_segments_and_a_name_means_that_one() {
        let cases = [
            (Interfaces::All, "eth0", true),
            (Interfaces::All, "bond0", true),
            (Interfaces::All, "lom1", true),
            (Interfaces::All, "veth12ab", false),
            (Interfaces::All, "cni0", false),
            (Interfaces::Named(["eth1".to_owned()].into()), "eth1", true),
            (Interfaces::Named(["eth1".to_owned()].into()), "eth0", false),
            (Interfaces::Named(["veth-lan".to_owned()].into()), "veth-lan", true),
        ];
        for (interfaces, name, expected) in cases {
            assert_eq!(is_wanted_on(&interfaces, name), expected, "{interfaces:?} on {name}");
        }
    }
}

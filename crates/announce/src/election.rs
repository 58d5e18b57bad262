use std::cmp::Reverse;
use std::hash::Hasher;
use std::net::IpAddr;

use names::NodeName;
use siphasher::sip::SipHasher13;

/// Nodes in the order in which they answer for an address: those that more weight speaks for first, and of one
/// weight by rendezvous hashing, so that a node that comes or goes moves only the addresses that it wins or had.
///
/// The order is part of the contract between speakers of different versions: the hash is SipHash-1-3 with a zero
/// key over the address octets and the node's name, highest first, and the name breaks ties.
pub fn ranking<'a>(
    address: IpAddr,
    nodes: impl IntoIterator<Item = (&'a NodeName, u64)>,
) -> Vec<(&'a NodeName, u64)> {
    let mut ranked: Vec<_> = nodes.into_iter().collect();
    ranked.sort_by_cached_key(|(node, weight)| Reverse((*weight, score(address, node), *node)));
    ranked
}

fn score(address: IpAddr, node: &NodeName) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.write(node.as_str().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn nodes(count: usize) -> Vec<NodeName> {
        (0..count).map(|index| NodeName::new(format!("node-{index}"))).collect()
    }

    fn ranked(address: IpAddr, nodes: &[NodeName]) -> Vec<&NodeName> {
        ranking(address, nodes.iter().map(|node| (node, 0))).into_iter().map(|(node, _)| node).collect()
    }

    fn owner(address: IpAddr, nodes: &[NodeName]) -> Option<&NodeName> {
        ranked(address, nodes).first().copied()
    }

    /// Computed by an independent SipHash-1-3: these may never change.
    #[test]
    fn the_order_is_the_same_in_every_version() {
        let names = ["node-a", "node-b", "node-c"].map(NodeName::new);
        let order = |address: &str| {
            let ranked = ranked(address.parse().unwrap(), &names);
            ranked.iter().map(|node| node.as_str().trim_start_matches("node-")).collect::<String>()
        };
        assert_eq!(order("10.0.0.1"), "bca");
        assert_eq!(order("10.0.0.2"), "acb");
        assert_eq!(order("2001:db8::1"), "bac");
    }

    #[test]
    fn addresses_spread_evenly() {
        let nodes = nodes(5);
        let mut owned = BTreeMap::new();
        for low in 0..5000u32 {
            let address = IpAddr::from((0x0a00_0000 + low).to_be_bytes());
            *owned.entry(owner(address, &nodes)).or_insert(0) += 1;
        }
        assert!(owned.values().all(|count| (900..=1100).contains(count)), "{owned:?}");
    }

    proptest! {
        #[test]
        fn removing_a_node_moves_only_what_it_owned(count in 2usize..12, gone in 0usize..12, bits: u32) {
            let all = nodes(count);
            let gone = gone % count;
            let rest: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, n)| n.clone()).collect();
            let address = IpAddr::from(bits.to_be_bytes());
            let before = owner(address, &all);
            if before != Some(&all[gone]) {
                prop_assert_eq!(before, owner(address, &rest));
            }
        }

        #[test]
        fn the_order_of_the_node_list_does_not_matter(count in 0usize..9, bits: u128) {
            let forward = nodes(count);
            let mut backward = forward.clone();
            backward.reverse();
            let address = IpAddr::from(bits.to_be_bytes());
            prop_assert_eq!(ranked(address, &forward), ranked(address, &backward));
        }

        #[test]
        fn weight_goes_before_the_hash_and_changes_nothing_among_equals(
            weights in prop::collection::vec(0u64..3, 1..9),
            bits: u32,
        ) {
            let nodes = nodes(weights.len());
            let address = IpAddr::from(bits.to_be_bytes());
            let found = ranking(address, nodes.iter().zip(weights.iter().copied()));
            prop_assert!(found.is_sorted_by_key(|(_, weight)| Reverse(*weight)));
            for weight in 0..3 {
                let these: Vec<_> = found.iter().filter(|one| one.1 == weight).map(|one| one.0).collect();
                let alone: Vec<_> = ranked(address, &nodes).into_iter().filter(|node| these.contains(node)).collect();
                prop_assert_eq!(these, alone);
            }
        }
    }
}

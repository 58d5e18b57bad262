use super::*;

fn network(interface: &str, addresses: &[&str], gateways: &[&str]) -> Network {
    let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    Network {
        interface: interface.to_owned(),
        addresses: texts(addresses),
        gateways: texts(gateways),
        ..Network::default()
    }
}

/// What a node `n` with these networks blocks, as lines.
fn lines(networks: &[Network]) -> Vec<String> {
    told(&blocked(networks, &NodeName::new("n")))
}

fn told(blocked: &BTreeMap<IpAddr, Blocked>) -> Vec<String> {
    blocked.iter().map(|(address, why)| format!("{address} is {why}")).collect()
}

#[test]
fn a_nodes_addresses_its_gateways_and_the_ends_of_its_subnets_are_blocked() {
    let networks = [
        network("eth0", &["192.0.2.11/24", "2001:db8:0::11/64"], &["192.0.2.1", "2001:db8::1"]),
        network("lo", &["198.51.100.7/32"], &[]),
    ];
    let expected = [
        "192.0.2.0 is the network address of 192.0.2.0/24",
        "192.0.2.1 is a gateway of node n",
        "192.0.2.11 is an address of node n",
        "192.0.2.255 is the broadcast address of 192.0.2.0/24",
        "198.51.100.7 is an address of node n",
        "2001:db8:: is the network address of 2001:db8::/64",
        "2001:db8::1 is a gateway of node n",
        "2001:db8::11 is an address of node n",
    ];
    assert_eq!(lines(&networks), expected);
}

#[test]
fn a_subnet_of_one_or_two_addresses_has_no_ends() {
    for address in ["192.0.2.11/31", "192.0.2.11/32", "2001:db8::11/127", "2001:db8::11/128"] {
        assert_eq!(lines(&[network("eth0", &[address], &[])]).len(), 1, "{address}");
    }
    assert_eq!(lines(&[network("eth0", &["192.0.2.10/30"], &[])]).len(), 3);
    assert_eq!(lines(&[network("eth0", &["2001:db8::11/126"], &[])]).len(), 2);
    assert_eq!(lines(&[network("eth0", &["192.0.2.11/0"], &[])]).len(), 3);
}

#[test]
fn what_cannot_be_understood_blocks_nothing() {
    let odd = ["", "192.0.2.11/33", "x", "192.0.2", "192.0.2.0/24/24", "fe80::1%eth0/64"];
    assert_eq!(lines(&[network("eth0", &odd, &["", "192.0.2.1/24", "x"])]), [""; 0]);
    let some = [network("eth0", &["x", "192.0.2.11/32"], &["y", "192.0.2.1"])];
    assert_eq!(lines(&some), ["192.0.2.1 is a gateway of node n", "192.0.2.11 is an address of node n"]);
}

#[test]
fn of_what_several_nodes_say_the_nearest_counts_and_of_two_alike_the_first() {
    let of = |node: &str, address: &str, gateway: &str| {
        blocked(&[network("eth0", &[address], &[gateway])], &NodeName::new(node))
    };
    let (one, other) = (of("n1", "192.0.2.11/24", "192.0.2.12"), of("n2", "192.0.2.12/25", "192.0.2.1"));
    let third = of("n3", "192.0.2.12/24", "192.0.2.127");
    let expected = [
        "192.0.2.0 is the network address of 192.0.2.0/24",
        "192.0.2.1 is a gateway of node n2",
        "192.0.2.11 is an address of node n1",
        "192.0.2.12 is an address of node n2",
        "192.0.2.127 is a gateway of node n3",
        "192.0.2.255 is the broadcast address of 192.0.2.0/24",
    ];
    assert_eq!(told(&merged([&one, &other, &third])), expected);
}

#[test]
fn an_object_of_before_has_no_networks() {
    let state: crate::SpeakerState = serde_json::from_str("{}").unwrap();
    assert_eq!(state.networks, vec![]);
    let network: Network = serde_json::from_str(r#"{"interface": "eth0"}"#).unwrap();
    assert_eq!(network.addresses, Vec::<String>::new());
}

#[test]
fn a_node_is_connected_to_the_subnets_that_others_are_in_too() {
    let networks = [
        network("eth0", &["192.0.2.11/24", "2001:db8::1/64"], &[]),
        network("lo", &["10.0.0.1/32", "x"], &[]),
    ];
    let found: Vec<_> = subnets(&networks).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["192.0.2.0/24", "2001:db8::/64"]);
}

use super::*;

fn told(refusal: Refusal) -> String {
    format!("{}: {refusal}", refusal.reason())
}

fn pools(names: &[&str]) -> Vec<PoolName> {
    names.iter().map(|name| PoolName::new(*name)).collect()
}

#[test]
fn a_refusal_by_the_pools_names_them_and_the_families() {
    let (v4, prefer, both) =
        (Families::One(Family::V4), Families::Prefer(Family::V4), Families::Both(Family::V6));
    let exhausted = |families, names: &[&str]| told(Refusal::PoolExhausted { families, pools: pools(names) });
    let lacking = |families, names: &[&str]| told(Refusal::FamilyNotInPool { families, pools: pools(names) });
    let automatic = "no IPAddressPool that assigns automatically has";
    assert_eq!(told(Refusal::NoPool), "NoPool: no IPAddressPool assigns addresses automatically");
    assert_eq!(
        told(Refusal::PoolNotFound(PoolName::new("a"))),
        "PoolNotFound: IPAddressPool a does not exist"
    );
    assert_eq!(exhausted(v4, &[]), format!("PoolExhausted: {automatic} IPv4 addresses free"));
    assert_eq!(
        exhausted(prefer, &["a"]),
        "PoolExhausted: IPAddressPool a does not have IPv4 or IPv6 addresses free"
    );
    assert_eq!(
        exhausted(both, &["a", "b"]),
        "PoolExhausted: none of IPAddressPools a, b has IPv4 and IPv6 addresses free"
    );
    assert_eq!(lacking(both, &[]), format!("FamilyNotInPool: {automatic} IPv4 and IPv6 addresses"));
    assert_eq!(lacking(v4, &["a"]), "FamilyNotInPool: IPAddressPool a does not have IPv4 addresses");
}

#[test]
fn a_refusal_of_named_addresses_names_them() {
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let other: IpAddr = "fd00::1".parse().unwrap();
    let by = ServiceKey::new("d", "s");
    let outside = |names: &[&str]| told(Refusal::AddressNotInPool { address, pools: pools(names) });
    let families = Families::Prefer(Family::V4);
    let mismatch = Refusal::FamilyMismatch { families, addresses: vec![address] };
    let field = "spec.clusterIP".to_owned();
    assert_eq!(told(Refusal::Invalid { field, why: "None".into() }), "Invalid: spec.clusterIP: None");
    assert_eq!(told(Refusal::AddressInUse { address, by }), "AddressInUse: 10.0.0.1 is held by Service d/s");
    assert_eq!(outside(&[]), "AddressNotInPool: no IPAddressPool contains 10.0.0.1");
    assert_eq!(outside(&["a"]), "AddressNotInPool: IPAddressPool a does not contain 10.0.0.1");
    assert_eq!(
        told(Refusal::AddressAvoided { address, pool: PoolName::new("a") }),
        "AddressAvoided: IPAddressPool a avoids 10.0.0.1 (avoidBuggyIPs)"
    );
    assert_eq!(
        told(Refusal::DifferentPools(address, other)),
        "DifferentPools: no one IPAddressPool contains both 10.0.0.1 and fd00::1"
    );
    assert_eq!(
        told(mismatch),
        "FamilyMismatch: the Service is IPv4 and IPv6, but the addresses named are 10.0.0.1"
    );
    assert_eq!(
        told(Refusal::SameFamily(Family::V4)),
        "SameFamily: two IPv4 addresses are named; one a family is possible"
    );
}

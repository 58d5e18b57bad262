use names::NodeName;

use super::*;
use crate::{Blocked, Note};

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
        "PoolNotFound: no IPAddressPool a is in use; if there is one, its condition Ready says why"
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
    assert_eq!(
        told(Refusal::AddressParting(address)),
        "AddressParting: 10.0.0.1 was given up, and nothing takes its place before the status says so"
    );
    assert_eq!(outside(&[]), "AddressNotInPool: no IPAddressPool in use contains 10.0.0.1");
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

#[test]
fn a_refusal_by_a_pool_names_its_field() {
    let pool = PoolName::new("a");
    let closed = |why| told(Refusal::PoolClosed { pool: PoolName::new("a"), why });
    assert_eq!(
        told(Refusal::NoPoolForService("n".into())),
        "NoPoolForService: no IPAddressPool that assigns automatically is for Services of namespace n with these \
         labels (spec.serviceAllocation)"
    );
    assert_eq!(
        closed(Closed::Namespace("n".into())),
        "PoolClosed: IPAddressPool a is not for Services of namespace n (spec.serviceAllocation)"
    );
    assert_eq!(
        closed(Closed::Labels),
        "PoolClosed: IPAddressPool a is not for Services with these labels (spec.serviceAllocation)"
    );
    assert_eq!(
        told(Refusal::PoolDisabled(pool.clone())),
        "PoolDisabled: IPAddressPool a gives out nothing new (spec.disabled or spec.drain)"
    );
    assert_eq!(
        told(Refusal::AddressExcluded { address: "10.0.0.1".parse().unwrap(), pool }),
        "AddressExcluded: IPAddressPool a leaves 10.0.0.1 out (spec.exclude)"
    );
}

#[test]
fn a_refusal_by_a_quota_or_a_reservation_names_it() {
    let exceeded = |namespace| Refusal::QuotaExceeded {
        quota: QuotaName::new("q"),
        namespace,
        family: Family::V6,
        used: 3,
        limit: 2,
    };
    assert_eq!(told(exceeded(None)), "QuotaExceeded: AddressQuota q allows 2 IPv6 addresses, and 3 are held");
    assert_eq!(
        told(exceeded(Some("n".into()))),
        "QuotaExceeded: AddressQuota q allows 2 IPv6 addresses to namespace n, and 3 are held"
    );
    assert_eq!(
        told(Refusal::NamespaceUnknown("n".into())),
        "NamespaceUnknown: namespace n was not seen yet, and an AddressQuota asks for its labels"
    );
    assert_eq!(
        told(Refusal::AddressReserved {
            address: "10.0.0.1".parse().unwrap(),
            by: ReservationName::new("r")
        }),
        "AddressReserved: 10.0.0.1 is kept by AddressReservation r, which is not for this Service"
    );
}

#[test]
fn a_refusal_to_share_says_with_whom_and_why() {
    let conflict = |clash| {
        let address = "10.0.0.1".parse().unwrap();
        told(Refusal::SharingConflict { address, with: ServiceKey::new("d", "s"), clash })
    };
    let cannot = "SharingConflict: 10.0.0.1 cannot be shared with Service d/s";
    let ports = [(Protocol::Tcp, "TCP"), (Protocol::Udp, "UDP"), (Protocol::Sctp, "SCTP")];
    for (protocol, name) in ports {
        assert_eq!(conflict(Clash::Port(protocol, 80)), format!("{cannot}: both listen on {name} port 80"));
    }
    assert_eq!(conflict(Clash::Key), format!("{cannot}: the annotations allow-shared-ip differ"));
    assert_eq!(
        conflict(Clash::Backend),
        format!(
            "{cannot}: their traffic comes in on different nodes: give both externalTrafficPolicy Cluster, or Local \
             with one selector, or the same annotation share-local"
        )
    );
}

#[test]
fn what_cannot_be_moved_is_told_why_there_is_no_other() {
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let named = Refusal::AddressNamed(address);
    assert_eq!(told(named.clone()), "AddressNamed: the Service itself asks for 10.0.0.1");
    let cannot = |why| told(Refusal::CannotMove { from: PoolName::new("a"), why: Box::new(why) });
    let taken = "CannotMove: IPAddressPool a takes the address away, but there is no other";
    assert_eq!(cannot(named), format!("{taken}: the Service itself asks for 10.0.0.1"));
    assert_eq!(cannot(Refusal::NoPool), format!("{taken}: no IPAddressPool assigns addresses automatically"));
}

#[test]
fn a_note_says_what_an_address_is_or_is_not() {
    let address = "10.0.0.1".parse().unwrap();
    let blocked = |by| Note::Blocked { address, by }.to_string();
    let subnet = "10.0.0.0/31".parse().unwrap();
    assert_eq!(blocked(Blocked::Node(NodeName::new("n1"))), "10.0.0.1 is an address of node n1");
    assert_eq!(blocked(Blocked::Gateway(NodeName::new("n1"))), "10.0.0.1 is a gateway of node n1");
    assert_eq!(blocked(Blocked::Network(subnet)), "10.0.0.1 is the network address of 10.0.0.0/31");
    assert_eq!(blocked(Blocked::Broadcast(subnet)), "10.0.0.1 is the broadcast address of 10.0.0.0/31");
    assert_eq!(
        Note::Outside { pool: PoolName::new("a") }.to_string(),
        "IPAddressPool a would no longer give it out and lets it stay"
    );
}

use std::fmt;
use std::net::IpAddr;

use names::{PoolName, ServiceKey};

use crate::{Families, Family};

/// Why a Service does not get what it asks for. It keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A field of the Service cannot be understood, or contradicts another.
    Invalid {
        /// The field's path, or the annotation's key.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// No pool gives out addresses by itself.
    NoPool,
    /// The Service names only pools that do not exist; this is the first.
    PoolNotFound(PoolName),
    /// No pool that it may use has addresses of all the families that it must have.
    FamilyNotInPool {
        /// What it must have.
        families: Families,
        /// The pools that it names; none means those that give out by themselves.
        pools: Vec<PoolName>,
    },
    /// The pools that it may use have nothing left.
    PoolExhausted {
        /// What it must have.
        families: Families,
        /// The pools that it names; none means those that give out by themselves.
        pools: Vec<PoolName>,
    },
    /// It asks for an address that another Service holds.
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        by: ServiceKey,
    },
    /// It asks for an address that no pool that it may use contains.
    AddressNotInPool {
        /// The address.
        address: IpAddr,
        /// The pools that it names; none means all.
        pools: Vec<PoolName>,
    },
    /// It asks for an address ending in .0 or .255, which the pool avoids.
    AddressAvoided {
        /// The address.
        address: IpAddr,
        /// The pool that contains and avoids it.
        pool: PoolName,
    },
    /// It asks for two addresses that no one pool contains.
    DifferentPools(IpAddr, IpAddr),
    /// It asks for addresses of other families than its own.
    FamilyMismatch {
        /// Its own families.
        families: Families,
        /// The addresses that it asks for.
        addresses: Vec<IpAddr>,
    },
    /// It asks for two addresses of one family.
    SameFamily(Family),
}

impl Refusal {
    /// The reason as a word: in conditions, Events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::NoPool => "NoPool",
            Self::PoolNotFound(_) => "PoolNotFound",
            Self::FamilyNotInPool { .. } => "FamilyNotInPool",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::AddressInUse { .. } => "AddressInUse",
            Self::AddressNotInPool { .. } => "AddressNotInPool",
            Self::AddressAvoided { .. } => "AddressAvoided",
            Self::DifferentPools(..) => "DifferentPools",
            Self::FamilyMismatch { .. } => "FamilyMismatch",
            Self::SameFamily(_) => "SameFamily",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { field, why } => write!(out, "{field}: {why}"),
            Self::NoPool => out.write_str("no IPAddressPool assigns addresses automatically"),
            Self::PoolNotFound(pool) => write!(out, "IPAddressPool {pool} does not exist"),
            Self::FamilyNotInPool { families, pools } => {
                write!(out, "{} {families} addresses", has_not(pools))
            }
            Self::PoolExhausted { families, pools } => {
                write!(out, "{} {families} addresses free", has_not(pools))
            }
            Self::AddressInUse { address, by } => write!(out, "{address} is held by Service {by}"),
            Self::AddressNotInPool { address, pools } => {
                let contains = Denied { pools, kind: "", verb: "contain", third_person: "contains" };
                write!(out, "{contains} {address}")
            }
            Self::AddressAvoided { address, pool } => {
                write!(out, "IPAddressPool {pool} avoids {address} (avoidBuggyIPs)")
            }
            Self::DifferentPools(one, other) => {
                write!(out, "no one IPAddressPool contains both {one} and {other}")
            }
            Self::FamilyMismatch { families, addresses } => {
                let (all, named) = (families.all(), Joined(addresses));
                write!(out, "the Service is {all}, but the addresses named are {named}")
            }
            Self::SameFamily(family) => {
                write!(out, "two {family} addresses are named; one a family is possible")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Denies something of the pools that a Service may use: those it names, or else all of a kind.
struct Denied<'a> {
    pools: &'a [PoolName],
    kind: &'static str,
    verb: &'static str,
    third_person: &'static str,
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pools, kind, verb, third_person } = self;
        match pools {
            [] => write!(out, "no IPAddressPool{kind} {third_person}"),
            [pool] => write!(out, "IPAddressPool {pool} does not {verb}"),
            _ => write!(out, "none of IPAddressPools {} {third_person}", Joined(pools)),
        }
    }
}

fn has_not(pools: &[PoolName]) -> Denied<'_> {
    Denied { pools, kind: " that assigns automatically", verb: "have", third_person: "has" }
}

struct Joined<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(out, "{}{item}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let exhausted =
            |families, names: &[&str]| told(Refusal::PoolExhausted { families, pools: pools(names) });
        let lacking =
            |families, names: &[&str]| told(Refusal::FamilyNotInPool { families, pools: pools(names) });
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
        assert_eq!(
            told(Refusal::AddressInUse { address, by }),
            "AddressInUse: 10.0.0.1 is held by Service d/s"
        );
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
}

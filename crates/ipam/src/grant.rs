use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use names::PoolName;

use crate::{Blocked, Family, Moving, Refusal};

/// What a Service holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The addresses, the Service's first family first.
    pub addresses: Vec<IpAddr>,
    /// Where they came from. The pool may have changed or gone since.
    pub pool: PoolName,
}

/// What was decided for a Service. With a refusal beside a grant, the Service keeps what it has until it can
/// have what it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What it holds.
    pub grant: Option<Grant>,
    /// Why it does not get what it asks for, or is not moved.
    pub refusal: Option<Refusal>,
    /// What it holds beside the grant until its clients have found the new addresses.
    pub moving: Option<Moving>,
    /// What else should be known of the grant.
    pub notes: Vec<Note>,
}

/// Something that people should know of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An address that is also something else in the network.
    Blocked {
        /// The address.
        address: IpAddr,
        /// What it is.
        by: Blocked,
    },
    /// Its pool no longer has this address, or is no longer for this Service, and lets it stay (`onRemove: Keep`).
    Outside {
        /// The pool.
        pool: PoolName,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked { address, by } => write!(out, "{address} is {by}"),
            Self::Outside { pool } => {
                write!(out, "IPAddressPool {pool} would no longer give it out and lets it stay")
            }
        }
    }
}

impl Decision {
    /// Whether it leaves a Service an address, for good or for a while.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.held().any(|held| held == address)
    }

    /// What it leaves a Service, for good or for a while.
    pub(crate) fn held(&self) -> impl Iterator<Item = IpAddr> {
        let granted = self.grant.iter().flat_map(|grant| &grant.addresses);
        granted.chain(self.moving.iter().flat_map(|moving| &moving.from)).copied()
    }
}

impl Grant {
    /// The first address of a family.
    pub(crate) fn of(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }

    pub(crate) fn families(&self) -> BTreeSet<Family> {
        self.addresses.iter().map(|address| Family::of(*address)).collect()
    }
}

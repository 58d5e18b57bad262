use std::collections::BTreeSet;
use std::net::IpAddr;

use names::PoolName;

use crate::{Family, Refusal};

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
    /// Why it does not get what it asks for.
    pub refusal: Option<Refusal>,
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

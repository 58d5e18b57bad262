use std::fmt;
use std::hash::Hasher;

use names::NodeName;
use siphasher::sip::SipHasher13;

/// A speaker in heartbeats: SipHash-1-3 of its node's name, with a zero key. It is part of the contract between
/// versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(crate) u64);

impl PeerId {
    pub(crate) fn of(node: &NodeName) -> Self {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(node.as_str().as_bytes());
        Self(hasher.finish())
    }
}

/// One life of one speaker on one interface: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub [u8; Self::LENGTH]);

impl Incarnation {
    pub(crate) const LENGTH: usize = 16;
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}

/// Who claims an address. A claim is compared by generation, epoch and node, in this order: the greater one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// Of the placement that was known to the claimant.
    pub(crate) generation: u64,
    /// One more than the highest that the claimant had heard of.
    pub(crate) epoch: u64,
    pub(crate) node: PeerId,
}

/// How great a claim on record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recorded {
    /// Of the placement that it was made under.
    pub generation: u64,
    /// How many came before it.
    pub epoch: u64,
}

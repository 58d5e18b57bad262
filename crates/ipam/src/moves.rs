use std::net::IpAddr;
use std::time::{Duration, Instant};

use names::PoolName;

/// How Services are moved from addresses that their pool takes away (`FerriteConfig` `spec.moves`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moves {
    /// How long old and new addresses are both announced.
    pub overlap: Duration,
    /// How many Services are moved at a time.
    pub concurrent: usize,
}

/// A Service's way from its old addresses to those of its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The old addresses, which it holds beside those of its grant.
    pub from: Vec<IpAddr>,
    /// The pool that they came from.
    pub pool: PoolName,
    /// When they are given up.
    pub until: Instant,
}

impl Default for Moves {
    fn default() -> Self {
        Self { overlap: Duration::from_secs(30), concurrent: 10 }
    }
}

use std::collections::BTreeSet;

use names::PoolName;

use crate::Audience;

/// How many addresses the Services of some namespaces may hold (AddressQuota).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Whose addresses count; it has no service selectors.
    pub audience: Audience,
    /// Only addresses of these pools count; none given means of all.
    pub pools: BTreeSet<PoolName>,
    /// The most IPv4 addresses; `None` is no limit.
    pub ipv4: Option<u32>,
    /// The most IPv6 addresses; `None` is no limit.
    pub ipv6: Option<u32>,
    /// Who shares the limit.
    pub per: Per,
}

/// Who shares the limit of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// All its namespaces together.
    Quota,
    /// Nobody: each of its namespaces has it for itself.
    Namespace,
}

/// How much of a quota's limit is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    /// By this namespace; `None` is all of them together ([`Per::Quota`]).
    pub namespace: Option<String>,
    /// IPv4 addresses held.
    pub ipv4: u32,
    /// IPv6 addresses held.
    pub ipv6: u32,
}

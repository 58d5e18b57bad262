use std::collections::BTreeSet;

use names::Labels;

/// With whom a Service shares its addresses (`allow-shared-ip`).
///
/// Those that share an address are one unit: their keys are equal, no protocol and port is in two of them, and
/// their [`Backend`]s agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// What those that share have in common; not empty.
    pub key: String,
    /// What the Service listens on.
    pub ports: BTreeSet<(Protocol, u16)>,
    /// Where its traffic goes.
    pub backend: Backend,
}

/// A transport protocol of a Service's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// Which nodes may take the traffic in, so far as those that share an address must agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// Any (`externalTrafficPolicy: Cluster`).
    Cluster,
    /// Those with a pod that has these labels (`externalTrafficPolicy: Local`).
    Local(Labels),
    /// Those with one of its endpoints, which no selector names: agrees with nobody.
    Unselected,
    /// Those with a usable endpoint of at least one of those that share (`share-local: any`).
    LocalToAny,
    /// Those with a usable endpoint of each of those that share (`share-local: all`).
    LocalToAll,
}

impl Sharing {
    /// Whether two may share, but for their ports. What agrees with a third agrees with each other.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.key == other.key && self.backend == other.backend && self.backend != Backend::Unselected
    }
}

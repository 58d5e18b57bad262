use std::collections::{BTreeMap, BTreeSet};

/// With whom a Service would share its addresses (`allow-shared-ip`).
///
/// Two Services may hold one address if their keys are equal, no protocol and port is in both, and their
/// [`Backend`]s agree.
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

/// Where a Service's traffic may come in, so far as those that share an address must agree on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// On any node (`externalTrafficPolicy: Cluster`).
    Cluster,
    /// Only on nodes with a pod that has these labels (`externalTrafficPolicy: Local`).
    Local(BTreeMap<String, String>),
    /// Only on nodes with one of its endpoints, which no selector names: agrees with nobody.
    Unselected,
    /// On nodes with an endpoint of at least one of those that share (`share-local: any`).
    LocalToAny,
    /// On nodes with an endpoint of each of those that share (`share-local: all`).
    LocalToAll,
}

/// Why two Services may not share an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// One of them shares with nobody, or their keys differ.
    Key,
    /// Both listen on this.
    Port(Protocol, u16),
    /// Their traffic comes in on different nodes.
    Backend,
}

impl Sharing {
    /// What keeps two that would share from doing so.
    pub(crate) fn clash(&self, other: &Self) -> Option<Clash> {
        if let Some((protocol, port)) = self.ports.intersection(&other.ports).next() {
            return Some(Clash::Port(*protocol, *port));
        }
        if self.key != other.key {
            return Some(Clash::Key);
        }
        let agree = self.backend == other.backend && self.backend != Backend::Unselected;
        (!agree).then_some(Clash::Backend)
    }
}

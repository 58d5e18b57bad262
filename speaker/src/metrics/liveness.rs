//! What is counted of heartbeats and of the election. Nothing has a label that grows with the number of nodes.

use liveness::{Cause, Counters, PeerStatus, Standing};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ByInterface, add, gauge};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OnInterface {
    interface: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStanding {
    interface: String,
    standing: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    interface: String,
    cause: &'static str,
}

const STANDINGS: [(Standing, &str); 5] = [
    (Standing::Unheard, "unheard"),
    (Standing::Alive, "alive"),
    (Standing::Silent, "silent"),
    (Standing::Gone, "gone"),
    (Standing::Dead, "dead"),
];

/// Handles on these metrics; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Liveness {
    datagrams: Family<ByInterface, Counter>,
    verdicts: Family<ByInterface, Counter>,
    claims: Family<ByCause, Counter>,
    covers: Family<OnInterface, Counter>,
    covered: Gauge,
    speakers: Family<ByStanding, Gauge>,
    isolated: Family<OnInterface, Gauge>,
}

impl Liveness {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "liveness_datagrams",
            "Datagrams on UDP port 7973: sent, heard, or refused and why",
            self.datagrams.clone(),
        );
        all.register(
            "liveness_verdicts",
            "Nodes found dead, speakers found gone, stalls of this one, claims cancelled or yielded",
            self.verdicts.clone(),
        );
        all.register("l2_claims", "Addresses that this node claimed, by cause", self.claims.clone());
        all.register(
            "l2_covers",
            "How often this node began to answer for an address with another node's MAC",
            self.covers.clone(),
        );
        all.register(
            "l2_covered_addresses",
            "Addresses that this node answers for with another node's MAC",
            self.covered.clone(),
        );
        all.register(
            "liveness_speakers",
            "The other speakers of the segment, by how they stand",
            self.speakers.clone(),
        );
        all.register(
            "liveness_isolated",
            "1 while this node hears no speaker, and no gateway answers",
            self.isolated.clone(),
        );
    }

    /// Adds what was counted on an interface since `before`.
    pub(crate) fn count(&self, interface: &str, before: &Counters, now: &Counters) {
        let datagrams = [
            ("sent", before.sent, now.sent),
            ("heard", before.heard, now.heard),
            ("malformed", before.malformed, now.malformed),
            ("stranger", before.strangers, now.strangers),
            ("forged", before.forged, now.forged),
            ("replayed", before.replayed, now.replayed),
            ("unechoed", before.unechoed, now.unechoed),
        ];
        let verdicts = [
            ("stall", before.stalls, now.stalls),
            ("node_dead", before.nodes_dead, now.nodes_dead),
            ("speaker_gone", before.speakers_gone, now.speakers_gone),
            ("cancelled", before.cancelled, now.cancelled),
            ("yielded", before.yielded, now.yielded),
        ];
        for (family, kinds) in [(&self.datagrams, &datagrams[..]), (&self.verdicts, &verdicts[..])] {
            for (kind, before, now) in kinds {
                add(family, interface, kind, *before, *now);
            }
        }
    }

    /// How the other speakers of an interface stand.
    pub(crate) fn standings(&self, interface: &str, peers: &[PeerStatus], is_isolated: bool) {
        for (standing, name) in STANDINGS {
            let count = peers.iter().filter(|peer| peer.standing == standing).count();
            let labels = ByStanding { interface: interface.to_owned(), standing: name };
            self.speakers.get_or_create(&labels).set(gauge(count));
        }
        let labels = OnInterface { interface: interface.to_owned() };
        self.isolated.get_or_create(&labels).set(i64::from(is_isolated));
    }

    /// Nothing is known of an interface any more.
    pub(crate) fn forget(&self, interface: &str) {
        for (_, name) in STANDINGS {
            self.speakers.remove(&ByStanding { interface: interface.to_owned(), standing: name });
        }
        self.isolated.remove(&OnInterface { interface: interface.to_owned() });
    }

    pub(crate) fn claimed(&self, interface: &str, cause: &Cause) {
        let labels = ByCause { interface: interface.to_owned(), cause: cause.kind() };
        self.claims.get_or_create(&labels).inc();
    }

    pub(crate) fn covers(&self, interface: &str) {
        self.covers.get_or_create(&OnInterface { interface: interface.to_owned() }).inc();
    }

    /// An interface covered so many addresses, and does so many from now on.
    pub(crate) fn covered(&self, before: usize, now: usize) {
        self.covered.inc_by(gauge(now) - gauge(before));
    }
}

//! What the speaker counts.

mod liveness;

use std::collections::BTreeMap;
use std::time::Duration;

use announce::Silence;
use names::PeerName;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// From a tenth of a millisecond to about a second, each bucket twice the one before.
const BUCKETS: [f64; 14] = [
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048, 0.4096,
    0.8192,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the label's value as it is printed")]
enum Protocol {
    l2,
    bgp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySilence {
    protocol: Protocol,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByInterface {
    interface: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStation {
    interface: String,
    kind: &'static str,
    mac: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPeer {
    peer: String,
}

/// Handles on every metric; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    announce_seconds: Family<ByProtocol, Histogram, fn() -> Histogram>,
    silent: Family<BySilence, Gauge>,
    owned: Gauge,
    frames: Family<ByInterface, Counter>,
    malformed: Family<ByInterface, Counter>,
    foreign: Family<ByStation, Counter>,
    dropped: Counter,
    liveness: liveness::Liveness,
    strangers: Counter,
    session_up: Family<ByPeer, Gauge>,
    prefixes: Family<ByPeer, Gauge>,
    updates: Family<ByPeer, Gauge>,
    established: Family<ByPeer, Gauge>,
    notifications: Family<ByPeer, Gauge>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    /// Registers every metric under `ferritelb_speaker_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            announce_seconds: Family::new_with_constructor(histogram),
            silent: Family::default(),
            owned: Gauge::default(),
            frames: Family::default(),
            malformed: Family::default(),
            foreign: Family::default(),
            dropped: Counter::default(),
            liveness: liveness::Liveness::default(),
            strangers: Counter::default(),
            session_up: Family::default(),
            prefixes: Family::default(),
            updates: Family::default(),
            established: Family::default(),
            notifications: Family::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let all = registry.sub_registry_with_prefix("ferritelb_speaker");
        all.register("build", "The version that runs", build);
        metrics.register_announcing(all);
        metrics.register_l2(all);
        metrics.liveness.register(all);
        metrics.register_bgp(all);
        metrics
    }

    fn register_announcing(&self, all: &mut Registry) {
        all.register_with_unit(
            "announce",
            "From the API server's event to the first packet that tells of it",
            Unit::Seconds,
            self.announce_seconds.clone(),
        );
        all.register(
            "silent_addresses",
            "Addresses not announced by this node, by reason",
            self.silent.clone(),
        );
    }

    fn register_l2(&self, all: &mut Registry) {
        all.register(
            "l2_addresses",
            "Addresses that this node answers for by ARP or NDP",
            self.owned.clone(),
        );
        all.register("l2_frames", "ARP and NDP frames, by what became of them", self.frames.clone());
        all.register("l2_malformed", "Frames that were dropped as malformed", self.malformed.clone());
        all.register(
            "l2_foreign_answers",
            "Claims of our addresses by other stations, at most one a second for each address; the stations of an \
             interface that come when 32 have are counted together, as other",
            self.foreign.clone(),
        );
        all.register("l2_frames_dropped", "Frames that the interface did not take", self.dropped.clone());
    }

    fn register_bgp(&self, all: &mut Registry) {
        all.register(
            "bgp_strangers",
            "Connections from addresses that are no BGPPeer",
            self.strangers.clone(),
        );
        all.register("bgp_session_up", "1 while the session is Established", self.session_up.clone());
        all.register("bgp_prefixes", "Prefixes that the peer was told of", self.prefixes.clone());
        all.register("bgp_updates_sent", "UPDATE messages sent", self.updates.clone());
        all.register("bgp_established", "How often the session became Established", self.established.clone());
        all.register(
            "bgp_notifications",
            "NOTIFICATION messages sent and received",
            self.notifications.clone(),
        );
    }

    /// Of heartbeats and of the election.
    pub(crate) fn liveness(&self) -> &liveness::Liveness {
        &self.liveness
    }

    pub(crate) fn announced_l2(&self, took: Duration) {
        self.announce_seconds
            .get_or_create(&ByProtocol { protocol: Protocol::l2 })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn announced_bgp(&self, took: Duration) {
        self.announce_seconds
            .get_or_create(&ByProtocol { protocol: Protocol::bgp })
            .observe(took.as_secs_f64());
    }

    /// An interface answered for so many addresses, and does for so many from now on.
    pub(crate) fn owned_addresses(&self, before: usize, now: usize) {
        self.owned.inc_by(gauge(now) - gauge(before));
    }

    pub(crate) fn frame_dropped(&self) {
        self.dropped.inc();
    }

    pub(crate) fn foreign_answer(&self, interface: &str, kind: &'static str, mac: String) {
        self.foreign.get_or_create(&ByStation { interface: interface.to_owned(), kind, mac }).inc();
    }

    pub(crate) fn stranger(&self) {
        self.strangers.inc();
    }

    /// Adds what was counted on an interface since `before`.
    pub(crate) fn l2_stats(&self, interface: &str, before: &l2::Stats, now: &l2::Stats) {
        let kinds = [
            ("arp_reply", before.arp_replies, now.arp_replies),
            ("advertisement", before.advertisements, now.advertisements),
            ("excess", before.excess, now.excess),
            ("echo_reply", before.echoes, now.echoes),
            ("echo_excess", before.echo_excess, now.echo_excess),
            ("gratuitous", before.gratuitous, now.gratuitous),
            ("defence", before.defences, now.defences),
            ("question", before.questions, now.questions),
            ("answer", before.answers, now.answers),
            ("foreign", before.foreign, now.foreign),
            ("not_ours", before.not_ours, now.not_ours),
            ("own", before.own, now.own),
        ];
        for (kind, before, now) in kinds {
            add(&self.frames, interface, kind, before, now);
        }
        for (malformed, now) in &now.malformed {
            let before = before.malformed.get(malformed).copied().unwrap_or_default();
            add(&self.malformed, interface, malformed.reason(), before, *now);
        }
    }

    /// What there is to know of one session.
    pub(crate) fn session(&self, peer: &PeerName, status: &bgp::Status) {
        let peer = ByPeer { peer: peer.to_string() };
        let counters = &status.counters;
        let notifications = counters.sent.notification + counters.received.notification;
        let set = |family: &Family<ByPeer, Gauge>, value: i64| {
            family.get_or_create(&peer).set(value);
        };
        set(&self.session_up, i64::from(status.state == bgp::State::Established));
        set(&self.prefixes, gauge(status.routes.sent));
        set(&self.updates, i64::try_from(counters.sent.update).unwrap_or(i64::MAX));
        set(&self.established, i64::try_from(counters.established).unwrap_or(i64::MAX));
        set(&self.notifications, i64::try_from(notifications).unwrap_or(i64::MAX));
    }

    /// The series of a peer go with it.
    pub(crate) fn forget_session(&self, peer: &PeerName) {
        let peer = ByPeer { peer: peer.to_string() };
        for family in
            [&self.session_up, &self.prefixes, &self.updates, &self.established, &self.notifications]
        {
            family.remove(&peer);
        }
    }

    /// How many addresses are silent here, and why.
    pub(crate) fn silences<'a>(&self, all: impl Iterator<Item = (Option<&'a Silence>, Option<&'a Silence>)>) {
        let mut counts: BTreeMap<(u8, &'static str), i64> = BTreeMap::new();
        for (l2, bgp) in all {
            for (protocol, silence) in [(0, l2), (1, bgp)] {
                if let Some(silence) = silence {
                    *counts.entry((protocol, silence.reason())).or_default() += 1;
                }
            }
        }
        self.silent.clear();
        for ((protocol, reason), count) in counts {
            let protocol = if protocol == 0 { Protocol::l2 } else { Protocol::bgp };
            self.silent.get_or_create(&BySilence { protocol, reason }).set(count);
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn add(family: &Family<ByInterface, Counter>, interface: &str, kind: &'static str, before: u64, now: u64) {
    let more = now.saturating_sub(before);
    if more > 0 {
        family.get_or_create(&ByInterface { interface: interface.to_owned(), kind }).inc_by(more);
    }
}

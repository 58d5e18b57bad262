//! Status written → the first packet that tells of it.
//!
//! No controller runs: the harness itself writes the addresses into the status of Services that have endpoints, so
//! allocation has no part in it. It starts its clock just before it sends the patch; the API server and etcd are in
//! the path. A bare watch of the harness shows when the API server tells its watchers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service as Object;
use serde_json::json;

use super::histogram::Histogram;
use super::peer::{Peer, Word};
use super::report::Report;
use super::series::Series;
use super::watch::Watch;
use super::{Form, Progress, apply_samples};
use crate::capture::{Capture, Frame, Message};
use crate::clock;
use crate::kube::light::Lab;

const SOON: Duration = Duration::from_secs(30);
/// Between samples: withdrawals settle, and samples do not lock step with any timer.
const PAUSE: Duration = Duration::from_millis(150);
const SHORT: Duration = Duration::from_secs(150);
const FULL: Duration = Duration::from_secs(3600);
const WARM_UP: usize = 3;
const SPEAKERS: usize = 3;
const ASN: u16 = 64_512;

const END_TO_END: &str = "p99 < 20";
const OWN_SHARE: &str = "< 1";

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    eprintln!("announce: raising a lab without a controller");
    let lab = Lab::without_product("bench: announce");
    apply_samples(&lab, &["ipaddresspools.yaml", "l2advertisement.yaml", "bgpadvertisement.yaml"]);
    lab.apply(&peer_manifest(lab.frr().v4()));
    let peer = Peer::start(lab.frr(), ASN);
    for node in 1..=SPEAKERS {
        lab.speaker(node).start();
    }
    lab.expose("segment", &[1, 2, 3]);
    lab.expose("routed", &[1, 2, 3]);
    peer.wait_sessions(SPEAKERS, SOON);
    let mut bench = Bench::new(&lab, &peer);
    for number in 0..WARM_UP {
        bench.by_l2(number);
        bench.by_bgp(number);
    }
    (bench.plane, bench.segment, bench.routed) = <(Plane, Segment, Routed)>::default();
    let before = own_shares(&lab);
    for number in Progress::new("announce", form.of(30, 1000), form.of(SHORT, FULL)).samples() {
        bench.by_l2(number);
        bench.by_bgp(number);
    }
    let after = own_shares(&lab);
    let mut report = Report::new("announce", "Status written → announced", bench.into_series());
    report.histograms = after.into_iter().zip(&before).map(|(after, before)| after.since(before)).collect();
    report.notes.push(
        "End to end starts just before the harness sends its patch. `the watch` is a bare watch of the harness: \
         a negative time means that the packet was there before the harness heard of the change."
            .to_owned(),
    );
    report
}

/// Both families on one session.
fn peer_manifest(address: Ipv4Addr) -> String {
    format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: BGPPeer\nmetadata:\n  name: scripted\nspec:\n  myASN: 64500\n  \
         peerASN: {ASN}\n  peerAddress: {address}\n  dualStackAddressFamily: true\n"
    )
}

/// The speakers' own measurement, from the watch event to the write, of all three.
#[track_caller]
fn own_shares(lab: &Lab) -> Vec<Histogram> {
    let pages: Vec<_> = (1..=SPEAKERS).map(|node| lab.speaker(node).metrics()).collect();
    let read = |protocol: &str| {
        let what = format!("{protocol}: watch event → write, the speakers' own histogram");
        let label = format!("protocol=\"{}\"", protocol.to_lowercase());
        Histogram::read(&what, &pages, "ferritelb_speaker_announce_seconds", &label).aim(OWN_SHARE)
    };
    ["L2", "BGP"].map(read).into()
}

/// What takes its time without the product.
struct Plane {
    answered: Series,
    watched: Series,
}

impl Default for Plane {
    fn default() -> Self {
        Self {
            answered: Series::milliseconds("patch sent → answered (the API server alone)"),
            watched: Series::milliseconds("patch sent → seen by the watch (the API server alone)"),
        }
    }
}

struct Segment {
    arp: Series,
    ndp: Series,
    after_watch: Series,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            arp: Series::milliseconds("L2: patch sent → gratuitous ARP at the client").aim(END_TO_END),
            ndp: Series::milliseconds("L2: patch sent → unsolicited NA at the client").aim(END_TO_END),
            after_watch: Series::milliseconds("L2: seen by the watch → gratuitous ARP at the client"),
        }
    }
}

struct Routed {
    first: Series,
    last: Series,
    last_v6: Series,
    after_watch: Series,
}

impl Default for Routed {
    fn default() -> Self {
        Self {
            first: Series::milliseconds("BGP: patch sent → first of three UPDATEs read").aim(END_TO_END),
            last: Series::milliseconds("BGP: patch sent → all three UPDATEs read").aim(END_TO_END),
            last_v6: Series::milliseconds("BGP: patch sent → all three UPDATEs read, IPv6").aim(END_TO_END),
            after_watch: Series::milliseconds("BGP: seen by the watch → first UPDATE read"),
        }
    }
}

struct Bench<'a> {
    lab: &'a Lab,
    peer: &'a Peer,
    watch: Watch,
    capture: Capture,
    plane: Plane,
    segment: Segment,
    routed: Routed,
}

impl<'a> Bench<'a> {
    #[track_caller]
    fn new(lab: &'a Lab, peer: &'a Peer) -> Self {
        let watch = Watch::start(lab.plane().kube());
        let capture = Capture::start(lab.client(), "eth0", |frame| {
            !frame.outgoing && (announces_v4(frame).is_some() || announces_v6(frame).is_some())
        });
        let (plane, segment, routed) = <(Plane, Segment, Routed)>::default();
        Self { lab, peer, watch, capture, plane, segment, routed }
    }

    /// Fresh addresses, so that nothing left of an earlier sample counts.
    #[track_caller]
    fn by_l2(&mut self, number: usize) {
        let host = u8::try_from(number % 50).expect("below 50");
        let v4 = Ipv4Addr::new(10, 77, 0, 200 + host);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200 + u16::from(host));
        let (sent, told) = self.publish("segment", &[v4.into(), v6.into()]);
        let arp = self
            .capture
            .wait_for("a gratuitous ARP", SOON, |frame| frame.at >= sent && announces_v4(frame) == Some(v4));
        let ndp = self.capture.wait_for("an unsolicited advertisement", SOON, |frame| {
            frame.at >= sent && announces_v6(frame) == Some(v6)
        });
        self.segment.arp.between(sent, arp.at);
        self.segment.ndp.between(sent, ndp.at);
        self.segment.after_watch.between(told, arp.at);
        self.write("segment", &[]);
        thread::sleep(PAUSE);
    }

    #[track_caller]
    fn by_bgp(&mut self, number: usize) {
        let host = u8::try_from(number % 200).expect("below 200") + 1;
        let v4 = Ipv4Addr::new(198, 51, 100, host);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, host.into());
        let families = [IpAddr::from(v4), IpAddr::from(v6)];
        self.peer.forget();
        let (sent, told) = self.publish("routed", &families);
        let [v4, v6] = families.map(|vip| self.peer.wait_all(vip.into(), Word::Announced, SPEAKERS));
        self.routed.first.between(sent, v4[0]);
        self.routed.last.between(sent, v4[SPEAKERS - 1]);
        self.routed.last_v6.between(sent, v6[SPEAKERS - 1]);
        self.routed.after_watch.between(told, v4[0]);
        self.write("routed", &[]);
        for vip in families {
            self.peer.wait_all(vip.into(), Word::Withdrawn, SPEAKERS);
        }
        thread::sleep(PAUSE);
    }

    /// Writes these addresses into the Service's status, as the controller does; says when it began to.
    #[track_caller]
    fn write(&self, service: &str, addresses: &[IpAddr]) -> Duration {
        let ingress: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip, "ipMode": "VIP" })).collect();
        let status = json!({ "status": { "loadBalancer": { "ingress": ingress } } });
        let services = self.lab.plane().kube().namespaced::<Object>("default");
        self.watch.forget();
        let sent = clock::wall();
        services.patch_status(service, &status);
        sent
    }

    /// [`Self::write`]; and when the watch told of it.
    #[track_caller]
    fn publish(&mut self, service: &str, addresses: &[IpAddr]) -> (Duration, Duration) {
        let sent = self.write(service, addresses);
        self.plane.answered.between(sent, clock::wall());
        let what = format!("the watch tells of {addresses:?}");
        let told = self.watch.wait_for(&what, |told| told.name == service && told.addresses == addresses);
        self.plane.watched.between(sent, told.at);
        (sent, told.at)
    }

    fn into_series(self) -> Vec<Series> {
        let Plane { answered, watched } = self.plane;
        let Segment { arp, ndp, after_watch: after_l2 } = self.segment;
        let Routed { first, last, last_v6, after_watch: after_bgp } = self.routed;
        vec![answered, watched, arp, ndp, first, last, last_v6, after_l2, after_bgp]
    }
}

fn announces_v4(frame: &Frame) -> Option<Ipv4Addr> {
    frame.arp().filter(|arp| arp.is_gratuitous()).map(|arp| arp.sender)
}

fn announces_v6(frame: &Frame) -> Option<Ipv6Addr> {
    let unsolicited = |message: &Message| {
        matches!(message, Message::Advertisement { solicited: false, overriding: true, .. })
    };
    frame.ndp().filter(|ndp| unsolicited(&ndp.message)).map(|ndp| ndp.target)
}

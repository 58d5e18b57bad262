//! ARP request → reply on a wire between the client and one node: the speaker beside a minimal responder in C, in
//! turn; quiet, and under a storm of broadcasts that are not for it.
//!
//! Both ends of a time are the kernel's stamps on the client's device, so the client's own scheduling is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use super::scene::SOON;
use crate::address::{Network, Place};
use crate::bench::Form;
use crate::bench::report::{Report, folder};
use crate::bench::series::Series;
use crate::capture::{Capture, Operation, PacketSocket, Wanted};
use crate::kube::light::Lab;
use crate::solicit::{Request, arp_frame};
use crate::{Daemon, Host, Mac, clock, run, wait, workspace};

const NODE: usize = 1;
const WIRE: &str = "wire0";
const ASKER: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 2);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 9);
const BASELINE: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 10);
/// Asked for in a storm, and nobody's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 80, 1, 1);
/// A second.
const STORM: u32 = 50_000;

const SPACING: Duration = Duration::from_millis(2);
const ROUNDS: usize = 5;

#[track_caller]
pub(super) fn measure(report: &mut Report, form: Form) {
    eprintln!("failover: raising a lab with a wire of its own");
    let lab = Lab::up("bench: answers");
    let program = compile();
    lab.lay_wire(WIRE, (lab.node(NODE), "10.80.0.1/24"), (lab.client(), "10.80.0.2/24"));
    serve(&lab);
    let count = form.of(500, 5000);
    let kinds = ["quiet", "50,000 broadcasts/s"];
    let mut ours = kinds.map(|kind| Series::new(format!("ARP request → reply, {kind}: the speaker"), "µs"));
    let mut minimal =
        kinds.map(|kind| Series::new(format!("ARP request → reply, {kind}: minimal C responder"), "µs"));
    let mut processor =
        kinds.map(|kind| Series::new(format!("speaker's processor time, {kind}, without questions"), "%"));
    for round in 0..ROUNDS {
        eprintln!("  … answers: round {} of {ROUNDS}", round + 1);
        for kind in 0..kinds.len() {
            let _storm = (kind == 1).then(|| Storm::start(&lab));
            processor[kind].samples.push(processor_share(&lab));
            ours[kind].samples.extend(ask(&lab, OURS, count));
            let _minimal = respond(&lab, &program);
            minimal[kind].samples.extend(ask(&lab, BASELINE, count));
        }
    }
    let [quiet, stormy] = ours;
    let [minimal, minimal_stormy] = minimal;
    let ratio =
        Series::ratio("… p50: the speaker to the C responder", quiet.percentile(50), minimal.percentile(50));
    let [idle, busy] = processor;
    report.series.extend([
        quiet,
        minimal,
        ratio.aim("≤ 1.3"),
        stormy.aim("p99 ≤ 1000"),
        minimal_stormy,
        idle,
        busy,
    ]);
}

/// The client's Service has its address on the wire, from that node alone.
#[track_caller]
fn serve(lab: &Lab) {
    let node = lab.node(NODE).name();
    lab.apply(&format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: wire}}\n\
         spec: {{addresses: [{OURS}/32]}}\n---\n\
         apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: wire}}\n\
         spec: {{interfaces: [{WIRE}], nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: {node}}}}}]}}\n"
    ));
    lab.expose_with(
        "wire",
        &[NODE],
        &json!({ "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"] } }),
    )
    .wait_addresses(1);
    wait::eventually("the speaker answers on the wire", SOON, || {
        if ask(lab, OURS, 3).is_empty() { Err("it does not") } else { Ok(()) }
    });
}

#[track_caller]
fn compile() -> PathBuf {
    let (source, program) =
        (workspace().join("tests/baseline/arp_responder.c"), folder().join("arp_responder"));
    fs::create_dir_all(folder()).unwrap_or_else(|error| panic!("{}: {error}", folder().display()));
    run::run(Command::new("cc").args(["-O2", "-o"]).args([&program, &source]));
    program
}

#[track_caller]
fn respond(lab: &Lab, program: &PathBuf) -> Daemon {
    let mut command = Command::new(program);
    command.args([WIRE, &BASELINE.to_string()]);
    let responder = lab.node(NODE).spawn("arp_responder", &command);
    wait::eventually("the C responder answers", SOON, || {
        if ask(lab, BASELINE, 1).is_empty() { Err(responder.log()) } else { Ok(()) }
    });
    responder
}

/// The times of so many questions, in microseconds; a question without an answer has none. Each comes from another
/// stranger, so that a late answer is not taken for one to the next.
#[track_caller]
fn ask(lab: &Lab, ip: Ipv4Addr, count: usize) -> Vec<f64> {
    let client = lab.client();
    let capture = Capture::of_arp(client, WIRE, ip);
    let socket = PacketSocket::open(client.namespace(), WIRE, Wanted::Nothing);
    for stranger in (0..Place::STRANGERS).cycle().take(count) {
        let mac = Network::SEGMENT.mac(Place::stranger(stranger));
        socket.send(&arp_frame(mac, ASKER, ip, Request::Broadcast));
        thread::sleep(SPACING);
    }
    thread::sleep(Duration::from_millis(50));
    let mut asked: BTreeMap<Mac, Duration> = BTreeMap::new();
    let mut times = Vec::new();
    for frame in capture.stop() {
        let operation = frame.arp().map(|arp| arp.operation);
        if frame.outgoing && operation == Some(Operation::Request) {
            asked.insert(frame.source(), frame.at);
        } else if operation == Some(Operation::Reply)
            && let Some(at) = asked.remove(&frame.destination())
        {
            times.push(frame.at.saturating_sub(at).as_secs_f64() * 1e6);
        }
    }
    times
}

#[track_caller]
fn mac_on_wire(host: &Host) -> Mac {
    let file = format!("/sys/class/net/{WIRE}/address");
    let text = run::run(host.namespace().command_with_own_sys("cat").arg(file));
    let octets: Vec<u8> =
        text.trim().split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    Mac(octets.try_into().expect("an Ethernet address has six octets"))
}

/// Of one processor, in two seconds in which nobody asks.
#[track_caller]
fn processor_share(lab: &Lab) -> f64 {
    let (before, start) = (lab.speaker(NODE).processor_time(), clock::now());
    thread::sleep(Duration::from_secs(2));
    let spent = lab.speaker(NODE).processor_time() - before;
    100.0 * spent.as_secs_f64() / start.elapsed().as_secs_f64()
}

/// Broadcast requests for somebody else, until it is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    started: std::time::Instant,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    #[track_caller]
    fn start(lab: &Lab) -> Self {
        let client = lab.client();
        let socket = PacketSocket::open(client.namespace(), WIRE, Wanted::Nothing);
        let frame = arp_frame(mac_on_wire(client), ASKER, STRANGER, Request::Broadcast);
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let blow = move || {
            let start = clock::now();
            while !told.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * f64::from(STORM)) as u64;
                while counted.load(Ordering::Relaxed) < due {
                    socket.send(&frame);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_micros(500));
            }
        };
        let thread = thread::Builder::new().name("storm".into()).spawn(blow).expect("a thread starts");
        Self { stop, sent, started: clock::now(), thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let rate = self.sent.load(Ordering::Relaxed) as f64 / self.started.elapsed().as_secs_f64();
        eprintln!("  … {rate:.0} broadcasts a second");
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

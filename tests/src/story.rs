//! The product at work, told with times: what `make demo` prints. A step that does not happen ends it.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kube::service::TARGET;
use crate::kube::whole::Whole;
use crate::meter::Continuity;
use crate::router::{Config, Router};
use crate::{Host, clock, meter, wait};

const SOON: Duration = Duration::from_secs(60);
/// How long clients are watched after a node has failed: longer than a dead node needs to be noticed.
const WATCHED: Duration = Duration::from_secs(15);
const FLOWS: usize = 12;

/// Tells one step after the other, each with the time it took.
struct Teller {
    began: Instant,
}

impl Teller {
    fn new() -> Self {
        Self { began: clock::now() }
    }

    fn say(&self, what: impl Display) {
        println!("{:7.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Does a step and says how long it took.
    fn step<T>(&self, what: impl Display, act: impl FnOnce() -> T) -> T {
        let from = clock::now();
        let done = act();
        self.say(format_args!("{what} ({:.2} s)", from.elapsed().as_secs_f64()));
        done
    }
}

/// A cluster with the product installed, its samples applied, both routers running and a web server exposed
/// by both ways.
struct Stage {
    cluster: Whole,
    near: [IpAddr; 2],
    far: [IpAddr; 2],
}

/// Tells the whole story and removes everything.
pub fn demo() {
    let teller = Teller::new();
    println!(
        "FerriteLB on a real Kubernetes: three nodes, an FRR and a BIRD router, clients before and behind them"
    );
    let stage = set(&teller, Whole::up);
    ask(&teller, &stage);
    fail(&teller, &stage);
    teller.step("everything removed", || drop(stage));
    println!("Every step happened.");
}

/// Leaves the same stage standing and says what can be done with it.
pub fn stand() {
    let teller = Teller::new();
    let stage = set(&teller, Whole::to_stand);
    ask(&teller, &stage);
    let Stage { cluster, near, far } = stage;
    let (kubeconfig, kubectl) =
        (cluster.plane().admin().to_owned(), cluster.plane().programs().folder().to_owned());
    let spaces = [cluster.client(), cluster.ext(), cluster.frr(), cluster.bird()]
        .map(|host: &Host| host.namespace().path());
    let [client, outside, frr, bird] = spaces.map(|path| path.display().to_string());
    let questions = [
        ("FRR", cluster.frr().by_hand("show bgp ipv4 unicast")),
        ("BIRD", cluster.bird().by_hand("show route")),
    ];
    let name = cluster.leave_standing();
    println!("\nThe lab {name} stands until `make lab-down`.\n");
    println!("  export KUBECONFIG={} PATH={}:$PATH", kubeconfig.display(), kubectl.display());
    println!("  kubectl get services,ipaddresspools,bgppeers,speakerstatuses\n");
    println!("A client on the segment, and one behind the routers:");
    println!("  nsenter --net={client} curl http://{}", near[0]);
    println!("  nsenter --net={outside} curl http://{}", far[0]);
    println!("\nThe routers:");
    for (router, question) in questions {
        println!("  {question}    # {router}");
    }
    println!("  nsenter --net={frr} ip route\n  nsenter --net={bird} ip route");
}

fn set(teller: &Teller, up: impl FnOnce(&str) -> Whole) -> Stage {
    let cluster = teller.step("cluster up: 3 nodes Ready, the image imported", || up("demo"));
    for router in [cluster.frr(), cluster.bird()] {
        router.start(&Config::default());
    }
    teller.say("routers up: FRR (AS 64512) and BIRD (AS 64513)");
    teller.step("manifests/install.yaml applied: controller and 3 speakers Ready", || cluster.install());
    teller.step("config/samples applied: two pools, four BGP peers, an advertisement of each kind", || {
        cluster.plane().apply_samples();
    });
    teller.step("deployment/web: 3 pods Ready", || cluster.deploy("web", 3));
    let near = expose(teller, &cluster, "web", None);
    let far = expose(teller, &cluster, "routed", Some("routed"));
    println!("{}", cluster.kubectl(&["get", "services,ipaddresspools"]));
    Stage { cluster, near, far }
}

/// `kubectl expose`, dual-stack, with a second port for the meter's datagrams.
fn expose(teller: &Teller, cluster: &Whole, name: &str, pool: Option<&str>) -> [IpAddr; 2] {
    let port =
        |name, protocol| json!({ "name": name, "port": 80, "targetPort": TARGET, "protocol": protocol });
    let overrides = json!({
        "metadata": { "annotations": pool.map(|pool| json!({ "ferritelb.io/address-pool": pool })) },
        "spec": {
            "ipFamilyPolicy": "RequireDualStack",
            "externalTrafficPolicy": "Local",
            "ports": [port("http", "TCP"), port("echo", "UDP")],
        },
    });
    let pool = pool.map(|pool| format!(", pool {pool}")).unwrap_or_default();
    let what =
        format!("kubectl expose deployment web --name={name} --type=LoadBalancer{pool}: address assigned");
    let addresses = teller.step(what, || {
        let (port, target, name) = ("--port=80", format!("--target-port={TARGET}"), format!("--name={name}"));
        let overrides = format!("--overrides={overrides}");
        let kind = "--type=LoadBalancer";
        cluster.kubectl(&["expose", "deployment", "web", port, &target, &name, kind, &overrides]);
        cluster.service(name.trim_start_matches("--name=")).wait_addresses(2)
    });
    let [one, other] = addresses[..] else { panic!("two addresses: {addresses:?}") };
    teller.say(format_args!("service/{name} has {one} and {other}"));
    [one, other]
}

/// Every way to a pod: on the segment, through FRR, through BIRD, by either family.
fn ask(teller: &Teller, stage: &Stage) {
    let Stage { cluster, near, far } = stage;
    for address in near {
        let said = teller.step(format_args!("client on the segment gets http://{}", shown(*address)), || {
            wait::eventually("an answer on the segment", SOON, || cluster.client().http(*address, 80))
        });
        teller.say(format_args!(
            "  answered by {said}; {} answers for the address",
            cluster.node(cluster.wait_owner(*address, SOON)).name()
        ));
    }
    for router in [cluster.frr(), cluster.bird()] {
        for address in far {
            let what = format!("client behind {} gets http://{}", router.name(), shown(*address));
            let said = teller.step(what, || answer_through(cluster, router, *address));
            let hops = router.routes().get(&(*address).into()).map_or(0, |hops| hops.len());
            teller.say(format_args!("  answered by {said}; the router has {hops} next hops"));
        }
    }
}

fn answer_through(cluster: &Whole, router: &Router, address: IpAddr) -> String {
    let client = cluster.ext().via(router);
    wait::eventually("an answer behind the router", SOON, || client.http(address, 80))
}

fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The owner of the segment's address loses its power, and clients by every way are watched meanwhile.
fn fail(teller: &Teller, stage: &Stage) {
    let Stage { cluster, near: [near, _], far: [far, _] } = stage;
    let number = cluster.wait_owner(*near, SOON);
    let victim = cluster.node(number).name();
    for router in [cluster.frr(), cluster.bird()] {
        router.wait_vip(*far, &[cluster.node(1), cluster.node(2), cluster.node(3)], SOON);
    }
    let (to_near, to_far) = (SocketAddr::new(*near, 80), SocketAddr::new(*far, 80));
    let on_segment = meter::probe(&cluster.client().vantage(), to_near, meter::SPACING, 1);
    let behind = [cluster.frr(), cluster.bird()]
        .map(|router| (router, meter::probe(&cluster.ext().via(router), to_far, meter::SPACING, FLOWS)));
    thread::sleep(Duration::from_secs(1));
    teller.say(format_args!("node {victim} loses its power; clients send every millisecond"));
    cluster.power_off(number);
    cluster.wait_node_unknown(number);
    teller.say(format_args!("the API server has noticed: {victim} is NotReady"));
    thread::sleep(WATCHED);
    tell_gap(
        teller,
        "layer 2 (another node answers once the API server calls the owner NotReady)",
        &on_segment.stop(),
    );
    for (router, probe) in behind {
        let way = format!("BGP through {} (hold time 3 s)", router.name());
        tell_gap(teller, &way, &probe.stop());
    }
    assert_ne!(cluster.wait_owner(*near, SOON), number, "another node has taken over");
    teller.step(format_args!("power is back on {victim}, its speaker Ready"), || {
        cluster.power_on(number);
        cluster.wait_node_ready(number);
        cluster.wait_rollout("ferritelb-system", "daemonset/ferrite-speaker");
    });
    let nodes = [cluster.node(1), cluster.node(2), cluster.node(3)];
    teller.step("all three nodes are next hops again", || {
        for router in [cluster.frr(), cluster.bird()] {
            router.wait_vip(*far, &nodes, SOON);
        }
    });
}

fn tell_gap(teller: &Teller, way: &str, continuity: &Continuity) {
    let gap = continuity.longest_gap.as_secs_f64() * 1000.0;
    teller.say(format_args!(
        "  longest gap, {way}: {gap:.0} ms ({} of {} lost)",
        continuity.lost, continuity.sent
    ));
    let served = continuity.last_owners().len();
    assert!(served > 0, "nobody answers any more: {continuity}");
    assert!(continuity.longest_gap < SOON, "the client was left alone: {continuity}");
}

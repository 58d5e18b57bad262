//! The controller with ten thousand Services, beside a bare writer that needs as many writes.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Service};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::calls::Caller;
use super::report::Report;
use super::series::Series;
use super::watch::{Told, Watch};
use super::{Form, Progress};
use crate::kube::kubeconfig::Identity;
use crate::kube::light::{Lab, NAMESPACE};
use crate::kube::object as ours;
use crate::{clock, wait};

const SERVICES: usize = 10_000;
/// Calls of the harness at a time when it makes the Services.
const CREATING: usize = 64;
/// As many as the controller writes at a time.
const WRITING: usize = 32;
const POOL: &str = "198.18.0.0/16";

const WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at what ten thousand Services have.
const LOOK: Duration = Duration::from_millis(250);
/// Longer than a lease, and than the controller waits before it writes a pool's status.
const REST: Duration = Duration::from_secs(10);
/// Between two deletions.
const PAUSE: Duration = Duration::from_millis(200);
const SHORT: Duration = Duration::from_secs(120);
const FULL: Duration = Duration::from_secs(1800);

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    eprintln!("fleet: raising a lab without the product");
    let lab = Lab::without_product("bench: fleet");
    // The nodes are not looked at, and would take the processors from what is.
    for node in 1..=lab.nodes().len() {
        lab.proxy(node).kill();
    }
    let (mut fleet, created) = Fleet::create(&lab);
    let before = fleet.bare_writer("first");
    fleet.clear();
    let mut series = vec![Series::seconds("made by the harness: Services without node ports", [created])];
    let (told, served) = (fleet.told(), fleet.served());
    let mut memory = vec![lab.controller().resident()];
    let deletions = fleet.deletions(form);
    let restarts = fleet.restarts(form);
    memory.push(lab.controller().resident());
    lab.controller().terminate();
    let after = fleet.bare_writer("second");
    let quicker = before.min(after);
    series.extend([
        Series::seconds(
            "a bare writer: first patch sent → last status seen (before; after)",
            [before, after],
        ),
        Series::seconds("controller started without a pool → every Service says so", [told]),
        Series::seconds("pool created → last address seen", [served.took]),
        Series::ratio(
            "of it to the quicker of the bare writer's",
            Some(served.took.as_secs_f64()),
            Some(quicker.as_secs_f64()),
        )
        .aim("≤ 1.25"),
    ]);
    series.extend(served.counts);
    series.extend(deletions);
    series.extend(restarts);
    series.push(
        Series::mebibytes("controller, resident, addresses given; and after the last restart", memory)
            .aim("≤ 80"),
    );
    let mut report = Report::new("fleet", "The controller with 10,000 Services", series);
    report.notes.push(format!(
        "The bare writer patches the same Services with {WRITING} calls at a time, from the same place and with \
         the same rights, while no controller runs."
    ));
    report
}

/// The Services, and those who look on.
struct Fleet<'a> {
    lab: &'a Lab,
    members: Vec<Member>,
    /// With the controller's own rights.
    peer: Caller<'a>,
    watch: Watch,
    events: Watch<Duration>,
}

struct Member {
    name: String,
    uid: String,
}

/// How the Services got their addresses.
struct Served {
    took: Duration,
    counts: [Series; 4],
}

impl<'a> Fleet<'a> {
    /// Makes the Services; how long that took.
    #[track_caller]
    fn create(lab: &'a Lab) -> (Self, Duration) {
        eprintln!("fleet: creating {SERVICES} Services");
        let kube = lab.plane().kube();
        let (watch, events) = (Watch::start(kube), Watch::of(kube, |at, _: &Event| at));
        let token = kube.token(NAMESPACE, "ferrite-controller", None);
        let peer = Caller::new(lab, "bench-peer", Identity::Token(&token));
        let maker = Caller::new(lab, "bench-maker", Identity::Certificate("admin"));
        let names: Vec<_> = (0..SERVICES).map(|number| format!("fleet-{number:05}")).collect();
        let (start, members) = maker.each(&names, CREATING, async |services, name| {
            let made = services.create(&PostParams::default(), &object(name)).await?;
            Ok(Member { name: name.clone(), uid: made.metadata.uid.unwrap_or_default() })
        });
        let took = clock::wall() - start;
        eprintln!("  created in {} s", took.as_secs());
        (Self { lab, members, peer, watch, events }, took)
    }

    /// How long a plain loop takes to write a status for each of them, until the watch has told of the last.
    #[track_caller]
    fn bare_writer(&self, round: &str) -> Duration {
        eprintln!("fleet: a bare writer");
        thread::sleep(REST);
        self.watch.forget();
        let numbered: Vec<_> = (0_u32..).zip(&self.members).collect();
        let start = self.write(&numbered, |(number, member)| occupied(*number, member, round));
        let took =
            self.wait_all("the watch tells of every status", |told| !told.addresses.is_empty()) - start;
        eprintln!("  {} s", took.as_secs_f32());
        took
    }

    /// Takes back what the bare writer wrote.
    #[track_caller]
    fn clear(&self) {
        self.watch.forget();
        self.write(&self.members, cleared);
        self.wait_all("the watch tells of every cleared status", |told| told.addresses.is_empty());
    }

    /// Patches statuses; when it began.
    #[track_caller]
    fn write<T: Sync>(&self, items: &[T], patch: impl Fn(&T) -> (String, Value) + Sync) -> Duration {
        let how = PatchParams::default();
        let (start, _) = self.peer.each(items, WRITING, async |services, item| {
            let (name, patch) = patch(item);
            services.patch_status(&name, &how, &Patch::Strategic(patch)).await.map(drop)
        });
        start
    }

    /// Starts the controller; how long until each Service says that there is no pool.
    #[track_caller]
    fn told(&self) -> Duration {
        eprintln!("fleet: the controller starts, without a pool");
        thread::sleep(REST);
        self.watch.forget();
        let start = clock::wall();
        self.lab.controller().start();
        let took = self.wait_all("every Service says that there is no pool", |_| true) - start;
        eprintln!("  {} s", took.as_secs_f32());
        took
    }

    /// Creates the pool that they wait for.
    #[track_caller]
    fn served(&self) -> Served {
        eprintln!("fleet: the pool");
        thread::sleep(REST);
        self.watch.forget();
        self.events.forget();
        let patches = self.patches();
        let start = clock::wall();
        self.lab.plane().kube().cluster::<api::IpAddressPool>().create(&pool());
        let took = self.wait_all("every Service has an address", |told| !told.addresses.is_empty()) - start;
        eprintln!("  {} s", took.as_secs_f32());
        thread::sleep(REST);
        let each = |count: usize| count as f64 / self.members.len() as f64;
        let single = |what: &str, unit, value| Series { samples: vec![value], ..Series::new(what, unit) };
        let patches = usize::try_from(self.patches() - patches).expect("a count");
        let changes = self.watch.look(<[Told]>::len);
        let (all, most) = self.events.look(|times| (times.len(), busiest_second(times)));
        Served {
            took,
            counts: [
                single("status patches a Service, as the API server counts them", "", each(patches)).aim("1"),
                single("changes of a Service that the watch told of", "", each(changes)).aim("1"),
                single("Events, all", "", all as f64),
                single("Events within one second, at most", "", most as f64).aim("≤ 10"),
            ],
        }
    }

    /// One after the other goes.
    #[track_caller]
    fn deletions(&mut self, form: Form) -> Vec<Series> {
        thread::sleep(REST);
        let (kube, controller) = (self.lab.plane().kube(), self.lab.controller());
        let spent_over = |act: &mut dyn FnMut()| {
            let before = controller.processor_time();
            act();
            thread::sleep(PAUSE);
            controller.processor_time() - before
        };
        let (mut idle, mut busy) = (Duration::ZERO, Duration::ZERO);
        let mut each = Series::milliseconds("one Service deleted: processor time of the controller");
        let patches = self.patches();
        self.watch.forget();
        for _ in Progress::new("deletions", form.of(100, 1000), form.of(SHORT, FULL)).samples() {
            let Some(member) = self.members.pop() else { break };
            idle += spent_over(&mut || {});
            let services = kube.namespaced::<Service>("default");
            let spent = spent_over(&mut || services.delete(&member.name, Duration::ZERO));
            busy += spent;
            each.between(Duration::ZERO, spent);
        }
        let count = u32::try_from(each.samples.len()).expect("a count").max(1);
        let mut mean = Series::milliseconds("… mean, without what it spends when nothing happens").aim("≤ 1");
        mean.between(idle / count, busy / count);
        let told = self.watch.look(<[Told]>::len);
        let mut writes = Series::new("… writes to other Services, by all deletions", "").aim("0");
        writes.samples.push((self.patches() - patches).max(told as u64) as f64);
        vec![each, mean, writes]
    }

    /// Starts the controller again and again.
    #[track_caller]
    fn restarts(&self, form: Form) -> Vec<Series> {
        let mut ready = Series::new("controller started → ready", "s").aim("≤ 5");
        let mut late = Series::new("controller started → address of a Service that waited for it", "s");
        let mut writes = Series::new("… writes to other Services", "").aim("0");
        for number in Progress::new("restarts", form.of(3, 20), form.of(SHORT, FULL)).samples() {
            let restart = self.restart(number);
            ready.samples.push(restart.ready.as_secs_f64());
            late.samples.push(restart.late.as_secs_f64());
            writes.samples.push(restart.writes as f64);
        }
        vec![ready, late, writes]
    }

    #[track_caller]
    fn restart(&self, number: usize) -> Restart {
        let (controller, name) = (self.lab.controller(), format!("late-{number}"));
        controller.terminate();
        let services = self.lab.plane().kube().namespaced::<Service>("default");
        let patches = self.patches();
        services.create(&serde_json::to_value(object(&name)).expect("a Service is JSON"));
        self.watch.forget();
        let start = clock::wall();
        controller.start();
        controller.wait_ready();
        let ready = clock::wall() - start;
        let served = |told: &Told| told.name == name && !told.addresses.is_empty();
        let late = self.watch.wait_for("a Service that waited has an address", served).at - start;
        thread::sleep(REST);
        let others = self.watch.look(|told| told.iter().filter(|told| told.name != name).count());
        let patches = (self.patches() - patches).saturating_sub(1);
        Restart { ready, late, writes: patches.max(others as u64) }
    }

    /// When the watch had told of the last of them what is wanted.
    #[track_caller]
    fn wait_all(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Duration {
        wait::eventually(what, WITHIN, || {
            thread::sleep(LOOK);
            let firsts = self.watch.look(|told| firsts(told, &wanted));
            let last = firsts.values().max().copied();
            last.filter(|_| firsts.len() >= self.members.len())
                .ok_or_else(|| format!("{} of {}", firsts.len(), self.members.len()))
        })
    }

    /// How many patches of a Service's status the API server has answered, whatever they changed.
    #[track_caller]
    fn patches(&self) -> u64 {
        let kube = self.lab.plane().kube();
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a path is a request");
        let page = kube.block_on(kube.client().request_text(request));
        status_patches(&page.unwrap_or_else(|error| panic!("metrics of the API server: {error}")))
    }
}

/// One new start.
struct Restart {
    ready: Duration,
    late: Duration,
    writes: u64,
}

/// The moment at which each Service first was as wanted.
fn firsts(told: &[Told], wanted: impl Fn(&Told) -> bool) -> BTreeMap<String, Duration> {
    let mut firsts = BTreeMap::new();
    for told in told.iter().filter(|told| wanted(told)) {
        if !firsts.contains_key(&told.name) {
            firsts.insert(told.name.clone(), told.at);
        }
    }
    firsts
}

/// How many of these moments, which are in order, lie within one second.
fn busiest_second(times: &[Duration]) -> usize {
    let within = |(index, first): (usize, &Duration)| {
        times[index..].iter().take_while(|time| **time < *first + Duration::from_secs(1)).count()
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

fn status_patches(page: &str) -> u64 {
    let labels = ["resource=\"services\"", "subresource=\"status\"", "verb=\"PATCH\""];
    let lines = page.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let wanted = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    wanted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn object(name: &str) -> Service {
    let object = json!({
        "metadata": { "name": name },
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "ports": [{ "port": 80 }],
        },
    });
    serde_json::from_value(object).expect("a Service")
}

fn pool() -> Value {
    ours("IPAddressPool", "fleet", &json!({ "addresses": [POOL] }))
}

/// What the product writes when it gives an address, under names that it does not know.
fn occupied(number: u32, member: &Member, round: &str) -> (String, Value) {
    let address = std::net::Ipv4Addr::from_bits(0xcb00_0000 + number);
    let patch = json!({
        "metadata": { "uid": member.uid, "annotations": { "lab.invalid/ip-allocated-from-pool": round } },
        "status": {
            "loadBalancer": { "ingress": [{ "ip": address, "ipMode": "VIP" }] },
            "conditions": [{
                "type": "lab.invalid/Allocated",
                "status": "True",
                "reason": "Allocated",
                "message": format!("{address} from pool {round}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    });
    (member.name.clone(), patch)
}

fn cleared(member: &Member) -> (String, Value) {
    let patch = json!({
        "metadata": { "uid": member.uid, "annotations": { "lab.invalid/ip-allocated-from-pool": null } },
        "status": {
            "loadBalancer": { "ingress": null },
            "conditions": [{ "$patch": "delete", "type": "lab.invalid/Allocated" }],
        },
    });
    (member.name.clone(), patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_a_status_are_counted_whatever_their_answer() {
        let line = |code, resource, subresource, verb, count| {
            format!(
                "apiserver_request_total{{code=\"{code}\",group=\"\",resource=\"{resource}\",scope=\"resource\",\
                 subresource=\"{subresource}\",verb=\"{verb}\",version=\"v1\"}} {count}\n"
            )
        };
        let page = [
            line(200, "services", "status", "PATCH", 7),
            line(409, "services", "status", "PATCH", 2),
            line(200, "services", "", "PATCH", 100),
            line(200, "services", "status", "GET", 100),
            line(200, "ipaddresspools", "status", "PATCH", 100),
        ];
        assert_eq!(status_patches(&page.concat()), 9);
    }

    #[test]
    fn the_busiest_second_begins_at_any_moment() {
        let times = [0, 600, 900, 1500, 1700, 2600].map(Duration::from_millis);
        assert_eq!(busiest_second(&times), 3);
        assert_eq!(busiest_second(&[]), 0);
    }

    #[test]
    fn of_each_service_the_first_moment_counts() {
        let told = |name: &str, at, addresses: &[&str]| Told {
            at: Duration::from_secs(at),
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let all =
            [told("a", 1, &[]), told("a", 2, &["10.0.0.1"]), told("a", 3, &["10.0.0.1"]), told("b", 4, &[])];
        let firsts = firsts(&all, |told| !told.addresses.is_empty());
        assert_eq!(firsts, BTreeMap::from([("a".to_owned(), Duration::from_secs(2))]));
    }
}

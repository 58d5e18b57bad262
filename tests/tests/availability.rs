//! Several controllers, of which one decides: what becomes of addresses while leaders are killed, frozen and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service as Object;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use lab::kube::client::Kube;
use lab::kube::light::{Lab, NAMESPACE, REPLICAS};
use lab::kube::object;
use lab::{clock, wait};
use serde_json::{Value, json};

const SERVICES: usize = 500;
/// Every third is made once and left alone.
const STEADY: usize = 3;
const WORKERS: usize = 4;
const TURNS: usize = 3;
/// What a worker leaves the machine between two requests.
const BREATH: Duration = Duration::from_millis(30);
const SEED: u64 = 0x00F3_4417;

/// Longer than the lease, and than anything that the leader waits for.
const FROZEN: Duration = Duration::from_secs(8);
const OUTAGE: Duration = Duration::from_secs(3);
/// Ten times what a leader may take to hand over when it is told to end.
const HANDED_OVER: Duration = Duration::from_secs(10);
/// Ten times the lease.
const REPLACED: Duration = Duration::from_secs(50);
const SETTLES: Duration = Duration::from_secs(120);
/// For looking whether something changes that must not.
const WHILE: Duration = Duration::from_secs(3);

const ALLOCATED: &str = "ferritelb.io/Allocated";
const TURN: &str = "example.org/turn";
const POOL: &str = "ferritelb.io/address-pool";
/// Fewer than ask for them.
const WANTED: u64 = 64;

/// A lab in which all replicas run.
fn lab(purpose: &str) -> Lab {
    let lab = Lab::without_product(purpose);
    // The nodes are not looked at, and would take the processors from what is.
    for node in 1..=lab.nodes().len() {
        lab.proxy(node).kill();
    }
    // Little more than is needed, and nothing rests: what is freed is soon given to another.
    pool(&lab, "open", &["198.18.0.0-198.18.2.20", "2001:db8:18::-2001:db8:18::2ff"], true);
    pool(&lab, "wanted", &["198.19.0.0-198.19.0.63"], false);
    (1..=REPLICAS).for_each(|replica| lab.replica(replica).start());
    (1..=REPLICAS).for_each(|replica| lab.replica(replica).wait_ready());
    lab
}

fn pool(lab: &Lab, name: &str, addresses: &[&str], auto: bool) {
    let spec = json!({ "addresses": addresses, "autoAssign": auto, "reuseAfter": "0s" });
    lab.plane().kube().cluster::<api::IpAddressPool>().create(&object("IPAddressPool", name, &spec));
}

/// Waits until one of these replicas says that it leads; which, and since when at the latest.
#[track_caller]
fn leader(lab: &Lab, among: &[usize], within: Duration) -> (usize, Instant) {
    wait::eventually(&format!("one of the replicas {among:?} leads"), within, || {
        let leads = among.iter().copied().find(|replica| lab.replica(*replica).leads());
        leads.map(|replica| (replica, clock::now())).ok_or("none")
    })
}

fn others(replica: usize) -> Vec<usize> {
    (1..=REPLICAS).filter(|other| *other != replica).collect()
}

/// Waits until of all replicas one leads, and no other.
#[track_caller]
fn one_leads(lab: &Lab) -> usize {
    wait::eventually("just one replica leads", REPLACED, || {
        let leading: Vec<_> = (1..=REPLICAS).filter(|replica| lab.replica(*replica).leads()).collect();
        if let [leader] = leading[..] { Ok(leader) } else { Err(format!("{leading:?}")) }
    })
}

/// Takes the leader away; who leads instead, and how long nobody did.
#[track_caller]
fn lose(lab: &Lab, how: &str, within: Duration, take_away: impl FnOnce(usize)) -> usize {
    let lost = one_leads(lab);
    let start = clock::now();
    take_away(lost);
    let (next, since) = leader(lab, &others(lost), within);
    println!("  replica {lost} {how}: replica {next} leads after {:.0?}", since - start);
    lost
}

/// Kills, freezes and ends a leader, each in the middle of the storm.
fn turn(lab: &Lab) {
    let killed = lose(lab, "is killed", REPLACED, |leader| lab.replica(leader).kill());
    lab.replica(killed).start();
    lab.replica(killed).wait_ready();

    let start = clock::now();
    let frozen = lose(lab, "is frozen", REPLACED, |leader| lab.replica(leader).freeze());
    thread::sleep(FROZEN.saturating_sub(start.elapsed()));
    lab.replica(frozen).thaw();
    wait::eventually("the one that was frozen knows that it leads no longer", HANDED_OVER, || {
        let leads = lab.replica(frozen).leads();
        if leads { Err("it says that it leads") } else { Ok(()) }
    });

    let ended = lose(lab, "is told to end", HANDED_OVER, |leader| lab.replica(leader).tell_to_end());
    let status = lab.replica(ended).terminate();
    assert!(status.success(), "SIGTERM ends cleanly: {status}");
    lab.replica(ended).start();
    lab.replica(ended).wait_ready();
}

#[test]
fn nothing_is_given_twice_and_nothing_changes_hands_while_leaders_come_and_go() {
    let lab = lab("availability: storm");
    let looking = Looking::start(lab.plane().kube());
    let storm = Storm::start(lab.plane().admin());
    let start = clock::now();
    for number in 1..=TURNS {
        turn(&lab);
        if number == 2 {
            lab.stop_api();
            thread::sleep(OUTAGE);
            lab.start_api();
            println!("  the API server was away; replica {} leads", one_leads(&lab));
        }
    }
    let stormed = start.elapsed();
    let tally = storm.stop();
    println!("  {tally:?} in {stormed:.0?}");
    assert!(tally.made >= SERVICES && tally.changed >= SERVICES, "a storm: {tally:?}");
    drop_wishes_that_are_refused(&lab);
    wait_all_served(&lab);
    one_leads(&lab);
    thread::sleep(WHILE);
    let services = wait_all_served(&lab);
    assert_eq!(services.len(), SERVICES);
    assert_nothing_twice(&services);
    pools_count_them(&lab, &services);
    let before = versions(&services);
    thread::sleep(WHILE);
    assert_eq!(versions(&list(&lab)), before, "at rest nothing is written");
    looking.wait_has_seen(&services);
    let seen = looking.seen();
    println!(
        "  {} changes seen; {} times an address was shown by two, {} Services got another, {} got their own back",
        seen.changes, seen.doubles, seen.repaired, seen.returned
    );
    assert!(seen.displaced.is_empty(), "what was served has changed hands: {:#?}", seen.displaced);
    println!("  took {:.0?} in all", start.elapsed());
}

#[test]
fn a_standby_takes_over_without_a_write_to_others() {
    const FEW: usize = 30;
    let lab = lab("availability: standby");
    for number in 0..FEW {
        lab.plane()
            .kube()
            .namespaced::<Object>("default")
            .create(&manifest(&format!("web-{number}"), number));
    }
    let services = wait_all_served(&lab);
    assert_nothing_twice(&services);
    let before = versions(&services);
    for how in ["is killed", "is told to end"] {
        let lost = lose(&lab, how, REPLACED, |leader| match how {
            "is killed" => lab.replica(leader).kill(),
            _ => lab.replica(leader).tell_to_end(),
        });
        let name = format!("late-{lost}");
        lab.plane().kube().namespaced::<Object>("default").create(&manifest(&name, 0));
        lab.service(&name).wait_addresses(2);
    }
    let now = versions(&list(&lab));
    let kept: BTreeMap<_, _> = now.into_iter().filter(|(name, _)| before.contains_key(name)).collect();
    assert_eq!(kept, before, "who was served has not been written");
    let lease = lab.plane().kube().namespaced::<Lease>(NAMESPACE).get("ferrite-controller");
    let spec = lease.spec.expect("a lease says whose it is");
    assert!(spec.holder_identity.is_some_and(|holder| !holder.is_empty()));
    assert!(spec.lease_transitions >= Some(2), "{:?}", spec.lease_transitions);
}

// What is looked at, at rest.

fn list(lab: &Lab) -> Vec<Object> {
    lab.plane().kube().namespaced::<Object>("default").list("storm=yes")
}

fn name_of(service: &Object) -> String {
    service.metadata.name.clone().unwrap_or_default()
}

fn versions(services: &[Object]) -> BTreeMap<String, Option<String>> {
    services.iter().map(|one| (name_of(one), one.metadata.resource_version.clone())).collect()
}

fn addresses(service: &Object) -> Vec<IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|ingress| ingress.ip.as_ref()).map(|ip| ip.parse().unwrap()).collect()
}

/// Its condition: whether it has what it asks for, and why not.
fn allocated(service: &Object) -> Option<(String, String)> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == ALLOCATED)?;
    Some((condition.status.clone(), format!("{} {}", condition.reason, condition.message)))
}

fn is_load_balancer(service: &Object) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

fn is_settled(service: &Object) -> bool {
    let (told, shows) = (allocated(service), !addresses(service).is_empty());
    if is_load_balancer(service) {
        shows && told.is_some_and(|(status, _)| status == "True")
    } else {
        !shows && told.is_none()
    }
}

/// Who asks for what another has would wait for ever.
fn drop_wishes_that_are_refused(lab: &Lab) {
    let services = lab.plane().kube().namespaced::<Object>("default");
    wait::eventually("nobody is refused", SETTLES, || {
        let refused: Vec<_> = list(lab)
            .into_iter()
            .filter(|one| is_load_balancer(one) && allocated(one).is_none_or(|(status, _)| status != "True"))
            .collect();
        for one in &refused {
            let change = wish(&Wish::Nothing, u64::MAX);
            services.patch(&name_of(one), &change);
        }
        if refused.is_empty() { Ok(()) } else { Err(format!("{} are", refused.len())) }
    });
}

#[track_caller]
fn wait_all_served(lab: &Lab) -> Vec<Object> {
    wait::eventually("every Service has what it asks for", SETTLES, || {
        let services = list(lab);
        let waiting: Vec<_> = services.iter().filter(|one| !is_settled(one)).collect();
        let told = waiting.first().map(|one| {
            format!("{} of {}, first {} {:?}", waiting.len(), services.len(), name_of(one), one.status)
        });
        told.map_or(Ok(services), Err)
    })
}

#[track_caller]
fn assert_nothing_twice(services: &[Object]) {
    let mut holders: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for service in services {
        for address in addresses(service) {
            holders.entry(address).or_default().push(name_of(service));
        }
    }
    holders.retain(|_, names| names.len() > 1);
    assert!(holders.is_empty(), "held twice: {holders:?}");
}

/// The pools say that they have given out as much as the Services have.
fn pools_count_them(lab: &Lab, services: &[Object]) {
    let held: BTreeSet<IpAddr> = services.iter().flat_map(addresses).collect();
    wait::eventually("the pools count what is given out", SETTLES, || {
        let pools = lab.plane().kube().cluster::<api::IpAddressPool>().list("");
        let counts = pools.into_iter().filter_map(|pool| Some(pool.status?.assigned));
        let counted: i64 = counts.sum();
        let good = usize::try_from(counted) == Ok(held.len());
        good.then_some(()).ok_or(format!("{counted} where {} are held", held.len()))
    });
}

// The storm.

fn manifest(name: &str, number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "labels": { "storm": "yes" }, "annotations": { TURN: "0" } },
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": if number.is_multiple_of(4) { "PreferDualStack" } else { "SingleStack" },
            "selector": { "app": name },
            "ports": [{ "port": 80 }],
        },
    })
}

/// What a Service asks for.
enum Wish {
    Nothing,
    Address(u64),
    Pool,
    NoAddress,
}

/// The change that makes a Service ask for that. Each change is told apart from the one before.
fn wish(wish: &Wish, turn: u64) -> Value {
    let (kind, node_ports) = match wish {
        Wish::NoAddress => ("ClusterIP", Value::Null),
        Wish::Nothing | Wish::Address(_) | Wish::Pool => ("LoadBalancer", json!(false)),
    };
    let address = match wish {
        Wish::Address(number) => json!(format!("198.19.0.{}", number % WANTED)),
        Wish::Nothing | Wish::Pool | Wish::NoAddress => Value::Null,
    };
    let pool = if matches!(wish, Wish::Pool) { json!("wanted,open") } else { Value::Null };
    json!({
        "metadata": { "annotations": { TURN: turn.to_string(), POOL: pool } },
        "spec": { "type": kind, "allocateLoadBalancerNodePorts": node_ports, "loadBalancerIP": address },
    })
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    made: usize,
    deleted: usize,
    changed: usize,
    failed: usize,
}

struct Storm {
    stop: Arc<AtomicBool>,
    workers: Vec<thread::JoinHandle<Tally>>,
}

impl Storm {
    fn start(kubeconfig: &Path) -> Self {
        println!("  seed {SEED:#x}");
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..WORKERS).map(|worker| {
            let numbers = (0..SERVICES).filter(|number| number % WORKERS == worker);
            let mut worker = Worker {
                kube: Kube::connect(kubeconfig),
                random: Random(SEED + worker as u64),
                members: numbers.map(|number| (number, false)).collect(),
                turn: 0,
                tally: Tally::default(),
            };
            let told = Arc::clone(&stop);
            thread::spawn(move || worker.run(&told))
        });
        Self { workers: workers.collect(), stop }
    }

    /// Ends it when each of the Services is there.
    fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = self.workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        tallies.fold(Tally::default(), |all, one| Tally {
            made: all.made + one.made,
            deleted: all.deleted + one.deleted,
            changed: all.changed + one.changed,
            failed: all.failed + one.failed,
        })
    }
}

struct Worker {
    kube: Kube,
    random: Random,
    /// The numbers of its Services, and whether they exist.
    members: Vec<(usize, bool)>,
    turn: u64,
    tally: Tally,
}

impl Worker {
    fn run(&mut self, stop: &AtomicBool) -> Tally {
        let services: Api<Object> = Api::namespaced(self.kube.client(), "default");
        while !stop.load(Ordering::Relaxed) {
            let index = self.random.below(self.members.len() as u64) as usize;
            self.act(&services, index);
            thread::sleep(BREATH);
        }
        let deadline = clock::now() + SETTLES;
        while let Some(index) = self.members.iter().position(|(_, exists)| !exists)
            && clock::now() < deadline
        {
            self.act(&services, index);
        }
        self.tally
    }

    /// Does something to one of them.
    fn act(&mut self, services: &Api<Object>, index: usize) {
        let (number, exists) = self.members[index];
        let name = format!("storm-{number:03}");
        if !exists {
            let object = serde_json::from_value(manifest(&name, number)).unwrap();
            let made = self.kube.block_on(services.create(&PostParams::default(), &object)).map(drop);
            self.note(index, made, Some(409), true, |tally| &mut tally.made);
            return;
        }
        if number.is_multiple_of(STEADY) {
            return;
        }
        let change = match self.random.below(100) {
            0..15 => {
                let deleted = self.kube.block_on(services.delete(&name, &DeleteParams::default())).map(drop);
                return self.note(index, deleted, Some(404), false, |tally| &mut tally.deleted);
            }
            15..40 => Wish::Address(self.random.below(WANTED)),
            40..60 => Wish::Nothing,
            60..75 => Wish::Pool,
            _ => Wish::NoAddress,
        };
        self.turn += 1;
        let change = wish(&change, self.turn);
        let (how, change) = (PatchParams::default(), Patch::Merge(&change));
        let patched = self.kube.block_on(services.patch(&name, &how, &change)).map(drop);
        self.note(index, patched, None, true, |tally| &mut tally.changed);
    }

    /// Counts it, and whether it is there afterwards; `already` says that it was so before.
    fn note(
        &mut self,
        index: usize,
        done: Result<(), kube::Error>,
        already: Option<u16>,
        exists: bool,
        count: fn(&mut Tally) -> &mut usize,
    ) {
        let exists = match done {
            Ok(()) => {
                *count(&mut self.tally) += 1;
                exists
            }
            Err(kube::Error::Api(status)) if Some(status.code) == already => exists,
            Err(_) => {
                self.tally.failed += 1;
                // It may have been done all the same: only making it tells whether it is there.
                false
            }
        };
        self.members[index].1 = exists;
    }
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

// The watch.

/// A watch that keeps account of who shows which address.
struct Looking {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Looking {
    fn start(kube: &Kube) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (kept, services) = (Arc::clone(&seen), Api::<Object>::namespaced(kube.client(), "default"));
        let follow = async move {
            let config = watcher::Config::default().labels("storm=yes");
            let mut events = std::pin::pin!(watcher::watcher(services, config));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => lock(&kept).note(event),
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        };
        let runtime = kube.block_on(async { tokio::runtime::Handle::current() });
        Self { seen, task: runtime.spawn(follow) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Waits until it has been told of all that these Services show.
    fn wait_has_seen(&self, services: &[Object]) {
        let shown: BTreeMap<_, _> = services.iter().map(|one| (uid_of(one), addresses(one))).collect();
        wait::eventually("the watch has told the end", SETTLES, || {
            let seen = self.seen();
            let known: BTreeMap<_, _> =
                seen.services.iter().map(|(uid, one)| (uid.clone(), one.addresses.clone())).collect();
            (known == shown).then_some(()).ok_or("it tells something else")
        });
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn uid_of(service: &Object) -> String {
    service.metadata.uid.clone().unwrap_or_default()
}

/// A Service as it was told of last.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    name: String,
    /// What it asks for.
    request: String,
    addresses: Vec<IpAddr>,
    /// How often it asked for something else without showing something else.
    owed: u32,
}

/// All that a watch tells.
#[derive(Debug, Default)]
struct Seen {
    services: BTreeMap<String, Shown>,
    /// Who shows an address, by uid, the first first.
    holders: BTreeMap<IpAddr, Vec<String>>,
    /// While a list is told anew: those that it has.
    listed: BTreeSet<String>,
    changes: usize,
    doubles: usize,
    /// Of those who showed what another showed first: how many got something else.
    repaired: usize,
    /// Services that showed something else although they asked for nothing else, and what they showed before. The
    /// last write of a leader that was frozen does this; at rest there must be none.
    displaced: BTreeMap<String, Shown>,
    returned: usize,
}

impl Seen {
    fn note(&mut self, event: Event<Object>) {
        match event {
            Event::Apply(service) => self.show(&service),
            Event::Delete(service) => self.forget(&uid_of(&service)),
            Event::Init => self.listed.clear(),
            Event::InitApply(service) => {
                self.listed.insert(uid_of(&service));
                self.show(&service);
            }
            Event::InitDone => {
                let gone: Vec<_> =
                    self.services.keys().filter(|uid| !self.listed.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.forget(uid));
            }
        }
    }

    fn show(&mut self, service: &Object) {
        let uid = uid_of(service);
        let turn = service.metadata.annotations.as_ref().and_then(|all| all.get(TURN)).cloned();
        let mut shown = Shown {
            name: name_of(service),
            request: turn.unwrap_or_default(),
            addresses: addresses(service),
            owed: 0,
        };
        if let Some(before) = self.services.get(&uid).cloned() {
            shown.owed = before.owed + u32::from(before.request != shown.request);
            if before.addresses != shown.addresses {
                self.changes += 1;
                self.judge(&uid, &before, &mut shown);
                self.let_go(&uid, &before.addresses);
            }
        }
        for address in &shown.addresses {
            let holders = self.holders.entry(*address).or_default();
            if !holders.contains(&uid) {
                holders.push(uid.clone());
                self.doubles += usize::from(holders.len() > 1);
            }
        }
        self.services.insert(uid, shown);
    }

    /// It shows other addresses than before: it must have asked for something else, or had what another had first,
    /// or gets back what it had.
    fn judge(&mut self, uid: &str, before: &Shown, shown: &mut Shown) {
        if self.displaced.get(uid).is_some_and(|own| own.addresses == shown.addresses) {
            self.displaced.remove(uid);
            self.returned += 1;
            return;
        }
        if before.addresses.is_empty() {
            return;
        }
        let is_anothers = |address: &IpAddr| self.holders[address].first().is_some_and(|first| first != uid);
        if shown.owed > 0 {
            shown.owed -= 1;
            self.displaced.remove(uid);
        } else if before.addresses.iter().any(is_anothers) {
            self.repaired += 1;
        } else {
            self.displaced.entry(uid.to_owned()).or_insert_with(|| before.clone());
        }
    }

    fn forget(&mut self, uid: &str) {
        self.displaced.remove(uid);
        if let Some(shown) = self.services.remove(uid) {
            self.let_go(uid, &shown.addresses);
        }
    }

    fn let_go(&mut self, uid: &str, addresses: &[IpAddr]) {
        for address in addresses {
            let holders = self.holders.get_mut(address).expect("what is shown is known");
            holders.retain(|holder| holder != uid);
        }
    }
}

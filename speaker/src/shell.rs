//! Wires the world to the doors: starts every task, and notices the end of each.

use std::collections::BTreeSet;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Writer;
use cluster::admin::{self, Admin, Checks};
use cluster::process::Termination;
use futures::{FutureExt, StreamExt};
use ipnetwork::IpNetwork;
use kube::Client;
use liveness::Departure;
use names::{NodeName, PeerName};
use netio::clock;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;
use crate::changes::{Updates, watch_all};
use crate::data_path;
use crate::engine::stations::Stations;
use crate::engine::surroundings::Neighbours;
use crate::engine::{bgp, l2, listener, networks, peer, probing, stations};
use crate::keys;
use crate::latest;
use crate::metrics::Metrics;
use crate::owners;
use crate::removal;
use crate::status;
use crate::world::{Commands, World};

const FIELD_MANAGER: &str = "ferrite-speaker";
const CACHES: &str = "caches";
/// How many updates are taken in before the plan is made again: a list of thousands is one plan, not thousands.
const BATCH: usize = 1024;
/// Routers that connect while the engine is busy wait here.
const ACCEPTED: usize = 16;
const SILENCES: Duration = Duration::from_secs(5);
/// How long peers may take to hear that the speaker ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the world's commands go.
struct Engines {
    l2: latest::Sender<std::net::IpAddr, l2::Wanted>,
    routes: latest::Sender<(PeerName, IpNetwork), peer::Wanted>,
    peers: latest::Sender<PeerName, Option<peer::PeerSettings>>,
    uid: watch::Sender<Option<String>>,
    neighbours: watch::Sender<Option<Arc<Neighbours>>>,
    recorded: latest::Sender<std::net::IpAddr, Option<owners::Recorded>>,
    probes: watch::Sender<Arc<probing::Probes>>,
    /// How the speaker ends when it is told to.
    leaves: watch::Sender<Departure>,
    settings: watch::Sender<api::Layer2>,
    data_path: watch::Sender<api::DataPath>,
    /// The boot in which the node's data path was ready, as is recorded.
    ready_in: watch::Sender<Option<String>>,
    /// The nodes that run a speaker, or did.
    speakers: watch::Sender<BTreeSet<NodeName>>,
}

type Tasks = JoinSet<Result<(), Box<dyn Error + Send + Sync>>>;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a task ends that should not.
pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut end = Termination::new()?;
    let Args { node_name, process: args } = args;
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let ready = Checks::new([CACHES]);
    let admin = Admin { registry: Arc::new(registry), healthy: Checks::new([]), ready: ready.clone() };
    let listener = admin::bind(args.metrics_address).await?;
    info!(node = node_name, address = %args.metrics_address, "ferrite-speaker {}", env!("CARGO_PKG_VERSION"));

    let stop = CancellationToken::new();
    let mut tasks = Tasks::new();
    tasks.spawn(admin::serve(listener, admin, stop.clone().cancelled_owned()).map(|end| Ok(end?)));
    let me = NodeName::new(&node_name);
    let (departs, departure) = watch::channel(None);
    let (engines, mut l2, bgp) =
        start_engines(&mut tasks, &client, &me, &metrics, &stop, departure, &args.namespace)?;
    let updates = watch_all(&client, args.lb_class);
    let leaves = engines.leaves.subscribe();
    let (removal, removed) = watch::channel(false);
    tasks.spawn(removal::run(client, args.namespace, removal).map(Ok));
    tasks.spawn(decide(World::new(me), updates, engines, ready, metrics));

    tokio::select! {
        () = end.told() => {}
        ended = &mut l2 => return Err(ended?.map_or_else(Into::into, |()| "a thread ended that should not".into())),
        Some(ended) = tasks.join_next() => {
            ended??;
            return Err("a task ended that should not".into());
        }
    }
    let departure = if *removed.borrow() { Departure::Leave } else { *leaves.borrow() };
    departs.send_replace(Some(departure));
    if timeout(FAREWELL, l2).await.is_err() {
        warn!("nobody answered in this speaker's place in time");
    }
    stop.cancel();
    match timeout(FAREWELL, bgp).await {
        Ok(ended) => Ok(ended?),
        Err(_late) => {
            warn!("a peer did not take the farewell in time");
            Ok(())
        }
    }
}

/// Runs the engine on a thread of its own, before ordinary ones where that is allowed: nothing that the rest of the
/// speaker does delays a heartbeat or an answer.
fn start_l2(
    engine: l2::Engine,
    inputs: l2::Inputs,
) -> std::io::Result<oneshot::Receiver<Result<(), netio::Error>>> {
    let (ends, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        if let Err(error) = netio::schedule::prefer_this_thread() {
            info!(%error, "layer 2 runs at ordinary priority");
        }
        // Nobody listens any more where the speaker has ended before.
        drop(ends.send(runtime.block_on(engine.run(inputs))));
    };
    std::thread::Builder::new().name("layer2".to_owned()).spawn(run)?;
    Ok(ended)
}

type BgpEngine = tokio::task::JoinHandle<()>;
type L2Engine = oneshot::Receiver<Result<(), netio::Error>>;

/// Follows which networks this node is in, and who answers there.
fn follow_links(
    tasks: &mut Tasks,
) -> (watch::Receiver<Option<Vec<api::Network>>>, watch::Receiver<Stations>) {
    let (networks, networks_known) = watch::channel(None);
    tasks.spawn(networks::run(networks).map(|end| Ok(end?)));
    let (stations, stations_known) = watch::channel(Stations::new());
    tasks.spawn(stations::run(stations).map(Ok));
    (networks_known, stations_known)
}

fn start_engines(
    tasks: &mut Tasks,
    client: &Client,
    me: &NodeName,
    metrics: &Metrics,
    stop: &CancellationToken,
    departure: watch::Receiver<Option<Departure>>,
    namespace: &str,
) -> std::io::Result<(Engines, L2Engine, BgpEngine)> {
    let seed = RandomState::new().hash_one(me.as_str());
    let (networks_known, stations_known) = follow_links(tasks);
    let (data_path, ready_in, data_path_known) = start_data_path(tasks);
    let (l2, wants) = latest::channel();
    let (neighbours, known) = watch::channel(None);
    let (keys, keys_known) = watch::channel(None);
    let (settings, settings_known) = watch::channel(api::Layer2::default());
    tasks.spawn(keys::run(client.clone(), namespace.to_owned(), keys).map(Ok));
    let inputs = l2::Inputs {
        wants,
        neighbours: known,
        keys: keys_known,
        networks: networks_known.clone(),
        stations: stations_known,
        departure,
        data_path: data_path_known.clone(),
        settings: settings_known,
    };
    let (owned, owned_here) = latest::channel();
    let (hearing, heard) = latest::channel();
    let layer2 = start_l2(l2::Engine::new(me.clone(), seed, metrics.clone(), owned, hearing), inputs)?;
    let (recorded, records) = latest::channel();
    let writer = Writer::new();
    let inputs = owners::Inputs { node: me.clone(), owned: owned_here, recorded: records };
    tasks.spawn(owners::run(inputs, writer.clone()).map(Ok));

    let Bgp { peers, routes, sessions, listening, engine: bgp } = start_bgp(tasks, seed, metrics, stop);
    let (probes, found) = start_probing(tasks, seed);
    let (uid, uid_known) = watch::channel(None);
    let (speakers, speakers_known) = watch::channel(BTreeSet::new());
    let inputs = status::Inputs {
        node: me.clone(),
        uid: uid_known,
        sessions,
        listening,
        found,
        networks: networks_known,
        hearing: heard,
        speakers: speakers_known,
        data_path: data_path_known,
    };
    tasks.spawn(status::run(inputs, writer.clone()).map(Ok));
    tasks.spawn(writer.run(client.clone(), FIELD_MANAGER).map(Ok));
    let (leaves, _) = watch::channel(Departure::Restart);
    let engines = Engines {
        l2,
        neighbours,
        recorded,
        probes,
        routes,
        peers,
        uid,
        leaves,
        settings,
        speakers,
        data_path,
        ready_in,
    };
    Ok((engines, layer2, bgp))
}

/// The BGP engine, with what it is told and what it tells.
struct Bgp {
    peers: latest::Sender<PeerName, Option<peer::PeerSettings>>,
    routes: latest::Sender<(PeerName, IpNetwork), peer::Wanted>,
    sessions: latest::Receiver<PeerName, Option<peer::Session>>,
    listening: [watch::Receiver<listener::Listening>; 2],
    engine: BgpEngine,
}

fn start_bgp(tasks: &mut Tasks, seed: u64, metrics: &Metrics, stop: &CancellationToken) -> Bgp {
    let (routes, routes_wanted) = latest::channel();
    let (peers, peers_wanted) = latest::channel();
    let (accept, accepted) = mpsc::channel(ACCEPTED);
    let (sessions, sessions_changed) = latest::channel();
    let inputs = bgp::Inputs { peers: peers_wanted, routes: routes_wanted, accepted, stop: stop.clone() };
    let engine = tokio::spawn(bgp::Engine::new(seed, metrics.clone(), sessions).run(inputs));
    let (v4, on_v4) = watch::channel(listener::Listening::Starting);
    let (v6, on_v6) = watch::channel(listener::Listening::Starting);
    tasks.spawn(listener::run(accept, v4, v6).map(Ok));
    Bgp { peers, routes, sessions: sessions_changed, listening: [on_v4, on_v6], engine }
}

type DataPathTask =
    (watch::Sender<api::DataPath>, watch::Sender<Option<String>>, watch::Receiver<data_path::Known>);

fn start_data_path(tasks: &mut Tasks) -> DataPathTask {
    let (settings, settings_known) = watch::channel(api::DataPath::default());
    let (ready_in, recorded) = watch::channel(None);
    let (known, data_path) = watch::channel(data_path::Known::nothing());
    let inputs = data_path::Inputs { settings: settings_known, recorded };
    tasks.spawn(data_path::run(inputs, known).map(Ok));
    (settings, ready_in, data_path)
}

/// Apart from what answers: nothing that is found out of other addresses delays an answer.
fn start_probing(tasks: &mut Tasks, seed: u64) -> (watch::Sender<Arc<probing::Probes>>, probing::Findings) {
    let (probes, wanted) = watch::channel(Arc::default());
    let (found, findings) = latest::channel();
    tasks.spawn(probing::run(wanted, found, seed).map(|end| Ok(end?)));
    (probes, findings)
}

/// The one task that owns the world.
async fn decide(
    mut world: World,
    mut updates: Updates,
    engines: Engines,
    ready: Checks,
    metrics: Metrics,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut silences = tokio::time::interval(SILENCES);
    loop {
        tokio::select! {
            update = updates.next() => {
                let since = clock::now();
                world.apply(update.ok_or("every watch has ended")?);
                for _ in 1..BATCH {
                    let Some(update) = updates.next().now_or_never().flatten() else { break };
                    world.apply(update);
                }
                engines.carry_out(world.decide(), since);
                engines.know(world.uid());
                engines.leaves.send_replace(world.departure());
                if world.is_synced() {
                    let now = world.layer2();
                    engines.settings.send_if_modified(|known| std::mem::replace(known, now) != now);
                    engines.know_data_path(world.data_path());
                }
                if world.is_synced() {
                    ready.pass(CACHES);
                }
            }
            _ = silences.tick() => metrics.silences(world.silences()),
        }
    }
}

impl Engines {
    fn carry_out(&self, commands: Commands, since: Instant) {
        let Commands { l2, neighbours, speakers, recorded, probes, peers, routes } = commands;
        if let Some(probes) = probes {
            self.probes.send_replace(probes);
        }
        if let Some(speakers) = speakers {
            self.speakers.send_replace(speakers);
        }
        self.recorded.put(recorded);
        if let Some(neighbours) = neighbours {
            self.neighbours.send_replace(Some(neighbours));
        }
        let wanted = |(address, elected)| (address, l2::Wanted { address: elected, since });
        self.l2.put(l2.into_iter().map(wanted));
        let routes = routes.into_iter().map(|(key, route)| {
            let route = route.map(|announce::Route { local_pref }| ::bgp::Route { local_pref });
            (key, peer::Wanted { route, since })
        });
        self.routes.put(routes);
        self.peers.put(peers);
    }

    fn know_data_path(&self, (settings, ready_in): (&api::DataPath, Option<&str>)) {
        if *self.data_path.borrow() != *settings {
            self.data_path.send_replace(settings.clone());
        }
        if self.ready_in.borrow().as_deref() != ready_in {
            self.ready_in.send_replace(ready_in.map(str::to_owned));
        }
    }

    fn know(&self, uid: Option<&str>) {
        self.uid.send_if_modified(|known| {
            let changed = known.as_deref() != uid;
            if changed {
                *known = uid.map(str::to_owned);
            }
            changed
        });
    }
}

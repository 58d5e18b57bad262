//! Wires the doors to the world: watches in, writes and Events out, the HTTP server beside.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::{BgpAdvertisement, BgpPeer, IpAddressPool, L2Advertisement};
use cluster::admin::{self, Admin, Checks};
use cluster::process::Termination;
use cluster::{Change, Event, Events, Key, Object, Scope, Subject, Write, Writer, watch};
use futures::future::pending;
use futures::stream::{BoxStream, select_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource};
use names::PoolName;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;
use crate::metrics::Metrics;
use crate::seen::{self, Kind, SeenObject, SeenService, SeenVerdict};
use crate::world::{Effect, Notice, Now, Update, World};

/// How long requests under way may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// The field manager of everything that is written, and the name in Events.
const MANAGER: &str = "ferrite-controller";
const SYNCED: &str = "caches";

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut end = Termination::new()?;
    let args = args.process;
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let listener = admin::bind(args.metrics_address).await?;
    let stop = CancellationToken::new();
    let mut tasks = start(&client, listener, args.lb_class, &stop);
    info!(address = %args.metrics_address, namespace = args.namespace, "started");
    until_told(&mut end, &mut tasks).await?;
    stop.cancel();
    match tokio::time::timeout(FAREWELL, all_ended(tasks)).await {
        Ok(ended) => ended,
        Err(_late) => {
            warn!("a request on the metrics address did not end in time");
            Ok(())
        }
    }
}

async fn all_ended(mut tasks: Tasks) -> Result<(), Box<dyn Error>> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    info!("ended");
    Ok(())
}

async fn until_told(end: &mut Termination, tasks: &mut Tasks) -> Result<(), Box<dyn Error>> {
    tokio::select! {
        () = end.told() => Ok(()),
        ended = tasks.join_next() => Err(early(ended)),
    }
}

type Tasks = JoinSet<io::Result<()>>;

/// Every task there is. Each runs until `stop`.
fn start(client: &Client, listener: TcpListener, class: Option<String>, stop: &CancellationToken) -> Tasks {
    let mut registry = Registry::default();
    let world = World::new(Metrics::register(&mut registry));
    let ready = Checks::new([SYNCED]);
    let admin = Admin { registry: Arc::new(registry), healthy: Checks::default(), ready: ready.clone() };
    let (events, publishing) = Events::new(client.clone(), MANAGER, std::env::var("POD_NAME").ok());
    let writer = Writer::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(admin::serve(listener, admin, stop.clone().cancelled_owned()));
    tasks.spawn(until(stop.clone(), publishing));
    tasks.spawn(until(stop.clone(), writer.clone().run(client.clone(), MANAGER)));
    let doors = Doors { writer, events };
    tasks.spawn(until(stop.clone(), decide(world, updates(client, class), doors, ready)));
    tasks
}

/// Why a task has ended that should run for ever.
fn early(ended: Option<Result<io::Result<()>, JoinError>>) -> Box<dyn Error> {
    match ended {
        Some(Err(error)) => error.into(),
        Some(Ok(Err(error))) => error.into(),
        Some(Ok(Ok(()))) | None => "a task has ended that should run for ever".into(),
    }
}

/// Where effects go.
struct Doors {
    writer: Writer,
    events: Events,
}

/// The one task that owns the world.
async fn decide(mut world: World, mut updates: BoxStream<'static, Update>, doors: Doors, ready: Checks) {
    loop {
        let effects = step(&mut world, &mut updates).await;
        effects.into_iter().for_each(|effect| doors.take(effect));
        if world.is_synced() && !ready.all_pass() {
            info!("every kind is listed; decisions are made from now on");
            ready.pass(SYNCED);
        }
    }
}

/// The next thing that happens, and what follows from it.
async fn step(world: &mut World, updates: &mut BoxStream<'static, Update>) -> Vec<Effect> {
    let timer = world.poll_timeout();
    let timer = timer.map_or(pending().left_future(), |at| sleep_until(at.into()).right_future());
    tokio::select! {
        Some(update) = updates.next() => world.apply(update, now()),
        () = timer => world.handle_timeout(now()),
    }
}

impl Doors {
    fn take(&self, effect: Effect) {
        match effect {
            Effect::Service(key, patch) => {
                self.writer.put(Object::of::<Service>(Key::from(&key)), Write::MergeStatus(patch));
            }
            Effect::Forget(key) => self.writer.forget(&Object::of::<Service>(Key::from(&key))),
            Effect::Status(kind, name, status) => {
                self.writer.put(object(kind, name), Write::ApplyStatus(status))
            }
            Effect::Event(Notice { service, uid, severity, reason, note }) => {
                info!(%service, reason, note, "decided");
                let subject = Subject::of::<Service>(&Key::from(&service), uid);
                self.events.publish(Event {
                    subject,
                    group: None,
                    severity,
                    action: "Allocate",
                    reason: reason.into(),
                    note,
                });
            }
        }
    }
}

fn object(kind: Kind, name: String) -> Object {
    let key = Key::cluster(name);
    match kind {
        Kind::Service => Object::of::<Service>(key),
        Kind::Pool => Object::of::<IpAddressPool>(key),
        Kind::L2Advertisement => Object::of::<L2Advertisement>(key),
        Kind::BgpAdvertisement => Object::of::<BgpAdvertisement>(key),
        Kind::BgpPeer => Object::of::<BgpPeer>(key),
    }
}

/// Everything that is watched, as one stream.
fn updates(client: &Client, class: Option<String>) -> BoxStream<'static, Update> {
    let project = move |service: Service| SeenService::project(&service, class.as_deref());
    let services =
        watch(client.clone(), Scope::default(), project).filter_map(async |change| service(change));
    let pools =
        watch(client.clone(), Scope::default(), |object| seen::pool(&object)).map(|change| match change {
            Change::Upsert(key, seen) => Update::Pool(PoolName::new(key.name), Some(seen)),
            Change::Garbage(key, why) => {
                Update::Pool(PoolName::new(key.name), Some(SeenObject::garbage(why)))
            }
            Change::Remove(key) => Update::Pool(PoolName::new(key.name), None),
            Change::Synced => Update::Synced(Kind::Pool),
        });
    select_all([
        services.boxed(),
        pools.boxed(),
        verdicts(client, Kind::L2Advertisement, seen::l2_advertisement),
        verdicts(client, Kind::BgpAdvertisement, seen::bgp_advertisement),
        verdicts(client, Kind::BgpPeer, seen::bgp_peer),
    ])
    .boxed()
}

fn service(change: Change<SeenService>) -> Option<Update> {
    match change {
        Change::Upsert(key, seen) => Some(Update::Service(key.into_service(), Some(seen))),
        Change::Remove(key) => Some(Update::Service(key.into_service(), None)),
        Change::Synced => Some(Update::Synced(Kind::Service)),
        Change::Garbage(key, why) => {
            warn!(service = %key, why, "a Service cannot be decoded; it keeps what it has");
            None
        }
    }
}

fn verdicts<K>(client: &Client, kind: Kind, project: fn(&K) -> SeenVerdict) -> BoxStream<'static, Update>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let changes = watch(client.clone(), Scope::default(), move |object: K| project(&object));
    let updates = changes.map(move |change| match change {
        Change::Upsert(key, seen) => Update::Verdict(kind, key.name, Some(seen)),
        Change::Garbage(key, why) => Update::Verdict(kind, key.name, Some(SeenObject::garbage(why))),
        Change::Remove(key) => Update::Verdict(kind, key.name, None),
        Change::Synced => Update::Synced(kind),
    });
    updates.boxed()
}

fn now() -> Now {
    Now { instant: tokio::time::Instant::now().into_std(), wall: Timestamp::now() }
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
    Ok(())
}

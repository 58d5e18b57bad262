//! Wires the doors to the world: watches in, writes and Events out, the HTTP server beside.

use std::error::Error;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{
    AddressOwner, AddressQuota, AddressReservation, BgpAdvertisement, BgpPeer, FerriteConfig, IpAddressPool,
    L2Advertisement, SpeakerStatus, address_owner,
};
use cluster::admin::{self, Admin, Checks};
use cluster::lease::{self, Leadership};
use cluster::process::{Flags, Termination};
use cluster::{Event, Events, Key, Object, Subject, Write, Writer};
use futures::future::{join, pending};
use futures::stream::{BoxStream, select};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::args::Args;
use crate::keys;
use crate::leading;
use crate::metrics::Metrics;
use crate::seen::Kind;
use crate::watches::updates;
use crate::world::{Effect, Notice, Now, Update, World};

/// How long requests under way may take to end.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long writes under way may take of it.
const DRAIN: Duration = Duration::from_millis(500);
/// The field manager of everything that is written, and the name in Events.
const MANAGER: &str = "ferrite-controller";
const SYNCED: &str = "caches";

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut end = Termination::new()?;
    let args = args.process;
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let listener = admin::bind(args.metrics_address).await?;
    info!(address = %args.metrics_address, namespace = args.namespace, "started");
    let mut running = start(&client, listener, args);
    until_told(&mut end, &mut running.tasks).await?;
    let ended = running.end();
    match tokio::time::timeout(FAREWELL, ended).await {
        Ok(ended) => ended,
        Err(_late) => {
            warn!("a request on the metrics address did not end in time");
            Ok(())
        }
    }
}

async fn until_told(end: &mut Termination, tasks: &mut Tasks) -> Result<(), Box<dyn Error>> {
    tokio::select! {
        () = end.told() => Ok(()),
        ended = tasks.join_next() => Err(early(ended)),
    }
}

type Tasks = JoinSet<io::Result<()>>;

/// Every task there is, and how each is told to end.
struct Running {
    tasks: Tasks,
    writer: Writer,
    owners: Writer,
    /// Nothing more is decided.
    halt: CancellationToken,
    /// The lease is given back; everything else ends when it is.
    resign: CancellationToken,
}

impl Running {
    /// Ends in this order: decisions, writes, the lease, the rest. Another replica takes over what is not written.
    async fn end(mut self) -> Result<(), Box<dyn Error>> {
        self.halt.cancel();
        join(self.writer.drain(DRAIN), self.owners.drain(DRAIN)).await;
        self.resign.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        info!("ended");
        Ok(())
    }
}

/// Starts every task there is.
fn start(client: &Client, listener: TcpListener, flags: Flags) -> Running {
    let mut registry = Registry::default();
    let world = World::new(Metrics::register(&mut registry));
    let ready = Checks::new([SYNCED]);
    let admin = Admin { registry: Arc::new(registry), healthy: Checks::default(), ready: ready.clone() };
    let (events, publishing) = Events::new(client.clone(), MANAGER, std::env::var("POD_NAME").ok());
    let (leads, leadership) = watch::channel(Leadership::Standby);
    let (writer, owners) = (Writer::led_by(leadership.clone()), Writer::led_by(leadership.clone()));
    let (stop, halt, resign) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let keys = keys::run(client.clone(), flags.namespace.clone(), leadership.clone(), owners.clone());
    let claim = leading::claim(flags.namespace);
    let striving = lease::run(client.clone(), claim, leads, resign.clone().cancelled_owned());
    let (deciding, decides) = watch::channel(false);
    let leading = leading::changes(client.clone(), leadership, decides);
    let updates = select(updates(client, flags.lb_class), leading).boxed();
    let doors = Doors { writer: writer.clone(), owners: owners.clone(), events, deciding };
    let mut tasks = JoinSet::new();
    tasks.spawn(admin::serve(listener, admin, stop.clone().cancelled_owned()));
    tasks.spawn(until(stop.clone(), publishing));
    tasks.spawn(until(stop.clone(), writer.clone().run(client.clone(), MANAGER)));
    tasks.spawn(until(stop.clone(), owners.clone().run(client.clone(), MANAGER)));
    tasks.spawn(until(halt.clone(), keys));
    tasks.spawn(until(halt.clone(), decide(world, updates, doors, ready)));
    tasks.spawn(async move {
        striving.await;
        stop.cancel();
        Ok(())
    });
    Running { tasks, writer, owners, halt, resign }
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
    /// The same for AddressOwners, so that these and the Services' statuses do not wait for each other.
    owners: Writer,
    events: Events,
    /// Whether the world decides.
    deciding: watch::Sender<bool>,
}

/// The one task that owns the world.
async fn decide(mut world: World, mut updates: BoxStream<'static, Update>, doors: Doors, ready: Checks) {
    loop {
        let effects = step(&mut world, &mut updates).await;
        effects.into_iter().for_each(|effect| doors.take(effect));
        let decides = world.decides();
        if doors.deciding.send_if_modified(|before| mem::replace(before, decides) != decides) && decides {
            info!("decisions are made from now on");
        }
        if world.is_synced() && !ready.all_pass() {
            info!("every kind is listed");
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
            Effect::Owner(address, write) => {
                debug!(%address, ?write, "placed");
                self.owners.put(owner(address), write);
            }
            Effect::ForgetOwner(address) => self.owners.forget(&owner(address)),
            Effect::ForgetAll => {
                self.writer.clear();
                self.owners.clear();
            }
            Effect::Forget(key) => self.writer.forget(&Object::of::<Service>(Key::from(&key))),
            Effect::Status(kind, name, status) => {
                self.writer.put(object(kind, name), Write::ApplyStatus(status))
            }
            Effect::Event(Notice { service, uid, pool, severity, action, reason, note }) => {
                info!(%service, reason, note, "decided");
                let subject = Subject::of::<Service>(&Key::from(&service), uid);
                let group =
                    pool.map(|(name, uid)| Subject::of::<IpAddressPool>(&Key::cluster(name.as_str()), uid));
                self.events.publish(Event { subject, group, severity, action, reason: reason.into(), note });
            }
        }
    }
}

fn owner(address: IpAddr) -> Object {
    Object::of::<AddressOwner>(Key::cluster(address_owner::name(address)))
}

fn object(kind: Kind, name: String) -> Object {
    let key = Key::cluster(name);
    match kind {
        Kind::Service => Object::of::<Service>(key),
        Kind::EndpointSlice => Object::of::<EndpointSlice>(key),
        Kind::Namespace => Object::of::<Namespace>(key),
        Kind::Node => Object::of::<Node>(key),
        Kind::ServiceCidr => Object::of::<ServiceCIDR>(key),
        Kind::SpeakerStatus => Object::of::<SpeakerStatus>(key),
        Kind::Pool => Object::of::<IpAddressPool>(key),
        Kind::Quota => Object::of::<AddressQuota>(key),
        Kind::Reservation => Object::of::<AddressReservation>(key),
        Kind::Config => Object::of::<FerriteConfig>(key),
        Kind::L2Advertisement => Object::of::<L2Advertisement>(key),
        Kind::BgpAdvertisement => Object::of::<BgpAdvertisement>(key),
        Kind::BgpPeer => Object::of::<BgpPeer>(key),
        Kind::AddressOwner => Object::of::<AddressOwner>(key),
    }
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

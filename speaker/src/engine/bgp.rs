//! Keeps one task for each BGP peer of this node, and tells it which routes to announce.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bgp::{Cease, Route, Shutdown};
use ipnetwork::IpNetwork;
use names::PeerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tracing::{debug, error, info};

use crate::engine::peer::{self, PeerSettings, Start, StatusSender, Told, Wanted};
use crate::latest;
use crate::metrics::Metrics;

/// A peer's task is told little: connections and its end.
const TOLD: usize = 8;

struct Running {
    task: Id,
    settings: PeerSettings,
    told: mpsc::Sender<Told>,
    routes: latest::Sender<IpNetwork, Wanted>,
}

/// What reaches the engine.
pub(crate) struct Inputs {
    /// Peers of this node as they should be; `None`: no longer one.
    pub(crate) peers: latest::Receiver<PeerName, Option<PeerSettings>>,
    /// Routes as they should be.
    pub(crate) routes: latest::Receiver<(PeerName, IpNetwork), Wanted>,
    /// Connections that routers opened.
    pub(crate) accepted: mpsc::Receiver<TcpStream>,
    /// Says when the speaker ends.
    pub(crate) stop: tokio_util::sync::CancellationToken,
}

pub(crate) struct Engine {
    seed: u64,
    metrics: Metrics,
    status: StatusSender,
    running: BTreeMap<PeerName, Running>,
    wanted: BTreeMap<PeerName, BTreeMap<IpNetwork, Route>>,
    tasks: JoinSet<()>,
}

impl Engine {
    pub(crate) fn new(seed: u64, metrics: Metrics, status: StatusSender) -> Self {
        Self {
            seed,
            metrics,
            status,
            running: BTreeMap::new(),
            wanted: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until the speaker ends; then tells every peer so.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        loop {
            tokio::select! {
                biased;
                () = inputs.stop.cancelled() => break,
                // Routes before peers: a session that starts knows all it has to say.
                routes = inputs.routes.take() => self.routes_changed(routes),
                peers = inputs.peers.take() => self.peers_changed(peers).await,
                Some(stream) = inputs.accepted.recv() => self.accepted(stream),
                Some(ended) = self.tasks.join_next_with_id() => {
                    let task = ended.as_ref().map_or_else(|failed| failed.id(), |(task, ())| *task);
                    self.task_ended(task);
                }
            }
        }
        let text = bgp::Communication::new("the speaker is shutting down");
        let names: Vec<_> = self.running.keys().cloned().collect();
        for name in names {
            self.stop(&name, Shutdown::Cease(Cease::AdministrativeShutdown(text.clone()))).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn routes_changed(&mut self, changes: BTreeMap<(PeerName, IpNetwork), Wanted>) {
        let mut by_peer: BTreeMap<PeerName, Vec<(IpNetwork, Wanted)>> = BTreeMap::new();
        for ((peer, prefix), wanted) in changes {
            by_peer.entry(peer).or_default().push((prefix, wanted));
        }
        for (peer, changes) in by_peer {
            let table = self.wanted.entry(peer.clone()).or_default();
            for (prefix, Wanted { route, .. }) in &changes {
                match route {
                    Some(route) => table.insert(*prefix, route.clone()),
                    None => table.remove(prefix),
                };
            }
            if let Some(running) = self.running.get(&peer) {
                running.routes.put(changes);
            }
        }
        self.wanted.retain(|_, table| !table.is_empty());
    }

    async fn peers_changed(&mut self, changes: BTreeMap<PeerName, Option<PeerSettings>>) {
        for (name, settings) in changes {
            match (self.running.get_mut(&name), settings) {
                (None, None) => {}
                (None, Some(settings)) => self.start(name, settings),
                (Some(_), None) => self.stop(&name, Shutdown::Cease(Cease::PeerDeconfigured)).await,
                (Some(running), Some(settings)) if running.settings.keeps_session(&settings) => {
                    running.settings = settings;
                }
                (Some(_), Some(settings)) => {
                    info!(peer = %name, "settings of the session changed: it is reset");
                    self.stop(&name, Shutdown::Cease(Cease::OtherConfigurationChange)).await;
                    self.start(name, settings);
                }
            }
        }
    }

    fn start(&mut self, name: PeerName, settings: PeerSettings) {
        let (told, hears) = mpsc::channel(TOLD);
        let (routes, wanted) = latest::channel();
        let since = netio::clock::now();
        let table = self.wanted.get(&name).into_iter().flatten();
        routes.put(table.map(|(prefix, route)| (*prefix, Wanted { route: Some(route.clone()), since })));
        self.seed = self.seed.wrapping_add(1);
        let start = Start {
            name: name.clone(),
            settings: settings.clone(),
            seed: self.seed,
            metrics: self.metrics.clone(),
            status: self.status.clone(),
        };
        let task = self.tasks.spawn(peer::run(start, hears, wanted)).id();
        self.running.insert(name, Running { task, settings, told, routes });
    }

    async fn stop(&mut self, name: &PeerName, shutdown: Shutdown) {
        if let Some(running) = self.running.remove(name)
            && running.told.send(Told::Stop(shutdown)).await.is_err()
        {
            debug!(peer = %name, "had ended already");
        }
    }

    /// A connection belongs to the peer whose address it comes from; from nobody else is one taken.
    fn accepted(&mut self, stream: TcpStream) {
        let Ok(from) = stream.peer_addr().map(|from| from.ip().to_canonical()) else { return };
        let peer = self.running.iter().find(|(_, running)| running.settings.remote.ip() == from);
        let Some((name, running)) = peer else {
            self.metrics.stranger();
            debug!(%from, "a connection from an address that is no BGPPeer of this node");
            return;
        };
        if local_is_wrong(&stream, running.settings.source)
            || running.told.try_send(Told::Accepted(stream)).is_err()
        {
            debug!(peer = %name, "did not take a connection");
        }
    }

    /// A peer's task ends only when it is told to. One that ends otherwise is started again.
    fn task_ended(&mut self, task: Id) {
        let ended = self.running.extract_if(.., |_, running| running.task == task).next();
        if let Some((name, running)) = ended {
            error!(peer = %name, "the task of a BGP session ended by itself, starts it again");
            self.start(name, running.settings);
        }
    }
}

fn local_is_wrong(stream: &TcpStream, source: Option<IpAddr>) -> bool {
    let local = stream.local_addr().map(|local| local.ip().to_canonical());
    source.is_some_and(|source| local.is_ok_and(|local| local != source))
}

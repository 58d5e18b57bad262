//! The shell of one `bgp::Peer`: up to two TCP connections, a dial under way, and the clock.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bgp::{Admission, Output, Role, Route, Shutdown};
use futures::Future;
use futures::future::{FutureExt, select_all};
use ipnetwork::IpNetwork;
use names::PeerName;
use netio::clock;
use netio::tcp::{HopLimit, Options, dial, set_options};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::engine::ends::local_end;
use crate::engine::wire::Wire;
use crate::latest;
use crate::metrics::Metrics;

/// Enough for several messages of the greatest length (RFC 4271 §4.1: 4,096 octets).
const READ: usize = 16 * 1024;
/// How often a connection is read before deadlines speak again.
const READS: usize = 8;
/// The kernel gives up on octets that stay unacknowledged for longer.
const USER_TIMEOUT: Duration = Duration::from_secs(240);

/// A BGPPeer as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerSettings {
    /// For whom it is, and what it carries.
    pub(crate) peer: announce::Peer,
    /// The session.
    pub(crate) config: bgp::PeerConfig,
    /// Whom to dial, and from where connections are accepted.
    pub(crate) remote: SocketAddr,
    /// The address to dial from.
    pub(crate) source: Option<IpAddr>,
    /// How far away the router may be.
    pub(crate) hop_limit: HopLimit,
}

impl PeerSettings {
    /// Whether the session can go on under these other settings.
    pub(crate) fn keeps_session(&self, other: &Self) -> bool {
        let Self { peer: _, config, remote, source, hop_limit } = self;
        (config, remote, source, hop_limit) == (&other.config, &other.remote, &other.source, &other.hop_limit)
    }
}

/// A session's state, with the address that it is about.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) address: String,
    pub(crate) status: bgp::Status,
}

/// Where the newest state of each session goes; `None` when it is no longer a peer.
pub(crate) type StatusSender = latest::Sender<PeerName, Option<Session>>;

/// What a peer's task is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The router has connected to us.
    Accepted(TcpStream),
    /// The session ends for good.
    Stop(Shutdown),
}

/// A route as it should be (`None`: withdrawn), and when the speaker learned that.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) route: Option<Route>,
    pub(crate) since: Instant,
}

type Dial = Pin<Box<dyn Future<Output = Result<TcpStream, netio::Error>> + Send>>;

/// What a peer's task is made from.
pub(crate) struct Start {
    pub(crate) name: PeerName,
    pub(crate) settings: PeerSettings,
    pub(crate) seed: u64,
    pub(crate) metrics: Metrics,
    pub(crate) status: StatusSender,
}

struct Shell {
    start: Start,
    core: bgp::Peer,
    dialing: Option<Dial>,
    wires: BTreeMap<Role, Wire>,
    farewells: JoinSet<()>,
    /// When the oldest route that is not written yet was learned.
    unwritten: Option<Instant>,
    /// The last error that was logged.
    told: Option<String>,
}

/// Keeps the session until it is told to stop.
pub(crate) async fn run(
    start: Start,
    mut told: mpsc::Receiver<Told>,
    mut routes: latest::Receiver<IpNetwork, Wanted>,
) {
    let core = bgp::Peer::new(start.settings.config.clone(), start.seed, clock::now());
    let mut shell = Shell {
        start,
        core,
        dialing: None,
        wires: BTreeMap::new(),
        farewells: JoinSet::new(),
        unwritten: None,
        told: None,
    };
    // The engine starts a peer only when the plan is made, and puts all of its routes in before.
    if let Some(all) = routes.take().now_or_never() {
        shell.want(all);
    }
    shell.core.complete(clock::now());
    shell.publish();
    loop {
        tokio::select! {
            message = told.recv() => match message {
                Some(Told::Accepted(stream)) => shell.accept(stream).await,
                Some(Told::Stop(shutdown)) => return shell.stop(&shutdown).await,
                None => return shell.stop(&Shutdown::Silent).await,
            },
            changes = routes.take() => shell.want(changes),
            dialed = pending_dial(&mut shell.dialing) => shell.dialed(dialed).await,
            (role, ready) = any_ready(&shell.wires) => shell.transfer(role, ready),
            () = clock::sleep_until(shell.core.poll_timeout()) => {}
        }
        shell.hear_first();
        shell.core.handle_timeout(clock::now());
        shell.act();
    }
}

async fn pending_dial(dialing: &mut Option<Dial>) -> Result<TcpStream, netio::Error> {
    match dialing {
        Some(dial) => dial.await,
        None => std::future::pending().await,
    }
}

async fn any_ready(wires: &BTreeMap<Role, Wire>) -> (Role, io::Result<()>) {
    if wires.is_empty() {
        return std::future::pending().await;
    }
    let ready = wires.iter().map(|(role, wire)| wire.ready().map(|ready| (*role, ready.map(drop))).boxed());
    select_all(ready).await.0
}

impl Shell {
    fn want(&mut self, changes: BTreeMap<IpNetwork, Wanted>) {
        let now = clock::now();
        for (prefix, Wanted { route, since }) in changes {
            self.unwritten = Some(self.unwritten.map_or(since, |oldest| oldest.min(since)));
            match route {
                Some(route) => self.core.announce(now, prefix, route),
                None => self.core.withdraw(now, prefix),
            }
        }
    }

    async fn accept(&mut self, stream: TcpStream) {
        if let Err(error) = set_options(&stream, &self.options()) {
            debug!(peer = %self.start.name, %error, "could not take a connection");
            return;
        }
        let end = local_end(&stream, &self.start.settings.peer.families).await;
        match self.core.handle_accepted(clock::now(), end) {
            Admission::Taken => {
                self.close(Role::Accepted);
                self.wires.insert(Role::Accepted, Wire::new(stream));
            }
            Admission::Refused(notification) => {
                let mut wire = Wire::new(stream);
                wire.queue(&notification);
                self.farewells.spawn(wire.close());
            }
        }
    }

    async fn dialed(&mut self, dialed: Result<TcpStream, netio::Error>) {
        self.dialing = None;
        match dialed {
            Ok(stream) => {
                let end = local_end(&stream, &self.start.settings.peer.families).await;
                self.wires.insert(Role::Dialed, Wire::new(stream));
                self.core.handle_dialed(clock::now(), end);
            }
            Err(error) => self.core.handle_dial_failed(clock::now(), &error.to_string()),
        }
    }

    fn options(&self) -> Options {
        Options { hop_limit: self.start.settings.hop_limit, user_timeout: USER_TIMEOUT }
    }

    /// What has arrived speaks before a deadline does: after a stall both are there, and the peer was not silent.
    fn hear_first(&mut self) {
        if self.core.poll_timeout().is_some_and(|at| at <= clock::now()) {
            for role in [Role::Dialed, Role::Accepted] {
                if self.wires.contains_key(&role) {
                    self.transfer(role, Ok(()));
                }
            }
        }
    }

    fn transfer(&mut self, role: Role, ready: io::Result<()>) {
        // What the peer said last comes before the failure to answer it.
        let done = ready.and_then(|()| self.read(role)).and_then(|()| self.write(role));
        if let Err(error) = done {
            self.core.handle_closed(clock::now(), role, &error.to_string());
            self.wires.remove(&role);
        }
    }

    fn write(&mut self, role: Role) -> io::Result<()> {
        let Some(wire) = self.wires.get_mut(&role) else { return Ok(()) };
        for _ in 0..wire.write()? {
            self.core.handle_sent(clock::now(), role);
        }
        Ok(())
    }

    fn read(&mut self, role: Role) -> io::Result<()> {
        let mut buffer = [0; READ];
        for _ in 0..READS {
            let read = self.wires.get(&role).and_then(|wire| wire.read(&mut buffer));
            match read.transpose()? {
                None => break,
                Some(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed")),
                Some(length) => {
                    let octets = buffer.get(..length).unwrap_or_default();
                    self.core.handle_bytes(clock::now(), role, octets);
                    self.act();
                }
            }
        }
        Ok(())
    }

    fn act(&mut self) {
        let mut wrote = false;
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Dial => {
                    let Start { settings, .. } = &self.start;
                    let (remote, source, options) = (settings.remote, settings.source, self.options());
                    self.dialing = Some(Box::pin(async move { dial(remote, source, &options).await }));
                }
                Output::Send(role, octets) => {
                    if let Some(wire) = self.wires.get_mut(&role) {
                        wire.queue(&octets);
                    }
                    // A failure shows again when the connection is read, where it is told to the core.
                    wrote |= self.write(role).is_ok();
                }
                Output::Close(role) => self.close(role),
                Output::Changed(state) => {
                    self.tell(state);
                    self.publish();
                }
            }
        }
        if wrote {
            self.report_written();
        }
    }

    /// A session that is up, and each new reason why one is not, are told; the states in between are not.
    fn tell(&mut self, state: bgp::State) {
        let peer = &self.start.name;
        let error = self.core.status().last_error.map(|error| error.text);
        if state == bgp::State::Established {
            info!(%peer, "BGP session established");
        } else if error.is_some() && error != self.told {
            warn!(%peer, %state, error, "no BGP session");
        } else {
            debug!(%peer, %state, "BGP session");
        }
        self.told = error;
    }

    /// Measures from the event that changed a route to the write of the UPDATE.
    fn report_written(&mut self) {
        let done = self.core.state() == bgp::State::Established && self.core.status().routes.pending == 0;
        if let Some(since) = self.unwritten.take_if(|_| done) {
            self.start.metrics.announced_bgp(clock::now().saturating_duration_since(since));
            self.publish();
        }
    }

    fn close(&mut self, role: Role) {
        if role == Role::Dialed {
            self.dialing = None;
        }
        if let Some(wire) = self.wires.remove(&role) {
            self.farewells.spawn(wire.close());
        }
        while self.farewells.try_join_next().is_some() {}
    }

    fn publish(&self) {
        let status = self.core.status();
        self.start.metrics.session(&self.start.name, &status);
        let address = self.start.settings.remote.ip().to_string();
        self.start.status.put([(self.start.name.clone(), Some(Session { address, status }))]);
    }

    async fn stop(mut self, shutdown: &Shutdown) {
        self.core.stop(clock::now(), shutdown);
        self.act();
        for (_, wire) in std::mem::take(&mut self.wires) {
            self.farewells.spawn(wire.close());
        }
        while self.farewells.join_next().await.is_some() {}
        self.start.metrics.forget_session(&self.start.name);
        self.start.status.put([(self.start.name, None)]);
    }
}

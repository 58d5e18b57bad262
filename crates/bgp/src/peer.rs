mod conns;
mod retry;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use timers::Timers;

use self::conns::Conns;
use crate::agreement::{Identity, Offer, collision_loser};
use crate::config::{LocalEnd, PeerConfig, Role, Route, Shutdown};
use crate::conn::{Conn, Event, Failure, Phase};
use crate::ids::Family;
use crate::jitter::Jitter;
use crate::rib_out::RibOut;
use crate::status::{Counters, LastError, Routes, State, Status};
use crate::wire::{ErrorCode, Frame, MessageType, Notification, keepalive};

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the peer; [`Peer::handle_dialed`] or [`Peer::handle_dial_failed`] tells how it went.
    Dial,
    /// Write these octets, then call [`Peer::handle_sent`]. Never wait for it before reading.
    Send(Role, Vec<u8>),
    /// Close this connection, or stop dialing it. What was given to be sent before is to be written if that is
    /// possible without waiting long. Nothing more is said about this connection, nor need be.
    Close(Role),
    /// The state is another one; [`Peer::status`] says more.
    Changed(State),
}

/// What becomes of a connection that the peer opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is [`Role::Accepted`] now. If the shell holds an earlier one of that role, that one is to be closed.
    Taken,
    /// It is to be closed; these octets, if any, may be written first.
    Refused(Vec<u8>),
}

/// Where the way to a connection of our own stands; the rest of the six states belongs to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialing {
    /// For good.
    Stopped,
    /// Resting after a session that failed; [`Timer::IdleHold`] is armed.
    Idle,
    /// Not dialing; [`Timer::ConnectRetry`] is armed unless a connection is there to wait for.
    Active,
    /// Dialing; [`Timer::ConnectRetry`] is armed.
    Connect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    IdleHold,
    ConnectRetry,
    Stable,
}

/// A session that has lasted this long makes earlier failures forgotten.
const STABLE_TIME: Duration = Duration::from_secs(30);
/// Nodes that start together do not dial together.
const START_SPREAD: Duration = Duration::from_millis(100);

/// One BGP peer: gets a session with it, keeps it, and keeps the peer told of what [`Peer::announce`] and
/// [`Peer::withdraw`] say.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    jitter: Jitter,
    now: Instant,
    dialing: Dialing,
    failures: u32,
    offer: Offer,
    timers: Timers<Timer>,
    conns: Conns,
    rib_out: RibOut,
    outputs: VecDeque<Output>,
    state: State,
    since: Instant,
    last_error: Option<LastError>,
    counters: Counters,
}

/// Inputs.
impl Peer {
    /// A peer that will dial within a tenth of a second. The seed is for jitter: another one for each peer and
    /// process.
    pub fn new(config: PeerConfig, seed: u64, now: Instant) -> Self {
        let mut jitter = Jitter::new(seed);
        let mut timers = Timers::default();
        timers.arm(Timer::ConnectRetry, now + jitter.within(START_SPREAD));
        Self {
            jitter,
            now,
            dialing: Dialing::Active,
            failures: 0,
            offer: Offer::Full,
            timers,
            conns: Conns::default(),
            rib_out: RibOut::new(config.local_asn, config.neighbour()),
            outputs: VecDeque::new(),
            state: State::Active,
            since: now,
            last_error: None,
            counters: Counters::default(),
            config,
        }
    }

    /// TCP is up as [`Output::Dial`] asked.
    pub fn handle_dialed(&mut self, now: Instant, end: LocalEnd) {
        self.at(now);
        if self.dialing == Dialing::Connect {
            self.dialing = Dialing::Active;
            self.timers.disarm(&Timer::ConnectRetry);
            self.open(Role::Dialed, end);
        } else {
            self.outputs.push_back(Output::Close(Role::Dialed));
        }
        self.observe();
    }

    /// [`Output::Dial`] came to nothing.
    pub fn handle_dial_failed(&mut self, now: Instant, reason: &str) {
        self.at(now);
        if self.dialing == Dialing::Connect {
            self.failures = self.failures.saturating_add(1);
            self.note(format!("dialing failed: {}", reason.escape_debug()));
            self.wait();
        }
        self.observe();
    }

    /// The peer has opened a connection. The caller has made sure that it is this peer.
    pub fn handle_accepted(&mut self, now: Instant, end: LocalEnd) -> Admission {
        self.at(now);
        let taken = self.conns.established().is_some_and(|(role, _)| role == Role::Accepted);
        match self.dialing {
            // RFC 4271 §8.2.2: Idle refuses
            Dialing::Stopped | Dialing::Idle => self.refuse(None),
            Dialing::Active | Dialing::Connect if taken => self.refuse(Some(ErrorCode::CONNECTION_COLLISION)),
            Dialing::Active | Dialing::Connect => {
                // A peer opens one connection at a time: that it opens another means that it has lost this one.
                self.outputs.retain(|output| !concerns(output, Role::Accepted));
                self.open(Role::Accepted, end);
                self.keep_dialing();
                self.observe();
                Admission::Taken
            }
        }
    }

    /// Octets have arrived, in order.
    pub fn handle_bytes(&mut self, now: Instant, role: Role, octets: &[u8]) {
        self.at(now);
        let Some(conn) = self.conns.get_mut(role) else { return };
        let received = conn.received(octets);
        let mut rest = received.as_slice();
        loop {
            match Frame::split(rest) {
                Ok(Some(frame)) => {
                    rest = rest.get(frame.octets.len()..).unwrap_or_default();
                    self.handle_frame(role, &frame);
                }
                Ok(None) => break,
                Err(error) => self.fail(role, &error.into()),
            }
            if self.conns.get_mut(role).is_none() {
                break;
            }
        }
        if let Some(conn) = self.conns.get_mut(role) {
            conn.keep(rest);
        }
        self.observe();
    }

    /// The connection was closed by the peer or the network; the reason is for people.
    pub fn handle_closed(&mut self, now: Instant, role: Role, reason: &str) {
        self.at(now);
        self.fail(role, &Failure::Closed(reason.to_owned()));
        self.observe();
    }

    /// The earliest [`Output::Send`] of this connection that was not yet written is written now.
    pub fn handle_sent(&mut self, now: Instant, role: Role) {
        let now = self.at(now);
        if let Some(conn) = self.conns.get_mut(role) {
            conn.sent(now);
        }
    }

    /// Time has come. Received octets are to be handled before, so that nobody is declared silent who is not.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.at(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.handle_timer(timer);
        }
        for role in [Role::Dialed, Role::Accepted] {
            while let Some(event) = self.conn_timeout(role) {
                self.apply(role, event);
            }
        }
        self.observe();
    }

    /// The peer should have this route; one of the same prefix is replaced.
    pub fn announce(&mut self, now: Instant, prefix: IpNetwork, route: Route) {
        self.at(now);
        self.rib_out.announce(prefix, route);
    }

    /// The peer should not have this route.
    pub fn withdraw(&mut self, now: Instant, prefix: IpNetwork) {
        self.at(now);
        self.rib_out.withdraw(prefix);
    }

    /// All routes that there should be are announced, once: from now on each session is told when it knows all
    /// of them (RFC 4724 §2).
    pub fn complete(&mut self, now: Instant) {
        self.at(now);
        self.rib_out.complete();
    }

    /// Leaves the peer for good. Outputs are to be carried out once more, then the value may be dropped.
    pub fn stop(&mut self, now: Instant, shutdown: &Shutdown) {
        self.at(now);
        if self.dialing == Dialing::Connect {
            self.outputs.push_back(Output::Close(Role::Dialed));
        }
        self.dialing = Dialing::Stopped;
        self.timers.clear();
        let failure = match shutdown {
            Shutdown::Silent => Failure::Left,
            Shutdown::Cease(cease) => Failure::Refused(cease.notification(), None),
        };
        for role in [Role::Dialed, Role::Accepted] {
            self.fail(role, &failure);
        }
        self.observe();
    }
}

/// What the shell reads.
impl Peer {
    /// The next thing to do. UPDATEs are made here, from all that was announced and withdrawn up to now, as
    /// long as everything given out before has been written.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush();
        }
        self.outputs.pop_front()
    }

    /// When to call [`Peer::handle_timeout`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let conns = self.conns.iter().filter_map(|(_, conn)| conn.poll_timeout());
        conns.chain(self.timers.next()).min()
    }

    /// The state of the connection that has come farthest.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Everything there is to know.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            last_error: self.last_error.clone(),
            session: self.conns.established().and_then(|(role, conn)| Some(conn.agreed()?.session(role))),
            routes: self.routes(),
            counters: self.counters.clone(),
        }
    }

    /// Routes of one family.
    pub fn routes_of(&self, family: Family) -> Routes {
        self.rib_out.routes(family)
    }

    fn routes(&self) -> Routes {
        let [one, other] = Family::ALL.map(|family| self.routes_of(family));
        Routes {
            wanted: one.wanted + other.wanted,
            sent: one.sent + other.sent,
            pending: one.pending + other.pending,
            withheld: one.withheld + other.withheld,
        }
    }
}

/// Connections.
impl Peer {
    /// Time does not go backwards, whatever the caller says.
    fn at(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// RFC 4271 §8.2.2, events 16 and 17.
    fn open(&mut self, role: Role, end: LocalEnd) {
        *self.conns.slot(role) = Some(Conn::new(self.now, end, self.offer));
        let open = self.offer.open(&self.config).emit();
        self.send(role, (MessageType::Open, 1), open);
    }

    fn refuse(&mut self, why: Option<ErrorCode>) -> Admission {
        self.counters.refused = self.counters.refused.saturating_add(1);
        Admission::Refused(why.map(|error| Notification::bare(error).emit()).unwrap_or_default())
    }

    fn send(&mut self, role: Role, (kind, messages): (MessageType, u64), octets: Vec<u8>) {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(role) {
            conn.sending(now);
        }
        self.counters.sent.count(kind, messages);
        self.outputs.push_back(Output::Send(role, octets));
    }

    fn flush(&mut self) {
        let Some((role, _)) = self.conns.established().filter(|(_, conn)| conn.is_writable()) else { return };
        if let Some(batch) = self.rib_out.batch() {
            self.send(role, (MessageType::Update, batch.messages), batch.octets);
        }
    }

    fn handle_frame(&mut self, role: Role, frame: &Frame<'_>) {
        self.counters.received.count(frame.kind, 1);
        if let Some(conn) = self.conns.get_mut(role) {
            let event = conn.handle_frame(self.now, frame, &self.config, &mut self.counters);
            self.apply(role, event);
        }
    }

    fn conn_timeout(&mut self, role: Role) -> Option<Event> {
        self.conns.get_mut(role)?.handle_timeout(self.now, &mut self.jitter)
    }

    fn apply(&mut self, role: Role, event: Event) {
        match event {
            Event::Quiet => {}
            Event::KeepaliveDue => self.send(role, (MessageType::Keepalive, 1), keepalive()),
            Event::Opened => self.resolve(role),
            Event::Established => self.establish(role),
            Event::Refresh(family) => self.rib_out.refresh(family),
            Event::Failed(failure) => self.fail(role, &failure),
        }
    }

    /// A good OPEN has come: there may be one connection too many (RFC 4271 §6.8).
    fn resolve(&mut self, role: Role) {
        let loser = self.loser(role);
        if let Some(loser) = loser {
            self.counters.collisions = self.counters.collisions.saturating_add(1);
            self.fail(loser, &ErrorCode::CONNECTION_COLLISION.into());
        }
        if loser != Some(role) {
            self.confirm(role);
        }
    }

    fn loser(&mut self, newcomer: Role) -> Option<Role> {
        let ours = Identity { router_id: self.config.router_id, asn: self.config.local_asn };
        let router_id = self.conns.get_mut(newcomer)?.agreed()?.router_id;
        let theirs = Identity { router_id, asn: self.config.peer_asn };
        match self.conns.get_mut(newcomer.other())?.phase() {
            Phase::OpenSent => None,
            Phase::OpenConfirm(_) => Some(collision_loser(ours, theirs)),
            Phase::Established(_) => Some(newcomer),
        }
    }

    fn confirm(&mut self, role: Role) {
        let Some(conn) = self.conns.get_mut(role) else { return };
        conn.confirm(self.now, &mut self.jitter);
        self.send(role, (MessageType::Keepalive, 1), keepalive());
        if self.dialing == Dialing::Active {
            self.timers.disarm(&Timer::ConnectRetry);
        }
    }

    fn establish(&mut self, role: Role) {
        if self.dialing == Dialing::Connect {
            self.outputs.push_back(Output::Close(Role::Dialed));
            self.dialing = Dialing::Active;
        }
        self.timers.disarm(&Timer::ConnectRetry);
        self.timers.arm(Timer::Stable, self.now + STABLE_TIME);
        self.counters.established = self.counters.established.saturating_add(1);
        let Some(conn) = self.conns.get_mut(role) else { return };
        let end = conn.end();
        if let Some(dialect) = conn.agreed().map(|agreed| agreed.dialect.clone()) {
            self.rib_out.open(dialect, end);
        }
    }

    /// Ends a connection, and decides what to do about the next one.
    fn fail(&mut self, role: Role, failure: &Failure) {
        let Some(conn) = self.conns.slot(role).take() else { return };
        if let Failure::Refused(notification, _) = failure {
            self.send(role, (MessageType::Notification, 1), notification.emit());
        }
        if !matches!(failure, Failure::Closed(_)) {
            self.outputs.push_back(Output::Close(role));
        }
        if matches!(conn.phase(), Phase::Established(_)) {
            self.rib_out.close();
            self.timers.disarm(&Timer::Stable);
        }
        self.offer = match (self.offer, failure) {
            (Offer::Full, Failure::Notified(told))
                if told.error == ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER =>
            {
                Offer::Bare
            }
            _ => Offer::Full,
        };
        self.retry(&conn, failure);
    }

    fn note(&mut self, text: String) {
        self.last_error = Some(LastError { at: self.now, text });
    }

    /// Tells of a change of state, once everything that led to it was put out.
    fn observe(&mut self) {
        let reached = self.conns.iter().map(|(_, conn)| match conn.phase() {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        });
        let state = reached.max().unwrap_or(match self.dialing {
            Dialing::Stopped | Dialing::Idle => State::Idle,
            Dialing::Active => State::Active,
            Dialing::Connect => State::Connect,
        });
        if state != self.state {
            (self.state, self.since) = (state, self.now);
            self.outputs.push_back(Output::Changed(state));
        }
    }
}

fn concerns(output: &Output, role: Role) -> bool {
    match output {
        Output::Send(of, _) | Output::Close(of) => *of == role,
        Output::Dial | Output::Changed(_) => false,
    }
}

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use crate::config::Role;
use crate::ids::{Family, HoldTime, RouterId};
use crate::wire::{AsNumbers, MessageType};

/// The states of RFC 4271 §8.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Stopped, or resting for a moment after a session failed; connections are refused.
    Idle,
    /// Dialing.
    Connect,
    /// Waiting: for the peer to dial, or to dial again.
    Active,
    /// TCP is up and our OPEN is sent.
    OpenSent,
    /// The peer's OPEN was good; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes travel.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What there is to know about a peer at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Of the connection that has come farthest.
    pub state: State,
    /// When it got there.
    pub since: Instant,
    /// Why the last session, or attempt at one, failed.
    pub last_error: Option<LastError>,
    /// What was agreed, while Established.
    pub session: Option<Session>,
    /// Routes by family.
    pub routes: Routes,
    /// Since the peer was made.
    pub counters: Counters,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: Instant,
    /// What, on one line.
    pub text: String,
}

/// What both OPENs together have settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who opened the connection.
    pub role: Role,
    /// The peer's BGP Identifier.
    pub router_id: RouterId,
    /// None: neither side expects to hear anything.
    pub hold_time: Option<HoldTime>,
    /// Before jitter; none with no hold time.
    pub keepalive_time: Option<Duration>,
    /// Routes of these travel; none at all if the two sides have no family in common.
    pub families: BTreeSet<Family>,
    /// The width of AS numbers.
    pub as_numbers: AsNumbers,
    /// The peer may ask for all routes again.
    pub route_refresh: RouteRefreshCapability,
}

/// Whether the peer has announced that it knows ROUTE-REFRESH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteRefreshCapability {
    /// It has.
    Announced,
    /// It has not.
    Absent,
}

/// How many routes there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Routes {
    /// That the peer should have.
    pub wanted: usize,
    /// That it was told and that are not taken back.
    pub sent: usize,
    /// Announcements and withdrawals that are still to be sent.
    pub pending: usize,
    /// That it should have and cannot: no session, a family that was not agreed, or no next hop in it.
    pub withheld: usize,
}

/// Numbers that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages given to the shell to send.
    pub sent: Messages,
    /// Messages that arrived whole.
    pub received: Messages,
    /// Times that Established was reached.
    pub established: u64,
    /// Times that we dialed.
    pub dials: u64,
    /// Connections from the peer that were turned away.
    pub refused: u64,
    /// Connections closed because there were two (RFC 4271 §6.8).
    pub collisions: u64,
    /// Routes that the peer announced; none are kept.
    pub prefixes_received: u64,
    /// Routes that the peer withdrew.
    pub prefixes_withdrawn: u64,
    /// UPDATEs treated as withdraws (RFC 7606 §2).
    pub treated_as_withdraw: u64,
    /// Attributes discarded (RFC 7606 §2).
    pub attributes_discarded: u64,
}

/// Messages by type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

impl Messages {
    pub(crate) fn count(&mut self, kind: MessageType, by: u64) {
        let counter = match kind {
            MessageType::Open => &mut self.open,
            MessageType::Update => &mut self.update,
            MessageType::Notification => &mut self.notification,
            MessageType::Keepalive => &mut self.keepalive,
            MessageType::RouteRefresh => &mut self.route_refresh,
        };
        *counter = counter.saturating_add(by);
    }
}

//! The two real routers: FRR and BIRD, started, asked and stopped.

mod bird;
mod config;
mod frr;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnetwork::IpNetwork;

pub use config::{Config, Neighbors};

use crate::address::{BIRD_ASN, FRR_ASN, Family, Network, Place};
use crate::daemon::Daemon;
use crate::host::Host;
use crate::wait;

/// Prefixes, each with its next hops.
pub type Table = BTreeMap<IpNetwork, BTreeSet<IpAddr>>;

/// Which implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// FRR's bgpd and zebra: 51 ms from UPDATE to kernel at best.
    Frr,
    /// BIRD 2: below a millisecond.
    Bird,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
        }
    }

    pub(crate) fn place(self) -> Place {
        match self {
            Self::Frr => Place::FRR,
            Self::Bird => Place::BIRD,
        }
    }

    pub(crate) fn behind(self) -> Network {
        match self {
            Self::Frr => Network::BEHIND_FRR,
            Self::Bird => Network::BEHIND_BIRD,
        }
    }
}

/// A BGP session as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `Established`, `Active`, …: the router's word for the state.
    pub state: String,
    /// The neighbour's AS number, when the router says it.
    pub asn: Option<u32>,
    /// How often it has been established, when the router counts (FRR).
    pub established: Option<u64>,
}

impl Session {
    /// Whether routes are exchanged.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == "Established"
    }
}

/// A router of the lab. Its daemons run from [`Self::start`] until [`Self::stop`], or a fault.
pub struct Router {
    kind: Kind,
    host: Host,
    daemons: Mutex<Vec<Daemon>>,
}

impl Deref for Router {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Router {
    pub(crate) fn new(kind: Kind, host: Host) -> Self {
        Self { kind, host, daemons: Mutex::default() }
    }

    /// Which implementation it runs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its AS number.
    #[must_use]
    pub fn asn(&self) -> u32 {
        match self.kind {
            Kind::Frr => FRR_ASN,
            Kind::Bird => BIRD_ASN,
        }
    }

    /// Starts the daemons (after stopping running ones); returns when they answer.
    #[track_caller]
    pub fn start(&self, config: &Config) {
        self.stop();
        let started = match self.kind {
            Kind::Frr => frr::start(&self.host, config),
            Kind::Bird => bird::start(&self.host, config),
        };
        *self.daemons() = started;
    }

    /// Ends the daemons politely: their sessions are closed with a NOTIFICATION.
    #[track_caller]
    pub fn stop(&self) {
        for daemon in self.daemons().drain(..).rev() {
            daemon.terminate(Duration::from_secs(20));
        }
    }

    /// Crashes the daemons.
    pub fn crash(&self) {
        for daemon in self.daemons().drain(..).rev() {
            daemon.kill();
        }
    }

    /// Freezes the BGP daemon: its connections stay open and silent.
    #[track_caller]
    pub fn freeze(&self) {
        self.bgp_daemon(Daemon::freeze);
    }

    /// Lets the BGP daemon go on.
    #[track_caller]
    pub fn thaw(&self) {
        self.bgp_daemon(Daemon::thaw);
    }

    /// Asks in the router's own language (`vtysh -c`, `birdc`) and gives the answer.
    ///
    /// # Errors
    /// The daemons do not run, or do not like the question.
    pub fn ask(&self, question: &str) -> Result<String, crate::run::Failed> {
        match self.kind {
            Kind::Frr => frr::ask(&self.host, question),
            Kind::Bird => bird::ask(&self.host, question),
        }
    }

    /// The command line that asks the same by hand.
    #[must_use]
    pub fn by_hand(&self, question: &str) -> String {
        crate::run::line(&match self.kind {
            Kind::Frr => frr::asking(&self.host, question),
            Kind::Bird => bird::asking(&self.host, question),
        })
    }

    /// The routes in the kernel that the router learned by BGP: where packets really go.
    #[must_use]
    #[track_caller]
    pub fn routes(&self) -> Table {
        table::kernel(&self.host)
    }

    /// What it was told by BGP, used or not. Empty when it does not answer.
    #[must_use]
    pub fn bgp_routes(&self, family: Family) -> Table {
        match self.kind {
            Kind::Frr => frr::routes(&self.host, family),
            Kind::Bird => bird::routes(&self.host, family),
        }
    }

    /// Its sessions by the neighbour's address. Empty when it does not answer.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<IpAddr, Session> {
        match self.kind {
            Kind::Frr => frr::sessions(&self.host),
            Kind::Bird => bird::sessions(&self.host),
        }
    }

    /// Waits until packets to `prefix` go to exactly these next hops.
    #[track_caller]
    pub fn wait_route(&self, prefix: IpNetwork, next_hops: &[IpAddr], within: Duration) {
        let wanted: BTreeSet<IpAddr> = next_hops.iter().copied().collect();
        let what = format!("{} routes {prefix} to {wanted:?}", self.name());
        wait::eventually(&what, within, || {
            let table = self.routes();
            let found = table.get(&prefix).cloned().unwrap_or_default();
            (found == wanted).then_some(()).ok_or(format!("{table:?}"))
        });
    }

    /// Waits until packets to `vip` go to exactly these hosts; none: it has no route.
    #[track_caller]
    pub fn wait_vip(&self, vip: IpAddr, hosts: &[&Host], within: Duration) {
        let family = Family::of(vip);
        let next_hops: Vec<IpAddr> = hosts.iter().map(|host| host.address(family)).collect();
        self.wait_route(vip.into(), &next_hops, within);
    }

    /// Waits until the session with that neighbour is established.
    #[track_caller]
    pub fn wait_session(&self, neighbor: IpAddr, within: Duration) {
        let what = format!("{} has a session with {neighbor}", self.name());
        wait::eventually(&what, within, || {
            let sessions = self.sessions();
            let up = sessions.get(&neighbor).is_some_and(Session::is_established);
            up.then_some(()).ok_or(format!("{sessions:?}"))
        });
    }

    #[track_caller]
    fn bgp_daemon(&self, act: impl Fn(&Daemon)) {
        let daemons = self.daemons();
        let bgp = daemons.last().expect("the router runs");
        act(bgp);
    }

    fn daemons(&self) -> MutexGuard<'_, Vec<Daemon>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

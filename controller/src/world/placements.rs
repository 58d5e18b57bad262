//! The part of the world that is placements: on which node each address of an L2Advertisement is to be.
//!
//! What is placed stays, through every restart, unless [`announce::Reason`] has a word for why not. The record is the
//! AddressOwner; nobody else writes its spec.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use announce::{Arrival, ControlPlane, Load, Node, Pool, Readiness, Reason, Rebalance, Touched, View};
use api::{Condition, Placed, SliceEndpoints, SliceName, Slices};
use cluster::Write;
use ipnetwork::IpNetwork;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::{AdvertisementName, Labels, NodeName, PoolName, ServiceKey};

use self::balance::Balance;
use super::{Effect, Now, World};
use crate::metrics::Metrics;
use crate::seen::{Kind, SeenAdvertisement, SeenOwner};

mod balance;
mod settle;

/// After a change that may concern every address, others of its kind are waited for.
const SETTLE: Duration = Duration::from_millis(20);
/// So many addresses are looked at in one step.
const STEP: usize = 256;
/// A node that lost an address is not chosen for another so long: the node list calls it ready for about as long
/// when it is dead.
const SHUN: Duration = Duration::from_mins(1);
/// Twice as long each time, until it takes one; so often.
const MOST_DOUBLINGS: u32 = 6;

#[derive(Debug)]
pub(super) struct Placements {
    role: Role,
    view: View,
    slices: Slices,
    owners: BTreeMap<IpAddr, Owner>,
    /// The highest generation that was given to a placement here.
    highest: u64,
    /// Of addresses that Services have.
    load: Load,
    /// Where Services ask their addresses to be moved to.
    wishes: BTreeMap<ServiceKey, String>,
    /// The subnets of each node with a speaker.
    subnets: BTreeMap<NodeName, BTreeSet<IpNetwork>>,
    /// Nodes that lost an address, and until when that counts.
    shunned: BTreeMap<NodeName, Instant>,
    /// How often each did since it took one.
    losses: BTreeMap<NodeName, u32>,
    balance: Balance,
    /// Addresses that have to be looked at, and when.
    due: BTreeSet<IpAddr>,
    due_at: Option<Instant>,
    /// When an address's placement follows what has become of it.
    lapses: BTreeSet<(Instant, IpAddr)>,
    metrics: Metrics,
    effects: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    StandsBy,
    Decides,
}

/// An address that a Service has, or an AddressOwner is of.
#[derive(Debug)]
struct Owner {
    seen: Option<SeenOwner>,
    /// Where it is placed, as was decided here or seen.
    placed: Option<Placed>,
    arrival: Arrival,
    lapse: Option<Lapse>,
    /// What became of the last request to move it, if there is one that stands; nothing: nobody here knows.
    moved: Option<Condition>,
    /// What is on its way to be written.
    writing: Option<Write>,
}

/// A change that is made if it still stands when its time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lapse {
    to: NodeName,
    reason: Reason,
    generation: u64,
    at: Instant,
}

impl World {
    pub(super) fn apply_slice(&mut self, name: SliceName, slice: Option<SliceEndpoints>, now: Now) {
        for (service, endpoints) in self.placements.slices.set(name, slice) {
            let touched = self.placements.view.set_endpoints(service, endpoints);
            self.placements.touch(touched, now);
        }
    }

    pub(super) fn apply_l2_advertisement(&mut self, name: String, seen: Option<SeenAdvertisement>, now: Now) {
        let known = AdvertisementName::new(&name);
        self.placements.ask_rebalance(Some(known.clone()), seen.as_ref().and_then(|seen| seen.asked), now);
        match seen.as_ref().map(|seen| seen.said.clone()) {
            Some(Some(said)) => self.placements.set_l2_advertisement(known, Some(said), now),
            Some(None) => {}
            None => self.placements.set_l2_advertisement(known, None, now),
        }
        self.regard_probes(now);
        self.apply_verdict(Kind::L2Advertisement, name, seen.map(|seen| seen.verdict), now);
    }

    pub(super) fn apply_owner(&mut self, address: IpAddr, seen: Option<SeenOwner>, now: Now) {
        let said = |placements: &Placements| placements.conflict(address).cloned();
        let (is_new, before) = (!self.placements.owners.contains_key(&address), said(&self.placements));
        self.placements.see(address, seen, now);
        // What stood there when it was listed was told before.
        if let Some(now) = said(&self.placements).filter(|_| !is_new && self.decides())
            && before.is_none_or(|before| (&before.status, &before.message) != (&now.status, &now.message))
        {
            self.tell_conflict(address, &now);
        }
    }
}

impl Placements {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            role: Role::StandsBy,
            view: View::default(),
            slices: Slices::default(),
            owners: BTreeMap::new(),
            highest: 0,
            load: Load::default(),
            wishes: BTreeMap::new(),
            subnets: BTreeMap::new(),
            shunned: BTreeMap::new(),
            losses: BTreeMap::new(),
            balance: Balance::default(),
            due: BTreeSet::new(),
            due_at: None,
            lapses: BTreeSet::new(),
            metrics,
            effects: Vec::new(),
        }
    }

    /// The Services that an address is of.
    pub(super) fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.view.holders(address).map(|(key, _)| key)
    }

    /// What the speaker that answers says of others that do.
    fn conflict(&self, address: IpAddr) -> Option<&Written> {
        self.owners.get(&address)?.seen.as_ref()?.conflict()
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// From now on it decides, from what is recorded.
    pub(super) fn start(&mut self, now: Now) {
        self.role = Role::Decides;
        self.balance.start(now.wall);
        self.touch(Touched::All, now);
        self.unbalanced(now);
    }

    /// Others decide.
    pub(super) fn stand_by(&mut self) {
        self.role = Role::StandsBy;
        (self.due, self.due_at) = (BTreeSet::new(), None);
        self.lapses.clear();
        self.shunned.clear();
        self.losses.clear();
        self.balance.stand_by();
        for address in self.owners.keys().copied().collect::<Vec<_>>() {
            let Some(owner) = self.owners.get_mut(&address) else { continue };
            (owner.lapse, owner.moved, owner.writing) = (None, None, None);
            let recorded = owner.seen.as_ref().and_then(|seen| seen.placed.clone());
            self.set_placed(address, recorded);
        }
        self.owners.retain(|_, owner| owner.seen.is_some());
    }

    pub(super) fn set_node(&mut self, name: NodeName, node: Option<Node>, now: Now) {
        let touched = self.view.set_node(name, node);
        self.touch(touched, now);
    }

    /// Whether some of a pool's addresses are announced on a segment.
    pub(super) fn has_segment(&self, pool: &PoolName) -> bool {
        announce::has_segment(&self.view, pool)
    }

    /// Whether the node list calls a node ready.
    pub(super) fn is_ready(&self, node: &NodeName) -> bool {
        self.view.node(node).is_some_and(|node| node.readiness == Readiness::Ready)
    }

    /// The subnets that a speaker of a node is connected to that is ready.
    pub(super) fn segments(&self) -> impl Iterator<Item = IpNetwork> {
        let ready = self.subnets.iter().filter(|(node, _)| self.is_ready(node));
        ready.flat_map(|(_, subnets)| subnets).copied()
    }

    pub(super) fn set_control_plane(&mut self, control_plane: ControlPlane, now: Now) {
        let touched = self.view.set_control_plane(control_plane);
        self.touch(touched, now);
    }

    /// A pool's labels are all that its advertisements go by. Those of one that cannot be decoded stay what they were.
    #[expect(clippy::option_option, reason = "whether it is there, and whether its labels are known")]
    pub(super) fn set_pool(&mut self, name: PoolName, labels: Option<Option<&Labels>>, now: Now) {
        let pool = match labels {
            Some(Some(labels)) => Some(Pool { labels: labels.clone(), prefixes: Vec::new() }),
            Some(None) => return,
            None => None,
        };
        let touched = self.view.set_pool(name, pool);
        self.touch(touched, now);
    }

    /// A Service with the addresses that it is to have; those that its status shows already may be in use.
    pub(super) fn set_service(
        &mut self,
        key: &ServiceKey,
        service: Option<announce::Service>,
        shown: &[IpAddr],
        now: Now,
    ) {
        if service.is_none() {
            self.wishes.remove(key);
        }
        let new = service.iter().flat_map(|service| service.addresses.keys());
        for address in new.filter(|address| !shown.contains(address)) {
            self.owners.entry(*address).or_insert_with(|| Owner::of(Arrival::New));
        }
        let Touched::Addresses(touched) = self.view.set_service(key.clone(), service) else { return };
        if self.role == Role::Decides {
            touched.into_iter().for_each(|address| self.settle(address, now));
        }
    }

    pub(super) fn set_wish(&mut self, key: &ServiceKey, wish: Option<String>, now: Now) {
        let before = match wish.clone() {
            Some(wish) => self.wishes.insert(key.clone(), wish),
            None => self.wishes.remove(key),
        };
        if before != wish {
            let addresses = self.view.service(key).into_iter().flat_map(|service| service.addresses.keys());
            let addresses = addresses.copied().collect();
            self.touch(Touched::Addresses(addresses), now);
        }
    }

    /// The subnets of a node; nothing: it has no speaker. Says whether that is something else.
    pub(super) fn set_subnets(
        &mut self,
        name: NodeName,
        subnets: Option<BTreeSet<IpNetwork>>,
        now: Now,
    ) -> bool {
        if self.subnets.get(&name) == subnets.as_ref() {
            return false;
        }
        match subnets {
            Some(subnets) => drop(self.subnets.insert(name, subnets)),
            None => drop(self.subnets.remove(&name)),
        }
        self.touch(Touched::All, now);
        true
    }

    fn set_l2_advertisement(
        &mut self,
        name: AdvertisementName,
        said: Option<announce::L2Advertisement>,
        now: Now,
    ) {
        let is_auto = said.as_ref().is_some_and(|said| said.rebalance == Rebalance::Auto);
        self.balance.set_auto(&name, is_auto);
        let touched = self.view.set_l2_advertisement(name, said);
        self.touch(touched, now);
    }

    /// Somebody asked then, on an L2Advertisement or for all of them, that addresses go where fewer are.
    pub(super) fn ask_rebalance(
        &mut self,
        whose: Option<AdvertisementName>,
        asked: Option<Timestamp>,
        now: Now,
    ) {
        self.balance.ask(whose, asked, now.wall);
        self.unbalanced(now);
    }

    /// Has these addresses looked at before long.
    fn touch(&mut self, touched: Touched, now: Now) {
        if self.role == Role::StandsBy {
            return;
        }
        let at = match touched {
            Touched::Addresses(addresses) if addresses.is_empty() => return,
            Touched::Addresses(addresses) => {
                self.due.extend(addresses);
                now.instant
            }
            Touched::All => {
                self.due.extend(self.view.addresses().chain(self.owners.keys().copied()));
                now.instant + SETTLE
            }
        };
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    /// When to call [`Placements::handle_timeout`] next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let lapse = self.lapses.first().map(|(at, _)| *at);
        let shunned = self.shunned.values().min().copied();
        [self.due_at, lapse, shunned, self.balance.at()].into_iter().flatten().min()
    }

    /// Does what was put off until now.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.shunned.extract_if(.., |_, until| *until <= now.instant).next().is_some() {
            self.touch(Touched::All, now);
            self.unbalanced(now);
        }
        while let Some((at, address)) = self.lapses.first().copied().filter(|(at, _)| *at <= now.instant) {
            self.lapses.remove(&(at, address));
            self.settle(address, now);
        }
        if self.due_at.is_some_and(|at| at <= now.instant) {
            for _ in 0..STEP {
                let Some(address) = self.due.pop_first() else { break };
                self.settle(address, now);
            }
            self.due_at = (!self.due.is_empty()).then_some(now.instant);
            if self.due.is_empty() {
                self.unbalanced(now);
            }
        }
        if self.balance.is_due(now.instant) {
            self.even_out(now);
        }
    }
}

impl Owner {
    fn of(arrival: Arrival) -> Self {
        Self { seen: None, placed: None, arrival, lapse: None, moved: None, writing: None }
    }
}

//! The part of the world that is Services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use api::condition::{ALLOCATED, Status};
use api::service::{Moving, Outcome, release_patch};
use api::{Condition, LoadBalancer};
use cluster::Severity;
use ipam::{Adopted, Decision, Refusal};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::{PoolName, ServiceKey};
use serde_json::Value;

use super::pacing::Subject;
use super::pools::Pools;
use super::{Effect, Notice, Now, World};
use crate::seen::{Ours, SeenService, Standing};

/// A Service of ours.
#[derive(Debug)]
pub(super) struct KnownService {
    uid: String,
    created: Timestamp,
    seen: LoadBalancer,
    announced: announce::Service,
    /// When its decision last changed.
    decided: Timestamp,
    /// Since when its status has to be written and does not show it yet.
    writing: Option<Instant>,
    /// Why it does not have what it asks for.
    waits: Option<&'static str>,
}

/// Why a Service's status is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Its decision changed.
    Decided,
    /// It was seen.
    Seen,
}

impl World {
    pub(super) fn apply_service(&mut self, key: ServiceKey, seen: Option<SeenService>, now: Now) {
        self.note_version(&key, seen.as_ref().map(|seen| seen.version));
        match seen {
            Some(SeenService { uid, created, standing: Standing::Ours(seen), .. }) => {
                self.leave_if_another(&key, &uid, now);
                self.marked.remove(&key);
                let Ours { seen, announced, move_to } = *seen;
                self.placements.set_wish(&key, move_to, now);
                self.see(key, uid, created, (seen, announced), now);
            }
            Some(SeenService { uid, standing: Standing::Marked, .. }) => {
                self.leave(&key, now);
                if self.decides() {
                    self.write(&key, release_patch(&uid));
                }
                self.marked.insert(key, uid);
            }
            Some(SeenService { standing: Standing::Other, .. }) | None => {
                self.marked.remove(&key);
                if self.leave(&key, now) {
                    self.effects.push(Effect::Forget(key));
                }
            }
        }
    }

    /// Takes over what the statuses say that the Services hold.
    pub(super) fn adopt_services(&mut self, now: Now) {
        // Of two that hold one address the one that has had what it asks for the longest keeps it; those that do
        // not have it wait in the order in which they were created.
        let since = |key: &ServiceKey, known: &KnownService| match known.seen.allocated_since {
            Some(since) => (since, (Timestamp::MIN, 0)),
            None => (Timestamp::MAX, self.age(key, known)),
        };
        for key in self.sorted(since) {
            self.adopt(&key, now);
        }
    }

    /// Decides what else the Services ask for.
    pub(super) fn decide_services(&mut self, now: Now) {
        for key in self.sorted(|key, known| self.age(key, known)) {
            self.decide(&key, now);
        }
        for (key, uid) in self.marked.clone() {
            self.write(&key, release_patch(&uid));
        }
    }

    /// Writes to the Service as it was last seen, or not at all. So what a leader sent just before it froze, and
    /// what arrives long after, takes back nothing that its successor wrote.
    fn write(&mut self, key: &ServiceKey, mut patch: Value) {
        let metadata = patch.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Some(metadata), Some(version)) = (metadata, self.versions.get(key)) {
            metadata.insert("resourceVersion".into(), version.to_string().into());
        }
        self.effects.push(Effect::Service(key.clone(), patch));
    }

    /// Since when a Service is there. A time of creation is in seconds; of one second, the one that was written last
    /// is the younger.
    fn age(&self, key: &ServiceKey, known: &KnownService) -> (Timestamp, u64) {
        (known.created, self.versions.get(key).copied().unwrap_or_default())
    }

    /// The Services by a time, the earliest first; of one time, by their uids.
    fn sorted<T: Ord>(&self, time: impl Fn(&ServiceKey, &KnownService) -> T) -> Vec<ServiceKey> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by_cached_key(|(key, known)| (time(key, known), known.uid.clone()));
        services.into_iter().map(|(key, _)| key.clone()).collect()
    }

    fn see(
        &mut self,
        key: ServiceKey,
        uid: String,
        created: Timestamp,
        (seen, announced): (LoadBalancer, announce::Service),
        now: Now,
    ) {
        if let Some(known) = self.services.get_mut(&key) {
            (known.seen, known.announced) = (seen, announced);
        } else {
            let known =
                KnownService { uid, created, seen, announced, decided: now.wall, writing: None, waits: None };
            self.services.insert(key.clone(), known);
            if self.decides() {
                self.adopt(&key, now);
            }
        }
        if self.decides() {
            self.decide(&key, now);
        }
    }

    /// Takes over what the status of a Service that was not known says that it holds.
    fn adopt(&mut self, key: &ServiceKey, now: Now) {
        let Some(known) = self.services.get(key) else { return };
        let adopted = Adopted {
            addresses: known.seen.held.clone(),
            pool: known.seen.held_from.clone(),
            moving: known.seen.moving.as_ref().map(|moving| adopted(moving, now)),
            request: known.seen.request.clone().ok(),
        };
        for refusal in self.ledger.adopt(key, adopted) {
            self.metrics.refused(refusal.reason());
            let notice = notice(key, known, Severity::Warning, refusal.reason(), refusal.to_string());
            self.effects.push(Effect::Event(notice));
        }
    }

    fn decide(&mut self, key: &ServiceKey, now: Now) {
        let Some(known) = self.services.get(key) else { return };
        let changed = match known.seen.request.clone() {
            Ok(request) => self.ledger.allocate(now.instant, key, request),
            Err(invalid) => {
                let refusal = Refusal::Invalid { field: invalid.field, why: invalid.why };
                self.ledger.refuse(now.instant, key, refusal, known.seen.terms.clone())
            }
        };
        if !changed.contains(key) {
            self.show(key, Occasion::Seen, now);
        }
        self.show_all(changed, now);
    }

    pub(super) fn show_all(&mut self, changed: ipam::Changed, now: Now) {
        let mut shown = BTreeSet::new();
        for key in changed.iter().filter(|key| shown.insert(*key)) {
            self.show(key, Occasion::Decided, now);
        }
    }

    /// A Service that was deleted and made again between two looks at it is another one.
    fn leave_if_another(&mut self, key: &ServiceKey, uid: &str, now: Now) {
        if self.services.get(key).is_some_and(|known| known.uid != uid) {
            self.leave(key, now);
        }
    }

    /// Frees what a Service holds that is no longer ours; says whether it was.
    fn leave(&mut self, key: &ServiceKey, now: Now) -> bool {
        let known = self.services.remove(key);
        self.placements.set_service(key, None, &[], now);
        self.effects.append(&mut self.placements.take_effects());
        self.metrics.waits(known.as_ref().and_then(|known| known.waits), None);
        let changed = self.ledger.release(now.instant, key);
        self.show_all(changed, now);
        known.is_some()
    }

    /// Has the Services that an address is of tell that another station answers for it too, or no longer does.
    pub(super) fn tell_conflict(&mut self, address: IpAddr, said: &Written) {
        let (severity, reason) = if said.status == Status::True.as_str() {
            (Severity::Warning, "AddressConflict")
        } else {
            (Severity::Normal, "AddressConflictOver")
        };
        let note = format!("{address}: {}", said.message);
        let holders: Vec<_> = self.placements.holders(address).cloned().collect();
        for key in holders {
            let Some(known) = self.services.get(&key) else { continue };
            let notice = notice(&key, known, severity, reason, note.clone());
            self.effects.push(Effect::Event(Notice { action: "Announce", ..notice }));
        }
    }

    /// Counts nobody any more among those that wait.
    pub(super) fn forget_waits(&mut self) {
        for known in self.services.values_mut() {
            self.metrics.waits(known.waits.take(), None);
        }
    }

    /// Makes a Service's status say what is decided, if it does not.
    fn show(&mut self, key: &ServiceKey, occasion: Occasion, now: Now) {
        let (Some(known), Some(decision)) = (self.services.get_mut(key), self.ledger.decision(key)) else {
            return;
        };
        if occasion == Occasion::Decided {
            known.decided = now.wall;
        }
        let waits = decision.refusal.as_ref().map(Refusal::reason);
        self.metrics.waits(std::mem::replace(&mut known.waits, waits), waits);
        // Where an address is comes before whose it is, so that whoever is to announce it knows both.
        let announced = known.announced(decision);
        self.placements.set_service(key, Some(announced), &known.seen.held, now);
        self.effects.append(&mut self.placements.take_effects());
        if let Some(Refusal::AddressUnprobed { pool, .. }) = &decision.refusal {
            // What it says stands until that is known, which takes but a moment.
            return self.pacing.presently(Subject::Pool(pool.clone()), now.instant);
        }
        let Some(patch) = known.seen.patch(&outcome(decision, now), known.decided) else {
            // What is on its way to be written may be older than what is decided.
            if let Some(since) = known.writing.take() {
                self.metrics.shown(now.instant.saturating_duration_since(since));
                self.effects.push(Effect::Forget(key.clone()));
            }
            let changed = self.ledger.settle(now.instant, key);
            self.show_all(changed, now);
            return;
        };
        known.writing.get_or_insert(now.instant);
        let notice = (occasion == Occasion::Decided).then(|| {
            let pool = decision.grant.as_ref().and_then(|grant| with_uid(&self.pools, &grant.pool));
            match &decision.refusal {
                Some(refusal) => self.metrics.refused(refusal.reason()),
                None => self.metrics.allocated(),
            }
            Effect::Event(Notice { pool, ..told(key, known, decision) })
        });
        self.write(key, patch);
        self.effects.extend(notice);
    }
}

impl KnownService {
    /// What nodes that announce it are going to see.
    fn announced(&self, decision: &Decision) -> announce::Service {
        let granted = decision.grant.iter().map(|grant| (&grant.addresses, &grant.pool));
        let moving = decision.moving.iter().map(|moving| (&moving.from, &moving.pool));
        let addresses = granted
            .chain(moving)
            .flat_map(|(addresses, pool)| addresses.iter().map(|address| (*address, Some(pool.clone()))));
        announce::Service { addresses: addresses.collect(), ..self.announced.clone() }
    }
}

/// What a Service's status is to say.
fn outcome(decision: &Decision, now: Now) -> Outcome {
    let Decision { grant, refusal, moving, notes: _ } = decision;
    let allocated = match refusal {
        None => Condition::new(ALLOCATED, Status::True, "Allocated", granted(decision)),
        Some(refusal) => {
            Condition::new(ALLOCATED, Status::False, refusal.reason(), refused(decision, refusal))
        }
    };
    Outcome {
        addresses: grant.iter().flat_map(|grant| grant.addresses.iter().copied()).collect(),
        pool: grant.as_ref().map(|grant| grant.pool.clone()),
        moving: moving.as_ref().map(|moving| published(moving, now)),
        allocated,
    }
}

fn published(moving: &ipam::Moving, now: Now) -> Moving {
    let ipam::Moving { from, pool, until } = moving.clone();
    Moving { from, pool, until: now.wall_of(until) }
}

fn adopted(moving: &Moving, now: Now) -> ipam::Moving {
    let Moving { from, pool, until } = moving.clone();
    ipam::Moving { from, pool, until: now.instant_of(until) }
}

fn with_uid(pools: &Pools, name: &PoolName) -> Option<(PoolName, String)> {
    Some((name.clone(), pools.get(name)?.known.seen.uid.clone()?))
}

fn told(key: &ServiceKey, known: &KnownService, decision: &Decision) -> Notice {
    let told = match &decision.refusal {
        None if decision.moving.is_some() => {
            notice(key, known, Severity::Normal, "Moving", granted(decision))
        }
        None => notice(key, known, Severity::Normal, "Allocated", granted(decision)),
        Some(refusal) => notice(key, known, Severity::Warning, refusal.reason(), refused(decision, refusal)),
    };
    let lost = lost(&known.seen.held, decision);
    Notice { note: format!("{}{lost}", told.note), ..told }
}

/// What it showed and shows no more: only who reads of it now can know that it is gone.
fn lost(held: &[IpAddr], decision: &Decision) -> String {
    let granted = decision.grant.iter().flat_map(|grant| &grant.addresses);
    let kept: BTreeSet<_> = granted.chain(decision.moving.iter().flat_map(|moving| &moving.from)).collect();
    let lost: Vec<_> = held.iter().filter(|address| !kept.contains(address)).copied().collect();
    match lost.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is no longer its own"),
        several => format!("; {} are no longer its own", joined(several)),
    }
}

fn notice(
    key: &ServiceKey,
    known: &KnownService,
    severity: Severity,
    reason: &'static str,
    note: String,
) -> Notice {
    Notice {
        service: key.clone(),
        uid: known.uid.clone(),
        pool: None,
        severity,
        action: "Allocate",
        reason,
        note,
    }
}

fn granted(decision: &Decision) -> String {
    let Decision { grant, refusal: _, moving, notes } = decision;
    let granted =
        grant.iter().map(|grant| format!("{} from IPAddressPool {}", joined(&grant.addresses), grant.pool));
    let moving = moving.iter().map(|moving| {
        format!("{} from IPAddressPool {} beside it for a while", joined(&moving.from), moving.pool)
    });
    granted.chain(moving).chain(notes.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
}

fn refused(decision: &Decision, refusal: &Refusal) -> String {
    match &decision.grant {
        Some(grant) => format!("{refusal}; it keeps {} meanwhile", joined(&grant.addresses)),
        None => refusal.to_string(),
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

//! The part of the world that is Services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use api::condition::{ALLOCATED, Status};
use api::service::{Outcome, release_patch};
use api::{Condition, LoadBalancer};
use cluster::Severity;
use ipam::{Adopted, Decision, Refusal};
use k8s_openapi::jiff::Timestamp;
use names::ServiceKey;

use super::{Effect, Notice, Now, World};
use crate::seen::{SeenService, Standing};

/// A Service of ours.
#[derive(Debug)]
pub(super) struct KnownService {
    uid: String,
    created: Timestamp,
    seen: LoadBalancer,
    /// When its decision last changed.
    decided: Timestamp,
    /// Since when its status has to be written and does not show it yet.
    writing: Option<Instant>,
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
        match seen {
            Some(SeenService { uid, created, standing: Standing::Ours(seen) }) => {
                self.leave_if_another(&key, &uid, now);
                self.marked.remove(&key);
                self.see(key, uid, created, seen, now);
            }
            Some(SeenService { uid, standing: Standing::Marked, .. }) => {
                self.leave(&key, now);
                if self.is_synced() {
                    self.effects.push(Effect::Service(key, release_patch(&uid)));
                } else {
                    self.marked.insert(key, uid);
                }
            }
            Some(SeenService { standing: Standing::Other, .. }) | None => {
                self.marked.remove(&key);
                if self.leave(&key, now) {
                    self.effects.push(Effect::Forget(key));
                }
            }
        }
    }

    pub(super) fn start_services(&mut self, now: Now) {
        let mut oldest_first: Vec<_> = self
            .services
            .iter()
            .map(|(key, known)| (known.created, known.uid.clone(), key.clone()))
            .collect();
        oldest_first.sort();
        for (_, _, key) in &oldest_first {
            self.adopt(key);
        }
        for (_, _, key) in &oldest_first {
            self.decide(key, now);
        }
        for (key, uid) in std::mem::take(&mut self.marked) {
            self.effects.push(Effect::Service(key, release_patch(&uid)));
        }
    }

    fn see(&mut self, key: ServiceKey, uid: String, created: Timestamp, seen: LoadBalancer, now: Now) {
        if let Some(known) = self.services.get_mut(&key) {
            known.seen = seen;
        } else {
            let known = KnownService { uid, created, seen, decided: now.wall, writing: None };
            self.services.insert(key.clone(), known);
            if self.is_synced() {
                self.adopt(&key);
            }
        }
        if self.is_synced() {
            self.decide(&key, now);
        }
    }

    /// Takes over what the status of a Service that was not known says that it holds.
    fn adopt(&mut self, key: &ServiceKey) {
        let Some(known) = self.services.get(key) else { return };
        let adopted = Adopted {
            addresses: known.seen.held.clone(),
            pool: known.seen.held_from.clone(),
            moving: None,
            request: known.seen.request.clone().ok(),
        };
        for refusal in self.ledger.adopt(key, adopted) {
            self.metrics.refused(refusal.reason());
            self.effects.push(notice(key, known, Severity::Warning, refusal.reason(), refusal.to_string()));
        }
    }

    fn decide(&mut self, key: &ServiceKey, now: Now) {
        let Some(known) = self.services.get(key) else { return };
        let changed = match known.seen.request.clone() {
            Ok(request) => self.ledger.allocate(now.instant, key, request),
            Err(invalid) => {
                let refusal = Refusal::Invalid { field: invalid.field, why: invalid.why };
                self.ledger.refuse(now.instant, key, refusal)
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
        let known = self.services.remove(key).is_some();
        let changed = self.ledger.release(now.instant, key);
        self.show_all(changed, now);
        known
    }

    /// Makes a Service's status say what is decided, if it does not.
    fn show(&mut self, key: &ServiceKey, occasion: Occasion, now: Now) {
        let (Some(known), Some(decision)) = (self.services.get_mut(key), self.ledger.decision(key)) else {
            return;
        };
        if occasion == Occasion::Decided {
            known.decided = now.wall;
        }
        let Some(patch) = known.seen.patch(&outcome(decision), known.decided) else {
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
        self.effects.push(Effect::Service(key.clone(), patch));
        if occasion == Occasion::Decided {
            self.effects.push(told(key, known, decision));
            match &decision.refusal {
                Some(refusal) => self.metrics.refused(refusal.reason()),
                None => self.metrics.allocated(),
            }
        }
    }
}

/// What a Service's status is to say.
fn outcome(decision: &Decision) -> Outcome {
    let Decision { grant, refusal, .. } = decision;
    let allocated = match refusal {
        None => Condition::new(ALLOCATED, Status::True, "Allocated", granted(decision)),
        Some(refusal) => {
            Condition::new(ALLOCATED, Status::False, refusal.reason(), refused(decision, refusal))
        }
    };
    Outcome {
        addresses: grant.iter().flat_map(|grant| grant.addresses.iter().copied()).collect(),
        pool: grant.as_ref().map(|grant| grant.pool.clone()),
        moving: None,
        allocated,
    }
}

fn told(key: &ServiceKey, known: &KnownService, decision: &Decision) -> Effect {
    match &decision.refusal {
        None => notice(key, known, Severity::Normal, "Allocated", granted(decision)),
        Some(refusal) => notice(key, known, Severity::Warning, refusal.reason(), refused(decision, refusal)),
    }
}

fn notice(
    key: &ServiceKey,
    known: &KnownService,
    severity: Severity,
    reason: &'static str,
    note: String,
) -> Effect {
    Effect::Event(Notice { service: key.clone(), uid: known.uid.clone(), severity, reason, note })
}

fn granted(decision: &Decision) -> String {
    decision.grant.as_ref().map_or_else(String::new, |grant| {
        format!("{} from IPAddressPool {}", joined(&grant.addresses), grant.pool)
    })
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

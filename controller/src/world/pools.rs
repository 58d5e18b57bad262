//! The part of the world that is pools.

use std::collections::BTreeMap;

use api::{Hold, IpAddressPoolStatus, NamespaceHolds, Quarantined};
use ipam::{Count, Family, OnRemove, Pool, Rest, Standing, State, Usage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use names::PoolName;
use serde_json::json;

use super::known::{Known, Sight};
use super::pacing::Subject;
use super::{Effect, Now, World};
use crate::seen::{Kind, Recorded, SeenPool, Version, Wish};

mod conditions;

pub(super) type Pools = BTreeMap<PoolName, KnownPool>;

/// An IPAddressPool.
#[derive(Debug)]
pub(super) struct KnownPool {
    pub(super) known: Known<Wish, Recorded>,
    /// What goes on while the manifest cannot be used, or must not yet.
    in_force: Option<InForce>,
    /// What the manifest would do, while it must not yet.
    preview: Option<String>,
}

/// A version of a pool that was in use.
#[derive(Debug, Clone, PartialEq)]
struct InForce {
    version: Version,
    /// The newest generation of the object at which it was.
    generation: Option<i64>,
}

/// Whose word counts on what is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authority {
    /// Our own: nobody else decides.
    Ours,
    /// That of whoever decided last.
    Newest,
}

impl World {
    pub(super) fn apply_pool(&mut self, name: PoolName, seen: Option<SeenPool>, now: Now) {
        let subject = Subject::Pool(name.clone());
        let before = self.pools.remove(&name);
        self.placements.set_pool(name.clone(), seen.as_ref().map(|seen| seen.labels.as_ref()), now);
        let Some(seen) = seen else {
            self.pacing.forget(&subject);
            self.metrics.moves(&name, None);
            let changed = self.ledger.set_pool(now.instant, &name, None);
            return self.show_all(changed, now);
        };
        let authority = if self.decides() { Authority::Ours } else { Authority::Newest };
        let (pool, sight) = KnownPool::see(before, seen, authority);
        self.pools.insert(name.clone(), pool);
        if self.decides() {
            match sight {
                Sight::New | Sight::Changed => self.pacing.at_once(subject, now.instant),
                Sight::Same => self.pacing.soon(subject, now.instant),
            }
            self.regard_probes(now);
            self.stock(&name, now);
        }
    }

    pub(super) fn stock_all(&mut self, now: Now) {
        for name in self.pools.keys().cloned().collect::<Vec<_>>() {
            self.pacing.at_once(Subject::Pool(name.clone()), now.instant);
            self.stock(&name, now);
        }
    }

    /// Has the ledger give out what the pool means now. One that means nothing goes on as it was before.
    fn stock(&mut self, name: &PoolName, now: Now) {
        let Some(pool) = self.pools.get(name) else { return };
        let in_force = pool.stocked();
        let changed = self.ledger.set_pool(now.instant, name, in_force);
        self.show_all(changed, now);
    }

    /// Has those addresses rest that did when the statuses were written.
    pub(super) fn lay_to_rest(&mut self, now: Now) {
        let recorded = self.pools.values().map(|pool| pool.known.recorded());
        let entries: Vec<_> = recorded.flat_map(|recorded| recorded.status.quarantine).collect();
        for (address, former, until) in entries.iter().filter_map(Quarantined::parse) {
            self.ledger.rest(now.instant, Rest { address, former, until: now.instant_of(until) });
        }
    }

    /// Makes a pool's status say how much of it is used and how it stands, if it does not.
    pub(super) fn write_pool(&mut self, name: &PoolName, now: Now) {
        self.foresee(name, now);
        let standing = self.ledger.standing(name);
        self.metrics.moves(name, standing.as_ref());
        let Some(status) = self.pool_status(name, standing.as_ref(), now) else { return };
        let Some(pool) = self.pools.get_mut(name) else { return };
        if pool.recorded().status != status {
            let effect = Effect::Status(Kind::Pool, name.to_string(), json!({ "status": &status }));
            let in_effect = pool.in_force.as_ref().map(|in_force| in_force.version.pool.clone());
            pool.known.want(Recorded { status, in_effect });
            self.effects.push(effect);
            self.pacing.did(Subject::Pool(name.clone()), now.instant);
        }
    }

    fn pool_status(
        &self,
        name: &PoolName,
        standing: Option<&Standing>,
        now: Now,
    ) -> Option<IpAddressPoolStatus> {
        let pool = self.pools.get(name)?;
        let recorded = pool.recorded();
        let strays = standing.map(|standing| standing.strays).unwrap_or_default();
        let usage = |family, strays| Some(with_strays(self.ledger.usage(name, family)?, strays));
        let (v4, v6) = (usage(Family::V4, strays.ipv4), usage(Family::V6, strays.ipv6));
        let before = &recorded.status.conditions;
        let conditions = self.conditions(pool, standing);
        let conditions = conditions
            .into_iter()
            .map(|condition| condition.at(pool.known.seen.generation).written(before, now.wall));
        let rests = self.ledger.quarantined(name).into_iter();
        let rests = rests.map(|rest| (rest.address, rest.former, now.wall_of(rest.until)));
        let holders = standing.into_iter().flat_map(|standing| &standing.holders);
        Some(IpAddressPoolStatus {
            holders: holders.map(|(namespace, count)| NamespaceHolds::new(namespace, *count)).collect(),
            quarantine: Quarantined::written(rests, &recorded.status.quarantine),
            candidates: self.ledger.candidates(name).iter().map(ToString::to_string).collect(),
            in_effect: pool.in_effect(&recorded).map(|version| version.spec),
            ..IpAddressPoolStatus::new(v4, v6, in_order(conditions.collect(), before))
        })
    }

    /// Says what a manifest would do that must not do it yet. It is said once for each edit.
    fn foresee(&mut self, name: &PoolName, now: Now) {
        let Some(pool) = self.pools.get(name).filter(|pool| pool.preview.is_none()) else { return };
        let Some(version) = pool.paused() else { return };
        let text = match pool.foreseen() {
            Some(text) => text,
            None => {
                let preview = self.ledger.preview(now.instant, name, &version.pool);
                let totals = [Family::V4, Family::V6].map(|family| {
                    self.ledger.usage(name, family).map_or(Count::Exactly(0), |usage| usage.total)
                });
                conditions::foretold(&preview, totals)
            }
        };
        if let Some(pool) = self.pools.get_mut(name) {
            pool.preview = Some(text);
        }
    }
}

impl KnownPool {
    fn see(before: Option<Self>, seen: SeenPool, authority: Authority) -> (Self, Sight) {
        let (known, sight) = Known::see(before.as_ref().map(|before| &before.known), seen);
        let before = before.filter(|_| sight != Sight::New);
        let preview =
            before.as_ref().filter(|_| sight == Sight::Same).and_then(|before| before.preview.clone());
        let in_force = in_force(&known, before.and_then(|before| before.in_force), authority);
        (Self { known, in_force, preview }, sight)
    }

    /// What its status says, as far as that is ours.
    fn recorded(&self) -> Recorded {
        let mut recorded = self.known.recorded();
        recorded.status.conditions.retain(|condition| conditions::OURS.contains(&condition.type_.as_str()));
        recorded
    }

    /// What waits.
    fn paused(&self) -> Option<&Version> {
        let wish = self.known.seen.meaning.as_ref().ok()?;
        (wish.hold == Hold::Paused).then_some(&wish.version)
    }

    /// What the status says already that this very generation would do.
    fn foreseen(&self) -> Option<String> {
        let status = self.known.recorded().status;
        let generation = self.known.seen.generation;
        let told =
            status.conditions.into_iter().find(|condition| condition.type_ == api::condition::PAUSED)?;
        (generation.is_some() && told.observed_generation == generation).then_some(told.message)
    }

    /// While the manifest is paused nothing is moved out of the pool.
    fn state(&self) -> Option<State> {
        match self.in_force.as_ref()?.version.pool.state {
            State::Drained if self.paused().is_some() => Some(State::Disabled),
            state @ (State::Open | State::Disabled | State::Drained) => Some(state),
        }
    }

    /// The pool as it is given out: the version in force, at rest while the manifest is paused.
    fn stocked(&self) -> Option<Pool> {
        let pool = self.in_force.as_ref()?.version.pool.clone();
        let on_remove = match pool.on_remove {
            OnRemove::Move if self.paused().is_some() => OnRemove::Keep,
            on_remove @ (OnRemove::Keep | OnRemove::Move | OnRemove::Release) => on_remove,
        };
        Some(Pool { state: self.state()?, on_remove, ..pool })
    }

    /// The version in force, as it is recorded where that means the same.
    fn in_effect(&self, recorded: &Recorded) -> Option<Version> {
        let version = &self.in_force.as_ref()?.version;
        let recorded = recorded.version().filter(|recorded| recorded.pool == version.pool);
        Some(recorded.unwrap_or_else(|| version.clone()))
    }
}

/// Which version goes on: the one that is seen, if it can; else the one that did, as we or the status know it.
fn in_force(known: &Known<Wish, Recorded>, before: Option<InForce>, authority: Authority) -> Option<InForce> {
    let generation = known.seen.generation;
    match &known.seen.meaning {
        Ok(Wish { version, hold: Hold::None }) => Some(InForce { version: version.clone(), generation }),
        Ok(Wish { hold: Hold::Paused, .. }) | Err(_) => {
            let recorded = recorded_in_force(&known.recorded());
            let older = |before: &InForce| {
                recorded.as_ref().is_some_and(|recorded| before.generation < recorded.generation)
            };
            match authority {
                Authority::Ours => before.or(recorded),
                Authority::Newest => match before {
                    Some(before) if !older(&before) => Some(before),
                    Some(_) | None => recorded,
                },
            }
        }
    }
}

fn recorded_in_force(recorded: &Recorded) -> Option<InForce> {
    let conditions = recorded.status.conditions.iter();
    let ready = conditions.filter(|condition| condition.type_ == api::condition::READY);
    let generation = ready.filter_map(|condition| condition.observed_generation).max();
    Some(InForce { version: recorded.version()?, generation })
}

/// Conditions in the order in which they stand already, new ones last. The API server keeps an order of its own.
pub(super) fn in_order(mut conditions: Vec<Written>, before: &[Written]) -> Vec<Written> {
    let place = |one: &Written| before.iter().position(|other| other.type_ == one.type_);
    conditions.sort_by_cached_key(|one| place(one).unwrap_or(usize::MAX));
    conditions
}

/// How much a pool has, with what is held from it besides.
fn with_strays(usage: Usage, strays: u32) -> Usage {
    Usage { assigned: usage.assigned.plus(Count::Exactly(strays.into())), ..usage }
}

//! The part of the world that is pools.

use std::time::Instant;

use api::condition::READY;
use api::{Condition, Invalid, IpAddressPoolStatus};
use ipam::{Family, Usage};
use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde_json::json;

use super::{Effect, Now, PACE, SETTLE, World, sooner};
use crate::seen::{Kind, SeenPool};

/// An IPAddressPool.
#[derive(Debug)]
pub(super) struct KnownPool {
    seen: SeenPool,
    /// Since when it means what it means.
    since: Timestamp,
    /// When its status was last written for this meaning.
    written: Option<Instant>,
}

impl World {
    pub(super) fn apply_pool(&mut self, name: PoolName, seen: Option<SeenPool>, now: Now) {
        match seen {
            Some(seen) => self.see_pool(name, seen, now),
            None => {
                self.pools.remove(&name);
                let changed = self.ledger.set_pool(now.instant, &name, None);
                self.show_all(changed, now);
            }
        }
    }

    fn see_pool(&mut self, name: PoolName, mut seen: SeenPool, now: Now) {
        let before = self.pools.remove(&name);
        let (since, written) = match &before {
            Some(before) if before.seen.meaning == seen.meaning => (before.since, before.written),
            Some(_) | None => (now.wall, None),
        };
        // What cannot be decoded does not say what stands in its status: as far as is known, what stood there.
        seen.status = seen.status.or_else(|| before.and_then(|before| before.seen.status));
        self.pools.insert(name.clone(), KnownPool { seen, since, written });
        if self.decides() {
            self.stock(&name, now);
        }
    }

    /// Lets the ledger give out what the pool means now. A pool that means nothing goes on as it was before.
    pub(super) fn stock(&mut self, name: &PoolName, now: Now) {
        let Some(known) = self.pools.get(name) else { return };
        let at = known.next_write(now);
        self.due.insert(name.clone(), at);
        if let Ok(pool) = &known.seen.meaning {
            let changed = self.ledger.set_pool(now.instant, name, Some(pool.clone()));
            self.show_all(changed, now);
        }
    }

    /// Has the status follow of the pools whose use changed.
    pub(super) fn note_touched_pools(&mut self, now: Now) {
        for name in self.ledger.take_touched().pools {
            for family in [Family::V4, Family::V6] {
                self.metrics.pool(&name, family, self.ledger.usage(&name, family));
            }
            match self.pools.get(&name) {
                Some(known) => {
                    let at = known.next_write(now).max(now.instant + SETTLE);
                    self.due.insert(name.clone(), sooner(self.due.get(&name).copied(), at));
                }
                None => drop(self.due.remove(&name)),
            }
        }
    }

    /// Comes after what the Services are told, so that it counts with them and does not go before them.
    pub(super) fn write_due_pools(&mut self, now: Now) {
        let due: Vec<_> =
            self.due.iter().filter(|(_, at)| **at <= now.instant).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.due.remove(&name);
            self.write_pool(&name, now);
        }
    }

    /// Makes a pool's status say how much of it is used and whether it is valid, if it does not.
    fn write_pool(&mut self, name: &PoolName, now: Now) {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| self.ledger.usage(name, family));
        let Some(known) = self.pools.get_mut(name) else { return };
        let recorded = known.seen.status.get_or_insert_default();
        recorded.conditions.retain(|condition| condition.type_ == READY);
        let ready = ready(&known.seen.meaning, v4).at(known.seen.generation);
        let ready = ready.written(&recorded.conditions, known.since);
        let status = IpAddressPoolStatus::new(v4, v6, vec![ready]);
        if *recorded != status {
            self.effects.push(Effect::Status(Kind::Pool, name.to_string(), json!({ "status": &status })));
            known.written = Some(now.instant);
            known.seen.status = Some(status);
        }
    }
}

impl KnownPool {
    fn next_write(&self, now: Now) -> Instant {
        self.written.map_or(now.instant, |written| now.instant.max(written + PACE))
    }
}

fn ready(meaning: &Result<ipam::Pool, Invalid>, before: Option<Usage>) -> Condition {
    let ready = Condition::ready(meaning.as_ref().map(drop));
    match (meaning, before) {
        (Err(_), Some(_)) => {
            Condition { message: format!("{}; the pool goes on as it was before", ready.message), ..ready }
        }
        (Err(_), None) | (Ok(_), _) => ready,
    }
}

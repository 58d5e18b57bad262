//! When addresses go from nodes with many to nodes with few.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use announce::{Reason, rebalance};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use names::AdvertisementName;

use super::{Now, Placements};

/// From one few to the next.
const PACE: Duration = Duration::from_secs(1);
/// So many at a time where nobody watches.
const AUTO: usize = 2;
/// So many at a time where somebody asked for it.
const ASKED: usize = 10;
/// A request counts for so long, also for a controller that starts in between.
const REQUEST: SignedDuration = SignedDuration::from_mins(10);

/// Whose addresses a request is about: those of an advertisement, or of all.
type Whose = Option<AdvertisementName>;

/// What is to be evened out.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// What is always.
    auto: BTreeSet<AdvertisementName>,
    /// What was asked for, and when.
    requests: BTreeMap<Whose, Timestamp>,
    /// What of this is not done.
    open: BTreeSet<Whose>,
    at: Option<Instant>,
}

impl Balance {
    pub(super) fn set_auto(&mut self, name: &AdvertisementName, is_auto: bool) {
        if is_auto {
            self.auto.insert(name.clone());
        } else {
            self.auto.remove(name);
        }
    }

    pub(super) fn ask(&mut self, whose: Whose, asked: Option<Timestamp>, now: Timestamp) {
        if self.requests.get(&whose).copied() == asked {
            return;
        }
        self.open.remove(&whose);
        let Some(asked) = asked else {
            self.requests.remove(&whose);
            return;
        };
        self.requests.insert(whose.clone(), asked);
        if counts(asked, now) {
            self.open.insert(whose);
        }
    }

    pub(super) fn start(&mut self, now: Timestamp) {
        let recent = self.requests.iter().filter(|(_, asked)| counts(**asked, now));
        self.open = recent.map(|(whose, _)| whose.clone()).collect();
    }

    pub(super) fn stand_by(&mut self) {
        self.open.clear();
        self.at = None;
    }

    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    fn is_asked(&self, name: &AdvertisementName) -> bool {
        self.open.contains(&None) || self.open.contains(&Some(name.clone()))
    }
}

fn counts(asked: Timestamp, now: Timestamp) -> bool {
    now.duration_since(asked) < REQUEST
}

impl Placements {
    /// Something changed that may have made the nodes uneven.
    pub(super) fn unbalanced(&mut self, now: Now) {
        let Balance { auto, open, at, .. } = &mut self.balance;
        if self.role == super::Role::Decides && !(auto.is_empty() && open.is_empty()) {
            at.get_or_insert(now.instant + PACE);
        }
    }

    /// Moves a few.
    pub(super) fn even_out(&mut self, now: Now) {
        self.balance.at = None;
        let most = if self.balance.open.is_empty() { AUTO } else { ASKED };
        let at_rest = self.owners.iter().filter(|(_, owner)| owner.lapse.is_none() && !owner.is_pinned());
        let addresses: Vec<_> =
            at_rest.map(|(address, _)| *address).filter(|address| self.view.is_held(*address)).collect();
        let asked = |name: &AdvertisementName| self.balance.is_asked(name);
        let moves = rebalance(&self.view, addresses, asked, &self.load, self.able(), most);
        if moves.is_empty() {
            self.balance.open.clear();
            return;
        }
        self.balance.at = Some(now.instant + PACE);
        for (address, node) in moves {
            self.go(address, node, Reason::Rebalanced, now);
            self.write(address, now);
        }
    }
}

//! The part of the world that goes for the whole cluster.

use std::collections::BTreeMap;

use api::Settings;
use names::Labels;

use super::{Now, World};
use crate::seen::{Kind, SeenConfig};

/// What the FerriteConfigs say that are valid, or were; there is at most one.
pub(super) type Configs = BTreeMap<String, Settings>;

/// The labels of every namespace.
pub(super) type Namespaces = BTreeMap<String, Labels>;

impl World {
    pub(super) fn apply_config(&mut self, name: String, seen: Option<SeenConfig>, now: Now) {
        match seen.as_ref().map(|seen| &seen.said) {
            Some(Some(settings)) => drop(self.configs.insert(name.clone(), settings.clone())),
            Some(None) => {}
            None => drop(self.configs.remove(&name)),
        }
        let control_plane = self.settings().layer2.control_plane;
        self.placements.set_control_plane(control_plane, now);
        self.placements.ask_rebalance(None, seen.as_ref().and_then(|seen| seen.asked), now);
        if self.decides() {
            self.set_out(now);
        }
        self.apply_verdict(Kind::Config, name, seen.map(|seen| seen.verdict), now);
    }

    fn settings(&self) -> Settings {
        self.configs.values().next().cloned().unwrap_or_default()
    }

    /// Has the ledger go by the settings.
    pub(super) fn set_out(&mut self, now: Now) {
        let Settings { moves, layer2: _, data_path: _ } = self.settings();
        let changed = self.ledger.set_moves(now.instant, moves);
        self.show_all(changed, now);
    }

    pub(super) fn apply_namespace(&mut self, name: String, labels: Option<Labels>, now: Now) {
        if self.namespaces.get(&name) == labels.as_ref() {
            return;
        }
        match labels.clone() {
            Some(labels) => drop(self.namespaces.insert(name.clone(), labels)),
            None => drop(self.namespaces.remove(&name)),
        }
        if self.decides() {
            let changed = self.ledger.set_namespace(now.instant, &name, labels);
            self.show_all(changed, now);
        }
    }

    pub(super) fn populate(&mut self, now: Now) {
        for (name, labels) in &self.namespaces {
            self.ledger.set_namespace(now.instant, name, Some(labels.clone()));
        }
    }
}

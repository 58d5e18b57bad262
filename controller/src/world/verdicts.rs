//! The part of the world of which the controller says whether it is valid, and no more.

use std::collections::BTreeMap;

use api::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use serde_json::json;

use super::known::Known;
use super::{Effect, Now, World};
use crate::seen::{Kind, SeenVerdict};

pub(super) type Verdicts = BTreeMap<(Kind, String), Known<(), Vec<Written>>>;

impl World {
    pub(super) fn apply_verdict(&mut self, kind: Kind, name: String, seen: Option<SeenVerdict>, now: Now) {
        let before = self.verdicts.remove(&(kind, name.clone()));
        let Some(seen) = seen else { return };
        let (known, _) = Known::see(before.as_ref(), seen);
        self.verdicts.insert((kind, name.clone()), known);
        if self.decides() {
            self.judge(kind, &name, now);
        }
    }

    pub(super) fn judge_all(&mut self, now: Now) {
        for (kind, name) in self.verdicts.keys().cloned().collect::<Vec<_>>() {
            self.judge(kind, &name, now);
        }
    }

    /// Says of an object whether it is valid, unless its status does.
    fn judge(&mut self, kind: Kind, name: &str, now: Now) {
        let Some(known) = self.verdicts.get_mut(&(kind, name.to_owned())) else { return };
        let ready = Condition::ready(known.seen.meaning.as_ref().copied()).at(known.seen.generation);
        let mut recorded = known.recorded();
        if !ready.is_in(&recorded) {
            let written = ready.written(&recorded, now.wall);
            let status = json!({ "status": { "conditions": [&written] } });
            recorded.retain(|condition| condition.type_ != written.type_);
            recorded.push(written);
            known.want(recorded);
            self.effects.push(Effect::Status(kind, name.to_owned(), status));
        }
    }
}

//! The part of the world that is quotas.

use std::collections::BTreeMap;

use api::{AddressQuotaStatus, Condition};
use ipam::Quota;
use names::QuotaName;
use serde_json::json;

use super::known::{Known, Sight};
use super::pacing::Subject;
use super::wording::ready;
use super::{Effect, Now, World};
use crate::seen::{Kind, SeenQuota};

pub(super) type Quotas = BTreeMap<QuotaName, KnownQuota>;

/// An AddressQuota.
#[derive(Debug)]
pub(super) struct KnownQuota {
    pub(super) known: Known<Quota, AddressQuotaStatus>,
    /// What goes on while the manifest means nothing.
    in_force: Option<Quota>,
}

impl World {
    pub(super) fn apply_quota(&mut self, name: QuotaName, seen: Option<SeenQuota>, now: Now) {
        let subject = Subject::Quota(name.clone());
        let before = self.quotas.remove(&name);
        let Some(seen) = seen else {
            self.pacing.forget(&subject);
            self.metrics.quota(&name, None, &[]);
            let changed = self.ledger.set_quota(now.instant, &name, None);
            return self.show_all(changed, now);
        };
        let (known, sight) = Known::see(before.as_ref().map(|before| &before.known), seen);
        let before = before.filter(|_| sight != Sight::New).and_then(|before| before.in_force);
        let in_force = known.seen.meaning.clone().ok().or(before);
        self.quotas.insert(name.clone(), KnownQuota { known, in_force });
        if self.decides() {
            match sight {
                Sight::New | Sight::Changed => self.pacing.at_once(subject, now.instant),
                Sight::Same => self.pacing.soon(subject, now.instant),
            }
            self.limit(&name, now);
        }
    }

    pub(super) fn limit_all(&mut self, now: Now) {
        for name in self.quotas.keys().cloned().collect::<Vec<_>>() {
            self.pacing.at_once(Subject::Quota(name.clone()), now.instant);
            self.limit(&name, now);
        }
    }

    fn limit(&mut self, name: &QuotaName, now: Now) {
        let in_force = self.quotas.get(name).and_then(|quota| quota.in_force.clone());
        let changed = self.ledger.set_quota(now.instant, name, in_force);
        self.show_all(changed, now);
    }

    /// Makes a quota's status say how much of it is used and whether it is valid, if it does not.
    pub(super) fn write_quota(&mut self, name: &QuotaName, now: Now) {
        let Some(quota) = self.quotas.get_mut(name) else { return };
        let mut recorded = quota.known.recorded();
        recorded.conditions.retain(|condition| condition.type_ == api::condition::READY);
        let goes_on = match quota.in_force {
            Some(_) => "the quota goes on as it was before",
            None => "the quota limits nothing",
        };
        let ready: Condition = ready(&quota.known.seen, goes_on);
        let conditions = vec![ready.written(&recorded.conditions, now.wall)];
        let uses = self.ledger.quota_use(name);
        self.metrics.quota(name, quota.in_force.as_ref(), &uses);
        let status = match &quota.in_force {
            Some(in_force) => AddressQuotaStatus::new(in_force, &uses, conditions),
            None => AddressQuotaStatus { conditions, ..AddressQuotaStatus::default() },
        };
        if recorded != status {
            self.effects.push(Effect::Status(Kind::Quota, name.to_string(), json!({ "status": &status })));
            quota.known.want(status);
            self.pacing.did(Subject::Quota(name.clone()), now.instant);
        }
    }
}

//! What holds after every step.

use super::calm::is_full;
use super::domain::all;
use super::*;
use crate::{Count, Grant, Per, State};

impl Cluster {
    pub(super) fn check(&self, before: &Self, step: &Step, changed: &Changed) {
        self.check_union();
        self.check_few();
        self.check_shared();
        self.check_usage();
        self.check_quotas();
        self.check_fresh(before, step);
        self.check_calm(before, step);
        self.check_settled();
        self.check_queues();
        self.check_standing();
        self.check_timeout();
        if matches!(step, Step::Restart) {
            self.check_restart(before);
        } else {
            self.check_told(before, changed);
        }
    }

    /// The ledger is the union of what was decided and what is parted with; what statuses show is held.
    fn check_union(&self) {
        for address in all() {
            let holding = self.services.keys().filter(|key| self.held(key).contains(&address));
            assert!(holding.eq(self.ledger.holders(address)), "{address}");
        }
        for (key, Service { shown, .. }) in &self.services {
            let held = self.held(key);
            assert!(
                shown.addresses.iter().all(|address| held.contains(address)),
                "{key} shows more than it has"
            );
        }
        assert_eq!(
            self.services.keys().collect::<Vec<_>>(),
            self.ledger.entries.iter().map(|(key, _)| key).collect::<Vec<_>>()
        );
    }

    /// What a Service was granted, what it is moved from and what it parts with: one of each, in each family.
    fn check_few(&self) {
        for (key, family) in self.services.keys().flat_map(|key| Family::ALL.map(|family| (key, family))) {
            let held = self.held(key);
            let few = held.iter().filter(|address| Family::of(**address) == family).count() <= 3;
            assert!(few, "{key} holds {held:?}");
        }
    }

    /// No address has two that may not share it, unless one of them changed its terms, and never on one port.
    fn check_shared(&self) {
        for address in all() {
            let decided: Vec<_> = self
                .services
                .keys()
                .filter(|key| self.decision(key).is_some_and(|decision| decision.holds(address)))
                .collect();
            let shown =
                self.services.iter().filter(|(_, service)| service.shown.addresses.contains(&address));
            let shown: Vec<_> = shown.map(|(key, _)| key).collect();
            for (one, other) in pairs(&decided).chain(pairs(&shown)) {
                let excused =
                    [one, other].iter().any(|key| self.at_fault.contains(&((*key).clone(), address)));
                assert!(excused || self.agree(one, other), "{address} is held by {one} and {other}");
            }
            for (one, other) in pairs(&decided) {
                let garbled = [one, other].iter().any(|key| {
                    let Service { asks, terms, .. } = &self.services[*key];
                    asks.is_err() && terms.is_none()
                });
                assert!(
                    garbled || !self.port_clash(one, other),
                    "{one} and {other} listen on one port of {address}"
                );
            }
        }
    }

    fn agree(&self, one: &ServiceKey, other: &ServiceKey) -> bool {
        agree(&self.ledger, one, other)
    }

    /// What a pool has is held, left or kept for others, counted one by one.
    fn check_usage(&self) {
        for name in self.pools.keys() {
            for family in Family::ALL {
                let own = all()
                    .filter(|address| Family::of(*address) == family && self.home(*address) == Some(name));
                let own: Vec<_> = own.collect();
                let is_held = |address: &&IpAddr| self.ledger.register.is_held(**address);
                let free: Vec<_> =
                    own.iter().filter(|one| !is_held(one) && !self.blocked.contains_key(one)).collect();
                let kept = free.iter().filter(|address| self.reserved(***address).is_some()).count();
                let resting = free.iter().filter(|address| self.rests.contains_key(**address)).count();
                let (total, assigned) = (own.len(), own.iter().filter(is_held).count());
                let expected = [total, assigned, free.len() - kept, resting, kept];
                let expected = expected.map(|count| i64::try_from(count).unwrap());
                let usage = self.ledger.usage(name, family).expect("it is there");
                let Usage { total: t, assigned: a, available: l, quarantined: q, reserved: r } = usage;
                let counted = [t, a, l, q, r].map(Count::as_i64);
                assert_eq!(counted, expected, "{name} {family}");
            }
            let told: BTreeMap<_, _> =
                self.ledger.quarantined(name).into_iter().map(|rest| (rest.address, rest.until)).collect();
            let mut rests = self.rests.clone();
            rests.retain(|address, _| self.home(*address) == Some(name));
            assert_eq!(told, rests, "{name}");
        }
    }

    /// What counts towards a limit: each address once, by the namespaces that share it.
    fn counted(
        &self,
        quota: &Quota,
        held: impl Fn(&ServiceKey) -> BTreeSet<IpAddr>,
    ) -> BTreeMap<Option<String>, BTreeSet<IpAddr>> {
        let mut counted: BTreeMap<Option<String>, BTreeSet<IpAddr>> = BTreeMap::new();
        let keys = self.services.keys().filter(|key| self.has_namespace(&quota.audience, &key.namespace));
        for key in keys {
            let scope = (quota.per == Per::Namespace).then(|| key.namespace.to_string());
            let from = |address: &IpAddr| self.ledger.register.held_from(*address, key);
            let counts = |pool: &PoolName| quota.pools.is_empty() || quota.pools.contains(pool);
            let addresses = held(key).into_iter().filter(|address| from(address).is_some_and(counts));
            counted.entry(scope).or_default().extend(addresses);
        }
        counted.retain(|_, addresses| !addresses.is_empty());
        counted
    }

    fn check_quotas(&self) {
        for (name, quota) in &self.quotas {
            let mut uses = BTreeMap::new();
            for used in self.ledger.quota_use(name) {
                uses.insert(used.namespace, (used.ipv4, used.ipv6));
            }
            uses.retain(|_, used| *used != (0, 0));
            let number = |addresses: &BTreeSet<IpAddr>, family| {
                u32::try_from(addresses.iter().filter(|one| Family::of(**one) == family).count()).unwrap()
            };
            let counted = self.counted(quota, |key| self.held(key)).into_iter();
            let counted: BTreeMap<_, _> = counted
                .map(|(scope, all)| (scope, (number(&all, Family::V4), number(&all, Family::V6))))
                .collect();
            assert_eq!(uses, counted, "{name}");
        }
    }

    fn granted(&self, key: &ServiceKey, step: &Step) -> BTreeSet<IpAddr> {
        if matches!(step, Step::Restart) {
            return self
                .services
                .get(key)
                .into_iter()
                .flat_map(|service| service.shown.addresses.clone())
                .collect();
        }
        let grant = self.decision(key).and_then(|decision| decision.grant.as_ref());
        grant.into_iter().flat_map(|grant| grant.addresses.iter().copied()).collect()
    }

    /// What is new in a step comes from a pool that admits the Service, is not kept for others, is not blocked
    /// and joins only those that agree; and keeps to the quotas.
    fn check_fresh(&self, before: &Self, step: &Step) {
        let mut news: BTreeMap<&ServiceKey, BTreeSet<IpAddr>> = BTreeMap::new();
        for (key, service) in &self.services {
            let Some(grant) = self.decision(key).and_then(|decision| decision.grant.as_ref()) else {
                continue;
            };
            let had = before.granted(key, step);
            let new: BTreeSet<_> = grant.addresses.iter().copied().filter(|one| !had.contains(one)).collect();
            for address in &new {
                let request = service.asks.as_ref().expect("one that is not understood gets nothing");
                let shown = before.services.get(key).map(|service| &service.shown);
                let old = match before.decision(key).and_then(|decision| decision.grant.as_ref()) {
                    old if !matches!(step, Step::Restart) => old.map(|old| &old.pool),
                    _ => shown.and_then(|shown| shown.pool.as_ref()),
                };
                let stays = grant.addresses.iter().any(|one| had.contains(one));
                self.check_new(key, request, grant, stays || old == Some(&grant.pool), *address);
            }
            news.insert(key, new);
        }
        for (name, quota) in &self.quotas {
            let now = self.counted(quota, |key| self.granted(key, &Step::ShowAll));
            let new = self.counted(quota, |key| news.get(key).cloned().unwrap_or_default());
            let was = before.quotas.get(name).filter(|was| *was == quota);
            let was =
                was.map(|quota| before.counted(quota, |key| before.granted(key, step))).unwrap_or_default();
            let still = self.counted(quota, |key| before.granted(key, step));
            for (scope, new) in new {
                let mut base = was.get(&scope).cloned().unwrap_or_default();
                // What counts because another pool has it now came without being granted, maybe after the new ones.
                let found = now[&scope].difference(&new).any(|address| !base.contains(address));
                if found && matches!(step, Step::SetPool(..) | Step::Restart) {
                    continue;
                }
                base.extend(now[&scope].difference(&new));
                base.extend(still.get(&scope).into_iter().flatten());
                for (family, limit) in [(Family::V4, quota.ipv4), (Family::V6, quota.ipv6)] {
                    let number =
                        |all: &BTreeSet<IpAddr>| all.iter().filter(|one| Family::of(**one) == family).count();
                    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
                    let may = number(&new) == 0 || number(&now[&scope]) <= limit.max(number(&base));
                    assert!(
                        may,
                        "{name} allows {limit} {family}, and there are {now:?}, of these new {new:?}"
                    );
                }
            }
        }
    }

    fn check_new(&self, key: &ServiceKey, request: &Request, grant: &Grant, beside: bool, address: IpAddr) {
        let named = request.addresses.contains(&address);
        let pool = &self.pools[&grant.pool];
        assert_eq!(self.home(address), Some(&grant.pool), "{key} has {address} from elsewhere");
        assert_eq!(pool.state, State::Open, "{key} has {address} from {}", grant.pool);
        assert!(self.belongs(&pool.audience, key, request), "{key} has {address} from {}", grant.pool);
        let chosen =
            request.pools.is_empty() && (pool.is_automatic() || named) || request.pools.contains(&grant.pool);
        assert!(chosen || beside, "{key} has {address} from {}", grant.pool);
        let reserved = self.reserved(address);
        assert!(reserved.is_none_or(|by| self.is_for(by, key, request)), "{address} is kept by {reserved:?}");
        assert!(named || !self.blocked.contains_key(&address), "{key} has {address}, which is blocked");
        for other in self.ledger.holders(address).filter(|other| *other != key) {
            assert!(self.agree(key, other), "{key} came to {address}, which {other} has");
        }
    }

    /// Nobody could have more than it has: what would be decided now is what was decided.
    fn check_settled(&self) {
        for (key, entry) in self.ledger.entries.iter() {
            let would = self.ledger.weigh(self.now, key).expect("it asked");
            let is = &entry.decision;
            // What had to wait for its status is decided when that was written.
            let later = !entry.parting.is_empty();
            let mut comes = would.held().filter(|address| entry.held().all(|held| held != *address));
            if later && comes.next().is_some() {
                continue;
            }
            assert_eq!(
                (&would.grant, &would.moving, &would.notes),
                (&is.grant, &is.moving, &is.notes),
                "{key} is {is:?} and would be {would:?}"
            );
            let told = [is, &would].map(|decision| match &decision.refusal {
                Some(Refusal::CannotMove { why, .. }) => (true, Some(why.reason())),
                other => (false, other.as_ref().map(Refusal::reason)),
            });
            let equal =
                told[0] == told[1] || told[0].0 == told[1].0 && is_full(told[0].1) && is_full(told[1].1);
            let unseen = told[0].1 == Some("NamespaceUnknown");
            assert!(equal || unseen || later, "{key} is {is:?} and would be {would:?}");
            let precise =
                matches!(is.refusal, Some(Refusal::AddressInUse { .. } | Refusal::SharingConflict { .. }));
            assert!(
                !precise || is.refusal == would.refusal || later,
                "{key} is {is:?} and would be {would:?}"
            );
        }
    }

    fn check_queues(&self) {
        let mut waiting = crate::waiters::Waiters::default();
        for (key, entry) in self.ledger.entries.iter() {
            if let Some(Waits { lack, wants }) = &entry.waits {
                waiting.add(entry.turn(*lack), key, wants);
            }
            let waits = entry.garbled.is_none() && entry.decision.refusal.is_some();
            assert!(!waits || entry.waits.is_some(), "{key} does not wait: {:?}", entry.decision);
        }
        assert_eq!(format!("{waiting:?}"), format!("{:?}", self.ledger.waiters));
    }

    fn check_standing(&self) {
        for name in self.pools.keys() {
            let standing = self.ledger.standing(name).expect("it is there");
            let decisions = || self.services.keys().filter_map(|key| Some((key, self.decision(key)?)));
            let outside = decisions().filter(|(key, decision)| {
                let grant = decision.grant.as_ref().filter(|grant| grant.pool == *name);
                grant.is_some_and(|grant| !self.away(key, grant).0.is_empty())
            });
            assert_eq!(standing.outside, outside.count(), "{name}");
            let moving =
                decisions().filter(|(_, one)| one.moving.as_ref().is_some_and(|one| one.pool == *name));
            assert_eq!(standing.moving, moving.count(), "{name}");
            let holders =
                decisions().filter(|(_, one)| one.grant.as_ref().is_some_and(|one| one.pool == *name));
            assert_eq!(
                standing.holders.iter().map(|(_, count)| count).sum::<usize>(),
                holders.count(),
                "{name}"
            );
        }
    }

    fn check_timeout(&self) {
        let moves = self.services.keys().filter_map(|key| Some(self.decision(key)?.moving.as_ref()?.until));
        let ends = self.reservations.values().filter_map(|one| one.expires).filter(|end| *end > self.now);
        let next = moves.chain(ends).chain(self.rests.values().copied()).min();
        assert_eq!(self.ledger.poll_timeout(), next);
        assert!(next.is_none_or(|next| next > self.now));
    }

    /// Every changed decision is told.
    fn check_told(&self, before: &Self, changed: &Changed) {
        for key in self.services.keys() {
            let same = before.decision(key) == self.decision(key);
            assert!(same || changed.contains(key), "{key} changed without a word");
        }
        for key in self.services.keys().filter(|key| self.services[*key].asks.is_ok()) {
            let request = self.services[key].asks.clone().unwrap();
            assert!(self.ledger.entries.get(key).unwrap().asks() == Some(&request));
        }
    }
}

fn pairs<'a>(keys: &'a [&'a ServiceKey]) -> impl Iterator<Item = (&'a ServiceKey, &'a ServiceKey)> {
    keys.iter().enumerate().flat_map(|(n, one)| keys[n + 1..].iter().map(move |other| (*one, *other)))
}

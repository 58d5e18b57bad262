use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, ReservationName, ServiceKey};

use crate::layout::{ByFamily, Claim, Ranges};
use crate::pool::{bounds, number};
use crate::{Audience, Counted, Family, Holder, Phase, Reclaim, Reservation};

/// The reservations there are. Their `chosen` and `released` addresses are kept here up to date.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations {
    all: BTreeMap<ReservationName, Reservation>,
    /// Those for one Service each.
    of_service: BTreeMap<ServiceKey, BTreeSet<ReservationName>>,
    /// Those for Services of certain namespaces.
    of_namespace: BTreeMap<String, BTreeSet<ReservationName>>,
    /// Those for others.
    shared: BTreeSet<ReservationName>,
    expired: BTreeSet<ReservationName>,
    ends: BTreeSet<(Instant, ReservationName)>,
    touched: BTreeSet<ReservationName>,
}

impl Holder {
    fn is(&self, key: &ServiceKey, labels: &Labels, namespace: Option<&Labels>) -> bool {
        match self {
            Self::Service(one) => one == key,
            Self::Audience(many) => many.has_namespace(&key.namespace, namespace) && many.has_service(labels),
        }
    }
}

impl Reservations {
    pub(crate) fn get(&self, name: &ReservationName) -> Option<&Reservation> {
        self.all.get(name)
    }

    pub(crate) fn phase(&self, name: &ReservationName) -> Phase {
        if self.expired.contains(name) { Phase::Expired } else { Phase::Active }
    }

    /// Puts a reservation in place of the one of that name. What was chosen and released while it was the same
    /// object is remembered here; its status may lag behind.
    pub(crate) fn set(&mut self, now: Instant, name: &ReservationName, reservation: Option<Reservation>) {
        let reservation = reservation.map(|new| match self.all.get(name) {
            Some(old) if old.created == new.created => {
                Reservation { chosen: old.chosen.clone(), released: old.released.clone(), ..new }
            }
            Some(_) | None => new,
        });
        self.touched.insert(name.clone());
        if let Some(old) = self.all.remove(name) {
            self.unlist(name, &old);
        }
        let Some(reservation) = reservation else { return };
        match &reservation.holder {
            Holder::Service(key) => {
                self.of_service.entry(key.clone()).or_default().insert(name.clone());
            }
            Holder::Audience(Audience { namespaces, namespace_selectors, .. })
                if namespace_selectors.is_empty() && !namespaces.is_empty() =>
            {
                for namespace in namespaces {
                    self.of_namespace.entry(namespace.clone()).or_default().insert(name.clone());
                }
            }
            Holder::Audience(_) => drop(self.shared.insert(name.clone())),
        }
        match reservation.expires {
            Some(end) if end <= now => drop(self.expired.insert(name.clone())),
            Some(end) => drop(self.ends.insert((end, name.clone()))),
            None => {}
        }
        self.all.insert(name.clone(), reservation);
    }

    fn unlist(&mut self, name: &ReservationName, old: &Reservation) {
        if let Holder::Service(key) = &old.holder
            && let Some(theirs) = self.of_service.get_mut(key)
        {
            theirs.remove(name);
            if theirs.is_empty() {
                self.of_service.remove(key);
            }
        }
        if let Holder::Audience(many) = &old.holder {
            for namespace in &many.namespaces {
                if let Some(theirs) = self.of_namespace.get_mut(namespace) {
                    theirs.remove(name);
                }
            }
            self.of_namespace.retain(|_, theirs| !theirs.is_empty());
        }
        self.shared.remove(name);
        self.expired.remove(name);
        if let Some(end) = old.expires {
            self.ends.remove(&(end, name.clone()));
        }
    }

    /// Ends those whose time is up; says whether there was one.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((end, name)) = self.ends.first().cloned().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, name.clone()));
            self.touched.insert(name.clone());
            self.expired.insert(name);
            any = true;
        }
        any
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Those that are for a Service with these labels, in a namespace with those.
    pub(crate) fn of<'a>(
        &'a self,
        key: &'a ServiceKey,
        labels: &'a Labels,
        namespace: Option<&'a Labels>,
    ) -> impl Iterator<Item = &'a ReservationName> {
        let own = self.of_service.get(key).into_iter().flatten();
        let listed = self.of_namespace.get(&*key.namespace).into_iter().flatten();
        let shared = listed.chain(&self.shared).filter(move |name| {
            self.all.get(*name).is_some_and(|reservation| reservation.holder.is(key, labels, namespace))
        });
        own.chain(shared).filter(|name| !self.expired.contains(*name))
    }

    /// What each of them would have.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let active = self.all.iter().filter(|(name, _)| !self.expired.contains(*name));
        active.map(|(name, reservation)| reservation.claim(name)).collect()
    }

    /// Those that choose addresses of a pool, the eldest first.
    pub(crate) fn choosing(&self) -> Vec<ReservationName> {
        let active = self.all.iter().filter(|(name, one)| one.may_choose() && !self.expired.contains(*name));
        let mut choosing: Vec<_> = active.map(|(name, one)| (one.created, name.clone())).collect();
        choosing.sort();
        choosing.into_iter().map(|(_, name)| name).collect()
    }

    pub(crate) fn choose(&mut self, name: &ReservationName, address: IpAddr) {
        self.touched.insert(name.clone());
        if let Some(reservation) = self.all.get_mut(name) {
            reservation.chosen.insert(address);
            reservation.released.remove(&address);
        }
    }

    /// Keeps of what was chosen only what its pool still has, and no more than it is to choose; of these rather
    /// the held ones, and rather the lower ones. Says whether something went.
    pub(crate) fn trim(
        &mut self,
        name: &ReservationName,
        keeps: impl Fn(IpAddr) -> bool,
        is_held: impl Fn(IpAddr) -> bool,
    ) -> bool {
        let Some(reservation) = self.all.get_mut(name) else { return false };
        let before = reservation.chosen.len();
        reservation.chosen.retain(|address| keeps(*address));
        for family in Family::ALL {
            let released =
                reservation.released.iter().filter(|one| reservation.is_choice(**one, family)).count();
            let mut choice: Vec<_> = reservation.chosen.iter().copied().collect();
            choice.retain(|one| reservation.is_choice(*one, family));
            choice.sort_by_key(|one| (!is_held(*one), *one));
            let wanted = usize::try_from(reservation.wanted(family)).unwrap_or(usize::MAX);
            for surplus in choice.iter().skip(wanted.saturating_sub(released)) {
                reservation.chosen.remove(surplus);
            }
        }
        let went = reservation.chosen.len() != before;
        if went {
            self.touched.insert(name.clone());
        }
        went
    }

    /// Lets an address that was given back leave its reservation, if that is what is to become of it; says
    /// whether it did.
    pub(crate) fn give_back(&mut self, name: &ReservationName, address: IpAddr) -> bool {
        self.touched.insert(name.clone());
        match self.all.get_mut(name) {
            Some(reservation) if reservation.reclaim == Reclaim::Release => {
                reservation.chosen.remove(&address);
                reservation.released.insert(address)
            }
            Some(_) | None => false,
        }
    }

    pub(crate) fn touch(&mut self, name: &ReservationName) {
        if !self.touched.contains(name) {
            self.touched.insert(name.clone());
        }
    }

    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.all.keys().cloned());
    }

    /// Whether a reservation is this one already, but for what was chosen and released since.
    pub(crate) fn is_as(&self, name: &ReservationName, other: Option<&Reservation>) -> bool {
        match (self.all.get(name), other) {
            (None, None) => true,
            (Some(ours), Some(other)) => {
                let chosen = (ours.chosen.clone(), ours.released.clone());
                *ours == Reservation { chosen: chosen.0, released: chosen.1, ..other.clone() }
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Whether one chooses addresses of this pool and lacks some of this family.
    pub(crate) fn lacks_of(&self, pool: &PoolName, family: Family) -> bool {
        self.all.iter().any(|(name, one)| {
            one.counts.as_ref().is_some_and(|counts| counts.pool == *pool)
                && !self.expired.contains(name)
                && one.missing(family) > 0
        })
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<ReservationName> {
        std::mem::take(&mut self.touched)
    }
}

impl Reservation {
    fn claim(&self, name: &ReservationName) -> Claim {
        let mut ranges = ByFamily::<Ranges>::default();
        for prefix in &self.prefixes {
            ranges.of_mut(Family::of(prefix.ip())).ranges_insert(bounds(*prefix));
        }
        for address in &self.chosen {
            ranges.of_mut(Family::of(*address)).insert(number(*address));
        }
        for address in &self.released {
            ranges.of_mut(Family::of(*address)).remove(number(*address));
        }
        Claim { name: name.clone(), created: self.created, ranges }
    }

    fn may_choose(&self) -> bool {
        self.counts.is_some() || !self.chosen.is_empty()
    }

    /// Whether an address of this family is one of its choice, if it is one of its own at all.
    fn is_choice(&self, address: IpAddr, family: Family) -> bool {
        let listed = || self.prefixes.iter().any(|prefix| prefix.contains(address));
        Family::of(address) == family && !listed()
    }

    fn wanted(&self, family: Family) -> u32 {
        self.counts.as_ref().map_or(0, |counts| match family {
            Family::V4 => counts.ipv4,
            Family::V6 => counts.ipv6,
        })
    }

    /// How many addresses of a family have to be chosen yet. What was chosen and released is used up.
    pub(crate) fn missing(&self, family: Family) -> u32 {
        let wanted = self.wanted(family);
        if wanted == 0 {
            return 0;
        }
        let choices = self.chosen.union(&self.released).filter(|one| self.is_choice(**one, family));
        wanted.saturating_sub(u32::try_from(choices.count()).unwrap_or(u32::MAX))
    }

    pub(crate) fn all_missing(&self) -> Counted {
        Counted { ipv4: self.missing(Family::V4), ipv6: self.missing(Family::V6) }
    }
}

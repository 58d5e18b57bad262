use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, ReservationName, ServiceKey};

use crate::layout::{ByFamily, Claim, Ranges};
use crate::pool::{bounds, number};
use crate::{Counted, Family, Holder, Phase, Reclaim, Reservation};

/// The reservations there are. Their `chosen` and `released` addresses are kept here up to date.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations {
    all: BTreeMap<ReservationName, Reservation>,
    /// Those for one Service each.
    of_service: BTreeMap<ServiceKey, BTreeSet<ReservationName>>,
    /// Those for many.
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

    pub(crate) fn set(&mut self, now: Instant, name: &ReservationName, reservation: Option<Reservation>) {
        self.touched.insert(name.clone());
        if let Some(old) = self.all.remove(name) {
            self.unlist(name, &old);
        }
        let Some(reservation) = reservation else { return };
        match &reservation.holder {
            Holder::Service(key) => {
                self.of_service.entry(key.clone()).or_default().insert(name.clone());
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
        let shared = self.shared.iter().filter(move |name| {
            self.all.get(*name).is_some_and(|reservation| reservation.holder.is(key, labels, namespace))
        });
        own.chain(shared).filter(|name| !self.expired.contains(*name))
    }

    /// What each of them would have.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let active = self.all.iter().filter(|(name, _)| !self.expired.contains(*name));
        active.map(|(name, reservation)| reservation.claim(name)).collect()
    }

    /// Those that would choose addresses of this pool.
    pub(crate) fn choosing(&self, pool: &PoolName) -> Vec<ReservationName> {
        let active = self.all.iter().filter(|(name, _)| !self.expired.contains(*name));
        let from = |reservation: &Reservation| {
            reservation.counts.as_ref().is_some_and(|counts| counts.pool == *pool)
        };
        active.filter(|(_, reservation)| from(reservation)).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn choose(&mut self, name: &ReservationName, address: IpAddr) {
        self.touched.insert(name.clone());
        if let Some(reservation) = self.all.get_mut(name) {
            reservation.chosen.insert(address);
            reservation.released.remove(&address);
        }
    }

    /// Keeps of what was chosen only these.
    pub(crate) fn keep_chosen(&mut self, name: &ReservationName, keep: impl Fn(IpAddr) -> bool) {
        if let Some(reservation) = self.all.get_mut(name) {
            let before = reservation.chosen.len();
            reservation.chosen.retain(|address| keep(*address));
            if reservation.chosen.len() != before {
                self.touched.insert(name.clone());
            }
        }
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

    pub(crate) fn is_over(&self, name: &ReservationName) -> bool {
        self.expired.contains(name)
    }

    /// Those that could choose more of a pool than it had left.
    pub(crate) fn short_of(&self, pool: &PoolName) -> Vec<ReservationName> {
        let mut choosing = self.choosing(pool);
        choosing.retain(|name| self.all.get(name).is_some_and(|one| one.all_missing() != Counted::default()));
        choosing
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

    /// How many addresses of a family have to be chosen yet. What was chosen and released is used up.
    pub(crate) fn missing(&self, family: Family) -> u32 {
        let of = |addresses: &BTreeSet<IpAddr>| {
            let listed = |address: &IpAddr| self.prefixes.iter().any(|prefix| prefix.contains(*address));
            addresses.iter().filter(|one| Family::of(**one) == family && !listed(one)).count()
        };
        let wanted = self.counts.as_ref().map_or(0, |counts| match family {
            Family::V4 => counts.ipv4,
            Family::V6 => counts.ipv6,
        });
        let had = of(&self.chosen) + of(&self.released);
        wanted.saturating_sub(u32::try_from(had).unwrap_or(u32::MAX))
    }

    pub(crate) fn all_missing(&self) -> Counted {
        Counted { ipv4: self.missing(Family::V4), ipv6: self.missing(Family::V6) }
    }
}

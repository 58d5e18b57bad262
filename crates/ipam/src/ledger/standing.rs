use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use names::{PoolName, ReservationName, ServiceKey};

use super::Ledger;
use crate::layout::Ranges;
use crate::{
    Blocked, Count, Counted, Decision, Family, Moves, OnRemove, Phase, Pool, Refusal, ReservationState, Span,
    Taken,
};

/// The most spans that are told.
const SPANS: usize = 64;
/// The most addresses that are told.
const ADDRESSES: usize = 256;
/// The most blocked addresses that are told.
const BLOCKED: usize = 16;
/// The most namespaces that are told.
const HOLDERS: usize = 5;

/// How a pool stands among the others and with those that hold its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it lacks, by the elder pool that has it; at most 64.
    pub overlaps: Vec<(Span, PoolName)>,
    /// Its addresses that are never given out by themselves; at most 16.
    pub blocked: Vec<(IpAddr, Blocked)>,
    /// Its addresses that others answer for, and that are not given out for that; at most 16.
    pub taken: Vec<(IpAddr, Taken)>,
    /// How many Services hold something that it would no longer give them.
    pub outside: usize,
    /// How many addresses are held from it that it does not have.
    pub strays: Counted,
    /// How many Services are being moved out of it.
    pub moving: usize,
    /// How many are to be moved when others have been.
    pub queued: usize,
    /// How many cannot be moved.
    pub stuck: usize,
    /// One that cannot be moved, and why.
    pub stuck_why: Option<(ServiceKey, Refusal)>,
    /// The namespaces with the most Services that hold its addresses, the first ones first; at most 5.
    pub holders: Vec<(String, usize)>,
}

/// What would become of a pool's addresses if it were another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How many IPv4 addresses it would have.
    pub ipv4: Count,
    /// How many IPv6 addresses it would have.
    pub ipv6: Count,
    /// How many Services would keep what it no longer gives out.
    pub kept: usize,
    /// How many would be moved.
    pub moved: usize,
    /// How many would be moved if there were somewhere to move them to.
    pub stuck: usize,
    /// How many would lose their addresses.
    pub released: usize,
}

impl Ledger {
    /// How a pool stands; nothing if there is no such pool.
    pub fn standing(&self, pool: &PoolName) -> Option<Standing> {
        self.register.pools().get(pool)?;
        let lost = self.register.disputes().pools.get(pool).into_iter().flatten();
        let lost = lost.flat_map(|(family, ranges, elder)| {
            Span::all(*family, ranges).map(move |span| (span, elder.clone()))
        });
        let blocked = self.register.blocked().iter();
        let blocked = blocked.filter(|(address, _)| self.register.pool_of(**address) == Some(pool));
        let taken = self.register.all_taken();
        let taken = taken.filter(|(address, _)| {
            self.register.pool_of(*address) == Some(pool) && !self.register.is_held(*address)
        });
        let away = || self.under.away(pool);
        let mut stuck = away().filter_map(|key| Some((key, self.stuck(key)?)));
        let stuck_why = stuck.next().map(|(key, why)| (key.clone(), why.clone()));
        Some(Standing {
            overlaps: lost.take(SPANS).collect(),
            blocked: blocked.take(BLOCKED).map(|(address, by)| (*address, by.clone())).collect(),
            taken: taken.take(BLOCKED).map(|(address, by)| (address, by.clone())).collect(),
            outside: self.under.away_count(pool),
            strays: self.strays(pool),
            moving: self.movement.running_from(pool),
            queued: away().filter(|key| self.is_queued(key)).count(),
            stuck: stuck.count() + usize::from(stuck_why.is_some()),
            stuck_why,
            holders: self.under.top(pool, HOLDERS),
        })
    }

    fn strays(&self, pool: &PoolName) -> Counted {
        let grants = self.under.away(pool).filter_map(|key| self.decision(key)?.grant.as_ref());
        let addresses = grants.flat_map(|grant| grant.addresses.iter().copied());
        let strays: BTreeSet<_> =
            addresses.filter(|address| self.register.pool_of(*address) != Some(pool)).collect();
        let of = |family| strays.iter().filter(|address| Family::of(**address) == family).count();
        let of = |family| u32::try_from(of(family)).unwrap_or(u32::MAX);
        Counted { ipv4: of(Family::V4), ipv6: of(Family::V6) }
    }

    /// Why a Service is not moved that is to be and does not wait for others only.
    fn stuck(&self, key: &ServiceKey) -> Option<&Refusal> {
        let entry = self.entries.get(key)?;
        let away = self.away(key, entry, entry.decision.grant.as_ref()?)?;
        let told = entry.decision.refusal.as_ref().filter(|_| away.fate == OnRemove::Move)?;
        if let Refusal::CannotMove { why, .. } = told { Some(why) } else { Some(told) }
    }

    fn is_queued(&self, key: &ServiceKey) -> bool {
        self.entries.get(key).is_some_and(|entry| self.movement.is_queued(entry.place))
    }

    /// What [`Ledger::set_pool`] would do with this pool. Tried on a copy; nothing changes.
    pub fn preview(&self, now: Instant, name: &PoolName, pool: &Pool) -> Preview {
        let mut copy = self.clone();
        copy.movement.moves = Moves { overlap: Duration::from_secs(1), concurrent: usize::MAX };
        copy.set_pool(now, name, Some(pool.clone()));
        let standing = copy.standing(name);
        let stuck = standing.as_ref().map_or(0, |standing| standing.stuck);
        let released = |key: &&ServiceKey| self.loses(key, copy.decision(key));
        Preview {
            ipv4: copy.register.usage(name, Family::V4).total,
            ipv6: copy.register.usage(name, Family::V6).total,
            kept: standing.map_or(0, |standing| standing.outside).saturating_sub(stuck),
            moved: copy.movement.running_from(name).saturating_sub(self.movement.running_from(name)),
            stuck,
            released: self.under.services(name).filter(released).count(),
        }
    }

    /// Whether a Service would hold nothing more of what it was granted.
    fn loses(&self, key: &ServiceKey, after: Option<&Decision>) -> bool {
        let grant = self.decision(key).and_then(|decision| decision.grant.as_ref());
        let kept = |address: &IpAddr| after.is_some_and(|after| after.holds(*address));
        grant.is_some_and(|grant| !grant.addresses.iter().all(kept))
    }

    /// What became of a reservation; nothing if there is none of that name.
    pub fn reservation_state(&self, name: &ReservationName) -> Option<ReservationState> {
        let reservation = self.reservations.get(name)?;
        let phase = self.reservations.phase(name);
        let mut state = ReservationState {
            chosen: reservation.chosen.clone(),
            released: reservation.released.clone(),
            phase,
            ..ReservationState::default()
        };
        if phase == Phase::Expired {
            return Some(state);
        }
        state.missing = reservation.all_missing();
        let disputes = self.register.disputes();
        for (family, ranges, elder) in disputes.reservations.get(name).into_iter().flatten() {
            state.overlaps.extend(Span::all(*family, ranges).map(|span| (span, elder.clone())));
        }
        state.overlaps.truncate(SPANS);
        let outside = disputes.outside.get(name);
        for (ranges, family) in
            outside.iter().flat_map(|outside| Family::ALL.map(|family| (outside.of(family), family)))
        {
            state.outside.extend(Span::all(family, ranges).take(SPANS));
        }
        self.note_holders(name, &mut state);
        Some(state)
    }

    fn note_holders(&self, name: &ReservationName, state: &mut ReservationState) {
        let spaces = self.register.shelves().filter(|(shelf, _)| shelf.reservation.as_ref() == Some(name));
        for (_, spaces) in spaces {
            for family in Family::ALL {
                self.note_held(name, family, spaces.of(family).all(), state);
            }
        }
        state.used.truncate(ADDRESSES);
        state.pending.truncate(ADDRESSES);
    }

    fn note_held(
        &self,
        name: &ReservationName,
        family: Family,
        ranges: &Ranges,
        state: &mut ReservationState,
    ) {
        for (address, key) in self.register.held_within(family, ranges) {
            let request = self.entries.get(key).and_then(|entry| entry.request.as_ref());
            let namespace = self.namespaces.get(&*key.namespace);
            let is_for = request.is_some_and(|request| {
                self.reservations.of(key, &request.labels, namespace).any(|other| other == name)
            });
            let list = if is_for { &mut state.used } else { &mut state.pending };
            list.push((address, key.clone()));
        }
    }
}

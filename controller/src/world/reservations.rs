//! The part of the world that is reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::condition::{EXPIRED, OUTSIDE, OVERLAP, PENDING, READY, Status};
use api::{AddressReservationStatus, Condition, ReservationMeaning};
use ipam::{Counted, Phase, Reservation, ReservationState};
use names::{ReservationName, ServiceKey};
use serde_json::json;

use super::known::{Known, Sight};
use super::pacing::Subject;
use super::pools::in_order;
use super::wording::{joined, ready};
use super::{Effect, Now, World};
use crate::seen::{Kind, RecordedReservation, SeenReservation};

pub(super) type Reservations = BTreeMap<ReservationName, KnownReservation>;

/// An AddressReservation.
#[derive(Debug)]
pub(super) struct KnownReservation {
    pub(super) known: Known<ReservationMeaning, RecordedReservation>,
    /// What goes on while the manifest means nothing.
    in_force: Option<ReservationMeaning>,
}

/// The conditions that are written; others are somebody else's.
const OURS: [&str; 5] = [READY, OVERLAP, OUTSIDE, PENDING, EXPIRED];

impl World {
    pub(super) fn apply_reservation(
        &mut self,
        name: ReservationName,
        seen: Option<SeenReservation>,
        now: Now,
    ) {
        let subject = Subject::Reservation(name.clone());
        let before = self.reservations.remove(&name);
        let Some(seen) = seen else {
            self.pacing.forget(&subject);
            let changed = self.ledger.set_reservation(now.instant, &name, None);
            return self.show_all(changed, now);
        };
        let (known, sight) = Known::see(before.as_ref().map(|before| &before.known), seen);
        let was = before.filter(|_| sight != Sight::New).and_then(|before| before.in_force);
        let in_force = known.seen.meaning.clone().ok().or_else(|| was.clone());
        let differs = was != in_force;
        self.reservations.insert(name.clone(), KnownReservation { known, in_force });
        if !self.decides() {
            return;
        }
        match sight {
            Sight::New | Sight::Changed => self.pacing.at_once(subject, now.instant),
            Sight::Same => self.pacing.soon(subject, now.instant),
        }
        if sight == Sight::New {
            // What the ledger has of another object of that name does not go on.
            let changed = self.ledger.set_reservation(now.instant, &name, None);
            self.show_all(changed, now);
        }
        if differs {
            self.reserve(&name, now);
        }
    }

    pub(super) fn reserve_all(&mut self, now: Now) {
        for name in self.reservations.keys().cloned().collect::<Vec<_>>() {
            self.pacing.at_once(Subject::Reservation(name.clone()), now.instant);
            self.reserve(&name, now);
        }
    }

    /// Has the ledger keep what is reserved. What was chosen and released is as the ledger knows it, and as the
    /// status says only where the ledger does not know.
    fn reserve(&mut self, name: &ReservationName, now: Now) {
        let Some(reservation) = self.reservations.get(name) else { return };
        let state = self.ledger.reservation_state(name);
        let (chosen, released) = match state {
            Some(state) => (state.chosen, state.released),
            None => {
                let recorded = reservation.known.recorded();
                (recorded.chosen, recorded.released)
            }
        };
        let in_force = reservation.in_force.as_ref().map(|meaning| Reservation {
            chosen,
            released,
            expires: meaning.expires.map(|end| now.instant_of(end)),
            ..meaning.reservation.clone()
        });
        let changed = self.ledger.set_reservation(now.instant, name, in_force);
        self.show_all(changed, now);
    }

    /// Makes a reservation's status say what became of it, if it does not.
    pub(super) fn write_reservation(&mut self, name: &ReservationName, now: Now) {
        let state = self.ledger.reservation_state(name);
        let Some(reservation) = self.reservations.get_mut(name) else { return };
        let mut recorded = reservation.known.recorded();
        recorded.status.conditions.retain(|condition| OURS.contains(&condition.type_.as_str()));
        let before = &recorded.status.conditions;
        let conditions = reservation.conditions(state.as_ref()).into_iter();
        let conditions = conditions
            .map(|condition| condition.at(reservation.known.seen.generation).written(before, now.wall));
        let conditions = in_order(conditions.collect(), before);
        let status = match &state {
            Some(state) => AddressReservationStatus::new(state, conditions),
            None => AddressReservationStatus { conditions, ..recorded.status.clone() },
        };
        if recorded.status != status {
            let effect = Effect::Status(Kind::Reservation, name.to_string(), json!({ "status": &status }));
            let ReservationState { chosen, released, .. } = state.unwrap_or_default();
            reservation.known.want(RecordedReservation { status, chosen, released });
            self.effects.push(effect);
            self.pacing.did(Subject::Reservation(name.clone()), now.instant);
        }
    }
}

impl KnownReservation {
    fn conditions(&self, state: Option<&ReservationState>) -> Vec<Condition> {
        let goes_on = match self.in_force {
            Some(_) => "the reservation goes on as it was before",
            None => "the reservation keeps nothing",
        };
        let ready = ready(&self.known.seen, goes_on);
        let Some(state) = state else { return vec![ready] };
        if state.phase == Phase::Expired {
            let expired = Condition::new(EXPIRED, Status::True, "TimeIsUp", self.end());
            return vec![ready, expired];
        }
        [Some(ready), overlap(state), outside(state), self.pending(state)].into_iter().flatten().collect()
    }

    fn end(&self) -> String {
        let end = self.in_force.as_ref().and_then(|meaning| meaning.expires);
        end.map(|end| format!("it has had no effect since {end}")).unwrap_or_default()
    }

    fn pending(&self, state: &ReservationState) -> Option<Condition> {
        let texts: Vec<_> = [held(&state.pending), self.missing(state)].into_iter().flatten().collect();
        (!texts.is_empty()).then(|| Condition::new(PENDING, Status::True, "Waiting", texts.join("; ")))
    }

    fn missing(&self, state: &ReservationState) -> Option<String> {
        let counts = self.in_force.as_ref().and_then(|meaning| meaning.reservation.counts.as_ref());
        let pool = &counts?.pool;
        let Counted { ipv4, ipv6 } = state.missing;
        let parts = [(ipv4, "IPv4"), (ipv6, "IPv6")].into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, family)| format!("{count} more {family}")).collect();
        (!parts.is_empty())
            .then(|| format!("IPAddressPool {pool} does not have {} to reserve", parts.join(" and ")))
    }
}

/// Which addresses others hold; several may share one, and one may hold several.
fn held(pending: &[(IpAddr, ServiceKey)]) -> Option<String> {
    let (address, holder) = pending.first()?;
    let addresses: BTreeSet<_> = pending.iter().map(|(address, _)| address).collect();
    let holders: BTreeSet<_> = pending.iter().map(|(_, holder)| holder).collect();
    let are = if addresses.len() == 1 { "is" } else { "are" };
    let others = match holders.len() {
        1 => "another Service".to_owned(),
        many => format!("{many} other Services"),
    };
    let such_as = if pending.len() == 1 { ":" } else { ", such as" };
    let count = addresses.len();
    Some(format!("{count} of its addresses {are} still held by {others}{such_as} {address} by {holder}"))
}

fn overlap(state: &ReservationState) -> Option<Condition> {
    let texts = state.overlaps.iter().map(|(span, elder)| {
        format!("{span} is kept by AddressReservation {elder}, which comes first: by age, then by name")
    });
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| Condition::new(OVERLAP, Status::True, "ElderReservation", texts.join("; ")))
}

fn outside(state: &ReservationState) -> Option<Condition> {
    (!state.outside.is_empty()).then(|| {
        let text = format!("no IPAddressPool has {}", joined(&state.outside));
        Condition::new(OUTSIDE, Status::True, "NotInPool", text)
    })
}

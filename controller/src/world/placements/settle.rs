//! What becomes of one address's place, and of the object that says so.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use announce::{Arrival, Reason, Silence, Touched, Verdict, could_be_on, place};
use api::condition::{MOVED, Status};
use api::{Answered, Condition, Placed, address_owner};
use cluster::Write;
use names::NodeName;
use serde_json::json;

use super::{Lapse, MOST_DOUBLINGS, Owner, Placements, Role, SHUN};
use crate::seen::{Kind, SeenOwner};
use crate::world::{Effect, Now};

/// So long somebody else has to answer for an address before its placement follows.
const STANDS: Duration = Duration::from_secs(10);

/// What is to be done about an address's place.
enum Judgement {
    Stay,
    Go(NodeName, Reason),
    /// Done if it is still so in a while.
    Wait(NodeName, Reason),
}

impl Owner {
    /// Whether it is where it is because somebody asked, and still does.
    pub(super) fn is_pinned(&self) -> bool {
        let Some(Placed { placement, answered, .. }) = &self.placed else { return false };
        let Answered { address_owner, service } = answered;
        [address_owner, service].into_iter().flatten().any(|node| node == placement.node.as_str())
    }
}

impl Placements {
    /// An AddressOwner as it was seen now.
    pub(super) fn see(&mut self, address: IpAddr, seen: Option<SeenOwner>, now: Now) {
        let role = self.role;
        let owner = self.owners.entry(address).or_insert_with(|| Owner::of(Arrival::Found));
        let theirs = seen.as_ref().and_then(|seen| seen.placed.clone());
        let adopts = role == Role::StandsBy || theirs.as_ref().is_some_and(|theirs| owner.yields_to(theirs));
        if owner.seen != seen {
            // What was to be written may have been dropped, as it was about another version.
            owner.writing = None;
        }
        let answers = |seen: Option<&SeenOwner>| seen.and_then(|seen| seen.answers.clone());
        let before = answers(owner.seen.as_ref());
        if let Some(node) = answers(seen.as_ref()).filter(|node| before.as_ref() != Some(node))
            && theirs.as_ref().is_some_and(|theirs| theirs.placement.node == node)
        {
            self.losses.remove(&node);
        }
        // As a rule it is what was written here.
        let is_news = adopts || !(seen.as_ref()).is_some_and(|seen| owner.knows(seen));
        let is_gone = seen.is_none();
        owner.seen = seen;
        if adopts {
            self.set_placed(address, theirs);
        }
        if role == Role::Decides {
            if is_news {
                self.settle(address, now);
            } else {
                self.write(address, now);
            }
        } else if is_gone {
            self.owners.remove(&address);
        }
    }

    /// Looks at an address: whether it is where it should be, and its object says so.
    pub(super) fn settle(&mut self, address: IpAddr, now: Now) {
        if self.view.is_held(address) {
            let owner = self.owners.entry(address).or_insert_with(|| Owner::of(Arrival::Found));
            // One that was given up just now and is given out again stays where it was.
            if owner.placed.is_none() {
                let recorded = owner.seen.as_ref().and_then(|seen| seen.placed.clone());
                self.set_placed(address, recorded);
            }
            self.answer(address, now);
            match self.judge(address) {
                Judgement::Stay => self.set_lapse(address, None),
                Judgement::Go(to, reason) => self.go(address, to, reason, now),
                Judgement::Wait(to, reason) => self.wait(address, to, reason, now),
            }
        } else {
            self.set_lapse(address, None);
            self.set_placed(address, None);
        }
        self.write(address, now);
    }

    fn judge(&self, address: IpAddr) -> Judgement {
        let Some(owner) = self.owners.get(&address) else { return Judgement::Stay };
        let verdict = place(&self.view, address, owner.arrival, &self.load, self.able());
        match (verdict, self.taken_over(address, owner)) {
            (Verdict::Go(to, reason @ (Reason::New | Reason::Found)), _) => Judgement::Go(to, reason),
            (Verdict::Go(to, Reason::Leaving), taken) => Judgement::Go(taken.unwrap_or(to), Reason::Leaving),
            (_, Some(taken)) => Judgement::Wait(taken, Reason::Failover),
            (Verdict::Lapse(to), None) => Judgement::Wait(to, Reason::Ineligible),
            (Verdict::Go(to, Reason::Preferred), None) if !owner.is_pinned() => {
                Judgement::Go(to, Reason::Preferred)
            }
            (Verdict::Go(..) | Verdict::Stay, None) => Judgement::Stay,
        }
    }

    /// Who answers for an address that is placed on another node.
    fn taken_over(&self, address: IpAddr, owner: &Owner) -> Option<NodeName> {
        let placed = &owner.placed.as_ref()?.placement.node;
        let answers = owner.seen.as_ref()?.answers.as_ref()?;
        let is_other = answers != placed && could_be_on(&self.view, address, answers).is_ok();
        is_other.then(|| answers.clone())
    }

    /// Whether a node can be expected to answer for an address: it has a speaker, is in the subnet if one of those
    /// that have is, and lost nothing lately.
    pub(super) fn able(&self) -> impl Fn(IpAddr, &NodeName) -> bool {
        let subnets = &self.subnets;
        let is_in = move |address: IpAddr, node: &NodeName| {
            subnets.get(node).is_some_and(|subnets| subnets.iter().any(|subnet| subnet.contains(address)))
        };
        let last = Cell::new(None);
        let is_anywhere = move |address: IpAddr| match last.get() {
            Some((asked, found)) if asked == address => found,
            _ => {
                let found = subnets.keys().any(|node| is_in(address, node));
                last.set(Some((address, found)));
                found
            }
        };
        move |address, node| {
            !self.shunned.contains_key(node)
                && (subnets.is_empty() || subnets.contains_key(node))
                && (!is_anywhere(address) || is_in(address, node))
        }
    }

    /// A node that fails loses all its addresses at once: that counts once.
    fn shun(&mut self, loser: NodeName, now: Now) {
        if self.shunned.contains_key(&loser) {
            return;
        }
        let losses = self.losses.entry(loser.clone()).or_default();
        self.shunned.insert(loser, now.instant + SHUN * (1 << *losses));
        *losses = (*losses + 1).min(MOST_DOUBLINGS);
    }

    /// Carries out, or refuses, what is newly asked for by annotations.
    fn answer(&mut self, address: IpAddr, now: Now) {
        let Some(owner) = self.owners.get(&address) else { return };
        let service = self.view.unit(address).into_iter().find_map(|(key, _)| self.wishes.get(key));
        let asked = Answered {
            address_owner: owner.seen.as_ref().and_then(|seen| seen.move_to.clone()),
            service: service.cloned(),
        };
        let before = owner.placed.as_ref().map(|placed| placed.answered.clone()).unwrap_or_default();
        if asked == before {
            return;
        }
        let is_new =
            |asked: &Option<String>, before: &Option<String>| asked.clone().filter(|_| asked != before);
        let request = is_new(&asked.address_owner, &before.address_owner)
            .or_else(|| is_new(&asked.service, &before.service));
        let is_on =
            |node: &NodeName| owner.placed.as_ref().is_some_and(|placed| placed.placement.node == *node);
        let request = request.map(|name| {
            let node = NodeName::new(name);
            let (could, is_there) = (could_be_on(&self.view, address, &node), is_on(&node));
            (node, could, is_there)
        });
        let moved = request.map(|(node, could, is_there)| {
            let moved = answered(&node, could);
            if moved.status == Status::True && !is_there {
                self.go(address, node, Reason::Requested, now);
            }
            moved
        });
        if let Some(owner) = self.owners.get_mut(&address)
            && let Some(placed) = &mut owner.placed
        {
            placed.answered = asked;
            owner.moved = moved.or_else(|| owner.moved.take());
        }
    }

    /// Places an address on a node.
    pub(super) fn go(&mut self, address: IpAddr, to: NodeName, reason: Reason, now: Now) {
        let Some(owner) = self.owners.get(&address) else { return };
        let before = owner.placed.as_ref();
        let loser = before.filter(|_| reason == Reason::Failover).map(|before| before.placement.node.clone());
        // An address that was given up and given out again is placed anew: what was claimed under the placement of
        // then must not count for more, whatever became of the clock.
        let first = || u64::try_from(now.wall.as_millisecond()).unwrap_or_default().max(self.highest + 1);
        let generation = before.map_or_else(first, |before| before.placement.generation + 1);
        self.highest = self.highest.max(generation);
        let answered = before.map(|before| before.answered.clone()).unwrap_or_default();
        self.set_placed(address, Some(Placed::new(to, generation, reason.as_str().to_owned(), answered)));
        self.set_lapse(address, None);
        if let Some(loser) = loser {
            self.shun(loser, now);
        }
        self.metrics.placed(reason.as_str());
        self.unbalanced(now);
        // Somebody else has to take it now, and may be preferred to others in turn.
        if !matches!(reason, Reason::New | Reason::Found) {
            self.touch(Touched::Addresses([address].into()), now);
        }
    }

    /// Has a change made if it still stands in a while.
    fn wait(&mut self, address: IpAddr, to: NodeName, reason: Reason, now: Now) {
        let Some(Owner { placed: Some(placed), lapse, .. }) = self.owners.get(&address) else { return };
        let generation = placed.placement.generation;
        let same = lapse.as_ref().filter(|lapse| (&lapse.to, lapse.generation) == (&to, generation));
        match same.map(|lapse| lapse.at) {
            Some(at) if at <= now.instant => self.go(address, to, reason, now),
            // It may be due for being looked at in between.
            Some(at) => drop(self.lapses.insert((at, address))),
            None => {
                let at = now.instant + STANDS;
                self.set_lapse(address, Some(Lapse { to, reason, generation, at }));
            }
        }
    }

    fn set_lapse(&mut self, address: IpAddr, lapse: Option<Lapse>) {
        let Some(owner) = self.owners.get_mut(&address) else { return };
        if let Some(before) = std::mem::replace(&mut owner.lapse, lapse) {
            self.lapses.remove(&(before.at, address));
        }
        if let Some(now) = &owner.lapse {
            self.lapses.insert((now.at, address));
        }
    }

    pub(super) fn set_placed(&mut self, address: IpAddr, placed: Option<Placed>) {
        let Some(owner) = self.owners.get_mut(&address) else { return };
        if let Some(before) = std::mem::replace(&mut owner.placed, placed) {
            self.load.remove(&before.placement.node);
        }
        let placement = owner.placed.as_ref().map(|placed| placed.placement.clone());
        if let Some(placement) = &placement {
            self.load.add(&placement.node);
        }
        self.view.set_placement(address, placement);
    }

    /// Makes an address's object say what is decided, if it does not.
    pub(super) fn write(&mut self, address: IpAddr, now: Now) {
        let is_held = self.view.is_held(address);
        let Some(owner) = self.owners.get_mut(&address) else { return };
        let write = match (&owner.placed, &owner.seen) {
            (Some(placed), None) => Some(Write::Create(json!({ "spec": placed.spec(address) }))),
            (Some(placed), Some(seen)) if seen.placed.as_ref() != Some(placed) => Some(Write::Merge(json!({
                "metadata": { "uid": seen.uid, "resourceVersion": seen.version },
                "spec": placed.patch(address),
            }))),
            (None, Some(seen)) if !is_held => Some(Write::Delete { uid: seen.uid.clone() }),
            (None, None) if !is_held => {
                if owner.writing.is_some() {
                    self.effects.push(Effect::ForgetOwner(address));
                }
                self.owners.remove(&address);
                return;
            }
            (Some(_) | None, _) => None,
        };
        if owner.writing != write {
            self.effects.push(match &write {
                Some(write) => Effect::Owner(address, write.clone()),
                None => Effect::ForgetOwner(address),
            });
            owner.writing = write;
        }
        self.tell(address, now);
    }

    /// Has the object say what became of the last request.
    fn tell(&mut self, address: IpAddr, now: Now) {
        let Some(Owner { seen: Some(seen), placed: Some(placed), moved, .. }) = self.owners.get(&address)
        else {
            return;
        };
        let is_asked = placed.answered != Answered::default();
        let moved = moved.as_ref().filter(|_| is_asked);
        if (is_asked && moved.is_none()) || seen.says(moved) {
            return;
        }
        let conditions: Vec<_> =
            moved.map(|moved| moved.written(seen.conditions(), now.wall)).into_iter().collect();
        let status = json!({ "status": { "conditions": conditions } });
        self.effects.push(Effect::Status(Kind::AddressOwner, address_owner::name(address), status));
    }
}

impl Owner {
    /// Whether an object says nothing that its place could depend on but what it said before.
    fn knows(&self, seen: &SeenOwner) -> bool {
        let before = self.seen.as_ref().map(|before| (&before.answers, &before.move_to));
        before.unwrap_or((&None, &None)) == (&seen.answers, &seen.move_to)
    }

    /// Whether what stands in the object counts before what is known here: it was there before, or came later.
    fn yields_to(&self, theirs: &Placed) -> bool {
        let Some(ours) = &self.placed else { return true };
        let (generation, other) = (ours.placement.generation, theirs.placement.generation);
        self.seen.is_none() && ours != theirs
            || other > generation
            || (other == generation && ours.placement.node != theirs.placement.node)
    }
}

/// What an object is to say of a request.
fn answered(name: &NodeName, could: Result<(), Silence>) -> Condition {
    match could {
        Ok(()) => {
            Condition::new(MOVED, Status::True, "Requested", format!("it is placed on {name}, as was asked"))
        }
        Err(silence) => {
            let why = format!("it cannot be placed on {name}: {silence}");
            Condition::new(MOVED, Status::False, silence.reason(), why)
        }
    }
}

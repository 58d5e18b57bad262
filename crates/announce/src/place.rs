use std::collections::BTreeMap;
use std::net::IpAddr;

use names::{AdvertisementName, NodeName};

use crate::advertisement::{Preempt, Rebalance};
use crate::ballot::electorate;
use crate::eligibility::stands_back;
use crate::unit::{Endpoints, Unit};
use crate::view::{Departure, Readiness, View};
use crate::{L2Advertisement, Silence};

/// How many addresses are placed on each node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load(BTreeMap<NodeName, usize>);

impl Load {
    /// One more is placed there.
    pub fn add(&mut self, node: &NodeName) {
        *self.0.entry(node.clone()).or_default() += 1;
    }

    /// One less is.
    pub fn remove(&mut self, node: &NodeName) {
        let left = self.of(node).saturating_sub(1);
        if left == 0 {
            self.0.remove(node);
        } else {
            self.0.insert(node.clone(), left);
        }
    }

    /// How many are.
    pub fn of(&self, node: &NodeName) -> usize {
        self.0.get(node).copied().unwrap_or_default()
    }
}

/// Why an address is placed where it is. There are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody answered for it before.
    New,
    /// It was in use and placed nowhere: it is where it would be by rank.
    Found,
    /// Another node took it over, and has had it for a while.
    Failover,
    /// The node that it was placed on may not answer for it any more.
    Ineligible,
    /// That node is being drained, shut down or deleted.
    Leaving,
    /// Somebody asked for it.
    Requested,
    /// `preferredNodeSelectors` say so, and `preempt` does not forbid it.
    Preferred,
    /// Another node had more than one address less.
    Rebalanced,
}

impl Reason {
    /// The reason as a word: in AddressOwners and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Found => "Found",
            Self::Failover => "Failover",
            Self::Ineligible => "Ineligible",
            Self::Leaving => "Leaving",
            Self::Requested => "Requested",
            Self::Preferred => "Preferred",
            Self::Rebalanced => "Rebalanced",
        }
    }

    /// Whether an owner elsewhere has to give way to a placement with this word: not to one that only says where the
    /// address had gone by then.
    pub fn displaces(word: &str) -> bool {
        ![Self::Found, Self::Failover].iter().any(|reason| reason.as_str() == word)
    }
}

/// Whether somebody may answer for an address that is placed nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nobody: it is being given out just now.
    New,
    /// Somebody may.
    Found,
}

/// What is to become of an address's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is: also where nobody may answer for it.
    Stay,
    /// It goes there.
    Go(NodeName, Reason),
    /// The node that it is placed on may not answer for it. Others do; if that lasts and none of them says so, this
    /// is the one that does by rank.
    Lapse(NodeName),
}

/// Decides where an address is placed, from where it is placed now. By choice it goes only to a node that is `able`
/// to answer for it, as far as is known.
pub fn place(
    view: &View,
    address: IpAddr,
    arrival: Arrival,
    load: &Load,
    able: impl Fn(IpAddr, &NodeName) -> bool,
) -> Verdict {
    let Some(race) = Race::of(view, address, load, &able) else { return Verdict::Stay };
    let Some(placed) = view.placements.get(&address).map(|placement| &placement.node) else {
        return match arrival {
            Arrival::New => race.least(|_| true).map(|node| Verdict::Go(node.clone(), Reason::New)),
            Arrival::Found => race.first().map(|node| Verdict::Go(node.clone(), Reason::Found)),
        }
        .unwrap_or(Verdict::Stay);
    };
    let Some(weight) = race.weight_of(placed) else {
        let leaves = view.nodes.get(placed).is_some_and(|node| node.departure == Departure::Leaving);
        return if leaves {
            race.least(|_| true).map(|node| Verdict::Go(node.clone(), Reason::Leaving))
        } else {
            race.first().map(|node| Verdict::Lapse(node.clone()))
        }
        .unwrap_or(Verdict::Stay);
    };
    let better = race.unit.advertisements().any(|(_, one)| one.preempt == Preempt::Yes);
    let better = better.then(|| race.least_able(|other| other > weight)).flatten();
    better.map_or(Verdict::Stay, |node| Verdict::Go(node.clone(), Reason::Preferred))
}

/// Whether an address could be placed on this node.
///
/// # Errors
/// Why it could not.
pub fn could_be_on(view: &View, address: IpAddr, name: &NodeName) -> Result<(), Silence> {
    let unit = Unit::of(view, address, &view.l2, Endpoints::Assumed)?;
    let node = view.nodes.get(name).ok_or(Silence::NodeUnknown)?;
    unit.allows(view, name, node)?;
    if unit.candidates(view).contains(name) { Ok(()) } else { Err(stands_back(node)) }
}

/// Which of these addresses go where, so that the nodes have equally many; at most so many of them. It is done for
/// those that are `asked` for by an advertisement of theirs, and for those of which one says so itself. No address
/// goes to a node that less speaks for.
pub fn rebalance(
    view: &View,
    addresses: impl IntoIterator<Item = IpAddr>,
    asked: impl Fn(&AdvertisementName) -> bool,
    load: &Load,
    able: impl Fn(IpAddr, &NodeName) -> bool,
    most: usize,
) -> Vec<(IpAddr, NodeName)> {
    let mut load = load.clone();
    let mut placed: BTreeMap<&NodeName, Vec<IpAddr>> = BTreeMap::new();
    for address in addresses {
        if let Some(placement) = view.placements.get(&address) {
            placed.entry(&placement.node).or_default().push(address);
        }
    }
    let mut moves = Vec::new();
    while moves.len() < most {
        let fullest = placed.iter().filter(|(_, addresses)| !addresses.is_empty());
        let Some(node) = fullest.map(|(node, _)| *node).max_by_key(|node| (load.of(node), *node)) else {
            break;
        };
        let Some(address) = placed.get_mut(node).and_then(Vec::pop) else { break };
        let lighter =
            Race::of(view, address, &load, &able).and_then(|race| race.lighter(node, &asked).cloned());
        if let Some(to) = lighter {
            load.remove(node);
            load.add(&to);
            moves.push((address, to));
        }
    }
    moves
}

/// The nodes that an address can be placed on.
struct Race<'a> {
    view: &'a View,
    address: IpAddr,
    unit: Unit<'a, L2Advertisement>,
    load: &'a Load,
    able: &'a dyn Fn(IpAddr, &NodeName) -> bool,
    /// By rank; not empty.
    electorate: Vec<(&'a NodeName, u64)>,
}

impl<'a> Race<'a> {
    fn of(
        view: &'a View,
        address: IpAddr,
        load: &'a Load,
        able: &'a dyn Fn(IpAddr, &NodeName) -> bool,
    ) -> Option<Self> {
        let unit = Unit::of(view, address, &view.l2, Endpoints::Assumed).ok()?;
        let electorate = electorate(view, address, &unit);
        (!electorate.is_empty()).then_some(Self { view, address, unit, load, able, electorate })
    }

    fn weight_of(&self, node: &NodeName) -> Option<u64> {
        self.electorate.iter().find(|(other, _)| *other == node).map(|(_, weight)| *weight)
    }

    fn is_ready(&self, node: &NodeName) -> bool {
        self.view.nodes.get(node).is_some_and(|node| node.readiness == Readiness::Ready)
    }

    /// Who answers by rank.
    fn first(&self) -> Option<&'a NodeName> {
        let ready = self.electorate.iter().find(|(node, _)| self.is_ready(node));
        ready.or(self.electorate.first()).map(|(node, _)| *node)
    }

    /// Of those that most speaks for, who has the fewest addresses; of one number, the first by rank. Nodes of which
    /// nobody knows anything good are the last resort.
    fn least(&self, weighs: impl Fn(u64) -> bool + Copy) -> Option<&'a NodeName> {
        self.least_able(weighs).or_else(|| self.least_of(weighs, |_| true))
    }

    fn least_able(&self, weighs: impl Fn(u64) -> bool + Copy) -> Option<&'a NodeName> {
        self.least_of(weighs, |node| self.is_ready(node) && (self.able)(self.address, node))
    }

    fn least_of(
        &self,
        weighs: impl Fn(u64) -> bool,
        is_able: impl Fn(&NodeName) -> bool,
    ) -> Option<&'a NodeName> {
        let able = || self.electorate.iter().filter(|(node, weight)| weighs(*weight) && is_able(node));
        let (_, most) = able().next()?;
        let favourites = able().take_while(|(_, weight)| weight == most);
        favourites.min_by_key(|(node, _)| self.load.of(node)).map(|(node, _)| *node)
    }

    /// Where the address goes from this node for the sake of balance.
    fn lighter(&self, from: &NodeName, asked: impl Fn(&AdvertisementName) -> bool) -> Option<&'a NodeName> {
        let weight = self.weight_of(from)?;
        let takes_part = |(name, one): (&AdvertisementName, &L2Advertisement)| {
            one.rebalance == Rebalance::Auto || asked(name)
        };
        if !self.unit.advertisements().any(takes_part) {
            return None;
        }
        let lightest = self.least_able(|other| other >= weight)?;
        (self.load.of(from) > self.load.of(lightest) + 1).then_some(lightest)
    }
}

#[cfg(test)]
mod tests;

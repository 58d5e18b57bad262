use std::net::IpAddr;

use names::NodeName;

use crate::election::ranking;
use crate::unit::Unit;
use crate::view::View;
use crate::{L2Advertisement, Silence};

/// Where the controller has placed an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// On this node.
    pub node: NodeName,
    /// Of two placements the one with the higher generation is the later.
    pub generation: u64,
    /// Whether an owner elsewhere, under an older placement, has to give way.
    pub displaces: bool,
}

/// Who may answer for an address on a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Of the placement; 0 where the address was not placed.
    pub generation: u64,
    /// Whether an owner elsewhere, under an older placement, has to give way to the first of them.
    pub displaces: bool,
    /// The nodes that may, in the order in which they do: the one that it is placed on, then those that more of
    /// `preferredNodeSelectors` speaks for, and of these in the order of [`ranking`].
    pub ranked: Vec<NodeName>,
}

impl Ballot {
    /// Of an address that nobody may answer for.
    pub(crate) fn empty(view: &View, address: IpAddr) -> Self {
        Self::placed(view.placements.get(&address), Vec::new())
    }

    pub(crate) fn of(view: &View, address: IpAddr, unit: &Unit<'_, L2Advertisement>) -> Self {
        let mut ranked: Vec<_> =
            electorate(view, address, unit).into_iter().map(|(node, _)| node.clone()).collect();
        let placement = view.placements.get(&address);
        let placed = placement.map(|placement| &placement.node);
        if let Some(place) = ranked.iter().position(|node| Some(node) == placed) {
            ranked.get_mut(..=place).unwrap_or_default().rotate_right(1);
        }
        Self::placed(placement, ranked)
    }

    fn placed(placement: Option<&Placement>, ranked: Vec<NodeName>) -> Self {
        let (generation, displaces) =
            placement.map_or((0, false), |placement| (placement.generation, placement.displaces));
        Self { generation, displaces, ranked }
    }

    /// Whether a node is among them that otherwise could be.
    pub(crate) fn admits(&self, view: &View, node: &NodeName) -> Result<(), Silence> {
        if self.ranked.contains(node) {
            return Ok(());
        }
        Err(view.nodes.get(node).map_or(Silence::NodeUnknown, crate::eligibility::stands_back))
    }
}

/// The nodes that may answer for an address, each with what speaks for it, in the order in which they do where it is
/// placed nowhere.
pub(crate) fn electorate<'a>(
    view: &'a View,
    address: IpAddr,
    unit: &Unit<'_, L2Advertisement>,
) -> Vec<(&'a NodeName, u64)> {
    let candidates = unit.candidates(view).into_iter();
    ranking(address, candidates.map(|name| (name, unit.weight_of(view, name))))
}

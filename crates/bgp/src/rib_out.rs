mod table;

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use self::table::Table;
use crate::config::{LocalEnd, Route};
use crate::ids::{Asn, Family, masked};
use crate::status::Routes;
use crate::wire::{Dialect, MAX_MESSAGE, Neighbour, NextHop, PathAttributes, end_of_rib};

/// LOCAL_PREF where nobody has said otherwise: what routers assume, too.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The most octets of UPDATEs that are given out at once.
pub(crate) const MAX_BATCH: usize = 16 * MAX_MESSAGE;

/// What one peer should be told, and what it has been.
///
/// What is wanted outlives sessions; what was told ends with each. Only the last wish for a prefix counts: there
/// is no queue.
#[derive(Debug)]
pub(crate) struct RibOut {
    local_asn: Asn,
    neighbour: Neighbour,
    v4: Table,
    v6: Table,
    plan: Plan,
    session: Option<Exchange>,
}

/// Whether what is wanted is all that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Partial,
    Complete,
}

/// The part of a session that is the same for both families.
#[derive(Debug)]
struct Exchange {
    dialect: Dialect,
    end_of_rib_owed: BTreeSet<Family>,
}

/// UPDATEs to send at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) octets: Vec<u8>,
    pub(crate) messages: u64,
}

impl RibOut {
    pub(crate) fn new(local_asn: Asn, neighbour: Neighbour) -> Self {
        let (v4, v6) = (Table::default(), Table::default());
        Self { local_asn, neighbour, v4, v6, plan: Plan::Partial, session: None }
    }

    fn table(&mut self, family: Family) -> &mut Table {
        match family {
            Family::Ipv4Unicast => &mut self.v4,
            Family::Ipv6Unicast => &mut self.v6,
        }
    }

    pub(crate) fn announce(&mut self, prefix: IpNetwork, route: Route) {
        let route = as_seen(route, self.neighbour);
        self.table(Family::of(&prefix)).announce(masked(prefix), route);
    }

    pub(crate) fn withdraw(&mut self, prefix: IpNetwork) {
        self.table(Family::of(&prefix)).withdraw(masked(prefix));
    }

    pub(crate) fn complete(&mut self) {
        self.plan = Plan::Complete;
    }

    pub(crate) fn open(&mut self, dialect: Dialect, end: LocalEnd) {
        for family in Family::ALL {
            let agreed = dialect.families.contains(&family);
            self.table(family).open(end.next_hop(family).filter(|_| agreed));
        }
        let end_of_rib_owed = dialect.families.clone();
        self.session = Some(Exchange { dialect, end_of_rib_owed });
    }

    pub(crate) fn close(&mut self) {
        self.session = None;
        Family::ALL.into_iter().for_each(|family| self.table(family).close());
    }

    pub(crate) fn refresh(&mut self, family: Family) {
        self.table(family).refresh();
    }

    pub(crate) fn routes(&self, family: Family) -> Routes {
        match family {
            Family::Ipv4Unicast => self.v4.routes(),
            Family::Ipv6Unicast => self.v6.routes(),
        }
    }

    /// What is to be said next, at most [`MAX_BATCH`] of it; it counts as told from here on.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.octets.len() + MAX_MESSAGE <= MAX_BATCH {
            let Some(update) = self.update() else { break };
            batch.octets.extend(update);
            batch.messages += 1;
        }
        if batch.messages == 0 { None } else { Some(batch) }
    }

    /// Withdrawals come first, so that the peer's table never holds more than it must.
    fn update(&mut self) -> Option<Vec<u8>> {
        let withdrawals = |family| self.table(family).withdrawals(family);
        if let Some(update) = Family::ALL.into_iter().find_map(withdrawals) {
            return Some(update);
        }
        let Exchange { dialect, .. } = self.session.as_ref()?;
        let (local_asn, neighbour) = (self.local_asn, self.neighbour);
        let path = |route: &Route, next_hop| path_attributes(local_asn, neighbour, route, next_hop);
        let v4 = self.v4.announcements(dialect, path);
        let announcements = v4.or_else(|| self.v6.announcements(dialect, path));
        announcements.or_else(|| self.end_of_rib())
    }

    fn end_of_rib(&mut self) -> Option<Vec<u8>> {
        if self.plan == Plan::Partial {
            return None;
        }
        let settled =
            [(Family::Ipv4Unicast, self.v4.is_settled()), (Family::Ipv6Unicast, self.v6.is_settled())];
        let owed = &mut self.session.as_mut()?.end_of_rib_owed;
        let next = settled.into_iter().find(|(family, settled)| *settled && owed.contains(family));
        let (family, _) = next?;
        owed.remove(&family);
        Some(end_of_rib(family))
    }
}

/// The part of a route that this neighbour gets to see, so that a change to the rest is no change.
fn as_seen(route: Route, neighbour: Neighbour) -> Route {
    let Route { local_pref } = route;
    // RFC 4271 §5.1.5: to internal peers always, to external ones never
    let local_pref = match neighbour {
        Neighbour::External => None,
        Neighbour::Internal => Some(local_pref.unwrap_or(DEFAULT_LOCAL_PREF)),
    };
    Route { local_pref }
}

fn path_attributes(local_asn: Asn, neighbour: Neighbour, route: &Route, next_hop: NextHop) -> PathAttributes {
    let Route { local_pref } = *route;
    // RFC 4271 §5.1.2
    let as_path = match neighbour {
        Neighbour::External => vec![local_asn],
        Neighbour::Internal => Vec::new(),
    };
    PathAttributes { as_path, next_hop, local_pref }
}

#[cfg(test)]
mod tests;

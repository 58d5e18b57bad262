use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::config::Route;
use crate::ids::Family;
use crate::status::Routes;
use crate::wire::{Dialect, Draft, NextHop, PathAttributes};

/// One family's routes: what the peer should have and, during a session, what it has been told.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    want: BTreeMap<IpNetwork, Route>,
    session: Option<Told>,
}

/// What has been said in this session, and what has yet to be.
///
/// A prefix is in `pending` under its wanted route if, and only if, it was not told that very route; it is in
/// `gone` if, and only if, it was told and is no longer wanted. So memory is bounded by the two tables, however
/// often a route changes while the peer does not read.
#[derive(Debug, Clone)]
struct Told {
    next_hop: NextHop,
    sent: BTreeMap<IpNetwork, Last>,
    pending: BTreeMap<Route, BTreeSet<IpNetwork>>,
    gone: BTreeSet<IpNetwork>,
}

/// What the peer was last told of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    /// This, and nobody asks for more.
    Route(Route),
    /// Something, but it wants to be told again.
    Forgotten,
}

impl Table {
    pub(super) fn announce(&mut self, prefix: IpNetwork, route: Route) {
        let before = self.want.insert(prefix, route.clone());
        if let Some(told) = &mut self.session {
            told.changed(prefix, before.as_ref(), Some(&route));
        }
    }

    pub(super) fn withdraw(&mut self, prefix: IpNetwork) {
        let before = self.want.remove(&prefix);
        if let Some(told) = &mut self.session {
            told.changed(prefix, before.as_ref(), None);
        }
    }

    /// A session begins, and the peer knows nothing.
    pub(super) fn open(&mut self, next_hop: Option<NextHop>) {
        self.session = next_hop.map(|next_hop| {
            let mut told =
                Told { next_hop, sent: BTreeMap::new(), pending: BTreeMap::new(), gone: BTreeSet::new() };
            for (prefix, route) in &self.want {
                told.changed(*prefix, None, Some(route));
            }
            told
        });
    }

    /// The session is over, and the peer has forgotten everything.
    pub(super) fn close(&mut self) {
        self.session = None;
    }

    /// The peer wants to be told all again.
    pub(super) fn refresh(&mut self) {
        let Some(told) = &mut self.session else { return };
        told.sent.values_mut().for_each(|last| *last = Last::Forgotten);
        for (prefix, route) in &self.want {
            told.changed(*prefix, None, Some(route));
        }
    }

    /// Nothing is left to be said.
    pub(super) fn is_settled(&self) -> bool {
        self.session.as_ref().is_none_or(|told| told.pending.is_empty() && told.gone.is_empty())
    }

    /// One message with withdrawals, if there are any to make.
    pub(super) fn withdrawals(&mut self, family: Family) -> Option<Vec<u8>> {
        let told = self.session.as_mut()?;
        if told.gone.is_empty() {
            return None;
        }
        let mut draft = Draft::withdraw(family);
        while let Some(prefix) = told.gone.first().copied().filter(|prefix| draft.push(*prefix).is_ok()) {
            told.gone.remove(&prefix);
            told.sent.remove(&prefix);
        }
        Some(draft.emit())
    }

    /// One message with announcements of one set of attributes, if there are any to make.
    pub(super) fn announcements(
        &mut self,
        dialect: &Dialect,
        path: impl Fn(&Route, NextHop) -> PathAttributes,
    ) -> Option<Vec<u8>> {
        let told = self.session.as_mut()?;
        let mut group = told.pending.first_entry()?;
        let route = group.key().clone();
        let mut draft = Draft::announce(dialect, &path(&route, told.next_hop));
        let prefixes = group.get_mut();
        while let Some(prefix) = prefixes.first().copied().filter(|prefix| draft.push(*prefix).is_ok()) {
            prefixes.remove(&prefix);
            told.sent.insert(prefix, Last::Route(route.clone()));
        }
        if prefixes.is_empty() {
            group.remove();
        }
        Some(draft.emit())
    }

    pub(super) fn routes(&self) -> Routes {
        let wanted = self.want.len();
        let Some(told) = &self.session else {
            return Routes { wanted, withheld: wanted, ..Routes::default() };
        };
        let pending = told.gone.len() + told.pending.values().map(BTreeSet::len).sum::<usize>();
        Routes { wanted, sent: told.sent.len(), pending, withheld: 0 }
    }
}

impl Told {
    /// Keeps the rule of this type when what is wanted of a prefix was `before` and is `now`.
    fn changed(&mut self, prefix: IpNetwork, before: Option<&Route>, now: Option<&Route>) {
        if let Some(before) = before {
            self.forget(prefix, before);
        }
        let last = self.sent.get(&prefix);
        match now {
            Some(route) => {
                self.gone.remove(&prefix);
                if last != Some(&Last::Route(route.clone())) {
                    self.pending.entry(route.clone()).or_default().insert(prefix);
                }
            }
            None if last.is_some() => {
                self.gone.insert(prefix);
            }
            None => {}
        }
    }

    fn forget(&mut self, prefix: IpNetwork, route: &Route) {
        if let Some(group) = self.pending.get_mut(route) {
            group.remove(&prefix);
            if group.is_empty() {
                self.pending.remove(route);
            }
        }
    }
}

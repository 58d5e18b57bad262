use std::collections::BTreeSet;
use std::net::IpAddr;

use names::PoolName;

use crate::layout::Shelf;
use crate::quotas::Scope;
use crate::view::{Named, View};
use crate::waiters::Wanted;
use crate::{Families, Family, Grant, Refusal, Request};

/// How good an address is for a Service; the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Merit {
    /// Others hold it that it shares with.
    Shared,
    /// It had it before.
    Former,
    /// It is reserved for it.
    Reserved,
    /// It is free.
    Fresh,
    /// It rests.
    Rested,
}

/// What is tried one after the other: some address has to be as good as the first, and none worse than the
/// second.
const ROUNDS: [(Merit, Merit); 5] = [
    (Merit::Shared, Merit::Rested),
    (Merit::Former, Merit::Rested),
    (Merit::Reserved, Merit::Rested),
    (Merit::Fresh, Merit::Fresh),
    (Merit::Rested, Merit::Rested),
];

/// What a Service gets for its request, beside or in place of what it holds. Changes nothing.
pub(crate) fn choose(view: &View<'_>, held: Option<&Grant>) -> Result<Grant, Refusal> {
    if !view.request.addresses.is_empty() {
        return these(view, held);
    }
    let Some(held) = held.filter(|held| view.request.allows(&held.pool)) else {
        return anything(view, &BTreeSet::new());
    };
    let conflict = |address: &IpAddr| view.remain(*address).err();
    let conflicts: Vec<_> = held.addresses.iter().copied().filter(|one| conflict(one).is_some()).collect();
    let other = instead(view, held, &conflicts);
    other.map_err(|why| conflicts.first().and_then(conflict).unwrap_or(why))
}

/// Other addresses in place of some that a Service is to give up: of each family that it has, and if it can be
/// from a pool that it already has the others from.
pub(crate) fn replace(view: &View<'_>, held: &Grant, leaving: &[IpAddr]) -> Result<Grant, Refusal> {
    match view.request.addresses.iter().find(|address| leaving.contains(address)) {
        Some(named) => Err(Refusal::AddressNamed(*named)),
        None => instead(view, held, leaving),
    }
}

fn instead(view: &View<'_>, held: &Grant, leaving: &[IpAddr]) -> Result<Grant, Refusal> {
    let staying = held.addresses.iter().copied().filter(|address| !leaving.contains(address)).collect();
    let staying = Grant { addresses: staying, pool: held.pool.clone() };
    let had = held.families().into_iter().filter(|family| view.request.families.welcomes(*family)).collect();
    let whole = |grant: &Grant| grant.families().is_superset(&had);
    match keep(view, &staying).filter(whole) {
        Some(grant) => Ok(grant),
        None => anything(view, &had),
    }
}

/// What would help a Service that has this and was told that.
pub(crate) fn wants(view: &View<'_>, held: Option<&Grant>, refusal: Option<&Refusal>) -> Vec<Wanted> {
    let refusal = match refusal {
        Some(Refusal::CannotMove { why, .. }) => Some(&**why),
        other => other,
    };
    let mut wants = Vec::new();
    match refusal {
        Some(Refusal::FamilyMismatch { .. } | Refusal::SameFamily(_) | Refusal::AddressNamed(_)) => {
            return wants;
        }
        // It gets nothing new; but what it has may come to be from a pool that lets it stay, by one that shares it.
        Some(Refusal::NamespaceUnknown(_)) => {}
        Some(refusal) if !view.request.addresses.is_empty() => {
            wants.extend(view.request.addresses.iter().copied().map(Wanted::Address));
            if let Refusal::QuotaExceeded { quota, namespace, family, .. } = refusal {
                let (quota, namespace) = (quota.clone(), namespace.clone());
                wants.push(view.room(Scope { quota, namespace, family: *family }));
            }
            return wants;
        }
        Some(_) => {
            for (pool, _) in view.candidates().unwrap_or_default() {
                from_pool(view, pool, view.request.families, &mut wants);
            }
        }
        None if !view.request.addresses.is_empty() => return wants,
        None => {}
    }
    if let Some(held) = held.filter(|held| view.request.allows(&held.pool)) {
        // What it has may be what is to be replaced.
        let lacks = |family: &Family| refusal.is_some() || held.of(*family).is_none();
        for family in view.request.families.wanted().filter(lacks) {
            from_pool(view, &held.pool, Families::One(family), &mut wants);
        }
    }
    let helps = refusal.is_some() || !wants.is_empty();
    let sharing = view.request.sharing.iter().filter(|_| helps);
    wants.extend(sharing.map(|sharing| Wanted::Sharer(sharing.key.clone())));
    wants.sort();
    wants.dedup();
    wants
}

/// What would help one that lacks these families and would have them from this pool: an address, or room in
/// its quotas.
fn from_pool(view: &View<'_>, pool: &PoolName, families: Families, wants: &mut Vec<Wanted>) {
    let stops: Vec<_> = families.wanted().map(|family| (family, view.stopped_by(pool, family))).collect();
    let mut open = stops.iter().filter(|(_, stop)| stop.is_none()).map(|(family, _)| *family);
    let possible = match (families, open.next(), open.next()) {
        (Families::Prefer(_), Some(family), None) => Some(Families::One(family)),
        (Families::One(_), Some(_), _) | (_, Some(_), Some(_)) => Some(families),
        _ => None,
    };
    // Beside an address that it shares, one of the other family is enough.
    let apart = |families: Families| match (families, &view.request.sharing) {
        (Families::Both(first), Some(_)) => vec![Families::One(first), Families::One(first.other())],
        _ => vec![families],
    };
    for families in possible.into_iter().flat_map(apart) {
        wants.extend(shelves(view, pool).map(|shelf| Wanted::Shelf(shelf, families)));
    }
    wants.extend(stops.into_iter().filter_map(|(_, stop)| Some(view.room(stop?))));
}

/// The shelves of a pool that the Service may use: those reserved for it, then the open one.
fn shelves<'a>(view: &'a View<'_>, pool: &'a PoolName) -> impl Iterator<Item = Shelf> + 'a {
    let reserved = view.reservations.iter().map(|name| Some((*name).clone()));
    reserved.chain([None]).map(|reservation| Shelf { pool: pool.clone(), reservation })
}

impl Request {
    pub(crate) fn allows(&self, pool: &PoolName) -> bool {
        self.pools.is_empty() || self.pools.contains(pool)
    }

    /// These very addresses, the first family's first.
    fn ordered_addresses(&self) -> Vec<IpAddr> {
        let of =
            |family| self.addresses.iter().copied().filter(move |address| Family::of(*address) == family);
        let first = self.families.first();
        of(first).chain(of(first.other())).collect()
    }
}

/// What is held and still wanted, and from the same pool what is missing.
fn keep(view: &View<'_>, held: &Grant) -> Option<Grant> {
    let wanted = view.request.families.wanted();
    let kept: Vec<_> = wanted.filter_map(|family| held.of(family)).collect();
    kept.first()?;
    let content = |grant: &Grant| view.request.families.content_with(&grant.families());
    let alone = Grant { addresses: kept, pool: held.pool.clone() };
    let more = view.request.families.wanted().any(|family| alone.of(family).is_none());
    let more = more.then(|| completed(view, &alone)).flatten();
    more.or(Some(alone)).filter(content)
}

/// With an address of each family that is missing, if the pool and the quotas give one.
fn completed(view: &View<'_>, kept: &Grant) -> Option<Grant> {
    let pool = view.register.pools().get_key_value(&kept.pool);
    let pool = pool.filter(|pool| view.enter(*pool).is_ok())?;
    let found = |family| kept.of(family).or_else(|| offer(view, pool, family).map(|(_, address)| address));
    let addresses = view.request.families.wanted().filter_map(found).collect();
    let grant = Grant { addresses, pool: kept.pool.clone() };
    view.afford(&grant).is_ok().then_some(grant)
}

/// Addresses of the pools' choice: from the first pool that has every family, else from the first that has
/// enough, which is not less than the Service had.
fn anything(view: &View<'_>, had: &BTreeSet<Family>) -> Result<Grant, Refusal> {
    let pools = view.candidates()?;
    let mut unaffordable = None;
    let mut least = view.request.families;
    for families in view.request.families.steps(had) {
        for round in ROUNDS.into_iter().filter(|(merit, _)| view.can_have(*merit)) {
            let grants = pools.iter().filter_map(|pool| from(view, *pool, families, round));
            for grant in grants {
                match view.afford(&grant) {
                    Ok(()) => return Ok(grant),
                    Err(refusal) => unaffordable = unaffordable.or(Some(refusal)),
                }
            }
        }
        least = if had.is_empty() { least } else { families };
    }
    Err(unaffordable.unwrap_or_else(|| exhausted(view, &pools, least)))
}

fn exhausted(view: &View<'_>, pools: &[Named<'_>], families: Families) -> Refusal {
    let names = view.request.pools.clone();
    let has = |name: &PoolName, family| {
        view.register.shelves_of(name).any(|(_, spaces)| !spaces.of(family).is_empty())
    };
    let enough =
        |name| families.content_with(&Family::ALL.into_iter().filter(|family| has(name, *family)).collect());
    if pools.iter().any(|(name, _)| enough(name)) {
        Refusal::PoolExhausted { families, pools: names }
    } else {
        Refusal::FamilyNotInPool { families, pools: names }
    }
}

impl View<'_> {
    /// Whether the Service can have an address of this merit at all.
    fn can_have(&self, merit: Merit) -> bool {
        match merit {
            Merit::Shared => self.request.sharing.is_some(),
            Merit::Former => self.register.former(self.key).next().is_some(),
            Merit::Reserved => !self.reservations.is_empty(),
            Merit::Fresh | Merit::Rested => true,
        }
    }
}

/// An address of each of these families from one pool, none worse than the round allows.
fn from(view: &View<'_>, pool: Named<'_>, families: Families, (some, all): (Merit, Merit)) -> Option<Grant> {
    let mut best = None;
    let mut addresses = Vec::new();
    for family in families.wanted() {
        let (merit, address) = offer(view, pool, family).filter(|(merit, _)| *merit <= all)?;
        best = Some(best.map_or(merit, |best: Merit| best.min(merit)));
        addresses.push(address);
    }
    best.is_some_and(|best| best <= some).then(|| Grant { addresses, pool: pool.0.clone() })
}

/// The best address of a family that a pool has for the Service.
fn offer(view: &View<'_>, (name, _): Named<'_>, family: Family) -> Option<(Merit, IpAddr)> {
    let shared = || Some((Merit::Shared, shared(view, name, family)?));
    let former = || Some((Merit::Former, former(view, name, family)?));
    let reserved = || {
        let reserved = view.reservations.iter();
        let mut shelves = reserved.map(|one| Shelf { pool: name.clone(), reservation: Some((*one).clone()) });
        let found =
            shelves.find_map(|shelf| view.fresh(&shelf, family).or_else(|| view.rested(&shelf, family)));
        Some((Merit::Reserved, found?))
    };
    let open = Shelf { pool: name.clone(), reservation: None };
    let free = || {
        let fresh = view.fresh(&open, family).map(|address| (Merit::Fresh, address));
        fresh.or_else(|| Some((Merit::Rested, view.rested(&open, family)?)))
    };
    shared().or_else(former).or_else(reserved).or_else(free)
}

/// An address of this pool that others hold and that the Service may hold beside them: the lowest, or the lowest
/// that its quotas allow.
fn shared(view: &View<'_>, pool: &PoolName, family: Family) -> Option<IpAddr> {
    let sharing = view.request.sharing.as_ref()?;
    let mut joinable = view.sharers.open(sharing).filter(|address| {
        let shelf = view.register.shelf(*address).filter(|shelf| shelf.pool == *pool);
        Family::of(*address) == family
            && shelf.is_some_and(|shelf| view.may_use(*address, shelf).is_ok())
            && view.register.holders(*address).any(|other| other != view.key)
            && !view.register.blocked().contains_key(address)
            && view.may_join(*address)
    });
    let affords =
        |address: &IpAddr| view.afford(&Grant { addresses: vec![*address], pool: pool.clone() }).is_ok();
    let first = joinable.next()?;
    if affords(&first) { Some(first) } else { joinable.find(affords).or(Some(first)) }
}

/// The address of this pool that the Service had last, of those that rest.
fn former(view: &View<'_>, pool: &PoolName, family: Family) -> Option<IpAddr> {
    view.register.former(view.key).find(|address| {
        let shelf = view.register.shelf(*address).filter(|shelf| shelf.pool == *pool);
        Family::of(*address) == family
            && shelf.is_some_and(|shelf| view.may_use(*address, shelf).is_ok())
            && !view.register.blocked().contains_key(address)
            && view.register.taken(*address).is_none()
    })
}

impl Families {
    /// Ways to be content, the best first, none worse than what the Service had. Each must be had in full.
    fn steps(self, had: &BTreeSet<Family>) -> impl Iterator<Item = Self> {
        let steps = match self {
            Self::One(_) | Self::Both(_) => [Some(self), None, None],
            Self::Prefer(first) => {
                let one = |family| {
                    (had.is_empty() || (had.len() == 1 && had.contains(&family))).then_some(Self::One(family))
                };
                [Some(Self::Both(first)), one(first), one(first.other())]
            }
        };
        steps.into_iter().flatten()
    }
}

/// The addresses that the Service names: all of them, from one pool.
fn these(view: &View<'_>, held: Option<&Grant>) -> Result<Grant, Refusal> {
    let asked = view.request.ordered_addresses();
    fits(view.request, &asked)?;
    for address in &asked {
        let has = held.is_some_and(|held| held.addresses.contains(address));
        if has {
            view.remain(*address)?;
        } else {
            view.join(*address)?;
            view.is_untaken(*address)?;
        }
    }
    // What it holds already stays its own, even where the pool has changed since.
    if let Some(held) = held.filter(|held| held.addresses == asked && view.request.allows(&held.pool)) {
        return Ok(held.clone());
    }
    let mut homes = BTreeSet::new();
    for address in &asked {
        homes.insert(home(view, *address, held)?);
    }
    let pool = match (homes.pop_first(), homes.is_empty()) {
        (Some(pool), true) => pool,
        _ => return Err(apart(view.request, &asked)),
    };
    let grant = Grant { addresses: asked, pool };
    view.afford(&grant)?;
    Ok(grant)
}

/// One address of each family that the Service has, no more and no fewer.
fn fits(request: &Request, asked: &[IpAddr]) -> Result<(), Refusal> {
    let mut families = BTreeSet::new();
    if let Some(twice) =
        asked.iter().map(|address| Family::of(*address)).find(|family| !families.insert(*family))
    {
        return Err(Refusal::SameFamily(twice));
    }
    if request.families.wanted().collect::<BTreeSet<_>>() == families {
        return Ok(());
    }
    Err(Refusal::FamilyMismatch { families: request.families, addresses: asked.to_vec() })
}

/// The pool that a named address comes from, if the Service may have it from there.
fn home(view: &View<'_>, address: IpAddr, held: Option<&Grant>) -> Result<PoolName, Refusal> {
    if let Some(held) = held.filter(|held| held.addresses.contains(&address))
        && view.request.allows(&held.pool)
    {
        return Ok(held.pool.clone());
    }
    let Some(shelf) = view.register.shelf(address) else { return Err(homeless(view, address)) };
    if !view.request.allows(&shelf.pool) {
        return Err(Refusal::AddressNotInPool { address, pools: view.request.pools.clone() });
    }
    if let Some(pool) = view.register.pools().get_key_value(&shelf.pool) {
        view.enter(pool)?;
    }
    view.may_use(address, shelf)?;
    Ok(shelf.pool.clone())
}

/// Why no pool has an address.
fn homeless(view: &View<'_>, address: IpAddr) -> Refusal {
    let pools = view.register.pools().iter().filter(|(name, _)| view.request.allows(name));
    let Some((name, pool)) = pools.into_iter().find(|(_, pool)| pool.contains(address)) else {
        return Refusal::AddressNotInPool { address, pools: view.request.pools.clone() };
    };
    if pool.exclude.iter().any(|prefix| prefix.contains(address)) {
        return Refusal::AddressExcluded { address, pool: name.clone() };
    }
    Refusal::AddressAvoided { address, pool: name.clone() }
}

/// Each address has a pool, but not the same one.
fn apart(request: &Request, asked: &[IpAddr]) -> Refusal {
    match asked {
        [one, other] => Refusal::DifferentPools(*one, *other),
        _ => Refusal::FamilyMismatch { families: request.families, addresses: asked.to_vec() },
    }
}

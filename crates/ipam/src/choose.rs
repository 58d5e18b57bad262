use std::collections::BTreeSet;
use std::net::IpAddr;

use names::{PoolName, ServiceKey};

use crate::addresses::Addresses;
use crate::pool::address;
use crate::space::Stock;
use crate::waiters::Wanted;
use crate::{Families, Family, Grant, Refusal, Request};

/// What a Service gets for its request, beside or in place of what it holds. Changes nothing.
pub(crate) fn choose(
    addresses: &Addresses,
    key: &ServiceKey,
    request: &Request,
    held: Option<&Grant>,
) -> Result<Grant, Refusal> {
    if !request.addresses.is_empty() {
        return these(addresses, key, request, held);
    }
    let kept = held.filter(|held| request.allows(&held.pool)).and_then(|held| keep(addresses, request, held));
    match kept {
        Some(grant) => Ok(grant),
        None => anything(addresses, request),
    }
}

/// What is held, with the pool that has it now where pools were renamed, split or merged.
pub(crate) fn located(addresses: &Addresses, request: &Request, mut held: Grant) -> Grant {
    if !addresses.contains(&held.pool, &held.addresses) {
        let mut homes = addresses.homes(&held.addresses);
        held.pool = homes.find(|pool| request.allows(pool)).cloned().unwrap_or(held.pool);
    }
    held
}

/// What would help a Service that has this and was told that.
pub(crate) fn wants(request: &Request, held: Option<&Grant>, refusal: Option<&Refusal>) -> Vec<Wanted> {
    let mut wants = Vec::new();
    if matches!(refusal, Some(Refusal::FamilyMismatch { .. } | Refusal::SameFamily(_))) {
        return wants;
    }
    if refusal.is_some() {
        wants.extend(request.addresses.iter().copied().map(Wanted::Address));
        wants.extend(request.pools.iter().cloned().map(Wanted::Change));
    }
    if !request.addresses.is_empty() {
        return wants;
    }
    if refusal.is_some() && request.pools.is_empty() {
        wants.push(Wanted::Automatic(request.families));
    } else if refusal.is_some() {
        wants.extend(request.pools.iter().map(|pool| Wanted::From(pool.clone(), request.families)));
    }
    if let Some(held) = held.filter(|held| request.allows(&held.pool)) {
        let missing = request.families.wanted().filter(|family| held.of(*family).is_none());
        wants.extend(missing.map(|family| Wanted::Beside(held.pool.clone(), family)));
    }
    wants
}

impl Request {
    fn allows(&self, pool: &PoolName) -> bool {
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
fn keep(addresses: &Addresses, request: &Request, held: &Grant) -> Option<Grant> {
    let wanted = request.families.wanted();
    let kept: Vec<_> = wanted.clone().filter_map(|family| held.of(family)).collect();
    kept.first()?;
    let Grant { addresses: kept, pool } =
        located(addresses, request, Grant { addresses: kept, pool: held.pool.clone() });
    let stock = addresses.stock(&pool);
    let kept = |family| kept.iter().copied().find(|address| Family::of(*address) == family);
    let found =
        wanted.filter_map(|family| kept(family).or_else(|| Some(address(family, stock?.of(family).next()?))));
    let grant = Grant { addresses: found.collect(), pool };
    request.families.content_with(&grant.families()).then_some(grant)
}

/// Addresses of the pools' choice: from the first pool that has every family, else from the first that has
/// enough.
fn anything(addresses: &Addresses, request: &Request) -> Result<Grant, Refusal> {
    let pools = candidates(addresses, request)?;
    let mut steps = request.families.steps();
    let found = steps.find_map(|families| {
        let (name, stock) = pools.iter().find(|(_, stock)| stock.can_serve(families))?;
        let next = |family| Some(address(family, stock.of(family).next()?));
        Some(Grant { addresses: families.wanted().filter_map(next).collect(), pool: (*name).clone() })
    });
    found.ok_or_else(|| {
        let (families, names) = (request.families, request.pools.clone());
        if pools.iter().any(|(_, stock)| stock.has(families)) {
            Refusal::PoolExhausted { families, pools: names }
        } else {
            Refusal::FamilyNotInPool { families, pools: names }
        }
    })
}

impl Families {
    /// Ways to be content, the best first. Each must be had in full.
    fn steps(self) -> impl Iterator<Item = Self> {
        let steps = match self {
            Self::One(_) | Self::Both(_) => [Some(self), None, None],
            Self::Prefer(first) => {
                [Some(Self::Both(first)), Some(Self::One(first)), Some(Self::One(first.other()))]
            }
        };
        steps.into_iter().flatten()
    }
}

type Candidates<'a> = Vec<(&'a PoolName, &'a Stock)>;

/// The pools to choose from: the named ones in their order, or those that give out by themselves.
fn candidates<'a>(addresses: &'a Addresses, request: &'a Request) -> Result<Candidates<'a>, Refusal> {
    let found: Candidates<'a> = match request.pools.first() {
        None => addresses.stocks().filter(|(_, stock)| stock.is_automatic()).collect(),
        Some(_) => named(addresses, request).collect(),
    };
    match request.pools.first() {
        _ if !found.is_empty() => Ok(found),
        None => Err(Refusal::NoPool),
        Some(name) => Err(Refusal::PoolNotFound(name.clone())),
    }
}

fn named<'a>(
    addresses: &'a Addresses,
    request: &'a Request,
) -> impl Iterator<Item = (&'a PoolName, &'a Stock)> {
    request.pools.iter().filter_map(|name| Some((name, addresses.stock(name)?)))
}

/// The addresses that the Service names: all of them, from one pool.
fn these(
    addresses: &Addresses,
    key: &ServiceKey,
    request: &Request,
    held: Option<&Grant>,
) -> Result<Grant, Refusal> {
    let asked = request.ordered_addresses();
    fits(request, &asked)?;
    // What it holds already stays its own, even where the pool has changed since.
    if let Some(held) = held.filter(|held| held.addresses == asked && request.allows(&held.pool)) {
        return Ok(held.clone());
    }
    let pool = home(addresses, request, &asked)?;
    let taken = |address: &IpAddr| addresses.holder(*address).filter(|holder| *holder != key);
    match asked.iter().find_map(|address| Some((*address, taken(address)?.clone()))) {
        Some((address, by)) => Err(Refusal::AddressInUse { address, by }),
        None => Ok(Grant { addresses: asked, pool }),
    }
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

/// The pool that all of these addresses come from.
fn home(addresses: &Addresses, request: &Request, asked: &[IpAddr]) -> Result<PoolName, Refusal> {
    let pools: Candidates<'_> = match request.pools.first() {
        None => addresses.stocks().collect(),
        Some(_) => candidates(addresses, request)?,
    };
    if let Some((name, _)) = pools.iter().find(|(_, stock)| stock.contains_all(asked)) {
        return Ok((*name).clone());
    }
    let nowhere = |asked: &&IpAddr| !pools.iter().any(|(_, stock)| stock.contains_all(&[**asked]));
    let Some(address) = asked.iter().find(nowhere) else { return Err(apart(asked, request)) };
    Err(match pools.iter().find(|(_, stock)| stock.pool.contains(*address)) {
        Some((pool, _)) => Refusal::AddressAvoided { address: *address, pool: (*pool).clone() },
        None => Refusal::AddressNotInPool { address: *address, pools: request.pools.clone() },
    })
}

/// Each address has a pool, but not the same one.
fn apart(asked: &[IpAddr], request: &Request) -> Refusal {
    match asked {
        [one, other] => Refusal::DifferentPools(*one, *other),
        _ => Refusal::FamilyMismatch { families: request.families, addresses: asked.to_vec() },
    }
}

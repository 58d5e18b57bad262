//! What a pool's conditions say.

use api::Condition;
use api::condition::{BLOCKED, CIDR_CONFLICT, DRAINING, OUTSIDE, OVERLAP, PAUSED, READY, Status};
use ipam::{Count, Family, Preview, Span, Standing, State};
use names::PoolName;

use super::KnownPool;
use crate::world::World;
use crate::world::wording::{be, counted, joined, keep, ready};

/// The conditions that are written; others are somebody else's.
pub(super) const OURS: [&str; 7] = [READY, OVERLAP, OUTSIDE, PAUSED, DRAINING, BLOCKED, CIDR_CONFLICT];

impl World {
    /// Every condition that applies.
    pub(super) fn conditions(&self, pool: &KnownPool, standing: Option<&Standing>) -> Vec<Condition> {
        let paused = pool.preview.as_ref();
        let paused = paused.map(|preview| Condition::new(PAUSED, Status::True, "Paused", preview.clone()));
        let in_force = pool.in_force.as_ref().map(|in_force| &in_force.version.pool);
        let conflicts = in_force.map(|pool| self.network.conflicts(pool)).unwrap_or_default();
        let conflict = (!conflicts.is_empty()).then(|| {
            let text =
                format!("the cluster itself uses some of the pool's addresses: {}", joined(&conflicts));
            Condition::new(CIDR_CONFLICT, Status::True, "InUse", text)
        });
        let standing = standing.into_iter().flat_map(|standing| {
            [overlap(standing), outside(standing, pool), draining(standing, pool), blocked(standing)]
        });
        [Some(usable(pool)), paused, conflict].into_iter().chain(standing).flatten().collect()
    }
}

fn usable(pool: &KnownPool) -> Condition {
    let goes_on = match pool.in_force {
        Some(_) => "the pool goes on as it was before",
        None => "the pool gives out nothing",
    };
    if pool.paused().is_some() {
        let text = format!("spec.paused: the spec is not used; {goes_on}");
        return Condition::new(READY, Status::False, "Paused", text);
    }
    ready(&pool.known.seen, goes_on)
}

fn overlap(standing: &Standing) -> Option<Condition> {
    let mut texts: Vec<String> = Vec::new();
    for lost in standing.overlaps.chunk_by(|(_, one), (_, other)| one == other) {
        let spans: Vec<_> = lost.iter().map(|(span, _)| span).collect();
        texts.extend(lost.first().map(|(_, elder)| belongs(&spans, elder)));
    }
    (!texts.is_empty()).then(|| Condition::new(OVERLAP, Status::True, "ElderPool", texts.join("; ")))
}

fn belongs(spans: &[&Span], elder: &PoolName) -> String {
    let verb = if spans.len() == 1 { "belongs" } else { "belong" };
    format!("{} {verb} to IPAddressPool {elder}, which comes first: by age, then by name", joined(spans))
}

/// How many Services keep what the pool would not give them, and are not to be moved.
fn kept(standing: &Standing) -> usize {
    standing.outside.saturating_sub(standing.queued).saturating_sub(standing.stuck)
}

fn outside(standing: &Standing, pool: &KnownPool) -> Option<Condition> {
    let kept = kept(standing);
    (kept > 0 && pool.state() != Some(State::Drained)).then(|| {
        let text = format!("{} an address that the pool would no longer give out to it", keep(kept));
        Condition::new(OUTSIDE, Status::True, "Kept", text)
    })
}

fn draining(standing: &Standing, pool: &KnownPool) -> Option<Condition> {
    let is_drained = pool.state() == Some(State::Drained);
    let Standing { moving, queued, stuck, stuck_why, .. } = standing;
    let kept = if is_drained { kept(standing) } else { 0 };
    if moving + queued + stuck + kept == 0 {
        let text = "no Service has an address from the pool any more";
        return is_drained.then(|| Condition::new(DRAINING, Status::False, "Drained", text));
    }
    let why = stuck_why.as_ref().map(|(key, why)| format!(", such as {key}: {why}")).unwrap_or_default();
    let parts = [
        (*moving, format!("{} being moved to other pools", be(*moving))),
        (*queued, format!("{} to be moved after others", be(*queued))),
        (*stuck, format!("{} stuck{why}", be(*stuck))),
        (kept, format!("{} an address while what it asks for cannot be had", keep(kept))),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    let reason = if moving + queued > 0 { "Moving" } else { "Stuck" };
    Some(Condition::new(DRAINING, Status::True, reason, parts.join("; ")))
}

fn blocked(standing: &Standing) -> Option<Condition> {
    let blocked: Vec<_> = standing.blocked.iter().map(|(address, by)| format!("{address} is {by}")).collect();
    let taken: Vec<_> = standing.taken.iter().map(|(address, by)| format!("{address} is {by}")).collect();
    let kinds = [("not given out unless a Service asks for it", blocked), ("not given out", taken)];
    let kinds = kinds.iter().filter(|(_, texts)| !texts.is_empty());
    let texts: Vec<_> = kinds.map(|(how, texts)| format!("{how}: {}", joined(texts))).collect();
    (!texts.is_empty()).then(|| Condition::new(BLOCKED, Status::True, "InUse", texts.join("; ")))
}

/// What a manifest would do to a pool that has so many addresses of each family now.
pub(super) fn foretold(preview: &Preview, totals: [Count; 2]) -> String {
    let Preview { ipv4, ipv6, kept, moved, stuck, released } = preview;
    let families = [(Family::V4, *ipv4), (Family::V6, *ipv6)].into_iter().zip(totals);
    let families = families.filter(|((_, after), before)| after != before);
    let totals = families.map(|((family, after), before)| {
        format!("the pool would have {after} {family} addresses instead of {before}")
    });
    let services = [
        (*kept, "would keep an address that the pool would not give out to it"),
        (*moved, "would be moved to other pools"),
        (*stuck, "would have to be moved and could not be"),
        (*released, "would lose an address"),
    ];
    let services = services.into_iter().filter(|(count, _)| *count > 0);
    let mut services: Vec<_> =
        services.map(|(count, what)| format!("{} {what}", counted(count, "Service"))).collect();
    if services.is_empty() {
        services.push("no Service would be affected".into());
    }
    totals.chain(services).collect::<Vec<_>>().join("; ")
}

//! Decides which addresses a Service gets, or says why not.
//!
//! One [`Ledger`] records who holds which address and who waits for what. A [`Request`] becomes a [`Grant`] or
//! a [`Refusal`]; whatever frees an address or adds one decides, in the same step, for those that wait for it,
//! first come first served. The work is proportional to what a change touches: free space is kept as ranges,
//! and those that wait stand in queues by what would help them.
//!
//! Every address belongs to one [`Pool`] at most, the eldest that contains it, and there to one [`Reservation`]
//! or none. Whom a pool is for, a [`Quota`] and a reservation bind every grant, whatever the request says; they
//! bind the next one, and take nothing away.
//!
//! What it never does: take away an address for the sake of another Service, or because of an edit that does not
//! say so ([`OnRemove`], [`State::Drained`]). An address that its own Service asks to be replaced goes when there
//! is another, and so does one that is moved; only two Services that listen on one port cannot both keep it. A
//! freed address rests, and is reused early only when there is no other.
//!
//! What a Service gives up is held until its status says so ([`Ledger::settle`]), so that no two statuses show what
//! only one may have. Who is served is told; that its status is written is up to the caller.
//!
//! It knows no Kubernetes, no clock and no randomness: `now` is an argument, and pools are tried in the order of
//! their priorities and names. A process that starts tells it the pools, namespaces, quotas, what is blocked and
//! what rests, then brings in the statuses ([`Ledger::adopt`]), of two with one address the one first that is to
//! keep it, then the reservations, and begins ([`Ledger::start`]). It has forgotten then that a pool is gone whose
//! last version would have moved its Services, that labels changed under one, and on which terms those share
//! whose request cannot be understood; it keeps what they have.
//!
//! ```
//! # use ipam::*;
//! # use names::{PoolName, ServiceKey};
//! # #[expect(clippy::disallowed_methods, reason = "an example has to get a time from somewhere")]
//! # let now = std::time::Instant::now();
//! let mut ledger = Ledger::default();
//! let web = ServiceKey::new("default", "web");
//! ledger.allocate(now, &web, Request::of(Families::One(Family::V4)));
//! assert_eq!(ledger.decision(&web).unwrap().refusal, Some(Refusal::NoPool));
//!
//! let pool = Pool { prefixes: vec!["192.0.2.0/30".parse().unwrap()], ..Pool::default() };
//! assert_eq!(ledger.set_pool(now, &PoolName::new("edge"), Some(pool)), [web.clone()]);
//! assert_eq!(ledger.holders("192.0.2.0".parse().unwrap()).next(), Some(&web));
//! ```

mod audience;
mod blocked;
mod choose;
mod entries;
mod entry;
mod grant;
mod layout;
mod ledger;
mod moves;
mod pool;
mod probing;
mod quota;
mod quotas;
mod refusal;
mod register;
mod request;
mod reservation;
mod reservations;
mod sharers;
mod sharing;
mod space;
mod view;
mod waiters;

pub use audience::Audience;
pub use blocked::Blocked;
pub use grant::{Decision, Grant, Note};
pub use ledger::{Adopted, Changed, Ledger, Preview, Standing, Touched};
pub use moves::{Moves, Moving};
pub use pool::{Assignment, BuggyAddresses, Count, Created, OnRemove, Pool, Span, State};
pub use probing::{Finding, Probe, Probes, Taken};
pub use quota::{Per, Quota, QuotaUse};
pub use refusal::{Closed, Refusal};
pub use register::Rest;
pub use request::{Families, Family, Request};
pub use reservation::{Counted, Counts, Holder, Phase, Reclaim, Reservation, ReservationState};
pub use sharing::{Backend, Clash, Protocol, Sharing};
pub use space::Usage;

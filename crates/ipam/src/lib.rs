//! Decides which addresses a Service gets, or says why not.
//!
//! One [`Ledger`] records who holds which address and who waits for what. A [`Request`] becomes a [`Grant`] or
//! a [`Refusal`]; whatever frees an address or adds one decides, in the same step, for those that wait for it,
//! first come first served. The work is proportional to what a change touches: free space is kept as ranges,
//! and those that wait stand in queues by what would help them.
//!
//! What it never does: move or take away an address because a pool changed or went, or for the sake of another
//! Service. A held address changes only when its own Service asks for something else, and not before the new
//! one is granted. A freed address rests, and is reused early only when its pool has no other.
//!
//! It knows no Kubernetes, no clock and no randomness: `now` is an argument, and pools are tried in the order
//! of their names. Two Services that are brought in with the same address: the one adopted first keeps it.
//! Rests are not kept over a restart of the process.
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
mod entry;
mod grant;
mod layout;
mod ledger;
mod moves;
mod pool;
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
pub use quota::{Per, Quota, QuotaUse};
pub use refusal::{Closed, Refusal};
pub use register::Rest;
pub use request::{Families, Family, Request};
pub use reservation::{Counted, Counts, Holder, Phase, Reclaim, Reservation, ReservationState};
pub use sharing::{Backend, Clash, Protocol, Sharing};
pub use space::Usage;

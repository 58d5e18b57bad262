//! Which replica decides: a Lease with optimistic concurrency.
//!
//! Every write carries the resourceVersion that was read before it, so of two candidates one wins. When another's
//! lease is over is judged by the local clock alone: since when it has been seen unchanged. The leader's own time
//! is counted from before its request was sent, and is shorter than what others wait by a margin, so it stops
//! first; it needs no I/O and no timer for that, only a look at the clock. What a Lease cannot do is to fence a
//! write that was on its way when its sender froze. A clock that stands still while a machine sleeps is not
//! noticed either.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use self::candidate::{Answer, Candidate, Request};
use crate::backoff::seed;
use crate::clock::now;

mod candidate;

/// How long a lease lasts unless its holder renews it.
pub const DURATION: Duration = Duration::from_secs(5);

/// Whether this process decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Another does, or nobody.
    Standby,
    /// It does.
    Leads {
        /// Only before this instant, unless a later one is told. Look at the clock before each write.
        until: Instant,
        /// Grows each time that the lease is taken from another or from nobody: what was decided in an earlier
        /// term may have been decided anew by others since.
        term: u64,
    },
}

impl Leadership {
    /// Whether this process decides at this instant.
    pub fn leads(&self, now: Instant) -> bool {
        self.term(now).is_some()
    }

    /// The term as it was last told, whatever the time is since.
    pub fn told(&self) -> Option<u64> {
        match self {
            Self::Leads { term, .. } => Some(*term),
            Self::Standby => None,
        }
    }

    /// The term in which this process decides at this instant.
    pub fn term(&self, now: Instant) -> Option<u64> {
        match self {
            Self::Leads { until, term } if now < *until => Some(*term),
            Self::Leads { .. } | Self::Standby => None,
        }
    }
}

/// An identity that no other process has, with this name in it for people.
pub fn identity(name: &str) -> String {
    format!("{name}_{:016x}", seed())
}

/// Which lease is wanted, and by whom.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who asks. No other process may ever say the same, not even this one after a restart.
    pub identity: String,
    /// How long the lease lasts unless it is renewed, in whole seconds; [`DURATION`] as a rule.
    pub duration: Duration,
}

/// Strives for the lease and renews it, until `resign` is done; then gives it back and returns.
///
/// Giving it back takes about one request, and gives up after a few. `leadership` says [`Leadership::Standby`]
/// before that request is sent.
pub async fn run(
    client: Client,
    claim: Claim,
    leadership: watch::Sender<Leadership>,
    resign: impl Future<Output = ()>,
) {
    let Claim { namespace, name, identity, duration } = claim;
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut candidate = Candidate::new(identity, duration, seed(), now());
    let mut resign = std::pin::pin!(resign);
    let mut resigning = false;
    let mut trouble = Trouble::default();
    loop {
        candidate.handle_timeout(now());
        publish(&leadership, candidate.leadership());
        if candidate.is_done() {
            return;
        }
        match candidate.poll_request(now(), Timestamp::now()) {
            Some(request) => {
                let sent = now();
                let asked = timeout(candidate.limit(sent), ask(&api, &name, request)).await;
                let answer = trouble.note(asked.unwrap_or_else(|_late| Err("no answer in time".into())));
                candidate.handle_answer(sent, now(), answer);
            }
            None => tokio::select! {
                () = &mut resign, if !resigning => {
                    resigning = true;
                    candidate.resign(now());
                }
                () = sleep_until(candidate.poll_timeout().into()) => {}
            },
        }
    }
}

async fn ask(api: &Api<Lease>, name: &str, request: Request) -> Result<Answer, String> {
    let params = PostParams::default();
    let (answer, conflicts): (_, &[u16]) = match request {
        Request::Read => (api.get_opt(name).await.map(Answer::Found), &[]),
        Request::Create(mut lease) => {
            lease.metadata.name = Some(name.into());
            (api.create(&params, &lease).await.map(Answer::Stored), &[409])
        }
        Request::Replace(lease) => {
            (api.replace(name, &params, &lease).await.map(Answer::Stored), &[404, 409])
        }
    };
    answer.or_else(|error| {
        let Error::Api(status) = &error else { return Err(error.to_string()) };
        // Somebody else was faster: made it, changed it or deleted it.
        if conflicts.contains(&status.code) { Ok(Answer::Conflict) } else { Err(status.message.clone()) }
    })
}

/// Requests that fail, said once until one succeeds.
#[derive(Default)]
struct Trouble(u32);

impl Trouble {
    fn note(&mut self, asked: Result<Answer, String>) -> Answer {
        match asked {
            Ok(answer) => {
                if self.0 > 0 {
                    info!(failures = self.0, "the lease's requests are answered again");
                }
                self.0 = 0;
                answer
            }
            Err(error) => {
                if self.0 == 0 {
                    warn!(error, "a request about the lease failed and is tried again from now on");
                }
                self.0 = self.0.saturating_add(1);
                Answer::Failed
            }
        }
    }
}

fn publish(leadership: &watch::Sender<Leadership>, now: Leadership) {
    leadership.send_if_modified(|before| {
        match (&before, now) {
            (Leadership::Standby, Leadership::Leads { term, .. }) => info!(term, "leads from now on"),
            (Leadership::Leads { term, .. }, Leadership::Standby) => info!(term, "leads no longer"),
            (Leadership::Standby, Leadership::Standby)
            | (Leadership::Leads { .. }, Leadership::Leads { .. }) => {}
        }
        std::mem::replace(before, now) != now
    });
}

#[cfg(test)]
mod tests;

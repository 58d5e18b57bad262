//! Which of the replicas decides.

use std::time::Duration;

use cluster::lease::{Claim, DURATION, Leadership};
use cluster::{Key, versions};
use futures::Stream;
use futures::future::pending;
use futures::stream::unfold;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::world::Update;

/// The name of the Lease.
const LEASE: &str = "ferrite-controller";
const RETRY: Duration = Duration::from_millis(500);
/// How long a new leader waits to see what was listed before it lists again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// What this process asks for.
pub(crate) fn claim(namespace: String) -> Claim {
    let name = std::env::var("POD_NAME").ok();
    let name = name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok()).unwrap_or_default();
    let identity = cluster::lease::identity(name.trim());
    Claim { namespace, name: LEASE.into(), identity, duration: DURATION }
}

/// Whether this replica leads, each time that this changes. A new leader learns which Services there are, so that
/// it waits until it has seen what the last one wrote to them. As long as it does not decide, it learns it anew: of
/// a Service whose end it saw before the list came, which still has it, it would wait to see something for ever.
pub(crate) fn changes(
    client: Client,
    leadership: Receiver<Leadership>,
    decides: Receiver<bool>,
) -> impl Stream<Item = Update> + Send {
    let following = Following { client, leadership, decides, told: None };
    unfold(following, |mut following| async {
        let update = following.next().await?;
        Some((update, following))
    })
}

struct Following {
    client: Client,
    leadership: Receiver<Leadership>,
    /// Whether it was seen what was listed.
    decides: Receiver<bool>,
    /// The term that was told, and when the Services were last listed for it.
    told: Option<(u64, Instant)>,
}

impl Following {
    async fn next(&mut self) -> Option<Update> {
        loop {
            let term = self.leadership.borrow_and_update().told();
            if term == self.told.map(|(term, _)| term) {
                tokio::select! {
                    changed = self.leadership.changed() => {
                        changed.ok()?;
                        continue;
                    }
                    () = undecided(self.told.map(|(_, at)| at), &self.decides) => {}
                }
            } else if self.told.take().is_some() {
                return Some(Update::StandsBy);
            }
            if let Some(update) = self.catch_up().await {
                self.told = term.map(|term| (term, Instant::now()));
                return Some(update);
            }
        }
    }

    /// The Services as they are, unless this replica leads no longer before they are known.
    async fn catch_up(&mut self) -> Option<Update> {
        let client = self.client.clone();
        tokio::select! {
            listed = services(client) => Some(Update::Leads(listed)),
            _ = self.leadership.wait_for(|leadership| leadership.told().is_none()) => None,
        }
    }
}

/// Returns when what was listed then has not been seen for long.
async fn undecided(listed: Option<Instant>, decides: &Receiver<bool>) {
    let Some(listed) = listed else { return pending().await };
    sleep_until(listed + LIST_AGAIN).await;
    if *decides.borrow() {
        pending().await
    }
}

async fn services(client: Client) -> std::collections::BTreeMap<names::ServiceKey, u64> {
    loop {
        match versions::<Service>(client.clone()).await {
            Ok(listed) => {
                return listed.into_iter().map(|(key, version)| (Key::into_service(key), version)).collect();
            }
            Err(error) => warn!(%error, "leads, but cannot list the Services yet"),
        }
        sleep(RETRY).await;
    }
}

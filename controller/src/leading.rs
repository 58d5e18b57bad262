//! Which of the replicas decides.

use std::time::Duration;

use cluster::lease::{Claim, DURATION, Leadership};
use cluster::{Key, versions};
use futures::Stream;
use futures::stream::unfold;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;
use tracing::warn;

use crate::world::Update;

/// The name of the Lease.
const LEASE: &str = "ferrite-controller";
const RETRY: Duration = Duration::from_millis(500);

/// What this process asks for.
pub(crate) fn claim(namespace: String) -> Claim {
    let name = std::env::var("POD_NAME").ok();
    let name = name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok()).unwrap_or_default();
    let identity = cluster::lease::identity(name.trim());
    Claim { namespace, name: LEASE.into(), identity, duration: DURATION }
}

/// Whether this replica leads, each time that this changes. A new leader learns which Services there are, so that
/// it waits until it has seen what the last one wrote to them.
pub(crate) fn changes(client: Client, leadership: Receiver<Leadership>) -> impl Stream<Item = Update> + Send {
    let following = Following { client, leadership, term: None };
    unfold(following, |mut following| async {
        let update = following.next().await?;
        Some((update, following))
    })
}

struct Following {
    client: Client,
    leadership: Receiver<Leadership>,
    /// The term that was told.
    term: Option<u64>,
}

impl Following {
    async fn next(&mut self) -> Option<Update> {
        loop {
            let term = self.leadership.borrow_and_update().told();
            if term == self.term {
                self.leadership.changed().await.ok()?;
            } else if self.term.take().is_some() {
                return Some(Update::StandsBy);
            } else if let Some(update) = self.catch_up().await {
                self.term = term;
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

//! A bare watch of Services beside the product's: when the API server tells its watchers of a change.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::kube::client::Kube;
use crate::kube::service::addresses;
use crate::{clock, wait};

const WITHIN: Duration = Duration::from_secs(20);

/// A Service as a watcher was told of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// On the wall clock.
    pub(super) at: Duration,
    pub(super) name: String,
    /// Those in its status.
    pub(super) addresses: Vec<IpAddr>,
}

/// A running watch. Ends when dropped.
pub(super) struct Watch {
    told: Arc<Mutex<Vec<Told>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Of the namespace `default`; returns when it is under way.
    #[track_caller]
    pub(super) fn start(kube: &Kube) -> Self {
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let (kept, services) = (Arc::clone(&told), Api::<Service>::namespaced(kube.client(), "default"));
        let (ready, started) = std::sync::mpsc::channel();
        let follow = async move {
            let mut events = std::pin::pin!(watcher::watcher(services, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let at = clock::wall();
                match event {
                    Ok(Event::Apply(service)) => lock(&kept).push(told_of(at, &service)),
                    // Nobody waits any more for a second start.
                    Ok(Event::InitDone) => ready.send(()).unwrap_or(()),
                    Ok(Event::Init | Event::InitApply(_) | Event::Delete(_)) => {}
                    Err(error) => eprintln!("  the watch of the harness: {error}"),
                }
            }
        };
        let runtime = kube.block_on(async { Handle::current() });
        let task = runtime.spawn(follow);
        started.recv_timeout(WITHIN).expect("the watch starts");
        Self { told, task }
    }

    /// Forgets what it was told so far.
    pub(super) fn forget(&self) {
        lock(&self.told).clear();
    }

    /// The first that satisfies `wanted` since it forgot, waiting for it.
    #[track_caller]
    pub(super) fn wait_for(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        wait::eventually(what, WITHIN, || {
            let told = lock(&self.told);
            told.iter().find(|told| wanted(told)).cloned().ok_or_else(|| format!("{told:?}"))
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn told_of(at: Duration, service: &Service) -> Told {
    let name = service.metadata.name.clone().unwrap_or_default();
    Told { at, name, addresses: addresses(service) }
}

fn lock(told: &Mutex<Vec<Told>>) -> MutexGuard<'_, Vec<Told>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

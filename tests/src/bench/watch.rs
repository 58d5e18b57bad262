//! A bare watch beside the product's: when the API server tells its watchers of a change.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::kube::client::{Kind, Kube};
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

/// A running watch, and what was made of each object that it told of. Ends when dropped.
pub(super) struct Watch<T = Told> {
    told: Arc<Mutex<Vec<T>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Of the Services in the namespace `default`; returns when it is under way.
    #[track_caller]
    pub(super) fn start(kube: &Kube) -> Self {
        Self::of(kube, told_of)
    }
}

impl<T: Clone + Debug + Send + 'static> Watch<T> {
    /// Of a kind in the namespace `default`: of what is created or changed from now on, `tell` keeps what it
    /// wants, at that moment of the wall clock.
    #[track_caller]
    pub(super) fn of<K: Kind + Resource<Scope = NamespaceResourceScope> + Send + 'static>(
        kube: &Kube,
        tell: fn(Duration, &K) -> T,
    ) -> Self {
        let told: Arc<Mutex<Vec<T>>> = Arc::default();
        let (kept, objects) = (Arc::clone(&told), Api::<K>::namespaced(kube.client(), "default"));
        let (ready, started) = std::sync::mpsc::channel();
        let follow = async move {
            let mut events = std::pin::pin!(watcher::watcher(objects, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let at = clock::wall();
                match event {
                    Ok(Event::Apply(object)) => lock(&kept).push(tell(at, &object)),
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

    /// Looks at all that it was told since it forgot.
    pub(super) fn look<R>(&self, at: impl FnOnce(&[T]) -> R) -> R {
        at(&lock(&self.told))
    }

    /// The first that satisfies `wanted` since it forgot, waiting for it.
    #[track_caller]
    pub(super) fn wait_for(&self, what: &str, wanted: impl Fn(&T) -> bool) -> T {
        wait::eventually(what, WITHIN, || {
            let told = lock(&self.told);
            told.iter().find(|told| wanted(told)).cloned().ok_or_else(|| format!("{told:?}"))
        })
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn told_of(at: Duration, service: &Service) -> Told {
    let name = service.metadata.name.clone().unwrap_or_default();
    Told { at, name, addresses: addresses(service) }
}

fn lock<T>(told: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

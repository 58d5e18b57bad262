use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::unfold;
use futures::{Stream, StreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use self::guarded::Guarded;
use self::known::Known;
use crate::backoff::{Jitter, seed};
use crate::{Key, version};

mod guarded;
mod known;

/// The longest wait between two attempts: an API server that is back is noticed within this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// An attempt that has not failed after this has succeeded: longer than connecting may take.
const QUIET: Duration = Duration::from_secs(6);
/// A watch ends after this many seconds, and a connection that died silently is noticed soon after.
const WATCH_SECONDS: u32 = 120;

/// How soon it is noticed that the API server knows a kind that it did not.
const KIND_WAIT: Duration = Duration::from_mins(1);

/// What has happened to an object of the watched kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<V> {
    /// It is there, and this is what is of interest in it.
    Upsert(Key, V),
    /// It is gone.
    Remove(Key),
    /// It is there but cannot be decoded. What was known of it before is no longer so.
    Garbage(Key, Undecodable),
    /// Every object that existed at the start has been told. Comes once.
    Synced,
}

/// All that is known of an object that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its version, as [`version`] reads it.
    pub version: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Which objects of a kind are watched.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// A field selector, such as `spec.type=LoadBalancer`.
    pub field_selector: Option<String>,
    /// A label selector.
    pub label_selector: Option<String>,
    /// What it means that the API server does not know the kind.
    pub unknown_kind: UnknownKind,
}

/// What it means that the API server does not know a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownKind {
    /// It will: nothing can be said before.
    #[default]
    Awaited,
    /// There are no objects of it, as long as that is so.
    Empty,
}

impl Scope {
    fn config(self) -> Config {
        let Self { field_selector, label_selector, unknown_kind: _ } = self;
        Config { field_selector, label_selector, ..Config::default().timeout(WATCH_SECONDS) }
    }
}

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send>>;

/// Watches a kind in all namespaces, for ever. Of each object only the projection is kept; it does not see
/// `metadata.managedFields`.
///
/// A list that follows an outage becomes removals of what has gone meanwhile, as well as upserts of what is
/// there. An upsert does not mean that anything differs. It must be polled inside a tokio runtime.
pub fn watch<K, V>(
    client: Client,
    scope: Scope,
    project: impl Fn(K) -> V + Send + 'static,
) -> impl Stream<Item = Change<V>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    V: Send + 'static,
{
    changes(Api::all(client), scope, project)
}

/// The same in one namespace, which is all that some roles allow.
pub fn watch_in<K, V, P>(
    client: Client,
    namespace: &str,
    scope: Scope,
    project: P,
) -> impl Stream<Item = Change<V>> + Send + use<K, V, P>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
    V: Send + 'static,
    P: Fn(K) -> V + Send + 'static,
{
    changes(Api::namespaced(client, namespace), scope, project)
}

fn changes<K, V>(
    api: Api<Guarded<K>>,
    scope: Scope,
    project: impl Fn(K) -> V + Send + 'static,
) -> impl Stream<Item = Change<V>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    V: Send + 'static,
{
    let watch = Watch {
        unknown_kind: scope.unknown_kind,
        events: watcher(api, scope.config()).boxed(),
        project,
        known: Known::default(),
        changes: VecDeque::new(),
        rest: None,
        outage: Outage { kind: K::kind(&()).into_owned(), failures: 0, jitter: Jitter::new(seed()) },
    };
    unfold(watch, |mut watch| async {
        let change = watch.next().await?;
        Some((change, watch))
    })
}

struct Watch<K: Resource<DynamicType = ()>, V, P> {
    events: Events<K>,
    project: P,
    known: Known,
    changes: VecDeque<Change<V>>,
    /// How long to wait before the next attempt, once what is known has been told.
    rest: Option<Duration>,
    unknown_kind: UnknownKind,
    outage: Outage,
}

impl<K: Resource<DynamicType = ()>, V, P: Fn(K) -> V> Watch<K, V, P> {
    async fn next(&mut self) -> Option<Change<V>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Some(change);
            }
            if let Some(rest) = self.rest.take() {
                sleep(rest).await;
            }
            match self.event().await? {
                Some(Ok(event)) => self.handle(event),
                Some(Err(error)) => self.fail(&error),
                None => self.outage.recovered(),
            }
        }
    }

    fn fail(&mut self, error: &watcher::Error) {
        self.rest = Some(self.outage.failed(error));
        if self.unknown_kind == UnknownKind::Empty && is_unknown_kind(error) {
            self.end_list();
            self.rest = Some(KIND_WAIT);
        }
    }

    fn end_list(&mut self) {
        let (gone, first) = self.known.end_list();
        self.changes.extend(gone.into_iter().map(Change::Remove));
        self.changes.extend(first.then_some(Change::Synced));
    }

    /// The next event; after a failure also that nothing fails any more.
    async fn event(&mut self) -> Option<Option<watcher::Result<Event<Guarded<K>>>>> {
        if self.outage.failures == 0 || self.known.is_listing() {
            return self.events.next().await.map(Some);
        }
        match timeout(QUIET, self.events.next()).await {
            Ok(event) => event.map(Some),
            Err(_) => Some(None),
        }
    }

    fn handle(&mut self, event: Event<Guarded<K>>) {
        match event {
            // Comes before the list is even asked for, so it does not say that the API server is back.
            Event::Init => return self.known.begin_list(),
            Event::InitDone => self.end_list(),
            Event::InitApply(object) | Event::Apply(object) => self.upsert(object),
            Event::Delete(object) => {
                let key = Key::of(object.meta());
                self.known.delete(&key);
                self.changes.push_back(Change::Remove(key));
            }
        }
        self.outage.recovered();
    }

    fn upsert(&mut self, object: Guarded<K>) {
        let key = Key::of(object.meta());
        let version = version(object.meta().resource_version.as_deref());
        self.known.apply(key.clone());
        self.changes.push_back(match object.0 {
            Ok(object) => Change::Upsert(key, (self.project)(object)),
            Err(invalid) => Change::Garbage(key, Undecodable { version, why: invalid.why }),
        });
    }
}

/// Whether the API server does not know the kind: for a list of objects it has no other reason to find nothing.
fn is_unknown_kind(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// Whether the API server answers, said once when it stops and once when it does again.
struct Outage {
    kind: String,
    failures: u32,
    jitter: Jitter,
}

impl Outage {
    /// How long to wait before the next attempt.
    fn failed(&mut self, error: &watcher::Error) -> Duration {
        if self.failures == 0 {
            let error = root_cause(error);
            warn!(kind = self.kind, %error, "the watch is interrupted and tried again from now on");
        }
        self.failures = self.failures.saturating_add(1);
        self.jitter.wait(self.failures, LONGEST_WAIT)
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            info!(kind = self.kind, failures = self.failures, "the watch goes on");
            self.failures = 0;
        }
    }
}

/// The innermost error, which says what really happened.
fn root_cause(error: &dyn Error) -> &dyn Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use futures::FutureExt;
    use k8s_openapi::api::networking::v1::ServiceCIDR;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that answers this to a list of ServiceCIDRs.
    fn client(answer: (StatusCode, Value)) -> Client {
        let list = get(move || async move { (answer.0, answer.1.to_string()) });
        Client::new(Router::new().route("/apis/networking.k8s.io/v1/servicecidrs", list), "d")
    }

    fn refusal(code: u16) -> (StatusCode, Value) {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code });
        (StatusCode::from_u16(code).unwrap(), status)
    }

    /// What is told first, if anything is soon.
    async fn told(answer: (StatusCode, Value), unknown_kind: UnknownKind) -> Option<Change<()>> {
        let scope = Scope { unknown_kind, ..Scope::default() };
        let mut changes = watch(client(answer), scope, |_: ServiceCIDR| ()).boxed();
        timeout(Duration::from_secs(1), changes.next().map(Option::unwrap)).await.ok()
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_decoded_is_told_with_its_version() {
        let object = |name: &str, spec: Value| json!({ "metadata": { "name": name, "resourceVersion": "7" }, "spec": spec });
        let items =
            [object("bad", json!({ "cidrs": 7 })), object("good", json!({ "cidrs": ["10.0.0.0/8"] }))];
        let list = json!({ "metadata": { "resourceVersion": "9" }, "items": items });
        let mut changes =
            watch(client((StatusCode::OK, list)), Scope::default(), |_: ServiceCIDR| ()).boxed();
        let told = timeout(Duration::from_secs(1), changes.next().map(Option::unwrap)).await.unwrap();
        let Change::Garbage(key, Undecodable { version, why }) = told else { panic!("{told:?}") };
        assert_eq!((key, version), (Key::cluster("bad"), 7));
        assert!(why.contains("invalid type"), "{why}");
        assert_eq!(changes.next().await, Some(Change::Upsert(Key::cluster("good"), ())));
    }

    #[tokio::test]
    async fn a_kind_that_the_api_server_lacks_is_empty_only_where_that_is_allowed() {
        assert_eq!(told(refusal(404), UnknownKind::Empty).await, Some(Change::Synced));
        assert_eq!(told(refusal(404), UnknownKind::Awaited).await, None);
        assert_eq!(told(refusal(403), UnknownKind::Empty).await, None);
    }
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};

use self::pending::{Outcome, Pending};
use crate::Key;
use crate::backoff::seed;
use crate::rate::Rate;

mod pending;

/// Attempts at a time. One that hangs holds up none of the others but through this.
const CONCURRENT: usize = 16;
/// An attempt that takes longer has failed.
const ATTEMPT: Duration = Duration::from_secs(10);
/// 200 writes a second, after this many at once.
const BURST: u32 = 400;
const INTERVAL: Duration = Duration::from_millis(5);

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    group: String,
    version: String,
    kind: String,
    plural: String,
    key: Key,
}

impl Object {
    /// An object of kind `K`.
    pub fn of<K: Resource<DynamicType = ()>>(key: Key) -> Self {
        let ApiResource { group, version, kind, plural, .. } = ApiResource::erase::<K>(&());
        Self { group, version, kind, plural, key }
    }

    fn resource(&self) -> ApiResource {
        let api_version = if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version,
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        match &self.key.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource()),
            None => Api::all_with(client, &self.resource()),
        }
    }

    /// A body as server-side apply wants it: with the object's identity.
    fn identified(&self, mut body: Value) -> Value {
        if let Value::Object(fields) = &mut body {
            fields.insert("apiVersion".into(), json!(self.resource().api_version));
            fields.insert("kind".into(), json!(self.kind));
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("name".into(), json!(self.key.name));
            }
        }
        body
    }
}

/// What is written. Bodies say `metadata.uid` where another object of that name must not be written to.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A strategic merge patch of the status subresource, for kinds of Kubernetes' own.
    MergeStatus(Value),
    /// Server-side apply of the status subresource.
    ApplyStatus(Value),
    /// Server-side apply of an object, which it creates, and then of its status.
    Apply {
        /// The object.
        object: Value,
        /// Its status.
        status: Value,
    },
}

/// How writing has gone so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects that are not yet as they should be.
    pub pending: u64,
    /// Writes that were accepted.
    pub written: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Writes that were dropped, because their object is gone.
    pub gone: u64,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending<Object, Write>>,
    news: Notify,
    count: watch::Sender<usize>,
    written: AtomicU64,
    failed: AtomicU64,
    gone: AtomicU64,
}

/// Brings the newest wanted state of each object to the API server.
///
/// Of each object it keeps one value: a newer one replaces it. It tries until the object says so, or is gone, or
/// is another object of that name. An object that cannot be written holds up no other.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Shared>);

impl Writer {
    /// A writer with nothing to do. Nothing is written while [`Writer::run`] does not run.
    pub fn new() -> Self {
        let rate = Rate::new(INTERVAL, BURST);
        Self(Arc::new(Shared {
            pending: Mutex::new(Pending::new(CONCURRENT, rate, seed())),
            news: Notify::new(),
            count: watch::Sender::new(0),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            gone: AtomicU64::new(0),
        }))
    }

    /// Wants an object to say this from now on. Never blocks.
    pub fn put(&self, object: Object, write: Write) {
        let mut pending = self.pending();
        pending.put(now(), object, write);
        self.changed(pending);
    }

    /// Wants nothing of this object any more. An attempt under way is not taken back.
    pub fn forget(&self, object: &Object) {
        let mut pending = self.pending();
        pending.forget(object);
        self.changed(pending);
    }

    /// Returns when everything that was put is written, or its object gone.
    pub async fn idle(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        drop(self.0.count.subscribe().wait_for(|count| *count == 0).await);
    }

    /// How writing has gone so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            pending: u64::try_from(self.pending().len()).unwrap_or(u64::MAX),
            written: read(&self.0.written),
            failed: read(&self.0.failed),
            gone: read(&self.0.gone),
        }
    }

    /// Writes, for ever, as this field manager.
    pub async fn run(self, client: Client, manager: &'static str) {
        let mut attempts = FuturesUnordered::new();
        loop {
            while let Some((object, write)) = self.take() {
                attempts.push(attempt(client.clone(), manager, object, write));
            }
            let wake = self.pending().wake(now());
            let wake = wake
                .map_or(futures::future::pending().left_future(), |at| sleep_until(at.into()).right_future());
            tokio::select! {
                Some((object, write, outcome)) = attempts.next() => self.end(object, write, outcome),
                () = self.0.news.notified() => {}
                () = wake => {}
            }
        }
    }

    fn take(&self) -> Option<(Object, Write)> {
        self.pending().take(now())
    }

    fn end(&self, object: Object, write: Write, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Written => &self.0.written,
            Outcome::Gone => &self.0.gone,
            Outcome::Failed | Outcome::Refused => &self.0.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut pending = self.pending();
        pending.end(now(), object, write, outcome);
        self.changed(pending);
    }

    fn changed(&self, pending: MutexGuard<'_, Pending<Object, Write>>) {
        self.0.count.send_replace(pending.len());
        drop(pending);
        self.0.news.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending<Object, Write>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn attempt(
    client: Client,
    manager: &'static str,
    object: Object,
    write: Write,
) -> (Object, Write, Outcome) {
    let api = object.api(client);
    let outcome = match timeout(ATTEMPT, send(&api, manager, &object, &write)).await {
        Ok(Ok(())) => Outcome::Written,
        Ok(Err(error)) => judge(&error, &object, &write),
        Err(_) => Outcome::Failed,
    };
    (object, write, outcome)
}

async fn send(
    api: &Api<DynamicObject>,
    manager: &str,
    object: &Object,
    write: &Write,
) -> Result<(), kube::Error> {
    let name = object.key.name.as_str();
    let apply = PatchParams::apply(manager).force();
    match write {
        Write::MergeStatus(body) => {
            let merge = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
            api.patch_status(name, &merge, &Patch::Strategic(body)).await?;
        }
        Write::ApplyStatus(body) => {
            api.patch_status(name, &apply, &Patch::Apply(object.identified(body.clone()))).await?;
        }
        Write::Apply { object: body, status } => {
            api.patch(name, &apply, &Patch::Apply(object.identified(body.clone()))).await?;
            api.patch_status(name, &apply, &Patch::Apply(object.identified(status.clone()))).await?;
        }
    }
    Ok(())
}

fn judge(error: &kube::Error, object: &Object, write: &Write) -> Outcome {
    let kube::Error::Api(status) = error else {
        debug!(kind = object.kind, object = %object.key, %error, "a write failed and is tried again");
        return Outcome::Failed;
    };
    let outcome = match status.code {
        404 if !matches!(write, Write::Apply { .. }) => Outcome::Gone,
        409 if status.message.contains("Precondition failed: UID") => Outcome::Gone,
        422 if is_about_uid(status) => Outcome::Gone,
        400 | 403 | 422 => Outcome::Refused,
        _ => Outcome::Failed,
    };
    if outcome == Outcome::Refused {
        warn!(kind = object.kind, object = %object.key, reason = status.message, "a write is refused");
    } else {
        debug!(kind = object.kind, object = %object.key, reason = status.message, ?outcome, "a write failed");
    }
    outcome
}

/// Another object has that name now: its uid is not the one in the patch.
fn is_about_uid(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::core::Status;

    use super::*;

    fn judged(code: u16, message: &str, write: &Write) -> Outcome {
        let status = Status { code, message: message.into(), ..Status::default() };
        let object = Object::of::<Service>(Key::namespaced("d", "web"));
        judge(&kube::Error::Api(Box::new(status)), &object, write)
    }

    #[test]
    fn only_what_cannot_succeed_any_more_is_dropped() {
        let merge = Write::MergeStatus(json!({}));
        let apply = Write::Apply { object: json!({}), status: json!({}) };
        assert_eq!(judged(404, "services \"web\" not found", &merge), Outcome::Gone);
        assert_eq!(judged(404, "not found", &apply), Outcome::Failed);
        assert_eq!(
            judged(409, "Precondition failed: UID in precondition: a, UID in object meta: b", &merge),
            Outcome::Gone
        );
        assert_eq!(judged(409, "the object has been modified", &merge), Outcome::Failed);
        assert_eq!(judged(409, "cannot be fulfilled on services \"druid\"", &merge), Outcome::Failed);
        assert_eq!(judged(422, "services \"druid\" is invalid", &merge), Outcome::Refused);
        assert_eq!(judged(403, "services/status is forbidden", &merge), Outcome::Refused);
        assert_eq!(judged(500, "etcdserver: request timed out", &merge), Outcome::Failed);
    }

    #[test]
    fn an_applied_body_says_which_object_it_is_about() {
        let object = Object::of::<Service>(Key::namespaced("d", "web"));
        let body = object.identified(json!({"metadata": {"uid": "u"}, "status": {}}));
        let expected = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "uid": "u"}, "status": {},
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn what_is_forgotten_keeps_nobody_waiting() {
        let writer = Writer::new();
        let object = Object::of::<Service>(Key::namespaced("d", "web"));
        writer.put(object.clone(), Write::MergeStatus(json!({})));
        assert_eq!(writer.stats().pending, 1);
        assert!(writer.idle().now_or_never().is_none());
        writer.forget(&object);
        writer.idle().await;
    }
}

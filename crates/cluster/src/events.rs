use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::pending;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as Published, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};
use tracing::warn;

use self::backlog::Backlog;
use crate::Key;
use crate::clock::now;

mod backlog;

/// The API server refuses longer notes (1 kB).
const MAX_NOTE: usize = 1000;
const ATTEMPT: Duration = Duration::from_secs(5);

/// Whether somebody has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is as it should be.
    Normal,
    /// It is not.
    Warning,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject(ObjectReference);

impl Subject {
    /// An object of kind `K` with this uid.
    pub fn of<K: Resource<DynamicType = ()>>(key: &Key, uid: impl Into<String>) -> Self {
        Self(ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: Some(key.name.clone()),
            namespace: key.namespace.clone(),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        })
    }
}

/// Something that people should read with `kubectl describe`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// About what.
    pub subject: Subject,
    /// What many such events have in common, such as the pool that addresses come from. When there are too many to
    /// say each of them, they are counted and said as one event about this; without it, about the last subject.
    pub group: Option<Subject>,
    /// How serious.
    pub severity: Severity,
    /// What was done or tried, in one word, such as `Allocate`.
    pub action: &'static str,
    /// Why, in one word; the same as in conditions.
    pub reason: String,
    /// Why, for people.
    pub note: String,
}

/// Publishes events beside everything else: at most ten a second. Never blocks; what is too much is counted and
/// said together, and its memory is bounded.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    backlog: Mutex<Backlog>,
    news: Notify,
}

impl Events {
    /// Events of this reporter, such as `ferrite-controller` in this pod or on this node. They are published
    /// while the future runs.
    pub fn new(
        client: Client,
        controller: &str,
        instance: Option<String>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let events = Self::default();
        let reporter = Reporter { controller: controller.into(), instance };
        (events.clone(), events.run(client, reporter))
    }

    /// Publishes an event, unless it only repeats the last one about this object.
    pub fn publish(&self, event: Event) {
        self.backlog().put(now(), event);
        self.0.news.notify_one();
    }

    /// How many events were neither said nor counted, because too many different ones came at once.
    pub fn dropped(&self) -> u64 {
        self.backlog().dropped()
    }

    async fn run(self, client: Client, reporter: Reporter) {
        let mut losses = Losses::default();
        loop {
            let event = self.next().await;
            match timeout(ATTEMPT, publish(&client, &reporter, event)).await {
                Ok(Ok(())) => losses = Losses::default(),
                Ok(Err(error)) => losses.count(&error),
                Err(_) => losses.count(&"no answer"),
            }
        }
    }

    /// The next event that may be said, when it may.
    async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.backlog().take(now()) {
                return event;
            }
            let wake = self.backlog().wake(now());
            let wake = wake.map_or(pending().left_future(), |at| sleep_until(at.into()).right_future());
            tokio::select! {
                () = self.0.news.notified() => {}
                () = wake => {}
            }
        }
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.0.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn publish(client: &Client, reporter: &Reporter, event: Event) -> Result<(), kube::Error> {
    let Event { subject, group: _, severity, action, reason, mut note } = event;
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    let published = Published {
        type_: match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason,
        note: Some(note),
        action: action.into(),
        secondary: None,
    };
    // A recorder that remembers makes one series of all notes with the same reason, and shows only the first.
    let forgetful = Recorder::new(client.clone(), reporter.clone());
    forgetful.publish(&published, &subject.0).await
}

/// Events that did not get through, said once until one does.
#[derive(Default)]
struct Losses(u64);

impl Losses {
    fn count(&mut self, error: &dyn Display) {
        if self.0 == 0 {
            warn!(%error, "an event is lost, and so may be others from now on");
        }
        self.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use k8s_openapi::api::core::v1::{Namespace, Service};
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_subject_says_which_kind_it_is() {
        let subject = Subject::of::<Service>(&Key::namespaced("d", "web"), "u").0;
        assert_eq!((subject.api_version.as_deref(), subject.kind.as_deref()), (Some("v1"), Some("Service")));
        assert_eq!((subject.namespace.as_deref(), subject.name.as_deref()), (Some("d"), Some("web")));
    }

    #[tokio::test]
    async fn what_arrives_at_the_api_server_is_about_the_subject_and_short_enough() {
        let (sender, mut received) = mpsc::channel::<String>(9);
        let create = move |body: String| async move {
            sender.send(body.clone()).await.unwrap();
            body
        };
        let routes =
            Router::new().route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(create));
        let (events, publishing) = Events::new(Client::new(routes, "d"), "ferrite", None);
        let task = tokio::spawn(publishing);
        for subject in [
            Subject::of::<Service>(&Key::namespaced("d", "web"), "u"),
            Subject::of::<Namespace>(&Key::cluster("red"), "v"),
        ] {
            events.publish(Event {
                subject,
                group: None,
                severity: Severity::Warning,
                action: "Allocate",
                reason: "NoPool".into(),
                note: "ä".repeat(MAX_NOTE),
            });
        }
        for name in ["web", "red"] {
            let body: Value = serde_json::from_str(&received.recv().await.unwrap()).unwrap();
            assert_eq!((&body["regarding"]["name"], &body["type"]), (&name.into(), &"Warning".into()));
            assert_eq!(body["note"].as_str().unwrap().len(), MAX_NOTE);
        }
        task.abort();
    }
}

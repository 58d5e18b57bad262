use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as Published, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tracing::warn;

use crate::Key;
use crate::clock::now;
use crate::rate::Rate;

/// Events that wait; more are dropped and counted.
const QUEUE: usize = 1024;
/// Objects whose last event is remembered.
const REMEMBERED: usize = 8192;
/// Ten events a second, after this many at once.
const BURST: u32 = 100;
const INTERVAL: Duration = Duration::from_millis(100);
/// The API server refuses longer notes (1 kB) and longer reasons.
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
    /// How serious.
    pub severity: Severity,
    /// What was done or tried, in one word, such as `Allocate`.
    pub action: &'static str,
    /// Why, in one word; the same as in conditions.
    pub reason: String,
    /// Why, for people.
    pub note: String,
}

/// Publishes events beside everything else: never blocks, and drops rather than grows.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl Events {
    /// Events of this reporter, such as `ferrite-controller` in this pod or on this node. They are published
    /// while the future runs.
    pub fn new(
        client: Client,
        controller: &str,
        instance: Option<String>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, events) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: controller.into(), instance };
        let publisher = run(client, reporter, events);
        (Self { queue, dropped: Arc::default() }, publisher)
    }

    /// Publishes an event, unless it only repeats the last one about this object.
    pub fn publish(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn run(client: Client, reporter: Reporter, mut events: mpsc::Receiver<Event>) {
    let mut last = LastSaid::new(REMEMBERED);
    let mut rate = Rate::new(INTERVAL, BURST);
    let mut losses = Losses::default();
    while let Some(event) = events.recv().await {
        if !last.is_news(&event) {
            continue;
        }
        while !rate.take(now()) {
            sleep_until(rate.next(now()).into()).await;
        }
        match timeout(ATTEMPT, publish(&client, &reporter, event)).await {
            Ok(Ok(())) => losses = Losses::default(),
            Ok(Err(error)) => losses.count(&error),
            Err(_) => losses.count(&"no answer"),
        }
    }
}

async fn publish(client: &Client, reporter: &Reporter, event: Event) -> Result<(), kube::Error> {
    let Event { subject, severity, action, reason, note } = event;
    let published = Published {
        type_: match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason,
        note: Some(note.chars().take(MAX_NOTE / 4).collect()),
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

/// What was said last about each of the objects that were spoken of most recently.
struct LastSaid {
    said: BTreeMap<String, (String, String)>,
    order: VecDeque<String>,
    limit: usize,
}

impl LastSaid {
    fn new(limit: usize) -> Self {
        Self { said: BTreeMap::new(), order: VecDeque::new(), limit }
    }

    fn is_news(&mut self, event: &Event) -> bool {
        let uid = event.subject.0.uid.clone().unwrap_or_default();
        let says = (event.reason.clone(), event.note.clone());
        match self.said.insert(uid.clone(), says.clone()) {
            Some(before) => before != says,
            None => {
                self.order.push_back(uid);
                if self.order.len() > self.limit
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.said.remove(&oldest);
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn event(uid: &str, reason: &str) -> Event {
        Event {
            subject: Subject::of::<Service>(&Key::namespaced("d", "web"), uid),
            severity: Severity::Normal,
            action: "Allocate",
            reason: reason.into(),
            note: String::new(),
        }
    }

    #[test]
    fn what_was_said_last_about_an_object_is_not_said_again() {
        let mut last = LastSaid::new(9);
        let said: Vec<_> = [("u", "A"), ("u", "A"), ("v", "A"), ("u", "B"), ("u", "A")]
            .map(|(u, r)| last.is_news(&event(u, r)))
            .into();
        assert_eq!(said, [true, false, true, true, true]);
    }

    #[test]
    fn it_remembers_a_bounded_number_of_objects() {
        let mut last = LastSaid::new(2);
        for uid in ["a", "b", "c"] {
            assert!(last.is_news(&event(uid, "A")));
        }
        assert_eq!(last.said.len(), 2);
        assert!(!last.is_news(&event("c", "A")));
        assert!(last.is_news(&event("a", "A")), "the oldest is forgotten");
    }

    #[test]
    fn a_subject_says_which_kind_it_is() {
        let subject = Subject::of::<Service>(&Key::namespaced("d", "web"), "u").0;
        assert_eq!((subject.api_version.as_deref(), subject.kind.as_deref()), (Some("v1"), Some("Service")));
        assert_eq!((subject.namespace.as_deref(), subject.name.as_deref()), (Some("d"), Some("web")));
    }
}

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;

use super::{Event, Severity, Subject};

/// Events that may arrive within one second.
const RATE: usize = 10;
/// How long that many take: a little more, because some are longer on their way than others.
const SPAN: Duration = Duration::from_millis(1200);
/// Events that wait to be said one by one: as many as can be in ten seconds. The rest is counted.
const WAITING: usize = 80;
/// What is counted is said after this long, even while others wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Counts at a time.
const TOPICS: usize = 64;
/// Objects whose last event is remembered.
const REMEMBERED: usize = 16_384;

/// Events that are yet to be said.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    last: LastSaid,
    waiting: VecDeque<Event>,
    rest: BTreeMap<Topic, Rest>,
    /// When the last ones were taken.
    taken: VecDeque<Instant>,
    dropped: u64,
}

/// What events that are counted together have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic {
    /// Kind, namespace and name of the group's object.
    group: Option<[Option<String>; 3]>,
    kind: Option<String>,
    reason: String,
    is_warning: bool,
}

/// Events that are said together.
#[derive(Debug)]
struct Rest {
    count: u64,
    first: Instant,
    latest: Instant,
    last: Event,
}

impl Backlog {
    pub(super) fn put(&mut self, now: Instant, event: Event) {
        if !self.last.is_news(&event) {
            return;
        }
        if self.waiting.len() < WAITING {
            return self.waiting.push_back(event);
        }
        let topic = Topic::of(&event);
        if let Some(rest) = self.rest.get_mut(&topic) {
            (rest.count, rest.latest, rest.last) = (rest.count + 1, now, event);
        } else if self.rest.len() < TOPICS {
            self.rest.insert(topic, Rest { count: 1, first: now, latest: now, last: event });
        } else {
            self.dropped += 1;
        }
    }

    /// Takes what is to be said now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Event> {
        if self.wake(now)? > now {
            return None;
        }
        let oldest = self.rest.iter().min_by_key(|(_, rest)| rest.first);
        let oldest = oldest.filter(|(_, rest)| self.waiting.is_empty() || now >= rest.first + PATIENCE);
        let event = match oldest.map(|(topic, _)| topic.copy()) {
            Some(topic) => self.rest.remove(&topic)?.into_event(),
            None => self.waiting.pop_front()?,
        };
        self.taken.push_back(now);
        if self.taken.len() > RATE {
            self.taken.pop_front();
        }
        Some(event)
    }

    /// When to take again, unless something is put before.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() && self.rest.is_empty() {
            return None;
        }
        let oldest = self.taken.front().filter(|_| self.taken.len() == RATE);
        Some(oldest.map_or(now, |oldest| now.max(*oldest + SPAN)))
    }

    /// How many were neither said nor counted.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Topic {
    fn of(event: &Event) -> Self {
        let name = |Subject(group): &Subject| {
            let ObjectReference { kind, namespace, name, .. } = group;
            [kind.clone(), namespace.clone(), name.clone()]
        };
        Self {
            group: event.group.as_ref().map(name),
            kind: event.subject.0.kind.clone(),
            reason: event.reason.clone(),
            is_warning: event.severity == Severity::Warning,
        }
    }

    fn copy(&self) -> Self {
        Self { group: self.group.clone(), kind: self.kind.clone(), reason: self.reason.clone(), ..*self }
    }
}

impl Rest {
    fn into_event(self) -> Event {
        let Self { count, first, latest, last } = self;
        if count == 1 {
            return last;
        }
        let Event { subject, group, severity, action, reason, note } = last;
        let ObjectReference { kind, namespace, name, .. } = &subject.0;
        let kind = kind.as_deref().unwrap_or("object");
        let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let name = name.as_deref().unwrap_or_default();
        let seconds = (latest - first).as_secs() + 1;
        let note =
            format!("{reason}: {count} {kind}s in {seconds} s; the last one was {namespace}{name}: {note}");
        Event { subject: group.unwrap_or(subject), group: None, severity, action, reason, note }
    }
}

/// What was said last about each of the objects that were spoken of first; of both only a hash.
#[derive(Debug, Default)]
struct LastSaid {
    said: BTreeMap<u64, u64>,
    order: VecDeque<u64>,
}

impl LastSaid {
    fn is_news(&mut self, event: &Event) -> bool {
        let object = hash(&event.subject.0.uid);
        let says = hash(&(&event.reason, &event.note));
        let before = self.said.insert(object, says);
        if before.is_none() {
            self.order.push_back(object);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.said.remove(&oldest);
        }
        before != Some(says)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;

#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use k8s_openapi::api::core::v1::{Namespace, Service};

use super::*;
use crate::Key;

const MS: Duration = Duration::from_millis(1);

fn event(name: &str, reason: &str, note: &str) -> Event {
    Event {
        subject: Subject::of::<Service>(&Key::namespaced("d", name), format!("uid-{name}")),
        group: None,
        severity: Severity::Normal,
        action: "Allocate",
        reason: reason.into(),
        note: note.into(),
    }
}

fn group(name: &str) -> Option<Subject> {
    Some(Subject::of::<Namespace>(&Key::cluster(name), format!("uid-{name}")))
}

/// Everything that is said, and when.
fn said(backlog: &mut Backlog, start: Instant) -> Vec<(Duration, Event)> {
    let mut now = start;
    let mut said = Vec::new();
    while let Some(at) = backlog.wake(now) {
        now = at;
        said.extend(backlog.take(now).map(|event| (now - start, event)));
    }
    said
}

fn notes(said: &[(Duration, Event)]) -> Vec<&str> {
    said.iter().map(|(_, event)| event.note.as_str()).collect()
}

#[test]
fn what_was_said_last_about_an_object_is_not_said_again() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for (name, reason, note) in
        [("u", "A", ""), ("u", "A", ""), ("v", "A", ""), ("u", "B", ""), ("u", "B", "x"), ("u", "A", "")]
    {
        backlog.put(now, event(name, reason, note));
    }
    let told = said(&mut backlog, now);
    let told: Vec<_> = told
        .iter()
        .map(|(_, event)| (event.subject.0.name.as_deref().unwrap(), event.reason.as_str(), &*event.note))
        .collect();
    assert_eq!(told, [("u", "A", ""), ("v", "A", ""), ("u", "B", ""), ("u", "B", "x"), ("u", "A", "")]);
}

#[test]
fn it_remembers_a_bounded_number_of_objects() {
    let mut last = LastSaid::default();
    for n in 0..=REMEMBERED {
        assert!(last.is_news(&event(&n.to_string(), "A", "")));
    }
    assert_eq!((last.said.len(), last.order.len()), (REMEMBERED, REMEMBERED));
    assert!(!last.is_news(&event("1", "A", "")));
    assert!(last.is_news(&event("0", "A", "")), "the oldest is forgotten");
}

#[test]
fn a_few_are_said_at_once_and_never_more_than_ten_within_a_second() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for n in 0..35 {
        backlog.put(now, event(&n.to_string(), "A", &n.to_string()));
    }
    let told = said(&mut backlog, now);
    let expected: Vec<_> = (0..35).map(|n| n.to_string()).collect();
    assert_eq!(notes(&told), expected);
    assert!(told.iter().take(10).all(|(at, _)| at.is_zero()), "the first ten wait for nothing");
    for (earlier, later) in told.iter().zip(told.iter().skip(10)) {
        assert!(later.0 - earlier.0 >= SPAN);
    }
}

#[test]
fn what_a_storm_brings_beyond_those_that_wait_is_one_event_on_its_group() {
    let start = Instant::now();
    let mut backlog = Backlog::default();
    for n in 0..10_000_u32 {
        let name = format!("web-{n}");
        let note = format!("10.0.0.{n}");
        backlog.put(start + MS * (n / 3), Event { group: group("red"), ..event(&name, "Allocated", &note) });
    }
    let told = said(&mut backlog, start + 4 * SPAN);
    let (sums, single): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, event)| event.note.contains(':'));
    let expected: Vec<_> = (0..WAITING).map(|n| format!("10.0.0.{n}")).collect();
    assert_eq!(notes(&single), expected);
    let sum = "Allocated: 9920 Services in 4 s; the last one was d/web-9999: 10.0.0.9999";
    assert_eq!(notes(&sums), [sum]);
    let (at, sum) = &sums[0];
    assert!(*at <= PATIENCE);
    assert_eq!(Some(&sum.subject), group("red").as_ref());
    assert_eq!((sum.severity, sum.action, &*sum.reason), (Severity::Normal, "Allocate", "Allocated"));
}

#[test]
fn a_storm_without_a_group_is_said_on_the_last_object() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for n in 0..WAITING + 3 {
        backlog.put(now, event(&n.to_string(), "A", "note"));
    }
    let told = said(&mut backlog, now);
    let (_, sum) = told.last().unwrap();
    assert_eq!(sum.note, "A: 3 Services in 1 s; the last one was d/82: note");
    assert_eq!(sum.subject.0.name.as_deref(), Some("82"));
}

#[test]
fn in_a_storm_each_reason_severity_and_group_is_counted_for_itself_and_one_alone_is_said_as_it_is() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for n in 0..WAITING {
        backlog.put(now, event(&n.to_string(), "A", ""));
    }
    let warning = Event { severity: Severity::Warning, ..event("w", "A", "alone") };
    let others = [("r1", "red"), ("r2", "red"), ("b1", "blue")]
        .map(|(name, of)| Event { group: group(of), ..event(name, "A", name) });
    for event in others.into_iter().chain([event("x", "B", "other"), warning.clone()]) {
        backlog.put(now, event);
    }
    let told: Vec<_> = said(&mut backlog, now).drain(WAITING..).map(|(_, event)| event).collect();
    assert_eq!(told.len(), 4);
    assert!(told.contains(&warning));
    let note = |note: &str| told.iter().any(|event| event.note == note);
    assert!(note("other") && note("b1"));
    assert!(note("A: 2 Services in 1 s; the last one was d/r2: r2"));
}

#[test]
fn a_storm_that_does_not_end_is_summed_up_every_ten_seconds() {
    let start = Instant::now();
    let mut backlog = Backlog::default();
    let mut sums = Vec::new();
    let mut single = 0;
    for n in 0..60_000_u32 {
        let now = start + MS * n;
        backlog.put(now, event(&n.to_string(), "A", ""));
        if let Some(event) = backlog.take(now) {
            if event.note.is_empty() { single += 1 } else { sums.push(now - start) }
        }
    }
    assert!((5..=6).contains(&sums.len()), "{sums:?}");
    assert!(single + sums.len() <= 600 + RATE);
    assert!(single > 450);
}

#[test]
fn it_never_holds_more_than_it_may() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    for n in 0..1000 {
        backlog.put(now, event(&n.to_string(), &format!("reason-{n}"), ""));
    }
    assert_eq!((backlog.waiting.len(), backlog.rest.len()), (WAITING, TOPICS));
    assert_eq!(backlog.dropped(), 1000 - 144);
}

#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use std::collections::BTreeMap;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::patch;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::Key;

const MS: Duration = Duration::from_millis(1);

/// An API server that takes a while, and refuses as it is told.
#[derive(Clone)]
struct Server(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    takes: Duration,
    /// By object: the answer, unless it is to be accepted.
    answers: BTreeMap<String, StatusCode>,
    begun: Vec<String>,
    ended: Vec<String>,
    /// The most that were under way at a time.
    most: usize,
    bodies: BTreeMap<String, String>,
}

impl Server {
    fn new(takes: Duration) -> Self {
        Self(Arc::new(Mutex::new(Received { takes, ..Received::default() })))
    }

    fn client(&self) -> Client {
        let routes = Router::new()
            .route("/api/v1/namespaces/d/services/{name}/status", patch(Self::write))
            .with_state(self.clone());
        Client::new(routes, "d")
    }

    async fn write(
        State(server): State<Self>,
        Path(name): Path<String>,
        body: String,
    ) -> (StatusCode, &'static str) {
        let takes = {
            let mut received = server.0.lock().unwrap();
            received.begun.push(name.clone());
            received.most = received.most.max(received.begun.len() - received.ended.len());
            received.takes
        };
        tokio::time::sleep(takes).await;
        let mut received = server.0.lock().unwrap();
        let answer = received.answers.get(&name).copied().unwrap_or(StatusCode::OK);
        received.bodies.insert(name.clone(), body);
        received.ended.push(name);
        (answer, "{}")
    }

    fn begun(&self) -> usize {
        self.0.lock().unwrap().begun.len()
    }

    fn ended(&self) -> usize {
        self.0.lock().unwrap().ended.len()
    }

    fn start(&self, writer: &Writer) -> JoinHandle<()> {
        tokio::spawn(writer.clone().run(self.client(), "m"))
    }
}

fn service(name: impl Into<String>) -> Object {
    Object::of::<Service>(Key::namespaced("d", name))
}

fn put(writer: &Writer, name: impl Into<String>, value: u32) {
    writer.put(service(name), Write::MergeStatus(json!({ "value": value })));
}

fn leads(from: Instant, term: u64) -> Leadership {
    Leadership::Leads { until: from, term }
}

#[tokio::test]
async fn what_is_forgotten_keeps_nobody_waiting() {
    let writer = Writer::new();
    put(&writer, "web", 1);
    assert_eq!(writer.stats().pending, 1);
    assert!(writer.idle().now_or_never().is_none());
    writer.forget(&service("web"));
    writer.idle().await;
}

#[tokio::test]
async fn many_are_written_at_a_time_and_none_twice() {
    let server = Server::new(100 * MS);
    let writer = Writer::new();
    let _running = server.start(&writer);
    for n in 0..500 {
        put(&writer, format!("web-{n}"), 1);
    }
    writer.idle().await;
    assert_eq!((server.begun(), writer.stats().written), (500, 500));
    let most = server.0.lock().unwrap().most;
    assert!(most > CONCURRENT / 2 && most <= CONCURRENT, "{most}");
}

#[tokio::test]
async fn one_object_that_always_conflicts_holds_up_nobody() {
    let server = Server::new(MS);
    server.0.lock().unwrap().answers.insert("bad".into(), StatusCode::CONFLICT);
    let writer = Writer::new();
    let _running = server.start(&writer);
    put(&writer, "bad", 1);
    for n in 0..100 {
        put(&writer, format!("web-{n}"), 1);
    }
    writer.until(|load| load.pending == 1).await;
    assert_eq!(writer.stats().written, 100);
    server.0.lock().unwrap().answers.clear();
    writer.idle().await;
}

#[tokio::test]
async fn the_newest_value_is_what_stands_in_the_end() {
    let server = Server::new(50 * MS);
    let writer = Writer::new();
    let _running = server.start(&writer);
    put(&writer, "web", 1);
    writer.until(|load| load.running == 1).await;
    for value in 2..=9 {
        put(&writer, "web", value);
    }
    writer.idle().await;
    assert_eq!(server.0.lock().unwrap().bodies["web"], "{\"value\":9}");
    assert_eq!(server.begun(), 2, "what was replaced while another was written is never sent");
}

#[tokio::test]
async fn nothing_is_sent_by_one_that_does_not_lead() {
    let server = Server::new(MS);
    let (sender, leadership) = watch::channel(Leadership::Standby);
    let writer = Writer::led_by(leadership);
    let _running = server.start(&writer);
    put(&writer, "web", 1);
    tokio::time::sleep(50 * MS).await;
    // Its time is over, though nobody has said so.
    sender.send_replace(leads(Instant::now() - MS, 1));
    tokio::time::sleep(50 * MS).await;
    assert_eq!((server.begun(), writer.stats().failed), (0, 0), "nothing is even attempted");
    sender.send_replace(leads(Instant::now() + Duration::from_secs(9), 1));
    writer.idle().await;
    assert_eq!(server.begun(), 1);
}

#[tokio::test]
async fn what_is_under_way_is_dropped_when_its_time_is_over_and_not_before() {
    let server = Server::new(2000 * MS);
    let start = Instant::now();
    let (sender, leadership) = watch::channel(leads(start + 500 * MS, 1));
    let writer = Writer::led_by(leadership);
    let _running = server.start(&writer);
    put(&writer, "web", 1);
    writer.until(|load| load.running == 1).await;
    sender.send_replace(leads(start + 1000 * MS, 1));
    writer.until(|load| load.running == 0).await;
    assert!(start.elapsed() >= 1000 * MS, "{:?}", start.elapsed());
    tokio::time::sleep(1500 * MS).await;
    assert_eq!((server.begun(), server.ended()), (1, 0), "the request was broken off, and not sent again");
    assert_eq!(writer.stats().pending, 1);
    writer.clear();
    assert_eq!(writer.stats().pending, 0);
    sender.send_replace(leads(Instant::now() + Duration::from_secs(9), 2));
    tokio::time::sleep(50 * MS).await;
    assert_eq!(server.begun(), 1, "what was cleared is not sent in the next term");
}

#[tokio::test]
async fn draining_waits_for_what_is_under_way_and_begins_nothing() {
    let server = Server::new(100 * MS);
    let writer = Writer::new();
    let _running = server.start(&writer);
    for n in 0..100 {
        put(&writer, format!("web-{n}"), 1);
    }
    writer.until(|load| load.running == CONCURRENT).await;
    let start = Instant::now();
    writer.drain(Duration::from_secs(5)).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!((server.begun(), server.ended()), (CONCURRENT, CONCURRENT));
    tokio::time::sleep(50 * MS).await;
    assert_eq!(server.begun(), CONCURRENT);
}

#[tokio::test]
async fn draining_does_not_wait_for_ever() {
    let server = Server::new(Duration::from_secs(60));
    let writer = Writer::new();
    let _running = server.start(&writer);
    put(&writer, "web", 1);
    writer.until(|load| load.running == 1).await;
    let start = Instant::now();
    writer.drain(100 * MS).await;
    assert!(start.elapsed() < Duration::from_secs(5));
}

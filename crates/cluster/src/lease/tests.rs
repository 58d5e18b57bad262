#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// An API server that has one Lease, and can be made to hang.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Value>,
    version: u32,
    hangs: bool,
}

impl Server {
    fn client(&self) -> Client {
        const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        let routes = Router::new()
            .route(LEASES, post(Self::write))
            .route(&format!("{LEASES}/controller"), get(Self::read).put(Self::write))
            .with_state(self.clone());
        Client::new(routes, "ns")
    }

    async fn reachable(&self) {
        while self.0.lock().unwrap().hangs {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn read(State(server): State<Self>) -> (StatusCode, String) {
        server.reachable().await;
        match &server.0.lock().unwrap().lease {
            Some(lease) => (StatusCode::OK, lease.to_string()),
            None => refuse(StatusCode::NOT_FOUND),
        }
    }

    async fn write(State(server): State<Self>, body: String) -> (StatusCode, String) {
        server.reachable().await;
        let mut lease: Value = serde_json::from_str(&body).unwrap();
        let mut stored = server.0.lock().unwrap();
        let version = stored.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        if version != lease["metadata"].get("resourceVersion").cloned() {
            return refuse(StatusCode::CONFLICT);
        }
        assert_eq!(lease["metadata"]["name"], "controller");
        stored.version += 1;
        lease["metadata"]["resourceVersion"] = json!(stored.version.to_string());
        stored.lease = Some(lease.clone());
        (StatusCode::OK, lease.to_string())
    }

    fn hang(&self, hangs: bool) {
        self.0.lock().unwrap().hangs = hangs;
    }

    fn spec(&self, field: &str) -> Value {
        self.0.lock().unwrap().lease.as_ref().unwrap()["spec"][field].clone()
    }

    fn candidate(&self, identity: &str) -> Runner {
        let claim = Claim {
            namespace: "ns".into(),
            name: "controller".into(),
            identity: identity.into(),
            duration: Duration::from_secs(2),
        };
        let (sender, leadership) = watch::channel(Leadership::Standby);
        let (resign, resigned) = oneshot::channel::<()>();
        let task = tokio::spawn(run(self.client(), claim, sender, async { drop(resigned.await) }));
        Runner { leadership, resign, task }
    }
}

fn refuse(code: StatusCode) -> (StatusCode, String) {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "Conflict" };
    let status = json!({ "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason });
    (code, status.to_string())
}

struct Runner {
    leadership: watch::Receiver<Leadership>,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Runner {
    fn leads(&self) -> bool {
        self.leadership.borrow().leads(Instant::now())
    }

    async fn until_leads(&mut self) {
        let leads = |now: &Leadership| now.leads(Instant::now());
        timeout(Duration::from_secs(10), self.leadership.wait_for(leads)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_leader_that_resigns_hands_over_within_a_second() {
    let server = Server::default();
    let mut a = server.candidate("a");
    a.until_leads().await;
    let mut b = server.candidate("b");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.leads() && !b.leads());
    let resigned = Instant::now();
    a.resign.send(()).unwrap();
    a.task.await.unwrap();
    assert_eq!(server.spec("leaseTransitions"), 0);
    b.until_leads().await;
    assert!(resigned.elapsed() < Duration::from_secs(1), "{:?}", resigned.elapsed());
    assert_eq!((server.spec("holderIdentity"), server.spec("leaseTransitions")), (json!("b"), json!(1)));
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_when_its_lease_is_over() {
    let server = Server::default();
    let mut a = server.candidate("a");
    a.until_leads().await;
    let mut b = server.candidate("b");
    tokio::time::sleep(Duration::from_millis(700)).await;
    a.task.abort();
    let killed = Instant::now();
    b.until_leads().await;
    assert!(killed.elapsed() > Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn nobody_leads_while_the_api_server_hangs_and_one_when_it_is_back() {
    let server = Server::default();
    let mut a = server.candidate("a");
    a.until_leads().await;
    let mut b = server.candidate("b");
    server.hang(true);
    let standby = |now: &Leadership| *now == Leadership::Standby;
    timeout(Duration::from_secs(4), a.leadership.wait_for(standby)).await.unwrap().unwrap();
    assert!(!b.leads());
    server.hang(false);
    tokio::select! {
        () = a.until_leads() => {}
        () = b.until_leads() => {}
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(a.leads() != b.leads());
}

//! Asks the node's proxy once a second whether what it forwards is up to date, away from the thread that answers.

mod gate;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use api::condition::{DATA_PATH_READY, Status};
use api::{Condition, DataPath as Settings};
use http::header::HOST;
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use liveness::DataPath;
use netio::clock;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{info, warn};

use gate::{Answer, Gate, LASTING};

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) verdict: DataPath,
    pub(crate) condition: Condition,
    /// The boot of the node in which the data path was ready, if that is this one.
    pub(crate) ready_in: Option<String>,
}

impl Known {
    /// Before anything was asked.
    pub(crate) fn nothing() -> Self {
        let condition = Condition::new(DATA_PATH_READY, Status::Unknown, "Starting", "not asked yet");
        Self { verdict: DataPath::Broken, condition, ready_in: None }
    }
}

pub(crate) struct Inputs {
    pub(crate) settings: watch::Receiver<Settings>,
    /// The boot in which it was ready, as the status of an earlier speaker of the node says.
    pub(crate) recorded: watch::Receiver<Option<String>>,
}

/// Runs for as long as the speaker does.
pub(crate) async fn run(mut inputs: Inputs, known: watch::Sender<Known>) {
    let boot = netio::boot::id().inspect_err(|error| warn!(%error, "every start counts as a boot")).ok();
    let mut gate = Gate::new();
    let mut ready_in: Option<String> = None;
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = inputs.settings.changed() => {}
            Ok(()) = inputs.recorded.changed() => {}
        }
        let recorded = inputs.recorded.borrow_and_update().clone();
        if recorded.is_some() && recorded == boot {
            ready_in = recorded;
            gate.pass();
        }
        let url = inputs.settings.borrow_and_update().healthz.clone();
        let now = match url {
            None => {
                gate = Gate::new();
                gate.pass();
                let why = "nothing is asked: dataPath.healthz of the FerriteConfig is empty";
                let condition = Condition::new(DATA_PATH_READY, Status::Unknown, "NotAsked", why);
                Known { verdict: DataPath::Ready, condition, ready_in: ready_in.clone() }
            }
            Some(url) => {
                let answer = ask(&url).await;
                gate.take(clock::now(), &answer);
                if answer == Answer::Ready {
                    ready_in.clone_from(&boot);
                }
                let condition = condition(&gate, &url, &answer);
                Known { verdict: gate.verdict(), condition, ready_in: ready_in.clone() }
            }
        };
        known.send_if_modified(|known| {
            let before = std::mem::replace(known, now);
            if before.verdict != known.verdict {
                info!(verdict = ?known.verdict, why = known.condition.message, "the node's data path");
            }
            before != *known
        });
    }
}

fn condition(gate: &Gate, url: &Uri, answer: &Answer) -> Condition {
    let say = |status, reason: &str, why: String| Condition::new(DATA_PATH_READY, status, reason, why);
    let gated = match (gate.verdict(), gate.has_passed()) {
        (DataPath::Ready, _) => "it decides nothing yet",
        (DataPath::Broken, true) => "this node answers only for what no other node can",
        (DataPath::Broken, false) => {
            "since the node was booted it was not well yet, so that this node answers only for what no other node can"
        }
    };
    let lasting = LASTING.as_secs();
    match answer {
        Answer::Ready => say(Status::True, "Ready", format!("{url} answers 200")),
        Answer::Unavailable if gate.verdict() == DataPath::Ready => say(
            Status::False,
            "Unavailable",
            format!("{url} answers 503; {gated}, but for {lasting} seconds"),
        ),
        Answer::Unavailable => say(Status::False, "Unavailable", format!("{url} answers 503; {gated}")),
        Answer::Closed => {
            let why = format!("nothing listens at {url}; what lasts for {lasting} seconds decides nothing");
            say(Status::Unknown, "PortClosed", why)
        }
        Answer::Odd(why) => {
            let why = format!("{url}: {why}; what lasts for {lasting} seconds decides nothing");
            say(Status::Unknown, "NoAnswer", why)
        }
    }
}

async fn ask(url: &Uri) -> Answer {
    match timeout(PATIENCE, fetch(url)).await {
        Err(_late) => Answer::Odd("no answer within a second".to_owned()),
        Ok(Ok(StatusCode::OK)) => Answer::Ready,
        Ok(Ok(StatusCode::SERVICE_UNAVAILABLE)) => Answer::Unavailable,
        Ok(Ok(status)) => Answer::Odd(format!("answers {}", status.as_u16())),
        Ok(Err(Failed::Connect(error))) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Closed,
        Ok(Err(error)) => Answer::Odd(error.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

async fn fetch(url: &Uri) -> Result<StatusCode, Failed> {
    let host = url.host().map_or_else(|| Ipv4Addr::LOCALHOST.to_string(), str::to_owned);
    // A URL writes an IPv6 address in brackets.
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((name, url.port_u16().unwrap_or(80))).await.map_err(Failed::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or(host.as_str(), |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(String::new())?;
    let asked = async move { Ok(sender.send_request(request).await?.status()) };
    tokio::select! {
        status = asked => status,
        Err(error) = connection => Err(error.into()),
    }
}

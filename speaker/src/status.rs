//! Keeps this node's SpeakerStatus as things are: at most one write a second, and none while nothing changes.

mod heartbeats;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api::condition::{BGP_LISTENING, Status};
use api::speaker_status::MOST_PROBED;
use api::{BgpSession, Condition, Network, Probed, SpeakerState, SpeakerStatus, speaker_status};
use cluster::{Key, Object, Write, Writer};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};
use l2::prober::Finding;
use names::{NodeName, PeerName};
use netio::LinkIndex;
use serde_json::json;
use tokio::sync::watch;

use crate::data_path;
use crate::engine::listener::Listening;
use crate::engine::peer::Session;
use crate::engine::port::Report;
use crate::engine::probing::Findings;
use crate::latest;
use crate::wall_time::wall_time;
use heartbeats::Heartbeats;

/// Changes that come within this are written together.
const GATHER: Duration = Duration::from_millis(100);
/// From one write to the next.
const PAUSE: Duration = Duration::from_millis(900);

/// What a status is made from.
pub(crate) struct Inputs {
    pub(crate) node: NodeName,
    /// The uid of the node's object, once the world knows it.
    pub(crate) uid: watch::Receiver<Option<String>>,
    pub(crate) sessions: latest::Receiver<PeerName, Option<Session>>,
    pub(crate) listening: [watch::Receiver<Listening>; 2],
    /// What probing has found.
    pub(crate) found: Findings,
    /// The node's networks, once the kernel has told of them.
    pub(crate) networks: watch::Receiver<Option<Vec<Network>>>,
    /// Which speakers each interface does not hear.
    pub(crate) hearing: latest::Receiver<LinkIndex, Option<(String, Report)>>,
    /// The nodes that run a speaker, or did.
    pub(crate) speakers: watch::Receiver<BTreeSet<NodeName>>,
    pub(crate) data_path: watch::Receiver<data_path::Known>,
}

/// Runs for as long as the speaker does.
pub(crate) async fn run(mut inputs: Inputs, writer: Writer) {
    let mut sessions: BTreeMap<PeerName, BgpSession> = BTreeMap::new();
    let mut heartbeats = Heartbeats::default();
    let mut found: BTreeMap<IpAddr, Finding> = BTreeMap::new();
    let mut conditions: Vec<Written> = Vec::new();
    let mut before: Option<(String, SpeakerState)> = None;
    let [mut v4, mut v6] = inputs.listening;
    loop {
        tokio::select! {
            changes = inputs.sessions.take() => apply(&mut sessions, changes),
            changes = inputs.found.take() => learn(&mut found, changes),
            Ok(()) = inputs.uid.changed() => {}
            Ok(()) = v4.changed() => {}
            Ok(()) = v6.changed() => {}
            Ok(()) = inputs.networks.changed() => {}
            changes = inputs.hearing.take() => heartbeats.apply(changes),
            Ok(()) = inputs.speakers.changed() => {}
            Ok(()) = inputs.data_path.changed() => {}
            else => return,
        }
        tokio::time::sleep(GATHER).await;
        learn(&mut found, inputs.found.take().now_or_never().unwrap_or_default());
        let Some(uid) = inputs.uid.borrow_and_update().clone() else { continue };
        // A status without them would say that the node has none.
        let Some(networks) = inputs.networks.borrow_and_update().clone() else { continue };
        let listening = [v4.borrow_and_update().clone(), v6.borrow_and_update().clone()];
        heartbeats.set_speakers(inputs.speakers.borrow_and_update().clone());
        let data_path::Known { condition, ready_in, .. } = inputs.data_path.borrow_and_update().clone();
        let now = [listening_condition(&listening), heartbeats.condition(&inputs.node), condition];
        conditions = now.iter().map(|now| now.written(&conditions, Timestamp::now())).collect();
        let state = SpeakerState::new(sessions.values().cloned().collect(), networks, conditions.clone());
        let state = SpeakerState {
            unheard: heartbeats.unheard(),
            probes: written_probes(&found),
            data_path_ready_in: ready_in,
            ..state
        };
        let now = Some((uid, state));
        if now != before {
            if let Some((uid, state)) = &now {
                let object = Object::of::<SpeakerStatus>(Key::cluster(inputs.node.as_str()));
                let owner = speaker_status::object(&inputs.node, uid);
                writer.put(object, Write::Apply { object: owner, status: json!({ "status": state }) });
            }
            before = now;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn learn(found: &mut BTreeMap<IpAddr, Finding>, changes: BTreeMap<IpAddr, Option<Finding>>) {
    for (address, finding) in changes {
        match finding {
            Some(finding) => drop(found.insert(address, finding)),
            None => drop(found.remove(&address)),
        }
    }
}

fn written_probes(found: &BTreeMap<IpAddr, Finding>) -> Vec<Probed> {
    let written = found.iter().map(|(address, finding)| match finding {
        Finding::Free => Probed::new(*address, None),
        Finding::Taken(mac) => Probed::new(*address, Some(*mac)),
    });
    written.take(MOST_PROBED).collect()
}

fn apply(sessions: &mut BTreeMap<PeerName, BgpSession>, changes: BTreeMap<PeerName, Option<Session>>) {
    for (peer, session) in changes {
        match session {
            Some(session) => {
                let written = written(&peer, session, sessions.get(&peer));
                sessions.insert(peer, written);
            }
            None => {
                sessions.remove(&peer);
            }
        }
    }
}

fn written(peer: &PeerName, session: Session, before: Option<&BgpSession>) -> BgpSession {
    let Session { address, status } = session;
    let state = status.state.to_string();
    let unchanged = before.filter(|before| before.state == state).map(|before| before.since.clone());
    let hold_time = status.session.as_ref().map(|session| session.hold_time);
    BgpSession {
        peer: peer.to_string(),
        address,
        since: unchanged.unwrap_or_else(|| Time(wall_time(status.since))),
        state,
        hold_time_seconds: hold_time.map(|agreed| agreed.map_or(0, |agreed| i64::from(agreed.seconds()))),
        prefixes: i64::try_from(status.routes.sent).unwrap_or(i64::MAX),
        last_error: status.last_error.map(|error| error.text),
    }
}

fn listening_condition(listening: &[Listening; 2]) -> Condition {
    let no = listening.iter().find_map(|one| match one {
        Listening::No { reason, why } => Some((*reason, why)),
        Listening::Starting | Listening::Yes => None,
    });
    if let Some((reason, why)) = no {
        let message = format!("{why}; the speaker dials its peers, and they cannot dial it");
        return Condition::new(BGP_LISTENING, Status::False, reason, message);
    }
    if listening.contains(&Listening::Starting) {
        return Condition::new(BGP_LISTENING, Status::Unknown, "Starting", "not tried yet");
    }
    Condition::new(BGP_LISTENING, Status::True, "Listening", "accepts connections on TCP port 179")
}

//! Writes into each AddressOwner whose address this node owns that it does. Once for each claim, and only over a
//! lesser one: two speakers never fight over an object, because claims are in one order. Whether another station
//! has the address too is written with it, when that changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::condition::{CONFLICT, Status};
use api::{AddressOwner, AddressOwnerStatus, Condition, address_owner};
use cluster::{Key, Object, Write, Writer};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};
use liveness::Ownership;
use names::NodeName;
use netio::clock;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::engine::port::{Owned, Rival, SILENT};
use crate::latest;
use crate::wall_time::wall_time;

/// How often it is looked whether a station that an earlier life of this speaker saw is gone.
const LOOK: Duration = Duration::from_mins(1);

/// An address that this node owns, since this speaker is sure of it.
#[derive(Debug)]
struct Held {
    owned: Owned,
    since: Instant,
}

/// What is held of each address on each interface.
type Holdings = BTreeMap<(IpAddr, String), Held>;

/// What an AddressOwner says of who answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) node: Option<String>,
    pub(crate) generation: i64,
    pub(crate) epoch: i64,
    /// Whether another station answers too.
    pub(crate) conflict: Option<Written>,
}

impl Recorded {
    pub(crate) fn of(owner: &AddressOwner) -> Self {
        let status = owner.status.as_ref();
        let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
        let conflict = conditions.find(|condition| condition.type_ == CONFLICT);
        Self {
            node: status.and_then(|status| status.node.clone()),
            generation: status.and_then(|status| status.generation).unwrap_or_default(),
            epoch: status.and_then(|status| status.epoch).unwrap_or_default(),
            conflict: conflict.cloned(),
        }
    }

    /// How great the claim is, if there is one.
    pub(crate) fn claim(&self) -> Option<liveness::Recorded> {
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let claim = || liveness::Recorded { generation: number(self.generation), epoch: number(self.epoch) };
        self.node.as_ref().map(|_| claim())
    }
}

pub(crate) struct Inputs {
    pub(crate) node: NodeName,
    /// On each interface by its name. `None`: this node does not own it there any more.
    pub(crate) owned: latest::Receiver<(IpAddr, String), Option<Owned>>,
    /// `None`: there is no such object.
    pub(crate) recorded: latest::Receiver<IpAddr, Option<Recorded>>,
}

/// Runs for as long as the speaker does.
pub(crate) async fn run(mut inputs: Inputs, writer: Writer) {
    let mut held = Holdings::new();
    let mut recorded: BTreeMap<IpAddr, Recorded> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed: Vec<_> = tokio::select! {
            changes = inputs.owned.take() => hold(&mut held, changes),
            changes = inputs.recorded.take() => record(&mut recorded, changes),
            _ = look.tick() => held.keys().map(|(address, _)| *address).collect(),
        };
        for address in changed {
            let (Some(held), Some(recorded)) = (held_of(&held, address), recorded.get_mut(&address)) else {
                continue;
            };
            if let Some(status) = news(&inputs.node, &held, recorded, clock::now()) {
                let object = Object::of::<AddressOwner>(Key::cluster(address_owner::name(address)));
                writer.put(object, Write::ApplyStatus(json!({ "status": status })));
            }
        }
    }
}

fn hold(held: &mut Holdings, changes: BTreeMap<(IpAddr, String), Option<Owned>>) -> Vec<IpAddr> {
    let changed = changes.keys().map(|(address, _)| *address).collect();
    for (place, owned) in changes {
        let since = held.remove(&place).map_or_else(clock::now, |before| before.since);
        if let Some(owned) = owned {
            held.insert(place, Held { owned, since });
        }
    }
    changed
}

/// What this node holds of an address as one: the greatest claim, on whatever interface it is; but where another
/// station answers too on one of them, that one.
fn held_of(held: &Holdings, address: IpAddr) -> Option<Held> {
    let on = held.range((address, String::new())..).take_while(|((other, _), _)| *other == address);
    let on: Vec<_> = on.map(|(_, held)| held).collect();
    let claim = |held: &&Held| (held.owned.ownership.generation, held.owned.ownership.epoch);
    // Of equal ones the first by name, so that none takes turns.
    let greatest = on.iter().copied().rev().max_by_key(claim)?;
    let shown = on.iter().copied().find(|held| held.owned.rival.is_some()).unwrap_or(greatest);
    let owned = Owned { ownership: greatest.owned.ownership.clone(), ..shown.owned.clone() };
    Some(Held { owned, since: shown.since })
}

fn record(
    recorded: &mut BTreeMap<IpAddr, Recorded>,
    changes: BTreeMap<IpAddr, Option<Recorded>>,
) -> Vec<IpAddr> {
    let changed = changes.keys().copied().collect();
    for (address, value) in changes {
        match value {
            Some(value) => recorded.insert(address, value),
            None => recorded.remove(&address),
        };
    }
    changed
}

/// What is to be written, if the record is of a lesser claim, or says otherwise of another station.
fn news(node: &NodeName, held: &Held, recorded: &mut Recorded, now: Instant) -> Option<AddressOwnerStatus> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Held { owned, .. } = held;
    let Ownership { generation, epoch, since, cause } = &owned.ownership;
    let (generation, epoch) = (number(*generation), number(*epoch));
    let is_mine = recorded.node.as_deref() == Some(node.as_str());
    let before = recorded.conflict.as_ref().filter(|_| is_mine);
    let conflict = conflict(node, held, before, now);
    let order = (recorded.generation, recorded.epoch).cmp(&(generation, epoch));
    let is_news = match order {
        _ if recorded.node.is_none() => true,
        Ordering::Less => true,
        Ordering::Equal => is_mine && conflict.as_ref() != before,
        Ordering::Greater => false,
    };
    if !is_news {
        return None;
    }
    *recorded = Recorded { node: Some(node.to_string()), generation, epoch, conflict };
    let now = recorded.clone();
    Some(AddressOwnerStatus {
        node: now.node,
        interface: Some(owned.interface.clone()),
        mac: Some(owned.mac.to_string()),
        generation: Some(now.generation),
        epoch: Some(now.epoch),
        since: Some(Time(wall_time(*since))),
        reason: Some(cause.to_string()),
        conditions: now.conflict.into_iter().collect(),
    })
}

/// What is to be said of other stations that answer for the address, given what stands there.
fn conflict(node: &NodeName, held: &Held, before: Option<&Written>, now: Instant) -> Option<Written> {
    let Held { owned: Owned { interface, rival, .. }, since } = held;
    let condition = match rival {
        Some(Rival { mac, node: Some(other) }) => {
            let why = format!(
                "node {other} ({mac}) answers for it too on {interface} of {node}: the two do not hear each other"
            );
            Condition::new(CONFLICT, Status::True, "OtherNode", why)
        }
        Some(Rival { mac, node: None }) => {
            let why = format!(
                "a station that is no node of the cluster, {mac}, answers for it too on {interface} of {node}"
            );
            Condition::new(CONFLICT, Status::True, "OtherStation", why)
        }
        None => {
            let before = before?;
            let is_over = now.saturating_duration_since(*since) >= SILENT;
            if before.status != Status::True.as_str() || !is_over {
                return Some(before.clone());
            }
            let why = format!("no other station has answered for it in {} minutes", SILENT.as_secs() / 60);
            Condition::new(CONFLICT, Status::False, "Gone", why)
        }
    };
    Some(condition.written(before.map(std::slice::from_ref).unwrap_or_default(), Timestamp::now()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use std::time::Instant;

    use liveness::Cause;
    use names::Mac;

    use super::*;

    fn held(generation: u64, epoch: u64, rival: Option<Rival>) -> Held {
        let since = Instant::now();
        let ownership = Ownership { generation, epoch, since, cause: Cause::New };
        let mac = Mac::new([2, 0, 0, 0, 0, 1]);
        Held { owned: Owned { interface: "eth0".into(), mac, rival, ownership }, since }
    }

    fn rival(low: u8, node: Option<&str>) -> Option<Rival> {
        Some(Rival { mac: Mac::new([2, 0, 0, 0, 9, low]), node: node.map(NodeName::new) })
    }

    fn recorded(node: Option<&str>, generation: i64, epoch: i64) -> Recorded {
        Recorded { node: node.map(str::to_owned), generation, epoch, conflict: None }
    }

    #[test]
    fn only_a_greater_claim_is_written_and_each_once() {
        let me = NodeName::new("n1");
        let cases = [
            (recorded(None, 0, 0), true),
            (recorded(Some("n1"), 1, 2), false),
            (recorded(Some("n2"), 1, 1), true),
            (recorded(Some("n2"), 1, 3), false),
            (recorded(Some("n2"), 2, 1), false),
            (recorded(Some("n2"), 0, 9), true),
        ];
        for (mut recorded, expected) in cases {
            let what = format!("{recorded:?}");
            let held = held(1, 2, None);
            let status = news(&me, &held, &mut recorded, held.since);
            assert_eq!(status.is_some(), expected, "{what}");
            assert_eq!(news(&me, &held, &mut recorded, held.since), None, "{what}, again");
        }
    }

    #[test]
    fn an_address_on_two_interfaces_is_written_as_one_and_a_rival_on_either_is_told() {
        let (address, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let on = |interface: &str, epoch: u64, rival: Option<Rival>| {
            let Held { owned, since } = held(1, epoch, rival);
            Held { owned: Owned { interface: interface.to_owned(), ..owned }, since }
        };
        let told = |all: [(IpAddr, Held); 3]| {
            let all = all.into_iter().map(|(address, held)| ((address, held.owned.interface.clone()), held));
            let Held { owned, .. } = held_of(&all.collect(), address).unwrap();
            (owned.interface, owned.ownership.epoch, owned.rival.is_some())
        };
        let others = || (other, on("a0", 9, rival(1, None)));
        let cases = [
            ((2, None), (2, None), ("eth0", 2, false)),
            ((2, None), (3, None), ("eth1", 3, false)),
            ((2, None), (2, rival(1, None)), ("eth1", 2, true)),
            ((2, rival(1, None)), (3, None), ("eth0", 3, true)),
        ];
        for (first, second, (interface, epoch, is_told)) in cases {
            let all = [
                (address, on("eth0", first.0, first.1)),
                (address, on("eth1", second.0, second.1)),
                others(),
            ];
            assert_eq!(told(all), (interface.to_owned(), epoch, is_told));
        }
    }

    #[test]
    fn another_station_is_written_when_it_comes_changes_and_goes() {
        let me = NodeName::new("n1");
        let mut recorded = recorded(Some("n1"), 1, 2);
        let mut say = |rival: Option<Rival>, later: Duration| {
            let held = held(1, 2, rival);
            let status = news(&me, &held, &mut recorded, held.since + later)?;
            let [condition] = &status.conditions[..] else { panic!("{status:?}") };
            Some(format!("{} {}: {}", condition.status, condition.reason, condition.message))
        };
        assert_eq!(say(None, SILENT), None, "nothing was ever wrong");
        let stranger = "True OtherStation: a station that is no node of the cluster, 02:00:00:00:09:01, answers for \
                        it too on eth0 of n1";
        assert_eq!(say(rival(1, None), Duration::ZERO).as_deref(), Some(stranger));
        assert_eq!(say(rival(1, None), Duration::ZERO), None, "once");
        let node = "True OtherNode: node n2 (02:00:00:00:09:02) answers for it too on eth0 of n1: the two do not \
                    hear each other";
        assert_eq!(say(rival(2, Some("n2")), Duration::ZERO).as_deref(), Some(node));
        assert_eq!(say(None, SILENT / 2), None, "a speaker that was restarted has seen nobody yet");
        let gone = "False Gone: no other station has answered for it in 5 minutes";
        assert_eq!(say(None, SILENT).as_deref(), Some(gone));
        assert_eq!(say(None, SILENT * 2), None, "once");
    }

    #[test]
    fn what_another_node_said_of_other_stations_goes_with_its_claim() {
        let me = NodeName::new("n1");
        let said = conflict(&NodeName::new("n2"), &held(1, 1, rival(1, None)), None, Instant::now());
        let mut recorded = Recorded { conflict: said, ..recorded(Some("n2"), 1, 1) };
        let held = held(1, 2, None);
        assert_eq!(news(&me, &held, &mut recorded, held.since).unwrap().conditions, []);
        let mut greater = Recorded { node: Some("n2".into()), ..recorded.clone() };
        assert_eq!(news(&me, &self::held(1, 2, rival(1, None)), &mut greater, held.since), None);
    }
}

//! Writes into each AddressOwner whose address this node owns that it does. Once for each claim, and only over a
//! lesser one: two speakers never fight over an object, because claims are in one order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{AddressOwner, AddressOwnerStatus, address_owner};
use cluster::{Key, Object, Write, Writer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use liveness::Ownership;
use names::{Mac, NodeName};
use serde_json::json;

use crate::latest;
use crate::status::wall_time;

/// An address that this node owns on an interface.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) interface: String,
    pub(crate) mac: Mac,
    pub(crate) ownership: Ownership,
}

/// What an AddressOwner says of who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) node: Option<String>,
    pub(crate) generation: i64,
    pub(crate) epoch: i64,
}

impl Recorded {
    pub(crate) fn of(owner: &AddressOwner) -> Self {
        let status = owner.status.as_ref();
        Self {
            node: status.and_then(|status| status.node.clone()),
            generation: status.and_then(|status| status.generation).unwrap_or_default(),
            epoch: status.and_then(|status| status.epoch).unwrap_or_default(),
        }
    }
}

pub(crate) struct Inputs {
    pub(crate) node: NodeName,
    /// `None`: this node does not own it any more.
    pub(crate) owned: latest::Receiver<IpAddr, Option<Owned>>,
    /// `None`: there is no such object.
    pub(crate) recorded: latest::Receiver<IpAddr, Option<Recorded>>,
}

/// Runs for as long as the speaker does.
pub(crate) async fn run(mut inputs: Inputs, writer: Writer) {
    let mut owned: BTreeMap<IpAddr, Owned> = BTreeMap::new();
    let mut recorded: BTreeMap<IpAddr, Recorded> = BTreeMap::new();
    loop {
        let changed: Vec<_> = tokio::select! {
            changes = inputs.owned.take() => take_in(&mut owned, changes),
            changes = inputs.recorded.take() => take_in(&mut recorded, changes),
        };
        for address in changed {
            let (Some(owned), Some(recorded)) = (owned.get(&address), recorded.get_mut(&address)) else {
                continue;
            };
            if let Some(status) = news(&inputs.node, owned, recorded) {
                let object = Object::of::<AddressOwner>(Key::cluster(address_owner::name(address)));
                writer.put(object, Write::ApplyStatus(json!({ "status": status })));
            }
        }
    }
}

fn take_in<V>(known: &mut BTreeMap<IpAddr, V>, changes: BTreeMap<IpAddr, Option<V>>) -> Vec<IpAddr> {
    let changed = changes.keys().copied().collect();
    for (address, value) in changes {
        match value {
            Some(value) => known.insert(address, value),
            None => known.remove(&address),
        };
    }
    changed
}

/// What is to be written, if the record is of a lesser claim.
fn news(node: &NodeName, owned: &Owned, recorded: &mut Recorded) -> Option<AddressOwnerStatus> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Ownership { generation, epoch, since, cause } = &owned.ownership;
    let now =
        Recorded { node: Some(node.to_string()), generation: number(*generation), epoch: number(*epoch) };
    let order = |recorded: &Recorded| (recorded.generation, recorded.epoch);
    if recorded.node.is_some() && order(recorded) >= order(&now) {
        return None;
    }
    recorded.clone_from(&now);
    Some(AddressOwnerStatus {
        node: now.node,
        interface: Some(owned.interface.clone()),
        mac: Some(owned.mac.to_string()),
        generation: Some(now.generation),
        epoch: Some(now.epoch),
        since: Some(Time(wall_time(*since))),
        reason: Some(cause.to_string()),
        conditions: Vec::new(),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use std::time::Instant;

    use liveness::Cause;

    use super::*;

    fn owned(generation: u64, epoch: u64) -> Owned {
        let ownership = Ownership { generation, epoch, since: Instant::now(), cause: Cause::New };
        Owned { interface: "eth0".into(), mac: Mac::new([2, 0, 0, 0, 0, 1]), ownership }
    }

    fn recorded(node: Option<&str>, generation: i64, epoch: i64) -> Recorded {
        Recorded { node: node.map(str::to_owned), generation, epoch }
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
            let status = news(&me, &owned(1, 2), &mut recorded);
            assert_eq!(status.is_some(), expected, "{what}");
            assert_eq!(news(&me, &owned(1, 2), &mut recorded), None, "{what}, again");
        }
    }
}

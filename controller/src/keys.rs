//! Makes the Secret that speakers seal their heartbeats with, and changes the keys in it from time to time.
//!
//! It goes beside the world: nothing that is decided about Services waits for it, and it waits for nothing of these.

use std::pin::pin;
use std::time::Duration;

use api::heartbeat_keys::{KeyRecord, NAME, Octets};
use cluster::lease::Leadership;
use cluster::{Change, Key, Object, Scope, Write, Writer};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

/// So long what was written is waited for before it is written anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// The clock is looked at so often at least: it may be set.
const LOOK: Duration = Duration::from_hours(1);

/// A Secret as it was seen.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    version: String,
    /// Nothing: it means nothing.
    record: Option<KeyRecord>,
}

/// What is known of the Secret.
#[derive(Debug, Default, PartialEq)]
enum Keeper {
    /// Nothing yet.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    Is(Seen),
}

/// Runs for ever. Only the leader writes.
pub(crate) async fn run(
    client: Client,
    namespace: String,
    mut leadership: watch::Receiver<Leadership>,
    writer: Writer,
) {
    let object = Object::of::<Secret>(Key::namespaced(&namespace, NAME));
    // The role allows just this one.
    let scope = Scope { field_selector: Some(format!("metadata.name={NAME}")), ..Scope::default() };
    let mut changes = pin!(cluster::watch_in(client, &namespace, scope, |secret: Secret| seen(&secret)));
    let mut keeper = Keeper::Unknown;
    loop {
        let leads = leadership.borrow_and_update().told().is_some();
        let write = leads.then(|| keeper.next(Timestamp::now(), random)).flatten();
        let wait = if write.is_some() { PATIENCE } else { keeper.wait(Timestamp::now()) };
        if let Some(write) = write {
            info!("the speakers' keys are written");
            writer.put(object.clone(), write);
        }
        tokio::select! {
            Some(change) = changes.next() => keeper.apply(change),
            Ok(()) = leadership.changed() => {}
            () = sleep(wait) => {}
        }
    }
}

fn seen(secret: &Secret) -> Seen {
    let record = KeyRecord::parse(secret);
    if let Err(invalid) = &record {
        warn!(%invalid, "the Secret with the speakers' keys means nothing; it gets new ones");
    }
    Seen { version: secret.resource_version().unwrap_or_default(), record: record.ok() }
}

fn random() -> Option<Octets> {
    let mut octets = [0; 32];
    match SystemRandom::new().fill(&mut octets) {
        Ok(()) => Some(octets),
        Err(_) => {
            error!("the system gives no random numbers");
            None
        }
    }
}

impl Keeper {
    fn apply(&mut self, change: Change<Seen>) {
        *self = match change {
            Change::Upsert(_, seen) => Self::Is(seen),
            Change::Remove(_) => Self::Absent,
            Change::Synced if *self == Self::Unknown => Self::Absent,
            Change::Synced | Change::Garbage(..) => return,
        };
    }

    /// What is to be written now.
    fn next(&self, now: Timestamp, new: impl Fn() -> Option<Octets>) -> Option<Write> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(Write::Create(KeyRecord::first(new()?, now).object())),
            Self::Is(Seen { version, record }) => {
                let next = match record {
                    Some(record) => record.next(now, new)?,
                    None => KeyRecord::first(new()?, now),
                };
                Some(Write::Merge(next.patch(version)))
            }
        }
    }

    /// How long nothing is to be done.
    fn wait(&self, now: Timestamp) -> Duration {
        match self {
            Self::Is(Seen { record: Some(record), .. }) => {
                let left = Duration::try_from(record.due().duration_since(now)).unwrap_or_default();
                left.clamp(Duration::from_secs(1), LOOK)
            }
            Self::Unknown | Self::Absent | Self::Is(_) => LOOK,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    const KEY: Key = Key { namespace: None, name: String::new() };

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    fn upsert(version: &str, object: Value) -> Change<Seen> {
        let mut object = object;
        object["metadata"]["resourceVersion"] = json!(version);
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.retain(|_, value| !value.is_null());
        Change::Upsert(KEY, seen(&serde_json::from_value(object).unwrap()))
    }

    fn new() -> Option<Octets> {
        Some([7; 32])
    }

    #[test]
    fn the_secret_is_made_only_when_it_is_known_that_there_is_none() {
        let mut keeper = Keeper::default();
        assert_eq!(keeper.next(at(1), new), None);
        keeper.apply(Change::Synced);
        let Some(Write::Create(object)) = keeper.next(at(1), new) else { panic!() };
        assert_eq!(object["data"]["primary"], json!(ByteString(vec![7; 32])));
        assert_eq!(keeper.next(at(1), || None), None);
        keeper.apply(upsert("3", object));
        assert_eq!((keeper.next(at(2), new), keeper.wait(at(2))), (None, LOOK));
        keeper.apply(Change::Synced);
        assert_eq!(keeper.next(at(2), new), None, "it is there");
        keeper.apply(Change::Remove(KEY));
        assert!(matches!(keeper.next(at(2), new), Some(Write::Create(_))));
    }

    #[test]
    fn a_step_is_of_the_version_that_was_seen_and_comes_when_it_is_due() {
        let mut keeper = Keeper::default();
        keeper.apply(upsert("3", KeyRecord::first([1; 32], at(0)).object()));
        assert_eq!(keeper.next(at(719), new), None);
        assert_eq!(keeper.wait(at(720) - Duration::from_secs(90)), Duration::from_secs(90));
        let Some(Write::Merge(patch)) = keeper.next(at(720), new) else { panic!() };
        assert_eq!(patch["metadata"]["resourceVersion"], "3");
        assert_eq!(patch["data"]["secondary"], json!(ByteString(vec![7; 32])));
        assert_eq!(patch["data"]["primary"], json!(ByteString(vec![1; 32])));
    }

    #[test]
    fn a_secret_that_means_nothing_gets_a_key() {
        let mut keeper = Keeper::default();
        let mut object = KeyRecord::first([1; 32], at(0)).object();
        object["data"]["primary"] = json!(ByteString(vec![1; 3]));
        keeper.apply(upsert("3", object));
        let Some(Write::Merge(patch)) = keeper.next(at(1), new) else { panic!() };
        assert_eq!(patch["data"]["primary"], json!(ByteString(vec![7; 32])));
    }

    #[test]
    fn no_two_keys_are_alike() {
        assert_ne!(random().unwrap(), random().unwrap());
    }
}

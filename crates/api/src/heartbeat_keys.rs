//! The Secret with the keys that speakers seal their heartbeats with, and how these change.
//!
//! A key that is new is *announced* as the secondary one, so that every speaker knows it before one uses it; then it
//! becomes the primary one, and the one before it stays as the secondary.

use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use liveness::{ClusterKey, Keys};
use serde_json::{Value, json};

use crate::Invalid;
use crate::annotation;

/// The name of the Secret, in the namespace of the product.
pub const NAME: &str = "ferritelb-heartbeat-keys";

const PRIMARY: &str = "primary";
const SECONDARY: &str = "secondary";
/// Whether a new key is announced.
const STAGE: &str = "stage";
/// Since when that is so.
const SINCE: &str = "since";
/// Asks for a new key, whatever its value; taken away when there is one.
const ROTATE: &str = "rotate";

/// How long a key is the primary one.
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a new one is known before it is used.
const NOTICE: SignedDuration = SignedDuration::from_hours(1);

/// A key.
pub type Octets = [u8; 32];

/// The keys: sealed is with the primary one, and the secondary one is understood as well.
#[derive(Clone, PartialEq, Eq)]
pub struct HeartbeatKeys {
    /// `data.primary`
    pub primary: Octets,
    /// `data.secondary`
    pub secondary: Option<Octets>,
}

impl fmt::Debug for HeartbeatKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HeartbeatKeys(secret)")
    }
}

/// The keys, and where they are on their way from one to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// As they are.
    pub keys: HeartbeatKeys,
    stage: Stage,
    since: Timestamp,
    rotation: Rotation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The secondary key is the one before.
    Settled,
    /// The secondary key is the next.
    Announced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    InTime,
    Asked,
}

impl HeartbeatKeys {
    /// The keys of the Secret.
    ///
    /// # Errors
    /// One is missing, or has not 32 octets.
    pub fn parse(secret: &Secret) -> Result<Self, Invalid> {
        let primary = octets(secret, PRIMARY)?;
        let primary = primary.ok_or_else(|| Invalid::new(format!("data.{PRIMARY}"), "is missing"))?;
        Ok(Self { primary, secondary: octets(secret, SECONDARY)? })
    }

    /// The same for those who use them.
    pub fn keys(&self) -> Keys {
        let Self { primary, secondary } = self;
        Keys { primary: ClusterKey::new(*primary), secondary: secondary.map(ClusterKey::new) }
    }
}

fn octets(secret: &Secret, name: &str) -> Result<Option<Octets>, Invalid> {
    let Some(ByteString(octets)) = secret.data.as_ref().and_then(|data| data.get(name)) else {
        return Ok(None);
    };
    let wrong = || Invalid::new(format!("data.{name}"), format!("has {} octets and not 32", octets.len()));
    octets.as_slice().try_into().map(Some).map_err(|_| wrong())
}

impl KeyRecord {
    /// A first key.
    pub fn first(primary: Octets, now: Timestamp) -> Self {
        let keys = HeartbeatKeys { primary, secondary: None };
        Self { keys, stage: Stage::Settled, since: now, rotation: Rotation::InTime }
    }

    /// What stands in the Secret. Where it does not say since when, it is since it was made.
    ///
    /// # Errors
    /// As [`HeartbeatKeys::parse`].
    pub fn parse(secret: &Secret) -> Result<Self, Invalid> {
        let keys = HeartbeatKeys::parse(secret)?;
        let metadata = &secret.metadata;
        let said = |name| metadata.annotations.as_ref()?.get(&annotation::ours(name));
        let is_announced = said(STAGE).is_some_and(|stage| stage == Stage::Announced.as_str());
        let since = said(SINCE).and_then(|since| since.parse().ok());
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        Ok(Self {
            stage: if is_announced && keys.secondary.is_some() { Stage::Announced } else { Stage::Settled },
            since: since.or(created).unwrap_or(Timestamp::UNIX_EPOCH),
            rotation: said(ROTATE).map_or(Rotation::InTime, |_| Rotation::Asked),
            keys,
        })
    }

    /// When there is a next step.
    pub fn due(&self) -> Timestamp {
        let after = match (self.stage, self.rotation) {
            (Stage::Announced, _) => NOTICE,
            (Stage::Settled, Rotation::InTime) => LIFE,
            (Stage::Settled, Rotation::Asked) => SignedDuration::ZERO,
        };
        self.since.saturating_add(after).unwrap_or(Timestamp::MAX)
    }

    /// The next step, if it is time for it; a new key is needed for some.
    pub fn next(&self, now: Timestamp, new: impl FnOnce() -> Option<Octets>) -> Option<Self> {
        if now < self.due() {
            return None;
        }
        let HeartbeatKeys { primary, secondary } = self.keys.clone();
        let (stage, keys, rotation) = match (self.stage, secondary) {
            (Stage::Announced, Some(announced)) => {
                let keys = HeartbeatKeys { primary: announced, secondary: Some(primary) };
                // One that was asked for meanwhile comes after this one.
                (Stage::Settled, keys, self.rotation)
            }
            (Stage::Announced | Stage::Settled, _) => {
                let keys = HeartbeatKeys { primary, secondary: Some(new()?) };
                (Stage::Announced, keys, Rotation::InTime)
            }
        };
        Some(Self { keys, stage, since: now, rotation })
    }

    /// The Secret that says so.
    pub fn object(&self) -> Value {
        json!({
            "metadata": { "annotations": self.annotations(), "labels": { "app.kubernetes.io/name": "ferritelb" } },
            "type": "Opaque",
            "data": self.data(),
        })
    }

    /// A merge patch that makes a Secret of this version say so.
    pub fn patch(&self, version: &str) -> Value {
        json!({
            "metadata": { "resourceVersion": version, "annotations": self.annotations() },
            "data": self.data(),
        })
    }

    fn annotations(&self) -> Value {
        let mut annotations = json!({
            annotation::ours(STAGE): self.stage.as_str(),
            annotation::ours(SINCE): self.since.to_string(),
        });
        if let (Rotation::InTime, Value::Object(annotations)) = (self.rotation, &mut annotations) {
            annotations.insert(annotation::ours(ROTATE), Value::Null);
        }
        annotations
    }

    fn data(&self) -> Value {
        let HeartbeatKeys { primary, secondary } = &self.keys;
        let text = |octets: &Octets| json!(ByteString(octets.to_vec()));
        let mut data = json!({ PRIMARY: text(primary) });
        if let (Some(secondary), Value::Object(data)) = (secondary, &mut data) {
            data.insert(SECONDARY.into(), text(secondary));
        }
        data
    }
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Announced => "Announced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + HOUR * i32::try_from(hours).unwrap()
    }

    fn key(octet: u8) -> Octets {
        [octet; 32]
    }

    /// As the API server would have it, which drops what is null.
    fn stored(record: &KeyRecord) -> Secret {
        let mut object = record.object();
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.retain(|_, value| !value.is_null());
        serde_json::from_value(object).unwrap()
    }

    fn keys(record: &KeyRecord) -> (u8, Option<u8>) {
        (record.keys.primary[0], record.keys.secondary.map(|octets| octets[0]))
    }

    #[test]
    fn what_is_written_is_read_again_and_never_shown() {
        let first = KeyRecord::first(key(1), at(0));
        let announced = first.next(at(720), || Some(key(2))).unwrap();
        for record in [first, announced] {
            assert_eq!(KeyRecord::parse(&stored(&record)), Ok(record.clone()));
            assert_eq!(HeartbeatKeys::parse(&stored(&record)), Ok(record.keys.clone()));
            let Keys { primary, secondary } = record.keys.keys();
            assert_eq!(primary, ClusterKey::new(key(1)));
            assert_eq!(secondary, record.keys.secondary.map(ClusterKey::new));
            let shown = format!("{record:?}");
            assert!(shown.contains("HeartbeatKeys(secret)") && !shown.contains('['), "{shown}");
        }
    }

    #[test]
    fn a_key_is_announced_an_hour_before_it_is_used_and_understood_a_month_after() {
        let first = KeyRecord::first(key(1), at(0));
        assert_eq!(first.next(at(719), || Some(key(2))), None);
        let announced = first.next(at(720), || Some(key(2))).unwrap();
        assert_eq!(keys(&announced), (1, Some(2)));
        assert_eq!((announced.due(), announced.next(at(720), || Some(key(3)))), (at(721), None));
        let settled = announced.next(at(721), || None).unwrap();
        assert_eq!((keys(&settled), settled.due()), ((2, Some(1)), at(721 + 720)));
        let again = settled.next(at(2000), || Some(key(3))).unwrap();
        assert_eq!(keys(&again), (2, Some(3)));
        assert_eq!(settled.next(at(2000), || None), None, "without a key there is no step");
    }

    #[test]
    fn a_key_that_is_asked_for_is_announced_at_once_and_once() {
        let asked = |record: &KeyRecord| {
            let mut secret = stored(record);
            let annotations = secret.metadata.annotations.get_or_insert_default();
            annotations.insert("ferritelb.io/rotate".into(), String::new());
            KeyRecord::parse(&secret).unwrap()
        };
        let first = KeyRecord::first(key(1), at(0));
        let announced = asked(&first).next(at(1), || Some(key(2))).unwrap();
        assert_eq!(keys(&announced), (1, Some(2)));
        let patch = announced.patch("7");
        assert_eq!(patch["metadata"]["annotations"]["ferritelb.io/rotate"], Value::Null);
        assert!(patch["metadata"]["annotations"].as_object().unwrap().contains_key("ferritelb.io/rotate"));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let meanwhile = asked(&announced);
        assert_eq!(meanwhile.next(at(1), || Some(key(3))), None, "the one that is announced comes first");
        let settled = meanwhile.next(at(2), || None).unwrap();
        let again = settled.next(at(2), || Some(key(3))).unwrap();
        assert_eq!((keys(&settled), keys(&again)), ((2, Some(1)), (2, Some(3))));
    }

    #[test]
    fn a_secret_that_somebody_made_by_hand_counts_from_then_and_one_without_a_key_does_not() {
        let secret = |data: Value| -> Secret {
            let metadata = json!({ "creationTimestamp": at(5).to_string() });
            serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
        };
        let whole = json!(ByteString(key(1).to_vec()));
        let record = KeyRecord::parse(&secret(json!({ "primary": whole }))).unwrap();
        assert_eq!(record.due(), at(5 + 720));
        let short = json!(ByteString(vec![1; 31]));
        let blamed = |data: Value| KeyRecord::parse(&secret(data)).unwrap_err().to_string();
        assert_eq!(blamed(json!({})), "data.primary: is missing");
        assert_eq!(blamed(json!({ "primary": short })), "data.primary: has 31 octets and not 32");
        assert_eq!(
            blamed(json!({ "primary": whole, "secondary": short })),
            "data.secondary: has 31 octets and not 32"
        );
    }
}

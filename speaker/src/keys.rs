//! Follows the keys that the speakers of the cluster seal their heartbeats with.

use cluster::{Change, Scope, watch_in};
use futures::{Stream, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use liveness::{ClusterKey, Keys};
use tokio::sync::watch;
use tracing::{info, warn};

/// The Secret that the controller makes.
const SECRET: &str = "ferritelb-heartbeat-keys";
const PRIMARY: &str = "primary";
const SECONDARY: &str = "secondary";

/// Runs for as long as the speaker does. Keys that are gone stay in use: without any, no speaker hears another.
pub(crate) async fn run(client: Client, namespace: String, known: watch::Sender<Option<Keys>>) {
    let scope = Scope { field_selector: Some(format!("metadata.name={SECRET}")), ..Scope::default() };
    let secrets = watch_in(client, &namespace, scope, |secret: Secret| parse(&secret));
    follow(secrets.boxed(), known).await;
}

async fn follow(
    mut changes: impl Stream<Item = Change<Option<Keys>>> + Unpin,
    known: watch::Sender<Option<Keys>>,
) {
    while let Some(change) = changes.next().await {
        match change {
            Change::Upsert(_, Some(keys)) => {
                let changed = known.send_if_modified(|known| {
                    let changed = known.as_ref() != Some(&keys);
                    *known = Some(keys);
                    changed
                });
                if changed {
                    info!("the keys of heartbeats");
                }
            }
            Change::Upsert(_, None) => {
                warn!("Secret {SECRET} has no {PRIMARY} of 32 octets; what it said before goes on")
            }
            Change::Remove(_) => warn!("Secret {SECRET} is gone; what it said before goes on"),
            Change::Garbage(_, garbage) => warn!(why = %garbage.why, "Secret {SECRET} cannot be read"),
            Change::Synced => {}
        }
    }
}

fn parse(secret: &Secret) -> Option<Keys> {
    let data = secret.data.as_ref()?;
    let key = |name: &str| {
        let ByteString(octets) = data.get(name)?;
        Some(ClusterKey::new(octets.as_slice().try_into().ok()?))
    };
    Some(Keys { primary: key(PRIMARY)?, secondary: key(SECONDARY) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &[(&str, usize)]) -> Secret {
        let data = data.iter().map(|(name, length)| ((*name).to_owned(), ByteString(vec![7; *length])));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_key_is_32_octets_and_the_second_one_may_be_missing() {
        let key = ClusterKey::new([7; 32]);
        let alone = Keys { primary: key.clone(), secondary: None };
        let both = Keys { primary: key.clone(), secondary: Some(key) };
        assert_eq!(parse(&secret(&[("primary", 32)])), Some(alone));
        assert_eq!(parse(&secret(&[("primary", 32), ("secondary", 32)])), Some(both));
        assert_eq!(parse(&secret(&[("primary", 31)])), None);
        assert_eq!(parse(&secret(&[("secondary", 32)])), None);
    }
}

//! Whether the speakers are being removed from the cluster: a speaker that is then told to end will not be back.

use cluster::{Change, Scope, watch_in};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Client;
use tokio::sync::watch;
use tracing::{info, warn};

/// What runs a speaker on each node.
const DAEMON_SET: &str = "ferrite-speaker";

/// Runs for as long as the speaker does. A DaemonSet that was never there is not missed: the speaker was started by
/// something else.
pub(crate) async fn run(client: Client, namespace: String, removed: watch::Sender<bool>) {
    let scope = Scope { field_selector: Some(format!("metadata.name={DAEMON_SET}")), ..Scope::default() };
    let sets =
        watch_in(client, &namespace, scope, |set: DaemonSet| set.metadata.deletion_timestamp.is_some());
    follow(sets.boxed(), removed).await;
}

async fn follow(mut changes: impl Stream<Item = Change<bool>> + Unpin, removed: watch::Sender<bool>) {
    while let Some(change) = changes.next().await {
        let now = match change {
            Change::Upsert(_, is_being_deleted) => is_being_deleted,
            Change::Remove(_) => true,
            Change::Garbage(_, garbage) => {
                warn!(why = %garbage.why, "DaemonSet {DAEMON_SET} cannot be read");
                continue;
            }
            Change::Synced => continue,
        };
        if removed.send_replace(now) != now && now {
            info!("DaemonSet {DAEMON_SET} is deleted: this speaker will hand over what it answers for");
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::Key;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn the_speakers_are_removed_once_their_daemon_set_was_there_and_is_deleted() {
        let key = || Key::namespaced("ferritelb-system", DAEMON_SET);
        let there = || Change::Upsert(key(), false);
        let cases = [
            (vec![Change::Synced], false),
            (vec![there(), Change::Synced], false),
            (vec![there(), Change::Synced, Change::Upsert(key(), true)], true),
            (vec![there(), Change::Synced, Change::Remove(key())], true),
            (vec![there(), Change::Synced, Change::Remove(key()), there()], false),
        ];
        for (number, (changes, expected)) in cases.into_iter().enumerate() {
            let (removed, known) = watch::channel(false);
            follow(stream::iter(changes), removed).await;
            assert_eq!(*known.borrow(), expected, "case {number}");
        }
    }
}

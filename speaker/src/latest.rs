//! A channel that carries the newest value of each key.
//!
//! Plans travel by it: a slow receiver finds one value per key, the newest, instead of a queue. What waits is
//! bounded by the number of keys, and nothing is ever dropped but what is out of date.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct Shared<K, V> {
    pending: Mutex<BTreeMap<K, V>>,
    arrived: Notify,
}

impl<K, V> Shared<K, V> {
    fn pending(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        // The map is whole between any two calls, so a panic elsewhere leaves nothing half done in it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where new values go in.
#[derive(Debug)]
pub(crate) struct Sender<K, V>(Arc<Shared<K, V>>);

/// Where they come out. There is one.
#[derive(Debug)]
pub(crate) struct Receiver<K, V>(Arc<Shared<K, V>>);

/// Makes both ends.
pub(crate) fn channel<K: Ord, V>() -> (Sender<K, V>, Receiver<K, V>) {
    let shared = Arc::new(Shared { pending: Mutex::new(BTreeMap::new()), arrived: Notify::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<K, V> Clone for Sender<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord, V> Sender<K, V> {
    /// Puts values in, in place of older ones that were not taken yet.
    pub(crate) fn put(&self, values: impl IntoIterator<Item = (K, V)>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.0.pending().extend(values);
            self.0.arrived.notify_one();
        }
    }
}

impl<K: Ord, V> Receiver<K, V> {
    /// Waits until there is something, and takes all of it. Cancel safe: what is not returned is still there.
    pub(crate) async fn take(&mut self) -> BTreeMap<K, V> {
        loop {
            let pending = std::mem::take(&mut *self.0.pending());
            if !pending.is_empty() {
                return pending;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_newest_value_of_a_key_comes_out() {
        let (sender, mut receiver) = channel();
        sender.put([("a", 1), ("b", 1)]);
        sender.put([("a", 2)]);
        assert_eq!(receiver.take().await, [("a", 2), ("b", 1)].into());
    }

    #[tokio::test]
    async fn a_value_put_before_or_during_the_wait_wakes_the_receiver() {
        let (sender, mut receiver) = channel();
        let waiting = tokio::spawn(async move { (receiver.take().await, receiver.take().await) });
        sender.put([(1, "before")]);
        tokio::task::yield_now().await;
        sender.clone().put([(1, "during")]);
        let (first, second) = waiting.await.unwrap();
        assert_eq!((first, second), ([(1, "before")].into(), [(1, "during")].into()));
    }
}

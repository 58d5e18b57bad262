//! What is known of a custom resource.

use crate::seen::SeenObject;

/// A custom resource, and what its status is to say.
#[derive(Debug)]
pub(super) struct Known<V, S> {
    pub(super) seen: SeenObject<V, S>,
    /// What was written last and was not seen since.
    wanted: Option<S>,
}

/// How an object differs from what was known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// It was not known.
    New,
    /// It means something else.
    Changed,
    /// It means the same.
    Same,
}

impl<V: PartialEq, S: Clone + Default> Known<V, S> {
    /// An object as it was seen now.
    pub(super) fn see(before: Option<&Self>, mut seen: SeenObject<V, S>) -> (Self, Sight) {
        let before = before.filter(|before| before.seen.is_same_object(&seen));
        let mut wanted = None;
        // What cannot be decoded does not say what stands in its status: as far as is known, what stood there.
        if seen.status.is_none() {
            seen.status = before.and_then(|before| before.seen.status.clone());
            wanted = before.and_then(|before| before.wanted.clone());
        }
        let sight = match before {
            Some(before) if before.seen.meaning == seen.meaning => Sight::Same,
            Some(_) => Sight::Changed,
            None => Sight::New,
        };
        (Self { seen, wanted }, sight)
    }

    /// What its status says, or will.
    pub(super) fn recorded(&self) -> S {
        self.wanted.clone().or_else(|| self.seen.status.clone()).unwrap_or_default()
    }

    /// Notes what is being written.
    pub(super) fn want(&mut self, status: S) {
        self.wanted = Some(status);
    }

    /// Notes that nothing will be written.
    pub(super) fn give_up(&mut self) {
        self.wanted = None;
    }
}

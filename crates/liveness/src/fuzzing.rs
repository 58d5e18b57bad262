//! What a fuzz target needs to be believed.

use names::NodeName;

use crate::keys::Keyring;
use crate::wire::{self, Message};
use crate::{Incarnation, Keys};

/// A datagram of a speaker of the cluster that says anything at all.
pub fn seal(
    sender: &NodeName,
    life: Incarnation,
    keys: &Keys,
    sequence: u64,
    body: &[u8],
) -> Option<Vec<u8>> {
    let key = Keyring::new(keys).own(sender, life)?;
    wire::seal(&key, life, sequence, sender, |out| {
        out.extend_from_slice(body);
        Some(())
    })
}

/// What can be read is emitted as what reads the same.
///
/// # Panics
/// Where it is not.
pub fn round_trip(body: &[u8]) {
    let Ok(message) = Message::parse(body) else { return };
    let mut out = Vec::new();
    assert!(message.emit(&mut out).is_some() && Message::parse(&out) == Ok(message), "{body:?}");
}

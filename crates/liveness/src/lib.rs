//! Learns in milliseconds which speakers are alive on a segment, and decides which of them answers for an address.
//!
//! One [`Node`] is this speaker on one interface. It sends authenticated heartbeats to the other speakers there,
//! watches theirs, and from what it hears and what it may ask by ARP or NDP it knows whether a silent one has only
//! lost its speaker (its addresses are *covered*: answered for with its MAC) or its node (its addresses are
//! *claimed*). Claims travel with the heartbeats. Who may answer at all, and in which order, is given to it as a
//! [`Ballot`]; which packets are answered with what is for others. It knows no socket, no clock and no API server.
//!
//! What holds, on every schedule of loss, delay, freeze and partition:
//! - Of live nodes that hear each other at most one answers for an address, one detection time after the last change.
//! - A claim is lost only to a greater one, or by its claimant's death or ineligibility.
//! - A node that starts, thaws or hears nobody and no witness claims nothing.
//!
//! Sealing: ChaCha20-Poly1305 (RFC 8439) with a key for each life of each sender, derived by HKDF (RFC 5869) from the
//! key of the cluster; the sequence number is the nonce. A heartbeat counts only if it names the receiver's present
//! life, so that none can be replayed to a speaker that was restarted.

#[cfg(fuzzing)]
pub mod fuzzing;
mod ids;
mod keys;
mod node;
mod peer;
mod wire;

pub use ids::{Incarnation, Recorded};
pub use keys::{ClusterKey, Keys};
pub use node::{
    Answer, Ballot, Carrier, Cause, Counters, DataPath, Departure, Direct, Link, Member, Node, Output,
    Ownership, Pace, PeerStatus,
};
pub use peer::Standing;
pub use wire::Malformed;

//! Runs speakers against each other in virtual time, on a segment that loses, duplicates, delays and parts.
//!
//! A [`Segment`] is a switch with machines, each with a kernel that answers for its own address and a speaker that
//! runs a [`liveness::Node`]; and with a gateway. Time passes only from one event to the next; nothing sleeps, and the
//! same seed gives the same run, to the packet. It is for tests alone.

mod chance;
mod machine;
mod paths;
mod segment;

pub use chance::Chance;
pub use machine::{Kernel, Machine, Speaker};
pub use paths::{Path, Paths};
pub use segment::{Place, Segment, Setup};

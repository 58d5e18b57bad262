//! The only door to the API server.
//!
//! [`watch`] turns a kind into a stream of [`Change`]s that survives every outage; [`Writer`] brings the newest
//! wanted state of each object there; [`lease`] says which replica may; [`Events`] tells people; [`admin`] is the
//! HTTP server that kubelet and Prometheus ask; [`process`] is what both binaries have in common besides. It decides
//! nothing about load balancing, keeps no objects, and never gives up.

pub mod admin;
mod backoff;
mod client;
mod clock;
mod events;
mod key;
pub mod lease;
pub mod process;
mod rate;
mod versions;
mod watch;
mod writer;

pub use client::{ClientError, client};
pub use events::{Event, Events, Severity, Subject};
pub use key::Key;
pub use versions::{version, versions};
pub use watch::{Change, Scope, Undecodable, UnknownKind, watch, watch_in};
pub use writer::{Object, Stats, Write, Writer};

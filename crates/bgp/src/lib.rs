//! Keeps one peer told of one set of prefixes.

mod agreement;
mod config;
mod conn;
mod ids;
mod jitter;
mod peer;
mod rib_out;
mod status;
pub mod wire;

pub use config::{Cease, LocalEnd, PeerConfig, Role, Route, Shutdown};
pub use ids::{Asn, Family, HoldTime, ReservedAsn, RouterId, UnacceptableHoldTime, ZeroRouterId};
pub use peer::{Admission, Output, Peer};
pub use status::{Counters, LastError, Messages, RouteRefreshCapability, Routes, Session, State, Status};
pub use wire::Communication;

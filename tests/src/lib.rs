//! The lab: network namespaces, real routers, real Kubernetes; and the tests that run in it.
//!
//! One [`Topology`] is three nodes, a client on their segment, an FRR and a BIRD router and an outside client
//! behind both, each in its own network namespace, IPv4 and IPv6 throughout. Several stand side by side. What a
//! lab made is gone when its [`Topology`] is dropped, and also after a panic, Ctrl-C or SIGKILL of the harness.
//!
//! Assertions are made with a client's packet ([`meter`], [`capture`], [`Host::arp`]) or with a router's table
//! ([`router::Router`]), never with what the product says of itself. A step of the harness that fails panics
//! with the command and its output.

use std::path::Path;

mod address;
pub mod bench;
pub mod capture;
pub mod clock;
mod daemon;
pub mod fault;
pub mod fuzz;
mod host;
pub mod image;
pub mod kube;
mod lease;
pub mod meter;
pub mod mutants;
mod namespace;
mod reaper;
pub mod router;
pub mod run;
pub mod serve;
mod solicit;
mod spawner;
pub mod story;
pub mod stranger;
mod topology;
mod vantage;
pub mod vrrp;
pub mod wait;
pub mod witness;

pub use address::{Family, Mac};
pub use daemon::Daemon;
pub use host::Host;
pub use lease::{sweep, take_down, take_down_one};
pub use namespace::Namespace;
pub use reaper::reap;
pub use solicit::{Request, Solicitation};
pub use stranger::Stranger;
pub use topology::{Outside, Topology};
pub use vantage::{Unanswered, Vantage};

/// The checkout that the harness was built from.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

//! The door to the kernel: frames, links, routes, neighbours, multicast groups, TCP, UDP, a thread's priority and the clock.
//!
//! It decides nothing: it turns what cores ask for into system calls, and what the kernel says into plain values. It
//! never parses a protocol beyond what the packet filter must know, and keeps no state that the kernel does not
//! have. It is the only crate with `unsafe`, and [`clock`] the only place that asks for the time.
//!
//! Everything acts in the network namespace of the thread that opened it.

pub mod boot;
pub mod clock;
pub mod frames;
pub mod groups;
pub mod links;
pub mod neighbours;
pub mod random;
pub mod routes;
pub mod schedule;
pub mod tcp;
pub mod udp;

mod error;
mod filter;
mod netlink;
mod packet_membership;
mod readiness;
mod socket_option;

#[cfg(test)]
mod namespace;

pub use error::Error;
pub use frames::{Filter, FrameSocket, Promiscuity};
pub use groups::{Membership, Reception};
pub use links::{Change, Link, LinkIndex, Links};
pub use neighbours::{Neighbour, neighbours};
pub use routes::{Gateway, Routes};
pub use tcp::HopLimit;
pub use udp::DatagramSocket;

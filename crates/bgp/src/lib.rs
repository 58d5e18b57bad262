//! Keeps one peer told of one set of prefixes.
//!
//! A [`Peer`] is all there is to one BGP neighbour: it decides when to dial, which of two connections stays, when
//! a session is dead, and what to say. It is told what the neighbour should know ([`Peer::announce`],
//! [`Peer::withdraw`]) and sees to it, over as many sessions as that takes. It imports nothing: what the
//! neighbour announces is checked, counted and forgotten.
//!
//! It never opens a socket, looks at a clock, sleeps, or logs. Time is an argument, jitter comes from a seed, and
//! everything it wants done is an [`Output`]. Whatever arrives, it does not panic, keeps less than one message
//! of it, and answers with what the RFCs demand and no more.
//!
//! Inside: [`wire`] turns octets into messages and back; a connection goes from OpenSent over OpenConfirm to
//! Established; a peer is at most two connections, one rule that says which of two has to go, and the way to the
//! next one; a table holds what is wanted and what was said, so that what goes out is always the difference.
//!
//! # What of the RFCs
//! - **RFC 4271**: all messages, all six states, all timers but DelayOpen; §6.8 on OPEN, with an Established
//!   connection always staying. §9.2.1.1 (MinRouteAdvertisementInterval) is zero: changes wait only for the
//!   socket. §9.1 (decision), §9.3 (route selection) and AS_SET aggregation have no place here.
//! - Unlike §8.2.2: a dial that fails leads to Active, not Idle, so that the neighbour can still reach us; a
//!   session that fails leads to Idle for about a second, then to Active for as long as the back-off says. An
//!   UPDATE does not put off the next KEEPALIVE. A NOTIFICATION in OpenSent just ends the connection.
//! - **RFC 4760, 2545**: IPv4 and IPv6 unicast, next hops of 16 and 32 octets. **RFC 5492**: capabilities, and
//!   §3's attempt without them. **RFC 6793**: both widths of AS numbers, AS4_PATH; no AS4_AGGREGATOR is sent.
//!   **RFC 6286** identifiers, **RFC 6608** subcodes, **RFC 7607** AS 0, **RFC 9072** on receipt.
//! - **RFC 2918** route refresh, answered. **RFC 7313**: its markers are read, not offered.
//! - **RFC 4486, 8203, 9003**: cease with text, sent and shown. **RFC 8538, 9384**: their codes are shown.
//! - **RFC 4724**: §2, the End-of-RIB marker, is always sent; graceful restart is not offered.
//! - **RFC 7606**: as a receiver that keeps nothing. §5.3's disabling of a family is a session reset.
//! - **RFC 9687**: the send hold timer.
//! - Not at all: RFC 8654 (longer messages), 7911 (add-path), 8950 (IPv4 over IPv6 next hops), 4456, 5065, 9234.
//!
//! # An example
//! ```
//! use std::collections::BTreeSet;
//! use std::time::{Duration, Instant};
//! use bgp::{Asn, Family, HoldTime, Output, Peer, PeerConfig, Route, RouterId, State};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = PeerConfig {
//!     local_asn: Asn::parse(65001)?,
//!     peer_asn: Asn::parse(65002)?,
//!     router_id: RouterId::parse("10.0.0.1".parse()?)?,
//!     hold_time: HoldTime::parse(90)?,
//!     keepalive_time: None,
//!     connect_retry_time: Duration::from_secs(120),
//!     families: BTreeSet::from([Family::Ipv4Unicast]),
//! };
//! # #[expect(clippy::disallowed_methods, reason = "an example has to get a time from somewhere")]
//! let now = Instant::now();
//! let mut peer = Peer::new(config, 42, now);
//! peer.announce(now, "192.0.2.1/32".parse()?, Route::default());
//!
//! let later = peer.poll_timeout().ok_or("no deadline")?;
//! peer.handle_timeout(later);
//! assert_eq!(peer.poll_output(), Some(Output::Dial));
//! assert_eq!(peer.poll_output(), Some(Output::Changed(State::Connect)));
//! # Ok(())
//! # }
//! ```

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

//! Answers ARP and NDP for the addresses that this node owns, on one interface.
//!
//! It decides which frame is answered and with what, when an address is announced unasked (a burst when it is
//! taken over, then a refresh each minute), which solicited-node groups must be joined, when somebody else uses an
//! owned address, and how a neighbour is asked whether it has an address. If it is told to, it answers echo requests
//! for owned addresses.
//!
//! A [`Prober`] finds out whether addresses are free that may be owned one day.
//!
//! It never answers for an address that it was not told to own or to cover, never decides who owns or what an answer
//! to a question means, and knows no socket and no clock. The MAC never moves: an address moves by changing what
//! neighbours believe, with the interface's own MAC; a covered address stays where it is.
//!
//! Covered: RFC 826 for Ethernet and IPv4; RFC 5227 §2.1.1 (all of it for candidates; else the form of a probe, and
//! how many, and when, is the asker's to say), §2.3 (announcing), §2.4 (defending, at most once per DEFEND_INTERVAL; the address is never given up); RFC
//! 4861 §4.3, §4.4, §7.1, §7.2.2 to §7.2.6 (of §7.2.2 single solicitations); RFC 4862 §5.4.2 (likewise; a
//! candidate is probed more often than once), §5.4.3
//! (answers to duplicate address detection); RFC 9131 §6 (unsolicited advertisements to ff02::2); RFC 792 and RFC 4443
//! §4.2 (echo replies to whole packets). Not covered: Router and Redirect messages, SEND (RFC 3971), IPv6 extension headers before NDP (such a message is ignored), anycast
//! delays (RFC 4861 §7.2.7).

mod arp;
mod burst;
mod checksum;
mod compose;
mod echo;
mod ethernet;
mod frame;
mod interface;
mod jitter;
mod limits;
mod malformed;
mod ndp;
pub mod prober;
mod questions;
mod reader;
mod responder;
mod stats;

pub use echo::Echo;
pub use frame::Frame;
pub use interface::{Carrier, Interface};
pub use malformed::Malformed;
use names::Mac;
pub use prober::Prober;
pub use questions::Question;
pub use responder::{Output, Responder, Station};
pub use stats::Stats;

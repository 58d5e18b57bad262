use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipnetwork::IpNetwork;
use names::{PoolName, ReservationName, ServiceKey};

use crate::{Audience, Created, Span};

/// Addresses that are kept for certain Services, before these exist and after they are gone
/// (AddressReservation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// For whom.
    pub holder: Holder,
    /// These very addresses, as prefixes.
    pub prefixes: Vec<IpNetwork>,
    /// So many addresses of a pool, of the ledger's choice.
    pub counts: Option<Counts>,
    /// What was chosen for `counts` and not released since, as its status records it.
    pub chosen: BTreeSet<IpAddr>,
    /// What has left the reservation, as its status records it ([`Reclaim::Release`]).
    pub released: BTreeSet<IpAddr>,
    /// What becomes of an address that a Service gives back.
    pub reclaim: Reclaim,
    /// When it ends; it has no effect from then on.
    pub expires: Option<Instant>,
    /// Of two reservations of one address the elder has it.
    pub created: Created,
}

/// For whom addresses are reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// One Service, by namespace and name.
    Service(ServiceKey),
    /// Any of these.
    Audience(Audience),
}

/// How many addresses a reservation chooses from a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The pool.
    pub pool: PoolName,
    /// IPv4 addresses.
    pub ipv4: u32,
    /// IPv6 addresses.
    pub ipv6: u32,
}

/// What becomes of a reserved address that its Service gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// It stays reserved.
    Retain,
    /// It leaves the reservation.
    Release,
}

/// What became of a reservation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservationState {
    /// What the ledger chose for its counts.
    pub chosen: BTreeSet<IpAddr>,
    /// What has left it.
    pub released: BTreeSet<IpAddr>,
    /// Which of its addresses Services hold that it is for, with their holders (at most 256).
    pub used: Vec<(IpAddr, ServiceKey)>,
    /// Which of its addresses others still hold, so that they are kept only when these give them back
    /// (at most 256).
    pub pending: Vec<(IpAddr, ServiceKey)>,
    /// How many of its counts could not be chosen yet.
    pub missing: Counted,
    /// What an elder reservation has (at most 64).
    pub overlaps: Vec<(Span, ReservationName)>,
    /// What no pool has now (at most 64).
    pub outside: Vec<Span>,
    /// Whether it is over.
    pub phase: Phase,
}

/// A number of addresses of each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// IPv4
    pub ipv4: u32,
    /// IPv6
    pub ipv6: u32,
}

/// Whether a reservation is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has effect.
    #[default]
    Active,
    /// Its time is up.
    Expired,
}

//! Status conditions, and the time at which they last changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};
use k8s_openapi::jiff::Timestamp;

use crate::Invalid;

/// The object can be, and is, honoured.
pub const READY: &str = "Ready";
/// On a Service: it has the addresses that it asks for.
pub const ALLOCATED: &str = "ferritelb.io/Allocated";
/// On a Service: the record of the addresses that it was given, and from which pools; as JSON.
pub const ORIGIN: &str = "ferritelb.io/Origin";
/// On a SpeakerStatus: the speaker accepts BGP connections.
pub const BGP_LISTENING: &str = "BGPListening";
/// On a SpeakerStatus: it hears the other speakers.
pub const HEARTBEATS_EXCHANGED: &str = "HeartbeatsExchanged";
/// On a SpeakerStatus: its node forwards what comes to Services.
pub const DATA_PATH_READY: &str = "DataPathReady";
/// On an IPAddressPool: an older pool has some of its addresses, so that it does not give these out. On an
/// AddressReservation: an older one has some of its addresses.
pub const OVERLAP: &str = "Overlap";
/// On an IPAddressPool: Services keep addresses that are no longer its own. On an AddressReservation: no pool has
/// some of its addresses.
pub const OUTSIDE: &str = "Outside";
/// On an IPAddressPool: its spec waits; the message says what it would do.
pub const PAUSED: &str = "Paused";
/// On an IPAddressPool: its Services are being moved to other pools.
pub const DRAINING: &str = "Draining";
/// On an IPAddressPool: some of its addresses are a node's, a gateway, or a subnet's own.
pub const BLOCKED: &str = "Blocked";
/// On an IPAddressPool: some of its addresses are in the cluster's range for Services or pods.
pub const CIDR_CONFLICT: &str = "CIDRConflict";
/// On an AddressReservation: its time is up.
pub const EXPIRED: &str = "Expired";
/// On an AddressReservation: some of its addresses are still held by others, or could not be chosen yet.
pub const PENDING: &str = "Pending";
/// On an AddressOwner: it was moved where somebody asked for it to be.
pub const MOVED: &str = "Moved";
/// On an AddressOwner: another station answers for the address too.
pub const CONFLICT: &str = "Conflict";
/// The API server refuses longer messages.
const MAX_MESSAGE: usize = 32_768;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition as it should be, without the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which, such as [`READY`].
    pub type_: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// Why, in one word in CamelCase.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// The object's `metadata.generation` that was looked at.
    pub generation: Option<i64>,
}

impl Condition {
    /// A condition about an object as a whole, whatever its generation.
    pub fn new(
        type_: &'static str,
        status: Status,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, status, reason: reason.into(), message: message.into(), generation: None }
    }

    /// The same, said about this generation of the object.
    pub fn at(self, generation: Option<i64>) -> Self {
        Self { generation, ..self }
    }

    /// `Ready`: True, or False with reason `Invalid` and the field's path in the message.
    pub fn ready(outcome: Result<(), &Invalid>) -> Self {
        match outcome {
            Ok(()) => Self::new(READY, Status::True, "Valid", "the configuration is in use"),
            Err(invalid) => Self::new(READY, Status::False, "Invalid", invalid.to_string()),
        }
    }

    /// As it is to be written, given what stands there: the time of the last change stays while the status does.
    pub fn written(&self, before: &[Written], now: Timestamp) -> Written {
        let kept = before.iter().find(|one| one.type_ == self.type_ && one.status == self.status.as_str());
        Written {
            last_transition_time: kept.map_or(Time(now), |kept| kept.last_transition_time.clone()),
            message: self.message.chars().take(MAX_MESSAGE / 4).collect(),
            observed_generation: self.generation,
            reason: self.reason.clone(),
            status: self.status.as_str().into(),
            type_: self.type_.into(),
        }
    }

    /// Whether this very condition stands there already.
    pub fn is_in(&self, before: &[Written]) -> bool {
        before.contains(&self.written(before, Timestamp::UNIX_EPOCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_stays_while_the_status_does() {
        let first = Condition::ready(Ok(())).written(&[], at(1));
        let other_message = Condition::new(READY, Status::True, "Valid", "otherwise")
            .written(std::slice::from_ref(&first), at(2));
        assert_eq!(other_message.last_transition_time, Time(at(1)));
        let invalid = Condition::ready(Err(&Invalid::new("spec.x", "no"))).written(&[first], at(3));
        assert_eq!(invalid.last_transition_time, Time(at(3)));
        assert_eq!((invalid.status.as_str(), invalid.message.as_str()), ("False", "spec.x: no"));
    }

    #[test]
    fn a_condition_that_stands_there_is_recognised() {
        let condition = Condition::ready(Ok(())).at(Some(3));
        let written = condition.written(&[], at(1));
        assert!(condition.is_in(std::slice::from_ref(&written)));
        assert!(!condition.clone().at(Some(4)).is_in(std::slice::from_ref(&written)));
        assert!(!condition.is_in(&[]));
    }
}

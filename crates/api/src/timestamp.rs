use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How far two readings of one deadline may lie apart: it is kept on a clock that only runs on, and told on one
/// that is set now and then.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// A deadline as the API writes it, in whole seconds; never before the real one.
pub(crate) fn written(until: Timestamp) -> Time {
    let second = until.as_second() + i64::from(until.subsec_nanosecond() > 0);
    Time(Timestamp::from_second(second).unwrap_or(until))
}

/// Whether two readings are of the same deadline.
pub(crate) fn is_about(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_deadline_is_written_in_whole_seconds_and_not_too_early() {
        let cases = [
            ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"),
            ("2026-11-21T12:00:00.000000001Z", "2026-11-21T12:00:01Z"),
            ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:59Z"),
        ];
        for (until, expected) in cases {
            assert_eq!(written(at(until)).0, at(expected), "{until}");
        }
    }

    #[test]
    fn readings_that_differ_as_clocks_do_are_of_one_deadline() {
        let noon = at("2026-11-21T12:00:00Z");
        assert!(is_about(noon, at("2026-11-21T12:00:02Z")) && is_about(at("2026-11-21T12:00:02Z"), noon));
        assert!(!is_about(noon, at("2026-11-21T12:00:02.1Z")));
    }
}

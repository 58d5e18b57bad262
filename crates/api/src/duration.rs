use std::time::Duration;

use crate::Invalid;

/// Units as `metav1.Duration` writes them; of two that begin alike, the longer first.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A `metav1.Duration`: decimal numbers with units, such as `90s`, `1m30s` or `1.5s`, and `0`.
///
/// # Errors
/// Anything else, a negative one, and one beyond 2^64 ns (some 584 years).
pub(crate) fn parse(field: &str, text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::new(field, format!("{text:?} is not a duration such as 90s or 1m30s"));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let (term, after) = term(rest).ok_or_else(invalid)?;
        sum = sum.checked_add(term).ok_or_else(invalid)?;
        rest = after;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(Duration::from_nanos(sum)) }
}

/// The first number with its unit in nanoseconds, and what follows.
fn term(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
    let (number, rest) = text.split_at_checked(end)?;
    let (unit, scale) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let nanoseconds = whole.checked_mul(*scale)?.checked_add(part(fraction, *scale)?)?;
    Some((nanoseconds, rest.strip_prefix(unit)?))
}

/// A decimal fraction of a unit; what is below a nanosecond is dropped.
fn part(digits: &str, scale: u64) -> Option<u64> {
    let mut worth = scale;
    digits.chars().try_fold(0u64, |sum, digit| {
        worth /= 10;
        sum.checked_add(u64::from(digit.to_digit(10)?) * worth)
    })
}

/// A duration in whole seconds.
///
/// # Errors
/// As [`parse`], and one with a part of a second.
pub(crate) fn parse_seconds(field: &str, text: &str) -> Result<u64, Invalid> {
    let duration = parse(field, text)?;
    if duration.subsec_nanos() == 0 {
        Ok(duration.as_secs())
    } else {
        Err(Invalid::new(field, format!("{text} is not a whole number of seconds")))
    }
}

/// A duration that is not longer than that.
///
/// # Errors
/// As [`parse`], and a longer one.
pub(crate) fn parse_within(field: &str, text: &str, most: Duration) -> Result<Duration, Invalid> {
    let duration = parse(field, text)?;
    if duration <= most {
        Ok(duration)
    } else {
        Err(Invalid::new(field, format!("{text} is longer than {}s", most.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u128> {
        parse("f", text).ok().map(|duration| duration.as_nanos())
    }

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("100ms", 100_000_000),
            ("1h0m0.25s", 3_600_250_000_000),
            ("3µs", 3_000),
            ("1.5ns", 1),
        ];
        for (text, expected) in cases {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "90", "s", ".s", "-1s", "1.2.3s", "1d", "5 s", "99999999999999999999s", "600000000h"]
        {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_of_a_second_is_not_dropped_silently() {
        assert_eq!(parse_seconds("f", "1m"), Ok(60));
        assert!(parse_seconds("f", "1500ms").is_err());
    }

    #[test]
    fn the_longest_is_still_allowed() {
        let most = Duration::from_secs(90);
        assert_eq!(parse_within("f", "1m30s", most), Ok(most));
        assert_eq!(parse_within("f", "90.1s", most).unwrap_err().to_string(), "f: 90.1s is longer than 90s");
    }
}

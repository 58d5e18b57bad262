use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use crate::Invalid;

/// The first and the last address of a pool's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

/// CIDRs and ranges as prefixes, in the order given. A range becomes the fewest prefixes that make it up.
///
/// # Errors
/// No entry at all; an entry that is neither form, runs backward, mixes families, holds addresses that no
/// Service can have, or overlaps an earlier one.
pub(crate) fn parse_all(field: &str, entries: &[String]) -> Result<Vec<IpNetwork>, Invalid> {
    if entries.is_empty() {
        return Err(Invalid::new(field, "at least one CIDR or range is needed"));
    }
    let mut ranges: Vec<Range> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let blame = |why: String| Invalid::new(format!("{field}[{index}]"), why);
        let range = parse(entry).map_err(blame)?;
        range.check_usable(entry).map_err(blame)?;
        if let Some(at) = ranges.iter().position(|other| other.overlaps(range)) {
            return Err(blame(format!("{entry} overlaps {field}[{at}]")));
        }
        ranges.push(range);
    }
    Ok(ranges.into_iter().flat_map(Range::prefixes).collect())
}

/// CIDRs, ranges and single addresses as prefixes, in the order given. They only point at addresses, so they may
/// overlap, and be such as no Service can have.
///
/// # Errors
/// An entry that is none of these, runs backward or mixes families.
pub(crate) fn parse_any(field: &str, entries: &[String]) -> Result<Vec<IpNetwork>, Invalid> {
    let ranges = entries.iter().enumerate().map(|(index, entry)| {
        let range = address(entry.trim()).and_then(|one| between(one, one)).or_else(|_| parse(entry));
        range.map_err(|why| Invalid::new(format!("{field}[{index}]"), why))
    });
    Ok(ranges.collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(Range::prefixes).collect())
}

fn parse(entry: &str) -> Result<Range, String> {
    match entry.split_once('-') {
        Some((first, last)) => between(address(first.trim())?, address(last.trim())?),
        None => cidr(entry.trim()),
    }
}

fn between(first: IpAddr, last: IpAddr) -> Result<Range, String> {
    let range = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Range::V4(first.into(), last.into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => Range::V6(first.into(), last.into()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(format!("{first} and {last} are of different families"));
        }
    };
    if first > last { Err(format!("the range starts at {first}, after its end {last}")) } else { Ok(range) }
}

fn cidr(text: &str) -> Result<Range, String> {
    let Some((base, length)) = text.split_once('/') else {
        return match address(text) {
            Ok(address) if address.is_ipv4() => Err(format!("{text} has no prefix length; write {text}/32")),
            Ok(_) => Err(format!("{text} has no prefix length; write {text}/128")),
            Err(_) => Err(format!("{text:?} is neither a CIDR nor a range")),
        };
    };
    let base = address(base)?;
    let length: u8 = length.parse().map_err(|_| format!("{length:?} is not a prefix length"))?;
    let network = IpNetwork::new(base, length).map_err(|_| format!("/{length} is too long for {base}"))?;
    Ok(match network {
        IpNetwork::V4(network) => Range::V4(network.network().into(), network.broadcast().into()),
        IpNetwork::V6(network) => Range::V6(network.network().into(), network.broadcast().into()),
    })
}

fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("{text} is an IPv4 address in IPv6 form"))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

/// Addresses that nobody can reach a Service by.
const UNUSABLE: [(Range, &str); 7] = [
    (Range::V4(0, 0x00ff_ffff), "addresses of \"this network\", 0.0.0.0/8"),
    (Range::V4(0x7f00_0000, 0x7fff_ffff), "loopback addresses"),
    (Range::V4(0xe000_0000, 0xefff_ffff), "multicast addresses"),
    (Range::V4(0xffff_ffff, 0xffff_ffff), "the broadcast address"),
    (Range::V6(0, 1), "the unspecified or the loopback address"),
    (Range::V6(0xfe80 << 112, (0xfec0 << 112) - 1), "link-local addresses"),
    (Range::V6(0xff00 << 112, u128::MAX), "multicast addresses"),
];

impl Range {
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(first, last), Self::V4(start, end)) => first <= end && start <= last,
            (Self::V6(first, last), Self::V6(start, end)) => first <= end && start <= last,
            (Self::V4(..), Self::V6(..)) | (Self::V6(..), Self::V4(..)) => false,
        }
    }

    fn check_usable(self, entry: &str) -> Result<(), String> {
        match UNUSABLE.iter().find(|(unusable, _)| self.overlaps(*unusable)) {
            Some((_, what)) => Err(format!("{entry} holds {what}, which no Service can have")),
            None => Ok(()),
        }
    }

    fn prefixes(self) -> Vec<IpNetwork> {
        let (first, last, bits) = match self {
            Self::V4(first, last) => (first.into(), last.into(), 32),
            Self::V6(first, last) => (first, last, 128),
        };
        blocks(first, last, bits)
            .into_iter()
            .filter_map(|(base, length)| prefix(base, length, bits))
            .collect()
    }
}

/// The largest aligned blocks from `first` to `last`, as base and prefix length.
fn blocks(first: u128, last: u128, bits: u32) -> Vec<(u128, u32)> {
    let mut blocks = Vec::new();
    let mut next = Some(first);
    while let Some(base) = next.filter(|base| *base <= last) {
        let aligned = base.trailing_zeros().min(bits);
        let fits = (last - base).checked_add(1).map_or(bits, u128::ilog2);
        let size = aligned.min(fits);
        blocks.push((base, bits - size));
        next = 1u128.checked_shl(size).and_then(|count| base.checked_add(count));
    }
    blocks
}

fn prefix(base: u128, length: u32, bits: u32) -> Option<IpNetwork> {
    let length = u8::try_from(length).ok()?;
    if bits == 32 {
        let base = Ipv4Addr::from(u32::try_from(base).ok()?);
        Ipv4Network::new(base, length).ok().map(IpNetwork::V4)
    } else {
        Ipv6Network::new(Ipv6Addr::from(base), length).ok().map(IpNetwork::V6)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(entries: &[&str]) -> Result<String, Invalid> {
        let entries: Vec<_> = entries.iter().map(|entry| entry.to_string()).collect();
        let prefixes = parse_all("spec.addresses", &entries)?;
        Ok(prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn cidrs_and_ranges_become_the_fewest_prefixes() {
        let cases = [
            ("10.20.30.40/24", "10.20.30.0/24"),
            ("2001:db8::7/64", "2001:db8::/64"),
            ("10.0.0.1-10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0 - 10.0.0.255", "10.0.0.0/24"),
            (
                "10.77.0.200-10.77.0.249",
                "10.77.0.200/29 10.77.0.208/28 10.77.0.224/28 10.77.0.240/29 10.77.0.248/31",
            ),
            ("fd77::200-fd77::2ff", "fd77::200/120"),
        ];
        for (entry, expected) in cases {
            assert_eq!(parsed(&[entry]).as_deref(), Ok(expected), "{entry}");
        }
    }

    #[test]
    fn single_addresses_do_where_addresses_are_only_pointed_at() {
        let entries = ["10.0.0.1", " fd00::1 ", "10.0.0.0/31", "10.0.0.0-10.0.0.3", "127.0.0.1"];
        let prefixes = parse_any("spec.exclude", &entries.map(String::from)).unwrap();
        let expected = ["10.0.0.1/32", "fd00::1/128", "10.0.0.0/31", "10.0.0.0/30", "127.0.0.1/32"];
        assert_eq!(prefixes, expected.map(|text| text.parse::<IpNetwork>().unwrap()));
        for (wrong, why) in [
            ("10.0.0.9-10.0.0.1", "after its end"),
            ("10.0.0.1-fd00::1", "different families"),
            ("10.0.0.0/33", "too long"),
            ("::ffff:10.0.0.1", "is neither"),
            ("1.2.3", "is neither"),
        ] {
            let refused = parse_any("spec.exclude", &["10.0.0.1".into(), wrong.into()]).unwrap_err();
            assert_eq!(refused.field, "spec.exclude[1]", "{wrong}");
            assert!(refused.why.contains(why), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_a_pool_is_refused_and_blamed() {
        let cases: [(&[&str], &str, &str); 16] = [
            (&[], "spec.addresses", "at least one"),
            (&["10.0.0.9-10.0.0.1"], "spec.addresses[0]", "after its end"),
            (&["10.0.0.1-fd00::1"], "spec.addresses[0]", "different families"),
            (&["10.0.0.1"], "spec.addresses[0]", "write 10.0.0.1/32"),
            (&["fd00::1"], "spec.addresses[0]", "write fd00::1/128"),
            (&["10.0.0.0/24", "1.2.3"], "spec.addresses[1]", "neither a CIDR nor a range"),
            (&["10.0.0.0/33"], "spec.addresses[0]", "too long"),
            (&["10.0.0.0/-1"], "spec.addresses[0]", "is not"),
            (&["10.0.0.0/x"], "spec.addresses[0]", "is not a prefix length"),
            (&["::ffff:10.0.0.1/128"], "spec.addresses[0]", "in IPv6 form"),
            (&["127.0.0.0/24"], "spec.addresses[0]", "loopback"),
            (&["223.0.0.0-225.0.0.0"], "spec.addresses[0]", "multicast"),
            (&["fe80::/64"], "spec.addresses[0]", "link-local"),
            (&["::/0"], "spec.addresses[0]", "unspecified"),
            (&["10.0.0.0/24", "10.0.0.255-10.0.1.3"], "spec.addresses[1]", "overlaps spec.addresses[0]"),
            (&["1-2-3"], "spec.addresses[0]", "not an IP address"),
        ];
        for (entries, field, why) in cases {
            let invalid = parsed(entries).unwrap_err();
            assert_eq!(invalid.field, field, "{entries:?}");
            assert!(invalid.why.contains(why), "{entries:?}: {}", invalid.why);
        }
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        assert_eq!(blocks(0, u128::MAX, 128), [(0, 0)]);
        assert_eq!(blocks(0, u32::MAX.into(), 32), [(0, 0)]);
        assert_eq!(blocks(u128::MAX, u128::MAX, 128), [(u128::MAX, 128)]);
    }

    proptest! {
        #[test]
        fn the_prefixes_of_a_range_are_the_range(one: u128, other: u128, wide: bool) {
            let bits = if wide { 128 } else { 32 };
            let (one, other) = if wide { (one, other) } else { (one >> 96, other >> 96) };
            let (first, last) = (one.min(other), one.max(other));
            let blocks = blocks(first, last, bits);
            let mut next = Some(first);
            for (base, length) in &blocks {
                prop_assert_eq!(Some(*base), next, "a gap or an overlap");
                let size = bits - length;
                prop_assert!(base.trailing_zeros() >= size || *base == 0);
                next = 1u128.checked_shl(size).and_then(|count| base.checked_add(count));
            }
            prop_assert_eq!(next, last.checked_add(1));
            prop_assert!(blocks.len() <= 2 * usize::try_from(bits).unwrap());
        }
    }
}

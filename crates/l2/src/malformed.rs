/// Why a frame that claims to be ARP, Neighbor Discovery or an echo request was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its own format or its own length field.
    #[error("truncated")]
    Truncated,
    /// The Ethernet source is a group or zero.
    #[error("source MAC address is not of one station")]
    EthernetSource,
    /// ARP for other than Ethernet and IPv4, or with other address lengths.
    #[error("not ARP for IPv4 over Ethernet")]
    ArpFormat,
    /// The sender hardware address is a group or zero.
    #[error("sender hardware address is not of one station")]
    SenderHardwareAddress,
    /// The IP version is not that of the EtherType.
    #[error("wrong IP version")]
    IpVersion,
    /// The IP source address cannot be a source: a group, or unspecified where it may not be.
    #[error("source address cannot send this")]
    SourceAddress,
    /// Hop limit other than 255: it came through a router (RFC 4861 §7.1).
    #[error("hop limit is not 255")]
    HopLimit,
    /// ICMPv6, ICMP or IPv4 checksum.
    #[error("checksum is wrong")]
    Checksum,
    /// ICMP or ICMPv6 code other than 0.
    #[error("code is not 0")]
    Code,
    /// The target address is a group.
    #[error("target is a multicast address")]
    Target,
    /// An option of length 0, longer than the message, or of the wrong length for what it carries.
    #[error("option has a wrong length")]
    OptionLength,
    /// A link-layer address option that is not of one station.
    #[error("link-layer address option is not of one station")]
    LinkLayerAddress,
    /// From the unspecified address, but not to a solicited-node group or with a source link-layer address.
    #[error("duplicate address detection in a wrong form")]
    DuplicateDetection,
    /// A multicast advertisement that claims to answer a solicitation.
    #[error("multicast advertisement with the solicited flag")]
    SolicitedMulticast,
}

impl Malformed {
    /// All of them, so that a counter exists before the first one is seen.
    pub const ALL: [Self; 14] = [
        Self::Truncated,
        Self::EthernetSource,
        Self::ArpFormat,
        Self::SenderHardwareAddress,
        Self::IpVersion,
        Self::SourceAddress,
        Self::HopLimit,
        Self::Checksum,
        Self::Code,
        Self::Target,
        Self::OptionLength,
        Self::LinkLayerAddress,
        Self::DuplicateDetection,
        Self::SolicitedMulticast,
    ];

    /// One word, for a metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "Truncated",
            Self::EthernetSource => "EthernetSource",
            Self::ArpFormat => "ArpFormat",
            Self::SenderHardwareAddress => "SenderHardwareAddress",
            Self::IpVersion => "IpVersion",
            Self::SourceAddress => "SourceAddress",
            Self::HopLimit => "HopLimit",
            Self::Checksum => "Checksum",
            Self::Code => "Code",
            Self::Target => "Target",
            Self::OptionLength => "OptionLength",
            Self::LinkLayerAddress => "LinkLayerAddress",
            Self::DuplicateDetection => "DuplicateDetection",
            Self::SolicitedMulticast => "SolicitedMulticast",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_is_listed_once_under_its_own_name() {
        let names: BTreeSet<_> = Malformed::ALL.iter().map(|malformed| malformed.reason()).collect();
        assert_eq!(names.len(), Malformed::ALL.len());
        for malformed in Malformed::ALL {
            assert_eq!(malformed.reason(), format!("{malformed:?}"));
        }
    }
}

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::attribute::{
    AS_PATH, AS_SEQUENCE, AS4_PATH, EXTENDED_LENGTH, LOCAL_PREF, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP,
    OPTIONAL, ORIGIN, TRANSITIVE,
};
use super::{AsNumbers, Dialect, HEADER, MAX_MESSAGE, MessageType, frame, length};
use crate::ids::{AS_TRANS, Asn, Family};

/// ORIGIN IGP: the route is interior to the AS that says so (RFC 4271 §4.3).
const IGP: u8 = 0;

/// What routes have in common that share an UPDATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAttributes {
    /// One AS_SEQUENCE; empty toward an internal peer (RFC 4271 §5.1.2).
    pub as_path: Vec<Asn>,
    /// Where packets go.
    pub next_hop: NextHop,
    /// Toward internal peers only (RFC 4271 §5.1.5).
    pub local_pref: Option<u32>,
}

/// Where packets go; says the family, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// In NEXT_HOP.
    V4(Ipv4Addr),
    /// In MP_REACH_NLRI; with the link-local address where the peer is on the same link (RFC 2545 §3).
    V6 {
        /// The global address.
        global: Ipv6Addr,
        /// The link-local address.
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// Of which family routes are that go there.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::Ipv4Unicast,
            Self::V6 { .. } => Family::Ipv6Unicast,
        }
    }

    fn octets(&self) -> Vec<u8> {
        match self {
            Self::V4(address) => address.octets().to_vec(),
            Self::V6 { global, link_local } => {
                let both = [Some(*global), *link_local];
                both.into_iter().flatten().flat_map(|address| address.octets()).collect()
            }
        }
    }
}

/// No further prefix fits this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is full")]
pub struct Full;

/// An UPDATE that is being filled: either withdraws or announces, in one family.
#[derive(Debug, Clone)]
pub struct Draft {
    form: Form,
    prefixes: Vec<u8>,
    room: usize,
}

/// What the prefixes are embedded in.
#[derive(Debug, Clone)]
enum Form {
    Withdrawn,
    Unreach(Family),
    Nlri { attributes: Vec<u8> },
    Reach { head: Vec<u8>, attributes: Vec<u8> },
}

/// Header and the two lengths inside an UPDATE.
const FIXED: usize = HEADER + 4;
/// Flags, type and a length of two octets.
const ATTRIBUTE_HEADER: usize = 4;

impl Draft {
    /// Takes back routes of `family`.
    pub fn withdraw(family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => Self::with(Form::Withdrawn, 0),
            Family::Ipv6Unicast => Self::with(Form::Unreach(family), ATTRIBUTE_HEADER + 3),
        }
    }

    /// Announces routes of the family of their next hop.
    pub fn announce(dialect: &Dialect, path: &PathAttributes) -> Self {
        let attributes = path.emit(dialect.as_numbers);
        let used = attributes.len();
        match path.next_hop.family() {
            Family::Ipv4Unicast => Self::with(Form::Nlri { attributes }, used),
            family @ Family::Ipv6Unicast => {
                let head = reach_head(family, &path.next_hop);
                let used = used + ATTRIBUTE_HEADER + head.len();
                Self::with(Form::Reach { head, attributes }, used)
            }
        }
    }

    fn with(form: Form, used: usize) -> Self {
        Self { form, prefixes: Vec::new(), room: MAX_MESSAGE.saturating_sub(FIXED + used) }
    }

    /// Adds a prefix, which must be of the draft's family.
    pub fn push(&mut self, prefix: IpNetwork) -> Result<(), Full> {
        let bits = usize::from(prefix.prefix()).div_ceil(8);
        if self.prefixes.len() + 1 + bits > self.room {
            return Err(Full);
        }
        self.prefixes.push(prefix.prefix());
        match prefix {
            IpNetwork::V4(prefix) => self.prefixes.extend(prefix.network().octets().into_iter().take(bits)),
            IpNetwork::V6(prefix) => self.prefixes.extend(prefix.network().octets().into_iter().take(bits)),
        }
        Ok(())
    }

    /// The whole message.
    pub fn emit(self) -> Vec<u8> {
        let prefixes = self.prefixes;
        match self.form {
            Form::Withdrawn => update(&prefixes, &[], &[]),
            Form::Nlri { attributes } => update(&[], &attributes, &prefixes),
            Form::Unreach(family) => update(&[], &unreach(family, &prefixes), &[]),
            Form::Reach { mut head, attributes } => {
                head.extend(prefixes);
                // RFC 7606 §5.1: the MP attribute comes first
                let first = attribute(OPTIONAL, MP_REACH_NLRI, &head);
                update(&[], &[first, attributes].concat(), &[])
            }
        }
    }
}

/// Says that all routes of a family have been told (RFC 4724 §2).
pub fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4Unicast => update(&[], &[], &[]),
        Family::Ipv6Unicast => update(&[], &unreach(family, &[]), &[]),
    }
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let lengths = (length(withdrawn.len()), length(attributes.len()));
    let body = [&lengths.0, withdrawn, &lengths.1, attributes, nlri].concat();
    frame(MessageType::Update, &body)
}

/// MP_REACH_NLRI up to its prefixes: family, next hop, and an octet that is reserved.
fn reach_head(family: Family, next_hop: &NextHop) -> Vec<u8> {
    let next_hop = next_hop.octets();
    let mut head = family_octets(family).to_vec();
    head.extend(u8::try_from(next_hop.len()));
    head.extend(next_hop);
    head.push(0);
    head
}

fn unreach(family: Family, prefixes: &[u8]) -> Vec<u8> {
    attribute(OPTIONAL, MP_UNREACH_NLRI, &[&family_octets(family), prefixes].concat())
}

fn family_octets(family: Family) -> [u8; 3] {
    let [high, low] = family.afi().to_be_bytes();
    [high, low, family.safi()]
}

impl PathAttributes {
    /// All but MP_REACH_NLRI, by ascending type.
    fn emit(&self, numbers: AsNumbers) -> Vec<u8> {
        let mut attributes = attribute(TRANSITIVE, ORIGIN, &[IGP]);
        attributes.extend(attribute(TRANSITIVE, AS_PATH, &as_path(&self.as_path, numbers)));
        if let NextHop::V4(address) = self.next_hop {
            attributes.extend(attribute(TRANSITIVE, NEXT_HOP, &address.octets()));
        }
        if let Some(preference) = self.local_pref {
            attributes.extend(attribute(TRANSITIVE, LOCAL_PREF, &preference.to_be_bytes()));
        }
        // RFC 6793 §4.2.2: only if AS_PATH had to leave something out
        let mapped = self.as_path.iter().any(|asn| asn.two_octets() == AS_TRANS);
        if numbers == AsNumbers::TwoOctets && mapped {
            let path = as_path(&self.as_path, AsNumbers::FourOctets);
            attributes.extend(attribute(OPTIONAL | TRANSITIVE, AS4_PATH, &path));
        }
        attributes
    }
}

fn as_path(path: &[Asn], numbers: AsNumbers) -> Vec<u8> {
    let Some(count) = u8::try_from(path.len()).ok().filter(|count| *count != 0) else { return Vec::new() };
    let mut segment = vec![AS_SEQUENCE, count];
    for asn in path {
        match numbers {
            AsNumbers::TwoOctets => segment.extend(asn.two_octets().to_be_bytes()),
            AsNumbers::FourOctets => segment.extend(asn.get().to_be_bytes()),
        }
    }
    segment
}

fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::with_capacity(ATTRIBUTE_HEADER + value.len());
    if let Ok(length) = u8::try_from(value.len()) {
        attribute.extend([flags, kind, length]);
    } else {
        attribute.extend([flags | EXTENDED_LENGTH, kind]);
        attribute.extend(length(value.len()));
    }
    attribute.extend(value);
    attribute
}

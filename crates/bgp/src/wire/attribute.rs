use super::reader::{Reader, Truncated};
use super::{AsNumbers, Dialect, Neighbour};

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;
pub(super) const AS4_PATH: u8 = 17;

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

pub(super) const AS_SEQUENCE: u8 = 2;

/// One path attribute as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub(super) flags: u8,
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
    /// Header and value.
    pub(super) octets: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(super) fn next(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let whole = reader.rest();
        let (flags, kind) = (reader.u8()?, reader.u8()?);
        let extended = flags & EXTENDED_LENGTH != 0;
        let length = if extended { reader.u16()? } else { reader.u8()?.into() };
        let value = reader.take(length.into())?;
        let used = whole.len() - reader.rest().len();
        Ok(Self { flags, kind, value, octets: whole.get(..used).unwrap_or_default() })
    }
}

/// What to do about an attribute (RFC 7606 §2), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is well-formed.
    Sound,
    /// It counts as not there.
    Discard,
    /// The UPDATE's routes count as withdrawn.
    TreatAsWithdraw,
    /// A well-known attribute that we do not know: the session cannot go on (RFC 4271 §6.3).
    Unrecognized,
}

/// The optional and transitive bits that a known attribute must have.
fn category(kind: u8) -> Option<u8> {
    match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | 6 => Some(TRANSITIVE),
        4 | 9 | 10 | MP_REACH_NLRI | MP_UNREACH_NLRI | 26 | 29 => Some(OPTIONAL),
        7 | 8 | 16 | AS4_PATH | 18 | 22 | 23 | 25 | 32 | 35 | 40 | 128 => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

/// Judges every attribute but the two MP ones, which have a framing of their own. RFC 7606 §3 and §7.
pub(super) fn judge(raw: &Raw<'_>, dialect: &Dialect) -> Verdict {
    let bits = raw.flags & (OPTIONAL | TRANSITIVE);
    match category(raw.kind) {
        None if bits & OPTIONAL == 0 => Verdict::Unrecognized,
        Some(expected) if expected != bits => Verdict::TreatAsWithdraw,
        None | Some(_) => judge_value(raw.kind, raw.value, dialect),
    }
}

fn judge_value(kind: u8, value: &[u8], dialect: &Dialect) -> Verdict {
    let length = value.len();
    let external = dialect.neighbour == Neighbour::External;
    match kind {
        LOCAL_PREF | 9 | 10 if external => Verdict::Discard,
        ORIGIN => withdraw_unless(matches!(value, [0..=2])),
        AS_PATH => withdraw_unless(as_path_is_sound(value, dialect.as_numbers)),
        NEXT_HOP | 4 | LOCAL_PREF | 9 | 35 => withdraw_unless(length == 4),
        6 => discard_unless(length == 0),
        7 => discard_unless(aggregator_is_sound(value, dialect.as_numbers)),
        8 | 10 => withdraw_unless(some_of(4, length)),
        16 => withdraw_unless(some_of(8, length)),
        25 => withdraw_unless(some_of(20, length)),
        32 => withdraw_unless(some_of(12, length)),
        AS4_PATH | 18 if dialect.as_numbers == AsNumbers::FourOctets => Verdict::Discard, // RFC 6793 §4.1
        AS4_PATH => discard_unless(as_path_is_sound(value, AsNumbers::FourOctets)),
        18 => discard_unless(aggregator_is_sound(value, AsNumbers::FourOctets)),
        22 => withdraw_unless(length >= 5),
        23 => withdraw_unless(tunnels_are_sound(value)),
        26 => discard_unless(tlvs_are_sound(value, |length| length.checked_sub(3))),
        40 => discard_unless(tlvs_are_sound(value, Some)),
        128 => withdraw_unless(length >= 4),
        _ => Verdict::Sound,
    }
}

fn withdraw_unless(sound: bool) -> Verdict {
    if sound { Verdict::Sound } else { Verdict::TreatAsWithdraw }
}

fn discard_unless(sound: bool) -> Verdict {
    if sound { Verdict::Sound } else { Verdict::Discard }
}

fn some_of(size: usize, length: usize) -> bool {
    length != 0 && length.is_multiple_of(size)
}

/// Segments of a known type that fill the attribute, none empty, no AS 0 (RFC 7606 §7.2, RFC 7607 §2).
/// Confederation segments may not come from a peer that is in no confederation with us, and nobody is.
fn as_path_is_sound(value: &[u8], numbers: AsNumbers) -> bool {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        if segment(&mut reader, numbers) != Ok(true) {
            return false;
        }
    }
    true
}

fn segment(reader: &mut Reader<'_>, numbers: AsNumbers) -> Result<bool, Truncated> {
    let (kind, count) = (reader.u8()?, reader.u8()?);
    let mut sound = matches!(kind, 1 | AS_SEQUENCE) && count != 0;
    for _ in 0..count {
        sound &= number(reader, numbers)? != 0;
    }
    Ok(sound)
}

fn number(reader: &mut Reader<'_>, numbers: AsNumbers) -> Result<u32, Truncated> {
    match numbers {
        AsNumbers::TwoOctets => reader.u16().map(u32::from),
        AsNumbers::FourOctets => reader.u32(),
    }
}

/// An AS number, not 0, and four octets of address.
fn aggregator_is_sound(value: &[u8], numbers: AsNumbers) -> bool {
    let mut reader = Reader::new(value);
    number(&mut reader, numbers).is_ok_and(|asn| asn != 0) && reader.rest().len() == 4
}

/// Type of one octet, length of two, value; `own` says how much of the length is value.
fn tlvs_are_sound(value: &[u8], own: impl Fn(usize) -> Option<usize>) -> bool {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        let header = reader.u8().and_then(|_| reader.u16());
        let Some(length) = header.ok().and_then(|length| own(length.into())) else { return false };
        if reader.take(length).is_err() {
            return false;
        }
    }
    !value.is_empty()
}

/// Tunnels of type and length in two octets each (RFC 9012 §2).
fn tunnels_are_sound(value: &[u8]) -> bool {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        let header = reader.u16().and_then(|_| reader.u16());
        if header.and_then(|length| reader.take(length.into())).is_err() {
            return false;
        }
    }
    !value.is_empty()
}

//! Golden vectors: blocks of `#` comments, hexadecimal octets and `=> outcome`, separated by empty lines.
//! An outcome behind `<=>` is also what we emit.

use std::fmt::Write;
use std::path::Path;

use super::*;

/// One block of a file.
struct Vector {
    place: String,
    octets: Vec<u8>,
    outcome: String,
    emitted: bool,
}

fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

fn vectors(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut vectors = Vec::new();
    let mut octets = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (emitted, outcome) = (line.strip_prefix("<=> "), line.strip_prefix("=> "));
        if let Some(outcome) = emitted.or(outcome) {
            let place = format!("{file}:{}", number + 1);
            let octets = std::mem::take(&mut octets);
            vectors.push(Vector { place, octets, outcome: outcome.to_owned(), emitted: emitted.is_some() });
        } else if !line.starts_with('#') {
            octets.extend(hexadecimal(&line.replace("MARKER", &"ff".repeat(16))));
        }
    }
    assert!(octets.is_empty() && !vectors.is_empty(), "{file} ends with an outcome");
    vectors
}

fn describe(octets: &[u8], dialect: &Dialect) -> String {
    match Frame::split(octets) {
        Ok(None) => "incomplete".to_owned(),
        Ok(Some(frame)) if frame.octets.len() < octets.len() => "more than one message".to_owned(),
        Ok(Some(frame)) => described(&frame, dialect).unwrap_or_else(|error| refused(&error)),
        Err(error) => refused(&error),
    }
}

fn refused(DecodeError(told): &DecodeError) -> String {
    let data = told.data.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"));
    let shown = if data.len() > 60 { format!("{} octets", told.data.len()) } else { data };
    format!("refuse {}/{} {shown}", told.error.code, told.error.subcode).trim_end().to_owned()
}

fn described(frame: &Frame<'_>, dialect: &Dialect) -> Result<String, DecodeError> {
    Ok(match frame.kind {
        MessageType::Keepalive => "keepalive".to_owned(),
        MessageType::Notification => Notification::parse(frame.body)
            .map_or("no notification".to_owned(), |told| format!("told {told}")),
        MessageType::RouteRefresh => match RouteRefresh::parse(frame)? {
            Some(refresh) => format!("refresh {} {:?}", refresh.family, refresh.subtype),
            None => "refresh ignored".to_owned(),
        },
        MessageType::Open => open_line(&Open::parse(frame.body)?),
        MessageType::Update => update_line(&Update::parse(frame.body, dialect)?),
    })
}

fn open_line(open: &Open) -> String {
    let Open { my_as, hold_time, router_id, capabilities } = open;
    let Capabilities { families, route_refresh, asn } = capabilities;
    let hold = hold_time.map_or(0, HoldTime::seconds);
    let mut line = format!("open as {my_as} hold {hold} id {router_id}");
    for family in families.iter().flatten() {
        write!(line, " {family}").unwrap();
    }
    line += if *route_refresh { " refresh" } else { "" };
    asn.iter().for_each(|asn| write!(line, " as4 {asn}").unwrap());
    line
}

fn update_line(update: &Update<'_>) -> String {
    let mut line = "update".to_owned();
    let unreach = update.mp_unreach.into_iter().flat_map(|unreach| unreach.withdrawn);
    update.withdrawn.chain(unreach).for_each(|prefix| write!(line, " -{prefix}").unwrap());
    let reach = update.mp_reach.into_iter().flat_map(|reach| reach.nlri);
    update.nlri.chain(reach).for_each(|prefix| write!(line, " +{prefix}").unwrap());
    update.end_of_rib().iter().for_each(|family| write!(line, " end-of-rib {family}").unwrap());
    update.treat_as_withdraw.iter().for_each(|flaw| write!(line, " treat-as-withdraw {flaw:?}").unwrap());
    if update.discarded > 0 {
        write!(line, " discarded {}", update.discarded).unwrap();
    }
    line
}

/// Writes again what was read, where that is a thing that we write at all.
fn again(octets: &[u8], dialect: &Dialect) -> Vec<u8> {
    let frame = whole(octets);
    match frame.kind {
        MessageType::Keepalive => keepalive(),
        MessageType::Notification => Notification::parse(frame.body).unwrap().emit(),
        MessageType::RouteRefresh => RouteRefresh::parse(&frame).unwrap().unwrap().emit(),
        MessageType::Open => Open::parse(frame.body).unwrap().emit(),
        MessageType::Update => update_again(&update(octets, dialect), dialect),
    }
}

fn update_again(update: &Update<'_>, dialect: &Dialect) -> Vec<u8> {
    if let Some(family) = update.end_of_rib() {
        return end_of_rib(family);
    }
    let next_hop = update
        .attribute(attribute::NEXT_HOP)
        .map(|octets| NextHop::V4(<[u8; 4]>::try_from(octets).unwrap().into()));
    let next_hop = next_hop.or(update.mp_reach.map(|reach| {
        let half = |octets: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap());
        NextHop::V6 { global: half(&reach.next_hop[..16]), link_local: reach.next_hop.get(16..32).map(half) }
    }));
    let mut draft = match next_hop {
        None => Draft::withdraw(update.mp_unreach.map_or(Family::Ipv4Unicast, |unreach| unreach.family)),
        Some(next_hop) => {
            let as_path = received_path(update, dialect.as_numbers)
                .into_iter()
                .map(|asn| Asn::parse(asn).unwrap())
                .collect();
            let preference = update.attribute(attribute::LOCAL_PREF);
            let local_pref = preference.map(|octets| u32::from_be_bytes(octets.try_into().unwrap()));
            Draft::announce(dialect, &PathAttributes { as_path, next_hop, local_pref })
        }
    };
    let unreach = update.mp_unreach.into_iter().flat_map(|unreach| unreach.withdrawn);
    let reach = update.mp_reach.into_iter().flat_map(|reach| reach.nlri);
    update
        .withdrawn
        .chain(unreach)
        .chain(update.nlri)
        .chain(reach)
        .for_each(|prefix| draft.push(prefix).unwrap());
    draft.emit()
}

fn check(file: &str, dialect: &Dialect) {
    for Vector { place, octets, outcome, emitted } in vectors(file) {
        assert_eq!(describe(&octets, dialect), outcome, "{place}");
        if emitted {
            assert_eq!(again(&octets, dialect), octets, "{place} is not what we emit");
        }
    }
}

#[test]
fn headers_are_judged_as_the_rfc_says() {
    check("header.hex", &modern());
}

#[test]
fn opens_are_read_as_the_rfcs_say() {
    check("open.hex", &modern());
}

#[test]
fn notifications_and_refreshes_are_read_as_the_rfcs_say() {
    check("notification.hex", &modern());
    check("refresh.hex", &modern());
}

#[test]
fn updates_are_read_and_written_as_the_rfcs_say() {
    check("update.hex", &modern());
    check("update_internal.hex", &dialect(AsNumbers::FourOctets, Neighbour::Internal));
    check("update_two_octets.hex", &dialect(AsNumbers::TwoOctets, Neighbour::External));
}

#[test]
fn what_routers_send_is_understood() {
    check("routers.hex", &modern());
}

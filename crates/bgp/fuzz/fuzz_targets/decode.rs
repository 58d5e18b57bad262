//! Any octets as a stream of messages: no parser panics or reads past a message, and what parses can be read.
#![no_main]

use std::collections::BTreeSet;

use bgp::Family;
use bgp::wire::{
    AsNumbers, DecodeError, Dialect, Frame, MAX_MESSAGE, MessageType, Neighbour, Notification, Open,
    RouteRefresh, Update,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&form, octets)) = input.split_first() else { return };
    let mut rest = octets;
    while let Ok(Some(frame)) = Frame::split(rest) {
        assert!(frame.octets.len() <= MAX_MESSAGE);
        if let Err(DecodeError(told)) = read(&frame, &dialect(form)) {
            assert!(told.emit().len() <= MAX_MESSAGE);
            assert!(!told.to_string().contains(char::is_control));
        }
        rest = &rest[frame.octets.len()..];
    }
});

fn dialect(form: u8) -> Dialect {
    Dialect {
        as_numbers: if form & 1 == 0 { AsNumbers::FourOctets } else { AsNumbers::TwoOctets },
        neighbour: if form & 2 == 0 { Neighbour::External } else { Neighbour::Internal },
        families: if form & 4 == 0 { BTreeSet::from(Family::ALL) } else { BTreeSet::new() },
    }
}

fn read(frame: &Frame<'_>, dialect: &Dialect) -> Result<(), DecodeError> {
    match frame.kind {
        MessageType::Keepalive => {}
        MessageType::Notification => {
            let Some([code, subcode, data @ ..]) = Some(frame.body) else { return Ok(()) };
            let error = bgp::wire::ErrorCode { code: *code, subcode: *subcode };
            assert!(!Notification::about(error, data).to_string().contains(char::is_control));
        }
        MessageType::Open => {
            let open = Open::parse(frame.body)?;
            let again = open.emit();
            let again = Frame::split(&again).expect("a good header").expect("a whole message");
            // a list of unknown families only is not written again
            let unknown = open.capabilities.families.as_ref().is_some_and(BTreeSet::is_empty);
            assert!(unknown || Open::parse(again.body) == Ok(open));
        }
        MessageType::RouteRefresh => {
            RouteRefresh::parse(frame)?;
        }
        MessageType::Update => {
            let update = Update::parse(frame.body, dialect)?;
            let reach = update.mp_reach.map_or(0, |reach| reach.nlri.count());
            let unreach = update.mp_unreach.map_or(0, |unreach| unreach.withdrawn.count());
            assert!(update.nlri.count() + update.withdrawn.count() + reach + unreach <= frame.body.len());
        }
    }
    Ok(())
}

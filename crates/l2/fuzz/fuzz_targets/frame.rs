//! Any frames, one after another, at a responder that owns an address of each family, covers one of each, asks for
//! one of each, and answers echo requests.
//!
//! The input is a sequence of frames, each after its length in two octets. What is sent must be readable by another
//! responder, and what a question is answered with must be about what was asked for.

#![no_main]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use l2::{Carrier, Echo, Interface, Output, Question, Responder};
use libfuzzer_sys::fuzz_target;
use names::Mac;

const OWNER: Mac = Mac::new([2, 0, 0, 0, 0, 5]);
const OWNED: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
const COVERED: [&str; 2] = ["192.0.2.20", "2001:db8::20"];
const ASKED: [&str; 2] = ["192.0.2.77", "2001:db8::77"];

fn addresses(texts: [&str; 2]) -> [IpAddr; 2] {
    texts.map(|text| text.parse().expect("an address"))
}

fn responder(last: u8, now: Instant) -> Responder {
    let mac = Mac::new([2, 0, 0, 0, 0, last]);
    let addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(|network| network.parse().expect("a network"));
    let link_local = Some("fe80::1".parse().expect("an address"));
    Responder::new(Interface { mac, link_local, addresses: addresses.into(), carrier: Carrier::Up }, 1, now)
}

/// As the vectors have it.
fn prepared(now: Instant) -> Responder {
    let mut responder = responder(1, now);
    addresses(OWNED).iter().for_each(|address| responder.own(now, *address));
    addresses(COVERED).iter().for_each(|address| responder.cover(now, *address, OWNER));
    addresses(ASKED).iter().for_each(|address| responder.ask(now, *address, Question::Reach));
    responder.set_echo(now, Echo::Answer);
    responder.set_speakers(now, BTreeSet::from([OWNER]));
    while responder.poll_output().is_some() {}
    responder
}

fn malformed(responder: &Responder) -> u64 {
    responder.stats().malformed.values().sum()
}

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let (mut owner, mut neighbour) = (prepared(now), responder(2, now));
    let mut rest = input;
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        owner.handle_frame(now, frame);
        while let Some(output) = owner.poll_output() {
            match output {
                Output::Send(frame) => {
                    assert_eq!(frame.get(6..12), Some([2, 0, 0, 0, 0, 1].as_slice()), "not from our own MAC");
                    neighbour.handle_frame(now, &frame);
                    assert_eq!(malformed(&neighbour), 0, "{frame:?}");
                }
                Output::Answered { address, .. } => assert!(addresses(ASKED).contains(&address)),
                Output::Foreign { address, .. } => {
                    assert!([OWNED, COVERED].into_iter().flat_map(addresses).any(|ours| ours == address));
                }
                Output::Join(_) | Output::Leave(_) => panic!("{output:?}"),
            }
        }
    }
});

//! Any frames, one after another, at a responder that owns an address of each family.
//!
//! The input is a sequence of frames, each after its length in two octets. What is sent must speak for an owned
//! address, and must itself be readable by another responder.

#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use l2::{Carrier, Interface, Output, Responder};
use libfuzzer_sys::fuzz_target;
use names::Mac;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

fn responder(last: u8, now: Instant) -> Responder {
    let mac = Mac::new([2, 0, 0, 0, 0, last]);
    let interface = Interface { mac, link_local: None, addresses: BTreeSet::new(), carrier: Carrier::Up };
    Responder::new(interface, 1, now)
}

fn malformed(responder: &Responder) -> u64 {
    responder.stats().malformed.values().sum()
}

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let (mut owner, mut neighbour) = (responder(1, now), responder(2, now));
    owner.own(now, IpAddr::V4(V4));
    owner.own(now, IpAddr::V6(V6));
    while owner.poll_output().is_some() {}
    let mut rest = input;
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        owner.handle_frame(now, frame);
        while let Some(output) = owner.poll_output() {
            if let Output::Send(frame) = output {
                // Sender of an ARP packet, target of an advertisement.
                assert!(frame.get(28..32) == Some(&V4.octets()) || frame.get(62..78) == Some(&V6.octets()));
                neighbour.handle_frame(now, &frame);
                assert_eq!(malformed(&neighbour), 0);
            }
        }
    }
});

//! Anything that can happen to a responder, in any order.
//!
//! The input is a sequence of events, each an octet that says which, and its operands. What is sent must come from the
//! interface, groups must be joined and left in turn, and a deadline that was kept must not come again.

#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use l2::{Carrier, Echo, Interface, Output, Question, Responder};
use l2_fuzz::{ADDRESSES, Input};
use libfuzzer_sys::fuzz_target;
use names::Mac;

fn question(input: &mut Input<'_>) -> Option<Question> {
    Some(match input.octet()? % 3 {
        0 => Question::Reach,
        1 => Question::ReachAt(input.mac()?),
        _ => Question::Duplicate,
    })
}

fn interface(input: &mut Input<'_>) -> Option<Interface> {
    let mac = Mac::new([2, 0, 0, 0, 0, 1 + input.octet()? % 2]);
    let flags = input.octet()?;
    let carrier = if flags & 1 == 0 { Carrier::Up } else { Carrier::Down };
    let link_local = (flags & 2 == 0).then(|| "fe80::1".parse().expect("an address"));
    let networks: &[&str] = if flags & 4 == 0 { &["192.0.2.1/24", "2001:db8::1/64"] } else { &[] };
    let addresses = networks.iter().map(|network| network.parse().expect("a network")).collect();
    Some(Interface { mac, link_local, addresses, carrier })
}

struct World {
    responder: Responder,
    now: Instant,
    mac: Mac,
    joined: BTreeSet<Ipv6Addr>,
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let (now, responder) = (self.now, &mut self.responder);
        match input.octet()? % 11 {
            0 => responder.own(now, input.address()?),
            1 => responder.cover(now, input.address()?, input.mac()?),
            2 => responder.disown(now, input.address()?),
            3 => responder.ask(now, input.address()?, question(input)?),
            4 => {
                let count = usize::from(input.octet()? % 4);
                let speakers = (0..count).filter_map(|_| input.mac()).collect();
                responder.set_speakers(now, speakers);
            }
            5 => responder.set_echo(now, if input.octet()? & 1 == 0 { Echo::Answer } else { Echo::Silent }),
            6 => {
                let seconds = u64::from(input.octet()?);
                responder.set_refresh(now, (seconds > 0).then_some(Duration::from_secs(seconds)));
            }
            7 => {
                let interface = interface(input)?;
                self.mac = interface.mac;
                responder.handle_interface(now, interface);
            }
            8 => {
                self.now += Duration::from_millis(input.number()?.into());
                self.keep_deadlines();
            }
            9 => self.poll(),
            _ => {
                let length = usize::from(input.number()?);
                let frame = input.slice(length);
                responder.handle_frame(now, frame);
            }
        }
        Some(())
    }

    /// Bursts are paced: a deadline may pass with more to do, but then at a later time.
    fn keep_deadlines(&mut self) {
        self.responder.handle_timeout(self.now);
        assert!(self.responder.poll_timeout().is_none_or(|next| next > self.now));
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(output) = self.responder.poll_output() {
            match output {
                Output::Send(frame) => assert_eq!(frame.get(6..12), Some(self.mac.octets().as_slice())),
                Output::Join(group) => assert!(self.joined.insert(group)),
                Output::Leave(group) => assert!(self.joined.remove(&group)),
                Output::Foreign { address, .. } | Output::Answered { address, .. } => {
                    assert!(ADDRESSES.iter().any(|text| text.parse() == Ok(address)));
                }
            }
        }
        let held = self.responder.watched().filter(IpAddr::is_ipv6).count();
        assert!(self.joined.len() <= held);
    }
}

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mac = Mac::new([2, 0, 0, 0, 0, 1]);
    let interface = Interface { mac, link_local: None, addresses: BTreeSet::new(), carrier: Carrier::Up };
    let mut world = World { responder: Responder::new(interface, 1, now), now, mac, joined: BTreeSet::new() };
    let mut input = Input(input);
    while world.step(&mut input).is_some() {}
    world.poll();
});

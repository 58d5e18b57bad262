//! Anything that can happen to a prober, in any order.
//!
//! The input is a sequence of events, each an octet that says which, and its operands. What is sent must be a probe from
//! the interface, which changes nobody's cache; what is found must be news, and of a candidate; groups must be joined and
//! left in turn; without a link nothing is sent and nothing known; and a deadline that was kept must not come again.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use l2::prober::{Finding, Output, Prober, Thoroughness};
use l2::{Carrier, Interface};
use l2_fuzz::{ADDRESSES, Input, address};
use libfuzzer_sys::fuzz_target;
use names::Mac;

fn candidates(input: &mut Input<'_>) -> Option<BTreeMap<IpAddr, Thoroughness>> {
    let (wanted, full) = (input.octet()?, input.octet()?);
    let chosen = (0..ADDRESSES.len()).filter(|place| wanted >> place & 1 == 1);
    let thoroughness =
        |place: usize| if full >> place & 1 == 1 { Thoroughness::Full } else { Thoroughness::Quick };
    Some(chosen.map(|place| (address(place), thoroughness(place))).collect())
}

fn macs(input: &mut Input<'_>) -> Option<BTreeSet<Mac>> {
    let count = usize::from(input.octet()? % 4);
    Some((0..count).filter_map(|_| input.mac()).collect())
}

/// An interface whose MAC ends with 1 or 2.
fn interface(flags: u8) -> Interface {
    let carrier = if flags & 1 == 0 { Carrier::Up } else { Carrier::Down };
    let mac = Mac::new([2, 0, 0, 0, 0, 1 + (flags >> 1 & 1)]);
    let link_local = (flags & 4 == 0).then(|| "fe80::1".parse().expect("an address"));
    Interface { mac, link_local, addresses: BTreeSet::new(), carrier }
}

struct World {
    prober: Prober,
    now: Instant,
    interface: Interface,
    candidates: BTreeSet<IpAddr>,
    joined: BTreeSet<Ipv6Addr>,
    found: BTreeMap<IpAddr, Finding>,
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let now = self.now;
        match input.octet()? % 5 {
            0 => {
                let candidates = candidates(input)?;
                self.candidates = candidates.keys().copied().collect();
                self.found.retain(|address, _| candidates.contains_key(address));
                self.prober.set_candidates(now, &candidates);
            }
            1 => self.prober.set_speakers(now, macs(input)?),
            2 => {
                self.interface = interface(input.octet()?);
                self.prober.handle_interface(now, self.interface.clone());
            }
            3 => {
                self.now += Duration::from_millis(input.number()?.into());
                self.prober.handle_timeout(self.now);
                assert!(self.prober.poll_timeout().is_none_or(|next| next > self.now));
            }
            _ => {
                let length = usize::from(input.octet()?);
                // What is malformed says nothing.
                let _malformed = self.prober.handle_frame(now, input.slice(length));
            }
        }
        self.poll();
        Some(())
    }

    fn poll(&mut self) {
        while let Some(output) = self.prober.poll_output() {
            match output {
                Output::Send(frame) => self.check(&frame),
                Output::Join(group) => assert!(self.joined.insert(group)),
                Output::Leave(group) => assert!(self.joined.remove(&group)),
                Output::Found { address, finding } => {
                    let before = match finding {
                        Some(finding) => self.found.insert(address, finding),
                        None => self.found.remove(&address),
                    };
                    assert!(finding.is_none() || self.candidates.contains(&address), "{address}");
                    assert!(before != finding || finding.is_none(), "{address}: {finding:?} again");
                }
            }
        }
        assert!(self.interface.carrier == Carrier::Up || self.found.is_empty(), "{:?}", self.found);
        assert!(self.prober.candidates().eq(self.candidates.iter().copied()));
        assert!(self.joined.len() <= self.candidates.iter().filter(|address| address.is_ipv6()).count());
    }

    /// A probe says of no address that it is at the prober's MAC: its sender address is unspecified.
    fn check(&self, frame: &[u8]) {
        assert_eq!(self.interface.carrier, Carrier::Up);
        assert_eq!(frame.get(6..12), Some(self.interface.mac.octets().as_slice()));
        let sender = match frame.get(12..14) {
            Some([0x08, 0x06]) => frame.get(28..32),
            Some([0x86, 0xdd]) => frame.get(22..38),
            other => panic!("{other:?}"),
        };
        assert!(sender.expect("a whole frame").iter().all(|octet| *octet == 0), "{frame:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let interface = interface(0);
    let mut world = World {
        prober: Prober::new(interface.clone(), 1, now),
        now,
        interface,
        candidates: BTreeSet::new(),
        joined: BTreeSet::new(),
        found: BTreeMap::new(),
    };
    let mut input = Input(input);
    while world.step(&mut input).is_some() {}
});

//! One interface: the prober, its sockets and its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use l2::Prober;
use l2::prober::{Output, Thoroughness};
use names::Mac;
use netio::{Filter, FrameSocket, LinkIndex, Membership, clock};
use tokio::sync::watch;
use tracing::{debug, info};

use super::Found;

/// Longer than any ARP or NDP frame; what is longer is malformed.
const BUFFER: usize = 2048;

/// What a segment is opened with.
pub(super) struct Segment {
    pub(super) index: LinkIndex,
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) found: Found,
}

/// What is to be probed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) interface: l2::Interface,
    pub(super) candidates: BTreeMap<IpAddr, Thoroughness>,
    /// The MACs of speakers.
    pub(super) speakers: BTreeSet<Mac>,
}

struct Shell {
    segment: Segment,
    frames: FrameSocket,
    groups: Membership,
    prober: Prober,
}

/// Probes until the share is no longer told; then nothing is known any more.
pub(super) async fn run(segment: Segment, mut shares: watch::Receiver<Share>) -> Result<(), netio::Error> {
    let first = shares.borrow_and_update().clone();
    let mut shell = Shell::open(segment, &first)?;
    shell.share(first)?;
    let mut buffer = [0; BUFFER];
    loop {
        tokio::select! {
            changed = shares.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let share = shares.borrow_and_update().clone();
                shell.share(share)?;
            }
            length = shell.frames.receive(&mut buffer) => {
                shell.read(buffer.get(..length?).unwrap_or_default());
            }
            () = clock::sleep_until(shell.prober.poll_timeout()) => {}
        }
        shell.tick(clock::now());
    }
}

impl Shell {
    fn open(segment: Segment, first: &Share) -> Result<Self, netio::Error> {
        let frames = FrameSocket::open(segment.index, &Filter::default())?;
        let groups = Membership::open(segment.index)?;
        let prober = Prober::new(first.interface.clone(), segment.seed, clock::now());
        Ok(Self { segment, frames, groups, prober })
    }

    fn share(&mut self, share: Share) -> Result<(), netio::Error> {
        let Share { interface, candidates, speakers } = share;
        let now = clock::now();
        self.prober.handle_interface(now, interface);
        self.prober.set_speakers(now, speakers);
        self.prober.set_candidates(now, &candidates);
        // Before the first probe is sent its answers have to pass.
        self.frames.set_filter(&self.prober.candidates().collect())?;
        self.tick(now);
        Ok(())
    }

    fn read(&mut self, frame: &[u8]) {
        if let Err(malformed) = self.prober.handle_frame(clock::now(), frame) {
            debug!(interface = self.segment.name, ?malformed, "dropped a frame");
        }
    }

    fn tick(&mut self, now: Instant) {
        self.prober.handle_timeout(now);
        while let Some(output) = self.prober.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        let interface = &self.segment.name;
        match output {
            Output::Send(frame) => {
                if let Err(error) = self.frames.send(&frame) {
                    debug!(interface, %error, "could not send a probe");
                }
            }
            Output::Join(group) => {
                if let Err(error) = self.groups.join(group) {
                    debug!(interface, %group, %error, "could not join");
                }
            }
            Output::Leave(group) => {
                if let Err(error) = self.groups.leave(group) {
                    debug!(interface, %group, %error, "could not leave");
                }
            }
            Output::Found { address, finding } => {
                if let Some(l2::prober::Finding::Taken(mac)) = finding {
                    info!(interface, %address, %mac, "another station has this address");
                }
                self.segment.found.put([(address, finding)]);
            }
        }
    }
}

impl Drop for Shell {
    /// Nothing is known any more of what was probed here.
    fn drop(&mut self) {
        self.segment.found.put(self.prober.candidates().map(|address| (address, None)));
    }
}

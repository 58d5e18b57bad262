//! The shell of one `l2::Responder`: one interface's socket, its multicast groups and its clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::FutureExt;
use l2::{Output, Responder};
use netio::{Filter, FrameSocket, LinkIndex, Membership, Reception, clock};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use crate::latest;
use crate::metrics::Metrics;

/// How many queued frames are taken before deadlines speak again.
const BURST: usize = 64;
const REPORT: Duration = Duration::from_secs(1);
/// Longer than any ARP or NDP frame; what is longer is malformed.
const FRAME: usize = 2048;

/// Whether this interface answers for an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ownership {
    /// It does, as the speaker learned at this time.
    Owned { since: Instant },
    /// It does not.
    NotOwned,
}

/// What a port is opened with.
pub(crate) struct Port {
    pub(crate) index: LinkIndex,
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) metrics: Metrics,
}

struct Shell {
    port: Port,
    socket: FrameSocket,
    /// What the socket passes: all that is watched, and what was until the last report.
    filter: Filter,
    groups: Membership,
    responder: Responder,
    reported: l2::Stats,
}

/// Answers on one interface until the engine closes the port.
pub(crate) async fn run(
    port: Port,
    mut interface: watch::Receiver<l2::Interface>,
    mut owns: latest::Receiver<IpAddr, Ownership>,
) -> Result<(), netio::Error> {
    let responder = Responder::new(interface.borrow_and_update().clone(), port.seed, clock::now());
    let filter = Filter::default();
    let socket = FrameSocket::open(port.index, &filter)?;
    let groups = Membership::open(port.index)?;
    let mut shell = Shell { port, socket, filter, groups, responder, reported: l2::Stats::default() };
    let mut frame = [0; FRAME];
    let mut report = tokio::time::interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = interface.changed() => match changed {
                Ok(()) => {
                    let interface = interface.borrow_and_update().clone();
                    shell.responder.handle_interface(clock::now(), interface);
                }
                Err(_closed) => return Ok(()),
            },
            changes = owns.take() => shell.own(changes)?,
            length = shell.socket.receive(&mut frame) => shell.hear(length?, &mut frame)?,
            () = sleep_until(shell.responder.poll_timeout()) => {}
            _ = report.tick() => {
                shell.report();
                shell.narrow_filter()?;
            }
        }
        shell.responder.handle_timeout(clock::now());
        shell.act();
    }
}

/// Waits for a deadline; for ever where there is none.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Shell {
    fn own(&mut self, changes: BTreeMap<IpAddr, Ownership>) -> Result<(), netio::Error> {
        let gained = changes.iter().filter(|(_, ownership)| matches!(ownership, Ownership::Owned { .. }));
        let missing: Vec<_> =
            gained.map(|(address, _)| *address).filter(|address| !self.filter.passes(*address)).collect();
        if !missing.is_empty() {
            self.filter.extend(missing);
            self.socket.set_filter(&self.filter)?;
        }
        for (address, ownership) in &changes {
            match ownership {
                Ownership::Owned { .. } => self.responder.own(clock::now(), *address),
                Ownership::NotOwned => self.responder.disown(clock::now(), *address),
            }
        }
        self.act();
        for ownership in changes.values() {
            if let Ownership::Owned { since } = ownership {
                self.port.metrics.announced_l2(clock::now().saturating_duration_since(*since));
            }
        }
        Ok(())
    }

    /// Stops hearing of what was given up. Not at once, because replacing the filter costs a millisecond where there
    /// are a thousand addresses, and they may be given up one by one.
    fn narrow_filter(&mut self) -> Result<(), netio::Error> {
        let watched: Filter = self.responder.watched().collect();
        if watched != self.filter {
            self.filter = watched;
            self.socket.set_filter(&self.filter)?;
        }
        Ok(())
    }

    fn hear(&mut self, length: usize, frame: &mut [u8; FRAME]) -> Result<(), netio::Error> {
        let mut length = Some(length);
        for _ in 0..BURST {
            let Some(received) = length else { break };
            self.responder.handle_frame(clock::now(), frame.get(..received).unwrap_or_default());
            self.act();
            length = self.socket.receive(frame).now_or_never().transpose()?;
        }
        Ok(())
    }

    fn act(&mut self) {
        while let Some(output) = self.responder.poll_output() {
            match output {
                Output::Send(frame) => {
                    if let Err(error) = self.socket.send(&frame) {
                        self.port.metrics.frame_dropped();
                        debug!(interface = self.port.name, %error, "could not send a frame");
                    }
                }
                Output::Join(group) => match self.groups.join(group) {
                    Ok(Reception::Group) => {}
                    Ok(Reception::AllMulticast) => {
                        debug!(interface = self.port.name, %group, "hears all multicast: too many groups");
                    }
                    Err(error) => warn!(interface = self.port.name, %group, %error, "could not join"),
                },
                Output::Leave(group) => {
                    if let Err(error) = self.groups.leave(group) {
                        debug!(interface = self.port.name, %group, %error, "could not leave");
                    }
                }
                Output::Foreign { address, mac, station: _ } => {
                    self.port.metrics.foreign_answer();
                    warn!(interface = self.port.name, %address, %mac, "another station claims this address");
                }
                Output::Answered { address, mac } => {
                    debug!(interface = self.port.name, %address, %mac, "a station has this address");
                }
            }
        }
    }

    fn report(&mut self) {
        let now = self.responder.stats();
        self.port.metrics.l2_stats(&self.port.name, &self.reported, now);
        self.reported.clone_from(now);
    }
}

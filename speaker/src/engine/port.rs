//! One interface: who answers there for an address (`liveness::Node`), and what is answered (`l2::Responder`), with
//! their sockets and their clock. Between the two there is no channel and no other task: a speaker that thaws after a
//! freeze first notices the time, and only then looks at what was asked meanwhile.

mod hearing;
mod rivals;
mod shell;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use liveness::Ownership;
use names::{Mac, NodeName};
use netio::{LinkIndex, clock};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::engine::surroundings::Surroundings;
use crate::latest;
use crate::metrics::Metrics;
pub(crate) use hearing::{Lost, Report, Trouble};
pub(crate) use rivals::{Rival, SILENT};
use shell::Shell;

const REPORT: Duration = Duration::from_secs(1);
/// Longer than any ARP or NDP frame, and than any heartbeat; what is longer is malformed.
const BUFFER: usize = 2048;
/// How long a departing speaker waits until others answer in its place.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who may answer for an address here; `None`: nobody, or not on this interface.
#[derive(Debug, Clone)]
pub(crate) struct Ballot {
    pub(crate) ballot: Option<liveness::Ballot>,
    /// When the speaker learned it.
    pub(crate) since: Instant,
}

/// An address that this node owns on an interface.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) interface: String,
    pub(crate) mac: Mac,
    /// Who else says that it has it.
    pub(crate) rival: Option<Rival>,
    pub(crate) ownership: Ownership,
}

/// What a port is opened with.
pub(crate) struct Port {
    pub(crate) index: LinkIndex,
    pub(crate) name: String,
    pub(crate) me: NodeName,
    pub(crate) seed: u64,
    pub(crate) metrics: Metrics,
    /// What this node owns, for the record.
    pub(crate) owners: latest::Sender<(IpAddr, String), Option<Owned>>,
    /// Which speakers are not heard, by interface; `None`: this one does not listen there.
    pub(crate) hearing: latest::Sender<LinkIndex, Option<(String, Report)>>,
}

/// What a wait ended with.
enum Event {
    Surroundings(Box<Surroundings>),
    Ballots(BTreeMap<IpAddr, Ballot>),
    Datagram(usize),
    Frame(usize),
    Time,
    Report,
    Closed,
}

/// Answers on one interface until the engine closes the port, or it has departed.
pub(crate) async fn run(
    port: Port,
    mut surroundings: watch::Receiver<Surroundings>,
    mut elections: latest::Receiver<IpAddr, Ballot>,
) -> Result<(), netio::Error> {
    let first = surroundings.borrow_and_update().clone();
    let mut shell = Shell::open(port, &first, clock::now())?;
    let (mut datagram, mut frame) = ([0; BUFFER], [0; BUFFER]);
    let mut report = tokio::time::interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            changed = surroundings.changed() => match changed {
                Ok(()) => Event::Surroundings(Box::new(surroundings.borrow_and_update().clone())),
                Err(_closed) => Event::Closed,
            },
            ballots = elections.take() => Event::Ballots(ballots),
            length = shell.receive_datagram(&mut datagram) => Event::Datagram(length?),
            length = shell.receive_frame(&mut frame) => Event::Frame(length?),
            () = clock::sleep_until(shell.deadline()) => Event::Time,
            _ = report.tick() => Event::Report,
        };
        let now = clock::now();
        shell.wake(now)?;
        let mut heard = None;
        match event {
            Event::Surroundings(surroundings) => shell.surround(now, *surroundings)?,
            Event::Ballots(ballots) => shell.elect(now, ballots),
            Event::Datagram(length) => shell.hear(now, datagram.get_mut(..length).unwrap_or_default()),
            Event::Frame(length) => heard = Some(length),
            Event::Time => {}
            Event::Report => shell.report()?,
            Event::Closed => return Ok(()),
        }
        shell.drain(now, &mut datagram)?;
        shell.tick(now)?;
        if let Some(length) = heard {
            shell.read(length, &mut frame)?;
        }
        if shell.has_departed(now, FAREWELL) {
            return Ok(());
        }
    }
}

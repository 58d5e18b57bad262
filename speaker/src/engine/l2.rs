//! Keeps one [`port`] on each interface that has an address to answer for, and tells it what it must know.
//!
//! Interfaces come and go by netlink events; nothing is polled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use announce::Interfaces;
use api::{Layer2, Network};
use liveness::{DataPath, Departure, Keys};
use names::NodeName;
use netio::{Change, Link, LinkIndex, Links};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{info, warn};

use crate::data_path;
use crate::engine::interfaces::{can_answer, is_wanted_on};
use crate::engine::port::{self, Owned, Port, Report};
use crate::engine::stations::Stations;
use crate::engine::surroundings::{Neighbours, Surroundings};
use crate::latest;
use crate::metrics::Metrics;

/// How long after a port failed it is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Who may answer for an address, and when the speaker learned it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// `None`: nobody, because no Service has it.
    pub(crate) address: Option<Elected>,
    pub(crate) since: Instant,
}

/// An address that an election is held about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elected {
    /// Where this node may answer; `None`: nowhere.
    pub(crate) interfaces: Option<Interfaces>,
    pub(crate) ballot: liveness::Ballot,
}

/// What the engine is told.
pub(crate) struct Inputs {
    pub(crate) wants: latest::Receiver<IpAddr, Wanted>,
    /// The other speakers, with the networks that they are in.
    pub(crate) neighbours: watch::Receiver<Option<Arc<Neighbours>>>,
    pub(crate) keys: watch::Receiver<Option<Keys>>,
    /// This node's own networks, with their gateways.
    pub(crate) networks: watch::Receiver<Option<Vec<Network>>>,
    /// Who has answered on each link lately.
    pub(crate) stations: watch::Receiver<Stations>,
    pub(crate) departure: watch::Receiver<Option<Departure>>,
    pub(crate) data_path: watch::Receiver<data_path::Known>,
    pub(crate) settings: watch::Receiver<Layer2>,
}

struct Open {
    name: String,
    task: Id,
    surroundings: watch::Sender<Surroundings>,
    ballots: latest::Sender<IpAddr, port::Ballot>,
}

pub(crate) struct Engine {
    me: NodeName,
    seed: u64,
    metrics: Metrics,
    owners: latest::Sender<(IpAddr, String), Option<Owned>>,
    hearing: latest::Sender<LinkIndex, Option<(String, Report)>>,
    wanted: BTreeMap<IpAddr, (Interfaces, liveness::Ballot)>,
    /// Nothing is answered for before they are known: who thinks that it is alone claims everything.
    neighbours: Option<Arc<Neighbours>>,
    keys: Option<Keys>,
    gateways: BTreeMap<String, BTreeSet<IpAddr>>,
    stations: Stations,
    departure: Option<Departure>,
    data_path: DataPath,
    settings: Layer2,
    /// The interfaces that could answer.
    links: BTreeMap<LinkIndex, Link>,
    open: BTreeMap<LinkIndex, Open>,
    /// Ports that failed, and when they are opened again.
    reopen: BTreeMap<LinkIndex, Instant>,
    tasks: JoinSet<Result<(), netio::Error>>,
}

impl Engine {
    pub(crate) fn new(
        me: NodeName,
        seed: u64,
        metrics: Metrics,
        owners: latest::Sender<(IpAddr, String), Option<Owned>>,
        hearing: latest::Sender<LinkIndex, Option<(String, Report)>>,
    ) -> Self {
        Self {
            me,
            seed,
            metrics,
            owners,
            hearing,
            wanted: BTreeMap::new(),
            neighbours: None,
            keys: None,
            gateways: BTreeMap::new(),
            stations: Stations::new(),
            departure: None,
            data_path: DataPath::Broken,
            settings: Layer2::default(),
            links: BTreeMap::new(),
            open: BTreeMap::new(),
            reopen: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until the speaker has departed, or the netlink socket fails. Dropping it closes every port.
    pub(crate) async fn run(mut self, mut inputs: Inputs) -> Result<(), netio::Error> {
        let mut links = Links::open().await?;
        for link in links.current().clone().into_values() {
            self.link_changed(link);
        }
        loop {
            if self.departure.is_some() && self.open.is_empty() {
                return Ok(());
            }
            tokio::select! {
                change = links.next() => match change? {
                    Change::Link(link) => self.link_changed(link),
                    Change::Gone(index) => {
                        self.links.remove(&index);
                        self.close(index);
                    }
                },
                wanted = inputs.wants.take(), if self.neighbours.is_some() => self.wants_changed(wanted),
                Ok(()) = inputs.neighbours.changed() => {
                    self.neighbours.clone_from(&inputs.neighbours.borrow_and_update());
                    self.tell_all();
                }
                Ok(()) = inputs.keys.changed() => {
                    self.keys.clone_from(&inputs.keys.borrow_and_update());
                    self.tell_all();
                }
                Ok(()) = inputs.networks.changed() => {
                    self.gateways = gateways(inputs.networks.borrow_and_update().as_deref().unwrap_or_default());
                    self.tell_all();
                }
                Ok(()) = inputs.stations.changed() => {
                    self.stations.clone_from(&inputs.stations.borrow_and_update());
                    self.tell_all();
                }
                Ok(()) = inputs.settings.changed() => {
                    self.settings = *inputs.settings.borrow_and_update();
                    self.tell_all();
                }
                Ok(()) = inputs.departure.changed() => {
                    self.departure = *inputs.departure.borrow_and_update();
                    self.tell_all();
                }
                Ok(()) = inputs.data_path.changed() => {
                    self.data_path = inputs.data_path.borrow_and_update().verdict;
                    self.tell_all();
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    let (task, why) = match ended {
                        Ok((task, Ok(()))) => (task, None),
                        Ok((task, Err(error))) => (task, Some(error.to_string())),
                        Err(error) => (error.id(), Some(error.to_string())),
                    };
                    self.port_ended(task, why.as_deref());
                }
                () = netio::clock::sleep_until(self.reopen.values().min().copied()) => self.reopen_due(),
            }
        }
    }

    fn reopen_due(&mut self) {
        let now = netio::clock::now();
        let due: Vec<_> = self.reopen.extract_if(.., |_, at| *at <= now).collect();
        for (index, _) in due {
            self.open_if_wanted(index);
        }
    }

    fn link_changed(&mut self, link: Link) {
        let index = link.index;
        if !can_answer(&link) {
            self.links.remove(&index);
            return self.close(index);
        }
        if self.open.get(&index).is_some_and(|open| open.name != link.name) {
            self.close(index);
        }
        self.links.insert(index, link);
        if self.open.contains_key(&index) {
            self.tell(index);
        } else {
            self.open_if_wanted(index);
        }
    }

    fn surroundings(&self, index: LinkIndex) -> Option<Surroundings> {
        let link = self.links.get(&index)?;
        Surroundings::new(
            link,
            self.neighbours.as_ref()?,
            self.keys.clone(),
            self.witnesses(link),
            self.departure,
            self.data_path,
            self.settings,
        )
    }

    /// Those that answer if this node is not cut off.
    fn witnesses(&self, link: &Link) -> BTreeSet<IpAddr> {
        let gateways = self.gateways.get(&link.name).into_iter().flatten();
        gateways.chain(self.stations.get(&link.index).into_iter().flatten()).copied().collect()
    }

    fn tell(&self, index: LinkIndex) {
        let (Some(open), Some(now)) = (self.open.get(&index), self.surroundings(index)) else { return };
        open.surroundings.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }

    fn tell_all(&self) {
        self.open.keys().for_each(|index| self.tell(*index));
    }

    /// Opens a port where some address may be answered for; other interfaces cost nothing.
    fn open_if_wanted(&mut self, index: LinkIndex) {
        if self.reopen.contains_key(&index) || self.departure.is_some() {
            return;
        }
        let (Some(link), Some(surroundings)) = (self.links.get(&index), self.surroundings(index)) else {
            return;
        };
        let name = link.name.clone();
        let since = netio::clock::now();
        let here: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, (wanted, _))| is_wanted_on(wanted, &name))
            .map(|(address, (_, ballot))| (*address, port::Ballot { ballot: Some(ballot.clone()), since }))
            .collect();
        if here.is_empty() {
            return;
        }
        let (tell, told) = watch::channel(surroundings);
        let (ballots, elections) = latest::channel();
        let seed = self.seed ^ u64::from(index.get());
        let port = Port {
            index,
            name: name.clone(),
            me: self.me.clone(),
            seed,
            metrics: self.metrics.clone(),
            owners: self.owners.clone(),
            hearing: self.hearing.clone(),
        };
        let task = self.tasks.spawn(port::run(port, told, elections)).id();
        ballots.put(here);
        info!(interface = name, "may answer ARP and NDP on this interface");
        self.open.insert(index, Open { name, task, surroundings: tell, ballots });
    }

    fn close(&mut self, index: LinkIndex) {
        if let Some(open) = self.open.remove(&index) {
            info!(interface = open.name, "no longer answers on this interface");
        }
    }

    fn wants_changed(&mut self, changes: BTreeMap<IpAddr, Wanted>) {
        let mut opening = BTreeSet::new();
        for (address, Wanted { address: wanted, since }) in changes {
            let elected = wanted.and_then(|elected| {
                // Where it answered until now it goes on until another does.
                let interfaces = elected.interfaces.or_else(|| Some(self.wanted.get(&address)?.0.clone()));
                Some((interfaces?, elected.ballot)).filter(|(_, ballot)| !ballot.ranked.is_empty())
            });
            for open in self.open.values() {
                let here = elected.as_ref().filter(|(interfaces, _)| is_wanted_on(interfaces, &open.name));
                let ballot = here.map(|(_, ballot)| ballot.clone());
                open.ballots.put([(address, port::Ballot { ballot, since })]);
            }
            let Some((interfaces, ballot)) = elected else {
                self.wanted.remove(&address);
                continue;
            };
            let closed = self.links.iter().filter(|(index, _)| !self.open.contains_key(index));
            let here = closed.filter(|(_, link)| is_wanted_on(&interfaces, &link.name));
            opening.extend(here.map(|(index, _)| *index));
            self.wanted.insert(address, (interfaces, ballot));
        }
        opening.into_iter().for_each(|index| self.open_if_wanted(index));
    }

    /// A port that nobody closed has ended: it is opened again, unless the speaker departs.
    fn port_ended(&mut self, task: Id, why: Option<&str>) {
        let ended = self.open.extract_if(.., |_, open| open.task == task).next();
        let Some((index, open)) = ended else { return };
        if self.departure.is_none() {
            warn!(interface = open.name, error = why, "stopped answering on this interface, opens it again");
            self.reopen.insert(index, netio::clock::now() + REOPEN);
        }
    }
}

fn gateways(networks: &[Network]) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let of = |network: &Network| {
        let gateways = network.gateways.iter().filter_map(|gateway| gateway.parse().ok()).collect();
        (network.interface.clone(), gateways)
    };
    networks.iter().map(of).collect()
}

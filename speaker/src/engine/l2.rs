//! Keeps one [`port`] on each interface that has an address to answer for, and tells it which.
//!
//! Interfaces come and go by netlink events; nothing is polled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use announce::Interfaces;
use netio::{Change, Link, LinkIndex, Links};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{info, warn};

use crate::engine::interfaces::{can_answer, is_wanted_on};
use crate::engine::port::{self, Ownership, Port, sleep_until};
use crate::latest;
use crate::metrics::Metrics;

/// How long after a port failed it is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Where an address is to be answered for (`None`: nowhere), and when the speaker learned it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) interfaces: Option<Interfaces>,
    pub(crate) since: Instant,
}

struct Open {
    name: String,
    task: Id,
    interface: watch::Sender<l2::Interface>,
    owns: latest::Sender<IpAddr, Ownership>,
}

pub(crate) struct Engine {
    seed: u64,
    metrics: Metrics,
    wanted: BTreeMap<IpAddr, Interfaces>,
    /// The interfaces that could answer.
    links: BTreeMap<LinkIndex, (String, l2::Interface)>,
    open: BTreeMap<LinkIndex, Open>,
    /// Ports that failed, and when they are opened again.
    reopen: BTreeMap<LinkIndex, Instant>,
    tasks: JoinSet<Result<(), netio::Error>>,
}

impl Engine {
    pub(crate) fn new(seed: u64, metrics: Metrics) -> Self {
        Self {
            seed,
            metrics,
            wanted: BTreeMap::new(),
            links: BTreeMap::new(),
            open: BTreeMap::new(),
            reopen: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until the netlink socket fails. Dropping it closes every port.
    pub(crate) async fn run(
        mut self,
        mut wants: latest::Receiver<IpAddr, Wanted>,
    ) -> Result<(), netio::Error> {
        let mut links = Links::open().await?;
        for link in links.current().clone().into_values() {
            self.link_changed(&link);
        }
        loop {
            tokio::select! {
                change = links.next() => match change? {
                    Change::Link(link) => self.link_changed(&link),
                    Change::Gone(index) => {
                        self.links.remove(&index);
                        self.close(index);
                    }
                },
                wanted = wants.take() => self.wants_changed(wanted),
                Some(ended) = self.tasks.join_next_with_id() => {
                    let (task, why) = match ended {
                        Ok((task, Ok(()))) => (task, None),
                        Ok((task, Err(error))) => (task, Some(error.to_string())),
                        Err(error) => (error.id(), Some(error.to_string())),
                    };
                    self.port_ended(task, why.as_deref());
                }
                () = sleep_until(self.reopen.values().min().copied()) => {
                    let now = netio::clock::now();
                    let due: Vec<_> = self.reopen.extract_if(.., |_, at| *at <= now).collect();
                    for (index, _) in due {
                        self.open_if_wanted(index);
                    }
                }
            }
        }
    }

    fn link_changed(&mut self, link: &Link) {
        let Some(interface) = interface(link).filter(|_| can_answer(link)) else {
            self.links.remove(&link.index);
            return self.close(link.index);
        };
        if self.open.get(&link.index).is_some_and(|open| open.name != link.name) {
            self.close(link.index);
        }
        self.links.insert(link.index, (link.name.clone(), interface.clone()));
        match self.open.get(&link.index) {
            Some(open) => {
                open.interface.send_if_modified(|now| {
                    let changed = *now != interface;
                    *now = interface;
                    changed
                });
            }
            None => self.open_if_wanted(link.index),
        }
    }

    /// Opens a port where some address is answered for; other interfaces cost nothing.
    fn open_if_wanted(&mut self, index: LinkIndex) {
        let Some((name, interface)) = self.links.get(&index) else { return };
        let here: Vec<_> = self.wanted.iter().filter(|(_, wanted)| is_wanted_on(wanted, name)).collect();
        if here.is_empty() || self.reopen.contains_key(&index) {
            return;
        }
        let (interface, changes) = watch::channel(interface.clone());
        let (owns, owned) = latest::channel();
        let seed = self.seed ^ u64::from(index.get());
        let port = Port { index, name: name.clone(), seed, metrics: self.metrics.clone() };
        let task = self.tasks.spawn(port::run(port, changes, owned)).id();
        let since = netio::clock::now();
        owns.put(here.into_iter().map(|(address, _)| (*address, Ownership::Owned { since })));
        info!(interface = name, "answers ARP and NDP on this interface");
        self.open.insert(index, Open { name: name.clone(), task, interface, owns });
    }

    fn close(&mut self, index: LinkIndex) {
        if let Some(open) = self.open.remove(&index) {
            info!(interface = open.name, "no longer answers on this interface");
        }
    }

    fn wants_changed(&mut self, changes: BTreeMap<IpAddr, Wanted>) {
        let mut opening = BTreeSet::new();
        for (address, Wanted { interfaces, since }) in changes {
            for open in self.open.values() {
                let here = interfaces.as_ref().is_some_and(|wanted| is_wanted_on(wanted, &open.name));
                let ownership = if here { Ownership::Owned { since } } else { Ownership::NotOwned };
                open.owns.put([(address, ownership)]);
            }
            let Some(interfaces) = interfaces else {
                self.wanted.remove(&address);
                continue;
            };
            let closed = self.links.iter().filter(|(index, _)| !self.open.contains_key(index));
            let here = closed.filter(|(_, (name, _))| is_wanted_on(&interfaces, name));
            opening.extend(here.map(|(index, _)| *index));
            self.wanted.insert(address, interfaces);
        }
        opening.into_iter().for_each(|index| self.open_if_wanted(index));
        self.metrics.owned_addresses(self.wanted.len());
    }

    /// A port that nobody closed has ended: it is opened again.
    fn port_ended(&mut self, task: Id, why: Option<&str>) {
        let ended = self.open.extract_if(.., |_, open| open.task == task).next();
        if let Some((index, open)) = ended {
            warn!(interface = open.name, error = why, "stopped answering on this interface, opens it again");
            self.reopen.insert(index, netio::clock::now() + REOPEN);
        }
    }
}

fn interface(link: &Link) -> Option<l2::Interface> {
    let carrier = if link.carrier { l2::Carrier::Up } else { l2::Carrier::Down };
    let addresses = link.addresses.iter().map(|address| address.network).collect();
    Some(l2::Interface { mac: names::Mac::new(link.mac?), link_local: link.link_local(), addresses, carrier })
}

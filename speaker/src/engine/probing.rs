//! Probes addresses that Services may get next, and tells what is found.
//!
//! It has sockets of its own, and runs beside what answers: whatever comes in on them delays no answer and no
//! heartbeat. Interfaces come and go by netlink events.

mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use announce::Interfaces;
use l2::prober::{Finding, Thoroughness};
use names::Mac;
use netio::{Change, Link, LinkIndex, Links, clock};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{info, warn};

use self::segment::{Segment, Share};
use crate::engine::interfaces::{can_answer, interface_of, is_wanted_on};
use crate::latest;

/// How long after a segment failed it is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// What this node probes, and who the other speakers are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probes {
    pub(crate) candidates: BTreeMap<IpAddr, (Interfaces, Thoroughness)>,
    pub(crate) speakers: BTreeSet<Mac>,
}

/// What was found of an address; `None`: nothing is known any more.
pub(crate) type Found = latest::Sender<IpAddr, Option<Finding>>;

/// The other end.
pub(crate) type Findings = latest::Receiver<IpAddr, Option<Finding>>;

struct Open {
    name: String,
    task: Id,
    share: watch::Sender<Share>,
}

struct Engine {
    seed: u64,
    found: Found,
    wanted: Arc<Probes>,
    links: BTreeMap<LinkIndex, Link>,
    open: BTreeMap<LinkIndex, Open>,
    tasks: JoinSet<Result<(), netio::Error>>,
    reopen: Option<Instant>,
}

/// Runs until the netlink socket fails.
pub(crate) async fn run(
    mut wants: watch::Receiver<Arc<Probes>>,
    found: Found,
    seed: u64,
) -> Result<(), netio::Error> {
    let mut links = Links::open().await?;
    let mut engine = Engine {
        seed,
        found,
        wanted: wants.borrow_and_update().clone(),
        links: links.current().clone(),
        open: BTreeMap::new(),
        tasks: JoinSet::new(),
        reopen: None,
    };
    engine.share_out();
    loop {
        tokio::select! {
            change = links.next() => match change? {
                Change::Link(link) => drop(engine.links.insert(link.index, link)),
                Change::Gone(index) => drop(engine.links.remove(&index)),
            },
            Ok(()) = wants.changed() => engine.wanted = wants.borrow_and_update().clone(),
            Some(ended) = engine.tasks.join_next_with_id() => match ended {
                Ok((task, Ok(()))) => engine.ended(task, None),
                Ok((task, Err(error))) => engine.ended(task, Some(error.to_string())),
                Err(error) => engine.ended(error.id(), Some(error.to_string())),
            },
            () = clock::sleep_until(engine.reopen) => engine.reopen = None,
        }
        engine.share_out();
    }
}

impl Engine {
    /// Has each interface probe what is on its segment; those that have nothing to probe cost nothing.
    fn share_out(&mut self) {
        let mut shares = shares(&self.links, &self.wanted);
        self.open.retain(|index, open| {
            let is_same = self.links.get(index).is_some_and(|link| link.name == open.name);
            is_same && shares.contains_key(index)
        });
        for (index, open) in &self.open {
            let Some(share) = shares.remove(index) else { continue };
            open.share.send_if_modified(|known| {
                let changed = *known != share;
                *known = share;
                changed
            });
        }
        if self.reopen.is_none() {
            shares.into_iter().for_each(|(index, share)| self.open(index, share));
        }
    }

    fn open(&mut self, index: LinkIndex, share: Share) {
        let Some(name) = self.links.get(&index).map(|link| link.name.clone()) else { return };
        let (share, shared) = watch::channel(share);
        let seed = self.seed ^ u64::from(index.get());
        let segment = Segment { index, name: name.clone(), seed, found: self.found.clone() };
        info!(interface = name, "probes addresses that Services may get next");
        let task = self.tasks.spawn(segment::run(segment, shared)).id();
        self.open.insert(index, Open { name, task, share });
    }

    fn ended(&mut self, task: Id, why: Option<String>) {
        let ended = self.open.extract_if(.., |_, open| open.task == task).next();
        if let Some((_, open)) = ended {
            warn!(interface = open.name, error = why, "stopped probing on this interface, begins again");
            self.reopen = Some(netio::clock::now() + REOPEN);
        }
    }
}

/// What each interface probes: every candidate on the first one that is on its segment.
fn shares(links: &BTreeMap<LinkIndex, Link>, wanted: &Probes) -> BTreeMap<LinkIndex, Share> {
    let mut shares: BTreeMap<LinkIndex, Share> = BTreeMap::new();
    for (address, (interfaces, thoroughness)) in &wanted.candidates {
        let is_there = |link: &&Link| {
            can_answer(link)
                && is_wanted_on(interfaces, &link.name)
                && link.addresses.iter().any(|own| own.network.contains(*address))
        };
        let Some(link) = links.values().find(is_there) else { continue };
        let Some(interface) = interface_of(link) else { continue };
        let share = shares.entry(link.index).or_insert_with(|| Share {
            interface,
            candidates: BTreeMap::new(),
            speakers: wanted.speakers.clone(),
        });
        share.candidates.insert(*address, *thoroughness);
    }
    // Another interface of this node may be on the same segment.
    let own = links.values().filter_map(|link| link.mac.map(Mac::new));
    let own: Vec<_> = own.collect();
    shares.values_mut().for_each(|share| share.speakers.extend(&own));
    shares
}

#[cfg(test)]
mod tests {
    use announce::Interfaces;
    use l2::prober::Thoroughness;
    use netio::links::{Address, Scope};

    use super::*;

    fn link(index: u32, name: &str, addresses: &[&str]) -> (LinkIndex, Link) {
        let address = |text: &&str| Address { network: text.parse().unwrap(), scope: Scope::Global };
        let link = Link {
            index: LinkIndex::new(index),
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
            up: true,
            carrier: true,
            loopback: false,
            no_arp: false,
            master: None,
            addresses: addresses.iter().map(address).collect(),
        };
        (link.index, link)
    }

    #[test]
    fn a_candidate_is_probed_on_the_first_interface_of_its_segment_where_it_may_be_answered_for() {
        let mut links: BTreeMap<_, _> = [
            link(1, "cni0", &["192.0.2.1/24"]),
            link(2, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
            link(3, "eth1", &["192.0.2.3/24"]),
            link(4, "eth2", &["198.51.100.4/24"]),
        ]
        .into();
        let named = Interfaces::Named(["eth1".to_owned()].into());
        let wanted = [
            ("192.0.2.10", Interfaces::All),
            ("2001:db8::10", Interfaces::All),
            ("192.0.2.11", named),
            ("203.0.113.1", Interfaces::All),
        ];
        let wanted = wanted.map(|(text, on)| (text.parse::<IpAddr>().unwrap(), (on, Thoroughness::Quick)));
        let wanted = Probes { candidates: wanted.into(), speakers: [Mac::new([6; 6])].into() };
        let lines = |links: &BTreeMap<_, _>| {
            let shares = shares(links, &wanted).into_iter();
            let line = |(index, share): (LinkIndex, Share)| {
                let addresses: Vec<_> = share.candidates.keys().map(ToString::to_string).collect();
                format!("{index}: {}", addresses.join(" "))
            };
            shares.map(line).collect::<Vec<_>>()
        };
        assert_eq!(lines(&links), ["2: 192.0.2.10 2001:db8::10", "3: 192.0.2.11"]);
        let share = shares(&links, &wanted).remove(&LinkIndex::new(2)).unwrap();
        assert_eq!(share.speakers.len(), 5, "the other speaker, and this node's own interfaces");
        links.get_mut(&LinkIndex::new(2)).unwrap().master = Some(LinkIndex::new(9));
        assert_eq!(lines(&links), ["3: 192.0.2.10 192.0.2.11"]);
    }
}

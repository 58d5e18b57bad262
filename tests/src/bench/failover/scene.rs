//! Where the rows are measured: Services on every node, keepalived beside them, and who looks on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::apply_samples;
use crate::bench::report::Tally;
use crate::bench::series::Series;
use crate::fault::Fault;
use crate::kube::light::Lab;
use crate::kube::service::PORT;
use crate::meter::{Clients, Seen};
use crate::vrrp::Vrrp;
use crate::witness::{Testimony, Witness};
use crate::{Family, Host, wait};

/// For what a broken product would never do.
pub(super) const SOON: Duration = Duration::from_secs(90);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// Of undisturbed traffic, before something happens and after its end is seen.
pub(super) const CALM: Duration = Duration::from_millis(500);
/// Enough that each node has some addresses of each family.
const SERVICES: usize = 8;
const APP: &str = "near";

/// A lab with addresses on the segment.
pub(super) struct Scene<'a> {
    pub(super) lab: &'a Lab,
    pub(super) vrrp: Vrrp<'a>,
    pub(super) addresses: Vec<IpAddr>,
    /// How often each node was the victim.
    turns: BTreeMap<usize, usize>,
}

/// The node to which something happens, and an address of each family that it answers for.
#[derive(Clone, Debug)]
pub(super) struct Victim {
    pub(super) node: usize,
    pub(super) addresses: Vec<IpAddr>,
}

/// Three clients and a witness of each address.
pub(super) struct Watching {
    clients: Vec<Clients>,
    witnesses: Vec<Witness>,
}

/// What was seen of one address.
pub(super) struct Watched {
    pub(super) seen: Seen,
    pub(super) testimony: Testimony,
}

impl Watched {
    /// With what the witness saw from that moment of the wall clock on.
    pub(super) fn since(self, from: Duration) -> Self {
        Self { testimony: self.testimony.since(from), ..self }
    }

    /// How long after that moment two answered for the last time.
    pub(super) fn two_until(&self, from: Duration) -> Duration {
        let last = self.testimony.doubled().last().map(|span| span.from + span.lasted);
        last.map_or(Duration::ZERO, |until| until.saturating_sub(from))
    }
}

/// Changes that keep a Service's traffic on the node that it came to.
pub(super) fn local(pool: &str) -> Value {
    json!({ "metadata": { "annotations": { "ferritelb.io/address-pool": pool } },
            "spec": { "externalTrafficPolicy": "Local" } })
}

/// Nothing passes between the node and the rest of the world; the segment goes last.
#[track_caller]
pub(super) fn cut_off(node: &Host) -> [Fault; 2] {
    [node.cut_management(), node.cut()]
}

impl<'a> Scene<'a> {
    #[track_caller]
    pub(super) fn set(lab: &'a Lab) -> Self {
        apply_samples(lab, &["ipaddresspools.yaml", "l2advertisement.yaml"]);
        lab.run(APP, &[1, 2, 3]);
        let names: Vec<_> = (0..SERVICES).map(|number| format!("near-{number}")).collect();
        let mut changes = local("segment");
        changes["spec"]["selector"] = json!({ "app": APP });
        let services: Vec<_> = names.iter().map(|name| lab.ask("default", name, &changes)).collect();
        let addresses: Vec<_> = services.iter().flat_map(|service| service.wait_addresses(2)).collect();
        lab.wait_owners(&addresses, SOON);
        Self { lab, vrrp: Vrrp::start(lab), addresses, turns: BTreeMap::new() }
    }

    /// Of the nodes with an address of each family the one whose turn it is; of those with one address, if there
    /// is no such node.
    #[track_caller]
    pub(super) fn pick(&mut self) -> Victim {
        let owners = self.owners();
        let of = |node: usize, family: Family| {
            let mut mine =
                owners.iter().filter(move |(ip, owner)| **owner == node && Family::of(**ip) == family);
            mine.next().map(|(ip, _)| *ip)
        };
        let victims = (1..=self.lab.nodes().len()).map(|node| Victim {
            node,
            addresses: Family::BOTH.iter().filter_map(|family| of(node, *family)).collect(),
        });
        let turn = |node: usize| self.turns.get(&node).copied().unwrap_or(0);
        let best = victims.min_by_key(|victim| (2 - victim.addresses.len(), turn(victim.node)));
        let best = best.expect("a lab has nodes");
        *self.turns.entry(best.node).or_default() += 1;
        best
    }

    /// Who answers for each address; one node for each.
    #[track_caller]
    pub(super) fn owners(&self) -> BTreeMap<IpAddr, usize> {
        self.lab.wait_owners(&self.addresses, SOON)
    }

    #[track_caller]
    pub(super) fn watch(&self, addresses: &[IpAddr]) -> Watching {
        let client = self.lab.client();
        let watching = Watching {
            clients: addresses.iter().map(|ip| client.clients(SocketAddr::new(*ip, PORT))).collect(),
            witnesses: addresses.iter().map(|ip| client.witness(*ip)).collect(),
        };
        thread::sleep(CALM);
        watching
    }

    /// Waits until other nodes than that answer for its addresses; a product that never gets there has a long
    /// outage, not an error.
    #[track_caller]
    pub(super) fn wait_left(&self, victim: &Victim) {
        let former = self.lab.node(victim.node).mac();
        let left = wait::attempt(GIVEN_UP_AFTER, || {
            let macs = self.lab.client().resolve_all(&victim.addresses);
            let good = macs.values().all(|macs| macs.len() == 1 && !macs.contains(&former));
            if good { Ok(()) } else { Err(macs) }
        });
        if let Err(macs) = left {
            eprintln!("  … {victim:?}: no other node answers alone within {GIVEN_UP_AFTER:?}: {macs:?}");
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let turns: Vec<_> = self.turns.iter().map(|(node, count)| format!("n{node} {count}")).collect();
        let victims = (!turns.is_empty()).then(|| format!("Victims: {}.", turns.join(", ")));
        let baseline = "VRRP is keepalived with advertisements each 0.1 s and priorities 254, 253, 252, on the same nodes: \
             its figures are of the same cuts as ours.";
        victims.into_iter().chain([baseline.to_owned()]).collect()
    }
}

impl Watching {
    pub(super) fn stop(self) -> Vec<Watched> {
        let seen: Vec<_> = self.clients.into_iter().map(Clients::stop).collect();
        let testimonies = self.witnesses.into_iter().map(Witness::stop);
        seen.into_iter().zip(testimonies).map(|(seen, testimony)| Watched { seen, testimony }).collect()
    }
}

/// What clients and witness noticed of one kind of event.
pub(super) struct Noticed {
    what: String,
    aim: &'static str,
    datagrams: Series,
    connections: Series,
    delayed: Series,
    resets: Series,
    dark: Series,
    others: Series,
    doubled: Series,
}

impl Noticed {
    pub(super) fn new(what: &str, aim: &'static str) -> Self {
        let count = |of: &str| Series::new(of, "");
        Self {
            what: what.to_owned(),
            aim,
            datagrams: count("datagrams lost"),
            connections: count("new connections lost"),
            delayed: count("held: a segment lost"),
            resets: count("held: reset"),
            dark: Series::milliseconds("nobody answered"),
            others: count("more MACs than one"),
            doubled: Series::milliseconds("two answered"),
        }
    }

    pub(super) fn note(&mut self, watched: &Watched) {
        let Watched { seen, testimony } = watched;
        self.datagrams.count(seen.datagrams.lost);
        self.connections.count(seen.connections.lost);
        self.delayed.count(seen.held.delayed);
        self.resets.count(seen.held.resets);
        let dark = testimony.dark().map_or(Duration::ZERO, |span| span.lasted);
        self.dark.between(Duration::ZERO, dark);
        self.others.count(testimony.answers().len().saturating_sub(1) as u64);
        self.doubled.between(Duration::ZERO, testimony.doubled_for());
    }

    pub(super) fn into_tally(self) -> Tally {
        let Self { what, aim, datagrams, connections, delayed, resets, dark, others, doubled } = self;
        let series = vec![datagrams, connections, delayed, resets, dark, others, doubled];
        Tally { what, aim, series }
    }
}

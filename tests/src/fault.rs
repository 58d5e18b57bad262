//! Faults: what the network does to a host. Each heals when its [`Fault`] is dropped, or by [`Fault::heal`].
//!
//! They are made on the switch, so the host under test does not see their cause. `nft` takes effect some
//! milliseconds before it returns; [`Fault::began`] is taken after that.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::namespace::Namespace;
use crate::run::{self, Failed};
use crate::{clock, wait};

const CARRIER_WITHIN: Duration = Duration::from_secs(5);

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// As seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the host sends is lost.
    FromHost,
    /// What is sent to the host is lost.
    ToHost,
}

impl Direction {
    /// The hook on the host's port, as the switch sees it.
    fn hook(self) -> &'static str {
        match self {
            Self::FromHost => "ingress",
            Self::ToHost => "egress",
        }
    }
}

type Heal = Box<dyn FnOnce() -> Result<(), Failed> + Send>;

/// A fault that is in force.
#[must_use = "a fault heals when it is dropped"]
pub struct Fault {
    heal: Option<Heal>,
    began: Instant,
}

impl Fault {
    fn new(heal: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Self {
        Self { heal: Some(Box::new(heal)), began: clock::now() }
    }

    /// When it was in force.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Ends it; returns when the network is whole again.
    #[track_caller]
    pub fn heal(mut self) {
        if let Some(heal) = self.heal.take() {
            heal().unwrap_or_else(|failed| panic!("{failed}"));
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(heal) = self.heal.take() {
            // The lab may be gone already, and the fault with it.
            heal().ok();
        }
    }
}

impl Host {
    /// A silent cut of the segment, both ways: carrier stays, nothing passes.
    #[track_caller]
    pub fn cut(&self) -> Fault {
        silent(self.switch(), self.name(), &Direction::BOTH)
    }

    /// A silent cut in one direction.
    #[track_caller]
    pub fn one_way(&self, lost: Direction) -> Fault {
        silent(self.switch(), self.name(), &[lost])
    }

    /// A silent cut of the management network: the node and the API server lose each other.
    #[track_caller]
    pub fn cut_management(&self) -> Fault {
        silent(self.switch(), &management_port(self.name()), &Direction::BOTH)
    }

    /// Loses what matches, both ways: `ether type arp`, `udp dport 7973`, `numgen random mod 100 < 30`.
    #[track_caller]
    pub fn lose(&self, matching: &str) -> Fault {
        let chains = Direction::BOTH.map(|lost| {
            let hook = lost.hook();
            format!(
                "chain {hook} {{ type filter hook {hook} device \"{}\" priority 0; {matching} drop; }}\n",
                self.name()
            )
        });
        table(self.switch(), "netdev", &chains.concat())
    }

    /// Loses so many of a hundred frames, both ways, at random.
    #[track_caller]
    pub fn lose_percent(&self, percent: u32) -> Fault {
        self.lose(&format!("numgen random mod 100 < {percent}"))
    }

    /// Loses so many of a hundred frames that the host sends, at random.
    #[track_caller]
    pub fn lose_sent(&self, percent: u32) -> Fault {
        let (port, hook) = (self.name(), Direction::FromHost.hook());
        let chain = format!(
            "chain {hook} {{ type filter hook {hook} device \"{port}\" priority 0; numgen random mod 100 < \
             {percent} drop; }}\n"
        );
        table(self.switch(), "netdev", &chain)
    }

    /// Takes its port out of the switch: carrier stays, nothing passes but what [`Host::asked_at_its_port`] asks.
    #[track_caller]
    pub fn unbridge(&self) -> Fault {
        let (port, switch) = (self.name().to_owned(), self.switch().clone());
        switch.ip_batch(&format!("link set {port} nomaster\n"));
        Fault::new(move || try_ip(&switch, &format!("link set {port} master br0\n")))
    }

    /// Pulls the cable: the host sees its carrier go, nobody else notices.
    #[track_caller]
    pub fn unplug(&self) -> Fault {
        let port = self.name().to_owned();
        let switch = self.switch().clone();
        switch.ip_batch(&format!("link set {port} down\n"));
        let inside = self.namespace().clone();
        let routes = self.routes().to_owned();
        Fault::new(move || {
            let plug = format!("link set {port} up\n");
            try_ip(&switch, &plug)?;
            // Without carrier routes are refused; the last refusal is the reason.
            wait::attempt(CARRIER_WITHIN, || try_ip(&inside, &routes))
        })
    }
}

impl Direction {
    const BOTH: [Self; 2] = [Self::FromHost, Self::ToHost];
}

/// Between the hosts on the left and those on the right nothing passes; all others hear both.
#[track_caller]
pub fn partition(left: &[&Host], right: &[&Host]) -> Fault {
    let rules = deaf_to(left, right) + &deaf_to(right, left);
    forwarding(left.first().expect("a side has a host").switch(), &rules)
}

/// What the first send does not reach the second; all else passes.
#[track_caller]
pub fn partition_one_way(from: &[&Host], to: &[&Host]) -> Fault {
    forwarding(from.first().expect("a side has a host").switch(), &deaf_to(from, to))
}

/// Between each two of the hosts nothing passes that is for that UDP port.
#[track_caller]
pub fn close_port(hosts: &[&Host], port: u16) -> Fault {
    let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (from.name(), to.name())));
    let rule =
        |(from, to): (&str, &str)| format!("iifname \"{from}\" oifname \"{to}\" udp dport {port} drop\n");
    let rules: String = pairs.filter(|(from, to)| from != to).map(rule).collect();
    forwarding(hosts.first().expect("there are hosts").switch(), &rules)
}

fn deaf_to(from: &[&Host], to: &[&Host]) -> String {
    let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (from.name(), to.name())));
    pairs.map(|(from, to)| format!("iifname \"{from}\" oifname \"{to}\" drop\n")).collect()
}

fn forwarding(switch: &Namespace, rules: &str) -> Fault {
    let chain = format!("chain forward {{ type filter hook forward priority 0;\n{rules}}}\n");
    table(switch, "bridge", &chain)
}

pub(crate) fn management_port(host: &str) -> String {
    format!("m-{host}")
}

fn silent(switch: &Namespace, port: &str, lost: &[Direction]) -> Fault {
    let chain = |lost: &Direction| {
        let hook = lost.hook();
        format!("chain {hook} {{ type filter hook {hook} device \"{port}\" priority 0; policy drop; }}\n")
    };
    table(switch, "netdev", &lost.iter().map(chain).collect::<String>())
}

fn table(switch: &Namespace, family: &'static str, chains: &str) -> Fault {
    let name = format!("fault{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let rules = format!("table {family} {name} {{\n{chains}}}\n");
    run::run_with_input(switch.command("nft").args(["-f", "-"]), &rules);
    let switch = switch.clone();
    Fault::new(move || {
        let mut delete = switch.command("nft");
        run::attempt(delete.args(["delete", "table", family, &name])).map(drop)
    })
}

fn try_ip(inside: &Namespace, lines: &str) -> Result<(), Failed> {
    let mut command = Command::new("ip");
    command.args(["-n", inside.name(), "-batch", "-"]);
    run::attempt_with_input(&mut command, lines).map(drop)
}

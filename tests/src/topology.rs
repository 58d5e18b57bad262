//! The wires: who is connected to whom, with which addresses and routes.

use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::address::{Network, Place, pods_v4, pods_v6};
use crate::daemon::Lifetime;
use crate::fault::management_port;
use crate::host::{Host, Surroundings};
use crate::lease::{self, Lease};
use crate::namespace::Namespace;
use crate::reaper::Reaper;
use crate::router::{Kind, Router};
use crate::run;
use crate::vantage::Vantage;

const NODES: u8 = 3;

/// A lab's network. Removed when dropped, whatever happens, unless it is left standing.
///
/// ```text
///   cp ──── management 10.99.0.0/24 ──┬───────┬───────┐
///                                     n1      n2      n3       cl
///         segment 10.77.0.0/24        │       │       │        │
///         fd77::/64           ──┬─────┴───────┴───────┴────────┴──┬──
///                              frr                              bird
///         10.78.0.0/24 fd78::/64 └────────────── ext ──────────────┘ 10.79.0.0/24 fd79::/64
/// ```
pub struct Topology {
    lease: Option<Lease>,
    reaper: Option<Reaper>,
    name: String,
    dir: PathBuf,
    switch: Namespace,
    nodes: Vec<Host>,
    client: Host,
    outside: Outside,
    frr: Router,
    bird: Router,
    control_plane: Host,
}

impl Topology {
    /// Raises a lab of three nodes; `purpose` is for people who look at `/run/flb`.
    #[must_use]
    pub fn up(purpose: &str) -> Self {
        Self::raise(purpose, Lifetime::Harness)
    }

    /// A lab that may be left standing: its programs do not end with the harness. See [`Self::leave_standing`].
    #[must_use]
    pub fn to_stand(purpose: &str) -> Self {
        Self::raise(purpose, Lifetime::Lab)
    }

    fn raise(purpose: &str, lifetime: Lifetime) -> Self {
        let lease = Lease::take();
        lease::note_purpose(&lease, purpose).expect("the purpose is noted");
        let reaper = Reaper::watch(lease.name());
        let switch = Namespace::create(&format!("{}-sw", lease.name()));
        let around =
            Surroundings { lab: lease.name().to_owned(), dir: lease.dir(), lifetime, switch: switch.clone() };
        let router = |kind: Kind| Router::new(kind, host(&around, kind.name(), kind.place()));
        let topology = Self {
            name: lease.name().to_owned(),
            dir: lease.dir(),
            nodes: (1..=NODES).map(|number| node(&around, number)).collect(),
            client: host(&around, "cl", Place::CLIENT),
            outside: Outside(Host::create(&around, "ext", Place::CLIENT, String::new())),
            frr: router(Kind::Frr),
            bird: router(Kind::Bird),
            control_plane: Host::create(&around, "cp", Place::CONTROL_PLANE, String::new()),
            switch,
            lease: Some(lease),
            reaper: Some(reaper),
        };
        topology.wire();
        topology
    }

    /// The name that all its namespaces begin with: `flb0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder for the lab's files, removed with it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Node 1, 2 or 3.
    #[must_use]
    #[track_caller]
    pub fn node(&self, number: usize) -> &Host {
        assert!((1..=self.nodes.len()).contains(&number), "no node {number}");
        &self.nodes[number - 1]
    }

    /// All nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Host] {
        &self.nodes
    }

    /// The client on the nodes' segment.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The client behind both routers.
    #[must_use]
    pub fn ext(&self) -> &Outside {
        &self.outside
    }

    /// The FRR router.
    #[must_use]
    pub fn frr(&self) -> &Router {
        &self.frr
    }

    /// The BIRD router.
    #[must_use]
    pub fn bird(&self) -> &Router {
        &self.bird
    }

    /// The host of the control plane, on the management network alone.
    #[must_use]
    pub fn cp(&self) -> &Host {
        &self.control_plane
    }

    /// The switch: bridge `br0` with a port per host, named as the host.
    #[must_use]
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// Lays a wire of its own between two hosts: a device of that name on each, with its address (`10.80.0.1/24`).
    #[track_caller]
    pub fn lay_wire(&self, device: &str, one: (&Host, &str), other: (&Host, &str)) {
        let end = |host: &Host| host.namespace().name().to_owned();
        self.switch.ip_batch(&format!(
            "link add {device} netns {} type veth peer name {device} netns {}\n",
            end(one.0),
            end(other.0)
        ));
        for (host, address) in [one, other] {
            host.ip(&format!("addr add {address} dev {device}\nlink set {device} up\n"));
        }
    }

    /// Lets the lab outlive the harness, until `lab down`; gives its name.
    ///
    /// # Panics
    /// When it was not raised with [`Self::to_stand`].
    pub fn leave_standing(mut self) -> String {
        let programs = self.client.lifetime();
        assert_eq!(programs, Lifetime::Lab, "its programs end with the harness");
        if let Some(lease) = self.lease.take() {
            lease.leave_standing();
        }
        self.name.clone()
    }

    fn on_segment(&self) -> impl Iterator<Item = &Host> {
        let routers = [&*self.frr, &*self.bird];
        self.nodes.iter().chain([&self.client]).chain(routers)
    }

    fn on_management(&self) -> impl Iterator<Item = &Host> {
        self.nodes.iter().chain([&self.control_plane])
    }

    fn wire(&self) {
        let outside = &self.outside.0;
        thread::scope(|scope| {
            for host in self.on_segment().chain([outside, &self.control_plane]) {
                scope.spawn(|| settings(host));
            }
        });
        quiet_switch(&self.switch);
        self.switch.ip_batch(&self.cables());
        self.frr.ip(&leg("eth1", Network::BEHIND_FRR, Place::FRR));
        self.bird.ip(&leg("eth1", Network::BEHIND_BIRD, Place::FRR));
        thread::scope(|scope| {
            for host in self.on_segment() {
                scope.spawn(|| host.ip(&(leg("eth0", Network::SEGMENT, host.place()) + host.routes())));
            }
            for host in self.on_management() {
                scope.spawn(|| host.ip(&leg("mgmt0", Network::MANAGEMENT, host.place())));
            }
            scope.spawn(|| wire_outside(outside));
        });
    }

    /// Every cable, plugged in from the switch's side.
    fn cables(&self) -> String {
        let mut lines = String::from(
            "link add br0 up type bridge stp_state 0 mcast_snooping 0\n\
             link add brm up type bridge stp_state 0 mcast_snooping 0\n",
        );
        for host in self.on_segment() {
            lines += &cable(host.name(), "br0", host, "eth0", Network::SEGMENT);
        }
        for host in self.on_management() {
            let port = management_port(host.name());
            lines += &cable(&port, "brm", host, "mgmt0", Network::MANAGEMENT);
        }
        let outside = self.outside.0.namespace().name();
        let legs = [(&self.frr, "eth0", Network::BEHIND_FRR), (&self.bird, "eth1", Network::BEHIND_BIRD)];
        for (router, device, network) in legs {
            lines += &format!(
                "link add eth1 netns {} address {} type veth peer name {device} netns {outside} address {}\n",
                router.namespace().name(),
                network.mac(Place::FRR),
                network.mac(Place::CLIENT),
            );
        }
        lines
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            if thread::panicking() {
                keep_logs(&self.dir);
            }
            lease.clear();
        }
        if let Some(reaper) = self.reaper.take() {
            reaper.dismiss();
        }
    }
}

/// The client behind both routers.
pub struct Outside(Host);

impl Outside {
    /// The client as it is seen by way of that router.
    #[must_use]
    pub fn via(&self, router: &Router) -> Vantage {
        let network = router.kind().behind();
        let sources = [IpAddr::from(network.v4(Place::CLIENT)), IpAddr::from(network.v6(Place::CLIENT))];
        Vantage::from_sources(self.0.namespace().clone(), sources.to_vec())
    }
}

impl Deref for Outside {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

fn host(around: &Surroundings, name: &str, place: Place) -> Host {
    Host::create(around, name, place, routes(place))
}

fn node(around: &Surroundings, number: u8) -> Host {
    host(around, &format!("n{number}"), Place::node(number))
}

/// The routes of a host on the segment: the pods behind their nodes, the outside behind its two routers, and
/// everything else by FRR.
fn routes(place: Place) -> String {
    let segment = Network::SEGMENT;
    let mut routes = Vec::new();
    for number in (1..=NODES).filter(|number| Place::node(*number) != place) {
        let node = Place::node(number);
        routes.push((pods_v4(number), segment.v4(node).to_string()));
        routes.push((pods_v6(number), segment.v6(node).to_string()));
    }
    let behind = [(Network::BEHIND_FRR, Place::FRR), (Network::BEHIND_BIRD, Place::BIRD)];
    for (network, router) in behind.into_iter().filter(|(_, router)| *router != place) {
        routes.push((network.prefix_v4(), segment.v4(router).to_string()));
        routes.push((network.prefix_v6(), segment.v6(router).to_string()));
    }
    if place != Place::FRR && place != Place::BIRD {
        routes.push(("0.0.0.0/0".into(), segment.v4(Place::FRR).to_string()));
        routes.push(("::/0".into(), segment.v6(Place::FRR).to_string()));
    }
    let line = |(to, via): (String, String)| format!("route replace {to} via {via}\n");
    routes.into_iter().map(line).collect()
}

/// A pair of Ethernet devices between a port of the switch and a device of a host.
fn cable(port: &str, bridge: &str, host: &Host, device: &str, network: Network) -> String {
    let (inside, mac) = (host.namespace().name(), network.mac(host.place()));
    format!("link add {port} up master {bridge} type veth peer name {device} netns {inside} address {mac}\n")
}

/// The addresses of a host on a network. The management network has IPv4 alone.
fn leg(device: &str, network: Network, place: Place) -> String {
    let v4 = network.v4(place);
    let mut lines = format!("link set lo up\naddr add {v4}/24 dev {device}\n");
    if network != Network::MANAGEMENT {
        let v6 = network.v6(place);
        lines += &format!("addr add {v6}/64 dev {device} nodad\n");
    }
    lines + &format!("link set {device} up\n")
}

/// The outside client sends by the router whose network its source address is in.
fn wire_outside(outside: &Host) {
    let mut lines = leg("eth0", Network::BEHIND_FRR, Place::CLIENT);
    lines += &leg("eth1", Network::BEHIND_BIRD, Place::CLIENT);
    let (mut rules_v4, mut rules_v6) = (String::new(), String::new());
    for (network, device) in [(Network::BEHIND_FRR, "eth0"), (Network::BEHIND_BIRD, "eth1")] {
        let table = network.number();
        let (router_v4, router_v6) = (network.v4(Place::FRR), network.v6(Place::FRR));
        lines += &format!(
            "route add 0.0.0.0/0 via {router_v4} dev {device} table {table}\n\
             route add ::/0 via {router_v6} dev {device} table {table}\n"
        );
        let (v4, v6) = (network.v4(Place::CLIENT), network.v6(Place::CLIENT));
        rules_v4 += &format!("rule add from {v4} lookup {table}\n");
        rules_v6 += &format!("rule add from {v6} lookup {table}\n");
    }
    let network = Network::BEHIND_FRR;
    let (v4, v6) = (network.v4(Place::FRR), network.v6(Place::FRR));
    lines += &format!("route add 0.0.0.0/0 via {v4}\nroute add ::/0 via {v6}\n");
    outside.ip(&(lines + &rules_v4));
    // `ip` takes the family of a rule from its flag alone.
    let mut batch = Command::new("ip");
    batch.args(["-n", outside.namespace().name(), "-6", "-batch", "-"]);
    run::run_with_input(&mut batch, &rules_v6);
}

/// What must be set before the devices arrive: addresses are usable at once, replies take any way.
fn settings(host: &Host) {
    let off = [
        "net.ipv6.conf.default.accept_dad",
        "net.ipv6.conf.default.router_solicitations",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.all.send_redirects",
        "net.ipv4.conf.default.send_redirects",
        "net.ipv4.conf.all.accept_redirects",
        "net.ipv4.conf.default.accept_redirects",
        "net.ipv6.conf.default.accept_redirects",
    ];
    let forwarding = [
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.default.forwarding",
        // One client must be able to reach several nodes: ECMP looks at the ports too.
        "net.ipv4.fib_multipath_hash_policy",
        "net.ipv6.fib_multipath_hash_policy",
    ];
    let client = host.place() == Place::CLIENT;
    let on: &[&str] = if client { &[] } else { &forwarding };
    set_all(host.namespace(), &off, on);
}

fn set_all(inside: &Namespace, off: &[&str], on: &[&str]) {
    let write = |name: &str, value: &str| {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::write(&file, value).unwrap_or_else(|error| panic!("{file}: {error}"));
    };
    inside.enter(|| {
        off.iter().for_each(|name| write(name, "0"));
        on.iter().for_each(|name| write(name, "1"));
    });
}

/// The switch itself has no IPv6 of its own, so nothing on the wire comes from it.
fn quiet_switch(switch: &Namespace) {
    set_all(switch, &[], &["net.ipv6.conf.default.disable_ipv6"]);
}

/// Copies the logs of a lab whose test failed to where they survive it.
fn keep_logs(dir: &Path) {
    let lab = dir.file_name().unwrap_or_default().to_string_lossy();
    let kept = std::env::temp_dir().join(format!("{lab}-failed-{}", std::process::id()));
    let mut copy = Command::new("cp");
    copy.args(["-r", "--"]).args([dir, &kept]);
    match run::attempt(&mut copy) {
        Ok(_) => eprintln!("the lab's logs are in {}", kept.display()),
        Err(failed) => eprintln!("{failed}"),
    }
}

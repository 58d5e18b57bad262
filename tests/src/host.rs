//! A host of the lab: a namespace with a place on the segment.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::Pid;

use crate::address::{Family, Mac, Network, Place};
use crate::daemon::{Daemon, Lifetime};
use crate::lease;
use crate::namespace::Namespace;
use crate::run;
use crate::vantage::Vantage;

/// What a host knows of its lab.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) lab: String,
    pub(crate) dir: PathBuf,
    pub(crate) lifetime: Lifetime,
    pub(crate) switch: Namespace,
}

/// A node, a router, a client or the control plane.
pub struct Host {
    name: String,
    namespace: Namespace,
    place: Place,
    around: Surroundings,
    routes: String,
    started: AtomicU32,
}

impl Host {
    pub(crate) fn create(around: &Surroundings, name: &str, place: Place, routes: String) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Namespace::create(&format!("{}-{name}", around.lab)),
            place,
            around: around.clone(),
            routes,
            started: AtomicU32::new(0),
        }
    }

    /// `n1`, `cl`, `frr`, …: also the name of its port on the switch.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its IPv4 address on the segment.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        Network::SEGMENT.v4(self.place)
    }

    /// Its IPv6 address on the segment.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        Network::SEGMENT.v6(self.place)
    }

    /// Its address of that family on the segment.
    #[must_use]
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4().into(),
            Family::V6 => self.v6().into(),
        }
    }

    /// The Ethernet address of `eth0`.
    #[must_use]
    pub fn mac(&self) -> Mac {
        Network::SEGMENT.mac(self.place)
    }

    /// The address on the management network (nodes and control plane).
    #[must_use]
    pub fn management(&self) -> Ipv4Addr {
        Network::MANAGEMENT.v4(self.place)
    }

    /// A folder for files of this host, gone with the lab.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let dir = self.around.dir.join(&self.name);
        fs::create_dir_all(&dir).expect("the host's folder is made");
        dir
    }

    /// Runs `work` on a thread inside, and waits for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// Runs a program inside to its end and gives what it printed; a failure ends the test.
    #[track_caller]
    pub fn sh(&self, words: &[&str]) -> String {
        let (program, arguments) = words.split_first().expect("a command has a first word");
        run::run(self.namespace.command(program).args(arguments))
    }

    /// Starts a long-lived program inside; its output goes to a file of the lab.
    #[track_caller]
    #[must_use]
    pub fn spawn(&self, name: &str, command: &Command) -> Daemon {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.dir().join(format!("{name}.{number}.log"));
        Daemon::start(&self.namespace, name, command, log, self.around.lifetime)
    }

    /// The processes inside.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let inside = lease::processes_in(std::slice::from_ref(&self.namespace));
        BTreeMap::into_keys(inside).collect()
    }

    /// Runs lines of `ip -batch` inside.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        self.namespace.ip_batch(lines);
    }

    /// Sets a kernel setting of this host: `net.ipv4.ip_forward`, `1`.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let written = self.enter(|| fs::write(&file, value));
        written.unwrap_or_else(|error| panic!("{file} = {value}: {error}"));
    }

    /// Takes an address of its own, reachable through no link: a VIP for BGP, a pod.
    #[track_caller]
    pub fn add_local(&self, address: IpAddr) {
        self.ip(&format!("addr replace {} dev lo\n", host_prefix(address)));
    }

    /// Gives the address up.
    #[track_caller]
    pub fn remove_local(&self, address: IpAddr) {
        self.ip(&format!("addr del {} dev lo\n", host_prefix(address)));
    }

    /// Takes an address on the segment; its kernel answers for it from now on.
    #[track_caller]
    pub fn add_on_segment(&self, address: IpAddr) {
        let prefix = host_prefix(address);
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        self.ip(&format!("addr replace {prefix} dev eth0 {nodad}\n"));
    }

    /// Gives the address up.
    #[track_caller]
    pub fn remove_on_segment(&self, address: IpAddr) {
        self.ip(&format!("addr del {} dev eth0\n", host_prefix(address)));
    }

    /// Empties the neighbour caches.
    #[track_caller]
    pub fn forget_neighbours(&self) {
        self.ip("neigh flush dev eth0\n");
    }

    /// Where its requests come from, unless told otherwise.
    #[must_use]
    pub fn vantage(&self) -> Vantage {
        Vantage::new(self.namespace.clone())
    }

    pub(crate) fn switch(&self) -> &Namespace {
        &self.around.switch
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.around.lifetime
    }

    /// The `ip -batch` lines that a lost carrier undoes.
    pub(crate) fn routes(&self) -> &str {
        &self.routes
    }
}

fn host_prefix(address: IpAddr) -> ipnetwork::IpNetwork {
    address.into()
}

//! The baseline of failovers on a segment: keepalived, VRRPv3 with an advertisement each tenth of a second.
//!
//! Each node is the master of one IPv4 and one IPv6 address; the others are its backups. Priorities are as near
//! to 255 as three can be, so that a backup waits hardly longer than the three intervals that it must.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use crate::Family;
use crate::daemon::Daemon;
use crate::host::Host;
use crate::serve::{self, Server};
use crate::topology::Topology;
use crate::wait;

/// Where each address answers datagrams with the name of its node.
pub const PORT: u16 = 7000;
const SETTLES: Duration = Duration::from_secs(30);

/// keepalived on every node.
pub struct Vrrp<'a> {
    topology: &'a Topology,
    daemons: Vec<Daemon>,
    _servers: Vec<Server>,
}

impl<'a> Vrrp<'a> {
    /// Starts it and returns when each node is the master of its addresses.
    #[must_use]
    #[track_caller]
    pub fn start(topology: &'a Topology) -> Self {
        let numbers = || 1..=topology.nodes().len();
        let daemons =
            topology.nodes().iter().zip(numbers()).map(|(host, number)| start(host, number)).collect();
        let addresses =
            || numbers().flat_map(|number| Family::BOTH.map(|family| Self::address(number, family)));
        let servers = topology
            .nodes()
            .iter()
            .flat_map(|host| addresses().map(|address| serve::udp_name(host, address, PORT, host.name())));
        let vrrp = Self { topology, daemons, _servers: servers.collect() };
        numbers().for_each(|number| vrrp.wait_master(number));
        vrrp
    }

    /// The address that this node is the master of while it lives.
    #[must_use]
    pub fn address(node: usize, family: Family) -> IpAddr {
        let last = u8::try_from(node).expect("a lab has few nodes");
        match family {
            Family::V4 => Ipv4Addr::new(10, 77, 0, 190 + last).into(),
            Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x190 + u16::from(last)).into(),
        }
    }

    /// Waits until this node, and nobody else, answers for its addresses.
    #[track_caller]
    pub fn wait_master(&self, node: usize) {
        for family in Family::BOTH {
            let address = Self::address(node, family);
            wait::eventually(&format!("node {node} is the master of {address}"), SETTLES, || {
                let macs = self.topology.client().resolve(address);
                let alone = macs.len() == 1 && macs.contains(&self.topology.node(node).mac());
                let log = || self.daemons[node - 1].log();
                if alone { Ok(()) } else { Err(format!("{macs:?}\n{}", log())) }
            });
        }
    }
}

#[track_caller]
fn start(host: &Host, number: usize) -> Daemon {
    let dir = host.dir();
    let file = dir.join("keepalived.conf");
    fs::write(&file, config(number)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut command = Command::new("keepalived");
    command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(&file);
    command
        .arg("--pid")
        .arg(dir.join("keepalived.pid"))
        .arg("--vrrp_pid")
        .arg(dir.join("keepalived-vrrp.pid"));
    host.spawn("keepalived", &command)
}

fn config(number: usize) -> String {
    let mut text = String::from("global_defs {\n  vrrp_version 3\n}\n");
    for master in 1..=3 {
        for family in Family::BOTH {
            text += &instance(number, master, family);
        }
    }
    text
}

/// The master has priority 254, the node behind it 253, the one behind that 252.
fn instance(number: usize, master: usize, family: Family) -> String {
    let priority = 254 - (3 + number - master) % 3;
    let address = Vrrp::address(master, family);
    let length = if address.is_ipv4() { 32 } else { 128 };
    let mut text = String::new();
    writeln!(
        text,
        "vrrp_instance {family:?}_{master} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {}\n  \
         priority {priority}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {address}/{length}\n  }}\n}}",
        50 + master
    )
    .expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_the_master_of_its_own_address() {
        let mine = |number: usize| {
            config(number)
                .split("vrrp_instance ")
                .filter(|part| part.contains("priority 254"))
                .map(|part| part[..4].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(mine(2), ["V4_2", "V6_2"]);
        assert_eq!(mine(3), ["V4_3", "V6_3"]);
    }
}

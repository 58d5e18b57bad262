//! A node with a thousand addresses dies: when the last of a client's warm cache entries is right again.
//!
//! The other nodes are drained first, so that all addresses are on one; the client's entries are written, and
//! what the kernel says of each change is what counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::scene::{SOON, cut_off, local};
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::capture::Capture;
use crate::fault::Fault;
use crate::kube::light::Lab;
use crate::{Daemon, Host, Mac, clock, wait};

/// Dual-stack: twice as many addresses. The kernel keeps a thousand neighbours of a family.
const SERVICES: usize = 500;
const OWNER: usize = 1;
const ALLOCATED_WITHIN: Duration = Duration::from_secs(300);
/// Before anyone looks: the takeover has the processors for itself.
const TAKEOVER: Duration = Duration::from_secs(3);
const SETTLES: Duration = Duration::from_secs(5);
const POOL: &str = "{addresses: [10.77.1.0-10.77.2.255, 'fd77::1:0-fd77::1:fff']}";

#[track_caller]
pub(super) fn measure(report: &mut Report) {
    eprintln!("failover: raising a lab for {} addresses", 2 * SERVICES);
    let lab = Lab::up("bench: failover of many");
    lab.apply(&format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: many}}\nspec: {POOL}\n---\n\
         apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: many}}\nspec: {{}}\n"
    ));
    let addresses = expose(&lab);
    let others = [2, 3];
    others.iter().for_each(|node| lab.drain(*node));
    wait::eventually("all addresses are on one node", ALLOCATED_WITHIN, || {
        let owners = lab.wait_owners(&addresses, ALLOCATED_WITHIN);
        let elsewhere = owners.values().filter(|node| **node != OWNER).count();
        if elsewhere == 0 { Ok(()) } else { Err(format!("{elsewhere} are not")) }
    });
    others.iter().for_each(|node| lab.end_drain(*node));
    thread::sleep(SETTLES);
    let resident = (1..=lab.nodes().len()).map(|node| lab.speaker(node).resident());
    report.series.push(
        Series::mebibytes(format!("speaker, resident, {} addresses", addresses.len()), resident).aim("≤ 25"),
    );
    report.series.extend(takeover(&lab, &addresses));
}

#[track_caller]
fn expose(lab: &Lab) -> Vec<IpAddr> {
    lab.run("many", &[1, 2, 3]);
    let mut changes = local("many");
    changes["spec"]["selector"] = json!({ "app": "many" });
    let names: Vec<_> = (0..SERVICES).map(|number| format!("many-{number}")).collect();
    let services: Vec<_> = names.iter().map(|name| lab.ask("default", name, &changes)).collect();
    let addresses = services.iter().flat_map(|service| {
        wait::eventually("a Service of many has its addresses", ALLOCATED_WITHIN, || {
            let addresses = service.addresses();
            if addresses.len() == 2 { Ok(addresses) } else { Err(format!("{addresses:?}")) }
        })
    });
    addresses.collect()
}

/// From the cut to the last entry of the client that names a living node; and to the first announcement of each.
#[track_caller]
fn takeover(lab: &Lab, addresses: &[IpAddr]) -> [Series; 3] {
    let dead = lab.node(OWNER).mac();
    warm(lab, addresses, dead);
    let announced = Capture::of_neighbours(lab.client(), "eth0", move |frame| !frame.outgoing);
    let monitor = monitor(lab.client());
    let cut = cut_off(lab.node(OWNER));
    let at = clock::wall();
    thread::sleep(TAKEOVER);
    wait::attempt(SOON, || if changed(&monitor, dead).len() < addresses.len() { Err(()) } else { Ok(()) })
        .ok();
    let changed = changed(&monitor, dead);
    let mut right =
        Series::milliseconds("1,000 addresses: cut → a warm cache entry is right, each").aim("max ≤ 300");
    let mut wrong = Series::new("1,000 addresses: entries that stayed wrong", "").aim("0");
    let mut missing = Vec::new();
    for address in addresses {
        match changed.get(address) {
            Some(time) => right.between(time_of_day(at), *time),
            None => missing.push(address),
        }
    }
    wrong.count(missing.len() as u64);
    if let Some(first) = missing.first() {
        eprintln!("  … the client's entries for {first} and {} others did not change", missing.len() - 1);
    }
    let mut first: BTreeMap<IpAddr, Duration> = BTreeMap::new();
    for frame in announced.stop() {
        let said = frame.arp().map(|arp| (arp.sender.into(), arp.sender_mac));
        let said = said.or_else(|| frame.ndp().map(|ndp| (ndp.target.into(), frame.source())));
        if let Some((ip, _)) = said.filter(|(_, mac)| *mac != dead && frame.at > at) {
            first.entry(ip).or_insert(frame.at);
        }
    }
    let mut each = Series::milliseconds("1,000 addresses: cut → first announcement, each");
    addresses.iter().filter_map(|ip| first.get(ip)).for_each(|seen| each.between(at, *seen));
    cut.into_iter().for_each(Fault::heal);
    [right, each, wrong]
}

/// What the client's kernel says of its neighbours, with times.
#[track_caller]
fn monitor(client: &Host) -> Daemon {
    let mut command = Command::new("ip");
    command.args(["-ts", "monitor", "neigh"]).env("TZ", "UTC");
    let monitor = client.spawn("neighbours", &command);
    thread::sleep(Duration::from_millis(200));
    monitor
}

/// When each entry first named another MAC, as a time of the day.
fn changed(monitor: &Daemon, former: Mac) -> BTreeMap<IpAddr, Duration> {
    let former = former.to_string();
    let mut changed = BTreeMap::new();
    for line in monitor.log().lines() {
        if let Some((ip, mac, time)) = entry(line)
            && mac != former
        {
            changed.entry(ip).or_insert(time);
        }
    }
    changed
}

/// `[2026-11-21T23:46:34.123456] 10.77.1.4 dev eth0 lladdr 02:77:00:00:00:0b STALE`
fn entry(line: &str) -> Option<(IpAddr, &str, Duration)> {
    let (stamp, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (_, time) = stamp.split_once('T')?;
    let mut parts = time.splitn(3, ':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    let (ip, rest) = rest.split_once(' ')?;
    let (_, rest) = rest.split_once("lladdr ")?;
    let mac = rest.split(' ').next()?;
    Some((
        ip.parse().ok()?,
        mac,
        Duration::from_secs_f64(hours.mul_add(3600.0, minutes.mul_add(60.0, seconds))),
    ))
}

fn time_of_day(wall: Duration) -> Duration {
    const DAY: u64 = 86_400;
    Duration::new(wall.as_secs() % DAY, wall.subsec_nanos())
}

/// Entries that name that MAC, as if the client had used each a moment ago.
#[track_caller]
fn warm(lab: &Lab, addresses: &[IpAddr], mac: Mac) {
    let mut lines = String::new();
    for address in addresses {
        writeln!(lines, "neigh replace {address} dev eth0 lladdr {mac} nud stale").expect("a string");
    }
    lab.client().ip(&lines);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_monitor_says_who_is_where_and_when() {
        let line = "[2026-11-21T23:46:34.500000] 10.77.1.4 dev eth0 lladdr 02:77:00:00:00:0b STALE";
        let time = Duration::from_millis(((23 * 60 + 46) * 60 + 34) * 1000 + 500);
        assert_eq!(entry(line), Some(("10.77.1.4".parse().unwrap(), "02:77:00:00:00:0b", time)));
        assert_eq!(
            entry("[2026-11-21T23:46:34.500000] Deleted fd77::1 dev eth0 lladdr 02:77:00:00:00:0b STALE"),
            None
        );
        assert_eq!(time_of_day(Duration::from_millis(86_400_500)), Duration::from_millis(500));
    }
}

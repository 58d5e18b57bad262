//! FRR: zebra and bgpd with private sockets in the host's folder, asked through vtysh.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{Config, Neighbors, Session, Table};
use crate::address::{FRR_ASN, Family, Network, Place};
use crate::daemon::Daemon;
use crate::host::Host;
use crate::run::{self, Failed};
use crate::wait;

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn start(host: &Host, config: &Config) -> Vec<Daemon> {
    let dir = sockets(host);
    let zebra = launch(host, "zebra", "zebra work-queue 0\n", &["-s", "8388608"]);
    wait::eventually("zebra opens its socket", ANSWERS_WITHIN, || {
        let open = dir.join("zserv.api").exists();
        open.then_some(()).ok_or_else(|| zebra.log())
    });
    let bgpd = launch(host, "bgpd", &bgp(config), &[]);
    wait::eventually("bgpd has its configuration", ANSWERS_WITHIN, || {
        match ask(host, "show running-config bgpd") {
            Ok(running) if running.contains("router bgp") => Ok(()),
            Ok(running) => Err(running + &bgpd.log()),
            Err(failed) => Err(failed.to_string() + &bgpd.log()),
        }
    });
    vec![zebra, bgpd]
}

/// The daemons give up root, so their folder belongs to their user; the path leads through open folders.
fn sockets(host: &Host) -> PathBuf {
    let dir = host.dir().join("frr");
    fs::create_dir_all(&dir).expect("FRR's folder is made");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("it may be read");
    run::run(Command::new("chown").arg("frr:frr").arg(&dir));
    for socket in ["zserv.api", "zebra.vty", "bgpd.vty"] {
        fs::remove_file(dir.join(socket)).ok();
    }
    dir
}

fn launch(host: &Host, daemon: &str, config: &str, arguments: &[&str]) -> Daemon {
    let dir = sockets_of(host);
    let file = dir.join(format!("{daemon}.conf"));
    fs::write(&file, config).expect("the configuration is written");
    run::run(Command::new("chown").arg("frr:frr").arg(&file));
    let mut command = Command::new(format!("/usr/lib/frr/{daemon}"));
    command
        .args(["--log", "stdout", "-A", "127.0.0.1", "-P", "0"])
        .arg("--vty_socket")
        .arg(&dir)
        .arg("-z")
        .arg(dir.join("zserv.api"))
        .arg("-i")
        .arg(dir.join(format!("{daemon}.pid")))
        .arg("-f")
        .arg(&file)
        .args(arguments);
    host.spawn(daemon, &command)
}

fn sockets_of(host: &Host) -> PathBuf {
    host.dir().join("frr")
}

fn bgp(config: &Config) -> String {
    let (keepalive, hold) = config.timers;
    let router = Network::SEGMENT.v4(Place::FRR);
    let mut lines = format!(
        "router bgp {FRR_ASN}\n\
         bgp router-id {router}\n\
         no bgp ebgp-requires-policy\n\
         no bgp default ipv4-unicast\n\
         no bgp network import-check\n\
         bgp bestpath as-path multipath-relax\n\
         timers bgp {keepalive} {hold}\n\
         neighbor nodes peer-group\n\
         neighbor nodes remote-as external\n\
         neighbor nodes advertisement-interval 0\n\
         neighbor nodes timers connect 1\n"
    );
    lines += &neighbors(config.neighbors);
    for (address, asn) in &config.dial {
        let dialed = format!("neighbor {address}");
        writeln!(lines, "{dialed} remote-as {asn}\n{dialed} timers connect 1").expect("text can be written");
    }
    lines += &config.extra;
    for family in Family::BOTH {
        lines += &address_family(config, family);
    }
    lines
}

fn neighbors(how: Neighbors) -> String {
    let segment = Network::SEGMENT;
    let nodes = (1..=3)
        .map(Place::node)
        .flat_map(|place| [IpAddr::from(segment.v4(place)), IpAddr::from(segment.v6(place))]);
    let lines = |passive: &str| {
        let node = |address: IpAddr| {
            let passive = passive.replace("ADDRESS", &address.to_string());
            format!("neighbor {address} peer-group nodes\n{passive}")
        };
        nodes.map(node).collect()
    };
    match how {
        Neighbors::AnyOfSegment => format!(
            "bgp listen range {} peer-group nodes\nbgp listen range {} peer-group nodes\n",
            segment.prefix_v4(),
            segment.prefix_v6()
        ),
        Neighbors::NodesPassive => lines("neighbor ADDRESS passive\n"),
        Neighbors::NodesDialed => lines(""),
    }
}

fn address_family(config: &Config, family: Family) -> String {
    let name = word(family);
    let mut lines = format!("address-family {name} unicast\nneighbor nodes activate\n");
    for (address, _) in &config.dial {
        writeln!(lines, "neighbor {address} activate").expect("text can be written");
    }
    let announced = config.announce.iter();
    for prefix in announced.filter(|prefix| Family::of(prefix.ip()) == family) {
        writeln!(lines, "network {prefix}").expect("text can be written");
    }
    lines + "maximum-paths 8\nexit-address-family\n"
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

pub(super) fn ask(host: &Host, question: &str) -> Result<String, Failed> {
    run::attempt(&mut asking(host, question))
}

pub(super) fn asking(host: &Host, question: &str) -> Command {
    let mut vtysh = host.namespace().command("vtysh");
    vtysh.arg("--vty_socket").arg(sockets_of(host)).args(["-c", question]);
    vtysh
}

fn ask_json(host: &Host, question: &str) -> Value {
    let answer = ask(host, question).unwrap_or_default();
    // A daemon that is not there answers with a sentence.
    serde_json::from_str(&answer).unwrap_or_default()
}

pub(super) fn routes(host: &Host, family: Family) -> Table {
    let name = word(family);
    parse_routes(&ask_json(host, &format!("show bgp {name} unicast json")))
}

fn parse_routes(answer: &Value) -> Table {
    let mut table = Table::new();
    for (prefix, paths) in answer["routes"].as_object().into_iter().flatten() {
        let hops = paths.as_array().into_iter().flatten().flat_map(next_hops);
        if let Ok(prefix) = prefix.parse::<IpNetwork>() {
            table.insert(prefix, hops.collect());
        }
    }
    table
}

fn next_hops(path: &Value) -> Vec<IpAddr> {
    let hops = path["nexthops"].as_array().into_iter().flatten();
    // A link-local next hop stands beside the global one that is wanted.
    let global = hops.filter(|hop| hop["scope"] != "link-local");
    global.filter_map(|hop| hop["ip"].as_str()?.parse().ok()).collect()
}

pub(super) fn sessions(host: &Host) -> BTreeMap<IpAddr, Session> {
    parse_sessions(&ask_json(host, "show bgp neighbors json"))
}

fn parse_sessions(answer: &Value) -> BTreeMap<IpAddr, Session> {
    let neighbors = answer.as_object().into_iter().flatten();
    neighbors
        .filter_map(|(address, told)| {
            let session = Session {
                state: told["bgpState"].as_str()?.to_owned(),
                asn: told["remoteAs"].as_u64().and_then(|asn| asn.try_into().ok()),
                established: told["connectionsEstablished"].as_u64(),
            };
            Some((address.parse().ok()?, session))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_link_local_next_hop_counts_by_its_global_one() {
        let answer = r#"{"routes":{"2001:db8::1/128":[{"nexthops":[
            {"ip":"fd77::11","scope":"global","used":true},{"ip":"fe80::1","scope":"link-local"}]}]}}"#;
        let table = parse_routes(&serde_json::from_str(answer).unwrap());
        let prefix: IpNetwork = "2001:db8::1/128".parse().unwrap();
        assert_eq!(table[&prefix], ["fd77::11".parse().unwrap()].into());
    }

    #[test]
    fn a_session_has_a_state_an_as_and_a_count() {
        let answer =
            r#"{"10.77.0.11":{"remoteAs":64600,"bgpState":"Established","connectionsEstablished":2}}"#;
        let sessions = parse_sessions(&serde_json::from_str(answer).unwrap());
        let session = &sessions[&"10.77.0.11".parse().unwrap()];
        assert!(session.is_established());
        assert_eq!((session.asn, session.established), (Some(64600), Some(2)));
    }
}

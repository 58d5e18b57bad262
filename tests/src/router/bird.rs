//! BIRD 2, asked through birdc, which answers in text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::{Config, Neighbors, Session, Table};
use crate::address::{BIRD_ASN, Family, Network, Place};
use crate::daemon::Daemon;
use crate::host::Host;
use crate::run::{self, Failed};
use crate::wait;

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn start(host: &Host, config: &Config) -> Vec<Daemon> {
    let file = host.dir().join("bird.conf");
    fs::write(&file, configuration(config)).expect("the configuration is written");
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(&file).arg("-s").arg(socket(host));
    let bird = host.spawn("bird", &command);
    wait::eventually("BIRD is up", ANSWERS_WITHIN, || match ask(host, "show status") {
        Ok(status) if status.contains("Daemon is up") => Ok(()),
        Ok(status) => Err(status + &bird.log()),
        Err(failed) => Err(failed.to_string() + &bird.log()),
    });
    vec![bird]
}

fn socket(host: &Host) -> PathBuf {
    host.dir().join("bird.ctl")
}

fn configuration(config: &Config) -> String {
    let (keepalive, hold) = config.timers;
    let router = Network::SEGMENT.v4(Place::BIRD);
    // The default error wait of 60 to 300 s makes it refuse a neighbour for a minute after any error.
    let mut text = format!(
        "log stderr all;\nrouter id {router};\nprotocol device {{ }}\n\
         template bgp nodes {{\n local as {BIRD_ASN};\n error wait time 1, 2;\n connect retry time 1;\n \
         connect delay time 1;\n keepalive time {keepalive};\n hold time {hold};\n \
         ipv4 {{ import all; export where source = RTS_STATIC; }};\n \
         ipv6 {{ import all; export where source = RTS_STATIC; }};\n{extra}}}\n",
        extra = config.extra,
    );
    for family in Family::BOTH {
        let (name, number) = words(family);
        writeln!(
            text,
            "protocol kernel kernel{number} {{ merge paths on limit 8; {name} {{ import none; export where source = RTS_BGP; }}; }}\n\
             protocol static static{number} {{ {name}; {routes} }}",
            routes = announced(config, family),
        )
        .expect("text can be written");
    }
    text + &neighbors(config)
}

fn words(family: Family) -> (&'static str, u8) {
    match family {
        Family::V4 => ("ipv4", 4),
        Family::V6 => ("ipv6", 6),
    }
}

fn announced(config: &Config, family: Family) -> String {
    let announced = config.announce.iter();
    let ours = announced.filter(|prefix| Family::of(prefix.ip()) == family);
    ours.map(|prefix| format!("route {prefix} blackhole; ")).collect()
}

fn neighbors(config: &Config) -> String {
    let segment = Network::SEGMENT;
    let mut text = String::new();
    let mut add = |name: String, whom: String, mode: &str| {
        writeln!(text, "protocol bgp {name} from nodes {{ neighbor {whom}; {mode} }}")
            .expect("text can be written");
    };
    for (index, (address, asn)) in config.dial.iter().enumerate() {
        add(format!("dialed{index}"), format!("{address} as {asn}"), "direct;");
    }
    let mode = match config.neighbors {
        Neighbors::AnyOfSegment => {
            let (v4, v6) = (segment.prefix_v4(), segment.prefix_v6());
            add("any4".into(), format!("range {v4} external"), "dynamic name \"any4_\";");
            add("any6".into(), format!("range {v6} external"), "dynamic name \"any6_\";");
            return text;
        }
        Neighbors::NodesPassive => "passive;",
        Neighbors::NodesDialed => "",
    };
    for node in 1..=3 {
        let place = Place::node(node);
        add(format!("n{node}_4"), format!("{} external", segment.v4(place)), mode);
        add(format!("n{node}_6"), format!("{} external", segment.v6(place)), mode);
    }
    text
}

pub(super) fn ask(host: &Host, question: &str) -> Result<String, Failed> {
    run::attempt(&mut asking(host, question))
}

pub(super) fn asking(host: &Host, question: &str) -> Command {
    let mut birdc = host.namespace().command("birdc");
    birdc.arg("-s").arg(socket(host)).args(question.split_whitespace());
    birdc
}

pub(super) fn routes(host: &Host, family: Family) -> Table {
    let (_, number) = words(family);
    let question = format!("show route all table master{number} where source = RTS_BGP");
    parse_routes(&ask(host, &question).unwrap_or_default())
}

/// A prefix starts a line (further paths leave it out); its next hop is an attribute of the path. The
/// attribute may hold a link-local address after the global one.
fn parse_routes(answer: &str) -> Table {
    let mut table = Table::new();
    let mut current: Option<IpNetwork> = None;
    for line in answer.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !line.starts_with(char::is_whitespace) {
            current = first.parse().ok().filter(|_| first.contains('/'));
        }
        let hop = words.next().filter(|_| first == "BGP.next_hop:");
        if let (Some(prefix), Some(Ok(hop))) = (current, hop.map(str::parse)) {
            table.entry(prefix).or_default().insert(hop);
        }
    }
    table
}

pub(super) fn sessions(host: &Host) -> BTreeMap<IpAddr, Session> {
    parse_sessions(&ask(host, "show protocols all").unwrap_or_default())
}

fn parse_sessions(answer: &str) -> BTreeMap<IpAddr, Session> {
    let mut sessions = BTreeMap::new();
    let mut session = Session { state: String::new(), asn: None, established: None };
    let mut address = None;
    for line in answer.lines() {
        match line.trim().split_once(':') {
            Some(("BGP state", state)) => {
                session.state = state.trim().to_owned();
                session.asn = None;
            }
            Some(("Neighbor address", found)) => address = found.trim().parse().ok(),
            Some(("Neighbor AS", asn)) => session.asn = asn.trim().parse().ok(),
            _ => continue,
        }
        if let Some(address) = address {
            sessions.insert(address, session.clone());
        }
        if line.trim().starts_with("Neighbor AS") {
            address = None;
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_of_a_prefix_are_gathered() {
        let answer = "BIRD 2.0.12 ready.\nTable master4:\n\
            203.0.113.1/32       unicast [any4_1 10:00:00.000] * (100) [AS64600i]\n\
            \tvia 10.77.0.11 on eth0\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.next_hop: 10.77.0.11\n\
            \x20                    unicast [any4_2 10:00:00.000] (100) [AS64600i]\n\
            \tvia 10.77.0.12 on eth0\n\tBGP.next_hop: 10.77.0.12\n";
        let prefix: IpNetwork = "203.0.113.1/32".parse().unwrap();
        let hops = ["10.77.0.11".parse().unwrap(), "10.77.0.12".parse().unwrap()];
        assert_eq!(parse_routes(answer), [(prefix, hops.into())].into());
    }

    #[test]
    fn a_session_is_known_by_its_neighbors_address() {
        let answer = "any4_1     BGP        ---        up     10:00:00.000  Established\n\
            \x20 BGP state:          Established\n    Neighbor address: 10.77.0.11\n    Neighbor AS:      64600\n\
            any6       BGP        ---        start  10:00:00.000  Passive\n\
            \x20 BGP state:          Passive\n    Neighbor range:   fd77::/64\n";
        let sessions = parse_sessions(answer);
        assert_eq!(sessions.len(), 1);
        let session = &sessions[&"10.77.0.11".parse().unwrap()];
        assert_eq!((session.state.as_str(), session.asn), ("Established", Some(64600)));
    }
}

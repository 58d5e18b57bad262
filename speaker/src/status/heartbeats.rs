//! What the status says of the speakers that are not heard.

use std::collections::{BTreeMap, BTreeSet};

use api::condition::{HEARTBEATS_EXCHANGED, Status};
use api::speaker_status::MOST_UNHEARD;
use api::{Condition, Unheard};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use names::NodeName;
use netio::LinkIndex;

use crate::engine::port::{Lost, Report, Trouble};
use crate::wall_time::wall_time;

/// So many nodes a message names.
const NAMED: usize = 8;

/// What the ports tell, each with the name of its interface. Nodes that run no speaker are none of it.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    reports: BTreeMap<LinkIndex, (String, Report)>,
    speakers: BTreeSet<NodeName>,
}

impl Heartbeats {
    pub(super) fn apply(&mut self, changes: BTreeMap<LinkIndex, Option<(String, Report)>>) {
        for (index, report) in changes {
            match report {
                Some(report) => drop(self.reports.insert(index, report)),
                None => drop(self.reports.remove(&index)),
            }
        }
    }

    pub(super) fn set_speakers(&mut self, speakers: BTreeSet<NodeName>) {
        self.speakers = speakers;
    }

    fn lost(&self) -> impl Iterator<Item = (&str, &NodeName, &Lost)> {
        let all = self.reports.values().map(|(interface, report)| (interface.as_str(), &report.lost));
        all.flat_map(|(interface, lost)| lost.iter().map(move |(node, lost)| (interface, node, lost)))
            .filter(|(_, node, _)| self.speakers.contains(*node))
    }

    /// Those that are not heard, as many as a status holds.
    pub(super) fn unheard(&self) -> Vec<Unheard> {
        let one = |(interface, node, lost): (&str, &NodeName, &Lost)| Unheard {
            node: node.to_string(),
            address: lost.address.to_string(),
            interface: interface.to_owned(),
            reason: reason(lost.trouble).to_owned(),
            since: Time(wall_time(lost.since)),
        };
        self.lost().take(MOST_UNHEARD).map(one).collect()
    }

    /// Whether this node and the others hear each other.
    pub(super) fn condition(&self, me: &NodeName) -> Condition {
        let say =
            |status, reason: &str, why: String| Condition::new(HEARTBEATS_EXCHANGED, status, reason, why);
        if self.reports.is_empty() {
            let why = "no interface may answer for an address, so no heartbeats are exchanged".into();
            return say(Status::Unknown, "NotUsed", why);
        }
        if let Some((interface, _)) = self.reports.values().find(|(_, report)| report.is_isolated) {
            let why = format!(
                "{me} hears no other speaker on {interface}, and no gateway answers there: it is the one that is \
                 cut off, and answers for nothing"
            );
            return say(Status::False, "Isolated", why);
        }
        let troubles = [Trouble::Closed, Trouble::ClosedOrGone, Trouble::Cut];
        let found = troubles.into_iter().filter_map(|trouble| Some((trouble, self.named(trouble)?)));
        let found: Vec<_> = found.collect();
        let Some((first, _)) = found.first() else {
            return say(Status::True, "Heard", "every speaker that this one watches is heard".into());
        };
        let reason = reason(*first);
        let why = found.iter().map(|(trouble, (interfaces, nodes))| message(me, *trouble, interfaces, nodes));
        say(Status::False, reason, why.collect::<Vec<_>>().join("; "))
    }

    /// The interfaces and the nodes that have this trouble.
    fn named(&self, trouble: Trouble) -> Option<(String, String)> {
        let such = || self.lost().filter(|(_, _, lost)| lost.trouble == trouble);
        let nodes: BTreeMap<_, _> = such().map(|(_, node, lost)| (node, lost.address)).collect();
        let interfaces: BTreeSet<_> = such().map(|(interface, _, _)| interface).collect();
        let named = nodes.iter().take(NAMED).map(|(node, address)| format!("{node} ({address})"));
        let mut named: Vec<_> = named.collect();
        if nodes.len() > NAMED {
            named.push(format!("{} more", nodes.len() - NAMED));
        }
        let interfaces = interfaces.into_iter().collect::<Vec<_>>().join(" and ");
        (!nodes.is_empty()).then(|| (interfaces, named.join(", ")))
    }
}

const fn reason(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Closed | Trouble::ClosedOrGone => "PortClosed",
        Trouble::Cut => "NodeUnreachable",
    }
}

fn message(me: &NodeName, trouble: Trouble, interfaces: &str, nodes: &str) -> String {
    match trouble {
        Trouble::Closed => format!(
            "UDP port 7973 is closed between {me} and {nodes} on {interfaces}: ARP or NDP is answered and other \
             speakers hear it, but its heartbeats do not arrive here"
        ),
        Trouble::ClosedOrGone => format!(
            "UDP port 7973 is closed between {me} and {nodes} on {interfaces}, or no speaker runs there: ARP or NDP \
             is answered, but heartbeats do not arrive"
        ),
        Trouble::Cut => format!(
            "neither heartbeats nor answers to ARP or NDP reach {me} from {nodes} on {interfaces}: the node is down, \
             or the two are cut off from each other"
        ),
    }
}

#[cfg(test)]
mod tests {
    use netio::clock;

    use super::*;

    fn heartbeats(lost: &[(&str, Trouble)], is_isolated: bool) -> Heartbeats {
        let one = |(node, trouble): &(&str, Trouble)| {
            let address = std::net::IpAddr::from([10, 77, 0, 12]);
            (NodeName::new(*node), Lost { address, trouble: *trouble, since: clock::now() })
        };
        let report = Report { lost: lost.iter().map(one).collect(), is_isolated };
        let speakers =
            lost.iter().map(|(node, _)| NodeName::new(*node)).filter(|node| node.as_str() != "none");
        let mut heartbeats = Heartbeats::default();
        heartbeats.set_speakers(speakers.collect());
        heartbeats.apply([(LinkIndex::new(2), Some(("eth0".to_owned(), report)))].into());
        heartbeats
    }

    fn said(heartbeats: &Heartbeats) -> String {
        let Condition { status, reason, message, .. } = heartbeats.condition(&NodeName::new("n1"));
        format!("{} {reason}: {message}", status.as_str())
    }

    #[test]
    fn the_port_and_both_nodes_are_named() {
        type Case = (&'static [(&'static str, Trouble)], bool, &'static [&'static str]);
        let cases: [Case; 6] = [
            (&[], false, &["True Heard"]),
            (
                &[("n2", Trouble::Closed)],
                false,
                &["False PortClosed", "7973", "n1", "n2 (10.77.0.12)", "eth0"],
            ),
            (
                &[("n2", Trouble::ClosedOrGone)],
                false,
                &["False PortClosed", "between n1 and n2", "no speaker runs"],
            ),
            (
                &[("n2", Trouble::Cut)],
                false,
                &["False NodeUnreachable", "n1 from n2", "cut off from each other"],
            ),
            (
                &[("n2", Trouble::Cut), ("n3", Trouble::Closed)],
                false,
                &["False PortClosed", "n3", "; ", "n2"],
            ),
            (&[("n2", Trouble::Cut)], true, &["False Isolated", "n1", "eth0"]),
        ];
        for (lost, is_isolated, words) in cases {
            let said = said(&heartbeats(lost, is_isolated));
            assert!(words.iter().all(|word| said.contains(word)), "{said}, {words:?}");
        }
        assert!(said(&Heartbeats::default()).starts_with("Unknown NotUsed"));
    }

    #[test]
    fn a_node_without_a_speaker_is_not_missed() {
        let heartbeats = heartbeats(&[("none", Trouble::ClosedOrGone)], false);
        assert!(said(&heartbeats).starts_with("True"), "{}", said(&heartbeats));
        assert_eq!(heartbeats.unheard(), []);
    }

    #[test]
    fn no_number_of_nodes_is_too_many() {
        let names: Vec<_> = (0..100).map(|number| format!("node-{number}")).collect();
        let lost: Vec<_> = names.iter().map(|name| (name.as_str(), Trouble::Cut)).collect();
        let heartbeats = heartbeats(&lost, false);
        assert_eq!(heartbeats.unheard().len(), MOST_UNHEARD);
        assert!(said(&heartbeats).contains("92 more"), "{}", said(&heartbeats));
    }
}

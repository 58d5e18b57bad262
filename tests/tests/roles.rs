//! The roles of `config/rbac` hold nothing that could be left out: without any one of their verbs the program that
//! has it says which one it misses.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use lab::kube::kubeconfig::Identity;
use lab::kube::light::{Lab, NAMESPACE};
use lab::kube::product::Program;
use lab::kube::{object, samples};
use lab::{run, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const CONTROLLER: &str = "ferrite-controller";
const KEYS: &str = "ferritelb-heartbeat-keys";
/// What the Service asks for, and an address that nobody has.
const ADDRESS: &str = "10.77.0.230";
const ADDRESS6: &str = "fd77::230";
const NOBODYS: &str = "10.77.0.231";

/// One verb on one resource: what a role can be taken apart into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    place: Place,
    group: String,
    resource: String,
    /// On this object alone.
    object: Option<String>,
    verb: String,
}

/// Which of a program's two roles has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In every namespace.
    Cluster,
    /// In the product's own.
    Namespace,
}

impl Right {
    fn rule(&self) -> Value {
        let mut rule = json!({
            "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb],
        });
        if let Some(object) = &self.object {
            rule["resourceNames"] = json!([object]);
        }
        rule
    }

    /// All that a rule allows.
    fn of(place: Place, rule: PolicyRule) -> Vec<Self> {
        let objects = rule.resource_names.map_or(vec![None], |names| names.into_iter().map(Some).collect());
        let mut rights = Vec::new();
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.iter().flatten() {
                for object in &objects {
                    rights.extend(rule.verbs.iter().map(|verb| Self {
                        place,
                        group: group.clone(),
                        resource: resource.clone(),
                        object: object.clone(),
                        verb: verb.clone(),
                    }));
                }
            }
        }
        rights
    }

    /// How the API server says that it is missing.
    fn refusal(&self) -> String {
        format!(r#"cannot {} resource "{}" in API group "{}""#, self.verb, self.resource, self.group)
    }
}

/// A program, and the role and the account that it has.
struct Account<'a> {
    lab: &'a Lab,
    program: Program<'a>,
    role: &'static str,
    name: &'static str,
}

impl Account<'_> {
    fn rights(&self) -> BTreeSet<Right> {
        let kube = self.lab.plane().kube();
        let wide = kube.cluster::<ClusterRole>().get(self.role).rules.expect("the role has rules");
        let own = kube.namespaced::<Role>(NAMESPACE).find(self.role).and_then(|role| role.rules);
        let wide = wide.into_iter().flat_map(|rule| Right::of(Place::Cluster, rule));
        let own = own.into_iter().flatten().flat_map(|rule| Right::of(Place::Namespace, rule));
        wide.chain(own).collect()
    }

    /// From now on it has these rights and no others.
    fn grant<'r>(&self, rights: impl Iterator<Item = &'r Right>) {
        let (wide, own): (Vec<_>, Vec<_>) = rights.partition(|right| right.place == Place::Cluster);
        let rules = |rights: Vec<&Right>| {
            let rules: Vec<_> = rights.into_iter().map(Right::rule).collect();
            json!({ "rules": rules })
        };
        let kube = self.lab.plane().kube();
        kube.cluster::<ClusterRole>().patch(self.role, &rules(wide));
        let roles = kube.namespaced::<Role>(NAMESPACE);
        if roles.find(self.role).is_some() {
            roles.patch(self.role, &rules(own));
        }
    }

    /// Waits until the API server knows that it has that right, or has it no more.
    fn wait_allowed(&self, right: &Right, allowed: bool) {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let namespace = if right.place == Place::Namespace { NAMESPACE } else { "" };
        let question = json!({
            "metadata": {},
            "spec": {
                "user": format!("system:serviceaccount:{NAMESPACE}:{}", self.name),
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb,
                    "namespace": namespace, "name": right.object,
                },
            },
        });
        wait::eventually(&format!("{right:?} is allowed: {allowed}"), SOON, || {
            let answer = self.lab.plane().kube().cluster::<SubjectAccessReview>().create(&question);
            let answer = answer.status.expect("the answer has a status");
            (answer.allowed == allowed).then_some(()).ok_or(format!("{answer:?}"))
        });
    }

    fn log(&self) -> String {
        self.program.log().replace('\\', "")
    }

    /// The program starts without the right, has a use for it, and says that it misses it.
    fn misses(&self, all: &BTreeSet<Right>, right: &Right) {
        self.grant(all.iter().filter(|other| *other != right));
        self.wait_allowed(right, false);
        self.program.kill();
        if !["list", "watch"].contains(&right.verb.as_str()) {
            self.give_occasion(right);
        }
        delete_lease(self.lab);
        self.program.start();
        wait::eventually(&format!("{} misses {right:?}", self.name), SOON, || {
            let log = self.log();
            log.contains(&right.refusal()).then_some(()).ok_or(log)
        });
    }

    /// With all of them it is ready and misses nothing.
    fn misses_nothing(&self, all: &BTreeSet<Right>) {
        self.grant(all.iter());
        for right in all {
            self.wait_allowed(right, true);
        }
        self.program.kill();
        if self.name == CONTROLLER {
            place_by_hand(self.lab);
            rotate_keys(self.lab);
        } else {
            start_anew(self.lab);
        }
        delete_lease(self.lab);
        self.program.restart();
        self.program.wait_ready();
    }

    /// Whoever starts has a use for the right.
    fn give_occasion(&self, right: &Right) {
        let lab = self.lab;
        match (right.resource.as_str(), right.verb.as_str()) {
            ("secrets", "create") => {
                lab.kubectl(&["delete", "-n", NAMESPACE, "--ignore-not-found", "secret", KEYS]);
            }
            ("secrets", _) => rotate_keys(lab),
            ("addressowners" | "addressowners/status", _) if self.name == CONTROLLER => place_by_hand(lab),
            _ => start_anew(lab),
        }
    }
}

/// The Secret is there, and is to have another key.
fn rotate_keys(lab: &Lab) {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": KEYS, "namespace": NAMESPACE, "annotations": { "ferritelb.io/rotate": "yes" },
        },
        "stringData": { "primary": "0123456789abcdef0123456789abcdef" },
    });
    lab.apply(&secret.to_string());
}

/// One AddressOwner too many, one too few, and one that is to be moved where it cannot be.
fn place_by_hand(lab: &Lab) {
    start_anew(lab);
    lab.kubectl(&["delete", "--ignore-not-found", "addressowners", "--all"]);
    for address in [ADDRESS, NOBODYS] {
        let spec = json!({ "address": address, "node": lab.node(1).name(), "generation": 1 });
        let mut owner = object("AddressOwner", address, &spec);
        owner["metadata"]["annotations"] = json!({ "ferritelb.io/move-to": "nowhere" });
        lab.apply(&owner.to_string());
    }
}

/// Nothing has a status any more, so whoever starts has to write all of them; a new Service needs an address.
fn start_anew(lab: &Lab) {
    lab.kubectl(&["delete", "--ignore-not-found", "--wait=false", "speakerstatuses", "--all"]);
    lab.kubectl(&["delete", "-k", &samples().display().to_string()]);
    lab.plane().apply_samples();
    lab.service("web").delete();
    let annotations = json!({ "ferritelb.io/loadBalancerIPs": format!("{ADDRESS},{ADDRESS6}") });
    lab.expose_with("web", &[], &json!({ "metadata": { "annotations": annotations } }));
}

/// Nobody holds the lease, and it is not there: whoever wants it makes it, and need not wait until it is over.
fn delete_lease(lab: &Lab) {
    lab.plane().kube().namespaced::<Lease>(NAMESPACE).delete("ferrite-controller", Duration::ZERO);
}

/// How many objects have a status in which something stands.
fn with_status(lab: &Lab, kind: &str) -> usize {
    let statuses = lab.kubectl(&[
        "get",
        kind,
        "-A",
        "-o",
        r#"jsonpath={range .items[*]}{.status.conditions[0].type}{"\n"}{end}"#,
    ]);
    statuses.lines().filter(|line| !line.is_empty()).count()
}

#[test]
fn every_verb_of_the_roles_is_needed() {
    let lab = Lab::without_product("roles");
    lab.plane().apply_samples();
    lab.run("web", &[1]);
    let (controller, speaker) = (lab.controller(), lab.speaker(1));
    let accounts = [
        Account { lab: &lab, program: controller, role: "ferritelb:controller", name: CONTROLLER },
        Account { lab: &lab, program: speaker, role: "ferritelb:speaker", name: "ferrite-speaker" },
    ];
    for account in &accounts {
        let all = account.rights();
        assert!(
            !all.is_empty() && all.iter().all(|right| right.resource != "*" && right.verb != "*"),
            "{all:?}"
        );
        account.program.start();
        account.program.wait_ready();
        for right in &all {
            account.misses(&all, right);
        }
        account.misses_nothing(&all);
    }
    lab.service("web").wait_addresses(2);
    let kinds = [
        "ipaddresspools",
        "addressquotas",
        "addressreservations",
        "ferriteconfigs",
        "l2advertisements",
        "bgppeers",
        "bgpadvertisements",
        "speakerstatuses",
    ];
    for kind in kinds {
        wait::eventually(&format!("the {kind} say how they are"), SOON, || match with_status(&lab, kind) {
            0 => Err("none does"),
            _ => Ok(()),
        });
    }
    wait::eventually("an Event is there", SOON, || {
        let events = lab.kubectl(&["get", "events", "--field-selector=involvedObject.name=web"]);
        events.contains("Allocated").then_some(()).ok_or(events)
    });
    for account in &accounts {
        assert!(!account.log().contains("forbidden"), "{}", account.log());
    }
}

/// What the API server says to somebody with this token who writes that to an object on some node.
fn writes(lab: &Lab, token: &str, words: &[&str]) -> Result<(), String> {
    let kubeconfig = lab.plane().kubeconfig(lab, "somebody", Identity::Token(token));
    let program = lab.plane().kubectl_command(&[]).get_program().to_owned();
    let mut command = lab.node(3).namespace().command(&program.to_string_lossy());
    command.arg("--kubeconfig").arg(&kubeconfig).arg("--cache-dir").arg(kubeconfig.with_extension("cache"));
    run::attempt(command.args(words)).map(drop).map_err(|refused| refused.to_string())
}

#[test]
fn a_speaker_writes_for_its_own_node_and_for_no_other() {
    let lab = Lab::without_product("roles: nodes");
    // kubectl reads what it is to change; speakers need not.
    lab.kubectl(&[
        "create",
        "clusterrole",
        "reads",
        "--verb=get",
        "--resource=speakerstatuses.ferritelb.io,addressowners.ferritelb.io",
        "--resource=speakerstatuses.ferritelb.io/status,addressowners.ferritelb.io/status",
    ]);
    let account = format!("--serviceaccount={NAMESPACE}:ferrite-speaker");
    lab.kubectl(&["create", "clusterrolebinding", "reads", "--clusterrole=reads", &account]);
    let [n1, n2] = [1, 2].map(|node| lab.node(node).name());
    for name in [n1, n2] {
        lab.apply(&format!(
            "apiVersion: ferritelb.io/v1beta1\nkind: SpeakerStatus\nmetadata: {{name: {name}}}\n"
        ));
    }
    let spec = json!({ "address": ADDRESS, "node": n1, "generation": 1 });
    lab.apply(&object("AddressOwner", ADDRESS, &spec).to_string());
    let token = |node| lab.plane().kube().token(NAMESPACE, "ferrite-speaker", node);
    let patch = |token: &str, kind: &str, name: &str, patch: &str| {
        writes(&lab, token, &["patch", kind, name, "--subresource=status", "--type=merge", "-p", patch])
    };
    let (first, unbound) = (token(Some(n1)), token(None));
    let networks = r#"{"status":{"networks":[]}}"#;
    let answers = |node: &str| format!(r#"{{"status":{{"node":"{node}"}}}}"#);
    wait::eventually("the policy is in force", SOON, || match patch(&first, "speakerstatus", n2, networks) {
        Ok(()) => Err("not yet".to_owned()),
        Err(refused) if refused.contains(&format!("the speaker of node {n1} may write its own")) => Ok(()),
        Err(other) => Err(other),
    });
    patch(&first, "speakerstatus", n1, networks).unwrap();
    patch(&first, "addressowner", ADDRESS, &answers(n1)).unwrap();
    let refused = patch(&first, "addressowner", ADDRESS, &answers(n2)).unwrap_err();
    assert!(refused.contains(&format!("in the name of {n2}")), "{refused}");
    let refused = patch(&first, "addressowner", ADDRESS, r#"{"status":{"node":null}}"#).unwrap_err();
    assert!(refused.contains("of no node"), "{refused}");
    let other = token(Some(n2));
    patch(&other, "addressowner", ADDRESS, r#"{"status":{"reason":"because"}}"#).unwrap_err();
    patch(&other, "addressowner", ADDRESS, &answers(n2)).unwrap();
    // A credential that names no node is an administrator's doing.
    patch(&unbound, "addressowner", ADDRESS, &answers(n1)).unwrap();
    patch(&unbound, "speakerstatus", n2, networks).unwrap();
}

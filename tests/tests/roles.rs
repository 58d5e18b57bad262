//! The roles of `config/rbac` hold nothing that could be left out: without any one of their verbs the program that
//! has it says which one it misses.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::ClusterRole;
use lab::kube::light::{Lab, NAMESPACE};
use lab::kube::product::Program;
use lab::kube::samples;
use lab::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// One verb on one resource: what a role can be taken apart into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl Right {
    fn rule(&self) -> Value {
        json!({ "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb] })
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
        let role = self.lab.plane().kube().cluster::<ClusterRole>().get(self.role);
        let mut rights = BTreeSet::new();
        for rule in role.rules.expect("the role has rules") {
            for group in rule.api_groups.unwrap_or_default() {
                for resource in rule.resources.iter().flatten() {
                    rights.extend(rule.verbs.iter().map(|verb| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                    }));
                }
            }
        }
        rights
    }

    /// From now on it has these rights and no others.
    fn grant<'r>(&self, rights: impl Iterator<Item = &'r Right>) {
        let rules: Vec<_> = rights.map(Right::rule).collect();
        self.lab.plane().kube().cluster::<ClusterRole>().patch(self.role, &json!({ "rules": rules }));
    }

    /// Waits until the API server knows that it has that right, or has it no more.
    fn wait_allowed(&self, right: &Right, allowed: bool) {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let question = json!({
            "metadata": {},
            "spec": {
                "user": format!("system:serviceaccount:{NAMESPACE}:{}", self.name),
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb,
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
            give_occasion(self.lab);
        }
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
        give_occasion(self.lab);
        self.program.restart();
        self.program.wait_ready();
    }
}

/// Nothing has a status any more, so whoever starts has to write all of them; a new Service needs an address.
fn give_occasion(lab: &Lab) {
    lab.kubectl(&["delete", "--ignore-not-found", "--wait=false", "speakerstatuses", "--all"]);
    lab.kubectl(&["delete", "-k", &samples().display().to_string()]);
    lab.plane().apply_samples();
    lab.service("web").delete();
    lab.expose_with("web", &[], &json!({}));
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
    let (controller, speaker) = (lab.controller(), lab.speaker(1));
    let accounts = [
        Account { lab: &lab, program: controller, role: "ferritelb:controller", name: "ferrite-controller" },
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

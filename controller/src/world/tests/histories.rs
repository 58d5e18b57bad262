use proptest::prelude::*;
use proptest::sample::select;

use super::cluster::{Cluster, key};
use super::*;

const NAMES: [&str; 5] = ["v", "w", "x", "y", "z"];

#[derive(Debug, Clone)]
enum Step {
    Expose(&'static str, &'static str),
    Ask(&'static str, Option<&'static str>),
    Type(&'static str, &'static str),
    Delete(&'static str),
    Pool(&'static str, Option<&'static str>),
    Vandalize(&'static str, &'static str),
    Repeat,
    Restart,
    Wait(u64),
}

fn some_step() -> impl Strategy<Value = Step> {
    let name = || select(&NAMES[..]);
    let address = || select(&["10.0.0.0", "10.0.0.2", "10.0.0.9", "10.9.9.9", "1.2.3"][..]);
    let range = select(&["10.0.0.0/31", "10.0.0.2/31", "10.0.0.0/30", "10.0.0.9-10.0.0.1"][..]);
    prop_oneof![
        4 => (name(), select(&["LoadBalancer", "ClusterIP"][..])).prop_map(|(n, kind)| Step::Expose(n, kind)),
        2 => (name(), prop::option::of(address())).prop_map(|(n, a)| Step::Ask(n, a)),
        2 => (name(), select(&["LoadBalancer", "ClusterIP"][..])).prop_map(|(n, kind)| Step::Type(n, kind)),
        2 => name().prop_map(Step::Delete),
        2 => (select(&["a", "b"][..]), prop::option::weighted(0.8, range)).prop_map(|(n, r)| Step::Pool(n, r)),
        1 => (name(), address()).prop_map(|(n, a)| Step::Vandalize(n, a)),
        1 => Just(Step::Repeat),
        1 => Just(Step::Restart),
        1 => (0u64..900).prop_map(Step::Wait),
    ]
}

fn take(cluster: &mut Cluster, step: &Step) {
    match step {
        Step::Expose(name, kind) => cluster.expose(name, json!({ "spec": { "type": kind } })),
        Step::Delete(name) => cluster.delete(name),
        Step::Pool(name, Some(range)) => cluster.pool(name, json!({ "addresses": [range] })),
        Step::Pool(name, None) => cluster.remove_pool(name),
        Step::Repeat => cluster.tell_everything(),
        Step::Restart => cluster.restart(),
        Step::Wait(seconds) => cluster.wait(Duration::from_secs(*seconds)),
        Step::Ask(name, _) | Step::Type(name, _) | Step::Vandalize(name, _)
            if !cluster.services.contains_key(&key(name)) => {}
        Step::Ask(name, address) => cluster.edit(name, json!({ "spec": { "loadBalancerIP": address } })),
        Step::Type(name, kind) => cluster.edit(name, json!({ "spec": { "type": kind } })),
        Step::Vandalize(name, address) if cluster.services[&key(name)]["spec"]["type"] == "LoadBalancer" => {
            let ingress = json!([{ "ip": address }, { "hostname": "example.org" }]);
            cluster.edit(name, json!({ "status": { "loadBalancer": { "ingress": ingress } } }));
        }
        Step::Vandalize(..) => {}
    }
}

/// Every status says what the ledger has, and no address stands in two of them.
fn check(cluster: &Cluster) {
    let mut union = BTreeMap::new();
    for (key, service) in &cluster.services {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
        for entry in ingress {
            let address: IpAddr = entry["ip"].as_str().expect("an address").parse().unwrap();
            assert_eq!(union.insert(address, key), None, "{address} stands in two statuses");
            assert_eq!(cluster.world.ledger.holders(address).collect::<Vec<_>>(), [key]);
        }
        let grant = cluster.world.ledger.decision(key).and_then(|decision| decision.grant.as_ref());
        let shown = union.values().filter(|holder| **holder == key).count();
        assert_eq!(shown, grant.map_or(0, |grant| grant.addresses.len()), "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_the_union_of_the_statuses(steps in prop::collection::vec(some_step(), 1..40)) {
        let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31"])]);
        for step in &steps {
            take(&mut cluster, step);
            check(&cluster);
        }
        // Also when nothing rests any more, so that nothing ends while it is looked at.
        for rest in [Duration::from_secs(5), Duration::from_mins(15)] {
            cluster.wait(rest);
            cluster.written();
            cluster.tell_everything();
            prop_assert_eq!(cluster.written(), Vec::<String>::new(), "at rest, telling again writes nothing");
        }
        cluster.wait(Duration::from_secs(5));
        prop_assert_eq!(cluster.written(), Vec::<String>::new(), "nor does it later");
    }
}

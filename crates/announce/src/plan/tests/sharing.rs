//! Addresses that several Services show in their status.

use proptest::prelude::*;

use super::*;
use crate::{Backend, Protocol, Sharing};

const TCP_80: (Protocol, u16) = (Protocol::Tcp, 80);
const UDP_80: (Protocol, u16) = (Protocol::Udp, 80);

fn sharing(key: &str, port: (Protocol, u16), backend: Backend) -> Option<Sharing> {
    Some(Sharing { key: key.to_owned(), ports: [port].into(), backend })
}

fn holder(name: &str, policy: TrafficPolicy, sharing: Option<Sharing>) -> Service {
    let addresses = [(VIP.parse().unwrap(), Some(PoolName::new("pool")))].into();
    Service { uid: name.to_owned(), addresses, sharing, ..service(policy) }
}

fn key_of(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn put(view: &mut View, service: Service, nodes: &[&str]) {
    let key = key_of(&service.uid);
    view.set_endpoints(key.clone(), Some(endpoints(nodes)));
    view.set_service(key, Some(service));
}

/// The cluster without a Service.
fn empty() -> View {
    let mut view = view();
    view.set_service(key(), None);
    view.set_endpoints(key(), None);
    view
}

fn unit(view: &View) -> Vec<&str> {
    view.unit(VIP.parse().unwrap()).into_iter().map(|(key, _)| &*key.name).collect()
}

/// How two Services, `a` and `b`, share one address, where their endpoints are, and who announces it.
struct Case {
    backend: Backend,
    policies: [TrafficPolicy; 2],
    endpoints: [&'static [&'static str]; 2],
    announce: &'static [&'static str],
}

const ALL: &[&str] = &["n1", "n2", "n3"];

fn cases() -> Vec<Case> {
    use TrafficPolicy::{Cluster, Local};
    let pods = || Backend::Local([("app".to_owned(), "web".to_owned())].into());
    let case = |backend, policies, endpoints, announce| Case { backend, policies, endpoints, announce };
    vec![
        case(Backend::Cluster, [Cluster, Cluster], [&["n1"], &["n2"]], ALL),
        case(Backend::Cluster, [Cluster, Cluster], [&["n1"], &[]], ALL),
        case(Backend::Cluster, [Cluster, Cluster], [&[], &["n2"]], ALL),
        case(Backend::Cluster, [Cluster, Cluster], [&[], &[]], &[]),
        case(pods(), [Local, Local], [&["n1", "n2"], &["n1", "n2"]], &["n1", "n2"]),
        case(pods(), [Local, Local], [&["n1"], &[]], &["n1"]),
        case(pods(), [Local, Local], [&[], &[]], &[]),
        case(Backend::LocalToAny, [Local, Local], [&["n1"], &["n2"]], &["n1", "n2"]),
        case(Backend::LocalToAny, [Local, Local], [&[], &["n2"]], &["n2"]),
        case(Backend::LocalToAny, [Local, Local], [&[], &[]], &[]),
        case(Backend::LocalToAny, [Cluster, Local], [&["n1"], &["n2"]], ALL),
        case(Backend::LocalToAny, [Cluster, Local], [&[], &["n2"]], &["n2"]),
        case(Backend::LocalToAny, [Cluster, Local], [&["n1"], &[]], ALL),
        case(Backend::LocalToAll, [Local, Local], [&["n1", "n2"], &["n2", "n3"]], &["n2"]),
        case(Backend::LocalToAll, [Local, Local], [&["n1"], &["n2"]], &[]),
        case(Backend::LocalToAll, [Local, Local], [&["n1"], &[]], &[]),
        case(Backend::LocalToAll, [Cluster, Local], [&["n1"], &["n2", "n3"]], &["n2", "n3"]),
        case(Backend::LocalToAll, [Cluster, Local], [&[], &["n2"]], &[]),
        case(Backend::LocalToAll, [Cluster, Local], [&["n1"], &[]], &[]),
        case(Backend::LocalToAll, [Cluster, Cluster], [&["n1"], &["n2"]], ALL),
    ]
}

#[test]
fn those_that_share_are_announced_as_one() {
    for Case { backend, policies, endpoints, announce } in cases() {
        let [first, second] = policies;
        let mut view = empty();
        put(&mut view, holder("a", first, sharing("k", TCP_80, backend.clone())), endpoints[0]);
        put(&mut view, holder("b", second, sharing("k", UDP_80, backend.clone())), endpoints[1]);
        let case = format!("{backend:?} {policies:?} {endpoints:?}");
        assert_eq!(unit(&view), ["a", "b"], "{case}");
        assert_eq!(announcers(&view, VIP), announce, "{case}");
        let owners = owners(&view, VIP);
        assert_eq!(owners.len(), announce.len().min(1), "{case}");
        assert!(owners.iter().all(|owner| announce.contains(&owner.as_str())), "{case}: {owners:?}");
    }
}

#[test]
fn why_a_node_without_each_ones_endpoint_is_silent() {
    let mut view = empty();
    let all = |port| sharing("k", port, Backend::LocalToAll);
    put(&mut view, holder("a", TrafficPolicy::Local, all(TCP_80)), &["n1"]);
    put(&mut view, holder("b", TrafficPolicy::Local, all(UDP_80)), &["n2"]);
    assert_eq!(at(&view, "n1", VIP).l2, Err(Silence::NoLocalEndpoint));
    view.set_endpoints(key_of("b"), None);
    assert_eq!(at(&view, "n1", VIP).bgp, Err(Silence::NoUsableEndpoint));
}

#[test]
fn a_member_that_no_advertisement_selects_announces_nowhere_and_still_counts_for_all() {
    let of = |backend: Backend| {
        let mut view = empty();
        let mail = L2Advertisement { service_selectors: on("app", "mail"), ..l2_advertisement() };
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(mail));
        let a = holder("a", TrafficPolicy::Local, sharing("k", TCP_80, backend.clone()));
        let labels = [("app".to_owned(), "mail".to_owned())].into();
        let b = Service { labels, ..holder("b", TrafficPolicy::Local, sharing("k", UDP_80, backend)) };
        put(&mut view, a, &["n1", "n2"]);
        put(&mut view, b, &["n2", "n3"]);
        view
    };
    assert_eq!(at(&of(Backend::LocalToAny), "n1", VIP).l2, Err(Silence::NoLocalEndpoint));
    assert_eq!(owners(&of(Backend::LocalToAll), VIP), ["n2"]);
}

#[test]
fn who_may_share() {
    use TrafficPolicy::Local;
    let pods = |app: &str| Backend::Local([("app".to_owned(), app.to_owned())].into());
    let together = |a: Option<Sharing>, b: Option<Sharing>| {
        let mut view = empty();
        put(&mut view, holder("a", Local, a), &["n1"]);
        put(&mut view, holder("b", Local, b), &["n2"]);
        unit(&view) == ["a", "b"]
    };
    let k = |port, backend| sharing("k", port, backend);
    assert!(together(k(TCP_80, pods("web")), k(UDP_80, pods("web"))));
    assert!(!together(k(TCP_80, pods("web")), k(TCP_80, pods("web"))), "one port");
    assert!(!together(k(TCP_80, pods("web")), k(UDP_80, pods("mail"))), "other pods");
    assert!(!together(k(TCP_80, pods("web")), sharing("j", UDP_80, pods("web"))), "other key");
    assert!(!together(k(TCP_80, Backend::Unselected), k(UDP_80, Backend::Unselected)), "pods unknown");
    assert!(!together(k(TCP_80, Backend::LocalToAny), k(UDP_80, Backend::LocalToAll)), "they disagree");
    assert!(!together(k(TCP_80, Backend::LocalToAny), k(UDP_80, pods("web"))), "one says nothing");
    assert!(!together(k(TCP_80, Backend::Cluster), k(UDP_80, pods("web"))), "mixed");
    assert!(!together(k(TCP_80, pods("web")), None));
    assert!(!together(None, k(UDP_80, pods("web"))));
}

#[test]
fn a_port_that_two_later_ones_have_is_the_first_ones() {
    let mut view = empty();
    for (name, port) in [("a", TCP_80), ("b", UDP_80), ("c", UDP_80)] {
        put(&mut view, holder(name, TrafficPolicy::Cluster, sharing("k", port, Backend::Cluster)), &["n1"]);
        view.planned();
    }
    assert_eq!(unit(&view), ["a", "b"]);
}

#[test]
fn the_first_that_was_known_keeps_the_address_whatever_a_later_one_says() {
    let local = |name: &str| holder(name, TrafficPolicy::Local, None);
    let mut view = empty();
    put(&mut view, Service { allocated_since: None, ..local("z") }, &["n1"]);
    view.planned();
    put(&mut view, Service { allocated_since: Some(0), ..local("a") }, &["n2"]);
    assert_eq!((unit(&view), announcers(&view, VIP)), (vec!["z"], vec!["n1".to_owned()]));
    // Being told again, changed, or with an endpoint more or less makes nobody younger.
    view.planned();
    put(&mut view, Service { labels: Labels::new(), allocated_since: Some(9), ..local("z") }, &[]);
    assert_eq!((unit(&view), announcers(&view, VIP).len()), (vec!["z"], 0));
    let touched = view.set_service(key_of("z"), None);
    assert_eq!(touched, Touched::Addresses([VIP.parse().unwrap()].into()));
    assert_eq!((unit(&view), announcers(&view, VIP)), (vec!["a"], vec!["n2".to_owned()]));
}

#[test]
fn at_start_the_older_allocation_counts_and_then_the_uid() {
    let since =
        |uid: &str, since| Service { allocated_since: since, ..holder(uid, TrafficPolicy::Cluster, None) };
    let cases = [
        (since("b", Some(1)), since("a", Some(2)), "b"),
        (since("a", Some(1)), since("b", Some(1)), "a"),
        (since("b", Some(1)), since("a", None), "b"),
        (since("a", None), since("b", None), "a"),
    ];
    // By name they come in the other order than by uid.
    let named = |service: &Service| if service.uid == "a" { "second" } else { "first" };
    for (one, other, uid) in cases {
        for order in [[&one, &other], [&other, &one]] {
            let mut view = empty();
            for service in order {
                view.set_service(key_of(named(service)), Some(service.clone()));
            }
            let holders: Vec<_> =
                view.unit(VIP.parse().unwrap()).into_iter().map(|(_, one)| &one.uid).collect();
            assert_eq!(holders, [uid], "{order:?}");
        }
    }
}

#[test]
fn what_becomes_known_between_two_plans_has_the_same_order_on_every_node() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut view = empty();
        view.planned();
        for name in order {
            put(&mut view, holder(name, TrafficPolicy::Cluster, None), &["n1"]);
        }
        assert_eq!(unit(&view), ["a"]);
    }
}

#[test]
fn a_service_made_anew_under_the_same_name_is_not_the_one_that_was_known() {
    let mut view = empty();
    put(&mut view, holder("a", TrafficPolicy::Cluster, None), &["n1"]);
    view.planned();
    put(&mut view, holder("b", TrafficPolicy::Cluster, None), &["n1"]);
    view.planned();
    let anew = Service { uid: "0".to_owned(), ..holder("a", TrafficPolicy::Cluster, None) };
    view.set_service(key_of("a"), Some(anew));
    assert_eq!(unit(&view), ["b"]);
}

#[test]
fn an_address_given_up_and_shown_again_is_known_from_then_on() {
    let mut view = empty();
    put(&mut view, holder("a", TrafficPolicy::Cluster, None), &["n1"]);
    view.planned();
    put(&mut view, holder("b", TrafficPolicy::Cluster, None), &["n1"]);
    view.planned();
    put(
        &mut view,
        Service { addresses: BTreeMap::new(), ..holder("a", TrafficPolicy::Cluster, None) },
        &["n1"],
    );
    assert_eq!(unit(&view), ["b"]);
    put(&mut view, holder("a", TrafficPolicy::Cluster, None), &["n1"]);
    assert_eq!(unit(&view), ["b"]);
}

/// One thing that happens to one of four Services, which may have one address of two.
#[derive(Debug, Clone)]
enum Event {
    Show { who: usize, anew: bool, address: usize, port: (Protocol, u16), backend: Backend },
    Gone { who: usize },
    Planned,
}

fn event() -> impl Strategy<Value = Event> {
    let ports = prop::sample::select(vec![TCP_80, UDP_80, (Protocol::Tcp, 443)]);
    let backends = prop::sample::select(vec![Backend::Cluster, Backend::LocalToAny, Backend::Unselected]);
    let show = (0usize..4, any::<bool>(), 0usize..2, ports, backends)
        .prop_map(|(who, anew, address, port, backend)| Event::Show { who, anew, address, port, backend });
    prop_oneof![6 => show, 1 => (0usize..4).prop_map(|who| Event::Gone { who }), 3 => Just(Event::Planned)]
}

fn happen(view: &mut View, event: Event, generation: usize) {
    match event {
        Event::Planned => view.planned(),
        Event::Gone { who } => drop(view.set_service(key_of(&who.to_string()), None)),
        Event::Show { who, anew, address, port, backend } => {
            let address = [VIP, VIP6][address].parse().unwrap();
            let key = key_of(&who.to_string());
            let before = view.services.get(&key).filter(|_| !anew).map(|service| service.uid.clone());
            let service = Service {
                uid: before.unwrap_or_else(|| format!("{who}-{generation}")),
                addresses: [(address, None)].into(),
                ..holder("", TrafficPolicy::Cluster, sharing("k", port, backend))
            };
            view.set_service(key, Some(service));
        }
    }
}

/// The uids of those that an address is announced for.
fn uids(view: &View, address: &str) -> Vec<String> {
    view.unit(address.parse().unwrap()).into_iter().map(|(_, service)| service.uid.clone()).collect()
}

proptest! {
    #[test]
    fn nobody_takes_an_address_from_one_that_a_plan_was_made_for(
        events in prop::collection::vec(event(), 0..60)
    ) {
        let mut view = View::default();
        let mut planned = BTreeMap::new();
        for (generation, event) in events.into_iter().enumerate() {
            let is_plan = matches!(event, Event::Planned);
            happen(&mut view, event, generation);
            for address in [VIP, VIP6] {
                let holds = |uid: &String| {
                    view.holders(address.parse().unwrap()).any(|(_, service)| service.uid == *uid)
                };
                let unit = uids(&view, address);
                prop_assert_eq!(unit.is_empty(), !view.is_held(address.parse().unwrap()));
                if let Some(first) = planned.get(address).filter(|first| holds(first)) {
                    prop_assert_eq!(Some(first), unit.first());
                } else {
                    planned.remove(address);
                }
                if let Some(first) = unit.into_iter().next().filter(|_| is_plan) {
                    planned.insert(address, first);
                }
            }
        }
    }

    #[test]
    fn no_two_of_a_unit_clash(events in prop::collection::vec(event(), 0..40)) {
        let mut view = View::default();
        for (generation, event) in events.into_iter().enumerate() {
            happen(&mut view, event, generation);
            for address in [VIP, VIP6] {
                let unit = view.unit(address.parse().unwrap());
                let ports: Vec<_> =
                    unit.iter().flat_map(|(_, one)| &one.sharing.as_ref().unwrap().ports).collect();
                let different: BTreeSet<_> = ports.iter().collect();
                prop_assert_eq!(ports.len(), different.len());
                let backends: Vec<_> =
                    unit.iter().map(|(_, one)| &one.sharing.as_ref().unwrap().backend).collect();
                prop_assert!(backends.windows(2).all(|pair| pair[0] == pair[1]));
                prop_assert!(unit.len() < 2 || backends[0] != &Backend::Unselected);
            }
        }
    }
}

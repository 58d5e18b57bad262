//! What may happen, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use names::{Labels, Operator, PoolName, QuotaName, Requirement, ReservationName, Selector, ServiceKey};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::LONGEST;
use crate::{
    Assignment, Audience, Backend, Blocked, BuggyAddresses, Counts, Created, Families, Holder, Moves,
    OnRemove, Per, Pool, Protocol, Quota, Reclaim, Request, Reservation, Sharing, State,
};

const PREFIXES: [&str; 9] = [
    "10.0.0.0/30",
    "10.0.0.2/31",
    "10.0.0.4/32",
    "10.0.0.254/31",
    "fd00::/127",
    "fd00::2/128",
    "fd00::/126",
    "10.0.0.0/31",
    "10.0.0.0/29",
];
const ADDRESSES: [&str; 6] = ["10.0.0.0", "10.0.0.3", "10.0.0.4", "fd00::", "fd00::2", "10.9.9.9"];
const POOLS: [&str; 3] = ["a", "b", "c"];
const NAMESPACES: [&str; 2] = ["n", "m"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    SetPool(PoolName, Option<Pool>),
    SetNamespace(String, Option<Labels>),
    SetQuota(QuotaName, Option<Quota>),
    SetReservation(ReservationName, Option<Planned>),
    SetBlocked(BTreeMap<IpAddr, Blocked>),
    SetMoves(Moves),
    Allocate(ServiceKey, Request),
    Refuse(ServiceKey, Option<Sharing>),
    Release(ServiceKey),
    /// A status is written. That others are not, or that a write is lost, is that there is no such step.
    Show(ServiceKey),
    ShowAll,
    Wait(u64),
    Restart,
}

impl Step {
    /// The Service that it is about.
    pub(super) fn service(&self) -> Option<&ServiceKey> {
        if let Self::Allocate(key, _) | Self::Refuse(key, _) | Self::Release(key) = self {
            Some(key)
        } else {
            None
        }
    }

    /// On which terms it has a Service share.
    pub(super) fn terms(&self) -> Option<(&ServiceKey, Option<&Sharing>)> {
        if let Self::Allocate(key, request) = self {
            Some((key, request.sharing.as_ref()))
        } else if let Self::Refuse(key, Some(terms)) = self {
            Some((key, Some(terms)))
        } else {
            None
        }
    }
}

/// A reservation that ends some time after it begins.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    reservation: Reservation,
    seconds: Option<u64>,
}

impl Planned {
    pub(super) fn at(&self, now: Instant) -> Reservation {
        let expires = self.seconds.map(|seconds| now + Duration::from_secs(seconds));
        Reservation { expires, ..self.reservation.clone() }
    }
}

fn some_labels() -> impl Strategy<Value = Labels> {
    let of = |value: &str| Labels::from([("l".to_owned(), value.to_owned())]);
    prop_oneof![2 => Just(Labels::new()), 1 => Just(of("x")), 1 => Just(of("y"))]
}

fn some_selectors() -> impl Strategy<Value = Vec<Selector>> {
    let of = |value: &str| {
        let operator = Operator::In(BTreeSet::from([value.to_owned()]));
        Selector::new([Requirement { key: "l".into(), operator }])
    };
    prop_oneof![4 => Just(vec![]), 1 => Just(vec![of("x")]), 1 => Just(vec![of("x"), of("y")])]
}

fn some_audience() -> impl Strategy<Value = Audience> {
    let namespaces = prop_oneof![3 => Just(vec![]), 1 => subsequence(&NAMESPACES[..], 1..=1)];
    (namespaces, some_selectors(), some_selectors()).prop_map(
        |(namespaces, namespace_selectors, selectors)| Audience {
            namespaces: namespaces.into_iter().map(str::to_owned).collect(),
            namespace_selectors,
            service_selectors: selectors,
        },
    )
}

fn some_pool() -> impl Strategy<Value = Pool> {
    let kinds = (
        prop_oneof![3 => Just(Assignment::Automatic), 1 => Just(Assignment::OnRequest)],
        prop_oneof![3 => Just(BuggyAddresses::GivenOut), 1 => Just(BuggyAddresses::Avoided)],
        prop_oneof![6 => Just(State::Open), 1 => Just(State::Disabled), 2 => Just(State::Drained)],
        select(vec![OnRemove::Keep, OnRemove::Move, OnRemove::Release]),
    );
    let prefixes = prop::collection::vec(select(&PREFIXES[..]), 1..4);
    let exclude = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(select(&PREFIXES[..]), 1..2)];
    let numbers = (0u32..3, select(vec![0u64, 60, 600]), 0i64..3);
    (prefixes, exclude, kinds, some_audience(), numbers).prop_map(
        |(prefixes, exclude, kinds, audience, numbers)| {
            let (assignment, buggy_addresses, state, on_remove) = kinds;
            let (priority, reuse_after, created) = numbers;
            Pool {
                prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
                assignment,
                buggy_addresses,
                exclude: exclude.iter().map(|prefix| prefix.parse().unwrap()).collect(),
                audience,
                priority,
                state,
                on_remove,
                reuse_after: Duration::from_secs(reuse_after),
                probe: crate::Probe::Quick,
                created: Created(created),
            }
        },
    )
}

fn some_sharing() -> impl Strategy<Value = Sharing> {
    let selector = |app: &str| BTreeMap::from([("app".to_owned(), app.to_owned())]);
    let backends = vec![
        Backend::Cluster,
        Backend::Cluster,
        Backend::Local(selector("a")),
        Backend::Local(selector("b")),
        Backend::Unselected,
        Backend::LocalToAny,
    ];
    let ports = prop::collection::btree_set((select(vec![Protocol::Tcp, Protocol::Udp]), 80u16..83), 1..3);
    (select(vec!["k", "k", "h"]), ports, select(backends)).prop_map(|(key, ports, backend)| Sharing {
        key: key.to_owned(),
        ports,
        backend,
    })
}

fn some_request() -> impl Strategy<Value = Request> {
    let addresses = prop::collection::btree_set(select(&ADDRESSES[..]), 1..3);
    let addresses = prop_oneof![3 => Just(BTreeSet::new()), 1 => addresses];
    let pools = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(&POOLS[..], 1..3).prop_shuffle()];
    let sharing = prop::option::weighted(0.5, some_sharing());
    (select(&Families::ALL[..]), addresses, pools, some_labels(), sharing).prop_map(
        |(families, addresses, pools, labels, sharing)| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let pools = pools.into_iter().map(PoolName::new).collect();
            Request { addresses, pools, labels, sharing, ..Request::of(families) }
        },
    )
}

fn some_quota() -> impl Strategy<Value = Quota> {
    let pools = prop_oneof![2 => Just(vec![]), 1 => subsequence(&POOLS[..], 1..3)];
    let limit = || prop::option::weighted(0.8, 0u32..4);
    (some_audience(), pools, limit(), limit(), select(vec![Per::Quota, Per::Namespace])).prop_map(
        |(audience, pools, ipv4, ipv6, per)| Quota {
            audience: Audience { service_selectors: Vec::new(), ..audience },
            pools: pools.into_iter().map(PoolName::new).collect(),
            ipv4,
            ipv6,
            per,
        },
    )
}

fn some_reservation() -> impl Strategy<Value = Planned> {
    let holder =
        prop_oneof![some_key().prop_map(Holder::Service), some_audience().prop_map(Holder::Audience)];
    let prefixes =
        prop::collection::vec(select(vec!["10.0.0.0/32", "10.0.0.2/31", "fd00::/127", "10.9.9.9/32"]), 0..3);
    let counts = prop::option::of((select(&POOLS[..]), 0u32..3, 0u32..2));
    let numbers = (select(vec![Reclaim::Retain, Reclaim::Release]), prop::option::of(0u64..900), 0i64..3);
    (holder, prefixes, counts, numbers).prop_map(|(holder, prefixes, counts, (reclaim, seconds, created))| {
        let counts = counts.map(|(pool, ipv4, ipv6)| Counts { pool: PoolName::new(pool), ipv4, ipv6 });
        let reservation = Reservation {
            holder,
            prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            counts,
            chosen: BTreeSet::new(),
            released: BTreeSet::new(),
            reclaim,
            expires: None,
            created: Created(created),
        };
        Planned { reservation, seconds }
    })
}

fn some_key() -> impl Strategy<Value = ServiceKey> {
    (select(&NAMESPACES[..]), 0u8..4).prop_map(|(namespace, n)| ServiceKey::new(namespace, format!("s{n}")))
}

fn some_blocked() -> impl Strategy<Value = BTreeMap<IpAddr, Blocked>> {
    let of = |address: &&str| (address.parse().unwrap(), Blocked::Gateway(names::NodeName::new("n1")));
    prop::collection::btree_set(select(&ADDRESSES[..]), 0..3)
        .prop_map(move |all| all.iter().map(of).collect())
}

fn some_moves() -> impl Strategy<Value = Moves> {
    (select(vec![0u64, 30, 300]), 0usize..4)
        .prop_map(|(overlap, concurrent)| Moves { overlap: Duration::from_secs(overlap), concurrent })
}

fn some_step() -> impl Strategy<Value = Step> {
    let pool = (select(&POOLS[..]), prop::option::weighted(0.85, some_pool()));
    let quota = (select(&["q", "r"][..]), prop::option::weighted(0.7, some_quota()));
    let reservation = (select(&["u", "v", "w"][..]), prop::option::weighted(0.7, some_reservation()));
    let namespace = (select(&NAMESPACES[..]), prop::option::weighted(0.9, some_labels()));
    prop_oneof![
        6 => pool.prop_map(|(name, pool)| Step::SetPool(PoolName::new(name), pool)),
        2 => namespace.prop_map(|(name, labels)| Step::SetNamespace(name.to_owned(), labels)),
        2 => quota.prop_map(|(name, quota)| Step::SetQuota(QuotaName::new(name), quota)),
        2 => reservation.prop_map(|(name, planned)| Step::SetReservation(ReservationName::new(name), planned)),
        1 => some_blocked().prop_map(Step::SetBlocked),
        1 => some_moves().prop_map(Step::SetMoves),
        12 => (some_key(), some_request()).prop_map(|(key, request)| Step::Allocate(key, request)),
        1 => (some_key(), prop::option::of(some_sharing())).prop_map(|(key, terms)| Step::Refuse(key, terms)),
        4 => some_key().prop_map(Step::Release),
        8 => some_key().prop_map(Step::Show),
        3 => Just(Step::ShowAll),
        2 => (0u64..900).prop_map(Step::Wait),
        2 => (0u64..40).prop_map(Step::Wait),
        2 => Just(Step::Restart),
    ]
}

pub(super) fn some_history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(some_step(), 1..LONGEST)
}

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const STALE: Duration = Duration::from_secs(120);
const AT: fn(u64) -> Moment = |seconds| Moment::from_millis(seconds * 1000);

fn registry() -> Registry {
    Registry::new(Lifetimes {
        stale_after: STALE,
        keep_empty: Duration::ZERO,
    })
}

fn registration(host: &str, instance: &str, uris: &[&str]) -> Registration {
    Registration {
        host: host.to_owned(),
        port: 8080,
        uris: uris.iter().map(ToString::to_string).collect(),
        app: (!instance.is_empty()).then(|| format!("app-of-{instance}")),
        private_instance_id: (!instance.is_empty()).then(|| instance.to_owned()),
        private_instance_index: Some("0".to_owned()),
        ..Registration::default()
    }
}

fn chosen(registry: &Registry, host: &str, path: &str) -> Option<String> {
    let pool = registry.lookup(host, path)?;
    let lease = pool.choose(Wanted::Any, &[], 0, AT(0)).ok()?;
    Some(lease.endpoint().identity.instance.to_string())
}

#[test]
fn finds_exact_hosts_before_wildcards_and_long_paths_before_short() {
    let registry = registry();
    for (address, instance, uri) in [
        ("10.0.0.1", "exact", "a.b.test"),
        ("10.0.0.2", "deep", "a.b.test/api/v1"),
        ("10.0.0.3", "api", "A.B.test/API/"),
        ("10.0.0.4", "wild", "*.b.test"),
        ("10.0.0.5", "wilder", "*.test"),
        ("10.0.0.6", "only-path", "p.b.test/only"),
    ] {
        registry
            .register(&registration(address, instance, &[uri]), AT(0))
            .unwrap();
    }
    for (host, path, expected) in [
        ("a.b.test", "/", Some("exact")),
        ("A.B.TEST", "/x", Some("exact")),
        ("a.b.test", "/api", Some("api")),
        ("a.b.test", "/api/v1/x", Some("deep")),
        ("a.b.test", "/api/v2", Some("api")),
        ("a.b.test", "/apiary", Some("exact")),
        ("x.b.test", "/", Some("wild")),
        ("x.y.b.test", "/", Some("wild")),
        ("b.test", "/", Some("wilder")),
        ("c.test", "/", Some("wilder")),
        ("p.b.test", "/only/this", Some("only-path")),
        ("p.b.test", "/else", Some("wild")),
        ("test", "/", None),
        ("", "/", None),
        ("a.b.test.", "/", None),
        ("other", "/", None),
    ] {
        assert_eq!(
            chosen(&registry, host, path).as_deref(),
            expected,
            "{host}{path}"
        );
    }
    assert_eq!(registry.routes(), 6);
}

#[test]
fn takes_turns_among_the_endpoints() {
    let registry = registry();
    for n in 0..4 {
        let message = registration(&format!("10.0.0.{}", n + 1), &format!("i{n}"), &["a.test"]);
        registry.register(&message, AT(0)).unwrap();
    }
    let seen: BTreeSet<_> = (0..4)
        .map(|_| chosen(&registry, "a.test", "/").unwrap())
        .collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_reused_address_belongs_to_the_newcomer_alone() {
    let registry = registry();
    let old = registration("10.0.0.1", "old", &["a.test", "b.test"]);
    registry.register(&old, AT(0)).unwrap();
    let held = registry.lookup("a.test", "/").unwrap();
    let lease = held.choose(Wanted::Any, &[], 0, AT(0)).unwrap();
    let done = registry
        .register(&registration("10.0.0.1", "new", &["c.test"]), AT(1))
        .unwrap();
    assert!(done.evicted);
    assert!(lease.endpoint().standing.retired());
    assert_eq!(
        held.choose(Wanted::Any, &[], 0, AT(1)).unwrap_err(),
        Refusal::Empty
    );
    assert!(registry.lookup("a.test", "/").is_none());
    assert!(registry.lookup("b.test", "/").is_none());
    assert_eq!(chosen(&registry, "c.test", "/").as_deref(), Some("new"));
    // The old owner's late farewell takes nothing from the new one, whatever uris it names.
    let late = registration("10.0.0.1", "old", &["a.test", "c.test"]);
    assert_eq!(registry.unregister(&late, AT(2)).unwrap(), 0);
    assert_eq!(chosen(&registry, "c.test", "/").as_deref(), Some("new"));
}

#[test]
fn an_address_that_comes_back_is_a_new_endpoint_to_connection_pools() {
    let registry = registry();
    let message = registration("10.0.0.1", "one", &["a.test"]);
    let id = |registry: &Registry| {
        let pool = registry.lookup("a.test", "/").unwrap();
        pool.choose(Wanted::Any, &[], 0, AT(0))
            .unwrap()
            .endpoint()
            .standing
            .id()
    };
    registry.register(&message, AT(0)).unwrap();
    let first = id(&registry);
    registry.register(&message, AT(1)).unwrap();
    assert_eq!(id(&registry), first);
    registry.unregister(&message, AT(2)).unwrap();
    registry.register(&message, AT(3)).unwrap();
    assert_ne!(id(&registry), first);
}

#[test]
fn an_unregistration_without_identity_removes_by_address() {
    let registry = registry();
    registry
        .register(&registration("10.0.0.1", "one", &["a.test"]), AT(0))
        .unwrap();
    assert_eq!(
        registry.unregister(&registration("10.0.0.1", "", &["a.test"]), AT(0)),
        Ok(1)
    );
    assert_eq!((registry.routes(), registry.endpoints()), (0, 0));
}

#[test]
fn newer_attributes_replace_older_ones_everywhere() {
    let registry = registry();
    let mut message = registration("10.0.0.1", "one", &["a.test", "b.test"]);
    registry.register(&message, AT(0)).unwrap();
    message.private_instance_index = Some("7".to_owned());
    message.uris = vec!["a.test".to_owned()];
    registry.register(&message, AT(1)).unwrap();
    for host in ["a.test", "b.test"] {
        let pool = registry.lookup(host, "/").unwrap();
        let lease = pool.choose(Wanted::Any, &[], 0, AT(1)).unwrap();
        assert_eq!(&*lease.endpoint().index, "7");
    }
}

#[test]
fn each_route_of_an_endpoint_ages_by_itself() {
    let registry = registry();
    registry
        .register(
            &registration("10.0.0.1", "one", &["a.test", "b.test"]),
            AT(0),
        )
        .unwrap();
    registry
        .register(&registration("10.0.0.1", "one", &["a.test"]), AT(100))
        .unwrap();
    assert_eq!(registry.prune(AT(121)), 1);
    assert!(registry.lookup("b.test", "/").is_none());
    assert!(registry.lookup("a.test", "/").is_some());
    registry.refresh_all(AT(500));
    assert_eq!(registry.prune(AT(619)), 0);
    assert_eq!(registry.prune(AT(621)), 1);
    assert_eq!(registry.endpoints(), 0);
}

#[test]
fn an_own_threshold_counts_only_when_it_is_shorter() {
    let registry = registry();
    for (address, seconds) in [("10.0.0.1", 5), ("10.0.0.2", 0), ("10.0.0.3", 900)] {
        let mut message = registration(address, address, &[&format!("s{seconds}.test")]);
        message.stale_threshold_in_seconds = Some(seconds);
        registry.register(&message, AT(0)).unwrap();
    }
    registry.prune(AT(6));
    assert!(registry.lookup("s5.test", "/").is_none());
    assert!(registry.lookup("s0.test", "/").is_some());
    registry.prune(AT(121));
    assert!(registry.lookup("s900.test", "/").is_none());
}

#[test]
fn a_route_without_endpoints_is_remembered_when_asked_to() {
    let keep_empty = Duration::from_secs(30);
    let registry = Registry::new(Lifetimes {
        stale_after: STALE,
        keep_empty,
    });
    let message = registration("10.0.0.1", "one", &["a.test/x"]);
    registry.register(&message, AT(0)).unwrap();
    registry
        .register(&registration("10.0.0.2", "two", &["a.test"]), AT(0))
        .unwrap();
    registry.unregister(&message, AT(10)).unwrap();
    // A shorter path that has endpoints answers before a longer one that has none.
    assert_eq!(chosen(&registry, "a.test", "/x").as_deref(), Some("two"));
    registry
        .unregister(&registration("10.0.0.2", "two", &["a.test"]), AT(10))
        .unwrap();
    let pool = registry.lookup("a.test", "/x").unwrap();
    assert_eq!(pool.route().path(), "/x");
    assert_eq!(
        pool.choose(Wanted::Any, &[], 0, AT(10)).unwrap_err(),
        Refusal::Empty
    );
    registry.prune(AT(39));
    assert!(registry.lookup("a.test", "/x").is_some());
    registry.prune(AT(40));
    assert!(registry.lookup("a.test", "/x").is_none());
    assert_eq!(registry.routes(), 0);
}

#[test]
fn marks_pass_an_endpoint_over_until_nobody_else_is_left() {
    let registry = registry();
    for n in 1..=2 {
        let message = registration(&format!("10.0.0.{n}"), &format!("i{n}"), &["a.test"]);
        registry.register(&message, AT(0)).unwrap();
    }
    let pool = registry.lookup("a.test", "/").unwrap();
    let first = pool.choose(Wanted::Preferred("i1"), &[], 0, AT(0)).unwrap();
    assert_eq!(&*first.endpoint().identity.instance, "i1");
    first.endpoint().standing.mark_failed(AT(30));
    for _ in 0..4 {
        let lease = pool.choose(Wanted::Preferred("i1"), &[], 0, AT(1)).unwrap();
        assert_eq!(&*lease.endpoint().identity.instance, "i2");
    }
    let second = pool.choose(Wanted::Any, &[], 0, AT(1)).unwrap();
    let tried = [second.endpoint().standing.id()];
    second.endpoint().standing.mark_failed(AT(31));
    let forgiven = pool.choose(Wanted::Any, &tried, 0, AT(2)).unwrap();
    assert_eq!(&*forgiven.endpoint().identity.instance, "i1");
    let both = [tried[0], forgiven.endpoint().standing.id()];
    assert_eq!(
        pool.choose(Wanted::Any, &both, 0, AT(2)).unwrap_err(),
        Refusal::Exhausted
    );
}

#[test]
fn a_limit_counts_requests_until_they_end() {
    let registry = registry();
    registry
        .register(&registration("10.0.0.1", "one", &["a.test"]), AT(0))
        .unwrap();
    let pool = registry.lookup("a.test", "/").unwrap();
    let held = pool.choose(Wanted::Any, &[], 1, AT(0)).unwrap();
    assert_eq!(held.endpoint().standing.in_flight(), 1);
    assert_eq!(
        pool.choose(Wanted::Any, &[], 1, AT(0)).unwrap_err(),
        Refusal::Overloaded
    );
    drop(held);
    assert!(pool.choose(Wanted::Any, &[], 1, AT(0)).is_ok());
}

#[test]
fn one_copy_can_be_asked_for_by_index() {
    let registry = registry();
    for n in 0..3 {
        let mut message = registration(&format!("10.0.0.{}", n + 1), "x", &["a.test"]);
        message.private_instance_id = Some(format!("i{n}"));
        message.private_instance_index = Some(n.to_string());
        registry.register(&message, AT(0)).unwrap();
    }
    let pool = registry.lookup("a.test", "/").unwrap();
    let wanted = |index| Wanted::Exactly {
        app: "app-of-x",
        index,
    };
    let lease = pool.choose(wanted("2"), &[], 0, AT(0)).unwrap();
    assert_eq!(&*lease.endpoint().identity.instance, "i2");
    assert_eq!(
        pool.choose(wanted("3"), &[], 0, AT(0)).unwrap_err(),
        Refusal::NoSuchInstance
    );
}

#[test]
fn refuses_what_cannot_be_dialled_and_services_in_clear() {
    let registry = registry();
    let mut message = registration("10.0.0.1", "one", &["a.test"]);
    message.port = 0;
    assert!(matches!(
        registry.register(&message, AT(0)),
        Err(RegistryError::Address { .. })
    ));
    message.port = 1;
    message.route_service_url = Some("http://spy.test".to_owned());
    assert!(matches!(
        registry.register(&message, AT(0)),
        Err(RegistryError::RouteService(_))
    ));
    message.route_service_url = Some("https://guard.test".to_owned());
    message.uris.push("b c.test".to_owned());
    assert_eq!(registry.register(&message, AT(0)).unwrap().malformed, 1);
    assert!(registry.lookup("a.test", "/").unwrap().has_route_service());
    message.route_service_url = None;
    registry.register(&message, AT(0)).unwrap();
    assert!(!registry.lookup("a.test", "/").unwrap().has_route_service());
}

// === against a naive model ===

const HOSTS: &[&str] = &["a.test", "b.test", "x.a.test", "*.a.test", "*.test"];
const PATHS: &[&str] = &["", "/p", "/p/q", "/pq"];
const ASKED: &[&str] = &[
    "a.test",
    "b.test",
    "x.a.test",
    "y.a.test",
    "z.y.a.test",
    "c.test",
    "d",
];
const ASKED_PATHS: &[&str] = &["/", "/p", "/p/q/r", "/pq", "/pz"];

#[derive(Debug, Clone)]
enum Step {
    Register {
        address: u8,
        identity: u8,
        uris: Vec<(usize, usize)>,
    },
    Unregister {
        address: u8,
        identity: Option<u8>,
        uris: Vec<(usize, usize)>,
    },
    Wait(u8),
    Prune,
    RefreshAll,
}

/// `(host, path, address)` → `(identity, refreshed at)`.
type Model = BTreeMap<(String, String, u8), (u8, u64)>;

fn step() -> impl Strategy<Value = Step> {
    let uris = || prop::collection::vec((0..HOSTS.len(), 0..PATHS.len()), 0..4);
    prop_oneof![
        4 => (0..4_u8, 0..3_u8, uris())
            .prop_map(|(address, identity, uris)| Step::Register { address, identity, uris }),
        3 => (0..4_u8, prop::option::of(0..3_u8), uris())
            .prop_map(|(address, identity, uris)| Step::Unregister { address, identity, uris }),
        2 => (1..90_u8).prop_map(Step::Wait),
        1 => Just(Step::Prune),
        1 => Just(Step::RefreshAll),
    ]
}

fn message(address: u8, identity: Option<u8>, uris: &[(usize, usize)]) -> Registration {
    let uris: Vec<_> = uris
        .iter()
        .map(|&(h, p)| format!("{}{}", HOSTS[h], PATHS[p]))
        .collect();
    let uris: Vec<_> = uris.iter().map(String::as_str).collect();
    let instance = identity
        .map(|identity| format!("i{identity}"))
        .unwrap_or_default();
    registration(&format!("10.0.0.{address}"), &instance, &uris)
}

fn model_lookup(model: &Model, host: &str, path: &str) -> BTreeSet<(u8, u8)> {
    let mut names = vec![host.to_owned()];
    let mut rest = host;
    while let Some((_, parent)) = rest.split_once('.') {
        names.push(format!("*.{parent}"));
        rest = parent;
    }
    for name in names {
        let mut paths: Vec<&str> = PATHS.to_vec();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for prefix in paths {
            let covers =
                prefix.is_empty() || path == prefix || path.starts_with(&format!("{prefix}/"));
            let found: BTreeSet<_> = model
                .iter()
                .filter(|((h, p, _), _)| *h == name && p == prefix)
                .map(|((_, _, address), (identity, _))| (*address, *identity))
                .collect();
            if covers && !found.is_empty() {
                return found;
            }
        }
    }
    BTreeSet::new()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_the_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        let registry = registry();
        let mut model = Model::new();
        let mut now = 0_u64;
        for step in steps {
            match step {
                Step::Register { address, identity, uris } => {
                    registry.register(&message(address, Some(identity), &uris), AT(now)).unwrap();
                    model.retain(|(_, _, a), (i, _)| *a != address || *i == identity);
                    for (h, p) in uris {
                        let key = (HOSTS[h].to_owned(), PATHS[p].to_owned(), address);
                        model.insert(key, (identity, now));
                    }
                }
                Step::Unregister { address, identity, uris } => {
                    registry.unregister(&message(address, identity, &uris), AT(now)).unwrap();
                    for (h, p) in uris {
                        let key = (HOSTS[h].to_owned(), PATHS[p].to_owned(), address);
                        if model.get(&key).is_some_and(|(i, _)| identity.is_none_or(|id| id == *i)) {
                            model.remove(&key);
                        }
                    }
                }
                Step::Wait(seconds) => now += u64::from(seconds),
                Step::Prune => {
                    registry.prune(AT(now));
                    model.retain(|_, (_, at)| now - *at <= STALE.as_secs());
                }
                Step::RefreshAll => {
                    registry.refresh_all(AT(now));
                    model.values_mut().for_each(|(_, at)| *at = now);
                }
            }
            let routes: BTreeSet<_> = model.keys().map(|(h, p, _)| (h, p)).collect();
            let addresses: BTreeSet<_> = model.keys().map(|(_, _, a)| a).collect();
            prop_assert_eq!(registry.routes(), routes.len());
            prop_assert_eq!(registry.endpoints(), addresses.len());
            for host in ASKED {
                for path in ASKED_PATHS {
                    let expected = model_lookup(&model, host, path);
                    let found: BTreeSet<_> = registry
                        .lookup(host, path)
                        .map(|pool| pool.snapshot(AT(now)))
                        .unwrap_or_default()
                        .iter()
                        .map(|(endpoint, _, _)| {
                            let Address::Ip(ip) = &endpoint.address else { unreachable!() };
                            let std::net::IpAddr::V4(v4) = ip.ip() else { unreachable!() };
                            let identity = endpoint.identity.instance[1..].parse().unwrap();
                            assert!(!endpoint.standing.retired());
                            (v4.octets()[3], identity)
                        })
                        .collect();
                    prop_assert_eq!(found, expected, "{}{}", host, path);
                }
            }
        }
    }
}

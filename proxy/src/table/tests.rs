//! Tables: what is quarantined and what is served in its place, TLS of hosts, what outlives a table.

mod properties;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustls::crypto::aws_lc_rs;
use snapshot::frame::{Generation, Quarantined};
use snapshot::{
    Action as Act, Balance, Certificate, CertificateKey, CipherSuite, Condition, Conditions, Endpoint,
    Endpoints, HashPart, Host, HostPattern, HostTls, Key, ListenerName, Millis, ObjectRef, PathMatch,
    PathRewrite, PrivateKey, RouteId, Section, Slice, Snapshot, TlsVersion, UpstreamId, ValueMatch,
    WeightedUpstream,
};
use tokio::time::Instant;

use super::{Action, Route, Table};
use crate::head::Head;
use crate::upstream::{Way, choose};

/// The time at which the tests' tables are built.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn empty() -> Table {
    Table::empty(Arc::new(aws_lc_rs::default_provider()))
}

/// Builds and installs, as the feed does.
fn build(snapshot: &Snapshot, previous: &Table) -> (Table, Vec<Quarantined>) {
    let number = previous.generation().number + 1;
    let (table, quarantined) =
        Table::build(Generation { epoch: 1, number }, snapshot.clone(), previous, now());
    table.install();
    (table, quarantined)
}

const CLIENT: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// The route of a GET. The host may be one that no head can have.
fn select<'a>(table: &'a Table, host: &str, path: &str) -> Option<&'a Arc<Route>> {
    let mut head = Head::get("a", path);
    head.host = host.to_owned();
    table.select(&head, CLIENT)
}

fn upstream_id(service: &str) -> UpstreamId {
    UpstreamId::endpoints("d", service, "80")
}

fn route_id(name: &str) -> RouteId {
    let owner = ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: name.into() };
    RouteId { owner, rule: "r".into(), matched: "m".into() }
}

fn route(name: &str, path: PathMatch, services: &[&str]) -> snapshot::Route {
    let backend = |service: &&str| WeightedUpstream { upstream: upstream_id(service), weight: 1 };
    snapshot::Route::new(
        route_id(name),
        path,
        Act::Forward(services.iter().map(backend).collect::<Vec<_>>().into()),
    )
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn host_key(name: &str) -> Key {
    Key::Host(HostPattern::Exact(name.into()))
}

fn put_host(snapshot: &mut Snapshot, name: &str, routes: Vec<snapshot::Route>) {
    snapshot.insert(host_key(name), &Section::Host(Host { tls: None, routes }));
}

fn put_slice(snapshot: &mut Snapshot, service: &str, slice: &str, ports: &[u16]) {
    let endpoint = |port: &u16| Endpoint {
        address: ([10, 0, 0, 1], *port).into(),
        ready: true,
        terminating: false,
        pod: None,
    };
    let section = Section::Endpoints(Endpoints { endpoints: ports.iter().map(endpoint).collect() });
    snapshot.insert(Key::Endpoints(upstream_id(service), Slice(slice.into())), &section);
}

/// A small world: host `h` forwards everything to `s`, which has two endpoints.
fn world() -> Snapshot {
    let mut snapshot = Snapshot::default();
    put_host(&mut snapshot, "h", vec![route("a", prefix("/"), &["s"])]);
    put_slice(&mut snapshot, "s", "one", &[1, 2]);
    snapshot
}

fn backends(table: &Table, host: &str) -> Vec<crate::upstream::Weighted> {
    match &select(table, host, "/").unwrap().action {
        Action::Forward(forward) => forward.backends().to_vec(),
        Action::Redirect(to) => panic!("{to:?}"),
        Action::Broken(reason) => panic!("{reason}"),
    }
}

fn secret(name: &str) -> CertificateKey {
    CertificateKey { namespace: "d".into(), secret: name.into() }
}

/// A self-signed pair that expires so many seconds after the tests' time.
fn pair(expires_in: i64) -> (Vec<Bytes>, Vec<u8>, i64) {
    let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    let chain = vec![made.cert.der().to_vec().into()];
    (chain, made.signing_key.serialize_der(), 1_000_000 + expires_in)
}

fn put_pair(snapshot: &mut Snapshot, name: &str, (chain, key, not_after): &(Vec<Bytes>, Vec<u8>, i64)) {
    let certificate =
        Certificate::Pair { chain: chain.clone(), key: PrivateKey::new(key), not_after: *not_after };
    snapshot.insert(Key::Certificate(secret(name)), &Section::Certificate(certificate));
}

fn put_tls_host(snapshot: &mut Snapshot, pattern: HostPattern, certificate: &str, min_version: TlsVersion) {
    let tls =
        Some(HostTls { certificate: secret(certificate), min_version, cipher_suites: vec![], clients: None });
    snapshot.insert(Key::Host(pattern), &Section::Host(Host { tls, routes: vec![] }));
}

fn served(table: &Table, name: Option<&str>) -> Option<Vec<u8>> {
    table.certificate(name).map(|key| key.cert[0].to_vec())
}

// ---- lookup

#[test]
fn a_wildcard_stands_for_one_label_that_is_not_empty() {
    let mut snapshot = Snapshot::default();
    let wildcard = Key::Host(HostPattern::Wildcard("x.y".into()));
    let routes = vec![route("w", prefix("/"), &["s"])];
    snapshot.insert(wildcard, &Section::Host(Host { tls: None, routes }));
    let (table, _) = build(&snapshot, &empty());
    assert!(select(&table, "a.x.y", "/").is_some());
    for host in ["x.y", "b.a.x.y", ".x.y", "x", ""] {
        assert!(select(&table, host, "/").is_none(), "{host}");
    }
}

#[test]
fn a_path_of_slashes_costs_neither_the_stack_nor_the_routes_beside_it() {
    let mut snapshot = Snapshot::default();
    let (deep, endless) = ("/x".repeat(16_000), "/".repeat(1_000_000) + "x");
    let routes = vec![
        route("deep", prefix(&deep), &["s"]),
        route("endless", prefix(&endless), &["s"]),
        route("a", prefix("/"), &["s"]),
    ];
    put_host(&mut snapshot, "h", routes);
    let (table, quarantined) = build(&snapshot, &empty());
    assert!(quarantined.is_empty());
    assert_eq!(select(&table, "h", &deep).unwrap().id.owner.name, "deep");
    assert_eq!(select(&table, "h", &"/".repeat(30_000)).unwrap().id.owner.name, "a");
}

fn owner<'a>(table: &'a Table, host: &str, target: &str) -> Option<&'a str> {
    Some(&table.select(&Head::get(host, target), CLIENT)?.id.owner.name)
}

fn parameter(name: &str, value: &str) -> Conditions {
    let query = vec![Condition { name: name.into(), value: ValueMatch::Exact(value.into()) }];
    Conditions { query, ..Conditions::default() }
}

#[test]
fn conditions_that_fail_lead_to_the_next_path_of_the_same_host() {
    let conditional = |name: &str, path, conditions| {
        let route = route(name, path, &["s"]);
        snapshot::Route { conditions, ..route }
    };
    let mut snapshot = Snapshot::default();
    let exact = PathMatch::Exact("/a/b".into());
    let routes = vec![
        conditional("exact v1", exact.clone(), parameter("v", "1")),
        conditional("exact v2", exact.clone(), parameter("v", "2")),
        conditional("exact w1, too late for v1", exact, parameter("w", "1")),
        conditional("longest v3", prefix("/a/b"), parameter("v", "3")),
        conditional("longer v4", prefix("/a"), parameter("v", "4")),
        conditional("longer, any", prefix("/a"), Conditions::default()),
        conditional("never reached", prefix("/a"), parameter("v", "5")),
        conditional("root", prefix("/"), parameter("v", "6")),
    ];
    put_host(&mut snapshot, "h", routes);
    snapshot.insert(
        Key::Host(HostPattern::Any),
        &Section::Host(Host { tls: None, routes: vec![route("another host's", prefix("/"), &["s"])] }),
    );
    let (table, _) = build(&snapshot, &empty());
    for (target, found) in [
        ("/a/b?v=1", Some("exact v1")),
        ("/a/b?v=1&w=1", Some("exact v1")),
        ("/a/b?v=2", Some("exact v2")),
        ("/a/b?w=1", Some("exact w1, too late for v1")),
        ("/a/b?v=3", Some("longest v3")),
        ("/a/b/c?v=3", Some("longest v3")),
        ("/a/b/c?v=1", Some("longer, any")),
        ("/a/b?v=4", Some("longer v4")),
        ("/a/b?v=5", Some("longer, any")),
        ("/a/bc?v=3", Some("longer, any")),
        ("/b?v=6", Some("root")),
        ("/b", None),
    ] {
        assert_eq!(owner(&table, "h", target), found, "{target}");
    }
    assert_eq!(owner(&table, "other", "/b"), Some("another host's"));
    // What nothing can reach refers to nothing.
    assert_eq!(table.upstream_references()["d/s:80"], 8);
}

// ---- quarantine

/// A route that would take everything, had it not something odd.
fn odd(change: impl FnOnce(&mut snapshot::Route)) -> snapshot::Route {
    let mut route = route("b", prefix("/"), &["s"]);
    change(&mut route);
    route
}

#[test]
fn a_host_that_cannot_be_built_keeps_its_last_good_form_or_is_closed() {
    let (good, _) = build(&world(), &empty());
    for bad in [
        vec![route("b", prefix("no-slash"), &["s"])],
        vec![route("b", prefix("/slash/"), &["s"])],
        vec![route("b", prefix("/"), &[])],
        vec![odd(|route| route.conditions.headers = parameter("X-Upper", "1").query)],
        vec![odd(|route| route.conditions.headers = parameter("x y", "1").query)],
        vec![odd(|route| route.conditions.headers = parameter("", "1").query)],
        vec![odd(|route| route.conditions = parameter("", "1"))],
        vec![odd(|route| route.conditions.subprotocols = vec!["a b".into()])],
        vec![odd(|route| route.conditions.subprotocols = vec![String::new()])],
        vec![odd(|route| route.balance = Balance::ConsistentHash(vec![]))],
        vec![odd(|route| route.balance = Balance::ConsistentHash(vec![HashPart::Header("X".into())]))],
        vec![odd(|route| route.balance = Balance::ConsistentHash(vec![HashPart::Cookie(String::new())]))],
        vec![odd(|route| route.rewrite.path = Some(PathRewrite::Whole("/a\r\nb".into())))],
        vec![odd(|route| route.rewrite.host = Some("a/b".into()))],
    ] {
        let mut snapshot = world();
        put_host(&mut snapshot, "h", bad.clone());
        put_host(&mut snapshot, "new", bad);
        snapshot.insert(Key::Host(HostPattern::Any), &Section::Host(Host::default()));
        let (table, quarantined) = build(&snapshot, &good);
        let keys: Vec<_> = quarantined.into_iter().map(|section| section.key).collect();
        assert_eq!(keys, [host_key("h"), host_key("new")]);
        assert_eq!(*select(&table, "h", "/").unwrap().id, route_id("a"));
        let closed =
            select(&table, "new", "/any/path").expect("it answers, lest another host answers for it");
        assert!(matches!(&closed.action, Action::Broken(reason) if !reason.is_empty()));

        // Still quarantined, and still served, in a generation that does not touch it; gone with its section.
        let (table, quarantined) = build(&snapshot, &table);
        assert_eq!((quarantined.len(), &*select(&table, "h", "/").unwrap().id), (2, &route_id("a")));
        // From bad to worse: what was good before both stays.
        snapshot.insert_encoded(host_key("h"), Bytes::from_static(&[0xFF; 3]));
        let (table, quarantined) = build(&snapshot, &table);
        assert_eq!((quarantined.len(), &*select(&table, "h", "/").unwrap().id), (2, &route_id("a")));
        assert_eq!(table.served().encoded(&host_key("h")), world().encoded(&host_key("h")));
        snapshot.remove(&host_key("h"));
        let (table, quarantined) = build(&snapshot, &table);
        assert_eq!((quarantined.len(), select(&table, "h", "/").is_some()), (1, false));
    }
}

#[test]
fn a_section_of_another_kind_than_its_key_is_quarantined() {
    let mut snapshot = world();
    let other = Section::Listener(snapshot::Listener::default());
    for key in
        [host_key("h"), Key::Endpoints(upstream_id("s"), Slice("one".into())), Key::Certificate(secret("c"))]
    {
        snapshot.insert(key, &other);
    }
    snapshot.insert(Key::Listener(ListenerName::Http), &Section::Host(Host::default()));
    let (good, _) = build(&world(), &empty());
    let (table, quarantined) = build(&snapshot, &good);
    assert_eq!(quarantined.len(), 4);
    assert!(choose(&backends(&table, "h"), Way::LeastConnections, &[], Instant::now()).is_some());
    let (table, _) = build(&snapshot, &empty());
    assert!(matches!(select(&table, "h", "/").unwrap().action, Action::Broken(_)));
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_last_good_one() {
    let (first, second) = (pair(100), pair(100));
    let mut snapshot = Snapshot::default();
    put_tls_host(&mut snapshot, HostPattern::Exact("h".into()), "c", TlsVersion::V1_2);
    put_pair(&mut snapshot, "c", &first);
    let (good, quarantined) = build(&snapshot, &empty());
    assert!(quarantined.is_empty());
    assert_eq!(served(&good, Some("h")), Some(first.0[0].to_vec()));

    let not_matching = (second.0.clone(), first.1.clone(), second.2);
    let refused = (second.0.clone(), second.1[..second.1.len() / 2].to_vec(), second.2);
    let no_key = (second.0.clone(), b"-----BEGIN".to_vec(), second.2);
    let no_certificate = (vec![Bytes::from_static(b"certificate")], second.1.clone(), second.2);
    let no_chain = (vec![], second.1.clone(), second.2);
    for bad in [not_matching, refused, no_key, no_certificate, no_chain] {
        let mut snapshot = snapshot.clone();
        put_pair(&mut snapshot, "c", &bad);
        let (table, quarantined) = build(&snapshot, &good);
        assert_eq!(quarantined.len(), 1);
        assert_eq!(quarantined[0].key, Key::Certificate(secret("c")));
        assert_eq!(served(&table, Some("h")), Some(first.0[0].to_vec()), "{}", quarantined[0].reason);
        assert_eq!(table.certificates().collect::<Vec<_>>(), [(&secret("c"), first.2)]);
        assert_eq!(table.served(), *good.snapshot());

        let (table, quarantined) = build(&snapshot, &empty());
        assert_eq!((quarantined.len(), served(&table, Some("h"))), (1, None), "as if unknown");
        assert!(!table.has_certificate("h"));

        put_pair(&mut snapshot, "c", &second);
        let (table, quarantined) = build(&snapshot, &table);
        assert_eq!((quarantined.len(), served(&table, Some("h"))), (0, Some(second.0[0].to_vec())));
    }
}

#[test]
fn a_secret_that_went_bad_keeps_the_last_good_certificate_and_is_no_news() {
    let first = pair(100);
    let mut snapshot = Snapshot::default();
    put_tls_host(&mut snapshot, HostPattern::Exact("h".into()), "c", TlsVersion::V1_2);
    put_pair(&mut snapshot, "c", &first);
    let (good, _) = build(&snapshot, &empty());
    let bad = Section::Certificate(Certificate::Bad("tls.crt is missing".into()));
    snapshot.insert(Key::Certificate(secret("c")), &bad);
    let (table, quarantined) = build(&snapshot, &good);
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (0, Some(first.0[0].to_vec())));
    // From bad to worse: what was good before both is still known.
    put_pair(&mut snapshot, "c", &(first.0.clone(), vec![], first.2));
    let (table, quarantined) = build(&snapshot, &table);
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (1, Some(first.0[0].to_vec())));
    // Deleted for real.
    snapshot.remove(&Key::Certificate(secret("c")));
    let (table, quarantined) = build(&snapshot, &table);
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (0, None));
}

#[test]
fn an_expired_certificate_is_served_only_for_want_of_a_better_one() {
    let (expired, valid, older) = (pair(0), pair(1), pair(-5));
    let mut snapshot = Snapshot::default();
    put_tls_host(&mut snapshot, HostPattern::Exact("h".into()), "c", TlsVersion::V1_2);
    put_pair(&mut snapshot, "c", &valid);
    let (good, _) = build(&snapshot, &empty());
    put_pair(&mut snapshot, "c", &expired);
    let (table, quarantined) = build(&snapshot, &good);
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (1, Some(valid.0[0].to_vec())));
    let (table, quarantined) = build(&snapshot, &empty());
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (1, Some(expired.0[0].to_vec())));
    put_pair(&mut snapshot, "c", &older);
    let (table, quarantined) = build(&snapshot, &table);
    assert_eq!((quarantined.len(), served(&table, Some("h"))), (1, Some(older.0[0].to_vec())));
}

#[test]
fn what_has_expired_since_is_said_once_and_served_on() {
    let (first, good, mut snapshot) = (pair(10), pair(100), Snapshot::default());
    put_tls_host(&mut snapshot, HostPattern::Exact("h".into()), "c", TlsVersion::V1_2);
    put_pair(&mut snapshot, "c", &first);
    put_pair(&mut snapshot, "good", &good);
    let (built, quarantined) = build(&snapshot, &empty());
    assert!(quarantined.is_empty());
    let at = |seconds| now() + Duration::from_secs(seconds);
    assert!(built.judged(at(9)).is_none());
    let judged = built.judged(at(10)).expect("it has expired");
    assert_eq!((judged.generation(), judged.digest()), (built.generation(), built.digest()));
    let quarantined = judged.quarantined();
    assert_eq!((quarantined.len(), &quarantined[0].key), (1, &Key::Certificate(secret("c"))));
    assert!(quarantined[0].reason.contains("expired"), "{}", quarantined[0].reason);
    assert_eq!(served(&judged, Some("h")), Some(first.0[0].to_vec()));
    assert_eq!(judged.served(), snapshot);
    assert!(judged.judged(at(11)).is_none(), "that is known already");

    // It is still known in the next table, and forgotten when there is a better one.
    put_host(&mut snapshot, "other", vec![]);
    let (next, quarantined) = build(&snapshot, &judged);
    assert_eq!(quarantined, judged.quarantined());
    put_pair(&mut snapshot, "c", &good);
    assert!(build(&snapshot, &next).1.is_empty());

    // What stands in for a certificate that cannot be used may expire too, and is served on for want of a better one.
    put_pair(&mut snapshot, "c", &(good.0.clone(), first.1.clone(), good.2));
    let (standing_in, before) = build(&snapshot, &built);
    let judged = standing_in.judged(at(10)).expect("what is served has expired");
    let after = judged.quarantined();
    assert!(
        after[0].reason.starts_with(&before[0].reason) && after[0].reason.contains("expired"),
        "{after:?}"
    );
    assert_eq!(served(&judged, Some("h")), Some(first.0[0].to_vec()));
    assert!(judged.judged(at(11)).is_none());
}

// ---- TLS of hosts

#[test]
fn the_certificate_is_the_exact_one_then_the_wildcard_then_the_default() {
    let certificates: BTreeMap<_, _> = ["exact", "wildcard", "default"].map(|name| (name, pair(100))).into();
    let der = |name: &str| Some(certificates[name].0[0].to_vec());
    let mut snapshot = Snapshot::default();
    for (name, pair) in &certificates {
        put_pair(&mut snapshot, name, pair);
    }
    put_tls_host(&mut snapshot, HostPattern::Exact("a.x".into()), "exact", TlsVersion::V1_3);
    put_tls_host(&mut snapshot, HostPattern::Wildcard("x".into()), "wildcard", TlsVersion::V1_2);
    put_tls_host(&mut snapshot, HostPattern::Exact("missing.x".into()), "missing", TlsVersion::V1_3);
    put_tls_host(&mut snapshot, HostPattern::Exact("missing".into()), "missing", TlsVersion::V1_3);
    put_host(&mut snapshot, "plain.y", vec![]);
    put_host(&mut snapshot, "plain.x", vec![]);
    let (table, _) = build(&snapshot, &empty());
    assert_eq!(served(&table, Some("plain.y")), None);
    assert!(!table.has_certificate("plain.y"));
    let default_certificate = Some(secret("default"));
    let listener = snapshot::Listener {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        proxy_protocol_from: vec!["10.1.0.0/16".parse().unwrap()],
        default_certificate,
    };
    snapshot.insert(Key::Listener(ListenerName::Https), &Section::Listener(listener));
    let (table, _) = build(&snapshot, &table);
    let config = |name: &str| &table.terms(Some(name)).config;
    for (name, certificate, has, version) in [
        ("a.x", "exact", true, TlsVersion::V1_3),
        ("b.x", "wildcard", true, TlsVersion::V1_2),
        ("plain.x", "wildcard", true, TlsVersion::V1_2),
        ("missing.x", "wildcard", false, TlsVersion::V1_3),
        ("missing", "default", false, TlsVersion::V1_3),
        ("plain.y", "default", true, TlsVersion::V1_2),
        ("unknown", "default", true, TlsVersion::V1_2),
    ] {
        assert_eq!(served(&table, Some(name)), der(certificate), "{name}");
        assert_eq!(table.has_certificate(name), has, "{name}");
        let example = if version == TlsVersion::V1_3 { "a.x" } else { "b.x" };
        assert!(Arc::ptr_eq(config(name), config(example)), "{name}");
    }
    assert!(!Arc::ptr_eq(config("a.x"), config("b.x")));
    assert_eq!(served(&table, None), der("default"));
    assert_eq!(table.trusted_proxies(ListenerName::Https).len(), 1);
    assert!(table.trusted_proxies(ListenerName::Http).is_empty());
    for (listener, peer, announces) in [
        (ListenerName::Https, "10.1.2.3", true),
        (ListenerName::Https, "::ffff:10.1.2.3", true),
        (ListenerName::Https, "10.2.2.3", false),
        (ListenerName::Http, "10.1.2.3", false),
    ] {
        assert_eq!(table.announces(listener, peer.parse().unwrap()), announces, "{listener:?} {peer}");
    }
    snapshot.remove(&Key::Listener(ListenerName::Https));
    let (table, _) = build(&snapshot, &table);
    assert_eq!(served(&table, None), None);
    assert!(table.trusted_proxies(ListenerName::Https).is_empty());
}

/// A snapshot of one host, `h`, with these TLS settings.
fn with_policy(min_version: TlsVersion, cipher_suites: &[CipherSuite]) -> Snapshot {
    let tls = HostTls {
        certificate: secret("c"),
        min_version,
        cipher_suites: cipher_suites.to_vec(),
        clients: None,
    };
    let mut snapshot = Snapshot::default();
    snapshot.insert(host_key("h"), &Section::Host(Host { tls: Some(tls), routes: vec![] }));
    snapshot
}

#[test]
fn a_policy_has_the_suites_that_were_named_in_that_order() {
    let named =
        [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_CHACHA20_POLY1305_SHA256];
    let (table, quarantined) = build(&with_policy(TlsVersion::V1_2, &named), &empty());
    assert!(quarantined.is_empty());
    let config = &table.terms(Some("h")).config;
    let suites: Vec<_> =
        config.crypto_provider().cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect();
    let wanted = [
        rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    assert_eq!((&suites[..], config.ignore_client_order), (&wanted[..], true));
    assert!(!table.terms(None).config.ignore_client_order);
}

#[test]
fn a_policy_that_nobody_can_meet_is_quarantined() {
    let (good, _) = build(&with_policy(TlsVersion::V1_3, &[]), &empty());
    let only_1_2 = [CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let (table, quarantined) = build(&with_policy(TlsVersion::V1_3, &only_1_2), &good);
    assert_eq!((quarantined.len(), &quarantined[0].key), (1, &host_key("h")));
    assert!(quarantined[0].reason.contains("cipher suites"), "{}", quarantined[0].reason);
    assert!(Arc::ptr_eq(table.terms(Some("h")), good.terms(Some("h"))));
    // Every suite of the contract is there.
    for suite in CipherSuite::ALL {
        let (_, quarantined) = build(&with_policy(TlsVersion::V1_2, &[suite]), &empty());
        assert!(quarantined.is_empty(), "{quarantined:?}");
    }
}

#[test]
fn a_policy_keeps_its_ticket_keys_as_long_as_a_table_has_it() {
    let strict = with_policy(TlsVersion::V1_3, &[]);
    let (first, _) = build(&strict, &empty());
    let config = Arc::downgrade(first.terms(Some("h")));
    let mut edited = strict.clone();
    put_tls_host(&mut edited, HostPattern::Exact("other".into()), "c", TlsVersion::V1_3);
    edited.remove(&host_key("h"));
    let (second, _) = build(&edited, &first);
    assert!(Arc::ptr_eq(&config.upgrade().unwrap(), second.terms(Some("other"))));
    let (third, _) = build(&with_policy(TlsVersion::V1_2, &[]), &second);
    assert!(Arc::ptr_eq(third.terms(Some("h")), third.terms(None)), "it is the default one");
    drop((first, second));
    assert!(config.upgrade().is_none());
    let (fourth, _) = build(&strict, &third);
    assert!(!Arc::ptr_eq(fourth.terms(Some("h")), third.terms(None)));
}

// ---- what outlives a table

#[test]
fn what_does_not_change_is_the_same_in_the_next_table() {
    let mut snapshot = world();
    put_host(&mut snapshot, "other", vec![route("o", prefix("/"), &["s"])]);
    put_pair(&mut snapshot, "c", &pair(100));
    put_tls_host(&mut snapshot, HostPattern::Exact("tls".into()), "c", TlsVersion::V1_2);
    let (first, _) = build(&snapshot, &empty());
    let mut edited = route("a", prefix("/"), &["s", "s"]);
    edited.timeouts.idle = Millis(0);
    put_host(&mut snapshot, "h", vec![edited]);
    // The same address in another slice, as EndpointSlice controllers move them.
    put_slice(&mut snapshot, "s", "one", &[1]);
    put_slice(&mut snapshot, "s", "two", &[2, 3]);
    let picked =
        choose(&backends(&first, "h"), Way::LeastConnections, &[([10, 0, 0, 1], 1).into()], Instant::now())
            .unwrap();
    let (second, _) = build(&snapshot, &first);
    assert!(Arc::ptr_eq(select(&first, "other", "/").unwrap(), select(&second, "other", "/").unwrap()));
    let (before, after) = (select(&first, "h", "/").unwrap(), select(&second, "h", "/").unwrap());
    assert!(!Arc::ptr_eq(before, after) && Arc::ptr_eq(&before.live, &after.live));
    assert!(Arc::ptr_eq(&backends(&first, "h")[0].upstream, &backends(&second, "h")[1].upstream));
    let keys = (first.certificate(Some("tls")).unwrap(), second.certificate(Some("tls")).unwrap());
    assert!(Arc::ptr_eq(&keys.0, &keys.1));
    // The endpoint that moved still counts what is in flight: the other two are picked before it.
    let picks: Vec<_> = (0..2)
        .map(|_| choose(&backends(&second, "h"), Way::LeastConnections, &[], Instant::now()).unwrap())
        .collect();
    assert!(picks.iter().all(|pick| pick.address() != picked.address()), "{picks:?}");
}

#[test]
fn settings_reach_open_tunnels_when_the_table_is_installed() {
    let (first, _) = build(&world(), &empty());
    let live = select(&first, "h", "/").unwrap().live.clone();
    assert_eq!(live.idle(), Some(Duration::from_hours(1)));
    let mut snapshot = world();
    let mut edited = route("a", PathMatch::Exact("/moved".into()), &["s"]);
    edited.timeouts.idle = Millis(2_000);
    edited.timeouts.send = Millis(0);
    put_host(&mut snapshot, "h", vec![edited]);
    let next = Generation { epoch: 1, number: 2 };
    let (second, _) = Table::build(next, snapshot, &first, now());
    assert_eq!(live.idle(), Some(Duration::from_hours(1)), "built is not served yet");
    second.install();
    assert_eq!((live.idle(), live.send()), (Some(Duration::from_secs(2)), None));

    // A route that goes and comes back while a tunnel is open finds it again.
    let (third, _) = build(&Snapshot::default(), &second);
    drop((first, second));
    let (fourth, _) = build(&world(), &third);
    assert!(Arc::ptr_eq(&select(&fourth, "h", "/").unwrap().live, &live));
    assert_eq!(live.idle(), Some(Duration::from_hours(1)));
}

#[test]
fn an_upstream_that_is_new_is_complete_before_the_table_is_installed() {
    let first = Generation { epoch: 1, number: 1 };
    let (table, _) = Table::build(first, world(), &empty(), now());
    assert!(choose(&backends(&table, "h"), Way::LeastConnections, &[], Instant::now()).is_some());
}

#[test]
fn an_endpoint_that_leaves_and_comes_back_still_knows_its_tunnels() {
    let (first, _) = build(&world(), &empty());
    let busy = choose(&backends(&first, "h"), Way::LeastConnections, &[], Instant::now()).unwrap();
    let mut snapshot = world();
    put_slice(&mut snapshot, "s", "one", &[3]);
    let (second, _) = build(&snapshot, &first);
    assert_eq!(
        choose(&backends(&second, "h"), Way::LeastConnections, &[], Instant::now()).unwrap().address().port(),
        3
    );
    let (third, _) = build(&world(), &second);
    for _ in 0..8 {
        let pick = choose(&backends(&third, "h"), Way::LeastConnections, &[], Instant::now()).unwrap();
        assert_ne!(pick.address(), busy.address());
    }
}

#[test]
fn a_table_is_freed_while_a_tunnel_lives_on() {
    let (first, _) = build(&world(), &empty());
    let first = Arc::new(first);
    let freed = Arc::downgrade(&first);
    let route: Weak<_> = Arc::downgrade(select(&first, "h", "/").unwrap());
    let upstream = Arc::downgrade(&backends(&first, "h")[0].upstream);
    let (live, picked) = (
        select(&first, "h", "/").unwrap().live.clone(),
        choose(&backends(&first, "h"), Way::LeastConnections, &[], Instant::now()).unwrap(),
    );
    let (second, _) = build(&Snapshot::default(), &first);
    drop(first);
    assert!(freed.upgrade().is_none() && route.upgrade().is_none() && upstream.upgrade().is_none());
    assert_eq!((live.id(), picked.address().port() > 0), (&route_id("a"), true));
    assert!(size_of_val(&picked) <= 16);
    drop(second);
    picked.connect_failed(Instant::now());
}

#[test]
fn no_private_key_shows_in_a_table() {
    let made = pair(100);
    let mut snapshot = Snapshot::default();
    put_pair(&mut snapshot, "c", &made);
    let (table, _) = build(&snapshot, &empty());
    let shown = format!("{table:?}");
    assert!(shown.len() < 300 && shown.contains("generation"), "{shown}");
}

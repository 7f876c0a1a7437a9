//! One policy model: what an Ingress says by annotations and a WsRoute by its fields gives the same snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crds::annotations::{OWN, Support, table};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use snapshot::{Key, Section, Snapshot};
use translate::{Change, Settings, Store, translate};

use crate::manifests::object;

/// The same said twice: by annotations, and by fields of a WsRoute's spec, which JSON pointers name.
#[derive(Clone, Debug, Default)]
struct Said {
    annotations: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, Value)>,
}

type Topic = BoxedStrategy<Said>;

fn said(annotations: &[(&'static str, &str)], fields: &[(&'static str, Value)]) -> Said {
    let annotations = annotations.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Said { annotations, fields: fields.to_vec() }
}

fn one_of(all: Vec<Said>) -> Topic {
    proptest::option::of(select(all)).prop_map(Option::unwrap_or_default).boxed()
}

/// The same text in both.
fn texts(key: &'static str, field: &'static str, texts: &[&str]) -> Topic {
    one_of(texts.iter().map(|text| said(&[(key, text)], &[(field, json!(text))])).collect())
}

fn switch(key: &'static str, field: &'static str, of: fn(bool) -> Value) -> Topic {
    let each = |on: bool| said(&[(key, &on.to_string())], &[(field, of(on))]);
    one_of(vec![each(true), each(false)])
}

const DURATIONS: [&str; 4] = ["0s", "250ms", "1h30m", "7s"];

fn timeouts() -> Vec<Topic> {
    const READ: &[&str] =
        &["/policy/timeouts/handshake", "/policy/timeouts/idle", "/policy/timeouts/request"];
    let seconds = |text: &str| (text.to_owned(), format!("{text}s"));
    let nginx = |key: &'static str, fields: &'static [&'static str]| {
        let each = ["1", "90"].map(seconds).map(|(plain, unit)| Said {
            annotations: vec![(key, plain)],
            fields: fields.iter().map(|field| (*field, json!(unit))).collect(),
        });
        each.to_vec()
    };
    vec![
        prop_oneof![
            texts("longhaul.dev/connect-timeout", "/policy/timeouts/connect", &DURATIONS),
            one_of(nginx("nginx.ingress.kubernetes.io/proxy-connect-timeout", &["/policy/timeouts/connect"])),
        ]
        .boxed(),
        prop_oneof![
            texts("longhaul.dev/send-timeout", "/policy/timeouts/send", &DURATIONS),
            one_of(nginx("nginx.ingress.kubernetes.io/proxy-send-timeout", &["/policy/timeouts/send"])),
        ]
        .boxed(),
        one_of(nginx("nginx.ingress.kubernetes.io/proxy-read-timeout", READ)),
        texts("longhaul.dev/handshake-timeout", "/policy/timeouts/handshake", &DURATIONS),
        texts("longhaul.dev/idle-timeout", "/policy/timeouts/idle", &DURATIONS),
        texts("longhaul.dev/request-timeout", "/policy/timeouts/request", &DURATIONS),
    ]
}

fn load_balancing() -> Topic {
    const POLICY: &str = "/policy/loadBalancing/policy";
    const HASH_ON: &str = "/policy/loadBalancing/hashOn";
    let (own, hash_on) = ("longhaul.dev/load-balancing", "longhaul.dev/hash-on");
    let (by, hash_by) =
        ("nginx.ingress.kubernetes.io/load-balance", "nginx.ingress.kubernetes.io/upstream-hash-by");
    let parts = [
        ("client-address", "clientAddress", json!({})),
        ("header:X-Room", "header", json!("X-Room")),
        ("cookie:room", "cookie", json!("room")),
        ("query:room", "queryParameter", json!("room")),
        ("path", "path", json!({})),
    ];
    let mut all = vec![
        said(&[(own, "least-connections")], &[(POLICY, json!("LeastConnections"))]),
        said(&[(own, "round-robin")], &[(POLICY, json!("RoundRobin"))]),
        said(&[(by, "round_robin")], &[(POLICY, json!("RoundRobin"))]),
        said(&[(hash_by, "$http_x_room")], &[(HASH_ON, json!({"header": "X-Room"}))]),
        said(&[(hash_by, "$arg_room")], &[(HASH_ON, json!({"queryParameter": "room"}))]),
        said(&[(hash_by, "$remote_addr")], &[(HASH_ON, json!({"clientAddress": {}}))]),
    ];
    for (text, field, value) in parts {
        let hashed = (HASH_ON, json!({field: value}));
        all.push(said(&[(hash_on, text)], std::slice::from_ref(&hashed)));
        all.push(said(
            &[(hash_on, text), (own, "consistent-hash")],
            &[(POLICY, json!("ConsistentHash")), hashed],
        ));
    }
    one_of(all)
}

fn affinity() -> Vec<Topic> {
    const COOKIE: &str = "/policy/affinity/cookie";
    const RING: &str = "/policy/loadBalancing/ring";
    let (own, ring) = ("longhaul.dev/affinity-cookie", "longhaul.dev/hash-ring");
    let details = [
        (own, "back"),
        ("longhaul.dev/affinity-cookie-max-age", "24h"),
        ("longhaul.dev/affinity-cookie-path", "/x"),
        ("longhaul.dev/affinity-cookie-same-site", "None"),
        ("longhaul.dev/affinity-cookie-secure", "true"),
        ("longhaul.dev/affinity-cookie-domain", "a.test"),
    ];
    let all = json!({
        "name": "back", "maxAge": "24h", "path": "/x", "sameSite": "None", "secure": true, "domain": "a.test",
    });
    vec![
        one_of(vec![
            said(&[(own, "back")], &[(COOKIE, json!({"name": "back"}))]),
            said(&[(own, "off")], &[(COOKIE, json!({"enabled": false}))]),
            said(&details, &[(COOKIE, all)]),
        ]),
        switch("longhaul.dev/engine-io", "/policy/affinity/engineIO", |on| json!(on)),
        one_of(vec![
            said(&[(ring, "address")], &[(RING, json!("Address"))]),
            said(&[(ring, "pod-name")], &[(RING, json!("PodName"))]),
        ]),
    ]
}

fn access() -> Vec<Topic> {
    const LISTED: &[&str] = &["SameHost", "https://*.a.test, null", "http://a.test:81,https://b.test:*"];
    const NETWORKS: &[&str] = &["10.0.0.0/8", "192.0.2.7, 2001:db8::/32", "10.1.2.3/8,::1"];
    const ALLOW: &str = "/policy/access/allow";
    const DENY: &str = "/policy/access/deny";
    const ORIGINS: &str = "/policy/access/origins";
    let list = |key, field, texts: &'static [&'static str]| -> Vec<Said> {
        let each = |text: &&str| {
            said(&[(key, text)], &[(field, json!(text.split(',').map(str::trim).collect::<Vec<_>>()))])
        };
        texts.iter().map(each).collect()
    };
    let both =
        |own, theirs, field| one_of([list(own, field, NETWORKS), list(theirs, field, NETWORKS)].concat());
    vec![
        both("longhaul.dev/allow-cidrs", "nginx.ingress.kubernetes.io/whitelist-source-range", ALLOW),
        both("longhaul.dev/deny-cidrs", "nginx.ingress.kubernetes.io/denylist-source-range", DENY),
        one_of(list("longhaul.dev/allow-origins", ORIGINS, LISTED)),
    ]
}

fn auth() -> Topic {
    const EXTERNAL: &str = "/policy/auth/external";
    const BASIC: &str = "/policy/auth/basic";
    let (service, url) = ("longhaul.dev/auth-service", "longhaul.dev/auth-url");
    let (fields, timeout) = ("longhaul.dev/auth-response-headers", "longhaul.dev/auth-timeout");
    let (secret, realm) = ("longhaul.dev/auth-basic-secret", "longhaul.dev/auth-basic-realm");
    one_of(vec![
        said(
            &[(service, "auth:9000/check")],
            &[(EXTERNAL, json!({"service": "auth", "port": 9000, "path": "/check"}))],
        ),
        said(
            &[(service, "auth:9000"), (fields, "X-User, X-Groups"), (timeout, "2s")],
            &[(
                EXTERNAL,
                json!({"service": "auth", "port": 9000, "responseHeaders": ["X-User", "X-Groups"], "timeout": "2s"}),
            )],
        ),
        said(
            &[(url, "http://auth.test:81/check")],
            &[(EXTERNAL, json!({"url": "http://auth.test:81/check"}))],
        ),
        said(&[(secret, "users")], &[(BASIC, json!({"secretName": "users"}))]),
        said(
            &[(secret, "users"), (realm, "Staff")],
            &[(BASIC, json!({"secretName": "users", "realm": "Staff"}))],
        ),
        said(&[(secret, "nobody")], &[(BASIC, json!({"secretName": "nobody"}))]),
        said(
            &[
                ("nginx.ingress.kubernetes.io/auth-type", "basic"),
                ("nginx.ingress.kubernetes.io/auth-secret", "users"),
                ("nginx.ingress.kubernetes.io/auth-realm", "Staff"),
            ],
            &[(BASIC, json!({"secretName": "users", "realm": "Staff"}))],
        ),
    ])
}

fn cors() -> Topic {
    const CORS: &str = "/policy/cors";
    let own = [
        ("longhaul.dev/cors-allow-origins", "https://a.test, https://*.b.test:81, null"),
        ("longhaul.dev/cors-allow-methods", "GET, PUT"),
        ("longhaul.dev/cors-allow-headers", "X-A"),
        ("longhaul.dev/cors-expose-headers", "X-B"),
        ("longhaul.dev/cors-allow-credentials", "true"),
        ("longhaul.dev/cors-max-age", "1h"),
    ];
    let theirs = [
        ("nginx.ingress.kubernetes.io/enable-cors", "true"),
        ("nginx.ingress.kubernetes.io/cors-allow-origin", "https://a.test"),
        ("nginx.ingress.kubernetes.io/cors-max-age", "600"),
    ];
    let all = json!({
        "allowOrigins": ["https://a.test", "https://*.b.test:81", "null"], "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["X-A"], "exposeHeaders": ["X-B"], "allowCredentials": true, "maxAge": "1h",
    });
    let few = json!({"allowOrigins": ["https://a.test"], "allowCredentials": true, "maxAge": "10m"});
    let origins = json!({"allowOrigins": ["https://a.test", "https://*.b.test:81", "null"]});
    one_of(vec![
        said(&own, &[(CORS, all)]),
        said(&own[..1], &[(CORS, origins)]),
        said(&theirs, &[(CORS, few)]),
    ])
}

fn headers() -> Vec<Topic> {
    let (set, add) = ("longhaul.dev/set-request-headers", "longhaul.dev/add-response-headers");
    vec![
        one_of(vec![said(
            &[(set, "X-A: 1, 2\nX-B:")],
            &[("/policy/headers/request/set", json!({"X-A": "1, 2", "X-B": ""}))],
        )]),
        one_of(vec![said(
            &[(add, "Link: <a>")],
            &[("/policy/headers/response/add", json!({"Link": "<a>"}))],
        )]),
        one_of(vec![said(
            &[("longhaul.dev/hsts", "8760h, includeSubdomains, preload")],
            &[("/policy/hsts", json!({"maxAge": "8760h", "includeSubdomains": true, "preload": true}))],
        )]),
    ]
}

fn rewrite() -> Vec<Topic> {
    const HOST: &str = "/policy/rewrite/upstreamHost";
    vec![
        prop_oneof![
            texts("longhaul.dev/rewrite-prefix", "/policy/rewrite/prefix", &["/", "/y", "/a/../b"]),
            texts("longhaul.dev/rewrite-path", "/policy/rewrite/path", &["/", "/y"]),
        ]
        .boxed(),
        prop_oneof![
            texts("longhaul.dev/upstream-host", HOST, &["b.test", "b.test:81"]),
            texts("nginx.ingress.kubernetes.io/upstream-vhost", HOST, &["b.test"]),
        ]
        .boxed(),
    ]
}

fn upstream_tls() -> Topic {
    const TLS: &str = "/policy/upstreamTLS";
    let own = [
        ("longhaul.dev/upstream-protocol", "https"),
        ("longhaul.dev/upstream-ca-secret", "ca"),
        ("longhaul.dev/upstream-server-name", "s.internal"),
        ("longhaul.dev/upstream-client-secret", "ca"),
    ];
    let all =
        json!({"enabled": true, "caSecretName": "ca", "serverName": "s.internal", "clientSecretName": "ca"});
    let plain = said(&[("longhaul.dev/upstream-protocol", "http")], &[(TLS, json!({"enabled": false}))]);
    one_of(vec![
        said(&own[..1], &[(TLS, json!({"enabled": true}))]),
        said(&own[2..3], &[(TLS, json!({"serverName": "s.internal"}))]),
        said(&own, &[(TLS, all)]),
        plain,
    ])
}

/// What a WsRoute says outside of its policy.
fn beside_the_policy() -> Vec<Topic> {
    let suites = "TLS_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    vec![
        one_of(vec![said(
            &[("longhaul.dev/subprotocols", "mqtt, graphql-transport-ws")],
            &[("/rules/0/matches/0/subprotocols", json!(["mqtt", "graphql-transport-ws"]))],
        )]),
        one_of(vec![
            said(
                &[("longhaul.dev/client-ca-secret", "users")],
                &[("/tls/0/clientCertificate", json!({"caSecretName": "users"}))],
            ),
            said(
                &[
                    ("longhaul.dev/client-ca-secret", "users"),
                    ("longhaul.dev/client-certificate", "optional"),
                ],
                &[("/tls/0/clientCertificate", json!({"caSecretName": "users", "mode": "Optional"}))],
            ),
        ]),
        switch("longhaul.dev/websocket-only", "/rules/0/http", |on| json!(!on)),
        texts("longhaul.dev/tls-min-version", "/tls/0/minVersion", &["1.2", "1.3"]),
        one_of(vec![said(
            &[("longhaul.dev/tls-cipher-suites", suites)],
            &[("/tls/0/cipherSuites", json!(suites.split(", ").collect::<Vec<_>>()))],
        )]),
    ]
}

fn topics() -> Vec<Topic> {
    let sizes = |key, texts: &[(&str, &str)]| {
        let each = texts
            .iter()
            .map(|(theirs, ours)| said(&[(key, theirs)], &[("/policy/limits/bodySize", json!(ours))]));
        one_of(each.collect())
    };
    let single = vec![
        load_balancing(),
        auth(),
        cors(),
        upstream_tls(),
        sizes("longhaul.dev/max-body-size", &[("0", "0"), ("512Ki", "512Ki"), ("1k", "1k")]),
        sizes("nginx.ingress.kubernetes.io/proxy-body-size", &[("8m", "8Mi"), ("0", "0")]),
        switch("longhaul.dev/ssl-redirect", "/policy/redirectToTLS", |on| json!(on)),
        prop_oneof![
            switch("longhaul.dev/access-log", "/policy/accessLog", |on| json!(on)),
            switch("nginx.ingress.kubernetes.io/enable-access-log", "/policy/accessLog", |on| json!(on)),
        ]
        .boxed(),
    ];
    [single, timeouts(), affinity(), access(), headers(), rewrite(), beside_the_policy()].concat()
}

/// Everything at once. Of a field that two topics name the last one counts, as of annotations our own does.
fn everything() -> impl Strategy<Value = Said> {
    topics().prop_map(|all| {
        let mut whole = Said::default();
        let (ours, theirs): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|said| said.annotations.iter().all(|(key, _)| key.starts_with(OWN)));
        for Said { annotations, fields } in theirs.into_iter().chain(ours) {
            whole.annotations.extend(annotations);
            whole.fields.extend(fields);
        }
        whole
    })
}

fn ingress(said: &Said) -> Value {
    let annotations: BTreeMap<_, _> = said.annotations.iter().cloned().collect();
    let backend = json!({"service": {"name": "s", "port": {"name": "ws"}}});
    json!({
        "kind": "Ingress", "metadata": {"name": "a", "namespace": "d", "annotations": annotations},
        "spec": {
            "ingressClassName": "longhaul", "tls": [{"hosts": ["a.test"], "secretName": "t"}],
            "rules": [{"host": "a.test", "http": {"paths": [{"path": "/x", "pathType": "Prefix", "backend": backend}]}}],
        },
    })
}

fn ws_route(said: &Said) -> Value {
    let mut spec = json!({
        "ingressClassName": "longhaul", "hosts": ["a.test"], "tls": [{"secretName": "t"}],
        "rules": [{
            "name": "all", "http": true, "matches": [{"path": {"type": "Prefix", "value": "/x"}}],
            "backends": [{"service": "s", "port": "ws"}],
        }],
    });
    for (pointer, value) in &said.fields {
        put(&mut spec, pointer, value.clone());
    }
    json!({
        "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": {"name": "a", "namespace": "d"},
        "spec": spec,
    })
}

fn put(into: &mut Value, pointer: &str, value: Value) {
    let place = pointer.split('/').skip(1).fold(into, |at, key| match at {
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => &mut other[key],
    });
    *place = value;
}

/// What comes of one of them beside the Services and Secrets that it names.
fn translated(route: Value) -> Snapshot {
    let service = |name: &str, port: Value| json!({"kind": "Service", "metadata": {"name": name, "namespace": "d"}, "spec": {"ports": [port]}});
    let users = json!({
        "kind": "Secret", "metadata": {"name": "users", "namespace": "d"},
        "stringData": {"auth": "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="},
    });
    let mut store = Store::default();
    let others =
        [service("s", json!({"name": "ws", "port": 80})), service("auth", json!({"port": 9000})), users];
    for one in others.into_iter().chain([route]) {
        store.apply(Change::Upsert(object(one)));
    }
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    translate(&store, &settings).snapshot
}

/// Every section, with routes that are nobody's.
fn sections(snapshot: &Snapshot) -> Vec<(Key, Section)> {
    let each = snapshot.sections().map(|(key, section)| {
        let mut section = section.unwrap();
        if let Section::Host(host) = &mut section {
            for route in &mut host.routes {
                let owner = snapshot::ObjectRef {
                    kind: String::new(),
                    namespace: String::new(),
                    name: String::new(),
                };
                route.id = snapshot::RouteId { owner, rule: String::new(), matched: String::new() };
                if let snapshot::Action::Broken(why) = &mut route.action {
                    // It names the field.
                    why.clear();
                }
            }
        }
        (key.clone(), section)
    });
    each.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn annotations_and_fields_give_the_same_snapshot(said in everything()) {
        let (ingress, ws_route) = (translated(ingress(&said)), translated(ws_route(&said)));
        prop_assert_eq!(sections(&ingress), sections(&ws_route));
        prop_assert!(ingress.len() > 2, "there is a route");
    }
}

/// A key that is served and missing above would be served without its field.
#[test]
fn every_key_of_ours_is_said_as_a_field_too() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = everything();
    let mut said = BTreeSet::new();
    for _ in 0..400 {
        let one = strategy.new_tree(&mut runner).unwrap();
        said.extend(proptest::strategy::ValueTree::current(&one).annotations.into_iter().map(|(key, _)| key));
    }
    let served = table().filter(|row| matches!(row.support, Support::Served(_)) && row.key.starts_with(OWN));
    let missing: Vec<_> = served.map(|row| row.key).filter(|key| !said.contains(key)).collect();
    assert_eq!(missing, [""; 0], "say these in a topic above, beside the field that means the same");
}

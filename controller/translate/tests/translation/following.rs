//! A translator that follows changes, in a world so small that its objects meet: almost every reference leads
//! somewhere, and every kind of thing comes, changes and goes.

use proptest::prelude::*;
use serde_json::{Value, json};
use translate::{Change, Kind, Object, Settings, Store, Translator, translate};

use crate::manifests::{object, secret};

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(words, 0..=words.len())
}

const HOSTS: &[&str] = &["a.example.com", "b.example.com", "*.example.com"];
const SERVICES: &[&str] = &["one", "two"];

fn metadata(name: &str, created: u8) -> Value {
    json!({"name": name, "namespace": "default", "creationTimestamp": format!("202{created}-01-01T00:00:00Z")})
}

fn ingress() -> impl Strategy<Value = Value> {
    let backend =
        one_of(SERVICES).prop_map(|name| json!({"service": {"name": name, "port": {"number": 80}}}));
    let backend = backend.boxed();
    let paths = proptest::collection::vec((one_of(&["/", "/ws"]), backend.clone()), 0..2);
    let host = proptest::option::of(one_of(HOSTS));
    let rules = proptest::collection::vec((host, paths), 0..3);
    let default = proptest::option::weighted(0.3, backend);
    let tls = proptest::option::weighted(0.5, (some_of(HOSTS), one_of(&["cert", "other"])));
    let authority = proptest::option::weighted(0.4, one_of(&["authority", "other"]));
    (one_of(&["i", "j", "k"]), 1u8..4, rules, default, tls, authority).prop_map(
        |(name, created, rules, default, tls, authority)| {
            let rules = rules.into_iter().map(|(host, paths)| {
                let paths = paths
                    .into_iter()
                    .map(|(path, backend)| json!({"path": path, "pathType": "Prefix", "backend": backend}));
                json!({"host": host, "http": {"paths": paths.collect::<Vec<_>>()}})
            });
            let tls = tls.map(|(hosts, name)| json!([{"hosts": hosts, "secretName": name}]));
            let rules: Vec<_> = rules.collect();
            let spec =
                json!({"ingressClassName": "ours", "rules": rules, "defaultBackend": default, "tls": tls});
            let mut metadata = metadata(name, created);
            metadata["annotations"] =
                json!(authority.map(|name| json!({"longhaul.dev/client-ca-secret": name})));
            json!({"kind": "Ingress", "metadata": metadata, "spec": spec})
        },
    )
}

fn ws_route() -> impl Strategy<Value = Value> {
    let headers = some_of(&["x-a", "x-b"]);
    let matched = (one_of(&["/", "/ws"]), headers).prop_map(|(path, headers)| {
        let headers = headers.into_iter().map(|name| json!({"name": name, "value": "1"}));
        json!({"path": {"value": path}, "headers": headers.collect::<Vec<_>>()})
    });
    let clients = (one_of(&["authority", "other"]), one_of(&["Required", "Optional"]))
        .prop_map(|(name, mode)| json!({"caSecretName": name, "mode": mode}));
    let clients = proptest::option::weighted(0.4, clients);
    let tls = (some_of(HOSTS), proptest::option::of(one_of(&["1.2", "1.3"])), clients);
    let tls = tls.prop_map(|(hosts, version, clients)| {
        json!({"hosts": hosts, "secretName": "cert", "minVersion": version, "clientCertificate": clients})
    });
    let tls = proptest::option::weighted(0.4, tls);
    let wanted = proptest::collection::vec(matched, 0..3);
    (one_of(&["v", "w"]), 1u8..4, some_of(HOSTS), wanted, some_of(SERVICES), tls).prop_map(
        |(name, created, hosts, wanted, services, tls)| {
            let backends = services.into_iter().map(|service| json!({"service": service, "port": 80}));
            let backends: Vec<_> = backends.collect();
            let rules = json!([{"name": "all", "matches": wanted, "backends": backends}]);
            let tls: Vec<_> = tls.into_iter().collect();
            let spec = json!({"ingressClassName": "ours", "hosts": hosts, "tls": tls, "rules": rules});
            let metadata = metadata(name, created);
            json!({"apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": metadata, "spec": spec})
        },
    )
}

fn service() -> impl Strategy<Value = Value> {
    let listed = proptest::option::of(one_of(&["10.0.0.1:80", "10.0.0.2:80", "nowhere"]));
    let port = proptest::option::of(one_of(&["ws", "http"]));
    (one_of(SERVICES), listed, port).prop_map(|(name, listed, port)| {
        let mut metadata = metadata(name, 0);
        metadata["annotations"] = json!(listed.map(|text| json!({"longhaul.dev/addresses": text})));
        json!({"kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": port, "port": 80}]}})
    })
}

/// Some have the name of a Service, as some that list addresses have.
fn slice() -> impl Strategy<Value = Value> {
    let endpoints = some_of(&["10.0.1.1", "10.0.1.2", "bad"]);
    let port = proptest::option::of(one_of(&["ws", "http"]));
    let service = proptest::option::weighted(0.9, one_of(SERVICES));
    (one_of(&["one", "two", "three"]), service, port, endpoints).prop_map(
        |(name, service, port, addresses)| {
            let mut metadata = metadata(name, 0);
            metadata["labels"] = json!(service.map(|name| json!({"kubernetes.io/service-name": name})));
            let endpoints = addresses.into_iter().map(|address| json!({"addresses": [address]}));
            json!({
                "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
                "ports": [{"name": port, "port": 8080}], "endpoints": endpoints.collect::<Vec<_>>(),
            })
        },
    )
}

fn any_object() -> impl Strategy<Value = Object> {
    let secret =
        (one_of(&["cert", "other", "authority"]), any::<bool>()).prop_map(|(name, good)| secret(name, good));
    prop_oneof![
        4 => ingress().prop_map(object),
        3 => ws_route().prop_map(object),
        3 => service().prop_map(object),
        4 => slice().prop_map(object),
        1 => secret,
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let replaced = (proptest::sample::select(&Kind::ALL[..]), proptest::collection::vec(any_object(), 0..6))
        .prop_filter("the class stays", |(kind, _)| *kind != Kind::IngressClass);
    prop_oneof![
        10 => any_object().prop_map(Change::Upsert),
        6 => any_object().prop_map(|object| Change::Delete(object.reference())),
        1 => replaced.prop_map(|(kind, objects)| Change::Replace(kind, objects)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn each_step_equals_a_new_beginning(
        steps in proptest::collection::vec(proptest::collection::vec(change(), 1..3), 1..48),
        local in any::<bool>(),
        default in any::<bool>(),
    ) {
        let default = default.then(|| snapshot::CertificateKey { namespace: "default".into(), secret: "cert".into() });
        let settings =
            Settings { loopback_endpoints: local, default_tls_secret: default, ..Settings::default() };
        let (mut store, mut translator) = (Store::default(), Translator::default());
        let class = json!({
            "kind": "IngressClass", "metadata": {"name": "ours"},
            "spec": {"controller": "longhaul.dev/ingress-controller"},
        });
        store.apply(Change::Upsert(object(class)));
        for (index, step) in steps.iter().enumerate() {
            for change in step {
                store.apply(change.clone());
            }
            let (followed, anew) = (translator.translate(&store, &settings), translate(&store, &settings));
            prop_assert_eq!(followed.snapshot.view(), anew.snapshot.view(), "{}: {:?}", index, step);
            prop_assert_eq!(followed, anew, "{}: {:?}", index, step);
        }
    }
}

/// What does not change is not even copied: snapshots, reports and diagnostics stay the very same.
#[test]
fn a_status_that_is_written_back_changes_nothing() {
    let mut written = json!({
        "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": {"name": "chat"},
        "spec": {"ingressClassName": "ours", "rules": [{"name": "all", "backends": [{"service": "gone", "port": 80}]}]},
    });
    let class = json!({
        "kind": "IngressClass", "metadata": {"name": "ours"},
        "spec": {"controller": "longhaul.dev/ingress-controller"},
    });
    let (mut store, mut translator, settings) =
        (Store::default(), Translator::default(), Settings::default());
    store.apply(Change::Upsert(object(class)));
    store.apply(Change::Upsert(object(written.clone())));
    let before = translator.translate(&store, &settings);
    assert_eq!((before.reports.len(), before.diagnostics.len()), (1, 1));
    written["metadata"]["resourceVersion"] = "2".into();
    written["status"] = json!({"addresses": [{"type": "Hostname", "value": "lb"}]});
    assert!(!store.apply(Change::Upsert(object(written))).is_empty());
    let after = translator.translate(&store, &settings);
    assert!(before.reports.ptr_eq(&after.reports) && before.diagnostics.ptr_eq(&after.diagnostics));
    assert!(before.snapshot.diff(&after.snapshot).is_empty());
}

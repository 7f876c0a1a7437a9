//! Properties of the store and of translation.

use std::collections::BTreeMap;

use crds::diagnostic::ObjectRef;
use proptest::prelude::*;
use serde_json::{Value, json};
use translate::{Change, Kind, Object, Settings, Store, Translator, translate};

use crate::manifests::object;

/// A word from a short list, so that objects meet one another, or now and then anything at all.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![9 => proptest::sample::select(words).prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

/// A word from a short list, where nothing else can be decoded.
fn word_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::sample::select(words).prop_map(Value::from)
}

fn maybe(inner: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    proptest::option::of(inner).prop_map(Option::unwrap_or_default)
}

fn list(inner: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    proptest::collection::vec(inner, 0..3).prop_map(Value::Array)
}

fn name() -> impl Strategy<Value = String> {
    word(&["a", "b", "c"])
}

fn host() -> impl Strategy<Value = Value> {
    word(&["a.example.com", "*.example.com", "B.example.com", "x:80", "", "*"]).prop_map(Value::from)
}

fn path() -> impl Strategy<Value = Value> {
    word(&["/", "/ws", "/ws/", "/a/b", "a", "", "/../x", "/(.*)"]).prop_map(Value::from)
}

fn annotations() -> impl Strategy<Value = Value> {
    let key = word(&[
        "longhaul.dev/idle-timeout",
        "longhaul.dev/allow-cidrs",
        "longhaul.dev/addresses",
        "longhaul.dev/idl-timeout",
        "nginx.ingress.kubernetes.io/proxy-read-timeout",
        "nginx.ingress.kubernetes.io/canary",
        "kubernetes.io/ingress.class",
        "longhaul.dev/subprotocols",
        "longhaul.dev/tls-min-version",
        "longhaul.dev/websocket-only",
        "longhaul.dev/hash-on",
        "longhaul.dev/rewrite-prefix",
        "longhaul.dev/allow-origins",
        "nginx.ingress.kubernetes.io/denylist-source-range",
        "nginx.ingress.kubernetes.io/use-regex",
        "nginx.ingress.kubernetes.io/rewrite-target",
        "nginx.ingress.kubernetes.io/permanent-redirect",
        "nginx.ingress.kubernetes.io/enable-cors",
        "longhaul.dev/set-request-headers",
        "longhaul.dev/client-ca-secret",
        "nginx.ingress.kubernetes.io/auth-tls-secret",
        "longhaul.dev/affinity-cookie",
        "nginx.ingress.kubernetes.io/affinity",
        "nginx.ingress.kubernetes.io/session-cookie-path",
        "nginx.ingress.kubernetes.io/custom-headers",
    ]);
    let value = word(&[
        "1h",
        "a/b",
        "a/c",
        "60",
        "0",
        "true",
        "ours",
        "",
        "1.3",
        "a,b",
        "path",
        "/x",
        "10.0.0.1:80,[::1]:81,x",
        "10.0.0.1, ::/0",
        "SameHost",
        "/$1",
        "https://a.test/",
        "X-A: 1",
        "cookie",
    ]);
    proptest::collection::btree_map(key, value, 0..3).prop_map(|map| json!(map))
}

fn metadata() -> impl Strategy<Value = Value> {
    let created =
        proptest::option::of(proptest::sample::select(&["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]));
    (name(), name(), created, annotations(), name()).prop_map(|(name, namespace, created, annotations, service)| {
        json!({
            "name": name, "namespace": namespace, "creationTimestamp": created, "annotations": annotations,
            "labels": {"kubernetes.io/service-name": service},
        })
    })
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!(80)), Just(json!("ws")), Just(json!("80")), any::<i32>().prop_map(Value::from)]
}

fn ingress_backend() -> impl Strategy<Value = Value> {
    let port = prop_oneof![
        Just(json!({"number": 80})),
        Just(json!({"name": "ws"})),
        Just(json!({})),
        any::<i32>().prop_map(|number| json!({"number": number})),
    ];
    prop_oneof![
        4 => (name(), port).prop_map(|(name, port)| json!({"service": {"name": name, "port": port}})),
        1 => Just(json!({"resource": {"kind": "Bucket", "name": "x"}})),
        1 => Just(json!({})),
    ]
}

fn ingress() -> impl Strategy<Value = Value> {
    let kind = word(&["Exact", "Prefix", "ImplementationSpecific"]);
    let one_path = (maybe(path()), kind, ingress_backend())
        .prop_map(|(path, kind, backend)| json!({"path": path, "pathType": kind, "backend": backend}));
    let http = maybe(list(one_path).prop_map(|paths| json!({"paths": paths})));
    let rule = (maybe(host()), http).prop_map(|(host, http)| json!({"host": host, "http": http}));
    let tls = (list(host()), maybe(name().prop_map(Value::from)))
        .prop_map(|(hosts, secret)| json!({"hosts": hosts, "secretName": secret}));
    (metadata(), class(), list(rule), list(tls), maybe(ingress_backend())).prop_map(
        |(metadata, class, rules, tls, backend)| {
            let spec =
                json!({"ingressClassName": class, "rules": rules, "tls": tls, "defaultBackend": backend});
            json!({"kind": "Ingress", "metadata": metadata, "spec": spec})
        },
    )
}

fn class() -> impl Strategy<Value = Value> {
    maybe(word(&["ours", "ours", "theirs", "nowhere"]).prop_map(Value::from))
}

fn ws_route() -> impl Strategy<Value = Value> {
    let value = || {
        let kind = proptest::sample::select(&["Exact", "Prefix", "Regex"]);
        (word(&["X-A", "x-a", "x-b", "a b"]), kind, word(&["1", "2", "("]))
            .prop_map(|(name, kind, value)| json!({"name": name, "type": kind, "value": value}))
    };
    let subprotocol = word(&["a", "b", "a b"]).prop_map(Value::from);
    let clients = list(word(&["10.0.0.0/8", "::1", "x"]).prop_map(Value::from));
    let lists = (list(subprotocol), clients);
    let matched = (proptest::bool::weighted(0.2), path(), list(value()), list(value()), lists);
    let condition = matched.prop_map(|(exact, path, headers, query, (subprotocols, clients))| {
        let kind = if exact { "Exact" } else { "Prefix" };
        let path = json!({"type": kind, "value": path});
        json!({
            "path": path, "headers": headers, "queryParams": query, "subprotocols": subprotocols,
            "clientCIDRs": clients,
        })
    });
    let backend = (name(), port(), maybe((-1..3).prop_map(Value::from)))
        .prop_map(|(service, port, weight)| json!({"service": service, "port": port, "weight": weight}));
    let duration = word(&["5s", "0s", "bad"]).prop_map(Value::from);
    let hash_on = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        word(&["X-A", "a b"]).prop_map(|name| json!({"header": name})),
        Just(json!({"path": {}})),
    ];
    let rewrite = maybe(word(&["/x", "x"]).prop_map(Value::from));
    let size = maybe(word(&["1k", "0", "many"]).prop_map(Value::from));
    let allow = maybe(list(word(&["10.0.0.0/8", "::1", "x"]).prop_map(Value::from)));
    let size = (size, allow);
    let settings = (maybe(duration), hash_on, rewrite, size, any::<Option<bool>>(), any::<Option<bool>>());
    let policy = maybe(settings.prop_map(|(idle, hash_on, prefix, (size, allow), redirect, log)| {
        json!({
            "timeouts": {"idle": idle}, "loadBalancing": {"hashOn": hash_on}, "rewrite": {"prefix": prefix},
            "limits": {"bodySize": size}, "redirectToTLS": redirect, "accessLog": log, "access": {"allow": allow},
        })
    }));
    let rule = (name(), list(condition), any::<bool>(), list(backend), policy).prop_map(
        |(name, matches, http, backends, policy)| {
            json!({"name": name, "matches": matches, "http": http, "backends": backends, "policy": policy})
        },
    );
    let suite = word_of(&["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    let version = maybe(word_of(&["1.2", "1.3"]));
    let tls = (list(host()), maybe(name().prop_map(Value::from)), version, list(suite)).prop_map(
        |(hosts, secret, version, suites)| {
            json!({"hosts": hosts, "secretName": secret, "minVersion": version, "cipherSuites": suites})
        },
    );
    (metadata(), class(), list(host()), list(tls), list(rule)).prop_map(|(metadata, class, hosts, tls, rules)| {
        let spec = json!({"ingressClassName": class, "hosts": hosts, "tls": tls, "rules": rules});
        json!({"apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": metadata, "spec": spec})
    })
}

fn service() -> impl Strategy<Value = Value> {
    let protocol = maybe(word(&["TCP", "UDP"]).prop_map(Value::from));
    let port =
        (maybe(word(&["ws", ""]).prop_map(Value::from)), prop_oneof![Just(80), any::<i32>()], protocol)
            .prop_map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}));
    let kind = maybe(word(&["ClusterIP", "ExternalName"]).prop_map(Value::from));
    (metadata(), kind, list(port)).prop_map(
        |(metadata, kind, ports)| json!({"kind": "Service", "metadata": metadata, "spec": {"type": kind, "ports": ports}}),
    )
}

fn endpoint_slice() -> impl Strategy<Value = Value> {
    let flag = || maybe(any::<bool>().prop_map(Value::from));
    let address = word(&["10.0.0.1", "10.0.0.2", "127.0.0.1", "fe80::1", "::ffff:127.0.0.1", "nonsense"]);
    let endpoint = (list(address.prop_map(Value::from)), flag(), flag(), flag()).prop_map(
        |(addresses, ready, serving, terminating)| {
            let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
            json!({"addresses": addresses, "conditions": conditions})
        },
    );
    let number = maybe(prop_oneof![Just(8080), any::<i32>()].prop_map(Value::from));
    let port = (maybe(word(&["ws", ""]).prop_map(Value::from)), number)
        .prop_map(|(name, port)| json!({"name": name, "port": port}));
    (metadata(), word(&["IPv4", "IPv6", "FQDN"]), list(endpoint), list(port)).prop_map(
        |(metadata, kind, endpoints, ports)| {
            json!({
                "kind": "EndpointSlice", "metadata": metadata, "addressType": kind, "endpoints": endpoints,
                "ports": ports,
            })
        },
    )
}

fn secret() -> impl Strategy<Value = Value> {
    let text = word(&["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN"]);
    let key = word(&["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]);
    let kind = maybe(word(&["kubernetes.io/tls", "Opaque"]).prop_map(Value::from));
    (metadata(), kind, text, key).prop_map(|(metadata, kind, text, key)| {
        json!({"kind": "Secret", "metadata": metadata, "type": kind, "stringData": {"tls.crt": text, "tls.key": key}})
    })
}

fn config_map() -> impl Strategy<Value = Value> {
    let key = word(&["X-A", "X-B", "Connection"]);
    (metadata(), key, word(&["1", "$x"])).prop_map(
        |(metadata, key, text)| json!({"kind": "ConfigMap", "metadata": metadata, "data": {key: text}}),
    )
}

fn ingress_class() -> impl Strategy<Value = Value> {
    let default = proptest::bool::ANY.prop_map(|default| default.to_string());
    let controller = word(&["longhaul.dev/ingress-controller", "example.com/other"]);
    (word(&["ours", "theirs"]), default, controller).prop_map(|(name, default, controller)| {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": default});
        let metadata = json!({"name": name, "annotations": annotations});
        json!({"kind": "IngressClass", "metadata": metadata, "spec": {"controller": controller}})
    })
}

/// What classes say of their routes, sound or not, and classes that name it.
fn class_settings() -> impl Strategy<Value = Object> {
    let access = prop_oneof![Just(json!(["10.0.0.0/8"])), Just(json!(["x"]))];
    let ownership = proptest::sample::select(&["Shared", "Namespace"]);
    let secret = maybe(name().prop_map(|name| json!({"basic": {"secretName": name}})));
    let policy = (access, ownership, secret).prop_map(|(allow, ownership, auth)| {
        let spec = json!({
            "defaults": {"limits": {"bodySize": "1k"}, "auth": auth}, "overrides": {"access": {"allow": allow}},
            "hostOwnership": ownership,
        });
        json!({
            "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsPolicy",
            "metadata": {"name": "p", "namespace": "a"}, "spec": spec,
        })
    });
    let named = prop_oneof![
        3 => Just(json!({
            "apiGroup": "longhaul.dev", "kind": "WsPolicy", "name": "p", "namespace": "a", "scope": "Namespace",
        })),
        1 => Just(json!({"kind": "Other", "name": "p"})),
        1 => Just(Value::Null),
    ];
    let class = named.prop_map(|parameters| {
        let spec = json!({"controller": "longhaul.dev/ingress-controller", "parameters": parameters});
        json!({"kind": "IngressClass", "metadata": {"name": "ours"}, "spec": spec})
    });
    prop_oneof![3 => policy, 1 => class].prop_map(object)
}

fn any_object() -> impl Strategy<Value = Object> {
    prop_oneof![
        4 => ingress(),
        3 => ws_route(),
        3 => service(),
        3 => endpoint_slice(),
        1 => secret(),
        1 => config_map(),
        1 => ingress_class(),
    ]
    .prop_map(object)
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let ours = json!({
        "kind": "IngressClass", "metadata": {"name": "ours"},
        "spec": {"controller": "longhaul.dev/ingress-controller"},
    });
    proptest::collection::vec(any_object(), 0..24).prop_map(move |mut objects| {
        objects.insert(0, object(ours.clone()));
        objects
    })
}

/// Changes of one or a few objects at once: versions that follow one another, deletions, and now and then a whole kind
/// anew.
fn steps() -> impl Strategy<Value = Vec<Vec<Change>>> {
    // A policy that goes leaves a trace, so it is here only.
    let any_object = || prop_oneof![8 => any_object().boxed(), 1 => class_settings().boxed()].boxed();
    let gone = any_object().prop_map(|object| Change::Delete(object.reference()));
    let on_demand = || proptest::sample::select(&[Kind::Secret, Kind::ConfigMap]);
    let absent = (on_demand(), name(), name())
        .prop_map(|(kind, namespace, name)| Change::Absent(ObjectRef::new(kind.as_str(), namespace, name)));
    let demand = prop_oneof![3 => absent, 1 => on_demand().prop_map(Change::OnDemand)];
    let kind = proptest::sample::select(&Kind::ALL);
    let replaced = (kind, proptest::collection::vec(any_object(), 0..12))
        .prop_map(|(kind, objects)| Change::Replace(kind, objects));
    let change =
        prop_oneof![12 => any_object().prop_map(Change::Upsert), 4 => gone, 1 => replaced, 1 => demand];
    let step = proptest::collection::vec(change, 1..4);
    let first = objects().prop_map(|objects| objects.into_iter().map(Change::Upsert).collect());
    (first, proptest::collection::vec(step, 0..24)).prop_map(|(first, mut steps): (Vec<_>, Vec<_>)| {
        steps.insert(0, first);
        steps
    })
}

/// Of several versions of an object the last one.
fn last_versions(objects: Vec<Object>) -> Vec<Object> {
    let by_name: BTreeMap<_, _> = objects.into_iter().map(|object| (object.reference(), object)).collect();
    by_name.into_values().collect()
}

fn store(objects: &[Object]) -> Store {
    let mut store = Store::default();
    for object in objects {
        store.apply(Change::Upsert(object.clone()));
    }
    store
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(local, built_in, default)| Settings {
        loopback_endpoints: local,
        built_in_class: built_in.then(|| "longhaul".into()),
        default_tls_secret: default
            .then(|| snapshot::CertificateKey { namespace: "a".into(), secret: "b".into() }),
        ..Settings::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_order_of_changes_does_not_matter(
        (straight, shuffled) in objects().prop_map(last_versions)
            .prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())),
        settings in settings(),
    ) {
        let (a, b) = (translate(&store(&straight), &settings), translate(&store(&shuffled), &settings));
        prop_assert_eq!(a.snapshot.digest(), b.snapshot.digest());
        prop_assert_eq!(a, b);
    }

    /// However a store came to be what it is, a translator that followed every step of it says the same as one that
    /// sees the last one only.
    #[test]
    fn following_equals_starting_anew(steps in steps(), settings in settings(), other in settings()) {
        let (mut store, mut translator) = (Store::default(), Translator::default());
        for (index, step) in steps.iter().enumerate() {
            for change in step {
                store.apply(change.clone());
            }
            // Now and then with other settings, which are as good as a new beginning.
            let settings = if index % 16 == 15 { &other } else { &settings };
            let (followed, anew) = (translator.translate(&store, settings), translate(&store, settings));
            prop_assert_eq!(followed.snapshot.digest(), anew.snapshot.digest(), "{}: {:?}", index, step);
            prop_assert_eq!(followed, anew, "{}: {:?}", index, step);
        }
    }

    #[test]
    fn a_replaced_kind_equals_its_upserts(objects in objects(), before in objects(), settings in settings()) {
        let mut replaced = store(&before);
        for kind in Kind::ALL {
            let of_kind = objects.iter().filter(|object| object.kind() == kind).cloned().collect();
            replaced.apply(Change::Replace(kind, of_kind));
        }
        let upserted = store(&objects);
        prop_assert!(replaced.objects().eq(upserted.objects()));
        prop_assert_eq!(translate(&replaced, &settings), translate(&upserted, &settings));
    }

    #[test]
    fn what_is_deleted_leaves_no_trace(objects in objects(), more in objects(), settings in settings()) {
        let mut walked = store(&objects);
        let kept: Vec<ObjectRef> = walked.objects().collect();
        let gone: Vec<_> = more.into_iter().filter(|object| !kept.contains(&object.reference())).collect();
        for object in &gone {
            walked.apply(Change::Upsert(object.clone()));
        }
        for object in &gone {
            walked.apply(Change::Delete(object.reference()));
        }
        prop_assert_eq!(translate(&walked, &settings), translate(&store(&objects), &settings));
    }

    /// One object's backends and certificates may be as bad as they like: what others have stays as it is.
    #[test]
    fn every_route_is_reachable_and_every_upstream_used(objects in objects(), settings in settings()) {
        let outcome = translate(&store(&objects), &settings);
        let (mut routes, mut used, mut upstreams) = (0, Vec::new(), Vec::new());
        for (key, section) in outcome.snapshot.sections() {
            match section.unwrap() {
                snapshot::Section::Host(host) => {
                    let rank = |route: &snapshot::Route| match &route.path {
                        snapshot::PathMatch::Exact(_) => (0, 0),
                        // The fallback comes last, whatever else there is.
                        _ if route.id.rule == "defaultBackend" => (usize::MAX, 1),
                        snapshot::PathMatch::Prefix(path) => (usize::MAX - path.len(), 0),
                        snapshot::PathMatch::Regex(_) => (usize::MAX - route.path.literal().len(), 1),
                    };
                    prop_assert!(host.routes.is_sorted_by_key(rank), "{}", key);
                    // Of one path, who asks for more comes first, and nothing comes after what takes everything.
                    let (defaults, rules): (Vec<_>, Vec<_>) =
                        host.routes.iter().partition(|route| route.id.rule == "defaultBackend");
                    let matches: std::collections::BTreeSet<_> =
                        rules.iter().map(|route| (&route.path, &route.conditions)).collect();
                    prop_assert_eq!(matches.len(), rules.len(), "{}", key);
                    for two in rules.windows(2).filter(|two| two[0].path == two[1].path) {
                        prop_assert!(two[0].conditions.count() >= two[1].conditions.count(), "{}", key);
                    }
                    prop_assert!(defaults.len() <= 2, "{}", key);
                    let everything = |route: &snapshot::Route| {
                        route.path == snapshot::PathMatch::Prefix("/".into()) && route.conditions.count() == 0
                    };
                    let first = host.routes.iter().position(everything);
                    prop_assert!(first.is_none_or(|first| first + 1 == host.routes.len()), "{}", key);
                    routes += host.routes.len();
                    for route in host.routes {
                        if let snapshot::Action::Forward(forward) = route.action {
                            let backends = &forward.backends;
                            prop_assert!(backends.iter().any(|one| one.weight > 0));
                            used.extend(forward.upstreams().cloned());
                        }
                    }
                }
                snapshot::Section::Endpoints(_) => {
                    let snapshot::Key::Endpoints(upstream, _) = key else { unreachable!() };
                    upstreams.push(upstream.clone());
                }
                _ => {}
            }
        }
        prop_assert!(upstreams.iter().all(|upstream| used.contains(upstream)));
        let reported: usize = outcome.reports.values().map(|report| report.routes).sum();
        prop_assert_eq!(routes, reported);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a young Ingress has in it, hosts that it does not name keep the routes of others as they were.
    #[test]
    fn one_object_costs_itself_only(objects in objects(), young in ingress(), settings in settings()) {
        let mut young = young;
        young["metadata"]["namespace"] = "young".into();
        young["metadata"]["creationTimestamp"] = "2030-01-01T00:00:00Z".into();
        young["spec"]["ingressClassName"] = "ours".into();
        // These are meant for hosts that the object does not name.
        young["spec"]["tls"] = Value::Null;
        young["spec"]["defaultBackend"] = Value::Null;
        let before = translate(&store(&objects), &settings);
        let after = translate(&store(&[&objects[..], &[object(young)]].concat()), &settings);
        let reports = after.reports.iter().filter(|(object, _)| object.namespace == "young");
        let named: Vec<_> = reports.flat_map(|(_, report)| &report.hosts).cloned().collect();
        let others = |snapshot: &snapshot::Snapshot, key: &snapshot::Key| match snapshot.section(key) {
            Some(Ok(snapshot::Section::Host(mut host))) => {
                host.routes.retain(|route| route.id.owner.namespace != "young" && route.id.rule != "defaultBackend");
                Some(host)
            }
            _ => None,
        };
        // A host that others name for its certificate alone is served by the most specific pattern that covers it,
        // which may be the young one's.
        let lent = |key: &snapshot::Key| match key {
            snapshot::Key::Host(snapshot::HostPattern::Exact(name)) => {
                let wildcard = name.split_once('.').map(|(_, suffix)| snapshot::HostPattern::Wildcard(suffix.into()));
                let covered = wildcard.as_ref().is_some_and(|wildcard| named.contains(&wildcard.to_string()));
                let patterns = wildcard.into_iter().chain([snapshot::HostPattern::Any]);
                let lenders: Vec<_> =
                    patterns.filter_map(|host| others(&before.snapshot, &snapshot::Key::Host(host))).collect();
                let routes = others(&before.snapshot, key).map(|host| host.routes).unwrap_or_default();
                let borrowed = |route: &snapshot::Route| {
                    lenders.iter().flat_map(|lender| &lender.routes).any(|other| other.id == route.id)
                };
                covered && routes.iter().all(borrowed)
            }
            _ => false,
        };
        for (key, _) in before.snapshot.iter() {
            match key {
                snapshot::Key::Host(host) if named.contains(&host.to_string()) => {}
                snapshot::Key::Host(_) if lent(key) => {}
                snapshot::Key::Host(_) => {
                    prop_assert_eq!(others(&before.snapshot, key), others(&after.snapshot, key), "{}", key);
                }
                snapshot::Key::Certificate(_) | snapshot::Key::Listener(_) | snapshot::Key::AffinityKey => {
                    prop_assert_eq!(before.snapshot.encoded(key), after.snapshot.encoded(key), "{}", key);
                }
                snapshot::Key::Endpoints(..) => {}
            }
        }
    }
}

#[test]
fn a_store_says_what_a_change_touched() {
    let named = |name: &str| object(json!({"kind": "Service", "metadata": {"name": name}}));
    let (a, b) = (named("a"), named("b"));
    let of_b = b.reference();
    let mut store = Store::default();
    let mut touched =
        |change| store.apply(change).objects.into_iter().map(|object| object.name).collect::<Vec<_>>();
    assert_eq!(touched(Change::Upsert(a.clone())), ["a"]);
    assert_eq!(touched(Change::Upsert(named("a"))), [""; 0]);
    assert_eq!(touched(Change::Replace(Kind::Service, vec![named("a")])), [""; 0]);
    assert_eq!(touched(Change::Replace(Kind::Service, vec![a, b.clone()])), ["b"]);
    assert_eq!(touched(Change::Replace(Kind::Service, vec![b])), ["a"]);
    assert_eq!(touched(Change::Delete(of_b.clone())), ["b"]);
    assert_eq!(touched(Change::Delete(of_b)), [""; 0]);
    assert_eq!(touched(Change::Delete(ObjectRef::new("Pod", "default", "a"))), [""; 0]);
}

#[test]
fn a_store_is_synced_when_every_kind_was_once() {
    let mut store = Store::default();
    for kind in Kind::ALL {
        assert!(!store.synced());
        assert!(store.apply(Change::Synced(kind)).synced);
        assert!(store.apply(Change::Synced(kind)).is_empty());
    }
    assert!(store.synced());
}

#[test]
fn a_secret_shows_in_no_debug_form() {
    let secret =
        object(json!({"kind": "Secret", "metadata": {"name": "a"}, "stringData": {"tls.key": "hush"}}));
    assert_eq!(format!("{:?}", Change::Upsert(secret.clone())), "Upsert(Secret default/a)");
    assert!(!format!("{:?}", store(&[secret])).contains("104"));
}

//! What translation costs at the size that we promise: 10,000 Ingresses, each with a host, a path, a certificate for
//! every hundredth, and a Service of its own with one slice of five endpoints; first bare, then with a policy for each.
//!
//! `cargo run --release -p translate --example scale`

// A program for one's own terminal: it says what it finds, and stops at what cannot be.
#![allow(clippy::unwrap_used, clippy::disallowed_types)]

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use translate::{Change, Object, Settings, Store, Translator, translate};

const INGRESSES: usize = 10_000;

/// Each kind of change is made so often, at Ingresses far apart.
const ROUNDS: usize = 200;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("bare") => run(Policies::None),
        Some("policies") => run(Policies::Each),
        // A process for each, so that none is given the memory that the other had.
        _ => {
            for what in ["bare", "policies"] {
                println!("{INGRESSES} Ingresses, {what}:");
                let mut each = std::process::Command::new(std::env::current_exe().unwrap());
                assert!(each.arg(what).status().unwrap().success(), "{what}");
            }
        }
    }
}

/// What the Ingresses say besides hosts and backends.
#[derive(Clone, Copy)]
enum Policies {
    None,
    /// Each has a dozen annotations, as after years in a company.
    Each,
}

fn run(policies: Policies) {
    let before = resident();
    let mut store = Store::default();
    store.apply(Change::Upsert(Object::IngressClass(read(json!({
        "metadata": {"name": "longhaul"}, "spec": {"controller": "longhaul.dev/ingress-controller"},
    })))));
    for index in 0..INGRESSES {
        store.apply(Change::Upsert(ingress(index, "/ws", policies)));
        store.apply(Change::Upsert(service(index)));
        store.apply(Change::Upsert(slice(index, 0)));
    }
    for index in 0..INGRESSES / 100 {
        store.apply(Change::Upsert(secret(index, &pair())));
    }
    let held = resident();
    println!("  objects: {} MiB", held.saturating_sub(before) >> 20);
    let (mut translator, settings) = (Translator::default(), Settings::default());
    let begun = Instant::now();
    let outcome = translator.translate(&store, &settings);
    println!("  from scratch: {:?}, {} sections", begun.elapsed(), outcome.snapshot.len());
    println!("  memory of translation and snapshot: {} MiB", resident().saturating_sub(held) >> 20);
    assert!(outcome.diagnostics.is_empty(), "{:?}", outcome.diagnostics.iter().next());
    let mut last = outcome.snapshot;
    let mut show = |name: &str, changes: &mut dyn FnMut(usize) -> Object| {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let object = changes(round);
            let begun = Instant::now();
            store.apply(Change::Upsert(object));
            let outcome = translator.translate(&store, &settings);
            // What a proxy would be sent.
            let delta = last.diff(&outcome.snapshot);
            times.push(begun.elapsed());
            assert!((1..=2).contains(&(delta.changed.len() + delta.gone.len())), "{name}: {delta:?}");
            last = outcome.snapshot;
        }
        times.sort();
        println!("  {name}: median {:?}, 99 % below {:?}", times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    };
    let spread = |round: usize| round * 47 % INGRESSES;
    show("one endpoint change", &mut |round| slice(spread(round), round + 1));
    show("one edited Ingress", &mut |round| ingress(spread(round), &format!("/v{round}"), policies));
    show("one new Ingress", &mut |round| ingress(INGRESSES + round, "/ws", policies));
    show("one edited Service", &mut |round| service_of(spread(round), &format!("p{round}")));
    show("one rotated Secret", &mut |round| secret(round % (INGRESSES / 100), &pair()));
    // What was followed is what one would have found.
    let (followed, anew) = (translator.translate(&store, &settings), translate(&store, &settings));
    assert_eq!(followed.snapshot.digest(), anew.snapshot.digest());
    assert_eq!(followed, anew);
}

/// The memory that this process holds, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn pair() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

fn secret(index: usize, (chain, key): &(String, String)) -> Object {
    let bytes = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let mut secret = k8s_openapi::api::core::v1::Secret::default();
    secret.metadata.name = Some(format!("tls-{index}"));
    secret.metadata.namespace = Some("default".into());
    secret.type_ = Some("kubernetes.io/tls".into());
    secret.data = Some([("tls.crt".to_owned(), bytes(chain)), ("tls.key".to_owned(), bytes(key))].into());
    Object::Secret(Arc::new(secret))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn annotations(index: usize) -> Value {
    json!({
        "longhaul.dev/idle-timeout": "2h",
        "longhaul.dev/hash-on": "query:room",
        "longhaul.dev/allow-cidrs": format!("10.{}.0.0/16, 192.168.0.0/16, 2001:db8::/32", index % 250),
        "longhaul.dev/allow-origins": "SameHost, https://*.example.com",
        "longhaul.dev/set-request-headers": format!("X-Tenant: t{index}"),
        "longhaul.dev/add-response-headers": "X-Frame-Options: DENY\nX-Content-Type-Options: nosniff",
        "longhaul.dev/auth-service": format!("s{index}:80/check"),
        "longhaul.dev/auth-response-headers": "X-User, X-Groups",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
        "nginx.ingress.kubernetes.io/enable-cors": "true",
        "nginx.ingress.kubernetes.io/cors-allow-origin": "https://app.example.com, https://*.example.org",
        "nginx.ingress.kubernetes.io/proxy-body-size": "8m",
    })
}

fn ingress(index: usize, path: &str, policies: Policies) -> Object {
    let annotations = match policies {
        Policies::None => Value::Null,
        Policies::Each => annotations(index),
    };
    let host = format!("h{index}.example.com");
    let tls = json!([{"hosts": [host], "secretName": format!("tls-{}", index / 100)}]);
    let port = json!({"number": 80});
    let backend = json!({"service": {"name": format!("s{index}"), "port": port}});
    Object::Ingress(read(json!({
        "metadata": {
            "name": format!("i{index}"), "namespace": "default", "creationTimestamp": "2025-01-01T00:00:00Z",
            "annotations": annotations,
        },
        "spec": {
            "ingressClassName": "longhaul",
            "tls": if index.is_multiple_of(100) { tls } else { Value::Null },
            "rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}],
        },
    })))
}

fn service(index: usize) -> Object {
    service_of(index, "ws")
}

fn service_of(index: usize, port: &str) -> Object {
    Object::Service(read(json!({
        "metadata": {"name": format!("s{index}"), "namespace": "default"},
        "spec": {"ports": [{"port": 80, "name": port}]},
    })))
}

fn slice(index: usize, round: usize) -> Object {
    let first = if round == 0 { 0 } else { 5 + round * 5 % 200 };
    let endpoints = (0..5).map(|nth| {
        let address = format!("10.{}.{}.{}", index / 250, index % 250, nth + first);
        json!({"addresses": [address], "conditions": {"ready": true}})
    });
    Object::EndpointSlice(read(json!({
        "metadata": {
            "name": format!("s{index}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("s{index}")},
        },
        "addressType": "IPv4",
        "ports": [{"name": "ws", "port": 8080}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })))
}

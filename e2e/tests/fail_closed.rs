//! Every annotation that is read, with a value that does not read or that leads nowhere: what was to keep somebody out
//! closes its route and no other, the rest is served with its default, and each is told by key, value and remedy.
//!
//! The keys come from the table, so that a new one is asked as soon as it is there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crds::annotations::{Annotation, Inert, Support, table};
use e2e::backend::demo::DemoBackend;
use e2e::objects::Ingress;
use e2e::world::World;
use serde_json::Value;

const HOST: &str = "app.example.com";

/// No key takes this: it has two lines, and there is no such flag, number, address, name or duration.
const MALFORMED: &str = "no {such}\nvalue \u{e4}";

/// An Ingress of which this does not read is left out, which has a test of its own.
const OTHERWISE: &[&str] = &["nginx.ingress.kubernetes.io/canary"];

/// References to what is not there, each with what its annotation needs beside it.
const NOWHERE: &[&[(&str, &str)]] = &[
    &[("longhaul.dev/auth-service", "nobody:80/check")],
    &[("longhaul.dev/auth-basic-secret", "nobody")],
    &[("longhaul.dev/upstream-ca-secret", "nobody")],
    &[("longhaul.dev/upstream-client-secret", "nobody")],
    &[("longhaul.dev/client-ca-secret", "nobody")],
    &[("nginx.ingress.kubernetes.io/auth-tls-secret", "default/nobody")],
    &[
        ("nginx.ingress.kubernetes.io/proxy-ssl-secret", "default/nobody"),
        ("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-verify", "on"),
    ],
    &[
        ("nginx.ingress.kubernetes.io/auth-secret", "nobody"),
        ("nginx.ingress.kubernetes.io/auth-type", "basic"),
    ],
    &[
        ("nginx.ingress.kubernetes.io/auth-proxy-set-headers", "nobody"),
        ("nginx.ingress.kubernetes.io/auth-url", "http://127.0.0.1:9/"),
    ],
];

/// The host of the Ingress that tries a setting.
fn host(number: usize) -> String {
    format!("k{number}.example.com")
}

fn read() -> impl Iterator<Item = &'static Annotation> {
    table().filter(|row| !OTHERWISE.contains(&row.key))
}

/// Snippets of nginx's configuration, of which those close that contain what keeps somebody out.
const SNIPPETS: &[&str] = &[
    "nginx.ingress.kubernetes.io/configuration-snippet",
    "nginx.ingress.kubernetes.io/server-snippet",
    "nginx.ingress.kubernetes.io/stream-snippet",
];

/// Whether a row closes its route, be it served or not: one that asks for nothing does not.
fn closes(row: &Annotation) -> bool {
    row.security && !matches!(row.inert, Inert::Always) && !SNIPPETS.contains(&row.key)
}

fn ingresses<'a>(settings: impl Iterator<Item = &'a [(&'a str, &'a str)]>) -> String {
    let objects = settings.enumerate().map(|(number, setting)| {
        let ingress = Ingress::new(&format!("k{number}"), &host(number)).path("/", "backend");
        setting.iter().fold(ingress, |ingress, (key, value)| ingress.annotation(key, value)).yaml()
    });
    objects.collect::<Vec<_>>().join("---\n")
}

/// The diagnostics of an Ingress that name the key; each has a remedy.
fn told(diagnostics: &Value, number: usize, key: &str) -> Vec<String> {
    let of = |one: &&Value| {
        let field = one["field"].as_str().unwrap_or_default();
        one["object"]["name"] == format!("k{number}") && field.contains(&format!("[{key}]"))
    };
    let list = diagnostics.as_array().unwrap().iter().filter(of);
    let list = list.filter(|one| one["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
    list.map(|one| one["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_value_that_does_not_read_closes_what_was_to_keep_out_and_nothing_else() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let rows: Vec<_> = read().collect();
    let settings: Vec<_> = rows.iter().map(|row| [(row.key, MALFORMED)]).collect();
    let objects = ingresses(settings.iter().map(<[_; 1]>::as_slice));
    let world = World::plan().site(HOST, blue.address()).file("tried.yaml", objects).start().await.unwrap();
    let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let status = world.plain(&host(number)).unwrap().get("/whoami").await.unwrap().status;
        let wanted = if closes(row) { 503 } else { 200 };
        if status != wanted {
            wrong.push(format!("{}: {status}, not {wanted}", row.key));
        }
        let told = told(&diagnostics, number, row.key);
        let named = told.iter().any(|message| message.contains("no {such}"));
        if !named {
            wrong.push(format!("{}: it and its value are not told of: {told:?}", row.key));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let closed = rows.iter().filter(|row| matches!(row.support, Support::Served(_)) && closes(row)).count();
    assert!(closed >= 15, "{closed} settings that are served keep somebody out");
    assert_eq!(world.tls(HOST).unwrap().get("/whoami").await.unwrap().status, 200, "the neighbour");
}

#[tokio::test]
async fn a_reference_that_leads_nowhere_closes_its_route_and_nothing_else() {
    let served = table().filter(|row| matches!(row.support, Support::Served(_)) && row.security);
    let refers =
        |key: &&str| ["-secret", "-service", "-proxy-set-headers"].iter().any(|end| key.ends_with(end));
    for key in served.map(|row| row.key).filter(refers) {
        assert!(NOWHERE.iter().any(|setting| setting[0].0 == key), "{key} refers to something: add it here");
    }
    let blue = DemoBackend::start("blue").await.unwrap();
    let objects = ingresses(NOWHERE.iter().copied());
    let world = World::plan().site(HOST, blue.address()).file("tried.yaml", objects).start().await.unwrap();
    let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
    for (number, setting) in NOWHERE.iter().enumerate() {
        let key = setting[0].0;
        let status = world.plain(&host(number)).unwrap().get("/whoami").await.unwrap().status;
        assert_eq!(status, 503, "{key}");
        let told = told(&diagnostics, number, key);
        assert!(told.iter().any(|message| message.contains("nobody")), "{key}: {told:?}\n{diagnostics:#}");
    }
    assert_eq!(world.tls(HOST).unwrap().get("/whoami").await.unwrap().status, 200, "the neighbour");
}

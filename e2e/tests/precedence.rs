//! Which path and which host win, asked with real requests: the tables of the Kubernetes documentation's page on
//! Ingress ("Path types", "Multiple matches", "Hostname wildcards") row by row, and what conditions of a WsRoute add.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;

use e2e::backend::demo::DemoBackend;
use e2e::objects::backend;
use e2e::wire::field;
use e2e::world::World;

/// Paths of one Ingress, in the order of the backends `zero`, `one`, `two`; requests, each with the number of the path
/// that must be taken. `None`: the default backend.
struct Row {
    paths: &'static [(&'static str, &'static str)],
    requests: &'static [(&'static str, Option<usize>)],
}

const EXACT: &str = "Exact";
const PREFIX: &str = "Prefix";

const ROWS: &[Row] = &[
    Row { paths: &[(PREFIX, "/")], requests: &[("/", Some(0)), ("/a/b/", Some(0)), ("//", Some(0))] },
    Row {
        paths: &[(EXACT, "/foo")],
        requests: &[("/foo", Some(0)), ("/bar", None), ("/foo/", None), ("/foo?x=/bar", Some(0))],
    },
    Row { paths: &[(EXACT, "/foo/")], requests: &[("/foo", None), ("/foo/", Some(0))] },
    Row {
        paths: &[(PREFIX, "/foo")],
        requests: &[("/foo", Some(0)), ("/foo/", Some(0)), ("/foo/bar", Some(0)), ("/Foo", None)],
    },
    Row { paths: &[(PREFIX, "/foo/")], requests: &[("/foo", Some(0)), ("/foo/", Some(0))] },
    Row { paths: &[(PREFIX, "/aaa/bb")], requests: &[("/aaa/bbb", None)] },
    Row {
        paths: &[(PREFIX, "/aaa/bbb")],
        requests: &[
            ("/aaa/bbb", Some(0)),
            ("/aaa/bbb/", Some(0)),
            ("/aaa/bbb/ccc", Some(0)),
            ("/aaa/bbbxyz", None),
            ("/aaa", None),
        ],
    },
    Row { paths: &[(PREFIX, "/aaa/bbb/")], requests: &[("/aaa/bbb", Some(0))] },
    Row { paths: &[(PREFIX, "/"), (PREFIX, "/aaa")], requests: &[("/aaa/ccc", Some(1)), ("/", Some(0))] },
    Row {
        paths: &[(PREFIX, "/"), (PREFIX, "/aaa"), (PREFIX, "/aaa/bbb")],
        requests: &[("/aaa/bbb", Some(2)), ("/ccc", Some(0)), ("/aaa/b", Some(1))],
    },
    Row { paths: &[(PREFIX, "/aaa")], requests: &[("/ccc", None)] },
    Row {
        paths: &[(PREFIX, "/foo"), (EXACT, "/foo")],
        requests: &[("/foo", Some(1)), ("/foo/", Some(0)), ("/foo/x", Some(0))],
    },
    // Beyond the documentation's rows: dot segments and encodings are resolved before paths are compared.
    Row {
        paths: &[(PREFIX, "/a"), (EXACT, "/b")],
        requests: &[("/x/../a/y", Some(0)), ("/%61", Some(0)), ("/a/../b", Some(1)), ("/a%2Fb", None)],
    },
    Row {
        paths: &[("ImplementationSpecific", "/spec")],
        requests: &[("/spec/x", Some(0)), ("/specx", None)],
    },
];

const NAMES: [&str; 3] = ["zero", "one", "two"];

fn host(row: usize) -> String {
    format!("row-{row}.example.com")
}

fn ingress(row: usize, paths: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: row-{row}}}\nspec:\n  \
         ingressClassName: longhaul\n  rules:\n  - host: {}\n    http:\n      paths:\n",
        host(row)
    );
    for ((path_type, path), service) in paths.iter().zip(NAMES) {
        writeln!(
            text,
            "      - {{path: {path}, pathType: {path_type}, backend: {{service: {{name: {service}, port: {{name: \
             ws}}}}}}}}"
        )
        .unwrap();
    }
    text
}

/// An Ingress without rules: its backend takes what nothing else does.
const FALLBACK: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: fallback}\nspec:\n  \
    ingressClassName: longhaul\n  defaultBackend: {service: {name: fallback, port: {name: ws}}}\n";

/// Backends `zero`, `one`, `two` and `fallback`, as objects. They end when the first part is dropped.
async fn backends() -> (Vec<DemoBackend>, String) {
    let (mut running, mut objects) = (Vec::new(), String::new());
    for name in NAMES.into_iter().chain(["fallback"]) {
        let started = DemoBackend::start(name).await.unwrap();
        writeln!(objects, "{}---", backend(name, &[started.address()])).unwrap();
        running.push(started);
    }
    (running, objects)
}

#[tokio::test]
async fn paths_as_the_documentation_has_them() {
    let (_running, objects) = backends().await;
    let rows = ROWS.iter().enumerate().map(|(number, row)| ingress(number, row.paths));
    let rows: Vec<_> = rows.collect();
    let world = World::plan()
        .file("backends.yaml", objects)
        .file("rows.yaml", rows.join("---\n"))
        .file("fallback.yaml", FALLBACK)
        .start()
        .await
        .unwrap();
    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let target = world.plain(&host(number)).unwrap();
        for (path, wanted) in row.requests {
            let wanted = wanted.map_or("fallback", |path| NAMES[path]);
            let got = target.served_by(path, &[]).await.unwrap();
            if got != wanted {
                wrong.push(format!("{:?}: {path} goes to {got}, not {wanted}", row.paths));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hosts_as_the_documentation_has_them() {
    let (_running, objects) = backends().await;
    let rule = |host: &str, path: &str, service: &str| {
        format!(
            "  - {{host: \"{host}\", http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: \
             {service}, port: {{name: ws}}}}}}}}]}}}}\n"
        )
    };
    let ingress = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: hosts}}\nspec:\n  ingressClassName: \
         longhaul\n  rules:\n{}{}{}",
        rule("*.foo.com", "/", "zero"),
        rule("exact.foo.com", "/only", "one"),
        rule("foo.com", "/", "two"),
    );
    let mut world =
        World::plan().file("backends.yaml", objects).file("hosts.yaml", ingress).start().await.unwrap();
    for (host, path, wanted) in [
        ("bar.foo.com", "/", "zero"),
        ("BAR.Foo.com", "/", "zero"),
        ("bar.foo.com:8080", "/", "zero"),
        ("baz.bar.foo.com", "/", "404"),
        ("foo.com", "/", "two"),
        ("other.com", "/", "404"),
        ("exact.foo.com", "/only/x", "one"),
        // Only the most specific host that matches is searched.
        ("exact.foo.com", "/else", "404"),
    ] {
        assert_eq!(world.plain(host).unwrap().served_by(path, &[]).await.unwrap(), wanted, "{host}{path}");
    }
    world.write("fallback.yaml", FALLBACK).await.unwrap();
    for (host, path, wanted) in [
        ("baz.bar.foo.com", "/", "fallback"),
        ("other.com", "/", "fallback"),
        ("exact.foo.com", "/else", "fallback"),
        ("bar.foo.com", "/", "zero"),
    ] {
        assert_eq!(world.plain(host).unwrap().served_by(path, &[]).await.unwrap(), wanted, "{host}{path}");
    }
}

/// Rules of a WsRoute with conditions: more of them come first, and those that fail fall to the next path.
#[tokio::test]
async fn conditions_decide_among_routes_of_one_path() {
    let (_running, objects) = backends().await;
    let route = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: conditions}\nspec:\n  \
        hosts: [app.example.com]\n  rules:\n  \
        - name: anything\n    http: true\n    matches: [{path: {value: /}}]\n    \
          backends: [{service: fallback, port: ws}]\n  \
        - name: blue\n    http: true\n    matches: [{path: {value: /live}, headers: [{name: X-Tenant, value: blue}]}]\n    \
          backends: [{service: zero, port: ws}]\n  \
        - name: blue-2\n    http: true\n    matches:\n    - path: {value: /live}\n      \
          headers: [{name: x-tenant, value: blue}]\n      queryParams: [{name: v, value: \"2\"}]\n    \
          backends: [{service: one, port: ws}]\n  \
        - name: beta\n    http: true\n    matches: [{path: {value: /live}, headers: [{name: X-Tenant, type: Prefix, value: beta-}]}]\n    \
          backends: [{service: two, port: ws}]\n";
    let world = World::plan().file("backends.yaml", objects).file("route.yaml", route).start().await.unwrap();
    let target = world.plain("app.example.com").unwrap();
    for (path, further, wanted) in [
        ("/live", &[][..], "fallback"),
        ("/live/x", &[("X-Tenant", "blue")], "zero"),
        ("/live?v=1", &[("X-Tenant", "blue")], "zero"),
        ("/live?v=2", &[("X-Tenant", "blue")], "one"),
        ("/live?w=1&v=%32", &[("X-Tenant", "blue")], "one"),
        ("/live?v=2", &[("X-Tenant", "Blue")], "fallback"),
        ("/live?v=2", &[], "fallback"),
        ("/live", &[("X-Tenant", "beta-7")], "two"),
        ("/live", &[("X-Tenant", "beta")], "fallback"),
        ("/elsewhere", &[("X-Tenant", "blue")], "fallback"),
    ] {
        assert_eq!(target.served_by(path, further).await.unwrap(), wanted, "{path} {further:?}");
    }
}

/// Which subprotocols a client offers can decide where its socket goes.
#[tokio::test]
async fn subprotocols_choose_a_rule() {
    let (_running, objects) = backends().await;
    let route = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: protocols}\nspec:\n  \
        hosts: [app.example.com]\n  rules:\n  \
        - name: graphql\n    matches: [{subprotocols: [graphql-transport-ws, graphql-ws]}]\n    \
          backends: [{service: zero, port: ws}]\n  \
        - name: rest\n    backends: [{service: one, port: ws}]\n";
    let world = World::plan().file("backends.yaml", objects).file("route.yaml", route).start().await.unwrap();
    let target = world.plain("app.example.com").unwrap();
    for (offered, wanted) in [
        (Some("graphql-transport-ws"), "zero"),
        (Some("mqtt, graphql-ws"), "zero"),
        (Some("mqtt"), "one"),
        (Some("GraphQL-ws"), "one"),
        (None, "one"),
    ] {
        let fields: Vec<_> = offered.iter().map(|offered| ("Sec-WebSocket-Protocol", *offered)).collect();
        let socket = target.websocket_with("/", &fields).await.unwrap();
        assert_eq!(socket.backend(), wanted, "{offered:?}");
    }
    let plain = target.get("/").await.unwrap();
    assert_eq!((plain.status, field(&plain.head, "upgrade")), (426, Some("websocket")));
}

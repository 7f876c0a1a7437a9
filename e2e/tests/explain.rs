//! `longhaul-controller explain`: it says what the proxy does, asked with the same requests; and what people read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use e2e::backend::NAME_HEADER;
use e2e::backend::demo::DemoBackend;
use e2e::certificate::Authority;
use e2e::objects::{Ingress, backend, service};
use e2e::process::binary;
use e2e::wire::{field, handshake, status};
use e2e::world::World;
use serde_json::Value;

fn explain(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.current_dir(folder).arg("explain").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let done = explain(folder, &[arguments, &["--format", "json"]].concat());
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

const HASH: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

fn users() -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: \"ann:{HASH}\"}}\n")
}

/// A WsRoute of host a.example.com.
const ROUTE: &str = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: live}\nspec:\n  hosts: \
    [a.example.com]\n  rules:\n  - name: blue\n    http: true\n    matches: [{path: {value: /api}, headers: [{name: \
    X-Tenant, value: blue}]}]\n    backends: [{service: two, port: ws}]\n  - name: socket\n    matches: [{path: {value: \
    /ws}}]\n    backends: [{service: one, port: ws}]\n  - name: sub\n    matches: [{path: {value: /ws}, subprotocols: \
    [v2]}]\n    backends: [{service: two, port: ws}]\n  - name: net\n    http: true\n    matches: [{path: {value: /net}, \
    clientCIDRs: [127.0.0.2/32]}, {path: {value: /net}, queryParams: [{name: v, value: '2'}]}]\n    backends: \
    [{service: one, port: ws}]\n  - name: nobody\n    http: true\n    matches: [{path: {value: /nobody}}]\n    backends: \
    [{service: empty, port: ws}]\n";

const EXACT: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: exact}\nspec:\n  ingressClassName: \
    longhaul\n  rules:\n  - host: a.example.com\n    http: {paths: [{path: /api/exact, pathType: Exact, backend: {service: \
    {name: two, port: {name: ws}}}}]}\n";

/// One host for each way in which a request can end.
fn objects(authority: &Authority) -> Vec<(&'static str, String)> {
    let site = |name: &str, host: &str| Ingress::new(name, host).path("/", "zero");
    let annotated = |name: &str, key: &str, value: &str| {
        site(name, &format!("{name}.example.com")).annotation(key, value).yaml()
    };
    let nginx = |key: &str| format!("nginx.ingress.kubernetes.io/{key}");
    let pair = authority.issue(&["tls.example.com"]).unwrap();
    vec![
        ("a.yaml", site("a", "a.example.com").path("/api", "one").yaml()),
        ("exact.yaml", EXACT.to_owned()),
        ("route.yaml", ROUTE.to_owned()),
        (
            "wild.yaml",
            site("wild", "*.example.com").path("/", "one").yaml().replace("path: /\n", "path: /wild\n"),
        ),
        ("deny.yaml", annotated("deny", "longhaul.dev/deny-cidrs", "127.0.0.3")),
        ("allow.yaml", annotated("allow", "longhaul.dev/allow-cidrs", "127.0.0.3")),
        ("origin.yaml", annotated("origin", "longhaul.dev/allow-origins", "https://ok.test")),
        ("broken.yaml", annotated("broken", "longhaul.dev/allow-cidrs", "nonsense")),
        ("moved.yaml", annotated("moved", &nginx("permanent-redirect"), "https://new.test$request_uri")),
        ("root.yaml", annotated("root", &nginx("app-root"), "/home")),
        ("cors.yaml", annotated("cors", "longhaul.dev/cors-allow-origins", "https://ok.test")),
        ("only.yaml", annotated("only", "longhaul.dev/websocket-only", "true")),
        ("basic.yaml", annotated("basic", "longhaul.dev/auth-basic-secret", "users")),
        (
            "regex.yaml",
            Ingress::new("regex", "regex.example.com")
                .path("/", "zero")
                .annotation(&nginx("use-regex"), "true")
                .path("/r/[0-9]+/x", "one")
                .yaml()
                .replace("pathType: Prefix", "pathType: ImplementationSpecific"),
        ),
        ("tls.yaml", site("tls", "tls.example.com").tls("tls").yaml()),
        ("secret.yaml", pair.secret("default", "tls")),
        ("users.yaml", users()),
        ("empty.yaml", service("empty")),
    ]
}

/// A request, as the proxy gets it and as `explain` is asked about it.
struct Asked {
    host: &'static str,
    path: &'static str,
    method: &'static str,
    fields: &'static [(&'static str, &'static str)],
    websocket: bool,
    tls: bool,
    client: &'static str,
}

const GET: Asked = Asked {
    host: "a.example.com",
    path: "/",
    method: "GET",
    fields: &[],
    websocket: false,
    tls: false,
    client: "127.0.0.1",
};

const PREFLIGHT: &[(&str, &str)] = &[("Origin", "https://ok.test"), ("Access-Control-Request-Method", "PUT")];

/// What must have been said at least once of these.
const OUTCOMES: [&str; 7] = [
    "Forwarded",
    "ForwardedIfAuthenticated",
    "Redirected",
    "Refused",
    "Preflight",
    "Refused 503",
    "Refused 404",
];

#[rustfmt::skip]
const REQUESTS: &[Asked] = &[
    GET,
    Asked { path: "/api", ..GET },
    Asked { path: "/apis", ..GET },
    Asked { path: "/api/exact", ..GET },
    Asked { path: "/api/exact/", ..GET },
    Asked { path: "/x/../api/%65xact", ..GET },
    Asked { path: "/api%2Fexact", ..GET },
    Asked { path: "/api/x?y", fields: &[("x-tenant", "blue")], ..GET },
    Asked { path: "/api", fields: &[("X-Tenant", "blue"), ("X-Tenant", "red")], ..GET },
    Asked { path: "/api/exact", fields: &[("X-Tenant", "blue")], ..GET },
    Asked { path: "/ws", ..GET },
    Asked { path: "/ws", websocket: true, ..GET },
    Asked { path: "/ws/echo", websocket: true, fields: &[("Sec-WebSocket-Protocol", "v1, v2")], ..GET },
    Asked { path: "/net", ..GET },
    Asked { path: "/net", client: "127.0.0.2", ..GET },
    Asked { path: "/net?w=1&v=2", ..GET },
    Asked { path: "/net?v=1&v=2", ..GET },
    Asked { path: "/nobody", ..GET },
    Asked { path: "/nobody", websocket: true, ..GET },
    Asked { host: "A.Example.com.", ..GET },
    Asked { host: "b.example.com", path: "/wild", ..GET },
    Asked { host: "b.example.com", path: "/", ..GET },
    Asked { host: "c.b.example.com", path: "/wild", ..GET },
    Asked { host: "elsewhere.test", ..GET },
    Asked { host: "deny.example.com", ..GET },
    Asked { host: "deny.example.com", client: "127.0.0.3", ..GET },
    Asked { host: "allow.example.com", ..GET },
    Asked { host: "allow.example.com", client: "127.0.0.3", ..GET },
    Asked { host: "origin.example.com", websocket: true, ..GET },
    Asked { host: "origin.example.com", websocket: true, fields: &[("Origin", "https://ok.test")], ..GET },
    Asked { host: "origin.example.com", websocket: true, fields: &[("Origin", "https://bad.test")], ..GET },
    Asked { host: "origin.example.com", fields: &[("Origin", "https://bad.test")], ..GET },
    Asked { host: "broken.example.com", ..GET },
    Asked { host: "moved.example.com", path: "/a?b=c", ..GET },
    Asked { host: "root.example.com", ..GET },
    Asked { host: "root.example.com", path: "/other", ..GET },
    Asked { host: "cors.example.com", method: "OPTIONS", fields: PREFLIGHT, ..GET },
    Asked { host: "cors.example.com", method: "OPTIONS", ..GET },
    Asked { host: "only.example.com", ..GET },
    Asked { host: "only.example.com", websocket: true, ..GET },
    Asked { host: "basic.example.com", ..GET },
    Asked { host: "regex.example.com", path: "/r/17/x/y", ..GET },
    Asked { host: "regex.example.com", path: "/r/y/x", ..GET },
    Asked { host: "tls.example.com", path: "/a?b", ..GET },
    Asked { host: "tls.example.com", path: "/.well-known/acme-challenge/x", ..GET },
    Asked { host: "tls.example.com", tls: true, ..GET },
];

/// What the proxy answered.
#[derive(Debug)]
struct Got {
    status: u16,
    location: Option<String>,
    backend: Option<String>,
}

async fn ask(world: &World, asked: &Asked) -> Got {
    let target = if asked.tls { world.tls(asked.host).unwrap() } else { world.plain(asked.host).unwrap() };
    let target = target.from(asked.client.parse().unwrap());
    let lines: Vec<_> = asked.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let head = if asked.websocket {
        let mut wire = target.wire().await.unwrap();
        wire.send(handshake(asked.host, asked.path, &lines)).await.unwrap();
        wire.head().await.unwrap()
    } else {
        target.request(asked.method, asked.path, &lines, b"").await.unwrap().head
    };
    let named = |name: &str| field(&head, name).map(str::to_owned);
    Got { status: status(&head).unwrap(), location: named("location"), backend: named(NAME_HEADER) }
}

fn flags(asked: &Asked) -> Vec<String> {
    let mut flags = vec![
        format!("--host={}", asked.host),
        format!("--path={}", asked.path),
        format!("--client={}", asked.client),
        if asked.tls { "--tls".to_owned() } else { "--http".to_owned() },
    ];
    flags.extend(asked.fields.iter().map(|(name, value)| format!("--header={name}: {value}")));
    if asked.websocket {
        flags.push("--websocket".to_owned());
    } else {
        flags.push(format!("--method={}", asked.method));
    }
    flags
}

/// What is wrong with an explanation of what happened. Also: what it says of the outcome.
fn compare(said: &Value, got: &Got) -> (Option<String>, String) {
    let outcome = said["answer"]["outcome"].as_str().unwrap();
    let status = said["answer"]["status"].as_u64();
    let right = match outcome {
        "Forwarded" => {
            // Each Service has one backend, of its name.
            let service = said["backends"][0]["service"].as_str().unwrap();
            got.backend.as_ref().is_some_and(|name| service == format!("default/{name}:ws"))
        }
        "ForwardedIfAuthenticated" => got.status == 401 && got.backend.is_none(),
        "Redirected" => {
            let location = said["answer"]["location"].as_str().unwrap();
            // On which port TLS is served the proxy alone knows.
            let without_port = |text: &str| match text.split_once("tls.example.com:") {
                Some((before, after)) => {
                    format!(
                        "{before}tls.example.com{}",
                        after.trim_start_matches(|c: char| c.is_ascii_digit())
                    )
                }
                None => text.to_owned(),
            };
            status == Some(got.status.into())
                && got.location.as_deref().map(without_port).as_deref() == Some(location)
        }
        _ => status == Some(got.status.into()) && got.backend.is_none(),
    };
    let outcome = match status {
        Some(status @ (503 | 404)) => format!("{outcome} {status}"),
        _ => outcome.to_owned(),
    };
    ((!right).then(|| format!("{} but {got:?}", said["answer"])), outcome)
}

/// Without what depends on where the program runs that reads the files.
fn without_places(mut said: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("place");
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut said);
    said
}

#[tokio::test]
async fn the_proxy_does_what_is_explained() {
    let authority = Authority::new().unwrap();
    let mut plan = World::plan();
    let mut running = Vec::new();
    for name in ["zero", "one", "two"] {
        let started = DemoBackend::start(name).await.unwrap();
        plan = plan.file(&format!("{name}.yaml"), backend(name, &[started.address()]));
        running.push(started);
    }
    for (name, content) in objects(&authority) {
        plan = plan.file(name, content);
    }
    let world = plan.authority(authority).start().await.unwrap();
    let controller = format!("--controller={}", world.controller().unwrap().admin().address());
    let (mut wrong, mut outcomes) = (Vec::new(), Vec::new());
    for asked in REQUESTS {
        let flags = flags(asked);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let said = json(world.folder(), &[&flags[..], &[&controller]].concat());
        let (problem, outcome) = compare(&said, &ask(&world, asked).await);
        wrong.extend(problem.map(|problem| format!("{}: {problem}", flags.join(" "))));
        outcomes.push(outcome);
        let of_files = json(world.folder(), &[&flags[..], &["--dir=objects"]].concat());
        assert_eq!(without_places(said), without_places(of_files), "{flags:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unsaid: Vec<_> = OUTCOMES
        .iter()
        .filter(|outcome| {
            !outcomes.iter().any(|said| said == *outcome || said.starts_with(&format!("{outcome} ")))
        })
        .collect();
    assert!(unsaid.is_empty(), "{unsaid:?} of {outcomes:?}");
}

/// Mistakes and all: what somebody reads who wants to know why a room is empty.
const SHOP: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations:
    longhaul.dev/idle-timeout: 5m
    nginx.ingress.kubernetes.io/proxy-read-timeout: "90"
    longhaul.dev/send-timeout: soon
spec:
  ingressClassName: longhaul
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}
      - {path: /live, pathType: Prefix, backend: {service: {name: live, port: {name: ws}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: young, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  ingressClassName: longhaul
  rules:
  - host: shop.example.com
    http: {paths: [{path: /live, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {longhaul.dev/addresses: "10.0.0.1:80"}}
spec: {ports: [{name: ws, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: live}
spec: {ports: [{name: ws, port: 80}]}
"#;

const SHOP_EXPLAINED: &str = include_str!("explain/shop.txt");

#[test]
fn people_read_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), SHOP).unwrap();
    let question = ["--dir=.", "--http", "--websocket", "--host=shop.example.com", "--path=/live/x?room=1"];
    let done = explain(folder.path(), &question);
    let said = text(&done.stdout);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/shop.txt"), &said).unwrap();
    }
    assert_eq!((done.status.code(), &*said), (Some(0), SHOP_EXPLAINED));
    let colored = explain(folder.path(), &[&question[..], &["--color=always"]].concat());
    assert!(text(&colored.stdout).contains("\u{1b}["), "{}", text(&colored.stdout));
}

#[test]
fn no_secret_is_part_of_an_explanation() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&["app.example.com"]).unwrap();
    let site = Ingress::new("site", "app.example.com").path("/", "web").tls("site-tls");
    let site = site.annotation("longhaul.dev/auth-basic-secret", "users").yaml();
    let objects = [
        site,
        backend("web", &["10.0.0.1:80".parse().unwrap()]),
        users(),
        pair.secret("default", "site-tls"),
    ];
    fs::write(folder.path().join("all.yaml"), objects.join("---\n")).unwrap();
    for format in ["text", "json"] {
        let done = explain(folder.path(), &["--dir=.", "--host=app.example.com", "--format", format]);
        let said = text(&done.stdout);
        assert!(said.contains("users"), "{said}");
        let key = pair.key.lines().nth(1).unwrap();
        assert!(!said.contains(HASH) && !said.contains(key) && !said.contains("PRIVATE"), "{said}");
    }
}

#[test]
fn what_cannot_be_asked_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), SHOP).unwrap();
    for (arguments, said) in [
        (&["--dir=.", "--host=a b"][..], "no host that a client could name"),
        (&["--dir=.", "--host=a", "--path=x"], "is no path"),
        (&["--dir=nowhere", "--host=a"], "cannot read nowhere"),
        (&["--controller=127.0.0.1:1", "--host=a"], "the controller cannot be asked at 127.0.0.1:1"),
    ] {
        let done = explain(folder.path(), arguments);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        assert!(text(&done.stderr).contains(said), "{arguments:?}: {}", text(&done.stderr));
    }
    for arguments in [&["--host=a"][..], &["--dir=."], &["--dir=.", "--host=a", "--header=x"]] {
        assert_eq!(explain(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// The page is for whoever may read every route, and for questions only.
#[tokio::test]
async fn the_controller_answers_questions_only() {
    let backend = DemoBackend::start("web").await.unwrap();
    let world = World::plan()
        .controller_flags(&["--observe", "127.0.0.1:0"])
        .site("app.example.com", backend.address())
        .start()
        .await
        .unwrap();
    let controller = world.controller().unwrap();
    let admin = controller.admin();
    for (method, body, wanted) in [("GET", "", 405), ("POST", "no question", 400), ("POST", "{}", 400)] {
        let answer = admin.request(method, "/api/explain", "", body.as_bytes()).await.unwrap();
        assert_eq!(answer.status, wanted, "{method} {body}: {}", answer.text());
    }
    let long = "x".repeat(100_000);
    assert_eq!(admin.request("POST", "/api/explain", "", long.as_bytes()).await.unwrap().status, 400);
    let observe = e2e::world::listening(&controller.process, "observe").await.unwrap();
    let observe = e2e::client::Target::plain(observe, "observe");
    assert_eq!(observe.request("POST", "/api/explain", "", b"{}").await.unwrap().status, 404);
}

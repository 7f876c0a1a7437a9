//! An authentication service: what it is asked, and what its answers do.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::{Answer as Got, Target};
use e2e::objects::{self, Ingress};
use e2e::wire::{Upstream, field, fields, handshake};
use e2e::world::{Plan, World};
use tokio::time::Instant;

const HOST: &str = "app.example.com";
const OPEN: &str = "open.example.com";

fn says(status: &str, further: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{further}\r\nno").into_bytes())
}

/// A service that decides by what the head says.
async fn service() -> Recorder {
    Recorder::start_with(|head| match field(head, "x-ask").unwrap_or("401") {
        "200" => says("200 OK", "X-User: ann\r\nX-Groups: staff\r\nX-Groups: chat\r\nX-Other: hidden\r\n"),
        "204" => Answer::Bytes(b"HTTP/1.1 204 No Content\r\nX-User: ann\r\n\r\n".to_vec()),
        "401" => says(
            "401 Unauthorized",
            "WWW-Authenticate: Bearer realm=\"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
        ),
        "403" => says("403 Forbidden", "Set-Cookie: c=3\r\nX-User: ann\r\n"),
        "302" => says("302 Found", "Location: https://login.example.com/?a=b\r\nSet-Cookie: d=4\r\n"),
        "500" => says("500 Internal Server Error", ""),
        "404" => says("404 Not Found", ""),
        "101" => Answer::Upgrade(Vec::new()),
        "garbage" => Answer::Last(b"SSH-2.0\r\n\r\n".to_vec()),
        "reset" => Answer::Reset(Vec::new()),
        "much" => says("200 OK", &format!("X-User: {}\r\n", "a".repeat(20_000))),
        _ => Answer::Silence,
    })
    .await
    .unwrap()
}

/// A site whose backend writes down what it gets, the service `auth`, and an open site beside it.
fn plan(backend: SocketAddr, auth: SocketAddr) -> Plan {
    World::plan()
        .site(HOST, backend)
        .file("auth.yaml", objects::backend("auth", &[auth]))
        .file("open.yaml", Ingress::new("open", OPEN).path("/", "backend").yaml())
}

async fn world(backend: SocketAddr, auth: SocketAddr) -> World {
    plan(backend, auth)
        .annotation("longhaul.dev/auth-service", "auth:ws/check")
        .annotation("longhaul.dev/auth-response-headers", "X-User, X-Groups")
        .annotation("longhaul.dev/auth-timeout", "2s")
        // Each has a pool of its own.
        .proxy_flags(&["--workers", "1"])
        .start()
        .await
        .unwrap()
}

async fn page(target: &Target, further: &str) -> Got {
    target.request("POST", "/whoami?a=b", further, b"hello").await.unwrap()
}

async fn shake(target: &Target, further: &str) -> Got {
    let mut wire = target.wire().await.unwrap();
    wire.send(handshake(HOST, "/echo?room=1", further)).await.unwrap();
    let head = wire.head().await.unwrap();
    Got { status: e2e::wire::status(&head).unwrap(), head, body: Vec::new() }
}

#[tokio::test]
async fn who_is_let_in_comes_with_what_the_service_says_of_him() {
    let (auth, backend) = (
        service().await,
        Recorder::start_with(|head| {
            if field(head, "upgrade").is_some() { Answer::Upgrade(Vec::new()) } else { Answer::ok("in") }
        })
        .await
        .unwrap(),
    );
    let world = world(backend.address(), auth.address()).await;
    let target = world.tls(HOST).unwrap();
    let lies = "X-Ask: 200\r\nX-User: root\r\nX_User: root\r\nx-groups: root\r\nX-Mine: kept\r\nCookie: s=1\r\n\
                X-Original-Method: PUT\r\nX-Original-URL: http://evil.test/\r\nX-Auth-Request-Redirect: /evil\r\n";
    assert_eq!(page(&target, lies).await.status, 200);
    let asked = auth.text();
    assert!(asked.starts_with("GET /check HTTP/1.1\r\n"), "{asked}");
    for (name, value) in [
        ("host", "auth.default"),
        ("x-original-method", "POST"),
        ("x-original-url", "https://app.example.com/whoami?a=b"),
        ("x-auth-request-redirect", "/whoami?a=b"),
        ("x-forwarded-host", HOST),
        ("x-forwarded-proto", "https"),
        ("cookie", "s=1"),
        ("x-mine", "kept"),
        ("x-ask", "200"),
    ] {
        assert_eq!(fields(&asked, name).collect::<Vec<_>>(), [value], "{name} in {asked}");
    }
    assert!(
        !asked.contains("hello") && field(&asked, "content-length").is_none_or(|length| length == "0"),
        "{asked}"
    );
    let seen = backend.text();
    assert_eq!(fields(&seen, "x-user").collect::<Vec<_>>(), ["ann"], "{seen}");
    assert_eq!(fields(&seen, "x-groups").collect::<Vec<_>>(), ["staff", "chat"], "{seen}");
    assert!(!seen.contains("root") && !seen.contains("hidden") && seen.contains("hello"), "{seen}");

    assert_eq!(shake(&target, lies).await.status, 101);
    let asked = auth.text();
    let (_, second) = asked.rsplit_once("GET /check").unwrap();
    for gone in ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version"] {
        assert_eq!(field(second, gone), None, "{gone} in {second}");
    }
    assert_eq!(field(second, "x-original-url"), Some("https://app.example.com/echo?room=1"));
    let seen = backend.text();
    let (_, second) = seen.rsplit_once("GET /echo").unwrap();
    assert_eq!(fields(second, "x-user").collect::<Vec<_>>(), ["ann"], "{second}");
    assert!(!second.contains("root"), "{second}");
    assert_eq!(auth.records().len(), 1, "asked twice over one connection");

    // A field that the service says nothing of is nobody's; in trailers neither.
    let chunked = "X-Ask: 204\r\nX-Groups: root\r\nTransfer-Encoding: chunked\r\nTrailer: X-User, X-Sum\r\n";
    let mut wire = target.wire().await.unwrap();
    wire.send(format!(
        "POST /last HTTP/1.1\r\nHost: {HOST}\r\n{chunked}\r\n2\r\nhi\r\n0\r\nX-User: root\r\nX-Sum: 1\r\n\r\n"
    ))
    .await
    .unwrap();
    assert_eq!(Got::read(&mut wire).await.unwrap().status, 200);
    let seen =
        backend.wait_for(|all| String::from_utf8_lossy(&all.concat()).contains("x-sum: 1")).await.unwrap();
    assert!(!String::from_utf8_lossy(&seen.concat()).contains("root"));
}

#[tokio::test]
async fn who_is_kept_out_hears_what_the_service_says() {
    let (auth, backend) = (service().await, Recorder::start(Answer::ok("in")).await.unwrap());
    let world = world(backend.address(), auth.address()).await;
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        for got in [page(&target, "").await, shake(&target, "").await] {
            assert_eq!(got.status, 401);
            assert_eq!(field(&got.head, "www-authenticate"), Some("Bearer realm=\"x\""));
            assert_eq!(fields(&got.head, "set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
            assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=http_request_denied"));
        }
        for got in [page(&target, "X-Ask: 403\r\n").await, shake(&target, "X-Ask: 403\r\n").await] {
            assert_eq!((got.status, field(&got.head, "set-cookie")), (403, Some("c=3")));
            assert_eq!(field(&got.head, "x-user"), None);
        }
        let got = page(&target, "X-Ask: 302\r\n").await;
        assert_eq!((got.status, field(&got.head, "location")), (302, Some("https://login.example.com/?a=b")));
        assert_eq!(field(&got.head, "set-cookie"), Some("d=4"));
        let got = shake(&target, "X-Ask: 302\r\n").await;
        assert_eq!((got.status, field(&got.head, "location")), (401, None), "no WebSocket client follows");
    }
    assert_eq!(backend.text(), "", "nobody reached the backend");
}

#[tokio::test]
async fn no_answer_lets_nobody_in() {
    let (auth, backend) = (service().await, Recorder::start(Answer::ok("in")).await.unwrap());
    let world = world(backend.address(), auth.address()).await;
    let target = world.plain(HOST).unwrap();
    for ask in ["500", "404", "101", "garbage", "reset", "much"] {
        for got in [
            page(&target, &format!("X-Ask: {ask}\r\n")).await,
            shake(&target, &format!("X-Ask: {ask}\r\n")).await,
        ] {
            assert_eq!(got.status, 503, "{ask}: {got:?}");
            assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=authentication_unavailable"));
        }
    }
    let began = Instant::now();
    assert_eq!(shake(&target, "X-Ask: silence\r\n").await.status, 503);
    assert!(began.elapsed() >= Duration::from_secs(2), "longhaul.dev/auth-timeout");
    assert_eq!(backend.text(), "", "nobody reached the backend");
    assert_eq!(page(&target, "X-Ask: 200\r\n").await.status, 200);
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    let counted = metrics.count("longhaul_refusals_total", &[("reason", "authentication_unavailable")]);
    assert_eq!(counted.unwrap(), 13);
}

#[tokio::test]
async fn an_outage_of_the_service_costs_its_routes_only() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let gone = Upstream::bind().await.unwrap().address().unwrap();
    let mut world = world(blue.address(), gone).await;
    let (target, open) = (world.plain(HOST).unwrap(), world.plain(OPEN).unwrap());
    for _ in 0..5 {
        assert_eq!(shake(&target, "X-Ask: 200\r\n").await.status, 503);
        assert_eq!(page(&target, "X-Ask: 200\r\n").await.status, 503);
    }
    assert_eq!(open.get("/whoami").await.unwrap().status, 200);
    // It is back, at another address.
    let auth = service().await;
    world.write("auth.yaml", &objects::backend("auth", &[auth.address()])).await.unwrap();
    let mut inside = target.websocket_with("/echo", &[("X-Ask", "200")]).await.unwrap();
    // The Service goes: nobody else comes in, and who is in stays.
    world.remove("auth.yaml").await.unwrap();
    assert_eq!(shake(&target, "X-Ask: 200\r\n").await.status, 503);
    inside.echo("still in").await.unwrap();
    assert_eq!(open.get("/whoami").await.unwrap().status, 200);
    let report = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(report.contains("BackendNotFound") && report.contains("longhaul.dev/auth-service"), "{report}");
    world.write("auth.yaml", &objects::backend("auth", &[auth.address()])).await.unwrap();
    assert_eq!(shake(&target, "X-Ask: 200\r\n").await.status, 101);
}

#[tokio::test]
async fn an_address_as_ingress_nginx_takes_it() {
    let (auth, backend) = (service().await, Recorder::start(Answer::ok("in")).await.unwrap());
    let port = auth.address().port();
    let key = |name: &str| format!("nginx.ingress.kubernetes.io/{name}");
    let world = plan(backend.address(), auth.address())
        .annotation(
            &key("auth-url"),
            &format!("http://localhost:{port}/auth?to=$escaped_request_uri&t=$arg_token"),
        )
        .annotation(&key("auth-method"), "HEAD")
        .annotation(&key("auth-response-headers"), "X-User")
        .annotation(&key("auth-request-redirect"), "https://$host/back$request_uri")
        .annotation(&key("auth-signin"), "https://$host/oauth2/start")
        .annotation(&key("auth-signin-redirect-param"), "back")
        .start()
        .await
        .unwrap();
    let target = world.tls(HOST).unwrap();
    let got = target.request("GET", "/a?token=1%202&x=y", "", b"").await.unwrap();
    assert_eq!(got.status, 302, "{got:?}");
    let back =
        "https://app.example.com/oauth2/start?back=https://app.example.com%2Fa%3Ftoken%3D1%25202%26x%3Dy";
    assert_eq!(field(&got.head, "location"), Some(back));
    assert_eq!(fields(&got.head, "set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    let asked = auth.text();
    assert!(
        asked.starts_with("HEAD /auth?to=%2Fa%3Ftoken%3D1%25202%26x%3Dy&t=1%202 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert_eq!(
        field(&asked, "x-auth-request-redirect"),
        Some("https://app.example.com/back/a?token=1%202&x=y")
    );
    assert_eq!(field(&asked, "host"), Some(&*format!("localhost:{port}")));
    assert_eq!(shake(&target, "").await.status, 401, "a handshake is not sent elsewhere");
    assert_eq!(page(&target, "X-Ask: 204\r\nX-User: root\r\n").await.status, 200);
    assert_eq!(fields(&backend.text(), "x-user").collect::<Vec<_>>(), ["ann"]);
}

#[tokio::test]
async fn our_own_address_and_the_switch_that_forbids_it() {
    let (auth, backend) = (service().await, Recorder::start(Answer::ok("in")).await.unwrap());
    let url = format!("http://{}/check", auth.address());
    let plan = || plan(backend.address(), auth.address()).annotation("longhaul.dev/auth-url", &url);
    let world = plan().start().await.unwrap();
    assert_eq!(page(&world.plain(HOST).unwrap(), "X-Ask: 200\r\n").await.status, 200);
    assert_eq!(page(&world.plain(HOST).unwrap(), "").await.status, 401);
    let world = plan().controller_flags(&["--auth-urls=false"]).start().await.unwrap();
    let got = page(&world.plain(HOST).unwrap(), "X-Ask: 200\r\n").await;
    assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=proxy_configuration_error"));
    assert_eq!(world.plain(OPEN).unwrap().get("/").await.unwrap().status, 200);
    let said = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(said.contains("--auth-urls=false"), "{said}");
}

/// A ConfigMap `told` with these texts.
fn told(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: told}}\ndata: {data}\n")
}

#[tokio::test]
async fn a_service_is_told_what_a_config_map_says_and_without_it_nobody_comes_in() {
    let (auth, backend) = (service().await, Recorder::start_with(|_| Answer::ok("in")).await.unwrap());
    let mut world = plan(backend.address(), auth.address())
        .annotation("nginx.ingress.kubernetes.io/auth-url", &format!("http://{}/check", auth.address()))
        .annotation("nginx.ingress.kubernetes.io/auth-proxy-set-headers", "told")
        .file("told.yaml", told("{X-Tenant: blue, X-Site: 'a b'}"))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    let asked = async || {
        let before = auth.text().len();
        let lies = "X-Ask: 200\r\nx-tenant: crimson\r\nX_Tenant: crimson\r\n";
        let status = page(&target, lies).await.status;
        (status, auth.text()[before..].to_owned())
    };
    let (status, question) = asked().await;
    assert_eq!(status, 200);
    assert_eq!(fields(&question, "x-tenant").collect::<Vec<_>>(), ["blue"], "{question}");
    assert_eq!(field(&question, "x-site"), Some("a b"), "{question}");
    assert!(!question.contains("crimson"), "{question}");
    world.write("told.yaml", &told("{X-Tenant: green}")).await.unwrap();
    let (status, question) = asked().await;
    assert_eq!((status, field(&question, "x-tenant")), (200, Some("green")), "{question}");
    assert_eq!(field(&question, "x-site"), None, "{question}");
    for data in [Some("{X-Tenant: $http_x_tenant}"), Some("{X-Forwarded-For: 192.0.2.1}"), None] {
        match data {
            Some(data) => world.write("told.yaml", &told(data)).await.unwrap(),
            None => world.remove("told.yaml").await.unwrap(),
        }
        let (status, question) = asked().await;
        assert_eq!((status, &*question), (503, ""), "{data:?}");
        assert_eq!(world.plain(OPEN).unwrap().get("/").await.unwrap().status, 200, "the neighbour");
    }
    world.write("told.yaml", &told("{X-Tenant: blue}")).await.unwrap();
    assert_eq!(asked().await.0, 200);
}

//! Pages of other origins: preflights answered by Longhaul, fields for the origins that may, and nobody else's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::{Answer as Got, Target};
use e2e::objects::Ingress;
use e2e::wire::fields;
use e2e::world::World;

const HOST: &str = "app.example.com";
const OTHER: &str = "other.example.com";
const TYPED: &str = "typed.example.com";
const PREFLIGHT: &str = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n";

/// An upstream with rules of its own, which must not stand beside Longhaul's.
async fn recorder() -> Recorder {
    let page = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
                Vary: Accept\r\nContent-Length: 2\r\n\r\nok";
    Recorder::start(Answer::Bytes(page.into())).await.unwrap()
}

async fn ask(target: &Target, method: &str, origin: &str, further: &str) -> Got {
    let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
    target.request(method, "/api", &format!("{origin}{further}"), b"").await.unwrap()
}

fn all(got: &Got, name: &str) -> Vec<String> {
    fields(&got.head, name).map(str::to_owned).collect()
}

#[tokio::test]
async fn preflights_are_answered_and_the_origins_that_may_are_told() {
    let recorder = recorder().await;
    let world = World::plan()
        .site(HOST, recorder.address())
        .annotation("longhaul.dev/cors-allow-origins", "https://a.test, https://*.b.test:8443")
        .annotation("longhaul.dev/cors-allow-methods", "GET, PUT")
        .annotation("longhaul.dev/cors-allow-headers", "X-A, X-B")
        .annotation("longhaul.dev/cors-expose-headers", "X-Total")
        .annotation("longhaul.dev/cors-allow-credentials", "true")
        .annotation("longhaul.dev/cors-max-age", "10m")
        .file("other.yaml", Ingress::new("other", OTHER).path("/", "backend").yaml())
        .start()
        .await
        .unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let got = ask(&target, "OPTIONS", "https://x.b.test:8443", PREFLIGHT).await;
        assert_eq!((got.status, &*got.body), (204, &b""[..]), "{got:?}");
        for (name, value) in [
            ("access-control-allow-origin", "https://x.b.test:8443"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "X-A, X-B"),
            ("access-control-max-age", "600"),
            ("vary", "Origin"),
        ] {
            assert_eq!(all(&got, name), [value], "{got:?}");
        }
        assert_eq!(all(&got, "content-length"), [""; 0], "{got:?}");
        for origin in ["https://evil.test", "https://x.y.b.test:8443", "http://a.test", "null"] {
            let got = ask(&target, "OPTIONS", origin, PREFLIGHT).await;
            assert_eq!(got.status, 204, "{got:?}");
            assert!(!got.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {got:?}");
            assert_eq!(all(&got, "vary"), ["Origin"]);
        }
    }
    assert_eq!(recorder.text(), "", "no preflight reaches the backend");

    let target = world.plain(HOST).unwrap();
    let got = ask(&target, "PUT", "https://a.test", "").await;
    assert_eq!(
        all(&got, "access-control-allow-origin"),
        ["https://a.test"],
        "the backend's is replaced: {got:?}"
    );
    assert_eq!(all(&got, "access-control-allow-credentials"), ["true"]);
    assert_eq!(all(&got, "access-control-expose-headers"), ["X-Total"]);
    assert_eq!(all(&got, "vary"), ["Accept", "Origin"]);
    for origin in ["https://evil.test", ""] {
        let got = ask(&target, "GET", origin, "").await;
        assert_eq!((got.status, got.text().as_str()), (200, "ok"), "not an Origin check");
        assert!(!got.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {got:?}");
    }
    // An OPTIONS that is no preflight is a request like others.
    assert_eq!(ask(&target, "OPTIONS", "https://a.test", "").await.status, 200);
    // The neighbour's backend speaks for itself.
    let got = ask(&world.plain(OTHER).unwrap(), "OPTIONS", "https://evil.test", PREFLIGHT).await;
    assert_eq!((got.status, all(&got, "access-control-allow-origin")), (200, vec!["*".to_owned()]));
}

#[tokio::test]
async fn a_browser_may_read_the_error_of_an_origin_that_may() {
    let recorder = recorder().await;
    let mut world = World::plan()
        .site(HOST, recorder.address())
        .annotation("longhaul.dev/cors-allow-origins", "https://a.test")
        .start()
        .await
        .unwrap();
    world.edit("backend.yaml", "ready: true", "ready: false").await.unwrap();
    let got = ask(&world.plain(HOST).unwrap(), "GET", "https://a.test", "").await;
    assert_eq!(
        (got.status, all(&got, "access-control-allow-origin")),
        (503, vec!["https://a.test".to_owned()])
    );
}

#[tokio::test]
async fn a_wsroute_says_the_same() {
    let recorder = recorder().await;
    let route = |policy: &str, http: bool| {
        format!(
            "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: typed}}\n\
             spec:\n  hosts: [{TYPED}]\n  policy: {{cors: {policy}}}\n  rules:\n\
             \x20 - {{name: all, http: {http}, backends: [{{service: backend, port: ws}}]}}\n"
        )
    };
    let mut world = World::plan()
        .site(HOST, recorder.address())
        .file("typed.yaml", route("{allowOrigins: ['*'], exposeHeaders: [X-Total]}", true))
        .start()
        .await
        .unwrap();
    let target = world.plain(TYPED).unwrap();
    let got = ask(&target, "GET", "https://anybody.test", "").await;
    assert_eq!(all(&got, "access-control-allow-origin"), ["*"]);
    assert_eq!(
        (all(&got, "access-control-allow-credentials"), all(&got, "vary")),
        (vec![], vec!["Accept".to_owned()])
    );
    // Credentials for everybody's pages are refused when they are applied: what was served goes on being served.
    world.put("typed.yaml", &route("{allowOrigins: ['*'], allowCredentials: true}", true)).unwrap();
    world.settle().await.unwrap();
    let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(diagnostics.contains("spec.policy.cors.allowCredentials"), "{diagnostics}");
    assert_eq!(
        all(&ask(&target, "GET", "https://b.test", "").await, "access-control-expose-headers"),
        ["X-Total"]
    );
    // A route for WebSockets only has no preflights to answer.
    world.write("typed.yaml", &route("{allowOrigins: ['*']}", false)).await.unwrap();
    assert_eq!(ask(&target, "OPTIONS", "https://a.test", PREFLIGHT).await.status, 426);
}

#[tokio::test]
async fn as_ingress_nginx_has_it() {
    const KEY: &str = "nginx.ingress.kubernetes.io";
    let recorder = recorder().await;
    let mut world = World::plan()
        .site(HOST, recorder.address())
        .annotation("nginx.ingress.kubernetes.io/enable-cors", "true")
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    // Its defaults: all origins, and credentials, which no browser takes together; so without those, and said.
    let got = ask(&target, "OPTIONS", "https://anybody.test", PREFLIGHT).await;
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS"),
        ("access-control-max-age", "1728000"),
    ] {
        assert_eq!(all(&got, name), [value], "{got:?}");
    }
    assert!(
        all(&got, "access-control-allow-headers")[0].starts_with("DNT, Keep-Alive, User-Agent"),
        "{got:?}"
    );
    assert_eq!((got.status, all(&got, "access-control-allow-credentials")), (204, vec![]));
    let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(diagnostics.contains("enable-cors") && diagnostics.contains("browsers refuse"), "{diagnostics}");

    let site = Ingress::new("site", HOST)
        .path("/", "backend")
        .tls_beside_plain("site-tls")
        .annotation(&format!("{KEY}/enable-cors"), "true")
        .annotation("nginx.ingress.kubernetes.io/cors-allow-origin", "https://*.a.test, nonsense")
        .annotation("nginx.ingress.kubernetes.io/cors-allow-methods", "GET")
        .annotation("nginx.ingress.kubernetes.io/cors-allow-headers", "X-A")
        .annotation("nginx.ingress.kubernetes.io/cors-expose-headers", "*")
        .annotation("nginx.ingress.kubernetes.io/cors-max-age", "600");
    world.write("site.yaml", &site.clone().yaml()).await.unwrap();
    let got = ask(&target, "OPTIONS", "https://x.a.test", PREFLIGHT).await;
    for (name, value) in [
        ("access-control-allow-origin", "https://x.a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "X-A"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(all(&got, name), [value], "{got:?}");
    }
    assert_eq!(
        all(&ask(&target, "GET", "https://x.a.test", "").await, "access-control-expose-headers"),
        ["*"]
    );
    let without = site.annotation("nginx.ingress.kubernetes.io/cors-allow-credentials", "false");
    world.write("site.yaml", &without.yaml()).await.unwrap();
    let got = ask(&target, "GET", "https://x.a.test", "").await;
    assert_eq!(all(&got, "access-control-allow-credentials"), [""; 0], "{got:?}");

    // What does not read switches it off: the backend speaks for itself.
    let bad = Ingress::new("site", HOST)
        .path("/", "backend")
        .tls_beside_plain("site-tls")
        .annotation(&format!("{KEY}/enable-cors"), "true")
        .annotation(&format!("{KEY}/cors-allow-origin"), "nonsense");
    world.write("site.yaml", &bad.yaml()).await.unwrap();
    let got = ask(&target, "OPTIONS", "https://x.a.test", PREFLIGHT).await;
    assert_eq!(
        (got.status, all(&got, "access-control-allow-origin")),
        (200, vec!["*".to_owned()]),
        "the backend's own"
    );
}

//! Paths that are regular expressions, and what is made of them: for the Ingress that asks, and for no other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::Target;
use e2e::objects::{Ingress, backend};
use e2e::wire::{field, handshake, switching_protocols};
use e2e::world::{Plan, World};

const HOST: &str = "app.example.com";
const REWRITE: &str = "nginx.ingress.kubernetes.io/rewrite-target";
const USE_REGEX: &str = "nginx.ingress.kubernetes.io/use-regex";

/// A backend that says who it is, what it was asked for, and with which prefix.
async fn named(name: &'static str) -> Recorder {
    let answer = move |head: &str| match switching_protocols(head) {
        Ok(_) => Answer::Upgrade(Vec::new()),
        Err(_) => {
            let target = head.split(' ').nth(1).unwrap_or_default();
            Answer::ok(&format!("{name} {target} {}", field(head, "x-forwarded-prefix").unwrap_or("-")))
        }
    };
    Recorder::start_with(answer).await.unwrap()
}

/// The host `/` of one Ingress, and a backend `other` for a second.
fn plan(site: &Recorder, other: &Recorder) -> Plan {
    World::plan().site(HOST, site.address()).file("other-backend.yaml", backend("other", &[other.address()]))
}

/// A second Ingress of the same host, which is served in the clear too.
fn second(annotations: &[(&str, &str)], paths: &[&str]) -> String {
    let ingress = annotations.iter().fold(
        Ingress::new("second", HOST).annotation("longhaul.dev/ssl-redirect", "false"),
        |all, (key, value)| all.annotation(key, value),
    );
    paths.iter().fold(ingress, |all, path| all.path(path, "other")).yaml()
}

async fn ask(target: &Target, path: &str) -> String {
    let got = target
        .request("GET", path, "X-Forwarded-Prefix: /client\r\nX_Forwarded_Prefix: /client\r\n", b"")
        .await
        .unwrap();
    if got.status == 200 { got.text() } else { got.status.to_string() }
}

async fn diagnostics(world: &World) -> String {
    world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string()
}

#[tokio::test]
async fn a_rewrite_with_groups_is_for_its_own_ingress() {
    let (site, other) = (named("site").await, named("other").await);
    let rewritten = [(REWRITE, "/$2"), ("nginx.ingress.kubernetes.io/x-forwarded-prefix", "/ap$1")];
    let file = second(&rewritten, &["/ap(p)(?:/|$)(.*)"]);
    let world = plan(&site, &other).file("second.yaml", file).start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    for (path, answer) in [
        ("/app", "other / /app"),
        ("/app/x/y?q=1", "other /x/y?q=1 /app"),
        ("/APP/x", "other /x /apP"),
        ("/app//evil.test", "other /evil.test /app"),
        ("/app/a%2Fb%0d", "other /a%2Fb%0D /app"),
        ("/app/../x", "site /app/../x /client"),
        ("/apple", "site /apple /client"),
        // The neighbour's `/` is still a prefix, in its own case and as it came.
        ("/ap(p)", "site /ap(p) /client"),
        ("/X/app", "site /X/app /client"),
    ] {
        assert_eq!(ask(&target, path).await, answer, "{path}");
    }
    let mut tunnel = target.wire().await.unwrap();
    tunnel.send(handshake(HOST, "/app/ws?room=1", "")).await.unwrap();
    assert!(tunnel.head().await.unwrap().starts_with("HTTP/1.1 101"));
    assert!(other.text().contains("GET /ws?room=1 HTTP/1.1"), "{}", other.text());
}

#[tokio::test]
async fn exact_paths_and_prefixes_of_others_come_first() {
    let (site, other) = (named("site").await, named("other").await);
    let file = second(&[(USE_REGEX, "true")], &["/chat/[a-z]+$", "/chat", "/.*\\.js"]);
    let mut world = plan(&site, &other).file("second.yaml", file).start().await.unwrap();
    let chat = Ingress::new("site", HOST)
        .path("/", "backend")
        .path("/chat/room", "backend")
        .tls_beside_plain("site-tls");
    world.write("site.yaml", &chat.yaml()).await.unwrap();
    let target = world.plain(HOST).unwrap();
    for (path, who) in [
        ("/chat/x", "other"),
        ("/CHAT/x/y", "other"),
        ("/chatter", "other"),
        // The neighbour's prefixes, as long as what the expressions begin with or longer.
        ("/chat/room", "site"),
        ("/chat/room/x", "site"),
        ("/main.js", "site"),
    ] {
        assert!(ask(&target, path).await.starts_with(who), "{path}: {}", ask(&target, path).await);
    }
    // One that is never reached is told so.
    let conflicts = diagnostics(&world).await;
    assert!(conflicts.contains(".js") && conflicts.contains("Conflict"), "{conflicts}");
}

#[tokio::test]
async fn an_expression_that_cannot_be_served_closes_what_it_begins_with() {
    let (site, other) = (named("site").await, named("other").await);
    let file = second(&[(USE_REGEX, "true")], &["/api/(?!private)(.*)", "/ok(.*)"]);
    let world = plan(&site, &other).file("second.yaml", file).start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    assert_eq!(ask(&target, "/api/private").await, "503");
    assert_eq!(ask(&target, "/api/public").await, "503");
    assert!(ask(&target, "/okay").await.starts_with("other"), "the rule beside it serves");
    assert!(ask(&target, "/apix").await.starts_with("site"), "and so does the neighbour");
    let said = diagnostics(&world).await;
    assert!(said.contains("look-around") && said.contains("spec.rules[0].http.paths[0].path"), "{said}");
}

#[tokio::test]
async fn without_groups_all_paths_become_one_and_that_is_said() {
    let (site, other) = (named("site").await, named("other").await);
    let file = second(&[(REWRITE, "/socket")], &["/app"]);
    let mut world = plan(&site, &other).file("second.yaml", file).start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    assert_eq!(ask(&target, "/app/x?y").await, "other /socket?y -".replace('-', "/client"));
    assert!(diagnostics(&world).await.contains("every path that"));
    // A target that is the path itself asks for nothing: the path is an ordinary prefix.
    world.write("second.yaml", &second(&[(REWRITE, "/app")], &["/app"])).await.unwrap();
    assert_eq!(ask(&target, "/app/x").await, "other /app/x /client");
    assert!(ask(&target, "/APP/x").await.starts_with("site"));
    // Ours wins.
    let ours = [(REWRITE, "/socket"), ("longhaul.dev/rewrite-prefix", "/")];
    world.write("second.yaml", &second(&ours, &["/app"])).await.unwrap();
    assert_eq!(ask(&target, "/app/x").await, "other /x /client");
    // And a value that does not read changes nothing.
    world.write("second.yaml", &second(&[(REWRITE, "/$request_uri")], &["/app"])).await.unwrap();
    assert_eq!(ask(&target, "/app/x").await, "other /app/x /client");
    assert!(diagnostics(&world).await.contains("rewrite-target"));
}

#[tokio::test]
async fn the_host_that_the_backend_gets() {
    let (site, other) = (named("site").await, named("other").await);
    let vhost = "nginx.ingress.kubernetes.io/upstream-vhost";
    let file = second(&[(vhost, "inner.example.com")], &["/inner"]);
    let mut world = plan(&site, &other).file("second.yaml", file).start().await.unwrap();
    ask(&world.plain(HOST).unwrap(), "/inner").await;
    assert!(other.text().contains("host: inner.example.com\r\n"), "{}", other.text());
    world.write("second.yaml", &second(&[(vhost, "a b")], &["/inner"])).await.unwrap();
    ask(&world.plain(HOST).unwrap(), "/inner").await;
    assert!(other.text().contains(&format!("host: {HOST}\r\n")), "{}", other.text());
    assert!(diagnostics(&world).await.contains("upstream-vhost"));
}

//! Who may come in: by the client's network, and of pages by their origin; what a list that does not read does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use e2e::backend::demo::DemoBackend;
use e2e::client::{Answer, Target};
use e2e::objects::{Ingress, backend};
use e2e::wire::{field, handshake};
use e2e::world::World;
use serde_json::Value;

const HOST: &str = "app.example.com";
const BESIDE: &str = "beside.example.com";

/// A backend, and a neighbour that serves on whatever becomes of the others.
async fn world_with(files: &[(&str, String)], flags: &[&str]) -> (World, DemoBackend) {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut plan = World::plan()
        .file("backend.yaml", backend("backend", &[blue.address()]))
        .file("beside.yaml", Ingress::new("beside", BESIDE).path("/", "backend").yaml())
        .controller_flags(flags);
    for (name, content) in files {
        plan = plan.file(name, content.clone());
    }
    (plan.start().await.unwrap(), blue)
}

fn ingress(annotations: &[(&str, &str)]) -> (&'static str, String) {
    let plain = Ingress::new("app", HOST).path("/", "backend");
    let with = annotations.iter().fold(plain, |ingress, (key, value)| ingress.annotation(key, value));
    ("app.yaml", with.yaml())
}

/// A WsRoute for [`HOST`] whose one rule takes plain requests too.
fn ws_route(rest: &str) -> (&'static str, String) {
    let text = format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: app}}\nspec:\n  ingressClassName: \
         longhaul\n  hosts: [{HOST}]\n  rules:\n  - name: all\n    http: true\n    backends: [{{service: backend, \
         port: ws}}]\n{rest}"
    );
    ("app.yaml", text)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a handshake with these further lines is answered with.
async fn handshake_of(target: &Target, path: &str, further: &str) -> Answer {
    let mut wire = target.wire().await.unwrap();
    wire.send(handshake(HOST, path, further)).await.unwrap();
    Answer::read(&mut wire).await.unwrap()
}

/// The statuses of a handshake and of a plain request from this address.
async fn asked_from(world: &World, client: &str) -> (u16, u16) {
    let target = world.plain(HOST).unwrap().from(address(client));
    let socket = handshake_of(&target, "/", "").await.status;
    (socket, target.get("/whoami").await.unwrap().status)
}

fn refused(answer: &Answer, says: &str) {
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(field(&answer.head, "proxy-status"), Some("longhaul; error=http_request_denied"));
    assert!(answer.text().contains(says), "{answer:?}");
}

/// The diagnostics that name this field.
async fn told(world: &World, of: &str) -> Vec<Value> {
    let all = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
    let of_field = |one: &&Value| one["field"].as_str().unwrap_or_default().contains(of);
    all.as_array().unwrap().iter().filter(of_field).cloned().collect()
}

#[tokio::test]
async fn lists_of_networks_let_in_and_keep_out() {
    let (mut world, _blue) = world_with(&[], &[]).await;
    let (allow, deny) = ("127.0.0.8/30, 127.0.0.20", "127.0.0.9");
    let of_route = format!("    policy: {{access: {{allow: [127.0.0.8/30, 127.0.0.20], deny: [{deny}]}}}}\n");
    for (name, object) in [
        (
            "longhaul.dev/allow-cidrs",
            ingress(&[("longhaul.dev/allow-cidrs", allow), ("longhaul.dev/deny-cidrs", deny)]),
        ),
        (
            "nginx.ingress.kubernetes.io/allowlist-source-range",
            ingress(&[
                ("nginx.ingress.kubernetes.io/allowlist-source-range", allow),
                ("nginx.ingress.kubernetes.io/denylist-source-range", deny),
            ]),
        ),
        (
            "nginx.ingress.kubernetes.io/whitelist-source-range",
            ingress(&[
                ("nginx.ingress.kubernetes.io/whitelist-source-range", "127.0.0.10/30,127.0.0.20"),
                ("nginx.ingress.kubernetes.io/denylist-source-range", deny),
            ]),
        ),
        ("WsRoute", ws_route(&of_route)),
    ] {
        world.write(object.0, &object.1).await.unwrap();
        for (client, status) in [
            ("127.0.0.8", true),
            ("127.0.0.9", false),
            ("127.0.0.11", true),
            ("127.0.0.12", false),
            ("127.0.0.20", true),
            ("127.0.0.1", false),
        ] {
            let wanted = if status { (101, 200) } else { (403, 403) };
            assert_eq!(asked_from(&world, client).await, wanted, "{name}: {client}");
        }
        refused(&handshake_of(&world.plain(HOST).unwrap(), "/", "").await, "clients of this network");
        assert_eq!(world.plain(BESIDE).unwrap().get("/whoami").await.unwrap().status, 200, "{name}");
        world.remove(object.0).await.unwrap();
    }
    let refusals = world.proxy().unwrap().metrics().await.unwrap();
    assert!(refusals.count("longhaul_refusals_total", &[("reason", "http_request_denied")]).unwrap() > 0);
}

/// The proxy listens for both families; a client of IPv4 is seen as an address that is mapped into IPv6.
#[tokio::test]
async fn clients_of_both_families_are_known_by_their_own_addresses() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan()
        .file("backend.yaml", backend("backend", &[blue.address()]))
        .proxy_flags(&["--http", "[::]:0"])
        .start()
        .await
        .unwrap();
    let port = world.proxy().unwrap().http().port();
    let v4 = Target::plain(SocketAddr::new(address("127.0.0.1"), port), HOST);
    let v6 = Target::plain(SocketAddr::new(address("::1"), port), HOST);
    for (list, of_v4, of_v6) in [
        ("127.0.0.1", 101, 403),
        ("::ffff:127.0.0.0/104", 101, 403),
        ("::1", 403, 101),
        ("::/0", 403, 101),
        ("0.0.0.0/0", 101, 403),
        ("0.0.0.0/0,::/0", 101, 101),
    ] {
        let (name, object) = ingress(&[("longhaul.dev/allow-cidrs", list)]);
        world.write(name, &object).await.unwrap();
        let got = (handshake_of(&v4, "/", "").await.status, handshake_of(&v6, "/", "").await.status);
        assert_eq!(got, (of_v4, of_v6), "{list}");
    }
}

/// cert-manager's list for everybody, beside an Ingress of the same host that lets in few.
#[tokio::test]
async fn a_challenge_is_answered_to_everybody() {
    let solver = Ingress::new("cm-acme-http-solver", HOST)
        .annotation("nginx.ingress.kubernetes.io/whitelist-source-range", "0.0.0.0/0,::/0")
        .path("/.well-known/acme-challenge/whoami", "backend");
    let few = ingress(&[("nginx.ingress.kubernetes.io/whitelist-source-range", "192.0.2.0/24")]);
    let (world, _blue) = world_with(&[few, ("solver.yaml", solver.yaml())], &[]).await;
    let status = async |path: &str| world.plain(HOST).unwrap().get(path).await.unwrap().status;
    assert_eq!(status("/.well-known/acme-challenge/whoami").await, 200);
    assert_eq!(status("/whoami").await, 403);
    assert_eq!(told(&world, "source-range").await, Vec::<Value>::new());
}

#[tokio::test]
async fn of_ingress_nginx_two_names_the_present_one_counts() {
    let both = [
        ("nginx.ingress.kubernetes.io/allowlist-source-range", "127.0.0.8"),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", "nonsense"),
    ];
    let (mut world, _blue) = world_with(&[ingress(&both)], &[]).await;
    assert_eq!(asked_from(&world, "127.0.0.8").await, (101, 200));
    assert_eq!(asked_from(&world, "127.0.0.9").await, (403, 403));
    assert_eq!(told(&world, "whitelist-source-range").await[0]["severity"], "Warning");
    let empty = [(both[0].0, ""), (both[1].0, "127.0.0.9")];
    world.write("app.yaml", &ingress(&empty).1).await.unwrap();
    assert_eq!(asked_from(&world, "127.0.0.8").await, (403, 403));
    assert_eq!(asked_from(&world, "127.0.0.9").await, (101, 200));
}

#[tokio::test]
async fn the_list_is_compared_with_who_a_trusted_proxy_says_it_is() {
    let list = ingress(&[("longhaul.dev/allow-cidrs", "203.0.113.0/24, 2001:db8::/32")]);
    let (world, _blue) = world_with(&[list], &["--trusted-proxies", "127.0.0.1/32,198.51.100.0/24"]).await;
    let target = world.plain(HOST).unwrap();
    for (forwarded, status) in [
        ("203.0.113.7", 101),
        ("2001:db8::7", 101),
        ("192.0.2.1, 203.0.113.7, 198.51.100.1", 101),
        ("203.0.113.7, 192.0.2.1", 403),
        ("203.0.113.7, nonsense", 403),
    ] {
        let further = format!("X-Forwarded-For: {forwarded}\r\n");
        assert_eq!(handshake_of(&target, "/", &further).await.status, status, "{forwarded}");
    }
    let stranger = target.from(address("127.0.0.9"));
    let claims = handshake_of(&stranger, "/", "X-Forwarded-For: 203.0.113.7\r\n").await;
    assert_eq!(claims.status, 403, "who is not trusted can claim what it likes");
}

#[tokio::test]
async fn pages_of_listed_origins_may_open_sockets() {
    let (mut world, _blue) = world_with(&[], &[]).await;
    let list = "SameHost, https://chat.example.com, https://*.pages.example.com, http://localhost:*";
    let quoted = list.split(", ").map(|origin| format!("{origin:?}")).collect::<Vec<_>>().join(", ");
    let of_route = format!("    policy: {{access: {{origins: [{quoted}]}}}}\n");
    for object in [ingress(&[("longhaul.dev/allow-origins", list)]), ws_route(&of_route)] {
        world.write(object.0, &object.1).await.unwrap();
        let target = world.plain(HOST).unwrap();
        for (origin, status) in [
            ("https://app.example.com", 101),
            ("http://app.example.com", 101),
            ("https://app.example.com:8443", 403),
            ("https://chat.example.com", 101),
            ("https://chat.example.com:443", 101),
            ("http://chat.example.com", 403),
            ("https://chat.example.com.evil.test", 403),
            ("https://a.pages.example.com", 101),
            ("https://a.b.pages.example.com", 403),
            ("https://pages.example.com", 403),
            ("http://localhost:3000", 101),
            ("https://evil.test", 403),
            ("null", 403),
            ("nonsense", 403),
        ] {
            let got = handshake_of(&target, "/", &format!("Origin: {origin}\r\n")).await;
            assert_eq!(got.status, status, "{origin}");
            if status == 403 {
                refused(&got, "pages of this origin");
            }
        }
        assert_eq!(handshake_of(&target, "/", "").await.status, 101, "who is no browser says none");
        let twice = "Origin: https://chat.example.com\r\nOrigin: https://chat.example.com\r\n";
        assert_eq!(handshake_of(&target, "/", twice).await.status, 403);
        let plain = target.request("GET", "/whoami", "Origin: https://evil.test\r\n", b"").await.unwrap();
        assert_eq!(plain.status, 200, "plain requests are CORS's business");
        world.remove(object.0).await.unwrap();
    }
    world.write("app.yaml", &ingress(&[("longhaul.dev/allow-origins", "null")]).1).await.unwrap();
    let got = handshake_of(&world.plain(HOST).unwrap(), "/", "Origin: null\r\n").await;
    assert_eq!(got.status, 101, "a sandboxed frame, where it is listed");
}

/// Each malformed list: which closes, who is told, and that the neighbour serves.
#[tokio::test]
async fn a_list_that_does_not_read_closes_its_routes() {
    let (mut world, _blue) = world_with(&[], &[]).await;
    for (key, value) in [
        ("longhaul.dev/allow-cidrs", "127.0.0.0/33"),
        ("longhaul.dev/allow-cidrs", ""),
        ("longhaul.dev/deny-cidrs", "192.0.2.7; 192.0.2.8"),
        ("longhaul.dev/allow-origins", "app.example.com"),
        ("nginx.ingress.kubernetes.io/allowlist-source-range", "127.0.0.0/8,"),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", "everybody"),
        ("nginx.ingress.kubernetes.io/denylist-source-range", "10.0.0.256"),
    ] {
        world.write("app.yaml", &ingress(&[(key, value)]).1).await.unwrap();
        assert_eq!(asked_from(&world, "127.0.0.1").await, (503, 503), "{key}: {value}");
        assert_eq!(world.plain(BESIDE).unwrap().get("/whoami").await.unwrap().status, 200, "{key}");
        let told = told(&world, key).await;
        let said = &told[0];
        assert_eq!((told.len(), said["severity"].as_str()), (1, Some("Error")), "{key}: {told:?}");
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(value) && message.contains("the routes answer 503"), "{said}");
        assert_eq!((&said["object"]["kind"], &said["object"]["name"]), (&"Ingress".into(), &"app".into()));
        assert!(said["remedy"].as_str().unwrap().starts_with("write "), "{said}");
    }
}

/// What a WsRoute's schema cannot see closes its rule; what it can is refused, as the API server would.
#[tokio::test]
async fn a_rule_whose_list_does_not_read_is_closed_and_its_neighbour_serves() {
    let rule = |name: &str, path: &str, access: &str| {
        format!(
            "  - {{name: {name}, http: true, matches: [{{path: {{value: {path}}}}}], backends: [{{service: backend, \
             port: ws}}], policy: {{access: {access}}}}}\n"
        )
    };
    let bad = rule("bad", "/bad", "{allow: ['1::2::3']}");
    let (mut world, _blue) = world_with(&[ws_route(&bad)], &[]).await;
    let status = async |world: &World, path: &str| world.plain(HOST).unwrap().get(path).await.unwrap().status;
    assert_eq!((status(&world, "/bad").await, status(&world, "/whoami").await), (503, 200));
    let said = &told(&world, "spec.rules[1].policy.access.allow[0]").await[0];
    assert_eq!(said["severity"], "Error", "{said}");

    let refused = rule("bad", "/bad", "{allow: [10.0.0.0/33]}");
    world.write("app.yaml", &ws_route(&refused).1).await.unwrap();
    assert_eq!(status(&world, "/bad").await, 503, "the version before it stays");
    assert!(!told(&world, "spec.rules[1].policy.access.allow[0]").await.is_empty());
}

//! Who may come in: by the client's network, and of pages by their origin; what a list that does not read does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use e2e::backend::demo::DemoBackend;
use e2e::client::{Answer, Target};
use e2e::objects::{Ingress, backend};
use e2e::wire::{Wire, field, handshake};
use e2e::world::World;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

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

/// A rule of a WsRoute for plain requests, whose answer names the backend.
fn rule(name: &str, matches: &str) -> String {
    format!(
        "  - {{name: {name}, http: true, backends: [{{service: {name}, port: ws}}], matches: [{{path: {{value: \
         /whoami}}, {matches}}}]}}\n"
    )
}

/// Three backends behind conditions of one path; the more of them hold, the sooner a rule is asked.
#[tokio::test]
async fn requests_are_matched_by_regular_expressions_and_client_networks() {
    let (named, near, both) = (
        DemoBackend::start("named").await.unwrap(),
        DemoBackend::start("near").await.unwrap(),
        DemoBackend::start("both").await.unwrap(),
    );
    let version = "headers: [{name: X-Version, type: Regex, value: 'v[0-9]+|next'}]";
    let room = "queryParams: [{name: room, type: Regex, value: '[a-f]+'}]";
    let here = "clientCIDRs: [127.0.0.8/30, '::1']";
    let rules = [
        rule("named", version),
        rule("near", here),
        rule("both", &format!("{version}, {room}, {here}")),
        rule("refused", "headers: [{name: X-A, type: Regex, value: 'a(?=b)'}]"),
    ];
    let (mut world, _blue) = world_with(&[ws_route(&rules.concat())], &[]).await;
    for (name, backend_of) in [("named", &named), ("near", &near), ("both", &both)] {
        world.write(&format!("{name}.yaml"), &backend(name, &[backend_of.address()])).await.unwrap();
    }
    for (client, target, further, name) in [
        ("127.0.0.1", "/whoami", "", "blue"),
        ("127.0.0.1", "/whoami", "X-Version: v12\r\n", "named"),
        ("127.0.0.1", "/whoami", "X-Version: next\r\n", "named"),
        ("127.0.0.1", "/whoami", "X-Version: v12b\r\n", "blue"),
        ("127.0.0.1", "/whoami", "X-Version: v12\r\nX-Version: v13\r\n", "blue"),
        ("127.0.0.9", "/whoami", "", "near"),
        ("127.0.0.12", "/whoami", "", "blue"),
        ("127.0.0.9", "/whoami?room=abc", "X-Version: v1\r\n", "both"),
        ("127.0.0.9", "/whoami?room=%61", "X-Version: v1\r\n", "both"),
        ("127.0.0.9", "/whoami?room=xyz", "X-Version: x\r\n", "near"),
        ("127.0.0.1", "/whoami?room=abc", "X-Version: v1\r\n", "named"),
    ] {
        let from = world.plain(HOST).unwrap().from(address(client));
        let got = from.request("GET", target, further, b"").await.unwrap();
        let served = field(&got.head, e2e::backend::NAME_HEADER);
        assert_eq!(served, Some(name), "{client} {target} {further}: {got:?}");
    }
    let said = &told(&world, "spec.rules[4].matches[0].headers[0].value").await[0];
    assert!(said["message"].as_str().unwrap().contains("look-around"), "{said}");
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2, with two extensions behind the addresses.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let further = b"\x01\x00\x02h2\x20\x00\x0f\x01\0\0\0\0\x21\x00\x07TLSv1.3";
    let length = u16::try_from(addresses.len() + further.len()).unwrap().to_be_bytes();
    [V2, &[command, family], &length, addresses, further].concat()
}

/// What the backend is told of a request that comes behind this header, in the clear and over TLS; nothing where the
/// connection was dropped.
async fn announced(world: &World, header: &[u8], further: &str) -> Option<Value> {
    let request = format!("GET /whoami HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{further}\r\n");
    let mut plain = world.plain(HOST).unwrap().wire().await.unwrap();
    // In pieces, and with the request right behind: a read is never one message.
    let behind = [header, request.as_bytes()].concat();
    let pieces = header.len() > 20;
    let sent = if pieces { plain.send_in_pieces(&behind).await } else { plain.send(&behind).await };
    let in_the_clear = if sent.is_ok() { Answer::read(&mut plain).await.ok() } else { None };

    let mut stream = tokio::net::TcpStream::connect(world.proxy().unwrap().https()).await.unwrap();
    stream.write_all(header).await.unwrap();
    let connector = TlsConnector::from(world.authority().trusting_client().unwrap());
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let over_tls = match connector.connect(name, stream).await {
        Ok(stream) => {
            let mut wire = Wire::new(stream);
            wire.send(request).await.unwrap();
            Some(Answer::read(&mut wire).await.unwrap())
        }
        Err(_) => None,
    };
    let real = |answer: &Answer| heard(answer.json().ok().as_ref(), "x-real-ip");
    assert_eq!(in_the_clear.as_ref().map(real), over_tls.as_ref().map(real), "{}", header.escape_ascii());
    in_the_clear.map(|answer| answer.json().unwrap())
}

async fn behind_a_balancer(further: &[&str]) -> (World, DemoBackend) {
    let blue = DemoBackend::start("blue").await.unwrap();
    let flags = [&["--proxy-protocol-from", "127.0.0.1"], further].concat();
    let world = World::plan().site(HOST, blue.address()).controller_flags(&flags).start().await.unwrap();
    (world, blue)
}

/// The lines of a field that the backend got.
fn heard(seen: Option<&Value>, field: &str) -> Vec<String> {
    let all = seen.map(|seen| &seen["headers"]).and_then(Value::as_array).into_iter().flatten();
    let of_field = all.filter(|line| line[0] == field);
    of_field.map(|line| line[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_balancer_says_whose_a_connection_is() {
    let (world, _blue) = behind_a_balancer(&[]).await;
    let v4 = [&[192, 0, 2, 7][..], &[127, 0, 0, 1], &[0x1f, 0x90, 0, 80]].concat();
    let mut v6 = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    v6.extend([0; 16]);
    v6.extend([0x1f, 0x90, 0, 80]);
    let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::1 8080 80\r\n";
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 8080 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 8080 80\r\n".to_vec(), "2001:db8::7"),
        (mapped.as_bytes().to_vec(), "192.0.2.7"),
        (v2(0x21, 0x11, &v4), "192.0.2.7"),
        (v2(0x21, 0x21, &v6), "2001:db8::7"),
        // The balancer's own connections, and those of which it knows no more.
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
        (v2(0x21, 0x00, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let seen = announced(&world, &header, "X-Forwarded-For: 203.0.113.1\r\n").await;
        assert_eq!(heard(seen.as_ref(), "x-real-ip"), [client], "{}", header.escape_ascii());
        assert_eq!(heard(seen.as_ref(), "x-forwarded-for"), [client], "nobody is trusted");
    }
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    let counted = |result| metrics.count("longhaul_proxy_headers_total", &[("result", result)]).unwrap();
    assert_eq!((counted("client"), counted("peer")), (10, 6), "each in the clear and over TLS");
}

#[tokio::test]
async fn who_must_announce_and_does_not_is_dropped() {
    let (world, _blue) = behind_a_balancer(&[]).await;
    let mut wrong_family = v2(0x21, 0x11, &[192, 0, 2, 7]);
    wrong_family[13] = 0x41;
    for header in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7 127.0.0.1 8080\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 8080 80 more than there may be, on and on, without an end to it, more and more\r\n",
        &[V2, &[0x21, 0x11, 0, 4, 192, 0, 2, 7]].concat(),
        &[V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        &wrong_family,
    ] {
        assert_eq!(announced(&world, header, "").await, None, "{}", header.escape_ascii());
    }
    // Others are not asked, and can claim nothing.
    let stranger = world.plain(HOST).unwrap().from(address("127.0.0.9"));
    let seen = stranger.get("/whoami").await.unwrap().json().unwrap();
    assert_eq!(heard(Some(&seen), "x-real-ip"), ["127.0.0.9"]);
    let mut wire = stranger.wire().await.unwrap();
    let claims =
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 8080 80\r\nGET /whoami HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    wire.send(claims).await.unwrap();
    assert_eq!(Answer::read(&mut wire).await.unwrap().status, 400);
    // Nobody waits for ever for what does not come.
    let mut silent = world.plain(HOST).unwrap().wire().await.unwrap();
    silent.send("PROXY TCP4").await.unwrap();
    silent.ended().await.unwrap();
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    let counted = |result| metrics.count("longhaul_proxy_headers_total", &[("result", result)]).unwrap();
    assert_eq!((counted("malformed"), counted("timeout"), counted("client")), (12, 1, 0));
}

/// A balancer that passes bytes on, before it a proxy that speaks HTTP, and a list of who may come in.
#[tokio::test]
async fn a_trusted_proxy_behind_a_balancer_says_for_whom_it_comes() {
    let flags = ["--trusted-proxies", "198.51.100.0/24,2001:db8:100::/48"];
    let (mut world, blue) = behind_a_balancer(&flags).await;
    let list = Ingress::new("site", HOST)
        .path("/", "backend")
        .tls_beside_plain("site-tls")
        .annotation("longhaul.dev/allow-cidrs", "203.0.113.0/24, 2001:db8:7::/48");
    world.write("site.yaml", &list.yaml()).await.unwrap();
    let from = |address: &str| {
        let family = if address.contains(':') { "TCP6" } else { "TCP4" };
        let to = if address.contains(':') { "::1" } else { "127.0.0.1" };
        format!("PROXY {family} {address} {to} 8080 80\r\n").into_bytes()
    };
    for (connected, forwarded, client) in [
        ("198.51.100.9", "203.0.113.7", "203.0.113.7"),
        ("198.51.100.9", "192.0.2.1, 2001:db8:7::1, 198.51.100.3", "2001:db8:7::1"),
        ("2001:db8:100::9", "203.0.113.7", "203.0.113.7"),
    ] {
        let seen = announced(&world, &from(connected), &format!("X-Forwarded-For: {forwarded}\r\n")).await;
        assert_eq!(heard(seen.as_ref(), "x-real-ip"), [client], "{connected} {forwarded}");
        assert_eq!(heard(seen.as_ref(), "x-forwarded-for").join(", "), format!("{forwarded}, {connected}"));
    }
    // The balancer itself is trusted with the address of who connected, and with nothing else.
    for (connected, forwarded) in [("192.0.2.1", "203.0.113.7"), ("198.51.100.9", "203.0.113.7, 192.0.2.1")] {
        let mut wire = world.plain(HOST).unwrap().wire().await.unwrap();
        wire.send(from(connected)).await.unwrap();
        wire.send(handshake(HOST, "/", &format!("X-Forwarded-For: {forwarded}\r\n"))).await.unwrap();
        refused(&Answer::read(&mut wire).await.unwrap(), "clients of this network");
    }
    let mut wire = world.plain(HOST).unwrap().wire().await.unwrap();
    wire.send(from("203.0.113.7")).await.unwrap();
    wire.send(handshake(HOST, "/", "")).await.unwrap();
    assert_eq!(Answer::read(&mut wire).await.unwrap().status, 101);
    drop(blue);
}

/// nginx.ingress.kubernetes.io/satisfy: a network or a password.
#[tokio::test]
async fn one_of_network_and_proof_may_be_enough() {
    const SATISFY: &str = "nginx.ingress.kubernetes.io/satisfy";
    let users = "apiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData:\n  \
                 auth: \"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\"\n";
    let (mut world, _blue) = world_with(&[("users.yaml", users.to_owned())], &[]).await;
    let guarded = [
        ("nginx.ingress.kubernetes.io/auth-type", "basic"),
        ("nginx.ingress.kubernetes.io/auth-secret", "users"),
        ("nginx.ingress.kubernetes.io/allowlist-source-range", "127.0.0.8/30"),
        ("nginx.ingress.kubernetes.io/denylist-source-range", "127.0.0.9"),
    ];
    let (proof, none) = ("Authorization: Basic YW5uOnNlY3JldA==\r\n", "");
    let asked = async |world: &World, client: &str, further: &str| {
        let target = world.plain(HOST).unwrap().from(address(client));
        let page = target.request("GET", "/whoami", further, b"").await.unwrap().status;
        (handshake_of(&target, "/", further).await.status, page)
    };
    let (within, kept_out, unproven) = ((101, 200), (403, 403), (401, 401));
    for (satisfy, rows) in [
        ("any", [within, within, within, unproven, within, unproven]),
        ("all", [within, unproven, kept_out, kept_out, kept_out, kept_out]),
    ] {
        let object = ingress(&[&guarded[..], &[(SATISFY, satisfy)]].concat());
        world.write(object.0, &object.1).await.unwrap();
        let clients = [("127.0.0.8", proof), ("127.0.0.8", none), ("127.0.0.9", proof), ("127.0.0.9", none)];
        let others = [("127.0.0.20", proof), ("127.0.0.20", none)];
        for ((client, further), wanted) in clients.into_iter().chain(others).zip(rows) {
            assert_eq!(asked(&world, client, further).await, wanted, "{satisfy}: {client} {further}");
        }
    }
    // Without anything to prove the lists alone decide; what does not read closes.
    let object = ingress(&[guarded[2], (SATISFY, "any")]);
    world.write(object.0, &object.1).await.unwrap();
    assert_eq!(asked(&world, "127.0.0.20", none).await, kept_out);
    let object = ingress(&[&guarded[..], &[(SATISFY, "either")]].concat());
    world.write(object.0, &object.1).await.unwrap();
    assert_eq!(asked(&world, "127.0.0.8", proof).await, (503, 503));
    assert_eq!(told(&world, SATISFY).await.len(), 1);
}

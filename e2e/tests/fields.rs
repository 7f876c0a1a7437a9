//! Fields of requests and responses that a route changes: on handshakes, plain requests and what an upstream answers
//! in place of a tunnel; and what no route can change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::Answer as Got;
use e2e::client::Target;
use e2e::objects::{Ingress, backend};
use e2e::wire::{field, fields, handshake, switching_protocols};
use e2e::world::{Plan, World};

const HOST: &str = "app.example.com";
const OTHER: &str = "other.example.com";

/// What the upstream answers: a 101, a refusal of one, or a page; each with fields of its own.
fn answers(head: &str) -> Answer {
    const FURTHER: &str =
        "X-Kept: 1\r\nX-Gone: 1\r\nX-Set: theirs\r\nStrict-Transport-Security: max-age=1\r\n";
    match (switching_protocols(head), head.contains("/refused")) {
        (Ok(accepted), false) => {
            Answer::Bytes(format!("{}{FURTHER}\r\n", accepted.strip_suffix("\r\n").unwrap()).into_bytes())
        }
        (_, true) => Answer::Bytes(
            format!("HTTP/1.1 403 Forbidden\r\n{FURTHER}Content-Length: 2\r\n\r\nno").into_bytes(),
        ),
        (Err(_), false) => {
            Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{FURTHER}Content-Length: 2\r\n\r\nok").into_bytes())
        }
    }
}

/// A neighbour on the same backend, whose requests and answers nothing may change.
fn plan(recorder: &Recorder) -> Plan {
    World::plan()
        .site(HOST, recorder.address())
        .file("other.yaml", Ingress::new("other", OTHER).path("/", "backend").yaml())
}

fn ws_route(policy: &str) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: typed}}\n\
         spec:\n  hosts: [typed.example.com]\n  policy: {policy}\n  rules:\n\
         \x20 - {{name: all, http: true, backends: [{{service: backend, port: ws}}]}}\n"
    )
}

/// The heads that the client gets for a handshake, a refused handshake and a page.
async fn heads(target: &Target, host: &str, further: &str) -> [String; 3] {
    let mut tunnel = target.wire().await.unwrap();
    tunnel.send(handshake(host, "/", further)).await.unwrap();
    let tunnel = tunnel.head().await.unwrap();
    let mut refused = target.wire().await.unwrap();
    refused.send(handshake(host, "/refused", further)).await.unwrap();
    let refused = Got::read(&mut refused).await.unwrap();
    let page = target.request("GET", "/page", further, b"").await.unwrap();
    assert_eq!((&tunnel[9..12], refused.status, page.status), ("101", 403, 200), "{tunnel}");
    [tunnel, refused.head, page.head]
}

/// What the upstream got of these three. Connections are used again, so their order says nothing.
async fn received(recorder: &Recorder, host: &str) -> Vec<String> {
    let of_host = |records: &[Vec<u8>]| -> Vec<String> {
        let text = String::from_utf8_lossy(&records.concat()).into_owned();
        let heads = text.split_inclusive("\r\n\r\n").filter(|head| field(head, "host") == Some(host));
        heads.map(str::to_owned).collect()
    };
    of_host(&recorder.wait_for(|records| of_host(records).len() == 3).await.unwrap())
}

#[tokio::test]
async fn a_route_changes_the_fields_of_handshakes_and_plain_requests() {
    let recorder = Recorder::start_with(answers).await.unwrap();
    let world = plan(&recorder)
        .annotation("longhaul.dev/set-request-headers", "X-Tenant: blue\nX-Forwarded-Prefix: /app\n")
        .annotation("longhaul.dev/add-response-headers", "X-Kept: 2\nX-Extra: a, b\n")
        .file(
            "typed.yaml",
            ws_route(
                "{headers: {request: {set: {X-Tenant: green}, add: {X-Tag: ours}, remove: [X-Secret]}, \
                 response: {set: {X-Set: ours}, add: {X-Kept: '2'}, remove: [X-Gone]}}}",
            ),
        )
        .start()
        .await
        .unwrap();
    // A name in any case, its alias with underscores, and one that Connection nominates, are the client's no longer.
    let further = "x-tenant: red\r\nX_Tenant: red\r\nX-Secret: 1\r\nX_Secret: 1\r\nX-Tag: theirs\r\n";
    for head in heads(&world.plain(HOST).unwrap(), HOST, further).await {
        assert_eq!(fields(&head, "x-kept").collect::<Vec<_>>(), ["1", "2"], "{head}");
        assert_eq!((field(&head, "x-extra"), field(&head, "x-gone")), (Some("a, b"), Some("1")), "{head}");
    }
    for request in received(&recorder, HOST).await {
        assert_eq!(fields(&request, "x-tenant").collect::<Vec<_>>(), ["blue"], "{request}");
        assert_eq!(field(&request, "x-forwarded-prefix"), Some("/app"));
        assert!(!request.to_ascii_lowercase().contains("x_tenant"), "{request}");
        assert_eq!((field(&request, "x-secret"), field(&request, "x-tag")), (Some("1"), Some("theirs")));
    }
    for head in heads(&world.plain("typed.example.com").unwrap(), "typed.example.com", further).await {
        assert_eq!(fields(&head, "x-set").collect::<Vec<_>>(), ["ours"], "{head}");
        assert_eq!(fields(&head, "x-kept").collect::<Vec<_>>(), ["1", "2"], "{head}");
        assert_eq!(field(&head, "x-gone"), None, "{head}");
    }
    for request in received(&recorder, "typed.example.com").await {
        assert_eq!(fields(&request, "x-tenant").collect::<Vec<_>>(), ["green"], "{request}");
        assert_eq!(fields(&request, "x-tag").collect::<Vec<_>>(), ["theirs", "ours"], "{request}");
        assert!(!request.to_ascii_lowercase().contains("secret"), "{request}");
    }
    // The neighbour's pass as they are.
    for head in heads(&world.plain(OTHER).unwrap(), OTHER, further).await {
        assert_eq!((field(&head, "x-set"), field(&head, "x-extra")), (Some("theirs"), None), "{head}");
    }
    for request in received(&recorder, OTHER).await {
        assert_eq!(field(&request, "x-tenant"), Some("red"), "{request}");
    }
}

/// A ConfigMap `fields` with these texts.
fn config_map(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: fields}}\ndata: {data}\n")
}

#[tokio::test]
async fn fields_of_a_config_map_are_set_on_every_answer_as_it_says_now() {
    let recorder = Recorder::start_with(answers).await.unwrap();
    let mut world = plan(&recorder)
        .annotation("nginx.ingress.kubernetes.io/custom-headers", "default/fields")
        .file("fields.yaml", config_map("{X-Set: ours, X-Frame-Options: DENY}"))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    for head in heads(&target, HOST, "").await {
        assert_eq!(fields(&head, "x-set").collect::<Vec<_>>(), ["ours"], "{head}");
        assert_eq!((field(&head, "x-frame-options"), field(&head, "x-kept")), (Some("DENY"), Some("1")));
    }
    world.write("fields.yaml", &config_map("{X-Set: 'newer, still'}")).await.unwrap();
    for head in heads(&target, HOST, "").await {
        assert_eq!(fields(&head, "x-set").collect::<Vec<_>>(), ["newer, still"], "{head}");
        assert_eq!(field(&head, "x-frame-options"), None, "{head}");
    }
    // What cannot be set, and what is not there, protects nobody: the routes are served without.
    for (data, said) in [
        (
            Some("{X-Set: ours, Content-Length: '7'}"),
            "ConfigMap default/fields: \\\"Content-Length\\\" is not",
        ),
        (None, "there is no ConfigMap default/fields"),
    ] {
        match data {
            Some(data) => world.write("fields.yaml", &config_map(data)).await.unwrap(),
            None => world.remove("fields.yaml").await.unwrap(),
        }
        for head in heads(&target, HOST, "").await {
            assert_eq!(fields(&head, "x-set").collect::<Vec<_>>(), ["theirs"], "{head}");
        }
        let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        assert!(diagnostics.contains(said), "{said}: {diagnostics}");
        assert!(diagnostics.contains("nginx.ingress.kubernetes.io/custom-headers"), "{diagnostics}");
    }
}

#[tokio::test]
async fn what_no_route_may_change_is_refused_and_the_rest_is_served() {
    let recorder = Recorder::start_with(answers).await.unwrap();
    let mut world = plan(&recorder).start().await.unwrap();
    for (line, remedy) in [
        ("Host: evil.test", "longhaul.dev/upstream-host"),
        ("X-Forwarded-For: 10.0.0.1", "--trusted-proxies"),
        ("X-Real-IP: 10.0.0.1", "--trusted-proxies"),
        ("Connection: close", "Longhaul writes it itself"),
        ("Transfer-Encoding: chunked", "Longhaul writes it itself"),
        ("Sec-WebSocket-Key: x", "subprotocols"),
        ("X-A: 1\\r\\n\\r\\nGET /smuggled HTTP/1.1", "X-Tenant: blue"),
    ] {
        let line = line.replace("\\r\\n", "\r\n");
        let site = Ingress::new("site", HOST)
            .path("/", "backend")
            .tls_beside_plain("site-tls")
            .annotation("longhaul.dev/set-request-headers", &line);
        world.write("site.yaml", &site.yaml()).await.unwrap();
        let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        assert!(
            diagnostics.contains("longhaul.dev/set-request-headers") && diagnostics.contains(remedy),
            "{line}: {diagnostics}"
        );
        assert_eq!(world.plain(HOST).unwrap().get("/page").await.unwrap().status, 200, "{line}");
    }
    assert!(!recorder.text().contains("smuggled") && !recorder.text().contains("evil"));
}

#[tokio::test]
async fn browsers_are_told_of_tls_over_tls_only() {
    let recorder = Recorder::start_with(answers).await.unwrap();
    let typed = ws_route("{hsts: {maxAge: 1h}}");
    let mut world = plan(&recorder)
        .annotation("longhaul.dev/hsts", "4320h, includeSubdomains")
        .file("typed.yaml", typed)
        .controller_flags(&["--trusted-proxies", "127.0.0.0/8"])
        .start()
        .await
        .unwrap();
    let told = |head: &str| fields(head, "strict-transport-security").map(str::to_owned).collect::<Vec<_>>();
    for head in heads(&world.tls(HOST).unwrap(), HOST, "").await {
        assert_eq!(told(&head), ["max-age=15552000; includeSubDomains"], "{head}");
    }
    // In the clear it is the backend's own affair, as it is everywhere without the setting.
    for head in heads(&world.plain(HOST).unwrap(), HOST, "").await {
        assert_eq!(told(&head), ["max-age=1"], "{head}");
    }
    // Something in front of Longhaul ends TLS.
    let further = "X-Forwarded-Proto: https\r\n";
    let forwarded =
        world.plain("typed.example.com").unwrap().request("GET", "/", further, b"").await.unwrap();
    assert_eq!(told(&forwarded.head), ["max-age=3600"]);
    // Longhaul's own answers say it too.
    world.write("backend.yaml", &backend("backend", &[])).await.unwrap();
    let got = world.tls(HOST).unwrap().get("/").await.unwrap();
    assert_eq!((got.status, told(&got.head)), (503, vec!["max-age=15552000; includeSubDomains".to_owned()]));
    let got = world.plain(HOST).unwrap().get("/").await.unwrap();
    assert_eq!((got.status, told(&got.head)), (503, vec![]));
}

/// nginx.ingress.kubernetes.io/proxy-cookie-domain and nginx.ingress.kubernetes.io/proxy-cookie-path, on the 101, on the
/// answer in place of one, and on a page.
#[tokio::test]
async fn cookies_of_backends_are_set_for_what_clients_see() {
    const COOKIES: &str = "Set-Cookie: a=1; Domain=chat.internal; Path=/one/two; HttpOnly\r\n\
                           Set-Cookie: b=2; Domain=other.internal; Path=/two\r\n";
    let recorder = Recorder::start_with(|head| match answers(head) {
        Answer::Bytes(bytes) => {
            let text = String::from_utf8(bytes).unwrap().replacen("X-Kept: 1\r\n", COOKIES, 1);
            Answer::Bytes(text.into_bytes())
        }
        other => other,
    });
    let recorder = recorder.await.unwrap();
    let mut world = plan(&recorder)
        .annotation("nginx.ingress.kubernetes.io/proxy-cookie-domain", "chat.internal app.example.com")
        .annotation("nginx.ingress.kubernetes.io/proxy-cookie-path", "/one/ /")
        .start()
        .await
        .unwrap();
    let changed =
        ["a=1; Domain=app.example.com; Path=/two; HttpOnly", "b=2; Domain=other.internal; Path=/two"];
    let as_set = ["a=1; Domain=chat.internal; Path=/one/two; HttpOnly", changed[1]];
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        for head in heads(&target, HOST, "").await {
            assert_eq!(fields(&head, "set-cookie").collect::<Vec<_>>(), changed, "{head}");
        }
    }
    for head in heads(&world.plain(OTHER).unwrap(), OTHER, "").await {
        assert_eq!(fields(&head, "set-cookie").collect::<Vec<_>>(), as_set, "{head}");
    }
    for (domain, path) in [("off", "off"), ("~^(.*)$ $1", "one two"), ("a", "/a /b /c")] {
        let site = Ingress::new("site", HOST)
            .path("/", "backend")
            .tls_beside_plain("site-tls")
            .annotation("nginx.ingress.kubernetes.io/proxy-cookie-domain", domain)
            .annotation("nginx.ingress.kubernetes.io/proxy-cookie-path", path);
        world.write("site.yaml", &site.yaml()).await.unwrap();
        for head in heads(&world.plain(HOST).unwrap(), HOST, "").await {
            assert_eq!(fields(&head, "set-cookie").collect::<Vec<_>>(), as_set, "{domain} {path}");
        }
    }
}

//! Redirects of ingress-nginx: pages and handshakes are sent elsewhere, without any backend.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::Answer as Got;
use e2e::objects::Ingress;
use e2e::wire::{field, handshake, switching_protocols};
use e2e::world::World;

const PERMANENT: &str = "nginx.ingress.kubernetes.io/permanent-redirect";
const PERMANENT_CODE: &str = "nginx.ingress.kubernetes.io/permanent-redirect-code";
const TEMPORAL: &str = "nginx.ingress.kubernetes.io/temporal-redirect";
const TEMPORAL_CODE: &str = "nginx.ingress.kubernetes.io/temporal-redirect-code";

const HOST: &str = "app.example.com";
const OLD: &str = "old.example.com";

async fn world() -> (World, Recorder) {
    let answer = |head: &str| match switching_protocols(head) {
        Ok(_) => Answer::Upgrade(Vec::new()),
        Err(_) => Answer::ok("page"),
    };
    let recorder = Recorder::start_with(answer).await.unwrap();
    let world = World::plan().site(HOST, recorder.address()).start().await.unwrap();
    (world, recorder)
}

/// An Ingress whose backend does not exist.
fn old(annotations: &[(&str, &str)]) -> String {
    let ingress = Ingress::new("old", OLD).path("/", "nobody");
    annotations.iter().fold(ingress, |all, (key, value)| all.annotation(key, value)).yaml()
}

/// Status and Location of a page and of a handshake.
async fn sent(world: &World, host: &str, path: &str) -> [(u16, Option<String>); 2] {
    let target = world.plain(host).unwrap();
    let page = target.get(path).await.unwrap();
    let mut wire = target.wire().await.unwrap();
    wire.send(handshake(host, path, "")).await.unwrap();
    let socket = wire.head().await.unwrap();
    let location = |head: &str| field(head, "location").map(str::to_owned);
    let status = socket[9..12].parse().unwrap();
    [(page.status, location(&page.head)), (status, location(&socket))]
}

#[tokio::test]
async fn clients_are_sent_elsewhere_without_a_backend() {
    let (mut world, _recorder) = world().await;
    let before = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
    for (annotations, status, location) in [
        (&[(PERMANENT, "https://new.test/x")][..], 301, "https://new.test/x"),
        (&[(PERMANENT, "$scheme://new.test$request_uri")], 301, "http://new.test/a?b=%0d"),
        (
            &[(PERMANENT, "https://$host.new.test/"), (PERMANENT_CODE, "308")],
            308,
            "https://old.example.com.new.test/",
        ),
        (&[(PERMANENT, "https://new.test/"), (TEMPORAL, "https://busy.test/")], 302, "https://busy.test/"),
        (&[(TEMPORAL, "https://busy.test/"), (TEMPORAL_CODE, "307")], 307, "https://busy.test/"),
    ] {
        world.write("old.yaml", &old(annotations)).await.unwrap();
        let elsewhere = (status, Some(location.to_owned()));
        assert_eq!(sent(&world, OLD, "/a?b=%0d").await, [elsewhere.clone(), elsewhere], "{annotations:?}");
        let after = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
        assert_eq!(after, before, "a backend that is never asked need not exist");
        assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 200);
    }
    // What does not read sends nobody anywhere, and is named.
    for (annotations, named) in [
        (&[(PERMANENT, "javascript:alert(1)")][..], PERMANENT),
        (&[(TEMPORAL, "https://a.test/\r\nSet-Cookie: a=b")], TEMPORAL),
    ] {
        world.write("old.yaml", &old(annotations)).await.unwrap();
        assert_eq!(sent(&world, OLD, "/").await, [(503, None), (503, None)], "{annotations:?}");
        assert!(
            world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string().contains(named)
        );
    }
    world.write("old.yaml", &old(&[(PERMANENT, "https://a.test/"), (PERMANENT_CODE, "200")])).await.unwrap();
    assert_eq!(sent(&world, OLD, "/").await[0], (301, Some("https://a.test/".to_owned())));
}

#[tokio::test]
async fn a_page_of_the_root_is_elsewhere_and_a_socket_is_not() {
    let (mut world, recorder) = world().await;
    let site = |root: &str| {
        Ingress::new("site", HOST)
            .path("/", "backend")
            .tls_beside_plain("site-tls")
            .annotation("nginx.ingress.kubernetes.io/app-root", root)
            .yaml()
    };
    world.write("site.yaml", &site("/app")).await.unwrap();
    assert_eq!(sent(&world, HOST, "/").await, [(302, Some("/app".to_owned())), (101, None)]);
    assert_eq!(sent(&world, HOST, "/app").await, [(200, None), (101, None)]);
    assert_eq!(sent(&world, HOST, "/x/..?y").await[0], (302, Some("/app".to_owned())));
    let post: Got = world.plain(HOST).unwrap().request("POST", "/app/", "", b"body").await.unwrap();
    assert_eq!((post.status, post.text().as_str()), (200, "page"), "{}", recorder.text());
    world.write("site.yaml", &site("//evil.test")).await.unwrap();
    assert_eq!(sent(&world, HOST, "/").await[0], (200, None));
}

/// nginx.ingress.kubernetes.io/from-to-www-redirect
#[tokio::test]
async fn the_other_name_of_a_host_leads_to_it_unless_something_is_served_there() {
    const KEY: &str = "nginx.ingress.kubernetes.io/from-to-www-redirect";
    let (mut world, _recorder) = world().await;
    let names = ["shop.test", "www.shop.test"];
    let pair = world.authority().issue(&names).unwrap();
    world.write("pair.yaml", &pair.secret("default", "pair")).await.unwrap();
    for [host, other] in [names, [names[1], names[0]]] {
        let shop =
            Ingress::new("shop", host).path("/", "backend").tls_beside_plain("pair").annotation(KEY, "true");
        world.write("shop.yaml", &shop.yaml()).await.unwrap();
        for (target, scheme) in [(world.plain(other).unwrap(), "http"), (world.tls(other).unwrap(), "https")]
        {
            let elsewhere = (308, Some(format!("{scheme}://{host}/a?b")));
            let page = target.get("/a?b").await.unwrap();
            assert_eq!((page.status, field(&page.head, "location").map(str::to_owned)), elsewhere);
        }
        let elsewhere = (308, Some(format!("http://{host}/")));
        assert_eq!(sent(&world, other, "/").await, [elsewhere.clone(), elsewhere]);
        assert_eq!(sent(&world, host, "/").await, [(200, None), (101, None)]);

        // An Ingress of its own, of however little.
        let own = Ingress::new("own", other).path("/own", "backend");
        let own = own.annotation("longhaul.dev/ssl-redirect", "false").yaml();
        world.write("own.yaml", &own).await.unwrap();
        assert_eq!(sent(&world, other, "/own").await, [(200, None), (101, None)]);
        assert_eq!(sent(&world, other, "/").await, [(404, None), (404, None)]);
        world.remove("own.yaml").await.unwrap();
        assert_eq!(sent(&world, other, "/").await[0].0, 308);
        // Another part of the site that says it too is no conflict.
        let part = Ingress::new("part", host).path("/part", "backend").annotation(KEY, "true").yaml();
        world.write("part.yaml", &part).await.unwrap();
        assert_eq!(sent(&world, other, "/part").await[0], (308, Some(format!("http://{host}/part"))));
        let said = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        assert!(!said.contains("Conflicted"), "{said}");
        world.remove("part.yaml").await.unwrap();
    }
    world
        .edit("shop.yaml", "from-to-www-redirect: \"true\"", "from-to-www-redirect: \"false\"")
        .await
        .unwrap();
    assert_eq!(sent(&world, names[0], "/").await, [(404, None), (404, None)]);
}

/// nginx.ingress.kubernetes.io/preserve-trailing-slash asks for what is done anyway.
#[tokio::test]
async fn a_trailing_slash_stays() {
    let (mut world, _recorder) = world().await;
    for value in ["true", "false"] {
        let site = Ingress::new("site", HOST).path("/", "backend").tls("site-tls");
        let site = site.annotation("nginx.ingress.kubernetes.io/preserve-trailing-slash", value).yaml();
        world.write("site.yaml", &site).await.unwrap();
        let got = world.plain(HOST).unwrap().get("/a/").await.unwrap();
        assert_eq!(got.status, 308);
        assert!(
            field(&got.head, "location").is_some_and(|location| location.ends_with("/a/")),
            "{}",
            got.head
        );
    }
}

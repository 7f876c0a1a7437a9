//! Longhaul's cookie as it is on the wire.

use std::fs;

use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::objects;
use e2e::wire::fields;
use e2e::world::{Plan, World};

const HOST: &str = "app.example.com";

/// Three backends behind two proxies. Dropped, they end.
struct Site {
    world: World,
    backends: [DemoBackend; 3],
}

impl Site {
    async fn start(annotations: &[(&str, &str)]) -> Self {
        Self::start_with(World::plan(), annotations).await
    }

    async fn start_with(plan: Plan, annotations: &[(&str, &str)]) -> Self {
        let backends = [
            DemoBackend::start("red").await.unwrap(),
            DemoBackend::start("green").await.unwrap(),
            DemoBackend::start("blue").await.unwrap(),
        ];
        let mut plan = plan.site(HOST, backends[0].address()).proxies(2);
        for (key, value) in annotations {
            plan = plan.annotation(key, value);
        }
        let mut site = Self { world: plan.start().await.unwrap(), backends };
        site.serve(&["red", "green", "blue"]).await;
        site
    }

    async fn serve(&mut self, names: &[&str]) {
        let all = ["red", "green", "blue"].iter().zip(&self.backends);
        let addresses: Vec<_> =
            all.filter(|(name, _)| names.contains(name)).map(|(_, backend)| backend.address()).collect();
        self.world.write("backend.yaml", &objects::backend("backend", &addresses)).await.unwrap();
    }

    fn at(&self, proxy: usize) -> Target {
        self.world.plain_at(proxy, HOST).unwrap()
    }
}

/// Who answers a request with this cookie, and what its answer sets.
async fn ask(target: &Target, cookie: &str) -> (String, Vec<String>) {
    let line = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let answer = target.request("GET", "/whoami", &line, b"").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let backend = answer.json().unwrap()["backend"].as_str().unwrap().to_owned();
    (backend, fields(&answer.head, "set-cookie").map(str::to_owned).collect())
}

/// Name and value, without what is said about them.
fn pair(set: &[String]) -> String {
    assert_eq!(set.len(), 1, "{set:?}");
    set[0].split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_cookie_brings_requests_and_handshakes_back_through_every_proxy() {
    let site = Site::start(&[("longhaul.dev/affinity-cookie", "longhaul")]).await;
    let (backend, set) = ask(&site.at(0), "").await;
    let cookie = pair(&set);
    assert_eq!(set[0], format!("{cookie}; Path=/; HttpOnly"));
    for backend in &site.backends {
        assert!(!cookie.contains(&backend.address().port().to_string()), "{cookie} names an address");
    }
    for turn in 0..12 {
        assert_eq!(ask(&site.at(turn % 2), &format!("a=b; {cookie}")).await, (backend.clone(), Vec::new()));
        let headers = [("Cookie", &*cookie)];
        let socket = site.at(turn % 2).websocket_with("/", &headers).await.unwrap();
        assert_eq!(socket.backend(), backend);
        assert_eq!(socket.response.headers().get("set-cookie"), None, "it has what it needs");
    }
    // A handshake can come first, too.
    let socket = site.at(1).websocket("/").await.unwrap();
    let set = socket.response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.ends_with("; Path=/; HttpOnly"), "{set}");
    assert_eq!(ask(&site.at(0), &pair(&[set])).await, (socket.backend().to_owned(), Vec::new()));
}

#[tokio::test]
async fn a_cookie_survives_restarts_of_both_programs_and_every_change_of_routes() {
    // One that is told to leave keeps what it has for the next; that may take no longer than that.
    let plan = World::plan().proxy_flags(&["--shutdown-delay=0s", "--drain-period=1s"]);
    let mut site = Site::start_with(plan, &[("longhaul.dev/affinity-cookie", "longhaul")]).await;
    let (backend, set) = ask(&site.at(0), "").await;
    let cookie = pair(&set);
    let held = async |site: &Site| {
        for _ in 0..6 {
            assert_eq!(ask(&site.at(0), &cookie).await, (backend.clone(), Vec::new()));
        }
    };
    site.world
        .edit("site.yaml", "ssl-redirect", "access-log: \"true\"\n    longhaul.dev/ssl-redirect")
        .await
        .unwrap();
    held(&site).await;
    site.world.kill_controller().unwrap();
    site.world.proxy_mut().unwrap().process.stop().await.unwrap();
    site.world.start_proxy(0).await.unwrap();
    held(&site).await;
    site.world.start_controller().await.unwrap();
    // One more change, so that the proxies have a world of the new controller.
    let other = objects::backend("other", &[site.backends[0].address()]);
    site.world.write("other.yaml", &other).await.unwrap();
    held(&site).await;
}

#[tokio::test]
async fn an_endpoint_that_left_and_what_is_not_ours_are_a_new_pick_and_a_new_cookie() {
    let mut site = Site::start(&[("longhaul.dev/affinity-cookie", "longhaul")]).await;
    let (backend, set) = ask(&site.at(0), "").await;
    let cookie = pair(&set);
    let others: Vec<_> = ["red", "green", "blue"].into_iter().filter(|name| *name != backend).collect();
    site.serve(&others).await;
    for proxy in [0, 1] {
        let (now, set) = ask(&site.at(proxy), &cookie).await;
        assert_ne!(now, backend);
        let new = pair(&set);
        assert_ne!(new, cookie);
        assert_eq!(ask(&site.at(1 - proxy), &new).await, (now, Vec::new()));
    }
    site.serve(&["red", "green", "blue"]).await;
    assert_eq!(ask(&site.at(1), &cookie).await, (backend, Vec::new()), "it is there again");
    // As ingress-nginx and others wrote them.
    let long = format!("longhaul={}", "x".repeat(4000));
    let foreign = ["longhaul=1700000000.123.45.6|0123456789abcdef0123456789abcdef", "longhaul=", &long];
    for foreign in foreign {
        let (_, set) = ask(&site.at(0), foreign).await;
        assert!(pair(&set).starts_with("longhaul="));
        let socket = site.at(0).websocket_with("/", &[("Cookie", foreign)]).await.unwrap();
        assert!(socket.response.headers().contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn the_cookie_is_as_the_annotations_say_and_secure_over_tls() {
    let site = Site::start(&[
        ("nginx.ingress.kubernetes.io/affinity", "cookie"),
        ("nginx.ingress.kubernetes.io/session-cookie-max-age", "3600"),
        ("nginx.ingress.kubernetes.io/session-cookie-samesite", "Lax"),
        ("nginx.ingress.kubernetes.io/session-cookie-path", "/whoami"),
        ("nginx.ingress.kubernetes.io/session-cookie-domain", "example.com"),
    ])
    .await;
    let tls = site.world.tls(HOST).unwrap();
    let (backend, set) = ask(&tls, "").await;
    let cookie = pair(&set);
    assert!(cookie.starts_with("INGRESSCOOKIE="), "{cookie}");
    let said = "; Path=/whoami; Domain=example.com; Max-Age=3600; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(set[0], format!("{cookie}{said}"));
    assert_eq!(ask(&site.at(1), &cookie).await, (backend, Vec::new()), "in the clear it counts as well");
}

#[tokio::test]
async fn the_path_is_the_one_that_is_matched() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let ingress = objects::Ingress::new("chat", HOST)
        .path("/chat", "chat")
        .annotation("longhaul.dev/affinity-cookie", "longhaul");
    let plan = World::plan().file("chat.yaml", ingress.yaml());
    let world = plan.file("backend.yaml", objects::backend("chat", &[blue.address()])).start().await.unwrap();
    let answer = world.plain(HOST).unwrap().get("/chat/whoami").await.unwrap();
    let set: Vec<_> = fields(&answer.head, "set-cookie").collect();
    assert!(set[0].ends_with("; Path=/chat; HttpOnly"), "{set:?}");
    // Nobody was picked: nothing is set.
    let missing = world.plain(HOST).unwrap().get("/elsewhere").await.unwrap();
    assert_eq!((missing.status, fields(&missing.head, "set-cookie").count()), (404, 0));
}

#[tokio::test]
async fn the_key_comes_from_a_file_and_shows_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let flag = format!("--affinity-key-file={}", file.display());
    let annotations = [("longhaul.dev/affinity-cookie", "longhaul")];
    let site = Site::start_with(World::plan().controller_flags(&[&flag]), &annotations).await;
    let (_, set) = ask(&site.at(0), "").await;
    let cookie = pair(&set);
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.len(), 64);
    let mut said = site.world.logs();
    for page in ["/metrics", "/api/routes", "/api/objects", "/api/diagnostics"] {
        said.push_str(&site.world.controller().unwrap().admin().get(page).await.unwrap().text());
    }
    said.push_str(&site.world.proxy().unwrap().admin().get("/metrics").await.unwrap().text());
    assert!(!said.contains(&key) && !said.contains(cookie.split_once('=').unwrap().1));
    // Another machine with the same key and the same endpoints understands the cookie.
    let other = World::plan().controller_flags(&[&flag]).site(HOST, site.backends[0].address());
    let mut other = other.annotation("longhaul.dev/affinity-cookie", "longhaul").start().await.unwrap();
    let addresses = [0, 1, 2].map(|number: usize| site.backends[number].address());
    other.write("backend.yaml", &objects::backend("backend", &addresses)).await.unwrap();
    let there = ask(&other.plain(HOST).unwrap(), &cookie).await;
    assert_eq!(there, ask(&site.at(0), &cookie).await);
    assert_eq!(there.1, [""; 0]);
}

#[tokio::test]
async fn a_wsroute_says_the_same() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let route = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: chat}\nspec:\n  \
                 ingressClassName: longhaul\n  hosts: [app.example.com]\n  \
                 policy: {affinity: {cookie: {name: room, maxAge: 1h, sameSite: Strict, secure: true}}}\n  \
                 rules: [{name: all, backends: [{service: chat, port: ws}]}]\n";
    let plan = World::plan().file("chat.yaml", route);
    let world = plan.file("backend.yaml", objects::backend("chat", &[blue.address()])).start().await.unwrap();
    let socket = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    let set = socket.response.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("room="), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict"), "{set}");
}

//! The whole controller over a directory, with proxies at its socket: from an edited file to the frames.

mod proxy;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use controller::{Config, Controller, Source};
use crds::wsroute::{Address, AddressKind};
use proxy::Proxy;
use snapshot::frame::{Base, PROTOCOL, Quarantined, ToController, ToProxy};
use snapshot::{HostPattern, Key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use translate::Settings;

/// A controller over a directory of its own.
struct World {
    controller: Controller,
    place: tempfile::TempDir,
}

impl World {
    async fn start(files: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let world = place.path().join("objects");
        fs::create_dir(&world).expect("created once");
        for (name, text) in files {
            fs::write(world.join(name), text).expect("written");
        }
        let controller =
            Controller::start(config(&world, &place.path().join("socket")), CancellationToken::new());
        Self { controller: controller.await.expect("it starts"), place }
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("socket")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("objects").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path).await
    }

    async fn request(&self, method: &str, path: &str) -> (u16, String) {
        self.request_at(self.controller.admin().expect("asked for"), method, path).await
    }

    async fn request_at(&self, address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        (head[9..12].parse().expect("a status"), body.into())
    }

    /// Asks until the answer holds: for what proxies' answers lead to, which nobody acknowledges.
    async fn eventually(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let begun = tokio::time::Instant::now();
        loop {
            let (_, body) = self.get(path).await;
            if holds(&body) {
                return body;
            }
            assert!(begun.elapsed() < proxy::HANG, "{path} never says so: {body}");
            tokio::task::yield_now().await;
        }
    }
}

fn config(directory: &Path, socket: &Path) -> Config {
    Config {
        affinity_key: None,
        source: Source::Directory(directory.into()),
        socket: socket.into(),
        admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        observe: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        settings: Settings {
            built_in_class: Some("longhaul".into()),
            loopback_endpoints: true,
            addresses: vec![Address { kind: AddressKind::Hostname, value: "lb.test".into() }],
            ..Settings::default()
        },
    }
}

fn ingress(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  rules:\n  \
         - host: {host}\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        \
         backend: {{service: {{name: chat, port: {{number: 80}}}}}}\n"
    )
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: chat\n  annotations:\n    \
                       longhaul.dev/addresses: 127.0.0.1:9000\nspec: {ports: [{port: 80}]}\n";

fn host(name: &str) -> Key {
    Key::Host(HostPattern::Exact(name.into()))
}

#[tokio::test]
async fn edits_of_every_sort_reach_the_proxy() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test")), ("service.yaml", SERVICE)]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    let (base, _) = proxy.follow().await;
    assert_eq!((base, proxy::hosts(&proxy.snapshot)), (Base::Empty, vec!["a.test".into()]));

    // Written in place, and a new file beside it.
    world.write("a.yaml", &ingress("a", "edited.test"));
    proxy.follow_until(&["edited.test"]).await;
    world.write("b.yaml", &ingress("b", "b.test"));
    proxy.follow_until(&["b.test", "edited.test"]).await;

    // As editors do: beside it, then over it.
    world.write("b.yaml.new", &ingress("b", "renamed.test"));
    fs::rename(world.path("b.yaml.new"), world.path("b.yaml")).unwrap();
    proxy.follow_until(&["edited.test", "renamed.test"]).await;

    // In a directory that came later, and gone with it.
    fs::create_dir(world.path("sub")).unwrap();
    world.write("sub/c.yaml", &ingress("c", "c.test"));
    proxy.follow_until(&["c.test", "edited.test", "renamed.test"]).await;
    fs::remove_dir_all(world.path("sub")).unwrap();
    proxy.follow_until(&["edited.test", "renamed.test"]).await;

    fs::remove_file(world.path("b.yaml")).unwrap();
    proxy.follow_until(&["edited.test"]).await;
    // Deleting everything for real works too.
    fs::remove_file(world.path("a.yaml")).unwrap();
    proxy.follow_until(&[]).await;
    world.controller.stop().await;
    assert!(!world.place.path().join("socket").exists());
}

#[tokio::test]
async fn a_file_that_is_half_written_is_waited_for() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow_until(&["a.test"]).await;
    // Empty from here on, and something happens beside it that asks for a look.
    let mut file = fs::File::create(world.path("a.yaml")).unwrap();
    world.write("b.yaml", &ingress("b", "b.test"));
    std::io::Write::write_all(&mut file, ingress("a", "a2.test").as_bytes()).unwrap();
    drop(file);
    proxy.follow().await;
    assert_eq!(proxy::hosts(&proxy.snapshot), ["a2.test", "b.test"], "in one step, never without");
}

#[tokio::test]
async fn links_that_are_swapped_are_edits() {
    let world = World::start(&[]).await;
    // As the kubelet mounts a ConfigMap: a hidden link that is replaced by renaming another one over it.
    for (version, name) in [("..v1", "one.test"), ("..v2", "two.test")] {
        fs::create_dir(world.path(version)).unwrap();
        world.write(&format!("{version}/a.yaml"), &ingress("a", name));
    }
    symlink("..v1", world.path("..data")).unwrap();
    symlink("..data/a.yaml", world.path("a.yaml")).unwrap();
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow_until(&["one.test"]).await;
    symlink("..v2", world.path("..data.new")).unwrap();
    fs::rename(world.path("..data.new"), world.path("..data")).unwrap();
    proxy.follow_until(&["two.test"]).await;

    // The file behind the link, outside of the tree.
    let elsewhere = world.place.path().join("elsewhere.yaml");
    fs::write(&elsewhere, ingress("b", "three.test")).unwrap();
    symlink(&elsewhere, world.path("b.yaml")).unwrap();
    proxy.follow_until(&["three.test", "two.test"]).await;
    fs::write(&elsewhere, ingress("b", "four.test")).unwrap();
    proxy.follow_until(&["four.test", "two.test"]).await;
}

#[tokio::test]
async fn the_directory_itself_may_be_a_link_that_is_swapped() {
    let place = tempfile::tempdir().unwrap();
    for (version, name) in [("v1", "one.test"), ("v2", "two.test")] {
        fs::create_dir_all(place.path().join(version).join("objects")).unwrap();
        fs::write(place.path().join(version).join("objects/a.yaml"), ingress("a", name)).unwrap();
    }
    let (current, socket) = (place.path().join("current"), place.path().join("socket"));
    symlink("v1", &current).unwrap();
    let stop = CancellationToken::new();
    let controller = Controller::start(config(&current.join("objects"), &socket), stop).await.unwrap();
    let mut proxy = Proxy::connect(&socket).await;
    proxy.follow_until(&["one.test"]).await;
    symlink("v2", place.path().join("next")).unwrap();
    fs::rename(place.path().join("next"), &current).unwrap();
    proxy.follow_until(&["two.test"]).await;
    controller.stop().await;
}

#[tokio::test]
async fn what_is_broken_stays_as_it_was_and_the_rest_goes_on() {
    let world =
        World::start(&[("a.yaml", &ingress("a", "a.test")), ("b.yaml", &ingress("b", "b.test"))]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow_until(&["a.test", "b.test"]).await;

    world.write("a.yaml", "kind: [\n");
    world.write("b.yaml", &ingress("b", "better.test"));
    proxy.follow_until(&["a.test", "better.test"]).await;
    let said = world.eventually("/api/diagnostics", |body| body.contains("cannot be read")).await;
    assert!(said.contains("objects/a.yaml") && said.contains("\"line\": 2"), "{said}");

    world.write(
        "a.yaml",
        &(ingress("a", "a2.test").replace("rules", "rulez") + "---\n" + &ingress("c", "c.test")),
    );
    proxy.follow_until(&["a.test", "better.test", "c.test"]).await;
    let said = world.eventually("/api/diagnostics", |body| body.contains("did you mean `rules`?")).await;
    assert!(said.contains("\"line\": 5") && said.contains("spec.rulez"), "{said}");

    // The directory goes, and everything stays; it comes back, and what it says counts.
    let (objects, aside) = (world.place.path().join("objects"), world.place.path().join("aside"));
    fs::rename(&objects, &aside).unwrap();
    world.eventually("/api/diagnostics", |body| body.contains("the directory cannot be read")).await;
    fs::write(aside.join("b.yaml"), ingress("b", "back.test")).unwrap();
    fs::rename(&aside, &objects).unwrap();
    proxy.follow_until(&["a.test", "back.test", "c.test"]).await;
    world.eventually("/api/diagnostics", |body| !body.contains("the directory cannot be read")).await;

    // Removed for real and made anew, it is another directory of that name.
    fs::remove_dir_all(&objects).unwrap();
    world.eventually("/api/diagnostics", |body| body.contains("the directory cannot be read")).await;
    fs::create_dir(&objects).unwrap();
    proxy.follow_until(&[]).await;
    world.write("d.yaml", &ingress("d", "d.test"));
    proxy.follow_until(&["d.test"]).await;
}

/// A WsRoute of one rule, with this policy.
fn wsroute(name: &str, host: &str, policy: &str) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{host}]\n  \
         rules:\n  - name: all\n    backends: [{{service: chat, port: 80}}]\n    policy: {policy}\n"
    )
}

#[tokio::test]
async fn the_directory_refuses_what_the_api_server_would() {
    let both = "{rewrite: {prefix: /, path: /}}";
    let at_start = wsroute("late", "late.test", both);
    let world = World::start(&[
        ("service.yaml", SERVICE),
        ("w.yaml", &wsroute("w", "one.test", "{timeouts: {idle: 5m}}")),
        ("late.yaml", &(at_start.clone() + "---\n" + &ingress("i", "i.test"))),
        ("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"),
    ])
    .await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    // What is refused at start is not there; the other object of its file is.
    proxy.follow_until(&["i.test", "one.test"]).await;
    let said = world.eventually("/api/diagnostics", |body| body.contains("exclude each other")).await;
    for part in ["objects/late.yaml", "\"line\": 9", "spec.rules[0].policy.rewrite.path", "name one of them"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("ConfigMap") && !said.contains("config.yaml"), "{said}");

    // What is refused later stays as it was, by a bound of the schema or by a rule across fields.
    for (policy, words, times) in
        [("{timeouts: {idle: 5 minutes}}", "5 minutes", 1), (both, "exclude each other", 2)]
    {
        world.write("w.yaml", &wsroute("w", "two.test", policy));
        world.eventually("/api/diagnostics", |body| body.matches(words).count() == times).await;
        world.write("i.yaml", &ingress("j", "j.test"));
        proxy.follow_until(&["i.test", "j.test", "one.test"]).await;
        fs::remove_file(world.path("i.yaml")).unwrap();
        proxy.follow_until(&["i.test", "one.test"]).await;
    }
    world.write("w.yaml", &wsroute("w", "two.test", "{rewrite: {prefix: /}}"));
    world.write("late.yaml", &ingress("i", "i.test"));
    proxy.follow_until(&["i.test", "two.test"]).await;
    world.eventually("/api/diagnostics", |body| !body.contains("exclude each other")).await;
}

#[tokio::test]
async fn a_change_travels_alone_and_two_proxies_do_not_wait_for_each_other() {
    let many: String =
        (0..1_000).map(|n| ingress(&format!("i{n}"), &format!("h{n}.test")) + "---\n").collect();
    let world = World::start(&[("many.yaml", &many), ("service.yaml", SERVICE), ("one.yaml", "")]).await;
    let mut quick = Proxy::connect(&world.socket()).await;
    let mut slow = Proxy::connect(&world.socket()).await;
    quick.follow().await;
    let unanswered = slow.receive().await;
    assert_eq!((unanswered.hosts().len(), unanswered.generation), (1_000, quick.generation));

    for name in ["x.test", "y.test", "z.test"] {
        world.write("one.yaml", &ingress("one", name));
        while !proxy::hosts(&quick.snapshot).contains(&name.to_owned()) {
            let received = quick.receive().await;
            assert!(received.bytes < 4096, "{} bytes for one change", received.bytes);
            quick.apply(received, Vec::new()).await;
        }
    }
    // The slow one answers at last, and gets the newest in one step.
    slow.apply(unanswered, Vec::new()).await;
    let (base, sections) = slow.follow().await;
    assert!(matches!(base, Base::Held(_)) && sections == [host("z.test")], "{sections:?}");
    assert_eq!(slow.snapshot, quick.snapshot);
}

#[tokio::test]
async fn what_a_proxy_holds_is_not_sent_again() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow().await;
    let (generation, snapshot) = (proxy.generation, proxy.snapshot.clone());
    drop(proxy);

    // The same content under another epoch's number, as after a restart of the controller.
    let foreign = snapshot::frame::Generation { epoch: !generation.epoch, number: 77 };
    let mut again = Proxy::connect_with(&world.socket(), foreign, snapshot.clone()).await;
    let (base, sections) = again.follow().await;
    assert_eq!((base, sections.len()), (Base::Held(snapshot.digest()), 0));
    assert_eq!(again.generation, generation);

    world.write("a.yaml", &ingress("a", "b.test"));
    let (base, sections) = again.follow().await;
    assert_eq!((base, &sections[..]), (Base::Held(snapshot.digest()), &[host("b.test")][..]));

    // What is old by now is no ground to build on.
    let mut old = Proxy::connect_with(&world.socket(), generation, snapshot).await;
    assert_eq!(old.follow().await.0, Base::Empty);
    assert_eq!(old.snapshot, again.snapshot);
}

#[tokio::test]
async fn a_refusal_gets_a_full_generation_and_only_one() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow().await;
    world.write("a.yaml", &ingress("a", "b.test"));
    let refused = proxy.receive().await;
    assert!(matches!(refused.base, Base::Held(_)));
    let no = ToController::Refused { generation: refused.generation, reason: "a gap".into() };
    proxy.send(&no).await;
    let full = proxy.receive().await;
    assert_eq!((full.base, full.generation), (Base::Empty, refused.generation));
    // Refused again, it is not sent for ever: the next thing that comes is the next generation, whole.
    proxy.send(&no).await;
    world.eventually("/api/objects", |body| body.contains("Rejected") && body.contains("a gap")).await;
    world
        .eventually("/api/diagnostics", |body| body.contains("it refuses the newest generation: a gap"))
        .await;
    world.write("a.yaml", &ingress("a", "c.test"));
    let next = proxy.receive().await;
    assert_eq!((next.base, next.generation.number), (Base::Empty, refused.generation.number + 1));
    proxy.apply(next, Vec::new()).await;
    world
        .eventually("/api/objects", |body| body.contains("\"Programmed\"") && !body.contains("Rejected"))
        .await;
}

#[tokio::test]
async fn acknowledgements_are_told_to_people() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test")), ("service.yaml", SERVICE)]).await;
    world.eventually("/api/objects", |body| body.contains("NoProxy")).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    let received = proxy.receive().await;
    world.eventually("/api/objects", |body| body.contains("Pending") && body.contains("0/1 proxies")).await;
    let quarantined = vec![Quarantined { key: host("a.test"), reason: "odd header".into() }];
    proxy.apply(received, quarantined).await;
    let objects = world.eventually("/api/objects", |body| body.contains("Rejected")).await;
    assert!(objects.contains("host a.test: odd header"), "{objects}");
    world
        .eventually("/api/diagnostics", |body| body.contains("cannot use the host a.test: odd header"))
        .await;
    // Better later, without a new generation.
    let generation = proxy.generation;
    proxy.send(&ToController::Applied { generation, quarantined: Vec::new() }).await;
    world.eventually("/api/objects", |body| body.contains("\"reason\": \"Programmed\"")).await;

    let (status, routes) = world.get("/api/routes").await;
    assert!(status == 200 && routes.contains("a.test") && routes.contains("\"applied\": 1"), "{routes}");
    let (_, metrics) = world.get("/metrics").await;
    for line in [
        "longhaul_controller_objects{kind=\"Ingress\"} 1",
        "longhaul_controller_generation 1",
        "longhaul_controller_proxies_connected 1",
        "longhaul_controller_proxies_current 1",
        "longhaul_controller_translations_total 1",
        "# HELP longhaul_controller_socket_sent_bytes",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    for (method, path, status) in [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/readyz?verbose", 200),
        ("GET", "/", 404),
        ("GET", "/api/routes/x", 404),
        ("POST", "/api/routes", 405),
        ("DELETE", "/nothing", 404),
    ] {
        assert_eq!(world.request(method, path).await.0, status, "{method} {path}");
    }
    drop(proxy);
    world.eventually("/api/objects", |body| body.contains("NoProxy")).await;
}

#[tokio::test]
async fn objects_are_told_their_addresses_and_events() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let objects = world.eventually("/api/objects", |body| body.contains("BackendNotFound")).await;
    let objects: serde_json::Value = serde_json::from_str(&objects).expect("JSON");
    let report = &objects[0]["report"];
    assert_eq!(report["addresses"], serde_json::json!([{"type": "Hostname", "value": "lb.test"}]));
    let [event] = &report["events"].as_array().expect("a list")[..] else { unreachable!("{report}") };
    assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"BackendNotFound".into()));
    assert!(event["message"].as_str().is_some_and(|text| text.contains("there is no Service")), "{event}");
    // What was wrong is no event any more once it is right.
    world.write("service.yaml", SERVICE);
    world.eventually("/api/objects", |body| body.contains("\"events\": []")).await;
}

#[tokio::test]
async fn garbage_on_the_socket_harms_only_itself() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let mut proxy = Proxy::connect(&world.socket()).await;
    proxy.follow().await;
    let silent = UnixStream::connect(world.socket()).await.unwrap();

    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 2, 9, 9], &[0, 0, 0, 0]] {
        let mut stranger = Proxy::dial(&world.socket()).await;
        stranger.send_bytes(garbage).await;
        assert_eq!(stranger.read().await, None, "{garbage:?}");
    }
    // Another version is told ours before the door closes.
    let mut other = Proxy::dial(&world.socket()).await;
    other.greet(PROTOCOL + 1).await;
    assert!(matches!(other.read().await, Some(ToProxy::Welcome { protocol: PROTOCOL, .. })));
    assert_eq!(other.read().await, None);
    // Messages that do not belong where they come.
    let number_nine = snapshot::frame::Generation { epoch: 0, number: 9 };
    for message in [
        ToController::Applied { generation: number_nine, quarantined: Vec::new() },
        ToController::Refused { generation: number_nine, reason: String::new() },
    ] {
        let mut early = Proxy::dial(&world.socket()).await;
        early.send(&message).await;
        assert_eq!(early.read().await, None);
        let mut late = Proxy::connect(&world.socket()).await;
        late.follow().await;
        late.send(&message).await;
        assert_eq!(late.read().await, None);
    }

    world.write("a.yaml", &ingress("a", "b.test"));
    proxy.follow_until(&["b.test"]).await;
    drop(silent);
}

#[tokio::test]
async fn what_is_in_the_way_is_said_plainly() {
    let world = World::start(&[]).await;
    let objects = world.place.path().join("objects");
    let fails = async |config: Config| {
        format!("{:#}", Controller::start(config, CancellationToken::new()).await.unwrap_err())
    };
    let free = world.place.path().join("free");
    let error = fails(config(&objects, &world.socket())).await;
    assert!(error.contains("is taken: another process listens on it"), "{error}");
    let error = fails(config(&objects, &world.place.path().join("objects"))).await;
    assert!(error.contains("is not a socket"), "{error}");
    let error = fails(config(&world.place.path().join("nowhere"), &free)).await;
    assert!(error.starts_with("cannot read the directory") && error.contains("nowhere"), "{error}");
    let admin = world.controller.admin();
    let error = fails(Config { admin, ..config(&objects, &free) }).await;
    assert!(error.contains("for the admin server: Address already in use"), "{error}");
    assert!(!free.exists(), "a start that fails leaves nothing");
    // A stale socket is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&free).unwrap());
    let stop = CancellationToken::new();
    Controller::start(config(&objects, &free), stop).await.unwrap().stop().await;
}

#[tokio::test]
async fn what_is_open_to_observers_shows_no_route() {
    let world = World::start(&[("a.yaml", &ingress("a", "a.test"))]).await;
    let observe = world.controller.observe().expect("asked for");
    world.eventually("/readyz", |text| text == "ok\n").await;
    for page in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(world.request_at(observe, "GET", page).await.0, 200, "{page}");
    }
    assert_eq!(world.request_at(observe, "POST", "/livez").await.0, 405);
    for page in ["/api/routes", "/api/objects", "/api/diagnostics"] {
        assert_eq!(world.get(page).await.0, 200, "{page}");
        assert_eq!(world.request_at(observe, "GET", page).await.0, 404, "{page}");
    }
}

#[tokio::test]
async fn a_probe_is_answered_however_many_hold_connections() {
    let world = World::start(&[]).await;
    let observe = world.controller.observe().expect("asked for");
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(observe).await.unwrap());
    }
    assert_eq!(world.request_at(observe, "GET", "/livez").await.0, 200);
    // The oldest went for it, long before its time was over.
    let end = tokio::time::timeout(std::time::Duration::from_secs(5), held[0].read_u8()).await;
    end.expect("the connection ends").unwrap_err();
}

//! What objects go through: two want the same, one changes its class, a host its owner, a Secret comes late, goes bad
//! and comes back, a Service gets endpoints. Each time status and traffic say the same thing, and a neighbour's open
//! tunnel notices nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::demo::DemoBackend;
use e2e::certificate::secret;
use e2e::client::Socket;
use e2e::objects::{Ingress, backend, service, slice};
use e2e::world::World;
use serde_json::Value;

const HOST: &str = "shared.example.com";

/// A world with a neighbour whose tunnel is open, and the backends `blue` and `green`.
struct Scene {
    world: World,
    neighbour: Socket,
    blue: DemoBackend,
    _green: DemoBackend,
}

impl Scene {
    async fn open() -> Self {
        let blue = DemoBackend::start("blue").await.unwrap();
        let green = DemoBackend::start("green").await.unwrap();
        let world = World::plan()
            .site("neighbour.example.com", blue.address())
            .file("blue.yaml", backend("blue", &[blue.address()]))
            .file("green.yaml", backend("green", &[green.address()]))
            .start()
            .await
            .unwrap();
        let neighbour = world.tls("neighbour.example.com").unwrap().websocket("/").await.unwrap();
        Self { world, neighbour, blue, _green: green }
    }

    /// The neighbour's tunnel is as it was.
    async fn undisturbed(mut self) {
        self.neighbour.echo("as before").await.unwrap();
        self.world
            .proxy()
            .unwrap()
            .wait_closed("client_closed", closed_by_clients(&self.world).await)
            .await
            .unwrap();
    }

    /// Who answers a request for [`HOST`], or the status.
    async fn answers(&self, path: &str) -> String {
        let answer = self.world.plain(HOST).unwrap().get(path).await.unwrap();
        let name = e2e::wire::field(&answer.head, e2e::backend::NAME_HEADER).map(str::to_owned);
        name.unwrap_or_else(|| answer.status.to_string())
    }

    /// What is said of an object.
    async fn report(&self, kind: &str, name: &str) -> Option<Report> {
        let objects = self.world.controller().unwrap().api("/api/objects").await.unwrap();
        let all = objects.as_array().unwrap();
        let found = all.iter().find(|one| one["object"]["kind"] == kind && one["object"]["name"] == name)?;
        Some(Report(found["report"].clone()))
    }

    async fn ingress(&self, name: &str) -> Report {
        self.report("Ingress", name).await.unwrap_or_else(|| panic!("nothing is said of Ingress {name}"))
    }
}

/// Every tunnel that ended was ended by its client: whoever dropped a socket here.
async fn closed_by_clients(world: &World) -> u64 {
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    metrics.count("longhaul_tunnels_closed_total", &[]).unwrap()
}

struct Report(Value);

impl Report {
    /// `True Accepted`, with the message behind it.
    fn condition(&self, type_: &str) -> String {
        let conditions = self.0["conditions"].as_array().unwrap();
        let one = conditions.iter().find(|condition| condition["type"] == type_);
        let one = one.unwrap_or_else(|| panic!("no condition {type_} in {:#}", self.0));
        format!("{} {}: {}", one["status"], one["reason"].as_str().unwrap(), one["message"].as_str().unwrap())
    }

    fn is(&self, type_: &str, wanted: &str) {
        let got = self.condition(type_);
        assert!(got.starts_with(wanted), "{type_} is {got:?}, not {wanted:?}");
    }
}

/// An Ingress of a certain age: the seniority that decides conflicts.
fn aged(ingress: &Ingress, year: u16) -> String {
    let created = format!("metadata:\n  creationTimestamp: \"{year}-01-01T00:00:00Z\"\n");
    ingress.yaml().replace("metadata:\n", &created)
}

#[tokio::test]
async fn of_two_routes_for_one_match_the_older_is_served_and_the_younger_told() {
    let mut scene = Scene::open().await;
    let older = aged(&Ingress::new("older", HOST).path("/", "blue"), 2020);
    let younger = aged(&Ingress::new("younger", HOST).path("/", "green").path("/own", "green"), 2024);
    scene.world.write("younger.yaml", &younger).await.unwrap();
    assert_eq!(scene.answers("/").await, "green", "alone it has everything");
    scene.ingress("younger").await.is("Accepted", "true Accepted");

    scene.world.write("older.yaml", &older).await.unwrap();
    assert_eq!((scene.answers("/").await, scene.answers("/own").await), ("blue".into(), "green".into()));
    let report = scene.ingress("younger").await;
    report.is("Accepted", "true Accepted");
    report.is("PartiallyInvalid", "true Conflicted");
    assert!(report.condition("PartiallyInvalid").contains("Ingress default/older"), "{:#}", report.0);
    assert_eq!(report.0["conflicts"][0]["owner"]["name"], "older");
    scene.ingress("older").await.is("Accepted", "true Accepted");

    let all_lost = aged(&Ingress::new("younger", HOST).path("/", "green"), 2024);
    scene.world.write("younger.yaml", &all_lost).await.unwrap();
    scene.ingress("younger").await.is("Accepted", "false Conflicted");

    scene.world.remove("older.yaml").await.unwrap();
    assert_eq!(scene.answers("/").await, "green");
    scene.ingress("younger").await.is("Accepted", "true Accepted");
    scene.ingress("younger").await.is("Programmed", "true Programmed");
    scene.undisturbed().await;
}

/// An Ingress and a WsRoute are rivals like any two.
#[tokio::test]
async fn a_wsroute_loses_to_an_older_ingress_and_the_other_way_round() {
    let mut scene = Scene::open().await;
    let route = |year: u16| {
        format!(
            "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: route, creationTimestamp: \
             \"{year}-01-01T00:00:00Z\"}}\nspec:\n  hosts: [{HOST}]\n  rules:\n  - name: all\n    http: true\n    \
             backends: [{{service: green, port: ws}}]\n"
        )
    };
    let ingress = aged(&Ingress::new("ingress", HOST).path("/", "blue"), 2022);
    scene.world.put("ingress.yaml", &ingress).unwrap();
    for (year, answers, ingress_is, route_is) in [
        (2024, "blue", "true Accepted", "false Conflicted"),
        (2020, "green", "false Conflicted", "true Accepted"),
    ] {
        scene.world.write("route.yaml", &route(year)).await.unwrap();
        assert_eq!(scene.answers("/").await, answers, "{year}");
        scene.ingress("ingress").await.is("Accepted", ingress_is);
        scene.report("WsRoute", "route").await.unwrap().is("Accepted", route_is);
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn an_object_that_changes_its_class_goes_and_comes_back() {
    let mut scene = Scene::open().await;
    let ingress = Ingress::new("mover", HOST).path("/", "green").yaml();
    let classes = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: longhaul}\nspec: {controller: \
        longhaul.dev/ingress-controller}\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: \
        other}\nspec: {controller: example.com/other}\n";
    scene.world.write("classes.yaml", classes).await.unwrap();
    scene.world.write("mover.yaml", &ingress).await.unwrap();
    assert_eq!(scene.answers("/").await, "green");
    let mut open = scene.world.plain(HOST).unwrap().websocket("/").await.unwrap();

    scene.world.edit("mover.yaml", "ingressClassName: longhaul", "ingressClassName: other").await.unwrap();
    assert_eq!(scene.answers("/").await, "404");
    assert!(scene.report("Ingress", "mover").await.is_none(), "what is another's is not spoken of");
    open.echo("a tunnel outlives its route").await.unwrap();

    scene.world.edit("mover.yaml", "ingressClassName: other", "ingressClassName: longhaul").await.unwrap();
    assert_eq!(scene.answers("/").await, "green");
    scene.ingress("mover").await.is("Programmed", "true Programmed");
    open.echo("and its return").await.unwrap();
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_host_that_changes_its_owner_changes_its_certificate_with_it() {
    let mut scene = Scene::open().await;
    let (first, second) = {
        let authority = scene.world.authority();
        (authority.issue(&[HOST]).unwrap(), authority.issue(&[HOST]).unwrap())
    };
    let owner = |name: &str, path: &str, service: &str, year| {
        aged(&Ingress::new(name, HOST).path(path, service).tls_beside_plain(&format!("{name}-tls")), year)
    };
    scene.world.put("second-tls.yaml", &second.secret("default", "second-tls")).unwrap();
    scene.world.put("first-tls.yaml", &first.secret("default", "first-tls")).unwrap();
    scene.world.put("first.yaml", &owner("first", "/", "blue", 2020)).unwrap();
    scene.world.write("second.yaml", &owner("second", "/second", "green", 2021)).await.unwrap();
    assert_eq!((scene.answers("/").await, scene.answers("/second").await), ("blue".into(), "green".into()));
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), first.der());
    let told = scene.ingress("second").await;
    assert_eq!(told.0["conflicts"][0]["path"], "tls", "{:#}", told.0);
    let mut open = scene.world.tls(HOST).unwrap().websocket("/").await.unwrap();

    scene.world.remove("first.yaml").await.unwrap();
    assert_eq!((scene.answers("/").await, scene.answers("/second").await), ("404".into(), "green".into()));
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), second.der());
    assert_eq!(scene.ingress("second").await.0["conflicts"], Value::Array(Vec::new()));
    open.echo("opened under the first owner").await.unwrap();
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_secret_comes_late_goes_bad_and_comes_back() {
    let mut scene = Scene::open().await;
    let (good, newer) = {
        let authority = scene.world.authority();
        (authority.issue(&[HOST]).unwrap(), authority.issue(&[HOST]).unwrap())
    };
    // Redirecting, as Ingresses with TLS do by default.
    let ingress = Ingress::new("late", HOST).path("/", "green").tls("late-tls").yaml();
    scene.world.write("late.yaml", &ingress).await.unwrap();
    scene.ingress("late").await.is("ResolvedRefs", "false SecretNotFound");
    assert_eq!(scene.answers("/").await, "green", "without a certificate nothing is redirected");
    assert!(
        scene.world.tls(HOST).unwrap().certificate().await.is_err(),
        "and nobody is served with a wrong one"
    );

    scene.world.write("late-tls.yaml", &good.secret("default", "late-tls")).await.unwrap();
    scene.ingress("late").await.is("ResolvedRefs", "true ResolvedRefs");
    assert_eq!(scene.answers("/").await, "308");
    let challenge = scene.answers("/.well-known/acme-challenge/token").await;
    assert_eq!(challenge, "green", "challenges are answered in the clear");
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), good.der());
    let mut open = scene.world.tls(HOST).unwrap().websocket("/").await.unwrap();

    let bad = secret("default", "late-tls", "no PEM at all", &newer.key);
    scene.world.write("late-tls.yaml", &bad).await.unwrap();
    scene.ingress("late").await.is("ResolvedRefs", "false SecretInvalid");
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), good.der(), "the last good one");

    scene.world.remove("late-tls.yaml").await.unwrap();
    scene.ingress("late").await.is("ResolvedRefs", "false SecretNotFound");
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), good.der());

    scene.world.write("late-tls.yaml", &newer.secret("default", "late-tls")).await.unwrap();
    scene.ingress("late").await.is("ResolvedRefs", "true ResolvedRefs");
    assert_eq!(&scene.world.tls(HOST).unwrap().certificate().await.unwrap(), newer.der());
    open.echo("opened under the first certificate").await.unwrap();
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_service_without_endpoints_answers_503_until_it_has_one() {
    let mut scene = Scene::open().await;
    let ingress = Ingress::new("empty", HOST).path("/", "empty").yaml();
    scene.world.write("empty.yaml", &ingress).await.unwrap();
    scene.ingress("empty").await.is("ResolvedRefs", "false BackendNotFound");
    assert_eq!(scene.answers("/").await, "503");

    scene.world.write("service.yaml", &service("empty")).await.unwrap();
    scene.ingress("empty").await.is("ResolvedRefs", "true ResolvedRefs");
    assert_eq!(scene.answers("/").await, "503", "a Service without endpoints");

    let endpoint = slice("empty", 0, scene.blue.address());
    scene.world.write("slice.yaml", &endpoint).await.unwrap();
    assert_eq!(scene.answers("/").await, "blue");
    let mut open = scene.world.plain(HOST).unwrap().websocket("/").await.unwrap();

    let unready = endpoint.replace("ready: true", "ready: false");
    scene.world.write("slice.yaml", &unready).await.unwrap();
    assert_eq!(scene.answers("/").await, "503");
    scene.world.remove("slice.yaml").await.unwrap();
    assert_eq!(scene.answers("/").await, "503");
    open.echo("a tunnel outlives its endpoint's readiness").await.unwrap();

    scene.world.write("slice.yaml", &endpoint).await.unwrap();
    assert_eq!(scene.answers("/").await, "blue");
    open.echo("and all of it").await.unwrap();
    scene.undisturbed().await;
}

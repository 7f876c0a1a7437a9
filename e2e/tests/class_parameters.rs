//! Settings of a class: below and above what its routes say, changed while they serve, missing, and whose a host is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::backend::demo::DemoBackend;
use e2e::objects::{Ingress, backend};
use e2e::world::World;

const HOST: &str = "app.example.com";
const OWN: &str = "own.example.com";
const BESIDE: &str = "beside.example.com";

/// Of `secret`.
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

/// The class of all, which names its settings, and one beside it.
const CLASSES: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: longhaul}
spec:
  controller: longhaul.dev/ingress-controller
  parameters: {apiGroup: longhaul.dev, kind: WsPolicy, name: all, namespace: ops, scope: Namespace}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: beside}
spec: {controller: longhaul.dev/ingress-controller}
";

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsPolicy\nmetadata: {{name: all, namespace: ops}}\nspec: {spec}\n"
    )
}

fn users(namespace: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: users, namespace: {namespace}}}\nstringData: {{auth: \
         \"{user}:{SHA}\"}}\n---\n"
    )
}

/// An Ingress that says nothing of access, one that says something else than the class, and one of another class.
async fn world(spec: Option<&str>) -> (World, DemoBackend) {
    let blue = DemoBackend::start("blue").await.unwrap();
    let own =
        Ingress::new("own", OWN).path("/", "backend").annotation("longhaul.dev/deny-cidrs", "192.0.2.1");
    let mut plan = World::plan()
        .file("classes.yaml", CLASSES)
        .file("backend.yaml", backend("backend", &[blue.address()]))
        .file("app.yaml", Ingress::new("app", HOST).path("/", "backend").yaml())
        .file("own.yaml", own.yaml())
        .file("beside.yaml", Ingress::new("beside", BESIDE).class("beside").path("/", "backend").yaml());
    if let Some(spec) = spec {
        plan = plan.file("policy.yaml", policy(spec));
    }
    (plan.start().await.unwrap(), blue)
}

/// What each of the three is answered with.
async fn statuses(world: &World) -> [u16; 3] {
    let mut all = [0; 3];
    for (status, host) in all.iter_mut().zip([HOST, OWN, BESIDE]) {
        *status = world.plain(host).unwrap().get("/whoami").await.unwrap().status;
    }
    all
}

async fn said(world: &World) -> String {
    world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string()
}

#[tokio::test]
async fn a_class_speaks_below_and_above_its_routes_and_changes_its_mind_while_they_serve() {
    let (mut world, _blue) = world(Some("{defaults: {access: {deny: [127.0.0.0/8]}}}")).await;
    assert_eq!(statuses(&world).await, [403, 200, 200], "who says something else is heard");
    world.write("policy.yaml", &policy("{overrides: {access: {deny: [127.0.0.0/8]}}}")).await.unwrap();
    assert_eq!(statuses(&world).await, [403, 403, 200], "but not above an override");
    world.write("policy.yaml", &policy("{overrides: {access: {deny: [127.0.0.9]}}}")).await.unwrap();
    assert_eq!(statuses(&world).await, [200, 200, 200]);
    let mut open = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    world.write("policy.yaml", &policy("{defaults: {timeouts: {idle: 1h}}}")).await.unwrap();
    open.echo("an open tunnel does not notice").await.unwrap();
    assert_eq!(statuses(&world).await, [200, 200, 200]);
}

#[tokio::test]
async fn what_a_class_names_is_in_the_namespace_of_its_policy() {
    let (mut world, _blue) = world(Some("{overrides: {auth: {basic: {secretName: users}}}}")).await;
    assert_eq!(statuses(&world).await, [503, 503, 200], "a Secret that is missing closes the routes");
    assert!(said(&world).await.contains("there is no Secret ops/users"));
    // The tenant's own of that name is another one.
    let both = users("default", "tenant") + &users("ops", "staff");
    world.write("users.yaml", &both).await.unwrap();
    assert_eq!(statuses(&world).await, [401, 401, 200]);
    let mut answers = Vec::new();
    for user in ["tenant", "staff"] {
        let proof = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:secret")));
        let target = world.plain(HOST).unwrap();
        answers.push(target.request("GET", "/whoami", &proof, b"").await.unwrap().status);
    }
    assert_eq!(answers, [401, 200]);
}

#[tokio::test]
async fn routes_of_a_class_that_nobody_knows_the_settings_of_are_closed_and_what_was_known_stays() {
    let (mut world, _blue) = world(None).await;
    assert_eq!(statuses(&world).await, [503, 503, 200]);
    let text = said(&world).await;
    for words in ["there is no WsPolicy ops/all; the routes answer 503", "IngressClass", "ParametersNotFound"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    world.write("policy.yaml", &policy("{overrides: {access: {deny: [127.0.0.0/8]}}}")).await.unwrap();
    assert_eq!(statuses(&world).await, [403, 403, 200]);
    assert!(!said(&world).await.contains("ParametersNotFound"));
    world.remove("policy.yaml").await.unwrap();
    assert_eq!(statuses(&world).await, [403, 403, 200], "what it said last");
    assert!(said(&world).await.contains("what it said before is served"));
    // Who was not there does not know.
    world.kill_controller().unwrap();
    world.start_controller().await.unwrap();
    world.write("again.yaml", &users("ops", "staff")).await.unwrap();
    assert_eq!(statuses(&world).await, [503, 503, 200]);
}

#[tokio::test]
async fn a_policy_with_a_slip_is_refused_and_the_one_before_it_stays() {
    let (mut world, _blue) = world(Some("{overrides: {access: {deny: [127.0.0.0/8]}}}")).await;
    for (spec, words) in [
        ("{overrides: {access: {deny: [here]}}}", "does not have the form that is asked for"),
        ("{overrides: {acces: {}}}", "unknown field `acces`"),
        ("{hostOwnership: Mine}", "none of the words that are known here"),
    ] {
        world.put("policy.yaml", &policy(spec)).unwrap();
        let seen = e2e::cluster::eventually(words, async || {
            let text = said(&world).await;
            anyhow::ensure!(text.contains(words), "{text}");
            Ok(())
        });
        seen.await.unwrap();
        assert_eq!(statuses(&world).await, [403, 403, 200], "{spec}");
    }
    world.write("policy.yaml", &policy("{}")).await.unwrap();
    assert_eq!(statuses(&world).await, [200, 200, 200]);
}

#[tokio::test]
async fn a_host_belongs_to_the_namespace_that_named_it_first() {
    let (mut world, blue) = world(Some("{hostOwnership: Namespace}")).await;
    let foreign = backend("backend", &[blue.address()])
        .replace("metadata: {", "metadata: {namespace: foreign, ")
        .replace("metadata:\n", "metadata:\n  namespace: foreign\n");
    let younger = "metadata:\n  namespace: foreign\n  creationTimestamp: \"2030-01-01T00:00:00Z\"\n";
    let intruder =
        Ingress::new("intruder", HOST).path("/whoami", "backend").yaml().replace("metadata:\n", younger);
    world.write("foreign.yaml", &format!("{foreign}\n---\n{intruder}")).await.unwrap();
    let route = async |world: &World| {
        let all = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        all.contains("every path belongs to Ingress default/app, which is older")
    };
    assert!(route(&world).await, "{}", said(&world).await);
    world.write("policy.yaml", &policy("{hostOwnership: Shared}")).await.unwrap();
    assert!(!route(&world).await);
    world.write("policy.yaml", &policy("{hostOwnership: Namespace}")).await.unwrap();
    assert!(route(&world).await);
    // With its owner gone the host falls to the next oldest.
    world.remove("app.yaml").await.unwrap();
    assert!(!route(&world).await);
    assert_eq!(world.plain(HOST).unwrap().get("/whoami").await.unwrap().status, 200);
    assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 404);
}

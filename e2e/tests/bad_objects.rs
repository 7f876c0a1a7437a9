//! Bad objects of every kind beside good ones: the good ones serve and go on changing, and each bad one is told
//! which field of it is wrong, with what value, and what helps.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::demo::DemoBackend;
use e2e::certificate::secret;
use e2e::objects::{Ingress, backend, service};
use e2e::world::World;
use serde_json::Value;

const HOST: &str = "app.example.com";
const BAD: &str = "bad.example.com";

/// What is wrong, and how it must be spoken of.
struct Case {
    name: &'static str,
    objects: String,
    /// Which object is told, and in which of its fields.
    object: (&'static str, &'static str),
    field: &'static str,
    /// What the diagnostic must contain: the value, in most cases.
    says: &'static str,
    /// The status of a request for [`BAD`]. Absent: nothing is asked.
    status: Option<u16>,
}

fn ingress() -> Ingress {
    Ingress::new("bad", BAD).path("/", "backend")
}

fn cases(world: &World) -> Vec<Case> {
    let pair = world.authority().issue(&[BAD]).unwrap();
    let other = world.authority().issue(&[BAD]).unwrap();
    let with_secret =
        |content: String| format!("{}---\n{content}", ingress().tls_beside_plain("bad-tls").yaml());
    let address_that_is_none = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: odd-1\n  \
        labels: {kubernetes.io/service-name: odd}\naddressType: IPv4\nports:\n- {name: ws, port: 80}\nendpoints:\n\
        - addresses: [\"300.1.2.3\"]\n";
    vec![
        Case {
            name: "a certificate that does not parse",
            objects: with_secret(secret("default", "bad-tls", "no PEM at all", &pair.key)),
            object: ("Ingress", "bad"),
            field: "spec.tls[0].secretName",
            says: "Secret default/bad-tls: its tls.crt",
            status: Some(200),
        },
        Case {
            name: "a certificate with another one's key, which only the TLS library refuses",
            objects: with_secret(secret("default", "bad-tls", &pair.certificate, &other.key)),
            object: ("Secret", "bad-tls"),
            field: "",
            says: "KeyMismatch",
            status: Some(200),
        },
        Case {
            name: "a Secret that is not there",
            objects: ingress().tls_beside_plain("absent-tls").yaml(),
            object: ("Ingress", "bad"),
            field: "spec.tls[0].secretName",
            says: "absent-tls",
            status: Some(200),
        },
        Case {
            name: "an unknown Service",
            objects: Ingress::new("bad", BAD).path("/", "nobody").yaml(),
            object: ("Ingress", "bad"),
            field: "spec.rules[0].http.paths[0].backend.service",
            says: "nobody",
            status: Some(503),
        },
        Case {
            name: "an unknown field",
            objects: ingress()
                .yaml()
                .replace("pathType: Prefix", "pathType: Prefix\n        pathtype: Exact"),
            object: ("Ingress", "bad"),
            field: "spec.rules[0].http.paths[0].pathtype",
            says: "pathtype",
            status: Some(404),
        },
        Case {
            name: "a malformed annotation",
            objects: ingress().annotation("longhaul.dev/idle-timeout", "300").yaml(),
            object: ("Ingress", "bad"),
            field: "longhaul.dev/idle-timeout",
            says: "300",
            status: Some(200),
        },
        Case {
            name: "a misspelt annotation",
            objects: ingress().annotation("longhaul.dev/idel-timeout", "5m").yaml(),
            object: ("Ingress", "bad"),
            field: "longhaul.dev/idel-timeout",
            says: "the nearest known key is longhaul.dev/idle-timeout",
            status: Some(200),
        },
        Case {
            name: "a security-bearing annotation that is not served",
            objects: ingress().annotation("nginx.ingress.kubernetes.io/enable-modsecurity", "true").yaml(),
            object: ("Ingress", "bad"),
            field: "nginx.ingress.kubernetes.io/enable-modsecurity",
            says: "true",
            status: Some(503),
        },
        Case {
            name: "an endpoint address that is not one",
            objects: format!(
                "{}---\n{}---\n{address_that_is_none}",
                Ingress::new("bad", BAD).path("/", "odd").yaml(),
                service("odd")
            ),
            object: ("EndpointSlice", "odd-1"),
            field: "endpoints[0].addresses[0]",
            says: "300.1.2.3",
            status: Some(503),
        },
        Case {
            name: "a file that is no YAML",
            objects: "kind: [Ingress\n".to_owned(),
            object: ("File", "/bad.yaml"),
            field: "",
            says: "expected ',' or ']'",
            status: Some(404),
        },
    ]
}

/// The diagnostics that speak of this object and field and contain the text, with a remedy.
fn spoken_of(diagnostics: &Value, case: &Case) -> bool {
    let list = diagnostics.as_array().unwrap();
    list.iter().any(|diagnostic| {
        let has = |key: &str, part: &str| diagnostic[key].as_str().unwrap_or_default().contains(part);
        let object = &diagnostic["object"];
        let named = object["name"].as_str().is_some_and(|name| name.ends_with(case.object.1));
        let told = object["kind"] == case.object.0 && named;
        let remedy = diagnostic["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
        told && has("field", case.field) && diagnostic.to_string().contains(case.says) && remedy
    })
}

#[tokio::test]
async fn a_refused_object_leaves_the_others_of_its_file() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    let refused = Ingress::new("bad", BAD).path("/", "backend").yaml().replace("pathType:", "pathTipe:");
    let beside = Ingress::new("beside", "beside.example.com").path("/", "backend").yaml();
    world.write("both.yaml", &format!("{refused}\n---\n{beside}")).await.unwrap();
    assert_eq!(world.plain(BAD).unwrap().get("/whoami").await.unwrap().status, 404);
    assert_eq!(world.plain("beside.example.com").unwrap().get("/whoami").await.unwrap().status, 200);
}

#[tokio::test]
async fn bad_objects_cost_only_themselves() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let green = DemoBackend::start("green").await.unwrap();
    let mut world = World::plan()
        .site(HOST, blue.address())
        .file("green.yaml", backend("green", &[green.address()]))
        .start()
        .await
        .unwrap();
    let mut open = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    let good = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
    let mut wrong = Vec::new();
    for case in cases(&world) {
        world.write("bad.yaml", &case.objects).await.unwrap();
        let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
        if !spoken_of(&diagnostics, &case) {
            wrong.push(format!("{}: not spoken of as it should be\n{diagnostics:#}", case.name));
        }
        let got = world.plain(BAD).unwrap().get("/whoami").await.unwrap().status;
        if case.status.is_some_and(|status| status != got) {
            wrong.push(format!("{}: {BAD} answers {got}, not {:?}", case.name, case.status));
        }

        // The good ones serve, and change.
        open.echo(case.name).await.unwrap();
        for service in ["green", "backend"] {
            let changed = Ingress::new("site", HOST).path("/", service).tls_beside_plain("site-tls");
            world.write("site.yaml", &changed.yaml()).await.unwrap();
            let socket = world.tls(HOST).unwrap().websocket("/").await.unwrap();
            assert_eq!(socket.backend(), if service == "green" { "green" } else { "blue" }, "{}", case.name);
        }
        world.remove("bad.yaml").await.unwrap();
        let after = world.controller().unwrap().api("/api/diagnostics").await.unwrap();
        if after != good {
            wrong.push(format!("{}: leaves diagnostics behind\n{after:#}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_secret_that_goes_bad_leaves_the_last_good_certificate() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    let other = world.authority().issue(&[HOST]).unwrap();
    let newer = world.authority().issue(&[HOST]).unwrap();
    for bad in [
        secret("default", "site-tls", "no PEM at all", &other.key),
        secret("default", "site-tls", &other.certificate, &newer.key),
    ] {
        world.write("secret.yaml", &bad).await.unwrap();
        world.tls(HOST).unwrap().websocket("/").await.unwrap().echo("as before").await.unwrap();
    }
    world.write("secret.yaml", &newer.secret("default", "site-tls")).await.unwrap();
    let served = world.tls(HOST).unwrap().certificate().await.unwrap();
    assert_eq!(&served, newer.der(), "a good one is served at once");
}

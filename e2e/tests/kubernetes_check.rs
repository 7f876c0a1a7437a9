//! `check` and `explain` of a real API server: with all permissions, page by page, and with few.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

use e2e::cluster::{ControlPlane, Installation};
use e2e::objects::{Ingress, backend};
use e2e::process::binary;
use serde_json::Value;

fn controller(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.arg(arguments[0]).arg("--cluster").arg("--kubeconfig").arg(kubeconfig);
    command.args(&arguments[1..]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&done.stderr)))
}

/// `SEVERITY REASON OBJECT` of each finding.
fn findings(said: &Value) -> Vec<String> {
    let all = said["findings"].as_array().unwrap().iter();
    let shown = |one: &Value| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (severity, reason) = (word(&one["severity"]), word(&one["reason"]));
        assert_eq!(one["file"], Value::Null, "{one}");
        format!("{severity} {reason} {} {}", word(&one["object"]["kind"]), word(&one["object"]["name"]))
    };
    all.map(shown).collect()
}

/// More Services than fit on a page, the last of which a route names.
const SERVICES: usize = 510;

fn objects(class: &str) -> String {
    let mut text = String::new();
    for number in 0..SERVICES {
        writeln!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s-{number:04}}}\nspec: {{clusterIP: None, ports: [{{name: ws, \
             port: 80}}]}}\n---"
        )
        .unwrap();
    }
    let last = format!("s-{:04}", SERVICES - 1);
    let site =
        Ingress::new("site", "site.example.com").class(class).path("/", "web").path("/live", "nowhere");
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: opaque}\nstringData: {a: b}\n---\n";
    let web = backend("web", &["198.18.10.1:8080".parse().unwrap()]);
    text + &site.path("/last", &last).tls("opaque").yaml() + secret + &web
}

#[test]
fn a_cluster_is_checked_and_explained() {
    let Some(cluster) = ControlPlane::wanted_by("a check of a cluster") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "check", &[]).await.unwrap();
        let name = installation.name();
        installation.apply(&objects(name)).await.unwrap();
        let admin = cluster.kubeconfig();
        let (namespaces, class) = (format!("--namespaces={name}"), format!("--ingress-class={name}"));
        let of = [&*namespaces, &*class];

        let done = controller(&admin, &[&["check", "--format=json"], &of[..]].concat());
        assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
        let said = findings(&json(&done));
        // The last Service was found, on the second page, and the Secret, which is no certificate.
        assert_eq!(said, ["Error BackendNotFound Ingress site", "Error SecretInvalid Ingress site"]);

        let done = controller(&admin, &[&["check", "--format=sarif"], &of[..]].concat());
        let log = json(&done);
        let location = &log["runs"][0]["results"][0]["locations"][0];
        assert_eq!(location["physicalLocation"], Value::Null, "{location}");
        let logical = location["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap();
        assert!(logical.starts_with(&format!("Ingress {name}/site, spec.")), "{logical}");

        let question = ["explain", "--format=json", "--http", "--host=site.example.com", "--path=/live/x"];
        let said = json(&controller(&admin, &[&question[..], &of[..]].concat()));
        assert_eq!(said["route"]["object"], format!("Ingress {name}/site"), "{said:#}");
        assert_eq!((&said["answer"]["status"], &said["lost"][0]["by"]), (&503.into(), &"Precedence".into()));
        let question = ["explain", "--format=json", "--http", "--host=site.example.com", "--path=/"];
        let said = json(&controller(&admin, &[&question[..], &of[..]].concat()));
        assert_eq!(said["answer"]["outcome"], "Forwarded", "{said:#}");
        assert_eq!(said["backends"][0]["endpoints"][0]["address"], "198.18.10.1:8080", "{said:#}");

        let done = controller(&admin, &["check", "--context=nowhere"]);
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stderr).contains("the kubeconfig does not say how"), "{}", text(&done.stderr));
    });
}

/// May list Ingresses and Services of its namespace, and nothing else.
const READER: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader}\n---\napiVersion: \
    rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules:\n- {apiGroups: [networking.k8s.io], \
    resources: [ingresses], verbs: [list]}\n- {apiGroups: [''], resources: [services], verbs: [list]}\n---\napiVersion: \
    rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reader}\nroleRef: {apiGroup: \
    rbac.authorization.k8s.io, kind: Role, name: reader}\nsubjects: [{kind: ServiceAccount, name: reader}]\n";

#[test]
fn what_may_not_be_listed_is_said_and_the_rest_is_checked() {
    let Some(cluster) = ControlPlane::wanted_by("a check with few permissions") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "reader", &[]).await.unwrap();
        let name = installation.name();
        installation.apply(READER).await.unwrap();
        installation.apply(&objects(name)).await.unwrap();
        let reader = cluster.kubeconfig_of(name, "reader").await.unwrap();
        let class = format!("--ingress-class={name}");
        let namespaces = format!("--namespaces={name}");
        let done = controller(&reader, &["check", "--format=json", &namespaces, &class]);
        assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
        let said = findings(&json(&done));
        let wanted = [
            "Error BackendNotFound Ingress site",
            "Warning SecretUnread Ingress site",
            "Warning Forbidden Cluster endpointslices.discovery.k8s.io",
            "Warning Forbidden Cluster ingressclasses.networking.k8s.io",
            "Warning Forbidden Cluster secrets",
            "Warning Forbidden Cluster wspolicies.longhaul.dev",
            "Warning Forbidden Cluster wsroutes.longhaul.dev",
        ];
        let mut sorted = said.clone();
        sorted.sort();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted);
        // Of all namespaces it may list nothing.
        let done = controller(&reader, &["check", &class]);
        let said = text(&done.stdout);
        assert!(said.contains("you may not list ingresses.networking.k8s.io; the rest"), "{said}");
        assert!(said.contains("name what you may read with --namespaces"), "{said}");
    });
}

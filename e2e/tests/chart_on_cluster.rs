//! The Helm chart on a real API server: it takes all that the chart renders, releases come and go without a trace, and
//! the controller may do what the documentation says and no more. No pod runs here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::chart::{CHART, Helm, Said};
use e2e::cluster::ControlPlane;
use tokio::time::{Duration, Instant, sleep};

const SETS: [&str; 4] = ["default", "daemonset", "scoped", "everything"];

/// The namespaces that the sets of values name.
const NAMESPACES: [&str; 4] = ["net", "chat", "games", "edge"];

/// Releases of the same names and one definition of WsRoute: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn both(test: &str) -> Option<(&'static ControlPlane, Vec<Helm>)> {
    let cluster = ControlPlane::wanted_by(test)?;
    let helms = Helm::wanted_by(test);
    (!helms.is_empty()).then_some((cluster, helms))
}

async fn namespaces(cluster: &ControlPlane) {
    for name in NAMESPACES {
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        cluster.apply("default", &namespace).await.unwrap();
    }
}

fn helm(helm: &Helm, cluster: &ControlPlane, arguments: &str) -> Said {
    helm.run_on(&cluster.kubeconfig(), &arguments.split_whitespace().collect::<Vec<_>>()).unwrap()
}

fn done(said: &Said) {
    assert!(said.success, "{}{}", said.output, said.error);
}

/// What there is of ours outside namespaces, and in this one.
async fn traces(cluster: &ControlPlane, namespace: &str) -> BTreeSet<String> {
    let kinds = "clusterroles,clusterrolebindings,ingressclasses,customresourcedefinitions";
    let wide = cluster.kubectl(&["get", kinds, "-o", "name"]).await.unwrap();
    let kinds =
        "deployments,daemonsets,services,roles,rolebindings,serviceaccounts,poddisruptionbudgets,secrets";
    let inside = cluster.kubectl(&["get", kinds, "-n", namespace, "-o", "name"]).await.unwrap();
    let all = wide.lines().filter(|name| name.contains("longhaul")).chain(inside.lines());
    all.filter(|name| *name != "serviceaccount/default").map(str::to_owned).collect()
}

#[test]
fn the_api_server_takes_what_the_chart_renders() {
    let Some((cluster, helms)) = both("what the chart renders, in a real API server") else { return };
    let _alone = alone();
    cluster.inside(async || {
        namespaces(cluster).await;
        for helm in &helms {
            for set in SETS {
                let values = format!("e2e/tests/chart/{set}.values.yaml");
                let rendered = helm.template("lh", "net", &["--no-hooks", "--values", &values]).unwrap();
                let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
                let said = cluster.kubectl_with(&arguments, &rendered).await.unwrap();
                assert!(said.success && said.err.is_empty(), "{}, {set}: {}", helm.name, said.err);
            }
        }
    });
}

/// In a namespace that takes only what is most restricted, too.
#[test]
fn the_manifests_bring_up_pods() {
    let Some(cluster) = ControlPlane::wanted_by("the manifests in a real API server") else { return };
    let _alone = alone();
    cluster.inside(async || {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/longhaul.yaml");
        // Another test may have left the definition, which Helm then manages.
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename", file];
        cluster.kubectl(&apply).await.unwrap();
        let pods = ["get", "pods", "--namespace", "longhaul", "-o", "name"];
        let given_up = Instant::now() + Duration::from_secs(30);
        while cluster.kubectl(&pods).await.unwrap().lines().count() < 2 {
            assert!(Instant::now() < given_up, "the API server takes no pods");
            sleep(Duration::from_millis(50)).await;
        }
        cluster.kubectl(&["delete", "--filename", file]).await.unwrap();
    });
}

const ROUTE: &str = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: kept}\nspec:\n  rules:\n  - name: \
                     all\n    backends: [{service: chat, port: 80}]\n";

#[test]
fn releases_come_and_go() {
    let Some((cluster, helms)) = both("releases of the chart") else { return };
    let _alone = alone();
    cluster.inside(async || {
        for with in &helms {
            let run = |arguments: &str| helm(with, cluster, arguments);
            let namespace = cluster.namespace("kept").await.unwrap();

            let said = run(&format!("install longhaul {CHART} -n longhaul --create-namespace"));
            done(&said);
            assert!(said.output.contains("helm test longhaul --namespace longhaul"), "{}", said.output);
            let first = traces(cluster, "longhaul").await;

            let second = format!("install second {CHART} -n second --create-namespace");
            let second = format!("{second} --set controller.ingressClassResource.name=second");
            let said = run(&second);
            assert!(!said.success && said.error.contains("invalid ownership metadata"), "{}", said.error);
            done(&run(&format!("{second} --set crds.enabled=false")));
            done(&run("uninstall second -n second"));
            assert_eq!(traces(cluster, "longhaul").await, first, "{}: the first is as it was", with.name);

            done(&run(&format!("upgrade longhaul {CHART} -n longhaul --set controller.replicaCount=3")));
            done(&run("rollback longhaul 1 -n longhaul"));
            let replicas =
                ["get", "deployment", "longhaul", "-n", "longhaul", "-o", "jsonpath={.spec.replicas}"];
            assert_eq!(cluster.kubectl(&replicas).await.unwrap(), "2");

            cluster.apply(&namespace, ROUTE).await.unwrap();
            done(&run("uninstall longhaul -n longhaul"));
            let left = traces(cluster, "longhaul").await;
            let definitions = ["wspolicies", "wsroutes"]
                .map(|name| format!("customresourcedefinition.apiextensions.k8s.io/{name}.longhaul.dev"));
            assert_eq!(
                left.iter().collect::<Vec<_>>(),
                definitions.iter().collect::<Vec<_>>(),
                "{}",
                with.name
            );
            cluster.kubectl(&["get", "wsroute", "kept", "-n", &namespace]).await.unwrap();

            done(&run(&format!("install longhaul {CHART} -n longhaul")));
            done(&run("uninstall longhaul -n longhaul"));
            let other = format!("install edge {CHART} -n edge --create-namespace");
            let said = run(&other);
            assert!(!said.success && said.error.contains("invalid ownership metadata"), "{}", said.error);
            done(&run(&format!("{other} --take-ownership")));
            done(&run("uninstall edge -n edge"));
            cluster.kubectl(&["delete", &definitions[0], &definitions[1]]).await.unwrap();
        }
    });
}

/// `RESOURCE VERB` for each thing that an account may do in a namespace, beside what everybody may.
async fn may(cluster: &ControlPlane, account: &str, namespace: &str) -> BTreeSet<String> {
    let account = format!("--as=system:serviceaccount:{account}");
    let list = cluster
        .kubectl(&["auth", "can-i", "--list", "--no-headers", &account, "-n", namespace])
        .await
        .unwrap();
    let mut all = BTreeSet::new();
    for line in list.lines() {
        let (Some(resource), Some(brackets)) = (line.split_whitespace().next(), line.rfind('[')) else {
            continue;
        };
        if resource.starts_with('[') || resource.starts_with("selfsubject") {
            continue;
        }
        for verb in line[brackets..].trim_matches(['[', ']']).split_whitespace() {
            all.insert(format!("{resource} {verb}"));
        }
    }
    all
}

/// In each namespace that is read.
const READS: [&str; 21] = [
    "configmaps get",
    "configmaps list",
    "configmaps watch",
    "endpointslices.discovery.k8s.io list",
    "endpointslices.discovery.k8s.io watch",
    "events.events.k8s.io create",
    "events.events.k8s.io get",
    "events.events.k8s.io patch",
    "ingresses.networking.k8s.io list",
    "ingresses.networking.k8s.io watch",
    "ingresses.networking.k8s.io/status patch",
    "secrets get",
    "secrets list",
    "secrets watch",
    "services list",
    "services watch",
    "wspolicies.longhaul.dev list",
    "wspolicies.longhaul.dev watch",
    "wsroutes.longhaul.dev list",
    "wsroutes.longhaul.dev watch",
    "wsroutes.longhaul.dev/status patch",
];

const CLASSES: [&str; 2] =
    ["ingressclasses.networking.k8s.io list", "ingressclasses.networking.k8s.io watch"];

const AMONG_REPLICAS: [&str; 7] = [
    "endpointslices.discovery.k8s.io list",
    "endpointslices.discovery.k8s.io watch",
    "leases.coordination.k8s.io create",
    "leases.coordination.k8s.io get",
    "leases.coordination.k8s.io update",
    "secrets get",
    "secrets patch",
];

fn set(parts: &[&[&str]]) -> BTreeSet<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn the_controller_may_do_what_the_documentation_says_and_no_more() {
    let Some((cluster, helms)) = both("permissions by the chart") else { return };
    let _alone = alone();
    cluster.inside(async || {
        namespaces(cluster).await;
        let with = &helms[0];
        done(&helm(with, cluster, &format!("install longhaul {CHART} -n longhaul --create-namespace")));
        let everywhere = [&READS[..], &CLASSES];
        assert_eq!(may(cluster, "longhaul:longhaul", "chat").await, set(&everywhere));
        let own = [&everywhere[..], &[&AMONG_REPLICAS[..]]].concat();
        assert_eq!(may(cluster, "longhaul:longhaul", "longhaul").await, set(&own));
        done(&helm(with, cluster, "uninstall longhaul -n longhaul"));

        let values = "--values e2e/tests/chart/scoped.values.yaml";
        done(&helm(with, cluster, &format!("install lh {CHART} -n net {values}")));
        assert_eq!(may(cluster, "net:tenant", "chat").await, set(&[&READS]));
        assert_eq!(may(cluster, "net:tenant", "edge").await, set(&[&["services list", "services watch"]]));
        let of_key = ["secrets list", "secrets watch"];
        assert_eq!(may(cluster, "net:tenant", "net").await, set(&[&AMONG_REPLICAS, &of_key]));
        assert_eq!(may(cluster, "net:tenant", "default").await, set(&[]));
        done(&helm(with, cluster, "uninstall lh -n net"));
        cluster
            .kubectl(&[
                "delete",
                "customresourcedefinition",
                "wsroutes.longhaul.dev",
                "wspolicies.longhaul.dev",
            ])
            .await
            .unwrap();
    });
}

//! The key of affinity cookies in a real API server: filled once, the same for every replica, and taken away by no
//! upgrade.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::backend::demo::DemoBackend;
use e2e::chart::{CHART, Helm};
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, Replica, backend_address};
use e2e::objects;
use e2e::wire::fields;

const ROUTE: &str = "\
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: chat}
spec:
  ingressClassName: CLASS
  hosts: [chat.example.com]
  rules:
  - name: all
    http: true
    backends: [{service: app, port: ws}]
    policy: {affinity: {cookie: {}}}
";

/// The key in the Secret, as the API server has it, and who put it there.
async fn key(cluster: &ControlPlane, namespace: &str) -> Result<(String, BTreeSet<String>)> {
    let get = ["get", "secret", "longhaul-affinity", "-n", namespace, "--show-managed-fields", "-o", "json"];
    let secret: serde_json::Value = serde_json::from_str(&cluster.kubectl(&get).await?)?;
    let key = secret["data"]["affinity-key"].as_str().context("it is empty")?.to_owned();
    let managers = secret["metadata"]["managedFields"].as_array().context("somebody made it")?;
    let owners = managers.iter().filter(|entry| entry["fieldsV1"]["f:data"]["f:affinity-key"].is_object());
    let owners = owners.filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect();
    Ok((key, owners))
}

async fn filled(cluster: &ControlPlane, namespace: &str) -> String {
    let wanted = BTreeSet::from(["longhaul.dev/affinity-key".to_owned()]);
    cluster
        .wait("a key", async || {
            let (key, owners) = key(cluster, namespace).await?;
            ensure!(owners == wanted, "{owners:?}");
            Ok(key)
        })
        .await
        .unwrap()
}

fn target(replica: &Replica) -> Target {
    Target::plain(replica.proxy.as_ref().unwrap().http(), "chat.example.com")
}

/// Who answers a request with this cookie, and what its answer sets.
async fn ask(target: &Target, cookie: &str) -> Result<(String, Option<String>)> {
    let line = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let answer = target.request("GET", "/whoami", &line, b"").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let backend = answer.json()?["backend"].as_str().context("it has a name")?.to_owned();
    let set = fields(&answer.head, "set-cookie").next();
    Ok((backend, set.map(|set| set.split(';').next().unwrap_or_default().to_owned())))
}

/// A cookie that this replica sets, and whose it is.
async fn cookie(cluster: &ControlPlane, target: &Target) -> (String, String) {
    cluster
        .wait("a cookie", async || {
            let (backend, set) = ask(target, "").await?;
            Ok((backend, set.context("no cookie yet")?))
        })
        .await
        .unwrap()
}

/// Waits until a replica understands a cookie: it may not have seen the key yet.
async fn understands(cluster: &ControlPlane, target: &Target, (backend, cookie): &(String, String)) {
    let wanted = (backend.clone(), None);
    cluster
        .wait("a replica that understands the cookie", async || {
            // Clients go by their address before that: to the same backend, perhaps.
            ensure!(ask(target, "").await?.1.is_some(), "it sets none");
            let found = ask(target, cookie).await?;
            ensure!(found == wanted, "{found:?}");
            Ok(())
        })
        .await
        .unwrap();
}

async fn backends(number: u8) -> [DemoBackend; 2] {
    let start = async |name, number| DemoBackend::start_on(name, backend_address(number)).await.unwrap();
    [start("red", number).await, start("blue", number + 1).await]
}

#[test]
fn the_key_is_filled_once_and_every_replica_has_it() {
    let Some(cluster) = ControlPlane::wanted_by("the key of affinity cookies") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "affinity", &[]).await.unwrap();
        let backends = backends(60).await;
        let addresses = [backends[0].address(), backends[1].address()];
        installation.apply(&objects::backend("app", &addresses)).await.unwrap();
        installation.apply(ROUTE).await.unwrap();
        let namespace = installation.name();
        assert!(key(cluster, namespace).await.is_err(), "the chart's is empty");

        let [mut one, other] = [installation.pod(62).await.unwrap(), installation.pod(63).await.unwrap()];
        let first = filled(cluster, namespace).await;
        let mine = cookie(cluster, &target(&one)).await;
        understands(cluster, &target(&other), &mine).await;

        // Who comes later leaves it as it is, and so does who applies the empty Secret again.
        let third = installation.pod(64).await.unwrap();
        understands(cluster, &target(&third), &mine).await;
        let empty = "apiVersion: v1\nkind: Secret\nmetadata: {name: longhaul-affinity}\ntype: Opaque\n";
        installation.apply(empty).await.unwrap();
        one.kill_controller().unwrap();
        let flags = [installation.flags("lh-62"), installation.pod_flags(62).to_vec()].concat();
        one.start_controller(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
        understands(cluster, &target(&one), &mine).await;
        assert_eq!(key(cluster, namespace).await.unwrap().0, first);

        // Who empties it gets another.
        let empty = r#"[{"op": "remove", "path": "/data"}]"#;
        let patch = ["patch", "secret", "longhaul-affinity", "-n", namespace, "--type=json", "-p", empty];
        cluster.kubectl(&patch).await.unwrap();
        cluster
            .wait("another key", async || {
                ensure!(key(cluster, namespace).await?.0 != first);
                Ok(())
            })
            .await
            .unwrap();
        cluster
            .wait("a cookie of that", async || {
                ensure!(ask(&target(&third), &mine.1).await?.1.is_some_and(|set| set != mine.1));
                Ok(())
            })
            .await
            .unwrap();
    });
}

#[test]
fn a_key_outside_of_the_namespaces_that_are_watched_is_found() {
    let Some(cluster) = ControlPlane::wanted_by("the key of affinity cookies, apart from all routes") else {
        return;
    };
    cluster.inside(async || {
        let routes = cluster.namespace("affinity-routes").await.unwrap();
        let scope = format!("controller.scope.namespaces={{{routes}}}");
        let values = [
            "controller.scope.enabled=true",
            &scope,
            "rbac.clusterScoped=false",
            "controller.ingressClassResource.only=true",
        ];
        let installation = Installation::new(cluster, "affinity-apart", &values).await.unwrap();
        let backends = backends(65).await;
        let addresses = [backends[0].address(), backends[1].address()];
        cluster.apply(&routes, &objects::backend("app", &addresses)).await.unwrap();
        cluster.apply(&routes, &ROUTE.replace("CLASS", installation.name())).await.unwrap();
        let flag = format!("--watch-namespaces={routes}");
        let replica = installation.replica_with("lh-67", &installation.kubeconfig(), &[&flag]).await.unwrap();
        filled(cluster, installation.name()).await;
        let mine = cookie(cluster, &target(&replica)).await;
        understands(cluster, &target(&replica), &mine).await;
    });
}

#[test]
fn helm_takes_no_key_away() {
    let Some(cluster) = ControlPlane::wanted_by("the key of affinity cookies under helm upgrade") else {
        return;
    };
    cluster.inside(async || {
        for helm in Helm::wanted_by("the key of affinity cookies under helm upgrade") {
            let namespace = cluster.namespace("affinity-helm").await.unwrap();
            let run = |arguments: &str| {
                let arguments = format!("{arguments} -n {namespace}");
                let class = format!("--set controller.ingressClassResource.name={namespace}");
                let arguments = format!("{arguments} {class} --set crds.enabled=false");
                let arguments: Vec<_> = arguments.split_whitespace().collect();
                let said = helm.run_on(&cluster.kubeconfig(), &arguments).unwrap();
                assert!(said.success, "{}: {}{}", helm.name, said.output, said.error);
            };
            run(&format!("install longhaul {CHART}"));
            assert!(key(cluster, &namespace).await.is_err(), "{}", helm.name);
            // As a controller does; the pods of this release run nowhere.
            let filled = "apiVersion: v1\nkind: Secret\nmetadata: {name: longhaul-affinity}\ndata: {affinity-key: a2V5a2V5}\n";
            let apply = ["apply", "--server-side", "--field-manager=longhaul.dev/affinity-key", "-n", &namespace, "-f", "-"];
            let said = cluster.kubectl_with(&apply, filled).await.unwrap();
            assert!(said.success, "{}", said.err);
            run(&format!("upgrade longhaul {CHART} --set controller.replicaCount=3"));
            assert_eq!(key(cluster, &namespace).await.unwrap().0, "a2V5a2V5", "{}", helm.name);
            let rollback = ["rollback", "longhaul", "1", "-n", &namespace];
            assert!(helm.run_on(&cluster.kubeconfig(), &rollback).unwrap().success);
            assert_eq!(key(cluster, &namespace).await.unwrap().0, "a2V5a2V5", "{}", helm.name);
            let uninstall = ["uninstall", "longhaul", "-n", &namespace];
            assert!(helm.run_on(&cluster.kubeconfig(), &uninstall).unwrap().success);
            assert!(key(cluster, &namespace).await.is_err());
        }
    });
}

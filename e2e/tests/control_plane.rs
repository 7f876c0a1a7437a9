//! A real control plane takes what Longhaul brings along, and goes without a trace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use anyhow::ensure;
use e2e::cluster::{ControlPlane, backend_address, eventually, run};
use e2e::process::{Process, binary};
use rustix::process::Signal;
use serde_json::Value;

const ROUTE: &str = "
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: chat}
spec:
  ingressClassName: longhaul
  hosts: [chat.example.com]
  rules:
  - name: chat
    matches: [{path: {type: Prefix, value: /}}]
    backends: [{service: chat, port: ws}]
    policy: {timeouts: {idle: 5m}}
";

#[test]
fn the_crd_is_accepted_and_a_good_route_is_stored() {
    let Some(cluster) = ControlPlane::wanted_by("the CRD in a real API server") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("crd").await.unwrap();
        cluster.apply(&namespace, ROUTE).await.unwrap();
        let typing_error = ROUTE.replace("idle", "ilde");
        let refused = cluster.apply(&namespace, &typing_error).await.unwrap_err().to_string();
        assert!(refused.contains("unknown field \"spec.rules[0].policy.timeouts.ilde\""), "{refused}");

        let explained = cluster.kubectl(&["explain", "wsroute.spec.rules.policy"]).await.unwrap();
        assert!(explained.contains("timeouts\t<Object>"), "{explained}");
        assert!(explained.contains("Settings of this rule."), "{explained}");
        let listed = cluster.kubectl(&["-n", &namespace, "get", "wsr", "-o", "wide"]).await.unwrap();
        let words: Vec<&str> = listed.split_whitespace().collect();
        assert_eq!(
            words[..9],
            [
                "NAME",
                "HOSTS",
                "PROGRAMMED",
                "ADDRESS",
                "AGE",
                "RULES",
                "REASON",
                "chat",
                "[\"chat.example.com\"]"
            ],
            "{listed}"
        );
    });
}

#[test]
fn endpoints_follow_pods_that_exist_only_in_the_api() {
    let Some(cluster) = ControlPlane::wanted_by("EndpointSlices by the real controller") else { return };
    cluster.inside(async || {
        let namespace = cluster.namespace("endpoints").await.unwrap();
        cluster.service(&namespace, "chat").await.unwrap();
        cluster.pod(&namespace, "chat-0", "chat", backend_address(1), 9000).await.unwrap();
        let conditions = async |wanted: [bool; 3]| {
            let slices = ["-n", &namespace, "get", "endpointslices", "-o", "json"];
            let as_wanted = async || {
                let slices: Value = serde_json::from_str(&cluster.kubectl(&slices).await?)?;
                let endpoint = &slices["items"][0]["endpoints"][0];
                let found = ["ready", "serving", "terminating"]
                    .map(|condition| endpoint["conditions"][condition] == Value::Bool(true));
                ensure!(endpoint["addresses"][0] == "198.18.10.1" && found == wanted, "{slices:#}");
                Ok(())
            };
            eventually(&format!("{wanted:?}"), as_wanted).await.unwrap();
        };
        conditions([true, true, false]).await;
        cluster.set_pod_ready(&namespace, "chat-0", false).await.unwrap();
        conditions([false, false, false]).await;
        cluster.set_pod_ready(&namespace, "chat-0", true).await.unwrap();
        cluster.terminate_pod(&namespace, "chat-0").await.unwrap();
        conditions([false, true, true]).await;
        cluster.remove_pod(&namespace, "chat-0").await.unwrap();
    });
}

#[test]
fn an_account_may_do_what_its_roles_say() {
    let Some(cluster) = ControlPlane::wanted_by("a kubeconfig of a ServiceAccount") else { return };
    cluster.inside(async || {
        let namespace = cluster.namespace("account").await.unwrap();
        cluster.kubectl(&["-n", &namespace, "create", "serviceaccount", "reader"]).await.unwrap();
        let config = cluster.kubeconfig_of(&namespace, "reader").await.unwrap();
        let config = format!("--kubeconfig={}", config.display());
        let pods = ["-n", &namespace, "get", "pods", &config];
        let refused = cluster.kubectl_with(&pods, "").await.unwrap();
        assert!(!refused.success && refused.err.contains("reader\" cannot list resource"), "{refused:?}");
        let binding = format!("--serviceaccount={namespace}:reader");
        cluster
            .kubectl(&["-n", &namespace, "create", "rolebinding", "reader", "--clusterrole=view", &binding])
            .await
            .unwrap();
        cluster.kubectl(&pods).await.unwrap();
    });
}

/// Alone with its control plane: what it does to the API server the others would notice.
#[test]
fn an_api_server_stands_still_is_killed_and_comes_back_and_all_goes_without_a_trace() {
    if !ControlPlane::can_run("an API server that comes back") {
        return;
    }
    let cluster = ControlPlane::start().unwrap();
    let name = cluster.name().to_owned();
    cluster.inside(async || {
        let namespace = cluster.namespace("fault").await.unwrap();
        let get = ["get", "namespace", &namespace, "--request-timeout=1s"];
        let paused = cluster.pause_api_server().unwrap();
        assert!(!cluster.kubectl_with(&get, "").await.unwrap().success);
        drop(paused);
        cluster.kubectl(&get).await.unwrap();
        cluster.kill_api_server().unwrap();
        let refused = cluster.kubectl_with(&get, "").await.unwrap();
        assert!(refused.err.contains("refused"), "{refused:?}");
        cluster.start_api_server().await.unwrap();
        cluster.kubectl(&get).await.unwrap();
    });
    let traces = run::traces(&name).unwrap();
    assert!(traces.len() > 4, "a cluster is processes, a namespace and a folder: {traces:?}");
    drop(cluster);
    assert_eq!(run::traces(&name).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_run_leaves_is_taken_away() {
    if !ControlPlane::can_run("a run that is killed") {
        return;
    }
    let mut command = Command::new(binary("cluster").unwrap());
    command.arg("hold");
    let mut holder = Process::start("holder", command).unwrap();
    let ready = |line: &str| line.strip_prefix("held: ").map(str::to_owned);
    let mut name = holder.line("that it is ready", ready).await;
    // A busy machine takes longer than one line is waited for.
    while name.is_err() && !holder.has_ended() {
        name = holder.line("that it is ready", ready).await;
    }
    let name = name.unwrap();
    assert!(run::traces(&name).unwrap().len() > 4);
    holder.signal(Signal::KILL).unwrap();
    holder.ended().await.unwrap();
    let gone = async || {
        let traces = run::traces(&name)?;
        ensure!(traces.is_empty(), "{traces:?}");
        Ok(())
    };
    eventually("all of it gone", gone).await.unwrap();
}

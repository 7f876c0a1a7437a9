//! Settings of a class on a real API server: what it refuses, and that a change reaches every route of the class.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use anyhow::ensure;
use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, backend_address, eventually};
use e2e::objects::backend;

fn policy(spec: &str) -> String {
    format!("apiVersion: longhaul.dev/v1alpha1\nkind: WsPolicy\nmetadata: {{name: all}}\nspec: {spec}\n")
}

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site}
spec:
  ingressClassName: CLASS
  rules:
  - host: app.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {name: ws}}}}]}
";

#[test]
fn a_slip_in_a_policy_is_refused_with_words_that_help() {
    let Some(cluster) = ControlPlane::wanted_by("WsPolicies that are refused") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("policies").await.unwrap();
        for (spec, words) in [
            ("{overrides: {access: {allow: [here]}}}", "spec.overrides.access.allow[0]"),
            ("{defaults: {timeouts: {idle: soon}}}", "spec.defaults.timeouts.idle"),
            ("{defaults: {loadBalancing: {policy: ConsistentHash}}}", "needs hashOn"),
            ("{overrides: {auth: {none: {}, basic: {secretName: a}}}}", "exactly one way to come in"),
            ("{hostOwnership: Mine}", "supported values: \"Shared\", \"Namespace\""),
            ("{overides: {}}", "unknown field \"spec.overides\""),
        ] {
            let said = cluster
                .kubectl_with(&["-n", &namespace, "apply", "--validate=strict", "-f", "-"], &policy(spec))
                .await
                .unwrap();
            assert!(!said.success && said.err.contains(words), "{spec}: {}", said.err);
        }
        let good = "{defaults: {auth: {none: {}}}, overrides: {rewrite: {prefix: /}}}";
        cluster.apply(&namespace, &policy(good)).await.unwrap();
        let explained = cluster.kubectl(&["explain", "wspolicy.spec.overrides"]).await.unwrap();
        assert!(explained.contains("whatever it says itself"), "{explained}");
        let stored = cluster
            .kubectl(&["-n", &namespace, "get", "wsp", "all", "-o", "jsonpath={.spec.hostOwnership}"])
            .await
            .unwrap();
        assert_eq!(stored, "Shared");
    });
}

#[test]
fn a_class_changes_its_mind_about_all_its_routes() {
    let Some(cluster) = ControlPlane::wanted_by("settings of a class") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "parameters", &[]).await.unwrap();
        let namespace = installation.name();
        let replica = installation.replica("lh-0").await.unwrap();
        let app = DemoBackend::start_on("app", backend_address(7)).await.unwrap();
        installation.apply(&backend("app", &[app.address()])).await.unwrap();
        installation.apply(INGRESS).await.unwrap();
        let target = Target::plain(replica.proxy.as_ref().unwrap().http(), "app.example.com");
        let becomes = async |wanted: u16, why: &str| {
            eventually(why, async || {
                let found = target.get("/whoami").await?.status;
                ensure!(found == wanted, "answered with {found}");
                Ok(())
            })
            .await
            .unwrap();
        };
        becomes(200, "without parameters").await;
        let named = format!(
            r#"{{"spec": {{"parameters": {{"apiGroup": "longhaul.dev", "kind": "WsPolicy", "name": "all",
                "namespace": "{namespace}", "scope": "Namespace"}}}}}}"#
        );
        let name = ["patch", "ingressclass", namespace, "--type=merge", "--patch", &named];
        cluster.kubectl(&name).await.unwrap();
        becomes(503, "parameters that are missing").await;
        installation.event("ingress", "site", "Warning ParametersNotFound").await.unwrap();
        installation.apply(&policy("{overrides: {access: {allow: [192.0.2.1]}}}")).await.unwrap();
        becomes(403, "an override").await;
        installation.apply(&policy("{defaults: {timeouts: {idle: 2h}}}")).await.unwrap();
        becomes(200, "a default that lets everybody in").await;
        // Its Secret is this namespace's, and comes later.
        installation.apply(&policy("{overrides: {auth: {basic: {secretName: staff}}}}")).await.unwrap();
        becomes(503, "a Secret that is missing").await;
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: staff}\nstringData: {auth: \
                      \"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\"}\n";
        installation.apply(secret).await.unwrap();
        becomes(401, "users").await;
        installation.remove("wspolicy", "all").await.unwrap();
        let said = async || {
            let all = replica.controller.as_ref().unwrap().api("/api/diagnostics").await?.to_string();
            ensure!(all.contains("what it said before is served"), "{all}");
            Ok(())
        };
        eventually("that it is gone is said", said).await.unwrap();
        assert_eq!(target.get("/whoami").await.unwrap().status, 401, "what it said last");
    });
}

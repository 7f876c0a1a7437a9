//! What the API server says of WsRoutes, good and bad, by the schema of the CRD: the same as standalone mode.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use e2e::cluster::{ControlPlane, eventually};
use e2e::process::binary;
use futures_util::future::join_all;
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// The routes that every row changes, and the rows.
const GOOD: &str = include_str!("kubernetes_schema/good.yaml");
const BAD: &str = include_str!("kubernetes_schema/bad.yaml");

/// One way to be wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    /// JSON pointer to what is there instead; `null` removes.
    change: BTreeMap<String, Value>,
    /// The field, as both name it.
    field: String,
    /// Where the API server names another one.
    field_in_cluster: Option<String>,
    /// What the API server says about it.
    cluster: String,
    /// What `longhaul-controller check` says about it.
    check: String,
}

fn good() -> Vec<Value> {
    serde_yaml::Deserializer::from_str(GOOD).map(|one| Value::deserialize(one).unwrap()).collect()
}

fn rows() -> Vec<Row> {
    let rows: Vec<Row> = serde_yaml::from_str(BAD).unwrap();
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "a name is used twice");
    assert!(rows.len() >= 40, "{}", rows.len());
    rows
}

impl Row {
    /// The first good route with this change.
    fn route(&self) -> Value {
        let mut route = good().swap_remove(0);
        route["metadata"]["name"] = self.name.clone().into();
        for (pointer, value) in &self.change {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match route.pointer_mut(parent).unwrap() {
                Value::Object(fields) if value.is_null() => drop(fields.remove(key).unwrap()),
                Value::Object(fields) => drop(fields.insert(key.to_owned(), value.clone())),
                Value::Array(items) if key == "-" => items.push(value.clone()),
                parent => parent[key.parse::<usize>().unwrap()] = value.clone(),
            }
        }
        route
    }
}

/// Asks for an object to be made, as strictly as kubectl does, and says what was said against it.
async fn create(client: &Client, namespace: &str, route: &Value) -> Result<(), String> {
    let path = format!("/apis/longhaul.dev/v1alpha1/namespaces/{namespace}/wsroutes?fieldValidation=Strict");
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(route).unwrap()).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// What standalone mode says of each row: fields, and what is wrong with each.
fn checked(rows: &[Row]) -> BTreeMap<String, Vec<(String, String)>> {
    let folder = tempfile::tempdir().unwrap();
    for row in rows {
        // JSON is YAML in which nobody wonders what `yes` is.
        let text = serde_json::to_string(&row.route()).unwrap();
        std::fs::write(folder.path().join(format!("{}.yaml", row.name)), text).unwrap();
    }
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    let done = command.args(["check", "--partial", "--format", "json"]).arg(folder.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut said: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap().iter().filter(|one| one["severity"] == "Error") {
        let file = finding["file"].as_str().unwrap().rsplit('/').next().unwrap();
        let said = said.entry(file.trim_end_matches(".yaml").to_owned()).or_default();
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        said.push((text("field"), format!("{}; {}", text("message"), text("remedy"))));
    }
    said
}

#[test]
fn what_the_api_server_refuses_standalone_mode_refuses_too() {
    let Some(cluster) = ControlPlane::wanted_by("WsRoutes that the API server refuses") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("bad").await.unwrap();
        let client = cluster.client().await.unwrap();
        let rows = rows();
        let checked = checked(&rows);
        let refused = join_all(rows.iter().map(async |row| create(&client, &namespace, &row.route()).await));
        let mut faults = Vec::new();
        for (row, refused) in rows.iter().zip(refused.await) {
            let Row { name, field, cluster, check, .. } = row;
            let refused = refused.err().unwrap_or_default();
            let there = row.field_in_cluster.as_ref().unwrap_or(field);
            if !refused.contains(there) || !refused.contains(cluster) {
                faults.push(format!("{name}: the API server says of {there}: {refused:?}"));
            }
            let said = checked.get(name).map_or(&[][..], Vec::as_slice);
            if !said.iter().any(|(of, words)| of == field && words.contains(check)) {
                faults.push(format!("{name}: standalone mode says of {field}: {said:?}"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let stored = cluster.kubectl(&["-n", &namespace, "get", "wsr", "-o", "name"]).await.unwrap();
        assert_eq!(stored, "");
    });
}

#[test]
fn good_routes_are_stored_as_they_are_written() {
    let Some(cluster) = ControlPlane::wanted_by("WsRoutes that the API server takes") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("good").await.unwrap();
        cluster.apply(&namespace, GOOD).await.unwrap();
        for route in good() {
            let name = route["metadata"]["name"].as_str().unwrap();
            let stored =
                cluster.kubectl(&["-n", &namespace, "get", "wsr", name, "-o", "json"]).await.unwrap();
            let stored: Value = serde_json::from_str(&stored).unwrap();
            holds(&stored["spec"], &route["spec"], &format!("{name}.spec"));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
        let mut command = Command::new(binary("longhaul-controller").unwrap());
        let done = command.args(["check", "--partial"]).arg(folder.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    });
}

/// Nothing of what was written is missing or different. Defaults may have joined it.
fn holds(stored: &Value, written: &Value, path: &str) {
    match (stored, written) {
        (Value::Object(stored), Value::Object(written)) => {
            for (key, value) in written {
                holds(stored.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"));
            }
        }
        (Value::Array(stored), Value::Array(written)) if stored.len() == written.len() => {
            for (number, pair) in stored.iter().zip(written).enumerate() {
                holds(pair.0, pair.1, &format!("{path}[{number}]"));
            }
        }
        _ => assert_eq!(stored, written, "{path}"),
    }
}

#[test]
fn kubectl_refuses_unknown_fields_unless_it_is_told_to_drop_them() {
    let Some(cluster) = ControlPlane::wanted_by("unknown fields") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("unknown").await.unwrap();
        let slip = GOOD.replace("{idle: 5m}", "{ilde: 5m}");
        let told = "unknown field \"spec.policy.timeouts.ilde\"";
        let apply = ["-n", &namespace, "apply", "-f", "-"];
        let refused = cluster.kubectl_with(&apply, &slip).await.unwrap();
        assert!(!refused.success && refused.err.contains(told), "{refused:?}");
        let warned = cluster.kubectl_with(&[&apply[..], &["--validate=warn"]].concat(), &slip).await.unwrap();
        assert!(warned.success && warned.err.contains(&format!("Warning: {told}")), "{warned:?}");
        let stored = ["-n", &namespace, "get", "wsr", "chat", "-o", "jsonpath={.spec.policy}"];
        assert_eq!(cluster.kubectl(&stored).await.unwrap(), r#"{"timeouts":{}}"#);
    });
}

#[test]
fn kubectl_explains_fields_like_documentation() {
    let Some(cluster) = ControlPlane::wanted_by("kubectl explain") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        for (field, texts) in [
            ("wsroute", &["Routes WebSockets of one or more hosts to Services."][..]),
            (
                "wsroute.spec.rules.policy",
                &[
                    "FIELD: policy <Object>",
                    "Settings of this rule. They override those of `spec.policy` field by field.",
                    "How long things may take. `0s` switches a limit off.",
                    "redirectToTLS <boolean>",
                ],
            ),
            (
                "wsroute.spec.rules.policy.loadBalancing",
                &["enum: LeastConnections, RoundRobin, ConsistentHash", "the same endpoint for the same key"],
            ),
            (
                "wsr.spec.rules.matches.path",
                &[
                    "/ws is a prefix of /ws/a, not of /wsa",
                    "value <string> -required-",
                    "enum: Exact, Prefix",
                ],
            ),
            (
                "wsroute.spec.policy.timeouts.idle",
                &["FIELD: idle <string>", "No bytes either way in an open tunnel. Absent: 1h."],
            ),
        ] {
            // The API server says what it knows of a kind a while after it takes objects of it.
            let explained = async || cluster.kubectl(&["explain", field]).await;
            let explained = eventually("an explanation", explained).await.unwrap();
            let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
            for text in texts {
                assert!(words.contains(text), "{field} lacks {text:?}:\n{explained}");
            }
            // Of each field its name, its type, and what it is for.
            assert!(!explained.contains("<no description>"), "{explained}");
        }
    });
}

#[test]
fn kubectl_lists_routes_in_columns() {
    let Some(cluster) = ControlPlane::wanted_by("columns of kubectl get") else { return };
    cluster.inside(async || {
        cluster.install_crds().await.unwrap();
        let namespace = cluster.namespace("columns").await.unwrap();
        cluster.apply(&namespace, GOOD).await.unwrap();
        let condition = r#"{"type": "Programmed", "status": "False", "reason": "Pending", "message": "",
            "lastTransitionTime": "2026-11-21T18:00:00Z"}"#;
        let addresses = r#"[{"type": "IPAddress", "value": "203.0.113.7"}]"#;
        let status = format!(r#"{{"status": {{"conditions": [{condition}], "addresses": {addresses}}}}}"#);
        let patch =
            ["patch", "wsr", "everything", "--subresource=status", "--type=merge", "--patch", &status];
        cluster.kubectl(&[&["-n", &namespace][..], &patch].concat()).await.unwrap();
        let rows = async |wide: &[&str]| {
            let get = ["-n", &namespace, "get", "wsr"];
            let table = cluster.kubectl(&[&get[..], wide].concat()).await.unwrap();
            let rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
            rows.collect::<Vec<Vec<String>>>()
        };
        let named =
            |rows: &[Vec<String>], name: &str| rows.iter().find(|row| row[0] == name).unwrap().clone();
        let wide = rows(&["-o", "wide"]).await;
        assert_eq!(wide[0].join(" "), "NAME HOSTS PROGRAMMED ADDRESS AGE RULES REASON");
        let mut row = named(&wide, "everything");
        row[4] = "age".into();
        // Of several values that a column's path finds, the API server shows the first: RULES is the first rule's name.
        let hosts = r#"["localhost","*.example.com","xn--bcher-kva.example"]"#;
        assert_eq!(row.join(" "), format!("everything {hosts} False 203.0.113.7 age exact Pending"));
        // What has no value is an empty column.
        assert_eq!(named(&wide, "least").len(), 3, "{wide:?}");
        assert_eq!(rows(&[]).await[0].join(" "), "NAME HOSTS PROGRAMMED ADDRESS AGE");
    });
}

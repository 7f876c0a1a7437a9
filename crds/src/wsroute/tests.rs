//! The schema as the API server will see it, and policies as people write them.

use std::collections::BTreeSet;

use kube_cel::Validator;
use serde_json::{Value, json};

use super::*;
use crate::diagnostic::ObjectRef;
use crate::duration::Duration;
use crate::grammar;
use crate::policy::{HashPart, PolicyPatch};

fn route() -> ObjectRef {
    ObjectRef::new("WsRoute", "default", "chat")
}

#[test]
fn the_checked_in_manifest_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/wsroutes.yaml");
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == manifest(), "run: cargo run -p crds --bin crdgen > crds/wsroutes.yaml");
}

/// Goes through every schema below `spec`, with its path.
fn each_schema(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, value);
    for (name, property) in value["properties"].as_object().into_iter().flatten() {
        each_schema(property, &format!("{path}.{name}"), visit);
    }
    if value["items"].is_object() {
        each_schema(&value["items"], &format!("{path}[]"), visit);
    }
}

#[test]
fn every_field_has_a_doc_a_type_and_bounds() {
    let root = schema();
    let mut fields = 0;
    let mut check = |path: &str, schema: &Value| {
        fields += 1;
        assert!(path.ends_with(']') || schema["description"].is_string(), "{path} has no doc: {schema}");
        for form in ["oneOf", "anyOf", "allOf", "$ref", "const"] {
            assert!(schema[form].is_null(), "{path} is not structural: {schema}");
        }
        match schema["type"].as_str() {
            Some("string") => {
                let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
                assert!(bounded, "{path} has no bound: {schema}");
            }
            Some("array") => assert!(schema["maxItems"].is_u64(), "{path} has no bound: {schema}"),
            Some("integer") => assert!(schema["maximum"].is_number(), "{path} has no bound: {schema}"),
            Some(_) => {}
            None => {
                assert_eq!(schema["x-kubernetes-int-or-string"], true, "{path}: {schema}");
                assert!(schema["maxLength"].is_u64() && schema["maximum"].is_number(), "{path}: {schema}");
            }
        }
        assert!(schema["nullable"] != true || path == "status", "{path}: null is no value");
        let words = schema["enum"].as_array();
        assert!(words.is_none_or(|words| words.iter().all(Value::is_string)), "{path}: {schema}");
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap();
            let parts: Vec<_> = message.split("; ").collect();
            assert!(
                parts.len() == 2 && !message.contains('\n'),
                "{path}: what is wrong; what to do: {message}"
            );
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            assert!(grammar::words_of(pattern).is_some(), "{path}: {pattern} has no words for people");
        }
    };
    for part in ["spec", "status"] {
        each_schema(&root["properties"][part], part, &mut check);
    }
    assert!(fields > 60, "{fields}");
}

#[test]
fn a_route_reads_as_the_documentation_writes_it() {
    let text = "
        apiVersion: longhaul.dev/v1alpha1
        kind: WsRoute
        metadata: {name: chat, namespace: chat}
        spec:
          ingressClassName: longhaul
          hosts: [chat.example.com, '*.chat.example.com']
          tls: [{hosts: [chat.example.com], secretName: chat-tls}]
          policy: {redirectToTLS: false}
          rules:
          - name: live
            matches: [{path: {type: Prefix, value: /ws}}]
            http: false
            backends: [{service: chat, port: ws, weight: 90}, {service: canary, port: 8010, weight: 10}]
            policy: {timeouts: {connect: 5s, handshake: 30s, idle: 1h, send: 60s, request: 60s}}
    ";
    let route: WsRoute = serde_yaml::from_str(text).unwrap();
    assert_eq!(route.spec.rules[0].backends[1].port, IntOrString::Int(8010));
    assert_eq!(route.spec.policy.as_ref().and_then(|policy| policy.redirect_to_tls), Some(false));
    let back: WsRoute = serde_yaml::from_str(&serde_yaml::to_string(&route).unwrap()).unwrap();
    assert_eq!(back, route);
}

#[test]
fn a_bad_duration_costs_itself_only() {
    let timeouts = Timeouts { idle: Some("0s".into()), send: Some("60".into()), ..Timeouts::default() };
    let policy = Policy { timeouts: Some(timeouts), ..Policy::default() };
    let (patch, diagnostics) = policy.read(&route(), "spec.rules[0].policy");
    assert_eq!((patch.timeouts.idle, patch.timeouts.send), (Some(Duration::default()), None));
    let [diagnostic] = &diagnostics[..] else { panic!("{diagnostics:?}") };
    assert_eq!(diagnostic.field, "spec.rules[0].policy.timeouts.send");
    assert!(diagnostic.message.contains("\"60\""), "{diagnostic}");
}

/// What the API server's rules say of a spec, with the fields that they name.
fn refusals(spec: &Value) -> Vec<String> {
    let route = json!({"apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": {"name": "a"}, "spec": spec});
    let errors = Validator::new().validate(&schema(), &route, None).err();
    errors.into_iter().flatten().map(|error| format!("{}: {}", error.field_path, error.message)).collect()
}

/// A spec of one rule with these fields more.
fn rule(more: &Value) -> Value {
    let mut rule = json!({"name": "a", "backends": [{"service": "a", "port": 80}]});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"rules": [rule]})
}

fn spec(more: &Value) -> Value {
    let mut spec = rule(&json!({}));
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn rules_across_fields_let_sound_routes_pass() {
    let balancing = |how: Value| rule(&json!({"policy": {"loadBalancing": how}}));
    for sound in [
        rule(&json!({})),
        spec(&json!({"tls": [{"hosts": ["a.test"]}]})),
        spec(
            &json!({"hosts": ["a.test", "*.b.test"], "tls": [{"hosts": ["a.test", "x.b.test", "*.b.test"]}, {}]}),
        ),
        spec(&json!({"tls": [{"minVersion": "1.3", "cipherSuites": []}]})),
        spec(
            &json!({"tls": [{"minVersion": "1.2", "cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]}]}),
        ),
        spec(&json!({"tls": [{"minVersion": "1.3", "cipherSuites": ["TLS_AES_128_GCM_SHA256"]}]})),
        balancing(json!({"policy": "RoundRobin"})),
        balancing(json!({"policy": "ConsistentHash", "hashOn": {"path": {}}})),
        balancing(json!({"policy": "ConsistentHash", "hashOn": {"queryParameter": "room"}})),
        rule(&json!({"policy": {"rewrite": {"prefix": "/", "upstreamHost": "b.test"}}})),
        rule(&json!({"policy": {"hsts": {"maxAge": "8760h", "includeSubdomains": true, "preload": true}}})),
        rule(&json!({"policy": {"hsts": {"maxAge": "1h", "preload": false}}})),
        rule(&json!({"policy": {"cors": {"allowOrigins": ["*"], "allowCredentials": false}}})),
        rule(&json!({"policy": {"cors": {"allowOrigins": ["https://a.test"], "allowCredentials": true}}})),
        rule(&json!({"backends": [{"service": "a", "port": 80, "weight": 0}, {"service": "b", "port": 80}]})),
    ] {
        assert_eq!(refusals(&sound), [""; 0], "{sound}");
    }
}

const PRELOAD: &str = "spec.rules[0].policy.hsts.preload: preload needs includeSubdomains";

#[test]
fn rules_across_fields_refuse_with_words() {
    let balancing = |how: Value| rule(&json!({"policy": {"loadBalancing": how}}));
    let covered = "spec.tls: every host under tls must be one of spec.hosts";
    let hash_on = "spec.rules[0].policy.loadBalancing.hashOn: hashOn must name exactly one thing; name";
    for (spec, expected) in [
        (spec(&json!({"hosts": ["a.test"], "tls": [{"hosts": ["a.test"]}, {"hosts": ["b.test"]}]})), covered),
        (spec(&json!({"hosts": ["*.b.test"], "tls": [{"hosts": ["x.y.b.test"]}]})), covered),
        (spec(&json!({"hosts": ["*.b"], "tls": [{"hosts": ["b"]}]})), covered),
        (
            spec(
                &json!({"tls": [{"minVersion": "1.3", "cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]}]}),
            ),
            "spec.tls[0].cipherSuites: with minVersion 1.3",
        ),
        (
            rule(&json!({"backends": [{"service": "a", "port": 80, "weight": 0}]})),
            "spec.rules[0].backends: every backend has weight 0",
        ),
        (
            balancing(json!({"hashOn": {"path": {}}})),
            "spec.rules[0].policy.loadBalancing.hashOn: hashOn needs the policy ConsistentHash; ",
        ),
        (
            balancing(json!({"policy": "ConsistentHash"})),
            "spec.rules[0].policy.loadBalancing.policy: the policy ConsistentHash needs hashOn; ",
        ),
        (balancing(json!({"policy": "ConsistentHash", "hashOn": {}})), hash_on),
        (balancing(json!({"policy": "ConsistentHash", "hashOn": {"path": {}, "header": "a"}})), hash_on),
        (
            rule(&json!({"policy": {"rewrite": {"prefix": "/", "path": "/a"}}})),
            "spec.rules[0].policy.rewrite.path: prefix and path exclude each other",
        ),
        (
            rule(
                &json!({"policy": {"hsts": {"maxAge": "8759h", "includeSubdomains": true, "preload": true}}}),
            ),
            PRELOAD,
        ),
        (rule(&json!({"policy": {"hsts": {"maxAge": "8760h", "preload": true}}})), PRELOAD),
        (
            rule(
                &json!({"policy": {"cors": {"allowOrigins": ["https://a.test", "*"], "allowCredentials": true}}}),
            ),
            "spec.rules[0].policy.cors.allowCredentials: browsers refuse credentials",
        ),
    ] {
        let said = refusals(&spec);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{spec}\n{said:?}\n{expected}");
    }
}

#[test]
fn columns_show_what_people_look_for() {
    let crd = serde_json::to_value(WsRoute::crd()).unwrap();
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
    let shown = |wide: bool| -> Vec<&str> {
        let of_width = columns.iter().filter(|column| (column["priority"] == 1) == wide);
        of_width.map(|column| column["name"].as_str().unwrap()).collect()
    };
    assert_eq!(shown(false), ["HOSTS", "PROGRAMMED", "ADDRESS", "AGE"]);
    assert_eq!(shown(true), ["RULES", "REASON"]);
    let keys = &schema()["properties"]["status"]["properties"]["conditions"]["x-kubernetes-list-map-keys"];
    assert_eq!(keys, &json!(["type"]));
}

#[test]
fn values_of_a_wrong_form_cost_themselves_only() {
    let hash_on = |hash_on: HashOn| Policy {
        load_balancing: Some(LoadBalancing { policy: None, hash_on: Some(hash_on), ring: None }),
        ..Policy::default()
    };
    let rewrite = |rewrite: Rewrite| Policy { rewrite: Some(rewrite), ..Policy::default() };
    let size = |size| Policy { limits: Some(Limits { body_size: Some(size) }), ..Policy::default() };
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (hash_on(HashOn { header: text("a b"), ..HashOn::default() }), "loadBalancing.hashOn.header"),
        (hash_on(HashOn { cookie: text(""), ..HashOn::default() }), "loadBalancing.hashOn.cookie"),
        (
            hash_on(HashOn { query_parameter: text("\n"), ..HashOn::default() }),
            "loadBalancing.hashOn.queryParameter",
        ),
        (hash_on(HashOn::default()), "loadBalancing.hashOn"),
        (rewrite(Rewrite { prefix: text("a"), ..Rewrite::default() }), "rewrite.prefix"),
        (rewrite(Rewrite { path: text("/a b"), ..Rewrite::default() }), "rewrite.path"),
        (rewrite(Rewrite { upstream_host: text("a\r\nb"), ..Rewrite::default() }), "rewrite.upstreamHost"),
        (size(IntOrString::Int(-1)), "limits.bodySize"),
        (size(IntOrString::String("1KB".into())), "limits.bodySize"),
    ];
    let mut fields = BTreeSet::new();
    for (policy, field) in cases {
        let (patch, diagnostics) = policy.read(&route(), "spec.policy");
        let mut expected = PolicyPatch::default();
        if field.contains("hashOn") {
            expected.load_balancing.hash_on = Some(vec![HashPart::ClientAddress]);
        }
        assert_eq!(patch, expected, "{field}");
        let [diagnostic] = &diagnostics[..] else { panic!("{field}: {diagnostics:?}") };
        assert_eq!(diagnostic.field, format!("spec.policy.{field}"));
        fields.insert(field);
    }
    assert_eq!(fields.len(), 8);
}

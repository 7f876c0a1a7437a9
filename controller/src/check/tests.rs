//! What fails a check.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::*;
use crate::explain::{Kind as RequestKind, Question, Scheme, World, explain};
use crate::source::once;

fn checked(text: &str, scope: Scope) -> Checked {
    let manifests = once::of_text("a.yaml", text.as_bytes().to_vec());
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    check(manifests, &settings, scope)
}

/// With a Service that is not there.
fn ingress(annotation: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a, annotations: {{{annotation}}}}}\nspec:\n  \
         rules:\n  - host: a.test\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: s, port: \
         {{number: 80}}}}}}}}]}}\n"
    )
}

#[test]
fn what_is_missing_of_a_part_fails_nothing() {
    let whole = checked(&ingress(""), Scope::Whole);
    assert_eq!((whole.summary.errors, whole.passes(Strictness::ErrorsFail)), (1, false), "{}", whole.text());
    let part = checked(&ingress(""), Scope::Part);
    assert_eq!((part.summary.errors, part.summary.warnings), (0, 1), "{}", part.text());
    assert!(part.passes(Strictness::WarningsFail));
}

#[test]
fn a_warning_fails_a_strict_check() {
    let said = checked(&ingress("longhaul.dev/idle-timeout: '300'"), Scope::Part);
    assert_eq!(said.summary.warnings, 2, "{}", said.text());
    assert!(said.passes(Strictness::ErrorsFail) && !said.passes(Strictness::WarningsFail));
}

#[test]
fn kinds_of_others_are_counted_and_slips_are_told() {
    let others = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
                  {name: a}\n";
    let said = checked(others, Scope::Whole);
    assert_eq!((said.findings.len(), said.summary.others), (0, 2), "{}", said.text());
    assert!(said.text().ends_with("; 2 objects of kinds that Longhaul does not read\n"), "{}", said.text());
    let slip = checked("apiVersion: networking.k8s.io/v1\nkind: Ingres\nmetadata: {name: a}\n", Scope::Whole);
    assert_eq!((slip.summary.warnings, slip.summary.others), (1, 0), "{}", slip.text());
}

/// Words that manifests have before a colon.
const KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "name",
    "namespace",
    "annotations",
    "labels",
    "rules",
    "host",
    "hosts",
    "http",
    "paths",
    "path",
    "pathType",
    "backend",
    "service",
    "port",
    "number",
    "tls",
    "secretName",
    "ingressClassName",
    "matches",
    "value",
    "type",
    "headers",
    "backends",
    "weight",
    "policy",
    "timeouts",
    "idle",
    "loadBalancing",
    "hashOn",
    "auth",
    "external",
    "basic",
    "access",
    "allow",
    "origins",
    "cors",
    "rewrite",
    "limits",
    "bodySize",
    "ports",
    "endpoints",
    "addresses",
    "addressType",
    "conditions",
    "ready",
    "data",
    "stringData",
    "items",
    "controller",
    "parameters",
    "<<",
    "longhaul.dev/allow-cidrs",
    "defaultBackend",
];

/// A tree of the words that manifests are made of, or of anything.
fn tree() -> impl Strategy<Value = Value> {
    const WORDS: &[&str] = &[
        "Ingress",
        "WsRoute",
        "Service",
        "Secret",
        "EndpointSlice",
        "IngressClass",
        "ConfigMap",
        "List",
        "IngressList",
        "v1",
        "networking.k8s.io/v1",
        "longhaul.dev/v1alpha1",
        "discovery.k8s.io/v1",
        "a",
        "/",
        "/a",
        "Prefix",
        "Exact",
        "a.test",
        "*.test",
        "longhaul",
        "5s",
        "10.0.0.1",
        "10.0.0.0/8",
        "IPv4",
        "Regex",
        "(",
        "1Gi",
        "kubernetes.io/tls",
        "",
    ];
    let word = || prop_oneof![8 => select(WORDS).prop_map(str::to_owned), 1 => "\\PC{0,8}"];
    let leaf = prop_oneof![
        4 => word().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => select(&[0, 1, 80, 65_536, -1][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let key = prop_oneof![12 => select(KEYS).prop_map(str::to_owned), 1 => "\\PC{0,8}"];
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(key, inner, 0..6).prop_map(|map| serde_json::json!(map)),
        ]
    })
}

/// An object of a kind that is read, with such a tree in it.
fn object_of_trees() -> impl Strategy<Value = Value> {
    const HEADS: [(&str, &str); 6] = [
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("longhaul.dev/v1alpha1", "WsRoute"),
        ("v1", "Service"),
        ("v1", "Secret"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
    ];
    (select(&HEADS[..]), tree(), tree()).prop_map(|((version, kind), spec, annotations)| {
        let metadata = serde_json::json!({"name": "a", "annotations": annotations});
        serde_json::json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
    })
}

/// What people wrote, from the cases of translation.
fn samples() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("translate/tests/cases");
    let cases = std::fs::read_dir(folder).unwrap().map(|case| case.unwrap().path().join("in.yaml"));
    let mut texts: Vec<_> = cases.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    texts.sort();
    texts
}

/// A sample in which lines are lost, moved and changed, as in the middle of editing.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..5,
        "[-:{}\\[\\]'\"&*!|>%#, a-c0-9\t]{0,6}",
    );
    (select(samples()), proptest::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, other, what, with) in edits {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match what {
                0 => lines[at].clear(),
                1 => lines.swap(at, other),
                2 => lines[at] = lines[other].clone(),
                3 => lines[at].insert_str(0, &with),
                _ => {
                    let end =
                        lines[at].char_indices().nth(other % 40).map_or(lines[at].len(), |(end, _)| end);
                    lines[at].truncate(end);
                    lines[at].push_str(&with);
                }
            }
        }
        lines.join("\n")
    })
}

/// Checks and explains, as a whole and as a part, in every form.
fn survive(text: &str) {
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    for scope in [Scope::Whole, Scope::Part] {
        let checked = check(once::of_text(STANDARD_INPUT_NAME, text.as_bytes().to_vec()), &settings, scope);
        let summary = checked.summary;
        assert_eq!(summary.errors + summary.warnings + summary.infos, checked.findings.len());
        let log: Value = serde_json::from_str(&checked.sarif()).unwrap();
        assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), checked.findings.len());
        assert!(!checked.text().is_empty() && !checked.json().is_empty());
    }
    let world = World::of(once::of_text("a.yaml", text.as_bytes().to_vec()), settings);
    for host in ["a.test", "example.com", "ws.example.com"] {
        let question = Question {
            method: "GET".into(),
            host: host.into(),
            target: "/a?b=1".into(),
            fields: Vec::new(),
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            scheme: Scheme::Https,
            kind: RequestKind::Handshake,
        };
        assert!(!explain(&world, question).unwrap().text().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_tree_is_too_odd(objects in proptest::collection::vec(prop_oneof![object_of_trees(), tree()], 1..4)) {
        let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
        survive(&documents.join("\n---\n"));
    }

    #[test]
    fn no_slip_of_an_editor_is_too_odd(text in mutated()) {
        survive(&text);
    }
}

//! The WsRoute resource: routes for WebSockets, said directly instead of through Ingress annotations.
//!
//! A field exists only when it works. Texts that need a grammar of their own (durations) stay texts here and are
//! read by [`Policy::read`], so that one bad value is a remark about one field and never an object that cannot be
//! decoded; the bounds in the schema let the API server refuse it before that.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, CustomResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, ObjectRef, Severity, quoted};
use crate::duration::{self, Duration};
use crate::policy::{PolicyPatch, TimeoutsPatch};

/// WebSocket routes of one or more hosts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "longhaul.dev",
    version = "v1alpha1",
    kind = "WsRoute",
    plural = "wsroutes",
    singular = "wsroute",
    shortname = "wsr",
    category = "longhaul",
    doc = "Routes WebSockets of one or more hosts to Services.",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "HOSTS", "type": "string", "jsonPath": ".spec.hosts"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WsRouteSpec {
    /// The IngressClass whose controller serves this route. Absent: the class marked as default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,
    /// The hosts that the rules are for: a name, or `*.` and a name for exactly one label in front of it. Absent:
    /// every host that nothing else names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = HOST_PATTERN)))]
    pub hosts: Vec<String>,
    /// Certificates for the hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tls: Vec<Tls>,
    /// Settings for every rule; a rule's own settings override them field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// What is routed where.
    #[schemars(schema_with = "rules_schema")]
    pub rules: Vec<Rule>,
}

/// The certificate of some hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The hosts that the certificate is for. Absent: all hosts of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = HOST_PATTERN)))]
    pub hosts: Vec<String>,
    /// A Secret of type `kubernetes.io/tls` in this namespace. Absent: Longhaul's default certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// One rule: requests that match go to the backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The rule's name, unique in this object. Metrics, and settings of open tunnels, follow it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A request that fits any of these is taken. Absent: every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
    /// Take plain HTTP requests too. Without it they get 426 (Upgrade Required).
    #[serde(default)]
    pub http: bool,
    /// Where requests go, shared out by weight.
    #[schemars(length(min = 1, max = 32))]
    pub backends: Vec<Backend>,
    /// Settings of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// Conditions on a request; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// A condition on the path. Absent: every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathCondition>,
}

/// A condition on the path, compared after `.` and `..` segments are resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathCondition {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: PathKind,
    /// The path, from its leading slash on.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^?#\\s]*$"))]
    pub value: String,
}

/// How a path is compared.
// The variants have no doc texts: the schema would become a `oneOf`, which the API server takes for no enum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum PathKind {
    Exact,
    #[default]
    Prefix,
}

/// One Service port and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// A Service in this namespace.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// The Service's port, by name or by number.
    #[schemars(schema_with = "port_schema")]
    pub port: IntOrString,
    /// The share of new tunnels and requests: this weight divided by the sum of weights. 0 takes none. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<i32>,
}

/// Settings of routes. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// How long things may take. `0s` switches a limit off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Redirect plain requests to https (308) where the host has a certificate. Absent: where the host has TLS.
    #[serde(rename = "redirectToTLS", default, skip_serializing_if = "Option::is_none")]
    pub redirect_to_tls: Option<bool>,
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// One attempt to reach an endpoint. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub connect: Option<String>,
    /// From the handshake sent to the backend until its answer. Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub handshake: Option<String>,
    /// No bytes either way in an open tunnel. Absent: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub idle: Option<String>,
    /// A write towards either side that makes no progress. Absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub send: Option<String>,
    /// Plain HTTP: until the backend answers, then between two reads of its response. Absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub request: Option<String>,
}

/// A host in the schema: DNS labels, the first of which may be `*`. Upper case is taken as lower case.
const HOST_PATTERN: &str =
    r"^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$";

impl Policy {
    /// The policy in the common model. `field` is this policy's own path; a value that does not read is left out
    /// and reported.
    pub fn read(&self, object: &ObjectRef, field: &str) -> (PolicyPatch, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let none = Timeouts::default();
        let timeouts = self.timeouts.as_ref().unwrap_or(&none);
        let mut read = |name: &str, value: &Option<String>| {
            let text = value.as_deref()?;
            text.parse::<Duration>()
                .map_err(|_| diagnostics.push(malformed(object, format!("{field}.timeouts.{name}"), text)))
                .ok()
        };
        let timeouts = TimeoutsPatch {
            connect: read("connect", &timeouts.connect),
            handshake: read("handshake", &timeouts.handshake),
            idle: read("idle", &timeouts.idle),
            send: read("send", &timeouts.send),
            request: read("request", &timeouts.request),
        };
        (PolicyPatch { timeouts, redirect_to_tls: self.redirect_to_tls }, diagnostics)
    }
}

/// The `CustomResourceDefinition` as YAML, as it is checked in under `crds/wsroutes.yaml`.
pub fn manifest() -> String {
    let yaml = serde_yaml::to_string(&WsRoute::crd()).expect("a CustomResourceDefinition is plain data");
    format!("# Generated by `cargo run -p crds --bin crdgen`. Do not edit.\n{yaml}")
}

fn malformed(object: &ObjectRef, field: String, text: &str) -> Diagnostic {
    Diagnostic {
        object: object.clone(),
        field,
        severity: Severity::Warning,
        reason: "UnsupportedValue".into(),
        message: format!("{} is not a duration; the default is served", quoted(text)),
        remedy: format!("write {}", duration::GRAMMAR),
    }
}

fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": duration::PATTERN, "maxLength": 32})
}

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}

fn rules_schema(generator: &mut SchemaGenerator) -> Schema {
    let rule = generator.subschema_for::<Rule>();
    json_schema!({
        "type": "array",
        "items": rule,
        "minItems": 1,
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn each_schema(value: &serde_json::Value, path: &str, visit: &mut impl FnMut(&str, &serde_json::Value)) {
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
        let crd = serde_json::to_value(WsRoute::crd()).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = 0;
        each_schema(spec, "spec", &mut |path, schema| {
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
                None => assert_eq!(schema["x-kubernetes-int-or-string"], true, "{path}: {schema}"),
            }
        });
        assert!(fields > 25, "{fields}");
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
        let policy = Policy { timeouts: Some(timeouts), redirect_to_tls: None };
        let (patch, diagnostics) = policy.read(&route(), "spec.rules[0].policy");
        assert_eq!((patch.timeouts.idle, patch.timeouts.send), (Some(Duration::default()), None));
        let [diagnostic] = &diagnostics[..] else { panic!("{diagnostics:?}") };
        assert_eq!(diagnostic.field, "spec.rules[0].policy.timeouts.send");
        assert!(diagnostic.message.contains("\"60\""), "{diagnostic}");
    }
}

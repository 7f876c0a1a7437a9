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
use crate::policy::{
    self, HashPart, IngressPatch, LoadBalancingPatch, PathRewrite, PolicyPatch, Redirect, RewritePatch,
    TimeoutsPatch,
};
use crate::quantity;
use crate::tls::{CipherSuite, TlsVersion};

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
    status = "WsRouteStatus",
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
    /// The lowest TLS version that these hosts accept. Absent: "1.2".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// The cipher suites that these hosts accept, in order of preference. Absent: Longhaul's own choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub cipher_suites: Vec<CipherSuite>,
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
    /// Conditions on request fields; all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<ValueCondition>,
    /// Conditions on query parameters; all of them must hold. Of a repeated parameter the first one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<ValueCondition>,
    /// The client offers one of these WebSocket subprotocols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub subprotocols: Vec<String>,
}

/// A condition on a value that has a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueCondition {
    /// The name. That of a field may be in upper or lower case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: ValueKind,
    /// The value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ValueKind {
    #[default]
    Exact,
    Prefix,
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
    /// How an endpoint of the backend is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// What is sent to the backend in place of the request's own path and Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// How much is let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Redirect plain requests to https (308) where the host has a certificate. Absent: where the host has TLS.
    #[serde(rename = "redirectToTLS", default, skip_serializing_if = "Option::is_none")]
    pub redirect_to_tls: Option<bool>,
    /// Write an access record for each tunnel at its end and for each plain request. Absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancing {
    /// By what rule. Absent: LeastConnections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<BalancingPolicy>,
    /// What ConsistentHash hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_on: Option<HashOn>,
}

/// The rules by which an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum BalancingPolicy {
    LeastConnections,
    RoundRobin,
    ConsistentHash,
}

/// What is hashed; exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HashOn {
    /// The client's address: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<Whole>,
    /// The request field of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// The cookie of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub cookie: Option<String>,
    /// The query parameter of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query_parameter: Option<String>,
    /// The path: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Whole>,
}

/// Nothing more to say: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Whole {}

/// What is sent in place of what came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// Replaces the path, or prefix of it, that the rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^?#\\s]*$"))]
    pub prefix: Option<String>,
    /// Replaces the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^?#\\s]*$"))]
    pub path: Option<String>,
    /// Replaces the Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub upstream_host: Option<String>,
}

/// How much is let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The longest body of a plain request, as a quantity; a longer one gets 413. 0: no limit, as when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "size_schema")]
    pub body_size: Option<IntOrString>,
}

/// What Longhaul says of a WsRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WsRouteStatus {
    /// Accepted, ResolvedRefs, Programmed; PartiallyInvalid while only a part of it is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where clients reach the hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// What older objects own of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// One condition, in the words of Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Accepted, ResolvedRefs, Programmed or PartiallyInvalid.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    #[schemars(schema_with = "condition_status_schema")]
    pub status: String,
    /// The `metadata.generation` that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    #[schemars(schema_with = "date_time_schema")]
    pub last_transition_time: String,
    /// One word in CamelCase.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// For people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Where clients reach a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// What the value is.
    #[serde(rename = "type")]
    pub kind: AddressKind,
    /// The address or the name.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum AddressKind {
    #[default]
    IPAddress,
    Hostname,
}

/// A match, or a host's TLS setting, that an older object owns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The host; `*` for every host that nothing else names.
    #[schemars(length(max = 256))]
    pub host: String,
    /// The match: `=/exact`, `/prefix`, `defaultBackend`, or `tls`.
    #[schemars(length(max = 2048))]
    pub path: String,
    /// Who has it, as kind, namespace and name.
    #[schemars(length(max = 1024))]
    pub owner: String,
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
        let mut reader = Reader { object, field, diagnostics: Vec::new() };
        let patch = PolicyPatch {
            timeouts: self.timeouts.as_ref().map(|timeouts| reader.timeouts(timeouts)).unwrap_or_default(),
            load_balancing: self
                .load_balancing
                .as_ref()
                .map(|how| reader.load_balancing(how))
                .unwrap_or_default(),
            rewrite: self.rewrite.as_ref().map(|rewrite| reader.rewrite(rewrite)).unwrap_or_default(),
            max_body: self.limits.as_ref().and_then(|limits| reader.body_size(limits)),
            redirect: self.redirect_to_tls.map(|on| match on {
                true => Redirect::WithCertificate,
                false => Redirect::Never,
            }),
            access_log: self.access_log,
            ingress: IngressPatch::default(),
        };
        (patch, reader.diagnostics)
    }
}

/// Reads one policy, field by field.
struct Reader<'a> {
    object: &'a ObjectRef,
    field: &'a str,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn timeouts(&mut self, timeouts: &Timeouts) -> TimeoutsPatch {
        TimeoutsPatch {
            connect: self.duration("connect", timeouts.connect.as_deref()),
            handshake: self.duration("handshake", timeouts.handshake.as_deref()),
            idle: self.duration("idle", timeouts.idle.as_deref()),
            send: self.duration("send", timeouts.send.as_deref()),
            request: self.duration("request", timeouts.request.as_deref()),
        }
    }

    fn duration(&mut self, name: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let read = text.parse().ok();
        if read.is_none() {
            let message = format!("{} is not a duration; the default is served", quoted(text));
            self.malformed(&format!("timeouts.{name}"), message, duration::GRAMMAR);
        }
        read
    }

    fn load_balancing(&mut self, how: &LoadBalancing) -> LoadBalancingPatch {
        let hash_on = how.hash_on.as_ref().and_then(|hash_on| self.hash_on(hash_on));
        let policy = how.policy.map(|policy| match policy {
            BalancingPolicy::LeastConnections => policy::LoadBalancing::LeastConnections,
            BalancingPolicy::RoundRobin => policy::LoadBalancing::RoundRobin,
            BalancingPolicy::ConsistentHash => policy::LoadBalancing::ConsistentHash,
        });
        LoadBalancingPatch { policy, hash_on: hash_on.map(|part| vec![part]) }
    }

    fn hash_on(&mut self, hash_on: &HashOn) -> Option<HashPart> {
        let HashOn { client_address, header, cookie, query_parameter, path } = hash_on;
        let named = [
            client_address.as_ref().map(|_| HashPart::ClientAddress),
            header.as_ref().map(|name| HashPart::Header(name.to_ascii_lowercase())),
            cookie.clone().map(HashPart::Cookie),
            query_parameter.clone().map(HashPart::QueryParameter),
            path.as_ref().map(|_| HashPart::Path),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(only), None) => Some(only),
            _ => {
                let message = "there is not exactly one thing to hash; the client's address is hashed".into();
                self.malformed("loadBalancing.hashOn", message, HASH_ON);
                Some(HashPart::ClientAddress)
            }
        }
    }

    fn rewrite(&mut self, rewrite: &Rewrite) -> RewritePatch {
        let Rewrite { prefix, path, upstream_host } = rewrite;
        if prefix.is_some() && path.is_some() {
            let message = "both a prefix and a path are named; the path is served".into();
            self.malformed("rewrite", message, "one of prefix and path");
        }
        let whole = path.clone().map(PathRewrite::Whole);
        let path = whole.or_else(|| prefix.clone().map(PathRewrite::Prefix));
        RewritePatch { path, host: upstream_host.clone() }
    }

    fn body_size(&mut self, limits: &Limits) -> Option<u64> {
        let text = match limits.body_size.as_ref()? {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text.clone(),
        };
        let read = quantity::bytes(&text).ok();
        if read.is_none() {
            let message = format!("{} is not a size; there is no limit", quoted(&text));
            self.malformed("limits.bodySize", message, quantity::GRAMMAR);
        }
        read
    }

    fn malformed(&mut self, field: &str, message: String, grammar: &str) {
        self.diagnostics.push(Diagnostic {
            object: self.object.clone(),
            field: format!("{}.{field}", self.field),
            severity: Severity::Warning,
            reason: "UnsupportedValue".into(),
            message,
            remedy: format!("write {grammar}"),
        });
    }
}

const HASH_ON: &str = "one of clientAddress, header, cookie, queryParameter and path";

/// The `CustomResourceDefinition` as YAML, as it is checked in under `crds/wsroutes.yaml`.
pub fn manifest() -> String {
    let yaml = serde_yaml::to_string(&WsRoute::crd()).expect("a CustomResourceDefinition is plain data");
    format!("# Generated by `cargo run -p crds --bin crdgen`. Do not edit.\n{yaml}")
}

fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": duration::PATTERN, "maxLength": 32})
}

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}

fn size_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "pattern": quantity::PATTERN})
}

fn condition_status_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["True", "False", "Unknown"]})
}

fn date_time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 64})
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
        let policy = Policy { timeouts: Some(timeouts), ..Policy::default() };
        let (patch, diagnostics) = policy.read(&route(), "spec.rules[0].policy");
        assert_eq!((patch.timeouts.idle, patch.timeouts.send), (Some(Duration::default()), None));
        let [diagnostic] = &diagnostics[..] else { panic!("{diagnostics:?}") };
        assert_eq!(diagnostic.field, "spec.rules[0].policy.timeouts.send");
        assert!(diagnostic.message.contains("\"60\""), "{diagnostic}");
    }
}

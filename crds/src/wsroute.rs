//! The WsRoute resource: routes for WebSockets, said directly instead of through Ingress annotations.
//!
//! A field exists only when it works. Texts that need a grammar of their own (durations, sizes) stay texts here and
//! are read by [`Policy::read`], so that one bad value is a remark about one field and never an object that cannot be
//! decoded; the bounds and rules in the schema let the API server refuse it before that.
//!
//! Doc texts of fields are what `kubectl explain` shows and what the README's table of fields says.

mod policy;
pub(crate) mod schema;
mod status;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use policy::{
    Access, Affinity, AffinityCookie, Auth, BalancingPolicy, BasicAuth, Cors, ExternalAuth, HashOn,
    HeaderChanges, Headers, Hsts, Limits, LoadBalancing, Policy, Rewrite, Ring, SameSite, Timeouts,
    UpstreamTls, Whole,
};
pub use status::{Address, AddressKind, Condition, Conflict, WsRouteStatus};

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
    printcolumn = r#"{"name": "PROGRAMMED", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "ADDRESS", "type": "string", "jsonPath": ".status.addresses[*].value"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "RULES", "type": "string", "priority": 1, "jsonPath": ".spec.rules[*].name"}"#,
    printcolumn = r#"{"name": "REASON", "type": "string", "priority": 1,
        "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_spec)]
pub struct WsRouteSpec {
    /// The IngressClass whose controller serves this route. Absent: the class that is marked as default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub ingress_class_name: Option<String>,
    /// The hosts that the rules are for: a DNS name, or `*.` and a DNS name for exactly one label in front of it.
    /// Absent: every host that nothing else names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hosts")]
    pub hosts: Vec<String>,
    /// Certificates and TLS settings of the hosts. A host that none of them covers gets Longhaul's default
    /// certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tls: Vec<Tls>,
    /// Settings for every rule. A rule's own settings override them field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// What is routed where. The rule whose path is the longest takes a request; among equals, that with more
    /// conditions.
    #[schemars(schema_with = "schema::rules")]
    pub rules: Vec<Rule>,
}

/// The certificate and TLS settings of some hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_tls)]
pub struct Tls {
    /// The hosts that this is for; each of them is one of `spec.hosts` or covered by a wildcard there. Absent: all
    /// hosts of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hosts")]
    pub hosts: Vec<String>,
    /// A Secret of type `kubernetes.io/tls` in this namespace. Absent: Longhaul's default certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,
    /// The lowest TLS version that these hosts accept. Absent: "1.2".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// The cipher suites that these hosts accept, in order of preference, by their IANA names. Those that begin with
    /// `TLS_ECDHE_` are of TLS 1.2, the others of TLS 1.3; a version of which none is named is not accepted. Absent:
    /// all that Longhaul has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::cipher_suites")]
    pub cipher_suites: Vec<CipherSuite>,
    /// Ask clients of these hosts for certificates. Absent: they are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// Certificates by which clients say who they are. Backends get the one of a client as Client-Cert (RFC 9440) and the
/// name in it as Client-Cert-Subject; what clients send in fields of these names never passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct ClientCertificate {
    /// A Secret in this namespace: its `ca.crt` has the certificates of the authorities that may sign those of clients,
    /// its `ca.crl`, which may be absent, lists of those that are revoked.
    #[schemars(schema_with = "schema::object_name")]
    pub ca_secret_name: String,
    /// Required: without a certificate the TLS handshake fails, and requests without TLS get 403. Optional: only a bad
    /// one is refused.
    #[serde(default)]
    pub mode: ClientCertificateMode,
}

/// Who must have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ClientCertificateMode {
    #[default]
    Required,
    Optional,
}

/// One rule: requests that match go to the backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_rule)]
pub struct Rule {
    /// The rule's name, unique in this object. Metrics, and the settings of open tunnels, follow it.
    #[schemars(schema_with = "schema::label")]
    pub name: String,
    /// A request that fits any of these is taken; within one, all conditions must hold. Absent: every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
    /// Take plain HTTP requests too. Without it they get 426 (Upgrade Required).
    #[serde(default)]
    pub http: bool,
    /// Where requests go, shared out by weight.
    #[schemars(length(min = 1, max = 32))]
    pub backends: Vec<Backend>,
    /// Settings of this rule. They override those of `spec.policy` field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// Conditions on a request; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Match {
    /// A condition on the path. Absent: every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathCondition>,
    /// Conditions on request fields; all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::headers")]
    pub headers: Vec<ValueCondition>,
    /// Conditions on query parameters; all of them must hold. Of a repeated parameter the first one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<ValueCondition>,
    /// The client offers one of these WebSocket subprotocols. Absent: any, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subprotocols")]
    pub subprotocols: Vec<String>,
    /// The client is of one of these networks: CIDRs or single addresses. Absent: of any.
    #[serde(rename = "clientCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::client_networks")]
    pub client_cidrs: Vec<String>,
}

/// A condition on a value that has a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::tidy)]
pub struct ValueCondition {
    /// The name. That of a request field may be in upper or lower case.
    #[schemars(schema_with = "schema::parameter")]
    pub name: String,
    /// How the value is compared: Exact, Prefix for what the value begins with, or Regex for a regular expression that
    /// the value fits as a whole, in the syntax of Rust's `regex`, which is that of RE2; classes such as `\w` are of
    /// ASCII, and a value longer than 4096 bytes fits none.
    #[serde(rename = "type", default)]
    pub kind: ValueKind,
    /// The value, in the case in which it is sent.
    #[schemars(schema_with = "schema::field_value")]
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ValueKind {
    #[default]
    Exact,
    Prefix,
    Regex,
}

/// A condition on the path, compared after `.` and `..` segments are resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::tidy)]
pub struct PathCondition {
    /// How the value is compared: Exact, or Prefix, segment by segment: /ws is a prefix of /ws/a, not of /wsa.
    #[serde(rename = "type", default)]
    pub kind: PathKind,
    /// The path, from its leading slash on.
    #[schemars(schema_with = "schema::path")]
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
#[schemars(transform = schema::tidy)]
pub struct Backend {
    /// A Service in this namespace.
    #[schemars(schema_with = "schema::label")]
    pub service: String,
    /// The Service's port, by its number or by its name.
    #[schemars(schema_with = "schema::port")]
    pub port: IntOrString,
    /// The share of new tunnels and requests: this weight divided by the sum of the weights. 0 takes none.
    /// Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<i32>,
}

/// The `CustomResourceDefinition` as YAML, as it is checked in under `crds/wsroutes.yaml`.
pub fn manifest() -> String {
    let yaml = serde_yaml::to_string(&WsRoute::crd()).expect("a CustomResourceDefinition is plain data");
    format!("# Generated by `cargo run -p crds --bin crdgen`. Do not edit.\n{yaml}")
}

/// The schema of a WsRoute as its `CustomResourceDefinition` has it, for who does what the API server would.
pub fn schema() -> serde_json::Value {
    let crd = serde_json::to_value(WsRoute::crd()).expect("a CustomResourceDefinition is plain data");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[cfg(test)]
mod tests;

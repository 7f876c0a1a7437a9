//! What Longhaul says of a WsRoute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What Longhaul says of a WsRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct WsRouteStatus {
    /// Accepted: the object is understood and nothing older owns what it asks for. `ResolvedRefs`: the Services and
    /// Secrets that it names are there. Programmed: the proxies serve it. `PartiallyInvalid`: there only while a part
    /// of the rules is wrong; these answer 503, the others are served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where clients reach the hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub addresses: Vec<Address>,
    /// The hosts and paths of this object that an older object owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub conflicts: Vec<Conflict>,
}

/// One condition, in the words of Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Condition {
    /// Accepted, `ResolvedRefs`, Programmed or `PartiallyInvalid`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    #[schemars(schema_with = "schema::condition_status")]
    pub status: String,
    /// The `metadata.generation` that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub observed_generation: Option<i64>,
    /// When the status last changed from one value to another.
    #[schemars(schema_with = "schema::date_time")]
    pub last_transition_time: String,
    /// Why, as one word in CamelCase for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Where clients reach a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::tidy)]
pub struct Address {
    /// What the value is: `IPAddress` or Hostname.
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
#[schemars(transform = schema::tidy)]
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

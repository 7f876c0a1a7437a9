//! The parts of the schema that the types' own shapes do not say: patterns, cross-field rules, and what null means.
//!
//! Every string and list has a bound, for people and because the API server estimates from them what each rule can
//! cost at most. <https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints>

pub(super) mod affinity;
pub(super) mod auth;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::Rule;
use crate::{duration, grammar, quantity};

/// Refuses TLS hosts that the object does not serve. `*.` and what follows a name's first label covers that name.
pub(super) fn of_spec(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.hosts) || self.hosts.size() == 0 || !has(self.tls) || self.tls.all(tls, \
         !has(tls.hosts) || tls.hosts.all(host, host in self.hosts || \
         (host.contains('.') && '*.' + host.substring(host.indexOf('.') + 1) in self.hosts)))",
        "every host under tls must be one of spec.hosts, or be covered by a wildcard there; add it there too",
        ".tls",
    );
}

pub(super) fn of_tls(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.minVersion) || self.minVersion != '1.3' || !has(self.cipherSuites) || \
         self.cipherSuites.size() == 0 || self.cipherSuites.exists(suite, !suite.startsWith('TLS_ECDHE_'))",
        "with minVersion 1.3 at least one of the cipherSuites must be one of TLS 1.3; those that begin with \
         TLS_ECDHE_ are of TLS 1.2",
        ".cipherSuites",
    );
}

pub(super) fn of_rule(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "self.backends.exists(backend, !has(backend.weight) || backend.weight > 0)",
        "every backend has weight 0, so that none would take a request; give one of them a weight above 0",
        ".backends",
    );
}

pub(super) fn of_load_balancing(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.hashOn) || (has(self.policy) && self.policy == 'ConsistentHash')",
        "hashOn needs the policy ConsistentHash; set it, or remove hashOn",
        ".hashOn",
    );
    rule(
        schema,
        "has(self.hashOn) || !has(self.policy) || self.policy != 'ConsistentHash'",
        "the policy ConsistentHash needs hashOn; name what is to be hashed, such as clientAddress: {}",
        ".policy",
    );
}

pub(super) fn of_hash_on(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "[has(self.clientAddress), has(self.header), has(self.cookie), has(self.queryParameter), \
         has(self.path)].filter(named, named).size() == 1",
        "hashOn must name exactly one thing; name one of clientAddress, header, cookie, queryParameter and path",
        "",
    );
}

pub(super) fn of_rewrite(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.prefix) || !has(self.path)",
        "prefix and path exclude each other; name one of them",
        ".path",
    );
}

pub(super) fn of_hsts(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.preload) || !self.preload || (has(self.includeSubdomains) && self.includeSubdomains && \
         duration(self.maxAge) >= duration('8760h'))",
        "preload needs includeSubdomains and a maxAge of at least 8760h; set both, or remove preload",
        ".preload",
    );
}

pub(super) fn of_cors(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.allowCredentials) || !self.allowCredentials || !has(self.allowOrigins) || \
         !self.allowOrigins.exists(origin, origin == '*')",
        "browsers refuse credentials where every origin is allowed; name the origins, or remove allowCredentials",
        ".allowCredentials",
    );
}

/// Makes null mean "absent", as everywhere in Kubernetes where a field is not `nullable`: the API server drops it
/// before it looks at any rule. And puts each paragraph of a doc text on one line, for `kubectl explain` to wrap.
pub(crate) fn tidy(schema: &mut Schema) {
    let Some(schema) = schema.as_object_mut() else { return };
    unwrap_lines(schema);
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        forbid_null(property);
        unwrap_lines(property);
    }
}

fn forbid_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            property.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(words)) = property.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(mut forms)) = property.remove("anyOf") {
        forms.retain(|form| form["type"] != "null");
        let Some(Value::Object(only)) = forms.pop() else { return };
        for (key, value) in only {
            property.entry(key).or_insert(value);
        }
    }
    // Else kube makes it nullable at the end.
    if property.contains_key("x-kubernetes-int-or-string") {
        property.insert("nullable".into(), false.into());
    }
    // An absent bool or word with a default needs no look at the type's own.
    if property.get("default") == Some(&Value::Null) {
        property.remove("default");
    }
}

fn unwrap_lines(schema: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

/// Adds a rule. Its message says what is wrong and, after a semicolon, what to do.
fn rule(schema: &mut Schema, rule: &str, message: &str, field: &str) {
    let mut validation = json!({"rule": rule, "message": message});
    if !field.is_empty() {
        validation["fieldPath"] = field.into();
    }
    let rules = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Value::Array(rules) = rules {
        rules.push(validation);
    }
}

/// A text of one of our grammars.
fn text(grammar: &grammar::Grammar, most: u32) -> Schema {
    json_schema!({"type": "string", "pattern": grammar.pattern, "minLength": 1, "maxLength": most})
}

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": duration::PATTERN, "maxLength": 32})
}

pub(super) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 1,
        "maximum": 65535,
        "maxLength": 15,
        "pattern": grammar::PORT_NAME.pattern,
    })
}

pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maximum": 2_147_483_647,
        "maxLength": 17,
        "pattern": quantity::PATTERN,
    })
}

pub(super) fn token(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::TOKEN, 256)
}

pub(super) fn parameter(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::PARAMETER, 256)
}

pub(super) fn sent_path(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::SENT_PATH, 1024)
}

pub(super) fn path(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::PATH, 1024)
}

pub(super) fn authority(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::AUTHORITY, 259)
}

pub(super) fn server_name(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::SERVER_NAME, 253)
}

pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::OBJECT_NAME, 253)
}

pub(super) fn label(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::LABEL, 63)
}

pub(super) fn field_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::FIELD_VALUE.pattern, "maxLength": 4096})
}

pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::NETWORK, 64), "maxItems": 1024})
}

pub(super) fn client_networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::NETWORK, 64), "maxItems": 64})
}

pub(super) fn origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::ORIGIN, 300), "maxItems": 64})
}

/// Fields by name. A schema cannot say what a name must be; whoever reads them does.
pub(super) fn fields(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": field_value(generator), "maxProperties": 16})
}

pub(super) fn tokens(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::TOKEN, 128), "maxItems": 32})
}

pub(super) fn cors_origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::CORS_ORIGIN, 280), "maxItems": 64})
}

pub(super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::HOST, 253), "maxItems": 64})
}

/// Conditions on request fields, whose names are tokens.
pub(super) fn headers(generator: &mut SchemaGenerator) -> Schema {
    let mut condition = generator.subschema_for::<super::ValueCondition>().to_value();
    condition["properties"]["name"]["pattern"] = grammar::TOKEN.pattern.into();
    json_schema!({"type": "array", "items": condition, "maxItems": 16})
}

pub(super) fn subprotocols(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": text(&grammar::TOKEN, 128), "maxItems": 16})
}

pub(super) fn cipher_suites(generator: &mut SchemaGenerator) -> Schema {
    let suite = generator.subschema_for::<crate::tls::CipherSuite>();
    json_schema!({"type": "array", "items": suite, "maxItems": 9, "x-kubernetes-list-type": "set"})
}

pub(super) fn rules(generator: &mut SchemaGenerator) -> Schema {
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

pub(super) fn condition_status(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["True", "False", "Unknown"]})
}

pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let condition = generator.subschema_for::<super::Condition>();
    json_schema!({
        "type": "array",
        "items": condition,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 64})
}

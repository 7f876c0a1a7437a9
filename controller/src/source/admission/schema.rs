//! A WsRoute or WsPolicy against the schema of its own `CustomResourceDefinition`, as the API server checks it: types, bounds,
//! forms and words by a JSON-schema validator; keys of lists here; rules across fields by a CEL interpreter. Schema
//! and rules are compiled once.
//!
//! Unknown fields are found elsewhere, while the object is decoded.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crds::diagnostic::quoted;
use crds::{grammar, wspolicy, wsroute};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError};
use serde_json::{Map, Value};

use super::super::decode::{Mistake, below};
use super::super::yaml::{self, Node};

/// The schema in its three forms.
struct Compiled {
    schema: Value,
    bounds: jsonschema::Validator,
    rules: kube_cel::CompiledSchema,
}

static WSROUTE: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(wsroute::schema()));
static WSPOLICY: LazyLock<Compiled> = LazyLock::new(|| Compiled::new(wspolicy::schema()));

impl Compiled {
    fn new(schema: Value) -> Self {
        let mut readable = schema.clone();
        admit_both(&mut readable);
        let options =
            jsonschema::options().with_draft(Draft::Draft7).with_pattern_options(PatternOptions::regex());
        let bounds = options.build(&readable).expect("the schema is checked in and tested");
        Self { rules: kube_cel::compile_schema(&schema), schema, bounds }
    }
}

thread_local! {
    /// Its functions are registered when it is made.
    static RULES: kube_cel::Validator = kube_cel::Validator::new();
}

/// What is wrong with a WsRoute.
pub(in super::super) fn check_wsroute(node: &Node) -> Vec<Mistake> {
    check(node, &WSROUTE)
}

/// What is wrong with a WsPolicy.
pub(in super::super) fn check_wspolicy(node: &Node) -> Vec<Mistake> {
    check(node, &WSPOLICY)
}

/// Rules across fields are asked only where each field is sound, as the API server does.
fn check(node: &Node, compiled: &Compiled) -> Vec<Mistake> {
    let mut object = json(node);
    // Status is not what whoever applies an object says of it.
    if let Value::Object(object) = &mut object {
        object.remove("status");
    }
    let mut mistakes = bounds(&compiled.bounds, &object);
    repeated(&compiled.schema, &object, "", &mut mistakes);
    if mistakes.is_empty() {
        let refused = RULES.with(|rules| rules.validate_compiled(&compiled.rules, &object, None)).err();
        mistakes.extend(refused.into_iter().flatten().map(|error| {
            // Our rules' messages are made so; what the interpreter itself says is not.
            let (message, remedy) =
                error.message.split_once("; ").unwrap_or((&error.message, "correct the field"));
            let (message, remedy) = (message.to_owned(), remedy.to_owned());
            Mistake { field: error.field_path, message, remedy, ..Mistake::default() }
        }));
    }
    mistakes
}

/// Says to the JSON-schema validator what Kubernetes means by `x-kubernetes-int-or-string`.
fn admit_both(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                fields.insert("type".into(), vec!["integer", "string"].into());
            }
            fields.values_mut().for_each(admit_both);
        }
        Value::Array(items) => items.iter_mut().for_each(admit_both),
        _ => {}
    }
}

/// The tree as JSON. A field without a value is not there, as for the API server.
fn json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Bool(value) => Value::Bool(*value),
        yaml::Value::Integer(value) => {
            i64::try_from(*value).map_or_else(|_| (*value as f64).into(), Value::from)
        }
        yaml::Value::Float(value) => Value::from(*value),
        yaml::Value::Text(text) => Value::String(text.clone()),
        yaml::Value::Sequence(items) => items.iter().map(|item| json(item)).collect(),
        yaml::Value::Mapping(entries) => {
            let set = entries.iter().filter(|entry| !matches!(entry.node.value, yaml::Value::Null));
            Value::Object(set.map(|entry| (entry.key.clone(), json(&entry.node))).collect::<Map<_, _>>())
        }
    }
}

/// Every field that does not hold, once: of one with the wrong type nothing else is worth saying.
fn bounds(validator: &jsonschema::Validator, object: &Value) -> Vec<Mistake> {
    let mut errors: Vec<_> = validator.iter_errors(object).collect();
    errors.sort_by_key(|error| !matches!(error.kind(), ValidationErrorKind::Type { .. }));
    let mut seen = BTreeSet::new();
    let mistakes = errors.iter().map(bound);
    mistakes.filter(|mistake| seen.insert(mistake.field.clone())).collect()
}

/// One bound that does not hold, in words.
fn bound(error: &ValidationError<'_>) -> Mistake {
    let mut field = path(error.instance_path());
    let value = error.instance();
    let shown = match value.as_ref() {
        Value::String(text) => quoted(text),
        Value::Array(_) => "the list".into(),
        Value::Object(_) => "the object".into(),
        other => other.to_string(),
    };
    let (message, remedy) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            field = below(&field, name);
            (format!("missing field `{name}`"), "add it".to_owned())
        }
        ValidationErrorKind::Pattern { pattern } => {
            let words =
                grammar::words_of(pattern).map_or_else(|| format!("what fits {pattern}"), str::to_owned);
            (format!("{shown} does not have the form that is asked for"), format!("write {words}"))
        }
        ValidationErrorKind::Enum { options } => {
            let words: Vec<_> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let words = words.join(", ");
            (format!("{shown} is none of the words that are known here"), format!("write one of {words}"))
        }
        ValidationErrorKind::Type { kind } => {
            let asked = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(several) => {
                    several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
                }
            };
            let quote = asked == "string" && (value.is_number() || value.is_boolean());
            let remedy = if quote {
                "put the value in quotes".into()
            } else {
                format!("write a value of type {asked}")
            };
            (format!("{shown} is not of type {asked}"), remedy)
        }
        ValidationErrorKind::MinLength { limit } => {
            (format!("{shown} is shorter than {limit}"), "write more, or remove the field".to_owned())
        }
        ValidationErrorKind::MaxLength { limit } => {
            (format!("{shown} is longer than {limit} characters"), "shorten it".to_owned())
        }
        ValidationErrorKind::MinItems { limit } => {
            (format!("{shown} has less than {limit} items"), "add what is missing".to_owned())
        }
        ValidationErrorKind::MaxItems { limit } => {
            (format!("{shown} has more than {limit} items"), "remove some, or use a second object".to_owned())
        }
        ValidationErrorKind::Minimum { limit } => {
            (format!("{shown} is below {}", plain(limit)), "write more".to_owned())
        }
        ValidationErrorKind::Maximum { limit } => {
            (format!("{shown} is above {}", plain(limit)), "write less".to_owned())
        }
        _ => (error.to_string(), "correct the field".to_owned()),
    };
    Mistake { field, message, remedy, ..Mistake::default() }
}

/// A bound as people write it: the schema has it as a fraction, 65535.0.
fn plain(limit: &Value) -> String {
    limit.as_f64().map_or_else(|| limit.to_string(), |number| number.to_string())
}

fn path(location: &Location) -> String {
    location.iter().fold(String::new(), |field, segment| match segment {
        LocationSegment::Property(name) => below(&field, &name),
        LocationSegment::Index(index) => format!("{field}[{index}]"),
    })
}

/// Finds items of a list that is a map or a set which are there twice.
fn repeated(schema: &Value, value: &Value, field: &str, mistakes: &mut Vec<Mistake>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        if let Some(of_field) = schema["properties"].get(name) {
            repeated(of_field, inner, &below(field, name), mistakes);
        }
    }
    let keys: Option<Vec<&str>> = match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            Some(keys.filter_map(Value::as_str).collect())
        }
        Some("set") => Some(Vec::new()),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let field = format!("{field}[{index}]");
        if let Some(keys) = &keys {
            let identity = match &keys[..] {
                [] => item.to_string(),
                keys => keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>().join(" "),
            };
            if !seen.insert(identity.clone()) {
                let named = keys.first().map_or(String::new(), |key| format!(".{key}"));
                let message = format!("{identity} is there twice");
                let remedy = "rename or remove one of the two".to_owned();
                let field = format!("{field}{named}");
                mistakes.push(Mistake { field, message, remedy, ..Mistake::default() });
            }
        }
        repeated(&schema["items"], item, &field, mistakes);
    }
}

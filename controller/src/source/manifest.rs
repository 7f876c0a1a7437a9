//! The text of one file into Kubernetes objects, as strictly as the API server: what is unknown, misses or does
//! not fit is refused with its line. Pure: text in, objects and remarks out.
//!
//! Several documents, `kind: List`, an absent namespace and `stringData` mean what they mean to `kubectl apply`. What
//! the API server checks beyond the types, and its defaults, are in [`admission`].

use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use translate::{Kind, Object};
use xxhash_rust::xxh3::xxh3_64;

use super::admission;
use super::decode::{Mistake, decode, nearest};
use super::yaml::{self, Node, Value};

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// What one file says.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// It is no YAML, so that nothing can be said about what is in it.
    Broken(Remark),
    /// One entry for each object, in the order of the file.
    Items(Vec<Item>),
}

/// What became of one object of a file.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// An object of ours that is sound.
    Accepted(Sound),
    /// An object that is not taken. Without a reference nobody can say which one it was meant to be.
    Refused(Option<ObjectRef>, Vec<Remark>),
    /// An object of a kind that is not read.
    Foreign(Remark),
}

/// A sound object and where its fields stand.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    pub(crate) reference: ObjectRef,
    pub(crate) object: Object,
    pub(crate) lines: Arc<Lines>,
}

/// A diagnostic and its line in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) diagnostic: Diagnostic,
    pub(crate) line: u32,
}

/// The line of every field of an object. Paths are kept as hashes: a world of ten thousand objects has a million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    first: u32,
    /// Sorted.
    fields: Vec<(u64, u32)>,
}

impl Lines {
    /// The line on which the object begins.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The line of a field as diagnostics name it, or of the nearest one around it that the file has.
    pub fn of(&self, field: &str) -> u32 {
        let mut path = segments(field);
        while !path.is_empty() {
            let hash = xxh3_64(joined(&path).as_bytes());
            if let Ok(found) = self.fields.binary_search_by_key(&hash, |(hash, _)| *hash) {
                return self.fields[found].1;
            }
            path.pop();
        }
        self.first
    }

    fn new(root: &Node) -> Self {
        let mut lines = Self { first: root.line, fields: Vec::new() };
        lines.walk(root, &mut Vec::new());
        lines.fields.sort_unstable();
        lines.fields.shrink_to_fit();
        lines
    }

    fn walk(&mut self, node: &Node, path: &mut Vec<String>) {
        let mut child = |segment: String, line: u32, node: &Node| {
            path.push(segment);
            self.fields.push((xxh3_64(joined(path).as_bytes()), line));
            self.walk(node, path);
            path.pop();
        };
        match &node.value {
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    child(index.to_string(), item.line, item);
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    child(entry.key.clone(), entry.line, &entry.node);
                }
            }
            _ => {}
        }
    }
}

fn joined(path: &[String]) -> String {
    path.join("\u{1f}")
}

/// Takes `spec.rules[0].host` and `metadata.annotations[a.b/c]` apart.
fn segments(field: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            segments.push(inside.to_owned());
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest[1..].find(['.', '[']).map_or(rest.len(), |at| at + 1);
            segments.push(rest[..end].trim_start_matches('.').to_owned());
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    segments
}

/// Reads a file's text.
pub(crate) fn read(text: &str) -> Reading {
    match yaml::read(text) {
        Ok(documents) => Reading::Items(documents.iter().flat_map(|node| items(node)).collect()),
        Err(error) => {
            Reading::Broken(Remark { line: error.line, diagnostic: unreadable_file(&error.to_string()) })
        }
    }
}

/// Says of a whole file that nothing can be said about what is in it. Whoever knows its name adds it.
pub(crate) fn unreadable_file(reason: &str) -> Diagnostic {
    Diagnostic {
        object: ObjectRef::new("File", "", ""),
        field: String::new(),
        severity: Severity::Error,
        reason: "Unreadable".into(),
        message: format!("the file cannot be read: {reason}"),
        remedy: "correct it; until then every object of the file stays as it was".into(),
    }
}

/// The objects of a document: itself, or the items of a list.
fn items(node: &Node) -> Vec<Item> {
    let kind = node.child("kind").and_then(Node::text).unwrap_or_default();
    let list =
        kind == "List" || Kind::ALL.iter().any(|known| kind.strip_suffix("List") == Some(known.as_str()));
    match node.child("items").map(|items| &items.value) {
        Some(Value::Sequence(listed)) if list => listed.iter().flat_map(|item| items(item)).collect(),
        _ => vec![item(node)],
    }
}

fn item(node: &Node) -> Item {
    let head = match Head::of(node) {
        Ok(head) => head,
        Err(item) => return *item,
    };
    let decoded = match head.kind {
        Kind::Ingress => decode(node).map(Arc::new).map(Object::Ingress),
        Kind::IngressClass => decode(node).map(Arc::new).map(Object::IngressClass),
        Kind::WsRoute => decode_by_schema(node, admission::check_wsroute, Object::WsRoute),
        Kind::WsPolicy => decode_by_schema(node, admission::check_wspolicy, Object::WsPolicy),
        Kind::Service => decode(node).map(Arc::new).map(Object::Service),
        Kind::EndpointSlice => decode(node).map(Arc::new).map(Object::EndpointSlice),
        Kind::Secret => decode(node).map(with_string_data).map(Arc::new).map(Object::Secret),
        Kind::ConfigMap => decode(node).map(Arc::new).map(Object::ConfigMap),
    };
    let admitted = decoded.and_then(|mut object| {
        admission::fill_in(&mut object);
        let mistakes = admission::check(&object);
        if mistakes.is_empty() { Ok(object) } else { Err(mistakes) }
    });
    let lines = Lines::new(node);
    match admitted {
        Ok(object) => Item::Accepted(Sound {
            object: named(object, &head.reference),
            reference: head.reference,
            lines: Arc::new(lines),
        }),
        Err(mistakes) => {
            let secret = head.kind == Kind::Secret;
            // The API server's checks know fields only.
            let placed = mistakes.into_iter().map(|mistake| match mistake.line {
                0 => Mistake { line: lines.of(&mistake.field), ..mistake },
                _ => mistake,
            });
            let mut remarks: Vec<_> = placed.map(|mistake| head.refuse(mistake, secret)).collect();
            remarks.sort_by_key(|remark| remark.line);
            Item::Refused(Some(head.reference), remarks)
        }
    }
}

/// What the schema says of a field is clearer than what the type says, and it says it of all fields at once.
fn decode_by_schema<T: DeserializeOwned>(
    node: &Node,
    check: fn(&Node) -> Vec<Mistake>,
    object: fn(Arc<T>) -> Object,
) -> Result<Object, Vec<Mistake>> {
    let decoded = decode(node).map(Arc::new).map(object);
    let mut mistakes = check(node);
    if mistakes.is_empty() {
        return decoded;
    }
    mistakes.extend(decoded.err().into_iter().flatten().filter(Mistake::is_unknown_field));
    Err(mistakes)
}

fn text_of<'a>(node: &'a Node, key: &str) -> &'a str {
    node.child(key).and_then(Node::text).unwrap_or_default()
}

/// What an object says that it is.
struct Head {
    kind: Kind,
    reference: ObjectRef,
}

impl Head {
    fn of(node: &Node) -> Result<Self, Box<Item>> {
        let (api_version, kind_name) =
            (text_of(node, "apiVersion").to_owned(), text_of(node, "kind").to_owned());
        let metadata = node.child("metadata");
        let of_metadata = |key: &str| metadata.and_then(|node| node.child(key)).and_then(Node::text);
        let (name, namespace) = (of_metadata("name"), of_metadata("namespace"));
        let object = |namespace: &str| ObjectRef::new(&*kind_name, namespace, name.unwrap_or_default());

        let absent =
            ["apiVersion", "kind"].into_iter().find(|key| node.child(key).and_then(Node::text).is_none());
        if let Some(absent) = absent {
            let remark = remark(object(namespace.unwrap_or_default()), node.line, absent, Severity::Error);
            let message = format!("an object needs `{absent}`");
            return Err(Box::new(Item::Refused(None, vec![remark.saying(&message, "add it", "Invalid")])));
        }
        let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == kind_name);
        let Some(kind) = known.filter(|kind| version_of(*kind) == api_version) else {
            let object = object(namespace.unwrap_or(DEFAULT_NAMESPACE));
            return Err(Box::new(foreign(object, node, &api_version, known)));
        };
        let namespace = match kind {
            Kind::IngressClass => "",
            _ => namespace.unwrap_or(DEFAULT_NAMESPACE),
        };
        let reference = object(namespace);
        if let Err(message) = check_name(name) {
            let line = metadata.map_or(node.line, |metadata| Lines::new(metadata).of("name"));
            let remark = remark(reference, line, "metadata.name", Severity::Error);
            let remedy = "use lower case letters, digits, `-` and `.`";
            return Err(Box::new(Item::Refused(None, vec![remark.saying(&message, remedy, "Invalid")])));
        }
        if let Some(mistake) = admission::check_namespace(Some(namespace).filter(|name| !name.is_empty())) {
            let line = Lines::new(node).of("metadata.namespace");
            let remark = remark(reference, line, "metadata.namespace", Severity::Error);
            let said = remark.saying(&mistake.message, &mistake.remedy, "Invalid");
            return Err(Box::new(Item::Refused(None, vec![said])));
        }
        Ok(Self { kind, reference })
    }

    fn refuse(&self, mistake: Mistake, secret: bool) -> Remark {
        let mut message = mistake.message;
        // serde quotes the value that does not fit: not when it may be a password or a key.
        if secret && (mistake.field.starts_with("data") || mistake.field.starts_with("stringData")) {
            let about_key = mistake.about_key;
            message = if about_key { message } else { "the value does not fit (it is not shown)".into() };
        }
        let remark = remark(self.reference.clone(), mistake.line, &mistake.field, Severity::Error);
        let remedy = if mistake.remedy.is_empty() { "correct the field".into() } else { mistake.remedy };
        remark.saying(&message, &remedy, "Invalid")
    }
}

fn remark(object: ObjectRef, line: u32, field: &str, severity: Severity) -> Remark {
    let [reason, message, remedy] = [const { String::new() }; 3];
    Remark { line, diagnostic: Diagnostic { object, field: field.into(), severity, reason, message, remedy } }
}

impl Remark {
    fn saying(mut self, message: &str, remedy: &str, reason: &str) -> Self {
        self.diagnostic.message = message.into();
        self.diagnostic.remedy = remedy.into();
        self.diagnostic.reason = reason.into();
        self
    }
}

fn foreign(object: ObjectRef, node: &Node, api_version: &str, known: Option<Kind>) -> Item {
    let lines = Lines::new(node);
    let (severity, field, message, remedy) = match known {
        Some(kind) => (
            Severity::Warning,
            "apiVersion",
            format!("{kind} of `{api_version}` is not read"),
            format!("write `apiVersion: {}`", version_of(kind)),
        ),
        None => {
            // A slip, or one of the many kinds that are others' business.
            let (severity, remedy) = match nearest(&object.kind, Kind::ALL.map(Kind::as_str)) {
                Some(near) => (Severity::Warning, format!("did you mean `{near}`?")),
                None => (Severity::Info, format!("read are: {}", Kind::ALL.map(Kind::as_str).join(", "))),
            };
            let message = format!("objects of kind `{}` ({api_version}) are not read", object.kind);
            (severity, "kind", message, remedy)
        }
    };
    let line = lines.of(field);
    Item::Foreign(remark(object, line, field, severity).saying(&message, &remedy, "UnknownKind"))
}

/// The one version of each kind that is read.
fn version_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Ingress | Kind::IngressClass => "networking.k8s.io/v1",
        Kind::WsRoute | Kind::WsPolicy => "longhaul.dev/v1alpha1",
        Kind::Service | Kind::Secret | Kind::ConfigMap => "v1",
        Kind::EndpointSlice => "discovery.k8s.io/v1",
    }
}

/// A DNS subdomain, as the API server wants names.
fn check_name(name: Option<&str>) -> Result<(), String> {
    let name = name.ok_or("an object needs `metadata.name`")?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() <= 253 && name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge) {
        Ok(())
    } else {
        Err(format!("`{name}` cannot be an object's name"))
    }
}

/// `stringData` is for writing only: the API server puts it into `data`, over what is there.
fn with_string_data(mut secret: Secret) -> Secret {
    if let Some(texts) = secret.string_data.take() {
        let bytes = texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
        secret.data.get_or_insert_default().extend(bytes);
    }
    secret
}

/// Puts the identity that was found into the object itself: its namespace may have been absent.
fn named(mut object: Object, reference: &ObjectRef) -> Object {
    let metadata: &mut ObjectMeta = match &mut object {
        Object::Ingress(object) => &mut Arc::make_mut(object).metadata,
        Object::IngressClass(object) => &mut Arc::make_mut(object).metadata,
        Object::WsRoute(object) => &mut Arc::make_mut(object).metadata,
        Object::WsPolicy(object) => &mut Arc::make_mut(object).metadata,
        Object::Service(object) => &mut Arc::make_mut(object).metadata,
        Object::EndpointSlice(object) => &mut Arc::make_mut(object).metadata,
        Object::Secret(object) => &mut Arc::make_mut(object).metadata,
        Object::ConfigMap(object) => &mut Arc::make_mut(object).metadata,
    };
    metadata.namespace = Some(reference.namespace.clone()).filter(|namespace| !namespace.is_empty());
    object
}

#[cfg(test)]
mod tests;

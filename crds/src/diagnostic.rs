//! What is wrong with an object, as a value: one vocabulary for status, events, the admin API and the linter.

use std::fmt;

use serde::Serialize;

/// A Kubernetes object by identity, never by UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    /// `Ingress`, `WsRoute`, …
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectRef {
    /// Names an object; `namespace` is empty for cluster-scoped kinds.
    pub fn new(kind: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// How much a [`Diagnostic`] matters. The worst comes first in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// Something that was asked for is not served: a route answers 503, is left out, or a certificate falls back.
    Error,
    /// A setting was not taken as written; its default is served instead.
    Warning,
    /// Worth knowing; everything is served as meant.
    Info,
}

impl Severity {
    /// For people and programs: `error`, `warning`, `info`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One remark about one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Diagnostic {
    /// The object that somebody has to look at.
    pub object: ObjectRef,
    /// The field's path: `spec.rules[0].http.paths[1].backend`, `metadata.annotations[longhaul.dev/idle-timeout]`.
    pub field: String,
    /// How much it matters.
    pub severity: Severity,
    /// One word in CamelCase, as conditions and events want it.
    pub reason: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {} ({})", self.object, self.field, self.message, self.remedy)
    }
}

/// A user's value as messages quote it: escaped, and cut where it is long.
pub fn quoted(value: &str) -> String {
    const MOST: usize = 80;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_on_one_short_line() {
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(quoted(&"é".repeat(500)), format!("\"{}\"…", "é".repeat(80)));
    }
}

//! The reference tables of the README, as Markdown: every field of a WsRoute, every annotation. They come out of
//! the schema and the table that the code itself reads, so that they cannot say anything else.
//!
//! Whoever puts them into a document, and keeps that fresh, is elsewhere.

use std::fmt::Write;

use serde_json::Value;

use crate::annotations::{Annotation, Inert, NGINX, OWN, Support, table};
use crate::{grammar, wspolicy, wsroute};

/// They have the fields of a WsRoute's `spec.policy`, which are not told twice.
const POLICIES: [&str; 3] = ["spec.rules[].policy", "spec.defaults", "spec.overrides"];

/// Every field of a WsRoute's `spec` and `status`, in the order of their names: type, default, and what it says.
/// Required fields have `required` for a default.
pub fn wsroute_fields() -> String {
    let schema = wsroute::schema();
    let mut text = heading(["Field", "Type", "Default", "What it says"]);
    for part in ["spec", "status"] {
        fields(&schema["properties"][part], part, &mut text);
    }
    text
}

/// Every field of a WsPolicy's `spec`, as [`wsroute_fields`].
pub fn wspolicy_fields() -> String {
    let mut text = heading(["Field", "Type", "Default", "What it says"]);
    fields(&wspolicy::schema()["properties"]["spec"], "spec", &mut text);
    text
}

/// The annotations that are served: our own, then those of ingress-nginx.
pub fn served_annotations() -> String {
    let mut text = heading(["Annotation", "Value", "Default", "Example", "What it says"]);
    for annotation in served() {
        let Annotation { key, values, default, example, doc, .. } = annotation;
        let closes = match (annotation.security, annotation.leaves_out()) {
            (true, _) => " A value that does not read closes the routes (503).",
            (false, true) => " Of a value that does not read the Ingress is left out.",
            (false, false) => "",
        };
        row(&mut text, [&code(key), values, default, &code(example), &format!("{doc}{closes}")]);
    }
    text
}

/// What becomes of every known annotation that is not served: one line each.
pub fn other_annotations() -> String {
    let mut text = heading(["Annotation", "What becomes of it"]);
    for annotation in table() {
        let fate = match annotation.support {
            Support::Served(_) => continue,
            Support::NotYet => format!("not served yet{}", consequence(annotation)),
            Support::Refused(remedy) => format!("refused{}: {remedy}", consequence(annotation)),
            Support::NotApplicable(why) => format!("not needed: {why}"),
        };
        row(&mut text, [&code(annotation.key), &fate]);
    }
    text
}

fn served() -> impl Iterator<Item = &'static Annotation> {
    let of = |family: &'static str| {
        table().filter(move |annotation| {
            annotation.key.starts_with(family) && matches!(annotation.support, Support::Served(_))
        })
    };
    of(OWN).chain(of(NGINX))
}

/// What happens to the routes of who sets a key that is not served.
fn consequence(annotation: &Annotation) -> &'static str {
    match (annotation.security, annotation.inert) {
        (_, Inert::Always) => "; it asks for nothing that is missing",
        (true, _) if annotation.key.ends_with("-snippet") => {
            "; where it keeps somebody out, the routes answer 503"
        }
        (true, Inert::Never) => "; the routes answer 503, since it was to protect them",
        (true, _) => "; unless it asks for nothing, the routes answer 503, since it was to protect them",
        (false, _) => "",
    }
}

fn fields(schema: &Value, path: &str, text: &mut String) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let (doc, told) = without_default(property["description"].as_str().unwrap_or_default());
        let stored = property.get("default").map(|value| code(&plain(value)));
        let default = match (required.contains(&name.as_str().into()), stored) {
            (true, _) => "required".into(),
            (false, Some(stored)) => stored,
            (false, None) => told,
        };
        if POLICIES.contains(&&*path) {
            row(text, [&code(&path), "as a WsRoute's `spec.policy`", &default, &doc]);
            continue;
        }
        row(text, [&code(&path), &kind(property), &default, &doc]);
        let (inner, path) = match &property["items"] {
            Value::Null => (property, path),
            items => (items, format!("{path}[]")),
        };
        fields(inner, &path, text);
    }
}

/// Takes the doc text and its `Absent: …` sentence apart: that is the default.
fn without_default(doc: &str) -> (String, String) {
    let Some((before, after)) = doc.split_once("Absent: ") else { return (doc.into(), String::new()) };
    let end = after.find(". ").map_or(after.len(), |end| end + 1);
    let (default, rest) = after.split_at(end);
    (format!("{before}{}", rest.trim_start()).trim_end().to_owned(), default.trim_end_matches('.').to_owned())
}

/// The type in words: `duration`, `list of up to 64 objects`, `one of …`.
fn kind(schema: &Value) -> String {
    if let Some(allowed) = schema["enum"].as_array() {
        let names: Vec<_> = allowed.iter().map(|value| code(&plain(value))).collect();
        return names.join(", ");
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match schema["type"].as_str() {
        _ if pattern == crate::duration::PATTERN => "duration".into(),
        _ if pattern == crate::quantity::PATTERN => "quantity".into(),
        _ if pattern == grammar::PORT_NAME.pattern => "number or name".into(),
        Some("array") => {
            let most = &schema["maxItems"];
            format!("list of up to {most}: {}", kind(&schema["items"]))
        }
        Some("integer") => {
            format!("number from {} to {}", plain(&schema["minimum"]), plain(&schema["maximum"]))
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            format!(
                "up to {} names, each with {}",
                schema["maxProperties"],
                kind(&schema["additionalProperties"])
            )
        }
        Some("boolean") => "bool".into(),
        Some("string") => "text".into(),
        Some(other) => other.into(),
        None => "number or text".into(),
    }
}

/// A value as one writes it: no quotes, whole numbers without a fraction.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        other => other.to_string(),
    }
}

fn heading<const N: usize>(names: [&str; N]) -> String {
    let mut text = String::new();
    row(&mut text, names);
    row(&mut text, ["---"; N]);
    text
}

fn row<const N: usize>(text: &mut String, cells: [&str; N]) {
    for cell in cells {
        let cell = cell.replace('|', r"\|").replace('\n', " ");
        let _ = write!(text, "| {cell} ");
    }
    text.push_str("|\n");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cells of the row whose first cell this is.
    fn cells(table: &str, first: &str) -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(&format!("| `{first}` |")));
        let line = line.unwrap_or_else(|| panic!("{first} is not in\n{table}"));
        let inner = line.trim_matches('|').replace(r"\|", "\u{0}");
        inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_heading() {
        for table in [wsroute_fields(), wspolicy_fields(), served_annotations(), other_annotations()] {
            let width = |line: &str| line.replace(r"\|", "").matches('|').count();
            let expected = width(table.lines().next().unwrap());
            for line in table.lines() {
                assert_eq!(width(line), expected, "{line}");
                assert!(line.starts_with("| ") && line.ends_with(" |"), "{line}");
            }
        }
    }

    #[test]
    fn fields_are_told_with_type_and_default() {
        let table = wsroute_fields();
        for (field, kind, default) in [
            ("spec.rules", "list of up to 64: object", "required"),
            ("spec.rules[].http", "bool", "`false`"),
            ("spec.rules[].backends[].port", "number or name", "required"),
            ("spec.rules[].backends[].weight", "number from 0 to 1000000", "1"),
            ("spec.rules[].matches[].path.type", "`Exact`, `Prefix`", "`Prefix`"),
            ("spec.policy.timeouts.idle", "duration", "1h"),
            ("spec.policy.limits.bodySize", "quantity", "no limit"),
            ("spec.tls[].minVersion", "`1.2`, `1.3`", "\"1.2\""),
            ("status.conditions[].reason", "text", "required"),
        ] {
            let cells = cells(&table, field);
            assert_eq!((&*cells[1], &*cells[2]), (kind, default), "{field}");
            assert!(cells[3].ends_with(['.', '`']) && !cells[3].contains("Absent"), "{field}: {}", cells[3]);
        }
    }

    #[test]
    fn every_annotation_is_in_one_of_the_tables() {
        let (here, there) = (served_annotations(), other_annotations());
        for annotation in table() {
            let cell = format!("| `{}` |", annotation.key);
            assert_ne!(here.contains(&cell), there.contains(&cell), "{}", annotation.key);
        }
        assert_eq!(here.lines().count() + there.lines().count(), table().count() + 4);
        let row = cells(&here, "longhaul.dev/idle-timeout");
        assert_eq!(row[1..4], ["a duration with unit (h, m, s, ms); `0s`: no limit", "1h", "`15m`"]);
        assert!(cells(&here, "longhaul.dev/tls-min-version")[4].ends_with("closes the routes (503)."));
        assert!(cells(&there, "longhaul.dev/jwt-issuer")[1].contains("the routes answer 503"));
        assert_eq!(cells(&there, "longhaul.dev/hold")[1], "not served yet");
        assert!(cells(&here, "nginx.ingress.kubernetes.io/canary")[4].ends_with("left out."));
        assert!(cells(&there, "nginx.ingress.kubernetes.io/proxy-buffering")[1].starts_with("not needed: "));
        assert!(cells(&there, "nginx.ingress.kubernetes.io/secure-backends")[1].contains("backend-protocol"));
    }
}

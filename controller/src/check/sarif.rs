//! Findings as [SARIF 2.1.0][standard], which services that show findings beside code read.
//!
//! A finding of a file has a physical location, relative to where the check ran (`%SRCROOT%`); the object and its
//! field are a logical location, which a finding of a cluster has alone.
//!
//! [standard]: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crds::diagnostic::Severity;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Checked, Remark};
use crate::source::once::STANDARD_INPUT_NAME;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What standard input is called in an address.
const STANDARD_INPUT: &str = "stdin.yaml";

impl Checked {
    /// One SARIF log with one run.
    pub fn sarif(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let rules = self.findings.iter().map(|remark| &*remark.finding.diagnostic.reason);
        let mut rules: BTreeMap<&str, usize> = rules.map(|rule| (rule, 0)).collect();
        rules.values_mut().enumerate().for_each(|(index, place)| *place = index);
        let described: Vec<_> = rules.keys().map(|rule| described(rule)).collect();
        let results: Vec<_> = self.findings.iter().map(|remark| result(remark, &here, &rules)).collect();
        let log = json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": "longhaul-controller",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": described,
                }},
                "invocations": [{"executionSuccessful": true}],
                "columnKind": "utf16CodeUnits",
                "originalUriBaseIds": {"%SRCROOT%": {"uri": directory(&here)}},
                "results": results,
            }],
        });
        serde_json::to_string_pretty(&log).expect("texts and numbers always become JSON")
    }
}

fn described(rule: &str) -> Value {
    json!({"id": rule, "name": rule, "shortDescription": {"text": words(rule)}})
}

/// `BackendNotFound` as people write it.
fn words(rule: &str) -> String {
    let mut words = String::with_capacity(rule.len() + 8);
    for letter in rule.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn result(remark: &Remark, here: &Path, rules: &BTreeMap<&str, usize>) -> Value {
    let diagnostic = &remark.finding.diagnostic;
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let identity = format!("{}\u{1f}{}\u{1f}{}", diagnostic.object, diagnostic.field, diagnostic.reason);
    let mut result = json!({
        "ruleId": diagnostic.reason,
        "ruleIndex": rules.get(&*diagnostic.reason),
        "level": level,
        "message": {"text": format!("{} ({})", diagnostic.message, diagnostic.remedy)},
        "partialFingerprints": {"objectFieldReason/v1": format!("{:016x}", xxh3_64(identity.as_bytes()))},
        "locations": [location(remark, here)],
    });
    if let Some(document) = remark.document {
        result["properties"] = json!({"document": document});
    }
    result
}

fn location(remark: &Remark, here: &Path) -> Value {
    let diagnostic = &remark.finding.diagnostic;
    let (object, field) = (diagnostic.object.to_string(), &diagnostic.field);
    let name = if field.is_empty() { object } else { format!("{object}, {field}") };
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}]});
    if let Some(file) = &remark.finding.file {
        let mut physical = json!({"artifactLocation": artifact(file, here)});
        // A line is one that there is: what a file is as a whole begins with its first.
        physical["region"] = json!({"startLine": remark.finding.line.unwrap_or(1).max(1)});
        location["physicalLocation"] = physical;
    }
    location
}

fn artifact(file: &str, here: &Path) -> Value {
    if file == STANDARD_INPUT_NAME {
        return json!({"uri": STANDARD_INPUT});
    }
    match Path::new(file).strip_prefix(here) {
        Ok(below) => json!({"uri": encoded(&below.to_string_lossy()), "uriBaseId": "%SRCROOT%"}),
        Err(_) => json!({"uri": format!("file://{}", encoded(file))}),
    }
}

fn directory(path: &Path) -> String {
    format!("file://{}/", encoded(path.to_string_lossy().trim_end_matches('/')))
}

/// A path as an address has it (RFC 3986 §3.3).
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_words_and_paths_as_addresses() {
        assert_eq!(words("BackendNotFound"), "Backend not found");
        assert_eq!(encoded("/a b/ü:1#.yaml"), "/a%20b/%C3%BC%3A1%23.yaml");
        assert_eq!(directory(Path::new("/")), "file:///");
        let here = Path::new("/repo");
        assert_eq!(artifact("/repo/x.yaml", here), json!({"uri": "x.yaml", "uriBaseId": "%SRCROOT%"}));
        assert_eq!(artifact("/other/x.yaml", here), json!({"uri": "file:///other/x.yaml"}));
    }
}

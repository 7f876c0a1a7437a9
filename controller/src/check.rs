//! `longhaul-controller check`: what Longhaul would say of manifests, or of a cluster, without serving it.
//!
//! Files are read as the directory source reads them and everything is translated as for a proxy; what comes out are
//! the same remarks. What only a proxy can judge (a private key that does not belong to its certificate) is not looked
//! at. The findings are told to people ([`Checked::text`]), to programs ([`Checked::json`]) and to services that show
//! them beside code ([`Checked::sarif`]).

mod sarif;
mod text;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use serde::Serialize;
use snapshot::{Certificate, Key, Section, Snapshot};
use translate::{Kind, Settings, Store, translate};

use crate::source::Finding;
use crate::source::once::{Manifests, STANDARD_INPUT_NAME};

/// Whether the objects are everything that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A reference to an object that is not among them is an error.
    Whole,
    /// It may lead to an object that comes from elsewhere: a warning.
    Part,
}

/// What a check passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Everything but errors.
    ErrorsFail,
    /// Nothing that is not served as written.
    WarningsFail,
}

/// What is to be said of some manifests.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Sorted by file and line; those without a place come last.
    pub findings: Vec<Remark>,
    /// How many there are of what.
    pub summary: Summary,
    /// Of the warnings, those of references that may lead somewhere where the rest of the objects is.
    #[serde(skip)]
    excused: usize,
}

/// A finding, with its document where it comes from standard input.
#[derive(Clone, Debug, Serialize)]
pub struct Remark {
    /// What is wrong, and where.
    #[serde(flatten)]
    pub finding: Finding,
    /// Of standard input: which document, the first being 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<u32>,
}

/// How much was looked at, and how much was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files.
    pub files: usize,
    /// Objects that were sound enough to be translated.
    pub objects: usize,
    /// Objects of kinds that are none of Longhaul's business.
    pub others: usize,
    /// Something that was asked for would not be served.
    pub errors: usize,
    /// A setting would not be taken as written.
    pub warnings: usize,
    /// Worth knowing.
    pub infos: usize,
}

/// Checks manifests, or what was read of a cluster.
pub fn check(mut manifests: Manifests, settings: &Settings, scope: Scope) -> Checked {
    let mut store = Store::default();
    for change in std::mem::take(&mut manifests.objects) {
        store.apply(change);
    }
    let outcome = translate(&store, settings);
    let expired = expired(&outcome.snapshot, SystemTime::now());
    let mut excused = BTreeSet::new();
    let diagnostics = outcome.diagnostics.into_iter().chain(expired).map(|diagnostic| {
        match excuse(&diagnostic, scope, &manifests.unlisted) {
            Some(excuse) => {
                excused.insert(excuse.clone());
                excuse
            }
            None => diagnostic,
        }
    });
    let mut findings = manifests.said.with(diagnostics);
    let all = findings.len();
    findings.retain(|finding| !is_of_another_kind(&finding.diagnostic));
    let others = all - findings.len();
    findings.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    let count = |severity| findings.iter().filter(|finding| finding.diagnostic.severity == severity).count();
    let summary = Summary {
        files: manifests.files,
        objects: store.objects().count(),
        others,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        infos: count(Severity::Info),
    };
    let findings =
        findings.into_iter().map(|finding| Remark { document: document(&manifests, &finding), finding });
    Checked { findings: findings.collect(), summary, excused: excused.len() }
}

fn document(manifests: &Manifests, finding: &Finding) -> Option<u32> {
    finding.file.as_deref().filter(|file| *file == STANDARD_INPUT_NAME)?;
    manifests.document(finding.line?)
}

/// Without a file last, then by file and line.
fn place(finding: &Finding) -> (bool, Option<&str>, Option<u32>) {
    (finding.file.is_none(), finding.file.as_deref(), finding.line)
}

/// What a chart renders is mostly that; nobody wants to read it of each object.
fn is_of_another_kind(diagnostic: &Diagnostic) -> bool {
    diagnostic.reason == "UnknownKind" && diagnostic.severity == Severity::Info
}

/// A reference that leads nowhere may lead somewhere where the rest of the objects is.
fn excuse(diagnostic: &Diagnostic, scope: Scope, unlisted: &BTreeSet<Kind>) -> Option<Diagnostic> {
    let may_be_there = match &*diagnostic.reason {
        "BackendNotFound" => unlisted.contains(&Kind::Service),
        "ClassNotFound" => unlisted.contains(&Kind::IngressClass),
        "SecretNotFound" | "ConfigMapNotFound" | "ReferenceNotFound" => false,
        "SecretUnread" | "ConfigMapUnread" | "ReferenceUnread" => {
            let message = "it is there or not: you may not read it".to_owned();
            let severity = diagnostic.severity.max(Severity::Warning);
            return Some(Diagnostic { severity, message, ..diagnostic.clone() });
        }
        _ => return None,
    };
    let among = match scope {
        Scope::Part => "among these files",
        Scope::Whole if may_be_there => "among what you may list",
        Scope::Whole => return None,
    };
    // A class that is not found is a warning as it is.
    let severity = diagnostic.severity.max(Severity::Warning);
    let message = format!("{} {among}", diagnostic.message);
    Some(Diagnostic { severity, message, ..diagnostic.clone() })
}

/// Certificates that no client would take any more. A proxy judges that too, at the time of its own clock.
fn expired(snapshot: &Snapshot, now: SystemTime) -> Vec<Diagnostic> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let certificates = snapshot.iter().filter_map(|(key, _)| match (key, snapshot.section(key)?) {
        (Key::Certificate(secret), Ok(Section::Certificate(Certificate::Pair { not_after, .. }))) => {
            Some((secret, not_after))
        }
        _ => None,
    });
    certificates
        .filter(|(_, not_after)| u64::try_from(*not_after).is_ok_and(|end| end <= now) || *not_after < 0)
        .map(|(secret, _)| Diagnostic {
            object: ObjectRef::new("Secret", &*secret.namespace, &*secret.secret),
            field: "data[tls.crt]".into(),
            severity: Severity::Warning,
            reason: "CertificateExpired".into(),
            message: "the certificate has expired; it would be served for want of a better one".into(),
            remedy: "renew it".into(),
        })
        .collect()
}

impl Checked {
    /// Nothing was found that fails the check.
    pub fn passes(&self, strictness: Strictness) -> bool {
        let warnings = self.summary.warnings - self.excused.min(self.summary.warnings);
        self.summary.errors == 0 && (strictness == Strictness::ErrorsFail || warnings == 0)
    }

    /// For programs: one JSON document.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers always become JSON")
    }
}

#[cfg(test)]
mod tests;

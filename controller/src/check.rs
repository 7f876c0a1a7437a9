//! `longhaul-controller check`: what Longhaul would say of manifests, without serving them.
//!
//! The files are read as the directory source reads them and translated as for a proxy; what comes out are the same
//! remarks. What only a proxy can judge (a private key that does not belong to its certificate) is not looked at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use serde::Serialize;
use snapshot::{Certificate, Key, Section, Snapshot};
use translate::{Settings, Store, translate};

use crate::source::Finding;
use crate::source::once::{self, Unreadable};

/// Whether the files are everything that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A reference to an object that is not among them is an error.
    Whole,
    /// It may lead to an object that comes from elsewhere: a warning.
    Part,
}

/// What is to be said of some manifests.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Sorted by file and line; those without a place come last.
    pub findings: Vec<Finding>,
    /// How many there are of what.
    pub summary: Summary,
}

/// How much was looked at, and how much was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files.
    pub files: usize,
    /// Objects that were sound enough to be translated.
    pub objects: usize,
    /// Something that was asked for would not be served.
    pub errors: usize,
    /// A setting would not be taken as written.
    pub warnings: usize,
    /// Worth knowing.
    pub infos: usize,
}

/// Checks the manifests that these paths name.
pub fn check(paths: &[PathBuf], settings: &Settings, scope: Scope) -> Result<Checked, Unreadable> {
    let manifests = once::read(paths)?;
    let mut store = Store::default();
    for change in manifests.objects {
        store.apply(change);
    }
    let outcome = translate(&store, settings);
    let expired = expired(&outcome.snapshot, SystemTime::now());
    let diagnostics = outcome.diagnostics.into_iter().chain(expired).map(|diagnostic| match scope {
        Scope::Whole => diagnostic,
        Scope::Part => excuse(diagnostic),
    });
    let mut findings = manifests.said.with(diagnostics);
    findings.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    let count = |severity| findings.iter().filter(|finding| finding.diagnostic.severity == severity).count();
    let summary = Summary {
        files: manifests.files,
        objects: store.objects().count(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        infos: count(Severity::Info),
    };
    Ok(Checked { findings, summary })
}

/// Without a file last, then by file and line.
fn place(finding: &Finding) -> (bool, Option<&str>, Option<u32>) {
    (finding.file.is_none(), finding.file.as_deref(), finding.line)
}

/// A reference that leads nowhere may lead somewhere where the rest of the objects is.
fn excuse(diagnostic: Diagnostic) -> Diagnostic {
    const MISSING: [&str; 3] = ["BackendNotFound", "SecretNotFound", "ClassNotFound"];
    if diagnostic.severity != Severity::Error || !MISSING.contains(&&*diagnostic.reason) {
        return diagnostic;
    }
    let message = format!("{} among these files", diagnostic.message);
    Diagnostic { severity: Severity::Warning, message, ..diagnostic }
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
    /// Nothing that was asked for would go unserved.
    pub fn sound(&self) -> bool {
        self.summary.errors == 0
    }

    /// For programs: one JSON document.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers always become JSON")
    }
}

/// For people: each remark with its place and what helps, and how many there are.
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = std::env::current_dir().unwrap_or_default();
        for finding in &self.findings {
            let Diagnostic { object, field, severity, reason, message, remedy } = &finding.diagnostic;
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            if let Some(file) = &finding.file {
                let file = Path::new(&**file);
                write!(f, "{}:", file.strip_prefix(&here).unwrap_or(file).display())?;
                if let Some(line) = finding.line {
                    write!(f, "{line}:")?;
                }
                write!(f, " ")?;
            }
            writeln!(f, "{severity}: {message} [{reason}]")?;
            match (object.name.is_empty(), field.is_empty()) {
                (true, _) => {}
                (false, true) => writeln!(f, "    in {object}")?,
                (false, false) => writeln!(f, "    in {object}, {field}")?,
            }
            writeln!(f, "    help: {remedy}")?;
        }
        writeln!(f, "{}", self.summary)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
        let found = [(self.errors, "error"), (self.warnings, "warning"), (self.infos, "remark")];
        let found: Vec<_> =
            found.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| of(count, name)).collect();
        let found = if found.is_empty() { "nothing to remark".to_owned() } else { found.join(", ") };
        write!(f, "{found} in {}, {}", of(self.objects, "object"), of(self.files, "file"))
    }
}

//! Where objects come from: producers of [`Change`]s.
//!
//! A source knows how to see a world of objects and how it changes, and nothing of what becomes of them. What it
//! finds wrong before there is an object at all (a file that is no YAML, a field that does not exist) it says
//! itself, in [`Said`].

mod admission;
mod catalogue;
pub mod cluster;
mod decode;
pub mod dir;
mod manifest;
pub mod once;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef};
use imbl::OrdSet;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use translate::Change;

pub use manifest::Lines;

/// Changes that were seen together, and become visible together.
pub type Batch = Vec<Change>;

/// The receiving end of a source.
#[derive(Debug)]
pub struct Feed {
    /// What changes.
    pub changes: mpsc::Receiver<Batch>,
    /// What the source says about its input, the newest.
    pub said: watch::Receiver<Arc<Said>>,
    /// What is wanted of those kinds of which the source brings nothing else. A source that brings everything does not
    /// listen.
    pub wanted: watch::Sender<OrdSet<ObjectRef>>,
}

/// A source's own remarks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What is wrong with the input.
    pub findings: Vec<Finding>,
    /// Where the objects that were taken stand.
    pub places: BTreeMap<ObjectRef, Place>,
}

impl Said {
    /// These remarks, and others about the objects at the places where these stand: sorted, each once.
    pub fn with(&self, diagnostics: impl IntoIterator<Item = Diagnostic>) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(diagnostics.into_iter().map(
            |diagnostic| match self.places.get(&diagnostic.object) {
                Some(place) => place.locate(diagnostic),
                None => Finding { diagnostic, file: None, line: None },
            },
        ));
        findings.sort();
        findings.dedup();
        findings
    }
}

/// A diagnostic with the place in a file, where there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What is wrong.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
    /// The file, by its absolute path.
    pub file: Option<Arc<str>>,
    /// The line in it.
    pub line: Option<u32>,
}

/// A file's path as people want it: from where they are, if it is below.
pub fn shown(file: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = Path::new(file);
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The lines of its fields. `None`: the file changed since in a way that was not taken.
    pub lines: Option<Arc<Lines>>,
}

impl Place {
    /// Adds the place of a diagnostic's field to it.
    pub fn locate(&self, diagnostic: Diagnostic) -> Finding {
        let line = self.lines.as_ref().map(|lines| lines.of(&diagnostic.field));
        Finding { diagnostic, file: Some(self.file.to_string_lossy().into()), line }
    }
}

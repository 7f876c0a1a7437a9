//! What the files of a directory say together, and how that changes from one look at them to the next.
//!
//! A file that cannot be read keeps all its objects; an object that is refused keeps its own previous version; of
//! two objects with one name the one whose file comes first in order counts, so that a restart changes nothing.
//! Pure: the content of files in, changes and remarks out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use translate::{Change, Kind, Object};
use xxhash_rust::xxh3::xxh3_128;

use super::manifest::{self, Item, Lines, Reading, Remark};
use super::{Batch, Finding, Place, Said};

/// One look at the directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    /// The content of every file that counts, or why it could not be read.
    pub(crate) files: BTreeMap<Arc<Path>, Result<Vec<u8>, String>>,
    /// Directories whose content nobody could see, and why. Their files are as they were.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
    /// Something else that the operator should know: where, and what.
    pub(crate) remarks: Vec<(PathBuf, String)>,
}

/// Every file as it was read last, and the objects that count.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    files: BTreeMap<Arc<Path>, File>,
    objects: BTreeMap<ObjectRef, Object>,
    seen: bool,
}

#[derive(Debug)]
struct File {
    digest: Option<u128>,
    reading: Reading,
    /// What the file contributes.
    accepted: Contribution,
    /// Objects that it declares a second time.
    repeated: Vec<(ObjectRef, Arc<Lines>)>,
}

type Contribution = BTreeMap<ObjectRef, Taken>;

/// An object of a file.
#[derive(Clone, Debug)]
struct Taken {
    object: Object,
    /// `None`: an earlier version of the file said so.
    lines: Option<Arc<Lines>>,
}

impl Catalogue {
    /// Takes a look over. The first one brings everything, each later one what differs.
    pub(crate) fn update(&mut self, scan: Scan) -> (Batch, Said) {
        let hidden = |path: &Path| scan.unreadable.keys().any(|directory| path.starts_with(directory));
        self.files.retain(|path, _| scan.files.contains_key(path) || hidden(path));
        for (path, content) in scan.files {
            let before = self.files.remove(&path);
            self.files.insert(path, File::next(before, content));
        }
        let mut said = Said::default();
        for (path, reason) in &scan.unreadable {
            let message = format!("the directory cannot be read: {reason}");
            said.findings.push(of_file(path, message, "every object below it stays as it was"));
        }
        for (path, reason) in scan.remarks {
            said.findings.push(of_file(&path, reason, "see to it"));
        }
        for (path, file) in &self.files {
            said.findings.extend(file.remarks().map(|remark| located(path, remark)));
        }
        let objects = self.settle(&mut said);
        said.findings.sort();
        let batch = if self.seen { changes(&self.objects, &objects) } else { everything(&objects) };
        self.objects = objects;
        self.seen = true;
        (batch, said)
    }

    /// Which object of each name counts: a sound one before one that was kept, then the first in order.
    fn settle(&self, said: &mut Said) -> BTreeMap<ObjectRef, Object> {
        let mut objects = BTreeMap::new();
        for sound in [true, false] {
            for (path, file) in &self.files {
                for (reference, taken) in
                    file.accepted.iter().filter(|(_, taken)| taken.lines.is_some() == sound)
                {
                    let place = Place { file: path.clone(), lines: taken.lines.clone() };
                    match said.places.get(reference) {
                        None => {
                            said.places.insert(reference.clone(), place);
                            objects.insert(reference.clone(), taken.object.clone());
                        }
                        Some(first) if sound => said.findings.push(duplicate(reference, first, &place)),
                        Some(_) => {}
                    }
                }
            }
        }
        for (path, file) in &self.files {
            for (reference, lines) in &file.repeated {
                let place = Place { file: path.clone(), lines: Some(lines.clone()) };
                if let Some(first) = said.places.get(reference) {
                    said.findings.push(duplicate(reference, first, &place));
                }
            }
        }
        objects
    }
}

impl File {
    fn next(before: Option<Self>, content: Result<Vec<u8>, String>) -> Self {
        let digest = content.as_ref().ok().map(|content| xxh3_128(content));
        if let Some(before) = before {
            if before.digest == digest && digest.is_some() {
                return before;
            }
            return Self::new(digest, read(content), before.accepted);
        }
        Self::new(digest, read(content), Contribution::new())
    }

    fn new(digest: Option<u128>, reading: Reading, before: Contribution) -> Self {
        let (accepted, repeated) = accept(&reading, before);
        Self { digest, reading, accepted, repeated }
    }

    fn remarks(&self) -> impl Iterator<Item = &Remark> {
        let (broken, items) = match &self.reading {
            Reading::Broken(remark) => (Some(remark), &[][..]),
            Reading::Items(items) => (None, &items[..]),
        };
        broken.into_iter().chain(items.iter().flat_map(|item| match item {
            Item::Accepted(_) => &[][..],
            Item::Refused(_, remarks) => remarks,
            Item::Foreign(remark) => std::slice::from_ref(remark),
        }))
    }
}

fn read(content: Result<Vec<u8>, String>) -> Reading {
    let text = content.and_then(|content| {
        String::from_utf8(content)
            .map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
    });
    match text {
        Ok(text) => manifest::read(&text),
        Err(reason) => Reading::Broken(Remark { line: 0, diagnostic: manifest::unreadable_file(&reason) }),
    }
}

/// What a file contributes now, given what it contributed before.
fn accept(reading: &Reading, mut before: Contribution) -> (Contribution, Vec<(ObjectRef, Arc<Lines>)>) {
    let mut repeated = Vec::new();
    for taken in before.values_mut() {
        taken.lines = None;
    }
    let Reading::Items(items) = reading else { return (before, repeated) };
    // An object that is refused and cannot be told by name may be any of those that are missing now.
    let nameless = items.iter().any(|item| matches!(item, Item::Refused(None, _)));
    let mut accepted = if nameless { before.clone() } else { BTreeMap::new() };
    for item in items {
        match item {
            Item::Accepted(sound) => {
                let taken = Taken { object: sound.object.clone(), lines: Some(sound.lines.clone()) };
                if accepted.get(&sound.reference).is_some_and(|taken| taken.lines.is_some()) {
                    repeated.push((sound.reference.clone(), sound.lines.clone()));
                } else {
                    accepted.insert(sound.reference.clone(), taken);
                }
            }
            Item::Refused(Some(reference), _) => {
                if let Some(taken) = before.get(reference) {
                    accepted.entry(reference.clone()).or_insert_with(|| taken.clone());
                }
            }
            Item::Refused(None, _) | Item::Foreign(_) => {}
        }
    }
    (accepted, repeated)
}

fn everything(objects: &BTreeMap<ObjectRef, Object>) -> Batch {
    let of_kind = |kind| objects.values().filter(|object| object.kind() == kind).cloned().collect();
    let replace = Kind::ALL.into_iter().map(|kind| Change::Replace(kind, of_kind(kind)));
    replace.chain(Kind::ALL.into_iter().map(Change::Synced)).collect()
}

fn changes(before: &BTreeMap<ObjectRef, Object>, after: &BTreeMap<ObjectRef, Object>) -> Batch {
    let gone = before.keys().filter(|reference| !after.contains_key(reference)).cloned().map(Change::Delete);
    let differs = |(reference, object): &(&ObjectRef, &Object)| before.get(*reference) != Some(*object);
    let new = after.iter().filter(differs).map(|(_, object)| Change::Upsert(object.clone()));
    gone.chain(new).collect()
}

fn of_file(path: &Path, message: String, remedy: &str) -> Finding {
    let object = ObjectRef::new("File", "", path.to_string_lossy());
    let diagnostic = Diagnostic {
        object,
        field: String::new(),
        severity: Severity::Error,
        reason: "Unreadable".into(),
        message,
        remedy: remedy.into(),
    };
    Finding { diagnostic, file: Some(path.to_string_lossy().into()), line: None }
}

fn located(path: &Path, remark: &Remark) -> Finding {
    let mut diagnostic = remark.diagnostic.clone();
    if diagnostic.object.kind == "File" {
        diagnostic.object.name = path.to_string_lossy().into();
    }
    let line = (remark.line != 0).then_some(remark.line);
    Finding { diagnostic, file: Some(path.to_string_lossy().into()), line }
}

fn duplicate(reference: &ObjectRef, first: &Place, second: &Place) -> Finding {
    let line = |place: &Place| place.lines.as_ref().map_or(0, |lines| lines.first());
    second.locate(Diagnostic {
        object: reference.clone(),
        field: String::new(),
        severity: Severity::Error,
        reason: "Duplicate".into(),
        message: format!(
            "declared twice: {} line {} counts, {} line {} does not",
            first.file.display(),
            line(first),
            second.file.display(),
            line(second)
        ),
        remedy: "remove one of them".into(),
    })
}

#[cfg(test)]
mod tests;

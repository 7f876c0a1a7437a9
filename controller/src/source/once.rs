//! Objects from files, directories and standard input, read once: for checking them, not for serving them.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use translate::Kind;

use super::catalogue::{Catalogue, Scan};
use super::{Batch, Said, tree};

/// What stands for standard input among paths.
const STANDARD_INPUT: &str = "-";

/// What standard input is called where a file's path would stand.
pub const STANDARD_INPUT_NAME: &str = "<stdin>";

/// What is in some files, or in a cluster.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Every object, as a source brings it.
    pub objects: Batch,
    /// What is wrong with the files, and where the objects stand.
    pub said: Said,
    /// How many files were read.
    pub files: usize,
    /// On which line each document of standard input begins.
    pub documents: Vec<u32>,
    /// Kinds that could not be read, or not all of them.
    pub unlisted: BTreeSet<Kind>,
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct Unreadable {
    path: PathBuf,
    reason: String,
}

/// Reads the manifests that these paths name: a directory's as the directory source would, a file's whatever the
/// file is called, standard input's for `-`.
pub fn read(paths: &[PathBuf]) -> Result<Manifests, Unreadable> {
    let mut scan = Scan::default();
    for named in paths {
        let unreadable = |reason: String| Unreadable { path: named.clone(), reason };
        if named.as_os_str() == STANDARD_INPUT {
            let content = piped().map_err(|error| unreadable(error.to_string()))?;
            scan.files.insert(Arc::from(Path::new(STANDARD_INPUT_NAME)), Ok(content));
            continue;
        }
        let path = std::path::absolute(named).map_err(|error| unreadable(error.to_string()))?;
        let below = one(&path).map_err(|error| unreadable(error.to_string()))?;
        if let Some(reason) = below.unreadable.get(&path) {
            return Err(unreadable(reason.clone()));
        }
        scan.files.extend(below.files);
        scan.unreadable.extend(below.unreadable);
        scan.remarks.extend(below.remarks);
    }
    Ok(Manifests::of(scan))
}

/// What a file of this name and content says.
pub fn of_text(name: &str, content: Vec<u8>) -> Manifests {
    let mut scan = Scan::default();
    scan.files.insert(Arc::from(Path::new(name)), Ok(content));
    Manifests::of(scan)
}

fn one(path: &Path) -> io::Result<Scan> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Ok(tree::scan(path, |_| {}).0);
    }
    let content = tree::content(path, &metadata)?;
    let mut scan = Scan::default();
    scan.files.insert(Arc::from(path), Ok(content));
    Ok(scan)
}

fn piped() -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin().lock().take(tree::MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > tree::MAX_FILE {
        return Err(io::Error::other(format!("it is longer than {} bytes", tree::MAX_FILE)));
    }
    Ok(content)
}

/// The line on which each document begins that has something in it.
fn beginnings(text: &str) -> Vec<u32> {
    let (mut beginnings, mut inside) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let content = match line.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t']) => {
                inside = false;
                rest
            }
            _ => line,
        };
        let content = content.trim_start();
        if !inside && !content.is_empty() && !content.starts_with('#') {
            inside = true;
            beginnings.push(number);
        }
    }
    beginnings
}

impl Manifests {
    fn of(scan: Scan) -> Self {
        let piped = scan.files.get(Path::new(STANDARD_INPUT_NAME));
        let piped = piped.and_then(|content| content.as_ref().ok());
        let documents =
            piped.map(|content| beginnings(&String::from_utf8_lossy(content))).unwrap_or_default();
        let files = scan.files.len();
        let (objects, said) = Catalogue::default().update(scan);
        Self { objects, said, files, documents, unlisted: BTreeSet::new() }
    }

    /// Which document of standard input a line of it belongs to, the first being 1.
    pub fn document(&self, line: u32) -> Option<u32> {
        let before = self.documents.partition_point(|beginning| *beginning <= line);
        u32::try_from(before).ok().filter(|number| *number > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_counted_as_they_have_something_in_them() {
        let text =
            "# Source: a\n---\n# Source: b\na: 1\nb: |\n  x\n---\n\n--- # nothing\n---\nc: 1\n--- {d: 1}\n";
        let documents = beginnings(text);
        assert_eq!(documents, [4, 11, 12]);
        let manifests = Manifests { documents, ..Manifests::default() };
        let numbers = [1, 4, 6, 11, 12, 13].map(|line| manifests.document(line));
        assert_eq!(numbers, [None, Some(1), Some(1), Some(2), Some(3), Some(3)]);
        assert_eq!(beginnings("----\n"), [1]);
    }
}

//! Objects from files and directories, read once: for checking them, not for serving them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{Catalogue, Scan};
use super::{Batch, Said, tree};

/// What is in some files.
#[derive(Debug)]
pub struct Manifests {
    /// Every object, as a source brings it.
    pub objects: Batch,
    /// What is wrong with the files, and where the objects stand.
    pub said: Said,
    /// How many files were read.
    pub files: usize,
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct Unreadable {
    path: PathBuf,
    reason: String,
}

/// Reads the manifests that these paths name: a directory's as the directory source would, a file's whatever the
/// file is called.
pub fn read(paths: &[PathBuf]) -> Result<Manifests, Unreadable> {
    let mut scan = Scan::default();
    for named in paths {
        let unreadable = |reason: String| Unreadable { path: named.clone(), reason };
        let path = std::path::absolute(named).map_err(|error| unreadable(error.to_string()))?;
        let below = one(&path).map_err(|error| unreadable(error.to_string()))?;
        if let Some(reason) = below.unreadable.get(&path) {
            return Err(unreadable(reason.clone()));
        }
        scan.files.extend(below.files);
        scan.unreadable.extend(below.unreadable);
        scan.remarks.extend(below.remarks);
    }
    let files = scan.files.len();
    let (objects, said) = Catalogue::default().update(scan);
    Ok(Manifests { objects, said, files })
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

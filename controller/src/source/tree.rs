//! One look at a directory tree: which files count, their content, and what has to be watched to notice a change.
//!
//! Symbolic links are followed, since that is how Kubernetes mounts volumes and how people swap versions; the
//! directory of every link on the way is watched for that link. Names that begin with a dot do not count.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::catalogue::Scan;

/// The longest file that is read.
pub(crate) const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The most links that are followed one after another, as in the kernel.
const MAX_LINKS: usize = 40;

/// What a change can be noticed by. All paths are real ones, without a link on the way: a directory that is watched by
/// two names tells of changes under one of them only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Directories of which every entry counts.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// Directories of which some entries count: those in `entries`.
    pub(crate) parents: BTreeSet<PathBuf>,
    /// Links, their targets, and the root itself.
    pub(crate) entries: BTreeSet<PathBuf>,
}

impl Watched {
    /// Every directory to watch.
    pub(crate) fn all(&self) -> BTreeSet<PathBuf> {
        self.directories.union(&self.parents).cloned().collect()
    }

    /// Whether an event about this path can change what is seen.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let inside = path.parent().is_some_and(|parent| self.directories.contains(parent));
        inside || self.directories.contains(path) || self.entries.contains(path)
    }

    /// Notes every link on the way to `path`, where it leads in the end, and where it leads nowhere.
    fn follow(&mut self, path: &Path, watch: &mut impl FnMut(&Path)) {
        let mut pending: Vec<PathBuf> = parts(path);
        let mut reached = PathBuf::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == Path::new("..") {
                reached.pop();
                continue;
            }
            let next = reached.join(&part);
            match fs::read_link(&next) {
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    self.note(&next, watch);
                    pending.extend(parts(&target));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return self.note(&next, watch),
                _ => reached = next,
            }
        }
        self.note(&reached, watch);
    }

    fn note(&mut self, entry: &Path, watch: &mut impl FnMut(&Path)) {
        let Some(parent) = entry.parent() else { return };
        if self.entries.insert(entry.to_owned()) && self.parents.insert(parent.to_owned()) {
            watch(parent);
        }
    }
}

/// The components of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let kept = path.components().filter(|component| *component != Component::CurDir);
    kept.rev().map(|component| PathBuf::from(component.as_os_str())).collect()
}

/// Looks at the tree below `root`, an absolute path. `watch` is called for each directory before it is read, so that
/// nothing can happen unseen in between.
pub(crate) fn scan(root: &Path, mut watch: impl FnMut(&Path)) -> (Scan, Watched) {
    let mut walk = Walk { scan: Scan::default(), watched: Watched::default() };
    walk.watched.follow(root, &mut watch);
    if let Err(error) = walk.directory(root, &mut watch) {
        walk.scan.unreadable.insert(root.into(), error.to_string());
    }
    (walk.scan, walk.watched)
}

struct Walk {
    scan: Scan,
    watched: Watched,
}

impl Walk {
    fn directory(&mut self, path: &Path, watch: &mut impl FnMut(&Path)) -> io::Result<()> {
        let real = fs::canonicalize(path)?;
        // Links can lead in circles.
        if !self.watched.directories.insert(real.clone()) {
            let message = "it is reached twice through links; its files are read once";
            self.scan.remarks.push((path.into(), message.into()));
            return Ok(());
        }
        watch(&real);
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if !hidden(&entry.file_name()) {
                self.entry(&entry.path(), watch);
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, watch: &mut impl FnMut(&Path)) {
        let link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if link {
            self.watched.follow(path, watch);
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Removed since the directory was read. A link to nowhere is different: it may be in the middle of a swap.
            Err(error) if error.kind() == ErrorKind::NotFound && !link => return,
            Err(error) => {
                if manifest(path) {
                    self.scan.files.insert(path.into(), Err(error.to_string()));
                } else {
                    self.scan.unreadable.insert(path.into(), error.to_string());
                }
                return;
            }
        };
        if metadata.is_dir() {
            match self.directory(path, watch) {
                Err(error) if error.kind() == ErrorKind::NotFound && !link => {}
                Err(error) => {
                    self.scan.unreadable.insert(path.into(), error.to_string());
                }
                Ok(()) => {}
            }
        } else if manifest(path) {
            match content(path, &metadata) {
                Err(error) if error.kind() == ErrorKind::NotFound && !link => {}
                read => drop(self.scan.files.insert(path.into(), read.map_err(|error| error.to_string()))),
            }
        }
    }
}

/// What is in a file.
pub(crate) fn content(path: &Path, metadata: &fs::Metadata) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return Err(io::Error::other("it is neither a file nor a directory"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other(format!("it is longer than {MAX_FILE} bytes")));
    }
    fs::read(path)
}

fn hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn manifest(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(root: &Path) -> Vec<String> {
        let (scan, _) = scan(root, |_| {});
        assert!(scan.unreadable.is_empty(), "{scan:?}");
        let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        let shown = |content: &Result<Vec<u8>, String>| match content {
            Ok(content) => String::from_utf8_lossy(content).into_owned(),
            Err(_) => "unreadable".into(),
        };
        scan.files.iter().map(|(path, content)| format!("{}={}", relative(path), shown(content))).collect()
    }

    #[test]
    fn manifests_are_found_below_and_through_links() {
        let place = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(place.path()).unwrap();
        let root = real.join("root");
        for directory in ["root/sub/.git", "root/..v1", "elsewhere"] {
            fs::create_dir_all(place.path().join(directory)).unwrap();
        }
        for (name, content) in [
            ("root/a.yaml", "a"),
            ("root/b.yml", "b"),
            ("root/c.json", "c"),
            ("root/notes.txt", "no"),
            ("root/.hidden.yaml", "no"),
            ("root/a.yaml~", "no"),
            ("root/sub/d.yaml", "d"),
            ("root/sub/.git/e.yaml", "no"),
            ("root/..v1/f.yaml", "f"),
            ("elsewhere/g.yaml", "g"),
        ] {
            fs::write(place.path().join(name), content).unwrap();
        }
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/f.yaml", root.join("f.yaml")).unwrap();
        symlink("../elsewhere", root.join("linked")).unwrap();
        symlink("..", root.join("sub/circle")).unwrap();
        symlink("nowhere", root.join("dangling.yaml")).unwrap();
        let expected = [
            "a.yaml=a",
            "b.yml=b",
            "c.json=c",
            "dangling.yaml=unreadable",
            "f.yaml=f",
            "linked/g.yaml=g",
            "sub/d.yaml=d",
        ];
        assert_eq!(files(&root), expected);
        let mut announced = BTreeSet::new();
        let (_, watched) = scan(&root, |path| {
            announced.insert(path.to_owned());
        });
        assert!(watched.directories.is_subset(&announced) && watched.parents.is_subset(&announced));
        for (path, concerned) in [
            ("root/new.yaml", true),
            ("root/..data", true),
            ("root/..v1/f.yaml", true),
            ("root/..v1/other", false),
            ("elsewhere/g.yaml", true),
            ("elsewhere", true),
            ("root", true),
            ("root/sub/.git/e.yaml", false),
            ("other", false),
        ] {
            assert_eq!(watched.concerns(&real.join(path)), concerned, "{path}");
        }
    }

    #[test]
    fn a_missing_root_is_unreadable() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap().join("root");
        let (scan, watched) = scan(&root, |_| {});
        assert!(scan.files.is_empty() && scan.unreadable.contains_key(&root), "{scan:?}");
        assert!(watched.concerns(&root));
        let (_, watched) = super::scan(&root.join("deep/down"), |_| {});
        assert!(watched.concerns(&root), "the first step that is missing");
    }
}

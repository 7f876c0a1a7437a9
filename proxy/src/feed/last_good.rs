//! The last good snapshot in a file, so that a restarted proxy serves before the controller answers.
//!
//! The file holds the frames of the socket: Welcome (for the protocol's version), a full generation with
//! every section as it was served, then one on top of it that leads to the sections as they were received.
//! Loading builds the one and then the other, so that a section which was quarantined is served in its last
//! good form again.
//!
//! It holds private keys: mode 0600, and only on a file system that lives in memory unless somebody insists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use snapshot::Snapshot;
use snapshot::frame::{self, Assembler, FrameError, Generation, PROTOCOL, ToProxy};

/// The largest file that is written or read.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// Magic numbers of statfs(2) of the file systems that live in memory: tmpfs and ramfs.
const MEMORY_BACKED: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// Where the last-good file may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On tmpfs or ramfs only: private keys never reach a disk.
    #[default]
    MemoryOnly,
    /// Anywhere: somebody insists.
    AnyDisk,
}

/// A last-good file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The folder is not there, or not ours.
    #[error("last-good file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Private keys would reach a disk.
    #[error(
        "last-good file {} would hold private keys on a file system that is not memory-backed (tmpfs)",
        .0.display()
    )]
    OnDisk(PathBuf),
    /// Larger than any that we write.
    #[error("last-good file {} is larger than {MAX_FILE} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Not what we wrote.
    #[error("last-good file {} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In which way.
        source: FrameError,
    },
    /// Written by another version.
    #[error("last-good file {} has protocol {found}, this proxy has {PROTOCOL}", path.display())]
    Protocol {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct LastGoodFile {
    path: PathBuf,
    /// What it has, so that it is not written twice. Held while writing: two writers would share one
    /// temporary file.
    written: Arc<Mutex<Option<Generation>>>,
}

/// What a file held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) generation: Generation,
    /// Each section in its last good form.
    pub(super) served: Snapshot,
    /// Each section as it was received.
    pub(super) received: Snapshot,
}

impl LastGoodFile {
    /// A file at this place, which must be fit for private keys. The file itself need not exist.
    pub(super) fn new(path: &Path, storage: Storage) -> Result<Self, LastGoodError> {
        let io = |source| LastGoodError::Io { path: path.to_owned(), source };
        let stat = rustix::fs::statfs(folder(path)).map_err(|errno| io(errno.into()))?;
        let in_memory = u32::try_from(stat.f_type).is_ok_and(|magic| MEMORY_BACKED.contains(&magic));
        if storage == Storage::MemoryOnly && !in_memory {
            return Err(LastGoodError::OnDisk(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), written: Arc::default() })
    }

    /// What the file holds. `None`: there is no file.
    pub(super) fn load(&self) -> Result<Option<Loaded>, LastGoodError> {
        let io = |source| LastGoodError::Io { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if file.metadata().map_err(io)?.len() > MAX_FILE {
            return Err(LastGoodError::TooLarge(self.path.clone()));
        }
        let mut frames = Frames { file: file.take(MAX_FILE), buffer: BytesMut::new(), path: &self.path };
        match frames.next()? {
            ToProxy::Welcome { protocol: PROTOCOL, .. } => {}
            ToProxy::Welcome { protocol: found, .. } => {
                return Err(LastGoodError::Protocol { path: self.path.clone(), found });
            }
            _ => return Err(frames.damaged(FrameError::Unexpected("a frame before Welcome"))),
        }
        let (generation, served) = frames.generation((Generation::default(), &Snapshot::default()))?;
        let (_, received) = frames.generation((generation, &served))?;
        frames.end()?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
        Ok(Some(Loaded { generation, served, received }))
    }

    /// Puts a snapshot in place of what the file has, whole or not at all. A table without a generation
    /// leaves the file alone, and so does the one that it has already. Says whether it wrote.
    pub(super) fn save(
        &self,
        generation: Generation,
        served: &Snapshot,
        received: &Snapshot,
    ) -> io::Result<bool> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if generation.number == 0 || *written == Some(generation) {
            return Ok(false);
        }
        let temporary = self.temporary();
        let result = write(&temporary, generation, served, received)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| File::open(folder(&self.path))?.sync_all());
        match &result {
            Ok(()) => *written = Some(generation),
            // Half a file of private keys is of no use to anybody. That it may not be there is why this may
            // fail.
            Err(_) => drop(fs::remove_file(&temporary)),
        }
        result.map(|()| true)
    }

    /// In the same folder, so that it can be renamed; always the same, so that crashes leave at most one
    /// behind.
    fn temporary(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(path: &Path, generation: Generation, served: &Snapshot, received: &Snapshot) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made by us, now: never through a link and never with wider rights that a file had before.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(frame::MAX_FRAME, file);
    let welcome = ToProxy::Welcome { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
    let frames = std::iter::once(welcome)
        .chain(frame::generation(generation, None, served))
        .chain(frame::generation(generation, Some(served), received));
    let (mut buffer, mut size) = (BytesMut::new(), 0);
    for message in frames {
        buffer.clear();
        frame::encode(&message, &mut buffer);
        size += buffer.len() as u64;
        if size > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the snapshot is larger than a file may be",
            ));
        }
        out.write_all(&buffer)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

struct Frames<'a> {
    file: io::Take<File>,
    buffer: BytesMut,
    path: &'a Path,
}

impl Frames<'_> {
    fn next(&mut self) -> Result<ToProxy, LastGoodError> {
        loop {
            if let Some(frame) = frame::decode(&mut self.buffer).map_err(|error| self.damaged(error))? {
                return Ok(frame);
            }
            if self.fill()? == 0 {
                return Err(self.damaged(FrameError::Unexpected("the end of the file")));
            }
        }
    }

    fn generation(&mut self, held: (Generation, &Snapshot)) -> Result<(Generation, Snapshot), LastGoodError> {
        let mut assembler = Assembler::default();
        loop {
            let frame = self.next()?;
            if let Some(complete) = assembler.push(frame, held).map_err(|error| self.damaged(error))? {
                return Ok(complete);
            }
        }
    }

    fn end(&mut self) -> Result<(), LastGoodError> {
        if !self.buffer.is_empty() || self.fill()? > 0 {
            return Err(self.damaged(FrameError::Unexpected("something behind the last Commit")));
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<usize, LastGoodError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + frame::MAX_PART, 0);
        let read = self.file.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + read.as_ref().copied().unwrap_or(0));
        read.map_err(|source| LastGoodError::Io { path: self.path.to_owned(), source })
    }

    fn damaged(&self, source: FrameError) -> LastGoodError {
        LastGoodError::Damaged { path: self.path.to_owned(), source }
    }
}

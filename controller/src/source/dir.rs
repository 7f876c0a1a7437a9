//! Objects from the manifests of a directory, watched for change: Longhaul without a cluster.
//!
//! An event only says that it is time to look again; what changed, two looks tell. So editors that rename, links
//! that are swapped, and events that got lost come out the same. A file that somebody is still writing is waited for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, Scan};
use super::tree::{self, Watched};
use super::{Batch, Feed, Said};

/// How long it must be quiet before the tree is looked at.
const SETTLE: Duration = Duration::from_millis(20);

/// How long a look is put off while events go on, or while a file is open for writing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Events that may wait; when more come, one look more is what they lead to.
const EVENTS: usize = 1024;

/// Batches that may wait for the reconciler.
const BATCHES: usize = 16;

/// A directory that cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not there, or may not be read.
    #[error("cannot read the directory {path}: {reason}")]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The system cannot tell of changes.
    #[error("cannot watch the directory {path}")]
    Unwatched {
        /// As it was named.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

/// Looks at the directory for the first time and watches it from then on, in `tasks`, until `stop`.
pub async fn start(
    path: PathBuf,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
) -> Result<Feed, StartError> {
    let (batches, changes) = mpsc::channel(BATCHES);
    let (said_sender, said) = watch::channel(Arc::default());
    let (events, received) = sync_channel(EVENTS);
    let wake = Wake(events.clone());
    let named = path.clone();
    let first = move || Directory::open(named, Events { events, lost: Arc::default() }, batches, said_sender);
    let (directory, scan) = tokio::task::spawn_blocking(first).await.unwrap_or_else(|error| {
        let reason = error.to_string();
        Err(StartError::Unreadable { path, reason })
    })?;
    let stopped = stop.clone();
    tasks.spawn(async move {
        stopped.cancelled().await;
        drop(wake);
        Ok(())
    });
    tasks.spawn_blocking(move || {
        directory.run(scan, &received, &stop);
        Ok(())
    });
    Ok(Feed { changes, said, wanted: watch::Sender::default() })
}

/// Wakes the watching thread for the last time, also where the task that holds this is dropped: the thread waits for
/// events, and nobody could end it from outside.
struct Wake(SyncSender<Message>);

impl Drop for Wake {
    fn drop(&mut self) {
        // Where this finds no room, there are other events to wake it.
        let _ = self.0.try_send(Message::Stop);
    }
}

/// To the watching thread.
#[derive(Debug)]
enum Message {
    Event(Event),
    /// Something happened, nobody knows where.
    Somewhere,
    Stop,
}

/// Takes events from the system's watcher.
#[derive(Clone)]
struct Events {
    events: SyncSender<Message>,
    /// An event found no room.
    lost: Arc<AtomicBool>,
}

impl notify::EventHandler for Events {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let message = match event {
            // Reading the files is no change; it is what a look itself does.
            Ok(event) if reads_only(event.kind) => return,
            Ok(event) if event.need_rescan() => Message::Somewhere,
            Ok(event) => Message::Event(event),
            Err(_) => Message::Somewhere,
        };
        if let Err(TrySendError::Full(_)) = self.events.try_send(message) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

fn reads_only(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// The directory, on its thread.
struct Directory {
    root: PathBuf,
    watcher: RecommendedWatcher,
    watched: Watched,
    lost: Arc<AtomicBool>,
    catalogue: Catalogue,
    batches: mpsc::Sender<Batch>,
    said: watch::Sender<Arc<Said>>,
}

impl Directory {
    fn open(
        named: PathBuf,
        events: Events,
        batches: mpsc::Sender<Batch>,
        said: watch::Sender<Arc<Said>>,
    ) -> Result<(Self, Scan), StartError> {
        let root = match std::path::absolute(&named) {
            Ok(root) => root,
            Err(error) => return Err(StartError::Unreadable { path: named, reason: error.to_string() }),
        };
        let lost = events.lost.clone();
        let watcher = match notify::recommended_watcher(events) {
            Ok(watcher) => watcher,
            Err(source) => return Err(StartError::Unwatched { path: named, source }),
        };
        let catalogue = Catalogue::default();
        let mut directory =
            Self { root, watcher, watched: Watched::default(), lost, catalogue, batches, said };
        let scan = directory.look();
        match scan.unreadable.get(&directory.root) {
            Some(reason) => Err(StartError::Unreadable { path: named, reason: reason.clone() }),
            None => Ok((directory, scan)),
        }
    }

    fn run(mut self, first: Scan, received: &Receiver<Message>, stop: &CancellationToken) {
        let mut delivered = self.deliver(first);
        while delivered.is_ok() && self.change(received, stop).is_continue() {
            let scan = self.look();
            delivered = self.deliver(scan);
        }
    }

    /// Waits until something happened that matters, and until it is quiet again. Breaks when it is time to end.
    fn change(&self, received: &Receiver<Message>, stop: &CancellationToken) -> ControlFlow<()> {
        let mut burst = Burst::default();
        loop {
            let message = match burst.patience() {
                None => received.recv().map_err(RecvTimeoutError::from),
                Some(patience) => received.recv_timeout(patience),
            };
            match message {
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) | Ok(Message::Stop) => return ControlFlow::Break(()),
                Ok(Message::Somewhere) => burst.happens(),
                Ok(Message::Event(event)) => burst.take(event, &self.watched),
            }
            if self.lost.swap(false, Ordering::Relaxed) {
                burst.happens();
            }
            if stop.is_cancelled() || self.batches.is_closed() {
                return ControlFlow::Break(());
            }
        }
    }

    fn look(&mut self) -> Scan {
        let mut unwatched = Vec::new();
        let (mut scan, watched) = tree::scan(&self.root, |directory| {
            // Again each time: the directory of that name may be another one than before.
            if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive)
                && directory.exists()
            {
                unwatched.push((directory.to_owned(), format!("changes in it may go unnoticed: {error}")));
            }
        });
        scan.remarks.extend(unwatched);
        for gone in self.watched.all().difference(&watched.all()) {
            // Where the directory itself went, its watch went with it.
            let _ = self.watcher.unwatch(gone);
        }
        self.watched = watched;
        scan
    }

    fn deliver(&mut self, scan: Scan) -> Result<(), mpsc::error::SendError<Batch>> {
        let (batch, said) = self.catalogue.update(scan);
        self.said.send_if_modified(|before| {
            let differs = **before != said;
            *before = Arc::new(said);
            differs
        });
        if batch.is_empty() { Ok(()) } else { self.batches.blocking_send(batch) }
    }
}

/// Events that come together.
#[derive(Debug, Default)]
struct Burst {
    /// Since when something happens that matters.
    begun: Option<Instant>,
    /// Files that were written to and not closed since: half of a file is not what anybody meant.
    written: BTreeSet<PathBuf>,
}

impl Burst {
    /// How much longer to wait for more. `None`: nothing has happened yet.
    fn patience(&self) -> Option<Duration> {
        let left = PATIENCE.saturating_sub(self.begun?.elapsed());
        Some(if self.written.is_empty() { SETTLE.min(left) } else { left })
    }

    fn happens(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    fn take(&mut self, event: Event, watched: &Watched) {
        for path in event.paths.into_iter().filter(|path| watched.concerns(path)) {
            self.happens();
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => drop(self.written.insert(path)),
                EventKind::Modify(ModifyKind::Metadata(_)) => {}
                _ => drop(self.written.remove(&path)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, RemoveKind};

    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let watched = Watched { directories: BTreeSet::from(["/d".into()]), ..Watched::default() };
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let mut burst = Burst::default();
        burst.take(event(write, "/elsewhere/a.yaml"), &watched);
        assert_eq!(burst.patience(), None);
        burst.take(event(write, "/d/a.yaml"), &watched);
        burst.take(event(write, "/d/b.yaml"), &watched);
        assert!(burst.patience() > Some(SETTLE));
        burst.take(event(close, "/d/a.yaml"), &watched);
        burst.take(event(EventKind::Remove(RemoveKind::File), "/d/b.yaml"), &watched);
        assert!(burst.patience() <= Some(SETTLE));
    }

    #[test]
    fn reading_is_no_change() {
        assert!(reads_only(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(reads_only(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(!reads_only(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(!reads_only(EventKind::Modify(ModifyKind::Any)));
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_said_plainly() {
        let place = tempfile::tempdir().unwrap();
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let error = start(place.path().join("nowhere"), &mut tasks, stop).await.unwrap_err();
        assert!(error.to_string().ends_with("nowhere: No such file or directory (os error 2)"), "{error}");
    }
}

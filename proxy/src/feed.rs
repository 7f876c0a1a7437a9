//! Where tables come from: the controller's socket, and before it answers, the last good snapshot in a file.
//!
//! A [`Feed`] keeps one connection to the controller, applies the generations that come over it, and
//! acknowledges each. Whatever goes wrong on the way, the table that is served stays: a lost connection is
//! made again, a generation that does not fit is refused and asked for in full, bytes that are no frames end
//! the connection only.
//!
//! Once an hour the certificates that are served are judged anew: what has expired meanwhile is told to the controller
//! with another acknowledgement of the same generation.
//!
//! Invariant: the work that follows the size of a change (putting a generation together, building the table,
//! freeing the one before it, writing the file) is done on threads for blocking work, never on a worker and
//! never on the thread that polls the feed.

mod last_good;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use snapshot::frame::{Generation, Quarantined};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::last_good::LastGoodFile;
pub use self::last_good::{LastGoodError, Storage};
use self::session::Session;
use crate::table::Table;

/// The shortest wait between two attempts to connect …
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// … and the longest. A connection that lasted so long was a success.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Between two writes of the last-good file, however many generations come.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at what has expired.
const JUDGE_INTERVAL: Duration = Duration::from_hours(1);
/// After a write of the last-good file did not work.
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// What a [`Feed`] needs to know.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// The controller's Unix socket. It need not exist yet.
    pub socket: PathBuf,
    /// The file that holds the last good snapshot, if any.
    pub last_good: Option<PathBuf>,
    /// Where that file may lie.
    pub storage: Storage,
    /// How long the controller may take over one step that it has begun, before the connection is made anew.
    pub patience: Duration,
    /// How often the certificates that are served are judged anew.
    pub judge_interval: Duration,
}

impl FeedConfig {
    /// A feed from this socket, without a file.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            last_good: None,
            storage: Storage::MemoryOnly,
            patience: Duration::from_secs(10),
            judge_interval: JUDGE_INTERVAL,
        }
    }
}

/// How the feed is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedState {
    /// A controller is connected and speaks our protocol.
    pub connected: bool,
    /// What is served; number 0 where nothing is.
    pub generation: Generation,
    /// Generations applied since the start.
    pub applied: u64,
    /// Generations refused since the start.
    pub refused: u64,
    /// When the last one was applied.
    pub last_applied: Option<Instant>,
    /// How many sections are not served as received.
    pub quarantined: usize,
    /// How often the last-good file was written.
    pub written: u64,
    /// The last attempt to write it did not work.
    pub unwritten: bool,
}

/// Brings tables from the controller to the workers.
#[derive(Debug)]
pub struct Feed {
    config: FeedConfig,
    table: Arc<ArcSwap<Table>>,
    file: Option<LastGoodFile>,
    state: watch::Sender<FeedState>,
    ready: watch::Sender<bool>,
    changed: Notify,
    /// Held while the table that is served is replaced, so that none is lost.
    replacing: Arc<Mutex<()>>,
    /// Something has expired since the last acknowledgement.
    expired: Notify,
}

impl Feed {
    /// Puts the last good snapshot into `table`, where there is one. A file that cannot be read is said and
    /// left alone; a place where private keys must not lie is an error.
    pub fn new(config: FeedConfig, table: Arc<ArcSwap<Table>>) -> Result<Self, LastGoodError> {
        let file = match &config.last_good {
            Some(path) => Some(LastGoodFile::new(path, config.storage)?),
            None => None,
        };
        let state = watch::Sender::default();
        let feed = Self {
            config,
            table,
            file,
            state,
            ready: watch::Sender::default(),
            changed: Notify::new(),
            replacing: Arc::default(),
            expired: Notify::new(),
        };
        feed.load();
        Ok(feed)
    }

    /// How the feed is doing, for metrics.
    pub fn state(&self) -> watch::Receiver<FeedState> {
        self.state.subscribe()
    }

    /// Whether there is a table to serve from. Once true it stays true.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Keeps the table up to date until `shutdown`, then writes the file a last time.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::join!(
            self.keep_connected(&shutdown),
            self.keep_written(&shutdown),
            self.keep_judged(&shutdown)
        );
        // Only now has the last generation been applied.
        self.write().await;
    }

    fn load(&self) {
        let Some(file) = &self.file else { return };
        let loaded = match file.load() {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "the last-good file is ignored");
                return;
            }
        };
        let (now, generation) = (SystemTime::now(), loaded.generation);
        let (good, _) = Table::build(generation, loaded.served, &self.table.load(), now);
        // What is the same in the next one is not brought up to date there.
        good.install();
        let (table, quarantined) = Table::build(generation, loaded.received, &good, now);
        self.table.store(Arc::new(table));
        self.table.load().install();
        self.state.send_modify(|state| {
            state.generation = generation;
            state.quarantined = quarantined.len();
        });
        self.ready.send_replace(true);
        info!(generation = generation.number, "serving the last good snapshot until the controller answers");
    }

    async fn keep_connected(&self, shutdown: &CancellationToken) {
        let (mut failures, mut said) = (0, false);
        loop {
            let begun = Instant::now();
            let result = Session::connect_and_run(self, shutdown).await;
            let was_connected = self.state.borrow().connected;
            self.state.send_if_modified(|state| std::mem::take(&mut state.connected));
            let Err(error) = result else { return };
            if was_connected && begun.elapsed() >= LONGEST_WAIT {
                failures = 0;
            }
            // Once for each outage: a controller that is away for an hour does not fill the log.
            if was_connected || !said {
                let socket = self.config.socket.display();
                warn!(%error, %socket, "no feed from the controller, trying on");
                said = true;
            } else {
                debug!(%error, "no feed from the controller");
            }
            let wait = tokio::time::sleep(backoff(failures));
            failures = failures.saturating_add(1);
            if shutdown.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    async fn keep_written(&self, shutdown: &CancellationToken) {
        let work = async {
            loop {
                self.changed.notified().await;
                let wait = if self.write().await {
                    WRITE_INTERVAL
                } else {
                    self.changed.notify_one();
                    WRITE_AGAIN
                };
                tokio::time::sleep(wait).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    async fn keep_judged(&self, shutdown: &CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(self.config.judge_interval).await;
                self.judge().await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Looks for what has expired.
    async fn judge(&self) {
        let (table, replacing) = (self.table.clone(), self.replacing.clone());
        let judged = tokio::task::spawn_blocking(move || {
            // Whoever panicked while holding it replaced nothing.
            let _alone = replacing.lock().unwrap_or_else(PoisonError::into_inner);
            let held = table.load_full();
            let next = held.judged(SystemTime::now())?;
            let (quarantined, fresh) = (next.quarantined(), fresh(&next, &held));
            table.store(Arc::new(next));
            Some((quarantined.len(), fresh))
        });
        match judged.await {
            Ok(Some((quarantined, fresh))) => {
                self.state.send_modify(|state| state.quarantined = quarantined);
                tell(&fresh);
                self.expired.notify_one();
            }
            Ok(None) => {}
            // A mistake of ours. The table that is served is untouched.
            Err(error) => warn!(%error, "judging certificates went wrong"),
        }
    }

    /// Writes what is served to the file, unless the file has it. Says whether it does now.
    async fn write(&self) -> bool {
        let Some(file) = self.file.clone() else { return true };
        let (generation, received, served) = {
            let table = self.table.load();
            (table.generation(), table.snapshot().clone(), table.served())
        };
        let result = tokio::task::spawn_blocking(move || file.save(generation, &served, &received)).await;
        let result =
            result.map_err(|error| error.to_string()).and_then(|r| r.map_err(|error| error.to_string()));
        if let Err(error) = &result {
            warn!(%error, "the last-good file is not written");
        }
        self.state.send_modify(|state| {
            state.unwritten = result.is_err();
            state.written += u64::from(result == Ok(true));
        });
        result.is_ok()
    }
}

/// What is quarantined in `next` and was not in the table before it, at least not for that reason.
fn fresh(next: &Table, before: &Table) -> Vec<Quarantined> {
    let before = before.quarantined();
    next.quarantined().into_iter().filter(|section| !before.contains(section)).collect()
}

fn tell(fresh: &[Quarantined]) {
    for Quarantined { key, reason } in fresh {
        warn!(section = %key, reason, "section is not served as received, or not fit to be");
    }
}

/// Doubles with each failure. Half of it is chance, so that many proxies do not come back as one.
fn backoff(failures: u32) -> Duration {
    let whole = SHORTEST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

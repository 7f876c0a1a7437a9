//! One connection to the controller, from the greeting to its end.

use std::future;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use snapshot::frame::{
    self, Assembler, FrameError, Generation, MAX_PART, PROTOCOL, Quarantined, ToController, ToProxy,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Feed;
use crate::table::Table;

/// Texts for people are cut to this, so that every acknowledgement fits a frame.
const LONGEST_REASON: usize = 512;

/// Why a connection ended, other than that we were told to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the controller closed the connection")]
    Closed,
    #[error("the controller made no progress for {0:?}")]
    Stuck(Duration),
    #[error("the socket belongs to user {0}, who is neither this one nor root")]
    ForeignPeer(u32),
    #[error("the controller has protocol {0}, this proxy has {PROTOCOL}")]
    Protocol(u32),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

pub(super) struct Session<'a> {
    feed: &'a Feed,
    stream: UnixStream,
    /// Never more than one frame that is not whole yet, and what one read brings.
    received: BytesMut,
    assembler: Assembler,
    /// A generation was refused before its end: what is left of it is passed over.
    refusing: bool,
    /// A generation was acknowledged on this connection, and may be again.
    acknowledged: bool,
}

/// What a generation that was applied leaves to be said.
struct Applied {
    generation: Generation,
    sections: usize,
    quarantined: Vec<Quarantined>,
    /// Those of them that were not in the table before, at least not for that reason.
    fresh: Vec<Quarantined>,
}

impl<'a> Session<'a> {
    /// Returns without an error when told to stop.
    pub(super) async fn connect_and_run(
        feed: &'a Feed,
        shutdown: &CancellationToken,
    ) -> Result<(), SessionError> {
        let stream = timeout(feed.config.patience, UnixStream::connect(&feed.config.socket))
            .await
            .map_err(|_| SessionError::Stuck(feed.config.patience))??;
        check_peer(&stream)?;
        let mut session = Self {
            feed,
            stream,
            received: BytesMut::new(),
            assembler: Assembler::default(),
            refusing: false,
            acknowledged: false,
        };
        session.greet(shutdown).await?;
        loop {
            let (urgent, may_speak) = (session.in_the_middle(), session.acknowledged);
            tokio::select! {
                frame = session.next(urgent, shutdown) => match frame? {
                    Some(frame) => session.take(frame).await?,
                    None => return Ok(()),
                },
                () = feed.expired.notified(), if may_speak => session.acknowledge_again().await?,
            }
        }
    }

    async fn greet(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let (generation, digest) = {
            let table = self.feed.table.load();
            (table.generation(), table.digest())
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.send(&ToController::Hello { protocol: PROTOCOL, version, generation, digest }).await?;
        match self.next(true, shutdown).await? {
            None => Ok(()),
            Some(ToProxy::Welcome { protocol: PROTOCOL, version }) => {
                self.feed.state.send_modify(|state| state.connected = true);
                info!(controller = version, "connected to the controller");
                Ok(())
            }
            Some(ToProxy::Welcome { protocol, .. }) => Err(SessionError::Protocol(protocol)),
            Some(_) => Err(FrameError::Unexpected("a frame before Welcome").into()),
        }
    }

    /// Something was begun, so that waiting for the rest has an end.
    fn in_the_middle(&self) -> bool {
        !self.received.is_empty() || self.assembler.generation().is_some()
    }

    /// The next frame; nothing when told to stop.
    async fn next(
        &mut self,
        urgent: bool,
        shutdown: &CancellationToken,
    ) -> Result<Option<ToProxy>, SessionError> {
        let patience = self.feed.config.patience;
        let deadline = async {
            if urgent {
                tokio::time::sleep(patience).await;
            } else {
                future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Ok(None),
            frame = self.receive() => frame.map(Some),
            () = deadline => Err(SessionError::Stuck(patience)),
        }
    }

    /// May be dropped at any time: what was read stays.
    async fn receive(&mut self) -> Result<ToProxy, SessionError> {
        loop {
            if let Some(frame) = frame::decode(&mut self.received)? {
                return Ok(frame);
            }
            self.received.reserve(MAX_PART);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(SessionError::Closed);
            }
        }
    }

    async fn send(&mut self, message: &ToController) -> Result<(), SessionError> {
        let mut out = BytesMut::new();
        frame::encode(message, &mut out);
        let patience = self.feed.config.patience;
        match timeout(patience, self.stream.write_all(&out)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(SessionError::Stuck(patience)),
        }
    }

    async fn take(&mut self, frame: ToProxy) -> Result<(), SessionError> {
        let generation = match &frame {
            ToProxy::Begin { generation, .. } => {
                self.refusing = false;
                Some(*generation)
            }
            _ if self.refusing => return Ok(()),
            _ => self.assembler.generation(),
        };
        let result = match frame {
            ToProxy::Commit { .. } => self.commit(frame).await,
            frame => {
                let table = self.feed.table.load();
                let pushed = self.assembler.push(frame, (table.generation(), table.snapshot()));
                pushed.map(|_| None).map_err(|error| error.to_string())
            }
        };
        match (result, generation) {
            (Ok(None), _) => Ok(()),
            (Ok(Some(applied)), _) => self.applied(applied).await,
            (Err(reason), Some(generation)) => self.refuse(generation, reason).await,
            (Err(_), None) => Err(FrameError::Unexpected("a frame outside of any generation").into()),
        }
    }

    /// Carries a complete generation out, off this thread.
    async fn commit(&mut self, commit: ToProxy) -> Result<Option<Applied>, String> {
        let (assembler, table) = (std::mem::take(&mut self.assembler), self.feed.table.clone());
        let replacing = self.feed.replacing.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Whoever panicked while holding it replaced nothing.
            let _alone = replacing.lock().unwrap_or_else(PoisonError::into_inner);
            apply(assembler, commit, &table)
        });
        match work.await {
            Ok(Ok(applied)) => Ok(applied),
            Ok(Err(error)) => Err(error.to_string()),
            // A mistake of ours. The table that is served is untouched.
            Err(error) => Err(format!("building the table went wrong: {error}")),
        }
    }

    async fn applied(&mut self, applied: Applied) -> Result<(), SessionError> {
        let Applied { generation, sections, quarantined, fresh } = applied;
        self.feed.state.send_modify(|state| {
            state.generation = generation;
            state.applied += 1;
            state.last_applied = Some(Instant::now());
            state.quarantined = quarantined.len();
        });
        self.feed.ready.send_replace(true);
        self.feed.changed.notify_one();
        super::tell(&fresh);
        info!(generation = generation.number, sections, quarantined = quarantined.len(), "table applied");
        self.acknowledge(generation, quarantined).await
    }

    /// Says of the generation that is served what has become of it since.
    async fn acknowledge_again(&mut self) -> Result<(), SessionError> {
        let table = self.feed.table.load_full();
        self.acknowledge(table.generation(), table.quarantined()).await
    }

    async fn acknowledge(
        &mut self,
        generation: Generation,
        mut quarantined: Vec<Quarantined>,
    ) -> Result<(), SessionError> {
        let left_out = bound(&mut quarantined);
        if left_out > 0 {
            warn!(left_out, "the acknowledgement cannot name every section that is not served as received");
        }
        self.acknowledged = true;
        self.send(&ToController::Applied { generation, quarantined }).await
    }

    async fn refuse(&mut self, generation: Generation, mut reason: String) -> Result<(), SessionError> {
        self.assembler = Assembler::default();
        self.refusing = true;
        self.feed.state.send_modify(|state| state.refused += 1);
        warn!(generation = generation.number, reason, "generation refused");
        cut(&mut reason);
        self.send(&ToController::Refused { generation, reason }).await
    }
}

fn check_peer(stream: &UnixStream) -> Result<(), SessionError> {
    let peer = stream.peer_cred()?.uid();
    if may_feed(peer, rustix::process::geteuid().as_raw()) {
        Ok(())
    } else {
        Err(SessionError::ForeignPeer(peer))
    }
}

/// Whoever else could put a socket in the controller's place is not believed.
pub(super) fn may_feed(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

/// Builds the table, swaps it in, and frees the one before it.
fn apply(
    mut assembler: Assembler,
    commit: ToProxy,
    table: &ArcSwap<Table>,
) -> Result<Option<Applied>, FrameError> {
    let held = table.load_full();
    let Some((generation, snapshot)) = assembler.push(commit, (held.generation(), held.snapshot()))? else {
        return Ok(None);
    };
    let sections = snapshot.len();
    let (next, quarantined) = Table::build(generation, snapshot, &held, SystemTime::now());
    let next = Arc::new(next);
    table.store(next.clone());
    next.install();
    let fresh = super::fresh(&next, &held);
    Ok(Some(Applied { generation, sections, quarantined, fresh }))
}

/// Cuts a list down to what fits a frame. Says how many were left out.
fn bound(quarantined: &mut Vec<Quarantined>) -> usize {
    let (whole, mut size, mut fit) = (quarantined.len(), 0, 0);
    let mut encoded = BytesMut::new();
    for section in quarantined.iter_mut() {
        cut(&mut section.reason);
        encoded.clear();
        frame::encode(section, &mut encoded);
        size += encoded.len();
        if size > MAX_PART {
            break;
        }
        fit += 1;
    }
    quarantined.truncate(fit);
    whole - fit
}

fn cut(reason: &mut String) {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
}

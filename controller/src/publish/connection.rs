//! One proxy's connection: its greeting, then one generation after another, each acknowledged before the next.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use snapshot::Snapshot;
use snapshot::frame::{
    self, FrameError, Generation, MAX_FRAME, PROTOCOL, Quarantined, ToController, ToProxy,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Proxies, Published, Publisher};

/// How long a peer may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);

/// How long a proxy may take to receive, build and acknowledge a generation.
const DELIVERY: Duration = Duration::from_mins(2);

/// How long after a proxy refused a full generation the same one is offered again. Whatever is wrong with it then is
/// hardly put right by another copy; but a proxy without a snapshot must not stay so either.
const OFFER_AGAIN: Duration = Duration::from_secs(10);

/// Frames are put together up to this length before they are written.
const WRITE: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it speaks version {theirs} of the protocol ({version}), this controller version {PROTOCOL}")]
    Protocol { theirs: u32, version: String },
    #[error("it did not say who it is within {GREETING:?}")]
    Silent,
    #[error("it did not acknowledge a generation within {DELIVERY:?}")]
    Stuck,
    #[error("it sent {0} out of turn")]
    OutOfTurn(&'static str),
    #[error("the controller stops")]
    Stopping,
}

impl Ended {
    /// Nothing that anybody has to look into.
    pub(super) fn expected(&self) -> bool {
        match self {
            Self::Closed | Self::Stopping => true,
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}

/// Serves a proxy until one side has enough.
pub(super) async fn serve(stream: UnixStream, publisher: &Publisher, id: u64) -> Result<Infallible, Ended> {
    let (read, write) = stream.into_split();
    let mut incoming = Incoming { read, buffer: BytesMut::new() };
    let mut outgoing = Outgoing { write, publisher };
    let hello = timeout(GREETING, incoming.next()).await.map_err(|_| Ended::Silent)??;
    let ToController::Hello { protocol, version, generation, digest } = hello else {
        return Err(Ended::OutOfTurn("something before its greeting"));
    };
    let welcome = ToProxy::Welcome { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into() };
    outgoing.send(std::iter::once(welcome)).await?;
    if protocol != PROTOCOL {
        return Err(Ended::Protocol { theirs: protocol, version });
    }
    tracing::info!(proxy = id, version, number = generation.number, "a proxy is connected");
    let seat = Seat::take(&publisher.proxies, id, version);
    let mut newest = publisher.published();
    let first = newer(&mut newest, 0, &mut incoming, &seat, None).await?;
    // What a proxy holds already is not sent again. Which generation it calls that does not matter.
    let held = (digest == first.snapshot.digest()).then(|| first.snapshot.clone());
    Feeding { incoming, outgoing, seat, newest, held }.run(first).await
}

/// A connection whose proxy is known.
struct Feeding<'p> {
    incoming: Incoming,
    outgoing: Outgoing<'p>,
    seat: Seat<'p>,
    newest: watch::Receiver<Option<Published>>,
    /// What the proxy holds, as far as that is known.
    held: Option<Snapshot>,
}

impl Feeding<'_> {
    async fn run(mut self, first: Published) -> Result<Infallible, Ended> {
        let mut next = first;
        loop {
            let full = self.held.is_none();
            let again = match self.deliver(&next).await? {
                Answer::Applied => {
                    self.held = Some(next.snapshot.clone());
                    None
                }
                Answer::Refused(reason) => {
                    tracing::warn!(
                        generation = next.generation.number,
                        reason,
                        "a proxy refuses a generation"
                    );
                    self.seat.refused(reason);
                    self.held = None;
                    if !full {
                        continue;
                    }
                    Some(Instant::now() + OFFER_AGAIN)
                }
            };
            let number = next.generation.number;
            next = newer(&mut self.newest, number, &mut self.incoming, &self.seat, again).await?;
        }
    }

    /// Sends one generation and waits for its answer. Reading goes on meanwhile: a proxy may answer early.
    async fn deliver(&mut self, next: &Published) -> Result<Answer, Ended> {
        let frames = frame::generation(next.generation, self.held.as_ref(), &next.snapshot);
        let exchange = async {
            tokio::try_join!(
                self.outgoing.send(frames),
                answer(&mut self.incoming, next.generation, &self.seat),
            )
        };
        let ((), answer) = timeout(DELIVERY, exchange).await.map_err(|_| Ended::Stuck)??;
        Ok(answer)
    }
}

enum Answer {
    Applied,
    Refused(String),
}

async fn answer(incoming: &mut Incoming, generation: Generation, seat: &Seat<'_>) -> Result<Answer, Ended> {
    loop {
        match incoming.next().await? {
            ToController::Applied { generation: applied, quarantined } if applied == generation => {
                seat.applied(generation, quarantined);
                return Ok(Answer::Applied);
            }
            ToController::Refused { generation: refused, reason } if refused == generation => {
                return Ok(Answer::Refused(reason));
            }
            other => seat.take_late(other)?,
        }
    }
}

/// Waits for a generation above `number`, or for the same one again at `again`.
async fn newer(
    published: &mut watch::Receiver<Option<Published>>,
    number: u64,
    incoming: &mut Incoming,
    seat: &Seat<'_>,
    again: Option<Instant>,
) -> Result<Published, Ended> {
    loop {
        let is_newer = |published: &Option<Published>| {
            published.as_ref().is_some_and(|published| published.generation.number > number)
        };
        let same = again.and_then(|at| Some((at, published.borrow().clone()?)));
        tokio::select! {
            newest = published.wait_for(is_newer) => {
                if let Some(newest) = &*newest.map_err(|_| Ended::Stopping)? {
                    return Ok(newest.clone());
                }
            }
            message = incoming.next() => seat.take_late(message?)?,
            same = wait(same) => return Ok(same),
        }
    }
}

/// The value at its time; without one, never.
async fn wait<T>(at: Option<(Instant, T)>) -> T {
    match at {
        Some((at, value)) => {
            sleep_until(at).await;
            value
        }
        None => std::future::pending().await,
    }
}

/// A proxy's place among [`Proxies`], left when the connection ends.
struct Seat<'p> {
    proxies: &'p watch::Sender<Proxies>,
    id: u64,
}

impl<'p> Seat<'p> {
    fn take(proxies: &'p watch::Sender<Proxies>, id: u64, version: String) -> Self {
        proxies.send_modify(|proxies| {
            proxies.insert(id, super::Proxy { version, ..super::Proxy::default() });
        });
        Self { proxies, id }
    }

    fn applied(&self, generation: Generation, quarantined: Vec<Quarantined>) {
        self.proxies.send_modify(|proxies| {
            let proxy = proxies.entry(self.id).or_default();
            proxy.applied = Some(generation);
            proxy.quarantined = quarantined;
            proxy.refused = None;
        });
    }

    fn refused(&self, reason: String) {
        self.proxies.send_modify(|proxies| proxies.entry(self.id).or_default().refused = Some(reason));
    }

    /// A proxy may acknowledge the generation that it serves again, when a section of it goes bad later, as a
    /// certificate does that expires.
    fn take_late(&self, message: ToController) -> Result<(), Ended> {
        let served = self.proxies.borrow().get(&self.id).and_then(|proxy| proxy.applied);
        match message {
            ToController::Applied { generation, quarantined } if Some(generation) == served => {
                self.applied(generation, quarantined);
                Ok(())
            }
            ToController::Applied { .. } => Err(Ended::OutOfTurn("an acknowledgement")),
            ToController::Refused { .. } => Err(Ended::OutOfTurn("a refusal")),
            ToController::Hello { .. } => Err(Ended::OutOfTurn("a second greeting")),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.proxies.send_modify(|proxies| drop(proxies.remove(&self.id)));
    }
}

/// The proxy's messages. Holds at most one frame and what came with it.
struct Incoming {
    read: OwnedReadHalf,
    buffer: BytesMut,
}

impl Incoming {
    /// Waiting for it may be given up without losing anything.
    async fn next(&mut self) -> Result<ToController, Ended> {
        loop {
            if let Some(message) = frame::decode(&mut self.buffer)? {
                return Ok(message);
            }
            self.buffer.reserve(4096.min(MAX_FRAME));
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(Ended::Closed);
            }
        }
    }
}

struct Outgoing<'p> {
    write: OwnedWriteHalf,
    publisher: &'p Publisher,
}

impl Outgoing<'_> {
    async fn send(&mut self, frames: impl Iterator<Item = ToProxy>) -> Result<(), Ended> {
        let mut buffer = BytesMut::new();
        for message in frames {
            frame::encode(&message, &mut buffer);
            if buffer.len() >= WRITE {
                self.write_all(&mut buffer).await?;
            }
        }
        self.write_all(&mut buffer).await
    }

    async fn write_all(&mut self, buffer: &mut BytesMut) -> Result<(), Ended> {
        self.write.write_all(buffer).await?;
        self.publisher.bytes_sent.inc_by(buffer.len() as u64);
        buffer.clear();
        Ok(())
    }
}

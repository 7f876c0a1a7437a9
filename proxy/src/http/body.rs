//! The body of a response on its way from the upstream, and what is counted of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::affinity::Learner;
use crate::body::permitted;
use crate::upstream::Picked;
use crate::worker::Home;

use super::pool::Sender;
use super::wire::TrailerSlot;

/// What the access record says of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct Account(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    head: OnceLock<Answered>,
    sent: AtomicU64,
    finished: AtomicBool,
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) endpoint: SocketAddr,
    /// The length is known at the beginning.
    pub(super) length_known: bool,
}

impl Account {
    pub(super) fn begin(&self, answered: Answered) {
        // One exchange has one response.
        let _ = self.0.head.set(answered);
    }

    pub(super) fn answered(&self) -> Option<Answered> {
        self.0.head.get().copied()
    }

    /// The response has come to its end.
    pub(super) fn finished(&self) -> bool {
        self.0.finished.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }
}

/// The body of a request on its way to the upstream, and when it last moved.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None`: there is no body.
    inner: Option<Incoming>,
    progress: Progress,
}

/// When a request's body last moved.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl RequestBody {
    pub(super) fn new(inner: Incoming) -> Self {
        let inner = Some(inner).filter(|inner| !inner.is_end_stream());
        Self { inner, progress: Progress(Arc::new(Mutex::new(Instant::now()))) }
    }

    /// None at all.
    pub(super) fn empty() -> Self {
        Self { inner: None, progress: Progress(Arc::new(Mutex::new(Instant::now()))) }
    }

    /// The same again, where there is nothing to be read twice.
    pub(super) fn again(&self) -> Option<Self> {
        let progress = Progress(Arc::new(Mutex::new(Instant::now())));
        self.inner.is_none().then_some(Self { inner: None, progress })
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Progress {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, up to `limit` after the request last moved. `None`: it took longer.
    pub(super) async fn limited<T>(
        &self,
        limit: Option<Duration>,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(limit) = limit else { return Some(answer.await) };
        let mut answer = std::pin::pin!(answer);
        loop {
            let due = self.last() + limit;
            if let Ok(answered) = timeout_at(due, &mut answer).await {
                return Some(answered);
            }
            if self.last() + limit <= due {
                return None;
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = Pin::new(inner).poll_frame(cx);
        if frame.is_ready() {
            *self.progress.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A body that must go on moving, and that gives its connection back when it has come to its end.
#[derive(Debug)]
pub(super) struct ResponseBody {
    inner: Incoming,
    limit: Option<(Duration, Pin<Box<Sleep>>)>,
    account: Account,
    trailers: Trailers,
    carrier: Option<(Arc<Home>, Sender, Picked)>,
    learner: Option<Learner>,
}

/// Where trailers go, for a client that takes them, and which are not to be passed on.
type Trailers = Option<(TrailerSlot, Vec<HeaderName>)>;

impl ResponseBody {
    pub(super) fn new(
        inner: Incoming,
        limit: Option<Duration>,
        (account, trailers): (Account, Trailers),
        carrier: (Arc<Home>, Sender, Picked),
    ) -> Self {
        let limit = limit.map(|limit| (limit, Box::pin(sleep(limit))));
        Self { inner, limit, account, trailers, carrier: Some(carrier), learner: None }
    }

    /// It may begin a session of Engine.IO.
    pub(super) fn learning(mut self, learner: Option<Learner>) -> Self {
        self.learner = learner;
        self
    }

    /// Before the client has it: the next request of the session may come at once.
    fn learn(&mut self, piece: &[u8]) {
        if let (Some(learner), Some((_, _, picked))) = (&mut self.learner, &self.carrier)
            && let Some(sid) = learner.see(piece)
        {
            picked.learn(sid.as_bytes(), Instant::now());
        }
    }

    /// Puts trailers where the wire finds them: hyper would send only those that the head announces.
    fn keep_trailers(&self, fields: &HeaderMap) {
        let Some((slot, nominated)) = &self.trailers else { return };
        let mut lines = Vec::new();
        for (name, value) in fields {
            if permitted(name.as_str()) && !nominated.contains(name) {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    lines.extend_from_slice(part);
                }
            }
        }
        if !lines.is_empty() {
            slot.put(lines);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some((limit, sleep)) = &mut self.limit {
                    sleep.as_mut().reset(Instant::now() + *limit);
                }
                // Trailers are the last frame of a body.
                if frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
                    self.account.0.finished.store(true, Ordering::Relaxed);
                }
                if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()) {
                    self.keep_trailers(trailers);
                    return Poll::Ready(None);
                }
                if let Some(Ok(frame)) = &frame {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    self.account.0.sent.fetch_add(length, Ordering::Relaxed);
                    if let Some(piece) = frame.data_ref() {
                        self.learn(piece);
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match &mut self.limit {
                Some((_, sleep)) => sleep
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err("the upstream's response came to a halt".into()))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some((home, sender, picked)) = self.carrier.take()
            && (self.account.finished() || self.inner.is_end_stream())
        {
            home.pool.give(sender);
            drop(picked);
        }
    }
}

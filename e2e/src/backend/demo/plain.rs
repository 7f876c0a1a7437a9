//! The demo backend's plain answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::{Interval, interval};
use xxhash_rust::xxh3::Xxh3Default;

use super::{Body, last_segment, whoami};

const PAGE: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/chat.css");
const SCRIPT: &str = include_str!("../page/chat.js");

/// The largest piece of a download that is made at once.
const PIECE: usize = 64 * 1024;

/// The byte at each place of a download. No two neighbouring pieces of 64 KiB are alike.
pub fn pattern(place: u64) -> u8 {
    (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// The checksum that downloads and uploads are compared by: XXH3-128 in hex.
pub fn checksum(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Xxh3Default::new();
    for piece in pieces {
        hash.update(piece.as_ref());
    }
    format!("{:032x}", hash.digest128())
}

pub(super) async fn answer(request: Request<Incoming>, name: &str) -> Response<Body> {
    match last_segment(request.uri()) {
        "" => file("text/html; charset=utf-8", PAGE),
        "chat.css" => file("text/css; charset=utf-8", STYLE),
        "chat.js" => file("text/javascript; charset=utf-8", SCRIPT),
        "whoami" => text("application/json", whoami(&request, name)),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number(request.uri(), "ms").unwrap_or(1000))).await;
            text("text/plain; charset=utf-8", format!("{name} took its time\n"))
        }
        "sse" => events(request.uri()),
        "download" => download(number(request.uri(), "bytes").unwrap_or(1024)),
        "upload" if request.method() == Method::POST || request.method() == Method::PUT => {
            upload(request).await
        }
        _ => {
            let mut response = text("text/plain; charset=utf-8", format!("{name} has no such page\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// A number in the query: `ms` of `/slow?ms=20`.
fn number(uri: &Uri, name: &str) -> Option<u64> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

fn file(kind: &'static str, content: &'static str) -> Response<Body> {
    typed(kind, Full::new(Bytes::from_static(content.as_bytes())).boxed())
}

fn text(kind: &'static str, content: String) -> Response<Body> {
    typed(kind, Full::new(Bytes::from(content)).boxed())
}

fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn events(uri: &Uri) -> Response<Body> {
    let count = number(uri, "count").unwrap_or(10);
    let apart = Duration::from_millis(number(uri, "ms").unwrap_or(1000).max(1));
    typed("text/event-stream", Events { next: 1, count, ticks: interval(apart) }.boxed())
}

fn download(length: u64) -> Response<Body> {
    let sum = checksum(Pattern { place: 0, length });
    let mut response = typed("application/octet-stream", Pattern { place: 0, length }.boxed());
    if let Ok(sum) = HeaderValue::from_str(&sum) {
        response.headers_mut().insert("x-checksum", sum);
    }
    response
}

async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut hash = Xxh3Default::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                bytes += data.len();
                hash.update(&data);
            }
            Ok(Err(_trailers)) => {}
            Err(error) => {
                let mut response = text("text/plain; charset=utf-8", format!("{error}\n"));
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return response;
            }
        }
    }
    let sum = format!("{:032x}", hash.digest128());
    text("application/json", serde_json::json!({ "bytes": bytes, "checksum": sum }).to_string())
}

/// The bytes of a download, piece by piece.
struct Pattern {
    place: u64,
    length: u64,
}

impl Iterator for Pattern {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let end = self.length.min(self.place + PIECE as u64);
        let piece: Bytes = (self.place..end).map(pattern).collect();
        self.place = end;
        (!piece.is_empty()).then_some(piece)
    }
}

impl HttpBody for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.place)
    }
}

/// Server-sent events, one a tick.
struct Events {
    next: u64,
    count: u64,
    ticks: Interval,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.next > self.count {
            return Poll::Ready(None);
        }
        if self.ticks.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        let event = format!("id: {0}\ndata: event {0}\n\n", self.next);
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

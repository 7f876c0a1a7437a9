//! Plain HTTP requests of the same hosts: full reverse proxying through hyper, both ways streaming.
//!
//! Hyper never sees what a client sent. Each request is written anew in canonical form into an in-memory
//! [`wire`] that ends with the message; hyper serves that one request from it, and the next head is parsed by our own
//! parser once the response has been flushed. Requests to upstreams go over pooled connections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::affinity::Learner;
use crate::auth::Granted;
use crate::connection::{Asking, CLIENT_LEFT, Connection, Next};
use crate::dial::{self, DialError};
use crate::fields::Additions;
use crate::forward::{self, Outgoing};
use crate::head::{self, Framing, Head, Refusal, Version};
use crate::leg::Leg;
use crate::table::Route;
use crate::upstream::{Choice, Picked};
use crate::worker::Home;

mod ask;
mod body;
mod carried;
mod pool;
mod wire;

pub(crate) use ask::{Question, ask};
use body::{Account, Answered, RequestBody, ResponseBody};
use carried::Carried;
use pool::Sender;
pub(crate) use pool::{Line, Pool};
use wire::{Ending, Exchange, TrailerSlot, Wire};

/// Hyper's bounds, with room for what we add to a head that passed our own.
const MAX_FIELDS: usize = 2 * head::MAX_FIELDS;
const MAX_HEAD: usize = 2 * head::MAX_HEAD;

/// What a body above the route's limit is answered with.
pub(crate) const TOO_LONG: Refusal = Refusal::request(413, "the body is longer than this route takes");

/// Serves one plain request.
pub(crate) async fn serve(
    connection: &mut Connection,
    mut asking: Asking,
    route: &Arc<Route>,
    (choice, granted): (Choice<'_>, &Granted),
) -> Next {
    let home = connection.home.clone();
    if let (Framing::Length(length), Some(most)) = (asking.head.framing, route.max_body)
        && length > most
    {
        return connection.refuse_body(&asking, route, TOO_LONG).await;
    }
    asking.head.keep_alive &= !home.shared.leaving.is_cancelled();
    let mut head = Vec::with_capacity(1024);
    let outgoing = Outgoing { replaced: granted.replacing(route), ..route.outgoing(&asking.head) };
    forward::plain_request(&outgoing, &asking.peer(), &mut head);
    let (account, failure) = (Account::default(), std::sync::Mutex::new(None));
    let wire = Wire::new(&head, asking.head.framing);
    let trailers = takes_trailers(&asking.head).then(|| wire.trailers());
    let additions = asking.additions(route).granted(granted);
    let learns = route.affinity.as_ref().is_some_and(|affinity| affinity.learns(&asking.head));
    let service = service_fn(|request| {
        let (account, trailers) = (account.clone(), trailers.clone());
        let client = Client { account, asking: &asking, learns, additions: &additions, trailers };
        let (home, route) = (home.clone(), route.clone());
        let failure = &failure;
        // Boxed: hyper's connection is polled by hand, for which it must not be pinned.
        Box::pin(async move {
            let answered = forward_request(&home, (&route, choice), request, client).await;
            // The error goes past hyper, which would only close the connection.
            answered.map_err(|error| {
                let text = error.to_string();
                *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                std::io::Error::other(text)
            })
        })
    });
    let mut hyper = hyper::server::conn::http1::Builder::new();
    hyper.half_close(true).max_headers(MAX_FIELDS).max_buf_size(MAX_HEAD);
    let mut server = hyper.serve_connection(wire.end(), service);
    let mut exchange = Exchange::new(&asking.head, route, wire, account.clone());
    let ending = std::future::poll_fn(|cx| {
        exchange.poll(cx, &mut connection.leg, &mut connection.ahead, |cx| {
            // Not `poll_without_shutdown`, which leaves hyper's own buffer unwritten where the request is unread. The
            // wire has nothing to shut down.
            Pin::new(&mut server).poll(cx).map(|served| served.is_ok())
        })
    })
    .await;
    let failure = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    conclude(connection, &asking, route, (ending, failure), &account).await
}

/// What a response is for, besides being sent.
#[derive(Clone)]
struct Client<'a> {
    account: Account,
    /// Who asked for it.
    asking: &'a Asking,
    /// The session that it begins is to be known.
    learns: bool,
    /// What the route adds to it.
    additions: &'a Additions<'a>,
    /// Where trailers go, for a client that takes them.
    trailers: Option<TrailerSlot>,
}

/// Whether the client looks at trailers (RFC 9110 §6.5.1). HTTP/1.0 has none.
fn takes_trailers(head: &Head) -> bool {
    head.version == Version::Http11
        && head.fields.tokens("te").any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// What the end of an exchange means for the connection.
async fn conclude(
    connection: &mut Connection,
    asking: &Asking,
    route: &Route,
    (ending, failure): (Ending, Option<DialError>),
    account: &Account,
) -> Next {
    let answered = account.answered();
    if answered.is_none() {
        match (&ending, failure) {
            (Ending::Refused(refusal), _) => return connection.refuse_body(asking, route, *refusal).await,
            (_, Some(error)) => return connection.refuse_dial(asking, route, &error).await,
            _ => {}
        }
    }
    let mut summary = asking.summary(Some(route), answered.map_or(CLIENT_LEFT, |answered| answered.status));
    summary.endpoint = answered.map(|answered| answered.endpoint);
    summary.sent = account.sent();
    connection.home.shared.telemetry.request_done(&summary);
    // HTTP/1.0 knows no chunks: without a length the body ends with the connection.
    let delimited =
        asking.head.version == Version::Http11 || answered.is_some_and(|answered| answered.length_known);
    match ending {
        Ending::Served { body_read } if body_read && asking.head.keep_alive && delimited => Next::Request,
        Ending::Served { .. } => Next::Close,
        // What was cut must not look whole.
        Ending::Cut | Ending::Refused(_) => {
            connection.leg.reset();
            Next::Gone
        }
        Ending::Gone => Next::Gone,
    }
}

/// Sends a request to one of the route's endpoints and takes the response's head.
async fn forward_request(
    home: &Arc<Home>,
    (route, choice): (&Route, Choice<'_>),
    request: Request<Incoming>,
    client: Client<'_>,
) -> Result<Response<ResponseBody>, DialError> {
    let method = request.method().clone();
    let mut request = for_upstream(request, client.trailers.is_some());
    if client.learns {
        // What is compressed could not be read. It is a few words that nobody would compress.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let (mut tried, mut failure, began) = (Vec::new(), DialError::NoEndpoint, Instant::now());
    while route.may_try(tried.len(), began) {
        let Some(picked) = choice.pick(&tried, Instant::now()) else { break };
        let address = picked.address();
        let secured = route.secured(picked.upstream(), client.asking.tls);
        let line = Line::new(address, secured.as_ref());
        while let Some(sender) = home.pool.take(&line) {
            let again = again(&request);
            match send(home, route, sender, request, &picked).await {
                Ok((response, sender)) => {
                    return answer(home, (route, choice), (response, sender, picked), &method, client);
                }
                // The upstream had closed the idle connection: nothing was sent.
                Err((_, Some(unsent))) => request = *unsent,
                // It closed it as the request was on its way. What asks only may ask again, once and elsewhere than
                // on another connection of that age (RFC 9110 §9.2.2).
                Err((DialError::Terminated(_), None)) if again.is_some() => {
                    request = again.expect("asked for in this arm's condition");
                    break;
                }
                Err((error, None)) => return Err(error),
            }
        }
        match dial::attempt(&picked, secured.as_ref(), &route.timeouts, &home.shared.telemetry).await {
            Ok(leg) => {
                let sender = open(home, leg, line).await.map_err(|_| DialError::Terminated(address))?;
                let sent = send(home, route, sender, request, &picked).await;
                let (response, sender) = sent.map_err(|(error, _)| error)?;
                return answer(home, (route, choice), (response, sender, picked), &method, client);
            }
            Err(error) => failure = error,
        }
        tried.push(address);
    }
    Err(failure)
}

/// The request once more, where sending it twice does no more than sending it once.
fn again(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let mut again = Request::new(request.body().again()?);
    if !request.method().is_safe() {
        return None;
    }
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    *again.version_mut() = request.version();
    again.headers_mut().clone_from(request.headers());
    Some(again)
}

type Unsent = Option<Box<Request<RequestBody>>>;

async fn send(
    home: &Home,
    route: &Route,
    mut sender: Sender,
    request: Request<RequestBody>,
    picked: &Picked,
) -> Result<(Response<Incoming>, Sender), (DialError, Unsent)> {
    let address = picked.address();
    let progress = request.body().progress();
    let sent = progress.limited(route.timeouts.request, sender.try_send_request(request)).await;
    match sent {
        Some(Ok(response)) => Ok((response, sender)),
        Some(Err(mut error)) => {
            let unsent = error.take_message().map(Box::new);
            let error = error.into_error();
            tracing::debug!(%error, endpoint = %address, leaving = home.shared.leaving.is_cancelled(), "no answer");
            Err((ask::failed(address, &error), unsent))
        }
        None => Err((DialError::ResponseTimeout(address), None)),
    }
}

async fn open(home: &Home, leg: Leg, line: Line) -> hyper::Result<Sender> {
    match leg {
        // The kernel's own buffers are enough.
        Leg::Plain(stream) => open_over(home, TokioIo::new(stream), line).await,
        leg => open_over(home, Carried::new(leg), line).await,
    }
}

async fn open_over<T>(home: &Home, io: T, line: Line) -> hyper::Result<Sender>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut hyper = hyper::client::conn::http1::Builder::new();
    hyper.max_headers(MAX_FIELDS).max_buf_size(MAX_HEAD);
    let (sender, connection) = hyper.handshake(io).await?;
    let task = home.tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(Sender::new(sender, task.abort_handle(), line))
}

/// The request as hyper's client sends it. Its framing stays as it is, in canonical form: hyper would take a GET's
/// body away otherwise.
fn for_upstream(request: Request<Incoming>, takes_trailers: bool) -> Request<RequestBody> {
    let (mut parts, body) = request.into_parts();
    for name in [header::CONNECTION, header::EXPECT] {
        parts.headers.remove(name);
    }
    if takes_trailers {
        // Said for this connection anew, as every hop-by-hop field is.
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    parts.version = hyper::Version::HTTP_11;
    Request::from_parts(parts, RequestBody::new(body))
}

fn answer(
    home: &Arc<Home>,
    (route, choice): (&Route, Choice<'_>),
    (response, sender, picked): (Response<Incoming>, Sender, Picked),
    method: &Method,
    Client { account, asking, learns, additions, trailers }: Client<'_>,
) -> Result<Response<ResponseBody>, DialError> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Protocol(picked.address(), "a 101 that nobody asked for".into()));
    }
    if has_foreign_coding(&parts.headers) {
        let what = "a transfer coding that nobody asked for";
        return Err(DialError::Protocol(picked.address(), what.into()));
    }
    let nominated = drop_hop_by_hop(&mut parts.headers);
    add_to(&mut parts.headers, additions, parts.status);
    let cookie = asking.cookie(route, &choice, &picked);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_bytes(cookie.as_bytes()).ok()) {
        parts.headers.append(header::SET_COOKIE, cookie);
    }
    if trailers.is_none() {
        parts.headers.remove(header::TRAILER);
    }
    say_length_once(&mut parts, &body, method);
    if home.shared.leaving.is_cancelled() {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    parts.version = hyper::Version::HTTP_11;
    let length_known = body.size_hint().exact().is_some();
    account.begin(Answered { status: parts.status.as_u16(), endpoint: picked.address(), length_known });
    // Events may be hours apart, as in a tunnel.
    let events = parts.headers.get(header::CONTENT_TYPE).is_some_and(is_event_stream);
    let limit = if events { route.timeouts.idle } else { route.timeouts.request };
    tracing::trace!(%method, status = %parts.status, "answered");
    let trailers = trailers.map(|slot| (slot, nominated));
    let plain = parts.headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    let learner = (learns && plain && parts.status == StatusCode::OK).then(Learner::default);
    let carrier = (home.clone(), sender, picked);
    let body = ResponseBody::new(body, limit, (account, trailers), carrier).learning(learner);
    Ok(Response::from_parts(parts, body))
}

fn is_event_stream(value: &HeaderValue) -> bool {
    let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Whether the body is in a coding other than chunks. Passed on without its Transfer-Encoding it would be another body;
/// an upstream that is not told that we take one has no business to send it (RFC 9112 §7).
fn has_foreign_coding(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    codings.next().is_some_and(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
}

/// RFC 9110 §7.6.1: what Connection nominates, and what was hop-by-hop before there was Connection. Content-Length
/// stays whoever nominates it: without it the message would be another. Returns what was nominated.
fn drop_hop_by_hop(fields: &mut HeaderMap) -> Vec<HeaderName> {
    let nominated: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    for name in &nominated {
        fields.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"] {
        fields.remove(name);
    }
    nominated
}

/// What the route changes of the upstream's answer.
fn add_to(fields: &mut HeaderMap, additions: &Additions<'_>, status: StatusCode) {
    let dropped: Vec<_> = fields.keys().filter(|name| additions.drops(name.as_str())).cloned().collect();
    for name in dropped {
        fields.remove(name);
    }
    for (name, value) in fields.iter_mut() {
        // What is put there was checked when the table was built.
        if let Some(Ok(changed)) = additions
            .changed(name.as_str(), value.as_bytes())
            .map(|changed| HeaderValue::from_bytes(&changed))
        {
            *value = changed;
        }
    }
    for (name, value) in additions.lines(status.as_u16()) {
        // Both were checked when the table was built.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            fields.append(name, value);
        }
    }
}

/// One plain Content-Length, of the body that there is; none for a body that is delimited otherwise. What an
/// upstream says may be read in two ways (RFC 9112 §6.3), what we say may not.
fn say_length_once(parts: &mut hyper::http::response::Parts, body: &Incoming, method: &Method) {
    let bodiless = *method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
    let said: Vec<_> = parts.headers.get_all(header::CONTENT_LENGTH).iter().cloned().collect();
    parts.headers.remove(header::CONTENT_LENGTH);
    let length = match body.size_hint().exact() {
        // Here it tells of the body that a GET would have.
        _ if bodiless => match &said[..] {
            [one] if !one.is_empty() && one.as_bytes().iter().all(u8::is_ascii_digit) => Some(one.clone()),
            _ => None,
        },
        Some(_) if parts.status == StatusCode::NO_CONTENT => None,
        exact => exact.map(HeaderValue::from),
    };
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, length);
    }
}

/// Polls the server's side of one exchange. `Ready(true)`: served.
type Served = Poll<bool>;

//! Answers that the proxy gives itself: one readable line, the request id, and Proxy-Status (RFC 9209).

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::dial::DialError;
use crate::head::{Head, Refusal};
use crate::table::Route;
use crate::telemetry::{AccessLog, RequestSummary};

use super::{Asking, Connection, LINGER, Next};

/// What the client is told.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    /// An error type of RFC 9209 §2.3; absent where nothing is wrong.
    error: Option<&'static str>,
    message: Cow<'static, str>,
    field: Option<(&'static str, Cow<'static, str>)>,
    close: bool,
}

impl Answer {
    pub(super) const NOT_READY: Self =
        Self::fixed(503, "destination_unavailable", "the proxy has not received its routes yet");
    pub(super) const NO_ROUTE: Self =
        Self::fixed(404, "destination_not_found", "no route matches this host and path");
    pub(super) const WEBSOCKET_ONLY: Self = Self {
        status: 426,
        error: Some("http_request_denied"),
        message: Cow::Borrowed("this route serves WebSocket handshakes only"),
        field: Some(("Upgrade", Cow::Borrowed("websocket"))),
        close: false,
    };

    const fn fixed(status: u16, error: &'static str, message: &'static str) -> Self {
        let message = Cow::Borrowed(message);
        Self { status, error: Some(error), message, field: None, close: false }
    }

    pub(super) fn broken(reason: &str) -> Self {
        let message = format!("this route cannot be served: {reason}");
        Self { message: message.into(), ..Self::fixed(503, "proxy_configuration_error", "") }
    }

    /// 308 keeps the method (RFC 9110 §15.4.9).
    pub(super) fn redirect(head: &Head, port: u16) -> Self {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let location = format!("https://{}{port}{}", head.host, head.target);
        Self {
            status: 308,
            error: None,
            message: format!("this host is served over TLS: {location}").into(),
            field: Some(("Location", location.into())),
            close: false,
        }
    }

    fn bytes(&self, id: &str, keep_alive: bool, without_body: bool) -> Vec<u8> {
        let body = format!("longhaul: {} (request id {id})\n", self.message);
        let reason =
            http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or(""));
        let mut field = |name: &str, value: &str| {
            write!(text, "{name}: {value}\r\n").expect("writing to a String cannot fail");
        };
        field("Content-Type", "text/plain; charset=utf-8");
        field("Content-Length", &body.len().to_string());
        field("X-Request-Id", id);
        if let Some(error) = self.error {
            field("Proxy-Status", &format!("longhaul; error={error}"));
        }
        if let Some((name, value)) = &self.field {
            field(name, value);
        }
        let upgrade = matches!(&self.field, Some(("Upgrade", _)));
        match (keep_alive, upgrade) {
            (true, true) => field("Connection", "Upgrade"),
            (true, false) => {}
            (false, true) => field("Connection", "Upgrade, close"),
            (false, false) => field("Connection", "close"),
        }
        text.push_str("\r\n");
        if !without_body {
            text.push_str(&body);
        }
        text.into_bytes()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            error: Some(refusal.error),
            message: Cow::Borrowed(refusal.message),
            field: refusal.header.map(|(name, value)| (name, Cow::Borrowed(value))),
            close: refusal.close,
        }
    }
}

impl From<&DialError> for Answer {
    fn from(error: &DialError) -> Self {
        let (status, kind) = error.refusal();
        tracing::debug!(%error, "upstream could not be used");
        // The endpoint's address is the operator's business, not the client's.
        let message = match error {
            DialError::NoEndpoint => "no endpoint of this route's backends is ready",
            DialError::Exhausted(_) => "the proxy has reached its limit of connections",
            DialError::Refused(..) => "no endpoint of this route accepts connections",
            DialError::ConnectTimeout(_) => "no endpoint of this route accepted a connection in time",
            DialError::ResponseTimeout(_) => "the upstream did not answer in time",
            DialError::Terminated(_) => "the upstream closed the connection before it answered",
            DialError::Protocol(..) => "the upstream answered with something that is not HTTP",
            DialError::Handshake(..) => "the upstream answered the WebSocket handshake wrongly",
        };
        Self::fixed(status, kind, message)
    }
}

impl Connection {
    /// Answers a request that is not forwarded.
    pub(super) async fn refuse(&mut self, asking: &Asking, route: Option<&Route>, answer: Answer) -> Next {
        let head = &asking.head;
        // A body that nobody reads stands between this request and the next.
        let bodiless = head.framing == crate::head::Framing::None;
        let leaving = self.home.shared.leaving.is_cancelled();
        let keep_alive = head.keep_alive && bodiless && !answer.close && !leaving;
        let bytes = answer.bytes(&asking.id, keep_alive, head.method.as_str() == "HEAD");
        let mut summary = asking.summary(route, answer.status);
        summary.refusal = answer.error;
        self.home.shared.telemetry.request_done(&summary);
        if !matches!(tokio::time::timeout(LINGER, self.leg.write_all(&bytes)).await, Ok(Ok(()))) {
            return Next::Gone;
        }
        if keep_alive { Next::Request } else { Next::Close }
    }

    /// Answers a head that is none. What follows it cannot be told apart, so the connection ends.
    pub(super) async fn refuse_head(&mut self, refusal: Refusal) -> Next {
        let id = super::new_id();
        let answer = Answer::from(refusal);
        let bytes = answer.bytes(&id, false, false);
        self.home.shared.telemetry.request_done(&RequestSummary {
            client: self.peer.ip(),
            tls: matches!(self.leg, crate::leg::Leg::Tls(_)),
            method: "",
            host: "",
            target: "",
            id: &id,
            route: None,
            endpoint: None,
            status: refusal.status,
            refusal: Some(refusal.error),
            sent: 0,
            took: std::time::Duration::ZERO,
            access_log: AccessLog::Written,
        });
        if !matches!(tokio::time::timeout(LINGER, self.leg.write_all(&bytes)).await, Ok(Ok(()))) {
            return Next::Gone;
        }
        Next::Close
    }
}

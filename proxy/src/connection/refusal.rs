//! Answers that the proxy gives itself: one readable line, the request id, and Proxy-Status (RFC 9209).

use std::borrow::Cow;
use std::fmt::Write as _;

use snapshot::{LocationPart, RedirectTo};

use crate::auth::Denied;
use crate::dial::DialError;
use crate::fields::Line;
use crate::head::{Head, Refusal};
use crate::table::Route;
use crate::telemetry::{AccessLog, RequestSummary};

use super::{Asking, Connection, LINGER, Next};

/// Seconds after which somebody who was refused for want of room may come back.
const LEAST_WAIT: u32 = 1;
const LONGEST_WAIT: u32 = 10;

/// What the client is told.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    /// An error type of RFC 9209 §2.3; absent where nothing is wrong.
    error: Option<&'static str>,
    message: Cow<'static, str>,
    field: Option<(&'static str, Cow<'static, str>)>,
    /// What an authentication service says to the client.
    further: Vec<(&'static str, Vec<u8>)>,
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
        further: Vec::new(),
        close: false,
    };

    pub(super) const CLIENT_KEPT_OUT: Self =
        Self::fixed(403, "http_request_denied", "this route is not open to clients of this network");
    pub(super) const ORIGIN_KEPT_OUT: Self =
        Self::fixed(403, "http_request_denied", "pages of this origin may not open WebSockets here");

    /// RFC 9110 §15.5.20: another connection may do.
    pub(super) const MISDIRECTED: Self = Self {
        status: 421,
        error: Some("http_request_error"),
        message: Cow::Borrowed(
            "this connection was made for a host that asks its clients for other certificates",
        ),
        field: None,
        further: Vec::new(),
        close: true,
    };
    pub(super) const CERTIFICATE_NEEDED: Self =
        Self::fixed(403, "http_request_denied", "this host asks its clients for certificates, over TLS only");
    pub(super) const CERTIFICATE_KEPT_OUT: Self =
        Self::fixed(403, "http_request_denied", "the certificate is not of a client that this host lets in");

    const fn fixed(status: u16, error: &'static str, message: &'static str) -> Self {
        let message = Cow::Borrowed(message);
        Self { status, error: Some(error), message, field: None, further: Vec::new(), close: false }
    }

    /// The reason names Secrets, Services and settings, which are no strangers' business: the status and the events of
    /// the object that declares the route tell it.
    pub(super) const BROKEN: Self = Self::fixed(
        503,
        "proxy_configuration_error",
        "this route is closed because something is wrong with its configuration, as the status of its object says",
    );

    /// What else it says, the route's rules for other origins do.
    pub(super) const PREFLIGHT: Self = Self {
        status: 204,
        error: None,
        message: Cow::Borrowed(""),
        field: None,
        further: Vec::new(),
        close: false,
    };

    const AUTH_UNAVAILABLE: Self = Self::fixed(
        503,
        "authentication_unavailable",
        "the service that decides who may use this route does not say",
    );

    /// Nobody found out whether the client may come in.
    const AUTH_BUSY: Self = Self::fixed(
        503,
        "authentication_unavailable",
        "too many clients are being authenticated at this moment",
    );

    /// 308 keeps the method (RFC 9110 §15.4.9).
    pub(super) fn redirect(head: &Head, port: u16) -> Self {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let location = format!("https://{}{port}{}", head.host, head.target);
        Self {
            status: 308,
            error: None,
            message: format!("this host is served over TLS: {location}").into(),
            field: Some(("Location", location.into())),
            further: Vec::new(),
            close: false,
        }
    }

    /// Where a route sends everybody. What of it is the client's own has passed the parser of heads: it is one line.
    pub(super) fn elsewhere(head: &Head, scheme: &str, to: &RedirectTo) -> Self {
        let parts = to.location.iter().map(|part| match part {
            LocationPart::Text(text) => text.as_str(),
            LocationPart::Scheme => scheme,
            LocationPart::Host => &head.host,
            LocationPart::Target => &head.target,
        });
        Self::moved(to.status, parts.collect())
    }

    /// Where a route sends who asks for `/`.
    pub(super) fn to_root(root: &str) -> Self {
        Self::moved(302, root.to_owned())
    }

    fn moved(status: u16, location: String) -> Self {
        let message = format!("what was asked for is elsewhere: {location}").into();
        let field = Some(("Location", location.into()));
        Self { status, error: None, message, field, further: Vec::new(), close: false }
    }

    fn bytes(&self, id: &str, keep_alive: bool, without_body: bool, further: &[Line<'_>]) -> Vec<u8> {
        let body = format!("longhaul: {} (request id {id})\n", self.message);
        let reason =
            http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or(""));
        let mut field = |name: &str, value: &str| {
            write!(text, "{name}: {value}\r\n").expect("writing to a String cannot fail");
        };
        // It has neither body nor length (RFC 9110 §8.6).
        let empty = self.status == 204;
        if !empty {
            field("Content-Type", "text/plain; charset=utf-8");
            field("Content-Length", &body.len().to_string());
        }
        field("X-Request-Id", id);
        if let Some(error) = self.error {
            field("Proxy-Status", &format!("longhaul; error={error}"));
        }
        if let Some((name, value)) = &self.field {
            field(name, value);
        }
        for (name, value) in further {
            field(name, value);
        }
        let upgrade = matches!(&self.field, Some(("Upgrade", _)));
        match (keep_alive, upgrade) {
            (true, true) => field("Connection", "Upgrade"),
            (true, false) => {}
            (false, true) => field("Connection", "Upgrade, close"),
            (false, false) => field("Connection", "close"),
        }
        let mut bytes = text.into_bytes();
        for (name, value) in &self.further {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        if !without_body && !empty {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Challenge(challenge) => Self {
                field: Some(("WWW-Authenticate", challenge.into())),
                ..Self::fixed(401, "http_request_denied", "this route asks for a user name and a password")
            },
            Denied::Busy => Self { field: Some(retry_after()), ..Self::AUTH_BUSY },
            Denied::Answered(status, further) => {
                let elsewhere = status < 400;
                let message = match status {
                    401 => "this route asks for a login",
                    403 => "the login is not allowed to use this route",
                    _ => "this route asks for a login, which is elsewhere",
                };
                let error = (!elsewhere).then_some("http_request_denied");
                let message = Cow::Borrowed(message);
                Self { status, error, message, field: None, further, close: false }
            }
            Denied::Unavailable => Self::AUTH_UNAVAILABLE,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            error: Some(refusal.error),
            message: Cow::Borrowed(refusal.message),
            field: refusal.header.map(|(name, value)| (name, Cow::Borrowed(value))),
            further: Vec::new(),
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
            DialError::Full(_) => "the proxy has reached its limit of connections to this route's endpoints",
            DialError::Refused(..) => "no endpoint of this route accepts connections",
            DialError::ConnectTimeout(_) => "no endpoint of this route accepted a connection in time",
            DialError::Certificate(..) => {
                "no endpoint of this route proves by its certificate whom it must be"
            }
            DialError::Alert(..) => "no endpoint of this route accepts how TLS is spoken to it",
            DialError::Tls(..) => "no endpoint of this route speaks TLS as it must",
            DialError::ResponseTimeout(_) => "the upstream did not answer in time",
            DialError::Terminated(_) => "the upstream closed the connection before it answered",
            DialError::Protocol(..) => "the upstream answered with something that is not HTTP",
            DialError::Handshake(..) => "the upstream answered the WebSocket handshake wrongly",
        };
        let full = matches!(error, DialError::Exhausted(_) | DialError::Full(_));
        Self { field: full.then(retry_after), ..Self::fixed(status, kind, message) }
    }
}

/// Chance keeps those who are refused together from coming back together.
fn retry_after() -> (&'static str, Cow<'static, str>) {
    ("Retry-After", fastrand::u32(LEAST_WAIT..=LONGEST_WAIT).to_string().into())
}

impl Connection {
    /// Answers a request that is not forwarded.
    pub(super) async fn refuse(&mut self, asking: &Asking, route: Option<&Route>, answer: Answer) -> Next {
        let head = &asking.head;
        // A body that nobody reads stands between this request and the next.
        let bodiless = head.framing == crate::head::Framing::None;
        let leaving = self.home.shared.leaving.is_cancelled();
        let keep_alive = head.keep_alive && bodiless && !answer.close && !leaving;
        let additions = route.map(|route| asking.additions(route)).unwrap_or_default();
        let bytes = answer.bytes(&asking.id, keep_alive, head.method.as_str() == "HEAD", &additions.always);
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
        let bytes = answer.bytes(&id, false, false, &[]);
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::head::RequestParser;

    const ENDPOINT: &str = "10.1.2.3:4567";

    fn of(error: &DialError) -> Answer {
        Answer::from(error)
    }

    fn of_head(bytes: &str) -> Answer {
        match RequestParser::default().parse(bytes.as_bytes()) {
            Err(refusal) => refusal.into(),
            Ok(Some((head, _))) => match crate::handshake::examine(&head) {
                crate::handshake::Asked::Refuse(refusal) => refusal.into(),
                asked => panic!("{bytes} is {asked:?}"),
            },
            Ok(None) => panic!("{bytes} is incomplete"),
        }
    }

    fn handshake(lines: &str) -> Answer {
        of_head(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n"
        ))
    }

    /// What a client reads: the status line, the fields, the body.
    fn read(answer: &Answer) -> (String, Vec<String>, String) {
        let text = String::from_utf8(answer.bytes("r-1", true, false, &[])).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n").map(str::to_owned);
        (lines.next().unwrap(), lines.collect(), body.to_owned())
    }

    #[test]
    fn every_refusal_has_its_status_its_error_and_a_line_for_people() {
        let endpoint: std::net::SocketAddr = ENDPOINT.parse().unwrap();
        let io = || io::Error::from_raw_os_error(24);
        let detail = || "detail".to_owned();
        for (answer, status, error, further) in [
            // Heads and handshakes.
            (of_head("GET / HTTP/1.1\r\n\r\n"), "400 Bad Request", "http_request_error", ""),
            (of_head("GET /../ HTTP/1.1\r\n"), "400 Bad Request", "http_request_error", ""),
            (
                of_head(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(33_000))),
                "431 Request Header Fields Too Large",
                "http_request_error",
                "",
            ),
            (
                of_head("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
                "417 Expectation Failed",
                "http_request_error",
                "",
            ),
            (of_head("GET / HTTP/2.0\r\n"), "505 HTTP Version Not Supported", "http_request_error", ""),
            (
                handshake("Sec-WebSocket-Version: 8\r\n"),
                "426 Upgrade Required",
                "http_request_error",
                "Sec-WebSocket-Version: 13",
            ),
            (handshake("Sec-WebSocket-Version: 13\r\n"), "400 Bad Request", "http_request_error", ""),
            (crate::http::TOO_LONG.into(), "413 Payload Too Large", "http_request_error", ""),
            (super::super::LATE_HEAD.into(), "408 Request Timeout", "http_request_error", ""),
            // Routes.
            (Answer::NOT_READY, "503 Service Unavailable", "destination_unavailable", ""),
            (Answer::NO_ROUTE, "404 Not Found", "destination_not_found", ""),
            (Answer::WEBSOCKET_ONLY, "426 Upgrade Required", "http_request_denied", "Upgrade: websocket"),
            (Answer::CLIENT_KEPT_OUT, "403 Forbidden", "http_request_denied", ""),
            (Answer::ORIGIN_KEPT_OUT, "403 Forbidden", "http_request_denied", ""),
            (Answer::BROKEN, "503 Service Unavailable", "proxy_configuration_error", ""),
            // Upstreams.
            (of(&DialError::NoEndpoint), "503 Service Unavailable", "destination_unavailable", ""),
            (
                of(&DialError::Exhausted(io())),
                "503 Service Unavailable",
                "connection_limit_reached",
                "Retry-After: ",
            ),
            (
                of(&DialError::Full(endpoint)),
                "503 Service Unavailable",
                "connection_limit_reached",
                "Retry-After: ",
            ),
            (of(&DialError::Refused(endpoint, io())), "502 Bad Gateway", "connection_refused", ""),
            (of(&DialError::ConnectTimeout(endpoint)), "504 Gateway Timeout", "connection_timeout", ""),
            (of(&DialError::Certificate(endpoint, detail())), "502 Bad Gateway", "tls_certificate_error", ""),
            (of(&DialError::Alert(endpoint, detail())), "502 Bad Gateway", "tls_alert_received", ""),
            (of(&DialError::Tls(endpoint, detail())), "502 Bad Gateway", "tls_protocol_error", ""),
            (of(&DialError::ResponseTimeout(endpoint)), "504 Gateway Timeout", "http_response_timeout", ""),
            (of(&DialError::Terminated(endpoint)), "502 Bad Gateway", "connection_terminated", ""),
            (of(&DialError::Protocol(endpoint, detail())), "502 Bad Gateway", "http_protocol_error", ""),
            (of(&DialError::Handshake(endpoint, detail())), "502 Bad Gateway", "http_upgrade_failed", ""),
        ] {
            let (line, fields, body) = read(&answer);
            assert_eq!(line, format!("HTTP/1.1 {status}"), "{answer:?}");
            assert!(fields.contains(&format!("Proxy-Status: longhaul; error={error}")), "{fields:?}");
            assert!(fields.contains(&"X-Request-Id: r-1".to_owned()), "{fields:?}");
            assert!(fields.iter().any(|field| field.starts_with(further)), "{fields:?}");
            let retry = fields.iter().any(|field| field.starts_with("Retry-After"));
            assert_eq!(retry, further.starts_with("Retry-After"), "{fields:?}");
            assert!(body.starts_with("longhaul: ") && body.ends_with(" (request id r-1)\n"), "{body}");
            assert_eq!((body.lines().count(), body.len() > 40), (1, true), "{body}");
            for secret in ["10.1.2.3", "detail", "os error"] {
                assert!(!body.contains(secret), "{body}");
            }
        }
    }

    #[test]
    fn who_is_refused_for_want_of_room_comes_back_at_a_time_of_chance() {
        let waits: std::collections::BTreeSet<u32> = (0..500)
            .map(|_| {
                let (_, fields, _) = read(&of(&DialError::Full(ENDPOINT.parse().unwrap())));
                fields.iter().find_map(|field| field.strip_prefix("Retry-After: ")).unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(waits, (LEAST_WAIT..=LONGEST_WAIT).collect());
    }

    #[test]
    fn a_redirect_keeps_host_and_target() {
        for (host, port, location) in [
            ("A.test:8080", 443, "https://a.test/x/../y?z=%2F"),
            ("a.test", 8443, "https://a.test:8443/x/../y?z=%2F"),
            ("[::1]:80", 443, "https://[::1]/x/../y?z=%2F"),
        ] {
            let answer = Answer::redirect(&Head::get(host, "/x/../y?z=%2F"), port);
            let (line, fields, body) = read(&answer);
            assert_eq!(line, "HTTP/1.1 308 Permanent Redirect");
            assert!(fields.contains(&format!("Location: {location}")), "{fields:?}");
            assert!(!fields.iter().any(|field| field.starts_with("Proxy-Status")), "nothing is wrong");
            assert!(body.contains(location));
        }
    }
}

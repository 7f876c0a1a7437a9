//! What an authentication service says of a request: 2xx lets it in, 401 and 403 keep it out, 3xx sends a page elsewhere.
//! Anything else is no answer, and lets nobody in.
//!
//! The service gets the request's header fields but those of its connection, its body and its handshake. What it says
//! about the client in the fields that the route names goes upstream, and of the client's own fields none of these.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use snapshot::{AuthTarget, ExternalAuth, LocalTargets, Scheme, SetCookie, UpstreamId};
use tokio::time::{Instant, timeout};

use super::template::{self, Template};
use super::{Denied, Granted, Kind};
use crate::connection::Asking;
use crate::dial::{self, DialError};
use crate::forward::{self, Outgoing};
use crate::head;
use crate::http::{Line, Question, ask};
use crate::table::Timeouts;
use crate::upstream::{Upstream, Way, Weighted, choose};
use crate::upstream_tls::Secured;
use crate::worker::Home;

/// What we say ourselves, whatever the client sent: names in lower case.
const OURS: [&str; 3] = ["x-auth-request-redirect", "x-original-method", "x-original-url"];
/// What is passed on of an answer, in bytes: names, values, and some for each.
const MOST_PASSED: usize = 16 * 1024;

/// An authentication service.
#[derive(Debug)]
pub struct External {
    target: Target,
    method: Method,
    passed: Box<[Box<str>]>,
    timeout: Duration,
    sign_in: Option<(Template, Option<Box<str>>)>,
    request_redirect: Option<Template>,
    set_cookie: SetCookie,
    /// What the service is told besides.
    told: Box<[(HeaderName, HeaderValue)]>,
}

enum Target {
    Service { id: UpstreamId, endpoints: Option<[Weighted; 1]>, host: Box<str>, path: Box<str> },
    Url { scheme: Scheme, host: Option<Box<str>>, port: u16, target: Template, local: LocalTargets },
}

/// Why a service did not say anything.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("its address is not known: {0}")]
    Name(#[source] io::Error),
    #[error("it cannot be asked over TLS: {0}")]
    Host(String),
    #[error("it cannot be asked this: {0}")]
    Question(#[from] hyper::http::Error),
}

impl External {
    pub(super) fn new(external: &ExternalAuth) -> Result<Self, String> {
        let target = match &external.target {
            AuthTarget::Service { upstream, host, path } => Target::Service {
                id: upstream.clone(),
                endpoints: None,
                host: host.as_str().into(),
                path: path.as_str().into(),
            },
            AuthTarget::Url { scheme, host, port, target, local } => Target::Url {
                scheme: *scheme,
                host: host.as_deref().map(Into::into),
                port: *port,
                target: Template::new(target)?,
                local: *local,
            },
        };
        let name = |name: &String| match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(name.as_str().into()),
            Err(_) => Err(format!("{name:?} is no field name")),
        };
        let field = |(name, value): &(String, String)| match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) => Ok((
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no field name"))?,
                value,
            )),
            Err(_) => Err(format!("the value of field {name:?} is none")),
        };
        let template =
            |template: &Option<snapshot::Template>| template.as_ref().map(Template::new).transpose();
        let sign_in = external.sign_in.as_ref().map(|sign_in| {
            let parameter = sign_in.parameter.as_deref().map(Into::into);
            Template::new(&sign_in.url).map(|url| (url, parameter))
        });
        Ok(Self {
            target,
            method: Method::from_bytes(external.method.as_bytes()).map_err(|_| "its method is none")?,
            passed: external.response_headers.iter().map(name).collect::<Result<_, _>>()?,
            timeout: Duration::from_millis(external.timeout.0.max(1)),
            sign_in: sign_in.transpose()?,
            request_redirect: template(&external.request_redirect)?,
            set_cookie: external.set_cookie,
            told: external.request_headers.iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn upstream(&self) -> Option<&UpstreamId> {
        match &self.target {
            Target::Service { id, .. } => Some(id),
            Target::Url { .. } => None,
        }
    }

    pub(super) fn bind(&mut self, upstream: Arc<Upstream>) {
        if let Target::Service { endpoints, .. } = &mut self.target {
            *endpoints = Some([Weighted { upstream, weight: 1 }]);
        }
    }

    pub(super) fn passed(&self) -> &[Box<str>] {
        &self.passed
    }

    pub(super) async fn check(
        &self,
        asking: &Asking,
        home: &Arc<Home>,
        kind: Kind,
    ) -> Result<Granted, Denied> {
        let silent = |why: &dyn fmt::Display| {
            tracing::debug!(%why, "an authentication service did not answer");
            Denied::Unavailable
        };
        let (status, fields) = match timeout(self.timeout, self.ask(asking, home)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(silence)) => return Err(silent(&silence)),
            Err(_) => return Err(silent(&"it took too long")),
        };
        match status.as_u16() {
            200..=299 => self.granted(&fields).ok_or_else(|| silent(&"it says too much")),
            401 if kind == Kind::Page && self.sign_in.is_some() => Err(self.sign_in(asking, &fields)),
            401 | 403 => Err(denied(status, &fields, &[header::WWW_AUTHENTICATE, header::SET_COOKIE])),
            301 | 302 | 303 | 307 | 308 if fields.contains_key(header::LOCATION) => Err(match kind {
                Kind::Page => denied(status, &fields, &[header::LOCATION, header::SET_COOKIE]),
                Kind::Handshake => denied(StatusCode::UNAUTHORIZED, &fields, &[header::SET_COOKIE]),
            }),
            _ => Err(silent(&status)),
        }
    }

    /// What the answer says of the client.
    fn granted(&self, fields_of_answer: &HeaderMap) -> Option<Granted> {
        let named = self.passed.iter().flat_map(|name| {
            let values = fields_of_answer.get_all(&**name).into_iter();
            values.map(|value| (name.clone(), value.as_bytes().to_vec()))
        });
        let fields: Vec<_> = named.collect();
        let cookies = fields_of_answer.get_all(header::SET_COOKIE).into_iter();
        let cookies: Vec<_> = cookies.filter_map(|cookie| Some(cookie.to_str().ok()?.to_owned())).collect();
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        let size = size + cookies.iter().map(|cookie| cookie.len() + 32).sum::<usize>();
        let cookies = (self.set_cookie, cookies);
        (size <= MOST_PASSED).then_some(Granted { fields, cookies })
    }

    /// Sends a page to where people log in, and from there back to itself.
    fn sign_in(&self, asking: &Asking, fields: &HeaderMap) -> Denied {
        let Some((url, parameter)) = &self.sign_in else { return Denied::Unavailable };
        let mut location = url.fill(asking);
        if let Some(parameter) = parameter {
            let head = &asking.head;
            location.push(if location.contains('?') { '&' } else { '?' });
            let scheme = forward::client_scheme(head, &asking.peer());
            location.extend([parameter, "=", scheme, "://", &head.authority]);
            template::escape(&head.target, &mut location);
        }
        let Denied::Answered(status, mut fields) = denied(StatusCode::FOUND, fields, &[header::SET_COOKIE])
        else {
            return Denied::Unavailable;
        };
        fields.push(("Location", location.into_bytes()));
        Denied::Answered(status, fields)
    }

    async fn ask(&self, asking: &Asking, home: &Arc<Home>) -> Result<(StatusCode, HeaderMap), Silence> {
        match &self.target {
            Target::Service { endpoints, host, path, .. } => {
                let question = self.question(asking, host, path)?;
                let endpoints = endpoints.as_ref().map_or(&[][..], |endpoints| &endpoints[..]);
                Ok(self.ask_one_of(endpoints, home, &question).await?)
            }
            Target::Url { scheme, host, port, target, local } => {
                let host = host.as_deref().unwrap_or(&asking.head.host);
                let (secured, usual) = match scheme {
                    Scheme::Http => (None, 80),
                    Scheme::Https => {
                        let secured = Secured::new(home.shared.auth_tls.clone(), host);
                        (Some(secured.map_err(Silence::Host)?), 443)
                    }
                };
                let authority = if *port == usual { host.to_owned() } else { format!("{host}:{port}") };
                let question = self.question(asking, &authority, &target.fill(asking))?;
                let addresses = home.shared.names.find(host, *port, *local).await.map_err(Silence::Name)?;
                Ok(ask_any_of((&addresses, secured.as_ref()), home, &question).await?)
            }
        }
    }

    async fn ask_one_of(
        &self,
        endpoints: &[Weighted],
        home: &Arc<Home>,
        question: &Question,
    ) -> Result<(StatusCode, HeaderMap), DialError> {
        // So that an endpoint that is not there leaves time for another.
        let connect = Some(self.timeout / 2);
        let timeouts = Timeouts { connect, handshake: None, idle: None, send: None, request: None };
        let (mut tried, mut failure) = (Vec::new(), DialError::NoEndpoint);
        while tried.len() < dial::ATTEMPTS {
            let Some(picked) = choose(endpoints, Way::LeastConnections, &tried, Instant::now()) else {
                break;
            };
            let address = picked.address();
            let connect = dial::attempt(&picked, None, &timeouts, &home.shared.telemetry);
            match ask(home, Line::new(address, None), question, connect).await {
                Err(error @ (DialError::Refused(..) | DialError::ConnectTimeout(_))) => failure = error,
                answered => return answered,
            }
            tried.push(address);
        }
        Err(failure)
    }

    /// The request as the service gets it.
    fn question(&self, asking: &Asking, host: &str, target: &str) -> Result<Question, hyper::http::Error> {
        let (head, peer) = (&asking.head, asking.peer());
        let scheme = forward::client_scheme(head, &peer);
        let mut outgoing = Outgoing::from(head);
        outgoing.host = host;
        let mut fields = HeaderMap::with_capacity(head.fields.len() + 12);
        let mut unsound = None;
        let mut put =
            |name: &str, value: &[u8]| match (HeaderName::from_bytes(name.as_bytes()), value.try_into()) {
                (Ok(name), Ok(value)) => drop(fields.append::<HeaderName>(name, value)),
                (Err(error), _) => unsound = Some(error.into()),
                (_, Err(error)) => unsound = Some(hyper::http::Error::from(error)),
            };
        forward::each_request_field(&outgoing, &peer, &mut |name, value| {
            if goes_to_service(name) && !self.tells(name) {
                put(name, value);
            }
        });
        for (name, value) in &self.told {
            put(name.as_str(), value.as_bytes());
        }
        let redirect = self.request_redirect.as_ref().map(|template| template.fill(asking));
        put("X-Original-URL", format!("{scheme}://{}{}", head.authority, head.target).as_bytes());
        put("X-Original-Method", head.method.as_str().as_bytes());
        put("X-Auth-Request-Redirect", redirect.as_deref().unwrap_or(&head.target).as_bytes());
        if let Some(error) = unsound {
            return Err(error);
        }
        Ok(Question { method: self.method.clone(), target: Uri::try_from(target)?, fields })
    }

    /// Whether the route says what the service gets in this field.
    fn tells(&self, name: &str) -> bool {
        !self.told.is_empty() && {
            let plain = head::canonical(name);
            self.told.iter().any(|(told, _)| head::canonical(told.as_str()) == plain)
        }
    }
}

/// Whether the service gets a field of the request: not what belongs to its body and its handshake, nor what we say.
fn goes_to_service(name: &str) -> bool {
    let plain = head::canonical(name);
    !OURS.contains(&&*plain)
        && !plain.starts_with("sec-websocket-")
        && !["content-encoding", "content-type", "trailer"].contains(&&*plain)
}

async fn ask_any_of(
    (addresses, secured): (&[SocketAddr], Option<&Secured>),
    home: &Arc<Home>,
    question: &Question,
) -> Result<(StatusCode, HeaderMap), DialError> {
    let mut failure = DialError::NoEndpoint;
    for address in addresses.iter().take(dial::ATTEMPTS) {
        let connect = dial::reach(*address, secured, &home.shared.telemetry);
        match ask(home, Line::new(*address, secured), question, connect).await {
            Err(error @ DialError::Refused(..)) => failure = error,
            answered => return answered,
        }
    }
    Err(failure)
}

/// What the client gets of an answer.
fn denied(status: StatusCode, fields: &HeaderMap, passed: &[HeaderName]) -> Denied {
    let shown = |name: &HeaderName| match name.as_str() {
        "location" => "Location",
        "set-cookie" => "Set-Cookie",
        _ => "WWW-Authenticate",
    };
    let named = passed.iter().flat_map(|name| {
        let values = fields.get_all(name).into_iter();
        values.map(move |value: &HeaderValue| (shown(name), value.as_bytes().to_vec()))
    });
    let fields: Vec<_> = named.collect();
    if fields.iter().map(|(_, value)| value.len()).sum::<usize>() > head::MAX_HEAD {
        return Denied::Unavailable;
    }
    Denied::Answered(status.as_u16(), fields)
}

/// Never what the client sent.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { id, .. } => write!(f, "Service({id})"),
            Self::Url { scheme, host, port, .. } => write!(f, "Url({scheme:?} {host:?}:{port})"),
        }
    }
}

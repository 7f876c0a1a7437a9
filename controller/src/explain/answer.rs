//! What a client would get, and what is looked at before: in the order in which the proxy looks.

use routing::Request;
use routing::access::{Access, Entry, ProofAsked};
use serde::{Deserialize, Serialize};
use snapshot::{
    Action, Auth, AuthTarget, Certificate, CertificateKey, ClientCertificates, ClientMode, HostPattern, Key,
    ListenerName, LocationPart, PathMatch, Redirect, RedirectTo, Route, Section, Serves,
};

use super::routes::Found;
use super::{Asked, Backend, Kind, Scheme, World};

/// What a client would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What kind of answer it is.
    pub outcome: Outcome,
    /// The status, where Longhaul answers itself.
    pub status: Option<u16>,
    /// Where the client is sent.
    pub location: Option<String>,
    /// For people. Of a route that answers 503 because of its configuration: why, which clients are not told.
    pub why: String,
}

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A backend answers.
    Forwarded,
    /// A backend answers, if the client proves that it may come in.
    ForwardedIfAuthenticated,
    /// Longhaul sends the client elsewhere.
    Redirected,
    /// Longhaul answers what a browser asks before a request of another origin.
    Preflight,
    /// Longhaul refuses.
    Refused,
    /// There is no TLS connection on which to ask.
    NoConnection,
}

/// Something that is looked at on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// What comes of it.
    pub result: Verdict,
    /// The same for people.
    pub why: String,
}

/// What comes of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The request goes on.
    Passes,
    /// This decides the answer.
    Decides,
    /// Only a proxy, or somebody whom it asks, can say.
    Unknown,
}

/// Where certificate authorities ask (RFC 8555 §8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What stops a request, or what is to be said of not stopping it.
type Step = Result<(Verdict, String), Answer>;

/// What was looked at so far.
#[derive(Default)]
struct Way(Vec<Check>);

impl Way {
    /// Notes what comes of a look. Says whether it is known that the request passes.
    fn look(&mut self, what: &str, step: Step) -> Result<Verdict, Answer> {
        let (result, why) = match &step {
            Ok((result, why)) => (*result, why),
            Err(answer) => (Verdict::Decides, &answer.why),
        };
        self.0.push(Check { what: what.to_owned(), result, why: why.clone() });
        step.map(|(result, _)| result)
    }
}

/// The answer, and what was looked at up to there.
pub(super) fn to(
    world: &World,
    asked: &Asked<'_>,
    found: &Found,
    backends: &[Backend],
) -> (Answer, Vec<Check>) {
    let mut way = Way::default();
    let answer = walk(world, asked, found, backends, &mut way);
    (answer.unwrap_or_else(|answer| answer), way.0)
}

/// The order of the proxy, which is in its `connection/admit.rs`.
fn walk(
    world: &World,
    asked: &Asked<'_>,
    found: &Found,
    backends: &[Backend],
    way: &mut Way,
) -> Result<Answer, Answer> {
    let handshake = asked.question.kind == Kind::Handshake;
    if asked.question.scheme == Scheme::Https {
        way.look("certificate", certificate(world, found))?;
    }
    let route = route(found).inspect_err(|none| drop(way.look("route", Err(none.clone()))))?;
    if asked.question.scheme == Scheme::Http {
        way.look("redirect to TLS", over_tls(world, asked, found, route))?;
    }
    if let Some(asks) = clients(world, asked, found) {
        way.look("client certificate", certified(asked, route, &asks))?;
    }
    way.look("configuration", closed(route))?;
    let access = Access::new(route.access.clone());
    let proof = if route.auth.is_some() { ProofAsked::Yes } else { ProofAsked::No };
    let entry = access.entry(asked.question.client, proof);
    way.look("client", client(asked, route, &access, entry))?;
    if handshake {
        way.look("origin", origin(asked, route, &access))?;
    }
    if is_preflight(asked, route) {
        let why = "the route's rules for other origins are told".to_owned();
        return Ok(Answer { outcome: Outcome::Preflight, status: Some(204), location: None, why });
    }
    elsewhere(asked, route)?;
    let mut outcome = Outcome::Forwarded;
    if let Some(auth) = route.auth.as_ref().filter(|_| entry == Entry::WithProof) {
        way.look("authentication", Ok((Verdict::Unknown, authentication(auth))))?;
        outcome = Outcome::ForwardedIfAuthenticated;
    }
    if route.serves == Serves::WebSocketOnly && !handshake {
        let why = "this route serves WebSocket handshakes only".to_owned();
        way.look("handshake", Err(Answer::refused(426, why)))?;
    }
    way.look("endpoints", endpoints(backends))?;
    let why = "a backend answers, through one of the endpoints below".to_owned();
    Ok(Answer { outcome, status: None, location: None, why })
}

fn route(found: &Found) -> Result<&Route, Answer> {
    found.winner().ok_or_else(|| {
        let why = match &found.host {
            Some((host, _)) => format!("no route of host {host} matches this request"),
            None => "no object that is served names this host, or every host".to_owned(),
        };
        Answer::refused(404, why)
    })
}

impl Answer {
    fn refused(status: u16, why: String) -> Self {
        Self { outcome: Outcome::Refused, status: Some(status), location: None, why }
    }

    fn redirected(status: u16, location: String, why: &str) -> Self {
        let (outcome, why) = (Outcome::Redirected, why.to_owned());
        Self { outcome, status: Some(status), location: Some(location), why }
    }
}

/// The certificate for the host's name: its own, else the default one.
fn certificate(world: &World, found: &Found) -> Step {
    let named = named_certificate(world, found);
    let default = || match world.section(&Key::Listener(ListenerName::Https)) {
        Some(Section::Listener(listener)) => listener.default_certificate,
        _ => None,
    };
    if let Some(key) = named.iter().find(|key| is_there(world, key)) {
        return Ok((Verdict::Passes, format!("{key}, if the proxy can use it")));
    }
    match (default().filter(|key| is_there(world, key)), named.first()) {
        (Some(key), Some(bad)) => {
            Ok((Verdict::Passes, format!("{bad} cannot be used; {key} is the default one")))
        }
        (Some(key), None) => Ok((Verdict::Passes, format!("{key}, the default one"))),
        (None, bad) => {
            let why = match bad {
                Some(bad) => format!("{bad} cannot be used, unless a proxy still has what it was before"),
                None => "no object names a certificate for this host, and there is no default one".to_owned(),
            };
            let why = format!("{why}: the TLS handshake is refused (unrecognized_name)");
            Err(Answer { outcome: Outcome::NoConnection, status: None, location: None, why })
        }
    }
}

fn named_certificate(world: &World, found: &Found) -> Vec<CertificateKey> {
    let own = found.host.iter().filter_map(|(_, host)| host.tls.as_ref().map(|tls| tls.certificate.clone()));
    let further = found
        .passed_over
        .iter()
        .filter_map(|pattern: &HostPattern| Some(world.host(pattern)?.tls?.certificate));
    own.chain(further).collect()
}

fn is_there(world: &World, key: &CertificateKey) -> bool {
    let section = world.section(&Key::Certificate(key.clone()));
    matches!(section, Some(Section::Certificate(Certificate::Pair { .. })))
}

/// Whether the host is served over TLS with the certificate that is meant for it.
fn has_certificate(world: &World, found: &Found) -> bool {
    match named_certificate(world, found).first() {
        Some(key) => is_there(world, key),
        None => certificate(world, found).is_ok(),
    }
}

/// Challenges are answered in the clear (RFC 8555 §8.3).
fn over_tls(world: &World, asked: &Asked<'_>, found: &Found, route: &Route) -> Step {
    let passes = |why: &str| Ok((Verdict::Passes, why.to_owned()));
    let redirect = match route.redirect {
        Redirect::Never => return passes("the route does not ask for TLS"),
        Redirect::WithCertificate => has_certificate(world, found),
        Redirect::Always => true,
    };
    if !redirect {
        return passes("there is no certificate that could be served yet");
    }
    if asked.request.path().starts_with(CHALLENGES) {
        return passes("challenges of certificate authorities are answered in the clear");
    }
    let location = format!("https://{}{}", asked.request.host(), asked.request.target());
    Err(Answer::redirected(308, location, "this host is served over TLS"))
}

fn closed(route: &Route) -> Step {
    match &route.action {
        Action::Broken(why) => Err(Answer::refused(503, why.clone())),
        Action::Forward(_) | Action::Redirect(_) => {
            Ok((Verdict::Passes, "the route can be served".to_owned()))
        }
    }
}

/// What the host asks of its clients' certificates. A connection over TLS has the settings of a less specific host
/// where its own has none.
fn clients(world: &World, asked: &Asked<'_>, found: &Found) -> Option<ClientCertificates> {
    let own = found.host.as_ref().and_then(|(_, host)| host.tls.clone());
    let further = || found.passed_over.iter().find_map(|pattern| world.host(pattern)?.tls);
    let tls = match asked.question.scheme {
        Scheme::Http => own,
        Scheme::Https => own.or_else(further),
    };
    tls?.clients
}

fn certified(asked: &Asked<'_>, route: &Route, asks: &ClientCertificates) -> Step {
    let insists = asks.verification.mode == ClientMode::Required || asks.common_name.is_some();
    let challenge = matches!(&route.path, PathMatch::Exact(path) | PathMatch::Prefix(path)
        if path.starts_with(CHALLENGES));
    match (asked.question.scheme, insists) {
        (Scheme::Http, true) if challenge => Ok((
            Verdict::Passes,
            "challenges of certificate authorities are answered in the clear".to_owned(),
        )),
        (Scheme::Http, true) => {
            Err(Answer::refused(403, "the host asks its clients for certificates, over TLS only".to_owned()))
        }
        (Scheme::Http, false) => Ok((Verdict::Passes, "without TLS nobody is asked".to_owned())),
        (Scheme::Https, _) => {
            let name = asks
                .common_name
                .as_ref()
                .map(|name| format!(", whose name begins as {name}"))
                .unwrap_or_default();
            let why = match asks.verification.mode {
                ClientMode::Required => "the client must have a certificate of the host's authorities",
                ClientMode::Optional => "the client may have a certificate of the host's authorities",
                ClientMode::Unverified => "the client may have a certificate",
            };
            Ok((Verdict::Unknown, format!("{why}{name}")))
        }
    }
}

fn client(asked: &Asked<'_>, route: &Route, access: &Access, entry: Entry) -> Step {
    let client = asked.question.client;
    if entry == Entry::Free {
        return Ok((Verdict::Passes, format!("{client} is allowed, and need not prove anything else")));
    }
    if entry == Entry::Refused {
        let list =
            if route.access.allow.is_empty() { "it is denied" } else { "it is not allowed, or denied" };
        return Err(Answer::refused(403, format!("{client} may not come in: {list}")));
    }
    let why = match (route.access.allow.is_empty(), route.access.deny.is_empty()) {
        _ if !access.lets_in(client) => format!("{client} is not listed, and may come in with a proof"),
        (true, true) => "everybody may come in".to_owned(),
        (true, false) => format!("{client} is not denied"),
        (false, _) => format!("{client} is allowed"),
    };
    Ok((Verdict::Passes, why))
}

fn origin(asked: &Asked<'_>, route: &Route, access: &Access) -> Step {
    if !access.lets_open(&asked.request) {
        return Err(Answer::refused(403, "pages of this origin may not open WebSockets here".to_owned()));
    }
    let named = asked.request.lines("origin").next().is_some();
    let why = match (route.access.origins.is_empty(), named) {
        (true, _) => "pages of every origin may open WebSockets",
        (false, true) => "the Origin is listed",
        (false, false) => "without an Origin it comes from no page",
    };
    Ok((Verdict::Passes, why.to_owned()))
}

fn is_preflight(asked: &Asked<'_>, route: &Route) -> bool {
    let says = |name: &str| asked.request.lines(name).next().is_some();
    route.serves == Serves::Everything
        && route.headers.cors.is_some()
        && asked.question.method == "OPTIONS"
        && says("origin")
        && says("access-control-request-method")
}

/// Whom the route sends elsewhere.
fn elsewhere(asked: &Asked<'_>, route: &Route) -> Result<(), Answer> {
    if let Action::Redirect(RedirectTo { status, location }) = &route.action {
        let scheme = if asked.question.scheme == Scheme::Https { "https" } else { "http" };
        let parts = location.iter().map(|part| match part {
            LocationPart::Text(text) => text.as_str(),
            LocationPart::Scheme => scheme,
            LocationPart::Host => asked.request.host(),
            LocationPart::Target => asked.request.target(),
        });
        return Err(Answer::redirected(*status, parts.collect(), "the route sends everybody elsewhere"));
    }
    let plain = asked.question.kind == Kind::Plain;
    match &route.app_root {
        Some(root) if plain && asked.request.path() == "/" => {
            Err(Answer::redirected(302, root.clone(), "the route sends who asks for / elsewhere"))
        }
        _ => Ok(()),
    }
}

/// Whom the proxy asks. Never what it would compare with.
fn authentication(auth: &Auth) -> String {
    match auth {
        Auth::Basic(basic) => {
            format!("by a user name and a password, of {} users; without: 401", basic.users.len())
        }
        Auth::External(external) => match &external.target {
            AuthTarget::Service { upstream, path, .. } => format!("{upstream} is asked at {path}"),
            AuthTarget::Url { host, port, .. } => {
                format!("{}:{port} is asked", host.as_deref().unwrap_or("the request's own host"))
            }
        },
    }
}

fn endpoints(backends: &[Backend]) -> Step {
    let ready = backends.iter().filter(|backend| backend.is_served()).count();
    if ready == 0 {
        return Err(Answer::refused(503, "no backend has an endpoint that takes new connections".to_owned()));
    }
    Ok((Verdict::Passes, format!("{ready} of {} backends can be reached", backends.len())))
}

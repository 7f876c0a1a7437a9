//! A route: what it matches, and what becomes of a request.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::affinity::{Affinity, Ring};
use super::auth::Auth;
use super::fields::Headers;
use super::policy::{Balance, Retries, Rewrite, Timeouts};
use super::upstream::UpstreamId;
use super::upstream_tls::UpstreamTls;

/// A Kubernetes object by identity, never by UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `Ingress`, `WsRoute`, …
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What makes a route the same route in the next generation: its owner, the owner's rule, and the match in it.
/// State that outlives a table (the live settings of open tunnels) is found again by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteId {
    /// The object that declares the route.
    pub owner: ObjectRef,
    /// A WsRoute rule's name. For an Ingress the path rule's host, or `defaultBackend`.
    pub rule: String,
    /// The match within the rule: [`PathMatch`]'s display form, and the conditions behind it where it has any.
    pub matched: String,
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.owner, self.rule, self.matched)
    }
}

/// One route of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Identity across generations.
    pub id: RouteId,
    /// Which paths it matches, compared with the normalised path of a request.
    pub path: PathMatch,
    /// What else must hold. A request for which it does not goes to the next route that fits its path.
    pub conditions: Conditions,
    /// What it does with a request.
    pub action: Action,
    /// Where a plain request for the path `/` is sent instead.
    pub app_root: Option<String>,
    /// Which requests it takes.
    pub serves: Serves,
    /// Whether requests in the clear are answered with 308 to https.
    pub redirect: Redirect,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Whether another endpoint is tried where one cannot be reached.
    pub retries: Retries,
    /// How TLS is spoken to upstreams. Absent: it is not.
    pub upstream_tls: Option<Box<UpstreamTls>>,
    /// What of an endpoint consistent hashing and affinity go by.
    pub ring: Ring,
    /// How clients find their endpoint again. Absent: they do not.
    pub affinity: Option<Affinity>,
    /// What is sent upstream in place of the request's own target and Host.
    pub rewrite: Rewrite,
    /// What it changes of the fields of requests and responses.
    pub headers: Headers,
    /// The longest body of a request, in bytes; a longer one gets 413. Absent: no limit.
    pub max_body: Option<u64>,
    /// Who is let in. Absent: everybody.
    pub auth: Option<Auth>,
    /// Write an access record for each tunnel and request.
    pub access_log: bool,
    /// Who may come in.
    pub access: Access,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Route {
    /// A route that takes every request for its path and has the default of every setting.
    pub fn new(id: RouteId, path: PathMatch, action: Action) -> Self {
        Self {
            id,
            path,
            conditions: Conditions::default(),
            action,
            app_root: None,
            serves: Serves::Everything,
            redirect: Redirect::default(),
            balance: Balance::default(),
            retries: Retries::default(),
            upstream_tls: None,
            ring: Ring::default(),
            affinity: None,
            rewrite: Rewrite::default(),
            headers: Headers::default(),
            max_body: None,
            auth: None,
            access_log: true,
            access: Access::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Conditions beside the path; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Conditions {
    /// Request fields.
    pub headers: Vec<Condition>,
    /// Query parameters; of a repeated one the first counts.
    pub query: Vec<Condition>,
    /// The client offers one of these WebSocket subprotocols. Empty: nothing is asked of them.
    pub subprotocols: Vec<String>,
    /// The client is of one of these networks. Empty: of any.
    pub clients: Vec<IpNet>,
}

impl Conditions {
    /// How many of them are regular expressions.
    pub fn patterns(&self) -> usize {
        let all = self.headers.iter().chain(&self.query);
        all.filter(|condition| matches!(condition.value, ValueMatch::Regex(_))).count()
    }

    /// How many there are: of two routes for one path the one with more comes first.
    pub fn count(&self) -> usize {
        let lists = [self.subprotocols.is_empty(), self.clients.is_empty()];
        self.headers.len() + self.query.len() + lists.into_iter().filter(|empty| !empty).count()
    }
}

/// A named value, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// The name. A field's is in lower case.
    pub name: String,
    /// What the value must be.
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ValueMatch {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It fits this regular expression, as [`pattern`](crate::pattern) means it.
    Regex(String),
}

/// When a request in the clear is sent to https.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redirect {
    /// Never.
    #[default]
    Never,
    /// Once the host has a usable certificate.
    WithCertificate,
    /// Whether or not this proxy has a certificate: something in front of it terminates TLS.
    Always,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments, as an Ingress's `Prefix`. Without a trailing slash, except for the root `/`.
    Prefix(String),
    /// This regular expression matches the beginning of the path, in upper or lower case. Groups count from 1.
    Regex(String),
}

impl PathMatch {
    /// What every path that it matches begins with, if in another case: as far as can be seen without understanding
    /// the regular expression. Of an exact path or a prefix it is that.
    pub fn literal(&self) -> String {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path.clone(),
            Self::Regex(pattern) => literal(pattern),
        }
    }
}

/// Everything up to the first character that means more than itself.
fn literal(pattern: &str) -> String {
    if has_alternatives(pattern) {
        return String::new();
    }
    let (mut found, mut rest) = (String::new(), pattern.chars().peekable());
    while let Some(next) = rest.next() {
        let (letter, escaped) = match (next, rest.peek()) {
            ('\\', Some(punctuation)) if punctuation.is_ascii_punctuation() => (*punctuation, true),
            ('\\' | '.' | '[' | ']' | '(' | ')' | '{' | '}' | '^' | '$' | '*' | '+' | '?', _) => break,
            (letter, _) => (letter, false),
        };
        if escaped {
            rest.next();
        }
        if matches!(rest.peek(), Some('*' | '?' | '{')) {
            break;
        }
        found.push(letter);
    }
    found
}

/// Whether it says "or" outside of any group.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut bytes) = (0_usize, pattern.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "={path}"),
            Self::Prefix(path) => f.write_str(path),
            Self::Regex(pattern) => write!(f, "~{pattern}"),
        }
    }
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Forward it.
    Forward(Forward),
    /// Send the client elsewhere, whatever it asks for.
    Redirect(RedirectTo),
    /// Answer 503: the route cannot, or for security must not, be served. The reason is for people.
    Broken(String),
}

/// Where requests are forwarded to. An upstream of which the snapshot lists no endpoints has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// One of these, chosen by weight. Never empty.
    pub backends: Vec<WeightedUpstream>,
    /// Who gets some of the requests in their place.
    pub canary: Option<Canary>,
    /// Who gets those for which none of the above has an endpoint.
    pub standby: Option<UpstreamId>,
}

impl Forward {
    /// Every upstream that a request may go to.
    pub fn upstreams(&self) -> impl Iterator<Item = &UpstreamId> {
        let canaries = self.canary.iter().flat_map(|canary| &canary.backends);
        let weighted = self.backends.iter().chain(canaries).map(|backend| &backend.upstream);
        weighted.chain(&self.standby)
    }
}

impl From<Vec<WeightedUpstream>> for Forward {
    fn from(backends: Vec<WeightedUpstream>) -> Self {
        Self { backends, ..Self::default() }
    }
}

/// Backends that get some of a route's requests: those whose field says so, of the rest those whose cookie says so, of
/// the rest a share. A request that says `never` is none of them. Where they have no endpoint the route's own backends
/// stand in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// A request field that decides.
    pub header: Option<CanaryHeader>,
    /// A cookie that decides by `always` and `never`.
    pub cookie: Option<String>,
    /// Of all that nothing else decides, so many of `total` on average.
    pub weight: u32,
    /// What `weight` is a part of. Above 0.
    pub total: u32,
    /// One of these, chosen by weight. Never empty.
    pub backends: Vec<WeightedUpstream>,
    /// A client whose affinity cookie names an endpoint, of the canary or not, stays there: nothing decides anew.
    pub sticky: bool,
}

/// A request field that decides about a [`Canary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryHeader {
    /// In lower case.
    pub name: String,
    /// Who has such a value is meant, and nothing else decides. Absent: `always` and `never` decide.
    pub value: Option<ValueMatch>,
}

/// Where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectTo {
    /// 300 to 308.
    pub status: u16,
    /// What Location says, piece by piece. Never empty.
    pub location: Vec<LocationPart>,
}

/// A piece of where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocationPart {
    /// As it is.
    Text(String),
    /// `http` or `https`, by which the client came.
    Scheme,
    /// The host that it asked for, without port.
    Host,
    /// The path and query that it asked for.
    Target,
}

/// One backend of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedUpstream {
    /// Where to.
    pub upstream: UpstreamId,
    /// Its share: weight divided by the sum of weights. 0 takes no new requests.
    pub weight: u32,
}

/// Which requests a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serves {
    /// WebSocket handshakes only; everything else gets 426.
    WebSocketOnly,
    /// WebSocket handshakes and plain requests.
    Everything,
}

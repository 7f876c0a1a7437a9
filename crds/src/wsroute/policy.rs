//! The settings of routes as a WsRoute writes them, and their reading into the common model.

mod access;
mod affinity;
mod auth;
mod cors;
mod headers;
mod upstream_tls;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::access::Access;
pub use self::affinity::{Affinity, AffinityCookie, Ring, SameSite};
pub use self::auth::{Auth, BasicAuth, ExternalAuth};
use super::schema;
use crate::diagnostic::{Diagnostic, ObjectRef, Severity, quoted};
use crate::duration::{self, Duration};
use crate::grammar::{self, Grammar};
use crate::policy::{
    self, HashPart, IngressPatch, LoadBalancingPatch, PathRewrite, PolicyPatch, Redirect, RewritePatch,
    TimeoutsPatch,
};
use crate::quantity;

pub use self::cors::Cors;
pub use self::headers::{HeaderChanges, Headers, Hsts};
pub use self::upstream_tls::UpstreamTls;

/// Settings of routes. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Policy {
    /// How long things may take. `0s` switches a limit off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// How an endpoint of the backend is chosen for a new tunnel or request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// How clients come back to the endpoint that they were at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// What is sent to the backend in place of the request's own path and Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Fields of requests and responses that are set, added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// What browsers let pages of other origins do with plain requests. Preflights are answered by Longhaul. This is no
    /// check of the Origin: browsers open WebSockets without asking, and other programs do as they like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Strict-Transport-Security on every response over TLS. Absent: what the backend says is passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// How much is let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How a client proves that it may come in. Absent: it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// TLS to backends. Absent: what the appProtocol of the Service's port says, which is TLS where it is `https` or
    /// `kubernetes.io/wss`.
    #[serde(rename = "upstreamTLS", default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
    /// Redirect plain requests to https (308). Absent: where the host has a certificate. Handshakes on the plain
    /// port are redirected too, though browsers do not follow: let clients use wss from the start.
    #[serde(rename = "redirectToTLS", default, skip_serializing_if = "Option::is_none")]
    pub redirect_to_tls: Option<bool>,
    /// Write an access record for each tunnel at its end and for each plain request. Absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
    /// Who may come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_load_balancing)]
pub struct LoadBalancing {
    /// `LeastConnections`: the endpoint with the fewest open tunnels and requests. `RoundRobin`: one after another.
    /// `ConsistentHash`: the same endpoint for the same key, and only the keys of an endpoint that goes move to
    /// others; needs `hashOn`. Absent: `LeastConnections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<BalancingPolicy>,
    /// What `ConsistentHash` hashes; exactly one of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_on: Option<HashOn>,
    /// What of an endpoint keys, and affinity cookies, are tied to. `Address`: its address and port. `PodName`: the name
    /// of its pod, so that the pods of a StatefulSet keep theirs when they are restarted. Absent: `Address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<Ring>,
}

/// The rules by which an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum BalancingPolicy {
    LeastConnections,
    RoundRobin,
    ConsistentHash,
}

/// What is hashed; exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_hash_on)]
pub struct HashOn {
    /// The client's address, as trusted proxies tell it: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<Whole>,
    /// The request field of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::token")]
    pub header: Option<String>,
    /// The cookie of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::token")]
    pub cookie: Option<String>,
    /// The query parameter of this name, such as the id of a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::parameter")]
    pub query_parameter: Option<String>,
    /// The path, without the query: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Whole>,
}

/// Nothing more to say: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Whole {}

/// What is sent in place of what came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_rewrite)]
pub struct Rewrite {
    /// Replaces the path, or the prefix of it, that the rule matches: with `/` a request for /ws/a of a rule for /ws
    /// is sent as /a.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sent_path")]
    pub prefix: Option<String>,
    /// Replaces the whole path; the query stays. Excludes `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sent_path")]
    pub path: Option<String>,
    /// Replaces the Host that the backend gets: a name or address, with or without a port. Absent: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::authority")]
    pub upstream_host: Option<String>,
}

/// How much is let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Limits {
    /// The longest body of a plain request, as a quantity such as 512Ki or 10Mi; a longer one gets 413. 0: no limit.
    /// Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::size")]
    pub body_size: Option<IntOrString>,
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Timeouts {
    /// One attempt to reach an endpoint. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub connect: Option<String>,
    /// From the handshake sent to the backend until its answer. Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub handshake: Option<String>,
    /// No bytes either way in an open tunnel. Absent: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub idle: Option<String>,
    /// A write towards either side that makes no progress. Absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub send: Option<String>,
    /// Plain HTTP: until the backend answers, then between two reads of its response. Absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub request: Option<String>,
}

impl Policy {
    /// The policy in the common model. `field` is this policy's own path; a value that does not read is left out
    /// and reported.
    pub fn read(&self, object: &ObjectRef, field: &str) -> (PolicyPatch, Vec<Diagnostic>) {
        let mut reader = Reader { object, field, diagnostics: Vec::new() };
        let patch = PolicyPatch {
            timeouts: self.timeouts.as_ref().map(|timeouts| reader.timeouts(timeouts)).unwrap_or_default(),
            load_balancing: self
                .load_balancing
                .as_ref()
                .map(|how| reader.load_balancing(how))
                .unwrap_or_default(),
            affinity: self.affinity.as_ref().map(|affinity| reader.affinity(affinity)).unwrap_or_default(),
            rewrite: self.rewrite.as_ref().map(|rewrite| reader.rewrite(rewrite)).unwrap_or_default(),
            headers: self.headers.as_ref().map(|headers| reader.headers(headers)).unwrap_or_default(),
            cors: self.cors.as_ref().map(|cors| reader.cors(cors)).unwrap_or_default(),
            hsts: self.hsts.as_ref().map(|hsts| reader.hsts(hsts)).unwrap_or_default(),
            max_body: self.limits.as_ref().and_then(|limits| reader.body_size(limits)),
            redirect: self.redirect_to_tls.map(
                |on| {
                    if on { Redirect::WithCertificate } else { Redirect::Never }
                },
            ),
            access_log: self.access_log,
            access: self.access.as_ref().map(|access| access.read(&mut reader)).unwrap_or_default(),
            auth: self.auth.as_ref().map(|auth| reader.auth(auth)),
            upstream_tls: self.upstream_tls.as_ref().map(|tls| reader.upstream_tls(tls)).unwrap_or_default(),
            ingress: IngressPatch::default(),
        };
        (patch, reader.diagnostics)
    }
}

/// Reads one policy, field by field.
struct Reader<'a> {
    object: &'a ObjectRef,
    field: &'a str,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn timeouts(&mut self, timeouts: &Timeouts) -> TimeoutsPatch {
        TimeoutsPatch {
            connect: self.duration("timeouts.connect", timeouts.connect.as_deref()),
            handshake: self.duration("timeouts.handshake", timeouts.handshake.as_deref()),
            idle: self.duration("timeouts.idle", timeouts.idle.as_deref()),
            send: self.duration("timeouts.send", timeouts.send.as_deref()),
            request: self.duration("timeouts.request", timeouts.request.as_deref()),
        }
    }

    fn duration(&mut self, field: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let read = text.parse().ok();
        if read.is_none() {
            let message = format!("{} is not a duration; the default is served", quoted(text));
            self.malformed(field, message, duration::GRAMMAR);
        }
        read
    }

    fn load_balancing(&mut self, how: &LoadBalancing) -> LoadBalancingPatch {
        let hash_on = how.hash_on.as_ref().map(|hash_on| self.hash_on(hash_on));
        let policy = how.policy.map(|policy| match policy {
            BalancingPolicy::LeastConnections => policy::LoadBalancing::LeastConnections,
            BalancingPolicy::RoundRobin => policy::LoadBalancing::RoundRobin,
            BalancingPolicy::ConsistentHash => policy::LoadBalancing::ConsistentHash,
        });
        let ring = how.ring.map(policy::Ring::from);
        LoadBalancingPatch { policy, hash_on: hash_on.map(|part| vec![part]), ring }
    }

    /// What is hashed. A slip in it leaves the client's address, not what a layer below may have said.
    fn hash_on(&mut self, hash_on: &HashOn) -> HashPart {
        let HashOn { client_address, header, cookie, query_parameter, path } = hash_on;
        let mut fitting = |name: &str, text: &Option<String>, grammar, part: fn(String) -> HashPart| {
            let field = format!("loadBalancing.hashOn.{name}");
            let read = |text: &String| self.fitting(&field, text, grammar, HASH_FALLBACK).map(part);
            text.as_ref().map(read)
        };
        let named = [
            client_address.as_ref().map(|_| None),
            fitting("header", header, &grammar::TOKEN, |name| HashPart::Header(name.to_ascii_lowercase())),
            fitting("cookie", cookie, &grammar::TOKEN, HashPart::Cookie),
            fitting("queryParameter", query_parameter, &grammar::PARAMETER, HashPart::QueryParameter),
            path.as_ref().map(|_| Some(HashPart::Path)),
        ];
        let mut named = named.into_iter().flatten();
        if let (Some(only), None) = (named.next(), named.next()) {
            return only.unwrap_or(HashPart::ClientAddress);
        }
        let message = format!("there is not exactly one thing to hash; {HASH_FALLBACK}");
        self.malformed("loadBalancing.hashOn", message, HASH_ON);
        HashPart::ClientAddress
    }

    fn rewrite(&mut self, rewrite: &Rewrite) -> RewritePatch {
        let Rewrite { prefix, path, upstream_host } = rewrite;
        if prefix.is_some() && path.is_some() {
            let message = "both a prefix and a path are named; the path is served".into();
            self.malformed("rewrite", message, "one of prefix and path");
        }
        let mut fitting = |name: &str, text: &Option<String>, grammar: &Grammar, fallback: &str| {
            self.fitting(&format!("rewrite.{name}"), text.as_deref()?, grammar, fallback)
        };
        let kept = "the path is not rewritten";
        let whole = fitting("path", path, &grammar::SENT_PATH, kept).map(PathRewrite::Whole);
        let prefix = fitting("prefix", prefix, &grammar::SENT_PATH, kept).map(PathRewrite::Prefix);
        let host =
            fitting("upstreamHost", upstream_host, &grammar::AUTHORITY, "the client's own Host is sent");
        RewritePatch { path: whole.or(prefix), host }
    }

    /// A text that has the form that it must have. The API server sees to it; an old schema may not.
    fn fitting(&mut self, field: &str, text: &str, grammar: &Grammar, fallback: &str) -> Option<String> {
        if grammar.holds(text) {
            return Some(text.to_owned());
        }
        let message = format!("{} does not have the form that is asked for; {fallback}", quoted(text));
        self.malformed(field, message, grammar.words);
        None
    }

    fn body_size(&mut self, limits: &Limits) -> Option<u64> {
        let text = match limits.body_size.as_ref()? {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text.clone(),
        };
        let read = quantity::bytes(&text).ok();
        if read.is_none() {
            let message = format!("{} is not a size; there is no limit", quoted(&text));
            self.malformed("limits.bodySize", message, quantity::GRAMMAR);
        }
        read
    }

    fn malformed(&mut self, field: &str, message: String, grammar: &str) {
        self.diagnostics.push(Diagnostic {
            object: self.object.clone(),
            field: format!("{}.{field}", self.field),
            severity: Severity::Warning,
            reason: "UnsupportedValue".into(),
            message,
            remedy: format!("write {grammar}"),
        });
    }
}

const HASH_FALLBACK: &str = "the client's address is hashed";

const HASH_ON: &str = "one of clientAddress, header, cookie, queryParameter and path";

//! `longhaul-controller explain`: what would become of a request, and why.
//!
//! The route is chosen by the proxy's own code, the crate [`routing`], from the snapshot that the proxy gets; whose
//! word each setting is, [`translate::provenance`] finds out. What only a proxy can know is said to be unknown: which
//! of several endpoints it picks, what an authentication service answers, whether a certificate can be used.
//!
//! Invariant: no key, password or hash is ever part of an [`Explanation`].

mod answer;
pub mod ask;
mod backends;
mod routes;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use crds::diagnostic::{ObjectRef, Severity};
use imbl::OrdMap;
use routing::{Malformed, Sketch};
use serde::{Deserialize, Serialize};
use snapshot::{Host, HostPattern, Key, Section, Snapshot};
use translate::{Report, Setting, Settings, Store, precedence, provenance, translate};

use crate::source::cluster::once::CLUSTER;
use crate::source::once::Manifests;
use crate::source::{Finding, Said};

pub use answer::{Answer, Check};
pub use backends::{Backend, Endpoint};
pub use routes::{Chosen, Lost};

/// A request that nobody sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// As in a request line.
    pub method: String,
    /// Host, with or without port.
    pub host: String,
    /// Path and query as a client would send them.
    pub target: String,
    /// Further fields.
    pub fields: Vec<(String, String)>,
    /// Whose request it is.
    pub client: IpAddr,
    /// How it comes.
    pub scheme: Scheme,
    /// What it is.
    pub kind: Kind,
}

/// How a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It opens a WebSocket.
    Handshake,
    /// Any other.
    Plain,
}

/// Everything that an explanation is made from.
#[derive(Debug)]
pub struct World {
    /// The objects.
    pub store: Store,
    /// How they are read.
    pub settings: Arc<Settings>,
    /// What came of them.
    pub snapshot: Snapshot,
    /// What each object was told.
    pub reports: OrdMap<ObjectRef, Arc<Report>>,
    /// Everything that is wrong with them, with places.
    pub findings: Vec<Finding>,
    /// Where they stand.
    pub said: Arc<Said>,
}

/// What would become of a request, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked.
    pub question: Question,
    /// The path that is compared: normalised.
    pub path: String,
    /// What the client would get.
    pub answer: Answer,
    /// The host whose routes alone are searched, `*` for every name that nothing else names.
    pub host: Option<String>,
    /// Further hosts that fit the name, and are not searched since a more specific one is there.
    pub passed_over: Vec<String>,
    /// The route that wins.
    pub route: Option<Chosen>,
    /// Everything else that might have been meant.
    pub lost: Vec<Lost>,
    /// What is looked at on the way, in this order.
    pub checks: Vec<Check>,
    /// What the route keeps to, and who says so.
    pub settings: Vec<Setting>,
    /// Among whom an endpoint is picked.
    pub backends: Vec<Backend>,
    /// What is wrong with the objects that have to do with it.
    pub remarks: Vec<Remark>,
}

/// Something that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// Which object.
    pub object: String,
    /// Its field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// `FILE:LINE`, where it comes from a file.
    pub place: Option<String>,
}

/// A question as the parts of this module look at it.
struct Asked<'a> {
    question: &'a Question,
    request: Sketch,
}

/// Explains. The error is why no client could send such a request.
pub fn explain(world: &World, question: Question) -> Result<Explanation, Malformed> {
    let asked = Asked { request: sketch(&question)?, question: &question };
    let found = routes::find(world, &asked);
    let winner = found.winner();
    let backends = winner.map(|route| backends::of(world, route, &asked)).unwrap_or_default();
    let (answer, checks) = answer::to(world, &asked, &found, &backends);
    let tls = found.host.as_ref().and_then(|(_, host)| host.tls.as_ref());
    let known = winner.and_then(|route| provenance(&world.store, &world.settings, &route.id, tls));
    let known = known.unwrap_or_default();
    let route = winner.map(|route| found.chosen(world, route, known.field));
    let lost = found.lost(world, &asked);
    let concerned = found.concerned(&lost);
    Ok(Explanation {
        path: routing::Request::path(&asked.request).to_owned(),
        answer,
        host: found.host.as_ref().map(|(pattern, _)| pattern.to_string()),
        passed_over: found.passed_over.iter().map(HostPattern::to_string).collect(),
        route,
        lost,
        checks,
        settings: known.settings,
        backends,
        remarks: remarks(world, &concerned, winner),
        question,
    })
}

/// As a client would send it: with the fields that a handshake cannot be without.
fn sketch(question: &Question) -> Result<Sketch, Malformed> {
    let implied: &[(&str, &str)] = match question.kind {
        Kind::Handshake => &[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ],
        Kind::Plain => &[],
    };
    let told = question.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let is_told = |name: &str| question.fields.iter().any(|(told, _)| told.eq_ignore_ascii_case(name));
    let implied = implied.iter().copied().filter(|(name, _)| !is_told(name));
    let host = [("Host", question.host.as_str())];
    let sketch = Sketch::new(&question.host, &question.target)?;
    host.into_iter()
        .chain(implied)
        .chain(told)
        .try_fold(sketch, |sketch, (name, value)| sketch.field(name, value))
}

/// Of the objects that have to do with it, and of what the route refers to.
fn remarks(world: &World, concerned: &[ObjectRef], winner: Option<&snapshot::Route>) -> Vec<Remark> {
    let mut wanted = concerned.to_vec();
    if let Some(snapshot::Action::Forward(forward)) = winner.map(|route| &route.action) {
        let services = forward.upstreams();
        wanted.extend(services.map(|id| ObjectRef::new("Service", &*id.namespace, &*id.service)));
    }
    // What was refused whole may have been meant for this host: nobody can say.
    let refused = |object: &ObjectRef| {
        matches!(object.kind.as_str(), "File" | "Ingress" | "WsRoute") && world.store.object(object).is_none()
    };
    let concerns = |object: &ObjectRef| object.kind == CLUSTER || wanted.contains(object) || refused(object);
    let about = world.findings.iter().filter(|finding| concerns(&finding.diagnostic.object));
    about.filter(|finding| finding.diagnostic.severity != Severity::Info).map(Remark::of).collect()
}

impl Remark {
    fn of(finding: &Finding) -> Self {
        let diagnostic = &finding.diagnostic;
        Self {
            severity: diagnostic.severity.word().to_owned(),
            object: diagnostic.object.to_string(),
            field: diagnostic.field.clone(),
            message: diagnostic.message.clone(),
            remedy: diagnostic.remedy.clone(),
            place: finding.file.as_deref().map(|file| place(file, finding.line)),
        }
    }
}

/// `FILE:LINE`.
fn place(file: &str, line: Option<u32>) -> String {
    let file = crate::source::shown(file);
    line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
}

impl World {
    /// What is in some manifests, or in a cluster.
    pub fn of(mut manifests: Manifests, settings: Settings) -> Self {
        let mut store = Store::default();
        for change in std::mem::take(&mut manifests.objects) {
            store.apply(change);
        }
        let outcome = translate(&store, &settings);
        let findings = manifests.said.with(outcome.diagnostics);
        let said = Arc::new(manifests.said);
        let (settings, snapshot) = (Arc::new(settings), outcome.snapshot);
        Self { store, settings, snapshot, reports: outcome.reports, findings, said }
    }

    /// Where a field of an object stands.
    fn place(&self, object: &ObjectRef, field: &str) -> Option<String> {
        let at = self.said.places.get(object)?;
        Some(place(&at.file.to_string_lossy(), at.lines.as_ref().map(|lines| lines.of(field))))
    }

    fn section(&self, key: &Key) -> Option<Section> {
        self.snapshot.section(key)?.ok()
    }

    fn host(&self, pattern: &HostPattern) -> Option<Host> {
        match self.section(&Key::Host(pattern.clone()))? {
            Section::Host(host) => Some(host),
            _ => None,
        }
    }
}

/// The object of a route.
fn owner(route: &snapshot::Route) -> ObjectRef {
    let owner = &route.id.owner;
    ObjectRef::new(&*owner.kind, &*owner.namespace, &*owner.name)
}

impl Explanation {
    /// For programs: one JSON document.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers always become JSON")
    }
}

/// Why the first of two routes of a host comes first, for people.
fn why_first(first: &snapshot::Route, second: &snapshot::Route) -> &'static str {
    use translate::Precedence as By;
    match precedence(first, second) {
        By::RuleBeforeDefault => "every rule comes before a defaultBackend",
        By::NearerDefault => {
            "the defaultBackend of an object that names the host comes first, then the oldest"
        }
        By::ExactPath => "an exact path comes before a prefix",
        By::LongerPath => "the longer path comes first",
        By::PlainPath => "a plain prefix comes before a regular expression that begins with it",
        By::LongerPattern => "of regular expressions that begin alike the longer text comes first",
        By::MoreConditions => "of one path, more conditions come first",
        By::OlderObject => "of equals the older object comes first, then namespace and name decide",
    }
}

#[cfg(test)]
mod tests;

//! What the controller can tell about itself, put together from what its parts say: remarks with their places, the
//! objects with what became of them, the routes with who serves them.
//!
//! Nothing is kept here. Each answer is made from the newest values at the time of asking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use imbl::OrdSet;
use serde_json::{Value, json};
use snapshot::{Certificate, Host, HostPattern, Key, Section, Snapshot};
use tokio::sync::watch;

use crate::explain::{self, Explanation, Question, World};
use crate::metrics::Levels;
use crate::programmed::{self, Holding, Pod};
use crate::publish::{Proxies, Published};
use crate::reconcile::View;
use crate::source::{Finding, Said};
use crate::version::Version;

/// The newest values of everything.
#[derive(Clone, Debug)]
pub struct Overview {
    said: watch::Receiver<Arc<Said>>,
    view: watch::Receiver<Arc<View>>,
    published: watch::Receiver<Option<Published>>,
    proxies: watch::Receiver<Proxies>,
}

impl Overview {
    /// Over these values.
    pub fn new(
        said: watch::Receiver<Arc<Said>>,
        view: watch::Receiver<Arc<View>>,
        published: watch::Receiver<Option<Published>>,
        proxies: watch::Receiver<Proxies>,
    ) -> Self {
        Self { said, view, published, proxies }
    }

    /// Waits until any value is another. Says whether more can come.
    pub async fn changed(&mut self) -> bool {
        let changed = tokio::select! {
            changed = self.said.changed() => changed,
            changed = self.view.changed() => changed,
            changed = self.published.changed() => changed,
            changed = self.proxies.changed() => changed,
        };
        changed.is_ok()
    }

    /// Something is published.
    pub fn ready(&self) -> bool {
        self.published.borrow().is_some()
    }

    /// Everything that is wrong or worth knowing, sorted, each once.
    pub fn findings(&self) -> Vec<Finding> {
        self.basis().findings()
    }

    /// What would become of a request with what is published now. The error is why no client could send it.
    pub fn explain(&self, question: Question) -> Result<Explanation, routing::Malformed> {
        let (said, view) = (self.said.borrow().clone(), self.view.borrow().clone());
        let published = self.published.borrow().clone();
        let world = World {
            store: view.store.clone(),
            settings: view.settings.clone(),
            snapshot: published.map(|published| published.snapshot).unwrap_or_default(),
            reports: view.reports.clone(),
            findings: self.findings(),
            said,
        };
        explain::explain(&world, question)
    }

    fn basis(&self) -> Basis {
        let (said, diagnostics) = (self.said.borrow().clone(), self.view.borrow().diagnostics.clone());
        Basis { said, diagnostics, rejections: rejections(&self.proxies.borrow()) }
    }

    /// Every object that is ours: where it stands, how it was taken, whether proxies serve it.
    pub fn objects(&self) -> Value {
        let (said, view) = (self.said.borrow().clone(), self.view.borrow().clone());
        let (published, proxies) = (self.published.borrow().clone(), self.proxies.borrow().clone());
        let rejected =
            published.as_ref().map(|published| owners(&published.snapshot, &proxies)).unwrap_or_default();
        let objects = view.reports.iter().map(|(object, report)| {
            let since = view.since(object);
            let holding = Holding::of(&proxies, since, rejected.get(object).map(String::as_str));
            let mut report = translate::Report::clone(report);
            report
                .conditions
                .push(programmed::of_report(&report, &[Pod { name: None, holding: Some(&holding) }]));
            let place = said.places.get(object);
            json!({
                "object": object,
                "file": place.map(|place| place.file.to_string_lossy()),
                "line": place.and_then(|place| place.lines.as_ref()).map(|lines| lines.first()),
                "generation": since,
                "report": report,
            })
        });
        Value::Array(objects.collect())
    }

    /// Where the proxies of this controller stand with these versions of objects, in their order.
    pub fn held(&self, asked: &[(ObjectRef, &Version)]) -> Vec<Holding> {
        // The view first: what is published is then at least as new as what it tells of.
        let view = self.view.borrow().clone();
        let (published, proxies) = (self.published.borrow().clone(), self.proxies.borrow().clone());
        let rejected =
            published.as_ref().map(|published| owners(&published.snapshot, &proxies)).unwrap_or_default();
        let holding = |(object, version): &(ObjectRef, &Version)| match view.since.get(object) {
            Some(since) if since.version.as_ref() == Some(*version) => {
                Holding::of(&proxies, since.number, rejected.get(object).map(String::as_str))
            }
            _ => Holding::unseen(&proxies),
        };
        asked.iter().map(holding).collect()
    }

    /// The snapshot, decoded and without keys, and which generation of it each proxy serves.
    pub fn routes(&self) -> Value {
        let (published, proxies) = (self.published.borrow().clone(), self.proxies.borrow().clone());
        let proxies: Vec<_> = proxies
            .iter()
            .map(|(id, proxy)| {
                let quarantined = proxy.quarantined.iter().map(|quarantined| {
                    json!({"section": quarantined.key.to_string(), "reason": quarantined.reason})
                });
                json!({
                    "id": id,
                    "version": proxy.version,
                    "applied": proxy.applied.map(|generation| generation.number),
                    "quarantined": quarantined.collect::<Vec<_>>(),
                    "refused": proxy.refused,
                })
            })
            .collect();
        json!({
            "generation": published.as_ref().map(|published| published.generation.number),
            "epoch": published.as_ref().map(|published| format!("{:016x}", published.generation.epoch)),
            "snapshot": published.as_ref().map(|published| published.snapshot.view()),
            "proxies": proxies,
        })
    }

    /// What metrics tell of all this.
    pub fn levels(&self) -> Levels {
        let (view, proxies) = (self.view.borrow().clone(), self.proxies.borrow().clone());
        let published = self.published.borrow().clone();
        let mut levels = Levels {
            objects: count(view.since.keys().map(|object| object.kind.clone())),
            proxies: proxies.len(),
            quarantined: proxies.values().map(|proxy| proxy.quarantined.len()).sum(),
            diagnostics: count(self.findings().iter().map(|finding| severity(finding).to_owned())),
            ..Levels::default()
        };
        if let Some(Published { generation, snapshot }) = published {
            levels.generation = generation.number;
            levels.proxies_current =
                proxies.values().filter(|proxy| proxy.applied == Some(generation)).count();
            levels.sections = count(snapshot.iter().map(|(key, _)| kind(key).to_owned()));
            levels.certificates = expiries(&snapshot);
        }
        levels
    }
}

/// What findings are made of.
struct Basis {
    said: Arc<Said>,
    diagnostics: OrdSet<Diagnostic>,
    rejections: Vec<Diagnostic>,
}

impl Basis {
    /// Whether both are known to lead to the same, without going through all of it.
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.said, &other.said)
            && self.diagnostics.ptr_eq(&other.diagnostics)
            && self.rejections == other.rejections
    }

    fn findings(&self) -> Vec<Finding> {
        self.said.with(self.diagnostics.iter().chain(&self.rejections).cloned())
    }
}

fn count(names: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

fn severity(finding: &Finding) -> &'static str {
    finding.diagnostic.severity.word()
}

fn kind(key: &Key) -> &'static str {
    match key {
        Key::Listener(_) => "listener",
        Key::Host(_) => "host",
        Key::Endpoints(..) => "endpoints",
        Key::Certificate(_) => "certificate",
        Key::AffinityKey => "affinity-key",
    }
}

fn expiries(snapshot: &Snapshot) -> Vec<(String, String, i64)> {
    let certificates = snapshot.iter().filter_map(|(key, _)| match key {
        Key::Certificate(name) => Some((name, snapshot.section(key)?.ok()?)),
        _ => None,
    });
    certificates
        .filter_map(|(name, section)| match section {
            Section::Certificate(Certificate::Pair { not_after, .. }) => {
                Some((name.namespace.clone(), name.secret.clone(), not_after))
            }
            _ => None,
        })
        .collect()
}

/// Remarks from what proxies could not take.
fn rejections(proxies: &Proxies) -> Vec<Diagnostic> {
    let of_sections = proxies.values().flat_map(|proxy| &proxy.quarantined).map(|quarantined| {
        let message = format!("a proxy cannot use the {}: {}", quarantined.key, quarantined.reason);
        let remedy = "correct it; until then its last good form is served, or 503 where there is none";
        rejection(blamed(&quarantined.key), message, remedy)
    });
    let of_proxies = proxies.iter().filter_map(|(id, proxy)| {
        let message = format!("it refuses the newest generation: {}", proxy.refused.as_ref()?);
        let remedy = "it serves what it had; look into its log and whether both programs are of one version";
        Some(rejection(ObjectRef::new("Proxy", "", id.to_string()), message, remedy))
    });
    of_sections.chain(of_proxies).collect()
}

fn rejection(object: ObjectRef, message: String, remedy: &str) -> Diagnostic {
    let (field, severity, reason) = (String::new(), Severity::Error, "Rejected".into());
    Diagnostic { object, field, severity, reason, message, remedy: remedy.into() }
}

/// The object that a section is made of, where its key tells; else the section itself.
fn blamed(key: &Key) -> ObjectRef {
    match key {
        Key::Certificate(certificate) => {
            ObjectRef::new("Secret", &*certificate.namespace, &*certificate.secret)
        }
        Key::Endpoints(upstream, slice) => ObjectRef::new("EndpointSlice", &*upstream.namespace, &*slice.0),
        Key::Host(host) => ObjectRef::new("Host", "", host.to_string()),
        Key::Listener(name) => ObjectRef::new("Listener", "", format!("{name:?}")),
        Key::AffinityKey => ObjectRef::new("AffinityKey", "", ""),
    }
}

/// Objects of which some proxy could not build a part, with what it said.
pub(crate) fn owners(snapshot: &Snapshot, proxies: &Proxies) -> BTreeMap<ObjectRef, String> {
    let quarantined: BTreeMap<&Key, &str> = proxies
        .values()
        .flat_map(|proxy| &proxy.quarantined)
        .map(|quarantined| (&quarantined.key, &*quarantined.reason))
        .collect();
    let mut owners = BTreeMap::new();
    if quarantined.is_empty() {
        return owners;
    }
    for (key, _) in snapshot.iter() {
        let Key::Host(pattern) = key else { continue };
        let Some(Ok(Section::Host(host))) = snapshot.section(key) else { continue };
        for (owner, part) in parts(pattern, &host) {
            if let Some(reason) = quarantined.get(&part) {
                owners.entry(owner).or_insert_with(|| format!("{part}: {reason}"));
            }
        }
    }
    owners
}

/// The sections that each owner of a route of this host depends on. (Endpoints are left out: one bad slice of many is
/// the slice's affair.)
fn parts(pattern: &HostPattern, host: &Host) -> BTreeSet<(ObjectRef, Key)> {
    let mut parts = BTreeSet::new();
    for route in &host.routes {
        let owner = &route.id.owner;
        let owner = ObjectRef::new(&*owner.kind, &*owner.namespace, &*owner.name);
        if let Some(tls) = &host.tls {
            parts.insert((owner.clone(), Key::Certificate(tls.certificate.clone())));
        }
        parts.insert((owner, Key::Host(pattern.clone())));
    }
    parts
}

/// Logs each remark when it appears and when it is gone, until nothing more can come.
pub async fn log_remarks(mut overview: Overview) {
    let mut known = BTreeMap::new();
    let mut basis = overview.basis();
    loop {
        let present = remarks(basis.findings());
        for (diagnostic, finding) in present.iter().filter(|(diagnostic, _)| !known.contains_key(*diagnostic))
        {
            let (object, reason) = (diagnostic.object.to_string(), &diagnostic.reason);
            let (file, line) = (finding.file.as_deref(), finding.line);
            match diagnostic.severity {
                Severity::Error => tracing::error!(object, reason, file, line, "{diagnostic}"),
                _ => tracing::warn!(object, reason, file, line, "{diagnostic}"),
            }
        }
        for diagnostic in known.keys().filter(|diagnostic| !present.contains_key(*diagnostic)) {
            let (object, reason) = (diagnostic.object.to_string(), &diagnostic.reason);
            tracing::info!(object, reason, "resolved: {diagnostic}");
        }
        known = present;
        // Most changes leave all remarks as they are.
        while overview.basis().same(&basis) {
            if !overview.changed().await {
                return;
            }
        }
        basis = overview.basis();
    }
}

/// What belongs into a log. A remark that only moved to another line is no news.
fn remarks(findings: Vec<Finding>) -> BTreeMap<Diagnostic, Finding> {
    let loud = findings.into_iter().filter(|finding| finding.diagnostic.severity != Severity::Info);
    loud.map(|finding| (finding.diagnostic.clone(), finding)).collect()
}

#[cfg(test)]
mod tests {
    use snapshot::frame::{Generation, Quarantined};
    use snapshot::{Action, CertificateKey, HostTls, PathMatch, Route, RouteId, TlsVersion};

    use super::*;
    use crate::publish::Proxy;

    fn proxy(number: u64, quarantined: Vec<Quarantined>) -> Proxy {
        Proxy { applied: Some(Generation { epoch: 1, number }), quarantined, ..Proxy::default() }
    }

    fn certificate() -> CertificateKey {
        CertificateKey { namespace: "d".into(), secret: "s".into() }
    }

    #[test]
    fn what_a_proxy_cannot_build_falls_to_those_who_own_it() {
        let owner = snapshot::ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: "i".into() };
        let route = Route::new(
            RouteId { owner, rule: "r".into(), matched: "/".into() },
            PathMatch::Prefix("/".into()),
            Action::Broken("x".into()),
        );
        let tls = HostTls {
            certificate: certificate(),
            min_version: TlsVersion::V1_2,
            cipher_suites: Vec::new(),
            clients: None,
        };
        let mut snapshot = Snapshot::default();
        let host = Host { tls: Some(tls), routes: vec![route] };
        snapshot.insert(Key::Host(HostPattern::Any), &Section::Host(host));
        let key = Key::Certificate(certificate());
        let quarantined = Quarantined { key, reason: "key and chain do not fit".into() };
        let proxies = Proxies::from([(1, proxy(1, vec![quarantined]))]);

        let owners = owners(&snapshot, &proxies);
        let ingress = ObjectRef::new("Ingress", "d", "i");
        assert_eq!(owners, BTreeMap::from([(ingress, "certificate d/s: key and chain do not fit".into())]));
        let rejections = rejections(&proxies);
        assert_eq!(rejections[0].object, ObjectRef::new("Secret", "d", "s"));
        assert_eq!(rejections[0].reason, "Rejected");
    }

    #[test]
    fn certificates_tell_when_they_expire() {
        let mut snapshot = Snapshot::default();
        let key = snapshot::PrivateKey::new(b"key");
        let pair = Certificate::Pair { chain: Vec::new(), key, not_after: 1_800_000_000 };
        snapshot.insert(Key::Certificate(certificate()), &Section::Certificate(pair));
        let other = CertificateKey { secret: "bad".into(), ..certificate() };
        snapshot.insert(Key::Certificate(other), &Section::Certificate(Certificate::Bad("why".into())));
        assert_eq!(expiries(&snapshot), [("d".into(), "s".into(), 1_800_000_000)]);
    }
}

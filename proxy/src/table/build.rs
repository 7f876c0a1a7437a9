//! Building a table on top of the one before it: section by section, only those that differ.
//!
//! The next table begins as the one before. A section that can be built replaces what is under its key; one
//! that cannot leaves it there, which is its last good form. Cells that tunnels hold are found again here and
//! brought up to date by [`Table::install`].

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use imbl::{HashMap, OrdMap};
use routing::paths::{Paths, Place};
use snapshot::frame::{Generation, Quarantined};
use snapshot::{
    AffinityKey, Certificate, CertificateKey, Endpoint, HostPattern, HostTls, Key, ListenerName, ObjectRef,
    PathMatch, RouteId, Section, Slice, Snapshot, UpstreamId,
};

use super::check::Prepared;
use super::hosts::{Host, Tls};
use super::{Action, Challenge, Forward, Listener, Live, Route, Stale, Table, certificates, check};
use crate::access::Access;
use crate::affinity::{Affinity, Seal};
use crate::auth::Auth;
use crate::networks::Networks;
use crate::telemetry::AccessLog;
use crate::tls::clients::Clients;
use crate::tls::policy::Policy;
use crate::upstream::{Members, Upstream};

/// Where challenges of certificate authorities are answered.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Upstreams by name: those that a route names or a slice fills.
pub(super) type Upstreams = HashMap<Arc<UpstreamId>, Arc<Entry>>;

/// What a table knows of one upstream.
#[derive(Clone)]
pub(super) struct Entry {
    cell: Arc<Upstream>,
    /// What the cell has once the table is installed.
    members: Arc<Members>,
    /// Few, in no order.
    slices: Vec<(Slice, Arc<[Endpoint]>)>,
    /// How many backends of routes name it.
    references: usize,
}

impl Entry {
    fn new(id: Arc<UpstreamId>) -> Self {
        let cell = Upstream::new(id);
        Self { cell, members: Arc::default(), slices: Vec::new(), references: 0 }
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.cell
    }

    fn unused(&self) -> bool {
        self.references == 0 && self.slices.is_empty()
    }
}

/// What [`Table::install`] brings up to date.
#[derive(Default)]
pub(super) struct Updates {
    lives: Vec<(Arc<Live>, snapshot::Timeouts)>,
    upstreams: Vec<(Arc<Upstream>, Arc<Members>)>,
    seal: NewSeal,
}

/// What becomes of the key of affinity cookies.
#[derive(Default)]
enum NewSeal {
    #[default]
    AsBefore,
    Another(Arc<Seal>),
    None,
}

/// What became of a section.
enum Verdict {
    /// Served as received.
    Served,
    /// Served as received although it has expired: there is nothing better.
    Expired,
    /// Served as received, but for routes that are closed for this reason.
    Partly(String),
    /// What was there before stays. The reason is `None` where the section itself says that it has nothing to
    /// serve.
    Kept(Option<String>),
    /// Nothing is served in its place: why.
    Closed(String),
}

impl Table {
    /// Builds the table of a snapshot. Whatever is the same in `previous` is shared with it. `now` is
    /// compared with the expiry of certificates. Also returned: every section, changed by this generation or
    /// not, that is not served as received or not fit to be.
    ///
    /// Total: a section that cannot be built keeps its last good form; a host that never had one answers 503,
    /// a certificate is as if unknown, an upstream or a slice has no endpoints.
    ///
    /// `previous` is the table that is served, [installed](Table::install) before this call; or any, as long
    /// as nothing is served yet.
    pub fn build(
        generation: Generation,
        snapshot: Snapshot,
        previous: &Table,
        now: SystemTime,
    ) -> (Table, Vec<Quarantined>) {
        let delta = previous.snapshot.diff(&snapshot);
        let mut builder = Builder {
            previous,
            next: previous.successor(generation, snapshot),
            now: seconds(now),
            created: HashSet::new(),
            changed: HashSet::new(),
            released: HashSet::new(),
        };
        for key in &delta.gone {
            builder.section_gone(key);
        }
        for (key, bytes) in &delta.changed {
            builder.section_changed(key, bytes);
        }
        let table = builder.finish();
        let quarantined = table.quarantined();
        (table, quarantined)
    }

    /// Brings the cells that open tunnels and running requests hold up to date with this table. To be called
    /// right after the swap, before the next table is built. In between, for microseconds, the new routes are
    /// served with the old endpoints of upstreams that were there before: as if the request had come that
    /// much earlier.
    pub fn install(&self) {
        for (cell, members) in &self.updates.upstreams {
            cell.install(members.clone());
        }
        match &self.updates.seal {
            NewSeal::AsBefore => {}
            NewSeal::Another(seal) => self.seal.store(Some(seal.clone())),
            NewSeal::None => self.seal.store(None),
        }
        for (cell, timeouts) in &self.updates.lives {
            cell.update(timeouts);
        }
    }

    /// Every section that is not served as received, or is not fit to be, and why.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.stale
            .iter()
            .filter_map(|(key, stale)| {
                let reason = match (&stale.reason, stale.expired) {
                    (None, false) => return None,
                    (None, true) => "the certificate has expired; there is no better one".to_owned(),
                    (Some(reason), false) => reason.clone(),
                    (Some(reason), true) => format!("{reason}; the one that is served has expired"),
                };
                Some(Quarantined { key: key.clone(), reason })
            })
            .collect()
    }

    /// The same table as one knows it now, if certificates of it have expired since they were judged last. They go on
    /// being served; that they have expired is said. Like a table that was built, it follows this one.
    pub fn judged(&self, now: SystemTime) -> Option<Self> {
        let now = seconds(now);
        let mut stale = self.stale.clone();
        for (key, _) in self.certificates.iter().filter(|(_, served)| served.not_after <= now) {
            let key = Key::Certificate(CertificateKey::clone(key));
            match stale.get_mut(&key) {
                Some(known) => known.expired = true,
                None => {
                    let last_good = self.snapshot.encoded(&key).cloned();
                    stale.insert(key, Stale { reason: None, last_good, expired: true });
                }
            }
        }
        let expired = |stale: &OrdMap<Key, Stale>| stale.values().filter(|stale| stale.expired).count();
        (expired(&stale) > expired(&self.stale))
            .then(|| Self { stale, ..self.successor(self.generation, self.snapshot.clone()) })
    }

    /// Every upstream that is known, and how many routes name it: none is left behind by routes that went.
    #[cfg(test)]
    pub(super) fn upstream_references(&self) -> std::collections::BTreeMap<String, usize> {
        self.upstreams.iter().map(|(id, entry)| (id.to_string(), entry.references)).collect()
    }

    /// The same table under another name; every map in it is shared.
    fn successor(&self, generation: Generation, snapshot: Snapshot) -> Self {
        Self {
            provider: self.provider.clone(),
            generation,
            snapshot,
            stale: self.stale.clone(),
            http: self.http.clone(),
            https: self.https.clone(),
            hosts: self.hosts.clone(),
            certificates: self.certificates.clone(),
            policies: self.policies.clone(),
            upstream_policies: self.upstream_policies.clone(),
            default_tls: self.default_tls.clone(),
            upstreams: self.upstreams.clone(),
            seal: self.seal.clone(),
            lives: self.lives.clone(),
            updates: Updates::default(),
            alive: self.alive.clone(),
        }
    }
}

struct Builder<'a> {
    previous: &'a Table,
    next: Table,
    /// Seconds since the Unix epoch.
    now: i64,
    /// Upstreams that no table had before.
    created: HashSet<Arc<UpstreamId>>,
    /// Upstreams whose endpoints have to be put together anew.
    changed: HashSet<Arc<UpstreamId>>,
    /// Upstreams that may have become unused.
    released: HashSet<Arc<UpstreamId>>,
}

impl Builder<'_> {
    fn section_changed(&mut self, key: &Key, bytes: &Bytes) {
        let verdict = match (key, self.next.snapshot.section(key)) {
            (_, None) => return,
            (_, Some(Err(error))) => Verdict::Kept(Some(error.to_string())),
            (Key::Listener(name), Some(Ok(Section::Listener(listener)))) => self.listener(*name, listener),
            (Key::Host(pattern), Some(Ok(Section::Host(host)))) => self.host(pattern, host),
            (Key::Endpoints(id, slice), Some(Ok(Section::Endpoints(endpoints)))) => {
                self.slice(id, slice, endpoints.endpoints.into())
            }
            (Key::Certificate(key), Some(Ok(Section::Certificate(certificate)))) => {
                self.certificate(key, &certificate)
            }
            (Key::AffinityKey, Some(Ok(Section::AffinityKey(AffinityKey::Known(key))))) => {
                self.next.updates.seal = NewSeal::Another(Arc::new(Seal::new(&key)));
                Verdict::Served
            }
            (Key::AffinityKey, Some(Ok(Section::AffinityKey(AffinityKey::Unknown)))) => Verdict::Kept(None),
            _ => Verdict::Kept(Some("section is of another kind than its key".to_owned())),
        };
        let stale = match verdict {
            Verdict::Served => {
                self.next.stale.remove(key);
                return;
            }
            Verdict::Expired => Stale { reason: None, last_good: Some(bytes.clone()), expired: true },
            Verdict::Partly(reason) => {
                Stale { reason: Some(reason), last_good: Some(bytes.clone()), expired: false }
            }
            Verdict::Closed(reason) => {
                if let Key::Host(pattern) = key {
                    self.close_host(pattern, reason.clone());
                }
                Stale { reason: Some(reason), last_good: None, expired: false }
            }
            Verdict::Kept(reason) => {
                let last_good = self.last_good(key);
                if let (None, Key::Host(pattern)) = (&last_good, key) {
                    self.close_host(pattern, reason.clone().unwrap_or_default());
                }
                Stale { reason, last_good, expired: self.has_expired(key) }
            }
        };
        self.next.stale.insert(key.clone(), stale);
    }

    /// Whether what is served under this key is a certificate that has expired.
    fn has_expired(&self, key: &Key) -> bool {
        let Key::Certificate(key) = key else { return false };
        self.next.certificates.get(key).is_some_and(|served| served.not_after <= self.now)
    }

    fn section_gone(&mut self, key: &Key) {
        self.next.stale.remove(key);
        match key {
            Key::Listener(name) => {
                self.listener(*name, snapshot::Listener::default());
            }
            Key::Host(pattern) => {
                if let Some(host) = self.next.hosts.remove(pattern) {
                    self.release(&host);
                }
            }
            Key::Endpoints(id, slice) => self.changed_entry(id).slices.retain(|(name, _)| name != slice),
            Key::Certificate(key) => {
                self.next.certificates.remove(key);
            }
            Key::AffinityKey => self.next.updates.seal = NewSeal::None,
        }
    }

    /// The bytes of what the previous table serves under a key.
    fn last_good(&self, key: &Key) -> Option<Bytes> {
        match self.previous.stale.get(key) {
            Some(stale) => stale.last_good.clone(),
            None => self.previous.snapshot.encoded(key).cloned(),
        }
    }

    fn listener(&mut self, name: ListenerName, listener: snapshot::Listener) -> Verdict {
        let snapshot::Listener { trusted_proxies, proxy_protocol_from, default_certificate } = listener;
        let announcing = Networks::new(&proxy_protocol_from);
        let listener = Arc::new(Listener { trusted_proxies, announcing, default_certificate });
        match name {
            ListenerName::Http => self.next.http = listener,
            ListenerName::Https => self.next.https = listener,
        }
        Verdict::Served
    }

    fn certificate(&mut self, key: &CertificateKey, certificate: &Certificate) -> Verdict {
        let Certificate::Pair { chain, key: private_key, not_after } = certificate else {
            return Verdict::Kept(None);
        };
        let served = match certificates::load(chain, private_key, *not_after, &self.next.provider) {
            Ok(served) => served,
            Err(reason) => return Verdict::Kept(Some(reason)),
        };
        let expired = *not_after <= self.now;
        let before = self.next.certificates.get(key);
        if expired && before.is_some_and(|before| before.not_after > self.now) {
            return Verdict::Kept(Some(
                "the certificate has expired; the one before it is served".to_owned(),
            ));
        }
        self.next.certificates.insert(Arc::new(key.clone()), Arc::new(served));
        if expired { Verdict::Expired } else { Verdict::Served }
    }

    fn host(&mut self, pattern: &HostPattern, host: snapshot::Host) -> Verdict {
        let asks = host.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        let checked = check::host(pattern, &host)
            .and_then(|prepared| Ok((prepared, host.tls.map(|tls| self.tls(tls)).transpose()?)));
        let (prepared, tls) = match checked {
            Ok(checked) => checked,
            // What was there before may let in who must not come in any more.
            Err(reason) if asks => return Verdict::Closed(reason),
            Err(reason) => return Verdict::Kept(Some(reason)),
        };
        let (mut paths, mut closed) = (Paths::default(), None);
        for (order, (mut route, mut prepared)) in host.routes.into_iter().zip(prepared).enumerate() {
            if let Err(reason) = self.upstream_tls(&route, &mut prepared) {
                // In the clear, or with another certificate, it must not be served. Other routes are others'.
                let said = format!("{}: {reason}", route.id);
                route.action = snapshot::Action::Broken(reason);
                closed.get_or_insert(said);
            }
            if let Some(mut place) = paths.place(&route.path).filter(Place::is_open) {
                place.push(self.route(order, route, prepared));
            }
        }
        self.put_host(pattern, Host { tls, paths });
        closed.map_or(Verdict::Served, Verdict::Partly)
    }

    /// Makes ready how a route speaks TLS to its upstreams.
    fn upstream_tls(&mut self, route: &snapshot::Route, prepared: &mut Prepared) -> Result<(), String> {
        if let Some(tls) = &route.upstream_tls {
            prepared.upstream_tls = Some(Box::new(self.next.upstream_policies.of(tls)?));
        }
        Ok(())
    }

    fn tls(&mut self, tls: HostTls) -> Result<Tls, String> {
        let terms = self.next.policies.terms(Policy::from(&tls))?;
        let clients = match (&tls.clients, &terms.verifier) {
            (Some(asked), Some(verifier)) => Some(Arc::new(Clients::new(verifier.clone(), asked)?)),
            _ => None,
        };
        Ok(Tls { certificate: tls.certificate, terms, clients })
    }

    /// A host that has no good form answers 503 to everything, lest a less specific host answers for it.
    fn close_host(&mut self, pattern: &HostPattern, reason: String) {
        let owner =
            ObjectRef { kind: "Host".to_owned(), namespace: String::new(), name: pattern.to_string() };
        let path = PathMatch::Prefix("/".to_owned());
        let route = snapshot::Route::new(
            RouteId { owner, rule: "unreadable".to_owned(), matched: path.to_string() },
            path,
            snapshot::Action::Broken(reason),
        );
        let mut paths = Paths::default();
        if let Some(mut place) = paths.place(&route.path) {
            place.push(self.route(0, route, Prepared::default()));
        }
        self.put_host(pattern, Host { tls: None, paths });
    }

    fn put_host(&mut self, pattern: &HostPattern, host: Host) {
        // The new routes have taken their upstreams already, so those that stay are never without a
        // reference.
        if let Some(before) = self.next.hosts.insert(pattern, Arc::new(host)) {
            self.release(&before);
        }
    }

    fn route(&mut self, order: usize, route: snapshot::Route, prepared: Prepared) -> Route {
        let Prepared { regex, rewrite, conditions, fields, mut auth, upstream_tls } = prepared;
        let challenge = match &route.path {
            PathMatch::Exact(path) | PathMatch::Prefix(path) if path.starts_with(CHALLENGES) => {
                Challenge::Alone
            }
            _ => Challenge::Never,
        };
        if let Some(auth) = &mut auth
            && let Some(id) = auth.upstream().cloned()
        {
            auth.bind(self.referenced(&id));
        }
        let (live, existed) = self.next.lives.cell(route.id, &route.timeouts);
        if existed {
            self.next.updates.lives.push((live.clone(), route.timeouts));
        }
        let action = match route.action {
            snapshot::Action::Forward(forward) => {
                Action::Forward(Forward::new(forward, |upstream| self.referenced(upstream)))
            }
            snapshot::Action::Redirect(to) => Action::Redirect(to),
            snapshot::Action::Broken(reason) => Action::Broken(reason),
        };
        Route {
            id: live.shared_id().clone(),
            order,
            action,
            conditions,
            challenge,
            app_root: route.app_root.map(String::into),
            serves: route.serves,
            redirect: route.redirect,
            balance: route.balance,
            retries: route.retries,
            upstream_tls,
            ring: route.ring,
            affinity: route
                .affinity
                .map(|affinity| Affinity::new(affinity, route.ring, self.next.seal.clone())),
            regex,
            rewrite,
            fields,
            auth,
            access_log: if route.access_log { AccessLog::Written } else { AccessLog::Silent },
            access: Access::new(route.access),
            max_body: route.max_body,
            timeouts: route.timeouts.into(),
            live,
        }
    }

    fn slice(&mut self, id: &UpstreamId, name: &Slice, endpoints: Arc<[Endpoint]>) -> Verdict {
        let slices = &mut self.changed_entry(id).slices;
        match slices.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before = endpoints,
            None => slices.push((name.clone(), endpoints)),
        }
        Verdict::Served
    }

    fn referenced(&mut self, id: &UpstreamId) -> Arc<Upstream> {
        let entry = self.entry(id);
        entry.references += 1;
        entry.cell.clone()
    }

    /// A host that is no longer in the table lets go of its upstreams.
    fn release(&mut self, host: &Host) {
        for route in host.paths.routes() {
            if let Some(id) = route.auth.as_ref().and_then(Auth::upstream) {
                let entry = self.entry(id);
                entry.references -= 1;
                let shared = entry.cell.shared_id().clone();
                self.released.insert(shared);
            }
            let Action::Forward(forward) = &route.action else { continue };
            for upstream in forward.upstreams() {
                self.entry(upstream.id()).references -= 1;
                self.released.insert(upstream.shared_id().clone());
            }
        }
    }

    fn changed_entry(&mut self, id: &UpstreamId) -> &mut Entry {
        let shared = self.entry(id).cell.shared_id().clone();
        self.changed.insert(shared);
        self.entry(id)
    }

    fn entry(&mut self, id: &UpstreamId) -> &mut Entry {
        if !self.next.upstreams.contains_key(id) {
            let id = Arc::new(id.clone());
            self.next.upstreams.insert(id.clone(), Arc::new(Entry::new(id.clone())));
            self.created.insert(id);
        }
        Arc::make_mut(self.next.upstreams.get_mut(id).expect("it was there or was just put there"))
    }

    fn finish(mut self) -> Table {
        let changed = mem::take(&mut self.changed);
        for id in changed.iter().chain(&mem::take(&mut self.released)) {
            if self.next.upstreams.get(id).is_some_and(|entry| entry.unused()) {
                self.next.upstreams.remove(id);
            }
        }
        for id in &changed {
            let Some(entry) = self.next.upstreams.get_mut(id) else { continue };
            let entry = Arc::make_mut(entry);
            let slices = entry.slices.iter().map(|(_, endpoints)| &**endpoints);
            entry.members = Arc::new(Members::union(&entry.cell, &entry.members, slices));
            if self.created.contains(id) {
                // Nobody but this table knows the cell.
                entry.cell.install(entry.members.clone());
            } else {
                self.next.updates.upstreams.push((entry.cell.clone(), entry.members.clone()));
            }
        }
        self.next
    }
}

/// Seconds since the Unix epoch, as certificates count them.
fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

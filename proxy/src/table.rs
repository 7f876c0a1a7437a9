//! The routing table: what the workers read for every request and every TLS handshake.
//!
//! A [`Table`] is immutable and is swapped whole. It is built from a [`Snapshot`] and the table before it;
//! whatever did not change is shared with that one, so that the cost of a build follows the change. Building
//! is total: a section that cannot be built keeps its last good form.
//!
//! Three things outlive tables, because tunnels and requests under way hold them: the [`Live`] cell of a
//! route, the [`Upstream`](crate::upstream::Upstream) of a backend, and its endpoints. [`Table::build`] finds
//! them again but does not touch them; [`Table::install`], called right after the swap, brings them up to date.
//!
//! Invariant: a tunnel holds none of [`Table`], [`Route`] or [`Snapshot`]; a table that was swapped out is
//! freed while its tunnels live on. Nothing here does IO, reads a clock or logs.

mod build;
mod certificates;
mod check;
mod destination;
mod hosts;
mod key;
mod live;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::{HashMap, OrdMap};
use ipnet::IpNet;
pub use routing::conditions::Conditions;
use routing::paths;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use snapshot::frame::Generation;
use snapshot::{
    Balance, CertificateKey, Digest, Key, ListenerName, Redirect, RedirectTo, Retries, Ring, RouteId, Serves,
    Snapshot, UpstreamId,
};
use tokio::time::Instant;

use self::build::Upstreams;
use self::certificates::Certificates;
pub use self::destination::Forward;
use self::hosts::Hosts;
pub(crate) use self::key::of as hash_of;
pub use self::live::Live;
use crate::access::Access;
use crate::affinity::{Affinity, SealPlace};
use crate::auth::Auth;
use crate::fields::{Additions, Fields};
use crate::forward::{Outgoing, Rewrite};
use crate::head::Head;
use crate::networks::Networks;
use crate::path_regex::PathRegex;
use crate::telemetry::AccessLog;
use crate::tls::clients::Clients;
use crate::tls::policy::{Policies, Policy, Terms};
use crate::upstream::{Census, Choice, Way};
use crate::upstream_tls::{self, Secured, UpstreamTls};

/// What one generation says, ready to be asked. Held in an `Arc<ArcSwap<Table>>`.
pub struct Table {
    provider: Arc<CryptoProvider>,
    generation: Generation,
    /// As received; the digest covers this.
    snapshot: Snapshot,
    /// The sections that are not served as received.
    stale: OrdMap<Key, Stale>,
    http: Arc<Listener>,
    https: Arc<Listener>,
    hosts: Hosts,
    certificates: Certificates,
    policies: Policies,
    /// Towards upstreams.
    upstream_policies: upstream_tls::Policies,
    /// For names whose hosts have no TLS settings.
    default_tls: Arc<Terms>,
    upstreams: Upstreams,
    /// What affinity cookies are sealed with: one place for all tables of a line.
    seal: SealPlace,
    lives: live::Registry,
    updates: build::Updates,
    /// Shared by every table that comes from the same first one, and counted.
    alive: Arc<()>,
}

/// Why a section is not served as received, and what is served in its place.
#[derive(Clone)]
struct Stale {
    /// For people, and for the acknowledgement. `None`: the section itself says that it has nothing to serve,
    /// so that nobody needs to be told.
    reason: Option<String>,
    /// The encoded section that is served; `None` where there never was a good one.
    last_good: Option<Bytes>,
    /// What is served is a certificate that has expired, for want of a better one.
    expired: bool,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// One listener's settings.
#[derive(Default)]
struct Listener {
    trusted_proxies: Vec<IpNet>,
    announcing: Networks,
    default_certificate: Option<CertificateKey>,
}

/// What to do with the requests that match.
#[derive(Debug)]
pub struct Route {
    /// Identity across generations.
    pub id: Arc<RouteId>,
    /// Its place among the routes of its host, by precedence.
    pub order: usize,
    /// Where to.
    pub action: Action,
    /// What its path must match, where that is a regular expression.
    pub regex: Option<PathRegex>,
    /// What else a request of its path must fulfil.
    pub conditions: Conditions,
    /// It is there for challenges of certificate authorities alone, which are answered in the clear, to everybody.
    pub challenge: Challenge,
    /// Where a plain request for the path `/` is sent instead.
    pub app_root: Option<Box<str>>,
    /// Which requests it takes.
    pub serves: Serves,
    /// Whether requests of the plain listener are answered with 308.
    pub redirect: Redirect,
    /// How an endpoint is chosen: see [`Route::way`].
    pub balance: Balance,
    /// Whether another endpoint is tried where one cannot be reached: see [`Route::may_try`].
    pub retries: Retries,
    /// How TLS is spoken to upstreams, where it is.
    pub upstream_tls: Option<Box<UpstreamTls>>,
    /// What of an endpoint consistent hashing goes by.
    pub ring: Ring,
    /// How clients find their endpoint again.
    pub affinity: Option<Affinity>,
    /// What goes upstream in place of the request's own target and Host.
    pub rewrite: Rewrite,
    /// What it changes of the fields of requests and responses.
    pub fields: Option<Box<Fields>>,
    /// Who is let in. `None`: everybody.
    pub auth: Option<Auth>,
    /// Whether access records are written.
    pub access_log: AccessLog,
    /// Who may come in.
    pub access: Access,
    /// The longest body of a request, in bytes. `None`: there is no limit.
    pub max_body: Option<u64>,
    /// How long things may take, as of this table. Open tunnels follow [`Route::live`] instead.
    pub timeouts: Timeouts,
    /// What open tunnels follow.
    pub live: Arc<Live>,
}

impl Route {
    /// What goes upstream of a request.
    pub fn outgoing<'a>(&'a self, head: &'a Head) -> Outgoing<'a> {
        let changes = self.fields.as_deref().map(|fields| &fields.request);
        Outgoing { changes, ..self.rewrite.apply(head) }
    }

    /// What the answer to a request gets beside, or in place of, what an upstream says. `scheme` is the one by which
    /// the client came.
    pub fn additions<'a>(&'a self, head: &'a Head, scheme: &str) -> Additions<'a> {
        self.fields.as_deref().map(|fields| fields.additions(head, scheme)).unwrap_or_default()
    }

    /// Among whom, and how, an endpoint is chosen for this request, in every attempt at it. `client` is its address.
    /// The error is why the route serves nobody.
    pub fn choice(&self, head: &Head, client: IpAddr, now: Instant) -> Result<Choice<'_>, &str> {
        match &self.action {
            Action::Forward(forward) => {
                let way = self.way(head, client);
                Ok(match &self.affinity {
                    Some(affinity) => affinity.choice(forward, (head, client, now), way),
                    None => forward.choice(head, way, &|_| None),
                })
            }
            Action::Redirect(_) => Err("clients are sent elsewhere"),
            Action::Broken(reason) => Err(reason),
        }
    }

    /// Whether another endpoint is tried after so many, of which the first was at this time.
    pub(crate) fn may_try(&self, tried: usize, began: Instant) -> bool {
        let Retries { tries, within } = self.retries;
        let in_time = within.0 == 0 || began.elapsed() < Duration::from_millis(within.0);
        tried == 0 || (tried < tries as usize && in_time)
    }

    /// How TLS is spoken to one of its upstreams, for a client that came over TLS or did not. `None`: it is not.
    pub(crate) fn secured(&self, upstream: &UpstreamId, client_tls: bool) -> Option<Secured> {
        self.upstream_tls.as_ref()?.to(upstream, client_tls)
    }

    fn way(&self, head: &Head, client: IpAddr) -> Way {
        match &self.balance {
            Balance::LeastConnections => Way::LeastConnections,
            Balance::RoundRobin => Way::RoundRobin,
            Balance::ConsistentHash(parts) => {
                let key = key::of(parts, head, client);
                key.map_or(Way::LeastConnections, |key| Way::Hash(key, self.ring))
            }
        }
    }
}

impl paths::Route for Route {
    fn order(&self) -> usize {
        self.order
    }

    fn regex(&self) -> Option<&PathRegex> {
        self.regex.as_ref()
    }

    fn conditions(&self) -> &Conditions {
        &self.conditions
    }
}

/// Whether a route is there for challenges of certificate authorities (RFC 8555 §8.3) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing else reaches it.
    Alone,
    /// Other requests reach it.
    Never,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Forward to one of these.
    Forward(Forward),
    /// Send the client elsewhere.
    Redirect(RedirectTo),
    /// Answer 503. The reason is for people.
    Broken(String),
}

/// The timeouts of a route. `None` means that there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt to reach an endpoint.
    pub connect: Option<Duration>,
    /// From the handshake sent to the upstream's response head.
    pub handshake: Option<Duration>,
    /// No bytes either way in an open tunnel.
    pub idle: Option<Duration>,
    /// A write towards either side that makes no progress.
    pub send: Option<Duration>,
    /// Plain HTTP: until the response head, then between two reads of the response.
    pub request: Option<Duration>,
}

impl From<snapshot::Timeouts> for Timeouts {
    fn from(timeouts: snapshot::Timeouts) -> Self {
        let limit = |millis: snapshot::Millis| (millis.0 > 0).then(|| Duration::from_millis(millis.0));
        Self {
            connect: limit(timeouts.connect),
            handshake: limit(timeouts.handshake),
            idle: limit(timeouts.idle),
            send: limit(timeouts.send),
            request: limit(timeouts.request),
        }
    }
}

impl Table {
    /// A table that knows no host; what a proxy has before its first generation. The provider judges and
    /// loads the private keys of every table that is built on this one.
    pub fn empty(provider: Arc<CryptoProvider>) -> Self {
        Self::in_place(provider, Weak::new())
    }

    /// As [`Table::empty`], in the place from which TLS handshakes read their certificates.
    pub fn served_from(provider: Arc<CryptoProvider>) -> Arc<ArcSwap<Self>> {
        Arc::new_cyclic(|place| ArcSwap::from_pointee(Self::in_place(provider, place.clone())))
    }

    fn in_place(provider: Arc<CryptoProvider>, place: Weak<ArcSwap<Self>>) -> Self {
        let mut policies = Policies::new(provider.clone(), place);
        let default_tls = policies.terms(Policy::default());
        let default_tls = default_tls.expect("a provider has cipher suites of TLS 1.2 or TLS 1.3");
        Self {
            upstream_policies: upstream_tls::Policies::new(provider.clone()),
            provider,
            policies,
            default_tls,
            generation: Generation::default(),
            snapshot: Snapshot::default(),
            stale: OrdMap::new(),
            http: Arc::default(),
            https: Arc::default(),
            hosts: Hosts::default(),
            certificates: Certificates::default(),
            upstreams: HashMap::new(),
            seal: SealPlace::default(),
            lives: live::Registry::default(),
            updates: build::Updates::default(),
            alive: Arc::default(),
        }
    }

    /// How many tables there are of this one's line: more than one for long means that somebody holds on to an old
    /// one, with everything in it.
    pub fn alive(&self) -> usize {
        Arc::strong_count(&self.alive)
    }

    /// Which generation this is; number 0 where it is none.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The digest of the snapshot as received.
    pub fn digest(&self) -> Digest {
        self.snapshot.digest()
    }

    /// The snapshot as received.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The snapshot as served: every section in its last good form; those that never had one are left out.
    pub fn served(&self) -> Snapshot {
        let mut served = self.snapshot.clone();
        for (key, stale) in &self.stale {
            match &stale.last_good {
                Some(bytes) => served.insert_encoded(key.clone(), bytes.clone()),
                None => served.remove(key),
            }
        }
        served
    }

    /// The route of a request. `client` is the address that it comes from.
    ///
    /// Only the most specific host that there is gets searched: the name itself, else the wildcard one label
    /// above it, else the host that stands for any. There an exact path comes before the longest prefix, and that
    /// before shorter ones; of one path's routes the first whose conditions hold is taken. A regular expression has
    /// the place among them that the snapshot gives it. The cost follows the length of the path, and
    /// the conditions of the routes that fit it; and each regular expression that comes before, and begins as the path
    /// does, costs one pass over the path.
    pub fn select(&self, head: &Head, client: IpAddr) -> Option<&Arc<Route>> {
        let paths = &self.hosts.most_specific(&head.host)?.paths;
        paths.select(&head.path, |route| route.conditions.hold(head, client))
    }

    /// The certificate for a server name: the one of the name itself, else of the wildcard one label above
    /// it, else of any host, else the listener's default. One that cannot be used counts as not there.
    pub fn certificate(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.hosts
            .by_precedence(server_name)
            .find_map(|host| self.certificates.get(&host.tls.as_ref()?.certificate))
            .or_else(|| self.default_certificate())
            .map(|served| served.key.clone())
    }

    /// How a handshake for a server name is carried out. It holds whether or not the certificate beside it can be
    /// used.
    pub(crate) fn terms(&self, server_name: Option<&str>) -> &Arc<Terms> {
        let tls = self.hosts.by_precedence(server_name).find_map(|host| host.tls.as_ref());
        tls.map_or(&self.default_tls, |tls| &tls.terms)
    }

    /// The certificates that clients of a host are asked for. Without TLS only those count that the host itself asks
    /// for: one that has no TLS of its own is nobody's to protect.
    pub(crate) fn clients(&self, host: &str, scheme: Scheme) -> Option<&Arc<Clients>> {
        let mut hosts = self.hosts.by_precedence(Some(host));
        let tls = match scheme {
            Scheme::Http => hosts.next()?.tls.as_ref()?,
            Scheme::Https => hosts.find_map(|host| host.tls.as_ref())?,
        };
        tls.clients.as_ref()
    }

    /// Whether TLS would work for this host with the certificate that is meant for it. The listener's default
    /// does not stand in for a missing one here: a certificate may be waiting for a challenge on the plain
    /// port.
    pub fn has_certificate(&self, host: &str) -> bool {
        match self.hosts.by_precedence(Some(host)).find_map(|host| host.tls.as_ref()) {
            Some(tls) => self.certificates.get(&tls.certificate).is_some(),
            None => self.default_certificate().is_some(),
        }
    }

    /// Peers of a listener whose forwarding fields are believed.
    pub fn trusted_proxies(&self, listener: ListenerName) -> &[IpNet] {
        &self.listener(listener).trusted_proxies
    }

    /// Whether this peer of a listener says by the PROXY protocol whose its connections are. It must then.
    pub fn announces(&self, listener: ListenerName, peer: IpAddr) -> bool {
        self.listener(listener).announcing.contains(peer)
    }

    fn listener(&self, name: ListenerName) -> &Listener {
        match name {
            ListenerName::Http => &self.http,
            ListenerName::Https => &self.https,
        }
    }

    /// Every certificate that is served, with the time at which it expires, in seconds since the Unix epoch.
    pub fn certificates(&self) -> impl Iterator<Item = (&CertificateKey, i64)> {
        self.certificates.iter().map(|(key, served)| (&**key, served.not_after))
    }

    /// How many endpoints there are, of all upstreams together; one that serves several counts for each.
    pub fn endpoints(&self, now: Instant) -> Census {
        self.upstreams.values().map(|entry| entry.upstream().census(now)).sum()
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    fn default_certificate(&self) -> Option<&Arc<certificates::Served>> {
        self.certificates.get(self.https.default_certificate.as_ref()?)
    }
}

impl fmt::Debug for Table {
    /// Never the sections: some of them are private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("generation", &self.generation)
            .field("digest", &self.digest())
            .field("sections", &self.snapshot.len())
            .field("stale", &self.stale.len())
            .finish_non_exhaustive()
    }
}

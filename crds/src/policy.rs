//! The one policy model that Ingress annotations and WsRoutes share. Everything in it is optional: a layer says
//! only what it wants different, and layers are laid over one another field by field.

mod access;
mod affinity;
pub mod auth;
mod canary;
pub mod clients;
pub mod config_maps;
pub mod cors;
pub mod headers;
pub mod next_upstream;
pub mod redirects;
pub mod upstream_tls;

pub use access::{AccessPatch, Guard, Satisfy};
pub use affinity::{AffinityPatch, Ring, SameSite};
pub use canary::CanaryPatch;

use serde::Serialize;

use crate::duration::Duration;
use crate::policy::clients::ClientsPatch;
use crate::policy::cors::CorsPatch;
use crate::policy::headers::{HeadersPatch, HstsPatch};
use crate::policy::next_upstream::NextUpstreamPatch;
use crate::policy::redirects::RedirectsPatch;
use crate::policy::upstream_tls::UpstreamTlsPatch;
use crate::tls::{CipherSuite, TlsVersion};

/// What one layer says about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPatch {
    /// How long things may take.
    pub timeouts: TimeoutsPatch,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancingPatch,
    /// How clients come back to their endpoint.
    pub affinity: AffinityPatch,
    /// What is sent upstream in place of what came.
    pub rewrite: RewritePatch,
    /// Fields of requests and responses.
    pub headers: HeadersPatch,
    /// What pages of other origins may do.
    pub cors: CorsPatch,
    /// What browsers are told about TLS.
    pub hsts: HstsPatch,
    /// The longest body of a request, in bytes; 0: no limit.
    pub max_body: Option<u64>,
    /// When plain requests are answered with 308 to https.
    pub redirect: Option<Redirect>,
    /// Write an access record for each tunnel and request.
    pub access_log: Option<bool>,
    /// Who may come in.
    pub access: AccessPatch,
    /// How clients prove that they may come in. Replaced whole.
    pub auth: Option<auth::Auth>,
    /// How backends are spoken to.
    pub upstream_tls: UpstreamTlsPatch,
    /// Said by annotations only: a WsRoute says it outside of its policy.
    pub ingress: IngressPatch,
}

/// What one layer says about timeouts. A zero duration means "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsPatch {
    /// One attempt to reach an endpoint.
    pub connect: Option<Duration>,
    /// From the handshake sent to the upstream's response head.
    pub handshake: Option<Duration>,
    /// No bytes either way in an open tunnel.
    pub idle: Option<Duration>,
    /// A write towards either side that makes no progress.
    pub send: Option<Duration>,
    /// Plain HTTP: between two reads of the upstream's response.
    pub request: Option<Duration>,
}

/// What one layer says about the choice of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancingPatch {
    /// By what rule. Absent: consistent hashing where something to hash is named, else least connections.
    pub policy: Option<LoadBalancing>,
    /// What consistent hashing hashes, never empty. Absent: the client's address.
    pub hash_on: Option<Vec<HashPart>>,
    /// What of an endpoint keys and cookies are tied to.
    pub ring: Option<Ring>,
}

/// The rules by which an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LoadBalancing {
    /// The fewest open tunnels and requests.
    #[default]
    LeastConnections,
    /// One after another.
    RoundRobin,
    /// The same for the same key.
    ConsistentHash,
}

/// A part of a request to hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum HashPart {
    /// The client's address.
    ClientAddress,
    /// A request field, by its name in lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    QueryParameter(String),
    /// The path, normalised.
    Path,
    /// The path and query as sent.
    Target,
    /// The host, in lower case and without port.
    Host,
}

/// What one layer says about rewriting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RewritePatch {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The Host.
    pub host: Option<String>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathRewrite {
    /// In place of the path, or prefix of it, that the route matches.
    Prefix(String),
    /// In place of the whole path, with `$1` to `$9` for groups of the regular expression that the route matches.
    Template(String),
    /// In place of the whole path.
    Whole(String),
}

/// When plain requests are sent to https.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Redirect {
    /// Never.
    Never,
    /// Once the host has a usable certificate.
    WithCertificate,
    /// Even without one: something in front of Longhaul terminates TLS.
    Always,
}

/// What an Ingress says by annotations, and a WsRoute in `spec.tls`, `matches` and `http`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressPatch {
    /// The lowest TLS version of its hosts.
    pub tls_min_version: Option<TlsVersion>,
    /// The cipher suites of its hosts, in order of preference.
    pub tls_cipher_suites: Option<Vec<CipherSuite>>,
    /// Certificates that clients of its hosts come with.
    pub client_certificates: Option<ClientsPatch>,
    /// Subprotocols one of which a client must offer.
    pub subprotocols: Option<Vec<String>>,
    /// Plain requests get 426.
    pub websocket_only: Option<bool>,
    /// Whether, and how, it takes a part of another Ingress's requests.
    pub canary: CanaryPatch,
    /// Further hosts for its rules.
    pub aliases: Option<Vec<String>>,
    /// Connect to the address of the Service in place of its endpoints.
    pub service_address: Option<bool>,
    /// The Service that gets requests for which no endpoint of the backend is there.
    pub standby: Option<String>,
    /// Its paths are regular expressions.
    pub use_regex: Option<bool>,
    /// What backends are told in `X-Forwarded-Prefix` where the path is rewritten, with groups as in
    /// [`PathRewrite::Template`].
    pub forwarded_prefix: Option<String>,
    /// Where clients are sent instead.
    pub redirects: RedirectsPatch,
    /// Whether another endpoint is tried where one cannot be reached.
    pub next_upstream: NextUpstreamPatch,
}

impl PolicyPatch {
    /// Lays `over` on top of this layer: each field that it sets wins.
    pub fn merge(self, over: Self) -> Self {
        Self {
            timeouts: self.timeouts.merge(&over.timeouts),
            load_balancing: LoadBalancingPatch {
                policy: over.load_balancing.policy.or(self.load_balancing.policy),
                hash_on: over.load_balancing.hash_on.or(self.load_balancing.hash_on),
                ring: over.load_balancing.ring.or(self.load_balancing.ring),
            },
            affinity: self.affinity.merge(over.affinity),
            rewrite: RewritePatch {
                path: over.rewrite.path.or(self.rewrite.path),
                host: over.rewrite.host.or(self.rewrite.host),
            },
            headers: self.headers.merge(over.headers),
            cors: self.cors.merge(over.cors),
            hsts: self.hsts.merge(&over.hsts),
            max_body: over.max_body.or(self.max_body),
            redirect: over.redirect.or(self.redirect),
            access_log: over.access_log.or(self.access_log),
            access: self.access.merge(over.access),
            auth: over.auth.or(self.auth),
            upstream_tls: self.upstream_tls.merge(over.upstream_tls),
            ingress: self.ingress.merge(over.ingress),
        }
    }
}

impl PolicyPatch {
    /// For a layer that stands in another object than the route: what it names is in that object's namespace, and
    /// remarks about that name the object.
    pub fn at_home_in(&mut self, namespace: &str, object: &str) {
        if let Some(auth) = &mut self.auth {
            auth.at_home_in(namespace, object);
        }
        self.upstream_tls.at_home_in(namespace, object);
    }
}

impl TimeoutsPatch {
    fn merge(self, over: &Self) -> Self {
        Self {
            connect: over.connect.or(self.connect),
            handshake: over.handshake.or(self.handshake),
            idle: over.idle.or(self.idle),
            send: over.send.or(self.send),
            request: over.request.or(self.request),
        }
    }
}

impl IngressPatch {
    fn merge(self, over: Self) -> Self {
        Self {
            tls_min_version: over.tls_min_version.or(self.tls_min_version),
            tls_cipher_suites: over.tls_cipher_suites.or(self.tls_cipher_suites),
            client_certificates: over.client_certificates.or(self.client_certificates),
            subprotocols: over.subprotocols.or(self.subprotocols),
            websocket_only: over.websocket_only.or(self.websocket_only),
            canary: self.canary.merge(over.canary),
            aliases: over.aliases.or(self.aliases),
            service_address: over.service_address.or(self.service_address),
            standby: over.standby.or(self.standby),
            use_regex: over.use_regex.or(self.use_regex),
            forwarded_prefix: over.forwarded_prefix.or(self.forwarded_prefix),
            redirects: self.redirects.merge(over.redirects),
            next_upstream: self.next_upstream.merge(&over.next_upstream),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::headers::ChangesPatch;

    fn patch() -> impl Strategy<Value = PolicyPatch> {
        let duration = || proptest::option::of((0u64..1_000).prop_map(|s| Duration::from_secs(s).unwrap()));
        let times = (duration(), duration(), duration(), duration(), duration());
        let redirect = proptest::option::of(prop_oneof![Just(Redirect::Never), Just(Redirect::Always)]);
        let policy = proptest::option::of(prop_oneof![
            Just(LoadBalancing::RoundRobin),
            Just(LoadBalancing::ConsistentHash)
        ]);
        let part = prop_oneof![Just(HashPart::Path), "[ab]".prop_map(HashPart::Header)];
        let hash_on = proptest::option::of(proptest::collection::vec(part, 1..3));
        let path = proptest::option::of("/[ab]".prop_map(PathRewrite::Prefix));
        let origins =
            proptest::option::of(prop_oneof![Just(Guard::Unreadable), Just(Guard::Holds(Vec::new()))]);
        let others = (any::<Option<u64>>(), any::<Option<bool>>(), any::<Option<bool>>(), origins);
        let auth =
            proptest::option::of(prop_oneof![Just(auth::Auth::None), "[ab]".prop_map(auth::Auth::Unusable)]);
        (times, redirect, policy, hash_on, path, (others, auth)).prop_map(
            |((connect, handshake, idle, send, request), redirect, policy, hash_on, path, (others, auth))| {
                let (max_body, access_log, websocket_only, origins) = others;
                let set =
                    Some(vec![("a".to_owned(), format!("{max_body:?}"))]).filter(|_| access_log.is_some());
                let fields = ChangesPatch { set, ..ChangesPatch::default() };
                let ring = access_log.map(|on| if on { Ring::Address } else { Ring::PodName });
                PolicyPatch {
                    affinity: AffinityPatch {
                        max_age: max_body,
                        secure: access_log,
                        ..AffinityPatch::default()
                    },
                    headers: HeadersPatch { request: fields, ..HeadersPatch::default() },
                    cors: CorsPatch { max_age: max_body, ..CorsPatch::default() },
                    hsts: HstsPatch { preload: access_log, ..HstsPatch::default() },
                    timeouts: TimeoutsPatch { connect, handshake, idle, send, request },
                    load_balancing: LoadBalancingPatch { policy, hash_on, ring },
                    rewrite: RewritePatch { path, host: None },
                    max_body,
                    redirect,
                    access_log,
                    access: AccessPatch { origins, ..AccessPatch::default() },
                    auth,
                    upstream_tls: UpstreamTlsPatch {
                        meant: redirect.is_some(),
                        sni: access_log,
                        ..UpstreamTlsPatch::default()
                    },
                    ingress: IngressPatch { websocket_only, ..IngressPatch::default() },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn an_empty_layer_changes_nothing(a in patch()) {
            prop_assert_eq!(a.clone().merge(PolicyPatch::default()), a.clone());
            prop_assert_eq!(PolicyPatch::default().merge(a.clone()), a);
        }

        #[test]
        fn layers_may_be_merged_in_any_grouping(a in patch(), b in patch(), c in patch()) {
            let left = a.clone().merge(b.clone()).merge(c.clone());
            prop_assert_eq!(left, a.merge(b.merge(c)));
        }

        #[test]
        fn the_upper_layer_wins_field_by_field(a in patch(), b in patch()) {
            let merged = a.clone().merge(b.clone());
            prop_assert_eq!(merged.redirect, b.redirect.or(a.redirect));
            prop_assert_eq!(merged.auth, b.auth.or(a.auth));
            prop_assert_eq!(merged.max_body, b.max_body.or(a.max_body));
            prop_assert_eq!(merged.upstream_tls.sni, b.upstream_tls.sni.or(a.upstream_tls.sni));
            prop_assert_eq!(merged.access.origins, b.access.origins.or(a.access.origins));
            prop_assert_eq!(merged.load_balancing.hash_on, b.load_balancing.hash_on.or(a.load_balancing.hash_on));
            prop_assert_eq!(merged.load_balancing.ring, b.load_balancing.ring.or(a.load_balancing.ring));
            prop_assert_eq!(merged.affinity.max_age, b.affinity.max_age.or(a.affinity.max_age));
            prop_assert_eq!(merged.cors.max_age, b.cors.max_age.or(a.cors.max_age));
            prop_assert_eq!(merged.hsts.preload, b.hsts.preload.or(a.hsts.preload));
            prop_assert_eq!(merged.headers.request.set, b.headers.request.set.or(a.headers.request.set));
            prop_assert_eq!(merged.timeouts.idle, b.timeouts.idle.or(a.timeouts.idle));
        }
    }
}

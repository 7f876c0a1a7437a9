//! The common policy model to the settings of a route, with the defaults of what nobody set.

mod access;
mod affinity;
pub(crate) mod auth;
pub(crate) mod clients;
pub(crate) mod config_maps;
pub(crate) mod fields;
pub(crate) mod layers;
pub(crate) mod redirects;
pub(crate) mod upstream_tls;

pub(crate) use access::{access, unreadable};
pub(crate) use affinity::{affinity, ring};

use crds::duration::Duration;
use crds::policy::next_upstream::NextUpstreamPatch;
use crds::policy::{self, LoadBalancing, LoadBalancingPatch, PolicyPatch, RewritePatch, TimeoutsPatch};
use crds::tls;
use snapshot::{
    Balance, CipherSuite, HashPart, Millis, PathRewrite, Redirect, Retries, Rewrite, Timeouts, TlsVersion,
};

use crate::draft::{self, Comparison};

/// What is wrong with a setting: its field within the policy, what, and what to do. The default is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) field: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// What holds where nobody says anything else, as a layer below all others. `has_tls`: the route's host has a
/// certificate.
pub(crate) fn built_in(has_tls: bool) -> PolicyPatch {
    let Timeouts { connect, handshake, idle, send, request } = Timeouts::default();
    let duration = |Millis(millis)| Duration::from_secs(millis / 1_000);
    PolicyPatch {
        timeouts: TimeoutsPatch {
            connect: duration(connect),
            handshake: duration(handshake),
            idle: duration(idle),
            send: duration(send),
            request: duration(request),
        },
        load_balancing: LoadBalancingPatch {
            ring: Some(policy::Ring::Address),
            ..LoadBalancingPatch::default()
        },
        max_body: Some(0),
        redirect: Some(if has_tls { policy::Redirect::WithCertificate } else { policy::Redirect::Never }),
        access_log: Some(true),
        ..PolicyPatch::default()
    }
}

/// Takes a path out of a layer that has the form of one and that no request could have: a proxy could not build a
/// host with it, and others may have routes there.
pub(crate) fn take_unusable(patch: &mut PolicyPatch) -> Option<Unusable> {
    let (field, new) = match patch.rewrite.path.as_ref()? {
        policy::PathRewrite::Prefix(new) => ("rewrite.prefix", new),
        policy::PathRewrite::Whole(new) => ("rewrite.path", new),
        // Whatever stands in its groups, it is made a path of then.
        policy::PathRewrite::Template(new) => ("rewrite-target", new),
    };
    let why = draft::path(&new.replace('$', "x"), Comparison::Exact).err()?;
    patch.rewrite.path = None;
    let message = format!("{why}; the path is not rewritten");
    Some(Unusable { field, message, remedy: "write a path, from its slash on" })
}

/// Something to hash without a rule means that it is hashed.
pub(crate) fn balance(patch: &LoadBalancingPatch) -> Balance {
    let hashed = || match &patch.hash_on {
        Some(parts) if !parts.is_empty() => parts.iter().map(hash_part).collect(),
        _ => vec![HashPart::ClientAddress],
    };
    match (patch.policy, &patch.hash_on) {
        (Some(LoadBalancing::ConsistentHash), _) | (None, Some(_)) => Balance::ConsistentHash(hashed()),
        (Some(LoadBalancing::RoundRobin), _) => Balance::RoundRobin,
        (Some(LoadBalancing::LeastConnections), _) | (None, None) => Balance::LeastConnections,
    }
}

fn hash_part(part: &policy::HashPart) -> HashPart {
    match part {
        policy::HashPart::ClientAddress => HashPart::ClientAddress,
        policy::HashPart::Header(name) => HashPart::Header(name.to_ascii_lowercase()),
        policy::HashPart::Cookie(name) => HashPart::Cookie(name.clone()),
        policy::HashPart::QueryParameter(name) => HashPart::QueryParameter(name.clone()),
        policy::HashPart::Path => HashPart::Path,
        policy::HashPart::Target => HashPart::Target,
        policy::HashPart::Host => HashPart::Host,
    }
}

/// `forwarded_prefix` is told with a new path only.
pub(crate) fn rewrite(patch: &RewritePatch, forwarded_prefix: Option<&str>) -> Rewrite {
    let target = patch.path.as_ref().map(|new| match new {
        policy::PathRewrite::Prefix(new) => PathRewrite::Prefix(new.clone()),
        policy::PathRewrite::Whole(new) => PathRewrite::Whole(new.clone()),
        policy::PathRewrite::Template(new) => PathRewrite::Template(new.clone()),
    });
    let forwarded_prefix = forwarded_prefix.filter(|_| target.is_some()).map(str::to_owned);
    Rewrite { path: target, host: patch.host.clone(), forwarded_prefix }
}

/// Where nothing is said, hosts with TLS redirect.
pub(crate) fn redirect(set: Option<policy::Redirect>, has_tls: bool) -> Redirect {
    match set {
        Some(policy::Redirect::Always) => Redirect::Always,
        Some(policy::Redirect::WithCertificate) => Redirect::WithCertificate,
        None if has_tls => Redirect::WithCertificate,
        Some(policy::Redirect::Never) | None => Redirect::Never,
    }
}

pub(crate) fn timeouts(patch: &TimeoutsPatch) -> Timeouts {
    let default = Timeouts::default();
    let or = |set: Option<Duration>, default: Millis| set.map_or(default, |set| Millis(set.as_millis()));
    Timeouts {
        connect: or(patch.connect, default.connect),
        handshake: or(patch.handshake, default.handshake),
        idle: or(patch.idle, default.idle),
        send: or(patch.send, default.send),
        request: or(patch.request, default.request),
    }
}

/// Every endpoint, where there is no limit.
pub(crate) fn retries(patch: &NextUpstreamPatch) -> Retries {
    let default = Retries::default();
    let within = patch.within.map_or(default.within, |within| Millis(within.as_millis()));
    let tries = match (patch.tried, patch.tries) {
        (Some(false), _) => 1,
        (_, Some(0)) => u32::MAX,
        (_, Some(tries)) => tries,
        (_, None) => default.tries,
    };
    Retries { tries, within }
}

pub(crate) fn tls_version(version: tls::TlsVersion) -> TlsVersion {
    match version {
        tls::TlsVersion::V1_2 => TlsVersion::V1_2,
        tls::TlsVersion::V1_3 => TlsVersion::V1_3,
    }
}

/// Each once, in the order in which they are named first.
pub(crate) fn cipher_suites(suites: &[tls::CipherSuite]) -> Vec<CipherSuite> {
    let mut found = Vec::with_capacity(suites.len());
    for suite in suites.iter().copied().map(cipher_suite) {
        if !found.contains(&suite) {
            found.push(suite);
        }
    }
    found
}

fn cipher_suite(suite: tls::CipherSuite) -> CipherSuite {
    use tls::CipherSuite as Named;
    match suite {
        Named::TLS_AES_256_GCM_SHA384 => CipherSuite::TLS_AES_256_GCM_SHA384,
        Named::TLS_AES_128_GCM_SHA256 => CipherSuite::TLS_AES_128_GCM_SHA256,
        Named::TLS_CHACHA20_POLY1305_SHA256 => CipherSuite::TLS_CHACHA20_POLY1305_SHA256,
        Named::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        Named::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        Named::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        Named::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Named::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Named::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

/// What is wrong where nothing is [`negotiable`].
pub(crate) const NOT_NEGOTIABLE: &str =
    "none of the cipher suites is for TLS 1.3, which is the lowest version";

/// What to do then.
pub(crate) const NEGOTIABLE: &str = "name a suite of TLS 1.3 too, or accept TLS 1.2";

/// Whether a handshake of at least this version can choose one of these.
pub(crate) fn negotiable(min_version: TlsVersion, suites: &[CipherSuite]) -> bool {
    let of_tls_1_3 = |suite: &CipherSuite| *suite <= CipherSuite::TLS_CHACHA20_POLY1305_SHA256;
    suites.is_empty() || min_version == TlsVersion::V1_2 || suites.iter().any(of_tls_1_3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_named_by_its_rule_or_its_key() {
        let balance = |policy, hash_on: Option<Vec<policy::HashPart>>| {
            balance(&LoadBalancingPatch { policy, hash_on, ring: None })
        };
        let header = || Some(vec![policy::HashPart::Header("X-Room".into()), policy::HashPart::Host]);
        let hashed = Balance::ConsistentHash(vec![HashPart::Header("x-room".into()), HashPart::Host]);
        let address = Balance::ConsistentHash(vec![HashPart::ClientAddress]);
        assert_eq!(balance(None, None), Balance::LeastConnections);
        assert_eq!(balance(None, header()), hashed);
        assert_eq!(balance(Some(LoadBalancing::ConsistentHash), header()), hashed);
        assert_eq!(balance(Some(LoadBalancing::ConsistentHash), None), address);
        assert_eq!(balance(None, Some(Vec::new())), address);
        assert_eq!(balance(Some(LoadBalancing::RoundRobin), header()), Balance::RoundRobin);
    }

    #[test]
    fn what_is_built_in_is_what_holds_without_any_layer() {
        let nothing = PolicyPatch::default();
        for has_tls in [false, true] {
            let built_in = built_in(has_tls);
            assert_eq!(timeouts(&built_in.timeouts), timeouts(&nothing.timeouts));
            assert_eq!(balance(&built_in.load_balancing), balance(&nothing.load_balancing));
            assert_eq!(redirect(built_in.redirect, has_tls), redirect(None, has_tls));
            assert_eq!(built_in.max_body.filter(|bytes| *bytes > 0), None);
        }
    }

    #[test]
    fn a_path_that_no_request_has_is_taken_out() {
        for bad in ["/a/../b", "/%2e", "/%00", "/%zz"] {
            let mut patch = PolicyPatch::default();
            patch.rewrite.path = Some(policy::PathRewrite::Whole(bad.into()));
            assert_eq!(
                take_unusable(&mut patch).map(|unusable| unusable.field),
                Some("rewrite.path"),
                "{bad}"
            );
            assert_eq!(rewrite(&patch.rewrite, Some("/a")), Rewrite::default());
            assert_eq!(take_unusable(&mut patch), None);
        }
    }

    #[test]
    fn suites_of_the_old_version_only_cannot_serve_the_new_one() {
        let old = [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
        assert!(negotiable(TlsVersion::V1_2, &old));
        assert!(!negotiable(TlsVersion::V1_3, &old));
        assert!(negotiable(TlsVersion::V1_3, &[]));
        assert!(negotiable(TlsVersion::V1_3, &[old[0], CipherSuite::TLS_AES_128_GCM_SHA256]));
    }
}

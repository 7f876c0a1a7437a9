//! The values: each served key's text into a patch of its one or few fields.

mod access;
pub(super) mod affinity;
pub(super) mod auth;
pub(super) mod backends;
pub(super) mod canary;
pub(super) mod clients;
pub(super) mod config_maps;
pub(super) mod cookies;
pub(super) mod cors;
pub(super) mod headers;
pub(super) mod next_upstream;
pub(super) mod paths;
pub(super) mod redirects;
pub(super) mod tls;
pub(super) mod upstream_tls;

use crate::duration::{self, Duration};
use crate::policy::{IngressPatch, PolicyPatch, Redirect, RewritePatch, TimeoutsPatch};
use crate::policy::{LoadBalancing, LoadBalancingPatch, PathRewrite};
use crate::tls::{CipherSuite, TlsVersion};
use crate::{grammar, quantity};

pub(super) use super::hash::{nginx_hash_by, own_hash_on};
pub(super) use access::{
    is_superseded, nginx_allowlist, nginx_denylist, nginx_satisfy, own_allow_cidrs, own_allow_origins,
    own_deny_cidrs,
};

/// What a value says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The settings.
    pub patch: PolicyPatch,
    /// What is worth knowing though it is served.
    pub note: Option<Note>,
}

/// A remark about a value that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is served, to follow the quoted value.
    pub message: &'static str,
    /// What may be done about it.
    pub remedy: &'static str,
}

/// A value that does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong with it, to follow the quoted value.
    pub message: &'static str,
    /// How it is written.
    pub remedy: &'static str,
}

impl From<PolicyPatch> for Value {
    fn from(patch: PolicyPatch) -> Self {
        Self { patch, note: None }
    }
}

/// What becomes of a value.
pub type Parsed = Result<Value, Malformed>;

pub(super) fn own_connect(text: &str) -> Parsed {
    own_timeout(text, |connect| TimeoutsPatch { connect, ..TimeoutsPatch::default() })
}

pub(super) fn own_handshake(text: &str) -> Parsed {
    own_timeout(text, |handshake| TimeoutsPatch { handshake, ..TimeoutsPatch::default() })
}

pub(super) fn own_idle(text: &str) -> Parsed {
    own_timeout(text, |idle| TimeoutsPatch { idle, ..TimeoutsPatch::default() })
}

pub(super) fn own_send(text: &str) -> Parsed {
    own_timeout(text, |send| TimeoutsPatch { send, ..TimeoutsPatch::default() })
}

pub(super) fn own_request(text: &str) -> Parsed {
    own_timeout(text, |request| TimeoutsPatch { request, ..TimeoutsPatch::default() })
}

pub(super) fn own_redirect(text: &str) -> Parsed {
    own_bool(text).map(redirect)
}

pub(super) fn own_access_log(text: &str) -> Parsed {
    own_bool(text).map(access_log)
}

pub(super) fn own_websocket_only(text: &str) -> Parsed {
    let websocket_only = Some(own_bool(text)?);
    Ok(of_ingress(IngressPatch { websocket_only, ..IngressPatch::default() }))
}

pub(super) fn own_load_balancing(text: &str) -> Parsed {
    let policy = match text {
        "least-connections" => LoadBalancing::LeastConnections,
        "round-robin" => LoadBalancing::RoundRobin,
        "consistent-hash" => LoadBalancing::ConsistentHash,
        _ => {
            return Err(Malformed {
                message: "is no way to choose an endpoint",
                remedy: "write least-connections, round-robin or consistent-hash",
            });
        }
    };
    Ok(balancing(policy).into())
}

pub(super) fn own_body_size(text: &str) -> Parsed {
    let size = quantity::bytes(text);
    size.map(body_size).map_err(|_| Malformed { message: "is not a size", remedy: quantity::WRITE })
}

pub(super) fn own_rewrite_prefix(text: &str) -> Parsed {
    rewrite(text, PathRewrite::Prefix)
}

pub(super) fn own_rewrite_path(text: &str) -> Parsed {
    rewrite(text, PathRewrite::Whole)
}

pub(super) fn own_upstream_host(text: &str) -> Parsed {
    if !grammar::AUTHORITY.holds(text) || text.len() > 259 {
        return Err(Malformed {
            message: "is not a host",
            remedy: "write a host name or address with or without a port, such as chat.internal or chat.internal:8080",
        });
    }
    let rewrite = RewritePatch { path: None, host: Some(text.to_owned()) };
    Ok(PolicyPatch { rewrite, ..PolicyPatch::default() }.into())
}

pub(super) fn own_tls_version(text: &str) -> Parsed {
    let tls_min_version = match text {
        "1.2" => Some(TlsVersion::V1_2),
        "1.3" => Some(TlsVersion::V1_3),
        _ => {
            return Err(Malformed {
                message: "is no TLS version that is served",
                remedy: "write 1.2 or 1.3",
            });
        }
    };
    Ok(of_ingress(IngressPatch { tls_min_version, ..IngressPatch::default() }))
}

pub(super) fn own_cipher_suites(text: &str) -> Parsed {
    let suites: Option<Vec<_>> = list(text).map(CipherSuite::named).collect();
    let tls_cipher_suites = Some(suites.ok_or(Malformed {
        message: "names a cipher suite that is not served",
        remedy: "write a comma list of IANA names, such as TLS_AES_256_GCM_SHA384, \
                 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    })?);
    Ok(of_ingress(IngressPatch { tls_cipher_suites, ..IngressPatch::default() }))
}

pub(super) fn own_subprotocols(text: &str) -> Parsed {
    let subprotocols: Vec<String> = list(text).map(str::to_owned).collect();
    if !subprotocols.iter().all(|name| grammar::TOKEN.holds(name)) || subprotocols.len() > 16 {
        return Err(Malformed {
            message: "is no list of subprotocols",
            remedy: "write a comma list of at most 16 names, such as graphql-transport-ws, mqtt",
        });
    }
    let subprotocols = Some(subprotocols);
    Ok(of_ingress(IngressPatch { subprotocols, ..IngressPatch::default() }))
}

pub(super) fn nginx_connect(text: &str) -> Parsed {
    nginx_timeout(text, |connect| TimeoutsPatch { connect, ..TimeoutsPatch::default() })
}

/// nginx arms its read timeout on the backend's socket only. Bytes either way count with us, so that no tunnel
/// that nginx would keep is cut.
pub(super) fn nginx_read(text: &str) -> Parsed {
    nginx_timeout(text, |read| TimeoutsPatch {
        handshake: read,
        idle: read,
        request: read,
        ..TimeoutsPatch::default()
    })
}

pub(super) fn nginx_send(text: &str) -> Parsed {
    nginx_timeout(text, |send| TimeoutsPatch { send, ..TimeoutsPatch::default() })
}

pub(super) fn nginx_redirect(text: &str) -> Parsed {
    nginx_bool(text).map(redirect)
}

/// True redirects even where TLS ends in front of Longhaul; false says nothing, so that it undoes no `ssl-redirect`.
pub(super) fn nginx_force_redirect(text: &str) -> Parsed {
    let redirect = nginx_bool(text)?.then_some(Redirect::Always);
    Ok(PolicyPatch { redirect, ..PolicyPatch::default() }.into())
}

pub(super) fn nginx_access_log(text: &str) -> Parsed {
    nginx_bool(text).map(access_log)
}

/// Case-sensitive, as in ingress-nginx.
pub(super) fn nginx_load_balance(text: &str) -> Parsed {
    let adapted = |policy, message| {
        let note = Note { message, remedy: "say so with longhaul.dev/load-balancing" };
        Ok(Value { patch: balancing(policy), note: Some(note) })
    };
    match text {
        "round_robin" => Ok(balancing(LoadBalancing::RoundRobin).into()),
        "ewma" => adapted(
            LoadBalancing::LeastConnections,
            "is served as least connections: latency says nothing about tunnels, their number does",
        ),
        "least_conn" => adapted(
            LoadBalancing::LeastConnections,
            "is nginx's own word, which ingress-nginx does not know; it is served as least connections",
        ),
        "ip_hash" => {
            let mut value = adapted(
                LoadBalancing::ConsistentHash,
                "is nginx's own word, which ingress-nginx does not know; it is served as a hash of the client's \
                 address",
            )?;
            value.patch.load_balancing.hash_on = Some(vec![crate::policy::HashPart::ClientAddress]);
            Ok(value)
        }
        "chash" | "chashsubset" => Err(Malformed {
            message: "does not say what is to be hashed",
            remedy: "name it with nginx.ingress.kubernetes.io/upstream-hash-by or longhaul.dev/hash-on",
        }),
        "sticky" | "sticky_balanced" | "sticky_persistent" => Err(Malformed {
            message: "is what ingress-nginx makes of cookie affinity; by itself it says nothing",
            remedy: "hash a cookie of the application with longhaul.dev/hash-on: cookie:NAME",
        }),
        _ => Err(Malformed {
            message: "is no way to choose an endpoint",
            remedy: "write round_robin or ewma (in this case), or use longhaul.dev/load-balancing",
        }),
    }
}

/// As nginx writes sizes: digits and one of b, k, m, g in either case. 0 is no limit.
pub(super) fn nginx_body_size(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is not a size",
        remedy: "write digits, and at most one of b, k, m and g behind them, such as 512k or 10m; 0: no limit",
    };
    let (digits, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (&text[..at], unit.to_ascii_lowercase()),
        _ => (text, 'b'),
    };
    let shift = match unit {
        'b' => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => return Err(GRAMMAR),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(GRAMMAR);
    }
    let number = digits.parse::<u64>().map_err(|_| GRAMMAR)?;
    number.checked_mul(1 << shift).map(body_size).ok_or(GRAMMAR)
}

/// The spellings of Go's `strconv.ParseBool`, which ingress-nginx takes.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether a piece of nginx configuration keeps somebody out. Without what it does the route would be open.
pub(super) fn snippet_protects(text: &str) -> bool {
    const DIRECTIVES: [&str; 12] = [
        "access_by_lua",
        "allow",
        "auth_",
        "deny",
        "limit_except",
        "modsecurity",
        "return",
        "satisfy",
        "secure_link",
        "ssl_client_certificate",
        "ssl_verify_client",
        "valid_referers",
    ];
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}'));
    words.into_iter().any(|word| DIRECTIVES.iter().any(|directive| word.starts_with(directive)))
}

fn redirect(on: bool) -> Value {
    let redirect = if on { Redirect::WithCertificate } else { Redirect::Never };
    PolicyPatch { redirect: Some(redirect), ..PolicyPatch::default() }.into()
}

fn access_log(on: bool) -> Value {
    PolicyPatch { access_log: Some(on), ..PolicyPatch::default() }.into()
}

fn body_size(bytes: u64) -> Value {
    PolicyPatch { max_body: Some(bytes), ..PolicyPatch::default() }.into()
}

fn balancing(policy: LoadBalancing) -> PolicyPatch {
    let load_balancing = LoadBalancingPatch { policy: Some(policy), ..LoadBalancingPatch::default() };
    PolicyPatch { load_balancing, ..PolicyPatch::default() }
}

fn of_ingress(ingress: IngressPatch) -> Value {
    PolicyPatch { ingress, ..PolicyPatch::default() }.into()
}

fn rewrite(text: &str, path: fn(String) -> PathRewrite) -> Parsed {
    if !grammar::SENT_PATH.holds(text) || text.len() > 1024 {
        return Err(Malformed {
            message: "is not a path",
            remedy: "write a path that begins with /, with %XX for what a path may not hold, such as /socket",
        });
    }
    let rewrite = RewritePatch { path: Some(path(text.to_owned())), host: None };
    Ok(PolicyPatch { rewrite, ..PolicyPatch::default() }.into())
}

/// The items of a comma list; one that is empty is there too, to be refused.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn own_bool(text: &str) -> Result<bool, Malformed> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(NOT_A_BOOLEAN),
    }
}

fn nginx_bool(text: &str) -> Result<bool, Malformed> {
    go_bool(text).ok_or(NOT_A_BOOLEAN)
}

const NOT_A_BOOLEAN: Malformed = Malformed { message: "is not a boolean", remedy: "write true or false" };

fn own_timeout(text: &str, patch: fn(Option<Duration>) -> TimeoutsPatch) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is not a duration",
        remedy: "write a duration with unit (h, m, s, ms), such as 30s, 5m or 1h30m; 0s: no limit",
    };
    let duration = text.parse().map_err(|_: duration::NotADuration| GRAMMAR)?;
    Ok(PolicyPatch { timeouts: patch(Some(duration)), ..PolicyPatch::default() }.into())
}

/// Bare seconds as Go's `strconv.Atoi` takes them, and as an extension a duration with unit. Zero arms a timer of
/// zero in nginx, which nobody means.
fn nginx_timeout(text: &str, patch: fn(Option<Duration>) -> TimeoutsPatch) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is neither bare seconds nor a duration",
        remedy: "write whole seconds, such as 3600, or a duration with unit, such as 1h",
    };
    const ZERO: Malformed = Malformed {
        message: "would be a timeout of no time at all",
        remedy: "for no limit set our own key instead, such as longhaul.dev/idle-timeout: 0s",
    };
    let digits = text.strip_prefix('+').unwrap_or(text);
    let duration = if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok().and_then(Duration::from_secs).ok_or(GRAMMAR)?
    } else {
        text.parse().map_err(|_: duration::NotADuration| GRAMMAR)?
    };
    if duration.is_zero() {
        return Err(ZERO);
    }
    Ok(PolicyPatch { timeouts: patch(Some(duration)), ..PolicyPatch::default() }.into())
}

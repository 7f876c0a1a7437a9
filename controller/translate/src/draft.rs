//! What an Ingress and a WsRoute have in common: routes as their author asks for them, before it is known whether
//! backends exist and who else wants the same.

use std::collections::BTreeMap;

use crds::diagnostic::{ObjectRef, quoted};
use crds::policy::PolicyPatch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use snapshot::{CertificateKey, CipherSuite, Conditions, HostPattern, PathMatch, Reach, Serves, TlsVersion};

use crate::policy::clients::{Clients, DraftClients};

/// An object that asks for routes. The order is seniority: who comes first wins a conflict. An absent creation
/// time counts as oldest; ties go by namespace and name, then kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    created: Option<Time>,
    namespace: String,
    name: String,
    kind: &'static str,
}

impl Owner {
    pub(crate) fn new(kind: &'static str, metadata: &ObjectMeta) -> Self {
        Self {
            created: metadata.creation_timestamp.clone(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            kind,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind, &*self.namespace, &*self.name)
    }
}

/// All that one object asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Draft {
    pub(crate) routes: Vec<DraftRoute>,
    /// An Ingress's `defaultBackend`.
    pub(crate) fallback: Option<Fallback>,
    pub(crate) tls: Vec<DraftTls>,
    /// Client certificates, the first that names a host counts.
    pub(crate) clients: Vec<DraftClients>,
}

/// What an object asks of one host, by the positions of its routes and certificates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) rules: Vec<usize>,
    pub(crate) fallback: bool,
    /// Its fallback stands for every host; said of [`HostPattern::Any`] only.
    pub(crate) everywhere: bool,
    pub(crate) tls: Vec<usize>,
}

impl Claim {
    /// It asks for routes of this very host.
    pub(crate) fn has_routes(&self) -> bool {
        !self.rules.is_empty() || self.fallback
    }
}

impl DraftRoute {
    /// Every Service that it names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.backends.iter().chain(&self.standby).map(|backend| &*backend.service)
    }

    /// It takes a part of another's requests, and is no route of its own.
    pub(crate) fn is_canary(&self) -> bool {
        self.patch.ingress.canary.enabled == Some(true)
    }
}

impl Draft {
    /// What is asked of each host that is named.
    pub(crate) fn claims(&self) -> BTreeMap<HostPattern, Claim> {
        let mut claims: BTreeMap<HostPattern, Claim> = BTreeMap::new();
        for (index, route) in self.routes.iter().enumerate() {
            for host in &route.hosts {
                claims.entry(host.clone()).or_default().rules.push(index);
            }
        }
        if let Some(fallback) = &self.fallback {
            for host in &fallback.route.hosts {
                claims.entry(host.clone()).or_default().fallback = true;
            }
            if fallback.everywhere {
                claims.entry(HostPattern::Any).or_default().everywhere = true;
            }
        }
        for (index, tls) in self.tls.iter().enumerate() {
            for host in &tls.hosts {
                let named = &mut claims.entry(host.clone()).or_default().tls;
                if named.last() != Some(&index) {
                    named.push(index);
                }
            }
        }
        claims
    }

    /// Every route, the fallback last.
    pub(crate) fn all_routes(&self) -> impl Iterator<Item = (Position, &DraftRoute)> {
        let rules = self.routes.iter().enumerate().map(|(index, route)| (Position::Rule(index), route));
        rules.chain(self.fallback.iter().map(|fallback| (Position::Fallback, &fallback.route)))
    }
}

/// Where in its draft a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    Rule(usize),
    Fallback,
}

/// One match of one rule, for some hosts.
#[derive(Debug, PartialEq)]
pub(crate) struct DraftRoute {
    pub(crate) hosts: Vec<HostPattern>,
    /// The rule's name within its object.
    pub(crate) rule: String,
    /// The field that declares the match.
    pub(crate) field: String,
    pub(crate) path: PathMatch,
    pub(crate) conditions: Conditions,
    pub(crate) serves: Serves,
    pub(crate) backends: Vec<DraftBackend>,
    /// Who gets what no endpoint of theirs is there for.
    pub(crate) standby: Option<DraftBackend>,
    pub(crate) patch: PolicyPatch,
    /// Why it must answer 503 whatever its backends are.
    pub(crate) broken: Option<String>,
    pub(crate) standing: Standing,
}

/// What a route is beside others of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// One that its author wrote.
    Own,
    /// One that is there only where nothing else is.
    GivesWay,
}

/// Where requests go for which a host has no other match.
#[derive(Debug, PartialEq)]
pub(crate) struct Fallback {
    /// Its hosts are those that the object names.
    pub(crate) route: DraftRoute,
    /// It also stands for hosts that name no fallback of their own.
    pub(crate) everywhere: bool,
}

/// One backend as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DraftBackend {
    pub(crate) service: String,
    pub(crate) port: PortRef,
    pub(crate) weight: u32,
    pub(crate) reach: Reach,
    pub(crate) field: String,
}

/// A Service's port as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortRef {
    Name(String),
    Number(i32),
    First,
}

/// TLS settings of some hosts, as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DraftTls {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) certificate: CertificateKey,
    /// The default certificate, since no Secret is named.
    pub(crate) by_default: bool,
    pub(crate) min_version: Option<TlsVersion>,
    /// Empty: nothing is said of them.
    pub(crate) cipher_suites: Vec<CipherSuite>,
    pub(crate) clients: Option<Clients>,
    pub(crate) field: String,
}

/// A host, or what is wrong with it and what to do.
pub(crate) fn host(text: &str) -> Result<HostPattern, (String, &'static str)> {
    let name = text.to_ascii_lowercase();
    let wrong = |why: &str, remedy| Err((format!("{} {why}", quoted(text)), remedy));
    if name == "*" {
        return wrong("is not a host", "leave the host out to match every host");
    }
    if name.contains('/') {
        return wrong("has a path", "write the name only; paths belong to the rules");
    }
    if name.contains(':') {
        return wrong("has a port", "write the name only; a route is for every port");
    }
    let (labels, pattern): (&str, fn(String) -> HostPattern) = match name.strip_prefix("*.") {
        Some(suffix) => (suffix, HostPattern::Wildcard),
        None => (&name, HostPattern::Exact),
    };
    if labels.len() > 253 || !labels.split('.').all(is_label) {
        return wrong("is not a host name", "write DNS labels with dots, the first of which may be *");
    }
    Ok(pattern(labels.to_owned()))
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Exact,
    Prefix,
}

/// A match on the path, or what is wrong with it. Requests are compared after normalisation, so a path that
/// normalisation never leaves could only seem to protect or serve something.
pub(crate) fn path(text: &str, comparison: Comparison) -> Result<PathMatch, String> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(text)));
    if !text.starts_with('/') {
        return wrong("does not start with a slash");
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#')) {
        return wrong("has characters that no path has");
    }
    let Some(path) = decoded(text) else {
        return wrong("has a percent sign without two hexadecimal digits behind it, or %00");
    };
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return wrong("has a segment that is resolved before paths are compared");
    }
    match comparison {
        Comparison::Exact => Ok(PathMatch::Exact(path)),
        Comparison::Prefix => {
            let stem = path.trim_end_matches('/');
            Ok(PathMatch::Prefix(if stem.is_empty() { "/".into() } else { stem.to_owned() }))
        }
    }
}

/// The form in which requests are compared: what need not be encoded is decoded, the rest is in upper case
/// ([RFC 3986, 6.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2)).
fn decoded(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (digits, behind) = part.split_at_checked(2)?;
        let byte = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)?;
        match u8::from_str_radix(byte, 16).ok()? {
            0 => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => decoded.push(byte.into()),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        decoded.push_str(behind);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_in_lower_case() {
        assert_eq!(host("Chat.Example.COM"), Ok(HostPattern::Exact("chat.example.com".into())));
        assert_eq!(host("*.example.com"), Ok(HostPattern::Wildcard("example.com".into())));
        for bad in [
            "", "*", "*.", "a..b", "-a.b", "a-.b", "a.b.", "a:80", "http://a", "a/b", "*.*.a", "a.*.b",
            "a_b", "é.com",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(host(&"a".repeat(64)).is_err());
        assert!(host(&["a"; 128].join(".")).is_err());
    }

    #[test]
    fn paths_are_absolute_and_normal() {
        let prefix = |text: &str| path(text, Comparison::Prefix);
        assert_eq!(prefix("/"), Ok(PathMatch::Prefix("/".into())));
        assert_eq!(prefix("/ws/"), Ok(PathMatch::Prefix("/ws".into())));
        assert_eq!(path("/ws/", Comparison::Exact), Ok(PathMatch::Exact("/ws/".into())));
        assert_eq!(prefix("/%7ejo/caf%c3%a9/%2f"), Ok(PathMatch::Prefix("/~jo/caf%C3%A9/%2F".into())));
        for bad in [
            "",
            "ws",
            "/a b",
            "/a?b",
            "/a#b",
            "/a/../b",
            "/./a",
            "/é",
            "/a/..",
            "/a/%2e%2e/b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%00",
        ] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seniority_is_age_then_name_then_kind() {
        let owner = |kind, created: Option<&str>, namespace: &str, name: &str| {
            let created = created.map(|time| serde_json::from_value(serde_json::json!(time)).unwrap());
            Owner { created, namespace: namespace.into(), name: name.into(), kind }
        };
        let sorted = [
            owner("WsRoute", None, "z", "z"),
            owner("WsRoute", Some("2024-01-01T00:00:00Z"), "z", "z"),
            owner("Ingress", Some("2025-01-01T00:00:00Z"), "a", "b"),
            owner("WsRoute", Some("2025-01-01T00:00:00Z"), "a", "b"),
            owner("Ingress", Some("2025-01-01T00:00:00Z"), "b", "a"),
        ];
        assert!(sorted.is_sorted());
    }
}

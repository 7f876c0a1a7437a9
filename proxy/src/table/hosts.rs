//! Hosts by name: exact, wildcard, any.

use std::sync::Arc;

use imbl::HashMap;
use rustls::ServerConfig;
use snapshot::{CertificateKey, HostPattern};

use super::paths::Paths;

/// One host.
pub(super) struct Host {
    pub(super) tls: Option<Tls>,
    pub(super) paths: Paths,
}

/// TLS of one host.
pub(super) struct Tls {
    pub(super) certificate: CertificateKey,
    pub(super) config: Arc<ServerConfig>,
}

/// All hosts. Cloning is cheap, and the clone shares what is not changed in it.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    exact: HashMap<Arc<str>, Arc<Host>>,
    /// By the suffix behind `*.`.
    wildcard: HashMap<Arc<str>, Arc<Host>>,
    any: Option<Arc<Host>>,
}

impl Hosts {
    /// The host that alone is searched for a request.
    pub(super) fn most_specific(&self, name: &str) -> Option<&Arc<Host>> {
        self.by_precedence(Some(name)).next()
    }

    /// Every host that fits a name, the most specific first.
    pub(super) fn by_precedence(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Host>> {
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name
            .and_then(|name| name.split_once('.'))
            .filter(|(label, _)| !label.is_empty())
            .and_then(|(_, suffix)| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcard).chain(&self.any)
    }

    pub(super) fn insert(&mut self, pattern: &HostPattern, host: Arc<Host>) -> Option<Arc<Host>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name.as_str().into(), host),
            HostPattern::Wildcard(suffix) => self.wildcard.insert(suffix.as_str().into(), host),
            HostPattern::Any => self.any.replace(host),
        }
    }

    pub(super) fn remove(&mut self, pattern: &HostPattern) -> Option<Arc<Host>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.remove(name.as_str()),
            HostPattern::Wildcard(suffix) => self.wildcard.remove(suffix.as_str()),
            HostPattern::Any => self.any.take(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(self.any.is_some())
    }
}

//! Hosts by name: exact, wildcard, any.

use std::sync::Arc;

use imbl::HashMap;
use snapshot::HostPattern;

/// All hosts, with something of each. Cloning is cheap, and the clone shares what is not changed in it.
#[derive(Debug)]
pub struct Hosts<H> {
    exact: HashMap<Arc<str>, Arc<H>>,
    /// By the suffix behind `*.`.
    wildcard: HashMap<Arc<str>, Arc<H>>,
    any: Option<Arc<H>>,
}

impl<H> Clone for Hosts<H> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), wildcard: self.wildcard.clone(), any: self.any.clone() }
    }
}

impl<H> Default for Hosts<H> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<H> Hosts<H> {
    /// The host that alone is searched for a request.
    pub fn most_specific(&self, name: &str) -> Option<&Arc<H>> {
        self.by_precedence(Some(name)).next()
    }

    /// Every host that fits a name, the most specific first.
    pub fn by_precedence(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<H>> {
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name
            .and_then(|name| name.split_once('.'))
            .filter(|(label, _)| !label.is_empty())
            .and_then(|(_, suffix)| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcard).chain(&self.any)
    }

    /// Puts a host in. What stood there before is given back.
    pub fn insert(&mut self, pattern: &HostPattern, host: Arc<H>) -> Option<Arc<H>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name.as_str().into(), host),
            HostPattern::Wildcard(suffix) => self.wildcard.insert(suffix.as_str().into(), host),
            HostPattern::Any => self.any.replace(host),
        }
    }

    /// Takes a host out.
    pub fn remove(&mut self, pattern: &HostPattern) -> Option<Arc<H>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.remove(name.as_str()),
            HostPattern::Wildcard(suffix) => self.wildcard.remove(suffix.as_str()),
            HostPattern::Any => self.any.take(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(self.any.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! Cross-origin requests: which pages of other origins a browser lets read responses. (Fetch standard, section 3.2.)
//!
//! It is not a check of the Origin: whoever is not a browser, and every WebSocket, comes in all the same.

use serde::{Serialize, Serializer};

use crate::grammar;

/// What one layer says about cross-origin requests. Each list is taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPatch {
    /// Who may ask. Without any, nothing is said to browsers, and what backends say is passed on.
    pub allow_origins: Option<Vec<CorsOrigin>>,
    /// With which methods.
    pub allow_methods: Option<Vec<String>>,
    /// With which request fields.
    pub allow_headers: Option<Vec<String>>,
    /// Which response fields pages may see beside the usual ones.
    pub expose_headers: Option<Vec<String>>,
    /// With cookies and other credentials.
    pub allow_credentials: Option<bool>,
    /// How long, in seconds, browsers may keep the answer to a preflight.
    pub max_age: Option<u64>,
}

/// Whose pages are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CorsOrigin {
    /// Anybody's.
    Any,
    /// Those of exactly this origin, in lower case; or `null`.
    Exact(String),
    /// Those of an origin that begins and ends like this, with one label in between.
    Wildcard {
        /// Such as `https://`.
        before: String,
        /// Such as `.example.com:8443`.
        after: String,
    },
}

impl CorsOrigin {
    /// Reads `*`, `null`, `https://example.com:8443` or `https://*.example.com`.
    pub fn read(text: &str) -> Option<Self> {
        if !grammar::CORS_ORIGIN.holds(text) {
            return None;
        }
        let text = text.to_ascii_lowercase();
        Some(match text.split_once('*') {
            None => Self::Exact(text),
            Some(("", "")) => Self::Any,
            Some((before, after)) => Self::Wildcard { before: before.into(), after: after.into() },
        })
    }
}

/// As it is written.
impl Serialize for CorsOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("*"),
            Self::Exact(origin) => serializer.serialize_str(origin),
            Self::Wildcard { before, after } => serializer.collect_str(&format_args!("{before}*{after}")),
        }
    }
}

impl CorsPatch {
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            allow_origins: over.allow_origins.or(self.allow_origins),
            allow_methods: over.allow_methods.or(self.allow_methods),
            allow_headers: over.allow_headers.or(self.allow_headers),
            expose_headers: over.expose_headers.or(self.expose_headers),
            allow_credentials: over.allow_credentials.or(self.allow_credentials),
            max_age: over.max_age.or(self.max_age),
        }
    }

    /// Whether it lets anybody's pages read with credentials, which browsers refuse.
    pub fn is_invalid_pair(&self) -> bool {
        self.allow_credentials == Some(true)
            && self.allow_origins.iter().flatten().any(|origin| *origin == CorsOrigin::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_they_are_written() {
        let read = CorsOrigin::read;
        assert_eq!(read("*"), Some(CorsOrigin::Any));
        assert_eq!(read("null"), Some(CorsOrigin::Exact("null".into())));
        assert_eq!(read("HTTPS://A.test:81"), Some(CorsOrigin::Exact("https://a.test:81".into())));
        let wildcard = CorsOrigin::Wildcard { before: "https://".into(), after: ".a.test:81".into() };
        assert_eq!(read("https://*.a.test:81"), Some(wildcard));
        for bad in [
            "",
            "a.test",
            "https://",
            "https://a.*.test",
            "https://*",
            "https://a.test/",
            "https://**.a",
            "x y",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

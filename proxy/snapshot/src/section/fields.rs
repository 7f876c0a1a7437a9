//! What a route changes of the fields of requests and responses.

use serde::{Deserialize, Serialize};

/// Changes to the fields of both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// Of requests, as the upstream gets them.
    pub request: FieldChanges,
    /// Of responses of the upstream, as the client gets them.
    pub response: FieldChanges,
    /// What browsers are told about pages of other origins, in place of what the upstream says.
    pub cors: Option<Cors>,
    /// What browsers are told about TLS, in place of what the upstream says.
    pub hsts: Option<Hsts>,
    /// Of cookies that the upstream sets.
    pub cookies: CookieChanges,
}

/// Changes to Set-Cookie: what is replaced, and what by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieChanges {
    /// Domain as a whole, in whatever case; a dot in front of it stays.
    pub domain: Option<(String, String)>,
    /// What Path begins with.
    pub path: Option<(String, String)>,
}

/// Changes to the fields of one direction, in this order. Names are in the case in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChanges {
    /// Every field of these names is taken out.
    pub remove: Vec<String>,
    /// In place of every field of these names.
    pub set: Vec<(String, String)>,
    /// Beside the fields of these names.
    pub add: Vec<(String, String)>,
}

/// Cross-origin requests, by the Fetch standard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Never empty.
    pub allow_origins: Vec<CorsOrigin>,
    /// Comma lists, as they are sent.
    pub allow_methods: String,
    /// The request fields.
    pub allow_headers: String,
    /// Empty: none.
    pub expose_headers: String,
    /// Never together with [`CorsOrigin::Any`].
    pub allow_credentials: bool,
    /// In seconds.
    pub max_age: u64,
}

/// Whose pages are meant. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CorsOrigin {
    /// Anybody's.
    Any,
    /// Of this origin.
    Exact(String),
    /// Of an origin with one label between these.
    Wildcard {
        /// Such as `https://`.
        before: String,
        /// Such as `.example.com`.
        after: String,
    },
}

/// Strict-Transport-Security, RFC 6797.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hsts {
    /// In seconds.
    pub max_age: u64,
    /// Subdomains too.
    pub include_subdomains: bool,
    /// Not of the RFC: the owner agrees to browsers' own lists.
    pub preload: bool,
}

//! What is said about the fields of requests and responses, with the defaults of what nobody set.

use crds::policy::PolicyPatch;
use crds::policy::cors::{self, CorsPatch};
use crds::policy::headers::{ChangesPatch, Field, HstsPatch};
use snapshot::{CookieChanges, Cors, CorsOrigin, FieldChanges, Headers, Hsts};

/// As ingress-nginx has them, from which people come.
const ALLOW_METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const ALLOW_HEADERS: &str = "DNT, Keep-Alive, User-Agent, X-Requested-With, If-Modified-Since, Cache-Control, \
                             Content-Type, Range, Authorization";
const MAX_AGE: u64 = 1_728_000;

/// `set`: what is set on responses in place of what the policy says.
pub(crate) fn headers(patch: &PolicyPatch, set: Option<&Vec<Field>>) -> Headers {
    let mut response = patch.headers.response.clone();
    response.set = set.cloned().or(response.set);
    Headers {
        request: changes(&patch.headers.request),
        response: changes(&response),
        cors: cors(&patch.cors),
        hsts: hsts(&patch.hsts),
        cookies: CookieChanges {
            domain: patch.headers.cookies.domain.clone(),
            path: patch.headers.cookies.path.clone(),
        },
    }
}

/// In the order of names, so that the same changes are equal in whatever order they are written. Of two values of one
/// name the order stays.
fn changes(patch: &ChangesPatch) -> FieldChanges {
    let sorted = |fields: &Option<Vec<Field>>| {
        let mut fields = fields.clone().unwrap_or_default();
        fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        fields
    };
    let mut remove = patch.remove.clone().unwrap_or_default();
    remove.sort();
    remove.dedup();
    FieldChanges { remove, set: sorted(&patch.set), add: sorted(&patch.add) }
}

/// Browsers refuse credentials where every origin is allowed: they are not allowed then.
fn cors(patch: &CorsPatch) -> Option<Cors> {
    let mut allow_origins: Vec<_> = patch.allow_origins.iter().flatten().map(origin).collect();
    allow_origins.sort();
    allow_origins.dedup();
    let list = |names: &Option<Vec<String>>, default: &str| {
        names.as_ref().map_or_else(|| default.to_owned(), |names| names.join(", "))
    };
    let anybody = allow_origins.first()? == &CorsOrigin::Any;
    Some(Cors {
        allow_origins,
        allow_methods: list(&patch.allow_methods, ALLOW_METHODS),
        allow_headers: list(&patch.allow_headers, ALLOW_HEADERS),
        expose_headers: list(&patch.expose_headers, ""),
        allow_credentials: patch.allow_credentials.unwrap_or(false) && !anybody,
        max_age: patch.max_age.unwrap_or(MAX_AGE),
    })
}

fn origin(origin: &cors::CorsOrigin) -> CorsOrigin {
    match origin {
        cors::CorsOrigin::Any => CorsOrigin::Any,
        cors::CorsOrigin::Exact(origin) => CorsOrigin::Exact(origin.clone()),
        cors::CorsOrigin::Wildcard { before, after } => {
            CorsOrigin::Wildcard { before: before.clone(), after: after.clone() }
        }
    }
}

fn hsts(patch: &HstsPatch) -> Option<Hsts> {
    Some(Hsts {
        max_age: patch.max_age?,
        include_subdomains: patch.include_subdomains.unwrap_or(false),
        preload: patch.preload.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_with_credentials_is_one_that_is_named() {
        let cors = |origins: &[&str]| {
            let allow_origins = origins.iter().map(|text| cors::CorsOrigin::read(text).unwrap()).collect();
            let allow_origins = Some(allow_origins);
            super::cors(&CorsPatch { allow_origins, allow_credentials: Some(true), ..CorsPatch::default() })
        };
        assert_eq!(cors(&[]), None);
        assert!(cors(&["https://a.test"]).is_some_and(|cors| cors.allow_credentials));
        assert!(cors(&["https://a.test", "*"]).is_some_and(|cors| !cors.allow_credentials));
    }

    #[test]
    fn changes_are_equal_in_whatever_order_they_are_written() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let of = |add: Vec<Field>, remove: &[&str]| {
            let remove = Some(remove.iter().map(|name| (*name).to_owned()).collect());
            changes(&ChangesPatch { add: Some(add), remove, ..ChangesPatch::default() })
        };
        let one = of(vec![field("B", "1"), field("a", "2"), field("a", "1")], &["y", "x"]);
        let two = of(vec![field("a", "2"), field("a", "1"), field("B", "1")], &["x", "y", "x"]);
        assert_eq!(one, two);
        assert_eq!(one.add[0], field("a", "2"), "the order of one name's values stays");
    }
}

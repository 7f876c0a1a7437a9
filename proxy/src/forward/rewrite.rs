//! What goes upstream in place of the path and the Host that a client sent.
//!
//! What stays of a path is taken from its normalised form: the rules and the upstream so see the same path, with `.`
//! and `..` resolved before anything is cut off. Normalising decodes unreserved characters only, so what stays is a
//! valid target and means what the client's own bytes mean (RFC 3986 §6.2.2): `%2F` and `%0D%0A` are never decoded.

use std::borrow::Cow;

use snapshot::{PathMatch, PathRewrite};

use crate::auth::Auth;
use crate::fields::Changes;
use crate::head::{self, Head};
use crate::path_regex::PathRegex;
use crate::table::Route;

/// The head of a request, and where it goes as its upstream is told.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The head as it came.
    pub head: &'a Head,
    /// Path and query.
    pub target: Cow<'a, str>,
    /// What Host says.
    pub host: &'a str,
    /// What X-Forwarded-Prefix says in place of the client's own.
    pub prefix: Option<String>,
    /// What is changed of its fields.
    pub changes: Option<&'a Changes>,
    /// What others say in place of the client.
    pub replaced: Replaced<'a>,
}

/// Fields that are never believed from a client, and what goes upstream in their place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replaced<'a> {
    /// Names in lower case.
    pub fields: &'a [Box<str>],
    /// Names and values.
    pub with: &'a [(Box<str>, Vec<u8>)],
}

impl<'a> Replaced<'a> {
    /// What no client of a route may set. Nothing goes upstream in its place.
    pub fn of(route: &'a Route) -> Self {
        Self { fields: route.auth.as_ref().map_or(&[], Auth::passed), with: &[] }
    }

    /// Whether a field is among them.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.fields.iter().any(|field| head::alike(field, name))
    }
}

impl<'a> From<&'a Head> for Outgoing<'a> {
    /// Target and Host as they came.
    fn from(head: &'a Head) -> Self {
        let replaced = Replaced::default();
        let (target, host) = (Cow::Borrowed(&*head.target), &*head.authority);
        Self { head, target, host, prefix: None, changes: None, replaced }
    }
}

/// What a route puts in place of path and Host.
#[derive(Debug, Default)]
pub struct Rewrite {
    path: Option<NewPath>,
    host: Option<Box<str>>,
    /// With a new path only.
    prefix: Option<Template>,
}

/// A text with groups of a regular expression in it.
#[derive(Debug)]
struct Template {
    text: Box<str>,
    /// Without one it stands for itself.
    regex: Option<PathRegex>,
}

impl Template {
    fn expand(&self, path: &str) -> String {
        match &self.regex {
            Some(regex) => regex.expand(&self.text, path),
            None => self.text.clone().into(),
        }
    }
}

#[derive(Debug)]
enum NewPath {
    Whole(Box<str>),
    Prefix {
        /// So many bytes at the beginning of the normalised path are replaced.
        length: usize,
        with: Box<str>,
    },
    Template(Template),
}

impl Rewrite {
    /// That of a route which matches this path. The error is for people.
    pub fn new(
        matched: &PathMatch,
        regex: Option<&PathRegex>,
        rewrite: snapshot::Rewrite,
    ) -> Result<Self, String> {
        let snapshot::Rewrite { path, host, forwarded_prefix } = rewrite;
        let templates = path.iter().filter_map(|path| match path {
            PathRewrite::Template(text) => Some(text),
            PathRewrite::Prefix(_) | PathRewrite::Whole(_) => None,
        });
        if let Some(odd) =
            templates.chain(&forwarded_prefix).find(|text| !head::is_path(&text.replace('$', "x")))
        {
            return Err(format!("{odd:?} is no path with groups of a regular expression"));
        }
        let template = |text: String| Template { text: text.into(), regex: regex.cloned() };
        if let Some(PathRewrite::Prefix(path) | PathRewrite::Whole(path)) = &path
            && !head::is_path(path)
        {
            return Err(format!("{path:?}, which replaces its path, is no path"));
        }
        if let Some(host) = &host
            && head::authority(host.as_bytes()).is_none()
        {
            return Err(format!("{host:?}, which replaces its Host, is no host name with an optional port"));
        }
        let path = path.map(|path| match (path, matched) {
            (PathRewrite::Template(text), _) => NewPath::Template(template(text)),
            (PathRewrite::Whole(path), _)
            | (PathRewrite::Prefix(path), PathMatch::Exact(_) | PathMatch::Regex(_)) => {
                NewPath::Whole(path.into())
            }
            (PathRewrite::Prefix(path), PathMatch::Prefix(prefix)) => {
                NewPath::Prefix { length: prefix.len(), with: path.into() }
            }
        });
        let prefix = forwarded_prefix.filter(|_| path.is_some()).map(template);
        Ok(Self { path, host: host.map(String::into), prefix })
    }

    /// Where a request of that route goes. The query stays as it came.
    pub fn apply<'a>(&'a self, head: &'a Head) -> Outgoing<'a> {
        let mut outgoing = Outgoing::from(head);
        if let Some(host) = &self.host {
            outgoing.host = host;
        }
        if let Some(path) = &self.path {
            let path = match path {
                NewPath::Whole(path) => Cow::Borrowed(&**path),
                NewPath::Prefix { length, with } => {
                    joined(with, head.path.get(*length..).unwrap_or_default())
                }
                NewPath::Template(template) => Cow::Owned(one_path(&template.expand(&head.path))),
            };
            let (mark, query) = head.query().map_or(("", ""), |query| ("?", query));
            outgoing.target = Cow::Owned([&*path, mark, query].concat());
            outgoing.prefix = self.prefix.as_ref().map(|prefix| prefix.expand(&head.path));
        }
        outgoing
    }
}

/// What groups make of a template is a path again: not another host's address, as some read `//`, and one that climbs
/// nowhere.
fn one_path(expanded: &str) -> String {
    let path = format!("/{}", expanded.trim_start_matches('/'));
    head::normalised(&path).unwrap_or_else(|| "/".to_owned())
}

/// With exactly one slash between them, where there is a rest: `/` in place of `/app` makes `/x` of `/app/x`, and of
/// `/app//x`, which would else be read as another host's address by some.
fn joined<'a>(with: &'a str, rest: &str) -> Cow<'a, str> {
    if rest.is_empty() {
        return Cow::Borrowed(with);
    }
    Cow::Owned([with.trim_end_matches('/'), "/", rest.trim_start_matches('/')].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn rewrite(matched: &PathMatch, path: Option<PathRewrite>, host: Option<&str>) -> Rewrite {
        let host = host.map(str::to_owned);
        let regex = match matched {
            PathMatch::Regex(pattern) => Some(PathRegex::new(pattern).unwrap()),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        let rewrite = snapshot::Rewrite { path, host, forwarded_prefix: Some("/was/$1".into()) };
        Rewrite::new(matched, regex.as_ref(), rewrite).unwrap()
    }

    fn target(matched: &PathMatch, path: PathRewrite, target: &str) -> String {
        let rewrite = rewrite(matched, Some(path), None);
        rewrite.apply(&Head::get("a", target)).target.into_owned()
    }

    #[test]
    fn a_prefix_is_replaced() {
        for (prefix, with, before, after) in [
            ("/app", "/", "/app", "/"),
            ("/app", "/", "/app/", "/"),
            ("/app", "/", "/app/x", "/x"),
            ("/app", "/", "/app/x/", "/x/"),
            ("/app", "/", "/app//evil.test/x", "/evil.test/x"),
            ("/app", "/", "/app/x//y", "/x//y"),
            ("/app", "/v2", "/app", "/v2"),
            ("/app", "/v2", "/app/", "/v2/"),
            ("/app", "/v2", "/app/x", "/v2/x"),
            ("/app", "/v2/", "/app", "/v2/"),
            ("/app", "/v2/", "/app/x", "/v2/x"),
            ("/app", "/v2", "/app//x", "/v2/x"),
            ("/", "/v2", "/", "/v2"),
            ("/", "/v2", "/x", "/v2/x"),
            ("/", "/v2/", "/x/", "/v2/x/"),
            ("/", "/", "/x", "/x"),
            ("/a/b", "/c", "/a/b/d", "/c/d"),
            // The query stays, byte by byte.
            ("/app", "/", "/app?", "/?"),
            ("/app", "/v2", "/app/x?a=%2f&b=/app?c", "/v2/x?a=%2f&b=/app?c"),
            // What the rules saw is cut, and nothing of it is decoded that means something.
            ("/app", "/", "/%61pp/x", "/x"),
            ("/app", "/", "/x/../app/./y/../z", "/z"),
            ("/app", "/", "/app/%2e%2e/app/x", "/x"),
            ("/app", "/v2", "/app/a%2fb%0d%0a%3f%23%25", "/v2/a%2Fb%0D%0A%3F%23%25"),
        ] {
            let matched = PathMatch::Prefix(prefix.into());
            assert_eq!(
                target(&matched, PathRewrite::Prefix(with.into()), before),
                after,
                "{prefix} {before}"
            );
        }
    }

    #[test]
    fn a_whole_path_is_replaced() {
        let exact = PathMatch::Exact("/app/x".into());
        assert_eq!(target(&exact, PathRewrite::Prefix("/v2/".into()), "/app/x?q"), "/v2/?q");
        assert_eq!(target(&exact, PathRewrite::Whole("/y".into()), "/app/x?q"), "/y?q");
        let prefix = PathMatch::Prefix("/app".into());
        assert_eq!(target(&prefix, PathRewrite::Whole("/y".into()), "/app/x/z"), "/y");
    }

    #[test]
    fn groups_of_a_regular_expression_make_a_path() {
        for (pattern, template, before, after) in [
            ("/app(/|$)(.*)", "/$2", "/app", "/"),
            ("/app(/|$)(.*)", "/$2", "/APP/x/y?q=$2", "/x/y?q=$2"),
            ("/app(/|$)(.*)", "/$2", "/app//evil.test/x", "/evil.test/x"),
            ("/app(/|$)(.*)", "/v2/$2", "/app/a%2fb%0d%0a", "/v2/a%2Fb%0D%0A"),
            ("/app", "/v2", "/app/x?y", "/v2?y"),
            ("/(.)(.)/(.*)", "/a/$1$2/$3", "/%2e-/x", "/a/.-/x"),
            ("/a(.)b(.)c", "/x/$1$2/y", "/a.b.c", "/y"),
            ("/a(.)b(.)c", "/$1$2/y", "/a.b.c", "/"),
        ] {
            let matched = PathMatch::Regex(pattern.into());
            assert_eq!(
                target(&matched, PathRewrite::Template(template.into()), before),
                after,
                "{pattern} {before}"
            );
        }
        let matched = PathMatch::Regex("/(a)".into());
        let told = rewrite(&matched, Some(PathRewrite::Whole("/".into())), None);
        assert_eq!(told.apply(&Head::get("a", "/A/b")).prefix.as_deref(), Some("/was/A"));
        // What is not rewritten has no prefix to tell.
        assert_eq!(rewrite(&matched, None, None).apply(&Head::get("a", "/a")).prefix, None);
    }

    #[test]
    fn the_host_is_replaced_and_the_rest_is_left() {
        let rewrite = rewrite(&PathMatch::Prefix("/".into()), None, Some("inner.test:81"));
        let head = Head::get("a.test:80", "/a/../b?c");
        let outgoing = rewrite.apply(&head);
        assert_eq!((&*outgoing.target, outgoing.host), ("/a/../b?c", "inner.test:81"));
        let unchanged = Rewrite::default();
        let outgoing = unchanged.apply(&head);
        assert_eq!((&*outgoing.target, outgoing.host), ("/a/../b?c", "a.test:80"));
    }

    #[test]
    fn what_is_no_path_or_host_is_refused() {
        let root = PathMatch::Prefix("/".into());
        for path in ["", "x", "/a?b", "/a#b", "/a b", "/a\r\nb", "/%", "/%zz", "/%00", "/..", "/\u{e9}", "*"]
        {
            for path in
                [PathRewrite::Prefix, PathRewrite::Whole, PathRewrite::Template].map(|new| new(path.into()))
            {
                let rewrite = snapshot::Rewrite { path: Some(path.clone()), ..snapshot::Rewrite::default() };
                assert!(Rewrite::new(&root, None, rewrite).is_err(), "{path:?}");
            }
        }
        for host in ["", "a b", "a/b", "a\r\nb", "u@a", "a:x"] {
            let rewrite = snapshot::Rewrite { host: Some(host.into()), ..snapshot::Rewrite::default() };
            assert!(Rewrite::new(&root, None, rewrite).is_err(), "{host:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_a_path_of_its_own_under_the_replacement(
            pieces in proptest::collection::vec(
                select(&["/", "//", "a", "b", ".", "..", "%2e", "%2F", "%0d%0a", "%41", ";", "?", "c=d", "*"]), 0..12),
            with in select(&["/", "/v2", "/v2/", "/v2/%2f"]),
        ) {
            let request = format!("GET /app/{} HTTP/1.1\r\nHost: a\r\n\r\n", pieces.concat());
            let Ok(Some((head, _))) = crate::head::RequestParser::default().parse(request.as_bytes()) else {
                return Ok(());
            };
            prop_assume!(head.path == "/app" || head.path.starts_with("/app/"));
            let rewrite = rewrite(&PathMatch::Prefix("/app".into()), Some(PathRewrite::Prefix(with.into())), None);
            let target = rewrite.apply(&head).target.into_owned();
            let again = Head::get("a", &target);
            prop_assert_eq!(again.query(), head.query());
            prop_assert!(!target.starts_with("//"));
            let canonical = Head::get("a", with).path;
            prop_assert!(again.path.starts_with(canonical.trim_end_matches('/')), "{} {}", target, again.path);
            let rest = |path: &str, of: &str| path[of.trim_end_matches('/').len()..].trim_start_matches('/').to_owned();
            prop_assert_eq!(rest(&again.path, &canonical), rest(&head.path, "/app"));
        }
    }
}

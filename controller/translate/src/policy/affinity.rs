//! How clients come back to their endpoint.

use crds::policy::{self, AffinityPatch};
use snapshot::{Affinity, AffinityCookie, Holds, OnFailure, PathMatch, Ring, SameSite};

/// The name of a cookie that nobody names.
const NAME: &str = "longhaul";

/// That of a route for this path; nothing where nobody asks for it.
pub(crate) fn affinity(patch: &AffinityPatch, matched: &PathMatch) -> Option<Affinity> {
    let cookie = (patch.cookie == Some(true)).then(|| cookie(patch, matched));
    let affinity = Affinity { cookie, engine_io: patch.engine_io.unwrap_or(false) };
    (affinity != Affinity::default()).then_some(affinity)
}

pub(crate) fn ring(ring: Option<policy::Ring>) -> Ring {
    match ring {
        Some(policy::Ring::PodName) => Ring::PodName,
        Some(policy::Ring::Address) | None => Ring::Address,
    }
}

fn cookie(patch: &AffinityPatch, matched: &PathMatch) -> AffinityCookie {
    AffinityCookie {
        name: patch.name.clone().unwrap_or_else(|| NAME.into()),
        max_age: patch.max_age.filter(|seconds| *seconds > 0),
        path: patch.path.clone().unwrap_or_else(|| path(matched)),
        domain: patch.domain.clone(),
        same_site: patch.same_site.map(|same_site| match same_site {
            policy::SameSite::Strict => SameSite::Strict,
            policy::SameSite::Lax => SameSite::Lax,
            policy::SameSite::None => SameSite::None,
        }),
        secure: patch.secure,
        on_failure: if patch.change_on_failure == Some(false) { OnFailure::Keep } else { OnFailure::Change },
        holds: if patch.rebalance == Some(true) { Holds::Key } else { Holds::Endpoint },
    }
}

/// What is matched, where a cookie can say it. It cannot say what a regular expression matches.
fn path(matched: &PathMatch) -> String {
    match matched {
        PathMatch::Exact(path) | PathMatch::Prefix(path)
            if path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') =>
        {
            path.clone()
        }
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_by_default_and_a_group_can_be_switched_off() {
        let matched = PathMatch::Prefix("/ws".into());
        let asked = |cookie, engine_io| {
            let name = Some("route".to_owned());
            affinity(&AffinityPatch { cookie, engine_io, name, ..AffinityPatch::default() }, &matched)
        };
        assert_eq!(asked(None, None), None);
        assert_eq!(asked(Some(false), Some(false)), None);
        assert_eq!(asked(None, Some(true)), Some(Affinity { cookie: None, engine_io: true }));
        assert!(asked(Some(true), None).unwrap().cookie.is_some());
    }

    #[test]
    fn the_path_is_that_of_the_match_where_a_cookie_can_say_it() {
        let path_of = |matched: PathMatch, path: Option<&str>| {
            let patch = AffinityPatch { path: path.map(str::to_owned), ..AffinityPatch::default() };
            cookie(&patch, &matched).path
        };
        assert_eq!(path_of(PathMatch::Prefix("/ws".into()), None), "/ws");
        assert_eq!(path_of(PathMatch::Exact("/ws/".into()), None), "/ws/");
        assert_eq!(path_of(PathMatch::Prefix("/a;b".into()), None), "/");
        assert_eq!(path_of(PathMatch::Regex("/ws/(.*)".into()), None), "/");
        assert_eq!(path_of(PathMatch::Regex("/ws/(.*)".into()), Some("/ws")), "/ws");
    }
}

//! Paths that are regular expressions: of the Ingress that asks for it, and of no other.
//!
//! In ingress-nginx one Ingress that asks for it changes what the paths of every other Ingress of its host mean; here
//! each keeps its own.

use crds::policy::{PathRewrite, PolicyPatch};
use k8s_openapi::api::networking::v1::IngressSpec;
use regex::bytes::RegexBuilder;
use snapshot::PathMatch;

/// The longest expression.
const LONGEST: usize = 1024;

/// The most that a compiled expression may take, as in the proxy.
const MOST: usize = 128 * 1024;

/// Whether an Ingress asks for it, by name or by a target that differs from one of its paths.
pub(super) fn are_regexes(patch: &PolicyPatch, spec: &IngressSpec) -> bool {
    if patch.ingress.use_regex == Some(true) {
        return true;
    }
    let Some(PathRewrite::Template(target)) = &patch.rewrite.path else { return false };
    let paths =
        spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
    paths.into_iter().any(|path| path.path.as_deref().unwrap_or("/") != target)
}

/// How many groups it has, or why it cannot be served.
pub(super) fn groups(text: &str) -> Result<usize, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} characters"));
    }
    let compiled = RegexBuilder::new(&format!("^(?:{text})"))
        .case_insensitive(true)
        .unicode(false)
        .size_limit(MOST)
        .build();
    match compiled {
        Ok(regex) => Ok(regex.captures_len() - 1),
        Err(regex::Error::CompiledTooBig(_)) => Err("it is too large".into()),
        // The message has several lines that point into the text; the last says what is wrong.
        Err(error) => {
            let text = error.to_string();
            Err(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    }
}

/// What every path that it could match begins with, as an expression of its own.
pub(super) fn beginning(text: &str) -> String {
    let literal = PathMatch::Regex(text.to_owned()).literal();
    regex::escape(if literal.is_empty() { "/" } else { &literal })
}

/// The highest group that a target names; 0: none.
pub(super) fn highest_group(target: &str) -> usize {
    let digits = target.split('$').skip(1).filter_map(|part| part.chars().next()?.to_digit(10));
    digits.max().map_or(0, |digit| digit as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_served_has_groups() {
        assert_eq!(groups("/app(/|$)(.*)"), Ok(2));
        assert_eq!(groups("/a(?:b)"), Ok(0));
        for bad in ["/a(?=b)", "/a(?!b)", "/(a)\\1", "/(", "/a{2,1}", "/(x{1000}){1000}", &"/a".repeat(600)] {
            assert!(groups(bad).is_err(), "{bad}");
        }
        assert!(groups("/a(?!b)").is_err_and(|why| why.contains("look-around")), "{:?}", groups("/a(?!b)"));
    }

    #[test]
    fn the_beginning_is_what_is_certain() {
        for (text, beginning) in
            [("/a(?!b)", "/a"), ("/a-b.c", "/a\\-b"), ("/a?(", "/"), ("/a|/b(", "/"), ("/(?!api)(.*)", "/")]
        {
            assert_eq!(super::beginning(text), beginning, "{text}");
        }
        assert_eq!((highest_group("/$2/$1"), highest_group("/")), (2, 0));
    }
}

//! Regular expressions for paths: they match the beginning of a path, in upper or lower case, in time that is linear
//! in the path's length.

use regex::bytes::{Regex, RegexBuilder};
use snapshot::PathMatch;

/// The most that a compiled expression may take, as in the controller, and its lazily built automaton.
const MOST: usize = 128 * 1024;

/// One expression.
#[derive(Clone, Debug)]
pub struct PathRegex {
    regex: Regex,
    /// What every path that it matches begins with.
    literal: Box<str>,
}

impl PathRegex {
    /// Compiles it. The error is for people.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let literal = PathMatch::Regex(pattern.to_owned()).literal().into();
        // Paths are ASCII. Without the group an "or" would match anywhere.
        RegexBuilder::new(&format!("^(?:{pattern})"))
            .case_insensitive(true)
            .unicode(false)
            .size_limit(MOST)
            .dfa_size_limit(MOST)
            .build()
            .map(|regex| Self { regex, literal })
            .map_err(|error| format!("path {pattern:?} is no regular expression: {error}"))
    }

    /// Whether it matches the beginning of this path.
    pub fn matches(&self, path: &str) -> bool {
        let begins =
            path.get(..self.literal.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.literal));
        begins && self.regex.is_match(path.as_bytes())
    }

    /// The text of a template, in which `$1` to `$9` stand for groups; a group that matched nothing is empty.
    pub fn expand(&self, template: &str, path: &str) -> String {
        let mut parts = template.split('$');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let captures = self.regex.captures(path.as_bytes());
        for part in parts {
            let (digit, rest) = part.split_at_checked(1).unwrap_or_default();
            let group = digit.parse().ok().and_then(|group: usize| captures.as_ref()?.get(group));
            let group = group.and_then(|group| std::str::from_utf8(group.as_bytes()).ok());
            text.push_str(group.unwrap_or_default());
            text.push_str(rest);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_matches_the_beginning_in_any_case() {
        for (pattern, path, matches) in [
            ("/foo", "/foo", true),
            ("/foo", "/FOOBAR/x", true),
            ("/foo", "/a/foo", false),
            ("/foo(/|$)(.*)", "/foo", true),
            ("/foo(/|$)(.*)", "/food", false),
            ("/a|/b", "/b/c", true),
            ("/a|/b", "/c/b", false),
            ("/a.c", "/abc", true),
            (r"/a\.c", "/abc", false),
            (r"/v\d+/", "/V12/x", true),
            ("/a?b", "/b", true),
        ] {
            assert_eq!(PathRegex::new(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for bad in ["/(", "/a(?=b)", "/(a{1000}){1000}"] {
            assert!(PathRegex::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_stand_in_templates() {
        let regex = PathRegex::new("/(a)(/|$)(b)?(.*)").unwrap();
        for (template, text) in [("/$4", "/c/d"), ("/$1$1-$3$9", "/aa-"), ("/x", "/x"), ("/$4$2", "/c/d/")] {
            assert_eq!(regex.expand(template, "/a/c/d"), text, "{template}");
        }
    }

    proptest! {
        #[test]
        fn whatever_matches_begins_with_the_literal(
            pattern in "/([aAb/.]|[ab][*+?]|\\\\[./]|\\([ab/|]{1,3}\\)|\\[ab\\]|\\||[ab]\\{0,2\\}|\\$){0,6}",
            path in "/[aAbB/.]{0,6}",
        ) {
            let Ok(regex) = PathRegex::new(&pattern) else { return Ok(()) };
            prop_assert_eq!(regex.matches(&path), regex.regex.is_match(path.as_bytes()), "{} {}", pattern, path);
        }
    }
}

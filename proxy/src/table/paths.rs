//! The routes of one host by path: a trie of segments, so that a lookup costs the length of the path.
//!
//! The nodes lie in one vector and refer to each other by index: a path of a hundred thousand slashes is as
//! deep as it is long, and must neither recurse when it is built nor when it is freed.

use std::collections::HashMap;
use std::iter::successors;
use std::sync::Arc;

use snapshot::PathMatch;

use super::Route;

/// No request has a longer path: its whole head is at most so long. Such a route matches nothing and is left
/// out.
const LONGEST: usize = 32 * 1024;

/// Routes by path.
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// Those that match by regular expressions, in the order of precedence.
    regexes: Vec<Arc<Route>>,
}

#[derive(Default)]
struct Node {
    exact: Vec<Arc<Route>>,
    prefix: Vec<Arc<Route>>,
    children: HashMap<Box<str>, u32>,
    /// Absent for the root.
    parent: Option<u32>,
}

/// The routes for one path, in the order in which they are asked.
pub(super) struct Place<'a>(&'a mut Vec<Arc<Route>>);

impl Place<'_> {
    /// Whether a further route could ever be reached: not behind one that takes whatever comes.
    pub(super) fn is_open(&self) -> bool {
        self.0.last().is_none_or(|last| last.regex.is_some() || !last.conditions.ask_for_nothing())
    }

    pub(super) fn push(&mut self, route: Route) {
        self.0.push(Arc::new(route));
    }
}

impl Paths {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], regexes: Vec::new() }
    }

    /// The place of the routes with this path. `None`: no request can match it.
    pub(super) fn place(&mut self, matched: &PathMatch) -> Option<Place<'_>> {
        let (PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path)) = matched;
        if path.len() > LONGEST {
            return None;
        }
        if let PathMatch::Regex(_) = matched {
            return Some(Place(&mut self.regexes));
        }
        let mut at = 0;
        for segment in segments(matched) {
            at = match self.nodes[at].children.get(segment) {
                Some(&child) => child as usize,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node { parent: Some(at as u32), ..Node::default() });
                    self.nodes[at].children.insert(segment.into(), child as u32);
                    child
                }
            };
        }
        let node = &mut self.nodes[at];
        Some(Place(match matched {
            PathMatch::Exact(_) => &mut node.exact,
            PathMatch::Prefix(_) | PathMatch::Regex(_) => &mut node.prefix,
        }))
    }

    /// Those of the exact path, then of the longest prefix by whole segments, then of shorter ones: the first that
    /// fits; but a regular expression that comes before it in the host's own order, and fits, is taken.
    pub(super) fn select(&self, path: &str, fits: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let mut node = self.nodes.first()?;
        let mut exact: &[Arc<Route>] = &[];
        let mut segments = path.strip_prefix('/')?.split('/').peekable();
        while let Some(&child) = segments.peek().and_then(|segment| node.children.get(*segment)) {
            node = &self.nodes[child as usize];
            segments.next();
            if segments.peek().is_none() {
                exact = &node.exact;
            }
        }
        let prefixes = successors(Some(node), |node| Some(&self.nodes[node.parent? as usize]));
        let found = exact.iter().chain(prefixes.flat_map(|node| &node.prefix)).find(|route| fits(route));
        let before = |route: &&Arc<Route>| found.is_none_or(|found| route.order < found.order);
        let matches = |route: &&Arc<Route>| {
            route.regex.as_ref().is_some_and(|regex| regex.matches(path)) && fits(route)
        };
        self.regexes.iter().take_while(before).find(matches).or(found)
    }

    /// Every route, in no order.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.nodes.iter().flat_map(|node| node.exact.iter().chain(&node.prefix)).chain(&self.regexes)
    }
}

/// The segments that lead to a condition's node. The prefix `/` is the root; the exact path `/` one empty
/// segment.
fn segments(matched: &PathMatch) -> impl Iterator<Item = &str> {
    let path = match matched {
        PathMatch::Prefix(path) if path == "/" => None,
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.strip_prefix('/'),
        PathMatch::Regex(_) => None,
    };
    path.into_iter().flat_map(|path| path.split('/'))
}

//! The routes of one host by path: a trie of segments, so that a lookup costs the length of the path.
//!
//! The nodes lie in one vector and refer to each other by index: a path of a hundred thousand slashes is as
//! deep as it is long, and must neither recurse when it is built nor when it is freed.

use std::collections::HashMap;
use std::iter::successors;
use std::sync::Arc;

use snapshot::PathMatch;

use crate::conditions::Conditions;
use crate::path_regex::PathRegex;

/// No request has a longer path: its whole head is at most so long. Such a route matches nothing and is left
/// out.
const LONGEST: usize = 32 * 1024;

/// What is chosen among.
pub trait Route {
    /// Its place among the routes of its host, by precedence.
    fn order(&self) -> usize;

    /// What its path must match, where that is a regular expression.
    fn regex(&self) -> Option<&PathRegex>;

    /// What else a request of its path must fulfil.
    fn conditions(&self) -> &Conditions;
}

/// Routes by path.
#[derive(Debug)]
pub struct Paths<R> {
    nodes: Vec<Node<R>>,
    /// Those that match by regular expressions, in the order of precedence.
    regexes: Vec<Arc<R>>,
}

#[derive(Debug)]
struct Node<R> {
    exact: Vec<Arc<R>>,
    prefix: Vec<Arc<R>>,
    children: HashMap<Box<str>, u32>,
    /// Absent for the root.
    parent: Option<u32>,
}

impl<R> Node<R> {
    fn below(parent: Option<u32>) -> Self {
        Self { exact: Vec::new(), prefix: Vec::new(), children: HashMap::new(), parent }
    }
}

/// The routes for one path, in the order in which they are asked.
#[derive(Debug)]
pub struct Place<'a, R>(&'a mut Vec<Arc<R>>);

impl<R: Route> Place<'_, R> {
    /// Whether a further route could ever be reached: not behind one that takes whatever comes.
    pub fn is_open(&self) -> bool {
        self.0.last().is_none_or(|last| last.regex().is_some() || !last.conditions().ask_for_nothing())
    }

    /// Puts a route behind those that are there.
    pub fn push(&mut self, route: R) {
        self.0.push(Arc::new(route));
    }
}

impl<R> Default for Paths<R> {
    fn default() -> Self {
        Self { nodes: vec![Node::below(None)], regexes: Vec::new() }
    }
}

impl<R: Route> Paths<R> {
    /// The place of the routes with this path. `None`: no request can match it.
    pub fn place(&mut self, matched: &PathMatch) -> Option<Place<'_, R>> {
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
                    self.nodes.push(Node::below(Some(at as u32)));
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
    pub fn select(&self, path: &str, fits: impl Fn(&R) -> bool) -> Option<&Arc<R>> {
        let found = self.by_segments(path).find(|route| fits(route));
        let before = |route: &&Arc<R>| found.is_none_or(|found| route.order() < found.order());
        self.regexes.iter().take_while(before).find(|route| matches(route, path) && fits(route)).or(found)
    }

    /// Those whose path fits, whatever else they ask for, in no order.
    pub fn of_path(&self, path: &str) -> impl Iterator<Item = &Arc<R>> {
        self.by_segments(path).chain(self.regexes.iter().filter(move |route| matches(*route, path)))
    }

    /// Of the exact path, then of the longest prefix, then of shorter ones.
    fn by_segments(&self, path: &str) -> impl Iterator<Item = &Arc<R>> {
        let (mut node, mut exact): (_, &[Arc<R>]) = (self.nodes.first(), &[]);
        let rest = path.strip_prefix('/');
        if rest.is_none() {
            node = None;
        }
        let mut segments = rest.unwrap_or_default().split('/').peekable();
        while let Some(child) = node.and_then(|node| node.children.get(*segments.peek()?)) {
            let reached = &self.nodes[*child as usize];
            segments.next();
            if segments.peek().is_none() {
                exact = &reached.exact;
            }
            node = Some(reached);
        }
        let prefixes = successors(node, |node| Some(&self.nodes[node.parent? as usize]));
        exact.iter().chain(prefixes.flat_map(|node| &node.prefix))
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<R>> {
        self.nodes.iter().flat_map(|node| node.exact.iter().chain(&node.prefix)).chain(&self.regexes)
    }
}

/// Whether the route's regular expression matches. It costs a pass over the path.
fn matches<R: Route>(route: &Arc<R>, path: &str) -> bool {
    route.regex().is_some_and(|regex| regex.matches(path))
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

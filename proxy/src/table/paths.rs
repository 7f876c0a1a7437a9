//! The routes of one host by path: a trie of segments, so that a lookup costs the length of the path.
//!
//! The nodes lie in one vector and refer to each other by index: a path of a hundred thousand slashes is as
//! deep as it is long, and must neither recurse when it is built nor when it is freed.

use std::collections::HashMap;
use std::sync::Arc;

use snapshot::PathMatch;

use super::Route;

/// No request has a longer path: its whole head is at most so long. Such a route matches nothing and is left
/// out.
const LONGEST: usize = 32 * 1024;

/// Routes by path.
pub(super) struct Paths {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    exact: Option<Arc<Route>>,
    prefix: Option<Arc<Route>>,
    children: HashMap<Box<str>, u32>,
}

impl Paths {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// The place of the route with this condition. `None`: no request can match it.
    pub(super) fn slot(&mut self, matched: &PathMatch) -> Option<&mut Option<Arc<Route>>> {
        let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = matched;
        if path.len() > LONGEST {
            return None;
        }
        let mut at = 0;
        for segment in segments(matched) {
            at = match self.nodes[at].children.get(segment) {
                Some(&child) => child as usize,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(segment.into(), child as u32);
                    child
                }
            };
        }
        let node = &mut self.nodes[at];
        Some(match matched {
            PathMatch::Exact(_) => &mut node.exact,
            PathMatch::Prefix(_) => &mut node.prefix,
        })
    }

    /// The exact match, else the longest prefix by whole segments.
    pub(super) fn select(&self, path: &str) -> Option<&Arc<Route>> {
        let mut node = self.nodes.first()?;
        let mut longest = node.prefix.as_ref();
        for segment in path.strip_prefix('/')?.split('/') {
            let Some(&child) = node.children.get(segment) else { return longest };
            node = &self.nodes[child as usize];
            longest = node.prefix.as_ref().or(longest);
        }
        node.exact.as_ref().or(longest)
    }

    /// Every route, in no order.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.nodes.iter().flat_map(|node| node.exact.iter().chain(&node.prefix))
    }
}

/// The segments that lead to a condition's node. The prefix `/` is the root; the exact path `/` one empty
/// segment.
fn segments(matched: &PathMatch) -> impl Iterator<Item = &str> {
    let path = match matched {
        PathMatch::Prefix(path) if path == "/" => None,
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.strip_prefix('/'),
    };
    path.into_iter().flat_map(|path| path.split('/'))
}

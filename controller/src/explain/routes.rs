//! Which route wins, and what lost: to whom, and by which rule.

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use routing::Request;
use routing::conditions::{Conditions, Unmet};
use routing::hosts::Hosts;
use routing::path_regex::PathRegex;
use routing::paths::{self, Paths};
use serde::{Deserialize, Serialize};
use snapshot::{Host, HostPattern, Key, PathMatch, Route};
use translate::Object;

use super::{Asked, World, owner, why_first};

/// The route that wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The object that declares it.
    pub object: String,
    /// The rule of that object.
    pub rule: String,
    /// The match within the rule: `=/exact`, `/prefix`, `~regular expression`, with its conditions.
    pub matched: String,
    /// The field that declares it.
    pub field: String,
    /// `FILE:LINE` of that field, where it comes from a file.
    pub place: Option<String>,
    /// By which rules it wins.
    pub why: Vec<String>,
}

/// Something that might have been meant, and is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The object.
    pub object: String,
    /// The host, rule and match, where it has such.
    pub matched: String,
    /// What decided against it.
    pub by: By,
    /// The same for people.
    pub why: String,
}

/// What decided against a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum By {
    /// It fits, and another one comes before it.
    Precedence,
    /// Its path fits, and a condition does not hold.
    Condition,
    /// Another route takes everything that it could get.
    Unreachable,
    /// An older object has the same match.
    Conflict,
    /// The object is of a class that is not served.
    Class,
    /// A more specific host is there.
    Host,
    /// Its path does not fit.
    Path,
}

/// A route of the section that is searched.
struct Candidate {
    order: usize,
    regex: Option<PathRegex>,
    conditions: Conditions,
}

impl paths::Route for Candidate {
    fn order(&self) -> usize {
        self.order
    }

    fn regex(&self) -> Option<&PathRegex> {
        self.regex.as_ref()
    }

    fn conditions(&self) -> &Conditions {
        &self.conditions
    }
}

/// What was found.
pub(super) struct Found {
    pub(super) host: Option<(HostPattern, Host)>,
    pub(super) passed_over: Vec<HostPattern>,
    paths: Paths<Candidate>,
    winner: Option<usize>,
    /// By order: those that nothing can reach, or that cannot be served.
    left_out: BTreeSet<usize>,
}

/// Searches as a proxy does.
pub(super) fn find(world: &World, asked: &Asked<'_>) -> Found {
    let mut hosts = Hosts::default();
    for (key, _) in world.snapshot.iter() {
        if let Key::Host(pattern) = key {
            hosts.insert(pattern, Arc::new(pattern.clone()));
        }
    }
    let mut fitting =
        hosts.by_precedence(Some(asked.request.host())).map(|pattern| HostPattern::clone(pattern));
    let host = fitting.next().and_then(|pattern| Some((pattern.clone(), world.host(&pattern)?)));
    let passed_over = fitting.collect();
    let (mut paths, mut left_out) = (Paths::default(), BTreeSet::new());
    for (order, route) in host.iter().flat_map(|(_, host)| &host.routes).enumerate() {
        let regex = match &route.path {
            PathMatch::Regex(pattern) => PathRegex::new(pattern).map(Some),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => Ok(None),
        };
        let read = regex.and_then(|regex| Ok((regex, Conditions::new(route.conditions.clone())?)));
        let place = paths.place(&route.path).filter(paths::Place::is_open);
        match (read, place) {
            (Ok((regex, conditions)), Some(mut place)) => place.push(Candidate { order, regex, conditions }),
            _ => drop(left_out.insert(order)),
        }
    }
    let fits = |route: &Candidate| route.conditions.hold(&asked.request, asked.question.client);
    let winner = paths.select(asked.request.path(), fits).map(|route| route.order);
    Found { host, passed_over, paths, winner, left_out }
}

impl Found {
    fn routes(&self) -> &[Route] {
        self.host.as_ref().map_or(&[], |(_, host)| &host.routes)
    }

    pub(super) fn winner(&self) -> Option<&Route> {
        self.routes().get(self.winner?)
    }

    pub(super) fn chosen(&self, world: &World, route: &Route, field: String) -> Chosen {
        let object = owner(route);
        let mut why = Vec::new();
        if let Some((pattern, _)) = &self.host {
            let over = self.passed_over.iter().map(HostPattern::to_string).collect::<Vec<_>>().join(" and ");
            let over = if over.is_empty() { String::new() } else { format!(", which comes before {over}") };
            why.push(match pattern {
                HostPattern::Exact(name) => format!("host {name} is named exactly{over}"),
                HostPattern::Wildcard(_) => format!("{pattern} is the most specific host that fits{over}"),
                HostPattern::Any => {
                    "no host of this name is there, so that routes of every host are taken".into()
                }
            });
        }
        why.push(match &route.path {
            PathMatch::Exact(path) => format!("the path is {path} exactly"),
            PathMatch::Prefix(path) => format!("the path begins with the segments of {path}"),
            PathMatch::Regex(pattern) => format!("the path fits the regular expression {pattern}"),
        });
        if route.conditions.count() > 0 {
            why.push("everything else that the match asks for holds".into());
        }
        Chosen {
            place: world.place(&object, &field),
            object: object.to_string(),
            rule: route.id.rule.clone(),
            matched: route.id.matched.clone(),
            field,
            why,
        }
    }

    /// Everything else of the host, of hosts that fit less well, and of objects that are not served there.
    pub(super) fn lost(&self, world: &World, asked: &Asked<'_>) -> Vec<Lost> {
        let mut lost = self.of_host(asked);
        lost.extend(self.conflicts(world));
        lost.extend(strangers(world, asked.request.host()));
        for pattern in &self.passed_over {
            let routes = world.host(pattern).map(|host| host.routes).unwrap_or_default();
            let searched = self.host.as_ref().map(|(host, _)| host.to_string()).unwrap_or_default();
            lost.extend(
                routes.iter().filter(|route| !self.routes().iter().any(|own| own.id == route.id)).map(
                    |route| {
                        let why =
                            format!("only the routes of the most specific host are searched: {searched}");
                        Lost::new(&owner(route), format!("{pattern} {}", named(route)), By::Host, why)
                    },
                ),
            );
        }
        lost.sort_by_key(|one| one.by);
        lost
    }

    fn of_host(&self, asked: &Asked<'_>) -> Vec<Lost> {
        let fitting: Vec<_> = self.paths.of_path(asked.request.path()).collect();
        let others = self.routes().iter().enumerate().filter(|(order, _)| Some(*order) != self.winner);
        others
            .map(|(order, route)| {
                let candidate = fitting.iter().find(|candidate| candidate.order == order);
                let unmet = candidate
                    .map(|candidate| candidate.conditions.unmet(&asked.request, asked.question.client));
                let (by, why) = match (unmet, self.winner()) {
                    (None, _) if self.left_out.contains(&order) => {
                        (By::Unreachable, "a route before it takes every request for its path".into())
                    }
                    (None, _) => (By::Path, format!("the path is not {}", described(&route.path))),
                    (Some(Some(unmet)), _) => (By::Condition, lacking(unmet)),
                    (Some(None), Some(winner)) => (By::Precedence, why_first(winner, route).into()),
                    (Some(None), None) => (By::Unreachable, "it cannot be served".into()),
                };
                Lost::new(&owner(route), named(route), by, why)
            })
            .collect()
    }

    /// Matches of the host that older objects have.
    fn conflicts(&self, world: &World) -> Vec<Lost> {
        let Some((pattern, _)) = &self.host else { return Vec::new() };
        let name = pattern.to_string();
        let conflicts = world.reports.iter().flat_map(|(object, report)| {
            report
                .conflicts
                .iter()
                .filter(|conflict| conflict.host == name)
                .map(move |conflict| (object, conflict))
        });
        conflicts
            .map(|(object, conflict)| {
                let since = |object| match created(world, object) {
                    Some(time) => format!(" ({time})"),
                    None => String::new(),
                };
                let why = format!(
                    "{}{} has the same and is older than this one{}",
                    conflict.owner,
                    since(&conflict.owner),
                    since(object)
                );
                Lost::new(object, format!("{} {}", conflict.host, conflict.path), By::Conflict, why)
            })
            .collect()
    }

    /// Whose remarks are of interest.
    pub(super) fn concerned(&self, lost: &[Lost]) -> Vec<ObjectRef> {
        let of_host = self.routes().iter().map(owner);
        let others = lost.iter().filter(|one| matches!(one.by, By::Conflict | By::Class));
        let others = others.filter_map(|one| reference(&one.object));
        of_host.chain(others).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Objects that name the host, and are not ours to serve.
fn strangers(world: &World, host: &str) -> Vec<Lost> {
    let routes = world.store.objects().filter(|object| matches!(object.kind.as_str(), "Ingress" | "WsRoute"));
    let unserved = routes.filter(|object| !world.reports.contains_key(object));
    unserved
        .filter_map(|object| {
            let (hosts, class) = match world.store.object(&object)? {
                Object::Ingress(ingress) => {
                    let spec = ingress.spec.as_ref()?;
                    let hosts =
                        spec.rules.iter().flatten().filter_map(|rule| rule.host.clone()).collect::<Vec<_>>();
                    (hosts, spec.ingress_class_name.clone())
                }
                Object::WsRoute(route) => (route.spec.hosts.clone(), route.spec.ingress_class_name.clone()),
                _ => return None,
            };
            let named = hosts.iter().find(|named| fits(named, host))?;
            let why = match class {
                Some(class) => format!("it is of class {class:?}, which is not served here"),
                None => "it names no class, so that it is not served here".to_owned(),
            };
            Some(Lost::new(&object, named.clone(), By::Class, why))
        })
        .collect()
}

/// Whether a host as it is written, with or without a wildcard, is meant for a name.
fn fits(written: &str, name: &str) -> bool {
    let written = written.to_ascii_lowercase();
    match written.strip_prefix("*.") {
        Some(suffix) => name.split_once('.').is_some_and(|(_, behind)| behind == suffix),
        None => written == name,
    }
}

fn created(world: &World, object: &ObjectRef) -> Option<String> {
    let time = world.store.object(object)?.metadata().creation_timestamp.as_ref()?;
    serde_json::to_value(time).ok()?.as_str().map(str::to_owned)
}

fn reference(shown: &str) -> Option<ObjectRef> {
    let (kind, name) = shown.split_once(' ')?;
    let (namespace, name) = name.split_once('/')?;
    Some(ObjectRef::new(kind, namespace, name))
}

fn named(route: &Route) -> String {
    format!("{} {}", route.id.rule, route.id.matched)
}

fn described(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("{path} exactly"),
        PathMatch::Prefix(path) => format!("{path} or below"),
        PathMatch::Regex(pattern) => format!("what the regular expression {pattern} begins with"),
    }
}

fn lacking(unmet: Unmet<'_>) -> String {
    match unmet {
        Unmet::Client => "the client is of none of its networks".into(),
        Unmet::Subprotocol => "none of its subprotocols is offered".into(),
        Unmet::Header(name) => format!("header {name} is absent or has another value"),
        Unmet::QueryParameter(name) => format!("query parameter {name} is absent or has another value"),
    }
}

impl Lost {
    fn new(object: &ObjectRef, matched: String, by: By, why: String) -> Self {
        Self { object: object.to_string(), matched, by, why }
    }
}

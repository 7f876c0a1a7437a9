//! Where the settings of a route come from: for people who ask, not for translation.
//!
//! What a layer says is read again as translation reads it. Which annotation, or which field of a policy, a setting
//! comes of is found by trial: what changes it by being left out. So nothing here knows a single setting by name, and
//! what annotations mean together is attributed to all of them.

use std::collections::{BTreeMap, BTreeSet};

use crds::annotations::{self, NGINX, OWN};
use crds::diagnostic::ObjectRef;
use crds::policy::PolicyPatch;
use crds::wspolicy::WsPolicy;
use crds::wsroute::{Policy, WsRoute};
use k8s_openapi::api::networking::v1::Ingress;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snapshot::{Conditions, HostTls, PathMatch, Route, RouteId};

use crate::class::Classes;
use crate::draft::DraftRoute;
use crate::object;
use crate::report::Notes;
use crate::settings::Settings;
use crate::store::{Object, Store};
use crate::{conditions, host, ingress, policy};

/// Where a route and its settings come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The field that declares the match, such as `spec.rules[0].http.paths[1]`.
    pub field: String,
    /// What the route keeps to, by name.
    pub settings: Vec<Setting>,
}

/// One setting of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Such as `timeouts.idle`.
    pub name: String,
    /// What it is. `null`: what is said of it has no effect here.
    pub value: Value,
    /// Who says so, the layer that counts first, then those that it lies on. Empty: it follows from others.
    pub said: Vec<Saying>,
}

/// What one layer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saying {
    /// Such as `built in`, `annotations`, `rule`.
    pub layer: String,
    /// The fields or annotations that it comes of, where the layer is an object's.
    pub fields: Vec<String>,
    /// What it says.
    pub value: Value,
}

/// Settings by name.
type Leaves = BTreeMap<String, Value>;

/// One layer.
struct Layer {
    name: &'static str,
    leaves: Leaves,
    /// The fields that a setting comes of.
    fields: BTreeMap<String, Vec<String>>,
}

/// Where this route's settings come from. `tls`: of the host that it is looked up at. `None`: the store has no such
/// route, or it is not served.
pub fn provenance(
    store: &Store,
    settings: &Settings,
    route: &RouteId,
    tls: Option<&HostTls>,
) -> Option<Provenance> {
    let owner = ObjectRef::new(&*route.owner.kind, &*route.owner.namespace, &*route.owner.name);
    let object = store.object(&owner)?;
    let classes = Classes::read(store, settings, &mut Notes::default());
    let asked = object::read(object, &classes, settings)?.ok()?;
    let is = |draft: &DraftRoute| {
        draft.rule == route.rule && conditions::name(&draft.path, &draft.conditions) == route.matched
    };
    let (_, draft) = asked.draft.all_routes().find(|(_, draft)| is(draft))?;
    let mut layers = vec![Layer::of("built in", &policy::built_in(tls.is_some()))];
    let class = classes.parameters(asked.class.as_ref());
    let class = class.policy().map(|class| &class.written);
    layers.extend(class.and_then(|class| of_class("class defaults", "defaults", class)));
    match object {
        Object::Ingress(object) => layers.extend(of_ingress(object, &owner, settings)),
        Object::WsRoute(object) => layers.extend(of_ws_route(object, &owner, &draft.rule)),
        _ => {}
    }
    layers.extend(class.and_then(|class| of_class("class overrides", "overrides", class)));
    let merged = policy::built_in(tls.is_some()).merge(draft.patch.clone());
    Some(Provenance { field: draft.field.clone(), settings: attributed(&leaves(&merged), &layers) })
}

/// ingress-nginx's annotations below ours.
fn of_ingress(ingress: &Ingress, owner: &ObjectRef, settings: &Settings) -> [Layer; 2] {
    let all = ingress.metadata.annotations.clone().unwrap_or_default();
    let read = |annotations: &BTreeMap<String, String>| {
        leaves(&annotations::read(annotations, owner, settings.nginx_annotations).patch)
    };
    let layer = |name, annotations: &BTreeMap<String, String>| {
        let whole = read(annotations);
        let without = annotations.keys().filter(|key| annotations::is_known_family(key)).map(|key| {
            let mut fewer = annotations.clone();
            fewer.remove(key);
            (format!("metadata.annotations[{key}]"), read(&fewer))
        });
        let mut fields = sources(&whole, without);
        // Two that say the same are each as good as both: ours is named first.
        let by_rank = annotations.iter().filter(|(key, _)| key.starts_with(OWN)).chain(annotations);
        for (key, value) in by_rank {
            let alone = read(&BTreeMap::from([(key.clone(), value.clone())]));
            for (name, _) in whole.iter().filter(|(name, value)| alone.get(*name) == Some(value)) {
                fields.entry(name.clone()).or_insert_with(|| vec![format!("metadata.annotations[{key}]")]);
            }
        }
        Layer { name, fields, leaves: whole }
    };
    let theirs = all.iter().filter(|(key, _)| key.starts_with(NGINX));
    let theirs = theirs.map(|(key, value)| (key.clone(), value.clone())).collect();
    [layer("ingress-nginx's annotations", &theirs), layer("annotations", &all)]
}

fn of_ws_route(route: &WsRoute, owner: &ObjectRef, rule: &str) -> Vec<Layer> {
    let of_rule = route.spec.rules.iter().enumerate().find(|(_, one)| one.name == rule);
    let of_rule = of_rule.and_then(|(index, one)| Some((index, one.policy.as_ref()?)));
    let of_object = route.spec.policy.as_ref().map(|policy| ("policy", "spec.policy".to_owned(), policy));
    let of_rule = of_rule.map(|(index, policy)| ("rule", format!("spec.rules[{index}].policy"), policy));
    of_object
        .into_iter()
        .chain(of_rule)
        .map(|(name, field, policy)| of_policy(name, &field, policy, |policy| policy.read(owner, &field).0))
        .collect()
}

/// One of the two layers of a class.
fn of_class(name: &'static str, part: &str, class: &WsPolicy) -> Option<Layer> {
    let own = |name: &Option<String>| name.clone().unwrap_or_default();
    let object = ObjectRef::new("WsPolicy", own(&class.metadata.namespace), own(&class.metadata.name));
    let policy = if part == "defaults" { &class.spec.defaults } else { &class.spec.overrides };
    let within = format!("spec.{part}");
    let field = format!("{object}: {within}");
    let read = |policy: &Policy| {
        let mut patch = policy.read(&object, &within).0;
        patch.at_home_in(&object.namespace, &object.to_string());
        patch
    };
    Some(of_policy(name, &field, policy.as_ref()?, read))
}

fn of_policy(
    name: &'static str,
    field: &str,
    policy: &Policy,
    read: impl Fn(&Policy) -> PolicyPatch,
) -> Layer {
    let whole = leaves(&read(policy));
    let written = serde_json::to_value(policy).unwrap_or_default();
    let without = pointers(&written).into_iter().filter_map(|pointer| {
        let fewer = without(&written, &pointer)?;
        Some((format!("{field}.{}", pointer.join(".")), leaves(&read(&fewer))))
    });
    Layer { name, fields: sources(&whole, without), leaves: whole }
}

impl Layer {
    fn of(name: &'static str, patch: &PolicyPatch) -> Self {
        Self { name, leaves: leaves(patch), fields: BTreeMap::new() }
    }

    fn says(&self, name: &str) -> Option<Saying> {
        let (layer, value) = (self.name.to_owned(), self.leaves.get(name)?.clone());
        Some(Saying { layer, fields: self.fields.get(name).cloned().unwrap_or_default(), value })
    }
}

/// What became of everything that any layer says. `layers`: the lowest first.
fn attributed(merged: &Leaves, layers: &[Layer]) -> Vec<Setting> {
    let names = layers.iter().flat_map(|layer| layer.leaves.keys()).chain(merged.keys());
    let names: BTreeSet<_> = names.collect();
    names
        .into_iter()
        .map(|name| {
            let mut said: Vec<_> = layers.iter().rev().filter_map(|layer| layer.says(name)).collect();
            // What one layer has of another is said once, by the one that it comes of.
            said.dedup_by(|below, above| below.fields == above.fields && below.value == above.value);
            Setting { name: name.clone(), value: merged.get(name).cloned().unwrap_or_default(), said }
        })
        .collect()
}

/// Which of the things that can be left out a setting comes of.
fn sources(whole: &Leaves, without: impl Iterator<Item = (String, Leaves)>) -> BTreeMap<String, Vec<String>> {
    let mut sources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (field, fewer) in without {
        for (name, _) in whole.iter().filter(|(name, value)| fewer.get(*name) != Some(value)) {
            sources.entry(name.clone()).or_default().push(field.clone());
        }
    }
    sources
}

/// What a layer sets, by name. Groups are objects whose fields begin in lower case; the choice of a union, which
/// begins in upper case, is a value.
fn leaves(patch: &PolicyPatch) -> Leaves {
    let mut leaves = Leaves::new();
    let value = serde_json::to_value(patch).unwrap_or_default();
    gather(&value, String::new(), &mut leaves);
    leaves
}

fn gather(value: &Value, name: String, leaves: &mut Leaves) {
    match value {
        Value::Null => {}
        Value::Object(fields)
            if !fields.keys().any(|key| key.starts_with(|c: char| c.is_ascii_uppercase())) =>
        {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                gather(value, name, leaves);
            }
        }
        value => drop(leaves.insert(name, value.clone())),
    }
}

/// The way to everything in a tree that has no further fields.
fn pointers(value: &Value) -> Vec<Vec<String>> {
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .flat_map(|(key, value)| {
                pointers(value).into_iter().map(move |rest| [vec![key.clone()], rest].concat())
            })
            .collect(),
        _ => vec![Vec::new()],
    }
}

/// A policy without what stands at the end of this way; where it needs that, without what needs it.
fn without(written: &Value, pointer: &[String]) -> Option<Policy> {
    for length in (1..=pointer.len()).rev() {
        let (last, way) = pointer[..length].split_last()?;
        let mut fewer = written.clone();
        let parent = way.iter().try_fold(&mut fewer, |value, key| value.get_mut(key))?;
        parent.as_object_mut()?.remove(last);
        if let Ok(policy) = serde_json::from_value(fewer) {
            return Some(policy);
        }
    }
    None
}

/// What puts one route of a host before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precedence {
    /// Every rule comes before a `defaultBackend`.
    RuleBeforeDefault,
    /// The `defaultBackend` of an object that names the host comes before that of one that does not.
    NearerDefault,
    /// An exact path comes before a prefix.
    ExactPath,
    /// The longer path comes first.
    LongerPath,
    /// A plain prefix comes before a regular expression that begins with it.
    PlainPath,
    /// Of regular expressions that begin alike the longer text comes first.
    LongerPattern,
    /// More conditions come first.
    MoreConditions,
    /// The older object comes first; ties go by namespace and name.
    OlderObject,
}

/// What puts `first` before `second`, two routes of one host in the order of its section.
pub fn precedence(first: &Route, second: &Route) -> Precedence {
    let is_default = |route: &Route| route.id.rule == ingress::DEFAULT_BACKEND;
    match (is_default(first), is_default(second)) {
        (false, true) => return Precedence::RuleBeforeDefault,
        (true, true) => return Precedence::NearerDefault,
        _ => {}
    }
    decisive((&first.path, &first.conditions), (&second.path, &second.conditions))
}

fn decisive(first: (&PathMatch, &Conditions), second: (&PathMatch, &Conditions)) -> Precedence {
    let (one, other) = (host::rank(first.0, first.1), host::rank(second.0, second.1));
    if one.0 != other.0 {
        Precedence::ExactPath
    } else if one.1 != other.1 {
        Precedence::LongerPath
    } else if one.2 != other.2 {
        Precedence::PlainPath
    } else if one.3 != other.3 || one.4 != other.4 {
        Precedence::LongerPattern
    } else if one.5 != other.5 {
        Precedence::MoreConditions
    } else {
        Precedence::OlderObject
    }
}

#[cfg(test)]
mod tests;

//! Fields of messages that are in ConfigMaps: each key is a name, its text the value.

use crds::diagnostic::quoted;
use crds::grammar;
use crds::policy::PolicyPatch;
use crds::policy::config_maps::ConfigMapName;
use crds::policy::headers::{Direction, Field, MOST_BYTES, repeated, reserved};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::absence::{self, Absence};
use crate::draft::Owner;
use crate::object::Reference;
use crate::report::{Notes, remark};
use crate::store::{Kind, Name, Store};

/// The most fields of one ConfigMap.
const MOST: usize = 64;

/// What an authentication service is told by us, in lower case.
const OF_SERVICE: [&str; 3] = ["x-auth-request-redirect", "x-original-method", "x-original-url"];

/// The ConfigMap that a route's policy names for its responses.
pub(crate) fn reference(patch: &PolicyPatch, owner: &Owner) -> Option<Reference> {
    patch.headers.response.set_from.as_ref().map(|named| reference_to(named, owner))
}

pub(crate) fn reference_to(named: &ConfigMapName, owner: &Owner) -> Reference {
    (Kind::ConfigMap, Name::new(owner.namespace(), &named.name))
}

/// The fields that are set on responses. Absent: what the policy itself says is.
pub(crate) fn of_responses(
    patch: &PolicyPatch,
    owner: &Owner,
    store: &Store,
    notes: &mut Notes,
) -> Option<Vec<Field>> {
    let named = patch.headers.response.set_from.as_ref()?;
    let problem = match read(named, owner, store, Direction::Response) {
        Ok(fields) => return Some(fields),
        Err(problem) => problem,
    };
    let said = format!("{}; the routes are served without its fields", problem.message);
    notes.warn(remark(&owner.reference(), &*named.field, problem.reason, said, problem.remedy));
    None
}

/// The fields that an authentication service gets, or why nobody can be let in.
pub(crate) fn of_questions(
    named: Option<&ConfigMapName>,
    owner: &Owner,
    store: &Store,
    notes: &mut Notes,
) -> Result<Vec<Field>, String> {
    let Some(named) = named else { return Ok(Vec::new()) };
    read(named, owner, store, Direction::Request).map_err(|Absence { reason, message, remedy }| {
        let said = format!("{message}; the routes answer 503");
        notes.unresolved(reason, remark(&owner.reference(), &*named.field, reason, said, remedy));
        message
    })
}

fn read(
    named: &ConfigMapName,
    owner: &Owner,
    store: &Store,
    direction: Direction,
) -> Result<Vec<Field>, Absence> {
    let name = Name::new(owner.namespace(), &named.name);
    let map = store.config_map(&name).ok_or_else(|| absence::of_config_map(&name, store))?;
    fields(map, direction).map_err(|(why, remedy)| Absence {
        reason: "ConfigMapInvalid",
        message: format!("ConfigMap {}/{}: {why}", name.namespace, name.name),
        remedy,
    })
}

/// In the order of names. An error is why not, and what to do.
fn fields(map: &ConfigMap, direction: Direction) -> Result<Vec<Field>, (String, &'static str)> {
    let data = map.data.iter().flatten();
    let fields: Vec<_> = data
        .map(|(name, value)| (name.clone(), value.trim_matches([' ', '\t', '\r', '\n']).to_owned()))
        .collect();
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > MOST || bytes > MOST_BYTES {
        let why = format!("it has more than {MOST} fields, or more than {}Ki of them", MOST_BYTES / 1024);
        return Err((why, "keep only the fields that are to be set"));
    }
    for (name, value) in &fields {
        check(name, value, direction)?;
    }
    if let Some(name) = repeated(&fields) {
        return Err((format!("it has {} twice, in another case", quoted(name)), "keep one of the two"));
    }
    Ok(fields)
}

fn check(name: &str, value: &str, direction: Direction) -> Result<(), (String, &'static str)> {
    let key = quoted(name);
    if !grammar::TOKEN.holds(name) {
        return Err((format!("{key} is no name of a field"), "write letters, digits and hyphens"));
    }
    if let Some(remedy) = reserved(name, direction) {
        return Err((format!("{key} is not a route's to change"), remedy));
    }
    let plain = name.to_ascii_lowercase().replace('_', "-");
    if direction == Direction::Request && OF_SERVICE.contains(&&*plain) {
        return Err((format!("{key} is told to the service by Longhaul"), "remove it"));
    }
    if !grammar::FIELD_VALUE.holds(value) {
        return Err((
            format!("the value of {key} is no line of text"),
            "write it without control characters",
        ));
    }
    if value.contains('$') {
        let why = format!("the value of {key} has a variable of nginx, of which none is known here");
        return Err((why, "write the value itself, without $"));
    }
    Ok(())
}

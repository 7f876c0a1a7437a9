//! Fields that a route changes, as a WsRoute writes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;
use super::Reader;
use crate::diagnostic::{Diagnostic, Severity, quoted};
use crate::grammar;
use crate::policy::headers::{self, ChangesPatch, Direction, Field, HeadersPatch, HstsPatch, MOST_BYTES};

/// Fields that are set, added or removed. Those that belong to a connection, to the message's framing or to the
/// handshake are nobody's to change, nor are those in which backends are told who the client is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::tidy)]
pub struct Headers {
    /// Of requests and handshakes, as the backend gets them. What a client sends under a name that is set here is
    /// never passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HeaderChanges>,
    /// Of responses, as the client gets them: plain ones, the 101 of a tunnel, and other answers of the backend to a
    /// handshake. Longhaul's own answers stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HeaderChanges>,
}

/// Changes to the fields of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::tidy)]
pub struct HeaderChanges {
    /// Name to value, in place of every field of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fields")]
    pub set: Option<BTreeMap<String, String>>,
    /// Name to value, beside the fields of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fields")]
    pub add: Option<BTreeMap<String, String>>,
    /// Names of fields that are taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tokens")]
    pub remove: Option<Vec<String>>,
}

/// What browsers are told to do with this host from now on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_hsts)]
pub struct Hsts {
    /// How long they are to use TLS only, such as 4320h. `0s` makes them forget it.
    #[schemars(schema_with = "schema::duration")]
    pub max_age: String,
    /// Subdomains too. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_subdomains: Option<bool>,
    /// Browsers may take the host into their own lists, from which it is hard to get out. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preload: Option<bool>,
}

impl Reader<'_> {
    pub(super) fn headers(&mut self, headers: &Headers) -> HeadersPatch {
        let mut of = |direction, changes: &Option<HeaderChanges>| {
            changes.as_ref().map(|changes| self.changes(direction, changes)).unwrap_or_default()
        };
        let request = of(Direction::Request, &headers.request);
        HeadersPatch {
            request,
            response: of(Direction::Response, &headers.response),
            ..HeadersPatch::default()
        }
    }

    pub(super) fn hsts(&mut self, hsts: &Hsts) -> HstsPatch {
        let max_age = self.duration("hsts.maxAge", Some(&hsts.max_age)).map(|age| age.as_millis() / 1000);
        HstsPatch { max_age, include_subdomains: hsts.include_subdomains, preload: hsts.preload }
    }

    fn changes(&mut self, direction: Direction, changes: &HeaderChanges) -> ChangesPatch {
        let HeaderChanges { set, add, remove } = changes;
        let of = match direction {
            Direction::Request => "headers.request",
            Direction::Response => "headers.response",
        };
        let mut room = MOST_BYTES;
        let set = set.as_ref().map(|fields| self.fields(direction, &format!("{of}.set"), fields, &mut room));
        let add = add.as_ref().map(|fields| self.fields(direction, &format!("{of}.add"), fields, &mut room));
        let remove = remove.as_ref().map(|names| {
            let each = names.iter().enumerate();
            each.filter(|(at, name)| self.changeable(direction, &format!("{of}.remove[{at}]"), name))
                .map(|(_, name)| name.clone())
                .collect()
        });
        ChangesPatch { set, set_from: None, add, remove }
    }

    /// Those that can be sent; each other is reported and left out.
    fn fields(
        &mut self,
        direction: Direction,
        of: &str,
        fields: &BTreeMap<String, String>,
        room: &mut usize,
    ) -> Vec<Field> {
        let mut sent: Vec<Field> = Vec::new();
        for (name, value) in fields {
            let field = format!("{of}[{name}]");
            if !self.changeable(direction, &field, name) {
                continue;
            }
            let Some(value) = self.fitting(&field, value, &grammar::FIELD_VALUE, "the field is left out")
            else {
                continue;
            };
            let Some(left) = room.checked_sub(name.len() + value.len()) else {
                let message = "with it the fields are longer than 16Ki together; it is left out".into();
                self.malformed(&field, message, "less");
                continue;
            };
            *room = left;
            sent.push((name.clone(), value));
            if headers::repeated(&sent).is_some() {
                let message = format!("{} is there in another case; it is left out", quoted(name));
                self.malformed(&field, message, "each name once");
                sent.pop();
            }
        }
        sent
    }

    fn changeable(&mut self, direction: Direction, field: &str, name: &str) -> bool {
        if self.fitting(field, name, &grammar::TOKEN, "it is left out").is_none() {
            return false;
        }
        let Some(remedy) = headers::reserved(name, direction) else { return true };
        self.diagnostics.push(Diagnostic {
            object: self.object.clone(),
            field: format!("{}.{field}", self.field),
            severity: Severity::Warning,
            reason: "UnsupportedValue".into(),
            message: format!("{} is not a route's to change; it is left out", quoted(name)),
            remedy: remedy.into(),
        });
        false
    }
}

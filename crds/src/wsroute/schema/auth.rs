//! What the schema says of authentication.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{rule, tidy};
use crate::grammar;

pub(in super::super) fn of_auth(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "[has(self.basic), has(self.none)].filter(named, named).size() == 1",
        "auth must say exactly one way to come in; name one of basic and none",
        "",
    );
}

pub(in super::super) fn realm(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::FIELD_VALUE.pattern, "maxLength": 256})
}

//! What the schema says of authentication.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{rule, tidy};
use crate::grammar;

pub(in super::super) fn of_auth(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "[has(self.external), has(self.basic), has(self.none)].filter(named, named).size() == 1",
        "auth must say exactly one way to come in; name one of external, basic and none",
        "",
    );
}

pub(in super::super) fn of_external(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "has(self.url) ? !has(self.service) && !has(self.port) && !has(self.path) : \
         has(self.service) && has(self.port)",
        "there is neither a service with its port nor a url, or there are both; name one of the two",
        "",
    );
    rule(
        schema,
        "!has(self.timeout) || duration(self.timeout) > duration('0s')",
        "a service that may take no time lets nobody in; write a timeout above 0s",
        ".timeout",
    );
}

pub(in super::super) fn url(_: &mut SchemaGenerator) -> Schema {
    super::text(&grammar::URL, 2048)
}

pub(in super::super) fn fields(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": super::text(&grammar::TOKEN, 256), "maxItems": 32})
}

pub(in super::super) fn realm(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::FIELD_VALUE.pattern, "maxLength": 256})
}

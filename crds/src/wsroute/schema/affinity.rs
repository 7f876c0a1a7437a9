//! What the schema says of affinity.

use schemars::{Schema, SchemaGenerator};

use super::{rule, text, tidy};
use crate::grammar;

pub(in super::super) fn of_cookie(schema: &mut Schema) {
    tidy(schema);
    rule(
        schema,
        "!has(self.sameSite) || self.sameSite != 'None' || !has(self.secure) || self.secure",
        "browsers drop a cookie with sameSite None that is not secure; remove secure, or choose another sameSite",
        ".secure",
    );
}

pub(in super::super) fn path(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::COOKIE_PATH, 1024)
}

pub(in super::super) fn domain(_: &mut SchemaGenerator) -> Schema {
    text(&grammar::COOKIE_DOMAIN, 254)
}

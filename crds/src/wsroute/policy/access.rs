//! Who may come in, as a WsRoute writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;
use super::Reader;
use crate::diagnostic::{Severity, quoted};
use crate::grammar::{self, Grammar};
use crate::network::network;
use crate::origin::Origin;
use crate::policy::{AccessPatch, Guard};

/// Who may come in; all others get 403.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Access {
    /// Networks of clients that are let in, as CIDRs or single addresses; clients of all others are not. An empty list
    /// lets everybody in. Absent: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub allow: Option<Vec<String>>,
    /// Networks of clients that are kept out, even where `allow` names them. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub deny: Option<Vec<String>>,
    /// Origins of the pages that may open WebSockets: `https://chat.example.com`, `SameHost` for the host that is asked
    /// for, `null`. `*` stands for one or more characters of one label of the host, as in `https://*.example.com`, or
    /// for any port. A handshake without an Origin comes from no page and is let in; plain requests are not looked at.
    /// Absent or empty: every origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::origins")]
    pub origins: Option<Vec<String>>,
}

impl Access {
    /// The same in the common model. What does not read keeps everybody out.
    pub(super) fn read(&self, reader: &mut Reader<'_>) -> AccessPatch {
        AccessPatch {
            allow: reader.guard("access.allow", self.allow.as_deref(), &grammar::NETWORK, network),
            deny: reader.guard("access.deny", self.deny.as_deref(), &grammar::NETWORK, network),
            origins: reader.guard("access.origins", self.origins.as_deref(), &grammar::ORIGIN, Origin::read),
            ..AccessPatch::default()
        }
    }
}

impl Reader<'_> {
    fn guard<T>(
        &mut self,
        field: &str,
        texts: Option<&[String]>,
        grammar: &Grammar,
        read: fn(&str) -> Option<T>,
    ) -> Option<Guard<Vec<T>>> {
        let mut items = Some(Vec::new());
        for (index, text) in texts?.iter().enumerate() {
            let item = read(text);
            if item.is_none() {
                let message = format!(
                    "{} does not have the form that is asked for; the routes answer 503",
                    quoted(text)
                );
                self.malformed(&format!("{field}[{index}]"), message, grammar.words);
                self.diagnostics.last_mut().expect("one was just put there").severity = Severity::Error;
            }
            items = items.zip(item).map(|(mut items, item)| {
                items.push(item);
                items
            });
        }
        Some(items.map_or(Guard::Unreadable, Guard::Holds))
    }
}

//! A tree of [`yaml`](super::yaml) nodes into typed objects, strictly: a field that the type does not have is a
//! mistake with its line and the nearest field that it does have.
//!
//! The types say which fields they have when serde asks for a struct; so nothing here knows a Kubernetes type.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::yaml::{Entry, Node, Value};

/// One mistake in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where the tree knows it.
    pub(crate) line: u32,
    /// The field's path, as diagnostics write it.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
    /// It speaks of a key, and shows nothing of a value.
    pub(crate) about_key: bool,
}

impl Mistake {
    /// A field that the type does not have.
    pub(crate) fn is_unknown_field(&self) -> bool {
        self.message.starts_with("unknown field")
    }
}

/// Decodes an object. All fields that are not known are told together with the first value that does not fit.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Vec<Mistake>> {
    let unknown = RefCell::default();
    let decoded = T::deserialize(At { node, line: node.line, field: String::new(), unknown: &unknown });
    let mut mistakes = unknown.into_inner();
    match decoded {
        Ok(object) if mistakes.is_empty() => Ok(object),
        Ok(_) => Err(mistakes),
        Err(Error(mistake)) => {
            mistakes.push(*mistake);
            Err(mistakes)
        }
    }
}

/// Writes the path of `key` below `field`: names after a dot, everything else in brackets.
pub(crate) fn below(field: &str, key: &str) -> String {
    let name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !key.is_empty();
    match (name, field.is_empty()) {
        (true, true) => key.into(),
        (true, false) => format!("{field}.{key}"),
        (false, _) => format!("{field}[{key}]"),
    }
}

/// The known name that is most like `name`, where one is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&folded, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[derive(Debug)]
struct Error(Box<Mistake>);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Box::new(Mistake { message: message.to_string(), ..Mistake::default() }))
    }
}

/// A node, and where it stands.
#[derive(Clone)]
struct At<'de, 'u> {
    node: &'de Node,
    /// Of the key, where the node has one.
    line: u32,
    field: String,
    unknown: &'u RefCell<Vec<Mistake>>,
}

impl<'de> At<'de, '_> {
    /// The innermost place that hears of an error is where the error is.
    fn locate(&self, error: Error) -> Error {
        let Error(mut mistake) = error;
        if mistake.line == 0 {
            mistake.line = self.line;
            mistake.field.clone_from(&self.field);
            let unquoted = matches!(self.node.value, Value::Bool(_) | Value::Integer(_) | Value::Float(_));
            if unquoted && mistake.message.ends_with("string") {
                mistake.remedy = "put the value in quotes".into();
            }
        }
        Error(mistake)
    }

    fn visit<V: Visitor<'de>>(
        &self,
        visitor: V,
        known: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match i64::try_from(*value) {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(_) => visitor.visit_seq(Items { at: self, next: 0 }),
            Value::Mapping(_) => visitor.visit_map(Entries { at: self, known, next: 0 }),
        }
    }

    fn report_unknown(&self, entry: &Entry, known: &[&'static str]) {
        // Every object has these two, though not every type says so.
        if self.field.is_empty() && matches!(&*entry.key, "apiVersion" | "kind") {
            return;
        }
        let remedy = match nearest(&entry.key, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.is_empty() => "remove it".into(),
            None => format!("remove it; known here: {}", known.join(", ")),
        };
        self.unknown.borrow_mut().push(Mistake {
            line: entry.line,
            field: below(&self.field, &entry.key),
            message: format!("unknown field `{}`", entry.key),
            remedy,
            about_key: true,
        });
    }
}

impl<'de> Deserializer<'de> for At<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(visitor, None).map_err(|error| self.locate(error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        for entry in self.node.entries() {
            if !fields.contains(&&*entry.key) {
                self.report_unknown(entry, fields);
            }
        }
        self.visit(visitor, Some(fields)).map_err(|error| self.locate(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let decoded = match &self.node.value {
            Value::Text(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            _ => Err(de::Error::custom("a single word is expected here")),
        };
        decoded.map_err(|error| self.locate(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a, 'de, 'u> {
    at: &'a At<'de, 'u>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Value::Sequence(items) = &self.at.node.value else { return Ok(None) };
        let Some(node) = items.get(self.next) else { return Ok(None) };
        let at = At {
            node,
            line: node.line,
            field: format!("{}[{}]", self.at.field, self.next),
            ..self.at.clone()
        };
        self.next += 1;
        let place = at.clone();
        seed.deserialize(at).map(Some).map_err(|error| place.locate(error))
    }
}

struct Entries<'a, 'de, 'u> {
    at: &'a At<'de, 'u>,
    /// The fields of the struct that is being read; `None` for a map, whose keys are free.
    known: Option<&'static [&'static str]>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        // Fields that the struct does not have are told already; their values need no look. And a field without
        // a value is one that is not there, as for the API server.
        while let Some(entry) = self.at.node.entries().get(self.next) {
            let absent = matches!(entry.node.value, Value::Null);
            if self.known.is_none_or(|known| known.contains(&&*entry.key) && !absent) {
                let key: StringDeserializer<Error> = entry.key.clone().into_deserializer();
                return seed.deserialize(key).map(Some);
            }
            self.next += 1;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let entry = self
            .at
            .node
            .entries()
            .get(self.next)
            .ok_or_else(|| -> Error { de::Error::custom("a value without a key") })?;
        self.next += 1;
        let field = below(&self.at.field, &entry.key);
        let at = At { node: &entry.node, line: entry.line, field, ..self.at.clone() };
        let place = at.clone();
        seed.deserialize(at).map_err(|error| place.locate(error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::yaml;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        name: String,
        #[serde(default)]
        port_number: Option<u16>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        free: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        kind: Word,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Word {
        Exact,
        Prefix,
    }

    fn read(text: &str) -> Result<Outer, Vec<Mistake>> {
        decode(&yaml::read(text).unwrap()[0])
    }

    #[test]
    fn what_fits_decodes() {
        let text =
            "kind: X\nname: a\nportNumber: 80\nlist:\n- {kind: Exact}\n- {kind: Prefix}\nfree: {a/b: c}\n";
        let expected = Outer {
            name: "a".into(),
            port_number: Some(80),
            list: vec![Inner { kind: Word::Exact }, Inner { kind: Word::Prefix }],
            free: BTreeMap::from([("a/b".into(), "c".into())]),
        };
        assert_eq!(read(text), Ok(expected));
        assert!(read("name: a\nportNumber:\nlist: ~\n").is_ok(), "fields without a value are absent");
    }

    #[test]
    fn mistakes_know_field_line_and_remedy() {
        let cases = [
            (
                "name: a\nportNumbr: 1\n",
                "2 portNumbr: unknown field `portNumbr` (did you mean `portNumber`?)",
            ),
            ("name: a\nlist:\n- kind: Exact\n  zzzzzz: 1\n", {
                "4 list[0].zzzzzz: unknown field `zzzzzz` (remove it; known here: kind)"
            }),
            ("name: a\nportNumber: many\n", {
                "2 portNumber: invalid type: string \"many\", expected u16 ()"
            }),
            ("name: a\nportNumber: 70000\n", {
                "2 portNumber: invalid value: integer `70000`, expected u16 ()"
            }),
            ("portNumber: 1\n", "1 : missing field `name` ()"),
            ("name: a\nlist:\n- kind: Prefx\n", {
                "3 list[0].kind: unknown variant `Prefx`, expected `Exact` or `Prefix` ()"
            }),
            ("name: a\nfree:\n  a/b: yes\n", {
                "3 free[a/b]: invalid type: boolean `true`, expected a string (put the value in quotes)"
            }),
            ("name: a\nlist: {}\n", "2 list: invalid type: map, expected a sequence ()"),
            ("Name: a\nx: 1\n", {
                "1 Name: unknown field `Name` (did you mean `name`?); \
                 2 x: unknown field `x` (remove it; known here: name, portNumber, list, free); \
                 1 : missing field `name` ()"
            }),
        ];
        for (text, expected) in cases {
            let mistakes = read(text).unwrap_err();
            let show = |m: &Mistake| format!("{} {}: {} ({})", m.line, m.field, m.message, m.remedy);
            assert_eq!(mistakes.iter().map(show).collect::<Vec<_>>().join("; "), expected, "{text}");
        }
    }
}

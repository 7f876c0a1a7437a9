//! YAML (and JSON, which is YAML) text into trees whose every node knows its line.
//!
//! Plain scalars are read as `kubectl` reads them, so that a file means here what it means in a cluster: YAML 1.1's
//! `yes`, `no`, `on`, `off` are booleans, and `<<` merges mappings. A key that is set twice makes the text
//! unreadable, as for every strict reader. This module knows nothing of Kubernetes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// The deepest nesting that is read. Kubernetes' own objects stay far below.
const MAX_DEPTH: usize = 64;

/// The most nodes of a text, aliases counted as what they stand for: nine lines of aliases can stand for billions.
const MAX_NODES: usize = 2_000_000;

/// A value and the line on which it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
    /// How many nodes it stands for.
    weight: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Sequence(Vec<Arc<Node>>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The line of the key.
    pub(crate) line: u32,
    pub(crate) node: Arc<Node>,
}

impl Node {
    /// The entries of a mapping; of anything else none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| entry.node.as_ref())
    }

    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unreadable {
    pub(crate) line: u32,
    pub(crate) message: String,
}

fn unreadable<T>(line: u32, message: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable { line, message: message.into() })
}

/// Reads every document of a text. Empty documents are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Arc<Node>>, Unreadable> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Unreadable {
            line: error.marker().line() as u32,
            message: error.info().to_owned(),
        })?;
        if event == Event::StreamEnd {
            break;
        }
        builder.take(event, span.start.line() as u32)?;
    }
    Ok(builder.documents)
}

/// A sequence or mapping that has begun.
enum Open {
    Sequence { line: u32, anchor: usize, items: Vec<Arc<Node>> },
    Mapping { line: u32, anchor: usize, entries: Vec<Entry>, key: Option<(String, u32)> },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Arc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: u32) -> Result<(), Unreadable> {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                if self.takes_key() {
                    return self.key(text.into_owned(), line);
                }
                let value = scalar(&text, style, tag.as_deref(), line)?;
                self.finish(Node { line, value, weight: 1 }, anchor)?;
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.place(node, line)?,
                None => return unreadable(line, "an alias of something that is not complete yet"),
            },
            Event::SequenceStart(anchor, _) => {
                self.push(Open::Sequence { line, anchor, items: Vec::new() }, line)?;
            }
            Event::MappingStart(anchor, _) => {
                self.push(Open::Mapping { line, anchor, entries: Vec::new(), key: None }, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence { line, anchor, items }) => {
                    let weight = 1 + items.iter().map(|item| item.weight).sum::<usize>();
                    self.finish(Node { line, value: Value::Sequence(items), weight }, anchor)?;
                }
                Some(Open::Mapping { line, anchor, entries, .. }) => {
                    let entries = merged(entries)?;
                    let weight = 1 + entries.iter().map(|entry| entry.node.weight).sum::<usize>();
                    self.finish(Node { line, value: Value::Mapping(entries), weight }, anchor)?;
                }
                None => return unreadable(line, "an end without a beginning"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn takes_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn key(&mut self, text: String, line: u32) -> Result<(), Unreadable> {
        if let Some(Open::Mapping { entries, key, .. }) = self.open.last_mut() {
            if let Some(earlier) = entries.iter().find(|entry| entry.key == text) {
                return unreadable(line, format!("`{text}` is already set on line {}", earlier.line));
            }
            *key = Some((text, line));
        }
        Ok(())
    }

    fn push(&mut self, open: Open, line: u32) -> Result<(), Unreadable> {
        if self.takes_key() {
            return unreadable(line, "a key must be plain text");
        }
        if self.open.len() == MAX_DEPTH {
            return unreadable(line, format!("nested more than {MAX_DEPTH} deep"));
        }
        self.open.push(open);
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Unreadable> {
        let (line, node) = (node.line, Arc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node, line)
    }

    /// Puts a complete node where it belongs: into what is open, or as a document of its own.
    fn place(&mut self, node: Arc<Node>, line: u32) -> Result<(), Unreadable> {
        if self.nodes.saturating_add(node.weight) > MAX_NODES {
            return unreadable(line, format!("more than {MAX_NODES} values, aliases included"));
        }
        match self.open.last_mut() {
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => return unreadable(line, "a key must be plain text"),
            },
            None => {
                self.nodes += node.weight;
                if !matches!(node.value, Value::Null) {
                    self.documents.push(node);
                }
            }
        }
        Ok(())
    }
}

/// Carries out `<<: *other` and `<<: [*one, *two]`: what a mapping sets itself wins, then the earlier one merged.
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, Unreadable> {
    if entries.iter().all(|entry| entry.key != "<<") {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == "<<");
    let mut seen: BTreeSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    for merge in merges {
        let sources: Vec<&Node> = match &merge.node.value {
            Value::Sequence(items) => items.iter().map(AsRef::as_ref).collect(),
            _ => vec![merge.node.as_ref()],
        };
        for source in sources {
            let Value::Mapping(inherited) = &source.value else {
                return unreadable(merge.line, "`<<` merges mappings only");
            };
            for entry in inherited {
                if seen.insert(entry.key.clone()) {
                    own.push(entry.clone());
                }
            }
        }
    }
    Ok(own)
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: u32) -> Result<Value, Unreadable> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Value::Text(text.into())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Value::Text(text.into())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix != "binary" => Ok(plain(text)),
        Some(tag) => unreadable(line, format!("the tag `{}{}` is not known", tag.handle, tag.suffix)),
    }
}

/// What a scalar without quotes stands for.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    // What begins otherwise is no number, though Rust would read `inf` and `nan`.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) {
        return Value::Text(text.into());
    }
    if let Some(integer) = integer(text) {
        return Value::Integer(integer.into());
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && text.chars().all(numeric) => Value::Float(float),
        _ => Value::Text(text.into()),
    }
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let (digits, radix) = match digits {
        _ if digits.starts_with("0x") => (&digits[2..], 16),
        _ if digits.starts_with("0o") => (&digits[2..], 8),
        _ if digits.starts_with("0b") => (&digits[2..], 2),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // A second sign (`0x-1`) would be taken by `from_str_radix`.
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree in one line: `a=1@2` is key `a` with value 1 on line 2.
    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Text(text) => format!("{text:?}"),
            Value::Sequence(items) => {
                format!("[{}]", items.iter().map(|item| show(item)).collect::<Vec<_>>().join(" "))
            }
            Value::Mapping(entries) => {
                let shown = |entry: &Entry| format!("{}={}@{}", entry.key, show(&entry.node), entry.line);
                format!("{{{}}}", entries.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn texts_become_trees_with_lines() {
        let cases = [
            ("a: 1\nb:\n- x\n- {c: 'd'}\n", r#"{a=1@1 b=["x" {c="d"@4}]@2}"#),
            ("a: 1\n---\n---\n# nothing\n---\nb: 2\n", "{a=1@1} {b=2@6}"),
            ("\u{feff}a: ~\n", "{a=null@1}"),
            ("{\n\t\"a\": [1,\n\t\t\"x\"]\n}\n", r#"{a=[1 "x"]@2}"#),
            ("a: &x {b: 1}\nc: *x\n", "{a={b=1@1}@1 c={b=1@1}@2}"),
            ("a: &x {b: 1, d: 2}\nc:\n  <<: *x\n  b: 3\n", "{a={b=1@1 d=2@1}@1 c={b=3@4 d=2@1}@2}"),
            ("a: yes\nb: off\nc: 'yes'\nd: 0x10\ne: 0644\nf: -1\ng: 1.5\n", {
                r#"{a=true@1 b=false@2 c="yes"@3 d=16@4 e=420@5 f=-1@6 g=1.5@7}"#
            }),
            ("a: 30s\nb: 1.2.3\nc: .inf\nd: 2020-01-01\ne: nan\nf: !!str 5\n", {
                r#"{a="30s"@1 b="1.2.3"@2 c=".inf"@3 d="2020-01-01"@4 e="nan"@5 f="5"@6}"#
            }),
            ("a: |\n  one\n  two\nb: >-\n  x\n  y\n", r#"{a="one\ntwo\n"@1 b="x y"@4}"#),
            ("", ""),
            ("# only a comment\n", ""),
        ];
        for (text, expected) in cases {
            let documents = read(text).unwrap();
            let shown: Vec<_> = documents.iter().map(|node| show(node)).collect();
            assert_eq!(shown.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        let deep = format!("a:\n  {}{}", "[".repeat(80), "]".repeat(80));
        let tenfold = |(before, name)| {
            let aliases = vec![format!("*{before}"); 10].join(",");
            format!("{name}: &{name} [{aliases}]\n")
        };
        let mut bomb = vec!["a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned()];
        bomb.extend("abcdefg".chars().zip("bcdefgh".chars()).map(tenfold));
        let bomb = bomb.concat();
        let cases = [
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is already set on line 1"),
            ("a: 1\nb: [1\nc: 2\n", 3, ""),
            ("a:\n- x\n b: 1\n", 3, ""),
            ("a: 1\n? [x]\n: 2\n", 2, "a key must be plain text"),
            ("a: !secret x\n", 1, "the tag `!secret` is not known"),
            ("a: 1\nb:\n  <<: 5\n", 3, "`<<` merges mappings only"),
            (&*deep, 2, "nested more than 64 deep"),
            (&*bomb, 7, "more than 2000000 values, aliases included"),
        ];
        for (text, line, message) in cases {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error:?}");
            assert!(error.message.contains(message), "{text}: {error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[-a-c:{}\\[\\]&*!|>'\"#%,? \n\t0-9<~.]{0,60}") {
            let _ = read(&text);
        }
    }
}

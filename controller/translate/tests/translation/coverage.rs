//! Every annotation and every field that is served has a golden case that fails without it: taken away from the
//! objects of the case, the snapshot is another. `docs/coverage.md` says which; `UPDATE_REFERENCE=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::annotations::{self, Annotation, Support};
use crds::wsroute;
use serde_json::{Map, Value};
use translate::{Object, translate};

use crate::golden::cases;
use crate::manifests::Case;

/// So many cases are named for a row, and so many tests.
const NAMED: usize = 3;

/// What takes something away from an object, if the object has it.
type Without<'a> = &'a dyn Fn(&Object) -> Option<Object>;

/// The cases, each with its name and what it translates to.
struct Cases(Vec<(String, Case, Value)>);

impl Cases {
    fn read() -> Self {
        let named = cases().into_iter().map(|folder| {
            let case = Case::read(&folder.join("in.yaml"));
            let sections = sections(&case);
            (folder.file_name().unwrap().to_string_lossy().into_owned(), case, sections)
        });
        Self(named.collect())
    }

    /// The first cases whose snapshot is another `without` something.
    fn that_need(&self, without: Without<'_>) -> Vec<&str> {
        let needs = self.0.iter().filter(|(_, case, sections)| {
            let changed: Vec<_> = case.objects.iter().map(without).collect();
            if changed.iter().all(Option::is_none) {
                return false;
            }
            let objects = changed.into_iter().zip(&case.objects);
            let objects = objects.map(|(changed, whole)| changed.unwrap_or_else(|| whole.clone())).collect();
            *sections != self::sections(&Case { settings: case.settings.clone(), objects })
        });
        needs.map(|(name, ..)| name.as_str()).take(NAMED).collect()
    }
}

fn sections(case: &Case) -> Value {
    translate(&case.store(), &case.settings).snapshot.view()["sections"].take()
}

/// The object less an annotation.
fn without_annotation(whole: &Object, key: &str) -> Option<Object> {
    let mut less = whole.clone();
    let metadata = match &mut less {
        Object::Ingress(ingress) => &mut Arc::make_mut(ingress).metadata,
        Object::Service(service) => &mut Arc::make_mut(service).metadata,
        _ => return None,
    };
    metadata.annotations.as_mut()?.remove(key)?;
    Some(less)
}

/// The WsRoute less a field; `None` too where it is no WsRoute without that.
fn without_field(whole: &Object, path: &str) -> Option<Object> {
    let Object::WsRoute(route) = whole else { return None };
    let mut value = serde_json::to_value(&**route).unwrap();
    let rest = path.strip_prefix("spec.policy.");
    let paths = [Some(path.to_owned()), rest.map(|rest| format!("spec.rules[].policy.{rest}"))];
    let mut taken = false;
    for path in paths.into_iter().flatten() {
        taken |= take(&mut value, &path.split('.').collect::<Vec<_>>());
    }
    let less = taken.then(|| serde_json::from_value(value).ok()).flatten();
    less.map(|route| Object::WsRoute(Arc::new(route)))
}

/// Takes away what is at a path, whose names of lists end with `[]`, and what is empty then. Whether there was anything.
fn take(value: &mut Value, path: &[&str]) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    let Some(fields) = value.as_object_mut() else { return false };
    let list = name.strip_suffix("[]");
    match (list, rest) {
        (None, []) => fields.remove(*name).is_some_and(|value| !value.is_null()),
        (None, rest) => {
            let taken = fields.get_mut(*name).is_some_and(|inner| take(inner, rest));
            if taken && fields[*name].as_object().is_some_and(Map::is_empty) {
                fields.remove(*name);
            }
            taken
        }
        (Some(name), rest) => {
            let items = fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten();
            items.filter_map(|item| take(item, rest).then_some(())).count() > 0
        }
    }
}

/// The paths of the fields of a WsRoute that hold a value, and whether they are required. Those of a rule's policy are
/// those of the object's.
fn fields(schema: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{path}.{name}");
        if at == "spec.rules[].policy" {
            continue;
        }
        let (inner, inside) = match &property["items"] {
            Value::Null => (property, at.clone()),
            items => (items, format!("{at}[]")),
        };
        if inner.get("properties").is_some() {
            fields(inner, &inside, found);
        } else {
            found.push((at, required.contains(&name.as_str().into())));
        }
    }
}

/// The tests with the real programs that set each annotation, themselves or by what they call: `program::test`.
fn wire_tests() -> BTreeMap<&'static str, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/tests");
    let mut named: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for file in sources(&folder) {
        let program = file.file_stem().unwrap().to_string_lossy().into_owned();
        for part in sources(&file.with_extension("")).into_iter().chain([file]) {
            let text = fs::read_to_string(part).unwrap();
            let items: Vec<_> = items(&text).collect();
            for test in items.iter().filter(|item| item.is_test) {
                let reached = reached(test, &items);
                let set =
                    annotations::table().filter(|row| reached.iter().any(|item| names(item.text, row.key)));
                for row in set {
                    named.entry(row.key).or_default().push(format!("{program}::{}", test.name));
                }
            }
        }
    }
    named
}

/// The Rust files of a folder, if there is one, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// A function or constant of a test program.
#[derive(PartialEq)]
struct Item<'a> {
    name: &'a str,
    is_test: bool,
    text: &'a str,
}

/// The functions and constants of a text that stand at the beginning of a line.
fn items(text: &str) -> impl Iterator<Item = Item<'_>> {
    let paragraphs = text.split("\n\n").filter(|part| !part.starts_with([' ', '\t']));
    let starts = paragraphs.filter_map(move |part| {
        let at = part.as_ptr().addr() - text.as_ptr().addr();
        let is_test = part.contains("#[test]") || part.contains("#[tokio::test");
        let (_, name) = part.split_once("fn ").or_else(|| part.split_once("const "))?;
        let name = name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        Some(Item { name, is_test, text: text[at..].split_once("\n}\n").map_or(part, |(body, _)| body) })
    });
    starts.filter(|item| !item.name.is_empty())
}

/// The item and all that it uses, directly or not.
fn reached<'a, 'b>(item: &'b Item<'a>, items: &'b [Item<'a>]) -> Vec<&'b Item<'a>> {
    let mut reached = vec![item];
    let mut next = 0;
    while let Some(item) = reached.get(next).copied() {
        let used = items.iter().filter(|other| !other.is_test && names(item.text, other.name));
        for other in used {
            if !reached.contains(&other) {
                reached.push(other);
            }
        }
        next += 1;
    }
    reached
}

/// Whether a text has the name, and not only as the beginning of a longer one.
fn names(text: &str, key: &str) -> bool {
    let goes_on = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    text.match_indices(key).any(|(at, _)| !text[at + key.len()..].starts_with(goes_on))
}

/// What becomes of a row that is not served.
fn fate(row: &Annotation) -> Option<&'static str> {
    match row.support {
        Support::Served(_) => None,
        Support::NotApplicable(_) => Some("informed: nothing is missing without it"),
        Support::Refused(_) => Some("refused, with what to do instead"),
        Support::NotYet => Some("not served yet, said so"),
    }
}

/// The table of annotations; those that are served and have no case go to `bare`.
fn annotation_rows(cases: &Cases, bare: &mut Vec<String>) -> String {
    let wire = wire_tests();
    let mut rows = String::from("| annotation | cases | real programs |\n| --- | --- | --- |\n");
    for annotation in annotations::table() {
        let key = annotation.key;
        let found = match fate(annotation) {
            Some(fate) => fate.to_owned(),
            None => cases.that_need(&|object| without_annotation(object, key)).join(", "),
        };
        if found.is_empty() {
            bare.push(key.to_owned());
        }
        let tests = wire.get(key).into_iter().flatten().take(NAMED);
        let tests = tests.cloned().collect::<Vec<_>>().join(", ");
        writeln!(rows, "| `{key}` | {found} | {tests} |").unwrap();
    }
    rows
}

/// The table of fields, likewise.
fn field_rows(cases: &Cases, bare: &mut Vec<String>) -> String {
    let mut rows = String::from("| field | cases |\n| --- | --- |\n");
    let mut paths = Vec::new();
    fields(&wsroute::schema()["properties"]["spec"], "spec", &mut paths);
    for (path, required) in paths {
        let found = if required {
            "required: there is no object without it".to_owned()
        } else {
            cases.that_need(&|object| without_field(object, &path)).join(", ")
        };
        if found.is_empty() {
            bare.push(path.clone());
        }
        writeln!(rows, "| `{path}` | {found} |").unwrap();
    }
    rows
}

#[test]
fn every_row_that_is_served_has_a_case_that_fails_without_it() {
    let (cases, mut bare) = (Cases::read(), Vec::new());
    let (annotations, fields) = (annotation_rows(&cases, &mut bare), field_rows(&cases, &mut bare));
    assert!(bare.is_empty(), "no golden case changes without these: {bare:#?}");
    let fresh = format!(
        "# Which test holds which row\n\nGenerated by `make reference`. Of an annotation or a field that is served, the \
         golden cases (`controller/translate/tests/cases`) whose snapshot is another without it; and tests with the \
         real programs that set the annotation. At most three are named of each. A row without a case fails \
         `make test`.\n\n## Annotations\n\n{annotations}\n## Fields of a WsRoute\n\n{fields}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coverage.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/coverage.md is not fresh: run `make reference`");
}

//! The tables of the documentation that are generated: what the code says of itself, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use serde_yaml::Value;

/// Replaces what stands between `<!-- generated: NAME -->` and the next `<!-- end -->`.
pub fn put(document: &str, name: &str, content: &str) -> Result<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin).with_context(|| format!("no {begin:?}"))?;
    let (_, after) = rest.split_once("<!-- end -->").with_context(|| format!("no end of {name}"))?;
    Ok(format!("{before}{begin}\n{}\n\n<!-- end -->{after}", content.trim()))
}

/// The metrics that these pages of `/metrics` have, by program.
pub fn metrics(pages: &[(&str, &str)]) -> Result<String> {
    let mut table = String::from("| metric | type | of | meaning |\n| --- | --- | --- | --- |\n");
    for (program, page) in pages {
        for (name, family) in families(page)? {
            let Family { kind, help, labels } = family;
            // Counters are written with `_total`, and histograms with several endings.
            let suffix = if kind == "counter" { "_total" } else { "" };
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| `{name}{suffix}{labels}` | {kind} | {program} | {help} |");
        }
    }
    Ok(table)
}

/// The values of a Helm chart, from the comments in its `values.yaml`.
///
/// A comment directly above a key says what the key is, and all that is below the key belongs to it. So every value has a
/// comment, its own or that of a group, and it has one only.
pub fn values(text: &str) -> Result<String> {
    let defaults: Value = serde_yaml::from_str(text)?;
    let mut table = String::from("| value | default | meaning |\n| --- | --- | --- |\n");
    let mut comment: Vec<&str> = Vec::new();
    // The keys that lead to the line, each with its indentation and whether it has a comment.
    let mut path: Vec<(usize, &str, bool)> = Vec::new();
    for line in text.lines() {
        let (indent, rest) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(words) = rest.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let Some((key, value)) = rest.split_once(':').filter(|(key, _)| is_key(key)) else { continue };
        path.truncate(path.iter().take_while(|(outer, ..)| *outer < indent).count());
        let covered = path.iter().any(|(.., said)| *said);
        path.push((indent, key, !said.is_empty()));
        let name = path.iter().map(|(_, key, _)| *key).collect::<Vec<_>>().join(".");
        ensure!(!covered || said.is_empty(), "{name} has a comment, and so has the group that it is in");
        if !said.is_empty() {
            let default = path.iter().try_fold(&defaults, |value, (_, key, _)| value.get(key));
            let default = serde_json::to_string(default.with_context(|| format!("{name} is not a value"))?)?;
            let _ = writeln!(table, "| `{name}` | `{default}` | {said} |");
        } else if !covered && !value.trim().is_empty() {
            bail!("{name} has no comment");
        }
    }
    Ok(table)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric())
}

struct Family {
    kind: String,
    help: String,
    labels: Vec<String>,
}

/// The families of a page, each with its HELP text, its type, and the labels of its first series.
fn families(page: &str) -> Result<BTreeMap<String, Family>> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').context("a HELP line without text")?;
            let help = help.trim_end_matches('.').to_owned();
            families.insert(name.to_owned(), Family { kind: String::new(), help, labels: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("a TYPE line without a type")?;
            let family = families.get_mut(name).with_context(|| format!("{name} has no HELP text"))?;
            kind.clone_into(&mut family.kind);
        } else if !line.starts_with('#') {
            let Some((series, labels)) = line.split_once('{') else { continue };
            let family = families.iter_mut().rfind(|(name, _)| series.starts_with(name.as_str()));
            let (_, family) = family.with_context(|| format!("{series} belongs to no family"))?;
            let labels = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            let labels: Vec<_> = labels.filter(|name| *name != "le").map(str::to_owned).collect();
            family.labels = labels;
        }
    }
    ensure!(!families.is_empty(), "no metrics in {page:?}");
    Ok(families)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP longhaul_tunnels_closed Tunnels that ended, by close reason.
# TYPE longhaul_tunnels_closed counter
longhaul_tunnels_closed_total{reason=\"idle_timeout\"} 0
# HELP longhaul_handshake_seconds From head to 101.
# TYPE longhaul_handshake_seconds histogram
longhaul_handshake_seconds_bucket{le=\"0.1\"} 0
# EOF
";

    #[test]
    fn a_family_is_a_row() {
        let table = metrics(&[("proxy", PAGE)]).unwrap();
        assert!(
            table.contains("| `longhaul_handshake_seconds` | histogram | proxy | From head to 101 |\n"),
            "{table}"
        );
        let row = "| `longhaul_tunnels_closed_total{reason}` | counter | proxy | Tunnels that ended, by close reason |\n";
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn a_value_is_a_row_with_its_default_and_its_comment() {
        let text = "# Of the file.\n\n# Its name.\nname: \"\"\ngroup:\n  # What is\n  # wanted.\n  wanted:\n    cpu: 1\n  \
                    # How many.\n  count: 2\n";
        let rows = "| `name` | `\"\"` | Its name. |\n| `group.wanted` | `{\"cpu\":1}` | What is wanted. |\n| \
                    `group.count` | `2` | How many. |\n";
        let table = values(text).unwrap();
        assert!(table.ends_with(&format!("| --- |\n{rows}")), "{table}");
    }

    #[test]
    fn every_value_has_one_comment() {
        let problem = |text| values(text).unwrap_err().to_string();
        assert_eq!(problem("group:\n  count: 2\n"), "group.count has no comment");
        let twice = "# A group.\ngroup:\n  # How many.\n  count: 2\n";
        assert_eq!(problem(twice), "group.count has a comment, and so has the group that it is in");
    }

    #[test]
    fn only_what_is_generated_is_replaced() {
        let document = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb <!-- end -->\n";
        let new = put(document, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb <!-- end -->\n");
        assert_eq!(put(&new, "x", "new").unwrap(), new);
        assert!(put(document, "y", "new").is_err());
    }
}

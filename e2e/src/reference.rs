//! The tables of the documentation that are generated: what the code says of itself, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};

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
    fn only_what_is_generated_is_replaced() {
        let document = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb <!-- end -->\n";
        let new = put(document, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb <!-- end -->\n");
        assert_eq!(put(&new, "x", "new").unwrap(), new);
        assert!(put(document, "y", "new").is_err());
    }
}

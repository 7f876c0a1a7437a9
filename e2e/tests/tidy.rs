//! Tidiness as plain tests: who may import whom, and how files look.
//!
//! The import rules are read from `cargo tree` of each crate alone, so that a ban holds for what a dependency
//! drags in as well. Each rule has a counterexample below that it must catch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::MetadataCommand;

/// The most lines of code in one file, blank lines and comments not counted.
const MAX_CODE_LINES: usize = 600;

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "helpers", "types", "models"];

/// One crate of ours: which others of ours it may name, and what must not even come in through others.
struct ImportRule {
    krate: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const IMPORT_RULES: &[ImportRule] = &[
    ImportRule {
        krate: "snapshot",
        ours: &[],
        never: &["k8s-openapi", "kube", "kube-core", "kube-client", "tokio", "hyper", "rustls"],
    },
    ImportRule { krate: "crds", ours: &[], never: &["kube-client", "kube-runtime", "tokio", "snapshot"] },
    ImportRule {
        krate: "translate",
        ours: &["crds", "snapshot"],
        never: &["kube-client", "kube-runtime", "tokio", "notify", "rustix", "socket2", "hyper", "rustls"],
    },
    ImportRule {
        krate: "routing",
        ours: &["snapshot"],
        never: &["k8s-openapi", "kube", "kube-core", "kube-client", "tokio", "hyper", "rustls"],
    },
    ImportRule {
        krate: "controller",
        ours: &["translate", "crds", "routing", "snapshot"],
        never: &["proxy"],
    },
    ImportRule {
        krate: "proxy",
        ours: &["routing", "snapshot"],
        never: &["crds", "translate", "controller", "kube", "kube-core", "kube-client", "k8s-openapi"],
    },
    ImportRule {
        krate: "e2e",
        ours: &["snapshot", "routing", "crds", "translate", "controller", "proxy"],
        never: &[],
    },
];

/// What translation, being pure, has no use for in the standard library.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
];

/// Normal dependencies, name to names.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_import_only_what_they_may() {
    let problems: Vec<String> =
        IMPORT_RULES.iter().flat_map(|rule| import_problems(rule, &graph_of(rule.krate))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let ruled: BTreeSet<&str> = IMPORT_RULES.iter().map(|rule| rule.krate).collect();
    let members = members();
    assert_eq!(
        ruled,
        members.iter().map(String::as_str).collect(),
        "every member of the workspace has a rule"
    );
}

#[test]
fn import_rules_catch_what_they_forbid() {
    let mut graph = Graph::new();
    let mut depend = |from: &str, on: &str| graph.entry(from.into()).or_default().insert(on.into());
    depend("snapshot", "innocent");
    depend("innocent", "tokio");
    depend("controller", "proxy");
    depend("crds", "e2e");
    let caught: Vec<String> = IMPORT_RULES.iter().flat_map(|rule| import_problems(rule, &graph)).collect();
    let caught = caught.join("\n");
    assert!(
        caught.contains("snapshot must not depend on tokio, but snapshot -> innocent -> tokio"),
        "{caught}"
    );
    assert!(caught.contains("controller must not name proxy"), "{caught}");
    assert!(caught.contains("crds must not name e2e"), "{caught}");
}

#[test]
fn files_are_tidy() {
    let problems: Vec<String> = sources()
        .iter()
        .filter_map(|path| Some((path, std::fs::read_to_string(root().join(path)).ok()?)))
        .flat_map(|(path, text)| file_problems(path, &text))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn file_rules_catch_what_they_forbid() {
    let caught = |path: &str, text: &str| file_problems(Path::new(path), text).join("\n");
    let long = format!("//! Long.\n{}", "let x = 1;\n".repeat(MAX_CODE_LINES + 1));
    assert!(caught("proxy/src/a.rs", "use b;\n").contains("starts with //!"));
    assert!(caught("proxy/src/a.rs", &long).contains("601 lines of code"));
    assert_eq!(caught("proxy/src/a.rs", &long.replace("let x", "// x")), "");
    assert!(caught("proxy/src/a/mod.rs", "//! A.\n").contains("mod.rs"));
    assert!(caught("proxy/src/helpers.rs", "//! A.\n").contains("says nothing"));
    assert!(caught("proxy/src/utils/a.rs", "//! A.\n").contains("says nothing"));
    assert!(caught("README.md", &foreign_paths()[0]).contains("outside the project"));
    assert!(caught("proxy/src/a.rs", &format!("//! See {}.\n", foreign_paths()[1])).contains("outside"));
    assert!(caught("controller/translate/src/a.rs", "//! A.\nuse std::fs;\n").contains("pure"));
    assert_eq!(caught("controller/src/a.rs", "//! A.\nuse std::fs;\n"), "");
}

fn import_problems(rule: &ImportRule, graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    let direct = graph.get(rule.krate).into_iter().flatten();
    let members: BTreeSet<&str> = IMPORT_RULES.iter().map(|rule| rule.krate).collect();
    for named in direct.filter(|name| members.contains(name.as_str())) {
        if !rule.ours.contains(&named.as_str()) {
            problems.push(format!("{} must not name {named}", rule.krate));
        }
    }
    for banned in rule.never {
        if let Some(path) = path_to(graph, rule.krate, banned) {
            problems.push(format!("{} must not depend on {banned}, but {}", rule.krate, path.join(" -> ")));
        }
    }
    problems
}

/// The shortest chain of dependencies from one crate to another.
fn path_to(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut paths = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from.to_owned()]);
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for next in path.last().and_then(|last| graph.get(last)).into_iter().flatten() {
                let longer_path: Vec<String> = path.iter().chain([next]).cloned().collect();
                if next == to {
                    return Some(longer_path);
                }
                if seen.insert(next.clone()) {
                    longer.push(longer_path);
                }
            }
        }
        paths = longer;
    }
    None
}

/// What a crate of ours depends on, with the features that it has when it is built without the others: in the workspace
/// each dependency has the features that any member asks for.
fn graph_of(krate: &str) -> Graph {
    // One platform, so that nothing has to be fetched only to be looked at.
    let arguments = ["tree", "--locked", "--edges", "normal", "--target", "x86_64-unknown-linux-gnu"];
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(["--prefix", "depth", "--package", krate]).current_dir(root());
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let mut graph = Graph::new();
    let mut above: Vec<String> = Vec::new();
    for line in String::from_utf8(ended.stdout).unwrap().lines() {
        let digits = line.find(|letter: char| !letter.is_ascii_digit()).unwrap();
        let (depth, name) = line.split_at(digits);
        let name = name.split(' ').next().unwrap().to_owned();
        above.truncate(depth.parse().unwrap());
        if let Some(dependent) = above.last() {
            graph.entry(dependent.clone()).or_default().insert(name.clone());
        }
        above.push(name);
    }
    graph
}

/// The names of the workspace's members.
fn members() -> BTreeSet<String> {
    let options = vec!["--locked".to_owned()];
    let metadata =
        MetadataCommand::new().current_dir(root()).no_deps().other_options(options).exec().unwrap();
    metadata.packages.iter().map(|package| package.name.to_string()).collect()
}

fn file_problems(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut problems = Vec::new();
    let mut found = |problem: String| problems.push(format!("{shown}: {problem}"));
    for line in text.lines().filter(|line| foreign_paths().iter().any(|path| line.contains(path.as_str()))) {
        found(format!("speaks of a place outside the project: {}", line.trim()));
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return problems;
    }
    if !text.starts_with("//!") {
        found("starts with //!, which says what it is for".to_owned());
    }
    let code = text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count();
    if code > MAX_CODE_LINES {
        found(format!("has {code} lines of code, more than {MAX_CODE_LINES}"));
    }
    if path.ends_with("mod.rs") {
        found("is a mod.rs; use foo.rs beside foo/".to_owned());
    }
    let names = path.with_extension("");
    for name in names.iter().filter_map(|name| name.to_str()).filter(|name| EMPTY_NAMES.contains(name)) {
        found(format!("the name {name} says nothing"));
    }
    if path.starts_with("controller/translate/src") && !path.to_string_lossy().contains("tests") {
        for impure in IMPURE.iter().filter(|impure| text.contains(*impure)) {
            found(format!("translation is pure and has no use for {impure}"));
        }
    }
    problems
}

/// Places that exist only where somebody worked on this. In two halves: this file is looked at as well.
fn foreign_paths() -> [String; 2] {
    [["../", "shared"].concat(), ["/", "work/"].concat()]
}

/// Every file that is in the repository or about to be.
fn sources() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    assert!(files.len() > 10, "the list of files is there");
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

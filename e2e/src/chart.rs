//! The Helm chart as Helm renders it.
//!
//! `e2e/kube/build.sh helm` puts Helm 4 and Helm 3 into the cache, `.cache` of the checkout or `LONGHAUL_CACHE`. Helm
//! runs with folders of its own, so that nothing of the machine's is read or changed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::notes;

/// One major version of Helm.
#[derive(Clone)]
pub struct Helm {
    program: PathBuf,
    /// As people call it: `helm 4` or `helm 3`.
    pub name: &'static str,
}

/// What Helm said.
pub struct Said {
    /// Whether it was content.
    pub success: bool,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub error: String,
}

impl Helm {
    /// Helm 4 and Helm 3. Where either is missing, that the test is skipped is noted and none is returned, or this
    /// panics if nothing may be.
    pub fn wanted_by(test: &str) -> Vec<Self> {
        match both() {
            Ok(helms) => helms.into(),
            Err(missing) => {
                notes::can_run(test, Err(missing));
                Vec::new()
            }
        }
    }

    /// The newer one.
    pub fn latest() -> Result<Self> {
        both().map(|[latest, _]| latest)
    }

    /// Runs `helm` in the folder of the checkout, without any cluster.
    pub fn run<Argument: AsRef<OsStr>>(&self, arguments: &[Argument]) -> Result<Said> {
        self.run_on(Path::new("/dev/null"), arguments)
    }

    /// Runs `helm` in the folder of the checkout, on the cluster of this kubeconfig.
    pub fn run_on<Argument: AsRef<OsStr>>(&self, kubeconfig: &Path, arguments: &[Argument]) -> Result<Said> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(checkout()).env("KUBECONFIG", kubeconfig);
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(folder, home.path().join(folder));
        }
        let ended = command.output().with_context(|| format!("{} cannot be run", self.program.display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { success: ended.status.success(), output: text(ended.stdout), error: text(ended.stderr) })
    }

    /// The objects of the chart as a release of this name in this namespace, tests (hooks) among them.
    pub fn template<Argument: AsRef<OsStr>>(
        &self,
        release: &str,
        namespace: &str,
        arguments: &[Argument],
    ) -> Result<String> {
        let head = ["template", release, CHART, "--namespace", namespace, "--kube-version", KUBERNETES];
        let mut all: Vec<&OsStr> = head.map(OsStr::new).to_vec();
        all.extend(arguments.iter().map(AsRef::as_ref));
        let said = self.run(&all)?;
        ensure!(said.success, "{}: {}", self.name, said.error);
        Ok(said.output)
    }
}

/// The chart, in the checkout.
pub const CHART: &str = "charts/longhaul";

/// The version of Kubernetes that Helm is told of where it cannot ask. A Helm that was built from its module knows none
/// of its own, and takes 1.20.
pub const KUBERNETES: &str = "1.36.0";

/// The folder of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Rendered objects, one text each, without what the versions of Helm do differently: empty lines, and the comments
/// that say which template it was.
pub fn documents(rendered: &str) -> Vec<String> {
    let lines = rendered.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("# Source: "));
    let mut documents = vec![String::new()];
    for line in lines {
        if line == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| !document.is_empty());
    documents
}

/// For those without Helm: a namespace and the objects of a release in it. What only Helm reads is left out.
pub fn manifests(namespace: &str, rendered: &str) -> String {
    let mut all = format!(
        "# Longhaul for a whole cluster, as `make manifests` renders it from {CHART}. Do not edit.\n---\napiVersion: \
         v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n    pod-security.kubernetes.io/enforce: \
         restricted\n"
    );
    for document in documents(rendered) {
        all.push_str("---\n");
        let of_helm = ["helm.sh/", "app.kubernetes.io/managed-by:"];
        let lines =
            document.lines().filter(|line| !of_helm.iter().any(|key| line.trim_start().starts_with(key)));
        for line in lines {
            all.push_str(line);
            all.push('\n');
        }
    }
    // The definition of WsRoute had no annotations but Helm's.
    all.replace("  annotations:\n  labels:\n", "  labels:\n")
}

fn both() -> Result<[Helm; 2]> {
    let cache = std::env::var_os("LONGHAUL_CACHE").map_or_else(|| checkout().join(".cache"), PathBuf::from);
    // Each folder holds another pair of versions.
    let pairs = cache.join("helm").read_dir().into_iter().flatten().flatten();
    let pairs = pairs.filter(|pair| PROGRAMS.iter().all(|(_, file)| pair.path().join(file).is_file()));
    let newest = pairs.max_by_key(|pair| pair.metadata().and_then(|metadata| metadata.modified()).ok());
    let folder = newest.context("helm is not in the cache: run e2e/kube/build.sh helm")?.path();
    Ok(PROGRAMS.map(|(name, file)| Helm { program: folder.join(file), name }))
}

const PROGRAMS: [(&str, &str); 2] = [("helm 4", "helm"), ("helm 3", "helm3")];

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "---\n# Source: longhaul/templates/a.yaml\n\nkind: A\nmetadata:\n  annotations:\n    \
                            helm.sh/resource-policy: keep\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    a: \
                            b\n---\n\n---\nkind: B\n";

    #[test]
    fn empty_lines_and_sources_are_no_part_of_an_object() {
        let documents = documents(RENDERED);
        assert_eq!(documents.len(), 2);
        assert!(documents[0].starts_with("kind: A\n"), "{documents:?}");
        assert_eq!(documents[1], "kind: B\n");
    }

    #[test]
    fn manifests_say_nothing_of_helm() {
        let all = manifests("net", RENDERED);
        assert!(all.contains("kind: Namespace\nmetadata:\n  name: net\n"), "{all}");
        assert!(all.ends_with("---\nkind: A\nmetadata:\n  labels:\n    a: b\n---\nkind: B\n"), "{all}");
    }
}

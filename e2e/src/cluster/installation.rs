//! Longhaul in a control plane without nodes: what the chart installs, except for pods. The programs run beside the
//! test, each [`Replica`] in place of a pod, as the chart's ServiceAccount and with no more than its Roles permit.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{ControlPlane, Replica};
use crate::chart::Helm;

/// The name of the release, and of most of what it consists of.
pub(super) const RELEASE: &str = "longhaul";

/// The parts of the chart that are no pods.
const PARTS: [&str; 5] = ["affinity", "ingressclass", "rbac", "serviceaccount", "services"];

/// One installation, in a namespace of its own, with an IngressClass of its own.
pub struct Installation<'a> {
    pub(super) cluster: &'a ControlPlane,
    namespace: String,
    kubeconfig: PathBuf,
}

impl<'a> Installation<'a> {
    /// Installs into a namespace whose name begins with `name`, with these values beside the chart's own, each as
    /// `NAME=VALUE`. The class is called like the namespace.
    pub async fn new(cluster: &'a ControlPlane, name: &str, values: &[&str]) -> Result<Self> {
        cluster.install_crds().await?;
        let namespace = cluster.namespace(name).await?;
        let class = format!("controller.ingressClassResource.name={namespace}");
        let mut arguments = vec!["--set".to_owned(), class];
        arguments.extend(values.iter().flat_map(|value| ["--set".to_owned(), (*value).to_owned()]));
        arguments.extend(PARTS.iter().map(|part| format!("--show-only=templates/{part}.yaml")));
        let helms = Helm::wanted_by("an installation");
        let helm = helms.first().context("without helm there is no installation")?;
        let objects = helm.template(RELEASE, &namespace, &arguments)?;
        // Each says its namespace, and some may be in others: Roles where routes are read.
        let applied = cluster.kubectl_with(&["apply", "-f", "-"], &objects).await?;
        ensure!(applied.success, "kubectl apply: {}\n{objects}", applied.err.trim());
        let kubeconfig = cluster.kubeconfig_of(&namespace, RELEASE).await?;
        Ok(Self { cluster, namespace, kubeconfig })
    }

    /// The namespace that it is in, and the name of its class.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Who the controller is.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// The same, for an API server that is reached at another place.
    pub fn kubeconfig_at(&self, url: &str) -> Result<PathBuf> {
        let server = format!("https://{}", self.cluster.api_server());
        let text = std::fs::read_to_string(&self.kubeconfig)?;
        ensure!(text.contains(&server), "the kubeconfig names {server}");
        let path = self.kubeconfig.with_extension("elsewhere");
        std::fs::write(&path, text.replace(&server, url))?;
        Ok(path)
    }

    /// The flags that the chart gives every controller of this installation.
    pub fn flags(&self, pod: &str) -> Vec<String> {
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        vec![
            flag("ingress-class", &self.namespace),
            flag("pod-name", pod),
            flag("pod-namespace", &self.namespace),
            flag("lease", RELEASE),
        ]
    }

    /// A controller and a proxy that serve what there is.
    pub async fn replica(&self, pod: &str) -> Result<Replica> {
        self.replica_with(pod, &self.kubeconfig(), &[]).await
    }

    /// The same, as who is in another kubeconfig, and with these flags besides.
    pub async fn replica_with(
        &self,
        pod: &str,
        kubeconfig: &std::path::Path,
        flags: &[&str],
    ) -> Result<Replica> {
        let name = format!("{}.{pod}", self.namespace);
        let mut replica = Replica::new(self.cluster, &name, kubeconfig)?;
        let own = self.flags(pod);
        let all: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        replica.start_controller(&all).await?;
        let proxy = replica.start_proxy(&[]).await?.admin();
        self.cluster
            .wait("the proxy", async || {
                let answer = proxy.get("/readyz").await?;
                ensure!(answer.status == 200, "{}", answer.text());
                Ok(())
            })
            .await?;
        Ok(replica)
    }

    /// Applies objects to its namespace. `CLASS` in them stands for its class.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.cluster.apply(&self.namespace, &yaml.replace("CLASS", &self.namespace)).await
    }

    /// Deletes an object of its namespace.
    pub async fn remove(&self, kind: &str, name: &str) -> Result<()> {
        self.cluster.kubectl(&["-n", &self.namespace, "delete", kind, name]).await.map(|_| ())
    }
}

//! A release of the chart on a [`Node`]: Longhaul as its users have it, in pods.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Container, NODE_ADDRESS, Node, longhaul};
use crate::chart::{CHART, Helm};

/// How long helm waits for pods.
const HELM_TIMEOUT: &str = "--timeout=4m";

/// A release, called `longhaul`, in a namespace of its own, with an IngressClass that is called like the namespace.
pub struct Release<'a> {
    node: &'a Node,
    helm: Helm,
    namespace: String,
}

/// A pod of a release.
#[derive(Clone, Debug)]
pub struct ReleasePod {
    /// Its name.
    pub name: String,
    /// It is being deleted.
    pub terminating: bool,
    /// Since when it is Ready, if it is.
    pub ready_since: Option<String>,
    /// How often a container of its was started again.
    pub restarts: u64,
    /// What runs in it, by the name in the pod.
    pub containers: BTreeMap<String, Container>,
}

impl<'a> Release<'a> {
    /// Installs with these values, each as `NAME=VALUE`, into a namespace whose name begins with `name`, and waits for
    /// the pods.
    pub async fn install(node: &'a Node, helm: &Helm, name: &str, values: &[&str]) -> Result<Self> {
        node.load_images()?;
        let release = Self { node, helm: helm.clone(), namespace: node.namespace(name).await? };
        release.install_again(values).await?;
        Ok(release)
    }

    /// Installs what was uninstalled.
    pub async fn install_again(&self, values: &[&str]) -> Result<String> {
        let mut arguments = vec!["install", "longhaul", CHART, "--wait", HELM_TIMEOUT];
        let values = self.values(values);
        arguments.extend(values.iter().map(String::as_str));
        self.helm(&arguments).await
    }

    /// Upgrades to a chart with these values, each as `NAME=VALUE`, and waits for the pods.
    pub async fn upgrade(&self, chart: &str, values: &[&str]) -> Result<String> {
        let mut arguments = vec!["upgrade", "longhaul", chart, "--wait", HELM_TIMEOUT];
        let values = self.values(values);
        arguments.extend(values.iter().map(String::as_str));
        self.helm(&arguments).await
    }

    fn values(&self, values: &[&str]) -> Vec<String> {
        let class = format!("controller.ingressClassResource.name={}", self.namespace);
        let all = longhaul::VALUES.iter().chain(values).map(|value| format!("--set={value}"));
        all.chain([format!("--set={class}")]).collect()
    }

    /// Runs helm in the release's namespace and returns its output. That it is not content is an error.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.push(format!("--namespace={}", self.namespace));
        let (helm, kubeconfig) = (self.helm.clone(), self.node.kubeconfig());
        // A thread that is made here is in the network namespace, too.
        let said = tokio::task::spawn_blocking(move || helm.run_on(&kubeconfig, &all)).await??;
        if said.success {
            return Ok(said.output);
        }
        let events = self.kubectl(&["get", "pods,events", "-o", "wide"]).await?;
        anyhow::bail!("{} {arguments:?}: {}\n{events}", self.helm.name, said.error)
    }

    /// Runs kubectl in the release's namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.node.kubectl(&[&["-n", &self.namespace], arguments].concat()).await
    }

    /// Applies objects to its namespace. `CLASS` in them stands for its class.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.node.apply(&self.namespace, &yaml.replace("CLASS", &self.namespace)).await
    }

    /// The namespace that it is in, and the name of its class.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Where the node listens for the Service's port of this name.
    pub async fn node_port(&self, port: &str) -> Result<SocketAddr> {
        let path = format!("jsonpath={{.spec.ports[?(@.name==\"{port}\")].nodePort}}");
        let number = self.kubectl(&["get", "service", "longhaul", "-o", &path]).await?;
        let address = format!("{NODE_ADDRESS}:{number}");
        address.parse().with_context(|| format!("a node port for {port}: {number:?}"))
    }

    /// All its pods that carry traffic, by name.
    pub async fn pods(&self) -> Result<Vec<ReleasePod>> {
        let selector = "app.kubernetes.io/component=controller";
        let listed = self.kubectl(&["get", "pods", "-o", "json", "--selector", selector]).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        listed["items"].as_array().context("a list")?.iter().map(ReleasePod::read).collect()
    }

    /// All its pods, of which there are so many, all of them ready and none leaving.
    pub async fn ready_pods(&self, count: usize) -> Result<Vec<ReleasePod>> {
        let pods = self.pods().await?;
        let good = |pod: &&ReleasePod| pod.ready_since.is_some() && !pod.terminating;
        ensure!(pods.len() == count && pods.iter().all(|pod| good(&pod)), "{count} ready pods: {pods:#?}");
        Ok(pods)
    }

    /// What its containers have logged.
    pub async fn logs(&self) -> String {
        let selector = "app.kubernetes.io/component=controller";
        let all = ["logs", "--selector", selector, "--all-containers", "--prefix", "--tail=60"];
        self.kubectl(&all).await.unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl ReleasePod {
    fn read(pod: &Value) -> Result<Self> {
        let status = &pod["status"];
        let condition = |kind: &str| {
            let all = status["conditions"].as_array().into_iter().flatten();
            all.into_iter().find(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        let statuses = || status["containerStatuses"].as_array().into_iter().flatten();
        let running = statuses().filter(|container| container["state"]["running"].is_object());
        let containers = running.map(|container| {
            let name = container["name"].as_str().context("a container's name")?;
            Ok((
                name.to_owned(),
                Container::of_status(container["containerID"].as_str().unwrap_or_default())?,
            ))
        });
        Ok(Self {
            name: pod["metadata"]["name"].as_str().context("a pod's name")?.to_owned(),
            terminating: !pod["metadata"]["deletionTimestamp"].is_null(),
            ready_since: condition("Ready").map(|ready| ready["lastTransitionTime"].to_string()),
            restarts: statuses().filter_map(|container| container["restartCount"].as_u64()).sum(),
            containers: containers.collect::<Result<_>>()?,
        })
    }

    /// A container of its that runs.
    pub fn container(&self, name: &str) -> Result<&Container> {
        self.containers.get(name).with_context(|| format!("{} runs no {name}", self.name))
    }
}

//! Asking the API server: kubectl, a client, and those two in somebody else's name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::ControlPlane;
use crate::wire::PATIENCE;

/// What kubectl said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether it was content.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error: warnings, and what is wrong.
    pub err: String,
}

impl ControlPlane {
    /// A client with an administrator's permissions. It belongs to the runtime that it was made in.
    pub async fn client(&self) -> Result<Client> {
        let file = Kubeconfig::read_from(self.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        // A proxy of the machine has no place here, where nothing leads out.
        config.proxy_url = None;
        Ok(Client::try_from(config)?)
    }

    /// Runs kubectl as an administrator and returns its output. That it is not content is an error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl_with(arguments, "").await?;
        ensure!(output.success, "kubectl {}: {}", arguments.join(" "), output.err.trim());
        Ok(output.out)
    }

    /// Runs kubectl as an administrator with this input, and says all that it said.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::from(self.namespace.command(self.programs.path("kubectl")?));
        command.args(arguments);
        command.env("KUBECONFIG", self.kubeconfig()).env("KUBECACHEDIR", self.folder().join("kubectl"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("starting kubectl")?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        let feed = async move {
            // It may end without having read its input.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let both = async { tokio::join!(feed, child.wait_with_output()).1 };
        let what = || format!("kubectl {} does not end", arguments.join(" "));
        let ended = timeout(PATIENCE * 3, both).await.with_context(what)??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output { success: ended.status.success(), out: text(&ended.stdout), err: text(&ended.stderr) })
    }

    /// Applies objects; those that say no namespace are meant for this one.
    pub async fn apply(&self, namespace: &str, yaml: &str) -> Result<()> {
        let output = self.kubectl_with(&["-n", namespace, "apply", "-f", "-"], yaml).await?;
        ensure!(output.success, "kubectl apply: {}\n{yaml}", output.err.trim());
        Ok(())
    }

    /// Makes a namespace of which nobody else knows the name, which begins with `name`, and waits until pods can be
    /// made in it.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let client = self.client().await?;
        let metadata = ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() };
        let wanted = Namespace { metadata, ..Namespace::default() };
        let made = Api::all(client).create(&PostParams::default(), &wanted).await?;
        let name = made.metadata.name.context("what was created has a name")?;
        self.wait("the ServiceAccount default", async || self.has_service_account(&name).await).await?;
        Ok(name)
    }

    /// The kubeconfig of a ServiceAccount, with a token that is good for an hour.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["-n", namespace, "create", "token", account, "--duration=1h"]).await?;
        self.keys.token_kubeconfig(&format!("{namespace}.{account}"), token.trim())
    }

    /// The kubeconfig of an administrator who comes through a [`super::Door`] to the API server.
    pub fn kubeconfig_at(&self, door: SocketAddr) -> Result<PathBuf> {
        self.keys.kubeconfig_at(door)
    }

    /// The folder with kubectl and the other programs of Kubernetes.
    pub fn programs_folder(&self) -> Result<PathBuf> {
        let kubectl = self.programs.path("kubectl")?;
        Ok(kubectl.parent().context("a program lies in a folder")?.to_owned())
    }

    /// Installs the CRDs of this checkout and waits until objects of theirs can be stored.
    pub async fn install_crds(&self) -> Result<()> {
        let files = [
            concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/wsroutes.yaml"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/wspolicies.yaml"),
        ];
        let files = ["-f", files[0], "-f", files[1]];
        // The schema is too long for the annotation that an ordinary apply leaves.
        self.kubectl(&[&["apply", "--server-side"], &files[..]].concat()).await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=20s"];
        self.kubectl(&[&wait[..], &files[..]].concat()).await.map(|_| ())
    }

    pub(super) async fn ready(&self) -> Result<()> {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        self.client().await?.request_text(request).await?;
        Ok(())
    }

    pub(super) async fn has_service_account(&self, namespace: &str) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        accounts.get("default").await?;
        Ok(())
    }
}

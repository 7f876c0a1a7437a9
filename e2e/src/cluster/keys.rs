//! Keys, certificates and kubeconfigs of a cluster: files in its folder, good for nothing once it is gone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rcgen::KeyPair;
use rustls::ClientConfig;

use super::namespace::NODE_ADDRESS;
use super::node::NODE;
use super::{API_SERVER_PORT, SERVICE_OF_API_SERVER};
use crate::certificate::{Authority, Pair};

/// The files of a cluster.
pub(super) struct Keys {
    folder: PathBuf,
    authority: Authority,
}

impl Keys {
    /// Makes all keys and the kubeconfigs of those who run a cluster.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let keys = Self { folder: folder.join("keys"), authority: Authority::new()? };
        fs::create_dir(&keys.folder)?;
        let authority = &keys.authority;
        fs::write(keys.file("ca.crt"), authority.pem())?;
        fs::write(keys.file("ca.key"), authority.key_pem())?;
        let accounts = KeyPair::generate()?;
        fs::write(keys.file("accounts.key"), accounts.serialize_pem())?;
        fs::write(keys.file("accounts.pub"), accounts.public_key_pem())?;
        let api_server =
            ["kubernetes.default.svc", "kubernetes", NODE_ADDRESS, SERVICE_OF_API_SERVER, "127.0.0.1"];
        keys.write("apiserver", &authority.issue(&api_server)?)?;
        keys.write("kubelet-server", &authority.issue(&[NODE, NODE_ADDRESS])?)?;
        let node = format!("system:node:{NODE}");
        for (file, user, group) in [
            ("admin", "admin", Some("system:masters")),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
            ("proxy", "system:kube-proxy", None),
            ("kubelet", &node, Some("system:nodes")),
        ] {
            keys.write(file, &authority.issue_user(user, group)?)?;
            keys.write_kubeconfig(file, &api_server_address(), &keys.certificate_of(file))?;
        }
        Ok(keys)
    }

    /// A client's TLS settings that trust the cluster alone.
    pub(super) fn trusting_client(&self) -> Result<Arc<ClientConfig>> {
        self.authority.trusting_client()
    }

    /// One of the files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The kubeconfig of one who runs the cluster.
    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.kubeconfig"))
    }

    /// Writes the kubeconfig of somebody with a token.
    pub(super) fn token_kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(name, &api_server_address(), &format!("token: {token}"))
    }

    /// Writes an administrator's kubeconfig for those to whom the API server is somewhere else.
    pub(super) fn kubeconfig_at(&self, server: SocketAddr) -> Result<PathBuf> {
        self.write_kubeconfig(
            &format!("at-{}", server.port()),
            &server.to_string(),
            &self.certificate_of("admin"),
        )
    }

    fn certificate_of(&self, user: &str) -> String {
        let (certificate, key) = (self.file(&format!("{user}.crt")), self.file(&format!("{user}.key")));
        format!("client-certificate: {}, client-key: {}", certificate.display(), key.display())
    }

    fn write(&self, name: &str, pair: &Pair) -> Result<()> {
        fs::write(self.file(&format!("{name}.crt")), &pair.certificate)?;
        Ok(fs::write(self.file(&format!("{name}.key")), &pair.key)?)
    }

    fn write_kubeconfig(&self, name: &str, server: &str, user: &str) -> Result<PathBuf> {
        let path = self.kubeconfig(name);
        let content = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster: {{server: \"https://{server}\", certificate-authority: {}}}\n\
             users:\n- name: test\n  user: {{{user}}}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n",
            self.file("ca.crt").display()
        );
        fs::write(&path, content)?;
        Ok(path)
    }
}

fn api_server_address() -> String {
    format!("{NODE_ADDRESS}:{API_SERVER_PORT}")
}

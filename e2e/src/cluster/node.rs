//! The one node of a cluster: containerd, scheduler, kubelet and kube-proxy beside a control plane.
//!
//! The node changes nothing of the machine. It has a mount namespace of its own, with its own `/run`, `/var/log` and
//! `/var/lib`, so that whatever it mounts and leaves there goes with its last process. In it, the settings of the
//! kernel that a kubelet insists on read as it wants them, and so it does not set them. Control groups are below one
//! of the run's own, in each hierarchy.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::programs::{CNI_PLUGINS, Programs};
use super::{ControlPlane, Controllers, NODE_ADDRESS, image};
use crate::notes;

/// The node's name.
pub(super) const NODE: &str = "node-1";

const PODS: &str = "198.18.0.0/24";
const PAUSE_IMAGE: &str = "localhost/pause:dev";

/// What holds the node's mounts as long as it is there. Its name among the parts.
const MOUNTS: &str = "mounts";

/// What a kubelet wants settings of the kernel to be.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A control plane with a node on which pods run. Dropping it ends it.
pub struct Node {
    cluster: ControlPlane,
}

impl Deref for Node {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.cluster
    }
}

impl Node {
    /// The node, with its control plane, that the tests of one program share, as [`ControlPlane::wanted_by`].
    pub fn wanted_by(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Node> = OnceLock::new();
        if !Self::can_run(test) {
            return None;
        }
        Some(SHARED.get_or_init(|| Self::start().expect("a node starts where its programs are")))
    }

    /// Whether a node can be, for a test that starts its own. Otherwise as [`ControlPlane::wanted_by`].
    pub fn can_run(test: &str) -> bool {
        notes::can_run(test, Programs::for_node().map(|_| ()))
    }

    /// Starts a control plane and a node. Blocks until the node is ready.
    pub fn start() -> Result<Self> {
        let cluster = ControlPlane::start_with(Programs::for_node()?, Controllers::All)?;
        let node = Self { cluster };
        node.network().inside(async || node.start_parts().await)??;
        Ok(node)
    }

    /// Makes an image of a program of this machine, with the libraries that it needs, and loads it under this name.
    /// Pods that use it say `imagePullPolicy: Never`.
    pub fn load_program(&self, name: &str, program: &Path) -> Result<()> {
        self.load(&image::of_program(name, program, self.folder())?)
    }

    /// Loads an image from an archive, as `buildah push oci-archive:` and `docker save` write it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import"], archive.as_os_str())
    }

    /// Ends the kubelet as a crash would, and starts it again.
    pub fn restart_kubelet(&self) -> Result<()> {
        self.kill("kubelet")?;
        self.start_kubelet()
    }

    async fn start_parts(&self) -> Result<()> {
        self.start_mounts().await?;
        self.start_containerd().await?;
        self.load_program(PAUSE_IMAGE, &self.programs.path("pause")?)?;
        let config = self.keys.kubeconfig("scheduler").display().to_string();
        self.launch(
            "kube-scheduler",
            &[
                format!("--kubeconfig={config}"),
                format!("--authentication-kubeconfig={config}"),
                format!("--authorization-kubeconfig={config}"),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
            ],
        )?;
        self.run.make_control_groups()?;
        fs::write(self.folder().join("kubelet.yaml"), self.kubelet_configuration())?;
        self.start_kubelet()?;
        fs::write(self.folder().join("proxy.yaml"), self.proxy_configuration())?;
        let configuration = format!("--config={}", self.folder().join("proxy.yaml").display());
        let mut proxy = self.command(self.programs.path("kube-proxy")?)?;
        proxy.arg(configuration);
        self.keep("kube-proxy", proxy)?;
        let ready = ["wait", "--for=condition=Ready", "--timeout=5s", "node", NODE];
        self.wait("the node", async || self.kubectl(&ready).await.map(|_| ())).await
    }

    /// Makes the mount namespace, held by a process that does nothing else.
    async fn start_mounts(&self) -> Result<()> {
        let settings = self.folder().join("settings");
        fs::create_dir(&settings)?;
        let mut script = String::from("set -e\n");
        for folder in ["/run", "/var/log", "/var/lib"] {
            ensure!(!self.folder().starts_with(folder), "TMPDIR is below {folder}, which a node replaces");
            // Writing to a String cannot fail.
            let _ = writeln!(script, "mount -t tmpfs longhaul-node {folder}");
        }
        for (name, value) in SETTINGS {
            let file = settings.join(name.replace('/', "."));
            fs::write(&file, format!("{value}\n"))?;
            let _ = writeln!(script, "mount --bind {} /proc/sys/{name}", file.display());
        }
        script.push_str("echo mounted\nexec sleep infinity\n");
        let mut command = self.network().command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        self.keep(MOUNTS, command)?;
        self.wait("the mount namespace", async || {
            self.said(MOUNTS, "mounted").then_some(()).context("nothing is mounted yet")
        })
        .await
    }

    /// A command that runs in the node's mount namespace as well.
    fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let id = self.part_id(MOUNTS)?;
        Ok(self.network().command_in(&[&format!("--mount=/proc/{id}/ns/mnt")], program))
    }

    async fn start_containerd(&self) -> Result<()> {
        let networks = self.folder().join("networks");
        fs::create_dir(&networks)?;
        fs::write(networks.join("10-pods.conflist"), self.pod_network())?;
        let configuration = self.folder().join("containerd.toml");
        fs::write(&configuration, self.containerd_configuration(&networks))?;
        let mut command = self.command("containerd")?;
        command.arg("--config").arg(configuration);
        self.keep("containerd", command)?;
        self.wait("containerd", async || self.ctr(&["version"], "".as_ref())).await
    }

    fn start_kubelet(&self) -> Result<()> {
        let mut command = self.command(self.programs.path("kubelet")?)?;
        command.args([
            format!("--config={}", self.folder().join("kubelet.yaml").display()),
            format!("--kubeconfig={}", self.keys.kubeconfig("kubelet").display()),
            format!("--root-dir={}", self.folder().join("kubelet").display()),
            format!("--node-ip={NODE_ADDRESS}"),
            format!("--hostname-override={NODE}"),
        ]);
        self.keep("kubelet", command)
    }

    fn ctr(&self, arguments: &[&str], last: &OsStr) -> Result<()> {
        let mut command = self.command("ctr")?;
        command
            .arg("--address")
            .arg(self.containerd_socket())
            .args(["--namespace", "k8s.io"])
            .args(arguments);
        if !last.is_empty() {
            command.arg(last);
        }
        let ended = command.output().context("running ctr")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "ctr {}: {}", arguments.join(" "), said.trim());
        Ok(())
    }

    fn containerd_socket(&self) -> PathBuf {
        self.folder().join("containerd.sock")
    }

    fn containerd_configuration(&self, networks: &Path) -> String {
        let folder = self.folder().display();
        let plugin = "plugins.\"io.containerd.grpc.v1.cri\"";
        format!(
            "version = 2\nroot = \"{folder}/containerd\"\nstate = \"{folder}/containerd-state\"\n\
             [grpc]\naddress = \"{}\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{folder}/opt\"\n\
             [{plugin}]\nsandbox_image = \"{PAUSE_IMAGE}\"\nrestrict_oom_score_adj = true\ndisable_apparmor = true\n\
             [{plugin}.cni]\nbin_dir = \"{CNI_PLUGINS}\"\nconf_dir = \"{}\"\n\
             [{plugin}.containerd]\ndefault_runtime_name = \"runc\"\nsnapshotter = \"overlayfs\"\n\
             [{plugin}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
             [{plugin}.containerd.runtimes.runc.options]\nSystemdCgroup = false\n",
            self.containerd_socket().display(),
            networks.display()
        )
    }

    fn pod_network(&self) -> String {
        let leases = self.folder().join("leases");
        serde_json::json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
                      "dataDir": leases}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]})
        .to_string()
    }

    /// As YAML, of which JSON is a part.
    fn kubelet_configuration(&self) -> String {
        serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.keys.file("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": self.keys.file("kubelet-server.crt"),
            "tlsPrivateKeyFile": self.keys.file("kubelet-server.key"),
            "containerRuntimeEndpoint": format!("unix://{}", self.containerd_socket().display()),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.name()),
            "failCgroupV1": false,
            "failSwapOn": false,
            "resolvConf": "/dev/null",
            "clusterDomain": "cluster.local",
            // The disk of a machine for tests may be nearly full.
            "evictionHard": {
                "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "maxPods": 60,
            "volumePluginDir": self.folder().join("volume-plugins"),
            "podLogsDir": self.folder().join("pod-logs"),
        })
        .to_string()
    }

    /// With no wish about the connection tracking of the machine.
    fn proxy_configuration(&self) -> String {
        serde_json::json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": self.keys.kubeconfig("proxy")},
            "clusterCIDR": PODS,
            "hostnameOverride": NODE,
            "bindAddress": NODE_ADDRESS,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        })
        .to_string()
    }
}

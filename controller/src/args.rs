//! The command line. Every flag of a program that stays can be given by environment too.

mod check;
mod explain;
mod selftest;
mod supervise;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use crds::wsroute::{Address, AddressKind};
use ipnet::IpNet;
use snapshot::CertificateKey;
use translate::{AffinityKeyFrom, AuthUrls, Settings, StatusOf};

use crate::addresses::Publish;
use crate::cluster::Cluster;
use crate::{Config, Source};

pub use check::{Check, CheckFormat};
pub use explain::{Explain, ExplainFormat};
pub use selftest::Selftest;
pub use supervise::Supervise;

/// Longhaul's controller: reads routes and hands them to the proxies on a Unix socket.
///
/// It carries no traffic: proxies go on with what they have while it is away.
#[derive(Debug, Parser)]
#[command(name = "longhaul-controller", version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve proxies until told to stop.
    ///
    /// Exit status: 0 when asked to stop (SIGTERM, SIGINT), 1 when something failed, 2 for a wrong command line.
    Run(Box<Run>),
    /// Say what would be wrong with manifests, or with what is in a cluster, without serving it.
    ///
    /// Manifests are read as `run --source dir:` reads them. Each remark names file, line, object and field, and what
    /// helps. `helm template CHART | longhaul-controller check --partial -` checks what a chart renders.
    ///
    /// Exit status: 0 without errors (with --strict: without warnings either), 1 with any or when something cannot be
    /// read, 2 for a wrong command line.
    Check(Box<Check>),
    /// Say what would become of a request, and why: which route wins and what lost to it, who says so of each setting,
    /// which endpoints there are to pick from.
    ///
    /// Exit status: 0 when it is explained, whatever becomes of the request, 1 when something cannot be read, 2 for a
    /// wrong command line.
    Explain(Box<Explain>),
    /// Keep `run` running: restart it when it ends or hangs, until told to stop. Process 1 of a container.
    ///
    /// What stands behind `--` is the command line of the worker: `supervise -- run --source …`. It is started again
    /// after 1 s, and up to 30 s when it keeps ending. SIGTERM and SIGINT are passed on to it.
    ///
    /// Exit status: 0 when asked to stop (SIGTERM, SIGINT), 1 when no worker can be started, 2 for a wrong command line,
    /// the worker's included.
    Supervise(Supervise),
    /// Open a WebSocket through a proxy to this process, and send a message through it.
    ///
    /// A route for the host must lead to where this listens; it may come later. Tried until it works or time is over.
    ///
    /// Exit status: 0 when the message came back, 1 when it did not, 2 for a wrong command line.
    Selftest(Selftest),
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where objects come from. `cluster`: an API server, as the pod's service account or as --kubeconfig says.
    /// `dir:PATH`: the manifests (*.yaml, *.yml, *.json) below a directory, watched for change. Ingress, IngressClass,
    /// WsRoute, Service, EndpointSlice, Secret and ConfigMap are read.
    #[arg(long, env = "LONGHAUL_SOURCE", value_name = "cluster|dir:PATH", value_parser = source)]
    pub source: SourceFlag,

    /// Flags that mean something with --source cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,

    /// The Unix socket on which proxies are served. Proxies must run as the same user, or as root.
    #[arg(long, env = "LONGHAUL_SOCKET", value_name = "PATH")]
    pub socket: PathBuf,

    /// When told to stop, write no more status and give the lease back, but go on feeding the proxies until the last
    /// one has left. For pods, in which controller and proxy are told at the same time.
    #[arg(long, env = "LONGHAUL_OUTSTAY_PROXIES")]
    pub outstay_proxies: bool,

    /// Serve /livez, /readyz, /metrics and /api/{routes,objects,diagnostics} here. Port 0 takes a free one and says
    /// which. Whoever reaches it can read every route: keep it off public addresses.
    #[arg(long, env = "LONGHAUL_ADMIN", value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,

    /// Serve /livez, /readyz and /metrics here, and nothing else: for probes and scrapers.
    #[arg(long, env = "LONGHAUL_OBSERVE", value_name = "ADDR:PORT")]
    pub observe: Option<SocketAddr>,

    /// How the objects are read.
    #[command(flatten)]
    pub reading: Reading,

    /// Believe X-Forwarded-* of peers in these networks, for example 10.0.0.0/8,192.168.1.7/32.
    #[arg(long, env = "LONGHAUL_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// Load balancers in these networks say by the PROXY protocol (version 1 or 2) whose their connections are, for example
    /// 10.0.0.0/8. One of theirs that does not begin so is dropped; from others it is not looked for.
    #[arg(
        long,
        env = "LONGHAUL_PROXY_PROTOCOL_FROM",
        value_name = "CIDR,…",
        value_delimiter = ',',
        value_parser = network
    )]
    pub proxy_protocol_from: Vec<IpNet>,

    /// Where clients reach the proxies, as objects show it in their status, for example 203.0.113.7,lb.example.com.
    #[arg(
        long,
        env = "LONGHAUL_PUBLISH_ADDRESS",
        value_name = "IP|HOSTNAME,…",
        value_delimiter = ',',
        value_parser = address
    )]
    pub publish_address: Vec<Address>,

    /// With --source dir: the file with the key of affinity cookies, 32 characters or more; made where it is missing. Give
    /// machines that serve the same clients the same one. Absent: a file beside the socket.
    #[arg(long, env = "LONGHAUL_AFFINITY_KEY_FILE", value_name = "PATH")]
    pub affinity_key_file: Option<PathBuf>,

    /// How logs are written, on standard output.
    #[arg(long, env = "LONGHAUL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or a tracing filter such as `info,controller=debug`.
    #[arg(long, env = "LONGHAUL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Flags that decide which objects are served, and how they are read.
#[derive(Clone, Debug, clap::Args)]
pub struct Reading {
    /// Of the ingress classes that name this controller, serve only the one of this name.
    #[arg(long, env = "LONGHAUL_INGRESS_CLASS", value_name = "NAME")]
    pub ingress_class: Option<String>,

    /// Every IngressClass whose `spec.controller` is this is ours.
    #[arg(
        long,
        env = "LONGHAUL_CONTROLLER_NAME",
        value_name = "NAME",
        default_value = "longhaul.dev/ingress-controller"
    )]
    pub controller_name: String,

    /// The TLS Secret to serve where no host's certificate fits. Without it such handshakes are refused.
    #[arg(long, env = "LONGHAUL_DEFAULT_TLS_SECRET", value_name = "NAMESPACE/NAME", value_parser = secret)]
    pub default_tls_secret: Option<CertificateKey>,

    /// Serve the Ingresses of these classes, too, although they are another controller's: both serve them while DNS
    /// moves from one to the other.
    #[arg(long, env = "LONGHAUL_ALSO_CLASS", value_name = "NAME,…", value_delimiter = ',')]
    pub also_class: Vec<String>,

    /// Write status and Events of those as well. With false nothing is written to them.
    #[arg(
        long,
        env = "LONGHAUL_ALSO_CLASS_STATUS",
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub also_class_status: bool,

    /// Read the annotations of the retired ingress-nginx (nginx.ingress.kubernetes.io/…) too.
    #[arg(
        long,
        env = "LONGHAUL_NGINX_ANNOTATIONS",
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub nginx_annotations: bool,

    /// Let routes name authentication services by a URL. Without it only a Service of their own namespace may decide who
    /// comes in; routes with a URL answer 503.
    #[arg(long, env = "LONGHAUL_AUTH_URLS", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub auth_urls: bool,
}

impl Reading {
    /// How the objects of a directory are translated.
    pub fn settings(self) -> Settings {
        Settings {
            controller_name: self.controller_name,
            built_in_class: Some(self.ingress_class.clone().unwrap_or_else(|| "longhaul".into())),
            ingress_class: self.ingress_class,
            default_tls_secret: self.default_tls_secret,
            loopback_endpoints: true,
            nginx_annotations: self.nginx_annotations,
            also_classes: self.also_class.into_iter().filter(|name| !name.is_empty()).collect(),
            also_class_status: if self.also_class_status { StatusOf::Written } else { StatusOf::Withheld },
            auth_urls: if self.auth_urls { AuthUrls::Allowed } else { AuthUrls::Refused },
            ..Settings::default()
        }
    }

    /// How the objects of a cluster are translated, or of these namespaces of it.
    fn of_cluster(self, namespaces: &[String], watch_without_class: bool) -> Settings {
        let class = self.ingress_class.clone().unwrap_or_else(|| "longhaul".into());
        Settings {
            class_by_name: (!namespaces.is_empty()).then_some(class),
            watch_without_class,
            built_in_class: None,
            loopback_endpoints: false,
            ..self.settings()
        }
    }
}

/// Where objects come from, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFlag {
    /// `dir:PATH`.
    Directory(PathBuf),
    /// `cluster`.
    Cluster,
}

/// Flags for a cluster.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --source cluster")]
pub struct ClusterFlags {
    /// Where the API server is and who we are there. Absent: the pod's service account; outside of a pod, what
    /// kubectl would use.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Watch only these namespaces. Then Roles there are all the permission that is needed: where IngressClasses
    /// cannot be read, the class is matched by its name (--ingress-class, or longhaul).
    #[arg(long, env = "LONGHAUL_WATCH_NAMESPACES", value_name = "NAMESPACE,…", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Serve Ingresses that name no class, too.
    #[arg(
        long,
        env = "LONGHAUL_WATCH_WITHOUT_CLASS",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub watch_without_class: bool,

    /// Write status and Events to the API server, while holding the lease.
    #[arg(
        long,
        env = "LONGHAUL_STATUS",
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub status: bool,

    /// Show in the status of objects the addresses of this Service, as the cloud gave them to it.
    #[arg(
        long,
        env = "LONGHAUL_PUBLISH_SERVICE",
        value_name = "NAMESPACE/NAME",
        value_parser = service,
        conflicts_with_all = ["publish_address", "publish_node_addresses"]
    )]
    pub publish_service: Option<(String, String)>,

    /// Show in the status of objects the addresses of the nodes on which Ready Longhaul pods run.
    #[arg(
        long,
        env = "LONGHAUL_PUBLISH_NODE_ADDRESSES",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub publish_node_addresses: bool,

    /// The Lease in --pod-namespace that says which of several controllers writes status.
    #[arg(long, env = "LONGHAUL_LEASE", value_name = "NAME", default_value = "longhaul")]
    pub lease: String,

    /// This pod.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "longhaul")]
    pub pod_name: String,

    /// The namespace of this pod, of the Lease and of --peers-service.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    pub pod_namespace: String,

    /// The headless Service whose ready endpoints are all Longhaul pods: an object is Programmed when the proxies of
    /// every one of them serve it. Absent: the proxies of this pod count alone.
    #[arg(long, env = "LONGHAUL_PEERS_SERVICE", value_name = "NAME")]
    pub peers_service: Option<String>,

    /// The Secret in --pod-namespace for the key of affinity cookies, so that all replicas understand the same ones. It
    /// must be there and may be empty: whoever leads fills it. An empty name: no such cookies are set.
    #[arg(
        long,
        env = "LONGHAUL_AFFINITY_KEY_SECRET",
        value_name = "NAME",
        default_value = "longhaul-affinity"
    )]
    pub affinity_key_secret: String,
}

impl ClusterFlags {
    fn config(self) -> Cluster {
        let publish = match (self.publish_service, self.publish_node_addresses) {
            (Some((namespace, name)), _) => Publish::Service { namespace, name },
            (None, true) => Publish::Nodes,
            (None, false) => Publish::Settings,
        };
        Cluster {
            kubeconfig: self.kubeconfig,
            namespaces: self.watch_namespaces.into_iter().filter(|name| !name.is_empty()).collect(),
            status: self.status,
            publish,
            lease: self.lease,
            pod: self.pod_name,
            namespace: self.pod_namespace,
            peers_service: self.peers_service.filter(|name| !name.is_empty()),
            affinity_key_secret: Some(self.affinity_key_secret).filter(|name| !name.is_empty()),
        }
    }
}

/// Whether what is printed is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// Which cluster is read once.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "With --cluster")]
pub struct OneCluster {
    /// Where the API server is and who we are there. Absent: what kubectl would use; in a pod, its service account.
    #[arg(long, value_name = "PATH", requires = "cluster", conflicts_with = "elsewhere")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig in place of its current one.
    #[arg(long, value_name = "NAME", requires = "cluster", conflicts_with = "elsewhere")]
    pub context: Option<String>,

    /// Only these namespaces. IngressClasses are read nevertheless, where that is permitted.
    #[arg(
        long,
        value_name = "NAMESPACE,…",
        value_delimiter = ',',
        requires = "cluster",
        conflicts_with = "elsewhere"
    )]
    pub namespaces: Vec<String>,

    /// Ingresses that name no class are served too.
    #[arg(long, requires = "cluster", conflicts_with = "elsewhere")]
    pub watch_without_class: bool,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Run {
    /// What the flags ask for.
    pub fn config(self) -> Config {
        let read = match self.source {
            SourceFlag::Directory(_) => self.reading.settings(),
            SourceFlag::Cluster => {
                self.reading.of_cluster(&self.cluster.watch_namespaces, self.cluster.watch_without_class)
            }
        };
        let (namespace, name) =
            (self.cluster.pod_namespace.clone(), self.cluster.affinity_key_secret.clone());
        let affinity_key = match self.source {
            SourceFlag::Cluster if !name.is_empty() => AffinityKeyFrom::Secret { namespace, name },
            SourceFlag::Cluster | SourceFlag::Directory(_) => AffinityKeyFrom::Nowhere,
        };
        let settings = Settings {
            trusted_proxies: self.trusted_proxies,
            proxy_protocol_from: self.proxy_protocol_from,
            addresses: self.publish_address,
            affinity_key,
            ..read
        };
        let source = match self.source {
            SourceFlag::Directory(path) => Source::Directory(path),
            SourceFlag::Cluster => Source::Cluster(Box::new(self.cluster.config())),
        };
        let (admin, observe) = (self.admin, self.observe);
        Config { source, socket: self.socket, affinity_key: self.affinity_key_file, admin, observe, settings }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: crds::duration::Duration =
        text.parse().map_err(|_| format!("write {}", crds::duration::GRAMMAR))?;
    if duration.as_millis() < 1_000 {
        return Err("write one second or more".into());
    }
    Ok(Duration::from_millis(duration.as_millis()))
}

fn network(text: &str) -> Result<IpNet, String> {
    crds::network::network(text).ok_or_else(|| format!("write {}", crds::grammar::NETWORK.words))
}

fn source(text: &str) -> Result<SourceFlag, String> {
    match text.split_once(':') {
        None if text == "cluster" => Ok(SourceFlag::Cluster),
        Some(("dir", path)) if !path.is_empty() => Ok(SourceFlag::Directory(path.into())),
        _ => Err("write cluster, or dir: and the path of a directory".into()),
    }
}

fn service(text: &str) -> Result<(String, String), String> {
    secret(text).map(|CertificateKey { namespace, secret }| (namespace, secret))
}

fn secret(text: &str) -> Result<CertificateKey, String> {
    match text.split_once('/') {
        Some((namespace, secret)) if !namespace.is_empty() && !secret.is_empty() && !secret.contains('/') => {
            Ok(CertificateKey { namespace: namespace.into(), secret: secret.into() })
        }
        _ => Err("write NAMESPACE/NAME".into()),
    }
}

fn address(text: &str) -> Result<Address, String> {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let edges = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && edges && label.bytes().all(inner)
    };
    if let Ok(ip) = text.parse::<IpAddr>() {
        // In the one form that the API server takes.
        return Ok(Address { kind: AddressKind::IPAddress, value: ip.to_string() });
    }
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() <= 253 && !numeric && text.split('.').all(label) {
        return Ok(Address { kind: AddressKind::Hostname, value: text.to_ascii_lowercase() });
    }
    Err("write an IP address or a host name, without port".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Run, clap::Error> {
        let start = ["longhaul-controller", "run", "--source", "dir:/etc/routes", "--socket", "/run/s"];
        match Args::try_parse_from(start.iter().chain(flags))?.command {
            Command::Run(run) => Ok(*run),
            _ => unreachable!("run was asked for"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let config = parse(&[]).unwrap().config();
        assert_eq!(config.source, Source::Directory("/etc/routes".into()));
        let expected = Settings {
            built_in_class: Some("longhaul".into()),
            loopback_endpoints: true,
            ..Settings::default()
        };
        assert_eq!(config.settings, expected);
        let flags = [
            "--ingress-class=own",
            "--default-tls-secret=edge/tls",
            "--trusted-proxies=10.0.0.0/8,::1/128",
            "--proxy-protocol-from=10.0.0.5/8,::ffff:192.0.2.7",
            "--nginx-annotations=false",
            "--auth-urls=false",
            "--publish-address=203.0.113.7,2001:DB8::0,LB.example.com",
        ];
        let settings = parse(&flags).unwrap().config().settings;
        assert_eq!(settings.ingress_class.as_deref(), Some("own"));
        assert_eq!(settings.built_in_class.as_deref(), Some("own"));
        assert_eq!(settings.default_tls_secret.unwrap().to_string(), "edge/tls");
        assert_eq!((settings.trusted_proxies.len(), settings.nginx_annotations), (2, false));
        let announcing: Vec<_> = settings.proxy_protocol_from.iter().map(ToString::to_string).collect();
        assert_eq!(announcing, ["10.0.0.0/8", "192.0.2.7/32"], "as clients' addresses are compared");
        assert_eq!(settings.auth_urls, AuthUrls::Refused);
        let addresses = settings.addresses.iter().map(|address| (address.kind, &*address.value));
        let (ip, name) = (AddressKind::IPAddress, AddressKind::Hostname);
        let expected = [(ip, "203.0.113.7"), (ip, "2001:db8::"), (name, "lb.example.com")];
        assert_eq!(addresses.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_cluster_has_no_class_of_its_own_making() {
        let parse = |flags: &[&str]| {
            let start = ["longhaul-controller", "run", "--source=cluster", "--socket=/run/s"];
            match Args::try_parse_from(start.iter().chain(flags)).unwrap().command {
                Command::Run(run) => run.config(),
                _ => unreachable!("run was asked for"),
            }
        };
        let cluster = |config: &Config| match &config.source {
            Source::Cluster(cluster) => Cluster::clone(cluster),
            Source::Directory(_) => unreachable!("a cluster was asked for"),
        };
        let plain = parse(&[]);
        let affinity_key =
            AffinityKeyFrom::Secret { namespace: "default".into(), name: "longhaul-affinity".into() };
        assert_eq!(plain.settings, Settings { affinity_key, ..Settings::default() });
        assert_eq!((cluster(&plain).status, cluster(&plain).publish), (true, Publish::Settings));
        let config = parse(&[
            "--watch-namespaces=a,b",
            "--watch-without-class",
            "--publish-service=edge/longhaul",
            "--status=false",
            "--peers-service=peers",
            "--affinity-key-secret=",
        ]);
        assert_eq!(config.settings.affinity_key, AffinityKeyFrom::Nowhere);
        assert_eq!(config.settings.class_by_name.as_deref(), Some("longhaul"));
        assert!(config.settings.watch_without_class);
        let publish = Publish::Service { namespace: "edge".into(), name: "longhaul".into() };
        let cluster = cluster(&config);
        assert_eq!((cluster.status, &cluster.publish), (false, &publish));
        assert_eq!(cluster.namespaces, ["a".to_owned(), "b".to_owned()].into());
        assert_eq!(cluster.peers_service.as_deref(), Some("peers"));
        let config = parse(&["--watch-namespaces=a", "--ingress-class=own", "--publish-node-addresses"]);
        assert_eq!(config.settings.class_by_name.as_deref(), Some("own"));
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        for flags in [
            &["--default-tls-secret=tls"][..],
            &["--trusted-proxies=10.0.0.0"],
            &["--proxy-protocol-from=10.0.0.0/33"],
            &["--admin=localhost"],
            &["--log-format=xml"],
            &["--nginx-annotations=maybe"],
            &["--publish-address=1.2.3.4:80"],
            &["--publish-address=1.2.3.256"],
            &["--publish-address=a,,b"],
            &["--unknown"],
        ] {
            assert_eq!(parse(flags).unwrap_err().exit_code(), 2, "{flags:?}");
        }
        for source in ["cluster:", "dir:", "/etc"] {
            let run = ["longhaul-controller", "run", "--socket", "/s", "--source", source];
            assert_eq!(Args::try_parse_from(run).unwrap_err().exit_code(), 2, "{source}");
        }
    }
}

//! The command line. Every flag can be given by environment too.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use crds::wsroute::{Address, AddressKind};
use ipnet::IpNet;
use snapshot::CertificateKey;
use translate::Settings;

use crate::selftest;
use crate::supervise::Plan;
use crate::{Config, Source};

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
    Run(Run),
    /// Say what would be wrong with manifests, without serving them.
    ///
    /// They are read as `run --source dir:` reads them. Each remark names file, line, object and field, and what
    /// helps.
    ///
    /// Exit status: 0 without errors, 1 with any or when a path cannot be read, 2 for a wrong command line.
    Check(Check),
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

/// Flags of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Manifests: files, and directories with *.yaml, *.yml and *.json below them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// How remarks are written, on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: CheckFormat,

    /// The files are a part of what will be there: a Service, Secret or class that is not among them is a warning.
    #[arg(long)]
    pub partial: bool,

    /// How the objects are read.
    #[command(flatten)]
    pub reading: Reading,
}

/// Flags of `supervise`.
#[derive(Debug, clap::Args)]
pub struct Supervise {
    /// Replace a worker that gives no sign of life for so long, while the supervisor itself gets to run.
    #[arg(
        long,
        env = "LONGHAUL_SUPERVISE_SILENCE",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = duration
    )]
    pub silence: Duration,

    /// Kill a worker that was told to stop and has not after so long.
    #[arg(
        long,
        env = "LONGHAUL_SUPERVISE_STOP_WITHIN",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = duration
    )]
    pub stop_within: Duration,

    /// The worker's command line.
    #[arg(last = true, required = true, value_name = "run FLAG")]
    pub worker: Vec<OsString>,
}

impl Supervise {
    /// What the worker will be told. The error is for whoever wrote the command line.
    pub fn run(&self) -> Result<Run, clap::Error> {
        let program = OsString::from("longhaul-controller");
        match Args::try_parse_from(std::iter::once(&program).chain(&self.worker))?.command {
            Command::Run(run) => Ok(run),
            _ => Err(Args::command().error(ErrorKind::InvalidSubcommand, "only `run` can be supervised")),
        }
    }

    /// What to supervise.
    pub fn plan(self) -> Plan {
        Plan { arguments: self.worker, silence: self.silence, stop_within: self.stop_within }
    }
}

/// Flags of `selftest`.
#[derive(Debug, clap::Args)]
pub struct Selftest {
    /// Where to serve the WebSocket that the route leads to. Port 0 takes a free one and says which.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// The proxy's plain port. A name is resolved anew for each try.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub connect: String,

    /// The host of the route.
    #[arg(long, value_name = "NAME")]
    pub host: String,

    /// The path to ask for.
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    pub path: String,

    /// How long to try.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

impl Selftest {
    /// What to test.
    pub fn plan(self) -> selftest::Plan {
        let Self { listen, connect, host, path, timeout } = self;
        selftest::Plan { listen, connect, host, path, timeout }
    }
}

/// How remarks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where objects come from. `dir:PATH`: the manifests (*.yaml, *.yml, *.json) below a directory, watched for
    /// change. Ingress, IngressClass, WsRoute, Service, EndpointSlice and Secret are read.
    #[arg(long, env = "LONGHAUL_SOURCE", value_name = "dir:PATH", value_parser = source)]
    pub source: Source,

    /// The Unix socket on which proxies are served. Proxies must run as the same user, or as root.
    #[arg(long, env = "LONGHAUL_SOCKET", value_name = "PATH")]
    pub socket: PathBuf,

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

    /// Where clients reach the proxies, as objects show it in their status, for example 203.0.113.7,lb.example.com.
    #[arg(
        long,
        env = "LONGHAUL_PUBLISH_ADDRESS",
        value_name = "IP|HOSTNAME,…",
        value_delimiter = ',',
        value_parser = address
    )]
    pub publish_address: Vec<Address>,

    /// How logs are written, on standard output.
    #[arg(long, env = "LONGHAUL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or a tracing filter such as `info,controller=debug`.
    #[arg(long, env = "LONGHAUL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Flags that decide which objects are served, and how they are read.
#[derive(Debug, clap::Args)]
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

    /// Read the annotations of the retired ingress-nginx (nginx.ingress.kubernetes.io/…) too.
    #[arg(
        long,
        env = "LONGHAUL_NGINX_ANNOTATIONS",
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub nginx_annotations: bool,
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
            ..Settings::default()
        }
    }
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
        let Source::Directory(_) = &self.source;
        let settings = Settings {
            trusted_proxies: self.trusted_proxies,
            addresses: self.publish_address,
            ..self.reading.settings()
        };
        Config {
            source: self.source,
            socket: self.socket,
            admin: self.admin,
            observe: self.observe,
            settings,
        }
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

fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("write HOST:PORT".into()),
    }
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("write a path that begins with /".into()) }
}

fn source(text: &str) -> Result<Source, String> {
    match text.split_once(':') {
        Some(("dir", path)) if !path.is_empty() => Ok(Source::Directory(path.into())),
        _ => Err("write dir: and the path of a directory".into()),
    }
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
    use super::*;

    fn parse(flags: &[&str]) -> Result<Run, clap::Error> {
        let start = ["longhaul-controller", "run", "--source", "dir:/etc/routes", "--socket", "/run/s"];
        match Args::try_parse_from(start.iter().chain(flags))?.command {
            Command::Run(run) => Ok(run),
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
            "--nginx-annotations=false",
            "--publish-address=203.0.113.7,2001:DB8::0,LB.example.com",
        ];
        let settings = parse(&flags).unwrap().config().settings;
        assert_eq!(settings.ingress_class.as_deref(), Some("own"));
        assert_eq!(settings.built_in_class.as_deref(), Some("own"));
        assert_eq!(settings.default_tls_secret.unwrap().to_string(), "edge/tls");
        assert_eq!((settings.trusted_proxies.len(), settings.nginx_annotations), (2, false));
        let addresses = settings.addresses.iter().map(|address| (address.kind, &*address.value));
        let (ip, name) = (AddressKind::IPAddress, AddressKind::Hostname);
        let expected = [(ip, "203.0.113.7"), (ip, "2001:db8::"), (name, "lb.example.com")];
        assert_eq!(addresses.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_command_line_of_a_worker_is_read_before_it_is_started() {
        let supervise = |flags: &[&str]| {
            let flags = ["longhaul-controller", "supervise"].iter().chain(flags);
            match Args::try_parse_from(flags)?.command {
                Command::Supervise(supervise) => supervise.run().map(|run| (run, supervise.plan())),
                _ => unreachable!("supervise was asked for"),
            }
        };
        let worker = ["run", "--source=dir:/etc/routes", "--socket=/run/s"];
        let (run, plan) = supervise(&[&["--silence=5s", "--"], &worker[..]].concat()).unwrap();
        assert_eq!(run.source, Source::Directory("/etc/routes".into()));
        assert_eq!((plan.arguments, plan.silence.as_secs(), plan.stop_within.as_secs()), {
            (worker.map(OsString::from).to_vec(), 5, 600)
        });
        for wrong in [
            &[][..],
            &["--"],
            &worker,
            &["--", "check", "/etc/routes"],
            &["--", "run", "--sorce=dir:/etc/routes"],
            &["--silence=5", "--", "run", "--source=dir:/etc/routes", "--socket=/run/s"],
            &["--silence=0s", "--", "run", "--source=dir:/etc/routes", "--socket=/run/s"],
        ] {
            assert_eq!(supervise(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        for flags in [
            &["--default-tls-secret=tls"][..],
            &["--trusted-proxies=10.0.0.0"],
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
        for source in ["cluster", "dir:", "/etc"] {
            let run = ["longhaul-controller", "run", "--socket", "/s", "--source", source];
            assert_eq!(Args::try_parse_from(run).unwrap_err().exit_code(), 2, "{source}");
        }
    }
}

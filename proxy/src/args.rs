//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Longhaul's proxy: terminates TLS and carries WebSocket tunnels for hours.
///
/// It takes its routes from a Longhaul controller over a local Unix socket and serves them until told to stop. The
/// controller may come later, go and come back: tunnels and new handshakes go on with the last routes received.
///
/// SIGTERM (or SIGINT) leaves politely: load balancers are told, accepting goes on for --shutdown-delay, then every
/// tunnel is closed with code 1012, evenly over --drain-period. A second signal ends at once.
///
/// Exit codes: 0 asked to stop, 1 failed, 2 bad usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "longhaul-proxy", version)]
pub struct Args {
    /// Unix socket of the controller. It need not exist yet.
    #[arg(long, value_name = "PATH", env = "LONGHAUL_SOCKET")]
    pub socket: PathBuf,

    /// Where to listen for HTTP. Port 0 takes a free one and logs it.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080", env = "LONGHAUL_HTTP")]
    pub http: SocketAddr,

    /// Where to listen for HTTPS.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443", env = "LONGHAUL_HTTPS")]
    pub https: SocketAddr,

    /// The port that clients use for HTTP, where something in front maps it: for X-Forwarded-Port.
    #[arg(long, value_name = "N", env = "LONGHAUL_PUBLIC_HTTP_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub public_http_port: Option<u16>,

    /// The port that clients use for HTTPS: for X-Forwarded-Port and redirects.
    #[arg(long, value_name = "N", env = "LONGHAUL_PUBLIC_HTTPS_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub public_https_port: Option<u16>,

    /// Where to serve /livez, /readyz, /healthz/lb and /metrics. Absent: not at all.
    #[arg(long, value_name = "ADDR", env = "LONGHAUL_PROXY_ADMIN")]
    pub admin: Option<SocketAddr>,

    /// File that keeps the last good routes, so that a restarted proxy serves before the controller answers. It
    /// holds private keys, so it must lie on a memory-backed file system (tmpfs).
    #[arg(long, value_name = "FILE", env = "LONGHAUL_LAST_GOOD")]
    pub last_good: Option<PathBuf>,

    /// Allow --last-good on a disk, private keys and all.
    #[arg(long, requires = "last_good", env = "LONGHAUL_LAST_GOOD_ON_DISK")]
    pub last_good_on_disk: bool,

    /// Further authorities, in PEM, that may sign the certificates of authentication services with `https` addresses,
    /// beside those that browsers trust. Read once, at start.
    #[arg(long, value_name = "FILE", env = "LONGHAUL_AUTH_CA_FILE")]
    pub auth_ca_file: Option<PathBuf>,

    /// Over how long tunnels are closed when leaving.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration, env = "LONGHAUL_DRAIN_PERIOD")]
    pub drain_period: Duration,

    /// How long to go on accepting after SIGTERM, while load balancers take notice.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, env = "LONGHAUL_SHUTDOWN_DELAY")]
    pub shutdown_delay: Duration,

    /// Worker threads. Absent: one for each core.
    #[arg(long, value_name = "N", env = "LONGHAUL_WORKERS", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub workers: Option<u16>,

    /// Form of the log, which goes to stdout.
    #[arg(long, value_name = "FORM", default_value = "text", env = "LONGHAUL_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,longhaul::access=warn`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "LONGHAUL_LOG_LEVEL")]
    pub log_level: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One number with its unit: `h`, `m`, `s` or `ms`, or several of them as in `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as 25s, 1m30s or 500ms");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits =
            rest.find(|letter: char| !letter.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let (unit, millis) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
        total += Duration::from_millis(u64::from(number) * millis);
        rest = &rest[unit.len()..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_need_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "25", "s", "5 s", "-1s", "1d", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}

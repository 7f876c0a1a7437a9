//! Flags of `selftest`.

use std::net::SocketAddr;
use std::time::Duration;

use super::duration;
use crate::selftest;

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

fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("write HOST:PORT".into()),
    }
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("write a path that begins with /".into()) }
}

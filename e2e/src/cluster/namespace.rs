//! A network namespace of a cluster's own, without any way out: nothing in it reaches, or is reached from, anything
//! outside, and it may use every port.
//!
//! A process is moved into it with `nsenter --net`. (`ip netns exec` would do more: it mounts `/sys` anew, which hides
//! the control groups.) A thread of the test moves itself: sockets, threads and processes that it makes are inside.

use std::ffi::OsStr;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::run::namespace_file;

/// The node's address, at which the API server listens.
pub const NODE_ADDRESS: &str = "198.18.255.1";

/// The same, as an address.
pub(super) const NODE_IP: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);

/// Every address of 198.18.10.0/24 can be listened on without further ado.
const BACKENDS: &str = "198.18.10.0/24";

/// A network namespace.
#[derive(Clone)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with loopback, the node's address, addresses for backends and a route for everything else
    /// that leads nowhere: connecting to the address of a Service needs some route.
    pub(super) fn create(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let inside = |arguments: &[&str]| ip(&[&["-n", name], arguments].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&["link", "add", "node0", "type", "veth", "peer", "name", "nowhere0"])?;
        inside(&["link", "set", "node0", "up"])?;
        inside(&["link", "set", "nowhere0", "up"])?;
        inside(&["address", "add", &format!("{NODE_ADDRESS}/32"), "dev", "node0"])?;
        inside(&["route", "add", "default", "dev", "node0"])?;
        inside(&["route", "add", "local", BACKENDS, "dev", "lo"])?;
        let namespace = Self { name: name.to_owned() };
        namespace.inside(async || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        Ok(namespace)
    }

    /// A command that runs a program in it, with an environment of nothing but a path.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_in(&[], program)
    }

    /// As [`Namespace::command`], in more namespaces, which are said as `nsenter` takes them.
    pub(super) fn command_in(&self, others: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", namespace_file(&self.name).display())).args(others).arg(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs work on a thread inside the namespace, and waits for it. A panic in it goes on here.
    pub fn inside<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> Result<T> {
        let inside = || {
            self.enter()?;
            // Threads of the runtime are children of this one, and so inside as well.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(work()))
        };
        std::thread::scope(|scope| {
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves this thread, for good.
    fn enter(&self) -> Result<()> {
        let path = namespace_file(&self.name);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering {}", path.display()))
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let ended = Command::new("ip").args(arguments).output().context("running ip")?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

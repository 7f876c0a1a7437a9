//! Many objects at once: how long a first sync takes, what both programs hold, and what one change costs among them.
//!
//! The time of a change is that until traffic follows it, asked again and again over connections of their own; the
//! processor time is that of both programs meanwhile, with these questions in it.

use std::fmt::{self, Write};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::backend::demo::DemoBackend;
use crate::client::Target;
use crate::objects;
use crate::process::{Facts, Process, binary};
use crate::world::listening;

/// Endpoints of each Service, all of which no test connects to.
const ENDPOINTS: usize = 5;
/// How often each change is made.
const CHANGES: u32 = 12;
/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    ingresses: usize,
    controller_sync: Cost,
    proxy_sync: Cost,
    controller_memory: u64,
    proxy_memory: u64,
    endpoint: Change,
    ingress: Change,
}

/// Time that passed, and processor time.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// What a change costs.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Until traffic follows it: the median, and the longest.
    median: Duration,
    longest: Duration,
    /// Of the controller and of the proxy, for one change.
    cpu: [Duration; 2],
}

/// The two programs.
struct Running {
    controller: Process,
    proxy: Process,
    target: Target,
}

/// Serves so many Ingresses, each of a host and a Service of its own, and changes one of them.
pub async fn measure(ingresses: usize) -> Result<Figures> {
    let (blue, green) = (DemoBackend::start("blue").await?, DemoBackend::start("green").await?);
    let folder = tempfile::Builder::new().prefix("longhaul-").tempdir()?;
    let objects = folder.path().join("objects");
    fs::create_dir(&objects)?;
    for number in 0..ingresses {
        fs::write(objects.join(format!("app-{number}.yaml")), app(number))?;
    }
    fs::write(objects.join("one.yaml"), one("blue"))?;
    for backend in [("blue", &blue), ("green", &green)] {
        fs::write(
            objects.join(format!("{}.yaml", backend.0)),
            objects::backend(backend.0, &[backend.1.address()]),
        )?;
    }

    let begun = Instant::now();
    let controller = start_controller(folder.path())?;
    let admin = Target::plain(listening(&controller, "admin").await?, "admin");
    until("the controller is ready", async || Ok(admin.get("/readyz").await?.status == 200)).await?;
    let controller_sync = Cost { wall: begun.elapsed(), cpu: controller.facts()?.cpu };

    let begun = Instant::now();
    let proxy = start_proxy(folder.path())?;
    let http = listening(&proxy, "http").await?;
    let target = Target::plain(http, "one.example.com");
    until("the proxy serves", async || Ok(serves(&target).await == Some("blue".into()))).await?;
    let proxy_sync = Cost { wall: begun.elapsed(), cpu: proxy.facts()?.cpu };

    let running = Running { controller, proxy, target };
    let (before, _) = running.facts()?;
    let memory = (before.resident, running.facts()?.1.resident);
    let slice =
        |address: SocketAddr| objects::service("blue") + "---\n" + &objects::slice("blue", 0, address);
    let endpoint = running
        .change(&objects.join("blue.yaml"), |name| {
            slice(if name == "blue" { blue.address() } else { green.address() })
        })
        .await?;
    let ingress = running.change(&objects.join("one.yaml"), one).await?;
    Ok(Figures {
        ingresses,
        controller_sync,
        proxy_sync,
        controller_memory: memory.0,
        proxy_memory: memory.1,
        endpoint,
        ingress,
    })
}

impl Running {
    fn facts(&self) -> Result<(Facts, Facts)> {
        Ok((self.controller.facts()?, self.proxy.facts()?))
    }

    /// Writes a file so that its traffic goes to green and back to blue, by turns.
    async fn change(&self, file: &Path, content: impl Fn(&str) -> String) -> Result<Change> {
        let hidden = file.with_file_name(".new");
        let (mut times, before) = (Vec::new(), self.facts()?);
        for turn in 0..CHANGES {
            let name = if turn % 2 == 0 { "green" } else { "blue" };
            fs::write(&hidden, content(name))?;
            let begun = Instant::now();
            fs::rename(&hidden, file)?;
            until("the change is served", async || Ok(serves(&self.target).await == Some(name.into())))
                .await?;
            times.push(begun.elapsed());
            // The controller takes a first change at once and paces those that follow.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let after = self.facts()?;
        times.sort();
        let each = |after: Facts, before: Facts| after.cpu.saturating_sub(before.cpu) / CHANGES;
        Ok(Change {
            median: times[times.len() / 2],
            longest: times[times.len() - 1],
            cpu: [each(after.0, before.0), each(after.1, before.1)],
        })
    }
}

/// Which backend answers.
async fn serves(target: &Target) -> Option<String> {
    let answer = target.get("/whoami").await.ok()?;
    crate::wire::field(&answer.head, crate::backend::NAME_HEADER).map(str::to_owned)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let given_up = Instant::now() + PATIENCE;
    while !holds().await? {
        ensure!(Instant::now() < given_up, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn start_controller(folder: &Path) -> Result<Process> {
    let mut command = Command::new(binary("longhaul-controller")?);
    command.args(["run", "--log-format", "json", "--admin", "127.0.0.1:0"]);
    command.arg("--source").arg(format!("dir:{}", folder.join("objects").display()));
    command.arg("--socket").arg(folder.join("socket"));
    Process::start("controller", command).context("the controller starts")
}

fn start_proxy(folder: &Path) -> Result<Process> {
    let mut command = Command::new(binary("longhaul-proxy")?);
    command.args(["--log-format", "json", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]);
    command.args(["--admin", "127.0.0.1:0"]).arg("--socket").arg(folder.join("socket"));
    Process::start("proxy", command).context("the proxy starts")
}

/// One of many: an Ingress, its Service, its EndpointSlice.
fn app(number: usize) -> String {
    let name = format!("app-{number}");
    let mut text = objects::Ingress::new(&name, &format!("{name}.example.com")).path("/", &name).yaml();
    text += "---\n";
    text += &objects::service(&name);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  labels: \
         {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports:\n- {{name: ws, port: 8080, protocol: \
         TCP}}\nendpoints:\n"
    );
    for endpoint in 0..ENDPOINTS {
        let at = number * ENDPOINTS + endpoint;
        let _ = writeln!(
            text,
            "- addresses: [\"198.{}.{}.{}\"]\n  conditions: {{ready: true}}",
            18 + at / 65_536,
            at / 256 % 256,
            at % 256
        );
    }
    text
}

/// The one that changes.
fn one(service: &str) -> String {
    objects::Ingress::new("one", "one.example.com").path("/", service).yaml()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(f, "{} Ingresses, {} endpoints:", self.ingresses + 1, self.ingresses * ENDPOINTS)?;
        let sync = |cost: Cost| format!("{:.2?}, {:.2?} of CPU", cost.wall, cost.cpu);
        writeln!(f, "  first sync of the controller: {}", sync(self.controller_sync))?;
        writeln!(f, "  first sync of the proxy: {}", sync(self.proxy_sync))?;
        let (controller, proxy) = (mib(self.controller_memory), mib(self.proxy_memory));
        writeln!(f, "  resident: controller {controller:.0} MiB, proxy {proxy:.0} MiB")?;
        for (what, change) in [("endpoint", self.endpoint), ("edited Ingress", self.ingress)] {
            let Change { median, longest, cpu } = change;
            writeln!(
                f,
                "  one {what}: served after {median:.1?} at the median, {longest:.1?} at most; CPU of the controller \
                 {:.1?}, of the proxy {:.1?}",
                cpu[0], cpu[1]
            )?;
        }
        Ok(())
    }
}

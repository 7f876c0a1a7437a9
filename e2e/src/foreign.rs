//! Programs of other people, run as clients and backends: node, python, curl, OpenSSL, Chromium.
//!
//! `make test` puts packages into `.cache` of the checkout and says what it could not get. A test asks for the
//! [`Tool`] that it needs; where the tool is missing the test is skipped, which is noted
//! ([`notes::skipped`]), except with `CI=true`: there nothing may be skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::notes;
use crate::wire::PATIENCE;

/// A program that tests use when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// node with the packages of `e2e/clients/package.json`.
    Node,
    /// Python with the packages of `e2e/clients/requirements.txt`.
    Python,
    /// curl with TLS.
    Curl,
    /// OpenSSL's command.
    OpenSsl,
    /// Chromium, driven by node.
    Chromium,
}

impl Tool {
    /// Whether it can be used; otherwise notes that `test` is skipped, or panics where nothing may be.
    pub fn wanted_by(self, test: &str) -> bool {
        notes::can_run(test, self.look())
    }

    fn look(self) -> Result<()> {
        match self {
            Self::Node => {
                in_path("node")?;
                npm_packages()
            }
            Self::Python => {
                in_path("python3")?;
                packages("python/requests")?;
                packages("python/websockets")
            }
            Self::Curl => in_path("curl").map(|_| ()),
            Self::OpenSsl => in_path("openssl").map(|_| ()),
            Self::Chromium => {
                chromium()?;
                in_path("node")?;
                npm_packages()
            }
        }
    }
}

/// A program that a test talks to over its standard streams.
pub struct Foreign {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Foreign {
    /// Runs a script of `e2e/clients` with node.
    pub fn node(script: &str, arguments: &[&str]) -> Result<Self> {
        Self::node_program(&clients().join(script), arguments)
    }

    /// As [`Foreign::node`], with one more authority whose certificates it takes.
    pub fn node_trusting(script: &str, arguments: &[&str], authority: &Path) -> Result<Self> {
        let mut command = node_command(&clients().join(script));
        Self::start(script, command.args(arguments).env("NODE_EXTRA_CA_CERTS", authority))
    }

    /// Runs `wscat`.
    pub fn wscat(arguments: &[&str]) -> Result<Self> {
        Self::node_program(&cache().join("npm/node_modules/wscat/bin/wscat"), arguments)
    }

    /// Runs a script of `e2e/clients` with Python.
    pub fn python(script: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg(clients().join(script)).env("PYTHONPATH", cache().join("python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(script, command.args(arguments))
    }

    /// Runs curl, quietly, in a mode in which it says what went wrong.
    pub fn curl(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("curl");
        // A proxy or a configuration of the machine has no place in a test on loopback.
        command.args(["-q", "--noproxy", "*", "--silent", "--show-error"]);
        Self::start("curl", command.args(arguments))
    }

    /// Connects with `openssl s_client`, whose input is at its end. Returns all that it says, whether or not it is
    /// content.
    pub async fn openssl_client(arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("openssl");
        command.arg("s_client").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let ended = timeout(PATIENCE, command.output()).await.context("openssl does not end")??;
        let said = [ended.stdout, ended.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Connects with `openssl s_client` and sends a request. Returns all that it says until the server closes.
    pub async fn openssl_request(arguments: &[&str], request: &str) -> Result<String> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-ign_eof"]).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // Where the handshake is refused, nobody may read it.
        let _ = child.stdin.take().context("its input is piped")?.write_all(request.as_bytes()).await;
        let ended = timeout(PATIENCE, child.wait_with_output()).await.context("openssl does not end")??;
        let said = [ended.stdout, ended.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn node_program(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = node_command(program);
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::start(&name, command.args(arguments))
    }

    fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("its output is piped")?;
        Ok(Self { name: name.to_owned(), child, input, output: BufReader::new(output).lines() })
    }

    /// The next line of its output.
    pub async fn line(&mut self) -> Result<String> {
        let next = timeout(PATIENCE, self.output.next_line()).await;
        let line = next.with_context(|| format!("{} says nothing", self.name))??;
        line.with_context(|| format!("{} has nothing more to say", self.name))
    }

    /// Types a line.
    pub async fn type_line(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is still open")?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(input.flush().await?)
    }

    /// Closes its input.
    pub fn finish_input(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended well, and returns the rest of its output.
    pub async fn success(mut self) -> Result<Vec<u8>> {
        self.input = None;
        let mut rest = Vec::new();
        let mut output = self.output.into_inner();
        let read = timeout(PATIENCE, output.read_to_end(&mut rest)).await;
        read.with_context(|| format!("{} does not end", self.name))??;
        let status = self.child.wait().await?;
        ensure!(status.success(), "{} ended with {status}: {}", self.name, String::from_utf8_lossy(&rest));
        Ok(rest)
    }

    /// As [`Foreign::success`], as text.
    pub async fn text(self) -> Result<String> {
        Ok(String::from_utf8(self.success().await?)?)
    }
}

fn node_command(program: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(program).env("NODE_PATH", cache().join("npm/node_modules"));
    if let Ok(chromium) = chromium() {
        command.env("CHROMIUM", chromium);
    }
    command
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Where `make test` puts packages.
fn cache() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    root.join(".cache")
}

/// Whether all that the scripts ask for is there: the folder may be older than what they ask for.
fn npm_packages() -> Result<()> {
    let wanted: Value = serde_json::from_str(&fs::read_to_string(clients().join("package.json"))?)?;
    let names = wanted["dependencies"].as_object().context("package.json says what the scripts need")?;
    names.keys().try_for_each(|name| packages(&format!("npm/node_modules/{name}")))
}

fn packages(folder: &str) -> Result<()> {
    let folder = cache().join(folder);
    ensure!(folder.is_dir(), "{} is not there; `make tools` puts it there", folder.display());
    Ok(())
}

/// Where a program of the machine is.
pub fn in_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not installed"))
}

fn chromium() -> Result<PathBuf> {
    for name in ["chromium", "chromium-browser", "google-chrome"] {
        if let Ok(path) = in_path(name) {
            return Ok(path);
        }
    }
    bail!("Chromium is not installed; `apt-get install chromium` installs it on Debian")
}

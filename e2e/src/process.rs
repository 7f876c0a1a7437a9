//! Child processes: the real programs, started, listened to, and ended by their own id.
//!
//! A [`Process`] keeps every line that its program writes, to whichever of its outputs. Tests wait for lines, never for time. When a
//! test fails, the last lines are printed with it.

mod facts;
mod memory;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::timeout;

pub use facts::Facts;

use crate::wire::PATIENCE;

/// How many lines of a program's log a failing test prints.
const SHOWN: usize = 60;

/// A running program of ours.
pub struct Process {
    name: String,
    child: Child,
    log: watch::Receiver<Log>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<Arc<str>>,
    ended: bool,
}

impl Process {
    /// Starts a command. The name is for messages.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let (read, write) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
        let child = command.spawn().with_context(|| format!("starting {name} as {command:?}"))?;
        // With the command go our copies of the pipe's writing end: it ends when the program does.
        drop(command);
        let (sender, log) = watch::channel(Log::default());
        // A thread, so that a program never stands still because its test is busy and does not read.
        let reader = std::thread::Builder::new()
            .name(format!("log of {name}"))
            .spawn(move || keep_lines(read, &sender))?;
        Ok(Self { name: name.to_owned(), child, log, reader: Some(reader) })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel says about it now.
    pub fn facts(&self) -> Result<Facts> {
        Facts::of(self.id())
    }

    /// Which of these texts are somewhere in its memory.
    pub fn holds(&self, texts: &[&[u8]]) -> Result<Vec<bool>> {
        memory::holds(self.id(), texts)
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Arc<str>> {
        self.log.borrow().lines.clone()
    }

    /// How many lines there are. A mark for [`Process::line_after`].
    pub fn mark(&self) -> usize {
        self.log.borrow().lines.len()
    }

    /// Waits for a line of which `pick` makes something, from the first line on.
    pub async fn line<T>(&self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.line_after(0, what, pick).await
    }

    /// Waits for a line after a mark.
    pub async fn line_after<T>(
        &self,
        mark: usize,
        what: &str,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let mut log = self.log.clone();
        let mut next = mark;
        let search = async {
            loop {
                let ended = {
                    let log = log.borrow_and_update();
                    let found = log.lines[next..].iter().find_map(|line| pick(line));
                    if found.is_some() {
                        return found;
                    }
                    next = log.lines.len();
                    log.ended
                };
                if ended || log.changed().await.is_err() {
                    return None;
                }
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("{} ended without saying {what}\n{}", self.name, self.tail()),
            Err(_) => bail!("{} did not say {what} within {PATIENCE:?}\n{}", self.name, self.tail()),
        }
    }

    /// Whether it has closed its outputs, as a program does that ends.
    pub fn has_ended(&self) -> bool {
        self.log.borrow().ended
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        Ok(kill_process(id, signal)?)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.log_ended().await?;
        Ok(self.child.wait()?)
    }

    /// Waits until nobody can write to its log any more: neither it nor what it started.
    pub async fn log_ended(&mut self) -> Result<()> {
        let ended = self.log.wait_for(|log| log.ended).await;
        ended.with_context(|| format!("the log of {} ended early", self.name))?;
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.tail_of(|_| true)
    }

    /// The last of those lines of its log that are worth showing.
    pub fn tail_of(&self, worth: impl Fn(&str) -> bool) -> String {
        let log = self.log.borrow();
        let lines: Vec<&str> = log.lines.iter().map(AsRef::as_ref).filter(|line| worth(line)).collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN)..];
        format!("--- {} (pid {}) said:\n{}\n---", self.name, self.child.id(), shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

fn keep_lines(output: impl Read, log: &watch::Sender<Log>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().into();
        log.send_modify(|log| log.lines.push(text));
        line.clear();
    }
    log.send_modify(|log| log.ended = true);
}

/// Where a binary of this workspace is: in `LONGHAUL_BIN_DIR`, else in the folder that this program was built to.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("LONGHAUL_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => build_folder()?,
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not there; `make build` builds it", path.display());
    }
    Ok(path)
}

/// `target/debug` of `target/debug/deps/scenarios-0123` and of `target/debug/demo` alike.
fn build_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a program lies in a folder")?;
    let folder =
        if folder.ends_with("deps") { folder.parent().context("deps lies in a folder")? } else { folder };
    Ok(folder.to_owned())
}

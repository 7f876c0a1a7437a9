//! Process 1 of the controller's container: a worker is started, and started again whenever it ends.
//!
//! A pod is Ready only while all its containers run. If an object that crashes every controller ended the container,
//! the Service would lose every proxy, though each of them serves on without its controller. So the container's process is
//! this one, which does next to nothing and so does not crash: it ends only when it is told to.
//!
//! The worker is the same program with the command line that stands behind `--`. Its standard input is a socket, on
//! which its runtime says every now and then that it gets round to it ([`Tether`]). A worker that is silent for too long
//! hangs, and is replaced. Silence is counted in ticks of this process, which never come faster than it gets to run: a
//! pod that was frozen for an hour, or starved, has not been silent.
//!
//! As process 1 it also inherits every orphan of its container, and reaps them.
//!
//! Not here: whether the worker's command line makes sense. That is settled before anything starts; what only the worker can
//! find wrong with it (exit status 2) ends the supervisor as well, unless a worker ever ran.

mod tether;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

pub use tether::Tether;

/// Ticks of silence after which a worker is replaced.
const TICKS: u32 = 60;

/// Heartbeats that are due in that time.
const BEATS: u32 = 12;

/// The wait before a worker is started again …
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// … doubles up to here …
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// … and is short again for one that ran so long.
const RAN_WELL: Duration = Duration::from_mins(1);

/// Waiting for what may never come.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

/// The exit status of a program that cannot make sense of its command line.
const WRONG_USAGE: u8 = 2;

/// Tells a worker that its standard input is the supervisor's socket, and the milliseconds between heartbeats.
const SUPERVISED: &str = "LONGHAUL_SUPERVISED";

/// What to supervise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The worker's command line, without the program's name.
    pub arguments: Vec<OsString>,
    /// How long a worker may be silent.
    pub silence: Duration,
    /// How long a worker that is told to stop may take for it.
    pub stop_within: Duration,
}

/// Keeps a worker running until SIGTERM or SIGINT. Returns the exit status for this process.
pub async fn supervise(plan: Plan) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    Supervisor { plan, signals, backoff: Backoff::default(), ran: false }.run().await
}

struct Supervisor {
    plan: Plan,
    signals: Signals,
    backoff: Backoff,
    /// The heart of a worker has beaten.
    ran: bool,
}

/// How a worker came to its end.
enum End {
    /// By itself.
    Ended(ExitStatus),
    /// It was told to.
    Told(ExitStatus),
}

impl Supervisor {
    async fn run(mut self) -> anyhow::Result<u8> {
        loop {
            let begun = Instant::now();
            let status = match Worker::start(&self.plan) {
                Ok(worker) => match self.watch(worker).await {
                    End::Told(status) => {
                        tracing::info!(%status, "the worker has stopped");
                        return Ok(0);
                    }
                    End::Ended(status) if status.code() == Some(WRONG_USAGE.into()) && !self.ran => {
                        return Ok(WRONG_USAGE);
                    }
                    End::Ended(status) => status.to_string(),
                },
                Err(error) if self.ran => format!("cannot start: {error}"),
                Err(error) => return Err(error).context("cannot start a worker"),
            };
            let (ran, wait) = (begun.elapsed(), self.backoff.after(begun.elapsed(), chance()));
            tracing::error!(
                status,
                ?ran,
                ?wait,
                "the worker ended; proxies go on with what they have until it is back"
            );
            if self.is_told_within(wait).await {
                return Ok(0);
            }
        }
    }

    /// Waits for the end of the worker.
    async fn watch(&mut self, mut worker: Worker) -> End {
        let mut ticks = interval(self.plan.silence / TICKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut silent, mut told) = (0, false);
        let mut deadline = pin!(sleep(NEVER));
        loop {
            let reason = tokio::select! {
                biased;
                heard = self.signals.next() => {
                    match (heard, reap(worker.id)) {
                        (Heard::Child, None) => {}
                        (Heard::Child, Some(status)) if !told => return End::Ended(status),
                        (_, Some(status)) => return End::Told(status),
                        (Heard::Stop(signal), None) => {
                            tracing::info!(?signal, "told to stop, and so is the worker");
                            worker.signal(signal);
                            deadline.as_mut().reset(Instant::now() + self.plan.stop_within);
                            told = true;
                        }
                    }
                    continue;
                }
                () = worker.beat() => {
                    silent = 0;
                    self.ran = true;
                    continue;
                }
                _ = ticks.tick() => {
                    silent += 1;
                    if silent <= TICKS {
                        continue;
                    }
                    "it hangs"
                }
                () = &mut deadline => "it does not stop",
            };
            tracing::error!(worker = worker.id.as_raw_nonzero(), "the worker is killed: {reason}");
            worker.signal(Signal::KILL);
            silent = 0;
            deadline.as_mut().reset(Instant::now() + NEVER);
        }
    }

    /// Waits so long, or until told to stop.
    async fn is_told_within(&mut self, wait: Duration) -> bool {
        let mut over = pin!(sleep(wait));
        loop {
            tokio::select! {
                biased;
                heard = self.signals.next() => match heard {
                    Heard::Child => ended_children().for_each(drop),
                    Heard::Stop(_) => return true,
                },
                () = &mut over => return false,
            }
        }
    }
}

/// A running worker. Nobody but [`reap`] waits for it, so that its id is its own until then.
struct Worker {
    id: Pid,
    /// `None`: it has closed its end.
    heart: Option<UnixStream>,
}

impl Worker {
    fn start(plan: &Plan) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let every = (plan.silence / BEATS).as_millis().to_string();
        let mut command = Command::new(own_program());
        command.args(&plan.arguments).env(SUPERVISED, every).stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        let id = Pid::from_child(&child);
        tracing::info!(worker = id.as_raw_nonzero(), "a worker has started");
        Ok(Self { id, heart: Some(UnixStream::from_std(ours)?) })
    }

    /// Waits for a heartbeat.
    async fn beat(&mut self) {
        let mut beats = [0; 64];
        if let Some(heart) = &mut self.heart {
            if matches!(heart.read(&mut beats).await, Ok(1..)) {
                return;
            }
            self.heart = None;
        }
        std::future::pending::<()>().await;
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process(self.id, signal) {
            tracing::error!(%error, ?signal, "the worker cannot be signalled");
        }
    }
}

/// By its path, so that it has its name in the list of processes; as the kernel holds it where the file was replaced.
fn own_program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.is_file()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// Takes note of every child that has ended: ours, and those that came to us as orphans. Returns how ours did.
fn reap(worker: Pid) -> Option<ExitStatus> {
    // To the last of them, whoever is found meanwhile.
    let ours = ended_children().filter(|(id, _)| *id == worker).last();
    ours.map(|(_, status)| ExitStatus::from_raw(status.as_raw()))
}

fn ended_children() -> impl Iterator<Item = (Pid, WaitStatus)> {
    std::iter::from_fn(|| wait(WaitOptions::NOHANG).ok().flatten())
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    children: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            children: signal(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Heard::Stop(Signal::TERM),
            _ = self.interrupt.recv() => Heard::Stop(Signal::INT),
            _ = self.children.recv() => Heard::Child,
        }
    }
}

/// What the kernel says.
enum Heard {
    /// It is time to stop.
    Stop(Signal),
    /// Children have ended.
    Child,
}

/// How long to wait before a worker is started again.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a worker ran so long. `chance`, from 0 to 1, makes up half of the wait: so that the controllers of many pods
    /// that one object ended do not come back as one.
    fn after(&mut self, ran: Duration, chance: f64) -> Duration {
        if ran >= RAN_WELL {
            self.failures = 0;
        }
        let whole = SHORTEST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        whole.mul_f64(0.5 + chance / 2.0)
    }
}

fn chance() -> f64 {
    // Without randomness all wait as long as they may.
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_short_again_after_a_good_run() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.after(RAN_WELL / 2, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.after(RAN_WELL, 1.0).as_secs(), 1);
        assert_eq!(backoff.after(RAN_WELL / 2, 0.0).as_secs(), 1, "half of two seconds");
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&chance()));
        }
    }
}

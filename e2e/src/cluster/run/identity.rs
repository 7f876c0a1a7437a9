//! Which process an id means: ids are used again, so the time at which it started belongs to it. See proc(5).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

/// How long an ended process may take to be gone before the next look at what is left.
const ENDING: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A process, and no other that may get its id later.
pub(super) struct Identity {
    pub(super) pid: Pid,
    started: u64,
}

impl Identity {
    /// A process that runs now.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name, in parentheses, may hold blanks: count from behind it. The state is field 3, the time
        // at which it started field 22.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_gone = fields.next().is_none_or(|state| state == "Z" || state == "X");
        let started = fields.nth(18)?.parse().ok()?;
        (!is_gone).then_some(Self { pid, started })
    }

    pub(super) fn of_this_process() -> Result<Self> {
        Self::of(getpid()).context("this process runs")
    }

    /// What [`Identity::write`] wrote.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?)?, started: started.parse().ok()? })
    }

    /// Writes it to a file, in one step.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let unfinished = file.with_extension("new");
        fs::write(&unfinished, format!("{} {}\n", self.pid, self.started))?;
        Ok(fs::rename(unfinished, file)?)
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started)
    }
}

/// Ends a process at once and waits until it has ended. `is_ours` is asked after the process is held by a descriptor,
/// so that what it says is about the process that the signal reaches.
pub(super) fn end(pid: Pid, is_ours: impl Fn() -> bool) -> Result<()> {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if !is_ours() {
        return Ok(());
    }
    // It may have ended by itself meanwhile.
    let _ = pidfd_send_signal(&process, Signal::KILL);
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&ENDING))?;
    Ok(())
}

/// Every process of the machine.
pub(super) fn all_processes() -> Result<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_id_with_another_start_is_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("this");
        let this = Identity::of_this_process().unwrap();
        this.write(&file).unwrap();
        assert!(Identity::read(&file).unwrap().is_alive());
        assert!(!Identity { started: this.started + 1, ..this }.is_alive());
    }

    #[test]
    fn an_ended_process_is_gone_before_its_parent_has_asked() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let identity = Identity::of(pid).unwrap();
        end(pid, || false).unwrap();
        assert!(identity.is_alive(), "what is not ours is left alone");
        end(pid, || true).unwrap();
        assert!(!identity.is_alive());
        child.wait().unwrap();
    }
}

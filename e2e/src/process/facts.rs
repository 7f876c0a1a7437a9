//! What Linux tells about a process from outside: `/proc`, see proc(5).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`. Linux fixes it at 100 for what user space sees.
const TICKS: u64 = 100;

/// One look at a process.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Processor time used so far, by user and system together.
    pub cpu: Duration,
    /// Threads.
    pub threads: usize,
}

impl Facts {
    /// Looks at a process.
    pub fn of(id: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        Ok(Self {
            resident: status_value(&status, "VmRSS:")? * 1024,
            descriptors: fs::read_dir(format!("/proc/{id}/fd"))?.count(),
            cpu: cpu(&stat)?,
            threads: status_value(&status, "Threads:")? as usize,
        })
    }
}

fn status_value(status: &str, name: &str) -> Result<u64> {
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn cpu(stat: &str) -> Result<Duration> {
    // The program's name, in parentheses, may hold blanks: count from behind it. utime and stime are fields 14, 15.
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let user = ticks.next().context("no utime")??;
    let system = ticks.next().context("no stime")??;
    Ok(Duration::from_millis((user + system) * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_this_process() {
        let facts = Facts::of(std::process::id()).unwrap();
        assert!(facts.resident > 100_000, "{facts:?}");
        assert!(facts.descriptors >= 3, "{facts:?}");
        assert!(facts.threads >= 1, "{facts:?}");
    }

    #[test]
    fn counts_behind_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(3));
    }
}

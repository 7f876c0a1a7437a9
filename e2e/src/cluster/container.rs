//! A container on the node, as the machine sees it: processes in a control group.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// As containerd names it.
    pub id: String,
}

impl Container {
    /// From the status of a pod: `containerd://ID`.
    pub(super) fn of_status(id: &str) -> Result<Self> {
        let id = id.strip_prefix("containerd://").with_context(|| format!("a container's id: {id:?}"))?;
        ensure!(id.len() == 64, "a container's id: {id:?}");
        Ok(Self { id: id.to_owned() })
    }

    /// Its processes with their command lines, in the order of their ids.
    pub fn processes(&self) -> Result<BTreeMap<i32, Vec<String>>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(id) = id else { continue };
            // It may end at any moment.
            let groups = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
            let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            if groups.contains(&self.id) && !line.is_empty() {
                found.insert(id, line.split_terminator('\0').map(str::to_owned).collect());
            }
        }
        Ok(found)
    }

    /// The process that runs this program, with these as its first arguments.
    pub fn process(&self, program: &str, arguments: &[&str]) -> Result<i32> {
        let all = self.processes()?;
        let runs = |line: &[String]| {
            line[0].rsplit('/').next() == Some(program)
                && line[1..].iter().zip(arguments).all(|(word, wanted)| word == wanted)
        };
        let found = all.iter().find(|(_, line)| runs(line));
        Ok(*found.with_context(|| format!("{program} {arguments:?} is not among {all:?}"))?.0)
    }

    /// Ends one of its processes as a crash would.
    pub fn kill(&self, process: i32) -> Result<()> {
        ensure!(self.processes()?.contains_key(&process), "{process} is not a process of this container");
        Ok(kill_process(Pid::from_raw(process).context("a process id")?, Signal::KILL)?)
    }

    /// A file of `/proc` of a process of its.
    pub fn read(&self, process: i32, name: &str) -> Result<String> {
        let path = PathBuf::from(format!("/proc/{process}/{name}"));
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

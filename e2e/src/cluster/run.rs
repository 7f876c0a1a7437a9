//! One run of a cluster: its folder, and how everything that belongs to it is found and taken away.
//!
//! Four things belong to a run, each under the run's own name: the folder, a network namespace, control groups, and
//! processes. A process is the run's if it is noted in the folder (with the time it started, because ids are used
//! again), if it is in the run's network namespace, or if it is in one of its control groups. No other is touched.
//! Mounts need no taking away: the node makes them in a mount namespace of its own, which goes with its last process.
//!
//! A keeper, a process of its own, holds one end of a pipe and takes the run away when the other end closes: when the
//! run is dropped, and also when the process that owned it ended in any other way. What a killed keeper left is taken
//! away when the next run starts.
//!
//! Invariant: what is made was named in the folder before, so that no moment is a bad one to be killed in.

mod identity;

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;
use tokio::time::Instant;

use self::identity::{Identity, all_processes};
use crate::process::binary;

const PREFIX: &str = "longhaul-cluster-";
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How long the kernel may take to let go of what ended processes held.
const LETTING_GO: Duration = Duration::from_secs(20);

/// A run. Dropping it takes everything away and waits until that is done.
pub(super) struct Run {
    folder: PathBuf,
    name: String,
    keeper: Child,
}

impl Run {
    /// Makes a folder, and a keeper that watches over it. Takes away what earlier runs have left.
    pub(super) fn start() -> Result<Self> {
        let among = std::env::temp_dir();
        take_left_overs(&among)?;
        let program = binary("cluster")?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&among)?.keep();
        let name = name_of(&folder)?;
        // Until here the folder is empty, and an empty folder that stays behind harms nobody.
        Identity::of_this_process()?.write(&folder.join("owner"))?;
        fs::create_dir(folder.join("processes"))?;
        let keeper = Command::new(program)
            .arg("keep")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C goes to every process of a terminal's group, and is not for the keeper.
            .process_group(0)
            .spawn()
            .context("starting the keeper of the cluster")?;
        Ok(Self { folder, name, keeper })
    }

    /// The folder. It is removed with the run.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the namespace and of the control groups.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes a process as the run's.
    pub(super) fn note(&self, name: &str, id: u32) -> Result<()> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id")?;
        let identity = Identity::of(pid).with_context(|| format!("{name} ended at once"))?;
        identity.write(&self.folder.join("processes").join(name))
    }

    /// The folders of the run's control groups, one for each hierarchy, which are made where they are not there.
    pub(super) fn make_control_groups(&self) -> Result<()> {
        for hierarchy in hierarchies()? {
            match fs::create_dir(hierarchy.join(&self.name)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        // Nothing to do, unless the keeper was killed.
        if let Err(error) = take_away(&self.folder) {
            eprintln!("the cluster stays behind: {error:#}");
        }
    }
}

/// What the keeper does: it waits until its input ends, and takes the run away.
pub fn keep(folder: &Path) -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new()).context("waiting for the owner's end")?;
    take_away(folder)
}

/// What is left of a run: nothing, once it was taken away.
pub fn traces(name: &str) -> Result<Vec<String>> {
    let folder = std::env::temp_dir().join(name);
    let mut traces: Vec<String> =
        processes_of(&folder, name)?.iter().map(|pid| format!("process {pid}")).collect();
    let mounts = fs::read_to_string("/proc/mounts")?;
    traces.extend(mounts.lines().filter(|line| line.contains(name)).map(|line| format!("mount {line}")));
    let folders = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(name));
    for path in folders.chain([folder, namespace_file(name)]).filter(|path| path.exists()) {
        traces.push(path.display().to_string());
    }
    Ok(traces)
}

/// The file that names a network namespace.
pub(super) fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Takes away runs whose owners are gone.
fn take_left_overs(among: &Path) -> Result<()> {
    for entry in fs::read_dir(among)? {
        let folder = entry?.path();
        let is_run = name_of(&folder).is_ok_and(|name| name.starts_with(PREFIX));
        // A folder without an owner is just being made.
        let owner = Identity::read(&folder.join("owner"));
        if is_run && owner.is_some_and(|owner| !owner.is_alive()) {
            take_away(&folder)?;
        }
    }
    Ok(())
}

/// Takes a run away, unless somebody else is doing so.
fn take_away(folder: &Path) -> Result<()> {
    let name = name_of(folder)?;
    ensure!(name.starts_with(PREFIX), "{} is not the folder of a cluster", folder.display());
    let lock = match File::create(folder.join("taken-away")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        lock => lock?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        locked => locked?,
    }
    end_processes(folder, &name).with_context(|| format!("ending the processes of {name}"))?;
    remove_control_groups(&name)?;
    remove_namespace(&name)?;
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

fn end_processes(folder: &Path, name: &str) -> Result<()> {
    let given_up = Instant::now() + LETTING_GO;
    loop {
        let left = processes_of(folder, name)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < given_up, "these do not end: {left:?}");
        // While these end they may start others, which the next look finds.
        for pid in left {
            identity::end(pid, || processes_of(folder, name).is_ok_and(|ours| ours.contains(&pid)))?;
        }
    }
}

/// Every process that belongs to a run.
fn processes_of(folder: &Path, name: &str) -> Result<Vec<Pid>> {
    let mut found: Vec<Pid> = match fs::read_dir(folder.join("processes")) {
        Ok(entries) => entries.flatten().filter_map(|entry| Identity::read(&entry.path())).collect(),
        Err(_) => Vec::new(),
    }
    .into_iter()
    .filter(Identity::is_alive)
    .map(|identity| identity.pid)
    .collect();
    if let Ok(namespace) = fs::metadata(namespace_file(name)) {
        found.extend(all_processes()?.filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|its| (its.dev(), its.ino()) == (namespace.dev(), namespace.ino()))
        }));
    }
    for hierarchy in hierarchies()? {
        for group in folders_below(&hierarchy.join(name)) {
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(members.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)));
        }
    }
    found.sort_unstable_by_key(|pid| pid.as_raw_pid());
    found.dedup();
    Ok(found)
}

/// Where control groups are made: each hierarchy of version 1, or the one of version 2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(CONTROL_GROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let Ok(entries) = fs::read_dir(root) else { return Ok(Vec::new()) };
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    // Links name two controllers that share a hierarchy.
    Ok(paths.into_iter().filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink()).collect())
}

/// A folder and all below it, the deepest last.
fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        found.push(folder);
    }
    found
}

fn remove_control_groups(name: &str) -> Result<()> {
    let given_up = Instant::now() + LETTING_GO;
    loop {
        let groups = hierarchies()?.into_iter().flat_map(|hierarchy| folders_below(&hierarchy.join(name)));
        let mut groups: Vec<PathBuf> = groups.collect();
        // Deeper ones first; one that still has a member that is not yet reaped refuses.
        groups.sort_by_key(|group| std::cmp::Reverse(group.components().count()));
        let kept: Vec<_> = groups.into_iter().filter(|group| fs::remove_dir(group).is_err()).collect();
        if kept.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < given_up, "these control groups stay: {kept:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn remove_namespace(name: &str) -> Result<()> {
    if !namespace_file(name).exists() {
        return Ok(());
    }
    let deleted = Command::new("ip").args(["netns", "delete", name]).output()?;
    if !deleted.status.success() {
        bail!("ip netns delete {name}: {}", String::from_utf8_lossy(&deleted.stderr).trim());
    }
    Ok(())
}

fn name_of(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(name.with_context(|| format!("{} has no name", folder.display()))?.to_owned())
}

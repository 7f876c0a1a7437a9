//! The controller under its supervisor, as in a container: whatever happens to the worker, another comes, and tunnels and
//! handshakes go on meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::client::Socket;
use e2e::objects::{Ingress, backend};
use e2e::process::{Process, binary};
use e2e::wire::PATIENCE;
use e2e::world::World;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

const HOST: &str = "app.example.com";

/// Short enough to wait for, long enough for a loaded machine.
const SILENCE: &[&str] = &["--silence", "5s"];

/// The id of the worker that the supervisor says it has started, after a mark of its log.
async fn worker(supervisor: &Process, mark: usize) -> Pid {
    let worker = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "a worker has started").then(|| line["worker"].as_i64()).flatten()
    };
    let id = supervisor.line_after(mark, "which worker it has started", worker).await.unwrap();
    Pid::from_raw(id.try_into().unwrap()).unwrap()
}

async fn says(process: &Process, mark: usize, what: &str) {
    process.line_after(mark, what, |line| line.contains(what).then_some(())).await.unwrap();
}

/// Not even as a zombie.
fn is_gone(id: Pid) -> bool {
    test_kill_process(id).is_err()
}

/// Asks until it holds: nobody tells what becomes of a process that is not ours.
async fn until(holds: impl Fn() -> bool) {
    let asked = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
}

/// A tunnel that is open and new ones are served; once there is another worker, changes arrive as well.
async fn nobody_notices(world: &mut World, open: &mut Socket, mark: usize) {
    open.echo("without a controller").await.unwrap();
    world.plain(HOST).unwrap().websocket("/").await.unwrap().echo("opened without one").await.unwrap();
    world.find_worker(mark).await.unwrap();
    world.settle().await.unwrap();
    open.echo("with another").await.unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_comes_back() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().supervised(&[]).site(HOST, blue.address()).start().await.unwrap();
    let mut open = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    let mut mark = 0;
    // Killed, and asked to stop by somebody who has no business to.
    for signal in [Signal::KILL, Signal::TERM] {
        let supervisor = &world.controller().unwrap().process;
        let before = worker(supervisor, mark).await;
        mark = supervisor.mark();
        kill_process(before, signal).unwrap();
        says(supervisor, mark, "the worker ended").await;
        assert!(is_gone(before));
        nobody_notices(&mut world, &mut open, mark).await;
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().supervised(SILENCE).site(HOST, blue.address()).start().await.unwrap();
    let mut open = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    let supervisor = &world.controller().unwrap().process;
    let (before, mark) = (worker(supervisor, 0).await, supervisor.mark());
    kill_process(before, Signal::STOP).unwrap();
    says(supervisor, mark, "it hangs").await;
    says(supervisor, mark, "the worker ended").await;
    assert!(is_gone(before));
    nobody_notices(&mut world, &mut open, mark).await;
}

#[tokio::test]
async fn a_pod_that_stood_still_has_no_worker_that_hangs() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan().supervised(SILENCE).site(HOST, blue.address()).start().await.unwrap();
    let supervisor = &world.controller().unwrap().process;
    let before = worker(supervisor, 0).await;
    supervisor.signal(Signal::STOP).unwrap();
    kill_process(before, Signal::STOP).unwrap();
    // Longer than a worker may be silent. The supervisor is first to go on, as the kernel may have it.
    tokio::time::sleep(Duration::from_secs(7)).await;
    supervisor.signal(Signal::CONT).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    kill_process(before, Signal::CONT).unwrap();
    // As long again, so that a false alarm would have come.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!is_gone(before), "{}", supervisor.tail());
}

#[tokio::test]
async fn told_to_stop_both_end_and_the_socket_goes() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut world = World::plan().supervised(&[]).start().await.unwrap();
        let socket = world.folder().join("longhaul.sock");
        assert!(socket.exists());
        let supervisor = &mut world.controller_mut().unwrap().process;
        let worker = worker(supervisor, 0).await;
        supervisor.signal(signal).unwrap();
        assert_eq!(supervisor.ended().await.unwrap().code(), Some(0), "{}", supervisor.tail());
        assert!(is_gone(worker));
        assert!(!socket.exists());
    }
}

#[tokio::test]
async fn told_to_stop_it_feeds_its_proxy_until_that_has_left() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let plan = World::plan().supervised(&[]).controller_flags(&["--outstay-proxies"]);
    let mut world = plan.site(HOST, blue.address()).start().await.unwrap();
    let supervisor = &world.controller().unwrap().process;
    let (worker, mark) = (worker(supervisor, 0).await, supervisor.mark());
    supervisor.signal(Signal::TERM).unwrap();
    says(supervisor, mark, "SIGTERM: stopping").await;

    let late = Ingress::new("late", "late.example.com").path("/", "late").yaml();
    world.write("late.yaml", &format!("{late}---\n{}", backend("late", &[blue.address()]))).await.unwrap();
    world.plain("late.example.com").unwrap().websocket("/").await.unwrap().echo("fed").await.unwrap();
    assert!(!is_gone(worker));
    world.kill_proxy().unwrap();
    let supervisor = &mut world.controller_mut().unwrap().process;
    assert_eq!(supervisor.ended().await.unwrap().code(), Some(0), "{}", supervisor.tail());
    assert!(is_gone(worker));
}

#[tokio::test]
async fn a_worker_that_does_not_stop_is_killed() {
    let mut world = World::plan().supervised(&["--stop-within", "1s"]).start().await.unwrap();
    let supervisor = &mut world.controller_mut().unwrap().process;
    let worker = worker(supervisor, 0).await;
    kill_process(worker, Signal::STOP).unwrap();
    assert_eq!(supervisor.stop().await.unwrap().code(), Some(0), "{}", supervisor.tail());
    assert!(is_gone(worker));
}

#[tokio::test]
async fn told_to_stop_while_no_worker_runs_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.args(["supervise", "--", "run", "--log-format=json", "--source=dir:/no/such/folder", "--socket"]);
    command.arg(folder.path().join("s"));
    let mut supervisor = Process::start("supervisor", command).unwrap();
    // What may be there later is no wrong command line: the worker is started again and again, each time later.
    for _ in 0..2 {
        says(&supervisor, supervisor.mark(), "/no/such/folder").await;
    }
    says(&supervisor, 0, "exit status: 1").await;
    assert_eq!(supervisor.stop().await.unwrap().code(), Some(0), "{}", supervisor.tail());
}

#[tokio::test]
async fn a_child_that_is_not_its_own_is_reaped() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // With `exec` the child of the shell becomes the supervisor's, as orphans become those of process 1.
    command.args(["-c", "sleep 1 & echo orphan $!; exec \"$@\"", "sh"]);
    command.arg(binary("longhaul-controller").unwrap());
    command.args(["supervise", "--", "run", "--log-format=json", "--socket"]).arg(folder.path().join("s"));
    command.arg("--source").arg(format!("dir:{}", folder.path().display()));
    let mut supervisor = Process::start("supervisor", command).unwrap();
    let id = supervisor.line("its child", |line| line.strip_prefix("orphan ")?.parse().ok()).await.unwrap();
    let orphan = Pid::from_raw(id).unwrap();
    assert!(!is_gone(orphan));
    until(|| is_gone(orphan)).await;
    let worker = worker(&supervisor, 0).await;
    assert!(!is_gone(worker), "the worker runs on");
    assert_eq!(supervisor.stop().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn without_its_supervisor_a_worker_ends() {
    let mut world = World::plan().supervised(&[]).start().await.unwrap();
    let socket = world.folder().join("longhaul.sock");
    let supervisor = &mut world.controller_mut().unwrap().process;
    let worker = worker(supervisor, 0).await;
    supervisor.kill().unwrap();
    // The worker has the log open as well: it ends with the worker.
    says(supervisor, 0, "the supervisor is gone").await;
    supervisor.log_ended().await.unwrap();
    assert!(!socket.exists());
    // A process closes its files a little before it is gone. Who reaps it by now is not ours to say.
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero()));
    until(|| state().is_ok_and(|state| state.contains(") Z ")) || is_gone(worker)).await;
}

#[tokio::test]
async fn a_wrong_command_line_ends_it_at_once() {
    for (arguments, says) in [
        (&["supervise", "--", "run", "--sorce=dir:."][..], "--sorce"),
        (&["supervise", "--", "run", "--source=nowhere", "--socket=s"], "nowhere"),
        (&["supervise", "--", "check", "."], "only `run`"),
        (&["supervise", "run"], "--"),
        (&["supervise"], "required"),
    ] {
        let ended = Command::new(binary("longhaul-controller").unwrap()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

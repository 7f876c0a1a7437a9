//! The two programs as an operator starts them: help, bad usage, and what cannot work, said plainly.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use e2e::backend::demo::DemoBackend;
use e2e::process::{Process, binary};
use e2e::world::World;

fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new(binary(program).unwrap()).args(arguments).output().unwrap()
}

#[test]
fn help_is_worth_reading() {
    let proxy = String::from_utf8(output("longhaul-proxy", &["--help"]).stdout).unwrap();
    for flag in
        ["--socket", "--http", "--https", "--admin", "--last-good", "--drain-period", "--shutdown-delay"]
    {
        assert!(proxy.contains(flag), "{flag} is not in\n{proxy}");
    }
    let controller = String::from_utf8(output("longhaul-controller", &["run", "--help"]).stdout).unwrap();
    for flag in
        ["--source", "--socket", "--admin", "--ingress-class", "--default-tls-secret", "--trusted-proxies"]
    {
        assert!(controller.contains(flag), "{flag} is not in\n{controller}");
    }
    for help in [proxy, controller] {
        assert!(help.contains("[env: "), "every flag has an environment variable\n{help}");
    }
}

#[test]
fn bad_usage_ends_with_2() {
    for (program, arguments) in [
        ("longhaul-proxy", &["--no-such-flag"][..]),
        ("longhaul-proxy", &[]),
        ("longhaul-proxy", &["--socket", "/tmp/s", "--drain-period", "soon"]),
        ("longhaul-controller", &["run"]),
        ("longhaul-controller", &["run", "--source", "elsewhere:x", "--socket", "/tmp/s"]),
        ("longhaul-controller", &["no-such-command"]),
    ] {
        let ended = output(program, arguments);
        assert_eq!(ended.status.code(), Some(2), "{program} {arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{program} {arguments:?} says why");
    }
}

#[test]
fn what_cannot_work_is_said_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let objects = folder.path().join("objects");
    fs::create_dir(&objects).unwrap();
    let source = format!("dir:{}", objects.display());
    let socket = folder.path().join("socket").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = folder.path().join("file");
    fs::write(&file, "not a socket").unwrap();
    let file = file.display().to_string();
    for (program, arguments, says) in [
        ("longhaul-proxy", vec!["--socket", &socket, "--http", &address], &address[..]),
        ("longhaul-proxy", vec!["--socket", &socket, "--admin", &address, "--http", "127.0.0.1:0"], &address),
        (
            "longhaul-controller",
            vec!["run", "--source", "dir:/no/such/folder", "--socket", &socket],
            "/no/such/folder",
        ),
        ("longhaul-controller", vec!["run", "--source", &source, "--socket", &file], &file),
        (
            "longhaul-controller",
            vec!["run", "--source", &source, "--socket", &socket, "--admin", &address],
            &address,
        ),
    ] {
        let ended = output(program, &arguments);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{program} {arguments:?}: {said}");
        assert!(said.contains(says), "{program} {arguments:?} names {says}: {said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a socket", "a file that is no socket is left alone");
}

#[tokio::test]
async fn a_second_controller_leaves_the_first_ones_socket_alone() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site("app.example.com", blue.address()).start().await.unwrap();
    let socket = world.folder().join("longhaul.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "nobody else may speak to the controller");
    let source = format!("dir:{}", world.objects().display());
    let second =
        output("longhaul-controller", &["run", "--source", &source, "--socket", socket.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    world.settle().await.unwrap();
}

#[tokio::test]
async fn asked_to_stop_they_end_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let mut command = Command::new(binary("longhaul-proxy").unwrap());
    command.args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--shutdown-delay", "0s", "--drain-period", "1s"]).arg("--socket").arg(&socket);
    let mut proxy = Process::start("proxy", command).unwrap();
    proxy.line("that it listens", |line| line.contains("listen").then_some(())).await.unwrap();
    assert_eq!(proxy.stop().await.unwrap().code(), Some(0), "{}", proxy.tail());

    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command
        .args(["run", "--admin", "127.0.0.1:0", "--source"])
        .arg(format!("dir:{}", folder.path().display()));
    command.arg("--socket").arg(&socket);
    let mut controller = Process::start("controller", command).unwrap();
    controller.line("that it listens", |line| line.contains("listen").then_some(())).await.unwrap();
    assert_eq!(controller.stop().await.unwrap().code(), Some(0), "{}", controller.tail());
    assert!(!socket.exists(), "it takes its socket with it");
}

#[tokio::test]
async fn probes_tell_the_truth() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan().site("app.example.com", blue.address()).start().await.unwrap();
    for admin in [world.controller().unwrap().admin(), world.proxy().unwrap().admin()] {
        for page in ["/livez", "/readyz"] {
            assert_eq!(admin.get(page).await.unwrap().status, 200, "{page}");
        }
        let metrics = admin.get("/metrics").await.unwrap().text();
        let named = metrics.lines().filter(|line| !line.starts_with('#'));
        assert!(named.clone().count() > 5, "{metrics}");
        assert!(named.clone().all(|line| line.starts_with("longhaul_")), "{metrics}");
        for line in named {
            let family = line.split(['{', ' ']).next().unwrap();
            let family = family.trim_end_matches("_total").trim_end_matches("_bucket");
            let family = family.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(metrics.contains(&format!("# HELP {family} ")), "{family} has no HELP text");
        }
    }
}

#[tokio::test]
async fn a_proxy_without_any_snapshot_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("longhaul-proxy").unwrap());
    command.args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--log-format", "json"]).arg("--socket").arg(folder.path().join("socket"));
    let proxy = Process::start("proxy", command).unwrap();
    let admin = e2e::world::listening(&proxy, "admin").await.unwrap();
    let admin = e2e::client::Target::plain(admin, "admin");
    assert_eq!(admin.get("/livez").await.unwrap().status, 200);
    assert_eq!(admin.get("/readyz").await.unwrap().status, 503);
}

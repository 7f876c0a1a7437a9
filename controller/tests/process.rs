//! The program as others start and stop it: exit codes, its one line on stderr, what it says on stdout.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn program(flags: &[&str], place: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul-controller"));
    command.args(flags).current_dir(place).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program is built")
}

/// Exit code and stderr of a program that ends by itself.
fn ends(flags: &[&str], place: &Path) -> (Option<i32>, String) {
    let output = program(flags, place).wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn it_serves_until_it_is_asked_to_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = tempfile::tempdir().unwrap();
        let flags =
            ["run", "--source", "dir:.", "--socket", "s", "--admin", "127.0.0.1:0", "--log-format", "json"];
        let mut child = program(&flags, place.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said =
            lines.find_map(|line| Some(line.unwrap()).filter(|line| line.contains("admin listening on")));
        let said: serde_json::Value = serde_json::from_str(&said.unwrap()).unwrap();
        let message = said["message"].as_str().unwrap();
        let port: u16 = message.rsplit_once(':').unwrap().1.parse().unwrap();
        assert_ne!(port, 0, "{said}");
        assert!(place.path().join("s").exists());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), &*stderr), (Some(0), ""));
        assert!(!place.path().join("s").exists());
    }
}

#[test]
fn failures_are_one_line_and_wrong_usage_is_told_apart() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("file"), "").unwrap();
    for (flags, line) in [
        (&["--source", "dir:nowhere", "--socket", "s"][..], {
            "longhaul-controller: cannot read the directory nowhere: No such file or directory (os error 2)\n"
        }),
        (&["--source", "dir:file", "--socket", "s"], {
            "longhaul-controller: cannot read the directory file: Not a directory (os error 20)\n"
        }),
        (&["--source", "dir:.", "--socket", "file"], {
            "longhaul-controller: the socket path file is taken: it is not a socket\n"
        }),
        (&["--source", "dir:.", "--socket", "no/s"], {
            "longhaul-controller: cannot open the socket no/s: No such file or directory (os error 2)\n"
        }),
        (&["--source", "dir:.", "--socket", "s", "--admin", "192.0.2.1:1"], {
            "longhaul-controller: cannot listen on 192.0.2.1:1 for the admin server: Cannot assign requested address \
             (os error 99)\n"
        }),
    ] {
        assert_eq!(ends(&[&["run"], flags].concat(), place.path()), (Some(1), line.into()), "{flags:?}");
    }
    for flags in [&["run"][..], &[], &["walk"], &["run", "--source", "x", "--socket", "s"]] {
        assert_eq!(ends(flags, place.path()).0, Some(2), "{flags:?}");
    }
    for flags in [&["--help"][..], &["run", "--help"], &["--version"]] {
        assert_eq!(ends(flags, place.path()), (Some(0), String::new()), "{flags:?}");
    }
}

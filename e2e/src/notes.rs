//! What tests have to say beside whether they passed: what they measured, what they could not run.
//!
//! The runner shows a passing test's output to nobody, so these lines also go to the files that `LONGHAUL_MEASURED`
//! and `LONGHAUL_SKIPPED` name. `make test` sets both and prints them at its end.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::Result;

/// Something was measured that people want to see.
pub fn measured(line: &str) {
    note("LONGHAUL_MEASURED", line);
}

/// A test, or a part of it, could not be run.
pub fn skipped(line: &str) {
    note("LONGHAUL_SKIPPED", line);
}

/// Whether a test can run, given what a look at its needs found; otherwise notes that it is skipped, or panics with
/// `CI=true`, where nothing may be.
pub fn can_run(test: &str, look: Result<()>) -> bool {
    let Err(missing) = look else { return true };
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{test} cannot be skipped with CI=true, and {missing:#}"
    );
    skipped(&format!("{test}: {missing:#}"));
    false
}

fn note(variable: &str, line: &str) {
    eprintln!("{line}");
    if let Some(file) = std::env::var_os(variable) {
        let opened = OpenOptions::new().append(true).create(true).open(file);
        // The line is for people; a test is no worse where it cannot be written.
        let _ = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

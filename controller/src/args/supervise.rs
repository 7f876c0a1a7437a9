//! Flags of `supervise`.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::{Args, Command, Run, duration};
use crate::supervise::Plan;

/// Flags of `supervise`.
#[derive(Debug, clap::Args)]
pub struct Supervise {
    /// Replace a worker that gives no sign of life for so long, while the supervisor itself gets to run.
    #[arg(
        long,
        env = "LONGHAUL_SUPERVISE_SILENCE",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = duration
    )]
    pub silence: Duration,

    /// Kill a worker that was told to stop and has not after so long.
    #[arg(
        long,
        env = "LONGHAUL_SUPERVISE_STOP_WITHIN",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = duration
    )]
    pub stop_within: Duration,

    /// The worker's command line.
    #[arg(last = true, required = true, value_name = "run FLAG")]
    pub worker: Vec<OsString>,
}

impl Supervise {
    /// What the worker will be told. The error is for whoever wrote the command line.
    pub fn run(&self) -> Result<Run, clap::Error> {
        let program = OsString::from("longhaul-controller");
        match Args::try_parse_from(std::iter::once(&program).chain(&self.worker))?.command {
            Command::Run(run) => Ok(*run),
            _ => Err(Args::command().error(ErrorKind::InvalidSubcommand, "only `run` can be supervised")),
        }
    }

    /// What to supervise.
    pub fn plan(self) -> Plan {
        Plan { arguments: self.worker, silence: self.silence, stop_within: self.stop_within }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceFlag;
    use super::*;

    #[test]
    fn the_command_line_of_a_worker_is_read_before_it_is_started() {
        let supervise = |flags: &[&str]| {
            let flags = ["longhaul-controller", "supervise"].iter().chain(flags);
            match Args::try_parse_from(flags)?.command {
                Command::Supervise(supervise) => supervise.run().map(|run| (run, supervise.plan())),
                _ => unreachable!("supervise was asked for"),
            }
        };
        let worker = ["run", "--source=dir:/etc/routes", "--socket=/run/s"];
        let (run, plan) = supervise(&[&["--silence=5s", "--"], &worker[..]].concat()).unwrap();
        assert_eq!(run.source, SourceFlag::Directory("/etc/routes".into()));
        assert_eq!((plan.arguments, plan.silence.as_secs(), plan.stop_within.as_secs()), {
            (worker.map(OsString::from).to_vec(), 5, 600)
        });
        for wrong in [
            &[][..],
            &["--"],
            &worker,
            &["--", "check", "/etc/routes"],
            &["--", "run", "--sorce=dir:/etc/routes"],
            &["--silence=5", "--", "run", "--source=dir:/etc/routes", "--socket=/run/s"],
            &["--silence=0s", "--", "run", "--source=dir:/etc/routes", "--socket=/run/s"],
        ] {
            assert_eq!(supervise(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}

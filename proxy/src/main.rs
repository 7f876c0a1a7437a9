//! The `longhaul-proxy` program.

use std::process::ExitCode;

use clap::Parser;
use proxy::args::{Args, LogFormat};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = log(&args) {
        eprintln!("longhaul-proxy: --log-level {}: {error}", args.log_level);
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(proxy::run(args));
        // A thread that is stuck does not keep the process.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longhaul-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &Args) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: EnvFilter = args.log_level.parse()?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    match args.log_format {
        LogFormat::Text => subscriber.with_ansi(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

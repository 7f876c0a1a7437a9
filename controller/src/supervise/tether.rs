//! The worker's end of the socket to its supervisor.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::fs::{FileType, fstat};
use tokio::net::UnixStream;

use super::SUPERVISED;

/// Ties a worker to its supervisor: the supervisor hears that the worker lives, the worker when the supervisor does no
/// longer.
#[derive(Debug)]
pub struct Tether {
    stream: UnixStream,
    every: Duration,
}

impl Tether {
    /// The socket that a supervisor left on standard input. `None`: nobody supervises this process. Must be called
    /// within a runtime.
    pub fn inherited() -> anyhow::Result<Option<Self>> {
        let Some(every) = std::env::var_os(SUPERVISED) else { return Ok(None) };
        let every = every.to_str().and_then(|every| every.parse().ok());
        let every = every.with_context(|| format!("{SUPERVISED} is for `supervise` to set"))?;
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        let kind = FileType::from_raw_mode(fstat(&input)?.st_mode);
        ensure!(kind.is_socket(), "{SUPERVISED} is set, but standard input is no supervisor's socket");
        let stream = std::os::unix::net::UnixStream::from(input);
        stream.set_nonblocking(true)?;
        Ok(Some(Self { stream: UnixStream::from_std(stream)?, every: Duration::from_millis(every) }))
    }

    /// Sends heartbeats until the supervisor is gone. Belongs on the runtime whose standing still should be noticed.
    pub async fn hold(self) {
        loop {
            match self.stream.try_write(&[0]) {
                // What a supervisor that stands still has not read yet is enough.
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
            tokio::select! {
                () = self.gone() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn gone(&self) {
        while self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut [0; 16]) {
                Ok(0) => return,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }
}

//! The socket as a file: made so that nobody else can connect, replaced only when it is stale, removed at the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A path on which no socket can be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something answers there.
    #[error("the socket {0} is taken: another process listens on it")]
    Taken(PathBuf),
    /// There is a file of another sort.
    #[error("the socket path {0} is taken: it is not a socket")]
    NotASocket(PathBuf),
    /// Nobody can tell whether a process listens there.
    #[error("the socket {path} exists, and whether it is in use cannot be told")]
    Unclear {
        /// As named.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refuses.
    #[error("cannot open the socket {path}")]
    Refused {
        /// As named.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another controller may have put its own socket there since.
    identity: (u64, u64),
}

impl Socket {
    /// Opens the socket. Must be called within a runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        clear_the_way(path)?;
        let refused = |source: io::Error| BindError::Refused { path: path.into(), source };
        let address = SocketAddrUnix::new(path).map_err(|error| refused(error.into()))?;
        let socket = new_socket().map_err(refused)?;
        rustix::net::bind(&socket, &address).map_err(|error| refused(error.into()))?;
        // Before `listen` nobody can connect, so that the mode is in place in time whatever the umask says.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(refused)?;
        rustix::net::listen(&socket, BACKLOG).map_err(|error| refused(error.into()))?;
        let listener = UnixListener::from_std(socket.into()).map_err(refused)?;
        let identity = identity(path).map_err(refused)?;
        Ok(Self { listener, path: path.into(), identity })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Removes a socket that nobody listens on any more.
fn clear_the_way(path: &Path) -> Result<(), BindError> {
    let unclear = |source: io::Error| BindError::Unclear { path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Refused { path: path.into(), source }),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotASocket(path.into())),
        Ok(_) => {}
    }
    let address = SocketAddrUnix::new(path).map_err(|error| unclear(error.into()))?;
    let probe = new_socket().map_err(unclear)?;
    match rustix::net::connect(probe.as_fd(), &address) {
        // With a full backlog there is somebody, too.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::Taken(path.into())),
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(unclear),
        Err(error) => Err(unclear(error.into())),
    }
}

/// The process at the other end must be ours, or root's: the stream carries private keys.
pub(super) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let (peer, ours) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if peer == ours || peer == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!("it comes from user {peer}, not {ours}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_ours_alone_and_goes_at_the_end() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let stream = UnixStream::connect(&path).await.unwrap();
        check_peer(&stream).unwrap();
        assert!(matches!(Socket::bind(&path), Err(BindError::Taken(_))));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_anything_else_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path).unwrap();
        // One that another process put there since is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        drop(socket);
        let error = Socket::bind(&path).unwrap_err();
        assert!(error.to_string().ends_with("is not a socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let long = place.path().join("x".repeat(120));
        assert!(matches!(Socket::bind(&long), Err(BindError::Refused { .. })));
        assert!(matches!(Socket::bind(&place.path().join("no/where")), Err(BindError::Refused { .. })));
    }
}

//! One connection, byte by byte: what a test needs where a client library would be too polite.
//!
//! A [`Wire`] is used from both ends: as a client ([`crate::client::Target::wire`]) and as a backend that a test
//! plays itself ([`Upstream::accept`]). It keeps every byte that it received, for comparisons at the end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use xxhash_rust::xxh3::Xxh3Default;

/// How long a peer may take before a test that waits for it gives up. Reaching it is always a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a [`Wire`] runs over.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket below, for its options.
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Transport for tokio_rustls::client::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// One connection.
pub struct Wire {
    transport: Box<dyn Transport>,
    received: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// Takes an open connection over.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self { transport: Box::new(transport), received: Vec::new(), taken: 0 }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.transport.write_all(bytes.as_ref()).await?;
        Ok(self.transport.flush().await?)
    }

    /// Sends bytes one at a time, each in a segment of its own.
    pub async fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.transport.socket().set_nodelay(true)?;
        for byte in bytes.as_ref() {
            self.send([*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Receives up to and including the empty line that ends a head.
    pub async fn head(&mut self) -> Result<String> {
        loop {
            let rest = &self.received[self.taken..];
            if let Some(at) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&rest[..at + 4]).into_owned();
                self.taken += at + 4;
                return Ok(head);
            }
            let seen = String::from_utf8_lossy(rest).into_owned();
            ensure!(self.more().await? > 0, "the peer ended in the middle of a head: {seen:?}");
        }
    }

    /// Receives exactly this many bytes.
    pub async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.received.len() < self.taken + count {
            let there = self.received.len() - self.taken;
            ensure!(self.more().await? > 0, "the peer ended after {there} of {count} bytes");
        }
        let bytes = self.received[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(bytes)
    }

    /// Receives until the peer ends its direction.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.more().await? > 0 {}
        let bytes = self.received[self.taken..].to_vec();
        self.taken = self.received.len();
        Ok(bytes)
    }

    /// Waits until the connection is gone, cleanly or not, and says how.
    pub async fn ended(&mut self) -> Result<Ending> {
        loop {
            match self.read().await? {
                Ok(0) => return Ok(Ending::Fin),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Ending::Reset),
                // A TLS peer that leaves without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ending::Fin),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives this many bytes without keeping them, and returns their checksum.
    pub async fn swallow(&mut self, count: u64) -> Result<String> {
        ensure!(self.taken == self.received.len(), "something came before");
        swallow(&mut self.transport, count).await
    }

    /// Sends the same bytes again and again.
    pub async fn flood(&mut self, bytes: &[u8], times: u64) -> Result<()> {
        flood(&mut self.transport, bytes, times).await
    }

    /// Floods the peer, while a flood from it is swallowed. Returns the checksum of what came.
    pub async fn flood_and_swallow(&mut self, bytes: &[u8], times: u64, count: u64) -> Result<String> {
        ensure!(self.taken == self.received.len(), "something came before the flood");
        let (read, write) = tokio::io::split(&mut self.transport);
        let (sent, swallowed) = tokio::join!(flood(write, bytes, times), swallow(read, count));
        sent?;
        swallowed
    }

    /// Every byte received so far, taken or not.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Ends our direction and keeps the other one.
    pub async fn finish(&mut self) -> Result<()> {
        Ok(self.transport.shutdown().await?)
    }

    /// Ends the connection with a reset.
    pub fn reset(self) -> Result<()> {
        Ok(self.transport.socket().set_zero_linger()?)
    }

    /// Our end's address.
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(self.transport.socket().local_addr()?)
    }

    /// The other end's address.
    pub fn peer(&self) -> Result<SocketAddr> {
        Ok(self.transport.socket().peer_addr()?)
    }

    /// The transport, for a WebSocket library. Bytes that were received and not taken are lost.
    pub fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }

    /// As a backend: receives a WebSocket handshake and accepts it, with `behind` in the same segment as the 101.
    /// Returns the request's head.
    pub async fn accept_websocket(&mut self, behind: &[u8]) -> Result<String> {
        let head = self.head().await?;
        let mut answer = switching_protocols(&head)?.into_bytes();
        answer.extend_from_slice(behind);
        self.send(answer).await?;
        Ok(head)
    }

    async fn more(&mut self) -> Result<usize> {
        Ok(self.read().await??)
    }

    async fn read(&mut self) -> Result<io::Result<usize>> {
        timeout(PATIENCE, self.transport.read_buf(&mut self.received)).await.with_context(|| {
            let rest = String::from_utf8_lossy(&self.received[self.taken..]).into_owned();
            format!("the peer sent nothing for {PATIENCE:?}, after {rest:?}")
        })
    }
}

async fn flood(mut to: impl AsyncWrite + Unpin, bytes: &[u8], times: u64) -> Result<()> {
    for sent in 0..times {
        let written = timeout(PATIENCE, to.write_all(bytes)).await;
        written.with_context(|| format!("nobody takes more than {sent} of {times} pieces"))??;
    }
    Ok(to.flush().await?)
}

async fn swallow(mut from: impl AsyncRead + Unpin, count: u64) -> Result<String> {
    let mut hash = Xxh3Default::new();
    let mut piece = vec![0; 64 * 1024];
    let mut left = count;
    while left > 0 {
        let room = piece.len().min(usize::try_from(left)?);
        let read = timeout(PATIENCE, from.read(&mut piece[..room])).await;
        let read = read.with_context(|| format!("{left} of {count} bytes do not come"))??;
        ensure!(read > 0, "the peer ended with {left} of {count} bytes missing");
        hash.update(&piece[..read]);
        left -= read as u64;
    }
    Ok(format!("{:032x}", hash.digest128()))
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer ended its direction.
    Fin,
    /// The peer reset the connection.
    Reset,
}

/// A backend that the test plays itself.
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Listens on a free loopback port.
    pub async fn bind() -> Result<Self> {
        Ok(Self { listener: TcpListener::bind("127.0.0.1:0").await? })
    }

    /// As [`Upstream::bind`], with a receive buffer of about `bytes` on every accepted connection.
    pub fn bind_with_receive_buffer(bytes: u32) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { listener: socket.listen(64)? })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<Wire> {
        let (stream, _) =
            timeout(PATIENCE, self.listener.accept()).await.context("nobody connected to the upstream")??;
        Ok(Wire::new(stream))
    }

    /// Whether nobody has connected.
    pub async fn untouched(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => false,
            () = tokio::task::yield_now() => true,
        }
    }
}

/// The 101 that accepts the WebSocket handshake in `head`.
pub fn switching_protocols(head: &str) -> Result<String> {
    let Some(key) = field(head, "sec-websocket-key") else { bail!("no Sec-WebSocket-Key in {head:?}") };
    let accept = derive_accept_key(key.as_bytes());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// The handshake of a WebSocket client, with further header lines (each ended by CRLF).
pub fn handshake(host: &str, target: &str, further: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{further}\r\n"
    )
}

/// The value of the first field with this name in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    fields(head, name).next()
}

/// The values of all fields with this name in a head, in order.
pub fn fields<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// The status code of a response head.
pub fn status(head: &str) -> Result<u16> {
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.with_context(|| format!("no status line in {head:?}"))?.parse().context("the status is no number")
}

/// A frame as a client sends it: masked, final, with this opcode.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = frame_head(opcode, payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame as a server sends it: unmasked, final, with this opcode.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(opcode, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

fn frame_head(opcode: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut head = vec![0x80 + opcode];
    match length {
        0..126 => head.push(masked + length as u8),
        126..65_536 => {
            head.push(masked + 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(masked + 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

//! Clients of a proxy: WebSockets over ws and wss, plain requests, bare bytes.
//!
//! A [`Target`] says where to connect and as which host, so that any name can be asked of a loopback port. The
//! plain requests here know just enough of HTTP/1.1 to read what tests ask for; `curl` is the real client.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response as HandshakeResponse;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::backend::NAME_HEADER;
use crate::wire::{PATIENCE, Transport, Wire, field, fields, status};

/// A place to connect to and the host to ask for there.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    from: Option<IpAddr>,
}

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Transport>>,
    /// The answer that opened it.
    pub response: HandshakeResponse,
}

/// An answer to a plain request.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Target {
    /// In the clear.
    pub fn plain(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), tls: None, from: None }
    }

    /// Over TLS, with the host as server name.
    pub fn tls(address: SocketAddr, host: &str, config: Arc<ClientConfig>) -> Self {
        Self { address, host: host.to_owned(), tls: Some(config), from: None }
    }

    /// The same for a client with this address: on loopback any of 127.0.0.0/8 is one's own.
    pub fn from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// The host asked for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address connected to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection and nothing more.
    pub async fn wire(&self) -> Result<Wire> {
        self.over(self.connect().await?).await
    }

    async fn connect(&self) -> Result<TcpStream> {
        let Some(from) = self.from else { return Ok(TcpStream::connect(self.address).await?) };
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from, 0))?;
        Ok(socket.connect(self.address).await?)
    }

    /// As [`Target::wire`], with a receive buffer of about `bytes` in the kernel.
    pub async fn wire_with_receive_buffer(&self, bytes: u32) -> Result<Wire> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        self.over(socket.connect(self.address).await?).await
    }

    async fn over(&self, stream: TcpStream) -> Result<Wire> {
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(config) => Wire::new(self.tls_handshake(config, stream).await?),
            None => Wire::new(stream),
        })
    }

    async fn tls_handshake(
        &self,
        config: &Arc<ClientConfig>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone())?;
        let handshake = TlsConnector::from(config.clone()).connect(name, stream);
        Ok(timeout(PATIENCE, handshake).await.context("no end of the TLS handshake")??)
    }

    /// The certificate that a new connection is served with.
    pub async fn certificate(&self) -> Result<CertificateDer<'static>> {
        let config = self.tls.as_ref().context("a target with TLS")?;
        let stream = self.tls_handshake(config, self.connect().await?).await?;
        let chain = stream.get_ref().1.peer_certificates().context("a certificate")?;
        Ok(chain.first().context("a certificate")?.clone().into_owned())
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self, path: &str) -> Result<Socket> {
        self.websocket_with(path, &[]).await
    }

    /// Opens a WebSocket with further header fields.
    pub async fn websocket_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket> {
        let transport = self.wire().await?.into_transport();
        let request = self.upgrade_request(path, headers)?;
        // Tests hold thousands of these: the library's eager buffers would be most of this process.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let opened = timeout(PATIENCE, client_async_with_config(request, transport, Some(config))).await;
        let (stream, response) = opened.context("no answer to the handshake")??;
        Ok(Socket { stream, response })
    }

    fn upgrade_request(&self, path: &str, headers: &[(&str, &str)]) -> Result<Request<()>> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{}{path}", self.host).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
        }
        Ok(request)
    }

    /// Sends a plain GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.request("GET", path, "", b"").await
    }

    /// The backend that answers a plain request and a handshake with these fields: they must agree. Where none does,
    /// the status of the plain request.
    pub async fn served_by(&self, path: &str, headers: &[(&str, &str)]) -> Result<String> {
        let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let answer = self.request("GET", path, &lines.concat(), b"").await?;
        let plain = match field(&answer.head, NAME_HEADER) {
            Some(name) => name.to_owned(),
            None => answer.status.to_string(),
        };
        if let Ok(socket) = self.websocket_with(path, headers).await {
            ensure!(socket.backend() == plain, "{path}: {} opens, {plain} answers", socket.backend());
        } else {
            ensure!(plain.parse::<u16>().is_ok(), "{path}: {plain} answers requests and no handshakes");
        }
        Ok(plain)
    }

    /// Sends a plain request on a connection of its own, with further header lines (each ended by CRLF).
    pub async fn request(&self, method: &str, path: &str, further: &str, body: &[u8]) -> Result<Answer> {
        let mut wire = self.wire().await?;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let host = &self.host;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{further}\r\n");
        wire.send(head).await?;
        wire.send(body).await?;
        Answer::read(&mut wire).await
    }
}

impl Answer {
    /// Reads an answer whose body is delimited by its length, by chunks, or by the end of the connection.
    pub async fn read(wire: &mut Wire) -> Result<Self> {
        let head = wire.head().await?;
        let status = status(&head)?;
        let length = fields(&head, "content-length").next().map(str::parse).transpose()?;
        let chunked = fields(&head, "transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked"));
        let body = match length {
            _ if matches!(status, 100..=199 | 204 | 304) => Vec::new(),
            Some(length) => wire.take(length).await?,
            None if chunked => chunks(wire).await?,
            None => wire.rest().await?,
        };
        Ok(Self { status, head, body })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON in {:?}", self.text()))
    }
}

async fn chunks(wire: &mut Wire) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(wire.take(1).await?);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16).context("no chunk size")?;
        body.extend(wire.take(size).await?);
        ensure!(wire.take(2).await? == b"\r\n", "a chunk longer than it says");
        if size == 0 {
            return Ok(body);
        }
    }
}

impl Socket {
    /// Sends a text message.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.send(Message::text(text)).await?)
    }

    /// Sends any message.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// The next message, control messages included.
    pub async fn next(&mut self) -> Result<Message> {
        let next = timeout(PATIENCE, self.stream.next()).await.context("no message")?;
        Ok(next.context("the connection has ended")??)
    }

    /// The next text message.
    pub async fn text(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.next().await? {
                Message::Text(text) => return Ok(text),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("text wanted, got {other:?}"),
            }
        }
    }

    /// Sends a text and checks that it comes back.
    pub async fn echo(&mut self, text: &str) -> Result<()> {
        self.send(text).await?;
        let back = self.text().await?;
        ensure!(back == text, "sent {text:?}, got {back:?} back");
        Ok(())
    }

    /// Closes politely and waits for the peer's Close and the end.
    pub async fn close(&mut self) -> Result<()> {
        self.stream.close(None).await?;
        self.closed().await.map(|_| ())
    }

    /// Reads on until the connection is over. Returns the Close frame of the peer, if it sent one.
    pub async fn closed(&mut self) -> Result<Option<CloseFrame>> {
        let mut frame = None;
        loop {
            match timeout(PATIENCE, self.stream.next()).await.context("no end of the connection")? {
                Some(Ok(Message::Close(close))) => frame = close,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(frame),
            }
        }
    }

    /// The whole stream, for what is not said here.
    pub fn stream(&mut self) -> &mut WebSocketStream<Box<dyn Transport>> {
        &mut self.stream
    }

    /// Which demo backend opened it.
    pub fn backend(&self) -> &str {
        self.response
            .headers()
            .get(crate::backend::NAME_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

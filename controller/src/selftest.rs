//! One WebSocket through Longhaul to this very process: what `helm test` runs, in an image that has no shell.
//!
//! A WebSocket server is started here, which whoever calls has made the backend of a route. Then a client asks the proxy
//! for that route, again and again until it leads somewhere: objects, endpoints and load balancers take their time. A
//! message goes the whole way and comes back with a mark that only this process knows.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

/// The most connections that the server has at once: a test needs one, and probes may come by.
const CONNECTIONS: usize = 16;

/// The longest message.
const MESSAGE: usize = 4096;

/// How long one try may take …
const TRY: Duration = Duration::from_secs(10);

/// … and how long to wait for the next.
const PAUSE: Duration = Duration::from_millis(500);

/// What to test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The proxy, as host and port. The name is resolved for each try.
    pub connect: String,
    /// The host of the route, as the field `Host` has it.
    pub host: String,
    /// The path of the route.
    pub path: String,
    /// How long to try.
    pub timeout: Duration,
}

/// A message came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How often it was tried.
    pub tries: u32,
    /// From the first try to the end of the last.
    pub took: Duration,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "passed: a message went through a tunnel and came back ({} tries, {:?})",
            self.tries, self.took
        )
    }
}

/// A server that is ready, and the test that goes with it.
#[derive(Debug)]
pub struct Selftest {
    plan: Plan,
    listener: TcpListener,
    /// What the server puts before what it sends back.
    mark: String,
}

impl Selftest {
    /// Opens the server's port.
    pub async fn open(plan: Plan) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(plan.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", plan.listen))?;
        Ok(Self { plan, listener, mark: random()? })
    }

    /// Where the server listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Tries until a message has come back, or time is over: then the error says what the last try came to.
    pub async fn run(self) -> anyhow::Result<Passed> {
        let Self { plan, listener, mark } = self;
        tokio::select! {
            () = serve(listener, &mark) => bail!("the server ended by itself"),
            passed = keep_trying(&plan, &mark) => passed,
        }
    }
}

async fn keep_trying(plan: &Plan, mark: &str) -> anyhow::Result<Passed> {
    let begun = Instant::now();
    let deadline = begun + plan.timeout;
    let mut last = "there was no time for a try".to_owned();
    for tries in 1.. {
        let text = random()?;
        let until = deadline.min(Instant::now() + TRY);
        match timeout_at(until, try_once(plan, &text, &format!("{mark} {text}"))).await {
            Ok(Ok(())) => return Ok(Passed { tries, took: begun.elapsed() }),
            Ok(Err(reason)) => last = format!("{reason:#}"),
            // Cut short by the end, a try says less than the one before it.
            Err(_) if tries > 1 && Instant::now() >= deadline => {}
            Err(_) => last = String::from("no answer"),
        }
        if Instant::now() + PAUSE >= deadline {
            break;
        }
        sleep(PAUSE).await;
    }
    let Plan { connect, host, path, timeout, .. } = plan;
    bail!("no tunnel through {connect} to {host}{path} within {timeout:?}. The last try: {last}")
}

async fn try_once(plan: &Plan, text: &str, expected: &str) -> anyhow::Result<()> {
    let request = format!("ws://{}{}", plan.host, plan.path).into_client_request()?;
    let stream = TcpStream::connect(&*plan.connect).await.context("connecting failed")?;
    let mut socket = match client_async_with_config(request, stream, Some(config())).await {
        Ok((socket, _)) => socket,
        Err(Error::Http(response)) => {
            let said = response.headers().get("proxy-status").map(HeaderValue::as_bytes);
            let said = said.map(|said| format!(", Proxy-Status: {}", String::from_utf8_lossy(said)));
            bail!("the answer was {}{}", response.status(), said.unwrap_or_default());
        }
        Err(error) => return Err(error).context("the handshake failed"),
    };
    socket.send(Message::text(text)).await.context("the message was not sent")?;
    let back = match socket.next().await.context("the tunnel ended before the message came back")?? {
        Message::Text(back) => back,
        other => bail!("the tunnel opened, but then came {other:?}"),
    };
    if back.as_str() != expected {
        bail!("the tunnel opened, but leads to another server: it said {back:?}");
    }
    close(socket).await.context("the message came back, but closing went wrong")
}

async fn close(mut socket: WebSocketStream<TcpStream>) -> anyhow::Result<()> {
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
    while let Some(message) = socket.next().await {
        if let Message::Close(frame) = message? {
            let code = frame.map(|frame| u16::from(frame.code));
            anyhow::ensure!(code == Some(1000), "the other side closed with {code:?}");
        }
    }
    Ok(())
}

/// Sends every message back.
async fn serve(listener: TcpListener, mark: &str) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(tokio::time::timeout(2 * TRY, serve_one(stream, mark.to_owned())))),
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
}

/// A peer that breaks off, or speaks no WebSocket, is one that looks whether the port is open.
async fn serve_one(stream: TcpStream, mark: String) {
    let Ok(mut socket) = accept_async_with_config(stream, Some(config())).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        if socket.send(Message::text(format!("{mark} {text}"))).await.is_err() {
            return;
        }
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE))
}

fn random() -> Result<String, getrandom::Error> {
    Ok(format!("{:016x}", getrandom::u64()?))
}

//! Clients that leave at every step of a handshake, politely or not: nothing of them stays behind.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::wire::PATIENCE;
use e2e::world::{Proxy, World};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{HOST, client, connect, hellos, world};

/// How far a client goes before it leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Connected,
    HalfHello,
    Hello,
    ServerFlight,
    /// Something in place of its own last flight.
    WrongFlight,
    /// The beginning of a message in its place, and then what may not come within one.
    TornFlight,
    Done,
    /// In the middle of its request.
    HalfRequest,
}

const STEPS: [Step; 8] = [
    Step::Connected,
    Step::HalfHello,
    Step::Hello,
    Step::ServerFlight,
    Step::WrongFlight,
    Step::TornFlight,
    Step::Done,
    Step::HalfRequest,
];

/// How it leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    /// With FIN, without a word of TLS.
    Fin,
    Reset,
    /// With FIN of its direction; the connection stays until the proxy ends it.
    HalfClose,
}

/// Each way so many times, at once.
const TIMES: usize = 10;

#[tokio::test]
async fn nothing_stays_behind_of_a_client_that_leaves() {
    let (world, _backend) = world().await;
    let proxy = world.proxy().unwrap();
    // The proxy's own first connections and files are there when one client has been served.
    world.tls(HOST).unwrap().get("/").await.unwrap();
    let before = settled(proxy, None).await.unwrap();
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        for step in STEPS {
            for leave in [Leave::Fin, Leave::Reset, Leave::HalfClose] {
                let clients = (0..TIMES).map(|_| abort(&world, versions, step, leave));
                for left in futures_util::future::join_all(clients).await {
                    left.unwrap_or_else(|error| panic!("{versions:?} {step:?} {leave:?}: {error:#}"));
                }
                let after = settled(proxy, Some(before)).await;
                after.unwrap_or_else(|error| panic!("{versions:?} {step:?} {leave:?}: {error:#}"));
            }
        }
    }
    assert!(world.tls(HOST).unwrap().get("/").await.unwrap().status == 200, "and it serves on");
    let lines = proxy.process.lines();
    let panic = lines.iter().find(|line| line.contains("panicked"));
    assert!(panic.is_none(), "{panic:?}");
}

/// Waits until no client's connection is open, and as many descriptors as wanted.
async fn settled(proxy: &Proxy, wanted: Option<usize>) -> Result<usize> {
    let given_up = Instant::now() + PATIENCE;
    loop {
        let open = proxy.metrics().await?.count("longhaul_connections_open", &[])?;
        let descriptors = proxy.process.facts()?.descriptors;
        if open == 0 && wanted.is_none_or(|wanted| descriptors <= wanted) {
            return Ok(descriptors);
        }
        ensure!(
            Instant::now() < given_up,
            "{open} connections and {descriptors} descriptors are open, {wanted:?} wanted"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn abort(
    world: &World,
    versions: &[&'static SupportedProtocolVersion],
    step: Step,
    leave: Leave,
) -> Result<()> {
    let config = client(world.authority().roots()?, aws_lc_rs::default_provider(), versions);
    let stream = match step {
        Step::Done | Step::HalfRequest => {
            let mut stream = connect(world, HOST, &Arc::new(config)).await?;
            if step == Step::HalfRequest {
                stream
                    .write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nhalf")
                    .await?;
                stream.flush().await?;
            }
            stream.into_inner().0
        }
        step => go(TcpStream::connect(world.proxy()?.https()).await?, config, step).await?,
    };
    go_away(stream, leave).await
}

/// Goes as far as a step before the handshake's end.
async fn go(mut stream: TcpStream, config: ClientConfig, step: Step) -> Result<TcpStream> {
    let hello = hellos::hello(config.clone());
    match step {
        Step::Connected => {}
        Step::HalfHello => stream.write_all(&hello[..hello.len() / 2]).await?,
        Step::Hello => stream.write_all(&hello).await?,
        _ => {
            server_flight(&mut stream, config).await?;
            match step {
                Step::WrongFlight => {
                    stream.write_all(&[22, 3, 3, 0, 8, 20, 0, 0, 4, 1, 2, 3, 4]).await?;
                }
                Step::TornFlight => {
                    stream.write_all(&[22, 3, 3, 0, 6, 16, 0, 0, 100, 1, 2]).await?;
                    stream.write_all(&[23, 3, 3, 0, 1, 0]).await?;
                }
                _ => {}
            }
        }
    }
    Ok(stream)
}

/// Sends a ClientHello and reads until the answer to it is whole.
pub(super) async fn server_flight(stream: &mut TcpStream, config: ClientConfig) -> Result<()> {
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(HOST)?)?;
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes)?;
    }
    stream.write_all(&bytes).await?;
    while !client.wants_write() {
        let mut piece = vec![0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await??;
        ensure!(read > 0, "the proxy left");
        let mut piece = &piece[..read];
        while !piece.is_empty() {
            client.read_tls(&mut piece.by_ref())?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}

async fn go_away(mut stream: TcpStream, leave: Leave) -> Result<()> {
    match leave {
        Leave::Fin => {}
        Leave::Reset => stream.set_zero_linger()?,
        Leave::HalfClose => {
            stream.shutdown().await?;
            // Whatever it still says; then it must leave by itself.
            let mut rest = Vec::new();
            if let Err(error) = timeout(PATIENCE, stream.read_to_end(&mut rest)).await? {
                ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");
            }
        }
    }
    Ok(())
}

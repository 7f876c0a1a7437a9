//! Hellos of clients in every shape: cut into records and segments, long, too long, slow, and none at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use e2e::wire::{Ending, Wire};
use rustls::ClientConnection;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{HOST, aborts, any_client, client, counted, shake_hands, world};

/// The time that a handshake has.
const LIMIT: Duration = Duration::from_secs(10);

/// Writes at most so many bytes at once, each write in a segment of its own.
struct Drip(TcpStream, usize);

impl AsyncRead for Drip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Drip {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(self.1)];
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, piece))?;
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A shape of a ClientHello.
struct Shape {
    what: &'static str,
    groups: &'static [&'static dyn SupportedKxGroup],
    /// Bytes of protocol names that nobody knows, which make it long.
    padding: usize,
    /// Plaintext in a record, at most.
    record: Option<usize>,
    /// Bytes in a segment, at most.
    segment: usize,
}

const HYBRID: &[&dyn SupportedKxGroup] = &[kx_group::X25519MLKEM768];
const CLASSIC: &[&dyn SupportedKxGroup] = &[kx_group::X25519];
/// The first is not served, so that the server asks for another hello.
const RETRIED: &[&dyn SupportedKxGroup] = &[kx_group::MLKEM768, kx_group::SECP256R1];
const WHOLE: usize = 1 << 20;

const SHAPES: [Shape; 9] = [
    Shape { what: "small", groups: CLASSIC, padding: 0, record: None, segment: WHOLE },
    Shape { what: "byte by byte", groups: CLASSIC, padding: 0, record: None, segment: 1 },
    Shape { what: "hybrid", groups: HYBRID, padding: 0, record: None, segment: WHOLE },
    Shape { what: "hybrid in small segments", groups: HYBRID, padding: 0, record: None, segment: 500 },
    Shape { what: "in small records", groups: HYBRID, padding: 0, record: Some(64), segment: WHOLE },
    Shape { what: "in both", groups: HYBRID, padding: 0, record: Some(64), segment: 7 },
    Shape { what: "asked for again", groups: RETRIED, padding: 0, record: None, segment: WHOLE },
    Shape { what: "long", groups: HYBRID, padding: 14_000, record: None, segment: 1_000 },
    Shape { what: "as long as they get", groups: HYBRID, padding: 60_000, record: None, segment: 5_000 },
];

fn config(world: &e2e::world::World, shape: &Shape, old: bool) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = shape.groups.to_vec();
    let versions: &[_] = if old { &[&version::TLS12] } else { &[&version::TLS13] };
    if old {
        provider.kx_groups = vec![kx_group::SECP384R1];
    }
    let mut config = client(world.authority().roots().unwrap(), provider, versions);
    config.max_fragment_size = shape.record;
    let unknown = vec![b'x'; 250];
    config.alpn_protocols = vec![unknown; shape.padding / 251];
    config.alpn_protocols.push(b"http/1.1".to_vec());
    config
}

#[tokio::test]
async fn a_client_hello_may_come_in_any_shape() {
    let (world, _backend) = world().await;
    for shape in &SHAPES {
        for old in [false, true] {
            let config = Arc::new(config(&world, shape, old));
            let stream = TcpStream::connect(world.proxy().unwrap().https()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let tls = shake_hands(Drip(stream, shape.segment), HOST, &config).await;
            let mut tls = tls.unwrap_or_else(|error| panic!("{}, TLS 1.2 {old}: {error:#}", shape.what));
            let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
            tls.write_all(request.as_bytes()).await.unwrap();
            tls.flush().await.unwrap();
            let mut answer = String::new();
            let read = tls.read_to_string(&mut answer).await;
            read.unwrap_or_else(|error| panic!("{}, TLS 1.2 {old}: {error} behind {answer:?}", shape.what));
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        }
    }
}

/// The bytes of a ClientHello.
pub(super) fn hello(config: ClientConfig) -> Vec<u8> {
    let name = ServerName::try_from(HOST).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Whole records that claim to begin a ClientHello of 16 MiB.
fn endless_hello() -> Vec<u8> {
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.extend([b'x'; 16 * 1024]);
    let mut bytes = record.repeat(6);
    bytes[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    bytes
}

/// What is no TLS, or a broken one, and whether the TLS library has no alert for it.
fn garbage() -> Vec<(&'static str, Vec<u8>, bool)> {
    vec![
        ("another protocol", b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(), false),
        ("zeros", vec![0; 64], false),
        ("SSL 2.0", [&[0x80, 0x2e, 1, 3, 1][..], &[0; 64]].concat(), false),
        ("data before a handshake", [&[23, 3, 3, 0, 64][..], &[7; 64]].concat(), true),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40], true),
        ("a ServerHello", vec![22, 3, 3, 0, 4, 2, 0, 0, 0], false),
        ("a broken ClientHello", vec![22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3], false),
        ("letters without an end", vec![b'A'; 100], false),
        ("a hello without an end", endless_hello(), true),
    ]
}

#[tokio::test]
async fn what_is_no_client_hello_gets_an_alert_and_is_counted() {
    let (world, _backend) = world().await;
    let proxy = world.proxy().unwrap();
    for (number, (what, bytes, silent)) in garbage().into_iter().enumerate() {
        let mut wire = Wire::new(TcpStream::connect(proxy.https()).await.unwrap());
        wire.send(&bytes).await.unwrap();
        let answer = wire.rest().await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        // One record: a fatal alert.
        let is_alert = matches!(answer[..], [21, 3, _, 0, 2, 2, _]);
        assert!(if silent { answer.is_empty() } else { is_alert }, "{what}: {answer:?}");
        drop(wire);
        counted(proxy, "no_hello", number as u64 + 1).await.unwrap();
    }
    // Nobody else minds.
    world.tls(HOST).unwrap().certificate().await.unwrap();
}

#[tokio::test]
async fn a_flight_without_an_end_is_not_kept() {
    let (world, _backend) = world().await;
    let config =
        client(world.authority().roots().unwrap(), aws_lc_rs::default_provider(), &[&version::TLS12]);
    let mut stream = TcpStream::connect(world.proxy().unwrap().https()).await.unwrap();
    aborts::server_flight(&mut stream, config).await.unwrap();
    let began = Instant::now();
    // A message of 60,000 bytes, of which each record has one.
    let header = [22, 3, 3, 0, 4, 16, 0, 0xea, 0x60];
    let flight = [&header[..], &[22, 3, 3, 0, 1, 7].repeat(50_000)].concat();
    let mut wire = Wire::new(stream);
    // It may end while the rest is still under way.
    let _ = wire.send(&flight).await;
    wire.ended().await.unwrap();
    assert!(began.elapsed() < LIMIT / 2, "it was kept for {:?}", began.elapsed());
    counted(world.proxy().unwrap(), "broken", 1).await.unwrap();
}

#[tokio::test]
async fn a_handshake_has_ten_seconds() {
    let (world, _backend) = world().await;
    let hello = hello(any_client(&world));
    let proxy = world.proxy().unwrap();
    // Nothing, a piece of a ClientHello, a whole one whose sender says no more, a piece of a method.
    let beginnings = [&b""[..], &hello[..100], &hello, b"GE"];
    let mut waiting = Vec::new();
    for beginning in beginnings {
        let mut wire = Wire::new(TcpStream::connect(proxy.https()).await.unwrap());
        wire.send(beginning).await.unwrap();
        waiting.push((wire, Instant::now()));
    }
    for (number, (mut wire, began)) in waiting.into_iter().enumerate() {
        let ending = wire.ended().await.unwrap();
        let took = began.elapsed();
        assert!((Duration::from_millis(9_800)..LIMIT + LIMIT / 2).contains(&took), "{number}: {took:?}");
        assert!(matches!(ending, Ending::Fin | Ending::Reset));
    }
    counted(proxy, "timeout", 4).await.unwrap();
}

//! SIGTERM under 500 tunnels, half of them in the middle of a message: every client is told, none is cut off.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::Target;
use e2e::notes;
use e2e::wire::{PATIENCE, Upstream, Wire, handshake};
use e2e::world::World;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const HOST: &str = "app.example.com";
const TUNNELS: usize = 500;
const PERIOD: Duration = Duration::from_secs(5);

/// A text message in two fragments, as a server sends it.
const FIRST_FRAGMENT: &[u8] = b"\x01\x06first ";
const LAST_FRAGMENT: &[u8] = b"\x80\x04last";

/// What one client saw.
struct Seen {
    /// From the signal to the Close.
    after: Duration,
    code: u16,
    message: Vec<u8>,
}

/// The server's end of one tunnel: begins a message, ends it so long after the signal, answers the Close.
async fn serve(mut server: Wire, number: usize, mut signalled: watch::Receiver<bool>) -> Result<()> {
    server.accept_websocket(b"").await?;
    if number.is_multiple_of(2) {
        server.send(FIRST_FRAGMENT).await?;
        signalled.wait_for(|signalled| *signalled).await?;
        // At the latest when the last closes begin, so that each message ends within 5 s of its tunnel's turn.
        tokio::time::sleep(PERIOD * u32::try_from(number)? / u32::try_from(TUNNELS)?).await;
        server.send(LAST_FRAGMENT).await?;
    }
    // A masked Close with 1001 and perhaps a reason.
    let head = timeout(PATIENCE * 2, server.take(2)).await.context("the upstream is told")??;
    ensure!(head[0] == 0x88, "a Close, not {head:?}");
    let rest = server.take(4 + usize::from(head[1] & 0x7f)).await?;
    let code = [rest[4] ^ rest[0], rest[5] ^ rest[1]];
    ensure!(u16::from_be_bytes(code) == 1001, "the upstream is told {code:?}");
    server.send([0x88, 0x02, code[0], code[1]]).await?;
    server.finish().await
}

async fn open(target: Target) -> Result<Wire> {
    let mut client = target.wire().await?;
    client.send(handshake(HOST, "/", "")).await?;
    client.head().await?;
    Ok(client)
}

/// The client's end: everything until the Close, then the answer to it, then a clean end.
async fn watch_end(mut client: Wire, mut signalled: watch::Receiver<Option<Instant>>) -> Result<Seen> {
    let signal = signalled.wait_for(Option::is_some).await?.context("the time of the signal")?;
    let mut message = Vec::new();
    loop {
        let head = client.take(2).await?;
        let payload = client.take(usize::from(head[1])).await?;
        if head[0] != 0x88 {
            message.extend_from_slice(&payload);
            continue;
        }
        let after = signal.elapsed();
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        client.send([0x88, 0x82, 0, 0, 0, 0, payload[0], payload[1]]).await?;
        client.ended().await?;
        return Ok(Seen { after, code, message });
    }
}

#[tokio::test]
async fn every_client_is_told_and_no_message_is_cut() {
    let upstream = Upstream::bind().await.unwrap();
    let world = World::plan()
        .site(HOST, upstream.address().unwrap())
        .proxy_flags(&["--shutdown-delay", "0s", "--drain-period", "5s"])
        .start()
        .await
        .unwrap();
    let (tell_servers, servers_told) = watch::channel(false);
    let (tell_clients, clients_told) = watch::channel(None);
    let mut servers = JoinSet::new();
    let mut clients = JoinSet::new();
    for number in 0..TUNNELS {
        // Numbers divisible by 4 and those that follow over TLS: half of either kind are in the middle of a message.
        let target = if number % 4 < 2 { world.tls(HOST) } else { world.plain(HOST) }.unwrap();
        let opening = open(target);
        let serving = async {
            let server = upstream.accept().await?;
            servers.spawn(serve(server, number, servers_told.clone()));
            anyhow::Ok(())
        };
        let (opened, served) = tokio::join!(opening, serving);
        served.unwrap();
        clients.spawn(watch_end(opened.unwrap(), clients_told.clone()));
    }

    let proxy = world.proxy().unwrap();
    proxy.process.signal(rustix::process::Signal::TERM).unwrap();
    tell_clients.send(Some(Instant::now())).unwrap();
    tell_servers.send(true).unwrap();

    let seen: Vec<Seen> = clients.join_all().await.into_iter().collect::<Result<_>>().unwrap();
    for server in servers.join_all().await {
        server.unwrap();
    }
    assert_eq!(seen.len(), TUNNELS);
    assert!(seen.iter().all(|seen| seen.code == 1012), "every client sees 1012");
    let whole = seen.iter().filter(|seen| seen.message == b"first last").count();
    let empty = seen.iter().filter(|seen| seen.message.is_empty()).count();
    assert_eq!(
        (whole, empty),
        (TUNNELS / 2, TUNNELS / 2),
        "a message under way arrives whole before the Close"
    );
    spread_evenly(&seen);

    let mut world = world;
    let status = timeout(PATIENCE, world.proxy_mut().unwrap().process.ended()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "it was asked to stop");
}

/// Prints how many closed in each half second, and checks that no half second has more than a fair share.
fn spread_evenly(seen: &[Seen]) {
    const WIDTH: Duration = Duration::from_millis(500);
    let mut histogram = vec![0_usize; 30];
    for seen in seen {
        let slot = seen.after.as_millis() / WIDTH.as_millis();
        histogram[usize::try_from(slot).unwrap().min(29)] += 1;
    }
    while histogram.last() == Some(&0) {
        histogram.pop();
    }
    notes::measured(&format!("closes after SIGTERM under {TUNNELS} tunnels:"));
    for (slot, count) in histogram.iter().enumerate() {
        let from = WIDTH * u32::try_from(slot).unwrap();
        notes::measured(&format!("{:>4.1} s {count:>4} {}", from.as_secs_f32(), "#".repeat(count / 2)));
    }
    let slots = usize::try_from(PERIOD.as_millis() / WIDTH.as_millis()).unwrap();
    let most = histogram.iter().max().unwrap();
    assert!(*most <= TUNNELS / slots * 3, "one half second has {most} of {TUNNELS} closes");
    let used = histogram.iter().filter(|count| **count > 0).count();
    assert!(used >= slots - 1, "the closes fill {used} of {slots} half seconds");
}

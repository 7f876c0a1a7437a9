//! The table of heads and bodies against the real proxy: what each client sees, and what reaches a backend that
//! writes down every message. The rows are data in `heads/table.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "heads/backend.rs"]
mod backend;
#[path = "heads/table.rs"]
mod table;

use anyhow::{Context, Result, bail, ensure};
use e2e::client::Target;
use e2e::wire::{Wire, field};
use e2e::world::World;

use backend::{Backend, Received};
use table::{Message, Row, Upstream};

const HOST: &str = "heads.test";

/// How a row's bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Whole,
    /// One byte in each segment.
    Bytes,
}

/// Rows longer than this are sent whole only: a segment for each byte of 40 KiB proves nothing more.
const LONGEST_IN_BYTES: usize = 1024;

#[tokio::test]
async fn every_row_holds_at_the_plain_port() {
    let (world, backend) = start().await;
    run(&world, &world.plain(HOST).unwrap(), &backend, Cut::Whole).await;
}

#[tokio::test]
async fn every_row_holds_byte_by_byte() {
    let (world, backend) = start().await;
    run(&world, &world.plain(HOST).unwrap(), &backend, Cut::Bytes).await;
}

#[tokio::test]
async fn every_row_holds_over_tls() {
    let (world, backend) = start().await;
    run(&world, &world.tls(HOST).unwrap(), &backend, Cut::Whole).await;
}

async fn start() -> (World, Backend) {
    let backend = Backend::start().await.unwrap();
    let world = World::plan().site(HOST, backend.address()).start().await.unwrap();
    (world, backend)
}

async fn run(world: &World, target: &Target, backend: &Backend, cut: Cut) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in table::rows().filter(|row| cut == Cut::Whole || row.request.len() <= LONGEST_IN_BYTES) {
        count += 1;
        if let Err(error) = try_row(row, target, backend, cut).await {
            wrong.push(format!("{} ({}): {error:#}", row.name, row.clause));
        }
    }
    assert!(count > 0);
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}\n{}", wrong.len(), wrong.join("\n"), world.logs());
    println!("{count} rows hold");
}

async fn try_row(row: &Row, target: &Target, backend: &Backend, cut: Cut) -> Result<()> {
    backend.forget();
    let mut wire = target.wire().await?;
    // A proxy that has refused already need not read the rest.
    let _ = match cut {
        Cut::Whole => wire.send(row.request).await,
        Cut::Bytes => wire.send_in_pieces(row.request).await,
    };
    for expected in row.answers {
        let answered = answer(&mut wire, row.request.starts_with(b"HEAD")).await?;
        ensure!(answered == *expected, "{answered} instead of {expected}");
    }
    if row.keeps {
        goes_on(row, &mut wire).await?;
    } else {
        let answered = wire.received().len();
        wire.ended().await?;
        ensure!(wire.received().len() == answered, "more came behind the last answer");
        probe(&mut target.wire().await?).await?;
    }
    judge(row, &backend.received())
}

/// Reads one final answer, or a 101.
async fn answer(wire: &mut Wire, to_head: bool) -> Result<u16> {
    loop {
        let head = wire.head().await?;
        let code = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let status: u16 = code.with_context(|| format!("no status line in {head:?}"))?.parse()?;
        if status == 100 {
            continue;
        }
        if !matches!(status, 101 | 200) {
            ensure!(field(&head, "proxy-status").is_some(), "a refusal says why: {head}");
        }
        if status != 101 && !to_head {
            let length = field(&head, "content-length").context("an answer has a length")?;
            wire.take(length.parse()?).await?;
        }
        return Ok(status);
    }
}

/// The connection carries another request or, being a tunnel, bytes.
async fn goes_on(row: &Row, wire: &mut Wire) -> Result<()> {
    if row.answers.last() != Some(&101) {
        return probe(wire).await;
    }
    let mut behind = row.request;
    for _ in row.answers {
        let end = behind.windows(4).position(|window| window == b"\r\n\r\n").context("a head has an end")?;
        behind = &behind[end + 4..];
    }
    wire.send(b"through the tunnel").await?;
    let echoed = [behind, b"through the tunnel"].concat();
    ensure!(wire.take(echoed.len()).await? == echoed, "other bytes come through the tunnel");
    Ok(())
}

/// A request that is always passed on. All that came before it on this connection is done with.
async fn probe(wire: &mut Wire) -> Result<()> {
    wire.send(format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", backend::PROBE)).await?;
    let answered = answer(wire, false).await?;
    ensure!(answered == 200, "the next request is answered with {answered}");
    Ok(())
}

fn judge(row: &Row, received: &Received) -> Result<()> {
    let expected = match row.upstream {
        Upstream::Nothing if received.begun > 0 => bail!("bytes reached the upstream: {received:?}"),
        Upstream::Nothing | Upstream::Broken => &[],
        Upstream::Exactly(messages) => messages,
    };
    ensure!(received.messages.len() == expected.len(), "other messages reached the upstream: {received:?}");
    for (message, recorded) in expected.iter().zip(&received.messages) {
        equals(message, recorded).with_context(|| format!("{recorded:?}"))?;
    }
    Ok(())
}

fn equals(message: &Message, recorded: &backend::Recorded) -> Result<()> {
    let has = |name: &str| recorded.names.iter().filter(|found| *found == name).count();
    ensure!(recorded.method == message.method && recorded.target == message.target, "another request");
    ensure!(recorded.body == message.body, "another body");
    ensure!(has("host") == 1, "not exactly one Host");
    ensure!(has("content-length") + has("transfer-encoding") <= 1, "framed twice");
    for name in message.without {
        ensure!(has(name) == 0, "{name} got through");
    }
    if let Some(trailer) = message.trailer {
        ensure!(has(trailer) == 1, "the trailer {trailer} is missing");
    }
    Ok(())
}

//! Answers as a client gets them, framing and all.

use anyhow::{Result, ensure};
use e2e::client::Target;
use e2e::wire::{Upstream, field, fields};

use super::{HOST, both, plan};

/// What a client asks, and what it gets for an upstream's answer.
struct Row {
    what: &'static str,
    /// Request line and fields besides Host.
    request: &'static str,
    /// All that the upstream sends; then it ends the connection.
    upstream: &'static str,
    status: u16,
    /// Field lines, in lower case, that the client must get, and names that it must not.
    with: &'static [&'static str],
    without: &'static [&'static str],
    /// Everything behind the head, up to the end of the connection.
    body: &'static str,
}

const ROW: Row = Row {
    what: "",
    request: "GET / HTTP/1.1\r\nConnection: close\r\n",
    upstream: "",
    status: 200,
    with: &[],
    without: &[],
    body: "",
};

const TRAILERS: &str = "GET / HTTP/1.1\r\nTE: trailers\r\nConnection: close, TE\r\n";

const ROWS: [Row; 22] = [
    Row {
        what: "trailers for a client that takes them",
        request: TRAILERS,
        upstream: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: a\r\nX-More: b\r\n\r\n",
        with: &["transfer-encoding: chunked", "trailer: x-sum"],
        without: &["content-length"],
        body: "5\r\nhello\r\n0\r\nx-sum: 1\r\nx-more: a\r\nx-more: b\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers that were not announced",
        request: TRAILERS,
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
        body: "0\r\nx-sum: 1\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers behind what looks like the end",
        request: TRAILERS,
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
        body: "5\r\n0\r\n\r\n\r\n0\r\nx-sum: 1\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers for a client that says nothing of them",
        upstream: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        without: &["trailer"],
        body: "5\r\nhello\r\n0\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers that may not be trailers",
        request: TRAILERS,
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
                   Set-Cookie: a=b\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nX-Ok: 1\r\n\r\n",
        body: "5\r\nhello\r\n0\r\nx-ok: 1\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers all of which stay behind",
        request: TRAILERS,
        upstream: "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Hop: 1\r\nWarning: no\r\n\r\n",
        body: "5\r\nhello\r\n0\r\n\r\n",
        ..ROW
    },
    Row {
        what: "trailers for a client of HTTP/1.0",
        request: "GET / HTTP/1.0\r\nTE: trailers\r\n",
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        without: &["transfer-encoding"],
        body: "hello",
        ..ROW
    },
    Row {
        what: "HEAD",
        request: "HEAD / HTTP/1.1\r\nConnection: close\r\n",
        upstream: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        with: &["content-length: 5"],
        ..ROW
    },
    Row {
        what: "HEAD of what is sent in chunks",
        request: "HEAD / HTTP/1.1\r\nTE: trailers\r\nConnection: close\r\n",
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        without: &["content-length"],
        ..ROW
    },
    Row {
        what: "204",
        upstream: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        status: 204,
        without: &["content-length", "transfer-encoding"],
        ..ROW
    },
    Row {
        what: "304",
        upstream: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
        status: 304,
        // Its length says nothing here, and may be left out (RFC 9110 §8.6).
        with: &["etag: \"a\""],
        without: &["transfer-encoding"],
        ..ROW
    },
    Row {
        what: "interim answers",
        upstream: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                   HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        without: &["link"],
        body: "hello",
        ..ROW
    },
    Row {
        what: "no length",
        upstream: "HTTP/1.1 200 OK\r\n\r\nhello",
        with: &["transfer-encoding: chunked"],
        body: "5\r\nhello\r\n0\r\n\r\n",
        ..ROW
    },
    Row {
        what: "no length, to HTTP/1.0",
        request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n",
        upstream: "HTTP/1.1 200 OK\r\n\r\nhello",
        without: &["transfer-encoding"],
        body: "hello",
        ..ROW
    },
    Row {
        what: "a length, to HTTP/1.0",
        request: "GET / HTTP/1.0\r\n",
        upstream: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        with: &["content-length: 5"],
        body: "hello",
        ..ROW
    },
    Row {
        what: "from HTTP/1.0",
        upstream: "HTTP/1.0 200 OK\r\n\r\nhello",
        with: &["transfer-encoding: chunked"],
        body: "5\r\nhello\r\n0\r\n\r\n",
        ..ROW
    },
    Row {
        what: "from HTTP/1.0 with a length",
        upstream: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        with: &["content-length: 5"],
        body: "hello",
        ..ROW
    },
    Row {
        what: "chunks in a coding that nobody asked for",
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        status: 502,
        ..ROW
    },
    Row {
        what: "such a coding in a field of its own",
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n",
        status: 502,
        ..ROW
    },
    Row {
        what: "a coding without chunks",
        upstream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        status: 502,
        ..ROW
    },
    Row {
        what: "chunks from HTTP/1.0",
        upstream: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        status: 502,
        ..ROW
    },
    Row {
        what: "fields of one connection",
        upstream: "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
                   Upgrade: h2c\r\nX-Stays: 1\r\nContent-Length: 5\r\n\r\nhello",
        with: &["x-stays: 1"],
        without: &["x-hop", "keep-alive", "upgrade"],
        body: "hello",
        ..ROW
    },
];

#[tokio::test]
async fn an_answer_reaches_the_client_in_its_own_framing() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let mut wrong = Vec::new();
    for target in both(&world, HOST) {
        for row in &ROWS {
            if let Err(error) = check(&upstream, &target, row).await {
                wrong.push(format!("{}: {error:#}", row.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check(upstream: &Upstream, target: &Target, row: &Row) -> Result<()> {
    let mut client = target.wire().await?;
    let serving = async {
        let mut server = upstream.accept().await?;
        let head = server.head().await?;
        server.send(row.upstream).await?;
        server.finish().await?;
        anyhow::Ok(head)
    };
    client.send(format!("{}Host: {HOST}\r\n\r\n", row.request)).await?;
    let asked = serving.await?;
    let takes_trailers = row.request.contains("TE: trailers") && row.request.contains("HTTP/1.1");
    ensure!(field(&asked, "te") == takes_trailers.then_some("trailers"), "upstream is asked {asked}");
    ensure!(fields(&asked, "connection").eq(takes_trailers.then_some("TE")), "upstream is asked {asked}");

    let head = client.head().await?;
    let body = client.rest().await?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == row.status.to_string(), "{head}");
    let lines: Vec<String> = head.to_ascii_lowercase().split("\r\n").map(str::to_owned).collect();
    for wanted in row.with {
        ensure!(lines.iter().any(|line| line == wanted), "{wanted} wanted in {head}");
    }
    for unwanted in row.without {
        ensure!(field(&head, unwanted).is_none(), "{unwanted} not wanted in {head}");
    }
    // What goes out without a date gets one (RFC 9110 §6.6.1).
    ensure!(row.status == 502 || field(&head, "date").is_some(), "no date in {head}");
    ensure!(row.status == 502 || body == row.body.as_bytes(), "{} behind {head}", body.escape_ascii());
    Ok(())
}

#[tokio::test]
async fn trailers_arrive_behind_an_answer_that_its_client_is_slow_to_read() {
    /// More than all that lies between an upstream and a client that does not read.
    const CHUNKS: usize = 256;
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
    for target in both(&world, HOST) {
        // The last chunk comes at every place of what the proxy holds.
        for odd in [1, 7, 4_000, 30_000, 65_000] {
            let mut client = target.wire_with_receive_buffer(16 * 1024).await.unwrap();
            client.send(format!("{TRAILERS}Host: {HOST}\r\n\r\n")).await.unwrap();
            let mut server = upstream.accept().await.unwrap();
            server.head().await.unwrap();
            let answering = async {
                server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
                for _ in 0..CHUNKS {
                    server.send(&chunk).await?;
                }
                let last = format!("{odd:x}\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", "y".repeat(odd));
                server.send(last).await?;
                server.finish().await
            };
            let (answered, received) = tokio::join!(answering, client.rest());
            answered.unwrap();
            let received = received.unwrap();
            assert!(received.len() > CHUNKS * 0x10000 + odd, "{odd}: {} bytes", received.len());
            let end = &received[received.len() - 30..];
            assert!(end.ends_with(b"\r\n0\r\nx-sum: 1\r\n\r\n"), "{odd}: {}", end.escape_ascii());
        }
    }
}

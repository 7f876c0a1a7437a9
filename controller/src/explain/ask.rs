//! Asking a controller that runs: at its admin address, which answers with an [`Explanation`].

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Explanation, Question};

/// The page that answers.
pub const PAGE: &str = "/api/explain";

/// The longest question, in bytes.
pub const MAX_QUESTION: usize = 64 * 1024;

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// How long the controller may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the controller whose admin server listens there.
pub async fn ask(address: SocketAddr, question: &Question) -> anyhow::Result<Explanation> {
    let exchange = timeout(PATIENCE, exchange(address, question)).await;
    exchange.unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs())).with_context(|| {
        format!("the controller cannot be asked at {address}; --admin of `run` says where it listens")
    })
}

async fn exchange(address: SocketAddr, question: &Question) -> anyhow::Result<Explanation> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(PAGE)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(question)?)))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(serde_json::from_slice(&body)?)
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}

//! As much HTTP as is needed here: one request a connection, and an answer without chunks. The
//! console sends none by HTTP/1.0; a driver of browsers speaks HTTP/1.1 alone, and never does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The head of an answer is shorter.
const HEAD_LIMIT: usize = 16 << 10;

/// How an answer comes without chunks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    /// Of the console.
    Old,
    /// Of a driver of browsers.
    New,
}

/// An answer of which the head was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// As the head says.
    length: Option<usize>,
    pub(super) stream: TcpStream,
    /// What came of the body with the head.
    pub(super) body: Vec<u8>,
}

/// Asks, and reads the head of the answer.
pub(super) async fn ask(
    address: SocketAddr,
    version: Version,
    method: &str,
    path: &str,
    json: &str,
) -> anyhow::Result<Answer> {
    let version = match version {
        Version::Old => "1.0",
        Version::New => "1.1",
    };
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    let head = format!(
        "{method} {path} HTTP/{version}\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut body = Vec::with_capacity(1024);
    let end = loop {
        if let Some(at) = body.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(body.len() < HEAD_LIMIT, "the head of the answer has no end");
        ensure!(stream.read_buf(&mut body).await? > 0, "the connection was closed");
    };
    let head = String::from_utf8_lossy(&body[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("an answer without a status")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    body.drain(..end);
    Ok(Answer { status, length, stream, body })
}

impl Answer {
    /// The whole body.
    async fn whole(mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        while self.length.is_none_or(|length| self.body.len() < length) {
            if self.stream.read_buf(&mut self.body).await? == 0 {
                break;
            }
        }
        Ok((self.status, self.body))
    }
}

/// What is there, if it is there within the deadline.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    deadline: Duration,
) -> anyhow::Result<Vec<u8>> {
    let asking = async { ask(address, Version::Old, "GET", path, "").await?.whole().await };
    let asked = tokio::time::timeout(deadline, asking).await;
    let (status, body) = asked.with_context(|| format!("{path}: no answer in {deadline:?}"))??;
    ensure!(status == 200, "{path}: status {status}");
    Ok(body)
}

/// What a driver of browsers answers.
pub(super) async fn speak(
    address: SocketAddr,
    method: &str,
    path: &str,
    json: &Value,
    deadline: Duration,
) -> anyhow::Result<Value> {
    let text = if json.is_null() { String::new() } else { json.to_string() };
    let asking = async { ask(address, Version::New, method, path, &text).await?.whole().await };
    let asked = tokio::time::timeout(deadline, asking).await;
    let (status, body) = asked.with_context(|| format!("{path}: no answer in {deadline:?}"))??;
    if status != 200 {
        bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("{path}: an answer that is no JSON"))
}

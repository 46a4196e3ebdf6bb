//! Channels to other processes: the one place where they are built.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{ConnectError, Status, TimeoutExpired};
use tower::Service;

use crate::Tls;

/// Bytes of a message that are taken off the wire before the reader has asked for them.
const WINDOW: u32 = 1 << 20;
/// How generated clients begin the message of a status, which then has no source, when the channel
/// takes no call.
const NOT_READY: &str = "Service was not ready";

/// Makes connections: in clear text, or by mutual TLS with this process's certificates.
#[derive(Clone, Debug)]
pub struct Connector {
    tls: Option<Tls>,
}

impl Connector {
    /// By mutual TLS when there are certificates.
    pub fn new(tls: Option<Tls>) -> Self {
        Self { tls }
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Connects to `host:port` and does not return before the connection stands.
    ///
    /// # Errors
    ///
    /// When `address` is malformed, or there is no connection before the deadline.
    pub async fn connect(&self, address: &str, deadline: Duration) -> anyhow::Result<Channel> {
        // TLS is the connector's own affair, so the scheme is plain either way.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .with_context(|| format!("{address}: not a host and port, such as 127.0.0.1:50051"))?
            .connect_timeout(deadline)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        let connecting = endpoint.connect_with_connector(self.clone());
        match tokio::time::timeout(deadline, connecting).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => anyhow::bail!("{address}: {}", root_cause(&error)),
            Err(_) => anyhow::bail!("{address}: no connection within {deadline:?}"),
        }
    }
}

/// tonic's outermost error says `transport error` and nothing else.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// How a call was lost on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There was no connection to ask on: nothing was asked.
    Unsent,
    /// The connection broke while the answer was awaited.
    Broken,
    /// The time that the call was given was over first.
    Late,
}

/// How a call was lost; nothing when its status is what the other process answered.
pub fn loss(status: &Status) -> Option<Loss> {
    // A status that came from the other process has no source: the others were made on this side.
    let Some(source) = std::error::Error::source(status) else {
        return status.message().starts_with(NOT_READY).then_some(Loss::Unsent);
    };
    let mut next = Some(source);
    while let Some(error) = next {
        // hyper cancels what waited for the wire when the connection closed, and nothing else.
        let waited = error.downcast_ref().is_some_and(hyper::Error::is_canceled);
        if waited || error.is::<ConnectError>() {
            return Some(Loss::Unsent);
        }
        if error.is::<TimeoutExpired>() {
            return Some(Loss::Late);
        }
        next = error.source();
    }
    Some(Loss::Broken)
}

/// Why a call failed: its status says it, or, if it was made on this side, what caused it.
pub fn reason(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(error) => root_cause(error),
        None => status.message().to_owned(),
    }
}

/// Whether it is a host and a port, such as `127.0.0.1:50051`.
pub fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let port = port.parse::<u16>().is_ok_and(|port| port > 0);
        port && !host.is_empty() && !host.contains(['/', ' ', '@'])
    })
}

/// A stream of either kind: in clear text, or by TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else {
                return Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>));
            };
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let stream = TlsConnector::from(tls.client()).connect(name, stream).await?;
            Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>))
        })
    }
}

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
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{self, Endpoint};
use tonic::{ConnectError, Status, TimeoutExpired};
use tower::Service;

use crate::Tls;
use crate::telemetry::span;

/// Bytes of a message that are taken off the wire before the reader has asked for them.
const WINDOW: u32 = 1 << 20;
/// How long a channel that connects by itself tries at a time.
const LAZY_PATIENCE: Duration = Duration::from_secs(2);
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

    /// Whether this process speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects to `host:port` and does not return before the connection stands.
    ///
    /// # Errors
    ///
    /// When `address` is malformed, or there is no connection before the deadline.
    pub async fn connect(&self, address: &str, deadline: Duration) -> anyhow::Result<Channel> {
        let endpoint = endpoint(address)?.connect_timeout(deadline);
        let connecting = endpoint.connect_with_connector(self.clone());
        match tokio::time::timeout(deadline, connecting).await {
            Ok(Ok(channel)) => Ok(Channel(channel)),
            Ok(Err(error)) => anyhow::bail!("{address}: {}", root_cause(&error)),
            Err(_) => anyhow::bail!("{address}: no connection within {deadline:?}"),
        }
    }

    /// A channel to `http://HOST:PORT`, in clear text, or to `https://HOST:PORT`, by mutual TLS.
    /// It connects when it is first used, and again whenever it must; `deadline` is the longest
    /// that a call takes.
    ///
    /// # Errors
    ///
    /// When `url` is malformed, or wants certificates that this process does not have.
    pub fn lazily(&self, url: &str, deadline: Duration) -> anyhow::Result<Channel> {
        let tls = self.tls.clone().filter(|_| is_by_tls(url).unwrap_or(false));
        anyhow::ensure!(
            tls.is_some() || !is_by_tls(url)?,
            "{url}: there are no certificates; set CHASSIS_TLS_DIR, or give http://HOST:PORT"
        );
        let endpoint = endpoint(address_of(url)?.1)?;
        let endpoint = endpoint.connect_timeout(deadline.min(LAZY_PATIENCE)).timeout(deadline);
        Ok(Channel(endpoint.connect_with_connector_lazy(Self { tls })))
    }
}

/// What every channel has. TLS is the connector's own affair, so the scheme is plain either way.
fn endpoint(address: &str) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .with_context(|| format!("{address}: not a host and port, such as 127.0.0.1:50051"))?;
    Ok(endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5)))
}

/// Whether `http://HOST:PORT` or `https://HOST:PORT` wants TLS.
///
/// # Errors
///
/// It is neither.
pub fn is_by_tls(url: &str) -> anyhow::Result<bool> {
    Ok(address_of(url)?.0)
}

/// Whether it wants TLS, and the host and port.
fn address_of(url: &str) -> anyhow::Result<(bool, &str)> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let address = rest.strip_suffix('/').unwrap_or(rest);
    let by_tls = match scheme {
        "http" => Some(false),
        "https" => Some(true),
        _ => None,
    };
    let by_tls = by_tls.filter(|_| is_address(address));
    let wrong = || format!("{url}: give http://HOST:PORT, or https://HOST:PORT for mutual TLS");
    Ok((by_tls.with_context(wrong)?, address))
}

/// A connection to another process. Clones share it. Every call carries the span in whose scope it
/// is made.
#[derive(Clone, Debug)]
pub struct Channel(transport::Channel);

impl Channel {
    /// As tonic knows it.
    pub(crate) fn into_inner(self) -> transport::Channel {
        self.0
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> ResponseFuture {
        span::carry(request.headers_mut());
        self.0.call(request)
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

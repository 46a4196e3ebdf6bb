//! The peers: a relay made of unary calls and nothing else, and a server with nothing but health.
//! No queue, no limits, no metrics, no signs of life.
//!
//! A relay has the overlay's shape: each process asks one or two others, always the same. Or it is
//! routed: each request names the way that it goes.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{io, process, thread};

use anyhow::{Context as _, ensure};
use proto::documents;
use proto::documents::overlay_node_client::OverlayNodeClient;
use proto::documents::overlay_node_server::{OverlayNode, OverlayNodeServer};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;

/// The most that one process asks, unless it is routed.
const MOST_ASKED: usize = 2;

/// What the last process of a routed relay answers: 64 bytes.
pub(crate) const FOUND: &str = "sixty-four bytes that several nodes keep and that one gives out:";

/// What one process of the relay is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Its name, such as `A`
    name: String,
    /// Where it listens
    address: SocketAddr,
    /// Whom it asks: two at most, or those whom a request may name
    asks: Vec<SocketAddr>,
    /// Requests name the way that they go: in `hops`, as places in the list of those to ask, the
    /// next one last
    #[arg(long)]
    routed: bool,
}

#[derive(Clone, Debug)]
struct Relay {
    name: Arc<str>,
    /// One channel each.
    asks: Arc<[OverlayNodeClient<Channel>]>,
    routed: bool,
}

/// Ends this process when its standard input closes: whoever started it is gone.
pub(crate) fn tie() -> anyhow::Result<()> {
    let watch = || {
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
        process::exit(0);
    };
    thread::Builder::new().name("tied".into()).spawn(watch).context("watching standard input")?;
    Ok(())
}

/// Runs one process of the relay.
pub(crate) async fn relay(arguments: Arguments) -> anyhow::Result<()> {
    tie()?;
    let routed = arguments.routed;
    let few = arguments.asks.len() <= MOST_ASKED;
    ensure!(routed || few, "a relay that is not routed asks {MOST_ASKED} others at most");
    let connect = |address: &SocketAddr| -> anyhow::Result<_> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(OverlayNodeClient::new(endpoint.tcp_nodelay(true).connect_lazy()))
    };
    let asks = arguments.asks.iter().map(connect).collect::<anyhow::Result<_>>()?;
    let relay = Relay { name: arguments.name.into(), asks, routed };
    let server = Server::builder().tcp_nodelay(true).add_service(OverlayNodeServer::new(relay));
    server.serve(arguments.address).await.context("serving")
}

/// Runs a server with nothing but health.
pub(crate) async fn bare(address: SocketAddr) -> anyhow::Result<()> {
    tie()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    Server::builder().add_service(health).serve(address).await.context("serving")
}

impl Relay {
    async fn ask(
        &self,
        index: usize,
        payload: String,
        hops: Vec<String>,
    ) -> Result<documents::Response, Status> {
        let mut client = self.asks[index].clone();
        Ok(client.forward(documents::Request { payload, hops }).await?.into_inner())
    }

    /// The next step of the way that a request names. The answer names those that it passed, the
    /// last one first.
    async fn route(&self, request: documents::Request) -> Result<documents::Response, Status> {
        let documents::Request { payload, mut hops } = request;
        let mut answer = match hops.pop().map(|next| next.parse::<usize>()) {
            None => documents::Response { result: FOUND.into(), hops: Vec::new() },
            Some(Ok(next)) if next < self.asks.len() => self.ask(next, payload, hops).await?,
            Some(_) => return Err(Status::invalid_argument("no such hop")),
        };
        answer.hops.push((*self.name).to_owned());
        Ok(answer)
    }
}

#[tonic::async_trait]
impl OverlayNode for Relay {
    async fn forward(
        &self,
        request: Request<documents::Request>,
    ) -> Result<Response<documents::Response>, Status> {
        if self.routed {
            return self.route(request.into_inner()).await.map(Response::new);
        }
        let documents::Request { payload, mut hops } = request.into_inner();
        let name = &*self.name;
        let is_first = hops.is_empty();
        hops.push(name.to_owned());
        let mut passed = vec![name.to_owned()];
        let mut result = match self.asks.len() {
            0 => {
                let result = format!("{name}-processed");
                return Ok(Response::new(documents::Response { result, hops: passed }));
            }
            1 => {
                let answer = self.ask(0, payload, hops).await?;
                passed.extend(answer.hops);
                format!("{name}|{}", answer.result)
            }
            _ => {
                let (one, other) = tokio::try_join!(
                    self.ask(0, payload.clone(), hops.clone()),
                    self.ask(1, payload, hops),
                )?;
                passed.extend(one.hops);
                passed.extend(other.hops);
                format!("{name}|{};{}", one.result, other.result)
            }
        };
        if !is_first {
            result.push_str(&format!(";{name}-processed"));
        }
        Ok(Response::new(documents::Response { result, hops: passed }))
    }

    async fn get_metrics(
        &self,
        _: Request<documents::MetricsRequest>,
    ) -> Result<Response<documents::MetricsResponse>, Status> {
        Err(Status::unimplemented("a relay counts nothing"))
    }
}

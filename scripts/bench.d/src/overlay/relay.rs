//! The peers: a relay of the overlay's shape made of unary calls and nothing else, and a server
//! with nothing but health. No queue, no limits, no metrics, no signs of life.

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

/// The most that one process asks.
const MOST_ASKED: usize = 2;

/// What one process of the relay is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Its name, such as `A`
    name: String,
    /// Where it listens
    address: SocketAddr,
    /// Whom it asks: two at most
    asks: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Relay {
    name: Arc<str>,
    /// One channel each.
    asks: Arc<[OverlayNodeClient<Channel>]>,
}

/// Ends this process when its standard input closes: whoever started it is gone.
fn tie() -> anyhow::Result<()> {
    let watch = || {
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
        process::exit(0);
    };
    thread::Builder::new().name("tied".into()).spawn(watch).context("watching standard input")?;
    Ok(())
}

/// Runs one process of the relay.
pub(super) async fn relay(arguments: Arguments) -> anyhow::Result<()> {
    tie()?;
    ensure!(arguments.asks.len() <= MOST_ASKED, "a relay asks {MOST_ASKED} others at most");
    let connect = |address: &SocketAddr| -> anyhow::Result<_> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(OverlayNodeClient::new(endpoint.tcp_nodelay(true).connect_lazy()))
    };
    let asks = arguments.asks.iter().map(connect).collect::<anyhow::Result<_>>()?;
    let relay = Relay { name: arguments.name.into(), asks };
    let server = Server::builder().tcp_nodelay(true).add_service(OverlayNodeServer::new(relay));
    server.serve(arguments.address).await.context("serving")
}

/// Runs a server with nothing but health.
pub(super) async fn bare(address: SocketAddr) -> anyhow::Result<()> {
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
}

#[tonic::async_trait]
impl OverlayNode for Relay {
    async fn forward(
        &self,
        request: Request<documents::Request>,
    ) -> Result<Response<documents::Response>, Status> {
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

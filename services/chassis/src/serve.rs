//! Serves until told to stop: accepts connections within limits, answers gRPC and `/metrics` on
//! one port, and drains with a hard deadline.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::{Router, extract};
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use proto::ensemble::faults::v1::fault_service_server::FaultServiceServer;
use proto::ensemble::observe::v1::observe_service_server::ObserveServiceServer;
use protocols::{NodeId, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{debug, error, info, warn};

use crate::calls::Calls;
use crate::channel::Stream;
use crate::faults::Switchboard;
use crate::observe::{Look, Observer};
use crate::role::{listen_error, refuse_clear_text};
use crate::telemetry::Telemetry;
use crate::{Chassis, Inbox, Services, Shutdown, Switch, Tls};

/// A connection that has asked for nothing by then is closed; so is one whose TLS is unfinished.
const FIRST_REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(10);
const ADDRESS_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a process waits for an address that is on no interface. Docker forgets that it had to
/// restart a process after 10 s.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(12);
const ADDRESS_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How often metrics are refreshed for a collector.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
const STREAM_LIMIT: u32 = 1024;
/// Bytes of a stream that may arrive before they are read.
const WINDOW: u32 = 1 << 20;

/// Called before metrics are read, so that they show the present.
pub(crate) type Refresh = Look;

impl Chassis {
    /// Serves these services beside a protocol until told to stop. `node` is this process's name
    /// within its system, `peers` translates the names of others, `seen` hears the view whenever
    /// metrics are about to be read, and `driver` runs the protocol.
    ///
    /// # Errors
    ///
    /// When the address cannot be had or has vanished, or the driver fails.
    pub async fn serve_protocol<P: Protocol>(
        self,
        node: &str,
        services: Services,
        inbox: Inbox<P>,
        peers: impl Fn(&str) -> Option<NodeId> + Send + Sync + 'static,
        seen: impl Fn(P::View) + Send + Sync + 'static,
        driver: impl Future<Output = anyhow::Result<Infallible>>,
    ) -> anyhow::Result<()> {
        self.telemetry.call(node);
        let looking = inbox.clone();
        let look: Look = Arc::new(move || {
            let inbox = looking.clone();
            Box::pin(async move { serde_json::to_value(inbox.view().await?).ok() })
        });
        let seen = Arc::new(seen);
        let refresh: Refresh = Arc::new(move || {
            let (inbox, seen) = (inbox.clone(), seen.clone());
            Box::pin(async move {
                seen(inbox.view().await?);
                None
            })
        });
        let observer = Observer {
            role: self.role,
            node: node.into(),
            started: Instant::now(),
            events: self.events.clone(),
            traffic: self.traffic.clone(),
            logs: self.logs.clone(),
            look,
            ready: services.ready.iter().map(|(_, ready)| ready.clone()).collect(),
            shutdown: self.shutdown.clone(),
        };
        let mut services = services.with(ObserveServiceServer::new(observer));
        if self.common.faults == Switch::On {
            warn!("faults can be switched on by anyone who reaches this port");
            let switchboard = Switchboard { faults: self.faults.clone(), names: Arc::new(peers) };
            services = services.with(FaultServiceServer::new(switchboard));
        }
        self.serve_refreshed(services, Some(refresh), driver).await
    }

    /// Serves these services until told to stop, while `driver` runs.
    ///
    /// # Errors
    ///
    /// When the address cannot be had or has vanished, or the driver fails.
    pub async fn serve(
        self,
        services: Services,
        driver: impl Future<Output = anyhow::Result<Infallible>>,
    ) -> anyhow::Result<()> {
        self.serve_refreshed(services, None, driver).await
    }

    async fn serve_refreshed(
        self,
        services: Services,
        refresh: Option<Refresh>,
        driver: impl Future<Output = anyhow::Result<Infallible>>,
    ) -> anyhow::Result<()> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let mut names = services.names.clone();
        names.push("");
        // tonic-health says that the whole is serving from the start.
        for name in &names {
            health.set_service_status(*name, ServingStatus::NotServing).await;
        }
        let ready = services.ready.clone();
        let calls = Arc::new(Calls::new(&self.telemetry)?);
        let mut services = with_reflection(services.with(health_server))?;
        let beside = services.beside.take();
        if let Some((address, _)) = &beside {
            refuse_clear_text(*address, self.connector.tls().is_some())?;
        }
        let pages = services.pages.clone();
        let router = router(services, &self.telemetry, refresh.clone());
        let listener = listen(self.address, &self.shutdown).await?;
        let tls = self.connector.tls().cloned();
        let acceptor = Acceptor {
            listener,
            tls: tls.clone(),
            limit: Arc::new(Semaphore::new(self.common.connections)),
            router,
            pages,
            calls,
            shutdown: self.shutdown.clone(),
        };
        let beside = acceptor.beside(beside).await?;
        let mut background = JoinSet::new();
        if let Some(tls) = tls {
            background.spawn(tls.keep_fresh());
        }
        if let Some(refresh) = refresh.filter(|_| self.telemetry.pushes) {
            background.spawn(keep_metrics_fresh(refresh));
        }
        let mut reports = JoinSet::new();
        for name in &names {
            match ready.iter().find(|(ready, _)| ready == name) {
                Some((_, ready)) => {
                    reports.spawn(report(health.clone(), name, ready.clone()));
                }
                None => health.set_service_status(*name, ServingStatus::Serving).await,
            }
        }
        info!(address = %self.address, version = env!("CARGO_PKG_VERSION"), "serving");
        let mut shutdown = self.shutdown.clone();
        let down = async {
            shutdown.requested().await;
            reports.shutdown().await;
            for name in &names {
                health.set_service_status(*name, ServingStatus::NotServing).await;
            }
        };
        let grace = Duration::from_millis(self.common.grace_ms);
        tokio::select! {
            () = async { down.await; std::future::pending().await } => Ok(()),
            () = run_both(acceptor, beside, grace) => Ok(()),
            ended = driver => match ended? {},
            vanished = watch_address(self.address) => Err(vanished),
        }
    }
}

/// Tells whether a service is ready, for as long as anyone knows.
async fn report(
    health: HealthReporter,
    name: &'static str,
    mut ready: tokio::sync::watch::Receiver<bool>,
) {
    loop {
        let status = match *ready.borrow_and_update() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        health.set_service_status(name, status).await;
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// Reflection, both versions, of exactly the services that are offered, and of itself.
fn with_reflection(services: Services) -> anyhow::Result<Services> {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        services.names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let wrong = "building the reflection service";
    let (v1, v1alpha) =
        (builder().build_v1().context(wrong)?, builder().build_v1alpha().context(wrong)?);
    Ok(services.with(v1).with(v1alpha))
}

fn router(services: Services, telemetry: &Arc<Telemetry>, refresh: Option<Refresh>) -> Router {
    let telemetry = telemetry.clone();
    let metrics = move || {
        let (telemetry, refresh) = (telemetry.clone(), refresh.clone());
        async move {
            if let Some(refresh) = refresh {
                refresh().await;
            }
            let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
            match telemetry.prometheus_text() {
                Ok(text) => (StatusCode::OK, kind, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("{error:#}\n")),
            }
        }
    };
    let routes = methods(services.routes).route("/metrics", axum::routing::get(metrics));
    services.pages.into_iter().fold(routes, Router::merge)
}

/// The methods of gRPC services, for calls as gRPC has them (gRPC over HTTP2, "Requests"). What
/// another site has a browser send comes by HTTP/1 without TLS, and says what it is only where that
/// site is taken for this process; it would be carried out all the same.
fn methods(routes: Routes) -> Router {
    let calls = middleware::from_fn(async |request: extract::Request, next: Next| {
        let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_call = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
        if !is_call || request.version() != Version::HTTP_2 {
            let wrong = "HTTP/2 and content-type: application/grpc are wanted\n";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, wrong).into_response();
        }
        next.run(request).await
    });
    routes.prepare().into_axum_router().route_layer(calls)
}

async fn keep_metrics_fresh(refresh: Refresh) {
    let mut interval = tokio::time::interval(REFRESH_INTERVAL);
    loop {
        interval.tick().await;
        refresh().await;
    }
}

/// Takes the port. An address that is on no interface may come back: a host's cable is plugged in
/// again. A process that waits for it is there sooner than one that is restarted ever less often.
async fn listen(address: SocketAddr, shutdown: &Shutdown) -> anyhow::Result<TcpListener> {
    let started = Instant::now();
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        let absent = error.kind() == io::ErrorKind::AddrNotAvailable;
        if !absent || started.elapsed() >= ADDRESS_PATIENCE || shutdown.is_requested() {
            return Err(listen_error(address, &error));
        }
        if started.elapsed() < ADDRESS_RETRY_INTERVAL {
            warn!(%address, patience = ?ADDRESS_PATIENCE, "on no interface: waiting for it");
        }
        tokio::time::sleep(ADDRESS_RETRY_INTERVAL).await;
    }
}

/// Returns when this process's own address is on no interface any more: its host's network was
/// replaced, and only a restart brings it into the new one.
async fn watch_address(address: SocketAddr) -> anyhow::Error {
    let mut interval = tokio::time::interval(ADDRESS_CHECK_INTERVAL);
    loop {
        interval.tick().await;
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            std::future::pending::<()>().await;
        }
        match UdpSocket::bind((address.ip(), 0)) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                return anyhow::anyhow!(
                    "the address {} has vanished from every interface: its host was restarted; \
                     ending, so that a restart joins the host's new network",
                    address.ip()
                );
            }
            Ok(_) | Err(_) => (),
        }
    }
}

/// Accepts at one address, or at two.
async fn run_both(one: Acceptor, other: Option<Acceptor>, grace: Duration) {
    let other = async {
        if let Some(other) = other {
            other.run(grace).await;
        }
    };
    tokio::join!(one.run(grace), other);
}

struct Acceptor {
    listener: TcpListener,
    tls: Option<Tls>,
    limit: Arc<Semaphore>,
    router: Router,
    /// What of it they are shown who have no certificate.
    pages: Option<Router>,
    calls: Arc<Calls>,
    shutdown: Shutdown,
}

impl Acceptor {
    /// One at another address that serves something else, within the same limit.
    async fn beside(&self, services: Option<(SocketAddr, Routes)>) -> anyhow::Result<Option<Self>> {
        let Some((address, routes)) = services else { return Ok(None) };
        Ok(Some(Self {
            listener: listen(address, &self.shutdown).await?,
            tls: self.tls.clone(),
            limit: self.limit.clone(),
            router: methods(routes),
            pages: None,
            calls: self.calls.clone(),
            shutdown: self.shutdown.clone(),
        }))
    }

    /// Accepts until told to stop, and then drains for at most `grace`.
    async fn run(self, grace: Duration) {
        let mut shutdown = self.shutdown.clone();
        let mut connections = JoinSet::new();
        loop {
            let permit = self.limit.clone().acquire_owned();
            let accepted = async {
                let permit = permit.await.expect("the limit is never closed");
                (self.listener.accept().await, permit)
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => (),
                (accepted, permit) = accepted => match accepted {
                    Ok((stream, peer)) => {
                        let connection = Connection {
                            peer,
                            tls: self.tls.clone(),
                            router: self.router.clone(),
                            pages: self.pages.clone(),
                            calls: self.calls.clone(),
                            shutdown: self.shutdown.clone(),
                        };
                        connections.spawn(async move {
                            connection.serve(stream).await;
                            drop(permit);
                        });
                    }
                    // Mostly: no file descriptors are left. Some come back soon.
                    Err(error) => {
                        error!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(self.listener);
        info!(connections = connections.len(), "draining");
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, drained).await.is_err() {
            warn!(connections = connections.len(), ?grace, "still open at the deadline: cut");
        }
    }
}

struct Connection {
    peer: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    pages: Option<Router>,
    calls: Arc<Calls>,
    shutdown: Shutdown,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let pages = self.pages.take();
                let config = if pages.is_some() { tls.open_server() } else { tls.server() };
                let accepting = TlsAcceptor::from(config).accept(stream);
                let mut shutdown = self.shutdown.clone();
                let accepted = tokio::select! {
                    accepted = tokio::time::timeout(FIRST_REQUEST_DEADLINE, accepting) => accepted,
                    () = shutdown.requested() => return,
                };
                match accepted {
                    Ok(Ok(stream)) => {
                        if let (Some(pages), None) = (pages, stream.get_ref().1.peer_certificates())
                        {
                            self.router = pages;
                        }
                        Box::new(stream)
                    }
                    Ok(Err(error)) => {
                        warn!(peer = %self.peer, %error, "no TLS with this peer");
                        return;
                    }
                    Err(_) => return debug!(peer = %self.peer, "TLS unfinished: closed"),
                }
            }
        };
        self.speak(stream).await;
    }

    async fn speak(self, stream: Box<dyn Stream>) {
        let asked = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (router, calls, asked) = (self.router, self.calls.clone(), asked.clone());
            move |request: Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                let (router, call) = (router.clone(), calls.begin(request.uri().path()));
                async move { Ok::<_, Infallible>(call.answer(router, request).await) }
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_REQUEST_DEADLINE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_DEADLINE)
            .max_concurrent_streams(STREAM_LIMIT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut shutdown = self.shutdown;
        let silent = async {
            tokio::time::sleep(FIRST_REQUEST_DEADLINE).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = shutdown.requested() => None,
            () = silent => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(peer = %self.peer, error = %error, "connection ended");
        }
    }
}

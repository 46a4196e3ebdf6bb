//! Nodes that are made up: real servers on loopback with health and observation, on a thread of
//! their own. When a fleet is dropped its connections break off, as those of killed processes do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as threads};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use proto::ensemble::observe::v1::observe_service_server::{ObserveService, ObserveServiceServer};
use proto::ensemble::observe::v1::watch_response::Seen;
use proto::ensemble::observe::v1::{WatchRequest, WatchResponse};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;

use super::views::{Cast, System, now_us};

/// How long the whole fleet may take to begin.
const BEGIN_DEADLINE: Duration = Duration::from_secs(5);
/// Time between two changes of a node that is busy, or restless by nature.
const BUSY: Duration = Duration::from_millis(50);
/// Time between two changes of a calm node of a ring, which always has something to look after.
const CALM_RING: Duration = Duration::from_secs(1);
/// Time between two changes of any other calm node.
const CALM: Duration = Duration::from_secs(10);
/// Time between two events of a calm node, and of a busy one.
const EVENT: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(2)];
/// Answers that wait for a watcher's connection.
const ANSWER_LIMIT: usize = 16;
const EVENT_LIMIT: usize = 1024;

/// What a node does.
#[derive(Clone, Debug)]
pub(super) enum Conduct {
    /// What its role would.
    Lives(Cast),
    /// It claims to be this one, and shows these things as fast as they are taken.
    Floods(Cast, Arc<[Seen]>),
}

impl Conduct {
    fn cast(&self) -> Cast {
        match self {
            Self::Lives(cast) | Self::Floods(cast, _) => *cast,
        }
    }
}

/// A fleet that runs.
#[derive(Debug)]
pub(super) struct Fleet {
    busy: Arc<AtomicBool>,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts these nodes at these addresses.
    pub(super) fn start(nodes: Vec<(SocketAddr, Conduct)>) -> anyhow::Result<Self> {
        let busy = Arc::<AtomicBool>::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, began) = threads::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mood = busy.clone();
        let work = move || {
            runtime.block_on(async {
                let begun = begin(nodes, &mood).await;
                let going_on = begun.is_ok();
                // Whoever started it waits for this.
                let _ = ready.send(begun);
                if going_on {
                    // An error means that the fleet is dropped.
                    let _ = stopped.await;
                }
            });
        };
        let thread = thread::Builder::new().name("fleet".into()).spawn(work)?;
        let fleet = Self { busy, stop: Some(stop), thread: Some(thread) };
        began.recv_timeout(BEGIN_DEADLINE).context("the made-up nodes do not begin")??;
        Ok(fleet)
    }

    /// Whether everybody changes all the time from here on.
    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has not panicked, or that was told already.
            let _ = thread.join();
        }
    }
}

async fn begin(nodes: Vec<(SocketAddr, Conduct)>, busy: &Arc<AtomicBool>) -> anyhow::Result<()> {
    for (address, conduct) in nodes {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("a made-up node at {address}"))?;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", ServingStatus::Serving).await;
        let node = Node::new(conduct);
        tokio::spawn(node.clone().live(busy.clone()));
        let server = Server::builder().tcp_nodelay(true).add_service(health);
        let server = server.add_service(ObserveServiceServer::new(node));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct Node {
    conduct: Conduct,
    started: Instant,
    view: Arc<watch::Sender<Arc<str>>>,
    events: broadcast::Sender<Arc<str>>,
}

impl Node {
    fn new(conduct: Conduct) -> Self {
        let view = conduct.cast().view(0, now_us()).into();
        let (view, events) = (watch::Sender::new(view), broadcast::Sender::new(EVENT_LIMIT));
        Self { conduct, started: Instant::now(), view: Arc::new(view), events }
    }

    /// Changes from time to time, and tells of it.
    async fn live(self, busy: Arc<AtomicBool>) {
        let Conduct::Lives(cast) = self.conduct else { return };
        let seed = cast.index as u64 * 3 + cast.system as u64;
        let mut generator = StdRng::seed_from_u64(seed);
        let mut told = Instant::now();
        for changes in 1.. {
            let is_busy = busy.load(Ordering::Relaxed);
            let pause = match cast.system {
                _ if is_busy || cast.is_restless() => BUSY,
                System::Chord => CALM_RING,
                System::Overlay | System::Raft => CALM,
            };
            // Nobody keeps time with anybody, and a fleet becomes busy within a second.
            let until = Instant::now() + pause.mul_f64(generator.random_range(0.5..1.5));
            while Instant::now() < until && busy.load(Ordering::Relaxed) == is_busy {
                let rest = until.saturating_duration_since(Instant::now());
                tokio::time::sleep(rest.min(Duration::from_secs(1))).await;
            }
            self.view.send_replace(cast.view(changes, now_us()).into());
            let pause = EVENT[usize::from(is_busy)];
            if told.elapsed() > pause.mul_f64(generator.random_range(0.5..1.5)) {
                told = Instant::now();
                // An error means that nobody watches.
                let _ = self.events.send(format!("happened at {}", now_us()).into());
            }
        }
    }

    fn said(&self, seen: Seen) -> Result<WatchResponse, Status> {
        let cast = self.conduct.cast();
        let (role, node) = (cast.role().to_owned(), cast.name());
        let since_start_us = self.started.elapsed().as_micros() as u64;
        Ok(WatchResponse { role, node, since_start_us, seen: Some(seen) })
    }

    /// Shows what there is as often as it may, as every role does.
    async fn show(&self, interval: Duration, answers: &Answers) -> Option<()> {
        let (mut view, mut events) = (self.view.subscribe(), self.events.subscribe());
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            let seen = tokio::select! {
                biased;
                () = answers.closed() => return None,
                event = events.recv() => Seen::Event(event.ok()?.to_string()),
                _ = ticks.tick() => {
                    if !view.has_changed().ok()? && !is_first {
                        continue;
                    }
                    is_first = false;
                    Seen::View(view.borrow_and_update().to_string())
                }
            };
            answers.send(self.said(seen)).await.ok()?;
        }
    }

    /// Shows these things again and again as fast as they are taken.
    async fn flood(&self, things: &[Seen], answers: &Answers) -> Option<()> {
        for thing in things.iter().cycle() {
            answers.send(self.said(thing.clone())).await.ok()?;
        }
        None
    }
}

type Answers = mpsc::Sender<Result<WatchResponse, Status>>;

#[tonic::async_trait]
impl ObserveService for Node {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let interval = request.get_ref().interval_ms.unwrap_or(100).max(10);
        let interval = Duration::from_millis(u64::from(interval));
        let (answers, receiver) = mpsc::channel(ANSWER_LIMIT);
        let node = self.clone();
        tokio::spawn(async move {
            match &node.conduct {
                Conduct::Lives(_) => node.show(interval, &answers).await,
                Conduct::Floods(_, things) => node.flood(things, &answers).await,
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

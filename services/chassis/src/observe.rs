//! `ensemble.observe.v1.ObserveService`: the view of a process and its notable events, for
//! whoever watches. One implementation for every role.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::ensemble::observe::v1::observe_service_server::ObserveService;
use proto::ensemble::observe::v1::watch_response::Seen;
use proto::ensemble::observe::v1::{WatchRequest, WatchResponse};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::Shutdown;

/// Events that a watcher may lag behind before it misses some.
const EVENT_LIMIT: usize = 1024;
/// Answers that wait for a watcher's connection.
const ANSWER_LIMIT: usize = 16;
/// Watchers at once.
const WATCHER_LIMIT: usize = 64;

/// Where notable events are told.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Arc<str>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENT_LIMIT))
    }
}

impl Events {
    /// Tells whoever watches, and the log.
    pub fn tell(&self, event: &str) {
        tracing::info!(target: "event", "{event}");
        // An error means that nobody watches.
        let _ = self.0.send(event.into());
    }
}

/// Shows a process's view as JSON; nothing when the process is ending.
pub(crate) type Look =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<serde_json::Value>> + Send>> + Send + Sync>;

pub(crate) struct Observer {
    pub(crate) role: &'static str,
    pub(crate) node: String,
    pub(crate) started: Instant,
    pub(crate) events: Events,
    pub(crate) look: Look,
    pub(crate) shutdown: Shutdown,
}

#[tonic::async_trait]
impl ObserveService for Observer {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let interval = request.get_ref().interval_ms.unwrap_or(100);
        if interval > 60_000 {
            let reason = format!("interval_ms = {interval}: 60,000 at most");
            return Err(Status::invalid_argument(reason));
        }
        if self.events.0.receiver_count() >= WATCHER_LIMIT {
            let reason = format!("{WATCHER_LIMIT} watchers already: close one");
            return Err(Status::resource_exhausted(reason));
        }
        let (answers, receiver) = mpsc::channel(ANSWER_LIMIT);
        let watcher = Watcher {
            role: self.role,
            node: self.node.clone(),
            started: self.started,
            events: self.events.0.subscribe(),
            look: self.look.clone(),
            answers,
        };
        let mut shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.requested() => (),
                () = watcher.watch(Duration::from_millis(u64::from(interval.max(10)))) => (),
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

struct Watcher {
    role: &'static str,
    node: String,
    started: Instant,
    events: broadcast::Receiver<Arc<str>>,
    look: Look,
    answers: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Watcher {
    /// Returns when the watcher is gone or the process has nothing more to show.
    async fn watch(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            let seen = tokio::select! {
                biased;
                () = self.answers.closed() => return,
                event = self.events.recv() => match event {
                    Ok(event) => Seen::Event(event.to_string()),
                    Err(broadcast::error::RecvError::Lagged(missed)) => Seen::Missed(missed),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    let Some(view) = (self.look)().await else { return };
                    if last.as_ref() == Some(&view) {
                        continue;
                    }
                    let text = view.to_string();
                    last = Some(view);
                    Seen::View(text)
                }
            };
            let since_start = Instant::now() - self.started;
            let answer = WatchResponse {
                role: self.role.into(),
                node: self.node.clone(),
                since_start_us: since_start.as_micros() as u64,
                seen: Some(seen),
            };
            if self.answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }
}

//! `ensemble.observe.v1.ObserveService`: the view of a process, its notable events, the traffic of
//! its links and its log, for whoever watches. One implementation for every role.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::ensemble::observe::v1::observe_service_server::ObserveService;
use proto::ensemble::observe::v1::watch_response::Seen;
use proto::ensemble::observe::v1::{LogLevel, Traffic as Sent, WatchRequest, WatchResponse};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::logs::{Logs, Tap};
use crate::{Shutdown, Traffic};

/// Events that a watcher may lag behind before it misses some.
const EVENT_LIMIT: usize = 1024;
/// Answers that wait for a watcher's connection.
const ANSWER_LIMIT: usize = 16;
/// Watchers at once.
const WATCHER_LIMIT: usize = 64;
/// Time between two looks at the traffic.
const TRAFFIC_INTERVAL: Duration = Duration::from_secs(1);

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
    pub(crate) traffic: Traffic,
    pub(crate) logs: Logs,
    pub(crate) look: Look,
    /// Whether each service is ready that is not always.
    pub(crate) ready: Vec<watch::Receiver<bool>>,
    pub(crate) shutdown: Shutdown,
}

#[tonic::async_trait]
impl ObserveService for Observer {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { interval_ms, traffic, logs } = request.into_inner();
        let interval = interval_ms.unwrap_or(100);
        if interval > 60_000 {
            let reason = format!("interval_ms = {interval}: 60,000 at most");
            return Err(Status::invalid_argument(reason));
        }
        let least = LogLevel::try_from(logs)
            .map_err(|_| Status::invalid_argument(format!("logs = {logs}: no such level")))?;
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
            traffic: traffic.then(|| self.traffic.clone()),
            logs: (least != LogLevel::Unspecified).then(|| self.logs.watch(least)),
            look: self.look.clone(),
            ready: self.ready.clone(),
            was_ready: None,
            shown: None,
            sent: Sent::default(),
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
    /// Nothing if it has not asked for the traffic.
    traffic: Option<Traffic>,
    /// Nothing if it has not asked for the log.
    logs: Option<Tap>,
    look: Look,
    ready: Vec<watch::Receiver<bool>>,
    /// Whether all services were ready when it was told last.
    was_ready: Option<bool>,
    /// The view that it was shown last.
    shown: Option<serde_json::Value>,
    /// The traffic that it was told last.
    sent: Sent,
    answers: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Watcher {
    /// Returns when the watcher is gone or the process has nothing more to show.
    async fn watch(mut self, interval: Duration) {
        let ticks = [interval, interval, TRAFFIC_INTERVAL].map(|interval| {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let [mut looks, mut questions, mut counts] = ticks;
        loop {
            let seen = tokio::select! {
                biased;
                () = self.answers.closed() => return,
                event = self.events.recv() => match event {
                    Ok(event) => Some(Seen::Event(event.to_string())),
                    Err(broadcast::error::RecvError::Lagged(missed)) => Some(Seen::Missed(missed)),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = looks.tick() => {
                    let Some(view) = (self.look)().await else { return };
                    self.view(view)
                }
                _ = questions.tick(), if !self.ready.is_empty() => self.readiness(),
                _ = counts.tick() => self.count(),
                line = next(&mut self.logs) => Some(line),
            };
            let since_start = Instant::now() - self.started;
            let answer = WatchResponse {
                role: self.role.into(),
                node: self.node.clone(),
                since_start_us: since_start.as_micros() as u64,
                seen,
            };
            if answer.seen.is_some() && self.answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }

    /// The view, if it is another than before.
    fn view(&mut self, view: serde_json::Value) -> Option<Seen> {
        let changed = self.shown.as_ref() != Some(&view);
        changed.then(|| Seen::View(self.shown.insert(view).to_string()))
    }

    /// Whether all services are ready, if that is other than before.
    fn readiness(&mut self) -> Option<Seen> {
        let ready = self.ready.iter().all(|ready| *ready.borrow());
        (self.was_ready.replace(ready) != Some(ready)).then_some(Seen::Ready(ready))
    }

    /// The traffic, if there was any.
    fn count(&mut self) -> Option<Seen> {
        let sent = Sent { sent: self.traffic.as_ref()?.sent().into_iter().collect() };
        if self.sent == sent {
            return None;
        }
        self.sent = sent.clone();
        Some(Seen::Traffic(sent))
    }
}

/// What comes next in the log, if it is watched.
async fn next(logs: &mut Option<Tap>) -> Seen {
    match logs {
        Some(logs) => logs.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio_stream::StreamExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn observer() -> Observer {
        Observer {
            role: "test-node",
            node: "A".into(),
            started: Instant::now(),
            events: Events::default(),
            traffic: Traffic::default(),
            logs: Logs::default(),
            look: Arc::new(|| Box::pin(async { Some(json!({ "calm": true })) })),
            ready: Vec::new(),
            shutdown: Shutdown::default(),
        }
    }

    async fn watch(
        observer: &Observer,
        request: WatchRequest,
    ) -> Result<ReceiverStream<Result<WatchResponse, Status>>, Status> {
        observer.watch(Request::new(request)).await.map(Response::into_inner)
    }

    async fn seen(stream: &mut ReceiverStream<Result<WatchResponse, Status>>) -> Seen {
        let next = tokio::time::timeout(Duration::from_secs(10), stream.next());
        let next = next.await.expect("in time").expect("it goes on").expect("an answer");
        assert_eq!((&*next.role, &*next.node), ("test-node", "A"));
        next.seen.expect("nothing else is known")
    }

    #[tokio::test]
    async fn the_traffic_is_told_when_it_has_changed() {
        let (answers, _receiver) = mpsc::channel(1);
        let traffic = Traffic::default();
        let Observer { role, node, started, events, look, .. } = observer();
        let mut watcher = Watcher {
            role,
            node,
            started,
            events: events.0.subscribe(),
            traffic: Some(traffic.clone()),
            logs: None,
            look,
            ready: Vec::new(),
            was_ready: None,
            shown: None,
            sent: Sent::default(),
            answers,
        };
        assert_eq!(watcher.count(), None, "there are no peers");
        let counter = traffic.to("B");
        let sent = |count| Some(Seen::Traffic(Sent { sent: [("B".into(), count)].into() }));
        assert_eq!(watcher.count(), sent(0));
        assert_eq!(watcher.count(), None);
        counter.count();
        counter.count();
        assert_eq!(watcher.count(), sent(2));
        assert_eq!(watcher.count(), None);
        watcher.traffic = None;
        counter.count();
        assert_eq!(watcher.count(), None, "it was not asked for");
    }

    #[tokio::test]
    async fn the_traffic_is_told_to_who_asks_for_it_and_to_nobody_else() {
        let observer = observer();
        let counter = observer.traffic.to("B");
        counter.count();
        let traffic = WatchRequest { traffic: true, ..WatchRequest::default() };
        let mut told = watch(&observer, traffic).await.unwrap();
        let mut before = watch(&observer, WatchRequest::default()).await.unwrap();
        for stream in [&mut told, &mut before] {
            assert!(matches!(seen(stream).await, Seen::View(_)));
        }
        let sent = |count| Seen::Traffic(Sent { sent: [("B".into(), count)].into() });
        assert_eq!(seen(&mut told).await, sent(1));
        counter.count();
        counter.count();
        assert_eq!(seen(&mut told).await, sent(3));
        // By then who did not ask would have been told, too.
        observer.events.tell("a second has gone by");
        let event = Seen::Event("a second has gone by".into());
        assert_eq!(seen(&mut told).await, event);
        assert_eq!(seen(&mut before).await, event);
    }

    #[tokio::test]
    async fn whoever_watches_is_told_whether_all_services_are_ready() {
        let (one, other) = (watch::Sender::new(false), watch::Sender::new(true));
        let ready = [&one, &other].map(watch::Sender::subscribe).into();
        let observer = Observer { ready, ..observer() };
        let mut told = watch(&observer, WatchRequest::default()).await.unwrap();
        assert!(matches!(seen(&mut told).await, Seen::View(_)));
        assert_eq!(seen(&mut told).await, Seen::Ready(false));
        one.send_replace(true);
        assert_eq!(seen(&mut told).await, Seen::Ready(true));
        other.send_replace(false);
        assert_eq!(seen(&mut told).await, Seen::Ready(false));
    }

    #[tokio::test]
    async fn the_log_is_told_to_who_asks_for_it() {
        let observer = observer();
        let logs = LogLevel::Warn.into();
        let mut told =
            watch(&observer, WatchRequest { logs, ..WatchRequest::default() }).await.unwrap();
        let mut before = watch(&observer, WatchRequest::default()).await.unwrap();
        for stream in [&mut told, &mut before] {
            assert!(matches!(seen(stream).await, Seen::View(_)));
        }
        let log = tracing_subscriber::registry().with(observer.logs.clone());
        tracing::subscriber::with_default(log, || tracing::warn!(reason = "x", "it broke"));
        let Seen::Log(line) = seen(&mut told).await else { panic!("a line is next") };
        assert_eq!((line.level(), &*line.message), (LogLevel::Warn, "it broke"));
        observer.events.tell("it goes on");
        assert_eq!(seen(&mut before).await, Seen::Event("it goes on".into()));
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let observer = observer();
        for (request, said) in [
            (WatchRequest { interval_ms: Some(60_001), ..WatchRequest::default() }, "60,000"),
            (WatchRequest { logs: 9, ..WatchRequest::default() }, "logs = 9: no such level"),
        ] {
            let status = watch(&observer, request).await.unwrap_err();
            assert!(status.message().contains(said), "{status:?}");
        }
    }
}

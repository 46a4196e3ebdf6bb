//! What browsers ask: the page, the stream of what is seen, the history, acts and breakage.

mod logs;
mod page;
mod session;
mod stream;
mod traces;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use chassis::telemetry::Telemetry;
use chassis::{Chassis, Shutdown};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::session::Session;
use crate::act::{self, Break, Clients, Deed, Ring, Store};
use crate::fleet::{Report, now, since_1970};
use crate::picture::Act;
use crate::scene::Scene;
use crate::traces::{Forwarder, Own, Receiver, Stats, TraceId, Traces};

/// The longest request: a value of a mebibyte as JSON.
const BODY_LIMIT: usize = 8 << 20;
/// The longest request of who has not shown the token: that token, as JSON.
const LOGIN_LIMIT: usize = 4 << 10;
/// Viewers at once: whoever sends spans or asks for the page needs a connection too.
const VIEWERS_LIMIT: usize = 2_048;
/// Acts at once.
const ACTS_LIMIT: usize = 32;
/// Milliseconds between two counts of the spans.
const COUNT_MS: u64 = 1_000;
/// How long an act waits for its turn.
const TURN: Duration = Duration::from_secs(2);

/// The console. Clones are the same.
#[derive(Clone)]
pub(crate) struct Console(Arc<Shared>);

struct Shared {
    clients: Clients,
    session: Session,
    scene: Mutex<Scene>,
    telemetry: Arc<Telemetry>,
    traces: Arc<Mutex<Traces>>,
    /// Where spans are passed on to, if they are.
    forwarder: Option<Forwarder>,
    /// When the page was told last how many spans there are, and how many those were.
    counted: Mutex<(u64, Stats)>,
    /// Told whenever there is a new frame.
    frames: watch::Sender<()>,
    viewers: Arc<Semaphore>,
    acts: Semaphore,
    shutdown: Shutdown,
}

impl Console {
    pub(crate) fn new(
        chassis: &Chassis,
        session: Session,
        history_bytes: usize,
        forwarder: Option<Forwarder>,
    ) -> Self {
        Self(Arc::new(Shared {
            clients: Clients::new(chassis.connector.clone()),
            session,
            scene: Mutex::new(Scene::new(history_bytes)),
            telemetry: chassis.telemetry.clone(),
            traces: Arc::default(),
            forwarder,
            counted: Mutex::default(),
            frames: watch::Sender::new(()),
            viewers: Arc::new(Semaphore::new(VIEWERS_LIMIT)),
            acts: Semaphore::new(ACTS_LIMIT),
            shutdown: chassis.shutdown.clone(),
        }))
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.0.scene.lock().expect("no holder panics")
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.0.traces.lock().expect("no holder panics")
    }

    /// Where processes send their spans.
    pub(crate) fn receiver(
        &self,
    ) -> Receiver<impl Fn() -> Duration + Clone + Send + Sync + 'static> {
        let receiver = Receiver::new(self.0.traces.clone(), since_1970);
        receiver.passing_on(self.0.forwarder.clone())
    }

    /// Keeps a span of this console's own, and passes it on as it does those of others, unless this
    /// process exports its spans itself.
    fn tell(&self, span: Option<ResourceSpans>) {
        let Some(span) = span else { return };
        let resource_spans = vec![span];
        self.traces().add(since_1970(), &resource_spans);
        if let Some(forwarder) = &self.0.forwarder
            && !self.0.telemetry.traces()
        {
            forwarder.pass_on(&ExportTraceServiceRequest { resource_spans });
        }
    }

    /// How many spans came, and what became of them.
    fn stats(&self) -> Stats {
        let forwarded = self.0.forwarder.as_ref().map(Forwarder::counts).unwrap_or_default();
        Stats {
            forwarded: forwarded.passed,
            not_forwarded: forwarded.lost,
            ..self.traces().stats(since_1970())
        }
    }

    /// Something was seen.
    pub(crate) fn see(&self, report: Report) {
        self.scene().see(now(), &report.address, report.seen);
    }

    /// Shows what has changed to whoever looks.
    pub(crate) fn show(&self) {
        let now = now();
        let spans = self.count(now);
        let frame = self.scene().frame(now, spans);
        if frame.is_some() {
            self.0.frames.send_replace(());
        }
    }
}

impl Console {
    /// How many spans there are, if that is other than a second ago.
    fn count(&self, now: u64) -> Option<Stats> {
        let mut counted = self.0.counted.lock().expect("no holder panics");
        let (at, before) = *counted;
        if now.abs_diff(at) < COUNT_MS {
            return None;
        }
        let stats = self.stats();
        *counted = (now, stats);
        (stats != before).then_some(stats)
    }
}

/// Everything that browsers may ask for.
pub(crate) fn pages(console: &Console) -> Router {
    let guarded = Router::new()
        .route("/events", get(stream::events))
        .route("/history", get(history))
        .route("/logs", get(logs::logs))
        .route("/act/overlay/forward", post(forward))
        .route("/act/raft/put", post(put))
        .route("/act/raft/get", post(get_key))
        .route("/act/raft/delete", post(delete))
        .route("/act/chord/save", post(save))
        .route("/act/chord/find", post(find))
        .route("/act/chord/remove", post(remove))
        .route("/act/chord/locate", post(locate))
        .route("/break", post(break_node))
        .route("/traces", get(traces::list))
        .route("/traces/{id}", get(traces::one))
        .route("/traces/{id}/otlp", get(traces::one_as_file))
        .route("/traces.otlp", get(traces::some_as_file))
        .route_layer(middleware::from_fn_with_state(console.clone(), session::guard));
    Router::new()
        .merge(page::files())
        .route("/session", get(session::session))
        .route("/login", post(session::login).layer(DefaultBodyLimit::max(LOGIN_LIMIT)))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(console.clone(), session::same_site))
        .layer(middleware::map_response(page::hardened))
        .with_state(console.clone())
}

#[derive(Debug, Deserialize)]
struct Span {
    from: Option<u64>,
    to: Option<u64>,
}

async fn history(State(console): State<Console>, Query(span): Query<Span>) -> Response {
    let (from, to) = (span.from.unwrap_or(0), span.to.unwrap_or(u64::MAX));
    let history = console.scene().history(from, to);
    match history {
        Some(pieces) => {
            let pieces = pieces.into_iter().map(Ok::<_, Infallible>);
            let body = Body::from_stream(tokio_stream::iter(pieces));
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        None => refused(StatusCode::NOT_FOUND, "nothing was seen yet"),
    }
}

macro_rules! deeds {
    ($($name:ident: $deed:expr),* $(,)?) => {
        $(async fn $name(console: State<Console>, headers: HeaderMap, body: Bytes) -> Response {
            perform(console, &headers, &body, $deed).await
        })*
    };
}

deeds! {
    forward: Deed::Forward,
    put: |pair| Deed::Store(Store::Put(pair)),
    get_key: |key| Deed::Store(Store::Get(key)),
    delete: |key| Deed::Store(Store::Delete(key)),
    save: |pair| Deed::Ring(Ring::Save(pair)),
    find: |key| Deed::Ring(Ring::Find(key)),
    remove: |key| Deed::Ring(Ring::Remove(key)),
    locate: |key| Deed::Ring(Ring::Locate(key)),
}

/// Does what a user wants done, and tells every page.
async fn perform<T: DeserializeOwned>(
    State(console): State<Console>,
    headers: &HeaderMap,
    body: &[u8],
    deed: impl FnOnce(T) -> Deed,
) -> Response {
    let deed = match read::<T>(headers, body) {
        Ok(wanted) => deed(wanted),
        Err((status, reason)) => return refused(status, &reason),
    };
    let Ok(Ok(_turn)) = tokio::time::timeout(TURN, console.0.acts.acquire()).await else {
        return refused(StatusCode::TOO_MANY_REQUESTS, "too much is being done: try again soon");
    };
    let nodes = console.scene().nodes().clone();
    let own = Own::begin(&console.0.telemetry, deed.name(), since_1970());
    let carrying_out = own.span().scope(deed.carry_out(&console.0.clients, &nodes));
    let (outcome, took_us) = act::timed(carrying_out).await;
    let (ok, trace_id) = (outcome.is_ok(), own.trace_id());
    let (system, text) = (deed.system(), deed.words());
    console.tell(own.end(&text, outcome.as_ref().err().map(|reason| &**reason), since_1970()));
    let answer = outcome.unwrap_or_else(|reason| json!({ "error": reason }));
    let told = Act { at: now(), system, text, ok, answer: answer.clone(), trace_id };
    console.scene().acted(told);
    if ok {
        let took = json!({ "ok": true, "answer": answer, "took_us": took_us });
        return answered(&traced(took, trace_id));
    }
    (StatusCode::BAD_GATEWAY, answered(&traced(answer, trace_id))).into_response()
}

/// The same, with the trace that it belongs to.
fn traced(mut told: Value, trace_id: Option<TraceId>) -> Value {
    if let Some(trace_id) = trace_id {
        told["trace_id"] = json!(trace_id);
    }
    told
}

/// Breaks or heals a process.
async fn break_node(State(console): State<Console>, headers: HeaderMap, body: Bytes) -> Response {
    let Break { node: key, fault } = match read(&headers, &body) {
        Ok(wanted) => wanted,
        Err((status, reason)) => return refused(status, &reason),
    };
    let node = console.scene().nodes().get(&key).cloned();
    let Some(node) = node else {
        return refused(StatusCode::NOT_FOUND, &format!("there is no {key}"));
    };
    let broken = act::break_it(&console.0.clients.connector, &node, &fault).await;
    let answer = broken.as_ref().err().map_or(Value::Null, |reason| json!({ "error": reason }));
    let text = format!("{} {key}", fault.word());
    let mut scene = console.scene();
    if broken.is_ok() {
        scene.set_faults(now(), &key, |faults| fault.mark(faults, now()));
    }
    let (at, ok) = (now(), broken.is_ok());
    scene.acted(Act { at, system: "console", text, ok, answer, trace_id: None });
    drop(scene);
    match broken {
        Ok(()) => answered(&json!({ "ok": true })),
        Err(reason) => refused(StatusCode::BAD_GATEWAY, &reason),
    }
}

/// A body that says it is JSON, and is what it should be. No form of another site says so.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, (StatusCode, String)> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
        let wrong = "content-type: application/json is wanted";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, wrong.to_owned()));
    }
    serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the request makes no sense: {error}")))
}

fn answered(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refused(status: StatusCode, reason: &str) -> Response {
    (status, answered(&json!({ "error": reason }))).into_response()
}

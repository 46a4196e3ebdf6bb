//! Counts, times, traces and bounds calls: the deadline that a caller sets holds for the whole
//! call, and the body of a unary call must keep coming.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::SpanKind;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::intake::{Held, Intake};
use crate::services::time_left_of;
use crate::telemetry::{Parent, Span, Telemetry, names};

/// A handler that keeps the deadline itself answers better than we can: it goes first.
const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

/// The calls of one process.
pub(crate) struct Calls {
    /// By `package.Service/Method`.
    known: BTreeMap<Arc<str>, Manner>,
    /// Stands for every method that we do not have.
    other: Arc<str>,
    telemetry: Arc<Telemetry>,
    duration: Histogram<f64>,
    held: Held,
}

/// How a method is called.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Whether its caller sends a stream.
    streams: bool,
    /// Whether each call is a span: where a question has one answer, and it is not about how the
    /// process is.
    traced: bool,
}

/// What is asked of a process all the time.
const WATCHED: [&str; 2] = ["grpc.health.v1.Health", "ensemble.observe.v1.ObserveService"];

/// One call. Dropped before it has a status, it was cancelled.
pub(crate) struct Call {
    calls: Arc<Calls>,
    method: Arc<str>,
    manner: Manner,
    started: Instant,
    span: Span,
    ended: bool,
}

impl Calls {
    pub(crate) fn new(telemetry: &Arc<Telemetry>) -> anyhow::Result<Self> {
        let mut known = BTreeMap::new();
        for descriptors in [proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET] {
            let set = prost_types::FileDescriptorSet::decode(descriptors)
                .context("reading our own descriptors")?;
            for file in &set.file {
                for service in &file.service {
                    let name = match file.package() {
                        "" => service.name().to_owned(),
                        package => format!("{package}.{}", service.name()),
                    };
                    let watched = WATCHED.contains(&&*name);
                    known.extend(service.method.iter().map(|method| {
                        let streams = method.client_streaming();
                        let traced = !watched && !streams && !method.server_streaming();
                        (format!("{name}/{}", method.name()).into(), Manner { streams, traced })
                    }));
                }
            }
        }
        let duration = telemetry
            .meter()
            .f64_histogram(names::RPC_DURATION)
            .with_unit("s")
            .with_description("Time from a call's arrival to its last byte.")
            .with_boundaries(vec![
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                1.0, 2.5, 5.0, 10.0,
            ])
            .build();
        let (telemetry, other) = (telemetry.clone(), "_OTHER".into());
        Ok(Self { known, other, telemetry, duration, held: Held::default() })
    }

    /// A stranger's paths do not become labels: there is no end of them.
    pub(crate) fn begin(self: &Arc<Self>, path: &str) -> Call {
        let known = self.known.get_key_value(path.trim_start_matches('/'));
        let (method, manner) = known.unwrap_or((&self.other, &Manner::STRANGE));
        Call {
            calls: self.clone(),
            method: method.clone(),
            manner: *manner,
            started: Instant::now(),
            span: Span::default(),
            ended: false,
        }
    }

    /// The span of a call with these headers. Nothing is made of them when traces are off.
    fn span(&self, method: &str, headers: &HeaderMap) -> Span {
        if !self.telemetry.traces() {
            return Span::default();
        }
        let parent = Parent::of_call(headers);
        self.telemetry.span(method.to_owned(), SpanKind::Server, parent)
    }
}

impl Manner {
    /// That of a method which is not known.
    const STRANGE: Self = Self { streams: false, traced: false };
}

impl Call {
    /// Has it answered, within its caller's deadline.
    pub(crate) async fn answer(
        mut self,
        router: Router,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let deadline = time_left_of(request.headers());
        if self.manner.traced {
            self.span = self.calls.span(&self.method, request.headers());
        }
        let request = request.map(|body| match self.manner.streams {
            true => Body::new(body),
            false => Body::new(Intake::new(body, self.calls.held.clone())),
        });
        let answering = self.span.scope(router.oneshot(request));
        let response = match deadline {
            None => answering.await,
            Some(left) => {
                let late = || Status::deadline_exceeded("no answer by the caller's deadline");
                tokio::time::timeout(left + DEADLINE_MARGIN, answering)
                    .await
                    .unwrap_or_else(|_| Ok(late().into_http()))
            }
        };
        self.follow(response.unwrap_or_else(|error| match error {}))
    }

    /// Notes the status when it is known: at once for an error, with the trailers otherwise.
    fn follow(mut self, response: Response<Body>) -> Response<Body> {
        let headers = response.headers();
        let kind = headers.get("content-type").map(|kind| kind.as_bytes());
        if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            // Not a call.
            self.ended = true;
            return response;
        }
        if self.learn(response.headers()) {
            return response;
        }
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(trailers) = frame.trailers_ref() {
                    self.learn(trailers);
                }
                frame
            }))
        })
    }

    /// Ends with the status that stands there, if one does.
    fn learn(&mut self, headers: &HeaderMap) -> bool {
        let Some(code) = headers.get("grpc-status") else { return false };
        let code = Code::from_bytes(code.as_bytes());
        if code != Code::Ok && !self.span.is_none() {
            let status = Status::from_header_map(headers);
            let message = status.as_ref().map_or("", |status| status.message());
            self.span.fail(if message.is_empty() { spelled(code) } else { message }.to_owned());
        }
        self.end(code);
        true
    }

    fn end(&mut self, status: Code) {
        self.ended = true;
        let attributes = [
            KeyValue::new(names::RPC_SYSTEM, "grpc"),
            KeyValue::new(names::RPC_METHOD, self.method.clone()),
            KeyValue::new(names::RPC_STATUS, spelled(status)),
        ];
        self.calls.duration.record(self.started.elapsed().as_secs_f64(), &attributes);
        let span = std::mem::take(&mut self.span);
        if !span.is_none() {
            attributes.into_iter().for_each(|KeyValue { key, value, .. }| span.note(key, value));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.span.fail("the caller went away".to_owned());
            self.end(Code::Cancelled);
        }
    }
}

/// A code as the gRPC specification spells it.
fn spelled(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

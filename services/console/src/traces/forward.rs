//! Passes whatever was received on to another collector, from a queue that is bounded: what finds
//! no room in it, is refused, or cannot be sent for too long is lost, and counted.
//!
//! What is absent: anything on disk. What still waits when the console ends gets a moment, and is
//! lost then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::channel::{Channel, loss, reason};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tracing::{info, warn};

use super::held::allocated;

/// The usual most bytes that wait.
pub const QUEUE_BYTES: usize = 4 << 20;
/// The longest time that one message may take.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long a message may wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest and the longest time between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The way to another collector. Clones are the same.
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Way>);

#[derive(Debug)]
struct Way {
    /// The most bytes that wait.
    most: usize,
    queue: Mutex<Queue>,
    more: Notify,
    /// Spans of which it is open yet whether they will be taken.
    open: watch::Sender<u64>,
    passed: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    bytes: usize,
}

/// A message as it is sent.
#[derive(Debug)]
struct Letter {
    bytes: Vec<u8>,
    spans: u64,
    arrived: Instant,
}

/// What a letter of so many bytes takes.
pub(super) fn cost(length: usize) -> usize {
    size_of::<Letter>() + allocated(length) as usize
}

/// Spans since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Those that the other collector has taken.
    pub passed: u64,
    /// Those that it has not, and will not.
    pub lost: u64,
}

impl Forwarder {
    /// A way on which so many bytes may wait.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Way {
            most,
            queue: Mutex::default(),
            more: Notify::new(),
            open: watch::Sender::new(0),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }))
    }

    /// Has a message passed on, if there is room for it.
    pub fn pass_on(&self, message: &ExportTraceServiceRequest) {
        let parts = message.resource_spans.iter().flat_map(|process| &process.scope_spans);
        let spans = parts.map(|part| part.spans.len() as u64).sum::<u64>();
        if spans == 0 {
            return;
        }
        let cost = cost(message.encoded_len());
        let mut queue = self.0.queue.lock().expect("no holder panics");
        if queue.bytes + cost > self.0.most {
            self.0.lost.fetch_add(spans, Ordering::Relaxed);
            return;
        }
        queue.bytes += cost;
        self.0.open.send_modify(|open| *open += spans);
        let bytes = message.encode_to_vec();
        queue.letters.push_back(Letter { bytes, spans, arrived: Instant::now() });
        drop(queue);
        self.0.more.notify_one();
    }

    /// What has become of what was to be passed on.
    pub fn counts(&self) -> Forwarded {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Forwarded { passed: count(&self.0.passed), lost: count(&self.0.lost) }
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.queue.lock().expect("no holder panics").bytes
    }

    /// Sends, for as long as the process lives.
    pub async fn run(self, channel: Channel) {
        let client = TraceServiceClient::new(channel);
        let mut pause = None;
        loop {
            let letter = self.next().await;
            self.deliver(&client, &letter, &mut pause).await;
            self.0.open.send_modify(|open| *open -= letter.spans);
        }
    }

    /// Gives what waits so long to be taken. Whoever calls it has nothing more to pass on.
    pub async fn finish(&self, patience: Duration) {
        let mut open = self.0.open.subscribe();
        let done = open.wait_for(|open| *open == 0);
        if tokio::time::timeout(patience, done).await.is_err() {
            let spans = *self.0.open.borrow();
            warn!(spans, "told to stop before all spans were passed on: the rest is lost");
        }
    }

    /// Sends one until it is taken, refused, or has waited for too long. While nothing is taken
    /// there is a pause between two attempts, each time longer up to a limit.
    async fn deliver(
        &self,
        client: &TraceServiceClient<Channel>,
        letter: &Letter,
        pause: &mut Option<Duration>,
    ) {
        loop {
            let Err(status) = self.send(client, letter).await else {
                if pause.take().is_some() {
                    info!("spans are passed on again");
                }
                return;
            };
            if pause.is_none() {
                let reason = reason(&status);
                warn!(reason, "spans cannot be passed on: they wait, and are lost if too many");
            }
            let next = pause.map_or(SHORTEST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
            *pause = Some(next);
            if !may_pass(&status) || letter.arrived.elapsed() > PATIENCE {
                self.0.lost.fetch_add(letter.spans, Ordering::Relaxed);
                return;
            }
            tokio::time::sleep(next).await;
        }
    }

    /// The first that waits.
    async fn next(&self) -> Letter {
        loop {
            let more = self.0.more.notified();
            {
                let mut queue = self.0.queue.lock().expect("no holder panics");
                if let Some(letter) = queue.letters.pop_front() {
                    queue.bytes -= cost(letter.bytes.len());
                    return letter;
                }
            }
            more.await;
        }
    }

    async fn send(
        &self,
        client: &TraceServiceClient<Channel>,
        letter: &Letter,
    ) -> Result<(), Status> {
        let message = ExportTraceServiceRequest::decode(&letter.bytes[..]);
        let message = message.map_err(|error| Status::internal(error.to_string()))?;
        let mut request = Request::new(message);
        request.set_timeout(DEADLINE);
        let answer = client.clone().export(request).await?.into_inner();
        let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        let refused = u64::try_from(refused).unwrap_or(0).min(letter.spans);
        self.0.passed.fetch_add(letter.spans - refused, Ordering::Relaxed);
        self.0.lost.fetch_add(refused, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether the same may be taken another time, as the protocol has it: always, when it is not the
/// other collector that has refused it.
fn may_pass(status: &Status) -> bool {
    if loss(status).is_some() {
        return true;
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => false,
    }
}

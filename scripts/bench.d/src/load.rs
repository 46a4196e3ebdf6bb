//! A closed loop: so many requests in flight, each asked again as soon as it is answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chassis::channel::{Channel, Connector};
use proto::documents;
use proto::documents::overlay_node_client::OverlayNodeClient;
use proto::ensemble::overlay::v1 as pb;
use proto::ensemble::overlay::v1::overlay_service_client::OverlayServiceClient;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::spread::quantile;

/// Connections that share a load.
const CHANNELS: usize = 4;
/// Time by which the last requests of a round are answered: more than a process's own deadline.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a loop waits after a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// The processes that take part in a whole answer.
const WHOLE: usize = 6;

/// The service by which a process is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// The document's `OverlayNode/Forward`.
    Document,
    /// Our own `OverlayService/Forward`.
    Own,
}

#[derive(Clone, Debug)]
enum Asker {
    Document(OverlayNodeClient<Channel>),
    Own(OverlayServiceClient<Channel>),
}

/// What became of one request.
enum Outcome {
    /// All took part. The time in the leader's queue in microseconds, where the answer says it.
    Whole(Option<u32>),
    /// Some did not.
    Partial,
    /// Limits are reached: ask again after this time.
    Refused(Duration),
    /// It failed.
    Failed(Status),
}

/// What a refused asker does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    /// Waits for as long as it was told.
    Waits,
    /// Asks again at once.
    Hammers,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) in_flight: usize,
    pub(crate) length: Duration,
    pub(crate) refused: Refused,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Seconds that it lasted.
    pub(crate) seconds: f64,
    /// Whole answers.
    pub(crate) answered: u64,
    /// Answers without everyone's share.
    pub(crate) partial: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Why one of them failed.
    pub(crate) failure: Option<String>,
    /// Microseconds from the question to its whole answer.
    pub(crate) latencies: Vec<u32>,
    /// Microseconds in the leader's queue, of whole answers that say it.
    pub(crate) waits: Vec<u32>,
    /// The way that each whole answer took, as far as the asker notes it.
    pub(crate) ways: Vec<u64>,
}

impl Tally {
    /// Of loops that end after such a time.
    pub(crate) async fn of(mut loops: JoinSet<Self>, length: Duration) -> anyhow::Result<Self> {
        let mut tally = Self { seconds: length.as_secs_f64(), ..Self::default() };
        let draining = async {
            while let Some(one) = loops.join_next().await {
                tally.merge(&one.context("a loop of requests broke off")?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(length + DRAIN_DEADLINE, draining)
            .await
            .with_context(|| format!("requests unanswered {DRAIN_DEADLINE:?} after the round"))??;
        let reason = tally.failure.as_deref().unwrap_or("no answer was whole");
        ensure!(tally.answered > 0, "nothing was answered in {length:?}: {reason}");
        Ok(tally)
    }

    /// Counts one whole answer.
    pub(crate) fn answer(&mut self, taken: Duration) {
        self.answered += 1;
        self.latencies.push(u32::try_from(taken.as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts one failure, and waits: what fails at once must not be asked in a spin.
    pub(crate) async fn fail(&mut self, reason: impl ToString) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| reason.to_string());
        tokio::time::sleep(FAILURE_PAUSE).await;
    }

    /// Whole answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Adds another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.answered += other.answered;
        self.partial += other.partial;
        self.refused += other.refused;
        self.failed += other.failed;
        self.failure = self.failure.take().or_else(|| other.failure.clone());
        self.latencies.extend(&other.latencies);
        self.waits.extend(&other.waits);
        self.ways.extend(&other.ways);
    }

    /// The sum of several rounds.
    pub(crate) fn sum<'a>(rounds: impl IntoIterator<Item = &'a Self>) -> Self {
        rounds.into_iter().fold(Self::default(), |mut sum, round| {
            sum.merge(round);
            sum
        })
    }

    /// Quantiles of the times to an answer, in milliseconds.
    pub(crate) fn latency_ms<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        quantiles_ms(&self.latencies, shares)
    }

    /// Quantiles of the times in the queue, in milliseconds.
    pub(crate) fn wait_ms<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        quantiles_ms(&self.waits, shares)
    }

    /// What should not have happened, in words.
    pub(crate) fn trouble(&self) -> Option<String> {
        let reason = self.failure.as_deref().unwrap_or("none failed");
        (self.partial + self.failed > 0).then(|| {
            format!("{} answers were not whole, {} failed: {reason}", self.partial, self.failed)
        })
    }
}

fn quantiles_ms<const N: usize>(micros: &[u32], shares: [f64; N]) -> [f64; N] {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    shares.map(|share| f64::from(quantile(&sorted, share)) / 1e3)
}

/// Connections to one process.
#[derive(Debug)]
pub(crate) struct Askers(Vec<Asker>);

impl Askers {
    /// Connects to the process at `host:port`.
    pub(crate) async fn connect(address: &str, by: By) -> anyhow::Result<Self> {
        let connector = Connector::new(None);
        let mut askers = Vec::with_capacity(CHANNELS);
        for _ in 0..CHANNELS {
            let channel = connector.connect(address, CONNECT_DEADLINE).await?;
            askers.push(match by {
                By::Document => Asker::Document(OverlayNodeClient::new(channel)),
                By::Own => Asker::Own(OverlayServiceClient::new(channel)),
            });
        }
        Ok(Self(askers))
    }

    /// Asks for as long as the load says. What is answered later is waited for, but not counted.
    pub(crate) async fn ask(&self, load: Load, payload: &str) -> anyhow::Result<Tally> {
        let until = Instant::now() + load.length;
        let mut loops = JoinSet::new();
        for asker in self.0.iter().cycle().take(load.in_flight) {
            loops.spawn(closed_loop(asker.clone(), until, load.refused, payload.to_owned()));
        }
        Tally::of(loops, load.length).await
    }
}

async fn closed_loop(mut asker: Asker, until: Instant, refused: Refused, payload: String) -> Tally {
    let mut tally = Tally::default();
    loop {
        let asked = Instant::now();
        let outcome = asker.ask(&payload).await;
        let answered = Instant::now();
        if answered >= until {
            return tally;
        }
        match outcome {
            Outcome::Whole(wait) => {
                tally.answer(answered - asked);
                tally.waits.extend(wait);
            }
            Outcome::Partial => tally.partial += 1,
            Outcome::Refused(after) => {
                tally.refused += 1;
                match refused {
                    Refused::Waits => tokio::time::sleep(after.min(until - answered)).await,
                    Refused::Hammers => (),
                }
            }
            Outcome::Failed(status) => tally.fail(status).await,
        }
    }
}

impl Asker {
    async fn ask(&mut self, payload: &str) -> Outcome {
        match self {
            Self::Document(client) => {
                let request = documents::Request { payload: payload.into(), hops: Vec::new() };
                match client.forward(request).await {
                    Ok(answer) if answer.get_ref().hops.len() == WHOLE => Outcome::Whole(None),
                    Ok(_) => Outcome::Partial,
                    Err(status) => of_failure(status),
                }
            }
            Self::Own(client) => {
                let payload = payload.as_bytes().to_vec().into();
                let request = pb::ForwardRequest { payload, ..pb::ForwardRequest::default() };
                match client.forward(request).await {
                    Ok(answer) => of_answer(answer.get_ref()),
                    Err(status) => of_failure(status),
                }
            }
        }
    }
}

fn of_answer(answer: &pb::ForwardResponse) -> Outcome {
    // The one that was asked comes first.
    let first = answer.visits.first().filter(|_| answer.visits.len() == WHOLE);
    first.map_or(Outcome::Partial, |visit| {
        Outcome::Whole(Some(u32::try_from(visit.queued_us).unwrap_or(u32::MAX)))
    })
}

fn of_failure(status: Status) -> Outcome {
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match after.filter(|_| status.code() == Code::ResourceExhausted) {
        Some(after) => Outcome::Refused(after),
        None => Outcome::Failed(status),
    }
}

//! What makes no sense, is too large, or comes too fast: each before a console of its own, which
//! must live, stay small, and show its page meanwhile.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use proto::ensemble::observe::v1::watch_response::Seen;
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::fleet::{Conduct, Fleet};
use super::load::{MEMORY_GOAL_MIB, stats};
use super::meter::metered;
use super::sender::{self, BATCH, Client, Sent, text};
use super::stage::{Programs, Stage};
use super::viewer::{Look, Sight, Viewer};
use super::views::{Cast, EACH, System};
use super::{Pace, http};
use crate::figures::{Figure, Goal, Section};

/// Milliseconds that the page may take.
const PAGE_GOAL: Goal = Goal::AtMost(1_000.0);
const PAGE_PATIENCE: Duration = Duration::from_secs(20);
const PAGE_INTERVAL: Duration = Duration::from_millis(100);
/// Those who send spans.
const SENDERS: u64 = 4;
/// How often a node vanishes.
const RETURNS: u32 = 100;
/// Characters of a reason that are printed.
const REASON_LIMIT: usize = 100;
const MIB: usize = 1 << 20;

/// What comes.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Spans(fn(u64) -> ExportTraceServiceRequest),
    /// What is no message of spans.
    Garbage,
    /// Shown by a node.
    Shown(fn() -> Seen),
    /// A node that claims to be another.
    Identity,
    /// A node that comes and goes.
    Returns,
}

const FLOODS: &[(&str, Flood)] = &[
    ("spans with invalid ids", Flood::Spans(invalid_spans)),
    ("spans whose parents never come", Flood::Spans(orphans)),
    ("spans with attributes of 900 KB", Flood::Spans(large_spans)),
    ("messages of spans of 2 MiB", Flood::Spans(large_message)),
    ("a service name for each span", Flood::Spans(many_services)),
    ("one trace of all spans", Flood::Spans(one_trace)),
    ("messages that are no protobuf", Flood::Garbage),
    ("views of 1 MiB", Flood::Shown(|| padded_view(MIB - 128))),
    ("views of 10 MiB", Flood::Shown(|| padded_view(10 * MIB))),
    ("views that are no JSON", Flood::Shown(|| Seen::View("{\"id\":".repeat(9)))),
    ("views nested 100,000 times", Flood::Shown(|| Seen::View(nested(100_000)))),
    ("views with 90,000 keys", Flood::Shown(|| Seen::View(keyed(90_000)))),
    ("views with 1,000,000 keys", Flood::Shown(|| Seen::View(keyed(1_000_000)))),
    ("events of a megabyte", Flood::Shown(|| Seen::Event("x".repeat(1_000_000)))),
    ("a node that claims to be another", Flood::Identity),
    ("a node that vanishes and returns", Flood::Returns),
];

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let mut section = Section::new("floods, each before 60 calm nodes", "");
    for (name, flood) in FLOODS {
        eprintln!("  {name} …");
        let stage = Stage::start(programs).await?;
        match flooded(stage, *flood, pace.flood).await {
            Ok(seen) => seen.tell(&mut section, name),
            // What cannot be measured is told: it is what floods are for.
            Err(error) => {
                let never = Figure::of(format!("{name}: page at the latest"), "ms", f64::INFINITY);
                section.add(never.goal(PAGE_GOAL));
                section.note(format!("{name}: {error:#}"));
            }
        }
    }
    Ok(section)
}

/// What was seen of a flood.
struct Flooded {
    resident: f64,
    percent: f64,
    page: Duration,
    sight: Sight,
    note: String,
}

impl Flooded {
    fn tell(self, section: &mut Section, name: &str) {
        let memory = Figure::of(format!("{name}: memory"), "MiB", self.resident);
        section.add(memory.goal(Goal::AtMost(2.0 * MEMORY_GOAL_MIB)));
        let page = self.page.as_secs_f64() * 1e3;
        let page = Figure::of(format!("{name}: page at the latest"), "ms", page);
        section.add(page.goal(PAGE_GOAL));
        let (percent, frames) = (self.percent, self.sight.frames);
        let longest = self.sight.longest.as_millis();
        section.note(format!(
            "{name}: {percent:.0} % of a core; a viewer saw {frames} frames, {longest} ms apart at \
             most{}",
            self.note
        ));
    }
}

async fn flooded(mut stage: Stage, flood: Flood, length: Duration) -> anyhow::Result<Flooded> {
    let mut viewer = Viewer::open(stage.page).await?;
    let began = Instant::now();
    let work = async {
        let flooding = flooding(&stage, flood, length);
        let until = began + length;
        let looking = viewer.look(until, Look::Briefly);
        tokio::try_join!(flooding, looking, longest_page(&stage, until))
    };
    let ((sent, sight, page), used) = metered(stage.pid(), work).await?;
    let note = match sent {
        Some(sent) => account(&sent, &stats(&stage).await?),
        None => String::new(),
    };
    // It is there, and still shows what there is.
    stage.console.expect_alive()?;
    Viewer::open(stage.page).await?.begin().await?;
    Ok(Flooded { resident: used.resident, percent: used.percent(), page, sight, note })
}

/// What was sent and what became of it, in words.
fn account(sent: &Sent, stats: &Value) -> String {
    let mut note = format!("; {} spans came", sent.spans);
    for name in ["kept", "dropped", "invalid"] {
        let _ = write!(note, ", {} {name}", stats[name]);
    }
    if sent.failed > 0 {
        let _ = write!(note, "; {} messages failed", sent.failed);
    }
    if let Some(reason) = &sent.reason {
        let _ = write!(note, ": {}", reason.chars().take(REASON_LIMIT).collect::<String>());
    }
    note
}

/// The longest time that a part of the page took.
async fn longest_page(stage: &Stage, until: Instant) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    for path in ["/", "/page/main.js", "/traces?limit=100", "/history"].iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let began = Instant::now();
        http::get(stage.page, path, PAGE_PATIENCE).await?;
        longest = longest.max(began.elapsed());
        tokio::time::sleep(PAGE_INTERVAL).await;
    }
    Ok(longest)
}

async fn flooding(stage: &Stage, flood: Flood, length: Duration) -> anyhow::Result<Option<Sent>> {
    let own = Cast { system: System::Overlay, index: EACH };
    match flood {
        Flood::Spans(make) => {
            let send = move |channel, seed: u64| async move {
                let mut client = Client::new(channel);
                let mut sent = Sent::default();
                let until = Instant::now() + length;
                for round in 0.. {
                    if Instant::now() >= until {
                        break;
                    }
                    sender::send(&mut client, make(seed << 40 | round), &mut sent).await;
                }
                sent
            };
            send_all(stage, send).await.map(Some)
        }
        Flood::Garbage => {
            send_all(stage, move |channel, _| garbage(channel, length)).await.map(Some)
        }
        Flood::Shown(make) => {
            let conduct = Conduct::Floods(own, Arc::new([make()]));
            let _fleet = Fleet::start(vec![(stage.spare, conduct)])?;
            tokio::time::sleep(length).await;
            Ok(None)
        }
        Flood::Identity => {
            let conduct = Conduct::Lives(Cast { system: System::Raft, index: 0 });
            let _fleet = Fleet::start(vec![(stage.spare, conduct)])?;
            tokio::time::sleep(length).await;
            Ok(None)
        }
        Flood::Returns => {
            for _ in 0..RETURNS {
                let _fleet = Fleet::start(vec![(stage.spare, Conduct::Lives(own))])?;
                tokio::time::sleep(length / RETURNS).await;
            }
            Ok(None)
        }
    }
}

async fn send_all<F>(stage: &Stage, send: impl Fn(Channel, u64) -> F) -> anyhow::Result<Sent>
where
    F: Future<Output = Sent> + Send + 'static,
{
    let mut senders = JoinSet::new();
    for seed in 0..SENDERS {
        senders.spawn(send(sender::connect(stage.traces).await?, seed));
    }
    let mut all = Sent::default();
    while let Some(sent) = senders.join_next().await {
        all.add(sent?);
    }
    Ok(all)
}

/// A message of which the first field is none.
#[derive(Clone, PartialEq, prost::Message)]
struct Garbage {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

async fn garbage(mut channel: Channel, length: Duration) -> Sent {
    let mut sent = Sent::default();
    let until = Instant::now() + length;
    while Instant::now() < until {
        let mut grpc = tonic::client::Grpc::new(&mut channel);
        let codec = tonic_prost::ProstCodec::<Garbage, ExportTraceServiceResponse>::default();
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let message = tonic::Request::new(Garbage { bytes: vec![0xff; 100_000] });
        let path = path.parse().expect("a path");
        let answer = match grpc.ready().await {
            Ok(()) => grpc.unary(message, path, codec).await.err(),
            Err(_) => break,
        };
        sent.failed += u64::from(answer.is_some());
        if let Some(status) = answer {
            sent.reason.get_or_insert_with(|| status.to_string());
        }
    }
    sent
}

fn batch(change: impl Fn(u64, Span) -> Span, seed: u64) -> ExportTraceServiceRequest {
    let number = |at: u64| seed.wrapping_mul(BATCH as u64) + at;
    let spans = (0..BATCH as u64).map(|at| change(number(at), sender::span(0, number(at))));
    sender::wrapped("overlay-leader", spans.collect())
}

fn invalid_spans(seed: u64) -> ExportTraceServiceRequest {
    batch(|at, span| Span { trace_id: vec![7; at as usize % 16], ..span }, seed)
}

fn orphans(seed: u64) -> ExportTraceServiceRequest {
    batch(|at, span| Span { parent_span_id: (at + 1).to_be_bytes().into(), ..span }, seed)
}

fn one_trace(seed: u64) -> ExportTraceServiceRequest {
    batch(
        |at, span| Span { trace_id: vec![7; 16], span_id: (at + 1).to_be_bytes().into(), ..span },
        seed,
    )
}

fn large_spans(seed: u64) -> ExportTraceServiceRequest {
    let mut span = sender::span(0, seed);
    span.attributes = (0..9).map(|at| text(&format!("key{at}"), "x".repeat(100_000))).collect();
    sender::wrapped("overlay-leader", vec![span])
}

fn large_message(seed: u64) -> ExportTraceServiceRequest {
    let mut span = sender::span(0, seed);
    span.attributes = vec![text("key", "x".repeat(2 * MIB))];
    sender::wrapped("overlay-leader", vec![span])
}

fn many_services(seed: u64) -> ExportTraceServiceRequest {
    let number = |at: u64| seed.wrapping_mul(BATCH as u64) + at;
    let parts = (0..BATCH as u64).flat_map(|at| {
        let span = sender::span(0, number(at));
        sender::wrapped(&format!("service-{}", number(at)), vec![span]).resource_spans
    });
    ExportTraceServiceRequest { resource_spans: parts.collect() }
}

fn padded_view(bytes: usize) -> Seen {
    let view = Cast { system: System::Overlay, index: EACH }.view(0, 0);
    let pad = "x".repeat(bytes.saturating_sub(view.len() + 16));
    Seen::View(format!("{{\"pad\":\"{pad}\",{}", &view[1..]))
}

fn nested(levels: usize) -> String {
    format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels))
}

fn keyed(keys: usize) -> String {
    let keys: Vec<_> = (0..keys).map(|at| format!("\"k{at}\":1")).collect();
    format!("{{{}}}", keys.join(","))
}

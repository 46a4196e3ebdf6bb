//! Taking spans: the console, which keeps them for a while and can be asked for them, beside a
//! bare tonic service that decodes them and throws them away, and a collector that does the same.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::meter::metered;
use super::sender::{self, Sent};
use super::stage::Programs;
use super::{Pace, load};
use crate::figures::{Figure, Goal, Section};
use crate::process::{LOOK_INTERVAL, Process, START_DEADLINE, free_addresses};
use crate::relay;
use crate::spread::Spread;

const SPANS_A_SECOND: u32 = 10_000;
/// Who keeps spans may need so many times the processor time of who throws them away.
const KEEPING_GOAL: Goal = Goal::RatioAtMost(3.0);
/// A collector passes them on, and keeps none: who keeps them may need half as much again.
const COLLECTOR_GOAL: Goal = Goal::RatioAtMost(1.5);
const COLLECTOR_AIM: Goal = Goal::RatioAtMost(1.0);

/// One of those that take turns.
struct Side {
    process: Process,
    address: SocketAddr,
    /// Microseconds of processor time for each span, round by round.
    costs: Vec<f64>,
    /// MiB at the peak.
    resident: f64,
}

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let [nobody, page, ours, bare, other, http] = free_addresses()?;
    let console = programs.start_console(page, ours, &[nobody])?;
    let mut console = Side::of(console, ours).await?;
    let mut sink = Side::of(programs.start_sink(bare)?, bare).await?;
    let rotel = programs.rotel.as_ref().map(|program| {
        let mut command = Command::new(program);
        command.env_clear().arg("start").args(["--exporter", "blackhole"]);
        command.args(["--otlp-grpc-endpoint", &other.to_string()]);
        command.args(["--otlp-http-endpoint", &http.to_string()]);
        Process::start("console-rotel", command, &programs.logs)
    });
    let mut rotel = match rotel.transpose()? {
        Some(process) => Some(Side::of(process, other).await?),
        None => None,
    };
    let (length, rounds) = pace.spans;
    for _ in 0..rounds {
        for side in [&mut console, &mut sink].into_iter().chain(&mut rotel) {
            side.round(length).await?;
        }
    }
    let title = format!("taking {SPANS_A_SECOND} spans a second, {rounds} rounds");
    let mut section = Section::new(title, "who takes them too");
    section.add(console.beside(&sink, "a bare service").goal(KEEPING_GOAL));
    let memory = Figure::of("memory at its peak, beside a bare service", "MiB", console.resident);
    let memory = memory.against(sink.resident);
    section.add(memory.goal(Goal::AtMost(load::MEMORY_GOAL_MIB)));
    match rotel {
        Some(rotel) => {
            let figure = console.beside(&rotel, "rotel").goal(COLLECTOR_GOAL);
            section.add(figure.aim(COLLECTOR_AIM));
            let memory = Figure::of("memory at its peak, beside rotel", "MiB", console.resident);
            section.add(memory.against(rotel.resident));
        }
        None => section.note("rotel is skipped: `scripts/tools` installs it into target/tools"),
    }
    Ok(section)
}

impl Side {
    /// Waits until it listens.
    async fn of(mut process: Process, address: SocketAddr) -> anyhow::Result<Self> {
        while TcpStream::connect(address).await.is_err() {
            process.expect_up_within(START_DEADLINE)?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(Self { process, address, costs: Vec::new(), resident: 0.0 })
    }

    async fn round(&mut self, length: Duration) -> anyhow::Result<()> {
        let sending = sender::load(self.address, Some(SPANS_A_SECOND), length);
        let (Sent { spans, reason, .. }, used) = metered(self.process.pid(), sending).await?;
        if let Some(reason) = reason {
            anyhow::bail!("{}: {reason}", self.process.name());
        }
        self.costs.push(used.processor.as_secs_f64() * 1e6 / spans as f64);
        self.resident = self.resident.max(used.resident);
        Ok(())
    }

    fn beside(&self, peer: &Self, name: &str) -> Figure {
        let median = |side: &Self| Spread::of(side.costs.iter().copied()).median;
        Figure::of(format!("processor time a span, beside {name}"), "µs", median(self))
            .against(median(peer))
            .by_rounds(Spread::of_ratios(&self.costs, &peer.costs))
    }
}

/// Decodes spans and throws them away.
struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Runs the peer.
pub(super) async fn sink(address: SocketAddr) -> anyhow::Result<()> {
    relay::tie()?;
    let server = Server::builder().tcp_nodelay(true).add_service(TraceServiceServer::new(Sink));
    server.serve(address).await.context("serving")
}

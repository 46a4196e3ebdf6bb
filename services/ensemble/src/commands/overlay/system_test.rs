//! `ensemble overlay test`: the document's system test, and a bigger one.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use overlay::PAYLOAD_LIMIT;
use overlay::client::{Answer, Client, Operation, Team};
use overlay::work;
use tokio::task::JoinSet;

use super::{PROMPT, Processes};

const DEADLINE: Duration = Duration::from_secs(10);
/// The document's number of concurrent requests.
const CONCURRENT: usize = 10;
/// Ours.
const MANY: usize = 1000;
const MANY_CONCURRENT: usize = 64;

/// Run the document's system test, and a bigger one; exit with 1 when a step fails
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble overlay test
  ensemble overlay test --at 192.168.1.1:50051")]
pub(super) struct Arguments {
    /// The process to ask, by its id or as HOST:PORT
    #[arg(long, value_name = "NODE", default_value = "A")]
    at: String,
}

/// Runs each step and prints what came of it.
pub(super) async fn run(arguments: &Arguments, processes: &Processes) -> Result<ExitCode> {
    let client = processes.connect(&arguments.at).await?;
    let started = Instant::now();
    let mut failed = 0;
    let mut tell = |name: &str, took: Duration, outcome: Result<String>| {
        let (mark, text) = match outcome {
            Ok(text) => ("ok", text),
            Err(error) => {
                failed += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        writeln!(io::stdout(), "{mark:6} {name}: {text} ({took:.1?})")
    };
    let clock = Instant::now();
    let outcome = single(&client).await;
    tell("single request", clock.elapsed(), outcome)?;
    let clock = Instant::now();
    let outcome = status(&client).await;
    tell("queue status", clock.elapsed(), outcome)?;
    for (name, count, at_once) in [
        ("10 concurrent requests", CONCURRENT, CONCURRENT),
        ("1,000 requests, 64 at once", MANY, MANY_CONCURRENT),
    ] {
        let clock = Instant::now();
        let outcome = concurrent(&client, count, at_once).await;
        tell(name, clock.elapsed(), outcome)?;
    }
    for (name, operation) in
        [("words of 8 MiB", Operation::WordCount), ("digest of 8 MiB", Operation::Digest)]
    {
        let clock = Instant::now();
        let outcome = big(&client, operation).await;
        tell(name, clock.elapsed(), outcome)?;
    }
    writeln!(io::stdout(), "{} steps, {failed} failed, {:.1?}", 6, started.elapsed())?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An answer in which nobody is missing.
async fn whole(client: &Client, payload: Vec<u8>, operation: Operation) -> Result<Answer> {
    let answer = client
        .forward(payload, operation, Team::Unspecified, DEADLINE)
        .await
        .map_err(|refusal| anyhow!("{refusal}"))?;
    let missing: Vec<_> = answer
        .missing
        .iter()
        .map(|missing| format!("{} ({})", missing.process, missing.reason))
        .collect();
    ensure!(missing.is_empty(), "missing: {}", missing.join(", "));
    Ok(answer)
}

async fn single(client: &Client) -> Result<String> {
    let answer = whole(client, b"single request".to_vec(), Operation::Process).await?;
    ensure!(!answer.result.is_empty(), "an empty answer");
    Ok(answer.result)
}

async fn status(client: &Client) -> Result<String> {
    let metrics = client.metrics(PROMPT).await?;
    ensure!(metrics.answered > 0, "it says that it has answered nothing");
    Ok(format!(
        "{} of {} in hand, {} of {} in the queue, {} answered",
        metrics.active, metrics.active_limit, metrics.queued, metrics.queue_limit, metrics.answered
    ))
}

async fn concurrent(client: &Client, count: usize, at_once: usize) -> Result<String> {
    let started = Instant::now();
    let mut running = JoinSet::new();
    let mut results: Vec<String> = Vec::new();
    for index in 0..count {
        if running.len() == at_once {
            results.push(running.join_next().await.context("one runs")???);
        }
        let client = client.clone();
        running.spawn(async move {
            let payload = format!("request {index}").into_bytes();
            whole(&client, payload, Operation::Process).await.map(|answer| answer.result)
        });
    }
    while let Some(result) = running.join_next().await {
        results.push(result??);
    }
    results.dedup();
    ensure!(results.len() == 1, "the answers differ: {}", results.join(" / "));
    let rate = count as f64 / started.elapsed().as_secs_f64();
    Ok(format!("{count} answered alike, {rate:.0} a second"))
}

/// A payload of the greatest length, compared with what this machine makes of it.
async fn big(client: &Client, operation: Operation) -> Result<String> {
    let line = b"the quick brown fox jumps over the lazy dog\n";
    let payload: Vec<u8> = line.iter().copied().cycle().take(PAYLOAD_LIMIT).collect();
    let expected = match operation {
        Operation::Digest => work::digest_text(&payload),
        Operation::WordCount | Operation::Process | Operation::Unspecified => {
            work::count_text(&payload)
        }
    };
    let answer = whole(client, payload, operation).await?;
    ensure!(answer.result == expected, "{} instead of {expected}", answer.result);
    let parts = answer.visits.iter().filter(|visit| visit.part.is_some()).count();
    Ok(format!("{} from {parts} workers", answer.result))
}

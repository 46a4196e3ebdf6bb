//! `ensemble overlay forward`: one request and its answer.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::ValueEnum;
use overlay::PAYLOAD_LIMIT;
use overlay::client::{Answer, Operation, Refusal, Team};

use super::Processes;

/// One byte more than the overlay takes: who reads so much knows that there is more.
const READ_LIMIT: u64 = PAYLOAD_LIMIT as u64 + 1;

/// Send one request through the overlay; exit with 3 when a share of the answer is missing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble overlay forward hello
  ensemble overlay forward --operation word-count --file README.md
  ensemble overlay forward --operation digest --team pink - < README.md")]
pub(super) struct Arguments {
    /// The payload; `-` reads it from standard input
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// Read the payload from a file, of at most 8 MiB
    #[arg(long)]
    file: Option<PathBuf>,
    /// The process to ask, by its id or as HOST:PORT
    #[arg(long, value_name = "NODE", default_value = "A")]
    at: String,
    /// Which team serves it
    #[arg(long, value_enum, default_value_t = TeamName::Both)]
    team: TeamName,
    /// What to do with the payload
    #[arg(long, value_enum, default_value_t = OperationName::Process)]
    operation: OperationName,
    /// Seconds that the answer may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    deadline: f64,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TeamName {
    Green,
    Pink,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OperationName {
    /// Every process puts its name to it
    Process,
    /// Lines, words and bytes, as `wc` counts them
    WordCount,
    /// The BLAKE3 digest, as `b3sum` prints it
    Digest,
}

/// Asks and prints.
pub(super) async fn run(arguments: Arguments, processes: &Processes) -> Result<ExitCode> {
    let seconds = arguments.deadline;
    ensure!(
        seconds > 0.0 && seconds <= 60.0,
        "--deadline {seconds}: must be more than 0, and at most 60 seconds"
    );
    let payload = payload(&arguments)?;
    let team = match arguments.team {
        TeamName::Green => Team::Green,
        TeamName::Pink => Team::Pink,
        TeamName::Both => Team::Unspecified,
    };
    let operation = match arguments.operation {
        OperationName::Process => Operation::Process,
        OperationName::WordCount => Operation::WordCount,
        OperationName::Digest => Operation::Digest,
    };
    let client = processes.connect(&arguments.at).await?;
    let deadline = Duration::from_secs_f64(seconds);
    let answer = client
        .forward(payload, operation, team, deadline)
        .await
        .map_err(|refusal| anyhow!("{}: {refusal}{}", arguments.at, advice(&refusal)))?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        writeln!(out, "{}", answer.result)?;
        eprint!("{}", story(&answer));
    }
    Ok(if answer.complete { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// What a caller can do about a refusal, where it does not say so itself.
fn advice(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Expired => "; allow more with --deadline",
        Refusal::Exhausted(_) | Refusal::Invalid(_) | Refusal::Failed(_) => "",
    }
}

fn payload(arguments: &Arguments) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    let name = match (&arguments.file, arguments.text.as_deref()) {
        (Some(path), _) => {
            let name = path.display().to_string();
            let file = fs::File::open(path).with_context(|| name.clone())?;
            file.take(READ_LIMIT).read_to_end(&mut payload).with_context(|| name.clone())?;
            name
        }
        (None, Some("-")) => {
            io::stdin().take(READ_LIMIT).read_to_end(&mut payload)?;
            "standard input".into()
        }
        (None, text) => {
            payload.extend_from_slice(text.unwrap_or_default().as_bytes());
            "the text".into()
        }
    };
    ensure!(payload.len() <= PAYLOAD_LIMIT, "{name}: more than 8 MiB; send it in parts");
    Ok(payload)
}

/// Who did what, for eyes: on standard error, so that standard output holds the result alone.
fn story(answer: &Answer) -> String {
    let part = |part: Option<(u64, u64)>| match part {
        Some((offset, length)) if length > 0 => format!(", bytes {offset} to {}", offset + length),
        _ => String::new(),
    };
    let mut text = String::new();
    for visit in &answer.visits {
        let depth = depth(answer, &visit.process);
        text += &format!(
            "{:indent$}{} {} {}: {:.3} ms{}{}\n",
            "",
            visit.process,
            visit.team,
            visit.role.replace('_', " "),
            visit.total_us as f64 / 1e3,
            match visit.queued_us {
                0..100 => String::new(),
                queued => format!(", {:.3} ms of it in the queue", queued as f64 / 1e3),
            },
            part(visit.part),
            indent = 2 * depth,
        );
    }
    for detour in &answer.detours {
        text += &format!("detour: {} is served through {}\n", detour.team, detour.through);
    }
    for missing in &answer.missing {
        text +=
            &format!("missing: {} ({}{})\n", missing.process, missing.reason, part(missing.part));
    }
    text
}

/// How many processes lie between this one and the client.
fn depth(answer: &Answer, process: &str) -> usize {
    let asked_by = |process: &str| {
        answer.visits.iter().find(|visit| visit.process == process).map(|v| v.asked_by.as_str())
    };
    let mut depth = 0;
    let mut next = process;
    while let Some(parent) = asked_by(next).filter(|parent| !parent.is_empty()) {
        depth += 1;
        next = parent;
        if depth >= answer.visits.len() {
            break;
        }
    }
    depth
}

//! `ensemble overlay check`: the state of processes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use overlay::client::{Client, Metrics};
use serde_json::json;
use tokio::task::JoinSet;

use super::{PROMPT, Processes};
use crate::paint::{Cell, Colour, Palette, Table};

/// Show how busy processes are; exit with 1 when one does not answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble overlay check
  ensemble overlay check A
  ensemble overlay check 192.168.1.1:50051
  ensemble overlay check --watch")]
pub(super) struct Arguments {
    /// Ids of processes, or addresses as HOST:PORT [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Show it again every so many seconds until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
}

type Found = (String, String, Result<Metrics>);

/// Asks and prints.
pub(super) async fn run(
    arguments: &Arguments,
    processes: &Processes,
    palette: Palette,
) -> Result<ExitCode> {
    let mut asked = Vec::new();
    for node in &arguments.nodes {
        asked.push((node.clone(), processes.address(node)?));
    }
    if asked.is_empty() {
        let known = processes.known.iter();
        asked.extend(known.map(|known| (known.id.clone(), known.address.clone())));
    }
    if let Some(seconds) = arguments.watch {
        ensure!((0.1..=3600.0).contains(&seconds), "--watch {seconds}: 0.1 to 3600");
    }
    loop {
        let found = ask_all(&asked, processes).await;
        let text = if arguments.json { as_json(&found)? } else { as_table(&found, palette) };
        let mut out = io::stdout();
        if arguments.watch.is_some() && out.is_terminal() && !arguments.json {
            // Home, and nothing below.
            write!(out, "\x1b[H\x1b[J")?;
        }
        write!(out, "{text}")?;
        out.flush()?;
        let Some(seconds) = arguments.watch else {
            let all = found.iter().all(|(_, _, metrics)| metrics.is_ok());
            return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => (),
            _ = tokio::signal::ctrl_c() => {
                // After the terminal's `^C`.
                writeln!(io::stdout())?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Asks all at once, and answers in their order.
async fn ask_all(asked: &[(String, String)], processes: &Processes) -> Vec<Found> {
    let mut asking = JoinSet::new();
    for (position, (id, address)) in asked.iter().cloned().enumerate() {
        let connector = processes.connector.clone();
        asking.spawn(async move {
            let metrics = async {
                Client::connect(&connector, &address, PROMPT).await?.metrics(PROMPT).await
            };
            let metrics = metrics.await;
            (position, (id, address, metrics))
        });
    }
    let mut found = asking.join_all().await;
    found.sort_by_key(|(position, _)| *position);
    found.into_iter().map(|(_, found)| found).collect()
}

fn as_json(found: &[Found]) -> Result<String> {
    let mut text = String::new();
    for (id, address, metrics) in found {
        let line = match metrics {
            Ok(metrics) => json!({ "node": id, "address": address, "metrics": metrics }),
            Err(error) => json!({ "node": id, "address": address, "error": format!("{error:#}") }),
        };
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn as_table(found: &[Found], palette: Palette) -> String {
    let heading = [
        "NODE",
        "ROLE",
        "TEAM",
        "ADDRESS",
        "ACTIVE",
        "QUEUE",
        "ANSWERED",
        "REFUSED",
        "MEAN",
        "NEIGHBOURS",
    ];
    let mut table = Table::new(palette, heading);
    for (id, address, metrics) in found {
        match metrics {
            Ok(metrics) => {
                let neighbour = |(name, alive): &(String, bool)| match alive {
                    true => name.clone(),
                    false => format!("{name}(lost)"),
                };
                let neighbours: Vec<_> = metrics.neighbours.iter().map(neighbour).collect();
                let lost = metrics.neighbours.iter().any(|(_, alive)| !alive);
                let colour = if lost { Colour::Yellow } else { Colour::Green };
                table.row([
                    (&metrics.process).into(),
                    metrics.role.replace('_', " ").into(),
                    (&metrics.team).into(),
                    address.into(),
                    format!("{}/{}", metrics.active, metrics.active_limit).into(),
                    format!("{}/{}", metrics.queued, metrics.queue_limit).into(),
                    metrics.answered.into(),
                    metrics.refused.into(),
                    format!("{:.3} ms", metrics.mean_total_us as f64 / 1e3).into(),
                    Cell::painted(neighbours.join(" "), colour),
                ]);
            }
            Err(error) => table.row([
                id.into(),
                Cell::painted("unreachable", Colour::Red),
                "".into(),
                address.into(),
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                format!("{error:#}").trim_start_matches(&format!("{address}: ")).into(),
            ]),
        }
    }
    table.to_string()
}

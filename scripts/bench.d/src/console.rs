//! The console: a real process before sixty nodes that are made up, with those who look at it and
//! those who send it spans.
//!
//! The nodes live on a thread of this program, as their roles would: each is asked for its view
//! every 50 ms and shows it when it has changed. A view and an event bear the time at which they
//! came about, so that a viewer knows how old they are when it sees them.

mod browser;
mod crowd;
mod fleet;
mod floods;
mod http;
mod idle;
mod load;
mod meter;
mod page;
mod peers;
mod sender;
mod slow;
mod stage;
mod viewer;
mod views;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use self::stage::Programs;
use crate::figures::{self, Section};
use crate::program;

/// Measure the console, and print each figure beside its goal or that of a peer
///
/// It needs the release binary of the console, speaks on loopback alone, and leaves nothing
/// running. Whatever the verdicts, it succeeds when everything could be measured.
#[derive(Debug, Parser)]
#[command(name = "bench-console", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Short rounds and few viewers: shows that it works, not what it measures
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Measure this alone; may be repeated
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Where console is [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// A collector that takes spans too, beside which the console is measured: rotel's agent
    #[arg(long, value_name = "PROGRAM")]
    rotel: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sixty calm nodes and one viewer
    Idle,
    /// Sixty busy nodes, 10,000 spans a second and two viewers
    Load,
    /// A thousand viewers at once
    Crowd,
    /// A viewer that reads nothing for long
    Slow,
    /// What makes no sense, is too large, or comes too fast
    Floods,
    /// Taking spans, beside peers
    Spans,
    /// The page in a browser
    Page,
}

/// The peers, each a process of its own.
#[derive(Debug, Subcommand)]
enum Command {
    /// A bare tonic service that decodes spans and throws them away
    #[command(hide = true)]
    Sink {
        /// Where it listens
        address: SocketAddr,
    },
}

/// How long and how much everything is measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long calm nodes are watched.
    idle: Duration,
    /// How long there is load.
    load: Duration,
    /// How many look at once, and for how long.
    crowd: (usize, Duration),
    /// How long a slow viewer reads nothing.
    slow: Duration,
    /// How long a flood lasts.
    flood: Duration,
    /// How long spans are sent to each peer, and how often.
    spans: (Duration, usize),
    /// For how long frames of the screen are counted, and how long the page stays open in all.
    page: (Duration, Duration),
}

impl Pace {
    const THOROUGH: Self = Self {
        idle: Duration::from_secs(30),
        load: Duration::from_secs(60),
        crowd: (1_000, Duration::from_secs(20)),
        slow: Duration::from_secs(20),
        flood: Duration::from_secs(5),
        spans: (Duration::from_secs(5), 3),
        page: (Duration::from_secs(3), Duration::from_secs(300)),
    };
    const QUICK: Self = Self {
        idle: Duration::from_secs(5),
        load: Duration::from_secs(10),
        crowd: (200, Duration::from_secs(5)),
        slow: Duration::from_secs(6),
        flood: Duration::from_secs(2),
        spans: (Duration::from_secs(2), 2),
        page: (Duration::from_secs(3), Duration::from_secs(20)),
    };
}

/// The program: measures, or is one of the peers.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    program::run("bench-console", async {
        match cli.command.take() {
            Some(Command::Sink { address }) => peers::sink(address).await,
            None => figures::print(&program::uninterrupted(measure(&cli)).await?, cli.json),
        }
    })
}

async fn measure(cli: &Cli) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::find(cli.binaries.clone(), cli.rotel.clone())?;
    let pace = if cli.quick { Pace::QUICK } else { Pace::THOROUGH };
    let mut sections = Vec::new();
    for part in program::turns(&cli.only) {
        sections.push(match part {
            Part::Idle => idle::measure(&programs, pace).await.context("idle")?,
            Part::Load => load::measure(&programs, pace).await.context("load")?,
            Part::Crowd => crowd::measure(&programs, pace).await.context("crowd")?,
            Part::Slow => slow::measure(&programs, pace).await.context("slow")?,
            Part::Floods => floods::measure(&programs, pace).await.context("floods")?,
            Part::Spans => peers::measure(&programs, pace).await.context("spans")?,
            Part::Page => page::measure(&programs, pace).await.context("page")?,
        });
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

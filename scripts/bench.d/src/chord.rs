//! The hash ring: simulated rings of up to 10,000 nodes beside what the paper says of them, and
//! six real nodes beside a bare tonic relay whose requests go the same ways.
//!
//! A client is a loop that asks, waits for the answer and asks again; each time another node, at
//! random, by the same bare tonic client as the relay.

mod clients;
mod cluster;
mod deaths;
mod finds;
mod idle;
mod paths;
mod saves;
mod side;
mod simulated;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use self::cluster::Programs;
use crate::figures::{self, Section};
use crate::{program, relay};

/// Measure the hash ring, and print each figure beside that of a peer or of the paper
///
/// It needs the release binaries of the roles, speaks on loopback alone, and leaves nothing
/// running. Whatever the verdicts, it succeeds when everything could be measured.
#[derive(Debug, Parser)]
#[command(name = "bench-chord", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Short rounds and few of them: shows that it works, not what it measures
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Measure this alone; may be repeated
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Where chord-registry and chord-node are [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How many nodes a lookup passes in simulated rings
    Paths,
    /// How long a simulated ring takes to mend when many nodes die at once
    Deaths,
    /// Memory and processor time of nodes that nobody asks anything
    Idle,
    /// Finds a second and their latency, beside the relay
    Finds,
    /// Saves a second and their latency
    Saves,
}

/// The peer, each a process of its own.
#[derive(Debug, Subcommand)]
enum Command {
    /// One process of the relay that ours is measured beside
    #[command(hide = true)]
    Relay(relay::Arguments),
}

/// How long and how often everything is measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Rings by their size: nodes, how many rings, and lookups in each.
    rings: [(usize, u64, usize); 4],
    /// Rings in which nodes die.
    struck: u64,
    rounds: usize,
    round: Duration,
    warm_up: Duration,
    /// How long the nodes are watched idling.
    idle: Duration,
    /// How many keys there are.
    keys: usize,
}

impl Pace {
    const THOROUGH: Self = Self {
        rings: [(10, 200, 500), (100, 20, 2_000), (1_000, 4, 10_000), (10_000, 1, 40_000)],
        struck: 5,
        rounds: 5,
        round: Duration::from_secs(3),
        warm_up: Duration::from_secs(1),
        idle: Duration::from_secs(20),
        keys: 10_000,
    };
    /// The largest rings are left out.
    const QUICK: Self = Self {
        rings: [(10, 50, 200), (100, 5, 2_000), (1_000, 1, 10_000), (10_000, 0, 0)],
        struck: 1,
        rounds: 3,
        round: Duration::from_millis(400),
        warm_up: Duration::from_millis(200),
        idle: Duration::from_secs(3),
        keys: 10_000,
    };
}

/// The program: measures, or is one of the peer's processes.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    program::run("bench-chord", async {
        match cli.command.take() {
            Some(Command::Relay(arguments)) => relay::relay(arguments).await,
            None => figures::print(&program::uninterrupted(measure(&cli)).await?, cli.json),
        }
    })
}

async fn measure(cli: &Cli) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::find(cli.binaries.clone())?;
    let pace = if cli.quick { Pace::QUICK } else { Pace::THOROUGH };
    let mut sections = Vec::new();
    for part in program::turns(&cli.only) {
        sections.extend(match part {
            Part::Paths => paths::measure(pace).await.context("paths")?,
            Part::Deaths => deaths::measure(pace).await.context("deaths")?,
            Part::Idle => vec![idle::measure(&programs, pace).await.context("idle")?],
            Part::Finds => finds::measure(&programs, pace).await.context("finds")?,
            Part::Saves => vec![saves::measure(&programs, pace).await.context("saves")?],
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

//! The overlay: six real role processes beside a bare tonic relay of the same shape.

mod cluster;
mod idle;
mod overload;
mod side;
mod throughput;
mod up;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use self::cluster::Programs;
use crate::figures::{self, Section};
use crate::{program, relay};

/// What every process is asked to pass on: 64 bytes.
const PAYLOAD: &str = "sixty-four bytes of text that pass six processes and come back: ";

/// Measure the overlay, and print each figure beside that of a peer measured in the same run
///
/// It needs the release binaries of the roles, speaks on loopback alone, and leaves nothing
/// running. Whatever the verdicts, it succeeds when everything could be measured.
#[derive(Debug, Parser)]
#[command(name = "bench-overlay", version, args_conflicts_with_subcommands = true)]
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
    /// Where overlay-leader and the others are [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Start, memory and processor time of processes that nobody asks anything
    Idle,
    /// Requests a second and their latency, beside the relay
    Throughput,
    /// What remains of it when the queue is full
    Overload,
    /// `ensemble up`
    Up,
}

/// The peers, each a process of its own.
#[derive(Debug, Subcommand)]
enum Command {
    /// One process of the relay that ours is measured beside
    #[command(hide = true)]
    Relay(relay::Arguments),
    /// A server with nothing but health
    #[command(hide = true)]
    Bare {
        /// Where it listens
        address: SocketAddr,
    },
}

/// How long and how often everything is measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rounds: usize,
    round: Duration,
    warm_up: Duration,
    /// How often a role is started.
    starts: usize,
    /// How long the cluster is watched idling.
    idle: Duration,
    /// How often `ensemble up` is run.
    ups: usize,
}

impl Pace {
    const THOROUGH: Self = Self {
        rounds: 5,
        round: Duration::from_secs(3),
        warm_up: Duration::from_secs(1),
        starts: 20,
        idle: Duration::from_secs(20),
        ups: 5,
    };
    const QUICK: Self = Self {
        rounds: 3,
        round: Duration::from_millis(400),
        warm_up: Duration::from_millis(100),
        starts: 5,
        idle: Duration::from_secs(3),
        ups: 2,
    };
}

/// The program: measures, or is one of the peers.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    program::run("bench-overlay", async {
        match cli.command.take() {
            Some(Command::Relay(arguments)) => relay::relay(arguments).await,
            Some(Command::Bare { address }) => relay::bare(address).await,
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
            Part::Idle => idle::measure(&programs, pace).await.context("idle")?,
            Part::Throughput => throughput::measure(&programs, pace).await.context("throughput")?,
            Part::Overload => overload::measure(&programs, pace).await.context("overload")?,
            Part::Up => up::measure(&programs, pace).await.context("ensemble up")?,
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

    #[test]
    fn the_payload_is_as_long_as_it_says() {
        assert_eq!(PAYLOAD.len(), 64);
    }
}

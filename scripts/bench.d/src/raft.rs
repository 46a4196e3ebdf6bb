//! The replicated store: three real nodes beside three of etcd, with their data on the same disk.
//!
//! Both are asked by the same bare tonic client in this process, and by nothing of ours that knows
//! more. A client is a loop that asks, waits for the answer and asks again; what it asks goes to
//! its connections in turn, as etcd's own client does it.

mod asker;
mod clients;
mod cluster;
mod disk;
mod fail_over;
mod memory;
mod side;
mod start;
mod throughput;

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use self::cluster::Programs;
use crate::figures::{self, Section};
use crate::program;

/// Measure the replicated store, and print each figure beside that of etcd in the same run
///
/// It needs the release binary of raft-node, and etcd 3.4 or later. It speaks on loopback alone,
/// and leaves nothing running and no data. Whatever the verdicts, it succeeds when everything could
/// be measured.
#[derive(Debug, Parser)]
#[command(name = "bench-raft", version)]
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
    /// Measure etcd alone, without ours
    #[arg(long)]
    peer_only: bool,
    /// Where raft-node is [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// The program etcd
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    etcd: PathBuf,
    /// Where the nodes keep their data meanwhile, on a real disk [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Connections to each node that is asked, shared by all clients: one is the best for etcd
    #[arg(long, value_name = "COUNT", default_value = "1")]
    connections: NonZero<usize>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Puts and gets a second, their latency and their cost
    Throughput,
    /// The time without a leader after the leader is killed
    FailOver,
    /// The time from three empty nodes to the first put
    Start,
    /// The memory of a node, idle and with keys
    Memory,
}

/// How long and how often everything is measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rounds: usize,
    round: Duration,
    warm_up: Duration,
    /// How often the leader is killed.
    kills: usize,
    /// How often three empty nodes are started.
    starts: usize,
    /// How long a cluster idles before its memory is read.
    idle: Duration,
    /// How many keys there are when it is read again.
    keys: u64,
}

impl Pace {
    const THOROUGH: Self = Self {
        rounds: 5,
        round: Duration::from_secs(3),
        warm_up: Duration::from_secs(1),
        kills: 20,
        starts: 10,
        idle: Duration::from_secs(5),
        keys: 100_000,
    };
    const QUICK: Self = Self {
        rounds: 3,
        round: Duration::from_millis(500),
        warm_up: Duration::from_millis(200),
        kills: 3,
        starts: 2,
        idle: Duration::from_secs(1),
        keys: 10_000,
    };
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    program::run("bench-raft", async {
        figures::print(&program::uninterrupted(measure(&cli)).await?, cli.json)
    })
}

async fn measure(cli: &Cli) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::find(cli)?;
    let pace = if cli.quick { Pace::QUICK } else { Pace::THOROUGH };
    let mut sections = vec![disk::measure(programs.data.path())?];
    for part in program::turns(&cli.only) {
        sections.extend(match part {
            Part::Throughput => throughput::measure(&programs, pace).await.context("throughput")?,
            Part::FailOver => vec![fail_over::measure(&programs, pace).await.context("fail-over")?],
            Part::Start => vec![start::measure(&programs, pace).await.context("start")?],
            Part::Memory => vec![memory::measure(&programs, pace).await.context("memory")?],
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

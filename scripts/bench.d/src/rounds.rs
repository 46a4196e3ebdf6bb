//! The rounds of one of several loads that take turns, and what is used of the machine meanwhile.

use std::time::Duration;
use std::{process, thread};

use crate::load::Tally;
use crate::process::Process;
use crate::spread::Spread;
use crate::usage;

/// The share of what there is from which on it counts as saturated: some goes to the system.
const SATURATED: f64 = 0.9;

/// What one load has shown so far.
pub(crate) struct Rounds {
    /// Those who serve it.
    servers: Vec<u32>,
    tallies: Vec<Tally>,
    /// Processor time of the servers, of this program, and of the whole machine.
    used: [Duration; 3],
}

impl Rounds {
    /// None yet.
    pub(crate) fn of<'a>(servers: impl IntoIterator<Item = &'a Process>) -> Self {
        let servers = servers.into_iter().map(Process::pid).collect();
        Self { servers, tallies: Vec::new(), used: [Duration::ZERO; 3] }
    }

    /// One more.
    pub(crate) async fn add(
        &mut self,
        round: impl Future<Output = anyhow::Result<Tally>>,
    ) -> anyhow::Result<()> {
        let before = self.processor_times()?;
        self.tallies.push(round.await?);
        let after = self.processor_times()?;
        for (used, (before, after)) in self.used.iter_mut().zip(before.into_iter().zip(after)) {
            *used += after.saturating_sub(before);
        }
        Ok(())
    }

    fn processor_times(&self) -> anyhow::Result<[Duration; 3]> {
        let mut servers = Duration::ZERO;
        for pid in &self.servers {
            servers += usage::ticking_time(*pid)?;
        }
        Ok([servers, usage::ticking_time(process::id())?, usage::machine_time()?])
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.tallies.len()
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<&Tally> {
        self.tallies.last()
    }

    /// Answers a second, round by round.
    pub(crate) fn rates(&self) -> Vec<f64> {
        self.tallies.iter().map(Tally::rate).collect()
    }

    /// Answers a second in the round in the middle.
    pub(crate) fn rate(&self) -> f64 {
        Spread::of(self.rates()).median
    }

    /// All of them.
    pub(crate) fn sum(&self) -> Tally {
        Tally::sum(&self.tallies)
    }

    /// Microseconds of processor time for each answer: of the servers, and of this program.
    pub(crate) fn cost_us(&self) -> [f64; 2] {
        let answered = self.sum().answered as f64;
        let [servers, client, _] = self.used.map(|used| used.as_secs_f64() * 1e6 / answered);
        [servers, client]
    }

    /// What was used of the machine, what of it is saturated or else waited for, and what went
    /// wrong.
    pub(crate) fn note(&self, waited_for: &str) -> String {
        let sum = self.sum();
        let [servers, client, machine] = self.used.map(|used| used.as_secs_f64() / sum.seconds);
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let verdict = if client >= SATURATED {
            "the client saturates its one core"
        } else if machine >= SATURATED * cores {
            "the cores are saturated"
        } else {
            waited_for
        };
        let others = (machine - servers - client).max(0.0);
        let used = format!("nodes {servers:.2}, client {client:.2}, others {others:.2}");
        let trouble = sum.trouble().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        format!("{used} of {cores} cores: {verdict}{trouble}")
    }
}

//! Plays scripts: what is done to a system of nodes, and the trace that comes of it.
//!
//! A script is a file of commands and, below a line of `---`, what they led to. It is read, and
//! compared with what happens; `UPDATE_GOLDENFILES=1 cargo test` writes what happens instead.
//!
//! | command | what it does |
//! |---|---|
//! | `start n1 n2 n3 seed=7` | starts nodes; the seed is that of the script, and given at first |
//! | `run 500ms` | lets time pass |
//! | `request n1 …` | asks a node; the words after it are the scenario's own |
//! | `crash n1`, `crash n1 after=2` | crashes a node, or lets it do two effects of its next step |
//! | `pause n1`, `resume n1` | |
//! | `cut n1 n2`, `mend n1 n2` | the link from n1 to n2, one way |
//! | `partition n1 n2` | both ways between these and all others |
//! | `heal` | no more faults, and everybody starts |
//! | `weather calm loss=0.1 latency=1ms..20ms` | a preset and changes to it |
//! | `view n1`, `records n1` | what an onlooker sees, what is durable |
//!
//! After each command everything happens that takes no time.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{NodeId, Protocol};

/// What a protocol brings to its scripts.
pub(crate) trait Scenario: Default + 'static {
    /// Who plays.
    type Protocol: Protocol;

    /// Makes a node's next incarnation from its name, its records and a seed.
    fn make(
        node: NodeId,
        records: Vec<<Self::Protocol as Protocol>::Record>,
        seed: u64,
    ) -> Self::Protocol;

    /// Reads a request from the words that follow `request n1`.
    fn request(
        &mut self,
        words: &mut ArgumentConsumer<'_>,
    ) -> Result<<Self::Protocol as Protocol>::Request, Box<dyn Error>>;

    /// The node that a script calls by another name than n1.
    fn named(_name: &str) -> Option<NodeId> {
        None
    }

    /// Carries out a command of the scenario's own; false when it has none of this name.
    fn command(
        &mut self,
        _simulator: &mut Simulator<Self::Protocol>,
        _name: &str,
        _words: &mut ArgumentConsumer<'_>,
    ) -> Result<bool, Box<dyn Error>> {
        Ok(false)
    }

    /// How a trace is told to the reader of a script.
    fn retell(&mut self, trace: String) -> String {
        trace
    }

    /// Does what a local caller does about a step's notices.
    fn react(&mut self, _simulator: &mut Simulator<Self::Protocol>, _step: Step<Self::Protocol>) {}
}

/// Plays every script of a folder, each with a system of its own.
pub(crate) fn play_all<S: Scenario>(folder: &str) {
    let mut scripts: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "{folder} has no scripts");
    for script in scripts {
        let mut stage = Stage { scenario: S::default(), simulator: None };
        goldenscript::run(&mut stage, &script)
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    }
}

/// Where a script is played.
struct Stage<S: Scenario> {
    scenario: S,
    /// None until the script starts the first node.
    simulator: Option<Simulator<S::Protocol>>,
}

impl<S: Scenario> Runner for Stage<S> {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut words = command.consume_args();
        if self.simulator.is_none() {
            let seed = words.take_key("seed").map_or(Ok(0), str::parse)?;
            let mut simulator = Simulator::new(seed, [], S::make);
            simulator.start_trace();
            self.simulator = Some(simulator);
        }
        let simulator = self.simulator.as_mut().ok_or("nothing was started")?;
        let mut output = String::new();
        let mut until = simulator.now();
        match command.name.as_str() {
            "start" => each::<S>(&mut words, |node| simulator.start(node))?,
            "run" => until += duration(words.next_pos().ok_or("run for how long?")?)?,
            "request" => {
                let node = node::<S>(&mut words)?;
                simulator.request(node, self.scenario.request(&mut words)?);
            }
            "crash" => match words.take_key("after").map(str::parse).transpose()? {
                Some(kept) => each::<S>(&mut words, |node| simulator.crash_after(node, kept))?,
                None => each::<S>(&mut words, |node| simulator.crash(node))?,
            },
            "pause" => each::<S>(&mut words, |node| simulator.pause(node))?,
            "resume" => each::<S>(&mut words, |node| simulator.resume(node))?,
            "cut" => simulator.cut(node::<S>(&mut words)?, node::<S>(&mut words)?),
            "mend" => simulator.mend(node::<S>(&mut words)?, node::<S>(&mut words)?),
            "partition" => {
                let mut group = Vec::new();
                each::<S>(&mut words, |node| group.push(node))?;
                simulator.partition(group);
            }
            "heal" => simulator.heal(),
            "weather" => simulator.set_weather(weather(&mut words)?),
            "view" => each::<S>(&mut words, |node| match simulator.node(node) {
                Some(protocol) => put(&mut output, format_args!("{node} {:?}", protocol.view())),
                None => put(&mut output, format_args!("{node} is down")),
            })?,
            "records" => each::<S>(&mut words, |node| {
                put(&mut output, format_args!("{node} {:?}", simulator.records(node)));
            })?,
            name if self.scenario.command(simulator, name, &mut words)? => (),
            name => return Err(format!("no command is called {name}").into()),
        }
        words.reject_next()?;
        simulator.run_until(until, |simulator, step| self.scenario.react(simulator, step));
        output.push_str(&self.scenario.retell(simulator.take_trace()));
        Ok(output)
    }
}

fn put(output: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(output, "{line}").expect("a string takes every line");
}

fn each<S: Scenario>(
    words: &mut ArgumentConsumer<'_>,
    mut act: impl FnMut(NodeId),
) -> Result<(), Box<dyn Error>> {
    act(node::<S>(words)?);
    while let Some(word) = words.next_pos() {
        act(read_node::<S>(word)?);
    }
    Ok(())
}

fn node<S: Scenario>(words: &mut ArgumentConsumer<'_>) -> Result<NodeId, Box<dyn Error>> {
    read_node::<S>(words.next_pos().ok_or("which node?")?)
}

fn read_node<S: Scenario>(word: &str) -> Result<NodeId, Box<dyn Error>> {
    let number = || word.strip_prefix('n')?.parse().ok().map(NodeId);
    let node = S::named(word).or_else(number);
    Ok(node.ok_or_else(|| format!("{word} is no node: write n1"))?)
}

fn weather(words: &mut ArgumentConsumer<'_>) -> Result<Weather, Box<dyn Error>> {
    let mut weather = match words.next_pos().ok_or("which weather?")? {
        "calm" => Weather::calm(),
        "mild" => Weather::mild(),
        "stormy" => Weather::stormy(),
        name => return Err(format!("no weather is called {name}").into()),
    };
    while let Some((key, value)) = words.next_key() {
        match key {
            "latency" => weather.latency = latency(value)?,
            "straggling" => weather.straggling = value.parse()?,
            "straggler" => weather.straggler = duration(value)?,
            "loss" => weather.loss = value.parse()?,
            "repetition" => weather.repetition = value.parse()?,
            "hint" => weather.hint = value.parse()?,
            "drift_ppm" => weather.drift_ppm = value.parse()?,
            _ => return Err(format!("no weather has {key}").into()),
        }
    }
    Ok(weather)
}

fn latency(word: &str) -> Result<RangeInclusive<Duration>, Box<dyn Error>> {
    let (fastest, slowest) = word.split_once("..").unwrap_or((word, word));
    Ok(duration(fastest)?..=duration(slowest)?)
}

fn duration(word: &str) -> Result<Duration, Box<dyn Error>> {
    if let Some(number) = word.strip_suffix("ms") {
        return Ok(Duration::from_millis(number.parse()?));
    }
    if let Some(number) = word.strip_suffix('s') {
        return Ok(Duration::from_secs(number.parse()?));
    }
    Err(format!("{word} is no duration: write 500ms or 2s").into())
}

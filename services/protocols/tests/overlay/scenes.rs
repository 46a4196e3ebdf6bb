//! What happens in the scripts beside what every script knows: clients ask and leave, workers
//! work, and the reader is spared the signs of life and the alarms that are set.
//!
//! | command | what it does |
//! |---|---|
//! | `request A ask 1` | a client asks; its ticket is 1 |
//! | … `operation=words text="one two"` | or `digest length=65536` |
//! | … `teams=pink detour=no budget=500ms hops=B,E` | as the client wishes |
//! | `request A leave 1` | the client goes away |
//! | `slow F`, `finish F` | F's own work takes until it is told to finish, not 5 ms |
//! | `everything` | shows signs of life and alarms from here on |
//!
//! Processes are A to F. Tickets that the processes gave are numbered as they appear: `#q1`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use goldenscript::ArgumentConsumer;
use protocols::overlay::{Config, Notice, Operation, Part, Product, Request, Task, Team, Topology};
use protocols::simulator::{Simulator, Step};
use protocols::{NodeId, Ticket};

use crate::ms;
use crate::requests::{numbered, work};
use crate::script::Scenario;
use crate::witness::Witness;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A scene with so many requests in hand at most, and so many that wait.
#[derive(Default)]
pub(crate) struct Scene<const ACTIVE: usize, const QUEUE: usize> {
    slow: BTreeSet<NodeId>,
    unfinished: BTreeMap<NodeId, Vec<(Ticket, Product)>>,
    shows_everything: bool,
    /// The tickets that the processes gave, in the order of their appearance.
    tickets: Vec<String>,
}

impl<const ACTIVE: usize, const QUEUE: usize> Scenario for Scene<ACTIVE, QUEUE> {
    type Protocol = Witness;

    fn make(me: NodeId, _: Vec<std::convert::Infallible>, seed: u64) -> Witness {
        let (heartbeat, patience) = (ms(500), ms(2_000));
        let (active_limit, queue_limit) = (ACTIVE, QUEUE);
        Witness::new(Config { me, active_limit, queue_limit, heartbeat, patience }, seed)
    }

    fn named(name: &str) -> Option<NodeId> {
        Topology::two_hosts().named(name)
    }

    fn request(&mut self, words: &mut ArgumentConsumer<'_>) -> Outcome<Request> {
        let verb = words.next_pos();
        if verb == Some("farewell") {
            return Ok(Request::Leave);
        }
        let ticket = Ticket(words.next_pos().ok_or("which ticket?")?.parse()?);
        match verb {
            Some("ask") => {
                let hops = words.take_key("hops").unwrap_or_default();
                let hops = hops.split_terminator(',').map(process).collect::<Outcome<_>>()?;
                Ok(Request::Forward(ticket, task(ticket, words)?, hops))
            }
            Some("leave") => Ok(Request::Cancel(ticket)),
            verb => Err(format!("no client can {verb:?}").into()),
        }
    }

    fn command(
        &mut self,
        simulator: &mut Simulator<Witness>,
        name: &str,
        words: &mut ArgumentConsumer<'_>,
    ) -> Outcome<bool> {
        match name {
            "everything" => self.shows_everything = true,
            "slow" => drop(self.slow.insert(process(words.next_pos().ok_or("who?")?)?)),
            "finish" => {
                let node = process(words.next_pos().ok_or("who?")?)?;
                self.slow.remove(&node);
                for (ticket, product) in self.unfinished.remove(&node).unwrap_or_default() {
                    simulator.request(node, Request::Worked(ticket, product));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn react(&mut self, simulator: &mut Simulator<Witness>, step: Step<Witness>) {
        for notice in step.notices {
            let Notice::Work(ticket, operation, part) = notice else { continue };
            let product = work(operation, &part);
            if self.slow.contains(&step.node) {
                self.unfinished.entry(step.node).or_default().push((ticket, product));
            } else {
                let done = Request::Worked(ticket, product);
                simulator.request_at(step.now + ms(5), step.node, done);
            }
        }
    }

    fn retell(&mut self, trace: String) -> String {
        let spared = [" Pulse", "> arm ", "> disarm ", "< start"];
        let all = self.shows_everything;
        let shown = |line: &&str| all || !spared.iter().any(|word| line.contains(word));
        let lines = trace.lines().filter(shown);
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.iter().map(|line| self.tell(line) + "\n").collect()
    }
}

impl<const ACTIVE: usize, const QUEUE: usize> Scene<ACTIVE, QUEUE> {
    /// Calls processes and tickets by the names that a reader can keep in mind.
    fn tell(&mut self, line: &str) -> String {
        let mut told = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['n', '#']) {
            let inside = rest[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
            told.push_str(&rest[..at]);
            let digits = rest[at + 1..].find(|after: char| !after.is_ascii_digit());
            let (word, after) = rest[at..].split_at(digits.map_or(rest.len() - at, |end| end + 1));
            let place = word.strip_prefix('n').and_then(|number| number.parse().ok());
            match place.filter(|_| !inside).map(NodeId) {
                Some(node) => told.push_str(&Topology::two_hosts().place(node).name),
                None if word.starts_with('#') && word.len() > 6 => told.push_str(&self.name(word)),
                None => told.push_str(word),
            }
            rest = after;
        }
        told + rest
    }

    fn name(&mut self, ticket: &str) -> String {
        let known = self.tickets.iter().position(|known| known == ticket);
        let index = known.unwrap_or_else(|| {
            self.tickets.push(ticket.into());
            self.tickets.len() - 1
        });
        format!("#q{}", index + 1)
    }
}

fn process(name: &str) -> Outcome<NodeId> {
    let node = Topology::two_hosts().named(name);
    Ok(node.ok_or_else(|| format!("{name} is no process"))?)
}

fn task(ticket: Ticket, words: &mut ArgumentConsumer<'_>) -> Outcome<Task> {
    let operation = match words.take_key("operation").unwrap_or("process") {
        "process" => Operation::Process,
        "words" => Operation::WordCount,
        "digest" => Operation::Digest,
        name => return Err(format!("no operation is called {name}").into()),
    };
    let teams = match words.take_key("teams").unwrap_or("green,pink") {
        "green,pink" => Team::ALL.into_iter().collect(),
        "green" => Team::Green.into(),
        "pink" => Team::Pink.into(),
        name => return Err(format!("no team is called {name}").into()),
    };
    let length = words.take_key("length").map_or(Ok(0), str::parse)?;
    let bytes = words.take_key("text").map_or(vec![0; length], |text| text.as_bytes().to_vec());
    let budget = words.take_key("budget").unwrap_or("1000ms");
    let budget = budget.strip_suffix("ms").ok_or("a budget is in ms")?.parse()?;
    Ok(Task {
        operation,
        teams,
        detour: words.take_key("detour") != Some("no"),
        part: Part::whole(bytes[..].into()),
        budget: ms(budget),
        trace: numbered(ticket.0),
    })
}

//! What happens in the scripts beside what every script knows: clients ask, and the reader is
//! spared what repeats itself.
//!
//! | command | what it does |
//! |---|---|
//! | `request n24 save 1 Kazan@22 text` | a client saves a key whose place is 22; its ticket is 1 |
//! | `request n24 find 2 Kazan@22` | it finds a key; `remove` removes it |
//! | … `mode=recursive` | nodes pass the lookup on |
//! | `request n24 locate 3 7` | it only asks who is responsible for a place |
//! | `request n24 leave` | n24 leaves |
//! | `ring` | who is where: predecessor, successors, and for what it answers |
//! | `fingers n24` | its fingers |
//! | `kept Kazan@22` | who keeps a key |
//! | `quiet`, `news`, `lookups`, `census`, `everything` | what is shown from here on: first news |
//! | `lookups n24` | … of this node alone |
//!
//! A circle of 2^5 places, as in the paper of the exercise, and two copies beside the responsible
//! node's own. The first of all begins the ring; whoever starts later joins by n24, or by n8 if it
//! is n24. n1 has little room. Tickets that nodes gave are numbered as they appear: `#p1`.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use goldenscript::ArgumentConsumer;
use hashring::{Action, Chord, Config, Id, Key, Mode, Operation, Request};
use protocols::simulator::Simulator;
use protocols::{NodeId, Protocol as _, Ticket, Trace};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::ms;
use crate::script::Scenario;
use crate::storm::peer;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// m of the scenes.
const BITS: u32 = 5;
/// Has room for one short key, and for two more as copies.
const NARROW: NodeId = NodeId(1);
/// How long a caller waits.
const BUDGET: Duration = ms(3_000);

/// A scene.
#[derive(Default)]
pub(crate) struct Scene {
    shown: Shown,
    /// The only node of which it is shown.
    only: Option<String>,
    /// What a command of the scene's own shows.
    output: String,
    /// The tickets that nodes gave, in the order of their appearance.
    tickets: Vec<String>,
}

/// How much of the trace the reader sees.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Shown {
    Nothing,
    #[default]
    News,
    Lookups,
    Census,
    Everything,
}

impl Scenario for Scene {
    type Protocol = Chord;

    fn make(me: NodeId, _: Vec<hashring::Record>, seed: u64) -> Chord {
        let config = Config::of(peer(me.0), BITS);
        let bytes_limit = if me == NARROW { 100 } else { config.bytes_limit };
        let founds_after = Some(ms(1_000));
        let config = Config { replicas: 2, founds_after, bytes_limit, ..config };
        let contacts = vec![peer(24), peer(8)];
        Chord::new(config, contacts, StdRng::seed_from_u64(seed))
    }

    fn request(&mut self, words: &mut ArgumentConsumer<'_>) -> Outcome<Request> {
        let verb = words.next_pos().ok_or("what is asked?")?.to_owned();
        if verb == "leave" {
            return Ok(Request::Leave);
        }
        let ticket = Ticket(words.next_pos().ok_or("which ticket?")?.parse()?);
        let mode = match words.take_key("mode") {
            None | Some("iterative") => Mode::Iterative,
            Some("recursive") => Mode::Recursive,
            Some(mode) => return Err(format!("no lookup is {mode}").into()),
        };
        let what = words.next_pos().ok_or("of what?")?.to_owned();
        let (id, key) = match verb.as_str() {
            "locate" => (Id(what.parse()?), Key::default()),
            _ => read_key(&what)?,
        };
        let action = match verb.as_str() {
            "locate" => Action::Locate,
            "find" => Action::Find,
            "remove" => Action::Remove,
            "save" => Action::Save(words.next_pos().ok_or("save what?")?.as_bytes().into()),
            verb => return Err(format!("no client can {verb}").into()),
        };
        Ok(Request::Perform(
            ticket,
            Operation { id, key, action, trace: Trace::default() },
            mode,
            BUDGET,
        ))
    }

    fn command(
        &mut self,
        simulator: &mut Simulator<Chord>,
        name: &str,
        words: &mut ArgumentConsumer<'_>,
    ) -> Outcome<bool> {
        match name {
            "quiet" | "news" | "lookups" | "census" | "everything" => {
                self.shown = match name {
                    "quiet" => Shown::Nothing,
                    "news" => Shown::News,
                    "lookups" => Shown::Lookups,
                    "census" => Shown::Census,
                    _ => Shown::Everything,
                };
                self.only = words.next_pos().map(str::to_owned);
            }
            "ring" => {
                for (_, node) in simulator.nodes() {
                    let (me, before) = (node.me(), node.predecessor());
                    let before = before.map_or("nobody".into(), |peer| format!("{peer:?}"));
                    let (phase, after) = (node.view().phase, node.successors());
                    let ready = node.ready().map_or("nothing".into(), |ready| format!("{ready:?}"));
                    let line = format!("{me:?} {phase}: {before} before, {after:?} after");
                    writeln!(self.output, "{line}, answers for {ready}")?;
                }
            }
            "fingers" => {
                let id =
                    words.next_pos().and_then(|word| word.strip_prefix('n')).ok_or("whose?")?;
                let node = simulator.node(NodeId(id.parse()?)).ok_or("it is down")?;
                let fingers = (0..BITS).map(|index| node.finger(index));
                writeln!(self.output, "n{id} {:?}", fingers.flatten().collect::<Vec<_>>())?;
            }
            "kept" => {
                let (id, key) = read_key(words.next_pos().ok_or("which key?")?)?;
                let keepers = simulator.nodes().filter(|(_, node)| node.kept(id, &key).is_some());
                let keepers = keepers.map(|(_, node)| node.me()).collect::<Vec<_>>();
                writeln!(self.output, "{}@{id} by {keepers:?}", key.escape_ascii())?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn retell(&mut self, trace: String) -> String {
        let mut told = std::mem::take(&mut self.output);
        for line in trace.lines() {
            if self.shows(line) {
                told += &tell(&hops(line), &mut self.tickets);
                told.push('\n');
            }
        }
        told
    }
}

impl Scene {
    fn shows(&self, line: &str) -> bool {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        let node = |node: &String| has(&[&format!(" {node} "), &format!("start {node}")]);
        if self.shown != Shown::Everything && has(&["in vain", "stopped", " link to ", " says "])
            || !self.only.as_ref().is_none_or(node)
        {
            return false;
        }
        let news = [" notify ", " request ", " ! ", "Leave(", "Keep(", "Reconciled("];
        let lookups = ["Step(", "Stepped(", "Perform(", "Performed(", "Route(", "Routed("];
        match self.shown {
            Shown::Nothing => false,
            Shown::News => has(&news),
            // Those too that nodes begin for their own ends.
            Shown::Lookups => has(&news) || has(&lookups),
            Shown::Census => has(&["Census", "Counted", "Astray"]),
            Shown::Everything => true,
        }
    }
}

fn read_key(word: &str) -> Outcome<(Id, Key)> {
    let (key, id) = word.split_once('@').ok_or("a key is Kazan@22")?;
    Ok((Id(id.parse()?), key.as_bytes().into()))
}

/// Tells the hops of a path in few words: `n2 Finger(3) 2ms`.
fn hops(line: &str) -> String {
    let mut parts = line.split("Hop { peer: ");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hop, rest) = part.split_once(" }").unwrap_or((part, ""));
        let hop = hop.replace(", reason:", "").replace(", took: None", "");
        let hop = match hop.split_once(", took: Some(") {
            Some((hop, rest)) => format!("{hop} {}", rest.replacen(')', "", 1)),
            None => hop,
        };
        let hop = hop.replace(", answered: true", "").replace(", answered: false", " silent");
        told += &hop;
        told += rest;
    }
    told
}

/// Calls tickets by names that a reader can keep in mind.
fn tell(line: &str, tickets: &mut Vec<String>) -> String {
    let mut parts = line.split('#');
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|after: char| !after.is_ascii_digit()).unwrap_or(part.len());
        let (ticket, rest) = part.split_at(end);
        if ticket.len() <= 6 {
            write!(told, "#{ticket}{rest}").expect("a string takes every word");
            continue;
        }
        let index = tickets.iter().position(|known| known == ticket).unwrap_or_else(|| {
            tickets.push(ticket.to_owned());
            tickets.len() - 1
        });
        write!(told, "#p{}{rest}", index + 1).expect("a string takes every word");
    }
    told
}

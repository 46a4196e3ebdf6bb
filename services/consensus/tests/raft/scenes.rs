//! What happens in the scripts beside what every script knows: clients ask, and the reader is
//! spared what repeats itself.
//!
//! | command | what it does |
//! |---|---|
//! | `request n1 put 1 x=red` | a client puts a key through n1; its ticket is 1 |
//! | … `session=5/1` | as the first command of session 5 |
//! | … `here=yes` | only if n1 leads |
//! | `request n1 get 2 x`, `request n1 open 3` | it reads a key, opens a session |
//! | `request n1 add 4 n4`, `learner 4 n4` | a member is added, to vote or not |
//! | `request n1 promote 5 n4`, `remove 6 n4` | it may vote, it goes |
//! | `request n1 transfer 7 n2` | n2 is to lead |
//! | `request n1 compact 8` | n1 takes a snapshot |
//! | `fill n1 40` | so many large values are put, 100 kB each; it is not shown |
//! | `logs n1 n2` | the terms of the entries in memory, `\|` after those that are applied |
//! | `everything`, `quiet` | shows alarms, signs of life and arrivals; only what callers are told |
//!
//! Three founders in `raft-three`, two in `raft-two`, five in `raft-five`. Tickets that servers
//! gave are numbered as they appear: `#p1`. Unless everything is shown, a message is shown when it
//! is sent and not when it arrives; signs of life and their answers are not.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use consensus::store::{Action, Command, Condition, Ordinal, Query, SessionId};
use consensus::{Change, Config, Configuration, Index, Raft, Record, Request, Route, Standing};
use goldenscript::ArgumentConsumer;
use protocols::simulator::Simulator;
use protocols::{NodeId, Protocol as _, Ticket, Trace};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::script::Scenario;
use crate::storm::founders;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A scene with so many founders.
#[derive(Default)]
pub(crate) struct Scene<const FOUNDERS: u64> {
    shown: Shown,
    /// What a command of the scene's own shows.
    output: String,
    /// The tickets that servers gave, in the order of their appearance.
    tickets: Vec<String>,
    /// What each server last acknowledged.
    acknowledged: BTreeMap<String, String>,
}

/// How much of the trace the reader sees.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Shown {
    #[default]
    News,
    Everything,
    Notices,
}

impl<const FOUNDERS: u64> Scenario for Scene<FOUNDERS> {
    type Protocol = Raft;

    fn make(me: NodeId, records: Vec<Record>, seed: u64) -> Raft {
        let known = me.0 <= FOUNDERS;
        let founders = if known { founders(FOUNDERS) } else { Configuration::default() };
        // One entry in a message, where it matters which of them arrive.
        let message_bytes = if FOUNDERS == 5 { 1 } else { 1 << 20 };
        let config = Config { message_bytes, ..Config::of(me) };
        // The scenes are cast: drawn from here, n3 is the first to lead of three, and n5 of five.
        let mut random = StdRng::seed_from_u64(seed);
        let _ = random.random::<u32>();
        Raft::new(config, founders, records, random)
    }

    fn request(&mut self, words: &mut ArgumentConsumer<'_>) -> Outcome<Request> {
        let verb = words.next_pos().ok_or("what is asked?")?.to_owned();
        let ticket = Ticket(words.next_pos().ok_or("which ticket?")?.parse()?);
        let here = words.take_key("here") == Some("yes");
        let route = if here { Route::Here } else { Route::Forward };
        let ordinal = words.take_key("session").map(ordinal).transpose()?;
        let administer = |change| Ok(Request::Administer(ticket, change, route));
        let mut word = || words.next_pos().map(str::to_owned).ok_or("of what?");
        match verb.as_str() {
            "put" => {
                let (key, value) = words.next_key().ok_or("put what? write x=red")?;
                let action = put(key, value.as_bytes());
                Ok(Request::Propose(
                    ticket,
                    Command { ordinal, action, trace: Trace::default() },
                    route,
                ))
            }
            "get" => Ok(Request::Read(ticket, Query::Get(word()?.into_bytes().into()), route)),
            "open" => {
                let action = Action::OpenSession;
                Ok(Request::Propose(
                    ticket,
                    Command { ordinal: None, action, trace: Trace::default() },
                    route,
                ))
            }
            "add" | "learner" => {
                let id = node(&word()?)?;
                let learns = verb == "learner";
                let standing = if learns { Standing::Learner } else { Standing::Joining };
                administer(Change::Add(id, format!("host-{}:50071", id.0).into(), standing))
            }
            "promote" => administer(Change::Promote(node(&word()?)?)),
            "remove" => administer(Change::Remove(node(&word()?)?)),
            "transfer" => administer(Change::Transfer(Some(node(&word()?)?))),
            "compact" => Ok(Request::Compact(ticket)),
            verb => Err(format!("no client can {verb}").into()),
        }
    }

    fn command(
        &mut self,
        simulator: &mut Simulator<Raft>,
        name: &str,
        words: &mut ArgumentConsumer<'_>,
    ) -> Outcome<bool> {
        match name {
            "everything" => self.shown = Shown::Everything,
            "quiet" => self.shown = Shown::Notices,
            "news" => self.shown = Shown::News,
            "fill" => {
                let leader = node(words.next_pos().ok_or("who?")?)?;
                let count = words.next_pos().ok_or("how much?")?.parse::<u64>()?;
                for number in 0..count {
                    let action = put(&format!("large {number}"), &[b'.'; 100_000]);
                    let command = Command { ordinal: None, action, trace: Trace::default() };
                    let ticket = Ticket(1_000 + number);
                    simulator.request(leader, Request::Propose(ticket, command, Route::Here));
                }
            }
            "logs" => {
                while let Some(word) = words.next_pos() {
                    let line = simulator.node(node(word)?).map_or("down".into(), log);
                    writeln!(self.output, "{word} {line}")?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn retell(&mut self, trace: String) -> String {
        let mut told = std::mem::take(&mut self.output);
        for line in trace.lines() {
            if self.shows(line) {
                told += &self.tell(line);
                told.push('\n');
            }
        }
        told
    }
}

impl<const FOUNDERS: u64> Scene<FOUNDERS> {
    fn shows(&mut self, line: &str) -> bool {
        let has = |word: &str| line.contains(word);
        if has("100000 bytes") {
            return false;
        }
        match self.shown {
            Shown::Everything => return true,
            Shown::Notices => {
                return has(" request ")
                    || has(" notify Answered(#") && !has("(#1")
                    || has("Occurred")
                    || has(" ! ") && !has("stopped") && !has("in vain");
            }
            Shown::News => (),
        }
        if let Some((who, outcome)) = line.get(10..).and_then(|line| line.split_once(" Appended "))
        {
            let outcome = outcome.split_once(" to ").map_or(outcome, |(_, matched)| matched);
            let last = self.acknowledged.insert(who.to_owned(), outcome.to_owned());
            if last.as_deref() == Some(outcome) {
                return false;
            }
        }
        let spared = ["> arm ", "> disarm ", "< start", " says ", "[] commit", "notify Configured"];
        let spared = spared.into_iter().chain(["timeout Flush", "timeout Heart", "timeout Commit"]);
        let mut spared = spared.chain(["notify Settled", "notify Changed"]);
        !spared.any(has)
    }

    /// Calls tickets by names that a reader can keep in mind.
    fn tell(&mut self, line: &str) -> String {
        let mut told = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('#') {
            let digits = rest[at + 1..].find(|after: char| !after.is_ascii_digit());
            let end = digits.map_or(rest.len(), |end| at + 1 + end);
            let (before, ticket) = (&rest[..at], &rest[at..end]);
            told.push_str(before);
            if ticket.len() > 8 {
                let known = self.tickets.iter().position(|known| known == ticket);
                let index = known.unwrap_or_else(|| {
                    self.tickets.push(ticket.into());
                    self.tickets.len() - 1
                });
                write!(told, "#p{}", index + 1).expect("a string takes every word");
            } else {
                told.push_str(ticket);
            }
            rest = &rest[end..];
        }
        told + rest
    }
}

fn node(word: &str) -> Outcome<NodeId> {
    let number = word.strip_prefix('n').and_then(|number| number.parse().ok());
    Ok(number.map(NodeId).ok_or_else(|| format!("{word} is no server: write n1"))?)
}

fn put(key: &str, value: &[u8]) -> Action {
    let (key, value) = (key.as_bytes().into(), value.into());
    Action::Put { key, value, lease: None, condition: Condition::Always }
}

fn ordinal(word: &str) -> Outcome<Ordinal> {
    let (session, sequence) = word.split_once('/').ok_or("a session is 5/1")?;
    let (session, sequence) = (SessionId(session.parse()?), sequence.parse()?);
    Ok(Ordinal { session, sequence, acknowledged: 0 })
}

/// The terms of the entries that a server has in memory.
fn log(raft: &Raft) -> String {
    let view = raft.view();
    let mut line = format!("{} in {:?}:", view.role, view.term);
    if Index(1) < view.first {
        write!(line, " …i{}", view.first.previous()).expect("a string takes every word");
    }
    for at in view.first.0..=view.last.0 {
        let entry = raft.entry(Index(at)).expect("it is in the log");
        let mark = if entry.index == view.applied { " |" } else { "" };
        write!(line, " {:?}{mark}", entry.term).expect("a string takes every word");
    }
    line
}

//! What clients ask, and what workers make of it.

use std::time::Duration;

use protocols::overlay::{
    Operation, Part, Piece, Product, Range, Task, Team, Teams, Topology, WordCount,
};
use protocols::{NodeId, Ticket, Trace};
use rand::Rng;
use rand::rngs::StdRng;

use crate::ms;

/// One request of a client.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Duration,
    pub(crate) process: NodeId,
    pub(crate) ticket: Ticket,
    pub(crate) task: Task,
    pub(crate) hops: Vec<NodeId>,
    /// When the client goes away, if it does.
    pub(crate) leaves: Option<Duration>,
}

/// Puts a request's number where its trace is carried, so that it is known wherever it is seen.
pub(crate) fn numbered(number: u64) -> Trace {
    let mut bytes = [0; 25];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Trace(Some(bytes))
}

/// The request that a task belongs to.
pub(crate) fn number(task: &Task) -> u64 {
    let bytes = task.trace.0.expect("every request has a number");
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// The whole exchange of the clients: bursts and stragglers, most of them at the leader.
pub(crate) fn exchange(count: u64, within: Duration, random: &mut StdRng) -> Vec<Asked> {
    let topology = Topology::two_hosts();
    let text = text(random);
    let mut at = Duration::ZERO;
    let mut asked: Vec<Asked> = (0..count)
        .map(|number| {
            if random.random_bool(0.4) {
                at = random.random_range(Duration::ZERO..=within);
            }
            draw(number, at, &topology, &text, random)
        })
        .collect();
    asked.sort_by_key(|asked| asked.at);
    asked
}

fn draw(number: u64, at: Duration, topology: &Topology, text: &[u8], random: &mut StdRng) -> Asked {
    let process = NodeId(if random.random_bool(0.7) { 1 } else { random.random_range(1..=6) });
    let operation = match random.random_range(0..5) {
        0 | 1 => Operation::Process,
        2 => Operation::Digest,
        _ => Operation::WordCount,
    };
    let length = match random.random_range(0..8) {
        0 => 0,
        1 => random.random_range(1..20),
        2 if operation == Operation::Digest => random.random_range(0..100_000),
        _ => random.random_range(0..1_000),
    };
    let budget = match random.random_range(0..8) {
        0 => random.random_range(Duration::ZERO..=ms(1)),
        1..=4 => ms(random.random_range(1..1_000)),
        _ => ms(random.random_range(1_000..3_000)),
    };
    let forged = |_: &u64| random.random_bool(0.02);
    let hops = (1..=6).filter(forged).map(NodeId).collect();
    let choices = teams(topology, process);
    let task = Task {
        operation,
        teams: choices[random.random_range(0..choices.len())],
        detour: random.random_bool(0.7),
        part: Part::whole(text[text.len() - length..].into()),
        budget,
        trace: numbered(number),
    };
    let leaves = random.random_bool(0.1).then(|| at + ms(random.random_range(0..500)));
    Asked { at, process, ticket: Ticket(number), task, hops, leaves }
}

/// The teams that a client may ask a process for: its own, or one that it serves.
fn teams(topology: &Topology, process: NodeId) -> Vec<Teams> {
    let served = Team::ALL.into_iter().filter(|&team| topology.serves(process, team));
    let own = topology.served_by_default(process);
    served.map(Teams::from).chain([own]).collect()
}

/// A hundred thousand bytes; the last thousand are words, now and then one that is very long.
fn text(random: &mut StdRng) -> Vec<u8> {
    let mut text = vec![b'~'; 99_000];
    let longest = if random.random_bool(0.1) { 800 } else { 12 };
    while text.len() < 100_000 {
        let length = random.random_range(0..longest).min(99_999 - text.len());
        text.resize(text.len() + length, b'a' + random.random_range(0..26));
        text.push(if random.random_bool(0.1) { b'\n' } else { b' ' });
    }
    text
}

/// What a worker makes of its part.
pub(crate) fn work(operation: Operation, part: &Part) -> Product {
    match operation {
        Operation::WordCount => Product::Count(count(&part.bytes)),
        Operation::Process | Operation::Digest => {
            let half = part.bytes.len() / 2;
            let (left, right) = part.bytes.split_at(half);
            let first = Range { offset: part.offset, length: left.len() as u64 };
            let second = Range { offset: part.offset + half as u64, length: right.len() as u64 };
            let halves = [(first, left), (second, right)].into_iter();
            let halves = halves.filter(|(range, _)| part.bytes.is_empty() || range.length != 0);
            let halves = halves.skip(usize::from(part.bytes.is_empty()));
            let piece = |(range, bytes)| Piece { range, value: value(range, bytes) };
            Product::Pieces(halves.map(piece).collect())
        }
    }
}

/// Counts as `wc` does.
pub(crate) fn count(bytes: &[u8]) -> WordCount {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    WordCount { lines, words: words.count() as u64, bytes: bytes.len() as u64 }
}

/// Stands for a digest: different for every range and content that a test compares.
pub(crate) fn value(range: Range, bytes: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value[..8].copy_from_slice(&range.offset.to_le_bytes());
    value[8..16].copy_from_slice(&range.length.to_le_bytes());
    value[16] = bytes.iter().fold(0, |sum, byte| sum ^ byte);
    value
}

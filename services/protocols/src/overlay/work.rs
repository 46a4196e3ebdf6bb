//! What travels through the overlay: a task, the part of the payload it is about, and the report
//! of what became of it.

use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::{NodeId, Trace};

/// What to do with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Every process puts its name to it: the document's text answer. Nothing is split.
    Process,
    /// Lines, words and bytes. The payload is split between words.
    WordCount,
    /// The BLAKE3 digest. The payload is split along the hash's own tree.
    Digest,
}

/// One of the document's two teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Team {
    /// A, B and C of the document.
    Green,
    /// D, E and F of the document.
    Pink,
}

impl Team {
    /// Every team.
    pub const ALL: [Self; 2] = [Self::Green, Self::Pink];

    /// The document's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Pink => "pink",
        }
    }
}

/// A set of teams.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Teams(u8);

impl Teams {
    /// Both teams.
    pub const BOTH: Self = Self(0b11);

    /// Adds a team.
    pub fn insert(&mut self, team: Team) {
        self.0 |= 1 << team as u8;
    }

    /// Whether a team is in it.
    pub fn contains(self, team: Team) -> bool {
        self.0 & (1 << team as u8) != 0
    }

    /// Its teams in their order.
    pub fn iter(self) -> impl Iterator<Item = Team> {
        Team::ALL.into_iter().filter(move |&team| self.contains(team))
    }
}

impl From<Team> for Teams {
    fn from(team: Team) -> Self {
        Self::from_iter([team])
    }
}

impl FromIterator<Team> for Teams {
    fn from_iter<I: IntoIterator<Item = Team>>(teams: I) -> Self {
        let mut set = Self::default();
        teams.into_iter().for_each(|team| set.insert(team));
        set
    }
}

impl Debug for Teams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Bytes that are shared, not copied, when they are split.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl Payload {
    fn slice(&self, start: usize, end: usize) -> Self {
        assert!(start <= end && end <= self.len(), "a slice lies within its payload");
        Self { bytes: self.bytes.clone(), start: self.start + start, end: self.start + end }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0, end: bytes.len() }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}B", self.len())
    }
}

/// A range of the client's payload, in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.length)
    }
}

/// A range of the client's payload together with its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the client's payload, in bytes.
    pub offset: u64,
    /// Length of the client's payload, in bytes.
    pub total: u64,
    /// Its bytes.
    pub bytes: Payload,
}

impl Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.range(), self.total)
    }
}

impl Part {
    /// Digests are split at multiples of this many bytes: a subtree of the hash, wide enough for
    /// its vector instructions.
    pub const DIGEST_GRAIN: u64 = 16 * 1024;

    /// The whole of a payload.
    pub fn whole(bytes: Payload) -> Self {
        Self { offset: 0, total: bytes.len() as u64, bytes }
    }

    /// Where it lies.
    pub fn range(&self) -> Range {
        Range { offset: self.offset, length: self.bytes.len() as u64 }
    }

    /// Cuts it into consecutive parts, one for each weight, as nearly in proportion as the
    /// operation's grain allows; some may be empty. [`Operation::Process`] gives each the whole.
    pub fn split(&self, operation: Operation, weights: &[usize]) -> Vec<Self> {
        let sum: usize = weights.iter().sum();
        let mut parts = Vec::with_capacity(weights.len());
        let (mut start, mut passed) = (0, 0);
        for (index, weight) in weights.iter().enumerate() {
            passed += weight;
            let end = match operation {
                Operation::Process => {
                    parts.push(self.clone());
                    continue;
                }
                _ if index + 1 == weights.len() => self.bytes.len(),
                Operation::WordCount => self.word_boundary(self.bytes.len() * passed / sum),
                Operation::Digest => self.grain_boundary(self.bytes.len() * passed / sum),
            };
            let end = end.max(start);
            let bytes = self.bytes.slice(start, end);
            parts.push(Self { offset: self.offset + start as u64, total: self.total, bytes });
            start = end;
        }
        parts
    }

    /// The first place at or after `wish` that cuts no word in two.
    fn word_boundary(&self, wish: usize) -> usize {
        let inside = wish > 0 && !self.bytes[wish - 1].is_ascii_whitespace();
        if !inside {
            return wish;
        }
        let rest = &self.bytes[wish..];
        rest.iter().position(u8::is_ascii_whitespace).map_or(self.bytes.len(), |at| wish + at)
    }

    /// The multiple of the grain nearest to `wish`, counted from the start of the payload.
    fn grain_boundary(&self, wish: usize) -> usize {
        let absolute = self.offset + wish as u64 + Self::DIGEST_GRAIN / 2;
        let cut = absolute - absolute % Self::DIGEST_GRAIN;
        (cut.saturating_sub(self.offset) as usize).min(self.bytes.len())
    }
}

/// One piece of work on its way through the overlay.
#[derive(Clone, PartialEq, Eq)]
pub struct Task {
    /// What to do.
    pub operation: Operation,
    /// Which teams serve it.
    pub teams: Teams,
    /// Whether a team without a live leader may be served through another edge. The document's
    /// own service has no field to say so in its answer, and therefore does not allow it.
    pub detour: bool,
    /// On what.
    pub part: Part,
    /// Time left.
    pub budget: Duration,
    /// The trace it belongs to.
    pub trace: Trace,
}

impl Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, teams, detour, part, budget, trace: _ } = self;
        let way = if *detour { "" } else { " without detour" };
        write!(f, "{operation:?} {part:?} for {teams:?}{way} within {budget:?}")
    }
}

/// Lines, words and bytes, as `wc` counts them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct WordCount {
    /// Newline characters.
    pub lines: u64,
    /// Runs of bytes that are not ASCII white space.
    pub words: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Debug for WordCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines, {} words, {} bytes", self.lines, self.words, self.bytes)
    }
}

/// The value of one subtree of the payload's BLAKE3 tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which bytes it covers.
    pub range: Range,
    /// Its chaining value, or the digest itself when it covers the whole payload.
    pub value: [u8; 32],
}

impl Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.fmt(f)
    }
}

/// What a worker made of its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// Of [`Operation::WordCount`].
    Count(WordCount),
    /// Of [`Operation::Digest`], in the order of their offsets.
    Pieces(Vec<Piece>),
}

/// One process's share in an answer. A worker that was late has none.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// The process.
    pub process: NodeId,
    /// Who asked it; nobody when a client did.
    pub asked_by: Option<NodeId>,
    /// Time in its queue.
    pub queued: Duration,
    /// Time from the arrival of the request to its answer, the queue included.
    pub total: Duration,
    /// What it worked on itself; nothing where it only routed.
    pub part: Option<Range>,
}

impl Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, asked_by, queued, total, part } = self;
        write!(f, "{process}")?;
        asked_by.iter().try_for_each(|by| write!(f, " for {by}"))?;
        part.iter().try_for_each(|part| write!(f, " {part:?}"))?;
        write!(f, " in {total:?}")?;
        if queued.is_zero() { Ok(()) } else { write!(f, " after {queued:?} in the queue") }
    }
}

/// Why a process's share is not in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No sign of life from it, or the link to it broke, or it has nobody to ask.
    Unreachable,
    /// It lives, but had not answered when the time was up.
    Late,
    /// It had its limit of requests in hand.
    Busy,
    /// The request had been there before.
    Visited,
}

/// A process whose share is not in an answer; whoever is reached only through it is missing too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The process.
    pub process: NodeId,
    /// Why.
    pub reason: Reason,
    /// The part that nobody worked on because of it.
    pub part: Option<Range>,
}

impl Debug for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.process, self.reason)?;
        self.part.iter().try_for_each(|part| write!(f, " with {part:?}"))
    }
}

/// A team that was served through another edge than its leader's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Detour {
    /// The team that has no live leader.
    pub team: Team,
    /// Who served those of its workers that it can reach.
    pub through: NodeId,
}

impl Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} through {}", self.team, self.through)
    }
}

/// The work of a process and of all that it asked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The document's text, of [`Operation::Process`].
    pub text: String,
    /// The sum of [`Operation::WordCount`].
    pub count: WordCount,
    /// The pieces of [`Operation::Digest`], in the order of their offsets.
    pub pieces: Vec<Piece>,
    /// Who took part, in the order of the tree.
    pub visits: Vec<Visit>,
    /// Who should have taken part and did not.
    pub missing: Vec<Missing>,
    /// Who was served through another edge.
    pub detours: Vec<Detour>,
}

/// What is empty is left out: traces are read by people.
impl Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, count, pieces, visits, missing, detours } = self;
        let mut report = f.debug_struct("Report");
        if !text.is_empty() {
            report.field("text", text);
        }
        if *count != WordCount::default() {
            report.field("count", count);
        }
        if !pieces.is_empty() {
            report.field("pieces", pieces);
        }
        report.field("visits", visits);
        if !missing.is_empty() {
            report.field("missing", missing);
        }
        if !detours.is_empty() {
            report.field("detours", detours);
        }
        report.finish()
    }
}

impl Report {
    /// Merges in the report of a process that was asked.
    pub fn merge(&mut self, other: Self) {
        if !self.text.is_empty() && !other.text.is_empty() && !self.text.ends_with('|') {
            self.text.push(';');
        }
        self.text.push_str(&other.text);
        self.produce(Product::Count(other.count));
        self.produce(Product::Pieces(other.pieces));
        self.visits.extend(other.visits);
        self.missing.extend(other.missing);
        self.detours.extend(other.detours);
    }

    /// Merges in what a worker made.
    pub fn produce(&mut self, product: Product) {
        match product {
            Product::Count(count) => {
                self.count.lines += count.lines;
                self.count.words += count.words;
                self.count.bytes += count.bytes;
            }
            Product::Pieces(pieces) => self.pieces.extend(pieces),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &[u8]) -> Part {
        Part::whole(text.into())
    }

    #[test]
    fn a_split_loses_and_repeats_nothing() {
        for operation in [Operation::WordCount, Operation::Digest] {
            for length in [0, 1, 2, 1024, 16_384, 16_385, 100_000] {
                let bytes: Vec<u8> =
                    (0..length).map(|i| if i % 7 == 3 { b' ' } else { b'x' }).collect();
                for weights in [&[1][..], &[1, 2], &[1, 1, 1, 1, 1]] {
                    let parts = part(&bytes).split(operation, weights);
                    let mut joined = Vec::new();
                    for part in &parts {
                        assert_eq!(part.offset, joined.len() as u64);
                        joined.extend_from_slice(&part.bytes);
                    }
                    assert_eq!(joined, bytes);
                    assert_eq!(parts.len(), weights.len());
                }
            }
        }
    }

    #[test]
    fn no_word_is_cut_in_two() {
        let parts = part(b"one two three").split(Operation::WordCount, &[1, 1, 1]);
        let texts: Vec<_> = parts.iter().map(|part| part.bytes.to_vec()).collect();
        assert_eq!(texts, [b"one ".to_vec(), b"two ".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn a_word_without_an_end_goes_to_one_worker() {
        let parts = part(&[b'x'; 4096]).split(Operation::WordCount, &[1, 1]);
        assert_eq!(parts.iter().map(|part| part.bytes.len()).collect::<Vec<_>>(), [4096, 0]);
    }

    #[test]
    fn digests_are_cut_at_the_grain() {
        let bytes = vec![0; 200_000];
        for outer in part(&bytes).split(Operation::Digest, &[1, 2]) {
            for inner in outer.split(Operation::Digest, &[1, 1]) {
                assert_eq!(inner.offset % Part::DIGEST_GRAIN, 0);
            }
        }
    }
}

//! Looks for an order of one key's operations that explains every answer.
//!
//! It is Lowe's variant of Wing and Gong's search (Testing for linearizability, 2017): take any
//! operation that may be the next, remember each combination of what was taken and what the key
//! has, and go back when nothing fits. Versions leave it little to choose:
//!
//! - The versions that anybody was told, in order, are a timeline that every explanation follows.
//!   Each belongs to a mutation that was answered, or to an unknown one that must have happened.
//! - A read that fits what the key has can be taken at once, and a mutation that is the next of
//!   the timeline and fits can be taken when no read does: neither takes anything away.
//!
//! What is left to choose is which unknown mutation happened where the timeline has nobody's
//! version, or where nobody was told its version. Two that differ in nothing that anybody sees
//! later are one choice, and whoever has used more of them without getting further need not go on.

use std::collections::BTreeMap;

use consensus::store::{Answer, Condition, Item, Value};

use super::{Doing, Operation, Outcome, holds};

/// After so many choices it is given up: with hundreds of unknown mutations of one key, to find
/// that no order will do can take for ever.
const CHOICES_LIMIT: usize = 100_000;

/// Where the search came furthest, in numbers of operations.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck {
    /// Whether there was more to try.
    pub(super) gave_up: bool,
    /// What was taken, in order.
    pub(super) taken: Vec<usize>,
    /// What the key has then, if it has anything: its value, and its version if anybody knows it.
    pub(super) state: Option<(Value, Option<u64>)>,
    /// Who saw the key like this and was not called yet: until then, nothing can change it.
    pub(super) awaited: Vec<usize>,
    /// What may be next and does not fit, the one that was answered first at the front.
    pub(super) waiting: Vec<usize>,
}

/// How many unknown operations happened in the order that explains the answers to these
/// operations, which are in the order of their calls.
pub(super) fn explain(operations: &[Operation], numbers: &[usize]) -> Result<usize, Stuck> {
    Search::new(operations, numbers).run()
}

/// An operation with an answer.
struct Known<'a> {
    number: usize,
    called: u64,
    answered: u64,
    doing: &'a Doing,
    told: Told<'a>,
}

/// What an answer says of its key.
#[derive(Clone, Copy)]
enum Told<'a> {
    /// It was changed: the version before.
    Changed(Option<u64>),
    /// It was as this says.
    Seen(Option<&'a Item>),
    /// Nothing that answers the question.
    Nonsense,
}

/// A mutation without an answer.
struct Unknown<'a> {
    number: usize,
    called: u64,
    doing: &'a Doing,
}

/// A version that somebody was told.
#[derive(Default)]
struct Slot<'a> {
    version: u64,
    /// Whose it is, by place in `known`; an unknown mutation's otherwise.
    owner: Option<usize>,
    /// Its value, if somebody saw that or had to.
    value: Option<&'a Value>,
    /// Who saw the key at this version, by place in `known`.
    readers: Vec<usize>,
    /// Whether somebody saw that the key was absent before.
    is_birth: bool,
}

struct Search<'a> {
    /// In the order of the calls.
    known: Vec<Known<'a>>,
    /// Places in `known` in the order of the answers.
    answers: Vec<usize>,
    unknown: Vec<Unknown<'a>>,
    timeline: Vec<Slot<'a>>,
    /// For each value, which slots an unknown mutation must have given it.
    wanted: BTreeMap<&'a Value, Vec<usize>>,
    /// For each version at which a key was seen to be created, the last slot for which it was.
    lives: BTreeMap<u64, usize>,
}

/// How far an explanation has come.
#[derive(Clone)]
struct Path<'a> {
    /// By place in `unknown`.
    used: Vec<bool>,
    /// How many of `known` were called before the first answer that is not explained.
    callable: usize,
    /// Of these, those that are not taken, in order.
    active: Vec<usize>,
    /// How many of `answers`, from the first, are explained.
    explained: usize,
    /// The first slot of the timeline that is not reached.
    next: usize,
    /// No version up to here is free.
    floor: u64,
    state: Option<State<'a>>,
    /// How many operations are taken.
    taken: usize,
}

impl Path<'_> {
    fn is_done(&self, place: usize) -> bool {
        place < self.callable && self.active.binary_search(&place).is_err()
    }
}

/// What the key has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State<'a> {
    value: &'a Value,
    /// None if nobody was told.
    slot: Option<usize>,
    /// None if nobody is told later.
    created: Option<u64>,
}

/// What decides, beside the unknown mutations that are left, how a path can go on: callable and
/// active operations, the next slot, and what the key has.
type Place<'a> = (usize, Vec<usize>, usize, Option<State<'a>>);

/// An unknown mutation that may be next: its place, and whether it has the next version of the
/// timeline or one that nobody was told.
#[derive(Clone, Copy)]
struct Choice {
    unknown: usize,
    told: bool,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation], numbers: &[usize]) -> Self {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for number in numbers.iter().copied() {
            let Operation { doing, called, outcome, .. } = &operations[number];
            let called = called.place;
            match outcome {
                Outcome::Answered(answered, answer) => {
                    let told = told(doing, answer);
                    let answered = answered.place;
                    known.push((Known { number, called, answered, doing, told }, answer));
                }
                Outcome::Unknown if *doing != Doing::Get => {
                    unknown.push(Unknown { number, called, doing });
                }
                Outcome::Unknown | Outcome::Nothing => (),
            }
        }
        let timeline = timeline(&known);
        let known = known.into_iter().map(|(known, _)| known).collect::<Vec<_>>();
        let mut answers = (0..known.len()).collect::<Vec<_>>();
        answers.sort_by_key(|place| known[*place].answered);
        let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut lives = BTreeMap::new();
        for (place, slot) in timeline.iter().enumerate() {
            if let (None, Some(value)) = (slot.owner, slot.value) {
                wanted.entry(value).or_default().push(place);
            }
            for reader in &slot.readers {
                if let Told::Seen(Some(item)) = known[*reader].told {
                    lives.insert(item.created.0, place);
                }
            }
        }
        Self { known, answers, unknown, timeline, wanted, lives }
    }

    fn run(&self) -> Result<usize, Stuck> {
        let mut path = Path {
            used: vec![false; self.unknown.len()],
            callable: 0,
            active: Vec::new(),
            explained: 0,
            next: 0,
            floor: 0,
            state: None,
            taken: 0,
        };
        // Numbers of operations, in the order of the explanation.
        let mut taken = Vec::new();
        let mut stuck = Stuck::default();
        let mut furthest = None;
        let mut untried: Vec<(Path<'_>, Choice)> = Vec::new();
        let mut seen: BTreeMap<Place<'_>, Vec<(u64, Vec<bool>)>> = BTreeMap::new();
        let mut choices_made = 0;
        loop {
            let Some(deadline) = self.settle(&mut path, &mut taken) else {
                return Ok(path.used.iter().filter(|used| **used).count());
            };
            if self.take_next_of_timeline(&mut path, &mut taken) {
                continue;
            }
            if furthest.is_none_or(|furthest| furthest < path.taken) {
                furthest = Some(path.taken);
                stuck = self.stuck(&path, &taken);
            }
            let choices = self.choices(&path, deadline);
            let place = (path.callable, path.active.clone(), path.next, path.state);
            let before = seen.entry(place).or_default();
            let is_hopeless = before.iter().any(|(floor, used)| {
                *floor <= path.floor
                    && used.iter().zip(&path.used).all(|(before, here)| before <= here)
            });
            if !is_hopeless {
                before.push((path.floor, path.used.clone()));
                // The last one is tried first.
                untried.extend(choices.into_iter().map(|choice| (path.clone(), choice)));
            }
            let Some((from, choice)) = untried.pop() else {
                return Err(stuck);
            };
            choices_made += 1;
            if choices_made == CHOICES_LIMIT {
                return Err(Stuck { gave_up: true, ..stuck });
            }
            path = from;
            taken.truncate(path.taken);
            self.choose(&mut path, choice, &mut taken);
        }
    }

    /// Takes every read that fits what the key has. Says before which moment something else must
    /// happen; nothing when every answer is explained.
    fn settle(&self, path: &mut Path<'a>, taken: &mut Vec<usize>) -> Option<u64> {
        loop {
            while self.answers.get(path.explained).is_some_and(|place| path.is_done(*place)) {
                path.explained += 1;
            }
            let deadline = self.known[*self.answers.get(path.explained)?].answered;
            while self.known.get(path.callable).is_some_and(|known| known.called < deadline) {
                path.active.push(path.callable);
                path.callable += 1;
            }
            let fitting = |place: &usize| self.fits_read(*place, path.state);
            let (reads, rest): (Vec<_>, Vec<_>) = path.active.iter().partition(|at| fitting(at));
            if reads.is_empty() {
                return Some(deadline);
            }
            path.active = rest;
            path.taken += reads.len();
            taken.extend(reads.into_iter().map(|place| self.known[place].number));
        }
    }

    fn fits_read(&self, place: usize, state: Option<State<'a>>) -> bool {
        let Known { doing, told: Told::Seen(item), .. } = &self.known[place] else {
            return false;
        };
        let believable = match doing {
            Doing::Put(_, condition) | Doing::Delete(condition) => !holds(condition, *item),
            Doing::Get => true,
        };
        let same = match (item, state) {
            (None, None) => true,
            (Some(item), Some(state)) => {
                self.version(state) == Some(item.version.0)
                    && state.created == Some(item.created.0)
                    && *state.value == item.value
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        believable && same
    }

    fn version(&self, state: State<'a>) -> Option<u64> {
        state.slot.map(|slot| self.timeline[slot].version)
    }

    /// Takes the mutation that has the next version of the timeline, if its answer is known and it
    /// fits.
    fn take_next_of_timeline(&self, path: &mut Path<'a>, taken: &mut Vec<usize>) -> bool {
        let Some(slot) = self.timeline.get(path.next) else { return false };
        let Some(place) = slot.owner.filter(|place| *place < path.callable) else { return false };
        let Known { number, doing, told: Told::Changed(previous), .. } = self.known[place] else {
            return false;
        };
        let fits = path.floor < slot.version
            && path.state.map(|state| self.version(state)) == previous.map(Some)
            && self.holds(doing, path)
            && !self.is_awaited(path);
        if fits {
            path.active.retain(|active| *active != place);
            path.taken += 1;
            taken.push(number);
            self.reach_next(path, doing);
        }
        fits
    }

    /// The key gets the next version of the timeline.
    fn reach_next(&self, path: &mut Path<'a>, doing: &'a Doing) {
        let version = self.timeline[path.next].version;
        let created = path.state.map_or(Some(version), |state| state.created);
        let is_seen =
            |created: &u64| self.lives.get(created).is_some_and(|last| path.next <= *last);
        let created = created.filter(is_seen);
        path.state = match doing {
            Doing::Put(value, _) => Some(State { value, slot: Some(path.next), created }),
            Doing::Delete(_) | Doing::Get => None,
        };
        path.floor = version;
        path.next += 1;
    }

    /// Whether somebody saw what the key has and is not explained yet: then nothing may change it.
    fn is_awaited(&self, path: &Path<'a>) -> bool {
        let slot = path.state.and_then(|state| state.slot);
        slot.is_some_and(|slot| {
            self.timeline[slot].readers.iter().any(|place| !path.is_done(*place))
        })
    }

    /// Whether the condition of a mutation holds.
    fn holds(&self, doing: &Doing, path: &Path<'a>) -> bool {
        let (Doing::Put(_, condition) | Doing::Delete(condition)) = doing else { return false };
        match (condition, path.state) {
            (Condition::Always, _) | (Condition::Absent, None) => true,
            (Condition::Absent, Some(_)) | (Condition::Value(_) | Condition::Version(_), None) => {
                false
            }
            (Condition::Value(value), Some(state)) => value == state.value,
            // A version that nobody was told may have been guessed.
            (Condition::Version(version), Some(state)) => self
                .version(state)
                .map_or(path.floor <= version.0 && self.is_free(version.0, path), |known| {
                    known == version.0
                }),
        }
    }

    /// Whether a version lies before the next one of the timeline.
    fn is_free(&self, version: u64, path: &Path<'a>) -> bool {
        self.timeline.get(path.next).is_none_or(|slot| version < slot.version)
    }

    /// The unknown mutations that may be next, the most promising last.
    fn choices(&self, path: &Path<'a>, deadline: u64) -> Vec<Choice> {
        let slot = self.timeline.get(path.next);
        let owner = slot.and_then(|slot| slot.owner).map(|place| &self.known[place].told);
        // Who is told the version before has the version of the timeline before: nothing was
        // between them.
        if self.is_awaited(path) || matches!(owner, Some(Told::Changed(Some(_)))) {
            return Vec::new();
        }
        let mut alike = Vec::new();
        // The last is tried first: what uses nothing that is wanted later, then what may be.
        let (mut silent, mut wanted, mut unwanted) = (Vec::new(), Vec::new(), Vec::new());
        for (unknown, Unknown { called, doing, .. }) in self.unknown.iter().enumerate() {
            if path.used[unknown] || deadline < *called || !self.holds(doing, path) {
                continue;
            }
            let is_wanted = self.is_wanted(unknown, path);
            // Of those that do the same, or whose values nobody sees later, one is as good as any.
            let sort = match doing {
                Doing::Put(value, condition) => {
                    (Some(value).filter(|_| is_wanted), condition, true)
                }
                Doing::Delete(condition) => (None, condition, false),
                Doing::Get => continue,
            };
            if alike.contains(&sort) {
                continue;
            }
            alike.push(sort);
            if slot.is_some() && owner.is_none() && self.can_own_next(unknown, path) {
                let told = if is_wanted { &mut wanted } else { &mut unwanted };
                told.push(Choice { unknown, told: true });
            }
            if self.is_free(untold(doing, path), path) && self.is_of_use(unknown, path) {
                silent.push(Choice { unknown, told: false });
            }
        }
        [silent, wanted, unwanted].concat()
    }

    /// Whether the value that an unknown mutation sets may matter: to a slot that is not reached,
    /// or to the condition of another unknown one.
    fn is_wanted(&self, unknown: usize, path: &Path<'a>) -> bool {
        let Doing::Put(value, _) = self.unknown[unknown].doing else { return false };
        0 < self.wanted_later(value, path) || self.is_condition_of_another(unknown, path)
    }

    /// How many slots that are not reached an unknown mutation must give this value.
    fn wanted_later(&self, value: &Value, path: &Path<'a>) -> usize {
        let slots = self.wanted.get(value).map_or(&[][..], Vec::as_slice);
        slots.len() - slots.partition_point(|slot| *slot < path.next)
    }

    /// Whether a mutation may have the next version of the timeline, which no answer claims: those
    /// slots that must have its value must still find one.
    fn can_own_next(&self, unknown: usize, path: &Path<'a>) -> bool {
        let Doing::Put(value, _) = self.unknown[unknown].doing else { return false };
        let slot = &self.timeline[path.next];
        path.floor < slot.version
            && !(slot.is_birth && path.state.is_some())
            && slot.value.map_or_else(|| self.is_spare(value, path), |seen| seen == value)
    }

    /// Whether there are more unknown mutations with this value than slots that must have it.
    fn is_spare(&self, value: &Value, path: &Path<'a>) -> bool {
        let wanted = self.wanted_later(value, path);
        let left = self.unknown.iter().zip(&path.used).filter(|(unknown, used)| {
            !**used && matches!(unknown.doing, Doing::Put(other, _) if other == value)
        });
        wanted == 0 || wanted < left.count()
    }

    /// Whether it could explain anything that an unknown mutation has a version that nobody was
    /// told: it removes the key, or makes another unknown one possible.
    fn is_of_use(&self, unknown: usize, path: &Path<'a>) -> bool {
        match self.unknown[unknown].doing {
            Doing::Delete(_) => path.state.is_some(),
            Doing::Put(value, _) => {
                self.is_condition_of_another(unknown, path) && self.is_spare(value, path)
            }
            Doing::Get => false,
        }
    }

    /// Whether another unknown mutation asks for the value that this one sets, or for a version
    /// that it might have.
    fn is_condition_of_another(&self, unknown: usize, path: &Path<'a>) -> bool {
        let Doing::Put(value, _) = self.unknown[unknown].doing else { return false };
        self.unknown.iter().enumerate().any(|(other, needy)| {
            let (Doing::Put(_, condition) | Doing::Delete(condition)) = needy.doing else {
                return false;
            };
            other != unknown
                && !path.used[other]
                && match condition {
                    Condition::Value(wanted) => wanted == value,
                    Condition::Version(version) => {
                        path.floor < version.0 && self.is_free(version.0, path)
                    }
                    Condition::Always | Condition::Absent => false,
                }
        })
    }

    fn choose(
        &self,
        path: &mut Path<'a>,
        Choice { unknown, told }: Choice,
        taken: &mut Vec<usize>,
    ) {
        let Unknown { number, doing, .. } = self.unknown[unknown];
        path.used[unknown] = true;
        path.taken += 1;
        taken.push(number);
        if told {
            return self.reach_next(path, doing);
        }
        path.floor = untold(doing, path);
        path.state = match doing {
            Doing::Put(value, _) => {
                let created = path.state.and_then(|state| state.created);
                Some(State { value, slot: None, created })
            }
            Doing::Delete(_) | Doing::Get => None,
        };
    }

    fn stuck(&self, path: &Path<'a>, taken: &[usize]) -> Stuck {
        let mut waiting = path.active.clone();
        waiting.sort_by_key(|place| self.known[*place].answered);
        let number = |place: usize| self.known[place].number;
        let slot = path.state.and_then(|state| state.slot);
        let readers = slot.map_or(&[][..], |slot| &self.timeline[slot].readers);
        let awaited = readers.iter().copied().filter(|place| path.callable <= *place);
        Stuck {
            gave_up: false,
            taken: taken.to_vec(),
            state: path.state.map(|state| (state.value.clone(), self.version(state))),
            awaited: awaited.map(number).collect(),
            waiting: waiting.into_iter().map(number).collect(),
        }
    }
}

/// The lowest version that this mutation can have, if nobody was told which one it has.
fn untold(doing: &Doing, path: &Path<'_>) -> u64 {
    let (Doing::Put(_, condition) | Doing::Delete(condition)) = doing else { return path.floor };
    match condition {
        Condition::Version(guessed) => path.floor.max(guessed.0) + 1,
        Condition::Always | Condition::Absent | Condition::Value(_) => path.floor + 1,
    }
}

/// Whether an answer answers this question.
pub(super) fn is_answered(doing: &Doing, answer: &Answer) -> bool {
    !matches!(told(doing, answer), Told::Nonsense)
}

/// What an answer to this says of the key.
fn told<'a>(doing: &Doing, answer: &'a Answer) -> Told<'a> {
    match (doing, answer) {
        (Doing::Put(..), Answer::Put { previous, .. })
        | (Doing::Delete(_), Answer::Deleted { previous, .. }) => {
            Told::Changed(previous.map(|version| version.0))
        }
        (Doing::Put(..) | Doing::Delete(_), Answer::Unmet(item))
        | (Doing::Get, Answer::Item(item)) => Told::Seen(item.as_ref()),
        _ => Told::Nonsense,
    }
}

/// Every version of the key that somebody was told, in order.
fn timeline<'a>(known: &[(Known<'a>, &'a Answer)]) -> Vec<Slot<'a>> {
    let mut slots: BTreeMap<u64, Slot<'_>> = BTreeMap::new();
    for (place, (known, answer)) in known.iter().enumerate() {
        match known.told {
            Told::Changed(previous) => {
                if let Some(version) = super::version_of(answer) {
                    slots.entry(version).or_default().owner = Some(place);
                }
                if let Some(previous) = previous {
                    let slot = slots.entry(previous).or_default();
                    if let Doing::Put(_, Condition::Value(had))
                    | Doing::Delete(Condition::Value(had)) = known.doing
                    {
                        slot.value = slot.value.or(Some(had));
                    }
                }
            }
            Told::Seen(Some(item)) => {
                slots.entry(item.created.0).or_default().is_birth = true;
                let slot = slots.entry(item.version.0).or_default();
                slot.value = slot.value.or(Some(&item.value));
                slot.readers.push(place);
            }
            Told::Seen(None) | Told::Nonsense => (),
        }
    }
    slots.into_iter().map(|(version, slot)| Slot { version, ..slot }).collect()
}

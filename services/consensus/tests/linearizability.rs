//! The judge of histories accepts what can be explained and nothing else.

mod linear;

use std::time::Duration;

use consensus::Index;
use consensus::store::{Action, Answer, Condition, Item, Query};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use self::linear::{Checked, History, OperationId};

/// Writes a history down, one moment after the other.
#[derive(Default)]
struct Writer {
    history: History,
    now: u64,
}

impl Writer {
    fn tick(&mut self) -> Duration {
        self.now += 1;
        Duration::from_millis(self.now)
    }

    fn act(&mut self, action: Action) -> OperationId {
        let at = self.tick();
        self.history.act(1, at, action)
    }

    fn get(&mut self) -> OperationId {
        let at = self.tick();
        self.history.query(2, at, Query::Get(b"k"[..].into()))
    }

    fn answer(&mut self, id: OperationId, answer: Answer) {
        let at = self.tick();
        self.history.answer(id, at, answer);
    }

    /// An operation that is answered before anything else happens.
    fn acted(&mut self, action: Action, answer: Answer) {
        let id = self.act(action);
        self.answer(id, answer);
    }

    /// A read that is answered before anything else happens.
    fn got(&mut self, item: Option<Item>) {
        let id = self.get();
        self.answer(id, Answer::Item(item));
    }

    fn holds(&self) -> Checked {
        self.history.check().unwrap_or_else(|error| panic!("{error}"))
    }

    fn fails(&self) -> String {
        self.history.check().expect_err("this cannot be explained")
    }
}

fn put(value: &str) -> Action {
    put_if(value, Condition::Always)
}

fn put_if(value: &str, condition: Condition) -> Action {
    let (key, value) = (b"k"[..].into(), value.as_bytes().into());
    Action::Put { key, value, lease: None, condition }
}

fn delete() -> Action {
    Action::Delete { key: b"k"[..].into(), condition: Condition::Always }
}

fn value(value: &str) -> Condition {
    Condition::Value(value.as_bytes().into())
}

fn set(version: u64, previous: impl Into<Option<u64>>) -> Answer {
    Answer::Put { version: Index(version), previous: previous.into().map(Index) }
}

fn deleted(version: u64, previous: impl Into<Option<u64>>) -> Answer {
    Answer::Deleted { version: Index(version), previous: previous.into().map(Index) }
}

fn item(value: &str, version: u64, created: u64) -> Option<Item> {
    let (version, created) = (Index(version), Index(created));
    Some(Item { value: value.as_bytes().into(), version, created, lease: None })
}

#[test]
fn operations_one_after_the_other_hold() {
    let mut writer = Writer::default();
    writer.got(None);
    writer.acted(put("a"), set(3, None));
    writer.got(item("a", 3, 3));
    writer.acted(put_if("b", value("a")), set(5, 3));
    writer.acted(put_if("c", Condition::Version(Index(3))), Answer::Unmet(item("b", 5, 3)));
    writer.acted(put_if("c", Condition::Absent), Answer::Unmet(item("b", 5, 3)));
    writer.acted(delete(), deleted(7, 5));
    writer.acted(delete(), deleted(8, None));
    writer.got(None);
    writer.acted(put_if("d", Condition::Absent), set(9, None));
    writer.got(item("d", 9, 9));
    assert_eq!(writer.holds(), Checked { answered: 11, unknown: 0, surfaced: 0 });
}

#[test]
fn operations_at_once_hold_in_any_order() {
    let mut writer = Writer::default();
    let [first, second] = [writer.act(put("a")), writer.act(put("b"))];
    let [early, late, never] = [writer.get(), writer.get(), writer.get()];
    writer.answer(late, Answer::Item(item("a", 3, 2)));
    writer.answer(first, set(3, 2));
    writer.answer(early, Answer::Item(item("b", 2, 2)));
    writer.answer(never, Answer::Item(None));
    writer.answer(second, set(2, None));
    writer.holds();
}

#[test]
fn a_stale_read_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    writer.acted(put("b"), set(2, 1));
    writer.got(item("a", 1, 1));
    let why = writer.fails();
    assert_eq!(
        why,
        "no order explains what was told of key k\n\
         it was absent at first; then\n    \
         0.001 to 0.002 client 1 put k a: set at version 1, absent before\n\
         it is a of version 1, and is so still for\n    \
         0.005 to 0.006 client 2 get k: a of version 1, created 1\n\
         but before that must come\n    \
         0.003 to 0.004 client 1 put k b: set at version 2, before it 1\n"
    );
}

#[test]
fn a_read_that_goes_back_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    let unfinished = writer.act(put("b"));
    writer.got(item("b", 2, 1));
    writer.got(item("a", 1, 1));
    writer.answer(unfinished, set(2, 1));
    writer.fails();
}

#[test]
fn a_lost_update_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    writer.acted(put("b"), set(2, 1));
    writer.acted(put("c"), set(3, 1));
    writer.fails();

    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    writer.got(None);
    writer.fails();
}

#[test]
fn a_compare_and_set_that_succeeds_twice_fails() {
    for condition in [value("a"), Condition::Version(Index(1))] {
        let mut writer = Writer::default();
        writer.acted(put("a"), set(1, None));
        let [first, second] = ["b", "c"].map(|to| writer.act(put_if(to, condition.clone())));
        writer.answer(first, set(2, 1));
        writer.answer(second, set(3, 2));
        writer.fails();
    }
    let mut writer = Writer::default();
    let [first, second] = ["b", "c"].map(|to| writer.act(put_if(to, Condition::Absent)));
    writer.answer(first, set(2, None));
    writer.answer(second, set(3, None));
    writer.fails();
}

#[test]
fn a_condition_that_was_met_and_is_said_not_to_be_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    writer.acted(put_if("b", value("a")), Answer::Unmet(item("a", 1, 1)));
    writer.fails();
}

#[test]
fn a_read_of_what_was_refused_or_never_written_fails() {
    let mut writer = Writer::default();
    let refused = writer.act(put("a"));
    writer.history.refuse(refused);
    writer.got(None);
    writer.holds();
    writer.got(item("a", 1, 1));
    writer.fails();
}

#[test]
fn an_unknown_write_may_surface_late_or_never_and_only_once() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    let _ = writer.act(put("b"));
    writer.got(item("a", 1, 1));
    assert_eq!(writer.holds(), Checked { answered: 2, unknown: 1, surfaced: 0 });
    writer.acted(put("c"), set(4, 1));
    writer.got(item("b", 6, 1));
    assert_eq!(writer.holds(), Checked { answered: 4, unknown: 1, surfaced: 1 });
    writer.acted(put("d"), set(7, 6));
    writer.holds();
    writer.got(item("b", 9, 1));
    writer.fails();
}

#[test]
fn an_unknown_write_does_not_surface_before_its_call_or_with_another_value() {
    let mut writer = Writer::default();
    writer.got(item("b", 1, 1));
    let _ = writer.act(put("b"));
    writer.fails();

    let mut writer = Writer::default();
    let _ = writer.act(put("a"));
    writer.got(item("b", 1, 1));
    writer.fails();
}

#[test]
fn an_unknown_compare_and_set_surfaces_only_where_its_condition_held() {
    let begin = |wanted| {
        let mut writer = Writer::default();
        writer.acted(put("a"), set(1, None));
        let _ = writer.act(put_if("b", value(wanted)));
        writer.got(item("b", 2, 1));
        writer
    };
    begin("a").holds();
    begin("x").fails();

    // Another one that nobody was told of made it possible.
    let mut writer = begin("x");
    let _ = writer.act(put("x"));
    writer.fails();
    let mut writer = Writer::default();
    let _ = writer.act(put("x"));
    let _ = writer.act(put_if("b", value("x")));
    writer.got(None);
    let mut tight = Writer { history: writer.history.clone(), now: writer.now };
    writer.got(item("b", 2, 1));
    assert_eq!(writer.holds(), Checked { answered: 2, unknown: 2, surfaced: 2 });
    tight.got(item("b", 1, 1));
    tight.fails();
}

#[test]
fn an_unknown_deletion_may_explain_that_a_key_is_gone() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    let _ = writer.act(delete());
    writer.got(item("a", 1, 1));
    writer.got(None);
    writer.acted(put("b"), set(3, None));
    writer.holds();
    writer.got(None);
    writer.fails();
}

#[test]
fn a_value_that_comes_and_goes_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(1, None));
    let _ = writer.act(put("b"));
    writer.got(item("b", 2, 1));
    writer.got(item("a", 1, 1));
    writer.got(item("b", 2, 1));
    writer.fails();
}

#[test]
fn versions_against_real_time_fail() {
    let mut writer = Writer::default();
    writer.acted(put("a"), set(5, None));
    writer.acted(put("b"), set(4, None));
    assert!(writer.fails().contains("against the order"));

    let mut writer = Writer::default();
    let [first, second] = [writer.act(put("a")), writer.act(put("b"))];
    writer.answer(first, set(5, None));
    writer.answer(second, set(5, None));
    assert!(writer.fails().contains("the same version"));
}

#[test]
fn an_item_that_was_created_at_another_version_fails() {
    for (created, version) in [(1, 3), (2, 3), (3, 3)] {
        let mut writer = Writer::default();
        writer.acted(put("a"), set(1, None));
        writer.acted(put("b"), set(3, 1));
        writer.got(item("b", version, created));
        assert_eq!(writer.history.check().is_ok(), created == 1);
    }
}

#[test]
fn an_answer_to_another_question_fails() {
    let mut writer = Writer::default();
    writer.acted(put("a"), Answer::Item(None));
    assert!(writer.fails().contains("no answer to that"));
}

/// How often each thing happens in a history that is drawn.
struct Taste {
    clients: usize,
    keys: u64,
    /// Different values; few make it hard to say whose a value is.
    values: u32,
    operations: usize,
    /// Probability that a client gives up an operation.
    given_up: f64,
}

/// A store that is linearizable because it does one thing at a time.
#[derive(Default)]
struct Truth {
    items: std::collections::BTreeMap<Vec<u8>, Item>,
    version: u64,
}

#[derive(Clone)]
enum Asked {
    Do(Action),
    Get(Vec<u8>),
}

impl Truth {
    fn carry_out(&mut self, asked: &Asked) -> Answer {
        match asked {
            Asked::Get(key) => Answer::Item(self.items.get(key).cloned()),
            Asked::Do(Action::Put { key, value, condition, .. }) => {
                self.version += 1;
                let before = self.items.get(&key[..]).cloned();
                if !met(condition, before.as_ref()) {
                    return Answer::Unmet(before);
                }
                let version = Index(self.version);
                let created = before.as_ref().map_or(version, |item| item.created);
                let item = Item { value: value.clone(), version, created, lease: None };
                self.items.insert(key.to_vec(), item);
                Answer::Put { version, previous: before.map(|item| item.version) }
            }
            Asked::Do(Action::Delete { key, condition }) => {
                self.version += 1;
                let before = self.items.get(&key[..]).cloned();
                if !met(condition, before.as_ref()) {
                    return Answer::Unmet(before);
                }
                self.items.remove(&key[..]);
                let previous = before.map(|item| item.version);
                Answer::Deleted { version: Index(self.version), previous }
            }
            Asked::Do(other) => panic!("{other:?} is not drawn"),
        }
    }
}

fn met(condition: &Condition, item: Option<&Item>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => item.is_none(),
        Condition::Version(version) => item.is_some_and(|item| item.version == *version),
        Condition::Value(value) => item.is_some_and(|item| item.value == *value),
    }
}

fn draw(random: &mut StdRng, taste: &Taste, newest: u64) -> Asked {
    let key = random.random_range(0..taste.keys).to_string().into_bytes();
    let value = |random: &mut StdRng| -> consensus::store::Value {
        random.random_range(0..taste.values).to_string().into_bytes().into()
    };
    let condition = match random.random_range(0..6) {
        0 => Condition::Absent,
        1 => Condition::Version(Index(newest.saturating_sub(random.random_range(0..3)))),
        2 => Condition::Value(value(random)),
        _ => Condition::Always,
    };
    match random.random_range(0..5) {
        0 | 1 => Asked::Get(key),
        2 => Asked::Do(Action::Delete { key: key.into(), condition }),
        _ => {
            let value = value(random);
            Asked::Do(Action::Put { key: key.into(), value, lease: None, condition })
        }
    }
}

/// One thing that was written into a history, so that it can be written again a little otherwise.
#[derive(Clone)]
enum Line {
    Called(usize, Asked),
    Answered(usize, Answer),
}

/// What clients of a true store see who ask at the same time.
fn history_of_truth(random: &mut StdRng, taste: &Taste) -> Vec<Line> {
    let mut truth = Truth::default();
    let mut lines = Vec::new();
    // What each client waits for: its operation, and the answer if it was carried out.
    let mut waiting: Vec<Option<(usize, Asked, Option<Answer>)>> = vec![None; taste.clients];
    let mut given_up = Vec::new();
    let mut asked = 0;
    while asked < taste.operations || waiting.iter().any(Option::is_some) {
        if !given_up.is_empty() && random.random_bool(0.2) {
            let last = random.random_range(0..given_up.len());
            let late: Asked = given_up.swap_remove(last);
            truth.carry_out(&late);
        }
        let client = random.random_range(0..taste.clients);
        waiting[client] = match waiting[client].take() {
            None if asked == taste.operations => None,
            None => {
                let question = draw(random, taste, truth.version);
                lines.push(Line::Called(asked, question.clone()));
                asked += 1;
                Some((asked - 1, question, None))
            }
            Some((_, question, done)) if random.random_bool(taste.given_up) => {
                if done.is_none() && random.random() {
                    given_up.push(question);
                }
                None
            }
            Some((number, question, None)) => {
                let answer = truth.carry_out(&question);
                Some((number, question, Some(answer)))
            }
            Some((number, _, Some(answer))) => {
                lines.push(Line::Answered(number, answer));
                None
            }
        };
    }
    lines
}

fn written(lines: &[Line]) -> History {
    let mut history = History::default();
    let mut ids = Vec::new();
    for (now, line) in lines.iter().enumerate() {
        let at = Duration::from_millis(now as u64);
        match line {
            Line::Called(number, asked) => {
                assert_eq!(*number, ids.len());
                ids.push(match asked.clone() {
                    Asked::Do(action) => history.act(1, at, action),
                    Asked::Get(key) => history.query(2, at, Query::Get(key.into())),
                });
            }
            Line::Answered(number, answer) => history.answer(ids[*number], at, answer.clone()),
        }
    }
    history
}

/// Gives one read the answer of another one, or changes a version by one. False if it is the same.
fn falsify(random: &mut StdRng, lines: &mut [Line]) -> bool {
    let answers: Vec<_> = lines
        .iter()
        .enumerate()
        .filter_map(|(place, line)| match line {
            Line::Answered(_, answer) => Some((place, answer.clone())),
            Line::Called(..) => None,
        })
        .collect();
    let (place, before) = answers.choose(random).expect("answers").clone();
    let nearby = |version: Index, random: &mut StdRng| {
        Index(if random.random() { version.0 + 1 } else { version.0.saturating_sub(1) })
    };
    let after = if let Answer::Put { version, previous: Some(previous) } = before {
        Answer::Put { version, previous: Some(nearby(previous, random)) }
    } else if let Answer::Put { version, .. } = before {
        Answer::Put { version: nearby(version, random), previous: None }
    } else if let Answer::Deleted { version, .. } = before {
        Answer::Deleted { version, previous: Some(version) }
    } else {
        let reads = answers.iter().map(|(_, answer)| answer);
        let others = reads.filter(|other| matches!(other, Answer::Item(_)) && **other != before);
        others.collect::<Vec<_>>().choose(random).map_or(before.clone(), |other| (*other).clone())
    };
    if let Line::Answered(_, answer) = &mut lines[place] {
        answer.clone_from(&after);
    }
    before != after
}

#[test]
fn every_history_of_a_true_store_holds_and_nearly_every_false_one_fails() {
    let (mut surfaced, mut falsified, mut failed) = (0, 0, 0);
    for seed in 0..2_000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let taste = Taste {
            clients: random.random_range(1..8),
            keys: random.random_range(1..4),
            values: [2, 5, 1_000][random.random_range(0..3)],
            operations: random.random_range(1..100),
            given_up: [0.0, 0.05, 0.2][random.random_range(0..3)],
        };
        let mut lines = history_of_truth(random, &taste);
        match written(&lines).check() {
            Ok(checked) => surfaced += checked.surfaced,
            Err(why) => panic!("seed {seed}: {why}"),
        }
        if lines.len() > taste.operations && falsify(random, &mut lines) {
            falsified += 1;
            failed += usize::from(written(&lines).check().is_err());
        }
    }
    assert!(100 < surfaced, "{surfaced} unknown operations surfaced");
    assert!(1_000 < falsified, "{falsified} histories were falsified");
    // The others are still right: with operations at once, many a wrong answer is a possible one.
    assert!(falsified * 9 < failed * 10, "{failed} of {falsified} failed");
}

/// Tries every order and every version, for one key.
struct Naive {
    operations: Vec<NaiveOperation>,
    /// No version is higher.
    ceiling: u64,
}

struct NaiveOperation {
    asked: Asked,
    called: usize,
    answered: Option<(usize, Answer)>,
}

impl Naive {
    fn new(lines: &[Line]) -> Self {
        let mut operations = Vec::new();
        for (now, line) in lines.iter().enumerate() {
            match line {
                Line::Called(_, asked) => operations.push(NaiveOperation {
                    asked: asked.clone(),
                    called: now,
                    answered: None,
                }),
                Line::Answered(number, answer) => {
                    operations[*number].answered = Some((now, answer.clone()));
                }
            }
        }
        let highest = operations.iter().filter_map(|operation| match operation.answered {
            Some((_, Answer::Put { version, .. } | Answer::Deleted { version, .. })) => {
                Some(version.0)
            }
            Some((_, Answer::Item(Some(Item { version, .. })))) => Some(version.0),
            _ => None,
        });
        let ceiling = highest.max().unwrap_or_default() + operations.len() as u64;
        Self { operations, ceiling }
    }

    fn holds(&self) -> bool {
        self.goes_on(&mut vec![false; self.operations.len()], &Truth::default())
    }

    fn goes_on(&self, done: &mut Vec<bool>, truth: &Truth) -> bool {
        let pending = self.operations.iter().zip(done.iter()).filter(|(_, done)| !**done);
        let deadlines = pending.filter_map(|(operation, _)| Some(operation.answered.as_ref()?.0));
        let Some(deadline) = deadlines.min() else { return true };
        (0..done.len()).any(|next| {
            let NaiveOperation { asked, called, answered } = &self.operations[next];
            if done[next] || deadline < *called {
                return false;
            }
            done[next] = true;
            // Whoever was told a version has it; whoever changed nothing takes none.
            let versions = match answered {
                Some((_, Answer::Put { version, .. } | Answer::Deleted { version, .. })) => {
                    version.0.max(1) - 1..version.0
                }
                Some(_) => truth.version..truth.version + 1,
                None => truth.version..self.ceiling,
            };
            let holds = versions.filter(|before| truth.version <= *before).any(|before| {
                let mut then = Truth { items: truth.items.clone(), version: before };
                let answer = then.carry_out(asked);
                let changed = matches!(answer, Answer::Put { .. } | Answer::Deleted { .. });
                if !changed {
                    then.version = truth.version;
                }
                let fits = answered.as_ref().map_or(changed, |(_, told)| *told == answer);
                fits && self.goes_on(done, &then)
            });
            done[next] = false;
            holds
        })
    }
}

#[test]
fn short_histories_are_judged_as_by_trying_every_order() {
    let (mut held, mut failed) = (0, 0);
    for seed in 0..20_000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let operations = random.random_range(1..8);
        let given_up = [0.2, 0.5][random.random_range(0..2)];
        let taste = Taste { clients: 3, keys: 1, values: 2, operations, given_up };
        let mut lines = history_of_truth(random, &taste);
        for _ in 0..random.random_range(0..3) {
            if lines.iter().any(|line| matches!(line, Line::Answered(..))) {
                falsify(random, &mut lines);
            }
        }
        let judged = written(&lines).check();
        assert_eq!(judged.is_ok(), Naive::new(&lines).holds(), "seed {seed}: {judged:?}");
        if judged.is_ok() { held += 1 } else { failed += 1 }
    }
    assert!(500 < held && 500 < failed, "{held} held, {failed} failed");
}

#[test]
fn a_long_history_of_one_key_with_much_that_nobody_knows_is_judged() {
    let random = &mut StdRng::seed_from_u64(1);
    let taste = Taste { clients: 16, keys: 1, values: 1_000, operations: 20_000, given_up: 0.02 };
    let mut lines = history_of_truth(random, &taste);
    let checked = written(&lines).check().expect("it is true");
    assert!(200 < checked.unknown && 50 < checked.surfaced, "{checked:?}");
    while !falsify(random, &mut lines) {}
    written(&lines).check().expect_err("it is false");
}

//! How a history that does not hold reads.

use std::fmt::{self, Display, Formatter, Write as _};

use consensus::Index;
use consensus::store::{Answer, Condition, Item, Key};

use super::search::{Stuck, is_answered};
use super::{Doing, Operation, Outcome};

/// How many operations a reader is shown on either side.
const SHOWN: usize = 8;

/// Why the answers about a key cannot be explained.
pub(super) fn explanation(operations: &[Operation], key: &Key, stuck: &Stuck) -> String {
    let tried = if stuck.gave_up { "no order that was tried" } else { "no order" };
    let mut text = format!("{tried} explains what was told of key {}\n", key.escape_ascii());
    let hidden = stuck.taken.len().saturating_sub(SHOWN);
    if 0 < hidden {
        line(&mut text, format_args!("after {hidden} operations that can be explained, and"));
    } else {
        line(&mut text, "it was absent at first; then");
    }
    for number in &stuck.taken[hidden..] {
        line(&mut text, format_args!("    {}", operations[*number]));
    }
    let state = match &stuck.state {
        None => "the key is absent".to_owned(),
        Some((value, Some(version))) => {
            format!("it is {} of version {version}", value.escape_ascii())
        }
        Some((value, None)) => {
            format!("it is {} of a version that nobody was told", value.escape_ascii())
        }
    };
    if !stuck.awaited.is_empty() {
        line(&mut text, format_args!("{state}, and is so still for"));
        list(&mut text, operations, &stuck.awaited);
        line(&mut text, "but before that must come");
    } else {
        line(&mut text, format_args!("{state}, and next must be one of"));
    }
    list(&mut text, operations, &stuck.waiting);
    text
}

fn list(text: &mut String, operations: &[Operation], numbers: &[usize]) {
    for number in numbers.iter().take(SHOWN) {
        line(text, format_args!("    {}", operations[*number]));
    }
    if let Some(more) = numbers.len().checked_sub(SHOWN).filter(|more| 0 < *more) {
        line(text, format_args!("    or {more} more"));
    }
}

/// Two operations that contradict each other.
pub(super) fn pair(operations: &[Operation], what: &str, numbers: [usize; 2]) -> String {
    let mut text = format!("two operations {what}\n");
    for number in numbers {
        line(&mut text, format_args!("    {}", operations[number]));
    }
    text
}

fn line(text: &mut String, line: impl Display) {
    writeln!(text, "{line}").expect("a string takes every line");
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let called = self.called.at.as_secs_f64();
        let key = self.key.escape_ascii();
        match &self.outcome {
            Outcome::Answered(moment, _) => {
                write!(f, "{called:.3} to {:.3}", moment.at.as_secs_f64())?;
            }
            Outcome::Unknown | Outcome::Nothing => write!(f, "from {called:.3} on")?,
        }
        write!(f, " client {} ", self.client)?;
        match &self.doing {
            Doing::Put(value, condition) => {
                write!(f, "put {key} {}{}", value.escape_ascii(), If(condition))?;
            }
            Doing::Delete(condition) => write!(f, "delete {key}{}", If(condition))?,
            Doing::Get => write!(f, "get {key}")?,
        }
        match &self.outcome {
            Outcome::Answered(_, answer) if !is_answered(&self.doing, answer) => {
                write!(f, ": {answer:?}, which is no answer to that")
            }
            Outcome::Answered(_, answer) => write!(f, ": {}", Told(answer)),
            Outcome::Unknown => write!(f, ": no answer"),
            Outcome::Nothing => write!(f, ": refused"),
        }
    }
}

struct If<'a>(&'a Condition);

impl Display for If<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::Always => Ok(()),
            Condition::Absent => write!(f, " if absent"),
            Condition::Version(version) => write!(f, " if of version {version}"),
            Condition::Value(value) => write!(f, " if {}", value.escape_ascii()),
        }
    }
}

struct Told<'a>(&'a Answer);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Put { version, previous } => {
                write!(f, "set at version {version}, {}", Before(*previous))
            }
            Answer::Deleted { version, previous } => {
                write!(f, "deleted at version {version}, {}", Before(*previous))
            }
            Answer::Unmet(item) => write!(f, "unmet, {}", Has(item.as_ref())),
            Answer::Item(item) => write!(f, "{}", Has(item.as_ref())),
            Answer::Granted(..)
            | Answer::KeptAlive(..)
            | Answer::Revoked(_)
            | Answer::Opened(_)
            | Answer::Closed
            | Answer::NoLease(_)
            | Answer::NoSession(_)
            | Answer::Forgotten
            | Answer::Items(..)
            | Answer::Lease { .. } => write!(f, "{:?}", self.0),
        }
    }
}

struct Before(Option<Index>);

impl Display for Before {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => write!(f, "before it {version}"),
            None => write!(f, "absent before"),
        }
    }
}

struct Has<'a>(Option<&'a Item>);

impl Display for Has<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Item { value, version, created, .. }) => {
                write!(f, "{} of version {version}, created {created}", value.escape_ascii())
            }
            None => write!(f, "absent"),
        }
    }
}

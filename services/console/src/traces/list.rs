//! Which traces are shown in a list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::Traces;
use super::held::{Held, Kept};
use super::record::{OriginRecord, Record, Value};
use super::view::{Place, Summary};
use super::words::Word;

/// The most traces in one list.
pub const LIST_LIMIT: usize = 1_000;
const USUAL_LIMIT: usize = 100;

/// What a trace must be to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// A service that takes part; any if it is empty.
    pub service: String,
    /// A node that takes part, of the service if there is one; any if it is empty.
    pub node: String,
    /// Text in an id, a name, a service, an attribute or an error, in upper or lower case; any if
    /// it is empty.
    pub text: String,
    /// How long it takes at least.
    pub least: Duration,
    /// Whether a span must have failed.
    pub errors: bool,
    /// How many are listed; never more than [`LIST_LIMIT`].
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            service: String::new(),
            node: String::new(),
            text: String::new(),
            least: Duration::ZERO,
            errors: false,
            limit: USUAL_LIMIT,
        }
    }
}

impl Filter {
    /// Sets what a part of a query says, such as `least_ms=20`; an empty value says nothing.
    ///
    /// # Errors
    ///
    /// Says what is wrong, why, and what would be right.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |right: &str| format!("{name}={value}: not understood; {right}");
        match name {
            "service" => self.service = value.to_owned(),
            "node" => self.node = value.to_owned(),
            "text" => self.text = value.to_owned(),
            "least_ms" if !value.is_empty() => {
                let least = value.parse::<f64>().ok().map(|least| least / 1_000.0);
                let least = least.and_then(|least| Duration::try_from_secs_f64(least).ok());
                self.least = least.ok_or_else(|| wrong("give milliseconds, such as 20"))?;
            }
            "errors" => {
                self.errors = match value {
                    "1" | "true" => true,
                    "" | "0" | "false" => false,
                    _ => return Err(wrong("give 1 or 0")),
                }
            }
            "limit" if !value.is_empty() => {
                let limit = value.parse().ok().filter(|limit| (1..=LIST_LIMIT).contains(limit));
                let right = || wrong(&format!("give a number from 1 to {LIST_LIMIT}"));
                self.limit = limit.ok_or_else(right)?;
            }
            "least_ms" | "limit" => (),
            _ => return Err(wrong("filters are service, node, text, least_ms, errors and limit")),
        }
        Ok(())
    }
}

impl Traces {
    /// The traces that pass a filter, those that started last first.
    pub fn list(&self, filter: &Filter) -> Vec<Summary> {
        let mut all: Vec<&Held> = self.held.iter().collect();
        all.sort_by_cached_key(|held| (Reverse(held.start()), held.id));
        let author = Author::of(self, filter);
        let search = Search::of(self, &filter.text);
        let passing = all.into_iter().filter(|held| {
            (!filter.errors || held.spans.iter().any(|span| span.status == StatusCode::Error))
                && u128::from(held.end() - held.start()) >= filter.least.as_nanos()
                && author.as_ref().is_none_or(|author| author.takes_part(held))
                && search.as_ref().is_none_or(|search| search.finds(held))
        });
        let summaries = passing.filter_map(|held| self.summary(held));
        summaries.take(filter.limit.min(LIST_LIMIT)).collect()
    }
}

/// Who a span must be of.
struct Author<'a> {
    traces: &'a Traces,
    node: &'a str,
    /// The origins of the service, and whether each is of the node, unless a span of it says that
    /// it is of another.
    origins: BTreeMap<Word, bool>,
}

impl<'a> Author<'a> {
    fn of(traces: &'a Traces, filter: &'a Filter) -> Option<Self> {
        let Filter { service, node, .. } = filter;
        let places = traces.origins.iter().map(|(origin, _)| (origin, traces.origin_place(origin)));
        let same = places.filter(|(_, place)| service.is_empty() || place.service == *service);
        let of_node = |place: Place| place.node.as_ref() == Some(node);
        let wanted = !service.is_empty() || !node.is_empty();
        wanted.then(|| Self {
            traces,
            node,
            origins: same.map(|(origin, place)| (origin, of_node(place))).collect(),
        })
    }

    fn takes_part(&self, held: &Held) -> bool {
        held.spans.iter().any(|span| {
            self.origins.get(&span.origin).is_some_and(|of_node| {
                self.node.is_empty()
                    || match self.traces.node(&Record::read(&span.record, span.start)) {
                        Some(node) => node == self.node,
                        None => *of_node,
                    }
            })
        })
    }
}

/// A text that is looked for.
struct Search {
    /// In lower case.
    text: String,
    /// Words that have it.
    words: BTreeSet<Word>,
    /// Origins that have it in a value: all have the same keys.
    origins: BTreeSet<Word>,
}

impl Search {
    fn of(traces: &Traces, text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let none = BTreeSet::new;
        let mut search = Self { text: text.to_lowercase(), words: none(), origins: none() };
        let words = traces.words.iter().filter(|(_, word)| search.is_in(word));
        search.words = words.map(|(word, _)| word).collect();
        let origins = traces.origins.iter().filter(|(_, record)| {
            let record = OriginRecord::read(record);
            search.is_in(record.scope)
                || record.resource.kept.iter().any(|(_, value)| search.is_in_value(value))
        });
        search.origins = origins.map(|(origin, _)| origin).collect();
        Some(search)
    }

    fn finds(&self, held: &Held) -> bool {
        self.is_in(&held.id.to_string()) || held.spans.iter().any(|span| self.is_in_span(span))
    }

    fn is_in_span(&self, span: &Kept) -> bool {
        if self.words.contains(&span.name) || self.origins.contains(&span.origin) {
            return true;
        }
        let record = Record::read(&span.record, span.start);
        self.is_in(record.message)
            || record.words().any(|word| self.words.contains(&word))
            || record.attributes.kept.iter().any(|(_, value)| self.is_in_value(value))
            || self.could_be_id() && self.is_in(&span.id.to_string())
    }

    fn could_be_id(&self) -> bool {
        self.text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    fn is_in_value(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Text(text) => self.is_in(text),
            Value::Known(word) => self.words.contains(word),
            Value::Flag(flag) => self.is_in(if *flag { "true" } else { "false" }),
            Value::Integer(number) => self.is_in(&number.to_string()),
            Value::Double(number) => self.is_in(&number.to_string()),
            Value::List(items) => items.iter().any(|item| self.is_in_value(item)),
            Value::Map(items) => {
                items.iter().any(|(key, item)| self.is_in(key) || self.is_in_value(item))
            }
            Value::Absent | Value::Bytes(_) => false,
        }
    }

    fn is_in(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return text.to_lowercase().contains(&self.text);
        }
        let (wanted, first) = (self.text.as_bytes(), self.text.as_bytes()[0]);
        let mut parts = text.as_bytes().windows(wanted.len());
        parts.any(|part| part[0].to_ascii_lowercase() == first && part.eq_ignore_ascii_case(wanted))
    }
}

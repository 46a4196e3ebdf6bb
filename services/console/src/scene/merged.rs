//! Several frames told as one: what holds after them, and all that happened in them.
//!
//! What a frame tells of one process is passed on as it is, and never taken apart.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::picture::Told;

/// These frames, which follow each other, as one with the time and number of the last; nothing if
/// one of them makes no sense.
pub(super) fn merged<'a>(number: u64, frames: impl Iterator<Item = &'a Told>) -> Option<Told> {
    let mut whole = Whole::default();
    for frame in frames {
        let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(frame.json()).ok()?;
        // Who is told of and gone in the same frame is gone after it.
        let (gone, others) = fields.into_iter().partition::<Vec<_>, _>(|(name, _)| *name == GONE);
        for (name, value) in others.into_iter().chain(gone) {
            whole.add(name, value)?;
        }
    }
    Some(Told::new("frame", number, &whole))
}

const GONE: &str = "gone";

/// What is known by a name of its own: a process, or a promise.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// An item of a list, and its name if only the latest of that name is kept.
type Item<'a> = (Option<&'a str>, &'a RawValue);

/// The fields of all frames so far.
#[derive(Default)]
struct Whole<'a> {
    lists: BTreeMap<&'a str, Vec<Item<'a>>>,
    /// Of those that are made of parts, the latest of each part.
    parts: BTreeMap<&'a str, BTreeMap<String, &'a RawValue>>,
    /// Of all others, the latest.
    others: BTreeMap<&'a str, &'a RawValue>,
}

impl<'a> Whole<'a> {
    fn add(&mut self, name: &'a str, value: &'a RawValue) -> Option<()> {
        let text = value.get();
        if text.starts_with('[') {
            let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = values.into_iter().map(|value| Some((id(name, value)?, value)));
            self.put(name, items.collect::<Option<_>>()?);
        } else if text.starts_with('{') {
            let parts: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            self.parts.entry(name).or_default().extend(parts);
        } else {
            self.others.insert(name, value);
        }
        Some(())
    }

    fn put(&mut self, name: &'a str, items: Vec<Item<'a>>) {
        let ids = items.iter().filter_map(|(id, _)| *id).collect::<BTreeSet<_>>();
        let is_old = |(id, _): &Item<'_>| id.is_some_and(|id| ids.contains(id));
        if name == "nodes"
            && let Some(gone) = self.lists.get_mut(GONE)
        {
            // Who has come again is not gone.
            gone.retain(|(_, gone)| !ids.contains(gone.get()));
        }
        let list = self.lists.entry(name).or_default();
        list.retain(|item| !is_old(item));
        list.extend(items);
    }
}

/// The name of an item, if only the latest of that name is kept; nothing if it lacks one.
fn id<'a>(list: &str, value: &'a RawValue) -> Option<Option<&'a str>> {
    let named = || serde_json::from_str::<Named<'_>>(value.get()).ok();
    Some(match list {
        "nodes" => Some(named()?.key?.get()),
        "promises" => Some(named()?.id?.get()),
        _ => None,
    })
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.others {
            map.serialize_entry(name, value)?;
        }
        for (name, parts) in &self.parts {
            map.serialize_entry(name, parts)?;
        }
        for (name, items) in &self.lists {
            let values = items.iter().map(|(_, value)| value).collect::<Vec<_>>();
            map.serialize_entry(name, &values)?;
        }
        map.end()
    }
}

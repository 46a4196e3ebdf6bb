//! What the store holds as JSON, and bytes as text.

use raft::client::{Event, Item, Outcome, Written};
use serde_json::{Map, Value, json};

use crate::commands::bytes::put;

pub(super) use crate::commands::bytes::{shortened, shown};

/// What a key has, as JSON.
pub(super) fn item(item: &Item) -> Value {
    let mut object = Map::new();
    put(&mut object, "key", &item.key);
    put(&mut object, "value", &item.value);
    object.insert("version".into(), item.version.into());
    object.insert("created".into(), item.created.into());
    object.insert("lease".into(), item.lease.into());
    object.into()
}

/// An event, as JSON.
pub(super) fn event(event: &Event, kind: &str, value: Option<&Item>) -> Value {
    let mut object = Map::new();
    object.insert("version".into(), event.version.into());
    object.insert("event".into(), kind.into());
    put(&mut object, "key", &event.key);
    if let Some(item) = value {
        put(&mut object, "value", &item.value);
        object.insert("created".into(), item.created.into());
        object.insert("lease".into(), item.lease.into());
    }
    object.into()
}

/// What became of a write, as JSON.
pub(super) fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Written(Written { version, previous }) => {
            json!({ "done": true, "version": version, "previous": previous })
        }
        Outcome::Unmet(current) => {
            json!({ "done": false, "current": current.as_ref().map(item) })
        }
    }
}

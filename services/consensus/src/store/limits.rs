//! The limits of what can be asked, and of what is told at once.

use super::{Action, Condition, KEY_LIMIT, Key, Query, RANGE_LIMIT, TTL_LIMITS, VALUE_LIMIT};

/// No log grows as long as this: indices, and what is named by one, are below.
const INDEX_LIMIT: u64 = 1 << 63;

/// A field, and what is wrong with it.
type Objection = (&'static str, &'static str);

const NO_KEY: &str = "must have at least one byte";
const LONG_KEY: &str = "must have at most 4,096 bytes";
const LONG_VALUE: &str = "must have at most 1,048,576 bytes";

/// Why the limits forbid an action: the field, and what is wrong with it. The store relies on it:
/// whoever proposes an action must have checked it.
///
/// # Errors
///
/// When they do.
pub fn check(action: &Action) -> Result<(), Objection> {
    match action {
        Action::Put { key, value, condition, lease } => {
            check_key(key)?;
            refuse(VALUE_LIMIT < value.len(), ("value", LONG_VALUE))?;
            check_index("lease", lease.map_or(0, |lease| lease.0))?;
            check_condition(condition)
        }
        Action::Delete { key, condition } => {
            check_key(key)?;
            check_condition(condition)
        }
        Action::Grant(ttl) => {
            let (least, most) = TTL_LIMITS;
            let outside = *ttl < least || most < *ttl;
            refuse(outside, ("ttl_ms", "must be between 100 and 86,400,000"))
        }
        Action::KeepAlive(lease) | Action::Revoke(lease) => check_index("lease", lease.0),
        Action::CloseSession(session) => check_index("session", session.0),
        Action::OpenSession => Ok(()),
    }
}

/// Why the limits forbid a query: the field, and what is wrong with it.
///
/// # Errors
///
/// When they do.
pub fn check_query(query: &Query) -> Result<(), Objection> {
    match query {
        Query::Get(key) => check_key(key),
        Query::Range { prefix, after, limit } => {
            let long = |key: &Key| KEY_LIMIT < key.len();
            refuse(long(prefix), ("prefix", LONG_KEY))?;
            refuse(after.as_ref().is_some_and(long), ("after", LONG_KEY))?;
            let outside = !(1..=RANGE_LIMIT).contains(limit);
            refuse(outside, ("limit", "must be between 1 and 10,000"))
        }
        Query::Lease(_) => Ok(()),
    }
}

fn check_key(key: &Key) -> Result<(), Objection> {
    refuse(key.is_empty(), ("key", NO_KEY))?;
    refuse(KEY_LIMIT < key.len(), ("key", LONG_KEY))
}

fn check_condition(condition: &Condition) -> Result<(), Objection> {
    match condition {
        Condition::Value(value) => refuse(VALUE_LIMIT < value.len(), ("condition", LONG_VALUE)),
        Condition::Version(version) => check_index("condition", version.0),
        Condition::Always | Condition::Absent => Ok(()),
    }
}

fn check_index(field: &'static str, index: u64) -> Result<(), Objection> {
    refuse(INDEX_LIMIT <= index, (field, "beyond anything that a log reaches"))
}

fn refuse<E>(wrong: bool, objection: E) -> Result<(), E> {
    if wrong { Err(objection) } else { Ok(()) }
}

/// The first entries: at most so many, and no more than so many bytes unless the first alone has
/// more; and whether there are more of them.
pub(super) fn first_within<T>(
    entries: impl Iterator<Item = T>,
    count: usize,
    bytes: usize,
    size: impl Fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let mut taken = Vec::new();
    let mut left = bytes;
    for entry in entries {
        let size = size(&entry);
        if count <= taken.len() || (left < size && !taken.is_empty()) {
            return (taken, true);
        }
        left = left.saturating_sub(size);
        taken.push(entry);
    }
    (taken, false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{LeaseId, SessionId, Value};
    use super::*;
    use crate::Index;

    fn bytes(len: usize) -> Value {
        vec![b'x'; len].into()
    }

    fn put(key: usize, value: usize, condition: Condition) -> Action {
        Action::Put { key: bytes(key), value: bytes(value), lease: None, condition }
    }

    fn delete(key: usize, condition: Condition) -> Action {
        Action::Delete { key: bytes(key), condition }
    }

    /// The field to which the check objects.
    fn field(action: &Action) -> Option<&'static str> {
        check(action).err().map(|(field, _)| field)
    }

    #[test]
    fn every_limit_of_an_action_is_checked_where_it_lies() {
        let of_value = |len| Condition::Value(bytes(len));
        for condition in [Condition::Always, Condition::Absent, Condition::Version(Index(3))] {
            assert_eq!(field(&put(1, 0, condition.clone())), None);
            assert_eq!(field(&delete(KEY_LIMIT, condition)), None);
        }
        assert_eq!(field(&put(KEY_LIMIT, VALUE_LIMIT, of_value(VALUE_LIMIT))), None);
        assert_eq!(check(&put(0, 1, Condition::Always)), Err(("key", NO_KEY)));
        assert_eq!(check(&put(KEY_LIMIT + 1, 1, Condition::Always)), Err(("key", LONG_KEY)));
        assert_eq!(field(&put(1, VALUE_LIMIT + 1, Condition::Always)), Some("value"));
        assert_eq!(field(&put(1, 1, of_value(VALUE_LIMIT + 1))), Some("condition"));
        assert_eq!(check(&delete(0, Condition::Always)), Err(("key", NO_KEY)));
        assert_eq!(check(&delete(KEY_LIMIT + 1, Condition::Always)), Err(("key", LONG_KEY)));
        assert_eq!(field(&delete(1, of_value(VALUE_LIMIT + 1))), Some("condition"));
        for ttl_ms in [0, 99, 86_400_001] {
            assert_eq!(field(&Action::Grant(Duration::from_millis(ttl_ms))), Some("ttl_ms"));
        }
        for ttl_ms in [100, 86_400_000] {
            assert_eq!(field(&Action::Grant(Duration::from_millis(ttl_ms))), None);
        }
        for action in [
            Action::KeepAlive(LeaseId(1)),
            Action::Revoke(LeaseId(1)),
            Action::OpenSession,
            Action::CloseSession(SessionId(1)),
        ] {
            assert_eq!(field(&action), None);
        }
    }

    #[test]
    fn every_limit_of_a_query_is_checked_where_it_lies() {
        let field = |query: &Query| check_query(query).err().map(|(field, _)| field);
        let range = |prefix, after: Option<usize>, limit| {
            field(&Query::Range { prefix: bytes(prefix), after: after.map(bytes), limit })
        };
        assert_eq!(field(&Query::Get(bytes(0))), Some("key"));
        assert_eq!(field(&Query::Get(bytes(1))), None);
        assert_eq!(field(&Query::Get(bytes(KEY_LIMIT))), None);
        assert_eq!(field(&Query::Get(bytes(KEY_LIMIT + 1))), Some("key"));
        assert_eq!(field(&Query::Lease(LeaseId(1))), None);
        assert_eq!(range(0, None, 1), None);
        assert_eq!(range(KEY_LIMIT, Some(KEY_LIMIT), RANGE_LIMIT), None);
        assert_eq!(range(KEY_LIMIT + 1, None, 1), Some("prefix"));
        assert_eq!(range(0, Some(KEY_LIMIT + 1), 1), Some("after"));
        assert_eq!(range(0, None, 0), Some("limit"));
        assert_eq!(range(0, None, RANGE_LIMIT + 1), Some("limit"));
    }

    #[test]
    fn as_many_entries_are_taken_as_fit_and_one_at_least() {
        let first = |sizes: &[usize], count, bytes| {
            let (taken, more) = first_within(sizes.iter(), count, bytes, |size| **size);
            (taken.len(), more)
        };
        assert_eq!(first(&[], 5, 10), (0, false));
        assert_eq!(first(&[5, 5], 5, 10), (2, false));
        assert_eq!(first(&[5, 5, 1], 5, 10), (2, true));
        assert_eq!(first(&[5, 6, 1], 5, 10), (1, true));
        assert_eq!(first(&[11, 1], 5, 10), (1, true));
        assert_eq!(first(&[11], 5, 10), (1, false));
        assert_eq!(first(&[1, 1, 1], 2, 10), (2, true));
        assert_eq!(first(&[1, 1], 2, 10), (2, false));
    }
}

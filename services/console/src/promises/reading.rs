//! Numbers and texts out of views, which may be anything.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use serde_json::Value;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A whole number, written as one or as decimal text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// A whole number in a field.
pub(super) fn field(view: &Value, name: &str) -> Option<u64> {
    number(view.get(name)?)
}

/// What a field has that may be null: nothing if it is not there, or is something else.
pub(super) fn optional<T>(
    view: &Value,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<Option<T>> {
    let value = view.get(name)?;
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}

/// All of a list that is not longer than it may be; nothing if one of them makes no sense.
pub(super) fn list<T>(
    value: &Value,
    most: usize,
    read: impl FnMut(&Value) -> Option<T>,
) -> Option<Vec<T>> {
    let list = value.as_array().filter(|list| list.len() <= most)?;
    list.iter().map(read).collect()
}

/// A number that stands for a text.
pub(super) fn print_of_text(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A number that stands for a view: the same view has the same.
pub(super) fn print_of(view: &Value) -> Option<u64> {
    let mut writer = Print(DefaultHasher::new());
    serde_json::to_writer(&mut writer, view).ok()?;
    Some(writer.0.finish())
}

struct Print(DefaultHasher);

impl io::Write for Print {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time of day, as `12:34:56.789`, of UTC.
pub(super) fn clock(at: u64) -> String {
    let of_day = at % DAY_MS;
    let (seconds, ms) = (of_day / 1_000, of_day % 1_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}", seconds % 60)
}

//! A line of a log as a person reads it.

use serde_json::{Map, Value};

use crate::paint::{Colour, Palette};

/// Renders one line. A JSON object with a level becomes `12:34:56.789 INFO message key=value`;
/// anything else stays as it is. Control characters are escaped: what a peer said must not steer
/// the reader's terminal.
pub(crate) fn render(line: &str, palette: Palette) -> String {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(event) if event.get("level").is_some_and(Value::is_string) => pretty(&event, palette),
        _ => printable(line),
    }
}

/// When a line was written, as its own text says.
pub(crate) fn timestamp(line: &str) -> Option<String> {
    let event = serde_json::from_str::<Map<String, Value>>(line).ok()?;
    Some(event.get("timestamp")?.as_str()?.to_owned())
}

/// What a line says is wrong: all that stands on standard error, and events that are errors.
pub(crate) fn complaint(line: &str, on_stderr: bool) -> Option<String> {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(event) if event.get("level").is_some_and(|level| level == "ERROR") => {
            Some(said(&event, Palette::plain()).join(" "))
        }
        _ => on_stderr.then(|| printable(line.trim())),
    }
}

fn pretty(event: &Map<String, Value>, palette: Palette) -> String {
    let mut parts = Vec::new();
    if let Some(timestamp) = event.get("timestamp").and_then(Value::as_str) {
        // The time of the day, to the millisecond.
        let time = timestamp.get(11..23).unwrap_or(timestamp);
        parts.push(palette.paint(Colour::Grey, printable(time)));
    }
    let level = event.get("level").and_then(Value::as_str).unwrap_or_default();
    parts.push(palette.paint(colour(level), format!("{:5}", printable(level))));
    parts.extend(said(event, palette));
    parts.join(" ")
}

/// The message of an event, and its other fields as `name=value`.
fn said(event: &Map<String, Value>, palette: Palette) -> Vec<String> {
    let mut parts = Vec::new();
    // Either nested or flattened.
    let nested = event.get("fields").and_then(Value::as_object);
    let fields = nested.unwrap_or(event);
    if let Some(message) = fields.get("message") {
        parts.push(plain(message));
    }
    const BESIDE: [&str; 8] =
        ["fields", "level", "message", "service", "span", "spans", "target", "timestamp"];
    for (name, value) in fields {
        if !BESIDE.contains(&name.as_str()) {
            parts
                .push(palette.paint(Colour::Grey, format!("{}=", printable(name))) + &plain(value));
        }
    }
    parts
}

fn colour(level: &str) -> Colour {
    match level {
        "ERROR" => Colour::Red,
        "WARN" => Colour::Yellow,
        "INFO" => Colour::Green,
        _ => Colour::Grey,
    }
}

/// A JSON value: a string without its quotes.
fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => printable(text),
        None => printable(&value.to_string()),
    }
}

fn printable(text: &str) -> String {
    if !text.contains(|c: char| c.is_control() && c != '\t') {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            result.extend(c.escape_default());
        } else {
            result.push(c);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(line: &str) -> String {
        render(line, Palette::plain())
    }

    #[test]
    fn a_json_event_becomes_one_short_line() {
        let nested = concat!(
            r#"{"timestamp":"2026-11-21T08:49:12.345678Z","level":"INFO","target":"overlay","#,
            r#""fields":{"message":"leads","term":3,"peer":"n2"},"span":{"name":"x"}}"#,
        );
        assert_eq!(rendered(nested), "08:49:12.345 INFO  leads term=3 peer=n2");
        let flat = concat!(
            r#"{"timestamp":"2026-11-21T08:49:12.345678Z","level":"WARN","service":"raft-node","#,
            r#""target":"overlay","message":"slow","ms":5}"#,
        );
        assert_eq!(rendered(flat), "08:49:12.345 WARN  slow ms=5");
        assert_eq!(timestamp(flat).as_deref(), Some("2026-11-21T08:49:12.345678Z"));
    }

    #[test]
    fn what_is_no_event_stays_as_it_is() {
        for line in ["thread 'main' panicked at x.rs", "{\"a\":1}", "[1]", "{", ""] {
            assert_eq!(rendered(line), line);
            assert_eq!(timestamp(line), None);
        }
        let odd = r#"{"level":"INFO","timestamp":"ü","fields":3}"#;
        assert_eq!(rendered(odd), "ü INFO ");
    }

    #[test]
    fn errors_and_standard_error_are_complaints() {
        let error = r#"{"level":"ERROR","message":"cannot go on","reason":"no file"}"#;
        let expected = Some("cannot go on reason=no file".to_owned());
        assert_eq!(complaint(error, false), expected);
        assert_eq!(complaint(error, true), expected);
        assert_eq!(complaint(&error.replace("ERROR", "INFO"), false), None);
        assert_eq!(complaint("panicked", true).as_deref(), Some("panicked"));
        assert_eq!(complaint("ready", false), None);
    }

    #[test]
    fn nobody_steers_the_terminal() {
        assert_eq!(rendered("a\x1b[2Jb\rc\td"), "a\\u{1b}[2Jb\\rc\td");
        let line = r#"{"level":"INFO","fields":{"message":"a\u001b[31mb\nc"}}"#;
        assert_eq!(rendered(line), "INFO  a\\u{1b}[31mb\\nc");
    }
}

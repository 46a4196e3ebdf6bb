//! The last lines of the log of each process, as it tells them.

use std::collections::{BTreeMap, VecDeque};

use proto::ensemble::observe::v1::{LogLevel, LogLine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits::{EXACT, exact, shortened};

/// Lines of one process.
const LINES_LIMIT: usize = 500;
/// Bytes of the lines of one process.
const BYTES_LIMIT: usize = 256 << 10;
/// Bytes of all lines.
const ALL_BYTES_LIMIT: usize = 1 << 20;
/// Characters of a message, and bytes of the fields beside it.
const TEXT_LIMIT: usize = 8 << 10;
/// Characters of the name of a part of a program.
const TARGET_LIMIT: usize = 128;
/// What a line takes beside its text.
const LINE_BYTES: usize = 128;
/// Milliseconds between two times that pages are told that there are more lines.
const NEWS_MS: u64 = 500;

/// How grave a line is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug)]
struct Line {
    number: u64,
    /// When it was written, by the clock of its process.
    at: u64,
    level: Level,
    target: String,
    message: String,
    /// As JSON; what that is in memory may be many times larger.
    fields: String,
    cut: bool,
}

impl Line {
    fn bytes(&self) -> usize {
        LINE_BYTES + self.target.len() + self.message.len() + self.fields.len()
    }

    fn as_json(&self) -> Value {
        let Self { number, at, level, target, message, fields, cut } = self;
        let fields = serde_json::from_str(fields).map_or_else(|_| json!({}), exact);
        json!({ "number": number, "at": at, "level": level, "target": target,
                "message": message, "fields": fields, "cut": cut })
    }
}

/// The lines of one process, the oldest first.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the newest.
    last: u64,
}

impl Kept {
    /// Drops the oldest; how many bytes that makes free.
    fn drop_first(&mut self) -> usize {
        let bytes = self.lines.pop_front().map_or(0, |line| line.bytes());
        self.bytes -= bytes;
        bytes
    }
}

/// The last lines of each process, by its key.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    kept: BTreeMap<String, Kept>,
    bytes: usize,
    /// The number of the newest line of all.
    number: u64,
    /// When pages were told of new lines last, and up to which number.
    told: (u64, u64),
}

impl Logs {
    /// A process has written a line.
    pub(crate) fn put(&mut self, key: &str, line: LogLine) {
        let level = match line.level() {
            LogLevel::Error => Level::Error,
            LogLevel::Warn => Level::Warn,
            LogLevel::Unspecified | LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
            LogLevel::Trace => Level::Trace,
        };
        let is_object = serde_json::from_str::<Value>(&line.fields).is_ok_and(|it| it.is_object());
        let fits = line.fields.len() <= TEXT_LIMIT + 2;
        let fields = if is_object && fits { line.fields } else { "{}".to_owned() };
        let message = shortened(line.message, TEXT_LIMIT);
        let target = shortened(line.target, TARGET_LIMIT);
        let (at, cut) = (line.at_ms.min(EXACT), line.cut || !fits);
        self.keep(key, Line { number: 0, at, level, target, message, fields, cut });
    }

    /// Lines of a process were missed.
    pub(crate) fn missed(&mut self, at: u64, key: &str, count: u64) {
        let message = format!("{count} lines were missed: there were too many");
        let (target, fields) = (String::new(), "{}".to_owned());
        let line = Line { number: 0, at, level: Level::Warn, target, message, fields, cut: false };
        self.keep(key, line);
    }

    fn keep(&mut self, key: &str, mut line: Line) {
        self.number += 1;
        line.number = self.number;
        let kept = self.kept.entry(key.to_owned()).or_default();
        kept.last = self.number;
        kept.bytes += line.bytes();
        self.bytes += line.bytes();
        kept.lines.push_back(line);
        while kept.lines.len() > LINES_LIMIT || kept.bytes > BYTES_LIMIT {
            self.bytes -= kept.drop_first();
        }
        while self.bytes > ALL_BYTES_LIMIT {
            // Who writes much takes no room from who writes little.
            let most = self.kept.values_mut().max_by_key(|kept| kept.bytes);
            self.bytes -= most.map_or(0, Kept::drop_first);
        }
    }

    /// A process is not shown any more.
    pub(crate) fn forget(&mut self, key: &str) {
        self.bytes -= self.kept.remove(key).map_or(0, |kept| kept.bytes);
    }

    /// The number of the newest line of each process.
    pub(crate) fn last(&self) -> BTreeMap<String, u64> {
        self.kept.iter().map(|(key, kept)| (key.clone(), kept.last)).collect()
    }

    /// The same of those that have written since pages were told last, now and then.
    pub(crate) fn news(&mut self, at: u64) -> BTreeMap<String, u64> {
        let (when, number) = self.told;
        if number == self.number || at.abs_diff(when) < NEWS_MS {
            return BTreeMap::new();
        }
        self.told = (at, self.number);
        let new = self.kept.iter().filter(|(_, kept)| kept.last > number);
        new.map(|(key, kept)| (key.clone(), kept.last)).collect()
    }

    /// The lines of a process that are as grave as `least` and newer than the one with the number
    /// `after`, the oldest first.
    pub(crate) fn list(&self, key: &str, least: Level, after: u64) -> Value {
        let kept = self.kept.get(key);
        let lines = kept.into_iter().flat_map(|kept| &kept.lines);
        let lines = lines.filter(|line| line.level <= least && line.number > after);
        let lines = lines.map(Line::as_json).collect::<Vec<_>>();
        json!({ "node": key, "last": kept.map_or(0, |kept| kept.last), "lines": lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: LogLevel, message: &str, fields: &str) -> LogLine {
        LogLine {
            at_ms: 1_000,
            level: level.into(),
            target: "raft::service".into(),
            message: message.into(),
            fields: fields.into(),
            cut: false,
        }
    }

    /// What is listed of a process.
    fn lines(logs: &Logs, key: &str, least: Level, after: u64) -> Vec<Value> {
        let list = logs.list(key, least, after);
        list["lines"].as_array().expect("a list").clone()
    }

    #[test]
    fn lines_are_listed_by_process_level_and_number() {
        let mut logs = Logs::default();
        logs.put("raft/1", line(LogLevel::Info, "serving", r#"{"term":3}"#));
        logs.put("raft/2", line(LogLevel::Warn, "of another", "{}"));
        logs.put("raft/1", line(LogLevel::Error, "<b>lost</b>", "{}"));
        logs.missed(7, "raft/1", 12);
        let all = lines(&logs, "raft/1", Level::Trace, 0);
        assert_eq!(all.len(), 3);
        assert_eq!(
            all[0],
            json!({ "number": 1, "at": 1_000, "level": "info", "target": "raft::service",
                    "message": "serving", "fields": { "term": 3 }, "cut": false })
        );
        assert_eq!((&all[1]["message"], &all[1]["number"]), (&json!("<b>lost</b>"), &json!(3)));
        assert!(all[2]["message"].as_str().is_some_and(|text| text.starts_with("12 lines")));
        assert_eq!(lines(&logs, "raft/1", Level::Error, 0).len(), 1);
        assert_eq!(lines(&logs, "raft/1", Level::Trace, 1).len(), 2);
        assert_eq!(
            logs.list("raft/3", Level::Trace, 0),
            json!({"node":"raft/3","last":0,"lines":[]})
        );
    }

    #[test]
    fn pages_are_told_now_and_then_who_has_written() {
        let mut logs = Logs::default();
        assert!(logs.news(1_000).is_empty());
        logs.put("a/1", line(LogLevel::Info, "x", "{}"));
        assert_eq!(logs.news(1_000), BTreeMap::from([("a/1".into(), 1)]));
        logs.put("a/2", line(LogLevel::Info, "x", "{}"));
        assert!(logs.news(1_000 + NEWS_MS - 1).is_empty(), "too soon");
        assert_eq!(logs.news(1_000 + NEWS_MS), BTreeMap::from([("a/2".into(), 2)]));
        assert!(logs.news(9_000).is_empty());
        logs.forget("a/1");
        assert_eq!(logs.last(), BTreeMap::from([("a/2".into(), 2)]));
    }

    #[test]
    fn no_process_makes_it_keep_more_than_it_may() {
        let mut logs = Logs::default();
        logs.put("quiet/1", line(LogLevel::Info, "the only one", "{}"));
        let long = "ü".repeat(20_000);
        let nested = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        for number in 0..8_000 {
            let key = format!("loud/{}", number % 40);
            let said = match number % 4 {
                0 => line(LogLevel::Info, &long, "{}"),
                1 => line(LogLevel::Info, "large fields", &format!("{{\"a\":\"{long}\"}}")),
                2 => line(LogLevel::Info, "nested fields", &format!("{{\"a\":{nested}}}")),
                _ => LogLine { level: 99, at_ms: u64::MAX, ..line(LogLevel::Info, "x", "7") },
            };
            logs.put(&key, said);
        }
        let bytes = logs.kept.values().map(|kept| kept.bytes).sum::<usize>();
        assert_eq!(bytes, logs.bytes);
        assert!(bytes <= ALL_BYTES_LIMIT, "{bytes} bytes");
        assert!(logs.kept.values().all(|kept| kept.lines.len() <= LINES_LIMIT));
        assert_eq!(lines(&logs, "quiet/1", Level::Info, 0).len(), 1, "it is not crowded out");
        for line in lines(&logs, "loud/1", Level::Info, 0) {
            assert!(line.to_string().len() < 4 * TEXT_LIMIT + 1_000, "{line}");
        }
        for key in logs.last().into_keys() {
            logs.forget(&key);
        }
        assert_eq!(logs.bytes, 0);
    }
}

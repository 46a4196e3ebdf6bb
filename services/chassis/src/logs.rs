//! The log of this process as it is written, for whoever watches. While nobody does, a line costs
//! one look at a number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::ensemble::observe::v1::watch_response::Seen;
use proto::ensemble::observe::v1::{LogLevel, LogLine};
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that a watcher may lag behind before it misses some.
const LINES_LIMIT: usize = 512;
/// Bytes of a line's text; what is longer is cut.
const TEXT_LIMIT: usize = 8 << 10;
/// Bytes of the name of a part of the program.
const TARGET_LIMIT: usize = 128;
/// Lines that a watcher is told in a second.
const RATE_LIMIT: usize = 200;
/// Parts of the program that carry lines to watchers: what they say about that is not told, since
/// telling it would have them say more.
const CARRIERS: [&str; 10] = [
    "axum",
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "rustls",
    "tokio",
    "tokio_rustls",
    "tonic",
    "tower",
];

/// The log of this process. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: broadcast::Sender<Arc<LogLine>>,
    /// How many watch lines down to each level.
    watchers: [AtomicUsize; LogLevel::Trace as usize + 1],
}

impl Default for Logs {
    fn default() -> Self {
        let lines = broadcast::Sender::new(LINES_LIMIT);
        Self(Arc::new(Shared { lines, watchers: Default::default() }))
    }
}

impl Logs {
    /// Begins to watch lines that are as grave as this, or graver.
    pub(crate) fn watch(&self, least: LogLevel) -> Tap {
        self.0.watchers[least as usize].fetch_add(1, Ordering::Relaxed);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lines = self.0.lines.subscribe();
        Tap { logs: self.clone(), lines, least, seconds, room: RATE_LIMIT, missed: 0 }
    }

    fn is_watched(&self, level: LogLevel) -> bool {
        let watchers = &self.0.watchers[level as usize..];
        watchers.iter().any(|watchers| watchers.load(Ordering::Relaxed) > 0)
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level(*metadata.level());
        let part = metadata.target().split("::").next().unwrap_or_default();
        if self.is_watched(level) && !CARRIERS.contains(&part) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            // An error means that the last watcher has just gone away.
            let _ = self.0.lines.send(Arc::new(line(level, metadata.target(), fields)));
        }
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

fn line(level: LogLevel, target: &str, Fields(mut fields): Fields) -> LogLine {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut cut = Cut { room: TEXT_LIMIT, happened: false };
    let message = match fields.remove("message") {
        Some(Value::String(message)) => cut.text(message),
        Some(message) => cut.text(message.to_string()),
        None => String::new(),
    };
    let fields = fields.into_iter();
    let fields = fields.filter_map(|(name, value)| Some((name.into(), cut.field(name, value)?)));
    let fields = fields.collect::<Map<_, _>>();
    LogLine {
        at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        level: level.into(),
        target: shortened(target, TARGET_LIMIT).to_owned(),
        message,
        fields: Value::Object(fields).to_string(),
        cut: cut.happened,
    }
}

/// Cuts what is too long.
struct Cut {
    /// Bytes that are left.
    room: usize,
    happened: bool,
}

impl Cut {
    fn text(&mut self, mut text: String) -> String {
        let end = shortened(&text, self.room).len();
        self.happened |= end < text.len();
        text.truncate(end);
        self.room -= end;
        text
    }

    /// A field as far as there is room for it; nothing when there is none.
    fn field(&mut self, name: &str, value: Value) -> Option<Value> {
        // With quotes, a colon and a comma.
        let room = self.room.checked_sub(name.len() + 4);
        let fitted = room.and_then(|room| {
            let whole = value.to_string().len();
            match value {
                value if whole <= room => Some((value, whole)),
                Value::String(text) => {
                    // A character may be escaped by six.
                    let text = Value::from(shortened(&text, room.saturating_sub(2) / 6));
                    let length = text.to_string().len();
                    (length <= room).then_some((text, length)).inspect(|_| self.happened = true)
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => None,
            }
        });
        match fitted {
            Some((value, length)) => {
                self.room -= name.len() + 4 + length;
                Some(value)
            }
            None => {
                self.happened = true;
                None
            }
        }
    }
}

/// As many whole characters from the start as fit into so many bytes.
fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What one watcher is told of the log.
#[derive(Debug)]
pub(crate) struct Tap {
    logs: Logs,
    lines: broadcast::Receiver<Arc<LogLine>>,
    least: LogLevel,
    seconds: Interval,
    /// Lines that may yet be told in this second.
    room: usize,
    /// Lines that were not told, and of which that was not told either.
    missed: u64,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.logs.0.watchers[self.least as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tap {
    /// The next line; or, at most once a second, how many were missed. Nothing is lost if it is
    /// dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            tokio::select! {
                biased;
                _ = self.seconds.tick() => {
                    self.room = RATE_LIMIT;
                    if self.missed > 0 {
                        return Seen::MissedLogs(std::mem::take(&mut self.missed));
                    }
                }
                line = self.lines.recv() => match line {
                    Ok(line) if line.level > self.least.into() => (),
                    Ok(line) if self.room > 0 => {
                        self.room -= 1;
                        return Seen::Log(Arc::unwrap_or_clone(line));
                    }
                    Ok(_) => self.missed += 1,
                    Err(RecvError::Lagged(missed)) => self.missed += missed,
                    // As long as this one lives, there may be more.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
            }
        }
    }
}

/// The fields of an event, its message among them.
#[derive(Default)]
pub(crate) struct Fields(pub(crate) BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, error, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::*;

    /// Writes to a log that is watched.
    fn write(logs: &Logs, write: impl FnOnce()) {
        tracing::subscriber::with_default(registry().with(logs.clone()), write);
    }

    async fn next(tap: &mut Tap) -> Seen {
        tokio::time::timeout(Duration::from_secs(10), tap.next()).await.expect("in time")
    }

    async fn line(tap: &mut Tap) -> LogLine {
        let Seen::Log(line) = next(tap).await else { panic!("a line is next") };
        line
    }

    #[tokio::test]
    async fn a_watcher_is_told_what_is_grave_enough_with_its_fields() {
        let logs = Logs::default();
        let mut tap = logs.watch(LogLevel::Info);
        write(&logs, || {
            debug!("too trifling");
            info!(target: "h2::frame", "of the transport");
            warn!(address = "1.2.3.4:5", tries = 3, "link <b>broken</b>");
            error!(target: "event", "lost");
        });
        let first = line(&mut tap).await;
        assert_eq!((first.level(), &*first.message), (LogLevel::Warn, "link <b>broken</b>"));
        assert_eq!(first.fields, r#"{"address":"1.2.3.4:5","tries":3}"#);
        assert_eq!((&*first.target, first.cut), ("chassis::logs::tests", false));
        assert!(first.at_ms > 1_700_000_000_000, "{first:?}");
        let second = line(&mut tap).await;
        assert_eq!((second.level(), &*second.target), (LogLevel::Error, "event"));
        assert!(!logs.is_watched(LogLevel::Debug) && logs.is_watched(LogLevel::Info));
        drop(tap);
        assert!(!logs.is_watched(LogLevel::Error), "nobody watches any more");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_cut_and_says_so() {
        let logs = Logs::default();
        let mut tap = logs.watch(LogLevel::Info);
        let long = "ü\"\n".repeat(100_000);
        write(&logs, || {
            info!("{long}");
            info!(first = 1, long, "short");
            info!(a = &long[..5_000], b = &long[..5_000], c = 7, "several");
        });
        for _ in 0..3 {
            let line = line(&mut tap).await;
            let length = line.message.len() + line.fields.len();
            assert!(line.cut && length <= TEXT_LIMIT + 2, "{length} bytes");
            assert!(length > TEXT_LIMIT / 8, "as much as fits: {length} bytes");
            let fields = serde_json::from_str::<Map<_, _>>(&line.fields).expect("an object");
            assert!(line.message != "short" || fields["first"] == 1, "{fields:?}");
        }
    }

    #[tokio::test]
    async fn a_watcher_is_told_how_many_lines_were_too_many() {
        let logs = Logs::default();
        let mut tap = logs.watch(LogLevel::Trace);
        // More than may wait for it, and of those more than it may be told in a second.
        let count = 2 * LINES_LIMIT as u64;
        write(&logs, || (0..count).for_each(|number| info!(number, "a line")));
        let (mut told, mut missed) = (0, 0);
        while told + missed < count {
            if let Seen::MissedLogs(more) = next(&mut tap).await {
                missed += more;
            } else {
                told += 1;
            }
        }
        assert_eq!(told + missed, count);
        // The first second ends when it is looked at for the first time.
        assert!((RATE_LIMIT as u64..=2 * RATE_LIMIT as u64).contains(&told), "{told} were told");
    }
}

//! Those who look: each reads `/events` as a page does, and notes how old what it is shown is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::http::{self, Version};
use super::views::{now_us, stamp};
use crate::spread::quantile;

/// How long a viewer may wait for the first that it is shown.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// One who looks.
#[derive(Debug)]
pub(super) struct Viewer {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot,
    Frame,
    /// Nothing is new.
    Alive,
}

/// How closely it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Notes how old every view and event is.
    Closely,
    /// Notes how old a frame is: to the millisecond, and as fast as one of a thousand must be.
    Briefly,
}

/// What one has seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) snapshots: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Microseconds from a change of a view until it was seen; of a frame, for who looks briefly.
    pub(super) views: Vec<u32>,
    /// Microseconds from an event until it was seen.
    pub(super) events: Vec<u32>,
    /// Events and views that were seen in order, by whose they are.
    stamps: BTreeMap<String, u64>,
    /// The longest time without a frame.
    pub(super) longest: Duration,
    last: Option<Instant>,
}

impl Viewer {
    /// Opens the stream.
    pub(super) async fn open(page: SocketAddr) -> anyhow::Result<Self> {
        let opening = http::ask(page, Version::Old, "GET", "/events", "");
        let opening = tokio::time::timeout(OPEN_DEADLINE, opening).await;
        let answer = opening.context("no answer to a viewer")??;
        ensure!(answer.status == 200, "a viewer is told {}", answer.status);
        Ok(Self { stream: answer.stream, unread: answer.body })
    }

    /// The next thing that it is shown. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> anyhow::Result<(Kind, Vec<u8>)> {
        let mut looked = 0;
        let end = loop {
            let from = usize::saturating_sub(looked, 1);
            if let Some(at) = self.unread[from..].windows(2).position(|two| two == b"\n\n") {
                break from + at + 2;
            }
            looked = self.unread.len();
            let read = self.stream.read_buf(&mut self.unread).await?;
            ensure!(read > 0, "the console has closed a viewer's connection");
        };
        let rest = self.unread.split_off(end);
        let event = std::mem::replace(&mut self.unread, rest);
        let kind = if event.starts_with(b"event: frame") {
            Kind::Frame
        } else if event.starts_with(b"event: snapshot") {
            Kind::Snapshot
        } else {
            Kind::Alive
        };
        Ok((kind, event))
    }

    /// Looks until then.
    pub(super) async fn look(&mut self, until: Instant, how: Look) -> anyhow::Result<Sight> {
        let mut sight = Sight::default();
        loop {
            match tokio::time::timeout_at(until.into(), self.next()).await {
                Ok(shown) => {
                    let (kind, event) = shown?;
                    sight.take(kind, &event, how);
                }
                Err(_) => return Ok(sight),
            }
        }
    }

    /// Looks until the first snapshot has come.
    pub(super) async fn begin(&mut self) -> anyhow::Result<Value> {
        let first = async {
            loop {
                let (kind, event) = self.next().await?;
                if kind == Kind::Snapshot {
                    return data(&event).context("a snapshot that is no JSON");
                }
            }
        };
        tokio::time::timeout(OPEN_DEADLINE, first).await.context("a viewer is shown nothing")?
    }
}

/// What an event tells.
fn data(event: &[u8]) -> Option<Value> {
    let text = str::from_utf8(event).ok()?;
    serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: "))?).ok()
}

/// When a frame was made, in milliseconds since 1970: its first field.
fn made(event: &[u8]) -> Option<u64> {
    let marker = br#"{"at":"#;
    let at = event.windows(marker.len()).position(|part| part == marker)? + marker.len();
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// How old a frame is, in microseconds.
pub(super) fn age_us(event: &[u8]) -> Option<u64> {
    Some(now_us().saturating_sub(made(event)? * 1_000))
}

impl Sight {
    fn take(&mut self, kind: Kind, event: &[u8], how: Look) {
        let now = now_us();
        self.bytes += event.len() as u64;
        match kind {
            Kind::Alive => return,
            Kind::Snapshot => self.snapshots += 1,
            Kind::Frame => self.frames += 1,
        }
        let at = Instant::now();
        if let Some(last) = self.last.replace(at) {
            self.longest = self.longest.max(at - last);
        }
        match how {
            Look::Briefly if kind == Kind::Frame => {
                self.views.extend(made(event).map(|made| age(now, made * 1_000)));
            }
            Look::Briefly => (),
            Look::Closely => {
                if let Some(frame) = data(event) {
                    self.examine(now, kind, &frame);
                }
            }
        }
    }

    fn examine(&mut self, now: u64, kind: Kind, frame: &Value) {
        let list = |name| frame[name].as_array().into_iter().flatten();
        for node in list("nodes") {
            let (Some(key), Some(stamp)) = (node["key"].as_str(), stamp(&node["view"])) else {
                continue;
            };
            let before = self.stamps.insert(key.to_owned(), stamp);
            // What a snapshot shows may be old, and a node is shown for other reasons too.
            if kind == Kind::Frame && before.is_some_and(|before| before < stamp) {
                self.views.push(age(now, stamp));
            }
        }
        for event in list("events") {
            let told = event["text"].as_str().and_then(|text| text.strip_prefix("happened at "));
            self.events.extend(told.and_then(|told| told.parse().ok()).map(|told| age(now, told)));
        }
    }

    /// Adds what another has seen.
    pub(super) fn merge(&mut self, other: Self) {
        self.snapshots += other.snapshots;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.views.extend(other.views);
        self.events.extend(other.events);
        self.longest = self.longest.max(other.longest);
    }
}

fn age(now: u64, then: u64) -> u32 {
    u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX)
}

/// Half of them, nearly all, and all took no longer, in milliseconds; nothing of nothing.
pub(super) fn quantiles_ms(mut ages: Vec<u32>) -> [Option<f64>; 3] {
    ages.sort_unstable();
    let is_some = !ages.is_empty();
    [0.5, 0.99, 1.0].map(|share| is_some.then(|| f64::from(quantile(&ages, share)) / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_as_old_as_its_stamp_when_it_was_not_seen_before() {
        let mut sight = Sight::default();
        let show = |stamp: u64| {
            serde_json::json!({ "nodes": [{ "key": "raft/1", "view": { "ignored": stamp } }],
                "events": [{ "text": format!("happened at {stamp}") }] })
        };
        sight.examine(500, Kind::Snapshot, &show(400));
        assert!(sight.views.is_empty());
        sight.examine(1_000, Kind::Frame, &show(400));
        sight.examine(2_000, Kind::Frame, &show(1_700));
        assert_eq!(sight.views, [300]);
        assert_eq!(sight.events, [100, 600, 300]);
    }

    #[test]
    fn a_frame_says_first_when_it_was_made() {
        assert_eq!(made(b"event: frame\nid: 7\ndata: {\"at\":123,\"number\":7}\n\n"), Some(123));
        assert_eq!(made(b"event: frame\n\n"), None);
    }
}

//! The answer to a request at the overlay.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::promises::reading::{list, number};

/// Processes that an answer names.
const NAMED_LIMIT: usize = 4_096;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whether it says that everybody took part.
    pub(super) complete: Option<bool>,
    /// Whether every process put its name to it, and nothing was split.
    pub(super) text: bool,
    /// Where the request came in.
    pub(super) entry: Option<String>,
    pub(super) visited: BTreeSet<String>,
    pub(super) missing: BTreeSet<String>,
    /// First byte and number of bytes of each part, worked on or missing.
    parts: Vec<(u64, u64)>,
}

/// One process in it.
struct Share {
    process: String,
    asked_by_client: bool,
    part: Option<(u64, u64)>,
}

impl Answer {
    /// Nothing if it makes no sense, or if nobody took part.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let shares = |name: &str| list(answer.get(name)?, NAMED_LIMIT, share);
        let (visits, missing) = (shares("visits")?, shares("missing")?);
        visits.first()?;
        let result = answer.get("result")?.as_str()?;
        let entry = visits.iter().find(|share| share.asked_by_client);
        let parts = visits.iter().chain(&missing).filter_map(|share| share.part);
        Some(Self {
            complete: answer.get("complete").and_then(Value::as_bool),
            text: result.contains('|') || result.contains("-processed"),
            entry: entry.map(|share| share.process.clone()),
            parts: parts.collect(),
            visited: visits.into_iter().map(|share| share.process).collect(),
            missing: missing.into_iter().map(|share| share.process).collect(),
        })
    }

    /// Whether it calls itself complete although somebody is missing, or the other way round.
    pub(super) fn contradiction(&self) -> Option<String> {
        let missing = self.missing.iter().take(8).map(String::as_str).collect::<Vec<_>>();
        match (self.complete?, missing.is_empty()) {
            (true, false) => Some(format!("complete, but {} missing", missing.join(", "))),
            (false, true) => Some("not complete, but nobody is missing".to_owned()),
            (true, true) | (false, false) => None,
        }
    }

    /// Bytes between the parts that belong to none; nothing is known if there are no parts.
    pub(super) fn gap(&self) -> Option<Option<String>> {
        let mut parts = self.parts.clone();
        parts.sort_unstable();
        parts.first()?;
        let mut end = 0_u64;
        for (offset, length) in parts {
            if end < offset {
                let gap = format!("nobody has the bytes {end} to {}, nor is missing", offset - 1);
                return Some(Some(gap));
            }
            end = end.max(offset.saturating_add(length));
        }
        Some(None)
    }
}

fn share(share: &Value) -> Option<Share> {
    let asked_by_client = match share.get("asked_by") {
        None | Some(Value::Null) => true,
        Some(by) => by.as_str()?.is_empty(),
    };
    let part = match share.get("part") {
        None | Some(Value::Null) => None,
        Some(part) => Some((number(part.get(0)?)?, number(part.get(1)?)?)),
    };
    Some(Share { process: share.get("process")?.as_str()?.to_owned(), asked_by_client, part })
}

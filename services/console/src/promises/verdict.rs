//! What was found about one promise.

use serde::Serialize;

use super::COUNT_MS;

/// Pieces of evidence that are kept: the first ones.
const EVIDENCE_LIMIT: usize = 5;
/// Characters of a piece of evidence.
const TEXT_LIMIT: usize = 400;

/// A promise, and whether it was kept as far as anyone saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Such as `raft/one-leader`: no other has it.
    pub id: &'static str,
    /// Whose it is.
    pub system: &'static str,
    /// What is promised.
    pub title: String,
    /// Nothing while there was nothing to judge; once false, it stays so.
    pub holds: Option<bool>,
    /// When that was found, in milliseconds since 1970; 0 while there was nothing to judge.
    pub since: u64,
    /// How many observations were judged.
    pub checked: u64,
    /// What speaks against it, at most 5 pieces.
    pub evidence: Vec<String>,
}

/// A promise with what has been reported of it.
#[derive(Debug)]
pub(super) struct Verdict {
    promise: Promise,
    /// Whether more than the count has changed since the last report.
    is_news: bool,
    /// The count of the last report, and when that was.
    reported: (u64, u64),
}

impl Verdict {
    pub(super) fn new(id: &'static str, title: impl Into<String>) -> Self {
        let system = id.split('/').next().unwrap_or_default();
        let (holds, since, checked) = (None, 0, 0);
        let evidence = Vec::new();
        let promise = Promise { id, system, title: title.into(), holds, since, checked, evidence };
        Self { promise, is_news: false, reported: (0, 0) }
    }

    /// Something was judged; what speaks against the promise, if anything does.
    pub(super) fn judge(&mut self, at: u64, against: impl IntoIterator<Item = String>) {
        self.promise.checked = self.promise.checked.saturating_add(1);
        let mut against = against.into_iter().peekable();
        let holds = against.peek().is_none() && self.promise.holds != Some(false);
        if self.promise.holds != Some(holds) {
            (self.promise.holds, self.promise.since, self.is_news) = (Some(holds), at, true);
        }
        let room = EVIDENCE_LIMIT.saturating_sub(self.promise.evidence.len());
        for mut text in against.take(EVIDENCE_LIMIT) {
            if let Some((end, _)) = text.char_indices().nth(TEXT_LIMIT) {
                text.truncate(end);
                text.push('…');
            }
            if room > 0
                && self.promise.evidence.len() < EVIDENCE_LIMIT
                && !self.promise.evidence.contains(&text)
            {
                self.promise.evidence.push(text);
                self.is_news = true;
            }
        }
    }

    pub(super) fn reset(&mut self) {
        let title = std::mem::take(&mut self.promise.title);
        *self = Self { is_news: true, ..Self::new(self.promise.id, title) };
    }

    pub(super) fn promise(&self) -> Promise {
        self.promise.clone()
    }

    /// The promise, if there is something to report.
    pub(super) fn news(&mut self, at: u64) -> Option<Promise> {
        let (checked, last) = self.reported;
        let counts = checked != self.promise.checked && COUNT_MS <= at.abs_diff(last);
        if !self.is_news && !counts {
            return None;
        }
        (self.is_news, self.reported) = (false, (self.promise.checked, at));
        Some(self.promise())
    }
}

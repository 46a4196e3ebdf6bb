//! What has arrived of one trace.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::words::Word;
use super::{SpanId, TraceId};

/// What has arrived of a trace.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: TraceId,
    /// In the order of their ids.
    pub(super) spans: Vec<Kept>,
    /// Bytes of the records of all spans.
    pub(super) records_bytes: u64,
    /// Bytes of what it was the first to bring and may share with others since.
    pub(super) brought: u64,
    /// Whether spans were refused because it was full.
    pub(super) cropped: bool,
}

/// A span.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Nanoseconds after 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) name: Word,
    pub(super) origin: Word,
    pub(super) kind: SpanKind,
    pub(super) status: StatusCode,
    pub(super) record: Box<[u8]>,
}

/// What an allocation of so many bytes takes, as most allocators do it.
pub(super) fn allocated(bytes: usize) -> u64 {
    ((bytes + 8).next_multiple_of(16)).max(32) as u64
}

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        self.records_bytes + (self.spans.capacity() * size_of::<Kept>()) as u64
    }

    /// Grows by a quarter: most traces are small and complete at once.
    pub(super) fn insert(&mut self, at: usize, span: Kept) {
        if self.spans.len() == self.spans.capacity() {
            self.spans.reserve_exact(1 + self.spans.len() / 4);
        }
        self.records_bytes += allocated(span.record.len());
        self.spans.insert(at, span);
    }

    pub(super) fn replace(&mut self, at: usize, span: Kept) -> Kept {
        self.records_bytes += allocated(span.record.len());
        let old = std::mem::replace(&mut self.spans[at], span);
        self.records_bytes -= allocated(old.record.len());
        old
    }

    pub(super) fn position(&self, id: SpanId) -> Result<usize, usize> {
        self.spans.binary_search_by_key(&id, |span| span.id)
    }

    /// When the first of its spans starts.
    pub(super) fn start(&self) -> u64 {
        self.spans.iter().map(|span| span.start).min().unwrap_or(0)
    }

    /// When the last of its spans ends.
    pub(super) fn end(&self) -> u64 {
        self.spans.iter().map(|span| span.end).max().unwrap_or(0)
    }

    /// The earliest span without a parent, or the earliest of all.
    pub(super) fn root(&self) -> Option<&Kept> {
        self.spans.iter().min_by_key(|span| (span.parent.is_some(), span.start, span.id))
    }

    pub(super) fn is_orphan(&self, span: &Kept) -> bool {
        span.parent.is_some_and(|parent| self.position(parent).is_err())
    }

    /// Whether nothing is known to be missing.
    pub(super) fn is_complete(&self) -> bool {
        !self.cropped
            && self.spans.iter().any(|span| span.parent.is_none())
            && !self.spans.iter().any(|span| self.is_orphan(span))
    }
}

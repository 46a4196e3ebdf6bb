//! Spans, and how they are carried: within a process by the task that works on them, to another
//! one in the headers of a call or in a message.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, Key, KeyValue, trace};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span as SdkSpan;
use protocols::Trace;
use tokio::time::Instant;

use crate::status::{Parsed, wrong};

/// Spans of one table; when there are more, the oldest end.
const SPANS_LIMIT: usize = 4096;
/// How long a span waits for what ends it: no answer comes after so long.
const SPANS_PATIENCE: Duration = Duration::from_secs(60);

tokio::task_local! {
    static CURRENT: Span;
}

/// The span that another one belongs under, perhaps of another process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parent(Option<SpanContext>);

impl Parent {
    /// From the `traceparent` of a call.
    pub(crate) fn of_call(headers: &HeaderMap) -> Self {
        struct Headers<'a>(&'a HeaderMap);
        impl Extractor for Headers<'_> {
            fn get(&self, key: &str) -> Option<&str> {
                self.0.get(key)?.to_str().ok()
            }
            fn keys(&self) -> Vec<&str> {
                self.0.keys().map(HeaderName::as_str).collect()
            }
        }
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        let span = context.span().span_context().clone();
        Self(span.is_valid().then_some(span))
    }

    /// From what a message carries.
    pub(super) fn of(Trace(bytes): Trace) -> Self {
        let Some(bytes) = bytes else { return Self(None) };
        let mut trace_id = [0; 16];
        trace_id.copy_from_slice(&bytes[..16]);
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&bytes[16..24]);
        let span = SpanContext::new(
            TraceId::from_bytes(trace_id),
            SpanId::from_bytes(span_id),
            TraceFlags::new(bytes[24]),
            true,
            TraceState::default(),
        );
        Self(span.is_valid().then_some(span))
    }

    /// What a span under it is started with.
    pub(super) fn context(self) -> Context {
        match self.0 {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        }
    }
}

/// A piece of work. Clones are the same one, which ends with the last of them; nothing when traces
/// are not exported.
#[derive(Clone, Debug, Default)]
pub struct Span(Option<Arc<Work>>);

#[derive(Debug)]
struct Work {
    context: SpanContext,
    /// Nothing if it is only carried, and told elsewhere.
    span: Option<Mutex<SdkSpan>>,
}

impl Span {
    pub(super) fn of(span: SdkSpan) -> Self {
        let context = trace::Span::span_context(&span).clone();
        Self(Some(Arc::new(Work { context, span: Some(Mutex::new(span)) })))
    }

    /// One that is told elsewhere: here it is only carried to whoever is asked in its scope.
    pub fn carried(trace: Trace) -> Self {
        let Parent(context) = Parent::of(trace);
        Self(context.map(|context| Arc::new(Work { context, span: None })))
    }

    /// The first of a trace, told elsewhere.
    pub(super) fn first() -> Self {
        let mut bytes = [0; 25];
        for part in bytes[..24].chunks_mut(8) {
            part.copy_from_slice(&crate::seed().max(1).to_be_bytes());
        }
        bytes[24] = TraceFlags::SAMPLED.to_u8();
        Self::carried(Trace(Some(bytes)))
    }

    /// One that nobody tells: what is asked in its scope makes no trace. For what a process does
    /// by itself, again and again.
    pub fn quiet() -> Self {
        let mut bytes = [1; 25];
        bytes[24] = TraceFlags::NOT_SAMPLED.to_u8();
        Self::carried(Trace(Some(bytes)))
    }

    /// The one in whose scope this task works.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Has some work done in its scope: it is the current one meanwhile, and calls carry it.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Whether it is nothing.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// For a message to another process; nothing if its trace is not exported.
    pub fn trace(&self) -> Trace {
        let Some(Work { context, .. }) = self.0.as_deref().filter(|it| it.context.is_sampled())
        else {
            return Trace(None);
        };
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&context.trace_id().to_bytes());
        bytes[16..24].copy_from_slice(&context.span_id().to_bytes());
        bytes[24] = context.trace_flags().to_u8();
        Trace(Some(bytes))
    }

    /// The names of its trace and of itself.
    pub fn ids(&self) -> Option<([u8; 16], [u8; 8])> {
        let context = &self.0.as_ref()?.context;
        Some((context.trace_id().to_bytes(), context.span_id().to_bytes()))
    }

    /// Notes something about it.
    pub fn note(&self, name: impl Into<Key>, value: impl Into<opentelemetry::Value>) {
        self.change(|span| trace::Span::set_attribute(span, KeyValue::new(name, value.into())));
    }

    /// Marks it as failed.
    pub fn fail(&self, reason: String) {
        self.change(|span| trace::Span::set_status(span, trace::Status::error(reason)));
    }

    fn change(&self, change: impl FnOnce(&mut SdkSpan)) {
        if let Some(span) = self.0.as_ref().and_then(|work| work.span.as_ref()) {
            change(&mut span.lock().expect("no holder panics"));
        }
    }
}

/// Gives a call the `traceparent` of the current span, if there is one.
pub(crate) fn carry(headers: &mut HeaderMap) {
    struct Headers<'a>(&'a mut HeaderMap);
    impl Injector for Headers<'_> {
        fn set(&mut self, key: &str, value: String) {
            let name = HeaderName::from_bytes(key.as_bytes());
            // An empty state says nothing.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value))
                && !value.is_empty()
            {
                self.0.insert(name, value);
            }
        }
    }
    let Span(Some(work)) = Span::current() else { return };
    let context = Context::new().with_remote_span_context(work.context.clone());
    TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
}

/// Writes what a message carries of its trace: empty without one.
pub fn encode_trace(Trace(bytes): Trace) -> Bytes {
    bytes.map(|bytes| bytes.to_vec().into()).unwrap_or_default()
}

/// Reads what a message carries of its trace.
pub fn decode_trace(bytes: &[u8]) -> Parsed<Trace> {
    match bytes {
        [] => Ok(Trace(None)),
        bytes => {
            let bytes = bytes.try_into().map_err(|_| wrong("trace", "not 25 bytes"))?;
            Ok(Trace(Some(bytes)))
        }
    }
}

/// Spans that are in hand until something ends them, such as the answer to a question. Of those
/// that nothing ends the oldest end by themselves.
#[derive(Debug)]
pub struct Spans<K>(Mutex<Table<K>>);

#[derive(Debug)]
struct Table<K> {
    spans: BTreeMap<K, (u64, Span)>,
    /// By the order in which they began.
    ages: BTreeMap<u64, (Instant, K)>,
    next: u64,
}

impl<K> Default for Spans<K> {
    fn default() -> Self {
        let (spans, ages) = (BTreeMap::new(), BTreeMap::new());
        Self(Mutex::new(Table { spans, ages, next: 0 }))
    }
}

impl<K: Copy + Ord> Spans<K> {
    /// Holds a span until it is ended by this name. One that is held by it ends.
    pub fn hold(&self, key: K, span: Span) {
        if span.is_none() {
            return;
        }
        let mut table = self.0.lock().expect("no holder panics");
        let now = Instant::now();
        table.take(key);
        table.forget(now);
        let number = table.next;
        table.next += 1;
        table.ages.insert(number, (now, key));
        table.spans.insert(key, (number, span));
    }

    /// Ends the span of this name, with a last word about it.
    pub fn end(&self, key: K, last: impl FnOnce(&Span)) {
        let span = self.0.lock().expect("no holder panics").take(key);
        if let Some(span) = span {
            last(&span);
        }
    }
}

impl<K: Copy + Ord> Table<K> {
    fn take(&mut self, key: K) -> Option<Span> {
        let (number, span) = self.spans.remove(&key)?;
        self.ages.remove(&number);
        Some(span)
    }

    /// Ends what nothing has ended.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.ages.first_entry() {
            let (began, key) = *oldest.get();
            if self.spans.len() < SPANS_LIMIT && now < began + SPANS_PATIENCE {
                return;
            }
            if let Some(span) = self.take(key) {
                span.fail("nothing was heard of it any more".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: Trace = {
        let mut bytes = [7; 25];
        bytes[24] = 1;
        Trace(Some(bytes))
    };

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        carry(&mut headers);
        headers
    }

    #[tokio::test]
    async fn calls_carry_the_span_in_whose_scope_they_are_made() {
        assert_eq!(headers(), HeaderMap::new());
        let span = Span::carried(TRACE);
        let inside = span.scope(async { (headers(), Span::current().trace()) }).await;
        let (headers_inside, current) = inside;
        assert_eq!(current, TRACE);
        let expected = format!("00-{}-{}-01", "07".repeat(16), "07".repeat(8));
        assert_eq!(headers_inside["traceparent"], expected);
        assert_eq!(headers_inside.len(), 1);
        let Parent(read) = Parent::of_call(&headers_inside);
        assert_eq!(Some(&span.0.as_ref().unwrap().context), read.as_ref());
        assert_eq!(headers(), HeaderMap::new(), "the scope has ended");
    }

    #[test]
    fn what_is_no_span_is_not_carried() {
        assert!(Span::carried(Trace(Some([0; 25]))).is_none());
        assert!(Span::carried(Trace(None)).is_none());
        assert_eq!(Span::quiet().trace(), Trace(None), "its trace is not exported");
        for wrong in ["", "00", "00-zz-07-01", "00-00000000000000000000000000000000-07-01"] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(wrong).unwrap());
            assert!(Parent::of_call(&headers).0.is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn spans_that_nothing_ends_are_bounded() {
        let spans = Spans::default();
        for key in 0..SPANS_LIMIT as u64 + 10 {
            spans.hold(key, Span::carried(TRACE));
        }
        let held = |key: u64| {
            let mut held = false;
            spans.end(key, |_| held = true);
            held
        };
        assert_eq!([9, 10].map(held), [false, true]);
        assert!(!held(10), "it has ended");
        spans.hold(1, Span::default());
        assert!(!held(1), "nothing is not held");
        let mut table = spans.0.lock().unwrap();
        assert_eq!(table.spans.len(), table.ages.len());
        table.forget(Instant::now() + SPANS_PATIENCE);
        assert_eq!((table.spans.len(), table.ages.len()), (0, 0));
    }
}

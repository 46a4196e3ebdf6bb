//! What this console does itself, as a span that it tells itself.

use std::time::Duration;

use chassis::telemetry::{Span, Telemetry};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, ScopeSpans, Status};

use super::TraceId;

/// The name by which this console is known.
const SERVICE: &str = "console";
/// Attribute: what is done, in a few words.
const ACT: &str = "ensemble.act";

/// The first span of a trace, of something that a user had done.
#[derive(Debug)]
pub(crate) struct Own {
    name: String,
    span: Span,
    /// Since 1970.
    began: Duration,
}

impl Own {
    /// Begins at this time since 1970.
    pub(crate) fn begin(telemetry: &Telemetry, name: String, began: Duration) -> Self {
        Self { span: telemetry.root(name.clone()), name, began }
    }

    /// In its scope the processes are asked.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Its trace.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        TraceId::from_bytes(&self.span.ids()?.0)
    }

    /// Ends at this time since 1970; what came of it, as it is told.
    pub(crate) fn end(
        self,
        words: &str,
        failed: Option<&str>,
        ended: Duration,
    ) -> Option<ResourceSpans> {
        let (trace_id, span_id) = self.span.ids()?;
        if let Some(reason) = failed {
            self.span.fail(reason.to_owned());
        }
        self.span.note(ACT, words.to_owned());
        let status = failed
            .map(|reason| Status { message: reason.to_owned(), code: StatusCode::Error.into() });
        let span = otlp::Span {
            trace_id: trace_id.into(),
            span_id: span_id.into(),
            name: self.name,
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanoseconds(self.began),
            end_time_unix_nano: nanoseconds(ended.max(self.began)),
            attributes: vec![attribute(ACT, words)],
            status,
            ..<_>::default()
        };
        let attributes = vec![attribute("service.name", SERVICE)];
        Some(ResourceSpans {
            resource: Some(Resource { attributes, ..<_>::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..<_>::default() }],
            ..<_>::default()
        })
    }
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..<_>::default() }
}

fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! What a message of spans takes once it is read, told before it is: two bytes of it may be a span,
//! which takes more than a hundred times as much.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::held::allocated;

/// How deep messages may lie in each other: what is deeper is not read.
const DEPTH: u32 = 100;

/// What is in a message.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Request,
    Process,
    Resource,
    Entity,
    Part,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Value,
    List,
    Map,
}

impl Kind {
    /// What one of these takes in memory.
    fn size(self) -> usize {
        match self {
            Self::Request => 0,
            Self::Process => size_of::<ResourceSpans>(),
            Self::Resource => size_of::<Resource>(),
            Self::Entity => size_of::<EntityRef>(),
            Self::Part => size_of::<ScopeSpans>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Span => size_of::<Span>(),
            Self::Event => size_of::<Event>(),
            Self::Link => size_of::<Link>(),
            Self::Pair => size_of::<KeyValue>(),
            Self::Value => size_of::<AnyValue>(),
            Self::List => size_of::<ArrayValue>(),
            Self::Map => size_of::<KeyValueList>(),
        }
    }

    /// What a field of this number holds, unless that is text or bytes.
    fn field(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request, 1) => Self::Process,
            (Self::Process, 1) => Self::Resource,
            (Self::Process, 2) => Self::Part,
            (Self::Resource, 3) => Self::Entity,
            (Self::Part, 1) => Self::Scope,
            (Self::Part, 2) => Self::Span,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Span, 9) => Self::Pair,
            (Self::Pair, 2) | (Self::List, 1) => Self::Value,
            (Self::Value, 5) => Self::List,
            (Self::Value, 6) => Self::Map,
            _ => return None,
        })
    }
}

/// Bytes of memory that a message takes once it is read, or until it is found to make no sense.
pub(super) fn weight(message: &[u8]) -> usize {
    let mut sum = 0;
    // Whoever reads it finds the same flaw in the same place.
    let _ = weigh(message, Kind::Request, DEPTH, &mut sum);
    sum
}

fn weigh(mut rest: &[u8], kind: Kind, depth: u32, sum: &mut usize) -> Result<(), DecodeError> {
    *sum += kind.size();
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, number, &mut rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        let (inner, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        match kind.field(number).zip(depth.checked_sub(1)) {
            Some((kind, depth)) => weigh(inner, kind, depth, sum)?,
            None => *sum += allocated(inner.len()) as usize,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;
    use prost::encoding::encode_varint;

    use super::*;

    #[test]
    fn a_message_weighs_what_it_takes_and_what_makes_no_sense_ends_it() {
        let spans = vec![Span { name: "x".repeat(1_000), ..Span::default() }; 7];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let least = size_of::<ResourceSpans>() + size_of::<ScopeSpans>();
        let least = least + 7 * (size_of::<Span>() + 1_000);
        let weighed = weight(&message);
        assert!((least..least + 500).contains(&weighed), "{weighed} of {least}");
        // Lists in lists, deeper than messages are read, as the value of an attribute.
        let mut nested = Vec::new();
        for field in [1, 5].repeat(1_000).into_iter().chain([2, 1, 1, 1]) {
            let mut outer = vec![field << 3 | 2];
            encode_varint(nested.len() as u64, &mut outer);
            outer.append(&mut nested);
            nested = outer;
        }
        for garbage in [&nested, &vec![0xff; 100], &vec![0x0a; 100], &message[..3_000].to_vec()] {
            assert!(weight(garbage) < 100_000);
        }
    }
}

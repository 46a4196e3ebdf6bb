//! The names of traces and spans, as W3C Trace Context has them: never zero, written in lowercase
//! hexadecimal digits.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The name of a trace: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The name of a span within its trace: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// None when it is not 16 bytes, or zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        NonZeroU128::new(u128::from_be_bytes(bytes.try_into().ok()?)).map(Self)
    }
}

impl SpanId {
    /// None when it is not 8 bytes, or zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        NonZeroU64::new(u64::from_be_bytes(bytes.try_into().ok()?)).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceId;

impl fmt::Display for NoTraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not a trace id: give 32 hexadecimal digits that are not all zero")
    }
}

impl std::error::Error for NoTraceId {}

impl FromStr for TraceId {
    type Err = NoTraceId;

    fn from_str(text: &str) -> Result<Self, NoTraceId> {
        // The parser of numbers would take a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoTraceId);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| NoTraceId)?;
        NonZeroU128::new(number).map(Self).ok_or(NoTraceId)
    }
}

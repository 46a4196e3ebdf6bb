//! Writes records, within limits: what does not fit is left out and counted, as the protocol has a
//! field for it, and what is too long is cut and ends in `…`.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Given;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::Origin;
use super::record::tag;
use super::words::{Word, Words};

/// The most bytes of a name, of a span, an event, or an attribute.
const NAME_BYTES: usize = 128;
/// The most bytes of a text, or of an attribute that is bytes.
const TEXT_BYTES: usize = 512;
/// The most attributes of one span, event, resource or scope.
const ATTRIBUTES: usize = 64;
/// The most events of one span.
const EVENTS: usize = 64;
/// The most items of an attribute that is a list or a map.
const ITEMS: usize = 64;
/// How deep lists and maps may lie in each other; what is deeper is left out.
const DEPTH: u32 = 4;
/// The most bytes of the attributes of a span, a resource or a scope.
const ATTRIBUTES_BYTES: usize = 3 << 10;
/// The most bytes of a span's attributes and events together.
pub(super) const RECORD_BYTES: usize = 4 << 10;
/// Shorter texts are written where they stand: a word would be no shorter.
const WORD_LEAST: usize = 4;

const CUT: &str = "…";

/// The longest beginning of at most so many bytes, and whether that is less than all.
fn beginning(text: &str, most: usize) -> (&str, bool) {
    if text.len() <= most {
        return (text, false);
    }
    (&text[..text.floor_char_boundary(most - CUT.len())], true)
}

/// A name as long as names may be.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    match beginning(name, NAME_BYTES) {
        (whole, false) => Cow::Borrowed(whole),
        (part, true) => Cow::Owned(format!("{part}{CUT}")),
    }
}

/// Writes records.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    words: &'a mut Words<str>,
    /// Every word that the record refers to.
    acquired: Vec<Word>,
    bytes: Vec<u8>,
    /// How long the record may become.
    room: usize,
    /// Whether a value that is known as a word is written as that word.
    refers: bool,
}

impl<'a> Packer<'a> {
    pub(super) fn new(words: &'a mut Words<str>) -> Self {
        let (acquired, bytes) = (Vec::new(), Vec::with_capacity(256));
        Self { words, acquired, bytes, room: ATTRIBUTES_BYTES, refers: false }
    }

    /// The record of a span.
    pub(super) fn span(mut self, span: &Span) -> Box<[u8]> {
        self.refers = true;
        self.number(u64::from(span.flags));
        let links = u32::try_from(span.links.len()).unwrap_or(u32::MAX);
        self.number(u64::from(span.dropped_links_count.saturating_add(links)));
        self.text(span.status.as_ref().map_or("", |status| &status.message));
        self.attributes(&span.attributes, span.dropped_attributes_count);
        self.room = RECORD_BYTES;
        self.events(span);
        self.bytes.into()
    }

    /// The record of where spans come from: the same for the same, whatever words are known.
    pub(super) fn origin(mut self, origin: Origin<'_>) -> Box<[u8]> {
        let resource = origin.resource;
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        self.attributes(attributes, resource.map_or(0, |one| one.dropped_attributes_count));
        let scope = origin.scope;
        self.text(scope.map_or("", |scope| &scope.name));
        self.text(scope.map_or("", |scope| &scope.version));
        self.room += ATTRIBUTES_BYTES;
        let attributes = scope.map_or(&[][..], |scope| &scope.attributes);
        self.attributes(attributes, scope.map_or(0, |scope| scope.dropped_attributes_count));
        self.bytes.into()
    }

    fn events(&mut self, span: &Span) {
        let mut packed = 0;
        for event in span.events.iter().take(EVENTS) {
            let (words, bytes) = (self.acquired.len(), self.bytes.len());
            self.bytes.push(1);
            // Wraps, so that every time comes back as it was.
            self.signed(event.time_unix_nano.wrapping_sub(span.start_time_unix_nano).cast_signed());
            self.word(&event.name);
            self.attributes(&event.attributes, event.dropped_attributes_count);
            if self.bytes.len() > self.room {
                self.rewind(words, bytes);
                break;
            }
            packed += 1;
        }
        self.bytes.push(0);
        self.number(left_out(span.events.len() - packed, span.dropped_events_count));
    }

    fn attributes(&mut self, attributes: &[KeyValue], dropped: u32) {
        let mut packed = 0;
        for attribute in attributes.iter().take(ATTRIBUTES) {
            let (words, bytes) = (self.acquired.len(), self.bytes.len());
            self.word(&attribute.key);
            self.value(attribute.value.as_ref(), 0);
            if self.bytes.len() > self.room {
                self.rewind(words, bytes);
            } else {
                packed += 1;
            }
        }
        self.number(0);
        self.number(left_out(attributes.len() - packed, dropped));
    }

    fn rewind(&mut self, words: usize, bytes: usize) {
        self.bytes.truncate(bytes);
        for word in self.acquired.drain(words..) {
            self.words.release(word);
        }
    }

    fn value(&mut self, value: Option<&AnyValue>, depth: u32) {
        if self.bytes.len() > self.room {
            // The attribute is left out anyway.
            return;
        }
        match value.and_then(|value| value.value.as_ref()) {
            Some(Given::StringValue(text)) => self.text_value(text, depth),
            Some(Given::BoolValue(flag)) => {
                self.bytes.push(if *flag { tag::TRUE } else { tag::FALSE });
            }
            Some(Given::IntValue(number)) => {
                self.bytes.push(tag::INTEGER);
                self.signed(*number);
            }
            Some(Given::DoubleValue(number)) => {
                self.bytes.push(tag::DOUBLE);
                self.bytes.extend(number.to_le_bytes());
            }
            Some(Given::BytesValue(bytes)) => {
                self.bytes.push(tag::BYTES);
                self.piece(&bytes[..bytes.len().min(TEXT_BYTES)]);
            }
            Some(Given::ArrayValue(list)) if depth < DEPTH => {
                self.items(tag::LIST, &list.values, |packer, item| {
                    packer.value(item, depth + 1);
                });
            }
            Some(Given::KvlistValue(map)) if depth < DEPTH => {
                self.items(tag::MAP, &map.values, |packer, item| {
                    packer.text(item.map_or(CUT, |item| &item.key));
                    packer.value(item.and_then(|item| item.value.as_ref()), depth + 1);
                });
            }
            // The last is of another signal, and as good as absent.
            Some(Given::ArrayValue(_) | Given::KvlistValue(_) | Given::StringValueStrindex(_))
            | None => self.bytes.push(tag::ABSENT),
        }
    }

    /// Items of a list or map; one that is missing stands for all that are left out.
    fn items<T>(&mut self, tag: u8, items: &[T], pack: impl Fn(&mut Self, Option<&T>)) {
        self.bytes.push(tag);
        self.number(items.len().min(ITEMS + 1) as u64);
        for item in items.iter().take(ITEMS) {
            pack(self, Some(item));
        }
        if items.len() > ITEMS {
            pack(self, None);
        }
    }

    fn text_value(&mut self, text: &str, depth: u32) {
        let refers = self.refers && depth == 0 && text.len() >= WORD_LEAST;
        // A value makes no word: there may be as many values as spans.
        if refers && let Some(word) = self.words.acquire_known(text) {
            self.acquired.push(word);
            self.bytes.push(tag::KNOWN);
            self.number(u64::from(word.0));
        } else {
            self.bytes.push(tag::TEXT);
            self.text(text);
        }
    }

    /// One more than its number: zero ends a row of attributes.
    fn word(&mut self, content: &str) {
        let (word, _) = self.words.acquire(&*name(content));
        self.acquired.push(word);
        self.number(u64::from(word.0) + 1);
    }

    fn text(&mut self, text: &str) {
        let (text, cut) = beginning(text, TEXT_BYTES);
        let mark = if cut { CUT } else { "" };
        self.number((text.len() + mark.len()) as u64);
        self.bytes.extend(text.as_bytes());
        self.bytes.extend(mark.as_bytes());
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

fn left_out(here: usize, before: u32) -> u64 {
    u64::from(u32::try_from(here).unwrap_or(u32::MAX).saturating_add(before))
}

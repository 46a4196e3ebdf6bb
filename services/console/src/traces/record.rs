//! What a span says beside its name and its times, packed into few bytes: attributes, events, and
//! why it failed. And the same of where spans come from.
//!
//! A record is read with the words that it refers to. Nothing is checked: only
//! [`Packer`](super::packer::Packer) writes them.

use super::words::Word;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Absent,
    Text(&'a str),
    Known(Word),
    Flag(bool),
    Integer(i64),
    Double(f64),
    Bytes(&'a [u8]),
    List(Vec<Self>),
    Map(Vec<(&'a str, Self)>),
}

/// Which kind of value follows.
pub(super) mod tag {
    pub(in super::super) const ABSENT: u8 = 0;
    pub(in super::super) const TEXT: u8 = 1;
    pub(in super::super) const KNOWN: u8 = 2;
    pub(in super::super) const FALSE: u8 = 3;
    pub(in super::super) const TRUE: u8 = 4;
    pub(in super::super) const INTEGER: u8 = 5;
    pub(in super::super) const DOUBLE: u8 = 6;
    pub(in super::super) const BYTES: u8 = 7;
    pub(in super::super) const LIST: u8 = 8;
    pub(in super::super) const MAP: u8 = 9;
}

/// Attributes and how many there were beside them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attributes<'a> {
    pub(super) kept: Vec<(Word, Value<'a>)>,
    pub(super) dropped: u32,
}

/// Something that happened at a time within a span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event<'a> {
    /// Nanoseconds after 1970.
    pub(super) at: u64,
    pub(super) name: Word,
    pub(super) attributes: Attributes<'a>,
}

/// The record of a span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) flags: u32,
    /// Links are not kept.
    pub(super) dropped_links: u32,
    /// Why it failed.
    pub(super) message: &'a str,
    pub(super) attributes: Attributes<'a>,
    pub(super) events: Vec<Event<'a>>,
    pub(super) dropped_events: u32,
}

/// The record of where spans come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OriginRecord<'a> {
    pub(super) resource: Attributes<'a>,
    pub(super) scope: &'a str,
    pub(super) version: &'a str,
    pub(super) scope_attributes: Attributes<'a>,
}

impl<'a> Record<'a> {
    /// The record of a span that starts then, in nanoseconds after 1970.
    pub(super) fn read(bytes: &'a [u8], start: u64) -> Self {
        let mut reader = Reader { bytes };
        Self {
            flags: reader.count(),
            dropped_links: reader.count(),
            message: reader.text(),
            attributes: reader.attributes(),
            events: reader.events(start),
            dropped_events: reader.count(),
        }
    }

    /// Every word that it refers to, as often as it does.
    pub(super) fn words(&self) -> impl Iterator<Item = Word> {
        let events = self.events.iter();
        let events =
            events.flat_map(|event| std::iter::once(event.name).chain(event.attributes.words()));
        self.attributes.words().chain(events)
    }
}

impl<'a> OriginRecord<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut reader = Reader { bytes };
        Self {
            resource: reader.attributes(),
            scope: reader.text(),
            version: reader.text(),
            scope_attributes: reader.attributes(),
        }
    }

    /// Every word that it refers to, as often as it does.
    pub(super) fn words(&self) -> impl Iterator<Item = Word> {
        self.resource.words().chain(self.scope_attributes.words())
    }
}

impl Attributes<'_> {
    fn words(&self) -> impl Iterator<Item = Word> {
        self.kept.iter().flat_map(|(key, value)| {
            let known = if let Value::Known(word) = value { Some(*word) } else { None };
            std::iter::once(*key).chain(known)
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn count(&mut self) -> u32 {
        u32::try_from(self.number()).expect("a count was written")
    }

    fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }

    fn piece(&mut self) -> &'a [u8] {
        let length = self.count() as usize;
        self.take(length)
    }

    fn text(&mut self) -> &'a str {
        str::from_utf8(self.piece()).expect("a text was written")
    }

    fn word(&mut self) -> Option<Word> {
        self.count().checked_sub(1).map(Word)
    }

    fn attributes(&mut self) -> Attributes<'a> {
        let mut kept = Vec::new();
        while let Some(key) = self.word() {
            kept.push((key, self.value()));
        }
        Attributes { kept, dropped: self.count() }
    }

    fn events(&mut self, start: u64) -> Vec<Event<'a>> {
        let mut events = Vec::new();
        while self.byte() == 1 {
            events.push(Event {
                at: start.wrapping_add(self.signed().cast_unsigned()),
                name: self.word().expect("a name was written"),
                attributes: self.attributes(),
            });
        }
        events
    }

    fn value(&mut self) -> Value<'a> {
        match self.byte() {
            tag::ABSENT => Value::Absent,
            tag::TEXT => Value::Text(self.text()),
            tag::KNOWN => Value::Known(Word(self.count())),
            tag::FALSE => Value::Flag(false),
            tag::TRUE => Value::Flag(true),
            tag::INTEGER => Value::Integer(self.signed()),
            tag::DOUBLE => {
                let bytes = self.take(size_of::<f64>()).try_into();
                Value::Double(f64::from_le_bytes(bytes.expect("so many were taken")))
            }
            tag::BYTES => Value::Bytes(self.piece()),
            tag::LIST => Value::List((0..self.number()).map(|_| self.value()).collect()),
            tag::MAP => {
                Value::Map((0..self.number()).map(|_| (self.text(), self.value())).collect())
            }
            other => unreachable!("no value was written with the tag {other}"),
        }
    }
}

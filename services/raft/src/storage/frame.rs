//! Frames: pieces of a file, each of which says whether it is whole.
//!
//! A frame is its number, the length of what it holds, a check of that, a check of the three, and
//! then what it holds, filled up with zeros to a multiple of four bytes. Checks are CRC-32C, and
//! begin from the file's name and the frame's offset: bytes of another file, or of another place,
//! are never taken for a frame.

use std::ops::Range;

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};

/// Bytes of a frame before what it holds.
pub(super) const HEAD: usize = 20;
/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: usize = 4;

/// Who wrote a file: its node, and the random number of its directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) node: u64,
    pub(super) identity: u64,
}

/// The beginning of a file: what it is, who wrote it, and which one of its kind it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: [u8; 8],
    pub(super) mark: Mark,
    pub(super) name: [u64; 2],
}

impl Header {
    /// Bytes of a header; the first frame follows.
    pub(super) const LENGTH: usize = 48;
    const FORMAT: u32 = 1;

    pub(super) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.kind);
        bytes[8..12].copy_from_slice(&Self::FORMAT.to_le_bytes());
        let numbers = [self.mark.node, self.mark.identity, self.name[0], self.name[1]];
        for (place, number) in bytes[12..44].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let check = crc32c(&bytes[..44]);
        bytes[44..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads the header at the beginning of a file of this kind.
    pub(super) fn decode(kind: [u8; 8], bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.get(..Self::LENGTH).ok_or("its header is cut short")?;
        if crc32c(&bytes[..44]) != u32_at(bytes, 44) {
            return Err("its header does not match its check".into());
        }
        if bytes[..8] != kind {
            return Err("its header is that of another kind of file".into());
        }
        let format = u32_at(bytes, 8);
        if format != Self::FORMAT {
            return Err(format!("its format is {format}; this program knows {}", Self::FORMAT));
        }
        let mark = Mark { node: u64_at(bytes, 12), identity: u64_at(bytes, 20) };
        Ok(Self { kind, mark, name: [u64_at(bytes, 28), u64_at(bytes, 36)] })
    }

    /// From what the checks of a frame begin at this offset.
    fn seed(&self, offset: u64) -> u32 {
        let numbers = [self.mark.identity, self.name[0], self.name[1], offset];
        numbers.iter().fold(0, |check, number| crc32c_append(check, &number.to_le_bytes()))
    }

    /// Completes a frame for this offset, from [`HEAD`] bytes of room and what it holds.
    pub(super) fn seal(&self, offset: u64, number: u64, frame: &mut Vec<u8>) {
        let length = frame.len() - HEAD;
        let length = u32::try_from(length).expect("what is made durable at once is below 4 GiB");
        let seed = self.seed(offset);
        let check = crc32c_append(seed, &frame[HEAD..]);
        frame[..8].copy_from_slice(&number.to_le_bytes());
        frame[8..12].copy_from_slice(&length.to_le_bytes());
        frame[12..16].copy_from_slice(&check.to_le_bytes());
        let check = crc32c_append(seed, &frame[..16]);
        frame[16..HEAD].copy_from_slice(&check.to_le_bytes());
        frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// The number of the frame at this offset and what it says to hold, if its head is whole.
    fn head(&self, bytes: &[u8], offset: usize) -> Option<(u64, Range<usize>)> {
        let head = bytes.get(offset..offset + HEAD)?;
        let (number, length) = (u64_at(head, 0), u32_at(head, 8) as usize);
        let whole = number > 0
            && length > 0
            && crc32c_append(self.seed(offset as u64), &head[..16]) == u32_at(head, 16);
        whole.then(|| (number, offset + HEAD..offset + HEAD + length))
    }

    /// The frame at this offset, if it is whole.
    fn frame(&self, bytes: &Bytes, offset: usize) -> Option<Frame> {
        let (number, range) = self.head(bytes, offset)?;
        let holds = bytes.get(range.clone())?;
        let end = range.end.next_multiple_of(ALIGNMENT);
        let filling = bytes.get(range.end..end)?;
        let whole = crc32c_append(self.seed(offset as u64), holds) == u32_at(bytes, offset + 12)
            && filling.iter().all(|&byte| byte == 0);
        whole.then(|| Frame { number, offset, holds: bytes.slice(range), end })
    }

    /// Reads every frame of a file, given all of its bytes.
    pub(super) fn scan(&self, bytes: &Bytes) -> Scan {
        let mut scan = Scan { frames: Vec::new(), end: Self::LENGTH, rest: Rest::Nothing };
        while let Some(frame) = self.frame(bytes, scan.end) {
            scan.end = frame.end;
            scan.frames.push(frame);
        }
        scan.rest = self.rest(bytes, scan.end);
        scan
    }

    /// What stands from `end` on, where there is no whole frame.
    fn rest(&self, bytes: &[u8], end: usize) -> Rest {
        let tail = bytes.get(end..).unwrap_or_default();
        let Some(last) = tail.iter().rposition(|&byte| byte != 0) else { return Rest::Nothing };
        let last = end + last;
        // One frame is written at a time: whatever follows it was written when it was durable.
        if let Some((_, range)) = self.head(bytes, end)
            && range.end.next_multiple_of(ALIGNMENT) <= last
        {
            return Rest::Damage;
        }
        let mut later = (end + ALIGNMENT..=last).step_by(ALIGNMENT);
        if later.any(|offset| self.head(bytes, offset).is_some()) {
            return Rest::Damage;
        }
        Rest::Torn { until: last as u64 + 1 }
    }
}

/// A whole frame.
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) offset: usize,
    pub(super) holds: Bytes,
    end: usize,
}

/// What a file holds.
pub(super) struct Scan {
    /// Its whole frames, up to the first that is not.
    pub(super) frames: Vec<Frame>,
    /// Where they end.
    pub(super) end: usize,
    /// What follows them.
    pub(super) rest: Rest,
}

/// What follows the whole frames of a file.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Zeros: room for more.
    Nothing,
    /// A frame that was not written to its end, and nothing after it.
    Torn {
        /// Where its last byte is that is not zero, and one more.
        until: u64,
    },
    /// A frame that is not what was written, since there are others after it.
    Damage,
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes are four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes are eight bytes"))
}

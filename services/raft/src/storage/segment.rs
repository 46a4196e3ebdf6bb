//! Segments: the files of which the log consists.
//!
//! A segment is filled with zeros before it is used: to write where the file has its blocks already
//! needs no record of the file system's own, and what is not zero after the last frame is known for
//! a torn one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use super::directory::Directory;
use super::frame::{ALIGNMENT, Header, Mark};

const KIND: [u8; 8] = *b"ENSRLOG\0";
/// Bytes of the first segment: small, so that a node starts at once.
pub(super) const LEAST_BYTES: u64 = 256 << 10;
/// Bytes of a segment when a node has written much.
pub(super) const MOST_BYTES: u64 = 8 << 20;

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) header: Header,
    pub(super) file: File,
    /// Bytes that the file has.
    pub(super) size: u64,
    /// Where the next frame begins.
    pub(super) end: u64,
}

impl Segment {
    /// Makes a segment full of room, with this frame at its beginning if there is one.
    pub(super) fn create(
        directory: &Directory,
        mark: Mark,
        sequence: u64,
        size: u64,
        frame: &[u8],
    ) -> io::Result<Self> {
        let header = header(mark, sequence);
        let file = directory.create(&name(sequence), |file| {
            file.write_all(&header.encode())?;
            file.write_all(frame)?;
            let mut left = size.saturating_sub((Header::LENGTH + frame.len()) as u64);
            let zeros = vec![0; 256 << 10];
            while left > 0 {
                let some = left.min(zeros.len() as u64);
                file.write_all(&zeros[..usize::try_from(some).expect("it is a part of a buffer")])?;
                left -= some;
            }
            Ok(())
        })?;
        let end = (Header::LENGTH + frame.len()) as u64;
        Ok(Self { sequence, header, file, size: size.max(end), end })
    }

    /// Opens a segment to write on at this place.
    pub(super) fn open(directory: &Directory, header: Header, end: u64) -> io::Result<Self> {
        let sequence = header.name[0];
        let path = directory.path.join(name(sequence));
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { sequence, header, file, size, end })
    }

    /// Whether a frame of so many bytes goes into it.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.end + bytes.next_multiple_of(ALIGNMENT) as u64 <= self.size
    }

    /// Adds a frame, and makes it durable.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.end)?;
        self.file.sync_data()?;
        self.end += frame.len() as u64;
        self.size = self.size.max(self.end);
        Ok(())
    }

    /// Makes everything from its end to here zero again, durably.
    pub(super) fn cut(&mut self, until: u64) -> io::Result<()> {
        let torn = usize::try_from(until.saturating_sub(self.end)).expect("it was read to memory");
        self.file.write_all_at(&vec![0; torn], self.end)?;
        self.file.sync_data()
    }
}

/// The header of this segment.
pub(super) fn header(mark: Mark, sequence: u64) -> Header {
    Header { kind: KIND, mark, name: [sequence, 0] }
}

pub(super) fn name(sequence: u64) -> String {
    format!("log-{sequence:020}")
}

/// The sequence of the segment with this name.
pub(super) fn sequence(name: &str) -> Option<u64> {
    name.strip_prefix("log-")?.parse().ok()
}

/// Reads a whole segment, and who wrote it.
pub(super) fn read(directory: &Directory, sequence: u64) -> anyhow::Result<(Header, Bytes)> {
    let name = name(sequence);
    let bytes = fs::read(directory.path.join(&name));
    let bytes = bytes.map_err(|error| directory.failure(&format!("read {name}"), &error))?;
    let header = Header::decode(KIND, &bytes).map_err(|why| directory.damage(&name, &why))?;
    if header.name[0] != sequence {
        let reason = format!("its header says that it is segment {}", header.name[0]);
        return Err(directory.damage(&name, &reason));
    }
    Ok((header, bytes.into()))
}

//! What a directory's log says, read from its beginning.
//!
//! The first frame of every segment begins with the last entry that the log had by then, and says
//! again the ballot and which snapshot there is: so that the segments before it can go when all
//! their entries are in a snapshot. A log that goes on after a snapshot that was installed over it
//! begins a segment, too.
//!
//! A frame that was torn at the very end is what a crash leaves behind of something that was never
//! acknowledged. Whatever else is not what was written is damage, and refused.

use std::collections::VecDeque;
use std::sync::Arc;

use consensus::{Entry, Index, Term};
use prost::Message as _;
use proto::ensemble::raft::v1 as pb;
use protocols::NodeId;

use super::directory::Directory;
use super::frame::{Frame, Header, Mark, Rest, u64_at};
use super::segment::{self, Segment};
use crate::wire::decode_entries;

/// Bytes at the beginning of the first frame of a segment: the last entry of the log, and its term.
const LAST_BYTES: usize = 16;

/// Writes the last entry of the log, as the first frame of a segment begins.
pub(super) fn encode_last((index, term): (Index, Term)) -> [u8; LAST_BYTES] {
    let mut bytes = [0; LAST_BYTES];
    bytes[..8].copy_from_slice(&index.0.to_le_bytes());
    bytes[8..].copy_from_slice(&term.0.to_le_bytes());
    bytes
}

/// A segment that is not written any more, and the last entry that is needed of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old {
    pub(super) sequence: u64,
    pub(super) newest: Index,
}

/// What a log says.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ballot: Option<(Term, Option<NodeId>)>,
    /// The snapshot that it names last.
    pub(super) snapshot: (Index, Term),
    /// What is before the first of `entries`.
    base: (Index, Term),
    pub(super) entries: VecDeque<Arc<Entry>>,
    /// The number of the last frame.
    pub(super) number: u64,
    /// The segments, and the last entry of each.
    pub(super) segments: VecDeque<Old>,
}

impl State {
    fn last(&self) -> (Index, Term) {
        self.entries.back().map_or(self.base, |entry| (entry.index, entry.term))
    }

    /// Takes the next frame; `first` says whether it begins a segment.
    fn take(&mut self, frame: &Frame, first: bool) -> Result<(), String> {
        if self.number > 0 && frame.number != self.number + 1 {
            return Err(format!("frame {} follows frame {}", frame.number, self.number));
        }
        self.number = frame.number;
        let mut holds = frame.holds.clone();
        let last = match first {
            true if holds.len() < LAST_BYTES => return Err("it is too short".into()),
            true => {
                let last = holds.split_to(LAST_BYTES);
                Some((Index(u64_at(&last, 0)), Term(u64_at(&last, 8))))
            }
            false => None,
        };
        let records = pb::Records::decode(holds).map_err(|error| error.to_string())?.records;
        if let Some(last) = last
            && (self.segments.len() == 1 || last != self.last())
        {
            self.begin(last, &records)?;
        }
        for record in records {
            self.record(record)?;
        }
        Ok(())
    }

    /// The log begins after this entry: what was before is gone, or was never read.
    fn begin(&mut self, last: (Index, Term), records: &[pb::Record]) -> Result<(), String> {
        let installed = records.iter().any(|record| {
            matches!(&record.record, Some(pb::record::Record::Snapshot(name))
                if (Index(name.last_index), Term(name.last_term)) == last)
        });
        if self.segments.len() > 1 && !installed {
            let (told, read) = (last.0, self.last().0);
            return Err(format!("the log should end at entry {told}, and ends at {read}"));
        }
        (self.base, self.entries) = (last, VecDeque::new());
        for segment in &mut self.segments {
            segment.newest = Index(0);
        }
        Ok(())
    }

    fn record(&mut self, record: pb::Record) -> Result<(), String> {
        match record.record.ok_or("a record says nothing")? {
            pb::record::Record::Ballot(ballot) => {
                let term = Term(ballot.term);
                if self.ballot.is_some_and(|(before, _)| term < before) {
                    return Err(format!("{term:?} follows a later term"));
                }
                self.ballot = Some((term, ballot.voted_for.map(NodeId)));
                Ok(())
            }
            pb::record::Record::Snapshot(name) => {
                let named = (Index(name.last_index), Term(name.last_term));
                if named.0 < self.snapshot.0 || self.last().0 < named.0 {
                    return Err(format!("the snapshot at entry {} is out of order", named.0));
                }
                self.snapshot = named;
                Ok(())
            }
            pb::record::Record::Append(entries) => {
                let entries = decode_entries(entries.entries);
                self.append(entries.map_err(|wrong| wrong.to_string())?)
            }
        }
    }

    fn append(&mut self, entries: Vec<Arc<Entry>>) -> Result<(), String> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let (from, end) = (first.index, self.last().0);
        if end.next() < from {
            return Err(format!("entry {from} follows entry {end}"));
        }
        if from <= self.base.0 {
            // What it takes the place of was in segments that are gone.
            (self.base, self.entries) = ((from.previous(), Term(0)), VecDeque::new());
        }
        let kept = from.0 - self.base.0.next().0;
        self.entries.truncate(usize::try_from(kept).expect("there are no more in memory"));
        let segment = self.segments.back_mut().expect("a frame is in a segment");
        segment.newest = segment.newest.max(last.index);
        self.entries.extend(entries);
        Ok(())
    }

    /// Drops what the snapshot contains, and makes sure that nothing is missing after it.
    fn join(&mut self) -> Result<(), String> {
        let (index, term) = self.snapshot;
        if index < self.base.0 {
            let (first, last) = (index.next(), self.base.0);
            return Err(format!("entries {first} to {last} are missing: earlier files are gone"));
        }
        let contained = usize::try_from(index.0 - self.base.0.0).expect("they were in memory");
        let dropped = self.entries.drain(..contained.min(self.entries.len())).next_back();
        let at_end = dropped.map_or(self.base, |entry| (entry.index, entry.term));
        if contained > 0 && at_end != (index, term) {
            return Err(format!("the snapshot at entry {index} is not of this log"));
        }
        self.base = self.snapshot;
        Ok(())
    }
}

/// What was read, and the segment to write on.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) mark: Mark,
    pub(super) current: Segment,
    /// Bytes of a torn frame that were cut off.
    pub(super) torn: u64,
}

/// Where a frame was torn: in which segment, from where to where.
#[derive(Clone, Copy)]
struct Torn {
    sequence: u64,
    from: usize,
    until: u64,
}

/// Reads segments in order.
struct Reader<'a> {
    directory: &'a Directory,
    mark: Mark,
    state: State,
    /// The last segment that has frames, and where they end.
    current: Option<(Header, u64)>,
    /// Segments after it, which were made ahead of need.
    unused: Vec<u64>,
    torn: Option<Torn>,
}

impl Reader<'_> {
    fn damage(&self, sequence: u64, offset: usize, reason: &str) -> anyhow::Error {
        let reason = format!("the frame at offset {offset}: {reason}");
        self.directory.damage(&segment::name(sequence), &reason)
    }

    fn read(&mut self, sequence: u64) -> anyhow::Result<()> {
        let (header, bytes) = segment::read(self.directory, sequence)?;
        if header.mark != self.mark {
            let reason = "it belongs to another node or directory";
            return Err(self.directory.damage(&segment::name(sequence), reason));
        }
        let scan = header.scan(&bytes);
        let mismatch = "it is not what was written, and others follow it";
        if scan.rest == Rest::Damage {
            return Err(self.damage(sequence, scan.end, mismatch));
        }
        let is_empty = scan.frames.is_empty();
        if self.current.is_none() && is_empty {
            return Err(self.damage(sequence, scan.end, "it is not what was written"));
        }
        if let Some(torn) = self.torn
            && !(is_empty && scan.rest == Rest::Nothing)
        {
            return Err(self.damage(torn.sequence, torn.from, mismatch));
        }
        if let Rest::Torn { until } = scan.rest {
            self.torn = Some(Torn { sequence, from: scan.end, until });
        }
        if is_empty {
            self.unused.push(sequence);
            return Ok(());
        }
        if let Some(&unused) = self.unused.first() {
            return Err(self.damage(unused, Header::LENGTH, "it is missing, and others follow it"));
        }
        self.state.segments.push_back(Old { sequence, newest: Index(0) });
        for (number, frame) in scan.frames.iter().enumerate() {
            let took = self.state.take(frame, number == 0);
            took.map_err(|reason| self.damage(sequence, frame.offset, &reason))?;
        }
        self.current = Some((header, scan.end as u64));
        Ok(())
    }

    /// Opens the segment to write on, cuts off what is torn, and removes what is of no use.
    fn finish(mut self, stale: Vec<u64>) -> anyhow::Result<Replayed> {
        let Some((header, end)) = self.current else {
            return Err(self.directory.damage(&segment::name(1), "it is missing"));
        };
        let name = segment::name(header.name[0]);
        self.state.join().map_err(|reason| self.directory.damage(&name, &reason))?;
        let failed = |error| self.directory.failure("open the log", &error);
        let mut current = Segment::open(self.directory, header, end).map_err(failed)?;
        if let Some(torn) = self.torn
            && torn.sequence == current.sequence
        {
            current.cut(torn.until).map_err(failed)?;
        }
        let superfluous = self.unused.iter().rev().chain(&stale);
        for &sequence in superfluous {
            self.directory.remove(&segment::name(sequence)).map_err(failed)?;
        }
        self.directory.sync().map_err(failed)?;
        let Self { mark, mut state, torn, .. } = self;
        state.segments.pop_back_if(|segment| segment.sequence == current.sequence);
        let torn = torn.map_or(0, |torn| torn.until - torn.from as u64);
        Ok(Replayed { state, mark, current, torn })
    }
}

/// Reads the log of a directory, and cuts off what is torn at its end.
pub(super) fn read(directory: &Directory, mark: Mark) -> anyhow::Result<Replayed> {
    let names = directory.names().map_err(|error| directory.failure("list the log", &error))?;
    let mut sequences = names.iter().filter_map(|name| segment::sequence(name)).collect::<Vec<_>>();
    sequences.sort_unstable();
    // Whatever is before a gap was about to be removed, if what follows the gap is complete.
    let gap = sequences.windows(2).rposition(|pair| pair[1] != pair[0] + 1);
    let stale = sequences.drain(..gap.map_or(0, |gap| gap + 1)).collect();
    let state = State::default();
    let mut reader =
        Reader { directory, mark, state, current: None, unused: Vec::new(), torn: None };
    for sequence in sequences {
        reader.read(sequence)?;
    }
    reader.finish(stale)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use consensus::{Payload, Time};

    use super::super::frame::{HEAD, Scan};
    use super::*;
    use crate::wire::encode_entries;

    const MARK: Mark = Mark { node: 2, identity: 77 };
    const FRAMES: usize = 12;

    /// A segment with one entry in each frame but the first, and where each frame ends.
    fn segment() -> (Header, Vec<u8>, Vec<usize>) {
        let header = segment::header(MARK, 1);
        let mut bytes = header.encode().to_vec();
        let mut ends = Vec::new();
        for number in 1..=FRAMES as u64 {
            let mut frame = vec![0; HEAD];
            let mut records = Vec::new();
            if number == 1 {
                frame.extend_from_slice(&encode_last(<_>::default()));
            } else {
                let (index, term) = (Index(number - 1), Term(1));
                // Times of one byte or more: frames of every length, so that some are filled up.
                let time = Time(1 << (3 * number));
                let entry = Entry { index, term, time, payload: Payload::Nothing };
                let entries = pb::Entries { entries: encode_entries(&[Arc::new(entry)]) };
                let record = Some(pb::record::Record::Append(entries));
                records.push(pb::Record { record });
            }
            pb::Records { records }.encode(&mut frame).unwrap();
            header.seal(bytes.len() as u64, number, &mut frame);
            bytes.extend_from_slice(&frame);
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len() + 300, 0);
        (header, bytes, ends)
    }

    fn scan(header: &Header, bytes: Vec<u8>) -> Scan {
        header.scan(&Bytes::from(bytes))
    }

    fn entries(scan: &Scan) -> usize {
        let mut state = State::default();
        state.segments.push_back(Old { sequence: 1, newest: Index(0) });
        for (number, frame) in scan.frames.iter().enumerate() {
            state.take(frame, number == 0).unwrap();
        }
        state.entries.len()
    }

    #[test]
    fn wherever_a_write_is_torn_everything_before_it_is_read() {
        let (header, bytes, ends) = segment();
        for cut in ends[0]..bytes.len() {
            let whole = ends.partition_point(|&end| end <= cut);
            for (filling, length) in [(0, cut), (0, bytes.len()), (0xff, cut + 4), (0xff, cut + 9)]
            {
                let end = ends.get(whole).copied().unwrap_or(bytes.len());
                let mut torn = bytes[..cut].to_vec();
                torn.resize(length.min(end.max(cut)), filling);
                torn.resize(length.max(bytes.len()), 0);
                let scan = scan(&header, torn);
                assert!(scan.rest != Rest::Damage, "cut at {cut}");
                let read = entries(&scan);
                // What was cut off may have been zeros, too.
                assert!(read + 1 == whole || read == whole, "cut at {cut}: {read} of {whole}");
            }
        }
    }

    #[test]
    fn every_byte_of_every_frame_but_the_last_counts() {
        let (header, bytes, ends) = segment();
        for at in Header::LENGTH..ends[FRAMES - 2] {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(scan(&header, flipped).rest, Rest::Damage, "bit {bit} of byte {at}");
            }
        }
        for at in 0..Header::LENGTH {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Header::decode(header.kind, &flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_counts_only_in_its_place() {
        let (header, bytes, ends) = segment();
        for other in [segment::header(MARK, 2), segment::header(Mark { identity: 78, ..MARK }, 1)] {
            let read = scan(&other, bytes.clone());
            assert!(read.frames.is_empty() && matches!(read.rest, Rest::Torn { .. }));
        }
        // The second frame once more where the third should be.
        let mut moved = bytes[..ends[1]].to_vec();
        moved.extend_from_slice(&bytes[ends[0]..ends[1]]);
        assert_eq!(scan(&header, moved).frames.len(), 2);
    }

    #[test]
    fn a_frame_that_is_left_out_is_missed() {
        let (header, bytes, _) = segment();
        let scan = scan(&header, bytes);
        let mut state = State::default();
        state.segments.push_back(Old { sequence: 1, newest: Index(0) });
        state.take(&scan.frames[0], true).unwrap();
        let refused = state.take(&scan.frames[2], false).unwrap_err();
        assert_eq!(refused, "frame 3 follows frame 1");
    }
}

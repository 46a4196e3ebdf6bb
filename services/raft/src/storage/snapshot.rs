//! Snapshots: each a file of frames with pieces, and a last one that says how many they are.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use consensus::store::Assembly;
use consensus::{Index, Piece, Snapshot, Term};
use prost::Message as _;
use proto::ensemble::raft::v1 as pb;

use super::directory::Directory;
use super::frame::{HEAD, Header, Mark, Rest, u64_at};
use crate::wire::{decode_piece, encode_piece};

const KIND: [u8; 8] = *b"ENSRSNAP";
/// The number of the frame that says how many there are before it.
const END: u64 = u64::MAX;
/// The disk is given as much at a time, lest the log has to wait for all of a snapshot.
const SYNC_BYTES: usize = 4 << 20;

pub(super) fn name((index, term): (Index, Term)) -> String {
    format!("snapshot-{:020}-{:020}", index.0, term.0)
}

pub(super) fn is_snapshot(name: &str) -> bool {
    name.starts_with("snapshot-")
}

fn header(mark: Mark, (index, term): (Index, Term)) -> Header {
    Header { kind: KIND, mark, name: [index.0, term.0] }
}

/// A file to which frames are added.
struct Sink<'a> {
    file: &'a mut File,
    header: Header,
    offset: u64,
    number: u64,
    frame: Vec<u8>,
    unsynced: usize,
}

impl Sink<'_> {
    fn add(&mut self, piece: &Piece) -> io::Result<()> {
        self.number += 1;
        self.frame.resize(HEAD, 0);
        let piece = encode_piece(piece);
        piece.encode(&mut self.frame).expect("memory grows as it must");
        self.write(self.number)
    }

    fn finish(mut self) -> io::Result<()> {
        self.frame.resize(HEAD, 0);
        self.frame.extend_from_slice(&self.number.to_le_bytes());
        self.write(END)
    }

    fn write(&mut self, number: u64) -> io::Result<()> {
        self.header.seal(self.offset, number, &mut self.frame);
        self.file.write_all(&self.frame)?;
        self.offset += self.frame.len() as u64;
        self.unsynced += self.frame.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        self.frame.clear();
        Ok(())
    }
}

/// Writes a snapshot; it is durable when this returns.
pub(super) fn write(directory: &Directory, mark: Mark, snapshot: &Snapshot) -> io::Result<()> {
    directory.create(&name(snapshot.last), |file| {
        let header = header(mark, snapshot.last);
        file.write_all(&header.encode())?;
        let offset = Header::LENGTH as u64;
        let mut sink = Sink { file, header, offset, number: 0, frame: Vec::new(), unsynced: 0 };
        sink.add(&Piece::Configuration(snapshot.configuration.clone()))?;
        for part in snapshot.store.parts() {
            sink.add(&Piece::Store(part))?;
        }
        sink.finish()
    })?;
    Ok(())
}

/// Reads the snapshot up to and including this entry.
pub(super) fn read(
    directory: &Directory,
    mark: Mark,
    last: (Index, Term),
) -> anyhow::Result<Snapshot> {
    let name = name(last);
    let damage = |reason: String| directory.damage(&name, &reason);
    let bytes: Bytes = match fs::read(directory.path.join(&name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damage("it is named in the log, and is not there".into()));
        }
        read => read.map_err(|error| directory.failure(&format!("read {name}"), &error))?.into(),
    };
    let found = Header::decode(KIND, &bytes).map_err(damage)?;
    if found != header(mark, last) {
        return Err(damage("its header is that of another snapshot or node".into()));
    }
    let mut scan = found.scan(&bytes);
    if scan.rest != Rest::Nothing {
        return Err(damage(format!("the frame at offset {} does not match its check", scan.end)));
    }
    let count = scan.frames.len().saturating_sub(1) as u64;
    let end = scan.frames.pop().filter(|end| end.number == END && end.holds.len() == 8);
    if end.is_none_or(|end| u64_at(&end.holds, 0) != count) {
        return Err(damage("its end is missing".into()));
    }
    let mut configuration = None;
    let mut assembly = Assembly::default();
    for (number, frame) in (1..).zip(scan.frames) {
        let at = |reason: &str| damage(format!("the frame at offset {}: {reason}", frame.offset));
        if frame.number != number {
            return Err(at("it is out of order"));
        }
        let piece =
            pb::SnapshotPiece::decode(frame.holds).map_err(|error| at(&error.to_string()))?;
        match decode_piece(piece).map_err(|wrong| at(&wrong.to_string()))? {
            Piece::Configuration(members) if number == 1 => configuration = Some(members),
            Piece::Configuration(_) => return Err(at("it has members twice")),
            Piece::Store(part) => assembly.add(part).map_err(at)?,
        }
    }
    let configuration = configuration.ok_or_else(|| damage("it has no members".into()))?;
    let store = assembly.finish().map_err(|reason| damage(reason.into()))?;
    Ok(Snapshot { last, configuration: Arc::clone(&configuration), store })
}

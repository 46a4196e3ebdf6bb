//! The work itself: counting and digesting parts of a payload, and putting digests together.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode};
use blake3::hazmat::{left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use protocols::overlay::{Operation, Part, Piece, Product, Range, WordCount};

/// Works on a part. [`Operation::Process`] has no product: putting a name to it is all there is.
pub fn work(operation: Operation, part: &Part) -> Product {
    match operation {
        Operation::Process | Operation::WordCount => Product::Count(count(&part.bytes)),
        Operation::Digest => Product::Pieces(pieces(part)),
    }
}

fn count(bytes: &[u8]) -> WordCount {
    let mut count = WordCount { bytes: bytes.len() as u64, ..WordCount::default() };
    let mut inside = false;
    for byte in bytes {
        // `wc` in the C locale also takes the vertical tab for white space.
        let space = byte.is_ascii_whitespace() || *byte == 0x0b;
        count.lines += u64::from(*byte == b'\n');
        count.words += u64::from(!space && !inside);
        inside = !space;
    }
    count
}

/// Lines, words and bytes as `wc` prints them, without its padding.
pub fn count_text(bytes: &[u8]) -> String {
    let count = count(bytes);
    format!("{} {} {}", count.lines, count.words, count.bytes)
}

/// The digest as `b3sum` prints it.
pub fn digest_text(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The largest subtrees of the payload's BLAKE3 tree that lie within a part.
fn pieces(part: &Part) -> Vec<Piece> {
    let range = part.range();
    if range.offset == 0 && range.length == part.total {
        return vec![Piece { range, value: *blake3::hash(&part.bytes).as_bytes() }];
    }
    let mut pieces = Vec::new();
    subtrees(Range { offset: 0, length: part.total }, part, &mut pieces);
    pieces
}

fn subtrees(tree: Range, part: &Part, pieces: &mut Vec<Piece>) {
    let range = part.range();
    let (start, end) = (tree.offset.max(range.offset), (tree.offset + tree.length));
    if start >= end.min(range.offset + range.length) {
        return;
    }
    if range.offset <= tree.offset && end <= range.offset + range.length {
        let from = (tree.offset - range.offset) as usize;
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(tree.offset);
        hasher.update(&part.bytes[from..from + tree.length as usize]);
        pieces.push(Piece { range: tree, value: hasher.finalize_non_root() });
        return;
    }
    let (left, right) = halves(tree);
    subtrees(left, part, pieces);
    subtrees(right, part, pieces);
}

/// The two subtrees of one that is longer than a chunk.
fn halves(tree: Range) -> (Range, Range) {
    let left = left_subtree_len(tree.length);
    (
        Range { offset: tree.offset, length: left },
        Range { offset: tree.offset + left, length: tree.length - left },
    )
}

/// The digest of a payload of `total` bytes from the pieces of its tree; nothing when one is
/// missing.
pub fn digest(total: u64, pieces: &[Piece]) -> Option<[u8; 32]> {
    let whole = Range { offset: 0, length: total };
    if let Some(piece) = pieces.iter().find(|piece| piece.range == whole) {
        return Some(piece.value);
    }
    if total <= blake3::CHUNK_LEN as u64 {
        return None;
    }
    let (left, right) = halves(whole);
    let (left, right) = (value(left, pieces)?, value(right, pieces)?);
    Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

fn value(tree: Range, pieces: &[Piece]) -> Option<ChainingValue> {
    if let Some(piece) = pieces.iter().find(|piece| piece.range == tree) {
        return Some(piece.value);
    }
    if tree.length <= blake3::CHUNK_LEN as u64 {
        return None;
    }
    let (left, right) = halves(tree);
    Some(merge_subtrees_non_root(&value(left, pieces)?, &value(right, pieces)?, Mode::Hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_digest_to_what_the_whole_does_however_they_are_split() {
        for length in [0, 1, 1024, 1025, 16_384, 40_000, 65_536, 100_001, 1 << 20] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8).collect();
            for weights in [&[1][..], &[1, 2], &[3, 1, 1], &[1; 7]] {
                let parts = Part::whole(bytes.as_slice().into()).split(Operation::Digest, weights);
                let mut found = Vec::new();
                for part in parts.iter().filter(|part| !part.bytes.is_empty() || length == 0) {
                    found.extend(pieces(part));
                }
                let digest = digest(u64::from(length), &found);
                assert_eq!(digest, Some(*blake3::hash(&bytes).as_bytes()), "{length} {weights:?}");
            }
        }
    }

    #[test]
    fn there_is_no_digest_when_a_part_is_missing() {
        let parts = Part::whole([7; 100_000][..].into()).split(Operation::Digest, &[1, 1]);
        assert_eq!(digest(100_000, &pieces(&parts[0])), None);
        assert_eq!(digest(100_000, &[]), None);
        assert_eq!(digest(10, &[]), None);
    }

    #[test]
    fn words_are_counted_as_wc_does() {
        let count = count(b" two words\nand\tthree more\n");
        assert_eq!(count, WordCount { lines: 2, words: 5, bytes: 26 });
        assert_eq!(super::count(b""), WordCount::default());
    }
}

//! What the disk gives: every acknowledged put waits for it on two nodes at least.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rustix::fs::statfs;

use crate::figures::{Figure, Section};
use crate::spread::Spread;

const WRITES: usize = 200;
const WRITE: [u8; 256] = [b'-'; 256];
/// What Linux calls file systems in memory: tmpfs and ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Fails when the folder is not on a disk.
pub(super) fn expect_real(folder: &Path) -> anyhow::Result<()> {
    let kind = statfs(folder).with_context(|| format!("looking at {}", folder.display()))?.f_type;
    let folder = folder.display();
    ensure!(!IN_MEMORY.contains(&kind), "{folder} is in memory; --data names a folder on a disk");
    Ok(())
}

/// Measures what a synced write costs there.
pub(super) fn measure(folder: &Path) -> anyhow::Result<Section> {
    let mut file = tempfile::tempfile_in(folder).context("making a file on the disk")?;
    let mut taken = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let started = Instant::now();
        file.write_all(&WRITE).and_then(|()| file.sync_data()).context("writing to the disk")?;
        taken.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let spread = Spread::of(taken);
    let mut section = Section::new("the disk that both use", "");
    let what = format!("{} bytes appended and synced, median of {WRITES}", WRITE.len());
    section.add(Figure::of(what, "ms", spread.median));
    section.note(format!("{:.2} to {:.2} ms", spread.least, spread.most));
    Ok(section)
}

//! Where the lines of services go: each to its file, and all to the screen.
//!
//! The screen may be slow or stopped (Ctrl-S, a pager): then lines are dropped from it and counted.
//! The files have them all. A service never waits for either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::paint::{Colour, Palette};
use crate::render::{complaint, render};

/// A log that has grown past this is set aside as `.1` (16 MiB).
const FILE_LIMIT: u64 = 16 << 20;
/// A longer line is broken (64 KiB).
const LINE_LIMIT: usize = 64 << 10;
/// Of a row of complaints the first tell the reason; a panic takes two lines to tell its own.
const COMPLAINTS_LIMIT: usize = 2;
/// How many lines may wait for the screen.
const SCREEN_LIMIT: usize = 4096;
/// How long the last lines may take to reach the screen.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A file that lines are appended to, and that is set aside when it has grown large.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the file for appending.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or not be set aside.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let open = || -> io::Result<Self> {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let size = file.metadata()?.len();
            let mut log = Self { path: path.clone(), file, size };
            log.set_aside_when_large()?;
            Ok(log)
        };
        open().with_context(|| format!("cannot open the log {}", path.display()))
    }

    fn set_aside_when_large(&mut self) -> io::Result<()> {
        if self.size > FILE_LIMIT {
            fs::rename(&self.path, set_aside(&self.path))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.size = self.file.metadata()?.len();
        }
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.size += line.len() as u64 + 1;
        self.set_aside_when_large()
    }
}

/// The name of what was the log before it grew too large.
fn set_aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The screen that all services share.
pub(crate) struct Screen {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    finished: Receiver<()>,
}

/// A way to put lines on the screen.
#[derive(Clone)]
pub(crate) struct ScreenHandle {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Screen {
    /// Starts the thread that writes to standard output.
    pub(crate) fn start() -> Self {
        let (lines, waiting) = mpsc::sync_channel(SCREEN_LIMIT);
        let (finish, finished) = mpsc::sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        thread::spawn(move || {
            // Nobody reads any more: the files still have everything.
            let _ = show(&waiting, &count);
            let _ = finish.send(());
        });
        Self { lines, dropped, finished }
    }

    pub(crate) fn handle(&self) -> ScreenHandle {
        ScreenHandle { lines: self.lines.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// Waits until all is shown, for a moment; all handles must be gone.
    pub(crate) fn finish(self) {
        drop(self.lines);
        let _ = self.finished.recv_timeout(LAST_WORDS);
    }
}

impl ScreenHandle {
    pub(crate) fn show(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn show(waiting: &Receiver<String>, dropped: &AtomicU64) -> io::Result<()> {
    let mut screen = io::BufWriter::new(io::stdout());
    loop {
        let line = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return screen.flush(),
            Err(TryRecvError::Empty) => {
                screen.flush()?;
                let Ok(line) = waiting.recv() else {
                    return Ok(());
                };
                line
            }
        };
        writeln!(screen, "{line}")?;
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            writeln!(screen, "… {missing} lines are not shown: the files of the logs have them")?;
        }
    }
}

/// Where the lines of one service go.
pub(crate) struct Sink {
    log: Mutex<LogFile>,
    screen: Option<ScreenHandle>,
    label: String,
    palette: Palette,
    /// What it has complained of since it last said anything else.
    complaints: Mutex<Vec<String>>,
}

/// Which of its two outputs a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Sink {
    /// `width` is that of the widest name, and `screen` absent when nobody watches.
    pub(crate) fn new(
        log: LogFile,
        screen: Option<ScreenHandle>,
        name: &str,
        width: usize,
        colour: Colour,
        palette: Palette,
    ) -> Self {
        let label = palette.paint(colour, format!("{name:width$} |"));
        Self { log: Mutex::new(log), screen, label, palette, complaints: Mutex::new(Vec::new()) }
    }

    /// Takes one line.
    pub(crate) fn line(&self, stream: Stream, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the service; the screen still shows the line.
        let _ = log.append(line);
        drop(log);
        if let Some(screen) = &self.screen {
            screen.show(format!("{} {}", self.label, render(line, self.palette)));
        }
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        match complaint(line, stream == Stream::Stderr) {
            Some(complaint) if complaints.len() < COMPLAINTS_LIMIT => complaints.push(complaint),
            Some(_) => (),
            // It went on after what it complained of.
            None => complaints.clear(),
        }
    }

    /// What the process complained of at the very end, once.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let complaint = complaints.join(" ");
        complaints.clear();
        Some(complaint).filter(|complaint| !complaint.is_empty())
    }
}

/// Passes on every line until the other end closes.
pub(crate) async fn pump(source: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        let available = match reader.fill_buf().await {
            Ok(available) if !available.is_empty() => available,
            _ => break,
        };
        let room = &available[..available.len().min(LINE_LIMIT - line.len())];
        let newline = room.iter().position(|byte| *byte == b'\n');
        let used = newline.map_or(room.len(), |position| position + 1);
        line.extend_from_slice(&room[..newline.unwrap_or(used)]);
        reader.consume(used);
        if newline.is_some() || line.len() >= LINE_LIMIT {
            take(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            line.clear();
        }
    }
    if !line.is_empty() {
        take(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pumped(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(pump(bytes, |line| lines.push(line.to_owned())));
        lines
    }

    #[test]
    fn lines_are_passed_on_whole() {
        assert_eq!(pumped(b"a\nb\r\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(pumped(b""), [""; 0]);
        assert_eq!(pumped(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_is_broken() {
        let long = vec![b'x'; 2 * LINE_LIMIT + 5];
        let lengths: Vec<_> = pumped(&long).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT, 5]);
    }

    #[test]
    fn a_large_log_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let file = File::create(&path).expect("a file");
        file.set_len(FILE_LIMIT - 1).expect("a sparse file");
        let mut log = LogFile::open(path.clone()).expect("opened");
        assert!(!set_aside(&path).exists());
        log.append("over the limit").expect("appended");
        assert!(set_aside(&path).exists());
        log.append("next").expect("appended");
        assert_eq!(fs::read_to_string(&path).expect("read"), "next\n");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|f| f.set_len(FILE_LIMIT + 1))
            .expect("grown");
        LogFile::open(path.clone()).expect("opened");
        assert_eq!(fs::metadata(&path).expect("exists").len(), 0);
    }
}

//! The files of a directory, and what is told when one of them fails.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

/// What the name of a file ends with until it is whole.
const UNFINISHED: &str = ".new";
const LOCK: &str = "LOCK";

/// A directory that this process alone uses, for as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// The directory itself: what it lists is made durable by it.
    itself: File,
    _lock: File,
}

impl Directory {
    /// Opens a directory, and makes it if there is none.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("data directory {}: cannot be opened", path.display());
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(failed)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = File::open(parent.unwrap_or(Path::new("."))).with_context(failed)?;
            parent.sync_all().with_context(failed)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => bail!(
                "data directory {}: another process uses it; end that process, or set \
                 RAFT_DIRECTORY to another directory",
                path.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let itself = File::open(path).with_context(failed)?;
        Ok(Self { path: path.to_owned(), itself, _lock: lock })
    }

    /// Makes what the directory lists durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.itself.sync_all()
    }

    /// The names of all files.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string()));
        // A name that is not text is none of ours.
        names.filter_map(|name| name.map(Result::ok).transpose()).collect()
    }

    /// Removes what was begun and never finished.
    pub(super) fn clear_unfinished(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.ends_with(UNFINISHED) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Makes a file that is there as a whole, or not at all: nobody sees it before it is durable.
    pub(super) fn create(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<File> {
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)?;
        let filled = fill(&mut file).and_then(|()| file.sync_all());
        let renamed = filled.and_then(|()| fs::rename(&unfinished, self.path.join(name)));
        if let Err(error) = renamed {
            // It takes up room that may be what is wanting.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        self.sync()?;
        Ok(file)
    }

    /// What is told when something could not be done: which directory, why, and what to do.
    pub(super) fn failure(&self, doing: &str, error: &io::Error) -> anyhow::Error {
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        let remedy = if full.contains(&error.kind()) {
            "free space, or raise the limit, and start again: nothing that was acknowledged is lost"
        } else {
            "check the disk and start again: nothing that was acknowledged is lost unless the disk \
             has lost it, which is then found out"
        };
        anyhow!("data directory {}: {doing}: {error}; {remedy}", self.path.display())
    }

    /// What is told when a file is not what was written.
    pub(super) fn damage(&self, name: &str, reason: &str) -> anyhow::Error {
        anyhow!(
            "{}: {reason}: what this node has promised is lost. Remove this member from the \
             cluster, and add it again with an empty directory: the other nodes have the data",
            self.path.join(name).display()
        )
    }
}

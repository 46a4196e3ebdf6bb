//! `ensemble logs`: what services have said, and say.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::sleep;

use super::Context;
use crate::nearest::nearest;
use crate::paint::Colour;
use crate::render::{render, timestamp};
use crate::state::Folder;
use crate::supervisor::OWN_NAME;

/// How often to look for new lines.
const LOOK: Duration = Duration::from_millis(100);
/// How many lines of each service are shown when nothing else is said.
const TAIL: &str = "100";

/// Show the logs of services
///
/// They are kept after the services have ended. The supervisor's own is `ensemble`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble logs                            the last lines of all, by time
  ensemble logs overlay-a --follow
  ensemble logs overlay-a --tail all --raw | jq .message
  ensemble logs ensemble                   what died and was started again")]
pub(crate) struct Arguments {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Go on until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines of each service: a number, or `all`
    #[arg(long, value_name = "N", default_value = TAIL, value_parser = tail)]
    tail: usize,
    /// As they were written: JSON, without names
    #[arg(long)]
    raw: bool,
}

fn tail(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        number => number.parse().map_err(|_| "a number, or `all`".to_owned()),
    }
}

/// Shows them.
///
/// # Errors
///
/// There is no such log, or it cannot be read.
pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode> {
    let folder = context.folder()?;
    let names = select(&folder, &arguments.services)?;
    let mut logs = Vec::with_capacity(names.len());
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (position, name) in names.iter().enumerate() {
        let label = format!("{name:width$} |");
        let label = context.palette.paint(Colour::of_service(position), label);
        logs.push(Log { label, ..Log::open(folder.log(name))? });
    }
    let shown = |lines: Vec<(String, String)>| -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (label, line) in lines {
            if arguments.raw {
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{label} {}", render(&line, context.palette))?;
            }
        }
        out.flush()
    };
    let mut last = Vec::new();
    for log in &mut logs {
        let lines = log.unread()?;
        let skipped = lines.len().saturating_sub(arguments.tail);
        let mut when = String::new();
        for line in lines.into_iter().skip(skipped) {
            // What says no time belongs to the line before it.
            when = timestamp(&line).unwrap_or(when);
            last.push((when.clone(), (log.label.clone(), line)));
        }
    }
    last.sort_by(|(one, _), (other, _)| one.cmp(other));
    shown(last.into_iter().map(|(_, line)| line).collect())?;
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        sleep(LOOK).await;
        for log in &mut logs {
            let lines = log.unread()?;
            shown(lines.into_iter().map(|line| (log.label.clone(), line)).collect())?;
        }
    }
}

/// The names of the logs to show.
fn select(folder: &Folder, wanted: &[String]) -> Result<Vec<String>> {
    let mut there = BTreeSet::new();
    if let Ok(entries) = fs::read_dir(folder.logs()) {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            there.extend(name.strip_suffix(".log").map(str::to_owned));
        }
    }
    if there.is_empty() {
        bail!("there are no logs in {}: `ensemble up` writes them", folder.logs().display());
    }
    for name in wanted {
        if !there.contains(name) {
            let hint = nearest(name, there.iter().map(String::as_str)).suggestion("ensemble ps");
            bail!("there is no log of {name}{hint}");
        }
    }
    if wanted.is_empty() {
        there.remove(OWN_NAME);
        return Ok(there.into_iter().collect());
    }
    Ok(wanted.to_vec())
}

/// A log that is being read.
struct Log {
    label: String,
    path: PathBuf,
    file: File,
    /// A last line without its end.
    rest: Vec<u8>,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { label: String::new(), path, file, rest: Vec::new() })
    }

    /// The whole lines that were not read before.
    fn unread(&mut self) -> Result<Vec<String>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let position = self.file.stream_position()?;
        if self.file.metadata()?.len() < position {
            self.file.seek(SeekFrom::Start(0))?;
        }
        self.file.read_to_end(&mut bytes)?;
        // Set aside because it was large: its successor goes on.
        let same = |other: &fs::Metadata| {
            self.file
                .metadata()
                .is_ok_and(|own| own.ino() == other.ino() && own.dev() == other.dev())
        };
        if fs::metadata(&self.path).is_ok_and(|found| !same(&found)) {
            self.file.read_to_end(&mut bytes)?;
            self.file = File::open(&self.path)?;
            self.file.read_to_end(&mut bytes)?;
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        self.rest = bytes.split_off(end);
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_when_it_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let append = |text: &str| {
            let mut file = File::options().create(true).append(true).open(&path).expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        };
        append("one\ntw");
        let mut log = Log::open(path.clone()).expect("opened");
        assert_eq!(log.unread().expect("read"), ["one"]);
        append("o\n");
        assert_eq!(log.unread().expect("read"), ["two"]);
        append("three\n");
        fs::rename(&path, folder.path().join("a.log.1")).expect("renamed");
        append("four\n");
        assert_eq!(log.unread().expect("read"), ["three", "four"]);
        append("five\n");
        assert_eq!(log.unread().expect("read"), ["five"]);
    }

    #[test]
    fn a_misspelt_service_is_answered_with_the_nearest() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(temporary.path());
        let error = select(&folder, &[]).expect_err("nothing").to_string();
        assert!(error.contains("`ensemble up` writes them"), "{error}");
        folder.make().expect("made");
        for name in ["overlay-a", OWN_NAME] {
            fs::write(folder.log(name), "").expect("written");
        }
        assert_eq!(select(&folder, &[]).expect("there"), ["overlay-a"]);
        assert_eq!(select(&folder, &[OWN_NAME.to_owned()]).expect("there"), [OWN_NAME]);
        let error = select(&folder, &["overlay-s".to_owned()]).expect_err("none").to_string();
        assert_eq!(error, "there is no log of overlay-s: do you mean overlay-a?");
    }
}

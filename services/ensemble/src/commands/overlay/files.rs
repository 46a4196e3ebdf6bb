//! `ensemble overlay lint` and `graph`: about files of processes.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use overlay::TWO_HOSTS;
use overlay::config::Config;

/// Find what is wrong with a file of processes; exit with 1 when something is
#[derive(Debug, clap::Args)]
pub(super) struct Lint {
    /// The file [default: the document's two hosts]
    file: Option<PathBuf>,
}

/// Draw a file of processes as SVG
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble overlay graph > overlay.svg
  ensemble overlay graph two_hosts_config.json --out overlay.svg")]
pub(super) struct Graph {
    /// The file [default: the document's two hosts]
    file: Option<PathBuf>,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn read(file: Option<&Path>) -> Result<Config> {
    match file {
        Some(path) => Config::read(path),
        None => Config::parse(TWO_HOSTS),
    }
}

/// Prints every problem.
pub(super) fn lint(arguments: &Lint) -> Result<ExitCode> {
    let config = read(arguments.file.as_deref())?;
    let problems = overlay::lint(&config);
    let mut out = io::stdout().lock();
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    if problems.is_empty() {
        let name = match &arguments.file {
            Some(path) => path.display().to_string(),
            None => "the document's two hosts".into(),
        };
        writeln!(out, "{name}: {} processes, no problem", config.processes.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Draws it.
pub(super) fn graph(arguments: &Graph) -> Result<ExitCode> {
    let svg = overlay::graph(&read(arguments.file.as_deref())?);
    match &arguments.out {
        Some(path) => {
            std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?
        }
        None => write!(io::stdout(), "{svg}")?,
    }
    Ok(ExitCode::SUCCESS)
}

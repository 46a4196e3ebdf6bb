//! `ensemble up`: the time until all six are healthy.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::Pace;
use super::cluster::{PLACES, Programs};
use super::idle::milliseconds;
use crate::figures::{Figure, Section};
use crate::process::{LOOK_INTERVAL, Process, free_addresses};

const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Measures it, if it has been built.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let mut section = Section::new("ensemble up overlay", "");
    match programs.built("ensemble") {
        Some(ensemble) => {
            let mut taken = Vec::new();
            for _ in 0..pace.ups {
                taken.push(up(&ensemble, programs).await?);
            }
            let spread = milliseconds(&taken);
            let what = format!("start to six healthy, median of {}", pace.ups);
            section.add(Figure::of(what, "ms", spread.median));
            section.note(format!("{:.0} to {:.0} ms", spread.least, spread.most));
        }
        None => section.note("skipped: `cargo build --release --package ensemble` makes it"),
    }
    Ok(vec![section])
}

async fn up(ensemble: &Path, programs: &Programs) -> anyhow::Result<Duration> {
    // Not below the repository: there `ensemble` would find its compose.yaml and its state.
    let folder = tempfile::tempdir().context("making a folder")?;
    let addresses = free_addresses::<6>()?;
    let mut command = Command::new(ensemble);
    command.args(["up", "overlay"]).current_dir(folder.path()).env_clear();
    for (place, address) in PLACES.iter().zip(addresses) {
        command.env(format!("OVERLAY_{}_PORT", place.id), address.port().to_string());
    }
    let mut process = Process::start("ensemble-up", command, &programs.logs)?;
    let mut taken = Duration::ZERO;
    for address in addresses {
        // Looks without a pause would be felt by those that start.
        taken = process.until_serving(address, LOOK_INTERVAL).await?;
    }
    process.stop(STOP_DEADLINE).await?;
    Ok(taken)
}

//! What a process costs, as Linux tells it in `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux counts a process's time in ticks of this length on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

/// The memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, pages that it shares with others included.
    pub(crate) resident: f64,
    /// Resident, of each shared page only its share.
    pub(crate) proportional: f64,
}

/// The memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).context(path)?;
    let resident = mebibytes(&text, "Rss:").context("no Rss in smaps_rollup")?;
    let proportional = mebibytes(&text, "Pss:").context("no Pss in smaps_rollup")?;
    Ok(Memory { resident, proportional })
}

/// The most MiB that were resident in a process, since its start or since that was forgotten.
pub(crate) fn peak(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).context(path)?;
    mebibytes(&text, "VmHWM:").context("no VmHWM in status")
}

fn mebibytes(text: &str, field: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// The processor time that the threads of a process have used: to the nanosecond where the kernel
/// keeps schedules, and else in ticks.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    match scheduled(pid) {
        Some(time) => Ok(time),
        None => ticking_time(pid),
    }
}

/// The processor time that a process has used in ticks, threads that have ended included.
pub(crate) fn ticking_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).context(path)?;
    ticks(&text).map(|ticks| TICK * ticks).context("no times in stat")
}

/// The sum over the threads that live: right for what does not start and end threads.
fn scheduled(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

/// The processor time that the whole machine has used, and what was taken from it.
pub(crate) fn machine_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    busy_ticks(&text).map(|ticks| TICK * ticks).context("no times in /proc/stat")
}

fn busy_ticks(stat: &str) -> Option<u32> {
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u32> =
        fields.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    // The fourth and the fifth are idle, the ninth and the tenth are counted before.
    let busy = fields.iter().take(8).enumerate().filter(|(index, _)| ![3, 4].contains(index));
    Some(busy.map(|(_, ticks)| ticks).sum())
}

fn ticks(stat: &str) -> Option<u32> {
    // A program's name may hold anything, but nothing behind it holds a parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn a_machine_is_busy_with_all_but_waiting() {
        let stat = "cpu  100 20 3 9000 800 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(100 + 20 + 3 + 4 + 5 + 6));
    }

    #[test]
    fn memory_is_read_in_mebibytes() {
        let text = "00-ff ---p 0 00:00 0 [rollup]\nRss:                2560 kB\nPss: 512 kB\n";
        assert_eq!(mebibytes(text, "Rss:"), Some(2.5));
        assert_eq!(mebibytes(text, "Pss:"), Some(0.5));
        assert_eq!(mebibytes(text, "Swap:"), None);
    }

    #[test]
    fn this_very_process_costs_something() {
        let me = std::process::id();
        assert!(memory(me).unwrap().resident > 0.1);
        assert!(peak(me).unwrap() > 0.1);
        // In ticks, where a thread of another test ends meanwhile: that takes some work to see.
        let started = Instant::now();
        while processor_time(me).unwrap().is_zero() {
            assert!(started.elapsed() < Duration::from_secs(10), "no time is counted");
        }
    }
}

//! What the console uses while something happens: memory at its peak, processor time.

use std::fs;
use std::time::{Duration, Instant};

use crate::figures::{Figure, Goal, Section};
use crate::usage;

/// Time between two looks at its memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What was used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// The most MiB that were resident.
    pub(super) resident: f64,
    /// The most MiB by shares of what is shared, of several looks.
    pub(super) proportional: f64,
    /// Processor time.
    pub(super) processor: Duration,
    pub(super) lasted: Duration,
}

impl Used {
    /// Percent of one core.
    pub(super) fn percent(&self) -> f64 {
        self.processor.as_secs_f64() / self.lasted.as_secs_f64() * 100.0
    }

    /// Adds the figures of memory and processor.
    pub(super) fn tell(&self, section: &mut Section, memory: Goal, processor: Option<Goal>) {
        let figure = Figure::of("memory at its peak, resident", "MiB", self.resident);
        section.add(figure.goal(memory));
        section.add(Figure::of("memory at its peak, PSS", "MiB", self.proportional));
        let figure = Figure::of("processor time", "% of a core", self.percent());
        section.add(match processor {
            Some(goal) => figure.goal(goal),
            None => figure,
        });
    }
}

/// Measures a process while this work is done.
pub(super) async fn metered<T>(
    pid: u32,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Used)> {
    forget_peak(pid);
    let (before, began) = (usage::processor_time(pid)?, Instant::now());
    let mut proportional = 0.0_f64;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done?,
            _ = looks.tick() => {
                proportional = proportional.max(usage::memory(pid)?.proportional);
            }
        }
    };
    let processor = usage::processor_time(pid)?.saturating_sub(before);
    let (resident, lasted) = (usage::peak(pid)?, began.elapsed());
    Ok((done, Used { resident, proportional, processor, lasted }))
}

/// Where the kernel does not let it, the peak is that since the start.
fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

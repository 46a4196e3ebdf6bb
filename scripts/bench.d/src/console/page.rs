//! The page in a browser: whether it draws every frame of the screen while sixty nodes change, and
//! what it takes.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Pace;
use super::browser::{self, Browser};
use super::stage::{Programs, Stage};
use crate::figures::{Figure, Goal, Section};
use crate::process::free_addresses;

/// Every view of the page, by what stands behind `#/`.
const VIEWS: [&str; 6] = ["", "overlay", "raft", "chord", "traces", "promises"];
/// A screen shows 60; a browser that counts begins in the midst of one.
const FRAMES_GOAL: Goal = Goal::AtLeast(59.0);
/// MiB of the page after some minutes of history.
const HEAP_GOAL: Goal = Goal::AtMost(200.0);
/// What remains of opening a view is no part of showing it.
const SETTLING: Duration = Duration::from_secs(1);

/// Measures it, if there is a browser.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let mut section = Section::new("the page, 60 busy nodes", "an empty page");
    let Some(programs_of_browser) = browser::installed() else {
        section.note("skipped: it needs chromium and chromium-driver, as Debian has them");
        return Ok(section);
    };
    let stage = Stage::start(programs).await?;
    stage.fleet.set_busy(true);
    // The first is the spare one of the stage, where nobody must be.
    let [_, address] = free_addresses()?;
    let browser = Browser::start(programs_of_browser, address, &programs.logs).await?;
    let measured = look(&browser, &stage, pace, &mut section).await;
    browser.close().await?;
    measured.map(|()| section)
}

async fn look(
    browser: &Browser,
    stage: &Stage,
    pace: Pace,
    section: &mut Section,
) -> anyhow::Result<()> {
    let (length, whole) = pace.page;
    browser.open("about:blank").await?;
    let empty = Shown::count(browser, length).await?;
    let began = Instant::now();
    for view in VIEWS {
        browser.open(&format!("http://{}/#/{view}", stage.page)).await?;
        tokio::time::sleep(SETTLING).await;
        let shown = Shown::count(browser, length).await?;
        let name = if view.is_empty() { "floor plan" } else { view };
        let frames = Figure::of(format!("{name}: frames"), "a second", shown.frames);
        section.add(frames.against(empty.frames).goal(FRAMES_GOAL));
        let busy = Figure::of(format!("{name}: the page's own thread"), "% of a core", shown.busy);
        section.add(busy.against(empty.busy));
        section.add(Figure::of(format!("{name}: long tasks"), "ms", shown.long_ms));
    }
    let rest = whole.saturating_sub(began.elapsed());
    tokio::time::sleep(rest).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let what = format!("JavaScript's heap after {minutes:.1} min");
    section.add(Figure::of(what, "MiB", heap(browser).await?).goal(HEAP_GOAL));
    section.note(
        "the views share one page and its history; the fleet and the browser share the machine",
    );
    Ok(())
}

/// What a view of the page took while it was looked at.
struct Shown {
    /// Frames of the screen in a second.
    frames: f64,
    /// Percent of a core.
    busy: f64,
    /// Milliseconds of tasks that took 50 ms or longer.
    long_ms: f64,
}

impl Shown {
    async fn count(browser: &Browser, length: Duration) -> anyhow::Result<Self> {
        let script = format!(
            "const [say] = arguments; let [frames, long, first] = [0, 0, null];
             new PerformanceObserver((list) => {{
               for (const each of list.getEntries()) long += each.duration;
             }}).observe({{ type: 'longtask' }});
             const step = (time) => {{
               first ??= time;
               if (time - first < {}) {{ frames += 1; requestAnimationFrame(step); }}
               else setTimeout(() => say([frames * 1000 / (time - first), long]), 100);
             }};
             requestAnimationFrame(step);",
            length.as_millis()
        );
        let (before, began) = (thread_seconds(browser).await?, Instant::now());
        let said = browser.ask(&script, length).await?;
        let busy = thread_seconds(browser).await? - before;
        let number = |at: usize| said.get(at).and_then(Value::as_f64).unwrap_or_default();
        let busy = busy / began.elapsed().as_secs_f64() * 100.0;
        Ok(Self { frames: number(0), busy, long_ms: number(1) })
    }
}

async fn thread_seconds(browser: &Browser) -> anyhow::Result<f64> {
    Ok(browser.metric("ThreadTime").await?.unwrap_or_default())
}

async fn heap(browser: &Browser) -> anyhow::Result<Option<f64>> {
    browser.collect_garbage().await?;
    Ok(browser.metric("JSHeapUsedSize").await?.map(|bytes| bytes / f64::from(1 << 20)))
}

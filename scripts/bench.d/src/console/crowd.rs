//! A thousand who look at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::meter::metered;
use super::stage::{Programs, Stage};
use super::viewer::{Look, Sight, Viewer, quantiles_ms};
use super::{Pace, http};
use crate::figures::{Figure, Goal, Section};

/// Milliseconds until nearly every frame is seen by everybody.
const AGE_GOAL: Goal = Goal::AtMost(1_000.0);
/// KiB that a viewer may cost.
const VIEWER_GOAL: Goal = Goal::AtMost(64.0);
const NOBODY_GOAL: Goal = Goal::AtMost(0.0);
/// Those who try to look beside so many.
const MORE: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    raise_file_limit();
    let (count, length) = pace.crowd;
    let stage = Stage::start(programs).await?;
    let (alone, before) = metered(stage.pid(), async {
        Viewer::open(stage.page).await?.look(Instant::now() + length / 4, Look::Briefly).await
    })
    .await?;
    let began = Instant::now();
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        crowd.push(Viewer::open(stage.page).await?);
    }
    let opened = began.elapsed();
    let until = Instant::now() + length;
    let (sights, used) = metered(stage.pid(), look_all(&mut crowd, until)).await?;
    let mut section = Section::new(format!("{count} viewers at once"), "one viewer");
    section.add(Figure::of("all are let in", "ms", opened.as_secs_f64() * 1e3));
    let blind = sights.iter().filter(|sight| sight.frames == 0).count();
    section.add(Figure::of("viewers that are shown no frame", "", blind as f64).goal(NOBODY_GOAL));
    let anew = sights.iter().filter(|sight| sight.snapshots > 1).count();
    section.add(Figure::of("viewers that fell behind", "", anew as f64));
    let mut all = Sight::default();
    sights.into_iter().for_each(|sight| all.merge(sight));
    let each = |sight: &Sight, of: usize, length: Duration| {
        sight.frames as f64 / of as f64 / length.as_secs_f64()
    };
    let rate = Figure::of("frames that each is shown", "a second", each(&all, count, length));
    section.add(rate.against(each(&alone, 1, length / 4)));
    let ages = quantiles_ms(all.views).into_iter().zip(quantiles_ms(alone.views));
    for (name, (age, peer)) in ["p50", "p99", "longest"].iter().zip(ages) {
        let figure = Figure::of(format!("a frame until it is seen, {name}"), "ms", age);
        let figure = figure.against(peer);
        section.add(if *name == "p99" { figure.goal(AGE_GOAL) } else { figure });
    }
    let cost = (used.resident - before.resident) * 1024.0 / count as f64;
    section.add(Figure::of("memory for each", "KiB", cost).goal(VIEWER_GOAL));
    let memory = Figure::of("memory at its peak, resident", "MiB", used.resident);
    section.add(memory.against(before.resident));
    let figure = Figure::of("processor time", "% of a core", used.percent());
    section.add(figure.against(before.percent()));
    section.note("the crowd and its sixty nodes share the machine with the console");
    more(&mut section, &stage, crowd.len()).await?;
    Ok(section)
}

async fn look_all(crowd: &mut Vec<Viewer>, until: Instant) -> anyhow::Result<Vec<Sight>> {
    let mut looking = JoinSet::new();
    for mut viewer in crowd.drain(..) {
        looking.spawn(async move {
            let sight = viewer.look(until, Look::Briefly).await;
            (viewer, sight)
        });
    }
    let mut sights = Vec::with_capacity(looking.len());
    while let Some(looked) = looking.join_next().await {
        let (viewer, sight) = looked.context("a viewer broke off")?;
        crowd.push(viewer);
        sights.push(sight?);
    }
    Ok(sights)
}

/// Whether those who come when so many look already are served, or told why not; and whether the
/// page still is.
async fn more(section: &mut Section, stage: &Stage, count: usize) -> anyhow::Result<()> {
    let mut served = Vec::new();
    let mut told = None;
    for _ in 0..MORE {
        match Viewer::open(stage.page).await {
            Ok(viewer) => served.push(viewer),
            Err(error) => told = Some(format!("{error:#}")),
        }
    }
    let began = Instant::now();
    http::get(stage.page, "/page/main.js", PATIENCE).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    section.add(Figure::of("a file of the page meanwhile", "ms", took).goal(AGE_GOAL));
    let others = told.map_or(String::new(), |told| format!(", the others told: {told}"));
    section.note(format!("of {MORE} beyond {count}, {} are served{others}", served.len()));
    Ok(())
}

fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused the old limit holds, and connecting tells what is wrong.
    let _ = setrlimit(Resource::Nofile, limit);
}

//! `ensemble chord ring`: the ring drawn, and a table of its nodes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use chord::client::{Id, NodeState};
use serde_json::json;

use super::circle::{Mark, draw};
use super::crawl::{Sighting, Survey};
use super::{Ring, text};
use crate::paint::{Cell, Colour, Palette, Table};

/// The columns of what is no terminal.
const USUAL_COLUMNS: usize = 80;
/// The most bits of an id that is written beside the circle; of longer ones it is the number in
/// the table.
const SHORT_BITS: u32 = 20;

/// Draw the ring, with its nodes at their places, and list them
///
/// Asks every node that can be found. A hollow mark is a node that does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord ring
  ensemble chord ring --columns 120
  ensemble chord ring --json

KEYS is how many keys a node is responsible for; COPIES, how many it keeps for others; COUNTED, how
many nodes the last census counted.")]
pub(super) struct Arguments {
    /// How wide the drawing may be; 60 to 200 are drawn [default: the terminal's]
    #[arg(long, value_name = "NUMBER")]
    columns: Option<usize>,
}

/// Looks and prints.
pub(super) async fn run(arguments: &Arguments, ring: &Ring) -> Result<ExitCode> {
    let survey = Survey::take(ring).await;
    if survey.states().next().is_none() {
        return Err(match survey.silent().next() {
            Some((_, error)) => ring.explain("ring", error),
            None => anyhow!("no node answers; start them: `ensemble up chord`"),
        });
    }
    let columns = arguments.columns.or_else(terminal_columns).unwrap_or(USUAL_COLUMNS);
    let text = match ring.output.json {
        true => as_json(&survey)?,
        false => as_text(&survey, columns, ring.output.palette)?,
    };
    write!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn terminal_columns() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok())??;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn as_json(survey: &Survey) -> Result<String> {
    let mut text = String::new();
    for sighting in &survey.sightings {
        let mut line = json!({ "id": sighting.id(), "address": address(sighting) });
        match &sighting.state {
            Ok(state) => line["state"] = text::state(state),
            Err(error) => line["error"] = error.to_string().into(),
        }
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

/// Where a node is, by its own word or else by that of others.
fn address(sighting: &Sighting) -> &str {
    match (&sighting.state, &sighting.told) {
        (Ok(state), _) => &state.node.address,
        (Err(_), Some(peer)) => &peer.address,
        (Err(_), None) => &sighting.at,
    }
}

fn as_text(survey: &Survey, columns: usize, palette: Palette) -> Result<String> {
    let mut text = String::new();
    if let Some(drawing) = drawing(survey, columns, palette) {
        writeln!(text, "{drawing}")?;
    }
    let heading = [
        "#",
        "ID",
        "ADDRESS",
        "PHASE",
        "PREDECESSOR",
        "SUCCESSORS",
        "KEYS",
        "COPIES",
        "READY",
        "COUNTED",
    ];
    let mut table = Table::new(palette, heading);
    let name = |id| name(survey, id);
    for (number, sighting) in survey.sightings.iter().enumerate() {
        let start: [Cell; 3] =
            [(number + 1).into(), text::or_dash(sighting.id()).into(), address(sighting).into()];
        let rest: [Cell; 7] = match &sighting.state {
            Ok(state) => cells(state, &name),
            Err(error) => {
                let reason = error.to_string().replace(&format!("{}: ", sighting.at), "");
                let empty = || Cell::from("");
                let reason = Cell::painted(reason, Colour::Red);
                [reason, empty(), empty(), empty(), empty(), empty(), empty()]
            }
        };
        let mut cells = start.into_iter().chain(rest);
        table.row(std::array::from_fn::<_, 10, _>(|_| cells.next().expect("three and seven")));
    }
    write!(text, "{table}")?;
    match &survey.registry {
        Some((address, Ok(info))) => {
            writeln!(text, "The registry at {address} knows {} nodes.", info.nodes.len())?;
        }
        Some((_, Err(error))) => writeln!(text, "The registry: {error}.")?,
        None => (),
    }
    Ok(text)
}

/// What a node is called beside the circle: its id, or of a long one its number in the table.
fn name(survey: &Survey, id: Id) -> String {
    let is_short = survey.states().next().is_some_and(|(_, state)| state.bits <= SHORT_BITS);
    let number = survey.sightings.iter().position(|it| it.id() == Some(id));
    match number {
        Some(number) if !is_short => format!("#{}", number + 1),
        Some(_) | None => id.to_string(),
    }
}

fn cells(state: &NodeState, name: &dyn Fn(Id) -> String) -> [Cell; 7] {
    let successors = text::listed(state.successors.iter().map(|peer| name(peer.id)));
    let ready = match state.ready {
        true => Cell::from("yes"),
        false => Cell::painted("no", Colour::Yellow),
    };
    [
        Cell::painted(&state.phase, colour(state)),
        text::or_dash(state.predecessor.as_ref().map(|peer| name(peer.id))).into(),
        if successors.is_empty() { "-".into() } else { successors.into() },
        state.keys.into(),
        state.copies.into(),
        ready,
        state.counted.into(),
    ]
}

/// Green is as it should be.
fn colour(state: &NodeState) -> Colour {
    match state.phase.as_str() {
        "member" if state.ready => Colour::Green,
        _ => Colour::Yellow,
    }
}

/// The circle, if it can be drawn.
fn drawing(survey: &Survey, columns: usize, palette: Palette) -> Option<String> {
    let (_, first) = survey.states().next()?;
    let places = 2_f64.powi(i32::try_from(first.bits).ok()?);
    let mut marks = Vec::new();
    for sighting in &survey.sightings {
        let Some(id) = sighting.id() else { continue };
        let label = name(survey, id);
        let colour = sighting.state.as_ref().map_or(Colour::Red, colour);
        // An id near 2^64 is rounded to it: that is the top of the circle, too.
        let place = (id.0 as f64 / places).fract();
        marks.push(Mark { place, label, colour, solid: sighting.state.is_ok() });
    }
    let nodes = survey.states().count();
    let middle = [first.ring.clone(), format!("{nodes} nodes"), format!("m = {}", first.bits)];
    draw(&marks, columns, &middle, palette)
}

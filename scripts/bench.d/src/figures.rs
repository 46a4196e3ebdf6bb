//! The table of figures: what, ours, the peer's, their ratio, the goal, and whether it is reached.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::spread::Spread;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Ours is at least so many times the peer's.
    RatioAtLeast(f64),
    /// Ours is at most so many times the peer's.
    RatioAtMost(f64),
    /// Ours differs from the peer's by at most this part of it.
    RatioWithin(f64),
    /// Ours is at most so much.
    AtMost(f64),
    /// Ours is at least so much.
    AtLeast(f64),
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    /// None when ours is not measured.
    ours: Option<f64>,
    peer: Option<f64>,
    ratio: Option<Spread>,
    /// What must be reached.
    goal: Option<Goal>,
    /// What is aimed at.
    aim: Option<Goal>,
}

impl Figure {
    pub(crate) fn of(
        what: impl Into<String>,
        unit: &'static str,
        ours: impl Into<Option<f64>>,
    ) -> Self {
        let (what, ours) = (what.into(), ours.into());
        Self { what, unit, ours, peer: None, ratio: None, goal: None, aim: None }
    }

    /// With that of a peer, if it is measured.
    pub(crate) fn against(mut self, peer: impl Into<Option<f64>>) -> Self {
        self.peer = peer.into();
        let pair = self.ours.zip(self.peer.filter(|&peer| peer > 0.0));
        self.ratio = pair.map(|(ours, peer)| Spread::of([ours / peer]));
        self
    }

    /// With the ratios of single rounds instead of that of the two figures.
    pub(crate) fn by_rounds(mut self, ratio: impl Into<Option<Spread>>) -> Self {
        self.ratio = ratio.into();
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn aim(mut self, aim: Goal) -> Self {
        self.aim = Some(aim);
        self
    }

    fn reaches(&self, goal: Goal) -> Option<bool> {
        Some(match goal {
            Goal::RatioAtLeast(least) => self.ratio?.median >= least,
            Goal::RatioAtMost(most) => self.ratio?.median <= most,
            Goal::RatioWithin(part) => (self.ratio?.median - 1.0).abs() <= part,
            Goal::AtMost(most) => self.ours? <= most,
            Goal::AtLeast(least) => self.ours? >= least,
        })
    }

    fn verdict(&self) -> Option<&'static str> {
        let reached = |goal: Option<Goal>| goal.and_then(|goal| self.reaches(goal));
        match (reached(self.goal), reached(self.aim)) {
            (_, Some(true)) => Some("aim reached"),
            (None, Some(false)) => Some("aim missed"),
            (Some(true), _) => Some("reached"),
            (Some(false), _) => Some("missed"),
            (None, None) => None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let ratio = self.ratio.map(|Spread { median, least, most }| {
            if least == most {
                format!("{median:.2}")
            } else {
                format!("{median:.2} ({least:.2}–{most:.2})")
            }
        });
        let words = |goal: Goal| match goal {
            Goal::RatioAtLeast(least) => format!("ratio ≥ {least}"),
            Goal::RatioAtMost(most) => format!("ratio ≤ {most}"),
            Goal::RatioWithin(part) => format!("ratio 1 ± {part}"),
            Goal::AtMost(most) => format!("≤ {} {}", number(most), self.unit),
            Goal::AtLeast(least) => format!("≥ {} {}", number(least), self.unit),
        };
        let mut goals: Vec<_> = self.goal.map(words).into_iter().collect();
        if let Some(aim) = self.aim.map(words) {
            goals.push(format!("aim {}", aim.trim_start_matches("ratio ")));
        }
        [
            format!("{}, {}", self.what, self.unit),
            self.ours.map(number).unwrap_or_default(),
            self.peer.map(number).unwrap_or_default(),
            ratio.unwrap_or_default(),
            goals.join(", "),
            self.verdict().unwrap_or_default().into(),
        ]
    }

    fn json(&self) -> Value {
        let spread = |Spread { median, least, most }: Spread| json!([least, median, most]);
        let goal = |goal: Goal| match goal {
            Goal::RatioAtLeast(least) => json!({ "ratio_at_least": least }),
            Goal::RatioAtMost(most) => json!({ "ratio_at_most": most }),
            Goal::RatioWithin(part) => json!({ "ratio_within": part }),
            Goal::AtMost(most) => json!({ "ours_at_most": most }),
            Goal::AtLeast(least) => json!({ "ours_at_least": least }),
        };
        json!({
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer,
            "ratio_least_median_most": self.ratio.map(spread),
            "goal": self.goal.map(goal),
            "aim": self.aim.map(goal),
            "verdict": self.verdict(),
        })
    }
}

/// Figures that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    title: String,
    /// What the column of the peer shows; empty without one.
    peer: &'static str,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, peer: &'static str) -> Self {
        Self { title: title.into(), peer, figures: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a sentence that is printed below the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn json(&self) -> Value {
        json!({
            "title": self.title,
            "peer": self.peer,
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// Prints all sections, as a table or as one JSON document.
pub(crate) fn print(sections: &[Section], as_json: bool) -> anyhow::Result<()> {
    let text = if as_json { format!("{:#}\n", json(sections)) } else { table(sections) };
    io::stdout().write_all(text.as_bytes()).context("printing the figures")
}

fn json(sections: &[Section]) -> Value {
    json!({ "sections": sections.iter().map(Section::json).collect::<Vec<_>>() })
}

/// All sections as one aligned table.
fn table(sections: &[Section]) -> String {
    let head = ["", "ours", "peer", "ratio", "goal", "verdict"].map(str::to_owned);
    let cells: Vec<Vec<_>> =
        sections.iter().map(|s| s.figures.iter().map(Figure::cells).collect()).collect();
    let mut widths = head.each_ref().map(|cell| cell.chars().count());
    for row in cells.iter().flatten() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&head, &widths);
    for (section, rows) in sections.iter().zip(&cells) {
        let _ = write!(text, "\n{}", section.title);
        if !section.peer.is_empty() {
            let _ = write!(text, " (peer: {})", section.peer);
        }
        text.push('\n');
        for row in rows {
            text.push_str(&line(row, &widths));
        }
        for note in &section.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

/// The first column is words, the next two are numbers.
fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let mut text = String::from("  ");
    for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let _ = match index {
            1 | 2 => write!(text, "{cell:>width$}  "),
            _ => write!(text, "{cell:<width$}  "),
        };
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A number with about three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits_and_thousands() {
        let written = [0.0, 0.126, 9.5, 99.94, 100.4, 1234.0, 1_234_567.8].map(number);
        assert_eq!(written, ["0.00", "0.13", "9.50", "99.9", "100", "1,234", "1,234,568"]);
    }

    #[test]
    fn a_verdict_goes_by_the_goal() {
        let figure = Figure::of("requests", "a second", 90.0).against(100.0);
        assert_eq!(figure.verdict(), None);
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(0.9)).verdict(), Some("reached"));
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(1.0)).verdict(), Some("missed"));
        assert_eq!(figure.clone().goal(Goal::RatioAtMost(0.9)).verdict(), Some("reached"));
        assert_eq!(figure.clone().goal(Goal::RatioAtMost(0.8)).verdict(), Some("missed"));
        assert_eq!(figure.clone().goal(Goal::AtLeast(90.0)).verdict(), Some("reached"));
        assert_eq!(figure.clone().goal(Goal::AtLeast(91.0)).verdict(), Some("missed"));
        assert_eq!(figure.clone().goal(Goal::RatioWithin(0.11)).verdict(), Some("reached"));
        assert_eq!(figure.clone().goal(Goal::RatioWithin(0.09)).verdict(), Some("missed"));
        let above = Figure::of("hops", "", 111.0).against(100.0);
        assert_eq!(above.goal(Goal::RatioWithin(0.1)).verdict(), Some("missed"));
        assert_eq!(figure.goal(Goal::AtMost(89.0)).verdict(), Some("missed"));
    }

    #[test]
    fn an_aim_lies_beyond_the_goal() {
        let figure = Figure::of("puts", "a second", 300.0).against(100.0);
        let verdict = |figure: &Figure, goal, aim| {
            let figure = figure.clone().goal(Goal::RatioAtLeast(goal));
            figure.aim(Goal::RatioAtLeast(aim)).verdict()
        };
        assert_eq!(verdict(&figure, 2.0, 3.0), Some("aim reached"));
        assert_eq!(verdict(&figure, 2.0, 4.0), Some("reached"));
        assert_eq!(verdict(&figure, 3.5, 4.0), Some("missed"));
        assert_eq!(figure.aim(Goal::RatioAtLeast(4.0)).verdict(), Some("aim missed"));
    }

    #[test]
    fn what_is_not_measured_has_no_verdict() {
        let figure = Figure::of("puts", "a second", None).against(100.0);
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(1.0)).verdict(), None);
        assert_eq!(figure.goal(Goal::AtMost(1.0)).verdict(), None);
    }

    #[test]
    fn columns_are_aligned() {
        let mut section = Section::new("short", "");
        section.add(Figure::of("a", "ms", 1.0).against(2.0).goal(Goal::AtMost(8.0)));
        section.add(Figure::of("longer", "ms", 1000.0));
        let expected = [
            "               ours  peer  ratio  goal       verdict",
            "",
            "short",
            "  a, ms        1.00  2.00  0.50   ≤ 8.00 ms  reached",
            "  longer, ms  1,000",
        ];
        assert_eq!(table(&[section]).lines().collect::<Vec<_>>(), expected);
    }
}
